//! Whether an experiment has what `report:` names.

use super::{FigureKind, FigureSpec, Known, NO_REFERENCE, ReportSpec, RowSpec, TableSpec};
use crate::{
    base::yaml::{
        diagnostic::{Diagnostic, Position},
        node::{Node, Value},
    },
    ranking::Spelling,
    tasks::ExperimentRecord,
};

/// As many decimals as a number has.
const MOST_DIGITS: u8 = 15;

impl ReportSpec {
    /// An error for the first name that the experiment does not have. `node` is the key's value, for places.
    pub fn check(&self, record: &ExperimentRecord, node: Option<&Node>) -> Result<(), Diagnostic> {
        let known = Known::of(record);
        let whole = Checked { known: &known, node };
        whole.reference(self.reference.as_deref())?;
        whole.digits(self.digits)?;
        let part = |key: &str, at: usize| {
            let entry = node.and_then(|node| node.mapping("`report`").ok()?.get(key));
            let items = entry.and_then(|entry| match &entry.value.value {
                Value::Sequence(items) => items.get(at),
                _ => None,
            });
            Checked { known: &known, node: items.or(node) }
        };
        let mut names: Vec<&str> = Vec::new();
        for (at, table) in self.tables.iter().flatten().enumerate() {
            let of = part("tables", at);
            of.name(&table.name, &mut names)?;
            table.check(&of)?;
        }
        names.clear();
        for (at, figure) in self.figures.iter().flatten().enumerate() {
            let of = part("figures", at);
            of.name(&figure.name, &mut names)?;
            figure.check(&of)?;
        }
        Ok(())
    }
}

impl TableSpec {
    fn check(&self, of: &Checked) -> Result<(), Diagnostic> {
        of.rows(&self.rows, false)?;
        for column in &self.columns {
            if column.metrics.is_empty() {
                return Err(of
                    .at(
                        column.group.as_deref().unwrap_or("columns"),
                        "a group of columns has no `metrics`",
                    )
                    .expected("`metrics: [nDCG@10]`"));
            }
            column.metrics.iter().try_for_each(|text| of.metric(text))?;
            of.place(&column.slice, &column.protocol, &column.convention)?;
            of.one("fold", &column.fold, &of.known.folds)?;
        }
        for slice in &self.slices {
            of.one("slice", &Some(slice.clone()), &of.known.slices)?;
        }
        of.place(&None, &self.protocol, &self.convention)?;
        of.one("fold", &self.fold, &of.known.folds)?;
        of.swept(self.over.as_deref())?;
        of.digits(self.digits)?;
        of.reference(self.reference.as_deref())
    }
}

impl FigureSpec {
    fn check(&self, of: &Checked) -> Result<(), Diagnostic> {
        self.metric.iter().try_for_each(|text| of.metric(text))?;
        self.systems.iter().try_for_each(|name| of.system(name))?;
        of.place(&self.slice, &self.protocol, &self.convention)?;
        of.swept(self.over.as_deref())?;
        if self.kind == FigureKind::Sweep && self.over.is_none() && of.known.swept.len() != 1 {
            return Err(of
                .at(
                    &self.name,
                    "a figure of a sweep needs `over`: the setting on its horizontal axis",
                )
                .expected(match of.known.swept.is_empty() {
                    true => "a system with `{sweep: …}`".to_owned(),
                    false => format!("one of {}", of.known.swept.join(", ")),
                }));
        }
        of.reference(self.reference.as_deref())
    }
}

/// Names are checked against what the experiment has; errors point at the first such text below a node.
struct Checked<'a> {
    known: &'a Known,
    node: Option<&'a Node>,
}

impl Checked<'_> {
    /// An error at the place of a text.
    fn at(&self, text: &str, message: impl Into<String>) -> Diagnostic {
        let error = Diagnostic::new(message);
        match self.node {
            Some(node) => error.or_at(find(node, text).unwrap_or(&node.at)),
            None => error,
        }
    }

    fn unknown(&self, what: &str, text: &str, known: &[String]) -> Diagnostic {
        self.at(text, format!("the experiment has no {what} `{text}`"))
            .expected(format!("one of {}", known.join(", ")))
            .suggest(text, known.iter().map(String::as_str))
    }

    fn one(&self, what: &str, name: &Option<String>, known: &[String]) -> Result<(), Diagnostic> {
        match name.as_ref().filter(|name| !known.contains(name)) {
            Some(name) => Err(self.unknown(what, name, known)),
            None => Ok(()),
        }
    }

    fn place(
        &self,
        slice: &Option<String>,
        protocol: &Option<String>,
        convention: &Option<String>,
    ) -> Result<(), Diagnostic> {
        self.one("slice", slice, &self.known.slices)?;
        self.one("protocol", protocol, &self.known.protocols)?;
        self.one("convention", convention, &self.known.conventions)
    }

    fn system(&self, name: &str) -> Result<(), Diagnostic> {
        match self.known.systems_of(name).is_empty() {
            true => Err(self.unknown("system", name, &self.known.systems)),
            false => Ok(()),
        }
    }

    /// One system; a swept system is several.
    fn reference(&self, name: Option<&str>) -> Result<(), Diagnostic> {
        match name {
            None | Some(NO_REFERENCE) => Ok(()),
            Some(name) if self.known.systems.iter().any(|known| known == name) => Ok(()),
            Some(name) => Err(self.unknown("system", name, &self.known.systems)),
        }
    }

    fn metric(&self, text: &str) -> Result<(), Diagnostic> {
        let (name, k) = read_metric(text).map_err(|problem| {
            let name = text.split('@').next().unwrap_or(text);
            let known = self.known.metrics.iter().map(String::as_str);
            self.at(text, problem).suggest(name, known)
        })?;
        if !self.known.metrics.contains(&name) {
            return Err(self
                .at(text, format!("the experiment does not compute the metric `{name}`"))
                .expected(format!("one of {}", self.known.metrics.join(", ")))
                .help("`evaluate.metrics` lists what is computed"));
        }
        match k.filter(|k| !self.known.cutoffs.contains(&k.to_string())) {
            Some(k) => Err(self
                .at(text, format!("`{text}`: the experiment does not compute the cutoff {k}"))
                .expected(format!("one of {}", self.known.cutoffs.join(", ")))
                .help("`evaluate.k` lists what is computed")),
            None => Ok(()),
        }
    }

    fn swept(&self, field: Option<&str>) -> Result<(), Diagnostic> {
        match field.filter(|field| !self.known.swept.iter().any(|of| of == field)) {
            Some(field) if self.known.swept.is_empty() => {
                Err(self.at(field, format!("`over: {field}`: the experiment has no swept setting")))
            }
            Some(field) => Err(self.unknown("swept setting", field, &self.known.swept)),
            None => Ok(()),
        }
    }

    fn digits(&self, digits: Option<u8>) -> Result<(), Diagnostic> {
        match digits.filter(|digits| *digits > MOST_DIGITS) {
            Some(digits) => Err(self
                .at(&digits.to_string(), format!("`digits` is {digits}"))
                .expected(format!("a number of decimals, at most {MOST_DIGITS}"))),
            None => Ok(()),
        }
    }

    fn rows(&self, rows: &[RowSpec], in_group: bool) -> Result<(), Diagnostic> {
        for row in rows {
            match (&row.system, &row.group) {
                (Some(system), None) if row.rows.is_empty() => {
                    self.system(system)?;
                    if row.shown.is_some() && !self.known.systems.contains(system) {
                        return Err(self.at(
                            system,
                            format!(
                                "`{system}` stands for several systems, which cannot have one name"
                            ),
                        ));
                    }
                }
                (None, Some(group)) if !in_group && !row.rows.is_empty() => {
                    self.rows(&row.rows, true).map_err(|error| match error.position {
                        Some(_) => error,
                        None => self.at(group, error.message),
                    })?;
                }
                (system, group) => {
                    let text = system.as_ref().or(group.as_ref());
                    return Err(self
                        .at(text.map_or("rows", String::as_str), "a row is a system, or a group of systems")
                        .expected(
                            "the name of a system, `{system: NAME, as: TEXT}`, or `{group: TEXT, rows: [NAME, …]}`",
                        ));
                }
            }
        }
        Ok(())
    }

    /// Names become file names.
    fn name<'a>(&self, name: &'a str, known: &mut Vec<&'a str>) -> Result<(), Diagnostic> {
        let fine = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let starts = name.starts_with(|c: char| c.is_ascii_alphanumeric());
        if !starts || !name.chars().all(fine) || name.len() > 80 {
            return Err(self
                .at(name, format!("`{name}` cannot be the name of a file"))
                .expected("at most 80 letters (a to z), digits and - _ ."));
        }
        // Upper and lower case are one on some file systems.
        if known.iter().any(|of| of.eq_ignore_ascii_case(name)) {
            return Err(self.at(name, format!("there are two of the name `{name}`")));
        }
        known.push(name);
        Ok(())
    }
}

/// The name of a metric, and its cutoff if it has one.
pub fn read_metric(text: &str) -> Result<(String, Option<usize>), String> {
    let read: Spelling = text.parse()?;
    Ok((read.metric.name().to_owned(), read.k))
}

/// The place of the first text below a node, keys excluded.
fn find<'a>(node: &'a Node, text: &str) -> Option<&'a Position> {
    match &node.value {
        Value::Text(of) if of == text => Some(&node.at),
        Value::Integer(of) if of.to_string() == text => Some(&node.at),
        Value::Sequence(items) => items.iter().find_map(|item| find(item, text)),
        Value::Mapping(mapping) => {
            mapping.entries().iter().find_map(|entry| find(&entry.value, text))
        }
        _ => None,
    }
}

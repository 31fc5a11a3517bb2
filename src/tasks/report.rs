//! The key `report:` of an experiment file: the tables and figures of a paper.

use schemars::JsonSchema;
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{ExperimentRecord, names_system};
use crate::{
    base::{
        lists::{OneOrMore, one_or_more},
        text::distinct,
        yaml::{
            diagnostic::{Diagnostic, Position},
            node::{Node, Value},
        },
    },
    ranking::Spelling,
};

/// The fold name of means over folds.
const MEAN: &str = "mean";
/// `reference: none`
pub const NO_REFERENCE: &str = "none";
/// As many decimals as a number has.
const MOST_DIGITS: u8 = 15;

/// Tables and figures as a paper has them. They change no result and no key of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSpec {
    /// Decimals of values, for tables that do not have `digits`.
    #[schemars(range(max = 15), extend("default" = 4))]
    pub digits: Option<u8>,
    /// The system that the others are tested against, or `none`; by default the best by the first column.
    pub reference: Option<String>,
    /// Tables. Without this key: one of all systems and metrics, at the main cutoff. `[]`: none.
    pub tables: Option<Vec<TableSpec>>,
    /// Figures. Without this key: those that the experiment has data for. `[]`: none.
    pub figures: Option<Vec<FigureSpec>>,
}

/// A table of systems (rows) and metrics (columns).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Its name in file names and in `\label`: letters, digits and - _ .
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// The caption. By default the data set, protocol, convention and slice.
    #[serde(default)]
    pub caption: Option<String>,
    /// The label in LaTeX. By default `tab:` and the name.
    #[serde(default)]
    pub label: Option<String>,
    /// The systems, in this order. By default all, in the order of the experiment.
    #[serde(default)]
    pub rows: Vec<RowSpec>,
    /// The metrics, such as `nDCG@10`, or groups of them. By default nDCG and recall at the main cutoff.
    #[serde(default)]
    pub columns: Vec<ColumnSpec>,
    /// Slices of users; several are groups of columns. By default the first, or that of the users who were reranked.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore<String>")]
    pub slices: Vec<String>,
    /// The candidate protocol. By default the first.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The metric convention. By default the first.
    #[serde(default)]
    pub convention: Option<String>,
    /// A fold, or `mean` over all folds.
    #[serde(default)]
    #[schemars(extend("default" = "mean"))]
    pub fold: Option<String>,
    /// The system that the others are tested against, or `none`. By default that of `report.reference`.
    #[serde(default)]
    pub reference: Option<String>,
    /// Decimals of values. By default those of `report.digits`.
    #[serde(default)]
    #[schemars(range(max = 15))]
    pub digits: Option<u8>,
    /// What is shown beside each value.
    #[serde(default)]
    pub show: Show,
    /// Whether the second best value of a column is underlined.
    #[serde(default = "yes")]
    #[schemars(extend("default" = true))]
    pub second: bool,
    /// A swept setting, such as `factors`: its levels are groups of columns, and systems that differ in it share a row.
    #[serde(default)]
    pub over: Option<String>,
    /// The width in a two-column paper. By default one column if the table fits, otherwise two.
    #[serde(default)]
    pub width: Option<Width>,
}

fn yes() -> bool {
    true
}

/// What is shown beside a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// The value alone.
    #[default]
    Value,
    /// The standard deviation over folds, or over seeds if there is one fold.
    Sd,
    /// The 95 % bootstrap interval over users.
    Interval,
}

/// A width in a two-column paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Width {
    /// One column.
    One,
    /// Both columns.
    Two,
}

/// A row, or a group of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = or_text)]
pub struct RowSpec {
    /// The system. The name of a swept system stands for all its levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Its name in the table.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// The heading of a group, which has `rows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The systems of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowSpec>,
}

/// A column, or a group of columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = or_text)]
pub struct ColumnSpec {
    /// The heading of the group. By default what it has that others have not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Metrics, such as `nDCG@10`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMore<String>")]
    pub metrics: Vec<String>,
    /// The slice of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// The candidate protocol of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The metric convention of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convention: Option<String>,
    /// The fold of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<String>,
}

/// A schema that a text satisfies, too.
fn or_text(schema: &mut schemars::Schema) {
    let mut inner = std::mem::take(schema).to_value();
    let description = inner.as_object_mut().and_then(|of| of.remove("description"));
    let mut outer = serde_json::json!({"anyOf": [{"type": "string"}, inner]});
    if let Some(description) = description {
        outer["description"] = description;
    }
    if let Ok(changed) = schemars::Schema::try_from(outer) {
        *schema = changed;
    }
}

/// Reads a text, or the keys `K`.
struct TextOr<K, T>(fn(String) -> T, std::marker::PhantomData<K>);

impl<'de, K: Deserialize<'de> + Into<T>, T> Visitor<'de> for TextOr<K, T> {
    type Value = T;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a name, or a mapping (`key: value`)")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        Ok(self.0(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        Ok(K::deserialize(MapAccessDeserializer::new(map))?.into())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RowKeys {
    system: Option<String>,
    #[serde(rename = "as")]
    shown: Option<String>,
    group: Option<String>,
    #[serde(default)]
    rows: Vec<RowSpec>,
}

impl From<RowKeys> for RowSpec {
    fn from(RowKeys { system, shown, group, rows }: RowKeys) -> Self {
        Self { system, shown, group, rows }
    }
}

impl<'de> Deserialize<'de> for RowSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let of = |text| Self { system: Some(text), ..Self::default() };
        deserializer.deserialize_any(TextOr::<RowKeys, Self>(of, std::marker::PhantomData))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ColumnKeys {
    group: Option<String>,
    #[serde(default, deserialize_with = "one_or_more")]
    metrics: Vec<String>,
    slice: Option<String>,
    protocol: Option<String>,
    convention: Option<String>,
    fold: Option<String>,
}

impl From<ColumnKeys> for ColumnSpec {
    fn from(of: ColumnKeys) -> Self {
        let ColumnKeys { group, metrics, slice, protocol, convention, fold } = of;
        Self { group, metrics, slice, protocol, convention, fold }
    }
}

impl<'de> Deserialize<'de> for ColumnSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let of = |text| Self { metrics: vec![text], ..Self::default() };
        deserializer.deserialize_any(TextOr::<ColumnKeys, Self>(of, std::marker::PhantomData))
    }
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FigureSpec {
    /// Its name in file names: letters, digits and - _ .
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// What it shows.
    pub kind: FigureKind,
    /// The caption. By default what the figure shows, of which users.
    #[serde(default)]
    pub caption: Option<String>,
    /// The metric, such as `nDCG@10`; without a cutoff, the main one. By default nDCG.
    #[serde(default)]
    pub metric: Option<String>,
    /// The systems. By default all but oracles. The name of a swept system stands for all its levels.
    #[serde(default)]
    pub systems: Vec<String>,
    /// The slice of users. By default the first, or that of the users who were reranked.
    #[serde(default)]
    pub slice: Option<String>,
    /// The candidate protocol. By default the first.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The metric convention. By default the first.
    #[serde(default)]
    pub convention: Option<String>,
    /// The system that others are compared with, for `differences` and `contrasts`. By default that of
    /// `report.reference`, or the best.
    #[serde(default)]
    pub reference: Option<String>,
    /// The swept setting on the horizontal axis, for `sweep`.
    #[serde(default)]
    pub over: Option<String>,
    /// The width in a two-column paper.
    #[serde(default = "one")]
    #[schemars(extend("default" = "one"))]
    pub width: Width,
}

fn one() -> Width {
    Width::One
}

/// What a figure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKind {
    /// A metric by cutoff, one line per system.
    MetricAgainstK,
    /// Rerankers beside their base, with intervals.
    Reranking,
    /// Differences with intervals: those of `audit.contrasts`, or of each system to the reference.
    Contrasts,
    /// The differences of all users to the reference, sorted.
    Differences,
    /// A metric against what a reranker takes per user.
    Cost,
    /// Loss and validation metric by epoch.
    Training,
    /// A metric by the levels of a swept setting.
    Sweep,
    /// Novelty against item coverage.
    Popularity,
}

/// Names that an experiment has, as far as results can have them.
pub struct Known {
    pub systems: Vec<String>,
    pub metrics: Vec<String>,
    pub cutoffs: Vec<String>,
    pub protocols: Vec<String>,
    pub conventions: Vec<String>,
    pub slices: Vec<String>,
    pub folds: Vec<String>,
    /// Names of swept settings.
    pub swept: Vec<String>,
}

impl Known {
    pub fn of(record: &ExperimentRecord) -> Self {
        let variants = || record.variants.iter();
        let of = || variants().flat_map(|of| &of.evaluations);
        let systems = distinct(record.trials.iter().map(|trial| trial.name.as_str()));
        let levels = systems.iter().flat_map(|name| levels(name).1);
        let swept = distinct(levels.map(|(field, _)| field));
        let mut folds = distinct(record.trials.iter().map(|trial| trial.fold.as_str()));
        folds.push(MEAN.to_owned());
        Self {
            metrics: distinct(variants().flat_map(|of| &of.metrics)),
            cutoffs: distinct(of().map(|of| of.k.to_string())),
            protocols: distinct(of().map(|of| of.protocol.as_str())),
            conventions: distinct(of().map(|of| of.convention.as_str())),
            slices: distinct(variants().flat_map(|of| &of.slices)),
            systems,
            folds,
            swept,
        }
    }

    /// The systems that a name stands for.
    pub fn systems_of(&self, name: &str) -> Vec<String> {
        self.systems.iter().filter(|full| names_system(name, full)).cloned().collect()
    }
}

/// A system's name before its levels, and its levels: `als[factors=32]` is `als` with `factors` 32. A value may have
/// commas and brackets of its own.
pub fn levels(name: &str) -> (&str, Vec<(&str, &str)>) {
    let whole = (name, Vec::new());
    let Some(start) = name.find('[') else { return whole };
    // A variant's levels stand behind those of the system: `als[factors=32][seed=1]`.
    let (mut parts, mut depth, mut from): (Vec<(usize, usize)>, i32, usize) = (vec![], 0, start);
    for (at, letter) in name[start..].char_indices().map(|(at, letter)| (start + at, letter)) {
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth -= 1,
            ',' => {}
            _ if depth == 0 => return whole,
            _ => continue,
        }
        let is_end = depth == 0 || (letter == ',' && depth == 1);
        if letter == '[' && depth == 1 {
            from = at + 1;
        } else if is_end {
            // A comma that no `name=` follows is part of the value.
            match parts.last_mut() {
                Some(last) if !name[from..at].contains('=') && last.1 + 1 == from => last.1 = at,
                _ => parts.push((from, at)),
            }
            from = at + 1;
        }
    }
    if depth != 0 {
        return whole;
    }
    let levels = parts.into_iter().map(|(from, to)| name[from..to].split_once('='));
    let levels: Option<Vec<(&str, &str)>> = levels.collect();
    levels.map_or(whole, |levels| (&name[..start], levels))
}

/// A system's name without the level of one setting.
pub fn without_level(name: &str, field: &str) -> String {
    let (base, levels) = levels(name);
    let rest: Vec<String> = levels
        .iter()
        .filter(|(of, _)| *of != field)
        .map(|(of, level)| format!("{of}={level}"))
        .collect();
    match rest.is_empty() {
        true => base.to_owned(),
        false => format!("{base}[{}]", rest.join(",")),
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_read_from_names_of_systems() {
        assert_eq!(levels("als"), ("als", vec![]));
        assert_eq!(levels("als[factors=32,alpha=on]").1, [("factors", "32"), ("alpha", "on")]);
        assert_eq!(levels("als[a=1][seed=2]").1, [("a", "1"), ("seed", "2")]);
        assert_eq!(levels("odd [name]"), ("odd [name]", vec![]));
        assert_eq!(levels("als[a=low, usual,b=1]").1, [("a", "low, usual"), ("b", "1")]);
        assert_eq!(levels("als[f=1,a=[2,3]]").1, [("f", "1"), ("a", "[2,3]")]);
        assert_eq!(levels("als[a=2][relevant=>= 4]").1, [("a", "2"), ("relevant", ">= 4")]);
        assert_eq!(levels("als[a=1"), ("als[a=1", vec![]));
        assert_eq!(without_level("als[factors=32,alpha=on]", "factors"), "als[alpha=on]");
        assert_eq!(without_level("als[factors=32]", "factors"), "als");
    }
}

//! Tables as `report.tables` declares them.

use std::collections::HashMap;

use super::{
    Cell, Column, DIGITS, NShown, Row, Selection, Spread, Table, mark_best, metric_title, notes,
    notes::Note,
};
use crate::{
    analysis::{Against, Bootstrap, MEAN, Place, ResultRow, against, best_of, is_testable},
    base::{
        files::FileError,
        text::{distinct, users_text},
    },
    core::{MeasureKey, Workspace},
    report::reranks::reranked_slice,
    tasks::{
        ColumnSpec, ExperimentRecord, Known, NO_REFERENCE, ReportSpec, RowSpec, Show, TableSpec,
        levels, read_metric, without_level,
    },
};

/// Where numbers are from unless something else is declared: the first protocol and convention, the first slice or that
/// of the users who were reranked, and the cutoff 10 or the largest.
#[derive(Clone, Debug, PartialEq)]
pub struct DefaultPlace {
    pub protocol: String,
    pub convention: String,
    pub slice: String,
    pub k: usize,
}

impl DefaultPlace {
    /// None without rows.
    pub fn of(rows: &[ResultRow]) -> Option<Self> {
        let first = rows.first()?;
        let ten = rows.iter().any(|row| row.k == 10);
        Some(Self {
            protocol: first.protocol.clone(),
            convention: first.convention.clone(),
            slice: reranked_slice(rows).unwrap_or(&first.slice).to_owned(),
            k: if ten { 10 } else { rows.iter().map(|row| row.k).max()? },
        })
    }
}

/// nDCG and recall, or the first two metrics.
pub fn main_metrics(metrics: &[String]) -> Vec<String> {
    let usual: Vec<String> = ["ndcg", "recall"]
        .iter()
        .filter(|name| metrics.iter().any(|of| of == *name))
        .map(|name| (*name).to_owned())
        .collect();
    match usual.is_empty() {
        true => metrics.iter().take(2).cloned().collect(),
        false => usual,
    }
}

/// The table that a report has if none is declared: all systems and metrics at the main cutoff.
pub fn default_table(rows: &[ResultRow]) -> TableSpec {
    let metrics = distinct(rows.iter().map(|row| row.metric.as_str()));
    let mut ordered = main_metrics(&metrics);
    ordered.extend(metrics.iter().filter(|name| !main_metrics(&metrics).contains(name)).cloned());
    TableSpec {
        name: "main".into(),
        caption: None,
        label: None,
        rows: Vec::new(),
        columns: ordered
            .into_iter()
            .map(|metric| ColumnSpec { metrics: vec![metric], ..ColumnSpec::default() })
            .collect(),
        slices: Vec::new(),
        protocol: None,
        convention: None,
        fold: None,
        reference: None,
        digits: None,
        show: Show::Value,
        second: true,
        over: None,
        width: None,
    }
}

/// A declared table, and what it is made from.
pub struct TableRequest<'a> {
    pub spec: &'a TableSpec,
    pub report: &'a ReportSpec,
    pub experiment: &'a ExperimentRecord,
    pub workspace: &'a Workspace,
    pub rows: &'a [ResultRow],
}

/// A column before its cells are known.
struct Wanted {
    place: Place,
    title: String,
    group: String,
    /// The level of the swept setting.
    level: Option<String>,
}

/// A row before its cells are known.
struct Line {
    group: String,
    shown: String,
    /// The system, or the name that systems share without the swept setting.
    system: String,
}

impl TableRequest<'_> {
    /// The table; none if no result has what it shows.
    pub fn table(&self) -> Result<Option<Table>, FileError> {
        let Self { spec, rows, experiment, .. } = self;
        let Some(usual) = DefaultPlace::of(rows) else { return Ok(None) };
        let known = Known::of(experiment);
        let lines = self.lines(&known);
        let columns = self.columns(&usual, &known);
        let mut index: HashMap<(&str, Place), &ResultRow> = HashMap::new();
        let places: Vec<Place> = columns.iter().map(|column| column.place.clone()).collect();
        for row in rows.iter().filter(|row| !row.one_of_several) {
            if let Some(place) = places.iter().find(|place| place.holds(row)) {
                index.insert((&row.system, place.clone()), row);
            }
        }
        let system = |line: &Line, column: &Wanted| -> Option<String> {
            let (Some(field), Some(level)) = (&spec.over, &column.level) else {
                return Some(line.system.clone());
            };
            known
                .systems
                .iter()
                .find(|full| {
                    let of = levels(full).1;
                    without_level(full, field) == line.system
                        && of.iter().any(|(name, of)| name == field && of == level)
                })
                .cloned()
        };
        let has_folds = index.values().any(|row| row.sd_folds.is_some());
        let spread = if has_folds { Spread::Folds } else { Spread::Seeds };
        let mut chosen: Vec<&ResultRow> = Vec::new();
        let mut table_rows: Vec<Row> = Vec::new();
        let mut compared: Vec<bool> = Vec::new();
        // The line of each row of the table.
        let mut shown: Vec<&Line> = Vec::new();
        for line in &lines {
            let of_line: Vec<Option<&ResultRow>> = columns
                .iter()
                .map(|column| {
                    let name = system(line, column)?;
                    let (key, _) = index.get_key_value(&(name.as_str(), column.place.clone()))?;
                    index.get(key).copied()
                })
                .collect();
            // A system without results is missing, which the report says elsewhere.
            if of_line.iter().all(Option::is_none) {
                continue;
            }
            shown.push(line);
            chosen.extend(of_line.iter().flatten());
            let is_excluded =
                of_line.iter().flatten().any(|row| row.knows_test || row.lacks_responses);
            compared.push(!is_excluded);
            table_rows.push(Row {
                leads: Vec::new(),
                group: line.group.clone(),
                system: line.shown.clone(),
                cells: of_line.iter().map(|row| cell(*row, spec.show, spread)).collect(),
            });
        }
        if chosen.is_empty() {
            return Ok(None);
        }
        for (at, column) in columns.iter().enumerate() {
            mark_best(&mut table_rows, at, &column.place.measure.metric, &compared);
            if !spec.second {
                table_rows.iter_mut().for_each(|row| row.cells[at].second = false);
            }
        }
        let mut table = self.assemble(table_rows, &columns, &chosen, spread);
        let of_row = |row: usize, at: usize| system(shown[row], &columns[at]);
        if let Some(against) = self.against(&shown, &columns, &system)? {
            let reference = lines.iter().find(|line| line.system == against.reference);
            let name = reference.map_or(&against.reference, |line| &line.shown).clone();
            table.mark(&against, &name, &of_row);
        }
        Ok(Some(table))
    }

    fn lines(&self, known: &Known) -> Vec<Line> {
        let Self { spec, .. } = self;
        let all: Vec<RowSpec>;
        let rows = match spec.rows.is_empty() {
            false => &spec.rows,
            true => {
                let names = known.systems.iter();
                all = names
                    .map(|name| RowSpec { system: Some(name.clone()), ..RowSpec::default() })
                    .collect();
                &all
            }
        };
        let mut lines: Vec<Line> = Vec::new();
        let mut add = |group: &str, row: &RowSpec| {
            let Some(name) = &row.system else { return };
            for full in known.systems_of(name) {
                let system = match &spec.over {
                    Some(field) if spec.rows.is_empty() && !has_level(&full, field) => continue,
                    Some(field) => without_level(&full, field),
                    None => full,
                };
                let is_known = |line: &&mut Line| line.system == system && line.group == group;
                if let Some(line) = lines.iter_mut().find(is_known) {
                    // A row of its own names what a row for several systems brought in before.
                    if let Some(shown) = &row.shown {
                        line.shown.clone_from(shown);
                    }
                    continue;
                }
                let shown = row.shown.clone().unwrap_or_else(|| system.clone());
                lines.push(Line { group: group.to_owned(), shown, system });
            }
        };
        for row in rows {
            match &row.group {
                Some(group) => row.rows.iter().for_each(|inner| add(group, inner)),
                None => add("", row),
            }
        }
        lines
    }

    fn columns(&self, usual: &DefaultPlace, known: &Known) -> Vec<Wanted> {
        let Self { spec, .. } = self;
        let default: Vec<ColumnSpec>;
        let specs = match spec.columns.is_empty() {
            false => &spec.columns,
            true => {
                default = main_metrics(&known.metrics)
                    .into_iter()
                    .map(|metric| ColumnSpec { metrics: vec![metric], ..ColumnSpec::default() })
                    .collect();
                &default
            }
        };
        let slices = match spec.slices.is_empty() {
            true => vec![usual.slice.clone()],
            false => spec.slices.clone(),
        };
        let of_field = |field: &String| -> Vec<Option<String>> {
            let names = known.systems.iter().flat_map(|name| levels(name).1);
            let of = names.filter(|(name, _)| name == field).map(|(_, level)| level.to_owned());
            distinct(of).into_iter().map(Some).collect()
        };
        let of_levels = spec.over.as_ref().map_or(vec![None], of_field);
        let mut columns: Vec<Wanted> = Vec::new();
        for slice in &slices {
            for level in &of_levels {
                for of in specs {
                    // Columns with a slice of their own are not repeated for each slice.
                    if of.slice.is_some() && slice != &slices[0] {
                        continue;
                    }
                    for text in &of.metrics {
                        let Ok((name, k)) = read_metric(text) else { continue };
                        let k = k.unwrap_or(usual.k);
                        let or = |own: &Option<String>, table: &Option<String>, usual: &str| {
                            own.clone()
                                .or_else(|| table.clone())
                                .unwrap_or_else(|| usual.to_owned())
                        };
                        let measure = MeasureKey {
                            protocol: or(&of.protocol, &spec.protocol, &usual.protocol),
                            convention: or(&of.convention, &spec.convention, &usual.convention),
                            metric: name.clone(),
                            k,
                        };
                        columns.push(Wanted {
                            title: metric_title(&name, Some(k)),
                            group: of.group.clone().unwrap_or_default(),
                            level: level.clone(),
                            place: Place {
                                measure,
                                slice: of.slice.clone().unwrap_or_else(|| slice.clone()),
                                fold: or(&of.fold, &spec.fold, MEAN),
                            },
                        });
                    }
                }
            }
        }
        self.name_groups(&mut columns);
        columns
    }

    /// Headings of groups: what the columns differ in beside the metric.
    fn name_groups(&self, columns: &mut [Wanted]) {
        let parts = |of: &Wanted| -> [String; 5] {
            let level = self.spec.over.as_ref().zip(of.level.as_ref());
            [
                of.place.slice.clone(),
                level.map(|(field, level)| format!("{field} = {level}")).unwrap_or_default(),
                of.place.measure.protocol.clone(),
                of.place.measure.convention.clone(),
                of.place.fold.clone(),
            ]
        };
        let all: Vec<[String; 5]> = columns.iter().map(parts).collect();
        let varies: Vec<usize> =
            (0..5).filter(|at| all.iter().any(|of| of[*at] != all[0][*at])).collect();
        for (column, parts) in columns.iter_mut().zip(&all) {
            let mut names: Vec<String> = varies
                .iter()
                .map(|at| match at {
                    0 => slice_text(&parts[0]),
                    4 if parts[4] == MEAN => "all folds".into(),
                    4 => format!("fold {}", parts[4]),
                    at => parts[*at].clone(),
                })
                .collect();
            if !column.group.is_empty() {
                // A declared heading says it all, unless the same one is repeated for each slice or level.
                names.retain(|_| false);
                let repeated = varies.iter().filter(|at| **at < 2 && self.repeats(**at));
                names.extend(repeated.map(|at| parts[*at].clone()));
                names.insert(0, column.group.clone());
            }
            column.group = names.join(", ");
        }
    }

    /// Whether every group of columns is repeated for each slice (0) or each level (1).
    fn repeats(&self, part: usize) -> bool {
        match part {
            0 => self.spec.slices.len() > 1,
            _ => self.spec.over.is_some(),
        }
    }

    fn assemble(
        &self,
        rows: Vec<Row>,
        columns: &[Wanted],
        chosen: &[&ResultRow],
        spread: Spread,
    ) -> Table {
        let Self { spec, report, experiment, rows: all, .. } = self;
        let mut selections: Vec<Selection> = Vec::new();
        for Wanted { place, .. } in columns {
            let selection = Selection {
                protocol: place.measure.protocol.clone(),
                convention: place.measure.convention.clone(),
                slice: place.slice.clone(),
                k: place.measure.k,
                fold: place.fold.clone(),
            };
            if !selections.contains(&selection) {
                selections.push(selection);
            }
        }
        let metrics: Vec<String> =
            columns.iter().map(|column| column.place.measure.metric.clone()).collect();
        // By column, the numbers of users that its rows have.
        let counts: Vec<Vec<(usize, usize)>> = (0..columns.len())
            .map(|at| {
                let cells =
                    rows.iter().map(|row| &row.cells[at]).filter(|cell| cell.value.is_some());
                let mut counts: Vec<(usize, usize)> =
                    cells.map(|cell| (cell.n_users, cell.n_pairs)).collect();
                counts.sort_unstable();
                counts.dedup();
                counts
            })
            .collect();
        let ranked = |at: &usize| !super::is_unranked(&metrics[*at]);
        let differs = (0..columns.len()).filter(ranked).any(|at| counts[at].len() > 1);
        let n_shown = if differs { NShown::Cell } else { NShown::Note };
        let rests_on = notes::RestsOn { selections: &selections, chosen, all, spread };
        // The numbers of users stand in one note, for all columns together.
        let mut notes = rests_on.notes(&rows, n_shown, &[]);
        notes.retain(|note| !note.is_of_intervals || spec.show == Show::Interval);
        if !differs {
            let of_column = |at: usize| counts[at].first().map(|(n, pairs)| users_text(*n, *pairs));
            let slice = |at: usize| slice_text(&columns[at].place.slice);
            let ranked: Vec<usize> = (0..columns.len()).filter(ranked).collect();
            // Mostly, the numbers of users are those of the slices.
            let by_slice = ranked.iter().all(|a| {
                let same = ranked.iter().filter(|b| slice(*a) == slice(**b));
                same.into_iter().all(|b| of_column(*a) == of_column(*b))
            });
            let mut users: Vec<(String, Vec<String>)> = Vec::new();
            for at in ranked {
                let Some(text) = of_column(at) else { continue };
                let whose = match (by_slice, columns[at].group.is_empty()) {
                    (true, _) => slice(at),
                    (false, true) => columns[at].title.clone(),
                    (false, false) => format!("{}, {}", columns[at].group, columns[at].title),
                };
                match users.iter_mut().find(|(known, _)| *known == text) {
                    Some((_, all)) if all.contains(&whose) => {}
                    Some((_, all)) => all.push(whose),
                    None => users.push((text, vec![whose])),
                }
            }
            let text = match &users[..] {
                [] => None,
                [(one, _)] => Some(format!("n = {one}.")),
                several => {
                    let several: Vec<String> = several
                        .iter()
                        .map(|(text, whose)| format!("{}: {text}", whose.join("; ")))
                        .collect();
                    Some(format!("n of {}.", several.join("; ")))
                }
            };
            let at = notes.iter().position(|note| note.is_detail).unwrap_or(notes.len());
            text.into_iter().for_each(|text| notes.insert(at, Note::plain(text)));
        }
        let data = distinct(experiment.variants.iter().map(|variant| variant.data.as_str()));
        let mut title = vec![data.join(", ")];
        let place = &columns[0].place;
        let same =
            |of: fn(&Place) -> &str| columns.iter().all(|column| of(&column.place) == of(place));
        if same(|of| &of.measure.protocol) {
            title.push(format!("protocol {}", place.measure.protocol));
        }
        if same(|of| &of.measure.convention) {
            title.push(format!("convention {}", place.measure.convention));
        }
        if same(|of| &of.slice) {
            title.push(slice_text(&place.slice));
        }
        if same(|of| &of.fold) && place.fold != MEAN {
            title.push(format!("fold {}", place.fold));
        }
        let has_pairs = chosen.iter().any(|row| row.n_pairs != row.n_users);
        let one_k = columns.iter().all(|column| column.place.measure.k == place.measure.k);
        Table {
            title: title.join(", "),
            file_name: spec.name.clone(),
            k: one_k.then_some(place.measure.k),
            leads: Vec::new(),
            columns: columns
                .iter()
                .map(|column| Column {
                    title: column.title.clone(),
                    group: column.group.clone(),
                    csv: match column.group.is_empty() {
                        true => column.title.clone(),
                        false => format!("{}: {}", column.group, column.title),
                    },
                    place: Some(column.place.clone()),
                })
                .collect(),
            metrics,
            rows,
            caption: spec.caption.clone(),
            label: Some(spec.label.clone().unwrap_or_else(|| format!("tab:{}", spec.name))),
            width: spec.width,
            digits: spec.digits.or(report.digits).map_or(DIGITS, usize::from),
            notes,
            n_shown,
            has_pairs,
        }
    }

    /// The comparisons of the table; none if there is no reference, or nothing to compare it with.
    fn against(
        &self,
        lines: &[&Line],
        columns: &[Wanted],
        system: &dyn Fn(&Line, &Wanted) -> Option<String>,
    ) -> Result<Option<Against>, FileError> {
        let Self { spec, report, experiment, workspace, rows } = self;
        let named = spec.reference.clone().or_else(|| report.reference.clone());
        if named.as_deref() == Some(NO_REFERENCE) {
            return Ok(None);
        }
        let mut places: Vec<Place> = Vec::new();
        let mut systems: Vec<String> = Vec::new();
        for column in columns.iter().filter(|of| is_testable(&of.place.measure.metric)) {
            if !places.contains(&column.place) {
                places.push(column.place.clone());
            }
            for line in lines {
                if let Some(name) = system(line, column).filter(|name| !systems.contains(name)) {
                    systems.push(name);
                }
            }
        }
        let Some(first) = places.first() else { return Ok(None) };
        let is_in = |name: &str| systems.iter().any(|of| of == name);
        let Some(reference) = named.or_else(|| best_of(rows, first, &is_in)) else {
            return Ok(None);
        };
        if systems.iter().all(|name| *name == reference) {
            return Ok(None);
        }
        let bootstrap = Bootstrap { resamples: 0, ..Bootstrap::default() };
        let of = (reference.as_str(), &systems[..]);
        against(experiment, workspace, rows, of, &places, bootstrap).map(Some)
    }
}

/// `all users`, `users cold<10`
fn slice_text(slice: &str) -> String {
    match slice {
        "all" => "all users".into(),
        slice => format!("users {slice}"),
    }
}

fn has_level(name: &str, field: &str) -> bool {
    levels(name).1.iter().any(|(of, _)| *of == field)
}

fn cell(row: Option<&ResultRow>, show: Show, spread: Spread) -> Cell {
    let Some(row) = row else { return Cell::default() };
    let sd = match spread {
        Spread::Folds => row.sd_folds,
        Spread::Seeds => row.sd_seeds,
    };
    Cell {
        value: row.value,
        sd: sd.filter(|_| show == Show::Sd),
        sd_folds: row.sd_folds,
        sd_seeds: row.sd_seeds,
        n_users: row.n_users,
        n_pairs: row.n_pairs,
        interval: row.low.zip(row.high).filter(|_| show == Show::Interval),
        ..Cell::default()
    }
}

//! Tables of systems and metrics, for the terminal, Markdown, LaTeX and CSV.

mod caveats;
mod declared;
mod latex;
pub(super) mod notes;
mod selection;
#[cfg(test)]
mod tests;
mod write;

pub(super) use write::plain_markdown;

pub use declared::{DefaultPlace, TableRequest, default_table, main_metrics};
pub use selection::Selection;

use crate::{
    analysis::{Against, MEAN, Place, ResultRow},
    base::text::{distinct, grouped},
    core::Better,
    tasks::{self, Width},
};

/// Stands beside a value that differs significantly from the reference.
const MARK: &str = "†";
/// Decimals of values, unless something else is asked for.
pub const DIGITS: usize = 4;

/// Output format of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Terminal,
    Markdown,
    Latex,
    Csv,
    /// Numbers at full precision, with what they rest on
    Json,
}

/// What the standard deviation (±) is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Spread {
    /// Over folds, of the means over seeds
    Folds,
    /// Over seeds within a fold, pooled over folds
    Seeds,
}

/// A table of systems and metrics.
#[derive(Clone, Debug)]
pub struct Table {
    pub title: String,
    /// A name for files: `full-standard-all-k10`.
    pub file_name: String,
    /// The cutoff, if it is the same for all rows.
    pub k: Option<usize>,
    /// What the rows before the systems differ in: some of protocol, convention, slice, k, fold.
    pub leads: Vec<&'static str>,
    /// The metric of each column.
    pub metrics: Vec<String>,
    pub columns: Vec<Column>,
    pub rows: Vec<Row>,
    /// The caption and label in LaTeX, where they were declared.
    pub caption: Option<String>,
    pub label: Option<String>,
    /// The width in a two-column paper, where it was declared.
    pub width: Option<Width>,
    digits: usize,
    /// What the numbers rest on, one sentence a line; see [`Table::notes`].
    notes: Vec<notes::Note>,
    n_shown: NShown,
    /// Whether some user is in several folds, so that users are fewer than pairs of users and folds.
    has_pairs: bool,
}

/// A column of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// `nDCG@10`
    pub title: String,
    /// The heading above it and its neighbours; empty if there is none.
    pub group: String,
    /// Its name in CSV.
    pub csv: String,
    /// Where its numbers are from, if it is the same for all rows.
    pub place: Option<Place>,
}

/// One system under one selection.
#[derive(Clone, Debug)]
pub struct Row {
    pub leads: Vec<String>,
    /// The heading above it and its neighbours; empty if there is none.
    pub group: String,
    pub system: String,
    pub cells: Vec<Cell>,
}

/// Where a table shows the number of users.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NShown {
    Note,
    Column,
    Cell,
}

/// A number with its basis.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub value: Option<f64>,
    /// The one that the table shows.
    pub sd: Option<f64>,
    pub sd_folds: Option<f64>,
    pub sd_seeds: Option<f64>,
    pub n_users: usize,
    pub n_pairs: usize,
    /// The 95 % bootstrap interval over users, where it was asked for.
    pub interval: Option<(f64, f64)>,
    /// Whether no other system's value is better.
    pub best: bool,
    /// Whether only the best is better.
    pub second: bool,
    /// Whether it differs significantly from the reference.
    pub differs: bool,
}

/// A metric as papers write it: `nDCG@10`, and `Gini` where the cutoff is not the same.
pub fn metric_title(name: &str, k: Option<usize>) -> String {
    let title = tasks::metric(name).map_or(name, |of| of.title);
    match k {
        Some(k) => format!("{title}@{k}"),
        None => title.to_owned(),
    }
}

/// Whether no value of a metric is better than another, or the metric is not known.
pub(super) fn is_unranked(metric: &str) -> bool {
    tasks::metric(metric).is_none_or(|metric| metric.better == Better::Neither)
}

impl Table {
    /// Picks the rows of `selection`; none where there is no such row.
    pub fn new(rows: &[ResultRow], selection: &Selection) -> Option<Self> {
        Self::joint(rows, std::slice::from_ref(selection), None)
    }

    /// One table of several selections, below each other; what they differ in stands before the
    /// systems. ± is `spread`; by default that over folds, or over seeds where there is one fold.
    pub fn joint(
        rows: &[ResultRow],
        selections: &[Selection],
        spread: Option<Spread>,
    ) -> Option<Self> {
        let chosen: Vec<(usize, &ResultRow)> = rows
            .iter()
            .filter_map(|row| Some((selections.iter().position(|of| of.holds(row))?, row)))
            .collect();
        let metrics = distinct(chosen.iter().map(|(_, row)| row.metric.as_str()));
        let first = selections.first()?.parts();
        let varies = |at: usize| selections.iter().any(|of| of.parts()[at] != first[at]);
        let leads: Vec<usize> = (0..first.len()).filter(|at| varies(*at)).collect();
        let has_folds = chosen.iter().any(|(_, row)| row.sd_folds.is_some());
        let spread = spread.unwrap_or(if has_folds { Spread::Folds } else { Spread::Seeds });
        let mut table_rows = Vec::new();
        for (at, selection) in selections.iter().enumerate() {
            let of_selection: Vec<&ResultRow> =
                chosen.iter().filter(|(of, _)| *of == at).map(|(_, row)| *row).collect();
            let lead_cells = || leads.iter().map(|lead| selection.parts()[*lead].1.clone());
            table_rows.extend(rows_of(&of_selection, &metrics, spread, &|| lead_cells().collect()));
        }
        let one_k = (!varies(3)).then_some(selections[0].k);
        let one_selection = leads.is_empty().then(|| &selections[0]);
        let columns: Vec<Column> = metrics
            .iter()
            .map(|metric| Column {
                title: metric_title(metric, one_k),
                group: String::new(),
                csv: metric.clone(),
                place: one_selection.map(|of| of.place(metric)),
            })
            .collect();
        let users = |row: &Row| -> Vec<(usize, usize)> {
            let cells = metrics.iter().zip(&row.cells);
            let of_users = cells.filter(|(metric, _)| !is_unranked(metric));
            let mut counts: Vec<(usize, usize)> =
                of_users.map(|(_, cell)| (cell.n_users, cell.n_pairs)).collect();
            counts.dedup();
            counts
        };
        let counts: Vec<Vec<(usize, usize)>> = table_rows.iter().map(users).collect();
        let n_shown = if counts.iter().any(|counts| counts.len() > 1) {
            NShown::Cell
        } else if counts.windows(2).any(|pair| pair[0] != pair[1]) {
            NShown::Column
        } else {
            NShown::Note
        };
        let of_leads = |name: &str| leads.iter().any(|lead| first[*lead].0 == name);
        let title: Vec<String> = first
            .iter()
            .filter(|(name, value)| !of_leads(name) && (*name != "fold" || value != MEAN))
            .map(|(name, value)| match *name {
                "k" => format!("k = {value}"),
                _ => format!("{name} {value}"),
            })
            .collect();
        let file_name: Vec<String> = first
            .iter()
            .filter(|(name, value)| !of_leads(name) && (*name != "fold" || value != MEAN))
            .map(|(name, value)| match *name {
                "k" => format!("k{value}"),
                _ => value.replace('<', "-under-"),
            })
            .collect();
        let chosen: Vec<&ResultRow> = chosen.into_iter().map(|(_, row)| row).collect();
        let has_pairs = chosen.iter().any(|row| row.n_pairs != row.n_users);
        let rests_on = notes::RestsOn { selections, chosen: &chosen, all: rows, spread };
        (!chosen.is_empty()).then(|| Self {
            title: title.join(", "),
            file_name: file_name.join("-"),
            k: (!of_leads("k")).then_some(selections[0].k),
            leads: leads.iter().map(|lead| first[*lead].0).collect(),
            notes: rests_on.notes(&table_rows, n_shown, &counts),
            columns,
            metrics,
            rows: table_rows,
            caption: None,
            label: None,
            width: None,
            digits: DIGITS,
            n_shown,
            has_pairs,
        })
    }

    /// The table as text.
    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Terminal => self.terminal(None),
            Format::Markdown => self.markdown(),
            Format::Latex => self.latex(),
            Format::Csv => self.csv(),
            Format::Json => self.json(),
        }
    }

    /// For a terminal with so many characters on a line.
    pub fn write_terminal(&self, width: Option<usize>) -> String {
        self.terminal(width)
    }

    /// Its columns in this order of metrics; those that are not named come last.
    pub fn ordered(mut self, metrics: &[String]) -> Self {
        let place = |name: &String| metrics.iter().position(|of| of == name).unwrap_or(usize::MAX);
        let mut order: Vec<usize> = (0..self.metrics.len()).collect();
        order.sort_by_key(|at| place(&self.metrics[*at]));
        let pick = |at: &usize| (self.metrics[*at].clone(), self.columns[*at].clone());
        (self.metrics, self.columns) = order.iter().map(pick).unzip();
        for row in &mut self.rows {
            row.cells = order.iter().map(|at| row.cells[*at].clone()).collect();
        }
        self
    }

    /// The same with so many decimals.
    pub fn with_digits(self, digits: usize) -> Self {
        Self { digits, ..self }
    }

    /// Without intervals, so that ± is shown.
    pub fn without_intervals(mut self) -> Self {
        self.rows.iter_mut().flat_map(|row| &mut row.cells).for_each(|cell| cell.interval = None);
        self.notes.retain(|note| !note.is_of_intervals);
        self
    }

    /// Marks the values that differ significantly from the reference, and says what was tested.
    pub fn tested(mut self, against: &Against) -> Self {
        let systems: Vec<String> = self.rows.iter().map(|row| row.system.clone()).collect();
        self.mark(against, &against.reference, &|row, _| systems.get(row).cloned());
        self
    }

    /// The same where a row may have another name than its system; `system`: of a row and a column.
    fn mark(
        &mut self,
        against: &Against,
        shown: &str,
        system: &dyn Fn(usize, usize) -> Option<String>,
    ) {
        for (row, of) in self.rows.iter_mut().enumerate() {
            for (at, column) in self.columns.iter().enumerate() {
                let cell =
                    column.place.as_ref().and_then(|place| against.cell(&system(row, at)?, place));
                of.cells[at].differs = cell.is_some_and(|cell| cell.is_significant());
            }
        }
        let text = against.sentence(MARK, shown);
        self.notes.insert(1.min(self.notes.len()), notes::Note::plain(text));
    }

    /// What the numbers rest on, a sentence each; of what is shown alone. Where intervals stand below
    /// the values, as in HTML, ± is shown beside them; in text they take its place.
    pub fn notes(&self, shows_both: bool) -> Vec<&str> {
        self.shown_notes(shows_both).map(|note| note.text.as_str()).collect()
    }

    /// The names of all columns.
    pub fn header(&self) -> Vec<String> {
        let mut header: Vec<String> = self.leads.iter().map(|lead| (*lead).to_owned()).collect();
        header.push("system".into());
        if self.n_shown == NShown::Column {
            header.push("n".into());
            if self.has_pairs {
                header.push("n pairs".into());
            }
        }
        header.extend(self.columns.iter().map(|column| column.title.clone()));
        header
    }

    /// The cells before the metrics: what the row is about.
    pub fn row_head(&self, row: &Row) -> Vec<String> {
        let mut head = row.leads.clone();
        head.push(row.system.clone());
        if self.n_shown == NShown::Column {
            let cells = self.metrics.iter().zip(&row.cells);
            let mut n = cells.filter(|(metric, _)| !is_unranked(metric));
            let (n_users, n_pairs) =
                n.next().map(|(_, cell)| (cell.n_users, cell.n_pairs)).unwrap_or_default();
            head.push(grouped(n_users));
            if self.has_pairs {
                head.push(grouped(n_pairs));
            }
        }
        head
    }

    /// A cell's text: `0.2606 ± 0.0031 (456)`, or `0.2606 [0.2411, 0.2790]`.
    pub fn text(&self, cell: &Cell, plus_minus: &str) -> String {
        let digits = self.digits;
        let Some(value) = cell.value else { return "–".into() };
        let spread = match (cell.interval, cell.sd) {
            (Some((low, high)), _) => format!(" [{low:.digits$}, {high:.digits$}]"),
            (None, Some(sd)) => format!(" {plus_minus} {sd:.digits$}"),
            (None, None) => String::new(),
        };
        let n = match self.n_shown {
            NShown::Cell if self.has_pairs => {
                format!(" ({}; {})", grouped(cell.n_users), grouped(cell.n_pairs))
            }
            NShown::Cell => format!(" ({})", grouped(cell.n_users)),
            _ => String::new(),
        };
        format!("{value:.digits$}{spread}{n}")
    }
}

/// One table row for each system, with the best of each metric marked.
fn rows_of(
    chosen: &[&ResultRow],
    metrics: &[String],
    spread: Spread,
    leads: &dyn Fn() -> Vec<String>,
) -> Vec<Row> {
    let cell = |system: &str, metric: &str| {
        let row = chosen.iter().find(|row| row.system == system && row.metric == metric);
        row.map_or_else(Cell::default, |row| Cell {
            value: row.value,
            sd: match spread {
                Spread::Folds => row.sd_folds,
                Spread::Seeds => row.sd_seeds,
            },
            sd_folds: row.sd_folds,
            sd_seeds: row.sd_seeds,
            n_users: row.n_users,
            n_pairs: row.n_pairs,
            interval: row.low.zip(row.high),
            ..Cell::default()
        })
    };
    let mut rows: Vec<Row> = distinct(chosen.iter().map(|row| row.system.as_str()))
        .into_iter()
        .map(|system| Row {
            leads: leads(),
            group: String::new(),
            cells: metrics.iter().map(|metric| cell(&system, metric)).collect(),
            system,
        })
        .collect();
    let is_excluded = |system: &str| {
        let of_system = chosen.iter().filter(|row| row.system == system);
        of_system.into_iter().any(|row| row.knows_test || row.lacks_responses)
    };
    // Values on other data, splits or rules have no best.
    let is_mixed = distinct(chosen.iter().map(|row| row.fingerprint.as_str())).len() > 1;
    let compared: Vec<bool> =
        rows.iter().map(|row| !is_mixed && !is_excluded(&row.system)).collect();
    for (at, metric) in metrics.iter().enumerate() {
        mark_best(&mut rows, at, metric, &compared);
    }
    rows
}

/// Marks the best and the second best value of a column, of the rows that are `compared`.
fn mark_best(rows: &mut [Row], at: usize, metric: &str, compared: &[bool]) {
    let values = |rows: &[Row]| -> Vec<f64> {
        let of_compared = rows.iter().zip(compared).filter(|(_, compared)| **compared);
        of_compared.filter_map(|(row, _)| row.cells[at].value).collect()
    };
    let all = values(rows);
    let Some(info) = tasks::metric(metric).filter(|_| all.len() > 1) else { return };
    let best = info.best(all.iter().copied());
    let rest = all.iter().copied().filter(|value| Some(*value) != best);
    // Of two systems, the second best is the worst.
    let second = info.best(rest).filter(|_| all.len() > 2);
    for (row, compared) in rows.iter_mut().zip(compared) {
        let cell = &mut row.cells[at];
        let is = |of: Option<f64>| *compared && of.is_some() && cell.value == of;
        (cell.best, cell.second) = (is(best), is(second));
    }
}

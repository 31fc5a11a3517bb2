//! Comparison of results with published tables, cell by cell.

use serde::Serialize;

use super::{
    FEW_UNITS, ResultRow,
    units::{MEAN, few_users},
};
use crate::{
    base::text::{distinct, plain_table, users_text},
    tasks::{ExperimentRecord, PublishedTable, TrialRecord, published::About},
};

/// The verdict on a published cell.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "verdict", rename_all = "kebab-case")]
pub enum Verdict {
    /// The value equals the published one at the published precision.
    Reproduced { by: Precision },
    /// It does not; `by` is the value minus the published one.
    Off { by: f64 },
    /// There is nothing to compare it with.
    NotCheckable { why: String },
}

/// How a value was shortened to the published digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// Rounding and truncation give the same.
    Either,
    Rounded,
    Cut,
}

/// A published cell with our value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedCell {
    pub metric: String,
    pub printed: f64,
    pub value: Option<f64>,
    pub n_users: usize,
    pub interval: Option<(f64, f64)>,
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// A published row with our values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ComparedRow {
    pub row: String,
    pub system: String,
    pub cells: Vec<ComparedCell>,
}

/// A published table with our values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Reproduction {
    pub about: About,
    /// Differences to the results if it is compared in spite of them.
    pub differs: Vec<String>,
    pub metrics: Vec<String>,
    pub rows: Vec<ComparedRow>,
    pub counts: Counts,
    /// Users of the slice with a relevant item in the test part.
    pub slice_users: usize,
}

/// Counts of verdicts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    pub reproduced: usize,
    pub off: usize,
    pub not_checkable: usize,
    /// Of the reproduced cells: only by rounding, only by truncation.
    pub rounded: usize,
    pub cut: usize,
}

/// `fold: u1 in the table, u2 in the results`
pub fn difference(what: &str, printed: impl std::fmt::Display, ours: &str) -> String {
    format!("{what}: {printed} in the table, {ours} in the results")
}

/// How the data and settings of a published table differ from those of the compared systems.
pub fn differences(table: &PublishedTable, experiment: &ExperimentRecord) -> Vec<String> {
    let about = &table.about;
    let mut differs = Vec::new();
    for row in table.rows.iter().filter(|row| row.not_checkable.is_none()) {
        let trials: Vec<&TrialRecord> =
            experiment.trials.iter().filter(|trial| trial.name == row.system).collect();
        // What there is no system for is said cell by cell.
        let Some(first) = trials.first() else { continue };
        let variant = &experiment.variants[first.variant];
        if variant.data != about.dataset {
            differs.push(difference("data set", &about.dataset, &variant.data));
        }
        let folds = distinct(trials.iter().map(|trial| trial.fold.as_str()));
        if about.fold == MEAN {
            if folds != variant.all_folds {
                let ours = format!("{} of {}", folds.join(", "), variant.all_folds.join(", "));
                differs.push(difference("fold", "mean over all", &ours));
            }
        } else if !folds.contains(&about.fold) {
            differs.push(difference("fold", &about.fold, &folds.join(", ")));
        }
        let mut others = |what: &str, printed: String, ours: Vec<String>| {
            if !ours.contains(&printed) {
                differs.push(difference(what, printed, &ours.join(", ")));
            }
        };
        let of = || variant.evaluations.iter();
        let protocols = distinct(of().map(|of| of.protocol.as_str()));
        let conventions = distinct(of().map(|of| of.convention.as_str()));
        let cutoffs: Vec<String> = of().map(|of| of.k.to_string()).collect();
        others("protocol", about.protocol.to_string(), protocols);
        others("convention", about.convention.to_string(), conventions);
        others("slice", about.slice.to_string(), variant.slices.clone());
        others("k", about.k.to_string(), distinct(cutoffs.iter().map(String::as_str)));
    }
    distinct(differs.iter().map(String::as_str))
}

/// Values that are whole at the published precision up to rounding errors may be truncated either way.
const SLACK: f64 = 1e-9;

/// Whether `value` equals `printed` at this number of decimals, and how it was shortened.
pub fn shortened(value: f64, printed: f64, digits: u32) -> Option<Precision> {
    let scale = 10f64.powi(digits as i32);
    let (value, printed) = (value * scale, (printed * scale).round());
    let cut = (value + SLACK).trunc() == printed || (value - SLACK).trunc() == printed;
    let rounded = (value - printed).abs() <= 0.5 + SLACK;
    match (cut, rounded) {
        (true, true) => Some(Precision::Either),
        (true, false) => Some(Precision::Cut),
        (false, true) => Some(Precision::Rounded),
        (false, false) => None,
    }
}

impl Reproduction {
    /// Compares a published table with result rows.
    pub fn new(table: &PublishedTable, rows: &[ResultRow]) -> Self {
        let about = &table.about;
        let ours = |system: &str, metric: &str| {
            rows.iter().find(|row| {
                row.system == system
                    && row.metric == metric
                    && row.fold == about.fold
                    && row.protocol == about.protocol.name()
                    && row.convention == about.convention.name()
                    && row.slice == about.slice.to_string()
                    && row.k == about.k
                    && !row.one_of_several
            })
        };
        let mut counts = Counts::default();
        let mut metrics: Vec<String> = Vec::new();
        let mut compared = Vec::new();
        for row in &table.rows {
            let mut cells = Vec::new();
            for (metric, printed) in &row.values {
                if !metrics.iter().any(|name| name == metric.name()) {
                    metrics.push(metric.name().to_owned());
                }
                let found = ours(&row.system, metric.name());
                let value = found.and_then(|found| found.value);
                let verdict = match (&row.not_checkable, value) {
                    (Some(why), _) => Verdict::NotCheckable { why: why.clone() },
                    (None, None) => {
                        Verdict::NotCheckable { why: why_not(&row.system, about, rows) }
                    }
                    (None, Some(value)) => match shortened(value, *printed, about.digits) {
                        Some(by) => Verdict::Reproduced { by },
                        None => Verdict::Off { by: value - printed },
                    },
                };
                match &verdict {
                    Verdict::Reproduced { by } => {
                        counts.reproduced += 1;
                        counts.rounded += usize::from(*by == Precision::Rounded);
                        counts.cut += usize::from(*by == Precision::Cut);
                    }
                    Verdict::Off { .. } => counts.off += 1,
                    Verdict::NotCheckable { .. } => counts.not_checkable += 1,
                }
                cells.push(ComparedCell {
                    metric: metric.name().to_owned(),
                    printed: *printed,
                    value,
                    n_users: found.map_or(0, |found| found.n_users),
                    interval: found.and_then(|found| found.low.zip(found.high)),
                    verdict,
                });
            }
            compared.push(ComparedRow { row: row.name.clone(), system: row.system.clone(), cells });
        }
        // Every user with a relevant item carries recall, whatever the convention.
        let of_systems = table.rows.iter().filter_map(|row| ours(&row.system, "recall"));
        let slice_users = of_systems.map(|row| row.n_users).max().unwrap_or(0);
        let differs = table.differs.clone();
        Self { about: about.clone(), differs, metrics, rows: compared, counts, slice_users }
    }

    /// Whether all checkable cells are reproduced, and there is at least one.
    pub fn holds(&self) -> bool {
        self.counts.off == 0 && self.counts.reproduced > 0
    }

    /// `Ebrat et al. 2025, Table 1: 36 of 36 checkable cells reproduced at 3 decimals (…)`
    pub fn verdict(&self) -> String {
        let Counts { reproduced, off, not_checkable, rounded, cut } = self.counts;
        let digits = self.about.digits;
        let either = reproduced - rounded - cut;
        let mut text = format!(
            "{}: {reproduced} of {} checkable cells reproduced at {digits} decimals ({cut} only if truncated, \
             {rounded} only if rounded, {either} both ways)",
            self.about.source,
            reproduced + off
        );
        if cut > 0 && rounded == 0 && off == 0 {
            text.push_str("; the table is truncated, not rounded");
        }
        if not_checkable > 0 {
            text.push_str(&format!("; {not_checkable} not checkable"));
        }
        if !self.differs.is_empty() {
            text.push_str(&format!("; not comparable ({})", self.differs.join("; ")));
        }
        text
    }

    /// Why rows cannot be checked, a line each.
    pub fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        for row in &self.rows {
            let why = row.cells.iter().find_map(|cell| match &cell.verdict {
                Verdict::NotCheckable { why } => Some(why),
                _ => None,
            });
            reasons.extend(why.map(|why| format!("{}: {why}", row.row)));
        }
        reasons
    }

    /// Data and settings of the numbers.
    pub fn title(&self) -> String {
        let of = &self.about;
        let fold = if of.fold == MEAN { String::new() } else { format!(", fold {}", of.fold) };
        let users = match self.slice_users {
            0 => String::new(),
            n => format!(" ({n} users)"),
        };
        format!(
            "{}: {}, protocol {}, convention {}, slice {}{users}, k = {}{fold}",
            of.source, of.dataset, of.protocol, of.convention, of.slice, of.k
        )
    }

    /// A cell's text: `0.541 = 0.5417 [0.2500, 0.8333] n 6`.
    pub fn text(&self, cell: &ComparedCell) -> String {
        let printed = format!("{:.*}", self.about.digits as usize, cell.printed);
        let interval = cell.interval.map(|(low, high)| format!(" [{low:.3}, {high:.3}]"));
        let rest = format!("{} n {}", interval.unwrap_or_default(), cell.n_users);
        match (&cell.verdict, cell.value) {
            (Verdict::Reproduced { .. }, Some(value)) => format!("{printed} = {value:.4}{rest}"),
            (Verdict::Off { by }, Some(value)) => {
                format!("{printed} ≠ {value:.4} ({by:+.4}){rest}")
            }
            _ => format!("{printed} ?"),
        }
    }

    /// As text for the terminal.
    pub fn terminal(&self) -> String {
        let mut table = plain_table();
        let header = ["printed row", "system"].map(str::to_owned).into_iter();
        table.set_header(header.chain(self.metrics.iter().cloned()));
        for row in &self.rows {
            let cell = |metric: &String| {
                let cell = row.cells.iter().find(|cell| cell.metric == *metric);
                cell.map_or("–".into(), |cell| self.text(cell))
            };
            let head = [row.row.clone(), row.system.clone()].into_iter();
            table.add_row(head.chain(self.metrics.iter().map(cell)));
        }
        let mut text = format!("{}\n{table}\n{}\n", self.title(), self.verdict());
        for reason in self.reasons() {
            text.push_str(&format!("  not checkable: {reason}\n"));
        }
        text.push_str(
            "= reproduced, ≠ not reproduced (by ours − published), ? not checkable; [95 % \
             bootstrap interval over users], n users in the mean.\n",
        );
        if let Some(few) = self.few() {
            text.push_str(&format!("Warning: {few}.\n"));
        }
        text
    }

    /// A warning about intervals over few users.
    pub fn few(&self) -> Option<String> {
        let cells = self.rows.iter().flat_map(|row| &row.cells);
        let few = cells.filter(|cell| cell.interval.is_some() && cell.n_users < FEW_UNITS);
        let few = distinct(few.map(|cell| users_text(cell.n_users, cell.n_users)));
        let of = |n: &String| format!("slice {} ({n})", self.about.slice);
        few_users(&few.iter().map(of).collect::<Vec<_>>())
    }
}

fn why_not(system: &str, about: &About, rows: &[ResultRow]) -> String {
    let mut of_system = rows.iter().filter(|row| row.system == system).peekable();
    if of_system.peek().is_none() {
        return format!("the system `{system}` has no result");
    }
    if of_system.any(|row| row.fold == about.fold && row.slice == about.slice.to_string()) {
        return "no user has a value, or it was not computed".into();
    }
    format!("`{system}` has no result for fold {}, slice {}", about.fold, about.slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_and_cutting_are_told_apart() {
        assert_eq!(shortened(0.5417, 0.542, 3), Some(Precision::Rounded));
        assert_eq!(shortened(0.5417, 0.541, 3), Some(Precision::Cut));
        assert_eq!(shortened(0.5412, 0.541, 3), Some(Precision::Either));
        assert_eq!(shortened(0.5399, 0.541, 3), None);
        // 0.32 less a rounding error, cut: the last bit decides.
        assert_eq!(shortened(0.319_999_999_999_999_9, 0.319, 3), Some(Precision::Cut));
        assert_eq!(shortened(0.32, 0.319, 3), Some(Precision::Cut));
        assert_eq!(shortened(0.320_01, 0.319, 3), None);
    }
}

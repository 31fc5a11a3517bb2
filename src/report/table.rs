//! Tables of systems and metrics, for the terminal, Markdown, LaTeX and CSV.

mod caveats;
mod declared;
mod latex;
pub(super) mod notes;
mod write;

pub(super) use write::plain_markdown;

pub use declared::{DefaultPlace, TableRequest, default_table, main_metrics};

use crate::{
    analysis::{Against, MEAN, Place, ResultRow},
    base::text::{distinct, grouped},
    core::{Better, MeasureKey},
    tasks::{self, Width},
};

/// Stands beside a value that differs significantly from the reference.
const MARK: &str = "†";
/// Decimals of values, unless something else is asked for.
pub const DIGITS: usize = 4;

/// Which rows a table shows.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    pub protocol: String,
    pub convention: String,
    pub slice: String,
    pub k: usize,
    /// A fold's name, or `mean`.
    pub fold: String,
}

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

impl Selection {
    /// What the selection is made of, by name.
    fn parts(&self) -> [(&'static str, String); 5] {
        [
            ("protocol", self.protocol.clone()),
            ("convention", self.convention.clone()),
            ("slice", self.slice.clone()),
            ("k", self.k.to_string()),
            ("fold", self.fold.clone()),
        ]
    }

    /// The column of a metric.
    fn place(&self, metric: &str) -> Place {
        let measure = MeasureKey {
            protocol: self.protocol.clone(),
            convention: self.convention.clone(),
            metric: metric.to_owned(),
            k: self.k,
        };
        Place { measure, slice: self.slice.clone(), fold: self.fold.clone() }
    }

    fn holds(&self, row: &ResultRow) -> bool {
        row.protocol == self.protocol
            && row.convention == self.convention
            && row.slice == self.slice
            && row.k == self.k
            && row.fold == self.fold
            && !row.one_of_several
    }

    /// Every selection that `rows` have, in their order, of the fold `fold`.
    pub fn all(rows: &[ResultRow], fold: &str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for row in rows.iter().filter(|row| row.fold == fold && !row.one_of_several) {
            if !all.iter().rev().any(|selection| selection.holds(row)) {
                all.push(Self {
                    protocol: row.protocol.clone(),
                    convention: row.convention.clone(),
                    slice: row.slice.clone(),
                    k: row.k,
                    fold: row.fold.clone(),
                });
            }
        }
        all.sort_by_key(|of| {
            let place = |matches: &dyn Fn(&ResultRow) -> bool| rows.iter().position(matches);
            (
                place(&|row| row.protocol == of.protocol),
                place(&|row| row.convention == of.convention),
                place(&|row| row.slice == of.slice),
                of.k,
            )
        });
        all
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::with_means;

    /// Of 466 and 460 users, 800 different ones.
    fn rows() -> Vec<ResultRow> {
        let mut rows = Vec::new();
        for (system, base) in [("popularity", 0.2), ("als[α=1,k=2]", 0.4)] {
            for (fold, n) in [("u1", 456), ("u2", 460)] {
                for metric in ["precision", "ndcg"] {
                    let seeds = if base > 0.3 { &["1", "2"][..] } else { &["1"] };
                    rows.extend(seeds.iter().map(|seed| ResultRow {
                        system: system.into(),
                        fold: fold.into(),
                        seed: (*seed).into(),
                        slice: "cold<10".into(),
                        metric: metric.into(),
                        value: Some(base + f64::from(n * seed.parse::<i32>().unwrap()) / 10_000.0),
                        n_users: n as usize,
                        n_pairs: n as usize,
                        fingerprint: "0123456789".into(),
                        is_seeded: seeds.len() > 1,
                        ..ResultRow::example()
                    }));
                }
            }
        }
        with_means(rows, &|group| match group.iter().all(|row| row.fold == group[0].fold) {
            true => (group[0].n_users, group[0].n_pairs),
            false => (800, 916),
        })
    }

    fn selection(fold: &str) -> Selection {
        Selection {
            protocol: "full".into(),
            convention: "standard".into(),
            slice: "cold<10".into(),
            k: 10,
            fold: fold.into(),
        }
    }

    fn table(fold: &str) -> Table {
        Table::new(&rows(), &selection(fold)).unwrap()
    }

    #[test]
    fn the_terminal_table_says_what_it_rests_on() {
        insta::assert_snapshot!(table("mean").write(Format::Terminal));
    }

    #[test]
    fn the_markdown_table_says_what_it_rests_on() {
        insta::assert_snapshot!(table("u1").write(Format::Markdown));
    }

    #[test]
    fn the_latex_table_says_what_it_rests_on() {
        insta::assert_snapshot!(table("mean").write(Format::Latex));
    }

    /// 456 / 10,000 is .0456: with seeds 1 and 2 ALS has .4456 and .4912 on u1, of mean .4684 and
    /// standard deviation .0322.
    #[test]
    fn one_fold_is_its_mean_over_seeds_with_their_spread() {
        let text = table("u1").write(Format::Terminal);
        assert!(text.contains("0.4684 ± 0.0322*"), "{text}");
        assert!(text.contains("±: sample standard deviation over the 2 seeds."), "{text}");
    }

    /// u1 has .4684, u2 .4 + (.046 + .092) / 2 = .4690: sd .0004; pooled over seeds .0324.
    #[test]
    fn the_spread_shown_is_that_asked_for() {
        let of = |spread| {
            let table = Table::joint(&rows(), &[selection("mean")], Some(spread)).unwrap();
            table.write(Format::Terminal)
        };
        let (folds, seeds) = (of(Spread::Folds), of(Spread::Seeds));
        assert!(folds.contains("0.4687 ± 0.0004*"), "{folds}");
        assert!(folds.contains("over the 2 folds (of means over seeds)."), "{folds}");
        assert!(seeds.contains("0.4687 ± 0.0324*"), "{seeds}");
        assert!(seeds.contains("over seeds within a fold, pooled over the 2 folds."), "{seeds}");
    }

    #[test]
    fn csv_has_both_spreads_and_both_counts() {
        let csv = table("mean").write(Format::Csv);
        assert!(csv.starts_with(
            "system,precision,precision_sd_folds,precision_sd_seeds,precision_n_users,precision_n_pairs,ndcg"
        ));
        assert!(csv.lines().nth(2).unwrap().contains(",800,916"), "{csv}");
    }

    /// An interval takes the place of ±, so nothing is said of ±; without a spread and without an
    /// interval nothing is said of either.
    #[test]
    fn notes_explain_what_is_shown_and_nothing_else() {
        let mut rows = rows();
        let plain = Table::new(&rows, &selection("u2")).unwrap();
        assert_eq!(plain.notes(false).iter().filter(|note| note.contains('[')).count(), 0);
        for row in &mut rows {
            (row.low, row.high) = (row.value.map(|v| v - 0.1), row.value.map(|v| v + 0.1));
        }
        let table = Table::new(&rows, &selection("mean")).unwrap();
        let text = table.write(Format::Terminal);
        assert!(!text.contains('±') && text.contains("[low, high]: 95 % interval"), "{text}");
        assert!(text.contains("each drawn once for all folds and seeds"), "{text}");
        assert!(table.notes(true).iter().any(|note| note.starts_with('±')), "HTML shows both");
        rows.retain(|row| row.system == "popularity");
        rows.iter_mut().for_each(|row| (row.low, row.high) = (None, None));
        let text = Table::new(&rows, &selection("mean")).unwrap().write(Format::Terminal);
        for absent in ["seed", "[low", "best"] {
            assert!(!text.contains(absent), "{absent} in {text}");
        }
    }

    #[test]
    fn intervals_over_few_users_are_warned_of() {
        let mut rows = rows();
        for row in &mut rows {
            (row.interval_asked, row.n_users, row.n_pairs) = (true, 6, 6);
            (row.low, row.high) = (Some(0.1), Some(0.6));
        }
        let text = |rows: &[ResultRow]| {
            Table::new(rows, &selection("mean")).unwrap().write(Format::Terminal)
        };
        let few = text(&rows);
        assert!(
            few.contains("cover the mean less often than 95 %: slice cold<10 (6 users)"),
            "{few}"
        );
        for row in &mut rows {
            (row.n_users, row.n_pairs, row.low, row.high) = (2, 4, None, None);
        }
        let none = text(&rows);
        let expected = "No interval over fewer than 3 users: slice cold<10 (2 users).";
        assert!(none.contains(expected), "{none}");
    }

    #[test]
    fn means_over_different_users_say_so_in_every_cell() {
        let mut rows = rows();
        for row in rows.iter_mut().filter(|row| row.metric == "ndcg") {
            (row.n_users, row.n_pairs) = (3, 5);
        }
        let table = Table::new(&rows, &selection("mean")).unwrap();
        let text = table.write(Format::Terminal);
        assert!(text.contains("(3; 5)") && text.contains("(800; 916)"), "{text}");
        assert!(text.contains("means of a row are over different users"), "{text}");
        assert!(text.contains("in parentheses: users; user-fold pairs"), "{text}");
    }

    #[test]
    fn different_fingerprints_are_said_not_to_compare() {
        let mut rows = rows();
        rows[0].fingerprint = "other".into();
        let text = Table::new(&rows, &selection("u1")).unwrap().write(Format::Terminal);
        assert!(text.contains("not comparable"), "{text}");
        let is_marked = |line: &str| line.starts_with(" als") && line.contains('*');
        assert!(!text.lines().any(is_marked), "{text}");
    }
}

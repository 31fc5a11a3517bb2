//! Tables of systems against metrics, for terminals, Markdown, LaTeX and CSV.

mod notes;
mod write;

use comfy_table::{ContentArrangement, TableComponent, presets};

use super::ResultRow;

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

/// How a table is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Terminal,
    Markdown,
    Latex,
    Csv,
}

/// Systems against metrics.
#[derive(Clone, Debug)]
pub struct Table {
    pub title: String,
    /// A name for files: `full-standard-all-k10`.
    pub file_name: String,
    /// Cutoff, where all rows have the same.
    pub k: Option<usize>,
    /// What the rows before the systems differ in: some of protocol, convention, slice, k, fold.
    pub leads: Vec<&'static str>,
    pub metrics: Vec<String>,
    pub rows: Vec<Row>,
    /// What the numbers rest on, one sentence a line.
    pub notes: Vec<String>,
    n_shown: NShown,
}

/// One system under one selection.
#[derive(Clone, Debug)]
pub struct Row {
    pub leads: Vec<String>,
    pub system: String,
    pub cells: Vec<Cell>,
}

/// Where a table says how many users its numbers rest on.
#[derive(Clone, Copy, Debug, PartialEq)]
enum NShown {
    Note,
    Column,
    Cell,
}

/// One number with what it rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub value: Option<f64>,
    pub sd: Option<f64>,
    pub n_users: usize,
    /// The 95 % bootstrap interval over users, where it was asked for.
    pub interval: Option<(f64, f64)>,
    /// Whether no other system's value is higher.
    pub best: bool,
}

/// Metrics of which less is better, or neither: nothing is marked best there.
pub(super) const UNRANKED: [&str; 3] = ["gini", "novelty", "item-coverage"];

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

    fn holds(&self, row: &ResultRow) -> bool {
        row.protocol == self.protocol
            && row.convention == self.convention
            && row.slice == self.slice
            && row.k == self.k
            && row.fold == self.fold
    }

    /// Every selection that `rows` have, in their order, of the fold `fold`.
    pub fn all(rows: &[ResultRow], fold: &str) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for row in rows.iter().filter(|row| row.fold == fold) {
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
        Self::joint(rows, std::slice::from_ref(selection))
    }

    /// One table of several selections, below each other; what they differ in stands before the
    /// systems.
    pub fn joint(rows: &[ResultRow], selections: &[Selection]) -> Option<Self> {
        let chosen: Vec<(usize, &ResultRow)> = rows
            .iter()
            .filter_map(|row| Some((selections.iter().position(|of| of.holds(row))?, row)))
            .collect();
        let metrics = distinct(chosen.iter().map(|(_, row)| row.metric.as_str()));
        let first = selections.first()?.parts();
        let varies = |at: usize| selections.iter().any(|of| of.parts()[at] != first[at]);
        let leads: Vec<usize> = (0..first.len()).filter(|at| varies(*at)).collect();
        let mut table_rows = Vec::new();
        for (at, selection) in selections.iter().enumerate() {
            let of_selection: Vec<&ResultRow> =
                chosen.iter().filter(|(of, _)| *of == at).map(|(_, row)| *row).collect();
            let lead_cells = || leads.iter().map(|lead| selection.parts()[*lead].1.clone());
            table_rows.extend(rows_of(&of_selection, &metrics, &|| lead_cells().collect()));
        }
        let users = |row: &Row| -> Vec<usize> {
            let cells = metrics.iter().zip(&row.cells);
            let of_users = cells.filter(|(metric, _)| !UNRANKED.contains(&metric.as_str()));
            let mut counts: Vec<usize> = of_users.map(|(_, cell)| cell.n_users).collect();
            counts.dedup();
            counts
        };
        let counts: Vec<Vec<usize>> = table_rows.iter().map(users).collect();
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
            .filter(|(name, value)| !of_leads(name) && (*name != "fold" || value != "mean"))
            .map(|(name, value)| match *name {
                "k" => format!("k = {value}"),
                _ => format!("{name} {value}"),
            })
            .collect();
        let file_name: Vec<String> = first
            .iter()
            .filter(|(name, value)| !of_leads(name) && (*name != "fold" || value != "mean"))
            .map(|(name, value)| match *name {
                "k" => format!("k{value}"),
                _ => value.replace('<', "-under-"),
            })
            .collect();
        let chosen: Vec<&ResultRow> = chosen.into_iter().map(|(_, row)| row).collect();
        (!chosen.is_empty()).then(|| Self {
            title: title.join(", "),
            file_name: file_name.join("-"),
            k: (!of_leads("k")).then_some(selections[0].k),
            leads: leads.iter().map(|lead| first[*lead].0).collect(),
            notes: notes::of(selections, &chosen, rows, n_shown, &counts),
            metrics,
            rows: table_rows,
            n_shown,
        })
    }

    /// The table as text.
    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Terminal => self.terminal(),
            Format::Markdown => self.markdown(),
            Format::Latex => self.latex(),
            Format::Csv => self.csv(),
        }
    }

    /// The names of all columns.
    pub fn header(&self) -> Vec<String> {
        let mut header: Vec<String> = self.leads.iter().map(|lead| (*lead).to_owned()).collect();
        header.push("system".into());
        if self.n_shown == NShown::Column {
            header.push("n".into());
        }
        header.extend(self.metrics.iter().cloned());
        header
    }

    /// The cells before the metrics: what the row is about.
    pub fn row_head(&self, row: &Row) -> Vec<String> {
        let mut head = row.leads.clone();
        head.push(row.system.clone());
        if self.n_shown == NShown::Column {
            let cells = self.metrics.iter().zip(&row.cells);
            let n = cells.filter(|(metric, _)| !UNRANKED.contains(&metric.as_str()));
            head.push(n.map(|(_, cell)| cell.n_users).next().unwrap_or_default().to_string());
        }
        head
    }

    /// A cell's text: `0.2606 ± 0.0031 (456)`, or `0.2606 [0.2411, 0.2790]`.
    pub fn text(&self, cell: &Cell, plus_minus: &str) -> String {
        let Some(value) = cell.value else { return "–".into() };
        let spread = match (cell.interval, cell.sd) {
            (Some((low, high)), _) => format!(" [{low:.4}, {high:.4}]"),
            (None, Some(sd)) => format!(" {plus_minus} {sd:.4}"),
            (None, None) => String::new(),
        };
        let n = match self.n_shown {
            NShown::Cell => format!(" ({})", cell.n_users),
            _ => String::new(),
        };
        format!("{value:.4}{spread}{n}")
    }
}

/// A table without lines but those under its header.
pub(super) fn plain_table() -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.remove_style(TableComponent::HorizontalLines);
    table.remove_style(TableComponent::MiddleIntersections);
    table.remove_style(TableComponent::LeftBorderIntersections);
    table.remove_style(TableComponent::RightBorderIntersections);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table
}

/// One table row for each system, with the best of each metric marked.
fn rows_of(chosen: &[&ResultRow], metrics: &[String], leads: &dyn Fn() -> Vec<String>) -> Vec<Row> {
    let cell = |system: &str, metric: &str| {
        let row = chosen.iter().find(|row| row.system == system && row.metric == metric);
        row.map_or_else(Cell::default, |row| Cell {
            value: row.value,
            sd: row.sd,
            n_users: row.n_users,
            interval: row.low.zip(row.high),
            best: false,
        })
    };
    let mut rows: Vec<Row> = distinct(chosen.iter().map(|row| row.system.as_str()))
        .into_iter()
        .map(|system| Row {
            leads: leads(),
            cells: metrics.iter().map(|metric| cell(&system, metric)).collect(),
            system,
        })
        .collect();
    let is_oracle = |system: &str| chosen.iter().any(|row| row.system == system && row.knows_test);
    let compared: Vec<bool> = rows.iter().map(|row| !is_oracle(&row.system)).collect();
    if compared.iter().filter(|compared| **compared).count() > 1 {
        for (at, metric) in metrics.iter().enumerate() {
            if UNRANKED.contains(&metric.as_str()) {
                continue;
            }
            let of_compared = || rows.iter().zip(&compared).filter(|(_, compared)| **compared);
            let values = of_compared().filter_map(|(row, _)| row.cells[at].value);
            let best = values.fold(f64::NEG_INFINITY, f64::max);
            for (row, compared) in rows.iter_mut().zip(&compared) {
                row.cells[at].best = *compared && row.cells[at].value == Some(best);
            }
        }
    }
    rows
}

/// Values in the order in which they first come.
pub(super) fn distinct(values: impl Iterator<Item = impl AsRef<str>>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        // Neighbours are often alike, so the last seen is looked at first.
        if !seen.iter().rev().any(|known| known == value.as_ref()) {
            seen.push(value.as_ref().to_owned());
        }
    }
    seen
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::with_means;

    fn rows() -> Vec<ResultRow> {
        let mut rows = Vec::new();
        for (system, base) in [("popularity", 0.2), ("als[α=1,k=2]", 0.4)] {
            for (fold, n) in [("u1", 456), ("u2", 460)] {
                for metric in ["precision", "ndcg"] {
                    rows.push(ResultRow {
                        experiment: "e".into(),
                        system: system.into(),
                        fold: fold.into(),
                        seed: "1".into(),
                        protocol: "full".into(),
                        convention: "standard".into(),
                        slice: "cold<10".into(),
                        metric: metric.into(),
                        k: 10,
                        value: Some(base + f64::from(n) / 10_000.0),
                        sd: None,
                        n_users: n as usize,
                        fingerprint: "0123456789".into(),
                        low: None,
                        high: None,
                        knows_test: false,
                        own_lists_of: None,
                    });
                }
            }
        }
        with_means(rows)
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

    #[test]
    fn means_over_different_users_say_so_in_every_cell() {
        let mut rows = rows();
        rows.iter_mut().filter(|row| row.metric == "ndcg").for_each(|row| row.n_users = 3);
        let table = Table::new(&rows, &selection("mean")).unwrap();
        let text = table.write(Format::Terminal);
        assert!(text.contains("(3)") && text.contains("(916)"), "{text}");
        assert!(text.contains("means over different users"), "{text}");
    }

    #[test]
    fn different_fingerprints_are_said_not_to_compare() {
        let mut rows = rows();
        rows[0].fingerprint = "other".into();
        let text = Table::new(&rows, &selection("u1")).unwrap().write(Format::Terminal);
        assert!(text.contains("do not compare"), "{text}");
    }
}

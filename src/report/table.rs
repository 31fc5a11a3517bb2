//! Tables of systems against metrics, for terminals, Markdown, LaTeX and CSV.

use comfy_table::{CellAlignment, ContentArrangement, TableComponent, presets};

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
    pub selection: Selection,
    pub metrics: Vec<String>,
    pub rows: Vec<(String, Vec<Cell>)>,
    /// What the numbers rest on, one sentence a line.
    pub notes: Vec<String>,
    /// Whether cells say their own number of users.
    n_by_cell: bool,
}

/// One number with what it rests on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cell {
    pub value: Option<f64>,
    pub sd: Option<f64>,
    pub n_users: usize,
    /// Whether no other system's value is higher.
    pub best: bool,
}

/// Metrics of which less is better, or neither: nothing is marked best there.
const UNRANKED: [&str; 3] = ["gini", "novelty", "item-coverage"];

impl Table {
    /// Picks the rows of `selection`; none where there is no such row.
    pub fn new(rows: &[ResultRow], selection: &Selection) -> Option<Self> {
        let chosen: Vec<&ResultRow> = rows
            .iter()
            .filter(|row| {
                row.protocol == selection.protocol
                    && row.convention == selection.convention
                    && row.slice == selection.slice
                    && row.k == selection.k
                    && row.fold == selection.fold
            })
            .collect();
        let metrics = distinct(chosen.iter().map(|row| row.metric.as_str()));
        let systems = distinct(chosen.iter().map(|row| row.system.as_str()));
        let cell = |system: &str, metric: &str| {
            let row = chosen.iter().find(|row| row.system == system && row.metric == metric);
            row.map_or_else(Cell::default, |row| Cell {
                value: row.value,
                sd: row.sd,
                n_users: row.n_users,
                best: false,
            })
        };
        let mut table_rows: Vec<(String, Vec<Cell>)> = systems
            .iter()
            .map(|system| (system.clone(), metrics.iter().map(|m| cell(system, m)).collect()))
            .collect();
        for (at, metric) in metrics.iter().enumerate() {
            if UNRANKED.contains(&metric.as_str()) || table_rows.len() < 2 {
                continue;
            }
            let values = table_rows.iter().filter_map(|(_, cells)| cells[at].value);
            let best = values.fold(f64::NEG_INFINITY, f64::max);
            for (_, cells) in &mut table_rows {
                cells[at].best = cells[at].value == Some(best);
            }
        }
        let of_users = |row: &&&ResultRow| !UNRANKED.contains(&row.metric.as_str());
        let counts = distinct(chosen.iter().filter(of_users).map(|row| row.n_users.to_string()));
        let n_by_cell = counts.len() > 1;
        let fingerprints = distinct(chosen.iter().map(|row| row.fingerprint.as_str()));
        let mut notes = vec![notes_of(selection, &chosen, rows)];
        if n_by_cell {
            notes.push(
                "The numbers in a row are means over different users; in brackets: over how many."
                    .to_owned(),
            );
        } else if let Some(n) = counts.first() {
            let over = if selection.fold == "mean" { ", all folds together" } else { "" };
            notes.push(format!("n = {n} users{over}."));
        }
        let lists =
            distinct(chosen.iter().filter(|row| !of_users(row)).map(|row| row.n_users.to_string()));
        if lists.len() == 1 && lists != counts && !n_by_cell {
            notes.push(format!("novelty, gini and item-coverage: over {} lists.", lists[0]));
        }
        if fingerprints.len() > 1 {
            notes.push(format!(
                "These numbers do not compare: they rest on different data, splits or rules \
                 (fingerprints {}).",
                fingerprints.join(", ")
            ));
        } else if let Some(fingerprint) = fingerprints.first() {
            notes.push(format!("Ties: lower item id first. Fingerprint {fingerprint}."));
        }
        (!chosen.is_empty()).then_some(Self {
            selection: selection.clone(),
            metrics,
            rows: table_rows,
            notes,
            n_by_cell,
        })
    }

    /// `protocol full, convention standard, slice all, k = 10`
    pub fn title(&self) -> String {
        let of = &self.selection;
        let fold = if of.fold == "mean" { String::new() } else { format!(", fold {}", of.fold) };
        format!(
            "protocol {}, convention {}, slice {}, k = {}{fold}",
            of.protocol, of.convention, of.slice, of.k
        )
    }

    /// A name for files: `full-standard-all-k10`.
    pub fn file_name(&self) -> String {
        let of = &self.selection;
        let fold = if of.fold == "mean" { String::new() } else { format!("-{}", of.fold) };
        let name = format!("{}-{}-{}-k{}{fold}", of.protocol, of.convention, of.slice, of.k);
        name.replace('<', "-under-")
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

    /// A cell's text: `0.2606 ± 0.0031 (456)`.
    pub fn text(&self, cell: &Cell, plus_minus: &str) -> String {
        let Some(value) = cell.value else { return "–".into() };
        let sd = cell.sd.map(|sd| format!(" {plus_minus} {sd:.4}")).unwrap_or_default();
        let n = if self.n_by_cell { format!(" ({})", cell.n_users) } else { String::new() };
        format!("{value:.4}{sd}{n}")
    }

    fn terminal(&self) -> String {
        let mut table = comfy_table::Table::new();
        table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
        table.remove_style(TableComponent::HorizontalLines);
        table.remove_style(TableComponent::MiddleIntersections);
        table.remove_style(TableComponent::LeftBorderIntersections);
        table.remove_style(TableComponent::RightBorderIntersections);
        table.set_content_arrangement(ContentArrangement::Disabled);
        let header = std::iter::once("system").chain(self.metrics.iter().map(String::as_str));
        table.set_header(header);
        for (system, cells) in &self.rows {
            let texts = cells.iter().map(|cell| {
                let mark = if cell.best { "*" } else { " " };
                format!("{}{mark}", self.text(cell, "±"))
            });
            table.add_row(std::iter::once(system.clone()).chain(texts));
        }
        for at in 1..=self.metrics.len() {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{}\n{table}\n{}\n", self.title(), self.notes.join("\n"))
    }

    fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n| system |", self.title());
        for metric in &self.metrics {
            text.push_str(&format!(" {metric} |"));
        }
        text.push_str(&format!("\n| --- |{}\n", " ---: |".repeat(self.metrics.len())));
        for (system, cells) in &self.rows {
            text.push_str(&format!("| {} |", system.replace('|', "\\|")));
            for cell in cells {
                let value = self.text(cell, "±");
                text.push_str(&if cell.best {
                    format!(" **{value}** |")
                } else {
                    format!(" {value} |")
                });
            }
            text.push('\n');
        }
        format!("{text}\n{}\n", self.notes.join("\n"))
    }

    fn latex(&self) -> String {
        let mut text = format!(
            "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\caption{{{} {}}}\n\
             \\begin{{tabular}}{{l{}}}\n\\toprule\nsystem",
            escaped(&upper_first(&self.title())),
            escaped(&self.notes.join(" ")),
            "r".repeat(self.metrics.len())
        );
        for metric in &self.metrics {
            text.push_str(&format!(" & {}", escaped(metric)));
        }
        text.push_str(" \\\\\n\\midrule\n");
        for (system, cells) in &self.rows {
            text.push_str(&escaped(system));
            for cell in cells {
                let value = self.text(cell, "$\\pm$").replace('–', "--");
                let value = if cell.best { format!("\\textbf{{{value}}}") } else { value };
                text.push_str(&format!(" & {value}"));
            }
            text.push_str(" \\\\\n");
        }
        text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    }

    fn csv(&self) -> String {
        let mut text = String::from("system");
        for metric in &self.metrics {
            text.push_str(&format!(",{metric},{metric}_sd,{metric}_n"));
        }
        for (system, cells) in &self.rows {
            let quoted = system.replace('"', "\"\"");
            text.push_str(&format!("\n\"{quoted}\""));
            for cell in cells {
                let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
                text.push_str(&format!(
                    ",{},{},{}",
                    number(cell.value),
                    number(cell.sd),
                    cell.n_users
                ));
            }
        }
        text + "\n"
    }
}

fn notes_of(selection: &Selection, chosen: &[&ResultRow], all: &[ResultRow]) -> String {
    if selection.fold != "mean" {
        let seeds = distinct(chosen.iter().map(|row| row.seed.as_str()));
        return format!("One fold, seed {}.", seeds.join(", "));
    }
    let single = || all.iter().filter(|row| row.fold != "mean");
    let folds = distinct(single().map(|row| row.fold.as_str()));
    let seeds = distinct(single().map(|row| row.seed.as_str()));
    format!(
        "Mean{} over {} ({}) and {} ({}); * best.",
        if folds.len() * seeds.len() > 1 { " ± sample standard deviation" } else { "" },
        plural(folds.len(), "fold"),
        folds.join(", "),
        plural(seeds.len(), "seed"),
        seeds.join(", ")
    )
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn upper_first(text: &str) -> String {
    let mut letters = text.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                escaped.push('\\');
                escaped.push(letter);
            }
            '<' => escaped.push_str("\\textless{}"),
            '>' => escaped.push_str("\\textgreater{}"),
            '±' => escaped.push_str("$\\pm$"),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '*' => escaped.push_str("bold:"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

/// Values in the order in which they first come.
pub(super) fn distinct(values: impl Iterator<Item = impl Into<String>>) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for value in values {
        let value = value.into();
        if !seen.contains(&value) {
            seen.push(value);
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
                    });
                }
            }
        }
        with_means(rows)
    }

    fn table(fold: &str) -> Table {
        let selection = Selection {
            protocol: "full".into(),
            convention: "standard".into(),
            slice: "cold<10".into(),
            k: 10,
            fold: fold.into(),
        };
        Table::new(&rows(), &selection).unwrap()
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
        let table = Table::new(&rows, &table("mean").selection).unwrap();
        let text = table.write(Format::Terminal);
        assert!(text.contains("(3)") && text.contains("(916)"), "{text}");
        assert!(text.contains("means over different users"), "{text}");
    }

    #[test]
    fn different_fingerprints_are_said_not_to_compare() {
        let mut rows = rows();
        rows[0].fingerprint = "other".into();
        let selection = Selection { fold: "u1".into(), ..table("u1").selection };
        let text = Table::new(&rows, &selection).unwrap().write(Format::Terminal);
        assert!(text.contains("do not compare"), "{text}");
    }
}

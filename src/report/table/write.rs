//! A table as text: for terminals, Markdown, LaTeX and CSV.

use comfy_table::CellAlignment;

use super::{Row, Table, plain_table};

impl Table {
    pub(super) fn terminal(&self) -> String {
        let mut table = plain_table();
        table.set_header(self.header());
        for row in &self.rows {
            let texts = row.cells.iter().map(|cell| {
                let mark = if cell.best { "*" } else { " " };
                format!("{}{mark}", self.text(cell, "±"))
            });
            table.add_row(self.row_head(row).into_iter().chain(texts));
        }
        for at in self.leads.len() + 1..self.header().len() {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        format!("{}\n{table}\n{}\n", self.title, self.notes(false).join("\n"))
    }

    pub(super) fn markdown(&self) -> String {
        let header = self.header();
        let left = self.leads.len() + 1;
        let names: Vec<String> = header.iter().map(|name| plain_markdown(name)).collect();
        let mut text =
            format!("**{}**\n\n| {} |\n", plain_markdown(&self.title), names.join(" | "));
        text.push_str(&"| --- ".repeat(left));
        text.push_str(&format!("|{}\n", " ---: |".repeat(header.len() - left)));
        for row in &self.rows {
            for head in self.row_head(row) {
                text.push_str(&format!("| {} ", plain_markdown(&head)));
            }
            text.push('|');
            for cell in &row.cells {
                let value = self.text(cell, "±");
                text.push_str(&if cell.best {
                    format!(" **{value}** |")
                } else {
                    format!(" {value} |")
                });
            }
            text.push('\n');
        }
        let notes = self.notes(false).into_iter();
        let notes = notes.map(|note| plain_markdown(&note.replace("* best.", "Bold: best.")));
        format!("{text}\n{}\n", notes.collect::<Vec<String>>().join("\n"))
    }

    pub(super) fn latex(&self) -> String {
        let header = self.header();
        let left = self.leads.len() + 1;
        let mut text = format!(
            "% needs \\usepackage{{booktabs}}\n\\begin{{table}}\n\\centering\n\\caption{{{} {}}}\n\
             \\begin{{tabular}}{{{}{}}}\n\\toprule\n",
            escaped(&upper_first(&self.title)),
            escaped(&self.notes(false).join(" ")),
            "l".repeat(left),
            "r".repeat(header.len() - left)
        );
        let header: Vec<String> = header.iter().map(|name| escaped(name)).collect();
        text.push_str(&header.join(" & "));
        text.push_str(" \\\\\n\\midrule\n");
        let mut above: Option<&Row> = None;
        for row in &self.rows {
            if above.is_some_and(|above| above.leads != row.leads) {
                text.push_str("\\midrule\n");
            }
            above = Some(row);
            let head: Vec<String> = self.row_head(row).iter().map(|head| escaped(head)).collect();
            text.push_str(&head.join(" & "));
            for cell in &row.cells {
                let value = self.text(cell, "$\\pm$").replace('–', "--");
                let value = if cell.best { format!("\\textbf{{{value}}}") } else { value };
                text.push_str(&format!(" & {value}"));
            }
            text.push_str(" \\\\\n");
        }
        text + "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    }

    pub(super) fn csv(&self) -> String {
        let has_intervals =
            self.rows.iter().flat_map(|row| &row.cells).any(|c| c.interval.is_some());
        let mut header: Vec<String> = self.leads.iter().map(|lead| (*lead).to_owned()).collect();
        header.push("system".into());
        for metric in &self.metrics {
            header.push(metric.clone());
            let more = ["sd_folds", "sd_seeds", "n_users", "n_pairs"];
            header.extend(more.map(|name| format!("{metric}_{name}")));
            if has_intervals {
                header.extend([format!("{metric}_low"), format!("{metric}_high")]);
            }
        }
        let mut text = header.join(",");
        for row in &self.rows {
            text.push('\n');
            for lead in &row.leads {
                text.push_str(&format!("{lead},"));
            }
            text.push_str(&format!("\"{}\"", row.system.replace('"', "\"\"")));
            for cell in &row.cells {
                let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
                let (low, high) = cell.interval.unzip();
                for value in [cell.value, cell.sd_folds, cell.sd_seeds] {
                    text.push_str(&format!(",{}", number(value)));
                }
                text.push_str(&format!(",{},{}", cell.n_users, cell.n_pairs));
                if has_intervals {
                    text.push_str(&format!(",{},{}", number(low), number(high)));
                }
            }
        }
        text + "\n"
    }
}

/// A text without markup: names are untrusted, and a line break would end the table.
fn plain_markdown(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\n' | '\r' | '\t' => plain.push(' '),
            '\\' | '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '&' | '~' => {
                plain.push('\\');
                plain.push(letter);
            }
            _ => plain.push(letter),
        }
    }
    plain
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
            '*' => escaped.push_str("Bold:"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

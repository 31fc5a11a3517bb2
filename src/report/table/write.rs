//! A table as text: for terminals, Markdown, CSV and JSON.

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::{Column, MARK, Row, Table, notes::Note};
use crate::base::text::{plain_table, wrapped};

/// A name in a terminal is not made narrower than this.
const NARROWEST_NAME: usize = 8;
/// Characters beside the text of a column.
const GAP: usize = 3;

impl Table {
    /// Notes on what is shown; see [`Table::notes`].
    pub(super) fn shown_notes(&self, shows_both: bool) -> impl Iterator<Item = &Note> {
        let mut cells = self.rows.iter().flat_map(|row| &row.cells);
        let shows_sd =
            cells.any(|cell| cell.sd.is_some() && (shows_both || cell.interval.is_none()));
        self.notes.iter().filter(move |note| shows_sd || !note.is_of_spread)
    }

    /// `room`: characters on a line of the terminal, if it has lines.
    pub(super) fn terminal(&self, room: Option<usize>) -> String {
        let header = self.header();
        let left = header.len() - self.columns.len();
        let texts: Vec<(Vec<String>, Vec<String>)> =
            self.rows.iter().map(|row| (self.row_head(row), self.terminal_cells(row))).collect();
        let length = |text: &str| text.chars().count();
        let column_width = |at: usize| {
            let cells = texts.iter().map(|(_, cells)| length(&cells[at]));
            let heads = self.heading(at).into_iter().map(|line| length(&line) + 1);
            cells.chain(heads).max().unwrap_or(0) + GAP
        };
        let head_width = |at: usize| {
            let heads = texts.iter().map(|(heads, _)| length(&heads[at]));
            heads.chain([length(&header[at])]).max().unwrap_or(0)
        };
        let widest = (0..self.columns.len()).map(column_width).max().unwrap_or(0);
        let heads: usize = (0..left).map(|at| head_width(at) + GAP).sum();
        let name = left - 1 - usize::from(header[left - 1] != "system");
        let room = room.unwrap_or(usize::MAX);
        // Names are wrapped before columns are moved below.
        let all: usize = (0..self.columns.len()).map(column_width).sum();
        let whole = head_width(name);
        let others = heads - whole;
        let name_room = match others + all + whole <= room {
            true => whole,
            false => {
                let third = whole.min((room / 3).max(NARROWEST_NAME));
                let most = room.saturating_sub(others + widest).max(NARROWEST_NAME);
                room.saturating_sub(others + all).max(third).min(most).min(whole)
            }
        };
        let for_columns = room.saturating_sub(others + name_room).max(widest);
        let mut blocks: Vec<std::ops::Range<usize>> = Vec::new();
        let (mut from, mut used) = (0, 0);
        for at in 0..self.columns.len() {
            if used > 0 && used + column_width(at) > for_columns {
                blocks.push(from..at);
                (from, used) = (at, 0);
            }
            used += column_width(at);
        }
        blocks.push(from..self.columns.len());
        let mut text = wrapped(&self.title, room).join("\n") + "\n";
        for block in blocks {
            let mut table = plain_table();
            let columns = &self.columns[block.clone()];
            let mut heads: Vec<String> = header[..left].to_vec();
            let headings = block.clone().map(|at| self.heading(at));
            let headings: Vec<Vec<String>> = headings.collect();
            let height = headings.iter().map(Vec::len).max().unwrap_or(1);
            heads.extend(headings.iter().enumerate().map(|(at, lines)| {
                let is_first = at == 0 || columns[at - 1].group != columns[at].group;
                let above = lines[..lines.len() - 1].iter().filter(|_| is_first);
                let mut shown = vec![""; height - 1 - above.clone().count()];
                shown.extend(above.map(String::as_str));
                // Stars stand behind the numbers.
                let title = format!("{} ", columns[at].title);
                shown.push(&title);
                shown.join("\n")
            }));
            table.set_header(heads);
            let mut group = "";
            for (row, (heads, cells)) in self.rows.iter().zip(&texts) {
                if row.group != group && !row.group.is_empty() {
                    table.add_row([row.group.clone()]);
                }
                group = &row.group;
                let mut heads = heads.clone();
                heads[name] = wrapped(&heads[name], name_room).join("\n");
                table.add_row(heads.into_iter().chain(cells[block.clone()].iter().cloned()));
            }
            for at in self.leads.len() + 1..left + block.len() {
                if let Some(column) = table.column_mut(at) {
                    column.set_cell_alignment(CellAlignment::Right);
                }
            }
            text += &format!("{table}\n");
        }
        for note in self.notes(false) {
            match room {
                usize::MAX => text += &format!("{note}\n"),
                room => wrapped(note, room).iter().for_each(|line| text += &format!("{line}\n")),
            }
        }
        text
    }

    /// The lines of a column's heading.
    fn heading(&self, at: usize) -> Vec<String> {
        let column = &self.columns[at];
        let parts = column.group.split(", ").filter(|part| !part.is_empty());
        parts.chain([column.title.as_str()]).map(str::to_owned).collect()
    }

    fn terminal_cells(&self, row: &Row) -> Vec<String> {
        let has_marks = self.rows.iter().flat_map(|row| &row.cells).any(|cell| cell.differs);
        let texts = row.cells.iter().map(|cell| {
            let best = if cell.best { "*" } else { " " };
            let differs = match (has_marks, cell.differs) {
                (true, true) => MARK,
                (true, false) => " ",
                _ => "",
            };
            format!("{}{best}{differs}", self.text(cell, "±"))
        });
        texts.collect()
    }

    pub(super) fn markdown(&self) -> String {
        let header = self.header();
        let left = header.len() - self.columns.len();
        let has_groups = self.columns.iter().any(|column| !column.group.is_empty());
        let mut names: Vec<String> =
            header[..left].iter().map(|name| plain_markdown(name)).collect();
        // Markdown has one line of headings.
        names.extend(self.columns.iter().map(|column| match has_groups {
            true if !column.group.is_empty() => {
                format!("{}: {}", plain_markdown(&column.group), plain_markdown(&column.title))
            }
            _ => plain_markdown(&column.title),
        }));
        let title = self.caption.as_ref().unwrap_or(&self.title);
        let mut text = format!("**{}**\n\n| {} |\n", plain_markdown(title), names.join(" | "));
        let first = self.leads.len() + 1;
        text.push_str(&"| --- ".repeat(first));
        text.push_str(&format!("|{}\n", " ---: |".repeat(header.len() - first)));
        let mut group = "";
        for row in &self.rows {
            if row.group != group && !row.group.is_empty() {
                let empty = " |".repeat(header.len() - 1);
                text.push_str(&format!("| *{}* |{empty}\n", plain_markdown(&row.group)));
            }
            group = &row.group;
            for head in self.row_head(row) {
                text.push_str(&format!("| {} ", plain_markdown(&head)));
            }
            text.push('|');
            for cell in &row.cells {
                let value = self.text(cell, "±");
                let mark = if cell.differs { MARK } else { "" };
                text.push_str(&match (cell.best, cell.second) {
                    (true, _) => format!(" **{value}**{mark} |"),
                    (_, true) => format!(" <u>{value}</u>{mark} |"),
                    _ => format!(" {value}{mark} |"),
                });
            }
            text.push('\n');
        }
        let marks = self.marks_in_words().unwrap_or_default();
        let notes = self.notes(false).into_iter();
        let notes = notes.map(|note| plain_markdown(&note.replace("* best.", marks)));
        format!("{text}\n{}\n", notes.collect::<Vec<String>>().join("\n"))
    }

    pub(super) fn csv(&self) -> String {
        let has_intervals =
            self.rows.iter().flat_map(|row| &row.cells).any(|c| c.interval.is_some());
        let has_groups = self.rows.iter().any(|row| !row.group.is_empty());
        let mut header: Vec<String> = self.leads.iter().map(|lead| (*lead).to_owned()).collect();
        if has_groups {
            header.push("group".into());
        }
        header.push("system".into());
        for Column { csv, .. } in &self.columns {
            header.push(field(csv));
            let more = ["sd_folds", "sd_seeds", "n_users", "n_pairs"];
            header.extend(more.map(|name| field(&format!("{csv}_{name}"))));
            if has_intervals {
                header.extend([field(&format!("{csv}_low")), field(&format!("{csv}_high"))]);
            }
        }
        let mut text = header.join(",");
        for row in &self.rows {
            text.push('\n');
            for lead in &row.leads {
                text.push_str(&format!("{lead},"));
            }
            if has_groups {
                text.push_str(&format!("{},", field(&row.group)));
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

    /// All that the table shows, and what the numbers rest on.
    pub(super) fn json(&self) -> String {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let cells = row.cells.iter().map(|cell| {
                    json!({
                        "value": cell.value,
                        "sd_folds": cell.sd_folds,
                        "sd_seeds": cell.sd_seeds,
                        "low": cell.interval.map(|of| of.0),
                        "high": cell.interval.map(|of| of.1),
                        "n_users": cell.n_users,
                        "n_pairs": cell.n_pairs,
                        "best": cell.best,
                        "second_best": cell.second,
                        "differs_from_reference": cell.differs,
                    })
                });
                let leads = self.leads.iter().zip(&row.leads);
                let mut of = json!({
                    "group": row.group,
                    "system": row.system,
                    "cells": cells.collect::<Vec<Value>>(),
                });
                leads.for_each(|(name, value)| of[*name] = json!(value));
                of
            })
            .collect();
        let columns: Vec<Value> = self
            .columns
            .iter()
            .zip(&self.metrics)
            .map(|(column, metric)| {
                let place = column.place.as_ref();
                json!({
                    "title": column.title,
                    "group": column.group,
                    "metric": metric,
                    "k": place.map(|of| of.measure.k),
                    "protocol": place.map(|of| &of.measure.protocol),
                    "convention": place.map(|of| &of.measure.convention),
                    "slice": place.map(|of| &of.slice),
                    "fold": place.map(|of| &of.fold),
                })
            })
            .collect();
        let whole = json!({
            "title": self.title,
            "caption": self.caption,
            "label": self.label(),
            "columns": columns,
            "rows": rows,
            "notes": self.notes(false),
        });
        format!("{whole:#}\n")
    }
}

/// A field of CSV.
fn field(text: &str) -> String {
    match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    }
}

/// A text without markup: names are untrusted, and a line break would end the table.
pub(in crate::report) fn plain_markdown(text: &str) -> String {
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

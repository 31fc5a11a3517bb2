//! Opens somebody else's table by its content: CSV, TSV, Parquet, TREC runs and qrels, RecBole's token
//! lists.

use std::{fs, path::Path};

use polars::prelude::StringChunked;

use super::columns::{ColumnRef, Role, is_header};
use crate::data::{
    DataError,
    delimited::{Layout, TextTable},
};

/// A table of text with what its columns hold.
pub struct Opened {
    pub(super) table: TextTable,
    /// A TREC run or qrels: six or four fields, no header.
    pub(super) trec: bool,
    pub(super) header: bool,
}

const SNIFFED: usize = 1 << 16;

/// Opens a table of any format by its content.
pub fn open(path: &Path) -> Result<Opened, DataError> {
    let text = fs::read(path).map_err(|error| DataError::io(path, error))?;
    if text.starts_with(b"PAR1") {
        return Ok(Opened { table: TextTable::parquet(path)?, trec: false, header: true });
    }
    let start = &text[..text.len().min(SNIFFED)];
    if start.contains(&0) {
        return Err(DataError::File {
            path: path.to_owned(),
            problem: "a binary file".into(),
            help: "rankings are read from CSV, TSV, Parquet and TREC run files".into(),
        });
    }
    let first = String::from_utf8_lossy(start);
    let first = first.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let words: Vec<&str> = first.split_ascii_whitespace().collect();
    let is_run = words.len() == 6
        && words[1].eq_ignore_ascii_case("q0")
        && words[3].parse::<i64>().is_ok()
        && words[4].parse::<f64>().is_ok();
    let is_qrels = words.len() == 4
        && words[1] == "0"
        && words[3].parse::<i64>().is_ok()
        && !first.contains(',')
        && path.extension().is_some_and(|extension| extension == "qrels" || extension == "txt");
    if is_run || is_qrels {
        let text = single_tabs(&text);
        refuse_cut(path, &text, "\t")?;
        let table = TextTable::parse(
            path,
            text,
            &Layout { separator: "\t", header: false, latin1: false, quotes: false },
        )?;
        return Ok(Opened { table, trec: true, header: false });
    }
    let separator = ["\t", ",", ";", "|", "::"]
        .into_iter()
        .filter(|separator| first.contains(separator))
        .max_by_key(|separator| first.matches(separator).count() * separator.len())
        .unwrap_or(if words.len() > 1 { " " } else { "," });
    let fields: Vec<&str> = first.split(separator).map(|field| field.trim_matches('"')).collect();
    let header = is_header(&fields);
    let layout = Layout { separator, header, latin1: false, quotes: separator == "," };
    refuse_cut(path, &text, separator)?;
    Ok(Opened { table: TextTable::parse(path, text, &layout)?, trec: false, header })
}

/// Refuses a table whose last line has fewer fields than its first: a file that was cut off would
/// otherwise pass for a short one.
fn refuse_cut(path: &Path, text: &[u8], separator: &str) -> Result<(), DataError> {
    let text = text.trim_ascii();
    let line = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    let first = line(text.split(|byte| *byte == b'\n').next().unwrap_or_default());
    let last = line(text.rsplit(|byte| *byte == b'\n').next().unwrap_or_default());
    let at = text.iter().filter(|byte| **byte == b'\n').count();
    let fields = |line: &str| 1 + line.matches(separator).count();
    if fields(&last) < fields(&first) && !first.contains('"') && !last.contains('"') {
        return Err(DataError::Line {
            path: path.to_owned(),
            line: at + 1,
            problem: "the last line is cut off".into(),
            found: format!(
                "{} fields in `{}`",
                fields(&last),
                last.chars().take(80).collect::<String>()
            ),
            expected: format!(
                "{} fields, as in the first line; copy or export the file again",
                fields(&first)
            ),
        });
    }
    Ok(())
}

/// Runs of blanks as one tab: TREC files mix them.
fn single_tabs(text: &[u8]) -> Vec<u8> {
    let mut tidy = Vec::with_capacity(text.len());
    for &byte in text {
        match byte {
            b' ' | b'\t' | b'\r' if matches!(tidy.last(), None | Some(b'\t' | b'\n')) => {}
            b' ' | b'\t' | b'\r' => tidy.push(b'\t'),
            b'\n' => {
                if tidy.last() == Some(&b'\t') {
                    tidy.pop();
                }
                tidy.push(byte);
            }
            _ => tidy.push(byte),
        }
    }
    tidy
}

impl Opened {
    /// The column of a role: as told, else by place in TREC files and tables without a header, else
    /// by its name.
    pub(super) fn column(
        &self,
        role: Role,
        told: Option<&ColumnRef>,
        place: Option<usize>,
    ) -> Result<Option<String>, DataError> {
        let names = self.table.names();
        if let Some(reference) = told {
            let name = reference.to_string();
            return match reference {
                ColumnRef::Place(place) if !names.contains(&name) => {
                    Ok(Some(self.table.column_at(*place)?.to_owned()))
                }
                _ if names.contains(&name) => Ok(Some(name)),
                _ => Err(DataError::File {
                    path: self.table.path().to_owned(),
                    problem: format!("it has no column `{name}` for the {}", role.word()),
                    help: format!("its columns are {}", names.join(", ")),
                }),
            };
        }
        if self.header {
            return Ok(role.guess(names).map(str::to_owned));
        }
        match place {
            Some(place) if place <= names.len() => {
                Ok(Some(self.table.column_at(place)?.to_owned()))
            }
            _ => Ok(None),
        }
    }

    /// The column of a role that must be there.
    pub(super) fn required(
        &self,
        role: Role,
        told: Option<&ColumnRef>,
        place: usize,
    ) -> Result<String, DataError> {
        self.column(role, told, Some(place))?.ok_or_else(|| DataError::File {
            path: self.table.path().to_owned(),
            problem: format!("no column looks like the {}", role.word()),
            help: format!(
                "its columns are {}; say which it is with `--columns {}=NAME` (in an experiment \
                 file: `columns: {{{}: NAME}}`)",
                self.table.names().join(", "),
                role.word(),
                role.word()
            ),
        })
    }
}

/// The cells of a column, none of which may be empty.
pub(super) fn each<'a>(
    table: &'a TextTable,
    name: &'a str,
    cells: &'a StringChunked,
) -> impl Iterator<Item = Result<&'a str, DataError>> {
    cells.iter().enumerate().map(move |(row, cell)| {
        let cell = cell.map(str::trim).filter(|cell| !cell.is_empty());
        cell.ok_or_else(|| table.wrong(row, name, "nothing", "an identifier"))
    })
}

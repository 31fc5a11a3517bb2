//! Tables of text, read by polars as text, so that every error can name its line and field.

mod columns;
mod lines;
mod parquet;
mod parse;

use std::{
    path::{Path, PathBuf},
    sync::OnceLock,
};

use polars::prelude::*;

use self::parquet::not_parquet;
use super::{
    column_hint,
    content::{self, Content, Encoding},
    json_lines,
    quotes::InnerLine,
};
use crate::data::DataError;

/// How a text table is laid out.
pub(crate) struct Layout<'a> {
    /// More than one byte (`::`) is replaced by a tab before reading.
    pub separator: &'a str,
    pub header: bool,
    /// UTF-8 where none is named.
    pub encoding: Option<Encoding>,
    /// Whether `"` at the start of a field begins a quoted field.
    pub quotes: bool,
}

/// A table whose cells are text.
pub(crate) struct TextTable {
    path: PathBuf,
    columns: Columns,
    names: Vec<String>,
    header: bool,
    quotes: bool,
    separator: u8,
    /// Kept to find a line when something is wrong; empty for Parquet.
    text: Vec<u8>,
    /// Lines that begin within a quoted field.
    inner: Vec<InnerLine>,
}

enum Columns {
    Text(DataFrame),
    /// Columns are read when they are first asked for: one of a type that cannot be text is in nobody's way.
    Parquet {
        bytes: Vec<u8>,
        height: usize,
        cells: Vec<OnceLock<StringChunked>>,
    },
}

/// Of JSON lines, whose fields no byte separates.
const NO_SEPARATOR: u8 = b'\n';

/// What separates the fields of a file by its name: a tab in `*.tsv`, compressed or not.
pub(crate) fn usual_separator(path: &Path) -> &'static str {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let plain = name.strip_suffix(".gz").or(name.strip_suffix(".zst")).unwrap_or(&name);
    if plain.ends_with(".tsv") { "\t" } else { "," }
}

impl TextTable {
    /// Reads a Parquet file, a file of JSON lines (`*.json`, `*.jsonl`, `*.ndjson`), or a delimited text file.
    pub fn read(path: &Path, layout: &Layout) -> Result<Self, DataError> {
        match content::read(path, layout.encoding)? {
            Content::Parquet(bytes) => Self::parquet(path, bytes),
            Content::Text(_) if path.extension().is_some_and(|of| of == "parquet") => {
                Err(not_parquet(path, "it does not begin as one"))
            }
            Content::Text(text) if json_lines::is_named(path) => Self::json_lines(path, text),
            Content::Text(text) => Self::parse(path, text, layout),
        }
    }

    pub fn len(&self) -> usize {
        match &self.columns {
            Columns::Text(frame) => frame.height(),
            Columns::Parquet { height, .. } => *height,
        }
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name of a column, given by name or by place (starting at 1).
    pub fn column_at(&self, place: usize) -> Result<&str, DataError> {
        match place.checked_sub(1).and_then(|at| self.names.get(at)) {
            Some(name) => Ok(name),
            None => Err(DataError::File {
                path: self.path.clone(),
                problem: format!("it has no column {place}"),
                help: format!("it has {} columns", self.names.len()),
            }),
        }
    }

    /// The cells of a column as they are.
    pub fn cells(&self, name: &str) -> Result<&StringChunked, DataError> {
        self.column(name)
    }

    fn column(&self, name: &str) -> Result<&StringChunked, DataError> {
        let missing = || DataError::File {
            path: self.path.clone(),
            problem: format!("it has no column `{name}`"),
            help: column_hint(name, &self.names),
        };
        match &self.columns {
            Columns::Text(frame) => {
                frame.column(name).and_then(|column| column.str()).map_err(|_| missing())
            }
            Columns::Parquet { bytes, cells, .. } => {
                let at = self.names.iter().position(|of| of == name).ok_or_else(missing)?;
                if let Some(read) = cells[at].get() {
                    return Ok(read);
                }
                let read = self.parquet_column(bytes, name)?;
                Ok(cells[at].get_or_init(|| read))
            }
        }
    }
}

//! Tables of text, read by polars as text, so that every error can name its line and field.

use std::{
    fs,
    io::Cursor,
    path::{Path, PathBuf},
};

use polars::prelude::*;

use super::column_hint;
use crate::data::DataError;

/// How a text table is laid out.
pub(crate) struct Layout<'a> {
    /// More than one byte (`::`) is replaced by a tab before reading.
    pub separator: &'a str,
    pub header: bool,
    pub latin1: bool,
    pub quotes: bool,
}

/// A table whose cells are text.
pub(crate) struct TextTable {
    path: PathBuf,
    frame: DataFrame,
    names: Vec<String>,
    has_lines: bool,
    header: bool,
    /// Kept to find a line when something is wrong.
    text: Vec<u8>,
}

impl TextTable {
    /// Reads a delimited text file.
    pub fn read(path: &Path, layout: &Layout) -> Result<Self, DataError> {
        Self::parse(path, fs::read(path).map_err(|error| DataError::io(path, error))?, layout)
    }

    /// Reads the text of a delimited file; `path` is for errors.
    pub fn parse(path: &Path, mut text: Vec<u8>, layout: &Layout) -> Result<Self, DataError> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(DataError::File {
                path: path.to_owned(),
                problem: "the file is empty".into(),
                help: "fetch or export it again".into(),
            });
        }
        if layout.latin1 {
            text = text.iter().map(|byte| *byte as char).collect::<String>().into_bytes();
        } else if let Err(error) = std::str::from_utf8(&text) {
            let line =
                1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            return Err(DataError::Line {
                path: path.to_owned(),
                line,
                problem: "not UTF-8 text".into(),
                found: format!("the byte 0x{:02x}", text[error.valid_up_to()]),
                expected: "a text table in UTF-8 (or a file named *.parquet)".into(),
            });
        }
        let separator = match layout.separator.as_bytes() {
            [byte] => *byte,
            wide => {
                text = replace(&text, wide, b'\t');
                b'\t'
            }
        };
        if layout.quotes
            && let Some(line) = unclosed(&text, separator)
        {
            return Err(DataError::Line {
                path: path.to_owned(),
                line,
                problem: "a quoted field opens here and is never closed".into(),
                found: "the end of the file".into(),
                expected: "a closing `\"`; the file may be cut off: copy or export it again".into(),
            });
        }
        let reader = CsvReadOptions::default()
            .with_has_header(layout.header)
            .with_infer_schema_length(Some(0))
            .map_parse_options(|options| {
                options
                    .with_separator(separator)
                    .with_quote_char(layout.quotes.then_some(b'"'))
                    .with_missing_is_null(true)
            })
            .into_reader_with_file_handle(Cursor::new(&text[..]));
        let frame = match reader.finish() {
            Ok(frame) => frame,
            Err(error) => return Err(ragged(path, &text, separator, &error)),
        };
        let names = frame.get_column_names().iter().map(|name| name.to_string()).collect();
        Ok(Self {
            path: path.to_owned(),
            frame,
            names,
            has_lines: true,
            header: layout.header,
            text,
        })
    }

    /// Reads a Parquet file, its columns turned into text.
    pub fn parquet(path: &Path) -> Result<Self, DataError> {
        let file = fs::File::open(path).map_err(|error| DataError::io(path, error))?;
        let broken = |error: PolarsError| DataError::File {
            path: path.to_owned(),
            problem: format!("not a readable Parquet file: {error}"),
            help: "write it again; whole numbers, floats and text are read".into(),
        };
        let mut frame = ParquetReader::new(file).finish().map_err(broken)?;
        let names: Vec<String> =
            frame.get_column_names().iter().map(|name| name.to_string()).collect();
        for name in &names {
            let column =
                frame.column(name).map_err(broken)?.cast(&DataType::String).map_err(broken)?;
            frame.with_column(column).map_err(broken)?;
        }
        Ok(Self {
            path: path.to_owned(),
            frame,
            names,
            has_lines: false,
            header: false,
            text: Vec::new(),
        })
    }

    pub fn len(&self) -> usize {
        self.frame.height()
    }

    pub fn names(&self) -> &[String] {
        &self.names
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines of all rows, for errors that come up later.
    pub fn lines(&self) -> Vec<u32> {
        if !self.has_lines {
            return (1..=self.len() as u32).collect();
        }
        let n_lines = self.text.iter().filter(|byte| **byte == b'\n').count()
            + usize::from(self.text.last() != Some(&b'\n'));
        if n_lines == self.len() + usize::from(self.header) {
            let first = 1 + u32::from(self.header);
            return (first..first + self.len() as u32).collect();
        }
        self.slow_lines()
    }

    /// With blank lines or quoted line breaks, only a walk over the text tells.
    fn slow_lines(&self) -> Vec<u32> {
        let mut lines = Vec::with_capacity(self.len());
        let (mut line, mut start, mut quoted, mut blank) = (1u32, 1u32, false, true);
        for &byte in self.text.iter().chain(b"\n") {
            match byte {
                b'"' => (quoted, blank) = (!quoted, false),
                b'\n' => {
                    line += 1;
                    if !quoted {
                        if !blank {
                            lines.push(start);
                        }
                        (start, blank) = (line, true);
                    }
                }
                b'\r' => {}
                _ => blank = false,
            }
        }
        if self.header {
            lines.remove(0);
        }
        lines.resize(self.len(), line);
        lines
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

    /// The cells of a column that must not be empty.
    pub fn texts(&self, name: &str) -> Result<Vec<String>, DataError> {
        let column = self.column(name)?;
        let mut texts = Vec::with_capacity(self.len());
        for (row, cell) in column.iter().enumerate() {
            match cell.map(str::trim).filter(|cell| !cell.is_empty()) {
                Some(cell) => texts.push(cell.to_owned()),
                None => return Err(self.wrong(row, name, "nothing", "a value")),
            }
        }
        Ok(texts)
    }

    /// The cells of a column that may be empty.
    pub fn optional_texts(&self, name: &str) -> Result<Vec<Option<String>>, DataError> {
        let cells = self.column(name)?.iter();
        Ok(cells.map(|cell| cell.map(str::to_owned).filter(|cell| !cell.is_empty())).collect())
    }

    /// The cells of a column as numbers; `expected` says what they are, for the error.
    pub fn numbers<T: std::str::FromStr + Copy>(
        &self,
        name: &str,
        expected: &str,
        valid: fn(T) -> bool,
    ) -> Result<Vec<T>, DataError> {
        let column = self.column(name)?;
        let mut numbers = Vec::with_capacity(self.len());
        for (row, cell) in column.iter().enumerate() {
            match cell.and_then(|cell| cell.trim().parse().ok()).filter(|number| valid(*number)) {
                Some(number) => numbers.push(number),
                None => {
                    let found = cell.map_or("nothing".into(), |cell| format!("`{cell}`"));
                    return Err(self.wrong(row, name, &found, expected));
                }
            }
        }
        Ok(numbers)
    }

    fn column(&self, name: &str) -> Result<&StringChunked, DataError> {
        let column = self.frame.column(name).and_then(|column| column.str());
        column.map_err(|_| DataError::File {
            path: self.path.clone(),
            problem: format!("it has no column `{name}`"),
            help: column_hint(name, &self.names),
        })
    }

    /// An error about one cell.
    pub fn wrong(&self, row: usize, field: &str, found: &str, expected: &str) -> DataError {
        let line = self.lines()[row] as usize;
        let text = self.text.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default();
        let shown: String = String::from_utf8_lossy(text).chars().take(80).collect();
        let field = match field.strip_prefix("column_") {
            Some(place) if !self.header => format!("field {place}"),
            _ => format!("field `{field}`"),
        };
        DataError::Line {
            path: self.path.clone(),
            line,
            problem: format!("{field} is wrong"),
            found: match self.has_lines {
                true => format!("{found} in the line `{}`", shown.trim_end()),
                false => found.to_owned(),
            },
            expected: expected.to_owned(),
        }
    }
}

/// The line in which a quoted field opens that is never closed. A quote within a field that does not
/// begin with one is a character like any other.
fn unclosed(text: &[u8], separator: u8) -> Option<usize> {
    // Most files are sound, and need no walk.
    if text.iter().filter(|byte| **byte == b'"').count() % 2 == 0 {
        return None;
    }
    let (mut line, mut at_start, mut opened) = (1, true, None);
    for &byte in text {
        match (byte, opened) {
            (b'"', Some(_)) => opened = None,
            // After a closing quote another one is an escaped quote: the field goes on.
            (b'"', None) if at_start => opened = Some(line),
            _ => {}
        }
        at_start = opened.is_none() && (byte == separator || byte == b'\n' || byte == b'"');
        line += usize::from(byte == b'\n');
    }
    opened
}

/// polars says that a line has too many fields, not which: find it.
fn ragged(path: &Path, text: &[u8], separator: u8, error: &PolarsError) -> DataError {
    let fields = |line: &[u8]| 1 + line.iter().filter(|byte| **byte == separator).count();
    let mut lines = text.split(|byte| *byte == b'\n');
    let expected = lines.next().map_or(0, fields);
    let found = lines.enumerate().find(|(_, line)| !line.is_empty() && fields(line) > expected);
    match found {
        Some((at, line)) => DataError::Line {
            path: path.to_owned(),
            line: at + 2,
            problem: "too many fields".into(),
            found: format!("{} fields", fields(line)),
            expected: format!("{expected} fields, as in the first line"),
        },
        None => DataError::File {
            path: path.to_owned(),
            problem: format!("not a readable table: {error}"),
            help: "check its separator and quotes".into(),
        },
    }
}

fn replace(text: &[u8], wide: &[u8], by: u8) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, tail)) = rest.split_first() {
        if rest.starts_with(wide) {
            replaced.push(by);
            rest = &rest[wide.len()..];
        } else {
            replaced.push(*first);
            rest = tail;
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_field_that_opens_and_never_closes_is_cut_off() {
        let line = |text: &str| unclosed(text.as_bytes(), b',');
        assert_eq!(line("a,b\n1,\"whole\"\n2,\"cut\noff"), Some(3));
        assert_eq!(line("a,b\n1,\"he said \"\"no\"\" and"), Some(2));
        assert_eq!(line("a,b\n1,5\" disk\n2,c\n"), None);
        assert_eq!(line("a,b\n1,\"x\"\"y\"\n2,5\" disk\n"), None);
    }
}

//! Tables of text, read by polars as text, so that every error can name its line and field.

use std::{
    borrow::Cow,
    collections::HashSet,
    io::Cursor,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use polars::prelude::*;

use super::{
    cells::{self, IdLook, LIST},
    column_hint,
    content::{self, Content, Encoding},
    json_lines,
    names::Names,
    quotes::{InnerLine, check_quotes, fields, rows_in_quotes},
};
use crate::{
    base::{panics, parquet},
    data::{DataError, Time, times},
};

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

/// The name of two columns. Polars renames the second to `name_duplicated_0`, without a word.
fn doubled<'a>(names: &'a [String], text: &[u8]) -> Option<&'a str> {
    let head = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let head = String::from_utf8_lossy(head);
    names.iter().find_map(|name| {
        let (base, number) = name.rsplit_once("_duplicated_")?;
        let is_made = number.parse::<usize>().is_ok() && !head.contains(name.as_str());
        names.iter().find(|of| is_made && *of == base).map(String::as_str)
    })
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

fn empty(path: &Path) -> DataError {
    DataError::File {
        path: path.to_owned(),
        problem: "the file is empty".into(),
        help: "fetch or export it again".into(),
    }
}

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

    fn json_lines(path: &Path, text: Vec<u8>) -> Result<Self, DataError> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(empty(path));
        }
        let frame = json_lines::frame(path, &text)?;
        let names = frame.get_column_names().iter().map(|name| name.to_string()).collect();
        Ok(Self {
            path: path.to_owned(),
            columns: Columns::Text(frame),
            names,
            // Each line names its columns.
            header: false,
            quotes: false,
            separator: NO_SEPARATOR,
            text,
            inner: Vec::new(),
        })
    }

    /// Reads the text of a delimited file, which is UTF-8; `path` is for errors.
    pub fn parse(path: &Path, mut text: Vec<u8>, layout: &Layout) -> Result<Self, DataError> {
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(empty(path));
        }
        let separator = match layout.separator.as_bytes() {
            [byte] => *byte,
            wide => {
                text = replace(&text, wide, b'\t');
                b'\t'
            }
        };
        let quotes = layout.quotes && text.contains(&b'"');
        let inner = if quotes { check_quotes(path, &text, separator)? } else { Vec::new() };
        let tidy = without_blank_lines(&text, separator, quotes);
        let reader = CsvReadOptions::default()
            .with_has_header(layout.header)
            .with_infer_schema_length(Some(0))
            .map_parse_options(|options| {
                options
                    .with_separator(separator)
                    .with_quote_char(quotes.then_some(b'"'))
                    .with_missing_is_null(true)
            })
            .into_reader_with_file_handle(Cursor::new(&tidy[..]));
        let frame = match reader.finish() {
            Ok(frame) => frame,
            Err(error) => return Err(ragged(path, &text, separator, quotes, &error)),
        };
        drop(tidy);
        let names: Vec<String> =
            frame.get_column_names().iter().map(|name| name.to_string()).collect();
        if layout.header
            && let Some(name) = doubled(&names, &text)
        {
            return Err(DataError::Line {
                path: path.to_owned(),
                line: 1,
                problem: "two columns have one name, and nothing says which of them is meant"
                    .into(),
                found: format!("`{name}` twice"),
                expected: "a name for each column".into(),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            columns: Columns::Text(frame),
            names,
            header: layout.header,
            quotes,
            separator,
            text,
            inner,
        })
    }

    /// Opens a Parquet file; its columns are turned into text when they are asked for.
    pub fn parquet(path: &Path, bytes: Vec<u8>) -> Result<Self, DataError> {
        let (names, height) = parquet::foreign_columns(&bytes)
            .map_err(|error| not_parquet(path, &error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            columns: Columns::Parquet {
                bytes,
                height,
                cells: names.iter().map(|_| OnceLock::new()).collect(),
            },
            names,
            header: false,
            quotes: false,
            separator: b',',
            text: Vec::new(),
            inner: Vec::new(),
        })
    }

    fn has_lines(&self) -> bool {
        matches!(self.columns, Columns::Text(_))
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

    /// An error if a quoted field contains other rows: a line of it has as many fields as the table has columns, and an
    /// identifier of the table in its place in one of these columns. A quote that is not closed on its line would make the
    /// rows up to the next quote a part of its text.
    pub fn refuse_rows_in_quotes(&self, columns: [&str; 2]) -> Result<(), DataError> {
        if self.inner.is_empty() {
            return Ok(());
        }
        let mut ids: Vec<(usize, HashSet<&str>)> = Vec::new();
        for name in columns {
            let Some(place) = self.names.iter().position(|of| of == name) else { continue };
            ids.push((place, self.cells(name)?.iter().flatten().map(str::trim).collect()));
        }
        for line in &self.inner {
            let text = &self.text[line.start..];
            let end = text.iter().position(|byte| *byte == b'\n').unwrap_or(text.len());
            let text = String::from_utf8_lossy(&text[..end]);
            let fields: Vec<&str> = text.split(char::from(self.separator)).collect();
            let is_id = |(place, ids): &(usize, HashSet<&str>)| ids.contains(fields[*place].trim());
            if fields.len() == self.names.len() && ids.iter().any(is_id) {
                return Err(rows_in_quotes(&self.path, &self.text, *line));
            }
        }
        Ok(())
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lines of all rows, for errors that come up later.
    pub fn lines(&self) -> Vec<u32> {
        if !self.has_lines() {
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
                b'"' if self.quotes => (quoted, blank) = (!quoted, false),
                b'\n' => {
                    line += 1;
                    if !quoted {
                        if !blank {
                            lines.push(start);
                        }
                        (start, blank) = (line, true);
                    }
                }
                b' ' => {}
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

    /// The identifiers of a column, in the one form in which files are compared, and what they look like.
    pub fn ids(&self, name: &str) -> Result<(Cow<'_, StringChunked>, IdLook), DataError> {
        self.ids_of(name, self.column(name)?)
    }

    /// The same of cells that were taken out of the column.
    pub fn ids_of<'a>(
        &self,
        name: &str,
        cells: &'a StringChunked,
    ) -> Result<(Cow<'a, StringChunked>, IdLook), DataError> {
        cells::ids(cells).map_err(|lost| {
            self.wrong(
                lost.row.min(self.len().saturating_sub(1)),
                name,
                &format!("`{}`", lost.cell),
                "an identifier; written as a floating-point number, one of more than 15 digits may have lost \
                 some: export the column as integers or as text",
            )
        })
    }

    /// The identifiers of a column that must not be empty, with their look.
    pub fn id_names(&self, name: &str) -> Result<(Names, IdLook), DataError> {
        let (cells, look) = self.ids(name)?;
        Ok((self.names_in(name, &cells, "an identifier")?, look))
    }

    /// The cells of a column as they are, each distinct one stored once.
    pub fn names_of(&self, name: &str) -> Result<Names, DataError> {
        self.names_in(name, self.column(name)?, "a value")
    }

    fn names_in(
        &self,
        name: &str,
        cells: &StringChunked,
        expected: &str,
    ) -> Result<Names, DataError> {
        let mut names = Names::with_capacity(self.len());
        for (row, cell) in cells.iter().enumerate() {
            match cell.map(str::trim).filter(|cell| !cell.is_empty()) {
                Some(cell) => names.push(cell),
                None => return Err(self.wrong(row, name, "nothing", expected)),
            }
        }
        Ok(names)
    }

    /// The same as texts.
    pub fn id_texts(&self, name: &str) -> Result<(Vec<String>, IdLook), DataError> {
        let (cells, look) = self.ids(name)?;
        let mut texts = Vec::with_capacity(self.len());
        for (row, cell) in cells.iter().enumerate() {
            match cell.map(str::trim).filter(|cell| !cell.is_empty()) {
                Some(cell) => texts.push(cell.to_owned()),
                None => return Err(self.wrong(row, name, "nothing", "an identifier")),
            }
        }
        Ok((texts, look))
    }

    /// The cells of a column as times.
    pub fn times(&self, name: &str) -> Result<Vec<Time>, DataError> {
        let column = self.column(name)?;
        times::read(column.iter())
            .map_err(|wrong| self.wrong(wrong.row, name, &wrong.found, &wrong.expected))
    }

    /// Whether every cell that is not empty is a number, and any is.
    pub fn is_numeric(&self, name: &str) -> bool {
        let Ok(column) = self.column(name) else { return false };
        let mut any = false;
        for cell in column.iter().flatten().map(str::trim).filter(|cell| !cell.is_empty()) {
            if cell.parse::<f64>().is_err() {
                return false;
            }
            any = true;
        }
        any
    }

    /// Scores: NaN where a cell is empty or says that there is none, as tools write for what they do not
    /// recommend.
    pub fn scores(&self, name: &str) -> Result<Vec<f64>, DataError> {
        let column = self.column(name)?;
        let mut scores = Vec::with_capacity(self.len());
        let mut empty = None;
        for (row, cell) in column.iter().enumerate() {
            let cell = cell.map_or("", str::trim);
            let score = match cell {
                "" => {
                    empty = empty.or(Some(row));
                    Some(f64::NAN)
                }
                "NA" | "<NA>" | "null" | "NULL" | "None" => Some(f64::NAN),
                cell => cell.parse().ok().filter(|score| *score != f64::INFINITY),
            };
            match score {
                Some(score) => scores.push(score),
                None => {
                    let expected =
                        "a score: a finite number, or -inf or NaN for what is not recommended";
                    return Err(self.no_number(row, name, cell, expected));
                }
            }
        }
        if empty.is_some() {
            self.refuse_short_lines()?;
        }
        Ok(scores)
    }

    /// An empty field is a value that is missing; a line that ends before it is a broken one.
    fn refuse_short_lines(&self) -> Result<(), DataError> {
        if !self.has_lines() || self.separator == NO_SEPARATOR {
            return Ok(());
        }
        let lines: Vec<&[u8]> = self.text.split(|byte| *byte == b'\n').collect();
        for line in self.lines() {
            let text = lines.get(line as usize - 1).copied().unwrap_or_default();
            let found = fields(text, self.separator, self.quotes);
            if found < self.names.len() && !text.contains(&b'"') {
                return Err(DataError::Line {
                    path: self.path.clone(),
                    line: line as usize,
                    problem: "too few fields".into(),
                    found: format!("{found} in `{}`", String::from_utf8_lossy(text)),
                    expected: format!("{} fields, as in the first line", self.names.len()),
                });
            }
        }
        Ok(())
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
                    return Err(self.no_number(row, name, cell.unwrap_or_default(), expected));
                }
            }
        }
        Ok(numbers)
    }

    /// An error about a cell that is to be a number.
    fn no_number(&self, row: usize, name: &str, cell: &str, expected: &str) -> DataError {
        let found = if cell.is_empty() { "nothing".into() } else { format!("`{cell}`") };
        match cell.replacen(',', ".", 1).parse::<f64>() {
            Ok(_) if cell.contains(',') => {
                let expected = format!("{expected}, with a decimal point in place of the comma");
                self.wrong(row, name, &found, &expected)
            }
            _ => self.wrong(row, name, &found, expected),
        }
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

    fn parquet_column(&self, bytes: &[u8], name: &str) -> Result<StringChunked, DataError> {
        let series = parquet::foreign_column(bytes, name, self.len())
            .map_err(|error| not_parquet(&self.path, &error.to_string()))?;
        let text = panics::reading(|| Ok(series_text(&series)))
            .map_err(|error| not_parquet(&self.path, &error.to_string()))?;
        match text {
            Ok(text) => Ok(text),
            Err(NoText::Row(row)) => Err(self.wrong(
                row,
                name,
                "bytes that are no UTF-8 text",
                "text, a number, a date, or a list of these",
            )),
            Err(NoText::Type) => Err(DataError::File {
                path: self.path.clone(),
                problem: format!("its column `{name}` is of the type {}", series.dtype()),
                help: "numbers, text, dates, and lists of these are read: write the column as one of them"
                    .into(),
            }),
        }
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
            found: match self.has_lines() {
                true => format!("{found} in the line `{}`", shown.trim_end()),
                false => found.to_owned(),
            },
            expected: expected.to_owned(),
        }
    }
}

fn not_parquet(path: &Path, why: &str) -> DataError {
    DataError::File {
        path: path.to_owned(),
        problem: format!("not a readable Parquet file: {why}"),
        help: "write it again; it may be cut off".into(),
    }
}

enum NoText {
    /// Bytes of this row are no text.
    Row(usize),
    /// Values of this type have no text.
    Type,
}

/// The values of a Parquet column as text.
fn series_text(series: &Series) -> Result<StringChunked, NoText> {
    let cast = |series: &Series| -> Result<StringChunked, NoText> {
        let text = series.cast(&DataType::String).map_err(|_| NoText::Type)?;
        Ok(text.str().map_err(|_| NoText::Type)?.clone())
    };
    match series.dtype() {
        DataType::String => Ok(series.str().map_err(|_| NoText::Type)?.clone()),
        DataType::Null => Ok(StringChunked::full_null(series.name().clone(), series.len())),
        DataType::Binary => {
            let cells = series.binary().map_err(|_| NoText::Type)?;
            let mut texts: Vec<Option<&str>> = Vec::with_capacity(cells.len());
            for (row, cell) in cells.iter().enumerate() {
                let text = cell.map(std::str::from_utf8).transpose();
                texts.push(text.map_err(|_| NoText::Row(row))?);
            }
            Ok(texts.into_iter().collect())
        }
        // The zone is of no account: the value itself is UTC.
        DataType::Datetime(unit, Some(_)) => {
            let utc = series.to_physical_repr().cast(&DataType::Datetime(*unit, None));
            cast(&utc.map_err(|_| NoText::Type)?)
        }
        DataType::Duration(_) => cast(&series.to_physical_repr()),
        DataType::Array(inner, _) => {
            let list = series.cast(&DataType::List(inner.clone())).map_err(|_| NoText::Type)?;
            series_text(&list)
        }
        DataType::List(_) => {
            let lists = series.list().map_err(|_| NoText::Type)?;
            let mut texts: Vec<Option<String>> = Vec::with_capacity(lists.len());
            for row in 0..lists.len() {
                let Some(values) = lists.get_as_series(row) else {
                    texts.push(None);
                    continue;
                };
                let mut text = LIST.to_string();
                for (at, value) in series_text(&values)?.iter().flatten().enumerate() {
                    if at > 0 {
                        text.push(LIST);
                    }
                    text.push_str(value);
                }
                texts.push(Some(text));
            }
            Ok(texts.iter().map(Option::as_deref).collect())
        }
        DataType::Boolean
        | DataType::Date
        | DataType::Time
        | DataType::Datetime(_, None)
        | DataType::Categorical(..)
        | DataType::Enum(..)
        | DataType::Decimal(..) => cast(series),
        of if of.is_primitive_numeric() => cast(series),
        _ => Err(NoText::Type),
    }
}

/// The text without lines that hold blanks alone; the text itself where there are none.
fn without_blank_lines(text: &[u8], separator: u8, quotes: bool) -> Cow<'_, [u8]> {
    let is_blank = |line: &[u8]| {
        line.iter().all(|byte| byte.is_ascii_whitespace() && (*byte != separator || *byte == b' '))
    };
    let starts_blank = text.first().is_some_and(|byte| byte.is_ascii_whitespace());
    // The text is UTF-8, and searching for strings is fast.
    let any = starts_blank
        || std::str::from_utf8(text).is_ok_and(|text| {
            text.contains("\n\n")
                || text.contains("\n ")
                || (separator != b'\t' && text.contains("\n\t"))
        });
    if !any {
        return Cow::Borrowed(text);
    }
    let mut tidy = Vec::with_capacity(text.len());
    let mut quoted = false;
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if quoted || !is_blank(line) {
            tidy.extend_from_slice(line);
        }
        if quotes {
            quoted ^= line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        }
    }
    Cow::Owned(tidy)
}

/// polars says that a line has too many fields, not which: find it.
fn ragged(path: &Path, text: &[u8], separator: u8, quotes: bool, error: &PolarsError) -> DataError {
    let fields = |line: &[u8]| fields(line, separator, quotes);
    let mut lines = text.split(|byte| *byte == b'\n').enumerate();
    let first = lines.find(|(_, line)| !line.trim_ascii().is_empty());
    let expected = first.map_or(0, |(_, line)| fields(line));
    let found = lines.find(|(_, line)| !line.is_empty() && fields(line) > expected);
    match found {
        Some((at, line)) => DataError::Line {
            path: path.to_owned(),
            line: at + 1,
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

    /// The quote of one text is closed by that of a later one: the rows between are its text.
    #[test]
    fn rows_that_a_quoted_field_contains_are_refused() {
        let read = |separator: &str, text: &str| {
            let layout = Layout { separator, header: true, encoding: None, quotes: true };
            let table = TextTable::parse(Path::new("x"), text.as_bytes().to_vec(), &layout);
            let table = table.map_err(|error| error.to_string())?;
            table.refuse_rows_in_quotes(["u", "i"]).map_err(|error| error.to_string())?;
            Ok::<usize, String>(table.len())
        };
        let refused = |separator: &str, text: &str| {
            let error = read(separator, text).unwrap_err();
            assert!(error.contains("contains other rows") && error.contains("x:2"), "{error}");
        };
        // By their separators, whatever the identifiers are; the row that closes the field counts, too.
        refused("\t", "u\ti\tt\na\tx\t\"one\nb\ty\ttwo\nc\tz\tend\"\nd\tx\tfine\n");
        refused("\t", "u\ti\tt\na\tx\t\"one\nb\ty\tend\"\n");
        refused("\t", "u\ti\tt\tr\na\tx\t\"one\t5\nb\ty\tend\"\t4\n");
        refused("|", "u|i|t\na|x|\"one\nb|y|end\"\n");
        // Commas are in texts: by an identifier in its place.
        refused(",", "u,i,t\na,x,\"one\na,y,two\nb,z,end\"\nc,y,fine\n");
        refused(",", "u,i,t\na,x,\"one\nq,x,end\"\nc,y,fine\n");
        assert_eq!(read(",", "u,i,t\na,x,\"one,\nwell, two, three\"\nb,y,fine\n"), Ok(2));
        assert_eq!(read(",", "u,i,t\n1,2,\"one,\n1, 2, 3, go\"\nb,y,fine\n"), Ok(2));
        assert_eq!(read("\t", "u\ti\tt\na\tx\t\"one\nand\tmore\"\nb\ty\t\"\"\n"), Ok(2));
        assert_eq!(read("\t", "u\ti\tt\na\tx\t\"one\n\n\"\nb\ty\t\"z\"\n"), Ok(2));
    }

    #[test]
    fn blank_lines_are_left_out_and_kept_within_quotes() {
        let tidy = |text: &'static str| {
            let tidy = without_blank_lines(text.as_bytes(), b',', true).into_owned();
            String::from_utf8(tidy).unwrap()
        };
        assert_eq!(tidy("a,b\n1,2\n"), "a,b\n1,2\n");
        assert_eq!(tidy("\n \na,b\n\n1,2\n  \n\n"), "a,b\n1,2\n");
        assert_eq!(tidy("a,\"b\n\nc\"\n\nd,e"), "a,\"b\n\nc\"\nd,e");
    }
}

//! Text as a table: blank lines, wide separators, doubled names of columns, and lines with too many fields.

use std::{borrow::Cow, io::Cursor, path::Path};

use polars::prelude::*;

use super::{Columns, Layout, NO_SEPARATOR, TextTable};
use crate::data::{
    DataError,
    readers::{
        json_lines,
        quotes::{check_quotes, fields},
    },
};

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

fn empty(path: &Path) -> DataError {
    DataError::File {
        path: path.to_owned(),
        problem: "the file is empty".into(),
        help: "fetch or export it again".into(),
    }
}

impl TextTable {
    pub(super) fn json_lines(path: &Path, text: Vec<u8>) -> Result<Self, DataError> {
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

//! Quoted fields of delimited text: those that would be read as something else than what was meant are errors.

use std::path::Path;

use crate::data::DataError;

/// A line that begins within a quoted field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InnerLine {
    /// The line on which the field opens.
    pub opened: usize,
    /// Where the line begins.
    pub start: usize,
}

/// How many fields a line has.
pub fn fields(line: &[u8], separator: u8, quotes: bool) -> usize {
    let mut quoted = false;
    let mut n = 1;
    for &byte in line {
        match byte {
            b'"' if quotes => quoted = !quoted,
            byte if byte == separator && !quoted => n += 1,
            _ => {}
        }
    }
    n
}

/// Refuses quoted fields that never close, that go on behind the closing quote, or that begin with a blank: each
/// would be read as something else than what was meant. A quote within a field that does not begin with one is a
/// character like any other. Also refused are quoted fields with a line that has as many separators as the first line of
/// the file, unless they are commas, which are in texts, too: such a line is a row. Returns the lines that begin within quoted
/// fields.
pub fn check_quotes(path: &Path, text: &[u8], separator: u8) -> Result<Vec<InnerLine>, DataError> {
    let wrong = |line: usize, problem: &str, found: &str, expected: &str| {
        Err(DataError::Line {
            path: path.to_owned(),
            line,
            problem: problem.into(),
            found: found.into(),
            expected: format!(
                "{expected}; where quotes are characters like others, say `--quotes none` (in an experiment \
                 file: `quotes: none`)"
            ),
        })
    };
    let (mut line, mut at_start, mut blank, mut opened) = (1, true, false, None);
    let mut at = 0;
    let first = text.split(|byte| *byte == b'\n').find(|line| !line.trim_ascii().is_empty());
    let of_row = first.map_or(0, |line| fields(line, separator, true) - 1);
    let is_row = |found: usize| separator != b',' && of_row > 0 && found == of_row;
    let mut inner: Vec<InnerLine> = Vec::new();
    // Of the present line: its start and separators, if it began within a quoted field.
    let mut within: Option<(InnerLine, usize)> = None;
    while let Some(&byte) = text.get(at) {
        match (byte, opened) {
            (b'"', Some(_)) => match text.get(at + 1) {
                Some(b'"') => at += 1,
                None | Some(b'\n') => opened = None,
                Some(next) if *next == separator => opened = None,
                Some(_) => {
                    return wrong(
                        line,
                        "a quoted field goes on behind its closing quote",
                        &line_text(text, at),
                        "a separator or the end of the line; quotes within a quoted field are doubled",
                    );
                }
            },
            (b'"', None) if at_start && blank => {
                return wrong(
                    line,
                    "a quoted field begins with a blank",
                    &line_text(text, at),
                    "the quote right behind the separator: remove the blank",
                );
            }
            (b'"', None) if at_start => opened = Some(line),
            _ => {}
        }
        if opened.is_none() {
            let is_between = byte == separator || byte == b'\n';
            blank = !is_between && byte == b' ' && at_start;
            at_start = is_between || blank;
        }
        if byte == b'\n' {
            if let Some((of, _)) = within.filter(|(_, found)| is_row(*found)) {
                return Err(rows_in_quotes(path, text, of));
            }
            within = opened.map(|opened| (InnerLine { opened, start: at + 1 }, 0));
            inner.extend(within.map(|(of, _)| of).filter(|of| of.start < text.len()));
            line += 1;
        } else if byte == separator
            && let Some((_, found)) = &mut within
        {
            *found += 1;
        }
        at += 1;
    }
    if let Some((of, _)) = within.filter(|(_, found)| is_row(*found)) {
        return Err(rows_in_quotes(path, text, of));
    }
    match opened {
        Some(line) => wrong(
            line,
            "a quoted field opens here and is never closed",
            "the end of the file",
            "a closing `\"`; the file may be cut off: copy or export it again",
        ),
        None => Ok(inner),
    }
}

/// The error for a quoted field, opened on `line`, that contains the row at `start`.
pub fn rows_in_quotes(path: &Path, text: &[u8], of: InnerLine) -> DataError {
    DataError::Line {
        path: path.to_owned(),
        line: of.opened,
        problem: "a quoted field contains other rows of the table".into(),
        found: line_text(text, of.start),
        expected: "a quote that is closed before the next row; where quotes are characters like others, say `--quotes none` \
                   (in an experiment file: `quotes: none`)"
            .into(),
    }
}

/// The line around a place, for an error.
fn line_text(text: &[u8], at: usize) -> String {
    let start = text[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let line = text[start..].split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    format!("`{}`", line.chars().take(80).collect::<String>().trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_that_would_be_read_as_something_else_are_refused() {
        let line = |text: &str| {
            let checked = check_quotes(Path::new("x"), text.as_bytes(), b',');
            checked.err().map(|error| error.to_string().lines().next().unwrap()[2..4].to_owned())
        };
        let found = |of: &str| Some(of.to_owned());
        assert_eq!(line("a,b\n1,\"whole\"\n2,\"cut\noff"), found("3:"));
        assert_eq!(line("a,b\n1,\"he said \"\"no\"\" and"), found("2:"));
        assert_eq!(line("a,b\n1,\"Heroes\n2,Villains\"x\n"), found("3:"));
        assert_eq!(line("a,b\n1, \"c\"\n"), found("2:"));
        assert_eq!(line("a,b\n1,\"he said \\\"no\\\"\"\n"), found("2:"));
        assert_eq!(line("a,b\n1,5\" disk\n2,c\n"), None);
        assert_eq!(line("a,b\n1,\"x\"\"y\"\n2,5\" disk\n"), None);
        assert_eq!(line("\"a\",\"\"\n\"x\ny\",\"z\"\"\"\n"), None);
    }
}

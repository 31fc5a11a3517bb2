//! The lines that rows come from, for errors: which line is wrong, ends too early, or is part of a quoted field.

use std::collections::HashSet;

use super::{Columns, NO_SEPARATOR, TextTable};
use crate::data::{
    DataError,
    readers::quotes::{fields, rows_in_quotes},
};

impl TextTable {
    fn has_lines(&self) -> bool {
        matches!(self.columns, Columns::Text(_))
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

    /// An empty field is a value that is missing; a line that ends before it is a broken one.
    pub(super) fn refuse_short_lines(&self) -> Result<(), DataError> {
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::data::readers::delimited::Layout;

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
}

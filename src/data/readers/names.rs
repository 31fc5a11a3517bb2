//! The identifiers in a column of a file, each distinct one stored once.

use polars::prelude::PlHashMap;

/// A column of identifiers. A file of 20 million ratings has 40 million cells with identifiers, of which some 165,000
/// differ: a `String` for each cell would take more memory than everything else.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    /// By row, its position in `distinct`.
    codes: Vec<u32>,
    /// In the order in which they first occur.
    distinct: Vec<String>,
    /// Looked up for every cell: a faster hash than that of std. Its order is not used.
    positions: PlHashMap<String, u32>,
}

impl Names {
    /// An empty column with room for `rows`.
    pub fn with_capacity(rows: usize) -> Self {
        Self { codes: Vec::with_capacity(rows), ..Self::default() }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.codes.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.codes.is_empty()
    }

    /// Adds a row.
    pub fn push(&mut self, name: &str) {
        // Files are often sorted by user.
        let last = self.codes.last().copied().filter(|last| self.distinct[*last as usize] == name);
        let code = match last.or_else(|| self.positions.get(name).copied()) {
            Some(code) => code,
            None => {
                let code = self.distinct.len() as u32;
                self.distinct.push(name.to_owned());
                self.positions.insert(name.to_owned(), code);
                code
            }
        };
        self.codes.push(code);
    }

    /// Adds the rows of another column.
    pub fn extend(&mut self, other: &Self) {
        self.codes.reserve(other.len());
        other.iter().for_each(|name| self.push(name));
    }

    /// The identifier of a row. Panics beyond the last one.
    pub fn at(&self, row: usize) -> &str {
        &self.distinct[self.codes[row] as usize]
    }

    /// The identifiers of all rows.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|row| self.at(row))
    }

    /// By row, the position of its identifier in [`distinct`](Self::distinct).
    pub fn codes(&self) -> &[u32] {
        &self.codes
    }

    /// Each identifier once.
    pub fn distinct(&self) -> &[String] {
        &self.distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_as_they_were() {
        let cells = ["a", "a", "b", "", "a", "1", "01", "b"];
        let mut names = Names::with_capacity(3);
        cells.iter().for_each(|cell| names.push(cell));
        assert_eq!(names.iter().collect::<Vec<_>>(), cells);
        assert_eq!(names.distinct(), ["a", "b", "", "1", "01"]);
        let mut twice = names.clone();
        twice.extend(&names);
        assert_eq!(twice.len(), 16);
        assert_eq!(twice.at(15), "b");
        assert_eq!(twice.distinct(), names.distinct());
    }
}

//! Columns of a table as identifiers, names, times, numbers and texts.

use std::borrow::Cow;

use polars::prelude::StringChunked;

use super::TextTable;
use crate::data::{
    DataError, Time,
    readers::{
        cells::{self, IdLook},
        names::Names,
    },
    times,
};

impl TextTable {
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
}

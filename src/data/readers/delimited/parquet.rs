//! Columns of Parquet files as text, each read when it is first asked for.

use std::{path::Path, sync::OnceLock};

use polars::prelude::*;

use super::{Columns, TextTable};
use crate::{
    base::{panics, parquet},
    data::{DataError, readers::cells::LIST},
};

impl TextTable {
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

    pub(super) fn parquet_column(
        &self,
        bytes: &[u8],
        name: &str,
    ) -> Result<StringChunked, DataError> {
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
}

pub(super) fn not_parquet(path: &Path, why: &str) -> DataError {
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

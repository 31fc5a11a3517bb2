//! LightGCN's format: one line a user, `user item item …`, in a training and a test file.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FoldRows, Raw, Rows, content, table::joined};
use crate::data::{DataError, Time};

/// A training and a test file, one fold named `official`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct UserItems {
    /// The file of the training part.
    train: String,
    /// The file of the test part.
    test: String,
}

impl Default for UserItems {
    fn default() -> Self {
        Self { train: "train.txt".into(), test: "test.txt".into() }
    }
}

impl UserItems {
    pub(super) fn files(&self) -> Vec<String> {
        vec![self.train.clone(), self.test.clone()]
    }

    pub(super) fn read(&self, folder: &Path) -> Result<Raw, DataError> {
        let fold = FoldRows {
            name: "official".into(),
            train: rows(&folder.join(&self.train))?,
            validation: None,
            test: rows(&folder.join(&self.test))?,
        };
        Ok(Raw { interactions: joined(&fold), folds: vec![fold], ..Raw::default() })
    }
}

/// A user without items is a line of its own in Gowalla's test file: nothing to read there.
fn rows(path: &Path) -> Result<Rows, DataError> {
    let content::Content::Text(text) = content::read(path, None)? else {
        return Err(DataError::File {
            path: path.to_owned(),
            problem: "it is a Parquet file".into(),
            help:
                "this format is text, one line a user; Parquet files are read with `reader: table`"
                    .into(),
        });
    };
    let text = String::from_utf8_lossy(&text);
    let mut rows = Rows { path: path.to_owned(), ..Rows::default() };
    for (at, line) in text.lines().enumerate() {
        let mut fields = line.split_ascii_whitespace();
        let Some(user) = fields.next() else { continue };
        for field in std::iter::once(user).chain(fields.clone()) {
            if field.parse::<u64>().is_err() {
                return Err(DataError::Line {
                    path: path.to_owned(),
                    line: at + 1,
                    problem: "a field is not a number".into(),
                    found: format!("`{field}`"),
                    expected: "whole numbers: `user item item …`".into(),
                });
            }
        }
        for item in fields {
            rows.users.push(user);
            rows.items.push(item);
            rows.ratings.push(1.0);
            rows.timestamps.push(Time::default());
            rows.lines.push(at as u32 + 1);
        }
    }
    Ok(rows)
}

//! One line a user, in the order of time: `user item item …`. S3-Rec's files and those made from them.

use std::{collections::HashMap, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Raw, Rows, content};
use crate::data::{DataError, Time};

/// One file of sequences.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequenceFile {
    /// The file.
    file: String,
}

impl SequenceFile {
    pub(super) fn files(&self) -> Vec<String> {
        vec![self.file.clone()]
    }

    /// A time is the place in the user's line: it orders interactions of one user, and of no two.
    pub(super) fn read(&self, folder: &Path) -> Result<Raw, DataError> {
        let path = folder.join(&self.file);
        let content::Content::Text(text) = content::read(&path, None)? else {
            return Err(DataError::File {
                path,
                problem: "it is a Parquet file".into(),
                help: "this format is text, one line a user; Parquet files are read with `reader: table`"
                    .into(),
            });
        };
        let text = String::from_utf8_lossy(&text);
        let mut rows = Rows { path: path.clone(), ..Rows::default() };
        let mut lines: HashMap<&str, usize> = HashMap::new();
        for (at, line) in text.lines().enumerate() {
            let wrong = |problem: &str, found: String, expected: &str| DataError::Line {
                path: path.clone(),
                line: at + 1,
                problem: problem.into(),
                found,
                expected: expected.into(),
            };
            let mut fields = line.split_ascii_whitespace();
            let Some(user) = fields.next() else { continue };
            if let Some(earlier) = lines.insert(user, at + 1) {
                return Err(wrong(
                    "a user with a second line",
                    format!("user `{user}`, as on line {earlier}"),
                    "one line for each user, with all items in the order of time (files with one line for \
                     each interaction are read with `reader: table`)",
                ));
            }
            let first = rows.items.len();
            for item in fields {
                rows.users.push(user);
                rows.items.push(item);
                rows.ratings.push(1.0);
                rows.timestamps.push(Time::from((rows.items.len() - first) as i64));
                rows.lines.push(at as u32 + 1);
            }
            if rows.items.len() == first {
                return Err(wrong(
                    "a user without items",
                    format!("`{line}`"),
                    "`user item item …`",
                ));
            }
        }
        Ok(Raw { interactions: rows, is_ordered: true, ..Raw::default() })
    }
}

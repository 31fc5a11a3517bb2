//! RecBole's atomic files: tab-separated, with typed headers such as `user_id:token`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Raw, Rows,
    delimited::{Layout, TextTable},
};
use crate::data::{DataError, dataset::Catalogue};

const LAYOUT: Layout<'_> = Layout { separator: "\t", header: true, latin1: false, quotes: false };

/// Atomic files `STEM.inter` and, where they are there, `STEM.item` and `STEM.user`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Recbole {
    /// What the files' names start with.
    stem: String,
    /// Whether there is a `.item` file; then it lists all items.
    #[serde(default)]
    items: bool,
    /// Whether there is a `.user` file; then it lists all users.
    #[serde(default)]
    users: bool,
}

impl Recbole {
    pub(super) fn files(&self) -> Vec<String> {
        let kinds = [(true, "inter"), (self.items, "item"), (self.users, "user")];
        let there = kinds.into_iter().filter(|(there, _)| *there);
        there.map(|(_, kind)| format!("{}.{kind}", self.stem)).collect()
    }

    /// Looks at the first line alone.
    pub(super) fn has_ratings(&self, folder: &Path) -> Result<bool, DataError> {
        let path = folder.join(format!("{}.inter", self.stem));
        let mut header = String::new();
        File::open(&path)
            .and_then(|file| BufReader::new(file).read_line(&mut header))
            .map_err(|error| DataError::io(&path, error))?;
        let names = header.trim_end().split('\t');
        Ok(names.filter_map(|name| name.split(':').next()).any(|name| name == "rating"))
    }

    pub(super) fn read(&self, folder: &Path) -> Result<Raw, DataError> {
        let path = folder.join(format!("{}.inter", self.stem));
        let table = TextTable::read(&path, &LAYOUT)?;
        let rating = field(&table, "rating");
        let time = field(&table, "timestamp");
        let interactions = Rows {
            users: table.texts(&required(&table, "user_id")?)?,
            items: table.texts(&required(&table, "item_id")?)?,
            ratings: match &rating {
                Some(name) => table.numbers(name, "a rating (a number)", f32::is_finite)?,
                None => vec![1.0; table.len()],
            },
            timestamps: match &time {
                Some(name) => {
                    let times = table.numbers(name, "a timestamp (a number)", f64::is_finite)?;
                    times.into_iter().map(|time| time as i64).collect()
                }
                None => vec![0; table.len()],
            },
            folds: None,
            lines: table.lines(),
            path,
        };
        let mut raw = Raw {
            interactions,
            has_ratings: rating.is_some(),
            has_timestamps: time.is_some(),
            ..Raw::default()
        };
        if self.items {
            let path = folder.join(format!("{}.item", self.stem));
            let table = TextTable::read(&path, &LAYOUT)?;
            let column = |names: &[&str]| match names.iter().find_map(|name| field(&table, name)) {
                Some(name) => table.optional_texts(&name),
                None => Ok(Vec::new()),
            };
            raw.catalogue = Catalogue {
                titles: column(&["title", "movie_title", "name"])?,
                genres: column(&["genre", "genres", "class", "categories"])?,
                overviews: column(&["overview", "description"])?,
            };
            raw.items = Some((path, table.texts(&required(&table, "item_id")?)?));
        }
        if self.users {
            let path = folder.join(format!("{}.user", self.stem));
            let table = TextTable::read(&path, &LAYOUT)?;
            raw.users = Some((path, table.texts(&required(&table, "user_id")?)?));
        }
        Ok(raw)
    }
}

/// The full header (`user_id:token`) of the field `name`.
fn field(table: &TextTable, name: &str) -> Option<String> {
    table.names().iter().find(|header| header.split(':').next() == Some(name)).cloned()
}

fn required(table: &TextTable, name: &str) -> Result<String, DataError> {
    field(table, name).ok_or_else(|| DataError::File {
        path: table.path().to_owned(),
        problem: format!("its header names no field `{name}`"),
        help: format!(
            "RecBole's atomic files start with a line such as `user_id:token\titem_id:token`; \
             this one starts with {}",
            table.names().join(", ")
        ),
    })
}

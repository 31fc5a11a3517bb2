//! RecBole's atomic files: tab-separated, with typed headers such as `user_id:token`.

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Looks, Raw, Rows, column_hint,
    delimited::{Layout, TextTable},
    table::genres_of_list,
};
use crate::data::{DataError, Time, dataset::Catalogue};

const LAYOUT: Layout<'_> = Layout { separator: "\t", header: true, encoding: None, quotes: false };

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
    /// The field of ratings, where it is not called `rating`; `none` where no field is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rating: Option<String>,
    /// The field of times, where it is not called `timestamp`; `none` where no field is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timestamp: Option<String>,
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
        let names: Vec<String> = header.trim_end().split('\t').map(str::to_owned).collect();
        Ok(self.fields(&path, &names)?.rating.is_some())
    }

    /// The fields of ratings and times among the `names` of an interaction file. A field that decides something
    /// is never skipped because of its name: one that may be it is taken, with a note; of several one must be
    /// named.
    fn fields(&self, path: &Path, names: &[String]) -> Result<Fields, DataError> {
        let find = |name: &str| names.iter().find(|of| of.split(':').next() == Some(name)).cloned();
        let told = |told: &str| match find(told) {
            Some(name) => Ok(name),
            None => Err(DataError::File {
                path: path.to_owned(),
                problem: format!("its header names no field `{told}`"),
                help: column_hint(told, names),
            }),
        };
        let timestamp = match self.timestamp.as_deref() {
            Some("none") => None,
            Some(name) => Some(told(name)?),
            None => find("timestamp").or_else(|| TIMES.iter().find_map(|name| find(name))),
        };
        let mut fields = Fields { rating: None, timestamp, note: None };
        fields.rating = match self.rating.as_deref() {
            Some("none") => None,
            Some(name) => Some(told(name)?),
            None => find("rating"),
        };
        if self.rating.is_some() || fields.rating.is_some() {
            return Ok(fields);
        }
        let others: Vec<&String> = names
            .iter()
            .filter(|name| name.ends_with(":float") && Some(*name) != fields.timestamp.as_ref())
            .collect();
        let bare = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
        match &others[..] {
            [] => Ok(fields),
            [only] => {
                fields.note = Some(format!(
                    "{}: no field is called `rating`; `{}`, the only other field of numbers, is taken for it \
                     (`rating: none` if it is not)",
                    path.file_name().unwrap_or_default().to_string_lossy(),
                    bare(only)
                ));
                fields.rating = Some((*only).clone());
                Ok(fields)
            }
            [first, ..] => Err(DataError::File {
                path: path.to_owned(),
                problem: "no field is called `rating`, and several may be it".into(),
                help: format!(
                    "its fields are {}; say which holds the ratings with `rating: {}`, or `rating: none`",
                    names.join(", "),
                    bare(first)
                ),
            }),
        }
    }

    pub(super) fn read(&self, folder: &Path) -> Result<Raw, DataError> {
        let path = folder.join(format!("{}.inter", self.stem));
        let table = TextTable::read(&path, &LAYOUT)?;
        let Fields { rating, timestamp: time, note } = self.fields(&path, table.names())?;
        let (users, users_look) = table.id_names(&required(&table, "user_id")?)?;
        let (items, items_look) = table.id_names(&required(&table, "item_id")?)?;
        let interactions = Rows {
            users,
            items,
            looks: Looks { users: users_look, items: items_look },
            ratings: match &rating {
                Some(name) => table.numbers(name, "a rating (a number)", f32::is_finite)?,
                None => vec![1.0; table.len()],
            },
            timestamps: match &time {
                Some(name) => table.times(name)?,
                None => vec![Time::default(); table.len()],
            },
            folds: None,
            lines: table.lines(),
            path,
        };
        let mut raw = Raw {
            interactions,
            has_ratings: rating.is_some(),
            has_timestamps: time.is_some(),
            notes: note.into_iter().collect(),
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
                genres: genres(&table)?,
                overviews: column(&["overview", "description"])?,
            };
            let (names, look) = table.id_texts(&required(&table, "item_id")?)?;
            raw.items = Some((path, names));
            raw.items_look = look;
        }
        if self.users {
            let path = folder.join(format!("{}.user", self.stem));
            let table = TextTable::read(&path, &LAYOUT)?;
            raw.users = Some((path, table.id_texts(&required(&table, "user_id")?)?.0));
        }
        Ok(raw)
    }
}

/// Names that times have in atomic files beside `timestamp`.
const TIMES: [&str; 6] = ["time", "date", "datetime", "ts", "unix_timestamp", "created_at"];

/// The full names of the fields of ratings and times.
struct Fields {
    rating: Option<String>,
    timestamp: Option<String>,
    note: Option<String>,
}

/// The genres of each item, joined by `|`. A `token_seq` holds several, separated by blanks (RecBole's
/// `seq_separator`), unless they are written as a list or joined otherwise.
fn genres(table: &TextTable) -> Result<Vec<Option<String>>, DataError> {
    let names = ["genre", "genres", "class", "categories"];
    let Some(name) = names.iter().find_map(|name| field(table, name)) else {
        return Ok(Vec::new());
    };
    let texts = table.optional_texts(&name)?;
    let is_sequence = name.ends_with(":token_seq");
    let joined_otherwise = texts
        .iter()
        .flatten()
        .any(|text| text.contains(['|', ',']) || text.trim().starts_with('['));
    Ok(match is_sequence && !joined_otherwise {
        true => {
            let joined = |text: String| text.split_ascii_whitespace().collect::<Vec<_>>().join("|");
            texts.into_iter().map(|text| text.map(joined)).collect()
        }
        false => texts.into_iter().map(genres_of_list).collect(),
    })
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

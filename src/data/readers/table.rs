//! CSV, TSV and Parquet with a mapping from our names of columns to theirs.

use std::{collections::BTreeMap, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FoldRows, Looks, Quotes, Raw, Rows,
    cells::{LIST, ListForm, field_values},
    content::Encoding,
    delimited::{Layout, TextTable, usual_separator},
};
use crate::data::{DataError, Ids, Time, dataset::Catalogue};

/// One table of interactions, or a training and a test table for each fold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// The file of interactions; may be left out where `folds` gives files.
    #[serde(default)]
    ratings: Option<String>,
    /// What separates fields; by default a tab in `*.tsv` files and a comma in others.
    #[serde(default)]
    separator: Option<String>,
    /// Whether the first line names the columns.
    #[serde(default = "yes")]
    header: bool,
    /// How the letters are written; by default UTF-8, or UTF-16 with a byte order mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    /// `none`: quotes are characters like others.
    #[serde(default, skip_serializing_if = "Quotes::are_usual")]
    quotes: Quotes,
    columns: Columns,
    /// Takes the place of a row in its file as its time, for files in the order of time.
    #[serde(default)]
    in_time_order: bool,
    /// A file that lists all items.
    #[serde(default)]
    items: Option<Items>,
    /// The publisher's folds, by name.
    #[serde(default)]
    folds: BTreeMap<String, FoldFiles>,
}

/// Which column holds what: by name, or by place (starting at 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Columns {
    /// Users.
    user: ColumnRef,
    /// Items.
    item: ColumnRef,
    /// Without it every rating is 1.
    #[serde(default)]
    rating: Option<ColumnRef>,
    /// Times.
    #[serde(default)]
    timestamp: Option<ColumnRef>,
    /// Names the fold in which a row is tested.
    #[serde(default)]
    fold: Option<ColumnRef>,
}

/// A column by name, or by place (starting at 1).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
enum ColumnRef {
    Place(usize),
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Items {
    /// The file, in the folder.
    file: String,
    /// The column of ids.
    item: ColumnRef,
    /// The column of titles.
    #[serde(default)]
    title: Option<ColumnRef>,
    /// The column of genres.
    #[serde(default)]
    genres: Option<ColumnRef>,
    /// The column of overviews.
    #[serde(default)]
    overview: Option<ColumnRef>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FoldFiles {
    /// The file of the training part.
    train: String,
    /// The file of the validation part, if there is one.
    #[serde(default)]
    validation: Option<String>,
    /// The file of the test part.
    test: String,
}

fn yes() -> bool {
    true
}

impl Table {
    pub(super) fn files(&self) -> Vec<String> {
        let folds = self.folds.values().flat_map(|fold| {
            [Some(&fold.train), fold.validation.as_ref(), Some(&fold.test)].into_iter().flatten()
        });
        let single = self.ratings.iter().chain(self.items.iter().map(|items| &items.file));
        single.chain(folds).cloned().collect()
    }

    pub(super) fn has_ratings(&self) -> bool {
        self.columns.rating.is_some()
    }

    pub(super) fn fold_names(&self, folder: &Path) -> Result<Vec<String>, DataError> {
        match (&self.ratings, &self.columns.fold) {
            (Some(file), Some(column)) => {
                let table = self.open(&folder.join(file))?;
                let names = Ids::new(table.texts(name_of(&table, column)?)?);
                Ok(names.names().to_vec())
            }
            _ => Ok(self.folds.keys().cloned().collect()),
        }
    }

    pub(super) fn read(&self, folder: &Path) -> Result<Raw, DataError> {
        let mut folds = Vec::new();
        for (name, files) in &self.folds {
            folds.push(FoldRows {
                name: name.clone(),
                train: self.rows(&folder.join(&files.train), None)?,
                validation: match &files.validation {
                    Some(file) => Some(self.rows(&folder.join(file), None)?),
                    None => None,
                },
                test: self.rows(&folder.join(&files.test), None)?,
            });
        }
        let interactions = match (&self.ratings, folds.first()) {
            (Some(file), _) => self.rows(&folder.join(file), self.columns.fold.as_ref())?,
            (None, Some(first)) => joined(first),
            (None, None) => {
                return Err(DataError::File {
                    path: folder.to_owned(),
                    problem: "the reader `table` is given no file".into(),
                    help: "give `ratings: FILE`, or `folds:` with train and test files".into(),
                });
            }
        };
        let mut raw = Raw {
            interactions,
            folds,
            has_ratings: self.columns.rating.is_some(),
            has_timestamps: self.columns.timestamp.is_some() || self.in_time_order,
            ..Raw::default()
        };
        if let Some(items) = &self.items {
            let path = folder.join(&items.file);
            let table = self.open(&path)?;
            let column = |column: &Option<ColumnRef>| match column {
                Some(column) => table.optional_texts(name_of(&table, column)?),
                None => Ok(Vec::new()),
            };
            raw.catalogue = Catalogue {
                titles: column(&items.title)?,
                genres: column(&items.genres)?.into_iter().map(genres_of_list).collect(),
                overviews: column(&items.overview)?,
            };
            let (names, look) = table.id_texts(name_of(&table, &items.item)?)?;
            raw.items = Some((path, names));
            raw.items_look = look;
        }
        Ok(raw)
    }

    fn open(&self, path: &Path) -> Result<TextTable, DataError> {
        let separator = self.separator.as_deref().unwrap_or(usual_separator(path));
        let quotes = self.quotes == Quotes::Usual;
        TextTable::read(
            path,
            &Layout { separator, header: self.header, encoding: self.encoding, quotes },
        )
    }

    fn rows(&self, path: &Path, fold: Option<&ColumnRef>) -> Result<Rows, DataError> {
        let table = self.open(path)?;
        let columns = &self.columns;
        let (users, users_look) = table.id_names(name_of(&table, &columns.user)?)?;
        let item = name_of(&table, &columns.item)?;
        if ListForm::of(table.cells(item)?).is_some() {
            return Err(DataError::File {
                path: path.to_owned(),
                problem: format!("the cells of its column `{item}` hold lists"),
                help: "interactions are one row each: write a row for each item".into(),
            });
        }
        let (items, items_look) = table.id_names(item)?;
        table.refuse_rows_in_quotes([name_of(&table, &columns.user)?, item])?;
        Ok(Rows {
            users,
            items,
            looks: Looks { users: users_look, items: items_look },
            ratings: match &columns.rating {
                Some(column) => table.numbers(
                    name_of(&table, column)?,
                    "a rating (a number)",
                    f32::is_finite,
                )?,
                None => vec![1.0; table.len()],
            },
            timestamps: match &columns.timestamp {
                Some(column) => table.times(name_of(&table, column)?)?,
                None if self.in_time_order => (0..table.len() as i64).map(Time::from).collect(),
                None => vec![Time::default(); table.len()],
            },
            folds: match fold {
                Some(column) => Some(table.texts(name_of(&table, column)?)?),
                None => None,
            },
            lines: table.lines(),
            path: path.to_owned(),
        })
    }
}

/// Genres are kept joined by `|`; a list in brackets, or of a Parquet file, is joined so.
pub(super) fn genres_of_list(cell: Option<String>) -> Option<String> {
    let cell = cell?;
    match cell.trim_start().starts_with(['[', LIST]) {
        true => Some(field_values(&cell).join("|")).filter(|genres| !genres.is_empty()),
        false => Some(cell),
    }
}

fn name_of<'a>(table: &'a TextTable, column: &'a ColumnRef) -> Result<&'a str, DataError> {
    match column {
        ColumnRef::Name(name) => Ok(name),
        ColumnRef::Place(place) => table.column_at(*place),
    }
}

/// All interactions of a data set that comes only as a fold: its parts one after the other.
pub(super) fn joined(fold: &FoldRows) -> Rows {
    let mut all = Rows { path: fold.train.path.clone(), ..Rows::default() };
    for part in
        [Some(&fold.train), fold.validation.as_ref(), Some(&fold.test)].into_iter().flatten()
    {
        all.users.extend(&part.users);
        all.items.extend(&part.items);
        all.ratings.extend_from_slice(&part.ratings);
        all.timestamps.extend_from_slice(&part.timestamps);
        all.lines.extend_from_slice(&part.lines);
    }
    all
}

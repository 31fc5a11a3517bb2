//! MovieLens as GroupLens distributes it.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FoldRows, Raw, Rows,
    content::Encoding,
    delimited::{Layout, TextTable},
};
use crate::data::{DataError, Time, dataset::Catalogue};

const TABS: Layout<'_> = Layout { separator: "\t", header: false, encoding: None, quotes: false };
const PIPES: Layout<'_> =
    Layout { separator: "|", header: false, encoding: Some(Encoding::Latin1), quotes: false };
const COLONS: Layout<'_> =
    Layout { separator: "::", header: false, encoding: Some(Encoding::Latin1), quotes: false };

/// Genres of MovieLens-100K in the order of the columns of `u.item` (the file `u.genre`).
const GENRES: [&str; 19] = [
    "unknown",
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
];

pub(super) fn fold_names_100k() -> Vec<String> {
    (1..=5).map(|fold| format!("u{fold}")).collect()
}

pub(super) fn files_100k() -> Vec<String> {
    let folds = fold_names_100k();
    let parts = folds.iter().flat_map(|fold| [format!("{fold}.base"), format!("{fold}.test")]);
    ["u.data", "u.item", "u.user"].map(String::from).into_iter().chain(parts).collect()
}

pub(super) fn read_100k(folder: &Path) -> Result<Raw, DataError> {
    let users_path = folder.join("u.user");
    let users = TextTable::read(&users_path, &PIPES)?.texts("column_1")?;
    let items_path = folder.join("u.item");
    let table = TextTable::read(&items_path, &PIPES)?;
    let items = table.texts("column_1")?;
    let mut genres = vec![String::new(); items.len()];
    for (at, genre) in GENRES.iter().enumerate() {
        let flags =
            table
                .numbers::<u8>(&format!("column_{}", at + 6), "a genre flag, 0 or 1", |f| f < 2)?;
        for (joined, flag) in genres.iter_mut().zip(flags) {
            if flag == 1 {
                if !joined.is_empty() {
                    joined.push('|');
                }
                joined.push_str(genre);
            }
        }
    }
    let catalogue = Catalogue {
        titles: table.optional_texts("column_2")?,
        genres: genres.into_iter().map(|genres| Some(genres).filter(|g| !g.is_empty())).collect(),
        overviews: Vec::new(),
    };
    let mut folds = Vec::new();
    for name in fold_names_100k() {
        folds.push(FoldRows {
            train: ratings(&folder.join(format!("{name}.base")), &TABS)?,
            validation: None,
            test: ratings(&folder.join(format!("{name}.test")), &TABS)?,
            name,
        });
    }
    Ok(Raw {
        interactions: ratings(&folder.join("u.data"), &TABS)?,
        folds,
        users: Some((users_path, users)),
        items: Some((items_path, items)),
        catalogue,
        has_ratings: true,
        has_timestamps: true,
        ..Raw::default()
    })
}

/// MovieLens-1M.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Movielens1m {
    /// The file of ratings: `user::item::rating::timestamp`.
    ratings: String,
}

impl Default for Movielens1m {
    fn default() -> Self {
        Self { ratings: "ratings.dat".into() }
    }
}

impl Movielens1m {
    pub(super) fn files(&self) -> Vec<String> {
        vec![self.ratings.clone(), "movies.dat".into()]
    }

    /// Users are those who occur: `users.dat` may hold more than a partial file of ratings.
    pub(super) fn read(&self, folder: &Path) -> Result<Raw, DataError> {
        let items_path = folder.join("movies.dat");
        let table = TextTable::read(&items_path, &COLONS)?;
        Ok(Raw {
            interactions: ratings(&folder.join(&self.ratings), &COLONS)?,
            items: Some((items_path, table.texts("column_1")?)),
            catalogue: Catalogue {
                titles: table.optional_texts("column_2")?,
                genres: table.optional_texts("column_3")?,
                overviews: Vec::new(),
            },
            has_ratings: true,
            has_timestamps: true,
            ..Raw::default()
        })
    }
}

fn ratings(path: &Path, layout: &Layout) -> Result<Rows, DataError> {
    let table = TextTable::read(path, layout)?;
    if table.names().len() < 4 {
        return Err(DataError::File {
            path: path.to_owned(),
            problem: format!("its first line has {} fields", table.names().len()),
            help: "each line holds user, item, rating and timestamp".into(),
        });
    }
    Ok(Rows {
        users: table.names_of("column_1")?,
        items: table.names_of("column_2")?,
        ratings: table
            .numbers("column_3", "a rating from 1 to 5", |r: f32| (1.0..=5.0).contains(&r))?,
        timestamps: table
            .numbers("column_4", "seconds since 1970", |_: i64| true)?
            .into_iter()
            .map(Time::from)
            .collect(),
        folds: None,
        looks: Default::default(),
        lines: table.lines(),
        path: path.to_owned(),
    })
}

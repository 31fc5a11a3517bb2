//! A split as plain files: what was seen in training, what is judged in the test part.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use super::{
    Columns,
    columns::Role,
    open::{Opened, each, open},
};
use crate::{
    base::hash::Digest,
    data::{DataError, Ids, Interaction, Interactions, ItemIx, UserIx},
};

/// Where a split lies: tables of (user, item, rating), or TREC qrels.
#[derive(Clone, Debug)]
pub struct JudgementFiles {
    pub train: Option<PathBuf>,
    pub test: PathBuf,
    pub columns: Columns,
}

/// The split in memory. Users and items are those of both files.
#[derive(Clone, Debug)]
pub struct Judgements {
    pub users: Ids,
    pub items: Ids,
    pub train: Interactions,
    pub test: Interactions,
    /// Whether the test file rates its items; every rating is 1 where it does not.
    pub has_ratings: bool,
    /// Hash of the files and of how they are read.
    pub digest: Digest,
    /// What is odd about them.
    pub notes: Vec<String>,
}

/// One file: names once each, rows as places among them.
struct Rows {
    users: Names,
    items: Names,
    ratings: Option<Vec<f32>>,
}

/// A column of names.
#[derive(Default)]
struct Names {
    distinct: Vec<String>,
    /// By row, the place of its name in `distinct`.
    rows: Vec<u32>,
}

impl Names {
    fn of<'a>(cells: impl Iterator<Item = Result<&'a str, DataError>>) -> Result<Self, DataError> {
        let mut known: HashMap<&str, u32> = HashMap::new();
        let mut names = Self::default();
        let mut last = ("", u32::MAX);
        for cell in cells {
            let cell = cell?;
            if cell != last.0 {
                let next = names.distinct.len() as u32;
                let at = *known.entry(cell).or_insert(next);
                if at == next {
                    names.distinct.push(cell.to_owned());
                }
                last = (cell, at);
            }
            names.rows.push(last.1);
        }
        Ok(names)
    }

    /// By row, the index of its name in `ids`, which hold all of them.
    fn indices(&self, ids: &Ids) -> Vec<u32> {
        let of: Vec<u32> =
            self.distinct.iter().map(|name| ids.index_of(name).unwrap_or_default()).collect();
        self.rows.iter().map(|at| of[*at as usize]).collect()
    }
}

impl JudgementFiles {
    /// Reads both files.
    pub fn read(&self) -> Result<Judgements, DataError> {
        let (test, train) = rayon::join(
            || rows(&self.test, &self.columns),
            || self.train.as_ref().map(|path| rows(path, &self.columns)).transpose(),
        );
        let (test, train) = (test?, train?);
        let both = || std::iter::once(&test).chain(&train);
        let users = Ids::new(both().flat_map(|rows| rows.users.distinct.iter().cloned()));
        let items = Ids::new(both().flat_map(|rows| rows.items.distinct.iter().cloned()));
        let mut digests = vec![hash(&self.test)?];
        let mut notes = Vec::new();
        let empty = Rows { users: Names::default(), items: Names::default(), ratings: None };
        let matrix = |rows: &Rows, path: &Path| {
            let (of_users, of_items) = (rows.users.indices(&users), rows.items.indices(&items));
            let interactions: Vec<Interaction> = of_users
                .into_iter()
                .zip(of_items)
                .enumerate()
                .map(|(at, (user, item))| Interaction {
                    user: UserIx(user),
                    item: ItemIx(item),
                    rating: rows.ratings.as_ref().map_or(1.0, |ratings| ratings[at]),
                    timestamp: 0,
                })
                .collect();
            let matrix = Interactions::new(users.len(), items.len(), &interactions);
            let repeated = interactions.len() - matrix.len();
            let note = (repeated > 0).then(|| {
                format!(
                    "{}: {repeated} rows repeat a user and item; the last of each counts",
                    path.display()
                )
            });
            (matrix, note)
        };
        let (test_matrix, note) = matrix(&test, &self.test);
        notes.extend(note);
        let train_matrix = match &self.train {
            Some(path) => {
                digests.push(hash(path)?);
                let (matrix, note) = matrix(train.as_ref().unwrap_or(&empty), path);
                notes.extend(note);
                matrix
            }
            None => matrix(&empty, &self.test).0,
        };
        let leaked =
            test_matrix.iter().filter(|row| train_matrix.contains(row.user, row.item)).count();
        if leaked > 0 {
            notes.push(format!(
                "{leaked} of {} test interactions are in the training file too: the split leaks",
                test_matrix.len()
            ));
        }
        Ok(Judgements {
            digest: Digest::of_json(&("judgements", 1, &self.columns, digests)),
            has_ratings: test.ratings.is_some(),
            users,
            items,
            train: train_matrix,
            test: test_matrix,
            notes,
        })
    }
}

fn hash(path: &Path) -> Result<Digest, DataError> {
    Digest::of_file(path).map_err(|error| DataError::io(path, error))
}

fn rows(path: &Path, columns: &Columns) -> Result<Rows, DataError> {
    let opened = open(path)?;
    let user = opened.required(Role::User, columns.user.as_ref(), 1)?;
    let item_place = if opened.trec { 3 } else { 2 };
    let item = opened.required(Role::Item, columns.item.as_ref(), item_place)?;
    let rating = opened.column(Role::Rating, columns.rating.as_ref(), Some(item_place + 1))?;
    let Opened { table, .. } = &opened;
    Ok(Rows {
        users: Names::of(each(table, &user, table.cells(&user)?))?,
        items: Names::of(each(table, &item, table.cells(&item)?))?,
        ratings: match rating {
            Some(rating) => Some(table.numbers(&rating, "a rating: a number", f32::is_finite)?),
            None => None,
        },
    })
}

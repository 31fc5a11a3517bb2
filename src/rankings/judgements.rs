//! A split as plain files: what was seen in training, what is judged in the test part.

use std::path::{Path, PathBuf};

use super::{
    Columns,
    columns::Role,
    file::{Opened, open},
};
use crate::{
    data::{DataError, Ids, Interaction, Interactions, ItemIx, UserIx},
    hash::Digest,
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

struct Rows {
    users: Vec<String>,
    items: Vec<String>,
    ratings: Option<Vec<f32>>,
}

impl JudgementFiles {
    /// Reads both files.
    pub fn read(&self) -> Result<Judgements, DataError> {
        let test = rows(&self.test, &self.columns)?;
        let train = match &self.train {
            Some(path) => Some(rows(path, &self.columns)?),
            None => None,
        };
        let both = || std::iter::once(&test).chain(&train);
        let users = Ids::new(both().flat_map(|rows| rows.users.iter().cloned()));
        let items = Ids::new(both().flat_map(|rows| rows.items.iter().cloned()));
        let mut digests = vec![hash(&self.test)?];
        let mut notes = Vec::new();
        let empty = Rows { users: vec![], items: vec![], ratings: None };
        let matrix = |rows: &Rows, path: &Path| {
            let interactions: Vec<Interaction> = (0..rows.users.len())
                .filter_map(|at| {
                    Some(Interaction {
                        user: UserIx(users.index_of(&rows.users[at])?),
                        item: ItemIx(items.index_of(&rows.items[at])?),
                        rating: rows.ratings.as_ref().map_or(1.0, |ratings| ratings[at]),
                        timestamp: 0,
                    })
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
        users: table.texts(&user)?,
        items: table.texts(&item)?,
        ratings: match rating {
            Some(rating) => Some(table.numbers(&rating, "a rating: a number", f32::is_finite)?),
            None => None,
        },
    })
}

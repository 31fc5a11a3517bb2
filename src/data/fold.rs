//! One fold: (train, validation, test), in memory and as a directory of Parquet files.
//!
//! The test part can be read only with a [`ScoringPermit`], which only [`crate::ranking`] can make.

use std::path::{Path, PathBuf};

use polars::prelude::*;

use super::{
    Cut, DataError, Dataset, FilterEffect, Ids, Interaction, Interactions, ItemIx, Relevance,
    ScoringPermit, Time, TrainingData, UserIx, cut::cut_rows, sequences::hash_rows,
};
use crate::base::{hash::Digest, parquet};

pub(super) const TRAIN: &str = "train.parquet";
pub(super) const VALIDATION: &str = "validation.parquet";
pub(super) const TEST: &str = "test.parquet";
pub(super) const USERS: &str = "users.parquet";
pub(super) const ITEMS: &str = "items.parquet";

/// The files of a fold.
pub const FOLD_FILES: [&str; 5] = [TRAIN, VALIDATION, TEST, USERS, ITEMS];

/// Interactions of a fold before they are checked.
#[derive(Debug, Default)]
pub(super) struct Parts {
    pub train: Vec<Interaction>,
    pub validation: Vec<Interaction>,
    pub test: Vec<Interaction>,
}

/// A fold that was just made. Its test part can be written, not read.
#[derive(Clone, Debug)]
pub struct Fold {
    pub name: String,
    pub users: Ids,
    pub items: Ids,
    pub train: Interactions,
    pub validation: Interactions,
    test: Interactions,
    /// What readers of its results should know of how it was split, a sentence each.
    pub notes: Vec<String>,
    /// What each filter removed before the split.
    pub filtered: Vec<FilterEffect>,
}

impl Fold {
    /// Refuses a fold that has one (user, item) in two parts.
    pub(super) fn new(name: &str, data: &Dataset, parts: Parts) -> Result<Self, DataError> {
        let matrix =
            |rows: &[Interaction]| Interactions::new(data.users.len(), data.items.len(), rows);
        let train = matrix(&parts.train);
        let validation = matrix(&parts.validation);
        for (part, rows) in [("validation", &parts.validation), ("test", &parts.test)] {
            let leaked = rows.iter().find(|row| {
                let seen = train.contains(row.user, row.item);
                seen || (part == "test" && validation.contains(row.user, row.item))
            });
            if let Some(row) = leaked {
                return Err(DataError::Split(format!(
                    "the fold `{name}` leaks: user `{}` with item `{}` is in its {part} part and in \
                     its training part",
                    data.users.name(row.user.0),
                    data.items.name(row.item.0)
                )));
            }
        }
        Ok(Self {
            name: name.to_owned(),
            users: data.users.clone(),
            items: data.items.clone(),
            train,
            validation,
            test: matrix(&parts.test),
            notes: Vec::new(),
            filtered: Vec::new(),
        })
    }

    /// Hash of all three parts.
    pub fn digest(&self) -> Digest {
        digest_of([&self.train, &self.validation, &self.test])
    }

    /// Hash of the names that the rows' indices stand for.
    pub fn names_digest(&self) -> Digest {
        names_digest_of(&self.users, &self.items)
    }

    /// The test part. The permit is proof that scoring asks.
    pub fn test(&self, _: &ScoringPermit) -> &Interactions {
        &self.test
    }

    /// Number of interactions in the test part; what they are stays closed.
    pub fn test_len(&self) -> usize {
        self.test.len()
    }

    /// Writes the fold into the directory `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), DataError> {
        let rows = |part: &Interactions| part.iter().collect::<Vec<Interaction>>();
        let parts = [&self.train, &self.validation, &self.test].map(rows);
        write_parts(dir, &self.users, &self.items, parts)
    }
}

/// Writes the names and the three parts of a fold into the directory `dir`; rows are kept in their order.
pub(super) fn write_parts(
    dir: &Path,
    users: &Ids,
    items: &Ids,
    parts: [Vec<Interaction>; 3],
) -> Result<(), DataError> {
    for (file, ids, column) in [(USERS, users, "user"), (ITEMS, items, "item")] {
        let frame = DataFrame::new(ids.len(), vec![Column::new(column.into(), ids.names())]);
        write(&dir.join(file), frame)?;
    }
    for (file, rows) in [TRAIN, VALIDATION, TEST].into_iter().zip(&parts) {
        let column = |name: &str, values: Vec<u32>| Column::new(name.into(), values);
        let frame = DataFrame::new(
            rows.len(),
            vec![
                column("user", rows.iter().map(|row| row.user.0).collect()),
                column("item", rows.iter().map(|row| row.item.0).collect()),
                Column::new(
                    "rating".into(),
                    rows.iter().map(|row| row.rating).collect::<Vec<f32>>(),
                ),
                times_column(rows),
            ],
        );
        write(&dir.join(file), frame)?;
    }
    Ok(())
}

/// Whole seconds are kept as integers, as they were before there were fractions.
pub(super) fn times_column(rows: &[Interaction]) -> Column {
    let name = "timestamp".into();
    let whole: Option<Vec<i64>> = rows.iter().map(|row| row.timestamp.whole()).collect();
    match whole {
        Some(seconds) => Column::new(name, seconds),
        None => {
            let seconds: Vec<f64> = rows.iter().map(|row| row.timestamp.as_seconds()).collect();
            Column::new(name, seconds)
        }
    }
}

fn write(path: &Path, frame: PolarsResult<DataFrame>) -> Result<(), DataError> {
    let written =
        frame.map_err(parquet::to_io).and_then(|mut frame| parquet::write(path, &mut frame));
    written.map_err(|error| DataError::io(path, error))
}

fn digest_of(parts: [&Interactions; 3]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    parts.into_iter().for_each(|part| hash_rows(&mut hasher, part.iter()));
    Digest::from_blake3(hasher.finalize())
}

pub(super) fn names_digest_of(users: &Ids, items: &Ids) -> Digest {
    Digest::of_json(&[users.names(), items.names()])
}

/// Whether the fold in `dir` is the one that was made: its rows and names have the digests taken then. Says
/// no more than that: the test part stays closed.
pub fn check_fold(dir: &Path, rows: Digest, names: Digest) -> Result<(), DataError> {
    let TrainingPart { users, items, train, validation } = TrainingPart::read(dir)?;
    let test = read_part(&dir.join(TEST), users.len(), items.len())?;
    let is_same =
        names_digest_of(&users, &items) == names && digest_of([&train, &validation, &test]) == rows;
    match is_same {
        true => Ok(()),
        false => Err(DataError::File {
            path: dir.to_owned(),
            problem: "hash mismatch: its rows are not the recorded ones".into(),
            help: "remove the directory and run again to rebuild it".into(),
        }),
    }
}

/// What may be learnt from: all of a fold but its test part.
#[derive(Clone, Debug)]
pub struct TrainingPart {
    pub users: Ids,
    pub items: Ids,
    pub train: Interactions,
    pub validation: Interactions,
}

impl TrainingPart {
    /// That of a fold that was just made.
    pub fn of(fold: &Fold) -> Self {
        Self {
            users: fold.users.clone(),
            items: fold.items.clone(),
            train: fold.train.clone(),
            validation: fold.validation.clone(),
        }
    }

    /// Reads a fold that [`Fold::write`] wrote.
    pub fn read(dir: &Path) -> Result<Self, DataError> {
        let users = read_ids(&dir.join(USERS), "user")?;
        let items = read_ids(&dir.join(ITEMS), "item")?;
        let part = |file: &str| read_part(&dir.join(file), users.len(), items.len());
        Ok(Self { train: part(TRAIN)?, validation: part(VALIDATION)?, users, items })
    }

    /// The training data of a model, with the liked ratings picked out.
    pub fn training_data(&self, relevant: Relevance, disliked: Option<Relevance>) -> TrainingData {
        TrainingData {
            disliked: disliked.map(|rule| self.train.filter(|row| rule.accepts(row.rating))),
            relevant,
            positives: self.train.filter(|row| relevant.accepts(row.rating)),
            ratings: self.train.clone(),
            validation: self.validation.clone(),
        }
    }

    /// The training part in two, a fold without a test part: what a search learns from and what it measures
    /// on. A validation part that there is already stays out of both.
    pub fn cut(&self, name: &str, cut: Cut, share: f64, seed: u64) -> Result<Fold, DataError> {
        let rows: Vec<Interaction> = self.train.iter().collect();
        let (kept, held) = cut_rows(&rows, cut, share, seed);
        if kept.is_empty() || held.is_empty() {
            return Err(DataError::Split(format!(
                "the training part of the fold `{name}` is too small for a search: {} ratings would stay in \
                 it and {} be measured on",
                kept.len(),
                held.len()
            )));
        }
        let matrix =
            |rows: &[Interaction]| Interactions::new(self.users.len(), self.items.len(), rows);
        Ok(Fold {
            name: name.to_owned(),
            users: self.users.clone(),
            items: self.items.clone(),
            train: matrix(&kept),
            validation: matrix(&held),
            test: matrix(&[]),
            notes: Vec::new(),
            filtered: Vec::new(),
        })
    }

    /// Number of training ratings of each user.
    pub fn counts(&self) -> Vec<usize> {
        let users = 0..self.users.len() as u32;
        users.map(|user| self.train.items_of(UserIx(user)).len()).collect()
    }

    /// Everything but the test part: what a recommendation must not repeat.
    pub fn seen(&self) -> Interactions {
        if self.validation.is_empty() {
            return self.train.clone();
        }
        let rows: Vec<Interaction> = self.train.iter().chain(self.validation.iter()).collect();
        Interactions::new(self.users.len(), self.items.len(), &rows)
    }
}

/// The closed test part of a fold on disk.
#[derive(Clone, Debug)]
pub struct TestPart {
    dir: PathBuf,
}

impl TestPart {
    /// The test part of the fold in `dir`.
    pub fn at(dir: &Path) -> Self {
        Self { dir: dir.to_owned() }
    }

    /// Opens it. The permit is proof that scoring asks.
    pub fn open(&self, _: &ScoringPermit) -> Result<Interactions, DataError> {
        let users = read_ids(&self.dir.join(USERS), "user")?;
        let items = read_ids(&self.dir.join(ITEMS), "item")?;
        read_part(&self.dir.join(TEST), users.len(), items.len())
    }
}

fn damaged(path: &Path) -> impl Fn(PolarsError) -> DataError {
    let path = path.to_owned();
    move |error| DataError::File {
        path: path.clone(),
        problem: format!("not a part of a fold: {error}"),
        help: "remove the step's directory and run again to rebuild it".into(),
    }
}

pub(super) fn read_ids(path: &Path, column: &str) -> Result<Ids, DataError> {
    let frame = parquet::read(path).map_err(|error| DataError::io(path, error))?;
    let names = frame.column(column).and_then(|column| column.str()).map_err(damaged(path))?;
    // Rows of the parts are indices into this order: it is kept, not made again.
    Ids::in_order(names.iter().flatten().map(str::to_owned).collect())
        .ok_or_else(|| damaged(path)(PolarsError::ComputeError("its ids are out of order".into())))
}

fn read_part(path: &Path, n_users: usize, n_items: usize) -> Result<Interactions, DataError> {
    Ok(Interactions::new(n_users, n_items, &read_rows(path, n_users, n_items)?))
}

/// Rows in the order in which they were written.
pub(super) fn read_rows(
    path: &Path,
    n_users: usize,
    n_items: usize,
) -> Result<Vec<Interaction>, DataError> {
    let frame = parquet::read(path).map_err(|error| DataError::io(path, error))?;
    let rows = || -> PolarsResult<Vec<Interaction>> {
        let users = frame.column("user")?.u32()?;
        let items = frame.column("item")?.u32()?;
        let ratings = frame.column("rating")?.f32()?;
        let times = frame.column("timestamp")?;
        let times: Vec<Time> = match times.i64() {
            Ok(whole) => whole.into_no_null_iter().map(Time::from).collect(),
            Err(_) => times.f64()?.into_no_null_iter().map(Time::seconds).collect(),
        };
        let columns = users.into_no_null_iter().zip(items.into_no_null_iter());
        let rest = ratings.into_no_null_iter().zip(times);
        let rows = columns.zip(rest).map(|((user, item), (rating, timestamp))| Interaction {
            user: UserIx(user),
            item: ItemIx(item),
            rating,
            timestamp,
        });
        Ok(rows.collect())
    };
    let rows = rows().map_err(damaged(path))?;
    if rows.iter().any(|row| row.user.at() >= n_users || row.item.at() >= n_items) {
        return Err(damaged(path)(PolarsError::OutOfBounds("an index is out of range".into())));
    }
    Ok(rows)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Tests may look into the test part; nothing else in this crate can.
    pub fn test_part(fold: &Fold) -> &Interactions {
        &fold.test
    }
}

//! A split as plain files: what was seen in training, what is judged in the test part.

use std::{
    collections::{HashMap, HashSet},
    path::{Path, PathBuf},
};

use super::{
    Columns,
    columns::Role,
    open::{Form, Opened, TextOptions, Use, each, open, say},
};
use crate::{
    base::hash::Digest,
    data::{
        DataError, Ids, Interaction, Interactions, ItemIx, Relevance, UserIx,
        cells::{IdLook, ListForm},
    },
};

/// Where a split lies: tables of (user, item, rating), or TREC qrels.
#[derive(Clone, Debug)]
pub struct JudgementFiles {
    pub train: Option<PathBuf>,
    pub test: PathBuf,
    /// Whether the test file is used as qrels.
    pub qrels: bool,
    pub columns: Columns,
    /// The rule of relevance, where one is told: a threshold needs ratings.
    pub relevant: Option<Relevance>,
    pub text: TextOptions,
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
#[derive(Default)]
struct Rows {
    users: Names,
    items: Names,
    ratings: Option<Vec<f32>>,
    users_look: IdLook,
    items_look: IdLook,
    notes: Vec<String>,
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
        let test_use = if self.qrels { Use::Qrels } else { Use::Judgements };
        // What is seen in training is all that counts of it: its ratings decide nothing.
        let (test, train) = rayon::join(
            || self.rows(&self.test, test_use, true),
            || self.train.as_ref().map(|path| self.rows(path, Use::Judgements, false)).transpose(),
        );
        let (test, train) = (test?, train?);
        let both = || std::iter::once(&test).chain(&train);
        let users = Ids::new(both().flat_map(|rows| rows.users.distinct.iter().cloned()));
        let items = Ids::new(both().flat_map(|rows| rows.items.distinct.iter().cloned()));
        let mut digests = vec![hash(&self.test)?];
        let mut notes = test.notes.clone();
        if let (Some(train), Some(path)) = (&train, &self.train) {
            notes.extend(self.compare(&test, train, path)?);
        }
        let empty = Rows::default();
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
                    timestamp: Default::default(),
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

    /// What differs in how the two files write their identifiers. Where nobody who is tested is in training,
    /// that is an error.
    fn compare(&self, test: &Rows, train: &Rows, path: &Path) -> Result<Vec<String>, DataError> {
        let name = |path: &Path| path.display().to_string();
        let (a, b) = (name(path), name(&self.test));
        let trained: HashSet<&String> = train.users.distinct.iter().collect();
        if !test.users.distinct.iter().any(|user| trained.contains(user)) {
            let first = |names: &Names| names.distinct.first().cloned().unwrap_or_default();
            return Err(DataError::File {
                path: self.test.clone(),
                problem: format!(
                    "none of its {} users is in the training file {a}",
                    test.users.distinct.len()
                ),
                help: format!(
                    "the test file has e.g. the user `{}`, the training file `{}`: ids are compared as text, so \
                     write them alike in both files",
                    first(&test.users),
                    first(&train.users)
                ),
            });
        }
        let users = train.users_look.differs(&a, &test.users_look, &b, "user");
        let items = train.items_look.differs(&a, &test.items_look, &b, "item");
        Ok(users.into_iter().chain(items).collect())
    }

    fn rows(&self, path: &Path, what_for: Use, decides: bool) -> Result<Rows, DataError> {
        let opened = open(path, what_for, self.text)?;
        let user = opened.required(Role::User, None, 1)?;
        let item_place = if opened.is_trec() { 3 } else { 2 };
        let item = opened.required(Role::Item, None, item_place)?;
        if ListForm::of(opened.table.cells(&item)?).is_some() && opened.form == Form::Table {
            return Err(DataError::File {
                path: path.to_owned(),
                problem: format!("the cells of its column `{item}` hold lists"),
                help: "a split is one row for each user and item: write a row for each item".into(),
            });
        }
        let mut notes = opened.notes.clone();
        let rating = match decides {
            true => self.rating(&opened, &user, &item, item_place, &mut notes)?,
            false => opened.column(Role::Rating, None, Some(item_place + 1))?,
        };
        let Opened { table, .. } = &opened;
        let ((user_cells, users_look), (item_cells, items_look)) =
            (table.ids(&user)?, table.ids(&item)?);
        table.refuse_rows_in_quotes([&user, &item])?;
        let ratings = |column: &String| table.numbers(column, "a rating: a number", f32::is_finite);
        Ok(Rows {
            users: Names::of(each(table, &user, &user_cells))?,
            items: Names::of(each(table, &item, &item_cells))?,
            ratings: match (&rating, decides) {
                (Some(rating), true) => Some(ratings(rating)?),
                (Some(rating), false) => ratings(rating).ok(),
                (None, _) => None,
            },
            users_look,
            items_look,
            notes,
        })
    }

    /// The column of ratings of the test part. Where one decides what is relevant and none is called so, the only
    /// one that may be it is taken, with a note; of several one must be named.
    fn rating(
        &self,
        opened: &Opened,
        user: &str,
        item: &str,
        item_place: usize,
        notes: &mut Vec<String>,
    ) -> Result<Option<String>, DataError> {
        let told = self.columns.rating.as_ref();
        let place = Some(item_place + 1);
        let names = opened.table.names();
        let mut known = opened.column(Role::Rating, told, place)?;
        // BEIR calls the relevance of its judgements `score`.
        if known.is_none() && self.qrels && opened.header {
            known = Role::Score.guess(names).map(str::to_owned);
        }
        let path = opened.table.path();
        let all = Role::Rating.all(names);
        if let (Some(known), None, true, [_, _, ..]) = (&known, told, opened.header, &all[..]) {
            notes.push(format!(
                "{}: the columns {} may all be the rating: `{known}` is taken (`--columns rating=NAME` says \
                 otherwise)",
                path.display(),
                all.join(", ")
            ));
        }
        if known.is_some() || self.relevant == Some(Relevance::Any) {
            return Ok(known);
        }
        let candidates = if opened.header { opened.candidates(&[user, item]) } else { Vec::new() };
        let needed = self.qrels || self.relevant.is_some();
        let refuse = |problem: String| {
            Err(DataError::File {
                path: path.to_owned(),
                problem,
                help: format!(
                    "its columns are {}; {}, or say `--relevant any` where every row counts as liked",
                    names.join(", "),
                    say(Role::Rating)
                ),
            })
        };
        match &candidates[..] {
            [] if needed => refuse(match self.relevant {
                Some(rule) => {
                    format!(
                        "the rule of relevance `{rule}` needs ratings, and no column looks like them"
                    )
                }
                None => "no column looks like the relevance of the judgements".into(),
            }),
            [] => Ok(None),
            [only] => {
                notes.push(format!(
                    "{}: no column is called a rating: `{only}`, the only other column of numbers, is taken \
                     for it (`--columns rating=NAME` says otherwise)",
                    path.display()
                ));
                Ok(Some((*only).to_owned()))
            }
            several => refuse(format!(
                "no column is called a rating, and several may be it: {}",
                several.join(", ")
            )),
        }
    }
}

fn hash(path: &Path) -> Result<Digest, DataError> {
    Digest::of_file(path).map_err(|error| DataError::io(path, error))
}

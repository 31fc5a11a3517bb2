//! Readers: from files to a [`Dataset`]. One file a format; this one joins what they read.

pub(crate) mod cells;
pub(crate) mod content;
pub(crate) mod delimited;
mod json_lines;
mod movielens;
mod names;
mod quotes;
mod recbole;
mod sequences;
mod table;
mod user_items;

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::{cells::IdLook, names::Names};
use super::{
    DataError, Dataset, Ids, Interaction, Interactions, OfficialFold, SequenceData, Sequences,
    Time, UserIx, dataset::Catalogue, ids::ItemIx, interactions::RowOrder, source::Located,
};
use crate::base::yaml::{Diagnostic, de::from_node, diagnostic::Position, nearest, node::Node};

/// How files are read. The names are those of `reader:`.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "reader", rename_all = "kebab-case")]
pub enum ReaderSpec {
    /// MovieLens-100K as distributed, with its folds u1 to u5.
    Movielens100k,
    /// MovieLens-1M as distributed: fields separated by `::`.
    Movielens1m(movielens::Movielens1m),
    /// RecBole's atomic files.
    Recbole(recbole::Recbole),
    /// CSV, TSV, JSON lines or Parquet with named columns.
    Table(Box<table::Table>),
    /// One line a user: `user item item …`.
    UserItems(user_items::UserItems),
    /// One line a user in the order of time: `user item item …`.
    Sequences(sequences::SequenceFile),
    /// Not interactions: the weights and the tokenizer of a text encoder.
    #[schemars(skip)]
    Encoder,
}

impl ReaderSpec {
    const NAMES: [&str; 6] =
        ["movielens100k", "movielens1m", "recbole", "table", "user-items", "sequences"];

    /// Reads the settings of the reader called `name`.
    pub(crate) fn deserialize_named(
        name: &str,
        at: &Position,
        settings: &Node,
    ) -> Result<Self, Diagnostic> {
        Ok(match name {
            "movielens100k" => {
                let _: NoSettings = from_node(settings)?;
                Self::Movielens100k
            }
            "movielens1m" => Self::Movielens1m(from_node(settings)?),
            "recbole" => Self::Recbole(from_node(settings)?),
            "table" => Self::Table(from_node(settings)?),
            "user-items" => Self::UserItems(from_node(settings)?),
            "sequences" => Self::Sequences(from_node(settings)?),
            "encoder" => {
                let _: NoSettings = from_node(settings)?;
                Self::Encoder
            }
            _ => {
                return Err(Diagnostic::at(at, format!("unknown reader `{name}`"))
                    .expected(format!("one of {}", Self::NAMES.join(", ")))
                    .suggest(name, Self::NAMES));
            }
        })
    }

    /// Raised when the reader gives something else than before for the same files.
    pub fn revision(&self) -> u32 {
        match self {
            // Ids of MovieLens and of LightGCN's files are whole numbers.
            Self::Movielens100k | Self::Movielens1m(_) | Self::UserItems(_) | Self::Encoder => 1,
            Self::Sequences(_) => 1,
            // Times keep fractions, genres are the words of a `token_seq`.
            Self::Recbole(_) => 3,
            // Of ids that are partly numbers, numbers come first; times keep fractions, ids like `1.0` are `1`; quoted fields
            // contain no rows.
            Self::Table(_) => 4,
        }
    }

    /// Whether interactions come with ratings, without reading them.
    pub(crate) fn has_ratings(&self, folder: &Path) -> Result<bool, DataError> {
        match self {
            Self::Movielens100k | Self::Movielens1m(_) => Ok(true),
            Self::Recbole(spec) => spec.has_ratings(folder),
            Self::Table(spec) => Ok(spec.has_ratings()),
            Self::UserItems(_) | Self::Sequences(_) | Self::Encoder => Ok(false),
        }
    }

    /// The files it reads, relative to the data set's folder.
    pub fn files(&self) -> Vec<String> {
        match self {
            Self::Movielens100k => movielens::files_100k(),
            Self::Movielens1m(spec) => spec.files(),
            Self::Recbole(spec) => spec.files(),
            Self::Table(spec) => spec.files(),
            Self::UserItems(spec) => spec.files(),
            Self::Sequences(spec) => spec.files(),
            Self::Encoder => ["model.safetensors", "tokenizer.json"].map(String::from).to_vec(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NoSettings {}

/// What to do where one user has rated one item more than once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DuplicateRule {
    /// Refuse the file.
    #[default]
    Error,
    /// Keep the one that stands first in the file.
    KeepFirst,
    /// Keep the one that stands last in the file.
    KeepLast,
    /// Keep the highest rating.
    KeepHighest,
}

/// What quotes are in a text table.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Quotes {
    /// `"` at the start of a field begins a quoted field.
    #[default]
    Usual,
    /// Characters like others.
    None,
}

impl Quotes {
    /// Whether they are what they usually are.
    pub fn are_usual(&self) -> bool {
        *self == Self::Usual
    }
}

/// Interactions as one file gives them.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub path: PathBuf,
    pub users: Names,
    pub items: Names,
    pub ratings: Vec<f32>,
    pub timestamps: Vec<Time>,
    /// The fold a row is the test part of, where the file says so.
    pub folds: Option<Vec<String>>,
    /// What the identifiers look like.
    pub looks: Looks,
    /// Line of each row in the file, starting at 1; 0 for formats without lines.
    pub lines: Vec<u32>,
}

/// What the identifiers of a file look like.
#[derive(Clone, Debug, Default)]
pub(crate) struct Looks {
    pub users: IdLook,
    pub items: IdLook,
}

/// One official fold as its files give it.
#[derive(Debug)]
pub(crate) struct FoldRows {
    pub name: String,
    pub train: Rows,
    pub validation: Option<Rows>,
    pub test: Rows,
}

/// What a reader hands over.
#[derive(Debug, Default)]
pub(crate) struct Raw {
    pub interactions: Rows,
    pub folds: Vec<FoldRows>,
    /// All users, where a file lists them; then no other may occur.
    pub users: Option<(PathBuf, Vec<String>)>,
    /// All items, where a file lists them; then no other may occur.
    pub items: Option<(PathBuf, Vec<String>)>,
    /// Aligned with `items`.
    pub catalogue: Catalogue,
    pub has_ratings: bool,
    pub has_timestamps: bool,
    /// Whether times order the interactions of one user and of no two.
    pub is_ordered: bool,
    /// What was decided while reading, a sentence each.
    pub notes: Vec<String>,
    /// What the identifiers of the file of items look like.
    pub items_look: IdLook,
}

/// Names of the publisher's folds, without reading the interactions.
pub(crate) fn official_folds(located: &Located) -> Result<Vec<String>, DataError> {
    match &located.reader {
        ReaderSpec::Movielens100k => Ok(movielens::fold_names_100k()),
        ReaderSpec::UserItems(_) => Ok(vec!["official".into()]),
        ReaderSpec::Table(spec) => spec.fold_names(&located.folder),
        ReaderSpec::Movielens1m(_)
        | ReaderSpec::Recbole(_)
        | ReaderSpec::Sequences(_)
        | ReaderSpec::Encoder => Ok(Vec::new()),
    }
}

/// Reads the files and puts them together.
pub(crate) fn read(located: &Located) -> Result<Dataset, DataError> {
    assemble(&located.name, raw(located)?, located.duplicates)
}

/// What the files hold.
fn raw(located: &Located) -> Result<Raw, DataError> {
    let folder = &located.folder;
    let raw = match &located.reader {
        ReaderSpec::Movielens100k => movielens::read_100k(folder)?,
        ReaderSpec::Movielens1m(spec) => spec.read(folder)?,
        ReaderSpec::Recbole(spec) => spec.read(folder)?,
        ReaderSpec::Table(spec) => spec.read(folder)?,
        ReaderSpec::UserItems(spec) => spec.read(folder)?,
        ReaderSpec::Sequences(spec) => spec.read(folder)?,
        ReaderSpec::Encoder => {
            return Err(DataError::File {
                path: folder.clone(),
                problem: "this is a text encoder, not interactions".into(),
                help: "name a data set (`assay data list`)".into(),
            });
        }
    };
    Ok(raw)
}

/// Reads the files as one sequence for each user. Several interactions of a user with an item are repeats, and
/// all are kept unless `rule` says otherwise.
pub(crate) fn read_sequences(
    located: &Located,
    rule: Option<DuplicateRule>,
) -> Result<SequenceData, DataError> {
    let raw = raw(located)?;
    let rows = &raw.interactions;
    if !raw.has_timestamps && !raw.is_ordered {
        return Err(DataError::File {
            path: rows.path.clone(),
            problem: "its interactions have neither times nor an order".into(),
            help: "name the column of times (`columns: {timestamp: NAME}`); where the rows are in the order of \
                   time, say `in_time_order: true`; files of lines `user item item …` in the order of time are \
                   read with `reader: sequences`"
                .into(),
        });
    }
    if rows.users.is_empty() {
        return Err(DataError::File {
            path: rows.path.clone(),
            problem: "no interaction in it".into(),
            help: "a data set needs at least one line".into(),
        });
    }
    let (users, items) = (user_ids(&raw), item_ids(&raw));
    let index = Index::of(&raw, &users, &items, rule);
    let mut notes = raw.notes.clone();
    let mut rows = index.rows(rows, &mut notes)?;
    // Stable: of interactions at one time the earlier row of the file comes first.
    rows.sort_by_key(|row| (row.user, row.timestamp));
    Ok(SequenceData {
        filtered: Vec::new(),
        name: located.name.clone(),
        sequences: Sequences::new(users.len(), items.len(), &rows),
        users,
        items,
        has_times: raw.has_timestamps,
        notes,
    })
}

/// All parts of a data set and its folds.
fn parts(raw: &Raw) -> impl Iterator<Item = &Rows> {
    std::iter::once(&raw.interactions).chain(raw.folds.iter().flat_map(|fold| {
        [Some(&fold.train), fold.validation.as_ref(), Some(&fold.test)].into_iter().flatten()
    }))
}

fn user_ids(raw: &Raw) -> Ids {
    ids(raw, &raw.users, |rows| &rows.users)
}

fn item_ids(raw: &Raw) -> Ids {
    ids(raw, &raw.items, |rows| &rows.items)
}

fn ids(raw: &Raw, listed: &Option<(PathBuf, Vec<String>)>, of: fn(&Rows) -> &Names) -> Ids {
    match listed {
        Some((_, names)) => Ids::new(names.iter().cloned()),
        None => {
            let names: HashSet<&String> = parts(raw).flat_map(|part| of(part).distinct()).collect();
            Ids::new(names.into_iter().cloned())
        }
    }
}

fn assemble(name: &str, raw: Raw, rule: DuplicateRule) -> Result<Dataset, DataError> {
    for part in parts(&raw) {
        if part.users.is_empty() {
            return Err(DataError::File {
                path: part.path.clone(),
                problem: "no interaction in it".into(),
                help: "every part of a data set and of its folds needs at least one line".into(),
            });
        }
    }
    let (users, items) = (user_ids(&raw), item_ids(&raw));
    let index = Index::of(&raw, &users, &items, Some(rule));
    let mut notes = raw.notes.clone();
    notes.extend(different_looks(&raw));
    let rows = index.rows(&raw.interactions, &mut notes)?;
    let mut folds = fold_column(&raw.interactions, &index)?;
    for fold in &raw.folds {
        folds.push(OfficialFold {
            name: fold.name.clone(),
            train: index.rows(&fold.train, &mut notes)?,
            validation: match &fold.validation {
                Some(rows) => index.rows(rows, &mut notes)?,
                None => Vec::new(),
            },
            test: index.rows(&fold.test, &mut notes)?,
            filtered: Vec::new(),
        });
    }
    for (raw, fold) in raw.folds.iter().zip(folds.iter().skip(folds.len() - raw.folds.len())) {
        refuse_strangers(raw, fold, &users)?;
    }
    // Interactions are kept by user and item.
    let file_rows: Vec<u32> = RowOrder::of(users.len(), &rows).rows().collect();
    let catalogue = align(raw.catalogue, raw.items.as_ref(), &items);
    Ok(Dataset {
        name: name.to_owned(),
        interactions: Interactions::new(users.len(), items.len(), &rows),
        users,
        items,
        catalogue,
        file_rows,
        has_ratings: raw.has_ratings,
        has_timestamps: raw.has_timestamps,
        folds,
        filtered: Vec::new(),
        notes,
    })
}

/// A sentence for each pair of files whose identifiers are whole numbers in one and texts in the other.
fn different_looks(raw: &Raw) -> Vec<String> {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let first = raw.folds.first().map_or(&raw.interactions, |fold| &fold.train);
    let others = raw.folds.iter().flat_map(|fold| {
        [Some(&fold.train), fold.validation.as_ref(), Some(&fold.test)].into_iter().flatten()
    });
    let mut notes = Vec::new();
    for other in others {
        let (a, b) = (name(&first.path), name(&other.path));
        notes.extend(first.looks.users.differs(&a, &other.looks.users, &b, "user"));
        notes.extend(first.looks.items.differs(&a, &other.looks.items, &b, "item"));
    }
    if let Some((path, _)) = &raw.items {
        let (a, b) = (name(&first.path), name(path));
        notes.extend(first.looks.items.differs(&a, &raw.items_look, &b, "item"));
    }
    notes
}

/// A fold in which nobody who is tested is in the training part is most likely one whose files write their
/// identifiers in two ways: no number that comes of it is worth anything.
fn refuse_strangers(raw: &FoldRows, fold: &OfficialFold, users: &Ids) -> Result<(), DataError> {
    let trained: HashSet<u32> = fold.train.iter().map(|row| row.user.0).collect();
    if fold.test.iter().any(|row| trained.contains(&row.user.0)) {
        return Ok(());
    }
    let example = |rows: &[Interaction]| rows.first().map_or("", |row| users.name(row.user.0));
    Err(DataError::File {
        path: raw.test.path.clone(),
        problem: format!(
            "none of its users is in the training part {} (fold `{}`)",
            raw.train.path.display(),
            raw.name
        ),
        help: format!(
            "the test part has e.g. the user `{}`, the training part `{}`: ids are compared as text, so write \
             them alike in both files",
            example(&fold.test),
            example(&fold.train)
        ),
    })
}

/// Puts the catalogue's columns from the order of the file into the order of the indices.
fn align(catalogue: Catalogue, listed: Option<&(PathBuf, Vec<String>)>, items: &Ids) -> Catalogue {
    let Some((_, names)) = listed else { return Catalogue::default() };
    let reorder = |values: Vec<Option<String>>| {
        if values.is_empty() {
            return values;
        }
        let mut ordered = vec![None; items.len()];
        for (name, value) in names.iter().zip(values) {
            if let Some(at) = items.index_of(name) {
                ordered[at as usize] = value;
            }
        }
        ordered
    };
    Catalogue {
        titles: reorder(catalogue.titles),
        genres: reorder(catalogue.genres),
        overviews: reorder(catalogue.overviews),
    }
}

/// Folds from a column that names, for each row, the fold it is tested in.
fn fold_column(rows: &Rows, index: &Index) -> Result<Vec<OfficialFold>, DataError> {
    let Some(of_row) = &rows.folds else { return Ok(Vec::new()) };
    let names = Ids::new(of_row.iter().cloned());
    let all = index.rows(rows, &mut Vec::new())?;
    if all.len() != of_row.len() {
        return Err(DataError::File {
            path: rows.path.clone(),
            problem: "it has a fold column and duplicate interactions".into(),
            help: "remove the duplicates: they could stand in two folds".into(),
        });
    }
    let folds = names.names().iter().map(|name| {
        let part = |test: bool| {
            let rows = all.iter().zip(of_row).filter(|(_, fold)| (*fold == name) == test);
            rows.map(|(row, _)| *row).collect()
        };
        OfficialFold {
            name: name.clone(),
            train: part(false),
            validation: vec![],
            test: part(true),
            filtered: Vec::new(),
        }
    });
    Ok(folds.collect())
}

struct Index<'a> {
    users: &'a Ids,
    items: &'a Ids,
    users_file: Option<&'a Path>,
    items_file: Option<&'a Path>,
    /// None where repeats are kept.
    rule: Option<DuplicateRule>,
}

impl<'a> Index<'a> {
    fn of(raw: &'a Raw, users: &'a Ids, items: &'a Ids, rule: Option<DuplicateRule>) -> Self {
        Self {
            users,
            items,
            users_file: raw.users.as_ref().map(|(path, _)| path.as_path()),
            items_file: raw.items.as_ref().map(|(path, _)| path.as_path()),
            rule,
        }
    }

    /// The index of each distinct identifier of a column.
    fn find(
        &self,
        ids: &Ids,
        names: &Names,
        raw: &Rows,
        what: &str,
        file: Option<&Path>,
    ) -> Result<Vec<u32>, DataError> {
        let found = names.distinct().iter().enumerate().map(|(code, name)| {
            ids.index_of(name).ok_or_else(|| {
                let first = names.codes().iter().position(|at| *at as usize == code);
                DataError::Line {
                    path: raw.path.clone(),
                    line: first.map_or(0, |at| raw.lines[at] as usize),
                    problem: format!("an unknown {what}"),
                    found: format!("{what} `{name}`"),
                    expected: format!(
                        "one of the {} {what}s{}",
                        ids.len(),
                        file.map(|file| format!(" of {}", file.display())).unwrap_or_default()
                    ),
                }
            })
        });
        found.collect()
    }

    fn rows(&self, raw: &Rows, notes: &mut Vec<String>) -> Result<Vec<Interaction>, DataError> {
        let users = self.find(self.users, &raw.users, raw, "user", self.users_file)?;
        let items = self.find(self.items, &raw.items, raw, "item", self.items_file)?;
        let index_of = |found: &[u32], names: &Names, at: usize| found[names.codes()[at] as usize];
        let rows = (0..raw.users.len()).map(|at| Interaction {
            user: UserIx(index_of(&users, &raw.users, at)),
            item: ItemIx(index_of(&items, &raw.items, at)),
            rating: raw.ratings[at],
            timestamp: raw.timestamps[at],
        });
        let rows = rows.collect();
        match self.rule {
            Some(rule) => resolve_duplicates(rule, raw, self.users.len(), rows, notes),
            None => Ok(rows),
        }
    }
}

fn resolve_duplicates(
    rule: DuplicateRule,
    raw: &Rows,
    n_users: usize,
    rows: Vec<Interaction>,
    notes: &mut Vec<String>,
) -> Result<Vec<Interaction>, DataError> {
    let mut dropped: Vec<bool> = Vec::new();
    for rows_of_pair in RowOrder::of(n_users, &rows).repeats() {
        if dropped.is_empty() {
            dropped.resize(rows.len(), false);
        }
        let mut kept = rows_of_pair[0];
        for &later in &rows_of_pair[1..] {
            let loser = match rule {
                DuplicateRule::Error => {
                    return Err(DataError::Line {
                        path: raw.path.clone(),
                        line: raw.lines[later] as usize,
                        problem: "a duplicate interaction".into(),
                        found: format!(
                            "user `{}` and item `{}`, as on line {}",
                            raw.users.at(later),
                            raw.items.at(later),
                            raw.lines[kept]
                        ),
                        expected: "each pair once (or say what to keep with `duplicates: \
                                   keep-first | keep-last | keep-highest`)"
                            .into(),
                    });
                }
                DuplicateRule::KeepFirst => later,
                DuplicateRule::KeepLast => kept,
                DuplicateRule::KeepHighest if rows[later].rating > rows[kept].rating => kept,
                DuplicateRule::KeepHighest => later,
            };
            dropped[loser] = true;
            if loser == kept {
                kept = later;
            }
        }
    }
    if dropped.is_empty() {
        return Ok(rows);
    }
    let n_dropped = dropped.iter().filter(|dropped| **dropped).count();
    notes.push(format!(
        "{}: {n_dropped} duplicate interactions dropped ({:?})",
        raw.path.file_name().unwrap_or_default().to_string_lossy(),
        rule
    ));
    let rows = rows.into_iter().zip(dropped).filter(|(_, dropped)| !dropped);
    Ok(rows.map(|(row, _)| row).collect())
}

/// The nearest of `names` as a hint for a column that is not there.
fn column_hint(wanted: &str, names: &[String]) -> String {
    match nearest(wanted, names.iter().map(String::as_str)) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("its columns are {}", names.join(", ")),
    }
}

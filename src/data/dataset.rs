//! A data set in memory.

use polars::prelude::{Column, DataFrame, PolarsResult};

use super::{FilterEffect, Ids, Interaction, Interactions};
use crate::base::hash::Digest;

/// Interactions, who and what they are about, and the folds its publisher made.
#[derive(Clone, Debug)]
pub struct Dataset {
    pub name: String,
    pub users: Ids,
    pub items: Ids,
    pub interactions: Interactions,
    pub catalogue: Catalogue,
    /// By interaction, its row in the file (from 0, duplicates dropped).
    pub file_rows: Vec<u32>,
    /// False where every rating is a 1 that we put there.
    pub has_ratings: bool,
    pub has_timestamps: bool,
    pub folds: Vec<OfficialFold>,
    /// What each filter of the experiment removed; interactions, identifiers and folds are without it.
    pub filtered: Vec<FilterEffect>,
    /// What was resolved while reading, e.g. duplicates.
    pub notes: Vec<String>,
}

/// A split made by the data set's publisher.
#[derive(Clone, Debug)]
pub struct OfficialFold {
    pub name: String,
    pub train: Vec<Interaction>,
    pub validation: Vec<Interaction>,
    pub test: Vec<Interaction>,
    /// What each filter of the experiment removed of it.
    pub filtered: Vec<FilterEffect>,
}

/// What is known of the items, each column `[n_items]` or empty where the set does not have it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    pub titles: Vec<Option<String>>,
    /// Genres joined by `|`.
    pub genres: Vec<Option<String>>,
    pub overviews: Vec<Option<String>>,
}

impl Catalogue {
    /// The catalogue as a table with the columns `item` and what is known.
    pub fn frame(&self, items: &Ids) -> PolarsResult<DataFrame> {
        let mut columns = vec![Column::new("item".into(), items.names())];
        for (name, values) in
            [("title", &self.titles), ("genres", &self.genres), ("overview", &self.overviews)]
        {
            if !values.is_empty() {
                columns.push(Column::new(name.into(), values));
            }
        }
        DataFrame::new(items.len(), columns)
    }
}

impl Dataset {
    /// Hash of everything that can change a result: identifiers, interactions and official folds.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for ids in [&self.users, &self.items] {
            hasher.update(&(ids.len() as u64).to_le_bytes());
            for name in ids.names() {
                hasher.update(name.as_bytes()).update(b"\n");
            }
        }
        let mut rows = |rows: &mut dyn Iterator<Item = Interaction>| {
            for row in rows {
                hasher.update(&row.user.0.to_le_bytes());
                hasher.update(&row.item.0.to_le_bytes());
                hasher.update(&row.rating.to_le_bytes());
                hasher.update(&row.timestamp.bytes());
            }
            hasher.update(b"end");
        };
        rows(&mut self.interactions.iter());
        for fold in &self.folds {
            for part in [&fold.train, &fold.validation, &fold.test] {
                rows(&mut part.iter().copied());
            }
        }
        Digest::from_blake3(hasher.finalize())
    }
}

//! Item-based nearest neighbours (Deshpande and Karypis 2004) on binary feedback.
//!
//! sim(i, j) = |U_i ∩ U_j| / (√(|U_i| |U_j|) + shrinkage); the score of item j for a user is the sum
//! of sim(i, j) over the items i she liked that have j among their nearest neighbours.

use std::path::Path;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    base::{
        arrays,
        arrays::{Array, Saved},
    },
    data::{Interactions, TrainingData, UserIx},
    ranking::Scorer,
};

/// Similarities larger than this are not stored but computed again when a model is loaded.
const MAX_STORED: usize = 16 << 20;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ItemKnnParams {
    /// How many neighbours of each item count: a number, or `all`.
    pub neighbours: Neighbours,
    /// Added to the denominator: makes similarities that rest on few users smaller.
    pub shrinkage: f32,
}

/// A number of neighbours, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Neighbours {
    Number(usize),
    All(All),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum All {
    All,
}

impl Default for ItemKnnParams {
    fn default() -> Self {
        Self { neighbours: Neighbours::Number(100), shrinkage: 0.0 }
    }
}

struct ItemKnn {
    /// Row starts, `n_items + 1` long.
    indptr: Vec<usize>,
    /// Neighbours of all items, one after the other, ascending.
    neighbours: Vec<u32>,
    similarities: Vec<f32>,
    positives: Interactions,
}

type Row = Vec<(u32, f32)>;

impl ItemKnnParams {
    /// The neighbours of one item. `counts` is all zero before and after.
    fn row(
        &self,
        item: u32,
        by_user: &Interactions,
        by_item: &Interactions,
        counts: &mut [u32],
        touched: &mut Vec<u32>,
    ) -> Row {
        let users = by_item.items_of(UserIx(item));
        for &user in users {
            for &other in by_user.items_of(UserIx(user)) {
                if counts[other as usize] == 0 {
                    touched.push(other);
                }
                counts[other as usize] += 1;
            }
        }
        let popularity = |item: u32| by_item.items_of(UserIx(item)).len() as f32;
        let mut row: Row = Vec::with_capacity(touched.len());
        for other in touched.drain(..) {
            let common = std::mem::take(&mut counts[other as usize]) as f32;
            if other != item {
                let norm = (popularity(item) * popularity(other)).sqrt() + self.shrinkage;
                row.push((other, common / norm));
            }
        }
        if let Neighbours::Number(n) = self.neighbours
            && row.len() > n
        {
            let nearer = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            row.select_nth_unstable_by(n - 1, nearer);
            row.truncate(n);
        }
        row.sort_unstable_by_key(|(other, _)| *other);
        row
    }
}

impl Model for ItemKnnParams {
    fn validate(&self) -> Result<(), Wrong> {
        if self.neighbours == Neighbours::Number(0) {
            return Err(("neighbours", "is 0; expected 1 or more, or `all`".into()));
        }
        if !(self.shrinkage >= 0.0 && self.shrinkage.is_finite()) {
            return Err(("shrinkage", format!("is {}; expected 0 or more", self.shrinkage)));
        }
        Ok(())
    }

    /// A guess: how dense the similarities are is not known before.
    fn memory(&self, size: Size) -> usize {
        let neighbours = match self.neighbours {
            Neighbours::Number(n) => n,
            Neighbours::All(_) => 2000,
        };
        8 * size.items * neighbours.min(size.items)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let by_user = &data.positives;
        let by_item = by_user.transpose();
        let n_items = by_user.n_items();
        let chunk = 256;
        let mut rows: Vec<Row> = Vec::with_capacity(n_items);
        for first in (0..n_items).step_by(chunk) {
            context.interrupt.check()?;
            let items = first..(first + chunk).min(n_items);
            let of_chunk = items.into_par_iter().map_init(
                || (vec![0u32; n_items], Vec::new()),
                |(counts, touched), item| self.row(item as u32, by_user, &by_item, counts, touched),
            );
            rows.par_extend(of_chunk);
            (context.progress)(rows.len() as u64, n_items as u64);
        }
        let mut indptr = vec![0];
        for row in &rows {
            indptr.push(indptr[indptr.len() - 1] + row.len());
        }
        (context.log)(&format!("{} similarities", indptr[n_items]));
        Ok(Box::new(ItemKnn {
            indptr,
            neighbours: rows.iter().flatten().map(|(item, _)| *item).collect(),
            similarities: rows.iter().flatten().map(|(_, similarity)| *similarity).collect(),
            positives: data.positives.clone(),
        }))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let saved = Saved::read(dir)?;
        if !saved.has("lengths") {
            return self.fit(data, context);
        }
        let n_items = data.ratings.n_items();
        let lengths = saved.numbers("lengths")?;
        let neighbours = saved.numbers("neighbours")?;
        let similarities = saved.float_row("similarities")?;
        let mut indptr = vec![0];
        for length in &lengths {
            indptr.push(indptr[indptr.len() - 1] + *length as usize);
        }
        let fits = lengths.len() == n_items
            && indptr[n_items] == neighbours.len()
            && similarities.len() == neighbours.len()
            && neighbours.iter().all(|item| (*item as usize) < n_items);
        if !fits {
            return Err(saved.malformed("the neighbours do not fit the data").into());
        }
        Ok(Box::new(ItemKnn {
            indptr,
            neighbours,
            similarities,
            positives: data.positives.clone(),
        }))
    }
}

impl Scorer for ItemKnn {
    fn n_items(&self) -> usize {
        self.positives.n_items()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        scores.par_chunks_mut(self.n_items()).zip(users).for_each(|(row, user)| {
            row.fill(0.0);
            for &item in self.positives.items_of(*user) {
                let range = self.indptr[item as usize]..self.indptr[item as usize + 1];
                let pairs = self.neighbours[range.clone()].iter().zip(&self.similarities[range]);
                for (other, similarity) in pairs {
                    row[*other as usize] += similarity;
                }
            }
        });
    }
}

impl Recommender for ItemKnn {
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        if self.neighbours.len() > MAX_STORED {
            return Ok(arrays::save(dir, &[("too_many_to_store", Array::numbers(&[]))])?);
        }
        let lengths: Vec<u32> = self.indptr.windows(2).map(|w| (w[1] - w[0]) as u32).collect();
        let arrays = [
            ("lengths", Array::numbers(&lengths)),
            ("neighbours", Array::numbers(&self.neighbours)),
            ("similarities", Array::floats(&[self.similarities.len()], &self.similarities)),
        ];
        Ok(arrays::save(dir, &arrays)?)
    }
}

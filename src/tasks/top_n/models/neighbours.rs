//! What models of nearest neighbours share: a sparse matrix of weights, how its rows are cut, saved and
//! loaded, and the model that is such a matrix of items × items.

use std::path::Path;

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, ModelError, Recommender, Wrong};
use crate::{
    base::{
        arrays,
        arrays::{Array, Saved},
    },
    data::{Interactions, TrainingData, UserIx},
    ranking::Scorer,
};

/// More weights than this are not stored but computed again when a model is loaded.
const MAX_STORED: usize = 16 << 20;

/// A number of neighbours, or all of them.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Neighbours {
    Number(#[schemars(range(min = 1))] usize),
    All(All),
}

/// The word `all`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum All {
    All,
}

impl Neighbours {
    pub fn validate(self) -> Result<(), Wrong> {
        match self {
            Self::Number(0) => Err(("neighbours", "is 0; expected 1 or more, or `all`".into())),
            _ => Ok(()),
        }
    }

    /// Keeps the entries of the highest weights, of equals those of the lower indices, in the order of
    /// the indices.
    pub fn keep(self, row: &mut Row) {
        if let Self::Number(n) = self
            && row.len() > n
        {
            let nearer = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            row.select_nth_unstable_by(n - 1, nearer);
            row.truncate(n);
        }
        row.sort_unstable_by_key(|(column, _)| *column);
    }

    /// Bytes of a square matrix of so many rows. A guess: how dense it is is not known before.
    pub fn memory(self, n_rows: usize) -> usize {
        let each = match self {
            Self::Number(n) => n,
            Self::All(_) => 2000,
        };
        8 * n_rows * each.min(n_rows)
    }
}

/// The first setting of a cosine with shrinkage that is out of range.
pub fn validate(neighbours: Neighbours, shrinkage: f32) -> Result<(), Wrong> {
    neighbours.validate()?;
    match shrinkage >= 0.0 && shrinkage.is_finite() {
        true => Ok(()),
        false => Err(("shrinkage", format!("is {shrinkage}; expected 0 or more"))),
    }
}

/// The entries of one row of a sparse matrix: column and weight.
pub type Row = Vec<(u32, f32)>;

/// Sums by column, for one row at a time.
pub struct Sums {
    values: Vec<f64>,
    /// Columns that something was added to.
    touched: Vec<u32>,
}

impl Sums {
    fn new(n_columns: usize) -> Self {
        Self { values: vec![0.0; n_columns], touched: Vec::new() }
    }

    /// Adds a number over 0.
    pub fn add(&mut self, column: u32, value: f64) {
        let sum = &mut self.values[column as usize];
        if *sum == 0.0 {
            self.touched.push(column);
        }
        *sum += value;
    }

    /// How many columns each other row of `rows` has in common with `row`; `columns` is its transpose.
    fn add_common(&mut self, row: u32, rows: &Interactions, columns: &Interactions) {
        for &column in rows.items_of(UserIx(row)) {
            for &other in columns.items_of(UserIx(column)) {
                self.add(other, 1.0);
            }
        }
    }

    /// The sums in any order; all are zero afterwards.
    pub fn drain(&mut self) -> impl Iterator<Item = (u32, f64)> {
        let values = &mut self.values;
        self.touched.drain(..).map(|column| (column, std::mem::take(&mut values[column as usize])))
    }
}

/// A sparse matrix.
pub struct Weights {
    /// Row starts.
    indptr: Vec<usize>,
    /// The columns of all rows, one after the other, ascending in each.
    columns: Vec<u32>,
    values: Vec<f32>,
}

impl Weights {
    /// A matrix of `n` rows and columns, each row computed by `row` by itself.
    pub fn build(
        n: usize,
        context: &FitContext,
        row: impl Fn(u32, &mut Sums) -> Row + Sync,
    ) -> Result<Self, ModelError> {
        let chunk = 256;
        let mut rows: Vec<Row> = Vec::with_capacity(n);
        for first in (0..n).step_by(chunk) {
            context.interrupt.check()?;
            let of_chunk = (first..(first + chunk).min(n)).into_par_iter();
            rows.par_extend(of_chunk.map_init(|| Sums::new(n), |sums, at| row(at as u32, sums)));
            (context.progress)(rows.len() as u64, n as u64);
        }
        let mut indptr = vec![0];
        for row in &rows {
            indptr.push(indptr[indptr.len() - 1] + row.len());
        }
        (context.log)(&format!("{} similarities", indptr[n]));
        Ok(Self {
            indptr,
            columns: rows.iter().flatten().map(|(column, _)| *column).collect(),
            values: rows.iter().flatten().map(|(_, value)| *value).collect(),
        })
    }

    /// Cosine similarities of rows of binary feedback, |A ∩ B| / (√(|A| |B|) + shrinkage); of each row the nearest
    /// are kept. `columns` is the transpose of `rows`.
    pub fn cosines(
        rows: &Interactions,
        columns: &Interactions,
        (neighbours, shrinkage): (Neighbours, f32),
        context: &FitContext,
    ) -> Result<Self, ModelError> {
        let size = |row: u32| rows.items_of(UserIx(row)).len() as f32;
        Self::build(rows.n_users(), context, |at, sums| {
            sums.add_common(at, rows, columns);
            let others = sums.drain().filter(|(other, _)| *other != at);
            let similarity = |other: u32, common: f64| {
                common as f32 / ((size(at) * size(other)).sqrt() + shrinkage)
            };
            let mut row =
                others.map(|(other, common)| (other, similarity(other, common))).collect();
            neighbours.keep(&mut row);
            row
        })
    }

    /// The entries of a row.
    pub fn row(&self, row: u32) -> impl Iterator<Item = (u32, f32)> {
        let range = self.indptr[row as usize]..self.indptr[row as usize + 1];
        let columns = self.columns[range.clone()].iter();
        columns.copied().zip(self.values[range].iter().copied())
    }

    /// Writes the matrix, or that it is too large.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        if self.columns.len() > MAX_STORED {
            return Ok(arrays::save(dir, &[("too_many_to_store", Array::numbers(&[]))])?);
        }
        let lengths: Vec<u32> = self.indptr.windows(2).map(|w| (w[1] - w[0]) as u32).collect();
        let arrays = [
            ("lengths", Array::numbers(&lengths)),
            ("neighbours", Array::numbers(&self.columns)),
            ("similarities", Array::floats(&[self.values.len()], &self.values)),
        ];
        Ok(arrays::save(dir, &arrays)?)
    }

    /// Reads a matrix of `n` rows and columns; none where it was too large to be stored.
    pub fn load(dir: &Path, n: usize) -> Result<Option<Self>, ModelError> {
        let saved = Saved::read(dir)?;
        if !saved.has("lengths") {
            return Ok(None);
        }
        let lengths = saved.numbers("lengths")?;
        let columns = saved.numbers("neighbours")?;
        let values = saved.float_row("similarities")?;
        let mut indptr = vec![0];
        for length in &lengths {
            indptr.push(indptr[indptr.len() - 1] + *length as usize);
        }
        let fits = lengths.len() == n
            && indptr[n] == columns.len()
            && values.len() == columns.len()
            && columns.iter().all(|column| (*column as usize) < n);
        if !fits {
            return Err(saved.malformed("the neighbours do not fit the data").into());
        }
        Ok(Some(Self { indptr, columns, values }))
    }
}

/// A model that is a matrix of items × items: each liked item adds its row to the scores.
pub struct ItemToItem {
    weights: Weights,
    positives: Interactions,
}

impl ItemToItem {
    pub fn new(weights: Weights, data: &TrainingData) -> Self {
        Self { weights, positives: data.positives.clone() }
    }

    /// Reads what `save` wrote, or fits again where it was too large to be stored.
    pub fn load_or(
        dir: &Path,
        data: &TrainingData,
        fit: impl FnOnce() -> Result<Box<dyn Recommender>, ModelError>,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        match Weights::load(dir, data.positives.n_items())? {
            Some(weights) => Ok(Box::new(Self::new(weights, data))),
            None => fit(),
        }
    }
}

impl Scorer for ItemToItem {
    fn n_items(&self) -> usize {
        self.positives.n_items()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        scores.par_chunks_mut(self.n_items()).zip(users).for_each(|(row, user)| {
            row.fill(0.0);
            for &item in self.positives.items_of(*user) {
                for (other, weight) in self.weights.row(item) {
                    row[other as usize] += weight;
                }
            }
        });
    }
}

impl Recommender for ItemToItem {
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        self.weights.save(dir)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_are_kept_and_ties_go_to_lower_indices() {
        let row = || vec![(7, 0.5), (3, 0.5), (9, 0.75), (1, 0.25), (5, 0.5)];
        let kept = |neighbours: Neighbours| {
            let mut row = row();
            neighbours.keep(&mut row);
            row
        };
        assert_eq!(kept(Neighbours::Number(3)), [(3, 0.5), (5, 0.5), (9, 0.75)]);
        assert_eq!(kept(Neighbours::Number(9)).len(), 5);
        assert_eq!(kept(Neighbours::All(All::All))[0], (1, 0.25));
    }

    #[test]
    fn sums_start_at_zero_for_every_row() {
        let mut sums = Sums::new(3);
        sums.add(2, 0.5);
        sums.add(2, 0.25);
        sums.add(0, 1.5);
        assert_eq!(sums.drain().collect::<Vec<_>>(), [(2, 0.75), (0, 1.5)]);
        assert_eq!(sums.drain().count(), 0);
        sums.add(2, 1.0);
        assert_eq!(sums.drain().collect::<Vec<_>>(), [(2, 1.0)]);
    }
}

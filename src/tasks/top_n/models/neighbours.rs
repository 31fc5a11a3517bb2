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

    /// The sums in any order; all are zero afterwards.
    pub fn drain(&mut self) -> impl Iterator<Item = (u32, f64)> {
        let values = &mut self.values;
        self.touched.drain(..).map(|column| (column, std::mem::take(&mut values[column as usize])))
    }
}

/// How many columns a row has in common with every other row, for one row at a time.
pub struct Common<'a> {
    rows: &'a Interactions,
    /// The transpose of `rows`.
    columns: &'a Interactions,
    counts: Vec<u32>,
    /// Rows that were counted, where few are.
    touched: Vec<u32>,
}

impl<'a> Common<'a> {
    /// `columns` is the transpose of `rows`.
    pub fn new(rows: &'a Interactions, columns: &'a Interactions) -> Self {
        let n = rows.n_users();
        // One place more, for what is written and not counted.
        Self { rows, columns, counts: vec![0; n], touched: vec![0; n + 1] }
    }

    /// Calls `each` with every row that has a column in common with `row`, which is one of them, and with the number of
    /// columns. The order depends on the data alone.
    pub fn of(&mut self, row: u32, mut each: impl FnMut(u32, u32)) {
        let (rows, columns, counts) = (self.rows, self.columns, &mut self.counts);
        let lists = || {
            let columns_of_row = rows.items_of(UserIx(row)).iter();
            columns_of_row.map(|column| columns.items_of(UserIx(*column)))
        };
        // Going through all counts is cheaper than a list of rows unless few are counted.
        if lists().map(<[u32]>::len).sum::<usize>() * 4 > counts.len() {
            lists().flatten().for_each(|other| counts[*other as usize] += 1);
            for (other, count) in (0u32..).zip(counts.iter_mut()).filter(|(_, count)| **count > 0) {
                each(other, *count);
                *count = 0;
            }
            return;
        }
        let mut n = 0;
        for &other in lists().flatten() {
            let count = &mut counts[other as usize];
            self.touched[n] = other;
            n += usize::from(*count == 0);
            *count += 1;
        }
        for &other in &self.touched[..n] {
            each(other, std::mem::take(&mut counts[other as usize]));
        }
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
        let this = Self::build_with(n, context, || Sums::new(n), row)?;
        (context.log)(&format!("{} similarities", this.columns.len()));
        Ok(this)
    }

    /// The same with working memory of another kind, which `memory` makes.
    pub fn build_with<T>(
        n: usize,
        context: &FitContext,
        memory: impl Fn() -> T + Sync + Send,
        row: impl Fn(u32, &mut T) -> Row + Sync,
    ) -> Result<Self, ModelError> {
        let chunk = 256;
        let mut rows: Vec<Row> = Vec::with_capacity(n);
        for first in (0..n).step_by(chunk) {
            context.interrupt.check()?;
            let of_chunk = (first..(first + chunk).min(n)).into_par_iter();
            rows.par_extend(of_chunk.map_init(&memory, |memory, at| row(at as u32, memory)));
            (context.progress)(rows.len() as u64, n as u64);
        }
        let mut indptr = vec![0];
        for row in &rows {
            indptr.push(indptr[indptr.len() - 1] + row.len());
        }
        let mut this = Self {
            columns: Vec::with_capacity(indptr[n]),
            values: Vec::with_capacity(indptr[n]),
            indptr,
        };
        // Each row is dropped when it was copied.
        for row in rows {
            this.columns.extend(row.iter().map(|(column, _)| *column));
            this.values.extend(row.iter().map(|(_, value)| *value));
        }
        Ok(this)
    }

    /// The transpose of a square matrix.
    pub fn transpose(&self) -> Self {
        let n = self.indptr.len() - 1;
        let mut indptr = vec![0; n + 1];
        self.columns.iter().for_each(|column| indptr[*column as usize + 1] += 1);
        (0..n).for_each(|at| indptr[at + 1] += indptr[at]);
        let mut place = indptr.clone();
        let mut columns = vec![0; self.columns.len()];
        let mut values = vec![0.0; self.columns.len()];
        for row in 0..n as u32 {
            for (column, value) in self.row(row) {
                let at = &mut place[column as usize];
                (columns[*at], values[*at]) = (row, value);
                *at += 1;
            }
        }
        Self { indptr, columns, values }
    }

    /// Number of rows.
    pub fn n_rows(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of stored entries.
    pub fn len(&self) -> usize {
        self.columns.len()
    }

    /// Cosine similarities of rows of binary feedback, |A ∩ B| / (√(|A| |B|) + shrinkage); of each row the nearest
    /// are kept. `columns` is the transpose of `rows`.
    pub fn cosines(
        rows: &Interactions,
        columns: &Interactions,
        (neighbours, shrinkage): (Neighbours, f32),
        context: &FitContext,
    ) -> Result<Self, ModelError> {
        let sizes: Vec<f32> =
            (0..rows.n_users()).map(|row| rows.items_of(UserIx(row as u32)).len() as f32).collect();
        let memory = || Common::new(rows, columns);
        let weights = Self::build_with(rows.n_users(), context, memory, |at, common| {
            let mut row = Row::new();
            let size = sizes[at as usize];
            common.of(at, |other, count| {
                if other != at {
                    let norm = (size * sizes[other as usize]).sqrt() + shrinkage;
                    row.push((other, count as f32 / norm));
                }
            });
            neighbours.keep(&mut row);
            row.shrink_to_fit();
            row
        })?;
        (context.log)(&format!("{} similarities", weights.len()));
        Ok(weights)
    }

    /// The entries of a row.
    pub fn row(&self, row: u32) -> impl Iterator<Item = (u32, f32)> {
        let (columns, values) = self.slices(row);
        columns.iter().copied().zip(values.iter().copied())
    }

    /// The columns of a row and their values.
    pub fn slices(&self, row: u32) -> (&[u32], &[f32]) {
        let range = self.indptr[row as usize]..self.indptr[row as usize + 1];
        (&self.columns[range.clone()], &self.values[range])
    }

    /// Writes the matrix, or that it is too large.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        if self.columns.len() > MAX_STORED {
            return Ok(arrays::save(dir, &[("too_many_to_store", Array::numbers(&[0; 0]))])?);
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
    fn common_columns_are_counted_for_rows_with_few_and_with_many() {
        use crate::tasks::top_n::models::tests::liked;
        // Row 0 meets few of the 40 rows, row 1 all of them, and row 0 again nothing of what was counted before.
        let mut lists: Vec<&[u32]> = vec![&[0, 3], &[1, 2], &[0, 1]];
        lists.extend([[1u32, 2].as_slice(); 37]);
        let rows = liked(4, &lists).positives;
        let columns = rows.transpose();
        let mut common = Common::new(&rows, &columns);
        let mut of = |row| {
            let mut found = Vec::new();
            common.of(row, |other, count| found.push((other, count)));
            found.sort_unstable();
            found
        };
        assert_eq!(of(0), [(0, 2), (2, 1)]);
        let of_1 = of(1);
        assert_eq!(of_1.len(), 39);
        assert_eq!(of_1[..3], [(1, 2), (2, 1), (3, 2)]);
        assert_eq!(of(0), [(0, 2), (2, 1)]);
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

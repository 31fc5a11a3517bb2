//! Confidence intervals of means over users: the percentile bootstrap (Efron 1979), with users as
//! clusters (Davison and Hinkley 1997, section 3.8): the same user is in several folds.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::base::simd::{DOUBLES, Doubles, Lanes, dispatch};

/// Parameters of the bootstrap.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    pub resamples: usize,
    pub seed: u64,
}

/// The draws of a bootstrap out of so many users.
type KeptDraws = (Bootstrap, usize, Arc<Vec<u16>>);

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 42 }
    }
}

/// The share of resampled means between the ends of an interval.
pub const LEVEL: f64 = 0.95;

/// With fewer users there is no interval.
pub const FEWEST_UNITS: usize = 3;

/// With fewer users the coverage of an interval is below [`LEVEL`]: 85 % at 6 users.
pub const FEW_UNITS: usize = 10;

/// Number of resamples that are summed together, so that each row of values is read from memory once.
const BLOCK: usize = DOUBLES;
/// Columns that are summed together, their sums kept in registers.
const COLUMNS: usize = 4;
/// Draws that are kept for the next system: 16 MB.
const MOST_KEPT: usize = 1 << 23;

/// Values of one trial, row-major `[rows, cells]`; NaN where a user is not in a cell's mean.
#[derive(Clone, Debug)]
pub struct UserValues {
    pub n_cells: usize,
    /// The user of each row: an index into the resampled users.
    pub users: Vec<u32>,
    pub values: Vec<f64>,
}

/// The means of every resample.
#[derive(Clone, Debug)]
pub struct Resampled {
    n_cells: usize,
    /// `[resamples, cells]`, NaN if no drawn user has a value.
    means: Vec<f64>,
    /// Number of users with a value in each cell, in any fold.
    units: Vec<usize>,
}

/// A fold's values made ready for many weighted sums.
///
/// A column is a cell averaged over seeds, where the same users carry it under every seed: the mean
/// of weighted means is then the weighted mean of means. Otherwise each seed has its column. Behind these
/// stands, for each column that not all rows carry, one that is 1 where a row carries it, and last one of 1s:
/// their sums are what sums are divided by.
struct Prepared {
    users: Vec<u32>,
    /// The cell of each column.
    cells: Vec<usize>,
    /// By column, the column that its sums are divided by.
    divisors: Vec<usize>,
    /// `[columns ÷ COLUMNS, rows, COLUMNS]`, without NaN.
    tiles: Vec<f64>,
}

impl Prepared {
    /// Of seeds that have the same users in the same order.
    fn new(seeds: &[&UserValues]) -> Self {
        let n_cells = seeds[0].n_cells;
        let at = |seed: usize, row: usize, cell: usize| seeds[seed].values[row * n_cells + cell];
        let rows = 0..seeds[0].users.len();
        let (mut cells, mut sources): (Vec<usize>, Vec<std::ops::Range<usize>>) = (vec![], vec![]);
        let mut partial = Vec::new();
        for cell in 0..n_cells {
            let is_same = rows.clone().all(|row| {
                let first = at(0, row, cell).is_nan();
                (1..seeds.len()).all(|seed| at(seed, row, cell).is_nan() == first)
            });
            let of_cell: Vec<std::ops::Range<usize>> = match is_same {
                true => std::iter::once(0..seeds.len()).collect(),
                false => (0..seeds.len()).map(|seed| seed..seed + 1).collect(),
            };
            for seeds_of_column in of_cell {
                let first = seeds_of_column.start;
                if rows.clone().any(|row| at(first, row, cell).is_nan()) {
                    partial.push(cells.len());
                }
                cells.push(cell);
                sources.push(seeds_of_column);
            }
        }
        let value = |row: usize, column: usize| {
            let of = sources[column].clone();
            let n = of.len() as f64;
            of.map(|seed| at(seed, row, cells[column])).sum::<f64>() / n
        };
        let n_columns = cells.len() + partial.len() + 1;
        let mut divisors = vec![n_columns - 1; cells.len()];
        for (at, column) in partial.iter().enumerate() {
            divisors[*column] = cells.len() + at;
        }
        let n_rows = rows.len();
        let mut tiles = vec![0.0; n_columns.div_ceil(COLUMNS) * n_rows * COLUMNS];
        for row in rows {
            let is_carried =
                |column: &usize| !at(sources[*column].start, row, cells[*column]).is_nan();
            let values = (0..cells.len()).map(|column| value(row, column));
            let filled = values.map(|value| if value.is_nan() { 0.0 } else { value });
            let carried = partial.iter().map(|column| f64::from(u8::from(is_carried(column))));
            let columns = filled.chain(carried).chain(std::iter::once(1.0));
            for (column, value) in columns.enumerate() {
                tiles[(column / COLUMNS * n_rows + row) * COLUMNS + column % COLUMNS] = value;
            }
        }
        Self { users: seeds[0].users.clone(), cells, divisors, tiles }
    }

    /// Adds the means of this fold's columns to `of_cells`, one [`Mean`] for each resample of a
    /// block; `times` says how often each user was drawn, `[users, BLOCK]`.
    fn add_means(&self, times: &[f64], of_cells: &mut [Mean]) {
        let n_rows = self.users.len();
        let times_of = |user: &u32| &times[*user as usize * BLOCK..][..BLOCK];
        // Usually the rows of a fold are its users in their order.
        let is_in_order = self.users.iter().enumerate().all(|(at, user)| at == *user as usize);
        let of_rows: Cow<[f64]> = match is_in_order {
            true => Cow::Borrowed(&times[..n_rows * BLOCK]),
            false => {
                let mut of_rows = Vec::with_capacity(n_rows * BLOCK);
                self.users.iter().for_each(|user| of_rows.extend_from_slice(times_of(user)));
                Cow::Owned(of_rows)
            }
        };
        let mut sums = vec![0.0; self.tiles.len() / n_rows.max(1) * BLOCK];
        let tiles = self.tiles.chunks_exact((n_rows * COLUMNS).max(1));
        for (tile, sums) in tiles.zip(sums.chunks_exact_mut(COLUMNS * BLOCK)) {
            weighted_sums(&of_rows, tile, sums);
        }
        for (at, of_cells) in of_cells.iter_mut().enumerate() {
            let sum = |column: usize| sums.get(column * BLOCK + at).copied().unwrap_or(0.0);
            for (column, cell) in self.cells.iter().enumerate() {
                of_cells.add_one(*cell, sum(column) / sum(self.divisors[column]));
            }
        }
    }
}

dispatch! {
    fn weighted_sums = weighted_sums_kernel(times: &[f64], tile: &[f64], sums: &mut [f64])
}

/// `sums[column, resample] = Σ times[row, resample] · tile[row, column]`, row by row: the same bytes with any
/// instructions.
#[inline(always)]
fn weighted_sums_kernel<L: Lanes>(times: &[f64], tile: &[f64], sums: &mut [f64]) {
    let (times, _) = times.as_chunks::<BLOCK>();
    let (rows, _) = tile.as_chunks::<COLUMNS>();
    let zero = <L::Doubles as Doubles>::splat(0.0);
    // Four names, not an array: they stay in registers.
    let (mut first, mut second, mut third, mut fourth) = (zero, zero, zero, zero);
    // Indices, not iterators: calls of theirs are not inlined into functions with other instructions.
    let mut row = 0;
    while row < rows.len() {
        let (times, values) = (L::Doubles::load(&times[row]), &rows[row]);
        first = first.add(times.mul(L::Doubles::splat(values[0])));
        second = second.add(times.mul(L::Doubles::splat(values[1])));
        third = third.add(times.mul(L::Doubles::splat(values[2])));
        fourth = fourth.add(times.mul(L::Doubles::splat(values[3])));
        row += 1;
    }
    let (sums, _) = sums.as_chunks_mut::<BLOCK>();
    first.store(&mut sums[0]);
    second.store(&mut sums[1]);
    third.store(&mut sums[2]);
    fourth.store(&mut sums[3]);
}

impl Bootstrap {
    /// Resampled means of each cell: over seeds within a fold, then over folds.
    ///
    /// `folds` holds, for each fold, the values of every seed. Out of `n_users` users as many are
    /// drawn with replacement, once for all folds and seeds, with all their rows. The draw only depends on
    /// `n_users`, so it is the same for every system. A fold without a drawn user is not in the mean of
    /// the resample.
    pub fn resample(&self, n_users: usize, folds: &[Vec<&UserValues>]) -> Resampled {
        let n_cells = folds.iter().flatten().next().map_or(0, |values| values.n_cells);
        let prepared: Vec<Vec<Prepared>> = folds
            .iter()
            .map(|seeds| match seeds.iter().all(|seed| seed.users == seeds[0].users) {
                _ if seeds.is_empty() => Vec::new(),
                true => vec![Prepared::new(seeds)],
                false => seeds.iter().map(|seed| Prepared::new(&[*seed])).collect(),
            })
            .collect();
        let kept = self.kept_draws(n_users);
        let blocks: Vec<Vec<f64>> = (0..self.resamples.div_ceil(BLOCK))
            .into_par_iter()
            .map_init(Vec::new, |times, block| {
                let draws = (n_users, kept.as_ref().map(|kept| &kept[..]));
                self.block(draws, &prepared, n_cells, (block * BLOCK, times))
            })
            .collect();
        Resampled { n_cells, means: blocks.concat(), units: units(n_users, n_cells, folds) }
    }

    /// The interval of each cell's mean; see [`Bootstrap::resample`].
    pub fn intervals(&self, n_users: usize, folds: &[Vec<&UserValues>]) -> Vec<Option<(f64, f64)>> {
        let resampled = self.resample(n_users, folds);
        (0..resampled.n_cells).into_par_iter().map(|cell| resampled.interval(cell)).collect()
    }

    /// How often each user is in the resample `at`.
    fn draw(&self, at: usize, drawn: &mut [u16]) {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        random.set_stream(at as u64);
        drawn.fill(0);
        for _ in 0..drawn.len() {
            let of_user = &mut drawn[random.random_range(0..drawn.len())];
            // Nobody is drawn so often: the mean is once.
            *of_user = of_user.saturating_add(1);
        }
    }

    /// All draws out of `n_users` users, `[resamples, users]`. They are the same for every system, so those of the last
    /// number of users are kept; none if they are too many to keep.
    fn kept_draws(&self, n_users: usize) -> Option<Arc<Vec<u16>>> {
        static LAST: Mutex<Option<KeptDraws>> = Mutex::new(None);
        let n = self.resamples.checked_mul(n_users).filter(|n| (1..=MOST_KEPT).contains(n))?;
        if let Ok(last) = LAST.lock()
            && let Some((of, users, draws)) = &*last
            && (*of, *users) == (*self, n_users)
        {
            return Some(draws.clone());
        }
        let mut draws = vec![0; n];
        let each = draws.par_chunks_exact_mut(n_users).enumerate();
        each.for_each(|(at, drawn)| self.draw(at, drawn));
        let draws = Arc::new(draws);
        if let Ok(mut last) = LAST.lock() {
            *last = Some((*self, n_users, draws.clone()));
        }
        Some(draws)
    }

    /// Means of the resamples from `first` on, as many as a block holds, `[resamples, cells]`.
    fn block(
        &self,
        (n_users, kept): (usize, Option<&[u16]>),
        folds: &[Vec<Prepared>],
        n_cells: usize,
        (first, times): (usize, &mut Vec<f64>),
    ) -> Vec<f64> {
        let n = BLOCK.min(self.resamples - first);
        // What another block left is overwritten, or belongs to no resample.
        times.resize(n_users * BLOCK, 0.0);
        let mut own = Vec::new();
        for at in 0..n {
            let drawn = match kept {
                Some(kept) => &kept[(first + at) * n_users..][..n_users],
                None => {
                    own.resize(n_users, 0);
                    self.draw(first + at, &mut own);
                    &own[..]
                }
            };
            let of_draw = times.iter_mut().skip(at).step_by(BLOCK);
            of_draw.zip(drawn).for_each(|(times, drawn)| *times = f64::from(*drawn));
        }
        let mut of_folds = vec![Mean::new(n_cells); n];
        for seeds in folds {
            let mut of_seeds = vec![Mean::new(n_cells); n];
            seeds.iter().for_each(|prepared| prepared.add_means(times, &mut of_seeds));
            of_folds.iter_mut().zip(&of_seeds).for_each(|(of, seeds)| of.add(&seeds.finish()));
        }
        of_folds.iter().flat_map(Mean::finish).collect()
    }
}

impl Resampled {
    /// The interval of a cell's mean; none if fewer than [`FEWEST_UNITS`] users have a value.
    pub fn interval(&self, cell: usize) -> Option<(f64, f64)> {
        (self.units[cell] >= FEWEST_UNITS).then(|| interval(self.column(cell).collect()))?
    }

    /// The means of one cell, by resample.
    pub fn column(&self, cell: usize) -> impl Iterator<Item = f64> {
        self.means.iter().skip(cell).step_by(self.n_cells.max(1)).copied()
    }

    /// Number of users with a value in a cell.
    pub fn units(&self, cell: usize) -> usize {
        self.units[cell]
    }
}

/// The interval that contains [`LEVEL`] of `resampled`, without NaN.
pub fn interval(mut resampled: Vec<f64>) -> Option<(f64, f64)> {
    resampled.retain(|value| !value.is_nan());
    resampled.sort_unstable_by(f64::total_cmp);
    let tail = (1.0 - LEVEL) / 2.0;
    (!resampled.is_empty()).then(|| (quantile(&resampled, tail), quantile(&resampled, 1.0 - tail)))
}

/// Number of users with a value in each cell, in any fold with any seed.
fn units(n_users: usize, n_cells: usize, folds: &[Vec<&UserValues>]) -> Vec<usize> {
    let mut carries = vec![false; n_users * n_cells];
    for values in folds.iter().flatten() {
        for (user, row) in values.users.iter().zip(values.values.chunks_exact(n_cells.max(1))) {
            let carries = &mut carries[*user as usize * n_cells..];
            row.iter().zip(carries).for_each(|(value, carries)| *carries |= !value.is_nan());
        }
    }
    let rows = || carries.chunks_exact(n_cells.max(1));
    (0..n_cells).map(|cell| rows().filter(|row| row[cell]).count()).collect()
}

/// A mean that leaves NaN out, for each cell.
#[derive(Clone)]
struct Mean {
    sums: Vec<f64>,
    n: Vec<f64>,
}

impl Mean {
    fn new(n_cells: usize) -> Self {
        Self { sums: vec![0.0; n_cells], n: vec![0.0; n_cells] }
    }

    fn add(&mut self, values: &[f64]) {
        values.iter().enumerate().for_each(|(cell, value)| self.add_one(cell, *value));
    }

    fn add_one(&mut self, cell: usize, value: f64) {
        if !value.is_nan() {
            self.sums[cell] += value;
            self.n[cell] += 1.0;
        }
    }

    /// 0/0 is NaN: nobody carries the cell.
    fn finish(&self) -> Vec<f64> {
        self.sums.iter().zip(&self.n).map(|(sum, n)| sum / n).collect()
    }
}

/// With linear interpolation between the neighbours in `sorted`.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let above = (below + 1).min(sorted.len() - 1);
    sorted[below] + part * (sorted[above] - sorted[below])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One cell; row by row the users 0, 1, 2 …
    fn column(values: Vec<f64>) -> UserValues {
        UserValues { n_cells: 1, users: (0..values.len() as u32).collect(), values }
    }

    /// 400 users with values spread evenly over [0, 1): the mean's standard error is known.
    #[test]
    fn the_interval_is_that_of_the_central_limit_theorem() {
        let values = column((0..400).map(|at| f64::from(at) / 400.0).collect());
        let of = |bootstrap: Bootstrap| bootstrap.intervals(400, &[vec![&values]])[0];
        let found = of(Bootstrap::default()).unwrap();
        let half = 1.96 * (1.0f64 / 12.0 / 400.0).sqrt();
        assert!((found.0 - (0.49875 - half)).abs() < 0.005, "{found:?}");
        assert!((found.1 - (0.49875 + half)).abs() < 0.005, "{found:?}");
        assert_eq!(of(Bootstrap::default()), Some(found));
        assert_ne!(of(Bootstrap { seed: 7, ..Bootstrap::default() }), Some(found));
    }

    /// Five folds that repeat the same 400 values rest on 400 users, not on 2,000: a draw for each
    /// fold would make the interval narrower by √5.
    #[test]
    fn a_user_in_every_fold_is_drawn_once() {
        let values = column((0..400).map(|at| f64::from(at) / 400.0).collect());
        let one = Bootstrap::default().intervals(400, &[vec![&values]]);
        let five = Bootstrap::default().intervals(400, &vec![vec![&values]; 5]);
        let (one, five) = (one[0].unwrap(), five[0].unwrap());
        assert!(
            (one.0 - five.0).abs() < 1e-12 && (one.1 - five.1).abs() < 1e-12,
            "{one:?} {five:?}"
        );
    }

    /// Rows are of users, wherever they stand in a fold.
    #[test]
    fn users_go_by_who_they_are_and_not_by_their_row() {
        let forth = column((0..200).map(f64::from).collect());
        let back = UserValues {
            users: forth.users.iter().rev().copied().collect(),
            values: forth.values.iter().rev().copied().collect(),
            ..forth.clone()
        };
        let mirror = UserValues { users: forth.users.clone(), ..back.clone() };
        let of =
            |fold: &UserValues| Bootstrap::default().intervals(200, &[vec![&forth], vec![fold]]);
        let (same, mirrored) = (of(&back)[0].unwrap(), of(&mirror)[0].unwrap());
        let once = Bootstrap::default().intervals(200, &[vec![&forth]])[0].unwrap();
        assert!((same.0 - once.0).abs() < 1e-9 && (same.1 - once.1).abs() < 1e-9, "{same:?}");
        // A user with v in one fold has 199 − v in the other: the mean is 99.5 whoever is drawn.
        assert!((mirrored.0 - 99.5).abs() < 1e-9 && (mirrored.1 - 99.5).abs() < 1e-9);
    }

    #[test]
    fn users_outside_a_mean_do_not_count_and_two_users_have_no_interval() {
        let nan = f64::NAN;
        let values = UserValues {
            n_cells: 2,
            users: vec![0, 1, 2],
            values: vec![0.2, nan, 0.4, 1.0, 0.6, 0.0],
        };
        let resampled = Bootstrap::default().resample(3, &[vec![&values]]);
        let (low, high) = resampled.interval(0).unwrap();
        assert!((0.2..0.4).contains(&low) && high > 0.4 && high <= 0.6, "{low} {high}");
        assert_eq!((resampled.interval(1), resampled.units(1)), (None, 2));
    }

    /// Two rows of one user are one unit.
    #[test]
    fn units_are_users_and_not_rows() {
        let values = UserValues { n_cells: 1, users: vec![0, 1], values: vec![0.1, 0.3] };
        let folds = vec![vec![&values]; 3];
        assert_eq!(Bootstrap::default().resample(2, &folds).units(0), 2);
        assert_eq!(Bootstrap::default().intervals(2, &folds), [None]);
    }

    #[test]
    fn folds_weigh_the_same() {
        let (small, large) = (column(vec![0.0; 100]), column(vec![1.0; 300]));
        let found = Bootstrap::default().intervals(300, &[vec![&small], vec![&large]]);
        assert_eq!(found[0], Some((0.5, 0.5)));
    }

    /// Seeds are averaged beforehand where the same users carry them; otherwise each has its own
    /// users. Either way a resample's mean is that of the means of the seeds.
    #[test]
    fn seeds_are_averaged_within_a_fold() {
        let nan = f64::NAN;
        let users: Vec<u32> = (0..4).collect();
        let of = |values: Vec<f64>| UserValues { n_cells: 2, users: users.clone(), values };
        let seeds = [
            of(vec![0.1, 0.5, 0.2, nan, 0.6, 0.1, 0.3, 0.9]),
            of(vec![0.4, nan, 0.0, 0.7, 0.2, 0.3, 0.1, nan]),
        ];
        let bootstrap = Bootstrap::default();
        let of_both = bootstrap.resample(4, &[vec![&seeds[0], &seeds[1]]]);
        let alone = [0, 1].map(|seed| bootstrap.resample(4, &[vec![&seeds[seed]]]));
        for cell in [0, 1] {
            let pairs = alone[0].column(cell).zip(alone[1].column(cell));
            for (found, (a, b)) in of_both.column(cell).zip(pairs) {
                let given: Vec<f64> = [a, b].into_iter().filter(|mean| !mean.is_nan()).collect();
                let expected = given.iter().sum::<f64>() / given.len() as f64;
                assert!((found - expected).abs() < 1e-12 || (found.is_nan() && given.is_empty()));
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let values = column((0..50).map(|at| (f64::from(at) * 0.37).fract()).collect());
        let of = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| Bootstrap::default().intervals(50, &vec![vec![&values]; 3]))
        };
        assert_eq!(of(1), of(4));
    }
}

//! Confidence intervals of means over users: the percentile bootstrap (Efron 1979), with users as
//! clusters (Davison and Hinkley 1997, section 3.8): the same user is in several folds.

use std::{
    collections::HashMap,
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
/// Draws that are kept for the next systems: 16 MB.
const MOST_KEPT: usize = 1 << 23;

/// Values of one trial; NaN where a user is not in a cell's mean.
#[derive(Clone, Debug)]
pub struct UserValues {
    /// The user of each row: an index into the resampled users.
    pub users: Vec<u32>,
    /// By cell, then by row.
    pub cells: Vec<Vec<f64>>,
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
/// A column is a cell averaged over seeds, where the same users carry it under every seed: the mean of weighted means is
/// then the weighted mean of means. Otherwise each seed has its column. Its sums are divided by those of another column,
/// which is 1 where a row carries it. Equal columns are summed once (precision@1 is MRR@1), and rows that are 0 in all
/// columns of a tile are left out (users without a hit): both leave every sum as it is, to the last bit.
struct Prepared {
    columns: Vec<Column>,
    tiles: Vec<Tile>,
    n_sums: usize,
}

/// Where the sums of a cell are.
struct Column {
    cell: usize,
    sum: usize,
    divisor: usize,
}

/// [`COLUMNS`] columns that are summed together.
struct Tile {
    /// The user of each row.
    users: Vec<u32>,
    /// `[rows, COLUMNS]`, without NaN.
    values: Vec<f64>,
}

/// Different columns, each with its number of rows that are not 0.
#[derive(Default)]
struct Distinct {
    columns: Vec<(usize, Vec<f64>)>,
    known: HashMap<u64, Vec<usize>>,
}

impl Distinct {
    /// The number of a column, which is added if it is not known.
    fn add(&mut self, column: Vec<f64>) -> usize {
        let bits = || column.iter().map(|value| value.to_bits());
        // Of a mixing of bits alone: equal hashes are compared.
        let hash = bits().fold(0u64, |hash, bits| {
            (hash.rotate_left(5) ^ bits).wrapping_mul(0x517c_c1b7_2722_0a95)
        });
        let alike = self.known.entry(hash).or_default();
        let is_same = |at: &&usize| {
            let of = self.columns[**at].1.iter().map(|value| value.to_bits());
            of.eq(bits())
        };
        if let Some(at) = alike.iter().find(is_same) {
            return *at;
        }
        let at = self.columns.len();
        alike.push(at);
        self.columns.push((column.iter().filter(|value| **value != 0.0).count(), column));
        at
    }

    /// Tiles, and by column where its sums are. Columns with as many rows are beside each other: they are mostly the
    /// same rows.
    fn tiles(&self, users: &[u32]) -> (Vec<Tile>, Vec<usize>) {
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by_key(|at| self.columns[*at].0);
        let mut places = vec![0; order.len()];
        order.iter().enumerate().for_each(|(place, at)| places[*at] = place);
        let tile = |of: &[usize]| {
            let mut tile = Tile { users: Vec::new(), values: Vec::new() };
            for (row, user) in users.iter().enumerate() {
                let mut values = [0.0; COLUMNS];
                of.iter().zip(&mut values).for_each(|(at, to)| *to = self.columns[*at].1[row]);
                if values != [0.0; COLUMNS] {
                    tile.users.push(*user);
                    tile.values.extend(values);
                }
            }
            tile
        };
        (order.chunks(COLUMNS).map(tile).collect(), places)
    }
}

impl Prepared {
    /// Of seeds that have the same users in the same order.
    fn new(seeds: &[&UserValues]) -> Self {
        let mut distinct = Distinct::default();
        let mut columns = Vec::new();
        let mut add = |cell: usize, of: &[usize]| {
            let n = of.len() as f64;
            let mut sums: Vec<f64> = vec![0.0; seeds[0].users.len()];
            for seed in of {
                let values = &seeds[*seed].cells[cell];
                sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            }
            let carried = sums.iter().map(|sum| f64::from(u8::from(!sum.is_nan()))).collect();
            let means = sums.iter().map(|sum| if sum.is_nan() { 0.0 } else { sum / n });
            let (sum, divisor) = (distinct.add(means.collect()), distinct.add(carried));
            columns.push(Column { cell, sum, divisor });
        };
        let all: Vec<usize> = (0..seeds.len()).collect();
        for cell in 0..seeds[0].cells.len() {
            let is_carried = |seed: usize| seeds[seed].cells[cell].iter().map(|of| of.is_nan());
            match (1..seeds.len()).all(|seed| is_carried(seed).eq(is_carried(0))) {
                true => add(cell, &all),
                false => all.iter().for_each(|seed| add(cell, &[*seed])),
            }
        }
        let (tiles, places) = distinct.tiles(&seeds[0].users);
        for column in &mut columns {
            (column.sum, column.divisor) = (places[column.sum], places[column.divisor]);
        }
        Self { columns, n_sums: tiles.len() * COLUMNS, tiles }
    }

    /// Adds the means of this fold's columns to `means`; `times` says how often each user was drawn, `[users, BLOCK]`.
    fn add_means(&self, times: &[f64], means: &mut Means) {
        let mut sums = vec![0.0; self.n_sums * BLOCK];
        for (tile, sums) in self.tiles.iter().zip(sums.chunks_exact_mut(COLUMNS * BLOCK)) {
            weighted_sums(times, &tile.users, &tile.values, sums);
        }
        let (sums, _) = sums.as_chunks::<BLOCK>();
        for column in &self.columns {
            let (sums, divisors) = (&sums[column.sum], &sums[column.divisor]);
            let of_block = std::array::from_fn(|at| sums[at] / divisors[at]);
            means.add(column.cell, &of_block);
        }
    }
}

dispatch! {
    fn weighted_sums = weighted_sums_kernel(times: &[f64], users: &[u32], values: &[f64], sums: &mut [f64])
}

/// `sums[column, resample] = Σ times[users[row], resample] · values[row, column]`, row by row: the same bytes with any
/// instructions.
#[inline(always)]
fn weighted_sums_kernel<L: Lanes>(times: &[f64], users: &[u32], values: &[f64], sums: &mut [f64]) {
    let (times, _) = times.as_chunks::<BLOCK>();
    let (values, _) = values.as_chunks::<COLUMNS>();
    let zero = <L::Doubles as Doubles>::splat(0.0);
    // Four names, not an array: they stay in registers.
    let (mut first, mut second, mut third, mut fourth) = (zero, zero, zero, zero);
    // Indices, not iterators: calls of theirs are not inlined into functions with other instructions.
    let mut row = 0;
    while row < values.len() {
        let (times, values) = (L::Doubles::load(&times[users[row] as usize]), &values[row]);
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
        let n_cells = folds.iter().flatten().next().map_or(0, |values| values.cells.len());
        if self.resamples == 0 {
            return Resampled { n_cells, means: Vec::new(), units: vec![0; n_cells] };
        }
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

    /// All draws out of `n_users` users, `[blocks, users, BLOCK]`. They are the same for every system, so those of the
    /// last numbers of users are kept; none if they are too many to keep.
    fn kept_draws(&self, n_users: usize) -> Option<Arc<Vec<u16>>> {
        static LAST: Mutex<Vec<KeptDraws>> = Mutex::new(Vec::new());
        let n = self.resamples.next_multiple_of(BLOCK).checked_mul(n_users);
        let n = n.filter(|n| (1..=MOST_KEPT).contains(n))?;
        let is_same = |(of, users, _): &&KeptDraws| (*of, *users) == (*self, n_users);
        if let Ok(last) = LAST.lock()
            && let Some((_, _, draws)) = last.iter().find(is_same)
        {
            return Some(draws.clone());
        }
        let mut draws = vec![0; n];
        let each = draws.par_chunks_exact_mut(n_users * BLOCK).enumerate();
        each.for_each(|(block, draws)| {
            self.draw_block(block * BLOCK, n_users, |at, user, times| {
                draws[user * BLOCK + at] = times;
            });
        });
        let draws = Arc::new(draws);
        if let Ok(mut last) = LAST.lock()
            && !last.iter().any(|of| is_same(&of))
        {
            last.push((*self, n_users, draws.clone()));
            while last.iter().map(|(_, _, draws)| draws.len()).sum::<usize>() > MOST_KEPT {
                last.remove(0);
            }
        }
        Some(draws)
    }

    /// Draws the resamples from `first` on, as many as a block holds: for each, how often each user is in it.
    fn draw_block(&self, first: usize, n_users: usize, mut set: impl FnMut(usize, usize, u16)) {
        let mut drawn = vec![0; n_users];
        for at in 0..BLOCK.min(self.resamples - first) {
            self.draw(first + at, &mut drawn);
            drawn.iter().enumerate().for_each(|(user, times)| set(at, user, *times));
        }
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
        match kept {
            Some(kept) => {
                let of_block = &kept[first * n_users..][..n_users * BLOCK];
                times.iter_mut().zip(of_block).for_each(|(to, times)| *to = f64::from(*times));
            }
            None => self.draw_block(first, n_users, |at, user, drawn| {
                times[user * BLOCK + at] = f64::from(drawn);
            }),
        }
        let mut of_folds = Means::new(n_cells);
        for seeds in folds {
            let mut of_seeds = Means::new(n_cells);
            seeds.iter().for_each(|prepared| prepared.add_means(times, &mut of_seeds));
            (0..n_cells).for_each(|cell| of_folds.add(cell, &of_seeds.of(cell)));
        }
        let mut means = vec![f64::NAN; n * n_cells];
        for cell in 0..n_cells {
            let of_cell = of_folds.of(cell);
            (0..n).for_each(|at| means[at * n_cells + cell] = of_cell[at]);
        }
        means
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
    let tail = (1.0 - LEVEL) / 2.0;
    (!resampled.is_empty())
        .then(|| (quantile(&mut resampled, tail), quantile(&mut resampled, 1.0 - tail)))
}

/// Number of users with a value in each cell, in any fold with any seed.
fn units(n_users: usize, n_cells: usize, folds: &[Vec<&UserValues>]) -> Vec<usize> {
    let mut carries = vec![false; n_users];
    let of_cell = |cell: usize| {
        carries.fill(false);
        for values in folds.iter().flatten() {
            let rows = values.users.iter().zip(&values.cells[cell]);
            rows.for_each(|(user, value)| carries[*user as usize] |= !value.is_nan());
        }
        carries.iter().filter(|carries| **carries).count()
    };
    (0..n_cells).map(of_cell).collect()
}

/// Means that leave NaN out, by cell and resample of a block.
struct Means {
    /// Sum and number, `[cells]`.
    of: Vec<([f64; BLOCK], [f64; BLOCK])>,
}

impl Means {
    fn new(n_cells: usize) -> Self {
        Self { of: vec![([0.0; BLOCK], [0.0; BLOCK]); n_cells] }
    }

    fn add(&mut self, cell: usize, values: &[f64; BLOCK]) {
        let (sums, n) = &mut self.of[cell];
        for (at, value) in values.iter().enumerate() {
            if !value.is_nan() {
                sums[at] += value;
                n[at] += 1.0;
            }
        }
    }

    /// 0/0 is NaN: nobody carries the cell.
    fn of(&self, cell: usize) -> [f64; BLOCK] {
        let (sums, n) = &self.of[cell];
        std::array::from_fn(|at| sums[at] / n[at])
    }
}

/// With linear interpolation between neighbours in sorted order, for which not all of them are sorted.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    let place = share * (values.len() - 1) as f64;
    let (below, part) = (place.floor() as usize, place.fract());
    let (_, lower, rest) = values.select_nth_unstable_by(below, f64::total_cmp);
    let lower = *lower;
    let upper = rest.iter().copied().min_by(f64::total_cmp).unwrap_or(lower);
    lower + part * (upper - lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One cell; row by row the users 0, 1, 2 …
    fn column(values: Vec<f64>) -> UserValues {
        UserValues { users: (0..values.len() as u32).collect(), cells: vec![values] }
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
            cells: vec![forth.cells[0].iter().rev().copied().collect()],
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
        let cells = vec![vec![0.2, 0.4, 0.6], vec![nan, 1.0, 0.0]];
        let values = UserValues { users: vec![0, 1, 2], cells };
        let resampled = Bootstrap::default().resample(3, &[vec![&values]]);
        let (low, high) = resampled.interval(0).unwrap();
        assert!((0.2..0.4).contains(&low) && high > 0.4 && high <= 0.6, "{low} {high}");
        assert_eq!((resampled.interval(1), resampled.units(1)), (None, 2));
    }

    /// Two rows of one user are one unit.
    #[test]
    fn units_are_users_and_not_rows() {
        let values = UserValues { users: vec![0, 1], cells: vec![vec![0.1, 0.3]] };
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
        let of = |cells: [[f64; 4]; 2]| UserValues {
            users: users.clone(),
            cells: cells.map(|cell| cell.to_vec()).to_vec(),
        };
        let seeds = [
            of([[0.1, 0.2, 0.6, 0.3], [0.5, nan, 0.1, 0.9]]),
            of([[0.4, 0.0, 0.2, 0.1], [nan, 0.7, 0.3, nan]]),
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

    /// Columns that are equal, that are 0 for many users, and that some users do not carry: each mean is that of sums
    /// in the order of rows, to the last bit.
    #[test]
    fn columns_that_are_left_out_of_the_sums_change_no_bit() {
        let nan = f64::NAN;
        let hit = |at: usize| if at.is_multiple_of(3) { 1.0 } else { 0.0 };
        let of = |value: &dyn Fn(usize) -> f64| (0..40).map(value).collect::<Vec<f64>>();
        let cells = vec![
            of(&hit),
            of(&|at| (at as f64 * 0.37).sin()),
            of(&hit),
            of(&|at| if at < 9 { nan } else { hit(at) / 3.0 }),
            of(&|at| if at < 9 { nan } else { (at as f64).sqrt() }),
            of(&|_| 0.0),
            of(&|_| nan),
        ];
        let values = UserValues { users: (0..40).rev().collect(), cells };
        let bootstrap = Bootstrap { resamples: 20, ..Bootstrap::default() };
        let found = bootstrap.resample(40, &[vec![&values]]);
        let mut drawn = vec![0; 40];
        for at in 0..20 {
            bootstrap.draw(at, &mut drawn);
            for (cell, values_of_cell) in values.cells.iter().enumerate() {
                let (mut sum, mut n) = (0.0, 0.0);
                for (user, value) in values.users.iter().zip(values_of_cell) {
                    let times = f64::from(drawn[*user as usize]);
                    if !value.is_nan() {
                        (sum, n) = (sum + times * value, n + times);
                    }
                }
                let (mean, expected) = (found.column(cell).nth(at).unwrap(), sum / n);
                let is_same = mean.to_bits() == expected.to_bits();
                assert!(is_same || (mean.is_nan() && n == 0.0), "{cell}: {mean} {expected}");
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

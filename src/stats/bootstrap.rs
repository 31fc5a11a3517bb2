//! Confidence intervals of means over users: the percentile bootstrap (Efron 1979).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// How intervals are made.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bootstrap {
    pub resamples: usize,
    pub seed: u64,
}

impl Default for Bootstrap {
    fn default() -> Self {
        Self { resamples: 1000, seed: 42 }
    }
}

/// The share of resampled means between the ends of an interval.
pub const LEVEL: f64 = 0.95;

/// Values of one trial, row-major `[users, cells]`; NaN where a user is not in a cell's mean.
#[derive(Clone, Debug)]
pub struct UserValues {
    pub n_cells: usize,
    pub values: Vec<f64>,
}

impl UserValues {
    fn n_users(&self) -> usize {
        self.values.len().checked_div(self.n_cells).unwrap_or(0)
    }
}

/// Values made ready for many weighted sums: no NaN, and who carries those cells that not all do.
struct Prepared {
    n_users: usize,
    filled: Vec<f64>,
    /// Cells that some user does not carry.
    partial: Vec<usize>,
    /// 1 where the user carries the partial cell, row-major `[users, partial]`.
    carried: Vec<f64>,
}

impl Prepared {
    fn new(values: &UserValues) -> Self {
        let (n_users, n_cells) = (values.n_users(), values.n_cells);
        let mut has_nan = vec![false; n_cells];
        for row in values.values.chunks_exact(n_cells.max(1)) {
            for (value, has_nan) in row.iter().zip(&mut has_nan) {
                *has_nan |= value.is_nan();
            }
        }
        let partial: Vec<usize> = (0..n_cells).filter(|cell| has_nan[*cell]).collect();
        let carried = values
            .values
            .chunks_exact(n_cells.max(1))
            .flat_map(|row| partial.iter().map(|cell| f64::from(u8::from(!row[*cell].is_nan()))));
        Self {
            n_users,
            carried: carried.collect(),
            filled: values.values.iter().map(|v| if v.is_nan() { 0.0 } else { *v }).collect(),
            partial,
        }
    }

    /// Means of all cells with users taken `times` often; NaN where nobody taken carries the cell.
    fn means(&self, times: &[f64], n_cells: usize) -> Vec<f64> {
        let mut means = vec![0.0; n_cells];
        let mut weights = vec![0.0; self.partial.len()];
        for (user, &times) in times.iter().enumerate() {
            if times > 0.0 {
                add(&mut means, &self.filled[user * n_cells..], times);
                add(&mut weights, &self.carried[user * self.partial.len()..], times);
            }
        }
        // As many users are drawn as there are; partial cells have weights of their own.
        let mut divisors = vec![self.n_users as f64; n_cells];
        for (cell, weight) in self.partial.iter().zip(&weights) {
            divisors[*cell] = *weight;
        }
        means.iter().zip(&divisors).map(|(sum, divisor)| sum / divisor).collect()
    }
}

/// `sums += times · row`, written so that it compiles to vector instructions.
fn add(sums: &mut [f64], row: &[f64], times: f64) {
    let row = &row[..sums.len()];
    for at in 0..sums.len() {
        sums[at] += row[at] * times;
    }
}

impl Bootstrap {
    /// The interval of each cell's mean over seeds within a fold, then over folds.
    ///
    /// `folds` holds, for each fold, the values of every seed, for the same users in the same order.
    /// Users are drawn with replacement within each fold, the same for every seed and, as the draw
    /// depends on the number of users alone, for every system. None where fewer than two users carry
    /// the cell.
    pub fn intervals(&self, folds: &[Vec<&UserValues>]) -> Vec<Option<(f64, f64)>> {
        let n_cells = folds.iter().flatten().next().map_or(0, |values| values.n_cells);
        let prepared: Vec<Vec<Prepared>> = folds
            .iter()
            .map(|seeds| seeds.iter().map(|values| Prepared::new(values)).collect())
            .collect();
        let means: Vec<Vec<f64>> = (0..self.resamples)
            .into_par_iter()
            .map(|resample| self.resampled_means(&prepared, n_cells, resample))
            .collect();
        (0..n_cells)
            .into_par_iter()
            .map(|cell| {
                let carriers = folds.iter().filter_map(|seeds| seeds.first()).map(|values| {
                    let rows = values.values.chunks_exact(n_cells);
                    rows.filter(|row| !row[cell].is_nan()).count()
                });
                if carriers.sum::<usize>() < 2 {
                    return None;
                }
                let mut of_cell: Vec<f64> =
                    means.iter().map(|means| means[cell]).filter(|mean| !mean.is_nan()).collect();
                of_cell.sort_unstable_by(f64::total_cmp);
                let tail = (1.0 - LEVEL) / 2.0;
                (!of_cell.is_empty())
                    .then(|| (quantile(&of_cell, tail), quantile(&of_cell, 1.0 - tail)))
            })
            .collect()
    }

    fn resampled_means(&self, folds: &[Vec<Prepared>], n_cells: usize, at: usize) -> Vec<f64> {
        let mut of_folds = Mean::new(n_cells);
        for (fold, seeds) in folds.iter().enumerate() {
            let n = seeds.first().map_or(0, |values| values.n_users);
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream(((fold as u64) << 32) | at as u64);
            let mut times = vec![0.0; n];
            (0..n).for_each(|_| times[random.random_range(0..n)] += 1.0);
            let mut of_seeds = Mean::new(n_cells);
            seeds.iter().for_each(|values| of_seeds.add(&values.means(&times, n_cells)));
            of_folds.add(&of_seeds.finish());
        }
        of_folds.finish()
    }
}

/// A mean that leaves NaN out, for each cell.
struct Mean {
    sums: Vec<f64>,
    n: Vec<f64>,
}

impl Mean {
    fn new(n_cells: usize) -> Self {
        Self { sums: vec![0.0; n_cells], n: vec![0.0; n_cells] }
    }

    fn add(&mut self, values: &[f64]) {
        for (at, value) in values.iter().enumerate().filter(|(_, value)| !value.is_nan()) {
            self.sums[at] += value;
            self.n[at] += 1.0;
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

    /// 400 users with values spread evenly over [0, 1): the mean's standard error is known.
    #[test]
    fn the_interval_is_that_of_the_central_limit_theorem() {
        let values: Vec<f64> = (0..400).map(|at| f64::from(at) / 400.0).collect();
        let values = UserValues { n_cells: 1, values };
        let found = Bootstrap::default().intervals(&[vec![&values]])[0].unwrap();
        let half = 1.96 * (1.0f64 / 12.0 / 400.0).sqrt();
        assert!((found.0 - (0.49875 - half)).abs() < 0.005, "{found:?}");
        assert!((found.1 - (0.49875 + half)).abs() < 0.005, "{found:?}");
        assert_eq!(Bootstrap::default().intervals(&[vec![&values]])[0], Some(found));
        let other = Bootstrap { seed: 7, ..Bootstrap::default() };
        assert_ne!(other.intervals(&[vec![&values]])[0], Some(found));
    }

    #[test]
    fn users_outside_a_mean_do_not_count_and_one_user_has_no_interval() {
        let nan = f64::NAN;
        let values = UserValues { n_cells: 2, values: vec![0.2, nan, 0.4, 1.0, 0.6, nan] };
        let found = Bootstrap::default().intervals(&[vec![&values]]);
        let (low, high) = found[0].unwrap();
        assert!((0.2..0.4).contains(&low) && high > 0.4 && high <= 0.6, "{low} {high}");
        assert_eq!(found[1], None);
    }

    #[test]
    fn folds_weigh_the_same() {
        let constant = |n: usize, value: f64| UserValues { n_cells: 1, values: vec![value; n] };
        let (small, large) = (constant(3, 0.0), constant(300, 1.0));
        let found = Bootstrap::default().intervals(&[vec![&small], vec![&large]]);
        assert_eq!(found[0], Some((0.5, 0.5)));
    }
}

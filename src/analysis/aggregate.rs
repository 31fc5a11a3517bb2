//! Means over seeds and folds.

use std::collections::HashMap;

use super::ResultRow;
use crate::core::Caveats;

/// Numbers of users and user-fold pairs in the mean of a group of rows.
pub type CountOf<'a> = dyn Fn(&[&ResultRow]) -> (usize, usize) + 'a;

/// The rows; behind them, for each fold with several seeds, one row with the seed `mean`; and behind
/// those one row with the fold `mean` for each system, protocol, convention, slice, metric and cutoff:
/// the mean over seeds within a fold, then over folds.
///
/// `sd_folds` is the sample standard deviation over the folds' means, `sd_seeds` that over seeds within
/// a fold, pooled over folds (√ of the summed squares by the summed degrees of freedom); each none where
/// nothing repeats. Groups come out in the order in which their first row stands. Rows that a row with
/// the seed `mean` stands for are marked [`ResultRow::one_of_several`].
pub fn with_means(mut rows: Vec<ResultRow>, counts: &CountOf) -> Vec<ResultRow> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut index = HashMap::new();
    for (row_at, row) in rows.iter().enumerate() {
        let key = (&row.system, &row.protocol, &row.convention, &row.slice, &row.metric, row.k);
        let at = *index.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(row_at);
    }
    let (mut of_seeds, mut of_folds, mut one_of_several) = (Vec::new(), Vec::new(), Vec::new());
    for group in &groups {
        let mut folds: Vec<Vec<&ResultRow>> = Vec::new();
        for &at in group {
            let row = &rows[at];
            match folds.iter_mut().find(|of_fold| of_fold[0].fold == row.fold) {
                Some(of_fold) => of_fold.push(row),
                None => folds.push(vec![row]),
            }
        }
        for &at in group {
            if folds.iter().any(|of_fold| of_fold.len() > 1 && of_fold[0].fold == rows[at].fold) {
                one_of_several.push(at);
            }
        }
        for of_fold in folds.iter().filter(|of_fold| of_fold.len() > 1) {
            let fold = of_fold[0].fold.clone();
            of_seeds.push(ResultRow { fold, ..mean_of(std::slice::from_ref(of_fold), counts) });
        }
        of_folds.push(mean_of(&folds, counts));
    }
    one_of_several.into_iter().for_each(|at| rows[at].one_of_several = true);
    rows.into_iter().chain(of_seeds).chain(of_folds).collect()
}

/// The `mean` row of rows by fold.
fn mean_of(folds: &[Vec<&ResultRow>], counts: &CountOf) -> ResultRow {
    let by_fold: Vec<Vec<f64>> = folds
        .iter()
        .map(|rows| rows.iter().filter_map(|row| row.value).collect())
        .filter(|values: &Vec<f64>| !values.is_empty())
        .collect();
    let of_folds: Vec<f64> = by_fold.iter().filter_map(|values| mean(values)).collect();
    let squares: f64 = by_fold.iter().zip(&of_folds).map(|(of, mean)| squares(of, *mean)).sum();
    let freedom: usize = by_fold.iter().map(|values| values.len() - 1).sum();
    let all: Vec<&ResultRow> = folds.iter().flatten().copied().collect();
    let (n_users, n_pairs) = match &all[..] {
        [only] => (only.n_users, only.n_pairs),
        _ => counts(&all),
    };
    ResultRow {
        fold: "mean".into(),
        seed: "mean".into(),
        value: mean(&of_folds),
        sd_folds: sd(&of_folds),
        sd_seeds: (freedom > 0).then(|| (squares / freedom as f64).sqrt()),
        n_users,
        n_pairs,
        low: None,
        high: None,
        caveats: caveats_of(folds),
        one_of_several: false,
        lacks_responses: all.iter().all(|row| row.lacks_responses),
        ..all[0].clone()
    }
}

/// Counts are sums over folds (of the first seed's rows), as `n_pairs` is. Where one fold's value under random ties is
/// not given, ties decide little there, and its own value stands for it.
fn caveats_of(folds: &[Vec<&ResultRow>]) -> Caveats {
    let sum = |count: fn(&Caveats) -> usize| folds.iter().map(|rows| count(&rows[0].caveats)).sum();
    let told = folds.iter().flatten().any(|row| row.caveats.random_ties.is_some());
    let of_fold = |rows: &Vec<&ResultRow>| {
        let values = rows.iter().filter_map(|row| row.caveats.random_ties.or(row.value));
        mean(&values.collect::<Vec<_>>())
    };
    let of_folds: Vec<f64> = folds.iter().filter_map(of_fold).collect();
    Caveats {
        users: sum(|of| of.users),
        tied_users: sum(|of| of.tied_users),
        users_without_history: sum(|of| of.users_without_history),
        random_ties: mean(&of_folds).filter(|_| told),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

fn squares(values: &[f64], mean: f64) -> f64 {
    values.iter().map(|value| (value - mean).powi(2)).sum()
}

/// Sample standard deviation.
fn sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    (values.len() > 1).then(|| (squares(values, mean) / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fold: &str, seed: &str, value: Option<f64>, n_users: usize) -> ResultRow {
        ResultRow {
            system: "s".into(),
            fold: fold.into(),
            seed: seed.into(),
            value,
            n_users,
            n_pairs: n_users,
            ..ResultRow::example()
        }
    }

    fn means(rows: Vec<ResultRow>) -> Vec<ResultRow> {
        with_means(rows, &|group| (group.len(), 10 * group.len()))
    }

    #[test]
    fn folds_weigh_the_same_whatever_their_number_of_seeds() {
        let all = means(vec![
            row("u1", "1", Some(0.1), 5),
            row("u1", "2", Some(0.3), 5),
            row("u2", "1", Some(0.4), 7),
        ]);
        let names = |row: &ResultRow| (row.fold.clone(), row.seed.clone());
        let [of_seeds, mean] = &all[3..] else { panic!("{all:?}") };
        assert_eq!(names(of_seeds), ("u1".into(), "mean".into()));
        assert!((of_seeds.value.unwrap() - 0.2).abs() < 1e-12);
        assert_eq!(names(mean), ("mean".into(), "mean".into()));
        assert!((mean.value.unwrap() - 0.3).abs() < 1e-12);
        // Distinct users and pairs are counted by whoever knows the users.
        assert_eq!((mean.n_users, mean.n_pairs), (3, 30));
        assert_eq!(all.iter().filter(|row| row.one_of_several).count(), 2);
    }

    /// Fold means .2, .5: sd .2121. Within folds: (.1, .3), (.4, .5, .6): squares .02 + .02 over 1 + 2
    /// degrees of freedom: √(.04 / 3) = .1155. All five values together would give .1924.
    #[test]
    fn the_spread_over_folds_and_that_over_seeds_are_two_numbers() {
        let all = means(vec![
            row("u1", "1", Some(0.1), 5),
            row("u1", "2", Some(0.3), 5),
            row("u2", "1", Some(0.4), 7),
            row("u2", "2", Some(0.5), 7),
            row("u2", "3", Some(0.6), 7),
        ]);
        let mean = all.last().unwrap();
        assert!((mean.sd_folds.unwrap() - 0.212_132_034).abs() < 1e-8);
        assert!((mean.sd_seeds.unwrap() - 0.115_470_053).abs() < 1e-8);
        let of_u1 = all.iter().find(|row| row.fold == "u1" && row.seed == "mean").unwrap();
        assert_eq!(of_u1.sd_folds, None);
        assert!((of_u1.sd_seeds.unwrap() - 0.141_421_356).abs() < 1e-8);
    }

    #[test]
    fn one_seed_has_no_spread_over_seeds_and_one_fold_none_over_folds() {
        let folds = means(vec![row("u1", "1", Some(0.1), 5), row("u2", "1", Some(0.3), 5)]);
        assert!(folds[2].sd_folds.is_some() && folds[2].sd_seeds.is_none());
        let seeds = means(vec![row("u1", "1", Some(0.1), 5), row("u1", "2", Some(0.3), 5)]);
        let mean = seeds.last().unwrap();
        assert!(mean.sd_folds.is_none() && mean.sd_seeds.is_some());
    }

    #[test]
    fn folds_without_users_do_not_count_as_zero() {
        let all = means(vec![row("u1", "1", None, 0), row("u2", "1", Some(0.4), 3)]);
        assert_eq!((all[2].value, all[2].sd_folds), (Some(0.4), None));
    }

    /// The number of a single row is known.
    #[test]
    fn one_fold_with_one_seed_has_the_users_of_its_row() {
        let all = means(vec![row("u1", "1", Some(0.4), 3)]);
        assert_eq!((all[1].n_users, all[1].n_pairs), (3, 3));
    }
}

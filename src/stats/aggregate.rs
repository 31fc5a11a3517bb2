//! Means over seeds and folds.

use crate::report::ResultRow;

/// The rows, and behind them one `mean` row for each system, protocol, convention, slice, metric and
/// cutoff: the mean over seeds within a fold, then over folds; `sd` is the sample standard deviation
/// of all values, none for a single one. `n_users` of a mean row is the sum over folds (of one seed).
///
/// Groups come out in the order in which their first row stands.
pub fn with_means(rows: Vec<ResultRow>) -> Vec<ResultRow> {
    let mut groups: Vec<Vec<&ResultRow>> = Vec::new();
    let mut index = std::collections::HashMap::new();
    for row in &rows {
        let key = (&row.system, &row.protocol, &row.convention, &row.slice, &row.metric, row.k);
        let at = *index.entry(key).or_insert_with(|| {
            groups.push(Vec::new());
            groups.len() - 1
        });
        groups[at].push(row);
    }
    let means: Vec<ResultRow> = groups.iter().map(|group| mean_of(group)).collect();
    rows.into_iter().chain(means).collect()
}

fn mean_of(group: &[&ResultRow]) -> ResultRow {
    let mut folds: Vec<(&str, Vec<&ResultRow>)> = Vec::new();
    for row in group {
        match folds.iter_mut().find(|(fold, _)| *fold == row.fold) {
            Some((_, rows)) => rows.push(row),
            None => folds.push((&row.fold, vec![row])),
        }
    }
    let of_folds: Vec<f64> = folds
        .iter()
        .filter_map(|(_, rows)| mean(&rows.iter().filter_map(|row| row.value).collect::<Vec<_>>()))
        .collect();
    let all: Vec<f64> = group.iter().filter_map(|row| row.value).collect();
    ResultRow {
        fold: "mean".into(),
        seed: "mean".into(),
        value: mean(&of_folds),
        sd: sd(&all),
        n_users: folds.iter().map(|(_, rows)| rows[0].n_users).sum(),
        low: None,
        high: None,
        ..group[0].clone()
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation.
fn sd(values: &[f64]) -> Option<f64> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fold: &str, seed: &str, value: Option<f64>, n_users: usize) -> ResultRow {
        ResultRow {
            experiment: "e".into(),
            system: "s".into(),
            fold: fold.into(),
            seed: seed.into(),
            protocol: "full".into(),
            convention: "standard".into(),
            slice: "all".into(),
            metric: "ndcg".into(),
            k: 10,
            value,
            sd: None,
            n_users,
            fingerprint: "f".into(),
            low: None,
            high: None,
            knows_test: false,
            own_lists_of: None,
        }
    }

    #[test]
    fn folds_weigh_the_same_whatever_their_number_of_seeds() {
        let rows = vec![
            row("u1", "1", Some(0.1), 5),
            row("u1", "2", Some(0.3), 5),
            row("u2", "1", Some(0.4), 7),
        ];
        let all = with_means(rows);
        let mean = &all[3];
        assert!((mean.value.unwrap() - 0.3).abs() < 1e-12);
        assert_eq!((mean.fold.as_str(), mean.n_users), ("mean", 12));
        assert!((mean.sd.unwrap() - 0.152_752_523).abs() < 1e-8);
    }

    #[test]
    fn folds_without_users_do_not_count_as_zero() {
        let all = with_means(vec![row("u1", "1", None, 0), row("u2", "1", Some(0.4), 3)]);
        assert_eq!((all[2].value, all[2].sd, all[2].n_users), (Some(0.4), None, 3));
    }
}

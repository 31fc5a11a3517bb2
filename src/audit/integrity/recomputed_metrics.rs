//! `recomputed-metrics`

use std::collections::HashMap;

use crate::{
    analysis::ResultRow,
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        runs::{UserList, ndcg},
    },
    ranking::Slice,
};

pub const CHECK: Check = Check {
    id: "recomputed-metrics",
    family: Family::Integrity,
    severity: Severity::Error,
    title: "Means that are not those of the stored lists",
    why: "Metrics of the same name differ between tools, and a wrong one looks like any other number. This check has \
          formulas of its own, and computes precision, recall, nDCG, MRR and hit rate of the stored lists again.",
    source: "Tamm, Damdinov and Vasilev 2021, Quality Metrics in Recommender Systems: Do We Calculate Metrics \
             Consistently?",
    fix: "Evaluate again (`assay run --force`). If the difference stays, report it as an error of assay.",
    run,
};

/// Sums in another order differ in the last digits.
const SLACK: f64 = 1e-9;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let is_checked = |row: &&ResultRow| (&*row.protocol, &*row.convention) == ("full", "standard");
    let mut rows: HashMap<(&str, &str, &str), Vec<&ResultRow>> = HashMap::new();
    for row in subject.collected.rows.iter().filter(is_checked) {
        rows.entry((&row.system, &row.fold, &row.seed)).or_default().push(row);
    }
    if rows.is_empty() {
        return Ok(Outcome::NotApplicable("nothing is evaluated under full and standard".into()));
    }
    let runs = subject.runs()?;
    let mut members: HashMap<(usize, &str), Vec<bool>> = HashMap::new();
    let (mut findings, mut n_checked) = (Vec::new(), 0);
    for run in &runs.runs {
        let Some(trial) = run.trial.map(|at| subject.done[at]) else { continue };
        let seed = trial.seed.to_string();
        let mut differences: Vec<(&ResultRow, Option<f64>, usize)> = Vec::new();
        let mut n_of_run = 0;
        for row in rows.get(&(&*trial.name, &*trial.fold, &*seed)).into_iter().flatten() {
            let slice: Slice = row.slice.parse()?;
            let of_slice = members
                .entry((run.fold, &row.slice))
                .or_insert_with(|| runs.folds[run.fold].members(slice));
            let users = run.users.iter().filter(|of| of_slice[of.user.at()]);
            let Some((value, n)) = mean(&row.metric, row.k, users) else { continue };
            n_of_run += 1;
            let is_same = n == row.n_users
                && match (value, row.value) {
                    (Some(a), Some(b)) => (a - b).abs() <= SLACK,
                    (None, None) => true,
                    _ => false,
                };
            if !is_same {
                differences.push((row, value, n));
            }
        }
        n_checked += n_of_run;
        let off = |(row, value, _): &(&ResultRow, Option<f64>, usize)| {
            (value.unwrap_or(0.0) - row.value.unwrap_or(0.0)).abs()
        };
        let worst = differences.iter().max_by(|a, b| off(a).total_cmp(&off(b)));
        let Some((row, value, n)) = worst else { continue };
        let text = |value: Option<f64>| value.map_or("none".into(), |value| format!("{value:.10}"));
        let message = format!(
            "{}: {} of {n_of_run} means differ from those of the stored lists, most {}@{} of the slice {}: stored {} over \
             {} users, computed again {} over {n}",
            trial.label(),
            differences.len(),
            row.metric,
            row.k,
            row.slice,
            text(row.value),
            row.n_users,
            text(*value),
        );
        let finding = Finding::new(&trial.name, message).with("means", n_of_run);
        let finding = finding.with("different", differences.len()).with("metric", &*row.metric);
        let finding = finding.with("k", row.k).with("slice", &*row.slice);
        findings.push(finding.with("stored", row.value).with("recomputed", *value));
    }
    match n_checked {
        0 => Ok(Outcome::NotApplicable("none of these metrics is evaluated".into())),
        _ => Ok(Outcome::Checked(findings)),
    }
}

/// The mean of a metric over users with a relevant item, who all count, and their number; none of other metrics.
fn mean<'a>(
    metric: &str,
    k: usize,
    users: impl Iterator<Item = &'a UserList>,
) -> Option<(Option<f64>, usize)> {
    let of: fn(&UserList, usize) -> f64 = match metric {
        "precision" => |of, k| of.hits_at(k) as f64 / k as f64,
        "recall" => |of, k| of.hits_at(k) as f64 / of.relevant as f64,
        "ndcg" => |of, k| ndcg(&of.hits, of.relevant, k),
        "mrr" => |of, k| match of.hits.first() {
            Some(rank) if (*rank as usize) < k => 1.0 / f64::from(rank + 1),
            _ => 0.0,
        },
        "hit-rate" => |of, k| f64::from(u8::from(of.hits_at(k) > 0)),
        _ => return None,
    };
    let (mut sum, mut n) = (0.0, 0);
    users.for_each(|user| (sum, n) = (sum + of(user, k), n + 1));
    Some(((n > 0).then(|| sum / n as f64), n))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::UserIx;

    /// Worked out by hand: two relevant items, found at the ranks 2 and 4.
    #[test]
    fn metrics_of_a_list_worked_out_by_hand() {
        let user = |hits: &[u32]| UserList {
            user: UserIx(0),
            relevant: 2,
            has_list: true,
            length: 10,
            candidates: 100,
            hits: hits.to_vec(),
        };
        let users = [user(&[1, 3]), user(&[])];
        let mean = |metric: &str, k: usize| mean(metric, k, users.iter()).unwrap().0.unwrap();
        assert_eq!(mean("precision", 4), (2.0 / 4.0) / 2.0);
        assert_eq!(mean("recall", 3), (1.0 / 2.0) / 2.0);
        assert_eq!(mean("mrr", 4), (1.0 / 2.0) / 2.0);
        assert_eq!(mean("mrr", 1), 0.0);
        assert_eq!(mean("hit-rate", 2), 0.5);
        let ideal = 1.0 + 1.0 / 3f64.log2();
        let dcg = 1.0 / 3f64.log2() + 1.0 / 5f64.log2();
        assert!((mean("ndcg", 4) - dcg / ideal / 2.0).abs() < 1e-15);
    }
}

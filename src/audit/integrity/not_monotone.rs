//! `not-monotone`

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    analysis::{MEAN, ResultRow},
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
};

pub const CHECK: Check = Check {
    id: "not-monotone",
    family: Family::Integrity,
    severity: Severity::Error,
    title: "Recall, hit rate or MRR that falls as the cutoff grows",
    why: "A longer list contains the shorter one, so these metrics cannot fall. One that does is a mean over other \
          users, or of other lists.",
    source: "docs/EVALUATION.md: the formulas of recall, hit rate and MRR",
    fix: "Evaluate again (`assay run --force`).",
    run,
};

const METRICS: [&str; 3] = ["recall", "hit-rate", "mrr"];
/// Conventions whose means of these metrics are over the same users at every cutoff, and whose recall is divided by
/// the number of relevant items.
const CONVENTIONS: [&str; 2] = ["standard", "trec"];
/// Sums in another order differ in the last digits.
const SLACK: f64 = 1e-12;

fn run(subject: &Subject) -> Result<Outcome, String> {
    type Column<'a> = (&'a str, &'a str, &'a str, [&'a str; 4]);
    let mut columns: BTreeMap<Column, Vec<&ResultRow>> = BTreeMap::new();
    let is_checked = |row: &&ResultRow| {
        METRICS.contains(&&*row.metric)
            && CONVENTIONS.contains(&&*row.convention)
            && row.value.is_some()
    };
    for row in subject.collected.rows.iter().filter(is_checked) {
        let of = [&*row.protocol, &*row.convention, &*row.slice, &*row.metric];
        columns.entry((&row.system, &row.fold, &row.seed, of)).or_default().push(row);
    }
    if columns.values().all(|rows| rows.len() < 2) {
        return Ok(Outcome::NotApplicable("no such metric has two cutoffs".into()));
    }
    let (mut findings, mut seen) = (Vec::new(), BTreeSet::new());
    // Rows of folds before means: a mean of wrong values is wrong, too, and is not said again.
    let is_mean = |fold: &str, seed: &str| fold == MEAN || seed == MEAN;
    let (of_folds, means): (Vec<_>, Vec<_>) =
        columns.iter_mut().partition(|((_, fold, seed, _), _)| !is_mean(fold, seed));
    for ((system, fold, seed, [protocol, convention, slice, metric]), rows) in
        of_folds.into_iter().chain(means)
    {
        rows.sort_by_key(|row| row.k);
        let falls = rows.windows(2).filter_map(|pair| {
            let (before, after) = (pair[0].value?, pair[1].value?);
            (after < before - SLACK).then_some((pair[0].k, before, pair[1].k, after))
        });
        for (k, before, next, after) in falls {
            let is_new = seen.insert((*system, *protocol, *convention, *slice, *metric, k));
            if !is_new && is_mean(fold, seed) {
                continue;
            }
            let message = format!(
                "{system}, fold {fold}, seed {seed}, {protocol}, {convention}, slice {slice}: {metric}@{next} is {after:.6}, \
                 below {metric}@{k}, {before:.6}"
            );
            let finding =
                Finding::new(*system, message).with("metric", *metric).with("fold", *fold);
            findings.push(
                finding
                    .with("k", k)
                    .with("value", before)
                    .with("next_k", next)
                    .with("next_value", after),
            );
        }
    }
    Ok(Outcome::Checked(findings))
}

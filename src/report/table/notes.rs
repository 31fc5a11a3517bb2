//! What stands below a table: what its numbers rest on, and what does not compare.

use super::{NShown, Selection, UNRANKED, distinct};
use crate::{
    eval::{Convention, Metric},
    report::ResultRow,
    stats::{Bootstrap, LEVEL},
};

/// What the numbers rest on.
pub(super) fn of(
    selections: &[Selection],
    chosen: &[&ResultRow],
    all: &[ResultRow],
    n_shown: NShown,
    counts: &[Vec<usize>],
) -> Vec<String> {
    let mut notes = vec![of_means(&selections[0], chosen, all)];
    let knows = chosen.iter().filter(|row| row.knows_test);
    let oracles = distinct(knows.map(|row| row.system.as_str()));
    if !oracles.is_empty() {
        notes.push(format!("Knows the test part, so never best: {}.", oracles.join(", ")));
    }
    notes.extend(of_unbounded(chosen));
    let partly = |row: &&&ResultRow| row.own_lists_of.as_ref().is_some_and(|of| *of != row.slice);
    let of = distinct(chosen.iter().filter(partly).filter_map(|row| row.own_lists_of.as_deref()));
    for slice in of {
        let rows =
            chosen.iter().filter(partly).filter(|row| row.own_lists_of.as_ref() == Some(&slice));
        let systems = distinct(rows.map(|row| row.system.as_str()));
        notes.push(format!(
            "Lists of the base, but for the users of the slice `{slice}`: {}.",
            systems.join(", ")
        ));
    }
    let intervals = chosen.iter().any(|row| row.low.is_some());
    if intervals {
        let Bootstrap { resamples, seed } = Bootstrap::default();
        notes.push(format!(
            "[low, high]: {:.0} % interval of the mean, {resamples} bootstrap resamples of the users \
             (seed {seed}); other folds and seeds would spread it more.",
            100.0 * LEVEL
        ));
    }
    if n_shown == NShown::Cell {
        notes.push(
            "The numbers in a row are means over different users; in brackets: over how many."
                .to_owned(),
        );
    } else if let (NShown::Note, Some(&n)) = (n_shown, counts.iter().flatten().next()) {
        let over = if selections[0].fold == "mean" { ", all folds together" } else { "" };
        notes.push(format!("n = {n} users{over}."));
    }
    let unranked = |row: &&&ResultRow| UNRANKED.contains(&row.metric.as_str());
    let lists = distinct(chosen.iter().filter(unranked).map(|row| row.n_users.to_string()));
    if let [n] = &lists[..]
        && n_shown == NShown::Note
        && counts.iter().flatten().next().is_none_or(|users| users.to_string() != *n)
    {
        notes.push(format!("novelty, gini and item-coverage: over {n} lists."));
    }
    if selections[0].fold == "mean"
        && let Some(note) = of_folds(chosen, all)
    {
        notes.push(note);
    }
    // Selections differ by what they are; within one, all must rest on the same.
    let mixed = selections.iter().find_map(|selection| {
        let rows = chosen.iter().filter(|row| selection.holds(row));
        let fingerprints = distinct(rows.map(|row| row.fingerprint.as_str()));
        (fingerprints.len() > 1).then_some(fingerprints)
    });
    let fingerprints = distinct(chosen.iter().map(|row| row.fingerprint.as_str()));
    if let Some(mixed) = mixed {
        notes.push(format!(
            "These numbers do not compare: they rest on different data, splits or rules \
             (fingerprints {}).",
            mixed.join(", ")
        ));
    } else if let [fingerprint] = &fingerprints[..] {
        notes.push(format!("Ties: lower item id first. Fingerprint {fingerprint}."));
    } else {
        notes.push("Ties: lower item id first.".into());
    }
    notes
}

/// Means that no oracle bounds from above.
fn of_unbounded(chosen: &[&ResultRow]) -> Vec<String> {
    let named = |row: &&&ResultRow| {
        Some((row.convention.parse::<Convention>().ok()?, row.metric.parse::<Metric>().ok()?))
    };
    let unbounded = |row: &&&ResultRow| {
        row.knows_test
            && named(row).is_some_and(|(convention, metric)| {
                convention.mixes_users() && !convention.bounded_by_oracle(metric)
            })
    };
    let rows = || chosen.iter().filter(unbounded);
    distinct(rows().map(|row| row.convention.as_str()))
        .into_iter()
        .map(|convention| {
            let of = rows().filter(|row| row.convention == convention);
            let metrics = distinct(of.map(|row| row.metric.as_str()));
            format!(
                "Under {convention} the oracle is no upper bound of {}: users whose list holds no hit (for \
                 ndcg: no judged item) are left out of the mean, so a list that hides its hits can raise it.",
                metrics.join(", ")
            )
        })
        .collect()
}

/// Systems whose means are over other folds than those of most.
fn of_folds(chosen: &[&ResultRow], all: &[ResultRow]) -> Option<String> {
    let folds = |system: &str| {
        let rows = all.iter().filter(|row| row.system == system && row.fold != "mean");
        distinct(rows.map(|row| row.fold.as_str()))
    };
    let systems = distinct(chosen.iter().map(|row| row.system.as_str()));
    let of: Vec<Vec<String>> = systems.iter().map(|system| folds(system)).collect();
    let most = of.iter().map(Vec::len).max()?;
    let fewer: Vec<String> = systems
        .iter()
        .zip(&of)
        .filter(|(_, folds)| folds.len() < most)
        .map(|(system, folds)| format!("{system} ({})", folds.join(", ")))
        .collect();
    (!fewer.is_empty()).then(|| {
        format!(
            "Not all means are over the same folds, so rows do not compare: {} only. `--fold` shows \
             one fold.",
            fewer.join("; ")
        )
    })
}

/// Folds and seeds.
fn of_means(selection: &Selection, chosen: &[&ResultRow], all: &[ResultRow]) -> String {
    if selection.fold != "mean" {
        let mut seeds = distinct(chosen.iter().map(|row| row.seed.as_str()));
        seeds.retain(|seed| !seed.is_empty());
        return match seeds.len() {
            0 => "One fold; * best.".into(),
            _ => format!("One fold, seed {}; * best.", seeds.join(", ")),
        };
    }
    let single = || all.iter().filter(|row| row.fold != "mean");
    let folds = distinct(single().map(|row| row.fold.as_str()));
    let seeds = distinct(single().map(|row| row.seed.as_str()));
    format!(
        "Mean{} over {} ({}) and {} ({}); * best.",
        if folds.len() * seeds.len() > 1 { " ± sample standard deviation" } else { "" },
        plural(folds.len(), "fold"),
        folds.join(", "),
        plural(seeds.len(), "seed"),
        seeds.join(", ")
    )
}

fn plural(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

//! The conclusions, in sentences.

use serde::Serialize;

use super::{
    PublishedView, Source,
    comparisons::{Comparisons, Verdict},
    interval, metric_at, number, p_text, signed, signed_interval,
};
use crate::{
    analysis::{MEAN, ResultRow, few_users_of},
    base::text::{counted, distinct, users_text},
    tasks::metric,
};

#[derive(Serialize)]
pub struct Summary {
    /// What the sentences are about: metric, protocol, convention, slice.
    pub about: String,
    pub sentences: Vec<String>,
}

/// So many names are listed in a sentence.
const SHOWN: usize = 8;

impl Summary {
    pub fn new(
        source: &Source,
        comparisons: &Option<Comparisons>,
        published: &[PublishedView],
    ) -> Self {
        let main = &source.main;
        let mut sentences = Vec::new();
        let rows: Vec<&ResultRow> = source.means().collect();
        match comparisons {
            Some(of) => best(source, of, &rows, &mut sentences),
            None => alone(source, &rows, &mut sentences),
        }
        let bounds: Vec<String> = rows
            .iter()
            .filter(|row| row.knows_test)
            .map(|row| format!("{} ({})", row.system, number(row.value)))
            .collect();
        if !bounds.is_empty() {
            sentences.push(format!("Upper bounds, which use the test part: {}.", listed(&bounds)));
        }
        sentences.extend(other_metrics(source));
        let folds = distinct(
            source.collected.rows.iter().filter(|row| row.fold != MEAN).map(|row| &row.fold),
        );
        let seeds = distinct(
            source.experiment.variants.iter().flat_map(|of| &of.seeds).map(u64::to_string),
        );
        let (folds, seeds) = (folds.len(), seeds.len());
        sentences.push(match (folds, seeds) {
            (1, 1) => "Everything rests on one fold and one seed: what another split or another seed would give is not \
                       known."
                .into(),
            (1, _) => {
                format!("One fold, {}: what another split would give is not known.", counted(seeds, "seed"))
            }
            (_, 1) => format!(
                "{}, one seed: how much systems that depend on the seed would vary is not known.",
                counted(folds, "fold")
            ),
            _ => format!("Means over {} and {}.", counted(folds, "fold"), counted(seeds, "seed")),
        });
        sentences.extend(published.iter().map(|of| format!("{}.", of.verdict)));
        let missing = source.collected.missing.len();
        if missing > 0 {
            sentences.push(format!(
                "{} without a result {} in no number.",
                counted(missing, "trial"),
                if missing == 1 { "is" } else { "are" }
            ));
        }
        Self { about: format!("{}, {}", main.metric(), main.setting()), sentences }
    }
}

/// The best system, by how much, and what cannot be told from it.
fn best(source: &Source, of: &Comparisons, rows: &[&ResultRow], sentences: &mut Vec<String>) {
    let reference = &of.references[0];
    let row = rows.iter().find(|row| row.system == reference.system);
    let Some(row) = row else { return };
    let ends = interval(row.low.zip(row.high));
    sentences.push(format!(
        "Best by {}: {} with {}{}, over {}.",
        of.metric,
        row.system,
        number(row.value),
        ends.map(|ends| format!(" ({} interval {ends})", of.level)).unwrap_or_default(),
        users_text(row.n_users, row.n_pairs)
    ));
    let excluded = |system: &str| {
        rows.iter().any(|row| row.system == system && (row.knows_test || row.lacks_responses))
    };
    let others: Vec<_> = reference.rows.iter().filter(|of| !excluded(&of.system)).collect();
    let info = metric(&source.main.key.metric);
    let left = rows.iter().filter(|of| others.iter().any(|other| other.system == of.system));
    let left: Vec<&&ResultRow> = left.collect();
    let second = info.and_then(|info| info.best(left.iter().filter_map(|of| of.value)));
    let second = left.iter().find(|of| second.is_some() && of.value == second);
    let compared = second.and_then(|second| others.iter().find(|of| of.system == second.system));
    if let Some((second, of)) = second.zip(compared) {
        let paired = &of.paired;
        // The best less the second.
        let ends = paired.interval.map(|(low, high)| (-high, -low));
        let about = match (of.verdict, of.corrected) {
            (Verdict::NotTested, _) | (_, None) => "not tested".to_owned(),
            (Verdict::NotDistinguishable, Some(p)) => {
                format!("not distinguishable, p {} after Holm", with_sign(&p_text(p)))
            }
            (_, Some(p)) => format!("p {} after Holm", with_sign(&p_text(p))),
        };
        sentences.push(format!(
            "Next is {} with {}. Over the {} that both have a value for, the difference between the two is {}{}: {about}.",
            second.system,
            number(second.value),
            users_text(paired.n, paired.pairs),
            signed(-paired.difference()),
            signed_interval(ends).map(|ends| format!(" {ends}")).unwrap_or_default(),
        ));
    }
    let of_verdict = |verdict: Verdict| -> Vec<String> {
        let of = others.iter().filter(|other| other.verdict == verdict);
        of.map(|other| other.system.clone()).collect()
    };
    let equal = of_verdict(Verdict::NotDistinguishable);
    if !equal.is_empty() {
        sentences.push(format!(
            "Not distinguishable from {} over these users: {}.",
            row.system,
            listed(&equal)
        ));
    }
    let worse = of_verdict(Verdict::Worse);
    if !worse.is_empty() && worse.len() == others.len() {
        sentences.push(format!(
            "It is better than {} after correction.",
            match worse.len() {
                1 => "the other system".to_owned(),
                n => format!("each of the {n} other systems"),
            }
        ));
    } else if !worse.is_empty() {
        sentences.push(format!("Worse after correction: {}.", listed(&worse)));
    }
    // Differences are over the users that both have; means of all may order systems otherwise.
    let better = of_verdict(Verdict::Better);
    if !better.is_empty() {
        sentences.push(format!(
            "Over the users that both have a value for, better than {}: {}.",
            row.system,
            listed(&better)
        ));
    }
    sentences.push(format!(
        "{}{}",
        reference.tested,
        reference.notes.iter().map(|note| format!(" {note}")).collect::<String>()
    ));
    sentences.extend(few_users_of(&[(*row).clone()]).map(|text| format!("Warning: {text}.")));
    if !of.left_out.is_empty() {
        sentences.push(format!(
            "Not compared, as their data, split or rules differ: {}.",
            listed(&of.left_out)
        ));
    }
}

/// `= 0.0123`, `< .0001`
fn with_sign(p: &str) -> String {
    if p.starts_with('<') { p.to_owned() } else { format!("= {p}") }
}

/// One system, or none with values by user.
fn alone(source: &Source, rows: &[&ResultRow], sentences: &mut Vec<String>) {
    for row in rows.iter().take(SHOWN) {
        let ends = interval(row.low.zip(row.high)).map(|ends| format!(" {ends}"));
        sentences.push(format!(
            "{}: {} {}{}, over {}.",
            row.system,
            source.main.metric(),
            number(row.value),
            ends.unwrap_or_default(),
            users_text(row.n_users, row.n_pairs)
        ));
    }
    sentences.push("No two systems can be compared over the same users.".into());
}

/// Which systems are best by the other metrics of the setting.
fn other_metrics(source: &Source) -> Option<String> {
    let main = &source.main;
    let is_shown = |row: &&ResultRow| {
        row.fold == MEAN
            && (&row.protocol, &row.convention, row.k, &row.slice)
                == (&main.key.protocol, &main.key.convention, main.key.k, &main.slice)
            && !row.knows_test
            && !row.lacks_responses
    };
    let chosen: Vec<&ResultRow> = source.collected.rows.iter().filter(is_shown).collect();
    let rows = || chosen.iter();
    let metrics = distinct(rows().map(|row| row.metric.as_str()));
    let best = |name: &String| -> Option<String> {
        let info = metric(name)?;
        let value =
            info.best(rows().filter(|row| row.metric == *name).filter_map(|row| row.value))?;
        let row = rows().find(|row| row.metric == *name && row.value == Some(value))?;
        Some(format!("{}: {} ({value:.4})", metric_at(name, main.key.k), row.system))
    };
    let others = metrics.iter().filter(|name| **name != main.key.metric);
    let found: Vec<String> = others.filter_map(best).collect();
    let systems = distinct(rows().map(|row| row.system.as_str()));
    (!found.is_empty() && systems.len() > 1)
        .then(|| format!("Highest by other metrics, not tested: {}.", found.join("; ")))
}

fn listed(names: &[String]) -> String {
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

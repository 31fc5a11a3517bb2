//! `id-popularity`

use crate::{
    audit::{Check, Family, Finding, Outcome, Runs, Severity, Subject, runs::Run, words::share},
    ranking::{TELLING_SHARE, Ties},
};

pub const CHECK: Check = Check {
    id: "id-popularity",
    family: Family::Leakage,
    severity: Severity::Note,
    title: "Ties go by item ids that tell how popular an item is",
    why: "The ids of many data sets were given in the order of popularity or time. A system with many equal scores \
          then gets a popularity ranking, or the opposite, from the tie rule.",
    source: "docs/EVALUATION.md, section Ties",
    fix: "Order ties at random (`evaluate: {ties: random}`), or break them in the model.",
    run,
};

/// From this rank correlation on, ids tell popularity.
const TELLING: f64 = 0.2;
/// From this relative difference to random ties on, the tie rule matters.
const MATTERS: f64 = 0.01;
/// From this one on, a number depends on it.
pub const LARGE: f64 = 0.05;

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

/// The share of users at the cutoff with most ties.
pub fn tied_share(run: &Run) -> f64 {
    run.tied.iter().copied().max().unwrap_or(0) as f64 / run.users.len().max(1) as f64
}

/// The relative change of nDCG under random ties.
pub fn change(run: &Run) -> f64 {
    let (own, random) = (run.ndcg, run.ndcg_of_random_ties);
    if own.max(random) > 0.0 { (own - random) / own.max(random) } else { 0.0 }
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    let by_id = runs.folds.iter().any(|fold| fold.ties == Ties::LowerId);
    if !by_id {
        return Outcome::NotApplicable("ties do not go by ids".into());
    }
    for (system, of_system) in runs.by_system() {
        let tied = of_system.iter().filter(|run| runs.folds[run.fold].ties == Ties::LowerId);
        let tied: Vec<&&Run> = tied.filter(|run| tied_share(run) > TELLING_SHARE).collect();
        // The fold whose number gains most by it, or loses.
        let by_size = |a: &&&&Run, b: &&&&Run| change(a).abs().total_cmp(&change(b).abs());
        let Some(worst) = tied.iter().max_by(by_size) else {
            continue;
        };
        let fold = &runs.folds[worst.fold];
        let counts: Vec<f64> =
            fold.open.training.train.item_counts().into_iter().map(f64::from).collect();
        let ids: Vec<f64> = (0..counts.len()).map(|at| at as f64).collect();
        let Some(rho) = spearman(&ids, &counts).filter(|rho| rho.abs() >= TELLING) else {
            continue;
        };
        // Among items that are equally popular in training, ids cannot tell more: what is gained or lost counts.
        if -rho.signum() * change(worst) <= MATTERS {
            continue;
        }
        let message = format!(
            "{}: ties decide for {} of users which items are within a cutoff, and go to the lower id, which is the {} \
             popular item (Spearman {rho:.2}): nDCG@{} {:.4}, and {:.4} with ties in random order",
            worst.of_fold(runs),
            share(tied_share(worst)),
            if rho < 0.0 { "more" } else { "less" },
            fold.depth(),
            worst.ndcg,
            worst.ndcg_of_random_ties
        );
        let finding = Finding::new(system, message)
            .with("spearman", rho)
            .with("tied_share", tied_share(worst))
            .with("ndcg", worst.ndcg)
            .with("ndcg_of_random_ties", worst.ndcg_of_random_ties);
        let is_large = change(worst).abs() > LARGE;
        findings.push(if is_large { finding.as_severe_as(Severity::Warning) } else { finding });
    }
    Outcome::Checked(findings)
}

/// Spearman's rank correlation, ties with mean ranks; none where all values are equal.
pub fn spearman(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b) = (ranks(a), ranks(b));
    let mean = (a.len() as f64 + 1.0) / 2.0;
    let sum = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum()
    };
    let scale = (sum(&a, &a) * sum(&b, &b)).sqrt();
    (scale > 0.0).then(|| sum(&a, &b) / scale)
}

fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|a, b| values[*a].total_cmp(&values[*b]));
    let (mut ranks, mut first) = (vec![0.0; values.len()], 0);
    for group in order.chunk_by(|a, b| values[*a] == values[*b]) {
        let rank = first as f64 + (group.len() as f64 + 1.0) / 2.0;
        group.iter().for_each(|at| ranks[*at] = rank);
        first += group.len();
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values of `scipy.stats.spearmanr`.
    #[test]
    fn values_of_the_reference_library() {
        let rho = |a: &[f64], b: &[f64]| spearman(a, b).unwrap();
        assert!(
            (rho(&[0.0, 1.0, 2.0, 3.0], &[9.0, 7.0, 7.0, 1.0]) + 0.948_683_298_050_513_8).abs()
                < 1e-12
        );
        assert!((rho(&[1.0, 2.0, 3.0], &[1.0, 4.0, 9.0]) - 1.0).abs() < 1e-12);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), None);
    }
}

//! `known-items`

use crate::audit::{
    Check, Family, Finding, Outcome, Runs, Severity, Subject,
    words::{percent, share},
};

pub const CHECK: Check = Check {
    id: "known-items",
    family: Family::Evaluation,
    severity: Severity::Warning,
    title: "Lists with items that the user already has in the training part",
    why: "Such items take ranks and cannot be hits, so the lists score lower than what the system can do, and rows \
          with and without them are not comparable.",
    source: "docs/SCORING.md, section Irregularities",
    fix: "Exclude what a user has in training when the lists are made, for all systems (`seen: drop` removes it from \
          files).",
    run,
};

/// Below this share of lists it is a note.
const FEW: f64 = 0.01;

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    for (system, of_system) in runs.by_system() {
        let worst = of_system.iter().min_by(|a, b| a.avoiding_own().total_cmp(&b.avoiding_own()));
        let Some(worst) = worst.filter(|run| run.lists_with_seen > 0) else { continue };
        // What was left out is not on the lists any more.
        let of_lists = worst.lists_with_seen as f64 / worst.n_lists.max(1) as f64;
        let of_items = worst.seen_items as f64 / worst.n_items.max(1) as f64;
        let message = format!(
            "{}: {} of {} lists ({}) contain items of the user's training part; {} of all recommended items are",
            worst.of_fold(runs),
            worst.lists_with_seen,
            worst.n_lists,
            percent(worst.lists_with_seen, worst.n_lists),
            share(of_items)
        );
        let finding = Finding::new(system, message)
            .with("lists", worst.n_lists)
            .with("lists_with_known_items", worst.lists_with_seen)
            .with("items", worst.n_items)
            .with("known_items", worst.seen_items);
        findings.push(if of_lists < FEW { finding.as_severe_as(Severity::Note) } else { finding });
    }
    Outcome::Checked(findings)
}

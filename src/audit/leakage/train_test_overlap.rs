//! `train-test-overlap`

use crate::audit::{Check, Family, Finding, Outcome, Runs, Severity, Subject, words::percent};

pub const CHECK: Check = Check {
    id: "train-test-overlap",
    family: Family::Leakage,
    severity: Severity::Error,
    title: "Test interactions that are in the training part of their fold",
    why: "A system that remembers its training data is right about them, and one that leaves out what a user has \
          already had cannot find them.",
    source: "Kapoor and Narayanan 2023, Leakage and the Reproducibility Crisis in Machine-Learning-Based Science",
    fix: "Remove the pairs of a user and an item from one of the two parts, and run again.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    for fold in &runs.folds {
        let (overlap, n) = fold.test(|test| {
            let is_seen =
                |row: &crate::data::Interaction| fold.open.seen.contains(row.user, row.item);
            (test.iter().filter(is_seen).count(), test.len())
        });
        if overlap > 0 {
            let message = format!(
                "{overlap} of {n} test interactions of the fold {} ({}) are also in its training part",
                fold.name,
                percent(overlap, n)
            );
            findings
                .push(Finding::new(&fold.name, message).with("overlap", overlap).with("test", n));
        }
    }
    Outcome::Checked(findings)
}

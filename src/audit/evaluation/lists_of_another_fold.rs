//! `lists-of-another-fold`

use crate::audit::{Check, Family, Finding, Outcome, Runs, Severity, Subject, words::share};

pub const CHECK: Check = Check {
    id: "lists-of-another-fold",
    family: Family::Evaluation,
    severity: Severity::Error,
    title: "Lists that fit another fold better than the one they are scored on",
    why: "Lists that avoid the training items of another fold were made for that fold: its training part contains \
          most of what is tested here.",
    source: "docs/SCORING.md, section Irregularities",
    fix: "Score the lists on the fold they were made for, or make them again for this one.",
    run,
};

/// By how much another fold must fit better.
const TELLING: f64 = 0.25;

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    for run in runs.claims() {
        let best =
            run.avoiding.iter().max_by(|a, b| a.1.total_cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
        let Some((name, best)) = best.filter(|(_, best)| *best > run.avoiding_own() + TELLING)
        else {
            continue;
        };
        let all: Vec<String> =
            run.avoiding.iter().map(|(name, of)| format!("{name} {}", share(*of))).collect();
        let message = format!(
            "{}: {} of its lists contain nothing of that fold's training part, and {} nothing of the training part of \
             {name}: the lists look like that fold's (other folds: {})",
            run.of_fold(runs),
            share(run.avoiding_own()),
            share(*best),
            all.join(", ")
        );
        let finding = Finding::new(&run.system, message).with("fold", &*runs.folds[run.fold].name);
        let finding = finding.with("avoiding_own_training", run.avoiding_own());
        findings.push(finding.with("best_fold", &**name).with("avoiding_its_training", *best));
    }
    Outcome::Checked(findings)
}

//! `ties-decide`

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Runs, Severity, Subject,
        leakage::id_popularity::{LARGE, change, tied_share},
        words::share,
    },
    ranking::TELLING_SHARE,
};

pub const CHECK: Check = Check {
    id: "ties-decide",
    family: Family::Evaluation,
    severity: Severity::Note,
    title: "Lists whose items within the cutoff are decided by ties",
    why: "Where scores are equal, the order is the evaluator's choice and not the system's: another tool gives \
          another number for the same scores.",
    source: "McSherry and Najork 2008, Computing Information Retrieval Performance Measures Efficiently in the \
             Presence of Tied Scores",
    fix: "Report the value with ties in random order, too (`ties: random`).",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    for (system, of_system) in runs.by_system() {
        let tied = of_system.iter().filter(|run| tied_share(run) > TELLING_SHARE);
        let Some(worst) = tied.max_by(|a, b| change(a).abs().total_cmp(&change(b).abs())) else {
            continue;
        };
        let fold = &runs.folds[worst.fold];
        let message = format!(
            "{}: ties decide for {} of {} users which items are within a cutoff; nDCG@{} is {:.4}, and {:.4} with ties \
             in random order",
            worst.of_fold(runs),
            share(tied_share(worst)),
            worst.users.len(),
            fold.depth(),
            worst.ndcg,
            worst.ndcg_of_random_ties
        );
        let finding = Finding::new(system, message)
            .with("users", worst.users.len())
            .with("tied_share", tied_share(worst))
            .with("ndcg", worst.ndcg)
            .with("ndcg_of_random_ties", worst.ndcg_of_random_ties);
        let is_large = change(worst).abs() > LARGE;
        findings.push(if is_large { finding.as_severe_as(Severity::Warning) } else { finding });
    }
    Outcome::Checked(findings)
}

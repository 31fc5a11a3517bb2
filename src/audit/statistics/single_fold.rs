//! `single-fold`

use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject};

pub const CHECK: Check = Check {
    id: "single-fold",
    family: Family::Statistics,
    severity: Severity::Warning,
    title: "Results of one fold of a scheme that has several",
    why: "Which users and ratings are in the test part is chance. One fold shows nothing of how much the result \
          depends on it, and a choice of fold can be a choice of result.",
    source: "Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks (variance of data splits)",
    fix: "Run all folds: remove `only:` from `split:`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let of = subject.done.iter().filter(|trial| trial.variant == at);
        let folds = crate::base::text::distinct(of.map(|trial| trial.fold.as_str()));
        let all = variant.all_folds.len();
        if folds.len() == 1 && all > 1 {
            let of = if variant.label.is_empty() {
                String::new()
            } else {
                format!(" of {}", variant.label)
            };
            let message = format!("the results{of} are those of the fold {} of {all}", folds[0]);
            let finding = Finding::new(variant.label.clone(), message);
            findings.push(finding.with("folds", 1).with("all_folds", all));
        }
    }
    if subject.experiment.variants.iter().all(|variant| variant.all_folds.len() < 2) {
        return Ok(Outcome::NotApplicable("the split has one fold".into()));
    }
    Ok(Outcome::Checked(findings))
}

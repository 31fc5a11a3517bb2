//! `too-few-folds`

use super::ALPHA;
use crate::{
    analysis::least_sign_flip_p,
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    base::text::distinct,
};

pub const CHECK: Check = Check {
    id: "too-few-folds",
    family: Family::Statistics,
    severity: Severity::Note,
    title: "So few folds that a test over folds cannot be significant",
    why: "With five folds the sign-flip and the signed-rank test cannot give less than p = .0625, whatever the difference. \
          Folds share training ratings, so a t test over them is too sure.",
    source: "Nadeau and Bengio 2003, Inference for the Generalization Error; Demšar 2006, Statistical Comparisons of \
             Classifiers over Multiple Data Sets",
    fix: "Test over users (`assay compare`), or over repeated splits.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    if subject.experiment.audit.proposed.is_empty() {
        return Ok(Outcome::NotApplicable("no system is `audit: proposed`".into()));
    }
    let mut findings = Vec::new();
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let of = subject.done.iter().filter(|trial| trial.variant == at);
        let folds = distinct(of.map(|trial| trial.fold.as_str())).len();
        let least = least_sign_flip_p(folds);
        if folds > 1 && least >= ALPHA {
            let message =
                format!("a sign-flip test of {folds} folds cannot give less than p = {least}");
            let finding = Finding::new(variant.label.clone(), message);
            findings.push(finding.with("folds", folds).with("least_p", least));
        }
    }
    Ok(Outcome::Checked(findings))
}

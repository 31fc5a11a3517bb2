//! `missing-results`

use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject};

pub const CHECK: Check = Check {
    id: "missing-results",
    family: Family::Integrity,
    severity: Severity::Error,
    title: "Trials of the experiment without a current result",
    why: "A mean over the trials that happened to finish is not the mean that the experiment announces, and systems \
          that fail are often the ones that do badly.",
    source: "docs/EVALUATION.md, section Means: all folds have the same weight",
    fix: "Run `assay run` again, or remove what cannot run from the experiment file.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let (missing, all) = (&subject.collected.missing, subject.experiment.trials.len());
    let finding = Finding::new(
        "",
        format!("{} of {all} trials have no current result: {}", missing.len(), first(missing)),
    );
    let finding = finding.with("missing", missing.len()).with("trials", all);
    Ok(Outcome::Checked(if missing.is_empty() { Vec::new() } else { vec![finding] }))
}

/// The first of some names.
fn first(names: &[String]) -> String {
    const SHOWN: usize = 3;
    let shown = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown}; and {more} more"),
    }
}

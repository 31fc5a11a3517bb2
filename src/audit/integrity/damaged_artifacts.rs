//! `damaged-artifacts`

use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject, words::some_of},
    core::{Currencies, Currency, StepId, Steps},
};

pub const CHECK: Check = Check {
    id: "damaged-artifacts",
    family: Family::Integrity,
    severity: Severity::Error,
    title: "Stored files that differ from the checksums in their records",
    why: "What the results were made from is not what is stored, so nobody can check them.",
    source: "ARCHITECTURE.md, section From experiment to report",
    fix: "Run `assay run` again, which makes damaged steps anew.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let steps: Vec<StepId> = subject.steps_done().into_iter().map(StepId::new).collect();
    let currencies = Currencies::new(subject.experiment, subject.workspace);
    currencies.look_at(&steps);
    let (mut damaged, mut outdated, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    for step in &steps {
        let name = subject.experiment.name(*step);
        match currencies.of(*step) {
            Currency::Current => {}
            Currency::Damaged(problem) => damaged.push(format!("{name} ({problem})")),
            Currency::Outdated(why) => outdated.push(format!("{name} ({why})")),
            Currency::Absent => absent.push(name),
        }
    }
    let n = steps.len();
    let mut findings = Vec::new();
    if !damaged.is_empty() {
        let message = format!("{} of {n} steps are damaged: {}", damaged.len(), some_of(&damaged));
        findings.push(Finding::new("", message).with("steps", n).with("damaged", damaged.len()));
    }
    if !outdated.is_empty() {
        let message =
            format!("{} of {n} steps are outdated: {}", outdated.len(), some_of(&outdated));
        findings.push(Finding::new("", message).with("steps", n).with("outdated", outdated.len()));
    }
    if !absent.is_empty() {
        let message = format!(
            "{} of {n} steps are not in the workspace any more, so they cannot be checked: {}",
            absent.len(),
            some_of(&absent)
        );
        let finding = Finding::new("", message).with("steps", n).with("absent", absent.len());
        findings.push(finding.as_severe_as(Severity::Note));
    }
    Ok(Outcome::Checked(findings))
}

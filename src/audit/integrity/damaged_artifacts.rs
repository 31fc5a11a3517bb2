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
    fix: "Run `assay run` again, which rebuilds damaged steps.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let steps = subject.steps_done();
    // Results were read after the steps that they depend on were checked.
    let known = &subject.collected.states;
    let state = |step: usize| known.get(step).cloned().flatten();
    let currencies = Currencies::new(subject.experiment, subject.workspace);
    let unknown = steps.iter().filter(|step| state(**step).is_none());
    currencies.verify(&unknown.map(|step| StepId::new(*step)).collect::<Vec<_>>());
    let (mut damaged, mut outdated, mut absent) = (Vec::new(), Vec::new(), Vec::new());
    let mut omitted = 0;
    for step in &steps {
        let name = subject.experiment.name(StepId::new(*step));
        match state(*step).unwrap_or_else(|| currencies.of(StepId::new(*step))) {
            Currency::Current => {}
            Currency::Damaged(problem) => damaged.push(format!("{name} ({problem})")),
            Currency::Outdated(why) => outdated.push(format!("{name} ({why})")),
            Currency::Absent => {
                let of = &subject.experiment.steps[*step];
                omitted += usize::from(subject.workspace.is_omitted(&of.kind, &of.key));
                absent.push(name);
            }
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
            "{} of {n} steps are {}, so they cannot be checked: {}",
            absent.len(),
            match omitted == absent.len() {
                true => "in the bundle with their records alone",
                false => "not in the workspace any more",
            },
            some_of(&absent)
        );
        let finding = Finding::new("", message).with("steps", n).with("absent", absent.len());
        findings.push(finding.as_severe_as(Severity::Note));
    }
    Ok(Outcome::Checked(findings))
}

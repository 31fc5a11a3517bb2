//! `dirty-tree`

use std::collections::BTreeSet;

use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject};

pub const CHECK: Check = Check {
    id: "dirty-tree",
    family: Family::Integrity,
    severity: Severity::Note,
    title: "Results from a directory with uncommitted changes, or from several revisions or builds",
    why: "The revision that a paper names does not contain what was run.",
    source: "Pineau et al. 2021, Improving Reproducibility in Machine Learning Research",
    fix: "Commit the changes, and run again with `assay run --force`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut revisions = BTreeSet::new();
    let mut programs = BTreeSet::new();
    let (mut dirty, mut steps) = (0, BTreeSet::new());
    for trial in &subject.done {
        let of = [Some(trial.split), trial.fit, Some(trial.predictions), Some(trial.evaluate)];
        steps.extend(of.into_iter().flatten());
    }
    for step in &steps {
        let machine = subject.record(*step)?.machine;
        dirty += usize::from(machine.dirty == Some(true));
        revisions.extend(machine.revision);
        programs.insert(machine.program);
    }
    let n = steps.len();
    let mut findings = Vec::new();
    if dirty > 0 {
        let message = format!(
            "{dirty} of {n} steps ran while files beside the experiment differed from their revision"
        );
        findings.push(Finding::new("", message).with("steps", n).with("dirty", dirty));
    }
    if revisions.len() > 1 {
        let message =
            format!("the {n} steps ran at {} revisions of its repository", revisions.len());
        findings.push(Finding::new("", message).with("revisions", revisions.len()));
    }
    if programs.len() > 1 {
        let message = format!("the {n} steps were run by {} builds of assay", programs.len());
        findings.push(Finding::new("", message).with("builds", programs.len()));
    }
    Ok(Outcome::Checked(findings))
}

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
    let (mut dirty, mut without) = (0, 0);
    let (mut n, mut gone) = (0, 0);
    for step in subject.steps_done() {
        let Ok(record) = subject.record(step) else {
            // Steps that were removed after the evaluation say nothing.
            gone += 1;
            continue;
        };
        n += 1;
        dirty += usize::from(record.machine.dirty == Some(true));
        without += usize::from(record.machine.revision.is_none());
        revisions.extend(record.machine.revision);
        programs.insert(record.machine.program);
    }
    if n == 0 {
        return Ok(Outcome::NotChecked(format!("the records of {gone} steps cannot be read")));
    }
    let mut findings = Vec::new();
    let mut add = |found: bool, message: String, name: &'static str, value: usize| {
        if found {
            findings.push(Finding::new("", message).with("steps", n).with(name, value));
        }
    };
    add(
        dirty > 0,
        format!(
            "{dirty} of {n} steps ran while files of the experiment's repository differed from its revision"
        ),
        "dirty",
        dirty,
    );
    // Outside a repository no revision is named, so none can be wrong: said only where others have one.
    add(
        without > 0 && without < n,
        format!("{without} of {n} steps ran outside a repository"),
        "without_revision",
        without,
    );
    add(
        revisions.len() > 1,
        format!(
            "the {n} steps ran at {} revisions of the experiment's repository",
            revisions.len()
        ),
        "revisions",
        revisions.len(),
    );
    add(
        programs.len() > 1,
        format!("the {n} steps were run by {} builds of assay", programs.len()),
        "builds",
        programs.len(),
    );
    Ok(Outcome::Checked(findings))
}

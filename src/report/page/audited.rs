//! What `assay audit` finds.

use std::time::UNIX_EPOCH;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Source;
use crate::{
    audit::{self, CHECKS, Checked, Outcome, Severity, Subject, Tally},
    base::{
        files::{read_json, write_json},
        hash::Digest,
        programs::BUILD,
        text::{counted, distinct},
    },
};

#[derive(Clone, Serialize, Deserialize)]
pub struct Audited {
    /// Why there was no audit.
    pub problem: Option<String>,
    /// The counts, in a sentence.
    pub tally: String,
    pub findings: Vec<Found>,
    pub accepted: Vec<Found>,
    /// Checks that could not be made: id, and why.
    pub not_checked: Vec<(String, String)>,
    /// Ids of checks without a finding, and of those that do not apply.
    pub passed: Vec<String>,
    pub not_applicable: Vec<String>,
}

/// The findings of a check.
#[derive(Clone, Serialize, Deserialize)]
pub struct Found {
    pub severity: String,
    pub check: String,
    pub family: String,
    pub title: String,
    pub messages: Vec<String>,
    /// Why it is accepted.
    pub reason: Option<String>,
    pub why: String,
    pub source: String,
    pub fix: String,
}

/// An audit with what it was made of.
#[derive(Serialize, Deserialize)]
struct Kept {
    of: Digest,
    audited: Audited,
}

impl Audited {
    /// Reads lists and folds again, which takes time: it is kept with the digest of all that it depends on.
    pub fn new(source: &Source) -> Self {
        let experiment = source.experiment;
        let of = digest(source);
        let path = source.workspace.path(&["experiments", experiment.slot(), "audit.json"]);
        if let Ok(kept) = read_json::<Kept>(&path)
            && kept.of == of
        {
            return kept.audited;
        }
        let systems = distinct(experiment.trials.iter().map(|trial| trial.name.as_str()));
        let problems = audit::problems(&experiment.audit, &systems);
        if !problems.is_empty() {
            return Self::impossible(problems.join("; "));
        }
        let subject = Subject::new(experiment, source.workspace, source.collected);
        let audited = Self::of(&audit::audit(&subject, CHECKS));
        // Where the workspace cannot be written the next report makes it again.
        if !source.workspace.is_read_only() {
            let _ = write_json(&path, &Kept { of, audited: audited.clone() });
        }
        audited
    }

    fn impossible(problem: String) -> Self {
        Self {
            problem: Some(problem),
            tally: String::new(),
            findings: Vec::new(),
            accepted: Vec::new(),
            not_checked: Vec::new(),
            passed: Vec::new(),
            not_applicable: Vec::new(),
        }
    }

    fn of(checked: &[Checked]) -> Self {
        let tally = Tally::of(checked);
        let (mut findings, mut accepted) = (Vec::new(), Vec::new());
        let (mut not_checked, mut passed, mut not_applicable) =
            (Vec::new(), Vec::new(), Vec::new());
        for of in checked {
            let check = of.check;
            match &of.outcome {
                Outcome::NotChecked(why) => not_checked.push((check.id.to_owned(), why.clone())),
                Outcome::NotApplicable(_) => not_applicable.push(check.id.to_owned()),
                Outcome::Checked(found) if found.is_empty() => passed.push(check.id.to_owned()),
                Outcome::Checked(_) => {}
            }
            let found = |severity: Severity, messages: Vec<String>, reason: Option<String>| Found {
                severity: severity.name().to_owned(),
                check: check.id.to_owned(),
                family: check.family.name().to_owned(),
                title: check.title.to_owned(),
                messages,
                reason,
                why: check.why.to_owned(),
                source: check.source.to_owned(),
                fix: check.fix.to_owned(),
            };
            let open: Vec<_> = of.open().collect();
            let severity = |finding: &audit::Finding| finding.severity.unwrap_or(check.severity);
            if let Some(most) = open.iter().map(|finding| severity(finding)).max() {
                let messages = open.iter().map(|finding| finding.message.clone()).collect();
                findings.push((most, found(most, messages, None)));
            }
            for (finding, reason) in of.findings() {
                if let Some(reason) = reason {
                    let message = vec![finding.message.clone()];
                    accepted.push(found(severity(finding), message, Some(reason.to_owned())));
                }
            }
        }
        findings.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        Self {
            problem: None,
            tally: format!(
                "{}: {}, {}, {}; {} accepted. {} passed, {} not apply, {} not checked.",
                counted(tally.checks, "check"),
                counted(tally.errors, "error"),
                counted(tally.warnings, "warning"),
                counted(tally.notes, "note"),
                tally.accepted,
                tally.passed,
                counted(tally.not_applicable, "").trim_end_matches(['s', ' ']).to_owned()
                    + if tally.not_applicable == 1 { " does" } else { " do" },
                tally.not_checked,
            ),
            findings: findings.into_iter().map(|(_, found)| found).collect(),
            accepted,
            not_checked,
            passed,
            not_applicable,
        }
    }
}

/// Of all that an audit reads: the experiment, its steps as they are recorded, their files, what is missing or damaged,
/// and the program.
fn digest(source: &Source) -> Digest {
    let steps = source.records.par_iter().enumerate().map(|(step, record)| {
        let record = record.as_ref()?;
        let dir = source.experiment.dir(source.workspace, step);
        // A file that was changed has another time or another size.
        let files = record.files.iter().map(|file| {
            let found = dir.join(&file.name).metadata().ok()?;
            let changed = found.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
            Some((found.len(), changed.as_nanos().to_string()))
        });
        Some((record.seal, record.content(), files.collect::<Vec<_>>()))
    });
    let collected = source.collected;
    Digest::of_json(&(
        BUILD,
        source.experiment,
        steps.collect::<Vec<_>>(),
        &collected.missing,
        &collected.missing_controls,
        collected.states.iter().map(|state| format!("{state:?}")).collect::<Vec<_>>(),
    ))
}

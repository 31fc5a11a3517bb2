//! `duplicate-interactions`

use crate::{
    audit::{Check, Family, Finding, Outcome, Runs, Severity, Subject},
    base::text::distinct,
};

pub const CHECK: Check = Check {
    id: "duplicate-interactions",
    family: Family::Leakage,
    severity: Severity::Note,
    title: "Pairs of a user and an item that the data files contain more than once",
    why: "assay keeps one of each. A study that keeps all of them can have one in training and one in the test part, \
          so its numbers are not comparable.",
    source: "Kapoor and Narayanan 2023, Leakage and the Reproducibility Crisis in Machine-Learning-Based Science",
    fix: "Say in the paper which of the duplicates are kept (`duplicates:`).",
    run,
};

/// What notes on duplicates contain: of readers, and of files of a split.
const WORDS: [&str; 2] = ["duplicate interactions dropped", "rows repeat a user and item"];

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let notes = runs.folds.iter().flat_map(|fold| &fold.notes);
    let notes = distinct(notes.filter(|note| WORDS.iter().any(|words| note.contains(words))));
    Outcome::Checked(notes.into_iter().map(|note| Finding::new("", note)).collect())
}

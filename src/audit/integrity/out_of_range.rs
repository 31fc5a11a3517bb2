//! `out-of-range`

use std::collections::HashSet;

use crate::{
    analysis::{CellKey, MEAN, ResultRow},
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
};

pub const CHECK: Check = Check {
    id: "out-of-range",
    family: Family::Integrity,
    severity: Severity::Error,
    title: "Values that their metric cannot have",
    why: "All metrics of rankings lie between 0 and 1, but for novelty, which is not negative.",
    source: "docs/EVALUATION.md: the formulas of the metrics",
    fix: "Evaluate again (`assay run --force`).",
    run,
};

const SLACK: f64 = 1e-12;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let highest = |row: &ResultRow| if row.metric == "novelty" { f64::MAX } else { 1.0 + SLACK };
    let is_wrong = |row: &&ResultRow| {
        row.value.is_some_and(|value| !value.is_finite() || value < -SLACK || value > highest(row))
    };
    let (mut findings, mut seen) = (Vec::new(), HashSet::new());
    // Rows of folds and seeds come first: a mean of a wrong value is wrong, too, and is not said again.
    for row in subject.collected.rows.iter().filter(is_wrong) {
        let cell = (&row.system, CellKey::of(row));
        if !seen.insert(cell) && (row.fold == MEAN || row.seed == MEAN) {
            continue;
        }
        let value = row.value.unwrap_or(f64::NAN);
        let message = format!(
            "{}, fold {}, seed {}, {}, {}, slice {}: {}@{} is {value}",
            row.system,
            row.fold,
            row.seed,
            row.protocol,
            row.convention,
            row.slice,
            row.metric,
            row.k
        );
        let finding =
            Finding::new(&row.system, message).with("metric", &*row.metric).with("k", row.k);
        findings.push(finding.with("fold", &*row.fold).with("value", value));
    }
    Ok(Outcome::Checked(findings))
}

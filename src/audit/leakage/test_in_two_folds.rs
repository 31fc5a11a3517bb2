//! `test-in-two-folds`

use std::collections::HashMap;

use crate::audit::{Check, Family, Finding, Outcome, Runs, Severity, Subject, words::percent};

pub const CHECK: Check = Check {
    id: "test-in-two-folds",
    family: Family::Leakage,
    severity: Severity::Warning,
    title: "Test interactions that are in the test parts of two folds",
    why: "A mean over folds counts them twice, and folds that share test data vary less than independent ones: \
          standard deviations over folds are too small.",
    source: "Nadeau and Bengio 2003, Inference for the Generalization Error",
    fix: "Use a scheme whose test parts are disjoint, such as `kfold`, or report one of the folds.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut groups = runs.groups();
    for group in &mut groups {
        let of = group[0].group;
        let others = runs.others.iter().filter(|other| other.group == of);
        // Of some folds only the training part is known.
        group.extend(others.filter(|other| other.test(|test| !test.is_empty())));
    }
    groups.retain(|group| group.len() > 1);
    if groups.is_empty() {
        return Outcome::NotApplicable("there is one fold".into());
    }
    let mut findings = Vec::new();
    for folds in groups {
        let mut tested: HashMap<(u32, u32), Vec<usize>> = HashMap::new();
        for (at, fold) in folds.iter().enumerate() {
            fold.test(|test| {
                test.iter()
                    .for_each(|row| tested.entry((row.user.0, row.item.0)).or_default().push(at));
            });
        }
        let all = tested.len();
        let several: Vec<&Vec<usize>> = tested.values().filter(|folds| folds.len() > 1).collect();
        let Some(first) = several.iter().min() else { continue };
        let names: Vec<&str> = first.iter().map(|at| &*folds[*at].name).collect();
        let message = format!(
            "{} of {all} pairs of a user and an item ({}) are in the test parts of two folds or more, e.g. of {}",
            several.len(),
            percent(several.len(), all),
            names.join(" and ")
        );
        let finding = Finding::new("", message);
        findings.push(finding.with("repeated", several.len()).with("test", all));
    }
    Outcome::Checked(findings)
}

//! `single-seed`

use std::collections::{BTreeSet, HashSet};

use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject, columns::Arm};

pub const CHECK: Check = Check {
    id: "single-seed",
    family: Family::Statistics,
    severity: Severity::Warning,
    title: "Systems that depend on a seed, run with one seed",
    why: "Start values and samples are chance. With one seed nobody can tell a better system from a lucky draw. Over \
          several folds a part of it averages out.",
    source: "Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks",
    fix: "Give three or more `seeds:`.",
    run,
};

/// Over so many folds one seed is a note: each fold is fitted by itself.
const SEVERAL_FOLDS: usize = 3;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let arms: Vec<Arm> = subject.arms().into_iter().filter(needs_seeds).collect();
    let mut findings = Vec::new();
    let mut told: HashSet<(usize, &str)> = HashSet::new();
    for arm in &arms {
        let seeds: BTreeSet<u64> = arm.trials.iter().map(|trial| trial.seed).collect();
        let folds: BTreeSet<&str> = arm.trials.iter().map(|trial| &trial.fold[..]).collect();
        if seeds.len() > 1 {
            continue;
        }
        let (name, variant) = (arm.name, arm.trials[0].variant);
        told.insert((variant, &arm.record.name));
        // What reranks a system is run with its seeds.
        let base = arm.record.reranks.as_ref().map(|(of, _)| &of[..]);
        if base.is_some_and(|base| told.contains(&(variant, base))) {
            continue;
        }
        let of_folds = match folds.len() {
            1 => "one fold".to_owned(),
            n => format!("{n} folds"),
        };
        let message = format!(
            "`{name}` depends on the seed, and was run with seed {} alone, on {of_folds}",
            arm.trials[0].seed
        );
        let finding = Finding::new(name, message).with("seeds", 1).with("folds", folds.len());
        findings.push(match folds.len() >= SEVERAL_FOLDS {
            true => finding.as_severe_as(Severity::Note),
            false => finding,
        });
    }
    Ok(match arms.len() {
        0 => Outcome::NotApplicable("no system depends on a seed, but for random ones".into()),
        _ => Outcome::Checked(findings),
    })
}

/// Whether chance decides how good a system is. The mean of a random order over the users is what it is with any seed:
/// `random` and the judge `shuffle` are controls, and an oracle is compared with nothing.
fn needs_seeds(arm: &Arm) -> bool {
    let is_random = arm.record.model == "random" || arm.record.settings["judge"] == "shuffle";
    arm.record.is_seeded && !is_random && !arm.record.knows_test
}

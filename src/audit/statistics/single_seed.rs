//! `single-seed`

use std::collections::BTreeSet;

use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject};

pub const CHECK: Check = Check {
    id: "single-seed",
    family: Family::Statistics,
    severity: Severity::Warning,
    title: "Systems that depend on a seed, run with one seed",
    why: "Start values and samples are chance. With one seed nobody can tell a better system from a lucky draw.",
    source: "Bouthillier et al. 2021, Accounting for Variance in Machine Learning Benchmarks",
    fix: "Give three or more `seeds:`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let seeded = subject.systems().into_iter().filter(|of| subject.system(of[0]).is_seeded);
    let mut findings = Vec::new();
    let mut n = 0;
    for trials in seeded {
        n += 1;
        let seeds: BTreeSet<u64> = trials.iter().map(|trial| trial.seed).collect();
        if seeds.len() == 1 {
            let name = &trials[0].name;
            let message = format!(
                "{name} depends on the seed, and was run with seed {} alone",
                trials[0].seed
            );
            findings.push(Finding::new(name.clone(), message).with("seeds", 1));
        }
    }
    Ok(match n {
        0 => Outcome::NotApplicable("no system depends on a seed".into()),
        _ => Outcome::Checked(findings),
    })
}

//! `identical-rankings`

use std::collections::BTreeMap;

use crate::{
    audit::{Check, Family, Finding, Outcome, Runs, Severity, Subject, runs::Run},
    base::hash::Digest,
};

pub const CHECK: Check = Check {
    id: "identical-rankings",
    family: Family::Integrity,
    severity: Severity::Warning,
    title: "Two systems with the same lists for all users",
    why: "Rows of a table that are one system under two names: a setting that has no effect, a file that was copied, \
          or a reranker that changes nothing.",
    source: "Hidasi and Czapp 2023, The Effect of Third Party Implementations on Reproducibility (implementations that leave \
             out features of the original)",
    fix: "Find out why the setting has no effect, or remove one of the rows.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

/// By fold and seed.
type Lists = BTreeMap<(usize, String), Digest>;

pub fn of_runs(runs: &Runs) -> Outcome {
    let lists = |of: Vec<&Run>| -> Lists {
        let with_lists = of.into_iter().filter(|run| run.n_lists > 0);
        with_lists.map(|run| ((run.fold, run.seed.clone()), run.digest)).collect()
    };
    let tables: Vec<(&str, Lists)> =
        runs.by_system().into_iter().map(|(name, of)| (name, lists(of))).collect();
    let are_same = |a: &Lists, b: &Lists| {
        let mut shared =
            a.iter().filter_map(|(key, of)| b.get(key).map(|other| of == other)).peekable();
        shared.peek().is_some() && shared.all(|same| same)
    };
    if tables.len() < 2 {
        return Outcome::NotApplicable("there is one system".into());
    }
    let mut findings = Vec::new();
    let mut grouped = vec![false; tables.len()];
    for at in 0..tables.len() {
        if grouped[at] {
            continue;
        }
        let same =
            (at + 1..tables.len()).filter(|other| are_same(&tables[at].1, &tables[*other].1));
        let same: Vec<usize> = same.filter(|other| !grouped[*other]).collect();
        if same.is_empty() {
            continue;
        }
        same.iter().for_each(|other| grouped[*other] = true);
        let names: Vec<&str> = same.iter().map(|other| tables[*other].0).collect();
        let n = tables[at]
            .1
            .keys()
            .filter(|key| same.iter().all(|other| tables[*other].1.contains_key(key)))
            .count();
        let message = format!(
            "{} has the same lists as {} ({n} {})",
            tables[at].0,
            names.join(", "),
            if n == 1 { "fold or seed" } else { "folds and seeds" }
        );
        let finding = Finding::new(tables[at].0, message);
        findings.push(finding.with("same_as", names).with("folds_and_seeds", n));
    }
    Outcome::Checked(findings)
}

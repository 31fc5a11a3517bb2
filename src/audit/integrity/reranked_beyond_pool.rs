//! `reranked-beyond-pool`

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        runs::{Run, UserList},
    },
    ranking::PredictSpec,
};

pub const CHECK: Check = Check {
    id: "reranked-beyond-pool",
    family: Family::Integrity,
    severity: Severity::Error,
    title: "Reranked lists with more relevant items than the pool they were made from",
    why: "A reranker orders the first items of its base. What is not among them, it cannot put on a list: the base's \
          recall at the size of the pool is an upper bound.",
    source: "docs/RERANKING.md",
    fix: "Find out where the additional items come from; run again with `assay run --force`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let reranked =
        |run: &&Run| run.trial.is_some_and(|at| subject.system(subject.done[at]).reranks.is_some());
    let runs = subject.runs()?;
    let (mut findings, mut n_checked, mut missing) = (Vec::new(), 0, Vec::new());
    let mut n_rerankers = 0;
    for run in runs.runs.iter().filter(reranked) {
        n_rerankers += 1;
        let Some(trial) = run.trial.map(|at| subject.done[at]) else { continue };
        let system = subject.system(trial);
        // The name of a base has the levels of its sweeps, not the label of its variant.
        let is_base = |other: &&Run| {
            other.trial.is_some_and(|at| {
                let of = subject.done[at];
                let same =
                    (of.variant, of.split, of.fit) == (trial.variant, trial.split, trial.fit);
                same && subject.system(of).reranks.is_none()
            })
        };
        let pool =
            system.settings.get("pool").and_then(|pool| pool.as_u64()).map(|pool| pool as usize);
        let base = runs.runs.iter().find(is_base);
        let (Some(pool), Some(base)) = (pool, base) else {
            missing.push(trial.label());
            continue;
        };
        let depth =
            base.trial.and_then(|at| subject.done[at].from_scores).map(|of: PredictSpec| of.depth);
        if depth.is_some_and(|depth| depth < pool) {
            missing.push(trial.label());
            continue;
        }
        n_checked += 1;
        // At the pool and below it, the first items of both lists are the same ones.
        let fold = &runs.folds[run.fold];
        let cutoffs: Vec<usize> = fold.k.iter().copied().chain([pool]).collect();
        let is_beyond = |(of, base): &(&UserList, &UserList)| {
            cutoffs.iter().any(|k| of.hits_at(*k) > base.hits_at(pool.max(*k)))
        };
        let pairs = || run.users.iter().zip(&base.users);
        let beyond = pairs().filter(is_beyond).count();
        if beyond == 0 {
            continue;
        }
        let recall = |users: &[UserList], k: usize| {
            let of = users.iter().map(|of| of.hits_at(k) as f64 / of.relevant as f64).sum::<f64>();
            of / users.len().max(1) as f64
        };
        let (of_run, of_base) = (recall(&run.users, pool), recall(&base.users, pool));
        let message = format!(
            "{}: {beyond} of {} users have more relevant items on the reranked list than the pool of {pool} items of \
             {} contains (recall@{pool} {of_run:.4}, of the pool {of_base:.4})",
            trial.label(),
            run.users.len(),
            base.system
        );
        let finding = Finding::new(&trial.name, message).with("users", run.users.len());
        let finding = finding.with("beyond", beyond).with("pool", pool);
        findings.push(finding.with("recall", of_run).with("recall_of_pool", of_base));
    }
    Ok(match (n_rerankers, n_checked) {
        (0, _) => Outcome::NotApplicable("no system reranks".into()),
        (_, 0) => Outcome::NotChecked(format!(
            "the lists of the base are not in the results, or shorter than the pool: {}",
            missing.join(", ")
        )),
        _ => Outcome::Checked(findings),
    })
}

//! `relevant-items-in-every-list`

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Runs, Severity, Subject,
        runs::{Origin, Run, TestedFold, UserList},
        words::share,
    },
    data::UserIx,
};

pub const CHECK: Check = Check {
    id: "relevant-items-in-every-list",
    family: Family::Evaluation,
    severity: Severity::Error,
    title: "Short lists that contain the relevant items of almost every user",
    why: "The tested items were put among the candidates. Finding them there is much easier than in the catalogue, \
          so the numbers cannot be compared with those of a ranking of the catalogue.",
    source: "Krichene and Rendle 2020, On Sampled Metrics for Item Recommendation",
    fix: "Rank the whole catalogue, or candidates that a retrieval system chose without knowing the test part. \
          Otherwise say that the relevant items are always among the candidates.",
    run,
};

/// Lists of more than this share of the candidates may well contain everything.
const SHORT: f64 = 0.1;
/// The share of users whose relevant items are all on their list.
const ALMOST_ALL: f64 = 0.9;
/// Popularity must have less than this share of it.
const BY_POPULARITY: f64 = 0.5;
const FEWEST: usize = 10;

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

/// Users with a list, and those of them whose relevant items are all on it.
fn complete(run: &Run) -> (usize, usize) {
    let with_list = || run.users.iter().filter(|of| of.has_list);
    (with_list().count(), with_list().filter(|of| of.hits.len() == of.relevant).count())
}

/// How many of these users have all their relevant items among as many of the most popular items as their list has.
fn by_popularity(run: &Run, fold: &TestedFold) -> usize {
    let counts = fold.open.seen.item_counts();
    let mut popular: Vec<u32> = (0..counts.len() as u32).collect();
    popular.sort_by_key(|item| (std::cmp::Reverse(counts[*item as usize]), *item));
    let has_all = |of: &&UserList| {
        let UserIx(user) = of.user;
        let (seen, liked) = (fold.open.seen.items_of(of.user), &fold.liked()[user as usize]);
        let unseen = popular.iter().filter(|item| seen.binary_search(item).is_err());
        let found = unseen.take(of.length).filter(|item| liked.binary_search(item).is_ok()).count();
        found == liked.len()
    };
    run.users.iter().filter(|of| of.has_list).filter(has_all).count()
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let of_files: Vec<&Run> = runs.claims().filter(|run| run.origin == Origin::File).collect();
    if of_files.is_empty() {
        return Outcome::NotApplicable("all lists rank the catalogue: assay made them".into());
    }
    let mut findings = Vec::new();
    for run in of_files {
        let (n, complete) = complete(run);
        let length = run.users.iter().map(|of| of.length).max().unwrap_or(0);
        let candidates = run.users.iter().map(|of| of.candidates).min().unwrap_or(0);
        let is_short = length as f64 <= SHORT * candidates as f64;
        if n < FEWEST || !is_short || (complete as f64) < ALMOST_ALL * n as f64 {
            continue;
        }
        let popular = by_popularity(run, &runs.folds[run.fold]);
        if popular as f64 > BY_POPULARITY * complete as f64 {
            continue;
        }
        let of = |part: usize| part as f64 / n as f64;
        let message = format!(
            "{}: the lists have at most {length} items of at least {candidates} that could be recommended, and contain \
             all relevant test items of {} of {n} users; lists of the most popular items contain those of {}",
            run.of_fold(runs),
            share(of(complete)),
            share(of(popular)),
        );
        let finding = Finding::new(&run.system, message).with("users", n).with("length", length);
        let finding = finding.with("candidates", candidates).with("complete", of(complete));
        findings.push(finding.with("complete_by_popularity", of(popular)));
    }
    Outcome::Checked(findings)
}

//! `future-training`

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Runs, Severity, Subject,
        runs::TestedFold,
        words::{percent, share},
    },
    data::{Interactions, Time, UserIx},
};

pub const CHECK: Check = Check {
    id: "future-training",
    family: Family::Leakage,
    severity: Severity::Note,
    title: "Training on interactions that are later than the tested ones",
    why: "A recommender in use does not know the future. Training on it favours some systems more than others, so \
          the order of systems may be another one in use.",
    source: "Ji, Sun, Zhang and Li 2023, A Critical Study on Data Leakage in Recommender System Offline Evaluation",
    fix: "Split by time (`scheme: temporal`), at least in addition. `leave-one-out` keeps a user's own future out of training, \
          not that of others.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

/// Counts of a fold.
#[derive(Default)]
struct Counts {
    /// Users with both parts, and those of them with a test interaction before their last one in training.
    users: usize,
    early_users: usize,
    /// Test interactions of these users, and those before the user's last one in training.
    test: usize,
    early: usize,
    /// Test interactions before anybody's last one in training.
    before_anybody: usize,
}

/// None without times.
fn counts(fold: &TestedFold) -> Option<Counts> {
    let train = &fold.open.seen;
    let all = |of: &Interactions| -> Vec<Time> {
        (0..of.n_users() as u32).flat_map(|user| of.timestamps_of(UserIx(user)).to_vec()).collect()
    };
    let times = all(train);
    let last = *times.iter().max()?;
    if times.iter().all(|time| *time == last) {
        return None;
    }
    let mut counts = Counts::default();
    fold.test(|test| {
        for user in (0..test.n_users() as u32).map(UserIx) {
            let tested = test.timestamps_of(user);
            let Some(of_user) = train.timestamps_of(user).iter().max() else { continue };
            if tested.is_empty() {
                continue;
            }
            let early = tested.iter().filter(|time| *time < of_user).count();
            counts.users += 1;
            counts.early_users += usize::from(early > 0);
            counts.test += tested.len();
            counts.early += early;
            counts.before_anybody += tested.iter().filter(|time| **time < last).count();
        }
    });
    Some(counts)
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    let mut has_times = false;
    for folds in runs.groups() {
        let mut all = Counts::default();
        for of_fold in folds.iter().filter_map(|fold| counts(fold)) {
            has_times = true;
            all.users += of_fold.users;
            all.early_users += of_fold.early_users;
            all.test += of_fold.test;
            all.early += of_fold.early;
            all.before_anybody += of_fold.before_anybody;
        }
        if all.early == 0 {
            continue;
        }
        let names: Vec<String> = folds.iter().map(|fold| fold.name.clone()).collect();
        let message = format!(
            "{} of {} pairs of a user and a fold ({}) have a test interaction that is earlier than one in training; so are {} \
             of all test interactions (folds {})",
            all.early_users,
            all.users,
            percent(all.early_users, all.users),
            share(all.early as f64 / all.test as f64),
            names.join(", ")
        );
        let finding = Finding::new("", message)
            .with("pairs", all.users)
            .with("pairs_with_early_test", all.early_users)
            .with("test", all.test)
            .with("early_test", all.early)
            .with("test_before_last_training_of_anybody", all.before_anybody);
        // A scheme by time says that there are none.
        let by_time = folds.iter().any(|fold| fold.by_time == Some(true));
        findings.push(if by_time { finding.as_severe_as(Severity::Error) } else { finding });
    }
    match has_times {
        true => Outcome::Checked(findings),
        false => Outcome::NotApplicable("the data have no times".into()),
    }
}

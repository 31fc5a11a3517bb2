//! `id-order-answers`

use std::collections::HashSet;

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Runs, Severity, Subject,
        runs::{TestedFold, ndcg},
    },
    data::{Time, UserIx},
};

pub const CHECK: Check = Check {
    id: "id-order-answers",
    family: Family::Leakage,
    severity: Severity::Note,
    title: "Item ids that tell what a user takes next",
    why: "Where items are numbered in the order in which they first occur in the users' sequences, the tested item is \
          often the last one's id + 1. Whatever reads ids as numbers or text (language models, ties by id) then \
          knows a part of the answers.",
    source: "Rajput 2023, pull request 3 of jeykigung/P5: the test item is often the largest id of the sequence + 1; \
             docs/NEXT-ITEM.md, the control `id-plus-one`",
    fix: "Give the items random ids before anything else, and give language models titles instead of ids.",
    run,
};

const K: usize = 10;
/// The rule is compared with itself from the last items of so many other users.
const SHIFTS: usize = 5;
/// Hits must be so many times what chance gives, and so many standard deviations above it.
const RATIO: f64 = 3.0;
const DEVIATIONS: f64 = 5.0;
/// The share of users whose test part must be later than their training part.
const BY_TIME: f64 = 0.99;

fn run(subject: &Subject) -> Result<Outcome, String> {
    Ok(of_runs(subject.runs()?))
}

/// Hits and nDCG of the rule, and what to compare them with.
struct Rule {
    users: usize,
    /// Whether the last item is the latest; otherwise it is the one with the highest id.
    timed: bool,
    /// Users with a hit among the first ten: of the next ids, of the next ids of other users' last items, of the most
    /// popular items, and of random ones.
    hits: usize,
    of_others: f64,
    popular: usize,
    random: f64,
    ndcg: f64,
    ndcg_of_popular: f64,
}

/// A user: their last item, and the items that must not be recommended.
struct Tested<'a> {
    last: u32,
    seen: &'a [u32],
    liked: &'a [u32],
}

/// None where nothing is the last item: the test part is not what comes last.
fn rule(fold: &TestedFold) -> Option<Rule> {
    let (train, n_items) = (&fold.open.seen, fold.open.training.items.len());
    let (mut users, mut later, mut timed, mut n_tested) = (Vec::new(), 0, false, 0);
    fold.test(|test| {
        for (at, liked) in fold.liked().iter().enumerate() {
            let user = UserIx(at as u32);
            let (seen, times) = (train.items_of(user), train.timestamps_of(user));
            let latest = seen.iter().zip(times).map(|(item, time)| (*time, *item)).max();
            let Some((time, last)) = latest.filter(|_| !liked.is_empty()) else { continue };
            timed |= time != Time::default();
            n_tested += test.items_of(user).len();
            later += usize::from(test.timestamps_of(user).iter().all(|of| *of >= time));
            users.push(Tested { last, seen, liked });
        }
    });
    let n = users.len();
    let is_last = match timed {
        true => later as f64 >= BY_TIME * n as f64,
        // Without times, one tested item a user may be the last one.
        false => n_tested == n,
    };
    if n == 0 || !is_last {
        return None;
    }
    let next = |last: u32, user: &Tested| -> Vec<u32> {
        let following = last + 1..n_items as u32;
        following.filter(|item| user.seen.binary_search(item).is_err()).take(K).collect()
    };
    let ranks = |list: &[u32], user: &Tested| -> Vec<u32> {
        let hits = (0u32..).zip(list).filter(|(_, item)| user.liked.binary_search(item).is_ok());
        hits.map(|(rank, _)| rank).collect()
    };
    let counts = train.item_counts();
    let mut popular: Vec<u32> = (0..n_items as u32).collect();
    popular.sort_by_key(|item| (std::cmp::Reverse(counts[*item as usize]), *item));
    let mut found = Rule {
        users: n,
        timed,
        hits: 0,
        of_others: 0.0,
        popular: 0,
        random: 0.0,
        ndcg: 0.0,
        ndcg_of_popular: 0.0,
    };
    let shifts: HashSet<usize> =
        (1..=SHIFTS).map(|at| at * n / (SHIFTS + 1)).filter(|by| *by > 0).collect();
    for (at, user) in users.iter().enumerate() {
        let own = ranks(&next(user.last, user), user);
        found.hits += usize::from(!own.is_empty());
        found.ndcg += ndcg(&own, user.liked.len(), K) / n as f64;
        for by in &shifts {
            let other = &users[(at + by) % n];
            let hit = !ranks(&next(other.last, user), user).is_empty();
            found.of_others += f64::from(u8::from(hit)) / shifts.len() as f64;
        }
        let unseen = popular.iter().copied().filter(|item| user.seen.binary_search(item).is_err());
        let best: Vec<u32> = unseen.take(K).collect();
        let best = ranks(&best, user);
        found.popular += usize::from(!best.is_empty());
        found.ndcg_of_popular += ndcg(&best, user.liked.len(), K) / n as f64;
        let (candidates, liked) = (n_items - user.seen.len(), user.liked.len());
        let missed = (0..K.min(candidates)).map(|drawn| {
            let rest = (candidates - drawn) as f64;
            (rest - liked as f64).max(0.0) / rest
        });
        found.random += 1.0 - missed.product::<f64>();
    }
    Some(found)
}

pub fn of_runs(runs: &Runs) -> Outcome {
    let mut findings = Vec::new();
    let mut n_checked = 0;
    for fold in &runs.folds {
        let Some(rule) = rule(fold) else { continue };
        n_checked += 1;
        let n = rule.users as f64;
        let chance = rule.of_others.max(rule.random);
        let deviations = (rule.hits as f64 - chance) / chance.max(1.0).sqrt();
        if (rule.hits as f64) < RATIO * chance || deviations < DEVIATIONS {
            continue;
        }
        let rate = |hits: f64| hits / n;
        let message = format!(
            "{}: recommending the ids that follow a user's {} item, without any training, has HR@{K} {:.4} and \
             nDCG@{K} {:.4} ({} users); popularity has {:.4} and {:.4}, the ids after another user's last item {:.4}, \
             random items {:.4}",
            fold.name,
            if rule.timed { "latest" } else { "highest-numbered" },
            rate(rule.hits as f64),
            rule.ndcg,
            rule.users,
            rate(rule.popular as f64),
            rule.ndcg_of_popular,
            rate(rule.of_others),
            rate(rule.random),
        );
        let finding = Finding::new(&fold.name, message)
            .with("users", rule.users)
            .with("hit_rate", rate(rule.hits as f64))
            .with("ndcg", rule.ndcg)
            .with("hit_rate_of_popularity", rate(rule.popular as f64))
            .with("ndcg_of_popularity", rule.ndcg_of_popular)
            .with("hit_rate_after_others", rate(rule.of_others))
            .with("hit_rate_of_random", rate(rule.random));
        let beats_popularity = rule.hits >= rule.popular;
        findings.push(if beats_popularity {
            finding.as_severe_as(Severity::Warning)
        } else {
            finding
        });
    }
    match n_checked {
        0 => Outcome::NotApplicable("the test parts are not what users take last".into()),
        _ => Outcome::Checked(findings),
    }
}

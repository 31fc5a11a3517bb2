//! Whether the way of evaluating decides the result.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
};

use serde_json::Value;

use super::{Draws, Row, audit, check, close, is_clean, number, only, sample};
use crate::support::Place;

const FOLDS: [&str; 5] = ["f1", "f2", "f3", "f4", "f5"];

/// The sample's folds as files: the training and test part of each.
fn folds(place: &Place) {
    let rows = sample();
    for fold in FOLDS {
        let text = |keep: &dyn Fn(&&Row) -> bool| -> String {
            let rows = rows.iter().filter(keep);
            let rows = rows.map(|row| format!("{},{},{}\n", row.user, row.item, row.rating));
            "user,item,rating\n".to_owned() + &rows.collect::<String>()
        };
        place.write(&format!("{fold}.train.csv"), text(&|row| row.fold != fold));
        place.write(&format!("{fold}.test.csv"), text(&|row| row.fold == fold));
    }
}

/// By user, the items that they have in the training part of a fold.
fn training(fold: &str) -> BTreeMap<usize, BTreeSet<usize>> {
    let mut of_users: BTreeMap<usize, BTreeSet<usize>> = BTreeMap::new();
    for row in sample().iter().filter(|row| row.fold != fold) {
        of_users.entry(row.user).or_default().insert(row.item);
    }
    of_users
}

/// Lists of ten items that are not in training, half of them from the fold's test part.
fn lists(fold: &str, seed: u64) -> BTreeMap<usize, Vec<usize>> {
    let (known, rows) = (training(fold), sample());
    let mut draws = Draws::new(seed);
    let mut lists: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (user, known) in &known {
        let tested = rows.iter().filter(|row| row.fold == fold && row.user == *user);
        let mut list: Vec<usize> = tested.map(|row| row.item).take(5).collect();
        while list.len() < 10 {
            let item = 1 + draws.below(400);
            if !known.contains(&item) && !list.contains(&item) {
                list.push(item);
            }
        }
        draws.shuffle(&mut list);
        lists.insert(*user, list);
    }
    lists
}

fn written(lists: &BTreeMap<usize, Vec<usize>>) -> String {
    let mut text = String::from("user,item,rank\n");
    for (user, list) in lists {
        for (at, item) in list.iter().enumerate() {
            writeln!(text, "{user},{item},{}", at + 1).unwrap();
        }
    }
    text
}

const OF_FILES: [&str; 5] = [
    "lists-of-another-fold",
    "known-items",
    "short-lists",
    "ties-decide",
    "relevant-items-in-every-list",
];

#[test]
fn lists_of_another_fold_are_found_and_the_fold_is_named() {
    let place = Place::new();
    folds(&place);
    let lists = lists("f2", 1);
    place.write("run.csv", written(&lists));
    let report = audit(
        &place,
        &[
            &["--lists", "run.csv", "--test", "f1.test.csv", "--relevant", ">= 4", "--train"][..],
            &["f1.train.csv", "f2.train.csv", "f3.train.csv", "f4.train.csv", "f5.train.csv"],
        ]
        .concat(),
    );
    // Counted again: lists, and items, that are in the training part of f1.
    let known = training("f1");
    let seen = |(user, list): (&usize, &Vec<usize>)| {
        list.iter().filter(|item| known.get(user).is_some_and(|of| of.contains(item))).count()
    };
    let counts: Vec<usize> = lists.iter().map(seen).collect();
    let with = counts.iter().filter(|n| **n > 0).count();
    let finding = only(&report, "known-items");
    assert_eq!(number(finding, "lists_with_known_items"), with as f64);
    assert_eq!(number(finding, "known_items"), counts.iter().sum::<usize>() as f64);
    assert_eq!(number(finding, "items"), lists.len() as f64 * 10.0);
    let finding = only(&report, "lists-of-another-fold");
    assert_eq!(finding["evidence"]["best_fold"], "f2.train");
    close(number(finding, "avoiding_its_training"), 1.0);
    close(number(finding, "avoiding_own_training"), 1.0 - with as f64 / lists.len() as f64);
    assert_eq!(
        (finding["severity"].as_str(), finding["subject"].as_str()),
        (Some("error"), Some("run"))
    );
    // `seen: drop` hides the items, not whose lists they are.
    let report = audit(
        &place,
        &[
            &[
                "--lists",
                "run.csv",
                "--test",
                "f1.test.csv",
                "--relevant",
                ">= 4",
                "--seen",
                "drop",
            ][..],
            &["--train", "f1.train.csv", "f2.train.csv"],
        ]
        .concat(),
    );
    assert_eq!(only(&report, "lists-of-another-fold")["evidence"]["best_fold"], "f2.train");
}

/// Four drawings of lists for each of five folds, scored on their own fold beside the training parts of the others.
#[test]
fn clean_lists_raise_nothing() {
    for fold in FOLDS {
        let place = Place::new();
        folds(&place);
        for seed in 1..=4 {
            place.write(&format!("{seed}.csv"), written(&lists(fold, seed)));
        }
        let (train, test) = (format!("{fold}.train.csv"), format!("{fold}.test.csv"));
        let mut args = vec!["--lists", "1.csv", "2.csv", "3.csv", "4.csv", "--relevant", ">= 4"];
        args.extend(["--test", &test, "--train", &train]);
        let others: Vec<String> =
            FOLDS.iter().filter(|of| **of != fold).map(|of| format!("{of}.train.csv")).collect();
        args.extend(others.iter().map(String::as_str));
        let report = audit(&place, &args);
        assert_eq!((&report["passed"], &report["tally"]["not_checked"]), (&true.into(), &0.into()));
        for id in
            OF_FILES.iter().chain(&["train-test-overlap", "identical-rankings", "id-popularity"])
        {
            is_clean(&report, id);
        }
    }
}

/// 60 users, 400 items, one tested item each. Lists of 20 items at random, with the tested one put among them.
#[test]
fn relevant_items_put_into_every_list_are_found() {
    let place = Place::new();
    let report = |seed: u64, inserted: usize| {
        let mut draws = Draws::new(seed);
        let (mut train, mut test) = (String::from("user,item\n"), String::from("user,item\n"));
        let mut lists = BTreeMap::new();
        (1..=400).for_each(|item| writeln!(train, "0,{item}").unwrap());
        for user in 1..=60usize {
            let mut items: Vec<usize> = (1..=400).collect();
            draws.shuffle(&mut items);
            items[..5].iter().for_each(|item| writeln!(train, "{user},{item}").unwrap());
            writeln!(test, "{user},{}", items[5]).unwrap();
            let first = if user <= inserted { 5 } else { 6 };
            let mut list = items[first..first + 20].to_vec();
            draws.shuffle(&mut list);
            lists.insert(user, list);
        }
        place.write("train.csv", train);
        place.write("test.csv", test);
        place.write("run.csv", written(&lists));
        audit(&place, &["--lists", "run.csv", "--train", "train.csv", "--test", "test.csv"])
    };
    let found = report(1, 57);
    let finding = only(&found, "relevant-items-in-every-list");
    assert_eq!((number(finding, "users"), number(finding, "length")), (60.0, 20.0));
    // 400 items less the five of training.
    assert_eq!(number(finding, "candidates"), 395.0);
    close(number(finding, "complete"), 57.0 / 60.0);
    assert!(number(finding, "complete_by_popularity") < 0.3, "{finding}");
    assert_eq!(finding["severity"], "error");
    for seed in 2..=11 {
        is_clean(&report(seed, 0), "relevant-items-in-every-list");
        is_clean(&report(seed, 20), "relevant-items-in-every-list");
    }
}

#[test]
fn short_and_missing_lists_are_counted() {
    let place = Place::new();
    folds(&place);
    let mut lists = lists("f1", 1);
    let tested: BTreeSet<usize> = sample()
        .iter()
        .filter(|row| row.fold == "f1" && row.rating >= 4.0)
        .map(|row| row.user)
        .collect();
    let users: Vec<usize> = tested.iter().copied().collect();
    // Seven lists of 3 to 9 items, and two without.
    for (at, user) in users[..7].iter().enumerate() {
        lists.get_mut(user).unwrap().truncate(3 + at);
    }
    users[7..9].iter().for_each(|user| drop(lists.remove(user)));
    place.write("run.csv", written(&lists));
    let report = audit(
        &place,
        &[
            "--lists",
            "run.csv",
            "--train",
            "f1.train.csv",
            "--test",
            "f1.test.csv",
            "--relevant",
            ">= 4",
        ],
    );
    let [short, without] = &super::findings(&report, "short-lists")[..] else { panic!("{report}") };
    assert_eq!(number(short, "users"), users.len() as f64);
    assert_eq!((number(short, "short_lists"), number(short, "shortest")), (7.0, 3.0));
    assert_eq!(number(short, "median"), 6.0);
    assert_eq!(number(without, "without_list"), 2.0);
}

fn experiment(split: &str, systems: &str, evaluate: &str) -> (Place, Value) {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: sample, relevant: \">= 4\"}}\nsplit: {{{split}}}\nsystems: {{{systems}}}\nevaluate: {{{evaluate}}}\n"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let report = audit(&place, &["e.yaml"]);
    (place, report)
}

#[test]
fn sampled_metrics_are_a_warning_alone_and_a_note_beside_the_full_ranking() {
    let systems = "popularity: {model: popularity}";
    let of = |protocols: &str| {
        let evaluate = format!("k: [10], protocols: [{protocols}], sampled: {{negatives: 77}}");
        experiment("scheme: official, only: [f1]", systems, &evaluate).1
    };
    let alone = of("sampled");
    let finding = only(&alone, "sampled-metrics");
    assert_eq!(
        (number(finding, "negatives"), finding["severity"].as_str()),
        (77.0, Some("warning"))
    );
    assert_eq!(only(&of("sampled, full"), "sampled-metrics")["severity"], "note");
    is_clean(&of("full, judged"), "sampled-metrics");
}

/// The latest tenth is tested: counted again from the file.
#[test]
fn users_without_history_are_counted() {
    let mut times: Vec<i64> = sample().iter().map(|row| row.time).collect();
    times.sort_unstable();
    let from = times[times.len() * 9 / 10];
    let split = format!("scheme: temporal, from: {from}");
    let rows = sample();
    let earlier: BTreeSet<usize> =
        rows.iter().filter(|row| row.time < from).map(|row| row.user).collect();
    let later = rows.iter().filter(|row| row.time >= from && row.rating >= 4.0);
    let later: BTreeSet<usize> = later.map(|row| row.user).collect();
    let without = later.difference(&earlier).count();
    assert!(without > 0);
    let systems = "popularity: {model: popularity}";
    let (_, report) = experiment(&split, systems, "k: [10]");
    let finding = only(&report, "users-without-history");
    assert_eq!(
        (number(finding, "without_history"), number(finding, "pairs")),
        (without as f64, later.len() as f64)
    );
    assert_eq!(finding["severity"], if 20 * without > later.len() { "warning" } else { "note" });
    let (_, report) = experiment(&split, systems, "k: [10], slices: [all, history, no-history]");
    assert_eq!(only(&report, "users-without-history")["severity"], "note");
}

/// Lists of ten: `a` has a relevant item at rank 10 and nothing else that is tested; `b` has one at rank 5, behind a
/// tested item that is not relevant. So b is better in the catalogue (nDCG of rank 5 over that of rank 10), and a among
/// the judged items (rank 1 over rank 2), for every user.
#[test]
fn an_order_that_depends_on_the_setting_is_found() {
    let place = Place::new();
    folds(&place);
    let (rows, known) = (sample(), training("f1"));
    let (mut a, mut b) = (BTreeMap::new(), BTreeMap::new());
    let mut n = 0;
    for (user, known) in &known {
        let of = |liked: bool| {
            let mut of_user = rows.iter().filter(|row| row.fold == "f1" && row.user == *user);
            of_user.find(|row| (row.rating >= 4.0) == liked).map(|row| row.item)
        };
        let (Some(liked), Some(other)) = (of(true), of(false)) else { continue };
        let tested: BTreeSet<usize> =
            rows.iter().filter(|row| row.user == *user).map(|row| row.item).collect();
        let new: Vec<usize> = (1..=400)
            .filter(|item| !known.contains(item) && !tested.contains(item))
            .take(9)
            .collect();
        a.insert(*user, [&new[..], &[liked]].concat());
        b.insert(*user, [&new[..3], &[other, liked], &new[3..8]].concat());
        n += 1;
    }
    assert!(n > 100);
    place.write("a.csv", written(&a));
    place.write("b.csv", written(&b));
    let of = |evaluate: &str| {
        place.write(
            "e.yaml",
            format!(
                "experiment: e
data: {{set: sample, relevant: \">= 4\"}}
split: {{scheme: official, only: [f1]}}
systems:
  a: {{model: external, rankings: a.csv}}
  b: {{model: external, rankings: b.csv}}
evaluate: {{k: [10], {evaluate}}}
"
            ),
        );
        place.fine(&["run", "e.yaml", "--quiet"]);
        audit(&place, &["e.yaml"])
    };
    let report = of("protocols: [full, judged]");
    let finding = only(&report, "order-by-setting");
    assert_eq!((number(finding, "pairs"), number(finding, "swaps")), (1.0, 1.0));
    close(number(finding, "least_tau"), -1.0);
    let message = finding["message"].as_str().unwrap();
    assert!(message.contains("b over a under full · standard"), "{message}");
    is_clean(&of("protocols: [full], conventions: [standard, trec]"), "order-by-setting");
    assert_eq!(check(&of("protocols: [full]"), "order-by-setting")["outcome"], "not-applicable");
}

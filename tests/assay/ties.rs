//! Ties: which item comes first where scores are equal, and how often that decides a list.

use serde_json::Value;

use crate::support::Place;

fn value(json: &Value, system: &str, metric: &str) -> f64 {
    let rows = json["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["metric"] == metric && row["system"] == system).unwrap();
    row["value"].as_f64().unwrap()
}

/// A list of every item, in the order given, each with the same score for users 1 and 2.
fn constant(items: &[String]) -> String {
    let mut text = String::from("user,item,score\n");
    for user in 1..=2 {
        items.iter().for_each(|item| text += &format!("{user},{item},1.0\n"));
    }
    text
}

/// 1/log2(rank + 1): nDCG of one relevant item at this rank.
fn at_rank(rank: u32) -> f64 {
    1.0 / f64::from(rank + 1).log2()
}

#[test]
fn ties_go_by_the_items_own_ids_whether_they_are_judged_or_not() {
    let numbers = || (1..=100).map(|item| item.to_string());
    /// What user 1 and 2 like, the file's items, the rank of what they like in the order of the ids.
    type Case = (&'static str, [&'static str; 2], Vec<String>, [Option<u32>; 2]);
    let cases: [Case; 6] = [
        ("far down", ["50", "70"], numbers().collect(), [None, None]),
        ("rows backwards", ["50", "70"], numbers().rev().collect(), [None, None]),
        ("near the top", ["5", "10"], numbers().rev().collect(), [Some(5), Some(10)]),
        (
            "ids as floats",
            ["5", "10"],
            numbers().rev().map(|id| id + ".0").collect(),
            [Some(5), Some(10)],
        ),
        (
            "texts",
            ["b", "d"],
            ["e", "d", "c", "b", "a", "B"].map(String::from).to_vec(),
            [Some(3), Some(5)],
        ),
        // Numbers, as numbers, come before texts: 2, 9, 10, 007x, a.
        (
            "numbers and texts",
            ["10", "a"],
            ["a", "10", "007x", "9", "2"].map(String::from).to_vec(),
            [Some(3), Some(5)],
        ),
    ];
    for (what, liked, items, ranks) in cases {
        let place = Place::new();
        place.write("test.csv", format!("user,item\n1,{}\n2,{}\n", liked[0], liked[1]));
        place.write("test.qrels", format!("1 0 {} 1\n2 0 {} 1\n", liked[0], liked[1]));
        // Users who are tested are in training too, with an item that is on no list.
        let mut train = String::from("user,item\n1,0\n2,0\n");
        items.iter().for_each(|item| {
            train += &format!("3,{}\n", item.strip_suffix(".0").unwrap_or(item));
        });
        place.write("train.csv", train);
        place.write("run.csv", constant(&items));
        let expected = ranks.map(|rank| rank.map_or(0.0, at_rank)).iter().sum::<f64>() / 2.0;
        for split in [
            &["--test", "test.csv"][..],
            &["--qrels", "test.qrels"],
            &["--test", "test.csv", "--train", "train.csv"],
        ] {
            let args = [&["score", "--metric", "ndcg", "--json", "run.csv"], split].concat();
            let json: Value = serde_json::from_str(&place.fine(&args)).unwrap();
            let found = value(&json, "run", "ndcg");
            assert!((found - expected).abs() < 1e-12, "{what} {split:?}: {found}, not {expected}");
        }
    }
}

/// Twelve items with the same score for user 1, of which the first ten by id hold nothing user 1 likes; user 2
/// has an order without ties.
#[test]
fn lists_decided_by_ties_are_counted_and_shown_with_random_ties() {
    let place = Place::new();
    place.write("test.csv", "user,item\n1,11\n1,12\n2,1\n");
    let mut text = String::from("user,item,score\n");
    for item in 1..=12 {
        text += &format!("1,{item},1.0\n2,{item},{}\n", 20 - item);
    }
    place.write("run.csv", &text);
    let args = ["score", "--test", "test.csv", "--metric", "recall,ndcg", "-k", "10,12", "run.csv"];
    let json = |more: &[&str]| -> Value {
        serde_json::from_str(&place.fine(&[&args[..], &["--json"], more].concat())).unwrap()
    };
    let row = |json: &Value, metric: &str, k: u64| -> Value {
        let rows = json["rows"].as_array().unwrap();
        rows.iter().find(|row| row["metric"] == metric && row["k"] == k).unwrap().clone()
    };
    let plain = json(&[]);
    let recall = row(&plain, "recall", 10);
    assert_eq!((&recall["tied_users"], &recall["users"]), (&1.into(), &2.into()));
    assert_eq!(recall["value"], 0.5);
    // At 12 all items are within the cutoff: nothing is decided there.
    assert_eq!(row(&plain, "recall", 12)["tied_users"], 0);
    assert_eq!(row(&plain, "recall", 12)["random_ties"], Value::Null);
    // What stands beside is what `--ties random` gives, and another seed gives another order.
    let random = json(&["--ties", "random"]);
    for metric in ["recall", "ndcg"] {
        assert_eq!(row(&plain, metric, 10)["random_ties"], row(&random, metric, 10)["value"]);
        assert_eq!(row(&random, metric, 10)["random_ties"], Value::Null);
        assert_ne!(row(&plain, metric, 10)["fingerprint"], row(&random, metric, 10)["fingerprint"]);
    }
    // The expected recall of user 1 under random ties is 10/12: over 60 seeds within three errors.
    let of_seed = |seed: u64| -> f64 {
        let json = json(&["--ties", &format!("random@{seed}")]);
        2.0 * row(&json, "recall", 10)["value"].as_f64().unwrap() - 1.0
    };
    let draws: Vec<f64> = (0..60).map(of_seed).collect();
    let mean = draws.iter().sum::<f64>() / 60.0;
    assert!((mean - 10.0 / 12.0).abs() < 0.1, "{mean}");
    let ended = place.assay(&args);
    assert!(
        ended.err.contains(
            "ties decide what is within the cutoff for 1 of 2 users (50.0 %), protocol full, k = 10: recall \
             0.5000"
        ),
        "{}",
        ended.err
    );
    assert!(
        ended.out.contains("Share of users for whom ties decide which items are within the cutoff"),
        "{}",
        ended.out
    );
    let wrong = place.assay(&[&args[..], &["--ties", "higher-id"]].concat());
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("known are `lower-id`, `random`"), "{}", wrong.err);
}

#[test]
fn ranks_that_differ_leave_no_ties_and_equal_ones_do() {
    let count = |rows: &str| -> Value {
        let place = Place::new();
        place.write("test.csv", "user,item\n1,1\n");
        place.write("run.csv", format!("user,item,rank,score\n{rows}"));
        let args =
            ["score", "--test", "test.csv", "--metric", "recall", "-k", "1", "--json", "run.csv"];
        let json: Value = serde_json::from_str(&place.fine(&args)).unwrap();
        json["rows"][0].clone()
    };
    assert_eq!(count("1,2,1,5\n1,1,2,5\n")["tied_users"], 0);
    let tied = count("1,2,1,5\n1,1,1,5\n");
    assert_eq!((&tied["tied_users"], &tied["value"]), (&1.into(), &1.0.into()));
    assert_eq!(count("1,2,1,6\n1,1,1,5\n")["tied_users"], 0);
}

/// What is exported of lists made elsewhere is what was evaluated: their ties in the order of the rule.
#[test]
fn exported_lists_have_their_ties_in_the_order_of_the_rule() {
    let place = Place::new();
    let ratings =
        std::fs::read_to_string(crate::support::root().join("datasets/sample/ratings.csv"));
    let mut users: Vec<String> = ratings
        .unwrap()
        .lines()
        .skip(1)
        .map(|row| row.split(',').next().unwrap().to_owned())
        .collect();
    users.sort();
    users.dedup();
    let mut lists = String::from("user,item,score\n");
    for user in &users {
        (1..=30).for_each(|item| lists += &format!("{user},{item},1.0\n"));
    }
    place.write("tied.csv", lists);
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: sample, relevant: '>= 4'}\nsplit: {scheme: official, only: [f1]}\nsystems:\n  \
         tied: {model: external, rankings: tied.csv, seen: keep}\nevaluate: {k: [10], metrics: [ndcg], ties: random}\n",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let rows: Value = serde_json::from_str(&place.fine(&["results", "e.yaml", "--json"])).unwrap();
    let evaluated = rows[0]["value"].as_f64().unwrap();
    place.fine(&["export", "e.yaml", "--format", "recbole", "--out", "x"]);
    // The order of the lines, without scores that could be tied.
    let text = std::fs::read_to_string(place.path("x/tied--f1--seed1.tsv")).unwrap();
    let mut ranked = String::from("user,item,rank\n");
    let mut last = (String::new(), 0);
    for line in text.lines() {
        let mut fields = line.split('\t');
        let (user, item) = (fields.next().unwrap(), fields.next().unwrap());
        last = if last.0 == user { (last.0, last.1 + 1) } else { (user.to_owned(), 1) };
        ranked += &format!("{user},{item},{}\n", last.1);
    }
    place.write("ranked.csv", ranked);
    let args = [
        "score",
        "--data",
        "sample",
        "--fold",
        "f1",
        "--relevant",
        ">= 4",
        "--metric",
        "ndcg",
        "-k",
        "10",
    ];
    let json = place.fine(&[&args[..], &["--seen", "keep", "--json", "ranked.csv"]].concat());
    let json: Value = serde_json::from_str(&json).unwrap();
    let exported = value(&json, "ranked", "ndcg");
    assert!((exported - evaluated).abs() < 1e-12, "{exported}, not {evaluated}");
    // It is another order than that of the ids, and it tells in the value.
    let args = [&args[..], &["--seen", "keep", "--json", "tied.csv"]].concat();
    let json: Value = serde_json::from_str(&place.fine(&args)).unwrap();
    assert_ne!(value(&json, "tied", "ndcg"), evaluated);
}

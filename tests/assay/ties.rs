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
        let mut train = String::from("user,item\n");
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

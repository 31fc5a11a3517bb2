//! `assay audit`: whether differences are more than chance.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::{
    audited::{Audited, number, ratings},
    support::Place,
};

/// Users with fewer than `n` and at least one rating in the training part of f1, and a relevant test item.
fn cold_users(n: usize) -> usize {
    let all = ratings();
    let mut train: BTreeMap<&str, usize> = BTreeMap::new();
    let of_train = all.iter().filter(|of| of.fold != "f1");
    of_train.for_each(|of| *train.entry(&of.user).or_default() += 1);
    let liked = all.iter().filter(|of| of.fold == "f1" && of.rating >= 4.0);
    let users: BTreeSet<&str> = liked.map(|of| &of.user[..]).collect();
    users.iter().filter(|user| (1..n).contains(&train.get(*user).copied().unwrap_or(0))).count()
}

#[test]
fn slices_of_few_users_weigh_more_where_conclusions_are_drawn_from_them() {
    let place = Place::new();
    let file = |slices: &str| {
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\nsplit: {{scheme: official, only: [f1]}}\nsystems:
  popularity: {{model: popularity}}
  knn: {{model: item-knn}}
evaluate: {{k: [10], metrics: [ndcg], slices: [{slices}]}}
"
        )
    };
    let (few, some) = (cold_users(10), cold_users(20));
    assert!((1..10).contains(&few) && (10..100).contains(&some), "{few} {some}");
    for (slices, severities) in [
        ("all, 'cold<10', 'cold<20'", ["warning", "note"]),
        ("'cold<10', 'cold<20'", ["error", "note"]),
        ("'cold<20', 'cold<10'", ["warning", "warning"]),
    ] {
        place.write("e.yaml", file(slices));
        place.fine(&["run", "e.yaml", "--quiet"]);
        let audited = Audited::of(&place, "e.yaml");
        for (slice, users, severity) in
            [("cold<10", few, severities[0]), ("cold<20", some, severities[1])]
        {
            let of = audited.about("few-users", slice);
            assert_eq!(
                (&of["evidence"]["users"], &of["severity"]),
                (&json!(users), &json!(severity))
            );
        }
        assert_eq!(audited.findings("few-users").len(), 2);
        // Neither system has a seed, and there is one fold.
        assert!(audited.findings("single-seed").is_empty());
        audited.one("single-fold");
    }
}

/// `assay compare` with a reference, by system and metric: the row.
fn compared(place: &Place, reference: &str) -> BTreeMap<(String, String), Value> {
    let found = place.fine(&["compare", "e.yaml", "--reference", reference, "--all", "--json"]);
    let found: Value = serde_json::from_str(&found).unwrap();
    let text = |of: &Value| of.as_str().unwrap().to_owned();
    let rows = found["rows"].as_array().unwrap().iter();
    rows.map(|row| ((text(&row["system"]), text(&row["metric"])), row.clone())).collect()
}

const NEAR: &str = "experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official}
systems:
  popularity: {model: popularity}
  near: {model: item-knn, neighbours: 100}
  mine: {model: item-knn, neighbours: 101}
  shrunk: {model: item-knn, neighbours: 100, shrinkage: 20}
  far: {model: item-knn, neighbours: 60, shrinkage: 3}
  narrow: {model: item-knn, neighbours: 30}
  strong: {model: als, factors: 8, iterations: 20, regularization: 5, confidence: alpha-r, alpha: 2}
evaluate: {k: [10], metrics: [ndcg, recall, precision, map, mrr, hit-rate]}
audit: {proposed: [mine]}
";

#[test]
fn a_best_system_within_noise_and_corrections_agree_with_compare() {
    let place = Place::new();
    place.write("e.yaml", NEAR);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let rows = compared(&place, "mine");
    // The comparisons of nDCG alone are corrected for their number.
    let alone =
        place.fine(&["compare", "e.yaml", "--reference", "mine", "--metric", "ndcg", "--json"]);
    let alone: Value = serde_json::from_str(&alone).unwrap();
    let of_ndcg = alone["rows"].as_array().unwrap();
    let noise = audited.findings("best-within-noise").iter();
    let near = noise.clone().find(|of| of["evidence"]["comparisons"].is_number()).unwrap();
    assert_eq!(
        (&near["severity"], &near["evidence"]["comparisons"]),
        (&json!("warning"), &json!(6))
    );
    let listed = near["evidence"]["indistinguishable"].as_array().unwrap();
    let expected: Vec<&Value> =
        of_ndcg.iter().filter(|row| number(&row["p_corrected"]) >= 0.05).collect();
    assert!(listed.len() == expected.len() && !listed.is_empty(), "{listed:?} {expected:?}");
    for row in expected {
        let of = listed.iter().find(|of| of["system"] == row["system"]).unwrap();
        assert!((number(&of["p"]) - number(&row["p_corrected"])).abs() < 1e-12);
        // The audit has the proposed system second.
        assert!((number(&of["difference"]) + number(&row["difference"])).abs() < 1e-12);
        assert_eq!(of["users"], row["users"]);
    }
    // The one that is better than what is proposed.
    let strong = noise.clone().find(|of| of["evidence"]["other"] == "strong").unwrap();
    let difference = number(&rows[&("strong".into(), "ndcg".into())]["difference"]);
    assert!(
        (number(&strong["evidence"]["difference"]) + difference).abs() < 1e-12 && difference > 0.0
    );
    let p = |row: &&Value, name: &str| number(&row[name]);
    let lost: Vec<&Value> =
        rows.values().filter(|row| p(row, "p") < 0.05 && p(row, "p_corrected") >= 0.05).collect();
    let significant = rows.values().filter(|row| p(row, "p") < 0.05).count();
    assert!(!lost.is_empty(), "{rows:#?}");
    let of = audited.one("uncorrected-comparisons");
    assert_eq!(of["evidence"]["comparisons"], json!(36));
    assert_eq!(of["evidence"]["significant_alone"], json!(significant));
    assert_eq!(of["evidence"]["significant_after_holm"], json!(significant - lost.len()));
    assert_eq!(of["severity"], "warning");
    let folds = &audited.one("too-few-folds")["evidence"];
    assert_eq!((&folds["folds"], &folds["least_p"]), (&json!(5), &json!(0.0625)));
    // The best of the others is far better, and without it the best is near.
    assert!(audited.findings("claims-underpowered").is_empty());
    let strong = NEAR.lines().find(|line| line.starts_with("  strong")).unwrap();
    place.write("e.yaml", NEAR.replace(&format!("{strong}\n"), ""));
    let audited = Audited::of(&place, "e.yaml");
    let power = &audited.about("claims-underpowered", "mine")["evidence"];
    let best = compared(&place, "mine");
    let best = best.values().filter(|row| row["metric"] == "ndcg");
    let best = best.max_by(|a, b| number(&a["value"]).total_cmp(&number(&b["value"]))).unwrap();
    assert!((number(&power["detectable"]) - number(&best["detectable"])).abs() < 1e-12);
    assert!((number(&power["difference"]) + number(&best["difference"])).abs() < 1e-12);
    // Nothing is claimed of baselines among themselves.
    place.write("e.yaml", NEAR.replace("audit: {proposed: [mine]}\n", ""));
    let audited = Audited::of(&place, "e.yaml");
    assert!(audited.findings("too-few-folds").is_empty());
    audited.passed(&["best-within-noise"]);
}

#[test]
fn claims_of_a_published_table_need_users() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: sample, relevant: '>= 4'}\nsplit: {scheme: official, only: [f1]}\nsystems:
  popularity: {model: popularity}
  knn: {model: item-knn}
  als: {model: als, factors: 8, iterations: 20, regularization: 5, confidence: alpha-r, alpha: 2}
evaluate: {k: [10], metrics: [ndcg, recall], slices: [all, 'cold<10']}
published:
  {source: Table 1, dataset: sample, fold: f1, protocol: full, convention: standard, slice: 'cold<10', k: 10, digits: 3,
    rows: {popularity: {ndcg: 0.1, recall: 0.1}, knn: {ndcg: 0.1, recall: 0.1}, als: {ndcg: 0.1, recall: 0.1}}}
",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let users = cold_users(10);
    let few = audited.about("few-users", "cold<10");
    assert_eq!((&few["severity"], &few["evidence"]["users"]), (&json!("error"), &json!(users)));
    let of = &audited.one("claims-underpowered")["evidence"];
    // Two metrics, the best against two others each.
    assert_eq!((&of["differences"], &of["users"]), (&json!(4), &json!(users)));
    let mut small = 0;
    for metric in ["ndcg", "recall"] {
        let compare = |more: &[&str]| -> Vec<Value> {
            let args = [
                "compare", "e.yaml", "--metric", metric, "--slice", "cold<10", "--fold", "f1",
                "--json",
            ];
            let found: Value =
                serde_json::from_str(&place.fine(&[&args[..], more].concat())).unwrap();
            found["rows"].as_array().unwrap().clone()
        };
        // Without a name the reference is the best.
        let rows = compare(&[]);
        assert_eq!(rows.len(), 2);
        let is_small = |row: &&Value| number(&row["difference"]).abs() < number(&row["detectable"]);
        small += rows.iter().filter(is_small).count();
    }
    assert_eq!((&of["too_small"], small > 0), (&json!(small), true));
}

/// Lists for every second user: under the convention of Ebrat et al. 2025 the others are left out of the means.
#[test]
fn means_over_other_users_are_an_error_where_conclusions_are_drawn_from_them() {
    let place = Place::new();
    let mut lists = String::from("user,item,rank\n");
    let all = ratings();
    let users: BTreeSet<u32> = all.iter().map(|of| of.user.parse().unwrap()).collect();
    for user in users.iter().filter(|user| **user % 2 == 0) {
        (1..=10).for_each(|rank| lists.push_str(&format!("{user},{},{rank}\n", 10 * rank)));
    }
    place.write("lists.csv", lists);
    let file = |convention: &str| {
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\nsplit: {{scheme: official, only: [f1]}}\nsystems:
  popularity: {{model: popularity}}
  theirs: {{model: external, rankings: lists.csv}}
evaluate: {{protocols: [judged-after-cut], conventions: {convention}, k: [10], metrics: [recall]}}
"
        )
    };
    place.write("e.yaml", file("[ebrat2025]"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let of = audited.one("different-users");
    let relevant: BTreeSet<u32> = all
        .iter()
        .filter(|of| of.fold == "f1" && of.rating >= 4.0)
        .map(|of| of.user.parse().unwrap())
        .collect();
    let even = relevant.iter().filter(|user| **user % 2 == 0).count();
    assert_eq!((&of["severity"], &of["subject"]), (&json!("error"), &json!("theirs")));
    assert_eq!(of["evidence"]["least_users"], json!(even));
    assert_eq!(of["evidence"]["most_users"], json!(relevant.len()));
    // Beside a column in which all users count.
    place.write("e.yaml", file("[standard, ebrat2025]"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    assert_eq!(Audited::of(&place, "e.yaml").one("different-users")["severity"], "note");
    place.write("e.yaml", file("[standard]"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    Audited::of(&place, "e.yaml").passed(&["different-users"]);
}

#[test]
fn one_seed_is_said_of_what_depends_on_it_and_of_no_control() {
    let place = Place::new();
    let file = |folds: &str, seeds: &str| {
        let reranker = |judge: &str| {
            format!(
                "{{model: rerank, of: als, text: {{profiles: p}}, strategy: prompt, judge: {judge}}}"
            )
        };
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\nsplit: {{scheme: official{folds}}}\nseeds: {seeds}
profiles: {{p: {{from: template}}}}
systems:
  random: {{model: random}}
  knn: {{model: item-knn}}
  als: {{model: als, factors: 4, iterations: 2}}
  popular: {}
  shuffled: {}
  oracle: {}
evaluate: {{k: [10], metrics: [ndcg]}}
",
            reranker("popularity"),
            reranker("shuffle"),
            reranker("oracle")
        )
    };
    for (folds, seeds, severity) in [
        (", only: [f1]", "[1]", Some("warning")),
        ("", "[7]", Some("note")),
        (", only: [f1]", "[1, 2]", None),
    ] {
        place.write("e.yaml", file(folds, seeds));
        place.fine(&["run", "e.yaml", "--quiet"]);
        let audited = Audited::of(&place, "e.yaml");
        match severity {
            Some(severity) => {
                let of = audited.one("single-seed");
                assert_eq!((&of["subject"], &of["severity"]), (&json!("als"), &json!(severity)));
            }
            None => audited.passed(&["single-seed"]),
        }
    }
}

/// Twenty splits drawn anew, two folds and two seeds each, with a difference that every one of them shows.
#[test]
fn twenty_clear_results_raise_nothing() {
    let place = Place::new();
    let seeds: Vec<String> = (1..=20).map(|seed| seed.to_string()).collect();
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\n\
             split: {{scheme: kfold, folds: 2, by: rating, seed: {{sweep: [{}]}}}}\nseeds: [1, 2]\nsystems:
  popularity: {{model: popularity}}
  als: {{model: als, factors: 8, iterations: 5, regularization: 5, confidence: alpha-r, alpha: 2}}
evaluate: {{k: [10], metrics: [ndcg, recall]}}
",
            seeds.join(", ")
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    audited.passed(&[
        "single-fold",
        "single-seed",
        "few-users",
        "different-users",
        "best-within-noise",
        "uncorrected-comparisons",
    ]);
}

/// Twenty splits into six folds, of which sign flips can give p = .03125; and planted, from two to five folds.
#[test]
fn few_folds_are_said_and_twenty_splits_into_six_are_fine() {
    let place = Place::new();
    let file = |split: &str| {
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\nsplit: {{scheme: kfold, by: rating, {split}}}\nsystems:
  random: {{model: random}}
  popularity: {{model: popularity}}
evaluate: {{k: [10], metrics: [ndcg]}}
audit: {{proposed: [popularity]}}
"
        )
    };
    let seeds: Vec<String> = (1..=20).map(|seed| seed.to_string()).collect();
    place.write("e.yaml", file(&format!("folds: 6, seed: {{sweep: [{}]}}", seeds.join(", "))));
    place.fine(&["run", "e.yaml", "--quiet"]);
    Audited::of(&place, "e.yaml").passed(&["too-few-folds"]);
    for (folds, least) in [(2, 0.5), (3, 0.25), (4, 0.125), (5, 0.0625)] {
        place.write("e.yaml", file(&format!("folds: {folds}, seed: 1")));
        place.fine(&["run", "e.yaml", "--quiet"]);
        let audited = Audited::of(&place, "e.yaml");
        let of = audited.one("too-few-folds");
        let evidence = &of["evidence"];
        assert_eq!((&evidence["folds"], &evidence["least_p"]), (&json!(folds), &json!(least)));
        assert_eq!(of["severity"], "note");
    }
}

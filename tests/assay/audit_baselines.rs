//! `assay audit`: baselines.

use serde_json::{Value, json};

use crate::{
    audited::{Audited, number, ratings},
    support::Place,
};

const HEAD: &str = "data: {set: sample, relevant: '>= 4', disliked: '<= 2'}\nsplit: {scheme: official, only: [f1]}\n";
const TAIL: &str = "evaluate: {k: [10], metrics: [ndcg, recall]}\n";

fn ndcg(place: &Place, system: &str) -> f64 {
    let rows: Value = serde_json::from_str(&place.fine(&["results", "e.yaml", "--json"])).unwrap();
    let rows = rows.as_array().unwrap().iter();
    let mut of = rows.filter(|row| {
        row["system"] == system
            && row["fold"] == "mean"
            && row["metric"] == "ndcg"
            && row["slice"] == "all"
    });
    number(&of.next().unwrap()["value"])
}

#[test]
fn unequal_tuning_training_data_and_missing_baselines_are_found_with_their_numbers() {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!(
            "experiment: e\n{HEAD}systems:
  mine: {{model: als, factors: 8, confidence: alpha-r, search: {{trials: 4, over: {{regularization: [2, 5, 10], alpha: [1, 2]}}}}}}
  knn: {{model: item-knn, neighbours: 20}}
  knn tuned: {{model: item-knn, search: {{trials: 2, over: {{neighbours: [20, 50]}}}}}}
  knn equal: {{model: item-knn, search: {{trials: 3, over: {{neighbours: [20, 50, 80]}}}}}}
  weak: {{model: als, factors: 1, iterations: 1, regularization: 1000}}
  any: {{model: item-knn, neighbours: 20, positives: any}}
{TAIL}published:
  source: Table 1
  dataset: sample
  fold: mean
  protocol: full
  convention: standard
  slice: all
  k: 10
  digits: 3
  rows: {{knn: {{ndcg: 0.5}}}}
audit: {{proposed: [mine]}}
"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet", "--anyway"]);
    let audited = Audited::of(&place, "e.yaml");
    let untuned = |name: &str| {
        let evidence = &audited.about("untuned-baselines", name)["evidence"];
        (number(&evidence["trials"]), number(&evidence["most_trials"]))
    };
    assert_eq!(audited.findings("untuned-baselines").len(), 4);
    assert_eq!((untuned("knn"), untuned("knn tuned")), ((0.0, 4.0), (2.0, 4.0)));
    let missing: Vec<&Value> =
        audited.findings("missing-baselines").iter().map(|of| &of["evidence"]["missing"]).collect();
    assert_eq!(missing, ["popularity", "ease"]);
    // Counted in the file.
    let train: Vec<f64> =
        ratings().iter().filter(|of| of.fold != "f1").map(|of| of.rating).collect();
    let liked = train.iter().filter(|rating| **rating >= 4.0).count();
    let of = &audited.one("unequal-training-data")["evidence"];
    assert_eq!(
        (&of["positives"], &of["reference_positives"]),
        (&json!(train.len()), &json!(liked))
    );
    let beaten = audited.about("fixed-setting-beaten", "weak");
    let of = &beaten["evidence"];
    assert_eq!((&of["tuned"], beaten["severity"].as_str()), (&json!("mine"), Some("warning")));
    assert!((number(&of["value"]) - ndcg(&place, "weak")).abs() < 1e-12);
    assert!((number(&of["tuned_value"]) - ndcg(&place, "mine")).abs() < 1e-12);
    assert!(number(&of["p"]) < 1e-4);
}

#[test]
fn values_far_from_the_published_ones_are_found_and_equal_ones_are_fine() {
    let place = Place::new();
    let file = |knn: f64, popularity: f64| {
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\nsplit: {{scheme: official}}\nsystems:
  knn: {{model: item-knn, neighbours: 20}}
  popularity: {{model: popularity}}
{TAIL}published:
  {{source: Table 1, dataset: sample, fold: mean, protocol: full, convention: standard, slice: all, k: 10, digits: 3,
    rows: {{knn: {{ndcg: {knn}}}, popularity: {{ndcg: {popularity}}}}}}}
"
        )
    };
    place.write("e.yaml", file(0.1, 0.1));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let [knn, popularity] = ["knn", "popularity"].map(|name| ndcg(&place, name));
    let printed = |value: f64| (value * 1000.0).round() / 1000.0;
    place.write("e.yaml", file(printed(knn), printed(popularity)));
    Audited::of(&place, "e.yaml").passed(&["far-from-published"]);
    let twice = printed(2.0 * knn);
    place.write("e.yaml", file(twice, printed(popularity)));
    let audited = Audited::of(&place, "e.yaml");
    let of = audited.one("far-from-published");
    assert_eq!((&of["subject"], &of["severity"]), (&json!("knn"), &json!("warning")));
    let share = number(&of["evidence"]["largest_relative_difference"]);
    assert!((share - (twice - knn) / twice).abs() < 1e-9, "{share}");
    // Of another fold nothing is compared.
    place.write("e.yaml", file(twice, 0.1).replace("fold: mean", "fold: f9"));
    assert!(Audited::of(&place, "e.yaml").findings("far-from-published").is_empty());
}

/// The fixed settings are a trial of a search elsewhere in the workspace.
#[test]
fn searches_of_the_workspace_say_what_fixed_settings_are_worth() {
    let place = Place::new();
    let search = "experiment: s\nDATAsystems:\n  als: {model: als, iterations: 5, regularization: 1, confidence: alpha-r, alpha: 2, \
                  search: {over: {factors: [1, 16]}}}\n";
    place.write("s.yaml", search.replace("DATA", HEAD) + TAIL);
    let fixed = |factors: u32| {
        let of = "  als: {model: als, iterations: 5, regularization: 1, confidence: alpha-r, alpha: 2, factors: ";
        format!("experiment: e\n{HEAD}systems:\n{of}{factors}}}\n{TAIL}")
    };
    place.write("e.yaml", fixed(1));
    place.fine(&["run", "s.yaml", "--quiet"]);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let dir =
        std::fs::read_dir(place.path(".assay/steps/search")).unwrap().next().unwrap().unwrap();
    let trials: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("search.json")).unwrap()).unwrap();
    let [few, many] = [0, 1].map(|at| number(&trials[at]["value"]));
    assert!(many > 1.02 * few, "{few} {many}");
    let audited = Audited::of(&place, "e.yaml");
    let of = &audited.one("fixed-setting-beaten")["evidence"];
    assert_eq!((number(&of["validation"]), number(&of["best_validation"])), (few, many));
    // The settings that the search chose.
    place.write("e.yaml", fixed(16));
    place.fine(&["run", "e.yaml", "--quiet"]);
    Audited::of(&place, "e.yaml").passed(&["fixed-setting-beaten"]);
}

#[test]
fn networks_that_go_by_the_training_loss_or_ran_out_of_epochs_are_found() {
    let place = Place::new();
    let network = "model: bprmf, dim: 16";
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\nsplit: {{scheme: official, only: [f1], validation: {{fraction: 0.1}}}}\nsystems:
  loss: {{{network}, training: {{epochs: 3, keep: best, stop: {{on: training-loss, patience: 2}}}}}}
  slow: {{{network}, training: {{epochs: 11, learning_rate: 0.01, validate: {{every: 5}}}}}}
  slow search: {{{network}, training: {{epochs: 11, validate: {{every: 5}}}}, search: {{trials: 2, over: {{training.learning_rate: [0.01, 0.02]}}}}}}
  done: {{{network}, training: {{epochs: 200, learning_rate: 0.05, validate: {{every: 2}}, stop: {{on: validation, patience: 3}}}}}}
  plain: {{{network}, training: {{epochs: 3}}}}
{TAIL}"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let of = audited.one("stops-on-training-loss");
    assert_eq!(
        (&of["subject"], &of["evidence"]["settings"]),
        (&json!("loss"), &json!(["stop", "keep"]))
    );
    for name in ["slow", "slow search"] {
        let of = &audited.about("ran-out-of-epochs", name)["evidence"];
        assert_eq!((&of["epochs"], &of["fits"], &of["at_end"]), (&json!(11), &json!(1), &json!(1)));
    }
    assert_eq!(audited.findings("ran-out-of-epochs").len(), 2);
}

/// Twenty splits drawn anew, with equal budgets for all.
#[test]
fn twenty_fair_comparisons_raise_nothing() {
    let place = Place::new();
    let seeds: Vec<String> = (1..=20).map(|seed| seed.to_string()).collect();
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: sample, relevant: '>= 4'}}\n\
             split: {{scheme: kfold, folds: 5, by: rating, seed: {{sweep: [{}]}}, only: [f1]}}\nsystems:
  popularity: {{model: popularity}}
  ease: {{model: ease, search: {{trials: 2, over: {{regularization: [50, 100]}}}}}}
  als: {{model: als, factors: 4, iterations: 2, search: {{trials: 2, over: {{alpha: [1, 2]}}}}}}
{TAIL}audit: {{proposed: [ease]}}
",
            seeds.join(", ")
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    audited.passed(&["untuned-baselines", "missing-baselines", "unequal-training-data"]);
}

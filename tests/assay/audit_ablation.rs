//! `assay audit`: arms of ablations.

use std::{fmt::Write, path::PathBuf};

use rec_assay::{
    analysis::collect,
    audit::{Outcome, Subject, find},
    core::Workspace,
    data::DataDirs,
    tasks::Experiment,
};
use serde_json::json;

use crate::{
    audited::Audited,
    support::{Here, Place, not_run, root, weights},
};

const HEAD: &str = "experiment: e\ndata: {set: sample, relevant: '>= 4', disliked: '<= 2'}\nsplit: {scheme: official, only: [f1]}\n";
const TAIL: &str = "evaluate: {k: [10], metrics: [ndcg]}\n";

fn fields(finding: &serde_json::Value) -> Vec<&str> {
    let found = finding["evidence"]["differences"].as_array().unwrap().iter();
    found.map(|of| of["field"].as_str().unwrap()).collect()
}

#[test]
fn arms_that_differ_in_more_than_the_factor_are_named_with_their_values() {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!(
            "{HEAD}systems:
  a: {{model: als, factors: 8, iterations: 5}}
  same: {{model: als, factors: 8, iterations: 5}}
  factors: {{model: als, factors: 16, iterations: 5}}
  both: {{model: als, factors: 16, iterations: 10}}
  any: {{model: als, factors: 8, iterations: 5, positives: any}}
  tuned: {{model: als, factors: 8, iterations: 5, search: {{trials: 2, over: {{alpha: [1, 2]}}}}}}
  knn: {{model: item-knn}}
{TAIL}audit:
  contrasts:
    - {{arms: [a, factors], factor: [factors]}}
    - {{arms: [a, same], factor: [factors]}}
    - {{arms: [a, both], factor: [factors]}}
    - {{arms: [a, any], factor: [factors]}}
    - {{arms: [a, any], factor: [train_on]}}
    - {{arms: [a, tuned], factor: [alpha]}}
    - {{arms: [a, tuned], factor: [search]}}
    - {{arms: [a, knn], factor: [model]}}
"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let of = |subject: &str| audited.about("impure-contrast", subject);
    assert_eq!(audited.findings("impure-contrast").len(), 4);
    assert_eq!(of("both")["severity"], "error");
    assert_eq!(
        of("both")["evidence"]["differences"],
        json!([{"field": "iterations", "values": [5, 10]}])
    );
    assert!(of("same")["message"].as_str().unwrap().contains("do not differ in factors"));
    assert_eq!(fields(of("any")), ["train_on"]);
    assert_eq!(
        of("tuned")["evidence"]["differences"],
        json!([{"field": "search", "values": ["none", "2 trials"]}])
    );
}

/// The baseline without texts of Ebrat et al. 2025 lacks the cosine term too.
#[test]
fn text_and_cosine_switched_at_once_are_found() {
    if !weights("text_and_cosine_switched_at_once_are_found") {
        return;
    }
    let place = Place::new();
    let network =
        "model: gat, hidden: 16, heads: [2, 1], edges: all, dropout: 0, training: {epochs: 2}";
    place.write(
        "e.yaml",
        format!(
            "{HEAD}profiles:
  genres: {{items: {{from: file, file: sample/items.csv, id: item, text: genres}}, users: {{from: mean}}}}
systems:
  plain: {{{network}, features: 16, cosine: 0}}
  plain with cosine: {{{network}, features: 16, cosine: 2}}
  text: {{{network}, features: 0, cosine: 2, text: {{profiles: genres, train: true}}}}
{TAIL}audit:
  contrasts:
    - {{arms: [plain, text], factor: [text, features]}}
    - {{arms: [plain with cosine, text], factor: [text, features]}}
"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let finding = audited.one("impure-contrast");
    assert_eq!(finding["evidence"]["arms"], json!(["plain", "text"]));
    let differences = &finding["evidence"]["differences"];
    assert_eq!((fields(finding), &differences[0]["values"]), (vec!["cosine"], &json!([0.0, 2.0])));
}

#[test]
fn twenty_pure_contrasts_and_a_chain_of_single_steps_are_fine() {
    let place = Place::new();
    let (mut systems, mut contrasts) = (String::new(), String::new());
    for at in 0..20 {
        // Another base for each, and the factors in turn.
        let base = [4 + at % 3, 2 + at % 4, 1 + at, 1 + at % 5];
        let factor = ["factors", "iterations", "regularization", "alpha"];
        let mut second = base;
        second[at % 4] += 30;
        for (name, of) in [("a", base), ("b", second)] {
            let _ = writeln!(
                systems,
                "  {name}{at}: {{model: als, factors: {}, iterations: {}, regularization: {}, alpha: {}, confidence: alpha-r}}",
                of[0],
                of[1].min(9),
                of[2],
                of[3]
            );
        }
        let factor = factor[at % 4];
        let _ = writeln!(contrasts, "    - {{arms: [a{at}, b{at}], factor: [{factor}]}}");
    }
    place.write(
        "e.yaml",
        format!("{HEAD}systems:\n{systems}{TAIL}audit:\n  contrasts:\n{contrasts}"),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    Audited::of(&place, "e.yaml").passed(&["impure-contrast"]);
    // Nothing is declared: every system has another that differs in one setting.
    place.write("e.yaml", format!("{HEAD}systems:\n{systems}{TAIL}"));
    Audited::of(&place, "e.yaml").passed(&["undeclared-ablation"]);
    // One that has none.
    let far = "  far: {model: als, factors: 5, iterations: 3, regularization: 90, alpha: 7, confidence: alpha-r}\n";
    place.write("e.yaml", format!("{HEAD}systems:\n{systems}{far}{TAIL}"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let audited = Audited::of(&place, "e.yaml");
    let finding = audited.one("undeclared-ablation");
    assert_eq!((&finding["severity"], &finding["subject"]), (&json!("note"), &json!("far")));
    assert_eq!(fields(finding), ["alpha", "regularization"]);
    let message = finding["message"].as_str().unwrap();
    assert!(message.contains("they differ in 2 settings: alpha (7"), "{message}");
}

/// The experiment on Ebrat et al. 2025 declares the paper's own contrast. It is found before anything is trained, and its
/// contrasts of one factor are pure.
#[test]
fn the_contrast_of_ebrat_2025_is_found_and_ours_are_pure() {
    let data = std::env::var_os("ASSAY_DATA").map(PathBuf::from).unwrap_or_default();
    let needed = ["ml-100k/u.data", "ebrat2025/users_structured_100k.csv"];
    if needed.iter().any(|file| !data.join(file).is_file()) {
        let test = "the_contrast_of_ebrat_2025_is_found_and_ours_are_pure";
        return not_run(test, "ml-100k or ebrat2025 is not under ASSAY_DATA");
    }
    let dirs = DataDirs::new(vec![data, root().join("datasets")]);
    let place = Place::new();
    let workspace = Workspace::create(&place.path(".assay")).unwrap();
    for (name, expected) in [("ebrat2025-ablations-u1", 1), ("ebrat2025-rerank", 0)] {
        let path = root().join(format!("experiments/{name}.yaml"));
        let record = Here::new(&Experiment::read(&path, &dirs).unwrap(), &dirs).record;
        let collected = collect(&record, &workspace, &Subject::request(&record)).unwrap();
        let subject = Subject::new(&record, &workspace, &collected);
        let Outcome::Checked(findings) = (find("impure-contrast").unwrap().run)(&subject).unwrap()
        else {
            panic!("{name} was not checked");
        };
        let messages: Vec<&str> = findings.iter().map(|of| &of.message[..]).collect();
        assert_eq!(findings.len(), expected, "{messages:#?}");
        if let [finding] = &findings[..] {
            let value = finding.evidence.iter().find(|(name, _)| *name == "differences").unwrap();
            assert_eq!(
                value.1,
                json!([{"field": "cosine", "values": [0.0, 2.0]}]),
                "{messages:#?}"
            );
        }
    }
}

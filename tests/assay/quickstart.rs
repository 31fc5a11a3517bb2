//! The first things a new user does.

use std::fs;

use crate::support::{Place, means, root};

const SMALL: &str = "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
systems:
  popularity: {model: popularity}
  als: {model: als, factors: 8, iterations: 3, alpha: 2, regularization: 5}
evaluate: {k: [5, 10]}
";

#[test]
fn the_quickstart_runs_learns_and_reports() {
    let place = Place::new();
    let file = root().join("experiments/quickstart.yaml");
    let file = file.to_str().unwrap();
    let out = place.fine(&["run", file]);
    assert!(out.contains("protocol full, convention standard, slice all, k = 10"), "{out}");
    let csv = place.fine(&["results", file, "--csv"]);
    assert!(csv.starts_with(
        "experiment,system,fold,seed,protocol,convention,slice,metric,k,value,n_users"
    ));
    let ndcg = means(&csv, "ndcg", "10");
    assert!(ndcg["popularity"] > 2.0 * ndcg["random"], "{ndcg:?}");
    for system in ["item-knn", "ease", "als"] {
        assert!(ndcg[system] > 1.2 * ndcg["popularity"], "{ndcg:?}");
    }
    let html = fs::read_to_string(place.path("reports/quickstart/index.html")).unwrap();
    assert!(html.contains("<svg") && html.contains("n = "), "figures and users are in the report");
    for outside in ["src=\"http", "href=\"http", "@import"] {
        assert!(!html.contains(outside), "the report needs nothing from elsewhere");
    }
    // Every slice holds somebody, and says how many.
    let slices: Vec<&str> = csv.lines().filter(|line| line.contains("cold<10,recall")).collect();
    assert!(!slices.is_empty() && slices.iter().all(|line| !line.ends_with(",0,")), "{slices:?}");
}

#[test]
fn what_was_done_is_not_done_again_and_a_change_says_why_it_is() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    let before = place.fine(&["plan", "small.yaml"]);
    assert!(before.contains("4 trials in 10 steps, 0 done, 10 to run"), "{before}");
    place.fine(&["run", "small.yaml"]);
    let again = place.assay(&["run", "small.yaml"]);
    assert!(again.err.contains("0 of 10 steps to do"), "{}", again.err);
    place.write("small.yaml", SMALL.replace("alpha: 2", "alpha: 3"));
    insta::assert_snapshot!(place.fine(&["plan", "small.yaml"]));
}

#[test]
fn sweeps_seeds_includes_and_tables_work_together() {
    let place = Place::new();
    place.write("base.yaml", "model: als\niterations: 2\nfactors: 4\n");
    place.write(
        "common.yaml",
        "data: {set: sample, relevant: '>= 4'}\nsplit: {scheme: holdout, test: 0.2}\n",
    );
    place.write(
        "e.yaml",
        "include: common.yaml\nexperiment: swept\nseeds: [1, 2]\nsystems:\n  popularity: {model: popularity}\n  \
         als: {use: base.yaml, factors: {sweep: [4, 6]}, alpha: {sweep: {low: 1, high: 20}}}\n",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let csv = place.fine(&["results", "e.yaml"]);
    for name in ["als[factors=4,alpha=low]", "als[factors=6,alpha=high]"] {
        assert!(csv.contains(&format!("swept,\"{name}\",holdout,2,")), "{csv}");
    }
    // One run for popularity, which no seed changes; two for each of the four others.
    assert_eq!(
        csv.lines().filter(|line| line.contains("holdout") && line.contains(",ndcg,")).count(),
        9
    );
    let latex = place.fine(&["table", "e.yaml", "--format", "latex"]);
    assert!(latex.contains("\\toprule") && latex.contains("$\\pm$"), "{latex}");
    let wrong = place.assay(&["table", "e.yaml", "--slice", "cold<3"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("slices: all"), "{}", wrong.err);
}

#[test]
fn a_failed_trial_does_not_stop_the_others() {
    let place = Place::new();
    place.write("small.yaml", SMALL.replace("factors: 8,", "factors: 4000,"));
    let ended = place.assay(&["run", "small.yaml", "--memory", "0.005"]);
    // The factors do not fit the budget; popularity does.
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(ended.err.contains("2 of 4 trials failed"), "{}", ended.err);
    assert!(ended.err.contains("raise it with `--memory`"), "{}", ended.err);
    assert!(ended.out.contains("popularity"), "{}", ended.out);
    assert_eq!(place.assay(&["results", "small.yaml"]).code, 3, "results are missing");
}

#[test]
fn runs_can_be_listed_shown_and_followed_as_json() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    let events = place.fine(&["run", "small.yaml", "--json"]);
    let kinds: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(kinds.first().unwrap()["event"], "run-started");
    assert_eq!(kinds.iter().filter(|event| event["event"] == "step-finished").count(), 10);
    assert!(place.fine(&["ls"]).contains("small"));
    let shown = place.fine(&["show", "small"]);
    for what in ["revision", "libraries", "tch 0.24.0", "peak memory", "factors: 8"] {
        assert!(shown.contains(what), "{what} in {shown}");
    }
    assert!(place.fine(&["show", "als f1"]).contains("model.safetensors"));
    let log = fs::read_dir(place.path(".assay/runs")).unwrap().flatten().next().unwrap().path();
    assert!(log.join("logs/als--f1--seed1.log").is_file());
}

#[test]
fn other_verbs_answer() {
    let place = Place::new();
    let schema: serde_json::Value = serde_json::from_str(&place.fine(&["schema"])).unwrap();
    for key in ["experiment", "data", "split", "systems", "evaluate"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    assert!(place.fine(&["completions", "bash"]).contains("assay"));
    assert!(place.fine(&["data", "list"]).contains("ml-100k"));
    assert!(place.fine(&["data", "verify", "sample"]).contains("matches"));
    insta::assert_snapshot!(place.fine(&["data", "stats", "sample"]));
}

#[test]
fn results_before_a_run_are_missing_not_empty() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    let ended = place.assay(&["results", "small.yaml"]);
    assert_eq!(ended.code, 3);
    assert!(ended.err.contains("run `assay run small.yaml` first"), "{}", ended.err);
}

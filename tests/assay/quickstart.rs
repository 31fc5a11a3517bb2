//! The first things a new user does.

use std::{collections::BTreeSet, fs};

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
    let n_users = |line: &str| line.split(',').nth(10).unwrap().parse::<usize>().unwrap();
    assert!(!slices.is_empty() && slices.iter().all(|line| n_users(line) > 0), "{slices:?}");
}

#[test]
fn what_was_done_is_not_done_again_and_a_change_says_why_it_is() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    let before = place.fine(&["plan", "small.yaml"]);
    assert!(before.contains("4 trials in 14 steps, 0 done, 14 to run"), "{before}");
    place.fine(&["run", "small.yaml"]);
    let again = place.assay(&["run", "small.yaml"]);
    assert!(again.err.contains("0 of 14 steps to run"), "{}", again.err);
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
    // One run for popularity, which no seed changes; two for each of the four others, and their mean.
    let ndcg = || csv.lines().filter(|line| line.contains("holdout") && line.contains(",ndcg,"));
    assert_eq!(ndcg().count(), 13);
    assert_eq!(ndcg().filter(|line| line.contains(",holdout,mean,")).count(), 4);
    let latex = place.fine(&["table", "e.yaml", "--format", "latex"]);
    assert!(latex.contains("\\toprule") && latex.contains("$\\pm$"), "{latex}");
    let wrong = place.assay(&["table", "e.yaml", "--slice", "cold<3"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("expected one of all"), "{}", wrong.err);
}

/// What the columns of a tidy table hold, by name.
fn field<'a>(csv: &'a str, line: &'a str, name: &str) -> &'a str {
    let at = csv.lines().next().unwrap().split(',').position(|known| known == name).unwrap();
    line.split(',').nth(at).unwrap()
}

/// The sample's folds hold the same users, so their numbers do not add up; the two spreads are worked
/// out here from the rows.
#[test]
fn users_are_counted_once_and_spreads_are_two() {
    let place = Place::new();
    let more = "seeds: [1, 2, 3]\nsystems:\n  random: {model: random}\n";
    place.write("small.yaml", SMALL.replace("systems:\n", more));
    place.fine(&["run", "small.yaml", "--quiet"]);
    let csv = place.fine(&["results", "small.yaml"]);
    let of = |fold: &str, seed: &str| {
        let start = format!("small,random,{fold},{seed},full,standard,all,ndcg,10,");
        csv.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{start}"))
    };
    let value = |line: &str| -> f64 { field(&csv, line, "value").parse().unwrap() };
    let count = |line: &str, name: &str| -> usize { field(&csv, line, name).parse().unwrap() };
    // Per user: who is in which fold.
    let relevant = |fold: &str| -> BTreeSet<String> {
        let text = fs::read_to_string(root().join("datasets/sample/ratings.csv")).unwrap();
        let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        let liked =
            rows.filter(|f| f[4] == fold && f[2].parse::<f64>().is_ok_and(|rating| rating >= 4.0));
        liked.map(|f| f[0].to_owned()).collect()
    };
    let (f1, f2) = (relevant("f1"), relevant("f2"));
    let both = f1.union(&f2).count();
    let mean = of("mean", "mean");
    assert_eq!(count(mean, "n_users"), both);
    assert_eq!(count(mean, "n_pairs"), f1.len() + f2.len());
    assert!(both < f1.len() + f2.len());
    let of_fold = |fold: &str| ["1", "2", "3"].map(|seed| value(of(fold, seed)));
    let average = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let squares = |values: &[f64]| -> f64 {
        values.iter().map(|value| (value - average(values)).powi(2)).sum()
    };
    let (one, two) = (of_fold("f1"), of_fold("f2"));
    let over_folds = squares(&[average(&one), average(&two)]).sqrt();
    let over_seeds = ((squares(&one) + squares(&two)) / 4.0).sqrt();
    let number = |name: &str| -> f64 { field(&csv, mean, name).parse().unwrap() };
    assert!((number("sd_folds") - over_folds).abs() < 1e-12, "{mean}");
    assert!((number("sd_seeds") - over_seeds).abs() < 1e-12, "{mean}");
    let text = place.fine(&["table", "small.yaml"]);
    let users = format!("n = {both} users ({} user-fold pairs).", f1.len() + f2.len());
    assert!(text.contains(&users), "{text}");
    assert!(text.contains("±: sample standard deviation over the 2 folds (of means over seeds)."));
    // One fold with three seeds is its mean over them.
    let of_f1 = place.fine(&["table", "small.yaml", "--fold", "f1"]);
    let shown = format!("{:.4} ± {:.4}", average(&one), (squares(&one) / 2.0).sqrt());
    assert!(of_f1.contains(&shown), "{shown} in {of_f1}");
    let html = fs::read_to_string(place.path("reports/small/index.html")).unwrap();
    assert!(html.contains(&format!("{both} users ({} user-fold pairs)", f1.len() + f2.len())));
    assert!(html.contains("Bars: 95 % intervals over users."), "figures say what bars are");
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
    assert_eq!(kinds.iter().filter(|event| event["event"] == "step-finished").count(), 14);
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
    // Settings of a model deny unknown keys, and a system has keys beside them.
    for model in schema["$defs"]["SystemSpec"]["oneOf"].as_array().unwrap() {
        let keys = match model["properties"]["model"]["const"].as_str().unwrap() {
            "rerank" | "external" => &["describe"][..],
            _ => &["describe", "search", "positives", "train_share"],
        };
        for key in keys {
            assert!(
                model["properties"][key].is_object(),
                "{key} in {}",
                model["properties"]["model"]
            );
        }
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

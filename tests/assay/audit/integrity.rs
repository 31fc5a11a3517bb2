//! Whether a number is what it claims to be.

use std::{fs, path::PathBuf, process::Command};

use rec_assay::{
    analysis::{Collected, collect},
    audit::{Subject, audit as checked, find},
    core::Workspace,
    tasks::ExperimentRecord,
};
use serde_json::Value;

use super::{audit, close, findings, is_clean, number, only};
use crate::support::Place;

fn place(systems: &str) -> Place {
    let place = Place::new();
    place.write(
        "e.yaml",
        format!(
            "experiment: e
data: {{set: sample, relevant: \">= 4\"}}
split: {{scheme: official, only: [f1]}}
systems:
{systems}
evaluate: {{k: [5, 10, 12], slices: [all, \"cold<20\"]}}
"
        ),
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    place
}

/// The directory of a step.
fn dir(place: &Place, kind: &str, label: &str) -> PathBuf {
    let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let step = steps.iter().find(|step| step["kind"] == kind && step["step"] == label);
    let step = step.unwrap_or_else(|| panic!("no {kind} {label} in {steps:?}"));
    place.path(".assay/steps").join(kind).join(step["key"].as_str().unwrap())
}

/// The stored value of a mean of the slice all.
fn stored(place: &Place, system: &str, metric: &str, k: u64) -> f64 {
    let csv = place.fine(&["results", "e.yaml", "--csv"]);
    let head: Vec<&str> = csv.lines().next().unwrap().split(',').collect();
    let at = |name: &str| head.iter().position(|column| *column == name).unwrap();
    let rows = csv.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    let mut rows = rows.filter(|row| {
        row[at("system")] == system
            && row[at("slice")] == "all"
            && row[at("metric")] == metric
            && row[at("k")] == k.to_string()
    });
    rows.next().unwrap()[at("value")].parse().unwrap()
}

/// The lists of another system in the place of a system's: the means are not those of the lists any more, but those of
/// the other system.
#[test]
fn means_of_other_lists_are_found_with_their_values() {
    let place = place("  random: {model: random}\n  als: {model: als, factors: 8, iterations: 5}");
    for id in ["recomputed-metrics", "damaged-artifacts"] {
        is_clean(&audit(&place, &["e.yaml"]), id);
    }
    let (of_random, of_als) =
        (dir(&place, "predict", "random f1 seed 1"), dir(&place, "predict", "als f1 seed 1"));
    fs::copy(of_random.join("lists.parquet"), of_als.join("lists.parquet")).unwrap();
    let report = audit(&place, &["e.yaml"]);
    let finding = only(&report, "recomputed-metrics");
    assert_eq!(finding["subject"], "als");
    // Five metrics at three cutoffs for two slices.
    assert_eq!(number(finding, "means"), 30.0);
    if finding["evidence"]["slice"] == "all" {
        let (metric, k) =
            (finding["evidence"]["metric"].as_str().unwrap(), number(finding, "k") as u64);
        close(number(finding, "stored"), stored(&place, "als", metric, k));
        close(number(finding, "recomputed"), stored(&place, "random", metric, k));
    }
    let finding = only(&report, "damaged-artifacts");
    assert_eq!((number(finding, "damaged"), number(finding, "steps")), (1.0, 7.0));
    assert!(finding["message"].as_str().unwrap().contains("predict als f1 seed 1"), "{finding}");
    // The same lists under two names, too.
    let finding = only(&report, "identical-rankings");
    assert_eq!(finding["evidence"]["same_as"], serde_json::json!(["als"]));
}

#[test]
fn one_system_under_two_names_is_found() {
    let place = place(
        "  a: {model: item-knn, neighbours: {sweep: [20, 21]}}\n  b: {model: item-knn, neighbours: 20}\n  popularity: {model: popularity}",
    );
    let report = audit(&place, &["e.yaml"]);
    let finding = only(&report, "identical-rankings");
    assert_eq!(finding["subject"], "a[neighbours=20]");
    assert_eq!(finding["evidence"]["same_as"], serde_json::json!(["b"]));
}

/// One of two evaluations is removed.
#[test]
fn trials_without_a_result_are_named() {
    let place = place("  popularity: {model: popularity}\n  random: {model: random}");
    is_clean(&audit(&place, &["e.yaml"]), "missing-results");
    fs::remove_dir_all(dir(&place, "evaluate", "popularity f1")).unwrap();
    let report = audit(&place, &["e.yaml"]);
    let finding = only(&report, "missing-results");
    assert!(finding["message"].as_str().unwrap().contains("popularity"), "{finding}");
    assert_eq!(finding["severity"], "error");
}

/// The lists of a reranker with a larger pool in the place of one with a pool of 12.
#[test]
fn reranked_lists_with_more_than_their_pool_are_found() {
    let place = place(
        "  als: {model: als, factors: 8, iterations: 5}
  small: {model: rerank, of: als, text: {profiles: p}, pool: 12, strategy: prompt, judge: shuffle}
  large: {model: rerank, of: als, text: {profiles: p}, pool: 80, strategy: prompt, judge: oracle}
profiles: {p: {from: template}}",
    );
    is_clean(&audit(&place, &["e.yaml"]), "reranked-beyond-pool");
    let (large, small) =
        (dir(&place, "rerank", "large f1 seed 1"), dir(&place, "rerank", "small f1 seed 1"));
    fs::copy(large.join("lists.parquet"), small.join("lists.parquet")).unwrap();
    let report = audit(&place, &["e.yaml"]);
    let finding = only(&report, "reranked-beyond-pool");
    assert_eq!((finding["subject"].as_str(), number(finding, "pool")), (Some("small"), 12.0));
    close(number(finding, "recall"), stored(&place, "large", "recall", 12));
    close(number(finding, "recall_of_pool"), stored(&place, "als", "recall", 12));
}

/// Values that no evaluation gives, put into the results after they were read.
#[test]
fn impossible_values_and_falling_metrics_are_found() {
    let place = place("  popularity: {model: popularity}\n  item-knn: {model: item-knn}");
    let workspace = Workspace::at(&place.path(".assay"));
    let record = ExperimentRecord::read(&workspace, "e").unwrap();
    let checks = ["not-monotone", "out-of-range"].map(|id| find(id).unwrap());
    let found = |change: &dyn Fn(&mut Collected)| -> Vec<Vec<(&'static str, Value)>> {
        let mut collected = collect(&record, &workspace, &Subject::request(&record)).unwrap();
        change(&mut collected);
        let subject = Subject::new(&record, &workspace, &collected);
        let of = checked(&subject, &checks);
        let findings =
            of.iter().flat_map(|of| of.findings().map(|(finding, _)| finding.evidence.clone()));
        findings.collect()
    };
    assert!(found(&|_| {}).is_empty());
    let set = |metric: &'static str, k: usize, value: f64| {
        move |collected: &mut Collected| {
            let rows = collected.rows.iter_mut();
            let is = |row: &&mut rec_assay::analysis::ResultRow| {
                row.system == "item-knn" && row.metric == metric && row.k == k && row.slice == "all"
            };
            rows.filter(is).for_each(|row| row.value = Some(value));
        }
    };
    let of = found(&set("recall", 10, 0.0001));
    let [falls] = &of[..] else { panic!("{of:?}") };
    let value = |name: &str| falls.iter().find(|(of, _)| *of == name).unwrap().1.as_f64().unwrap();
    assert_eq!((value("k"), value("next_k"), value("next_value")), (5.0, 10.0, 0.0001));
    close(value("value"), stored(&place, "item-knn", "recall", 5));
    for (metric, value) in
        [("ndcg", 1.01), ("precision", -0.1), ("novelty", f64::INFINITY), ("gini", 2.0)]
    {
        assert_eq!(found(&set(metric, 10, value)).len(), 1, "{metric} {value}");
    }
    assert!(found(&set("novelty", 10, 8.5)).is_empty());
}

#[test]
fn steps_outside_their_revision_are_counted() {
    let place = place("  popularity: {model: popularity}");
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"];
        let done = Command::new("git")
            .args(identity)
            .args(args)
            .current_dir(place.dir.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "{args:?}");
    };
    is_clean(&audit(&place, &["e.yaml"]), "dirty-tree");
    git(&["init", "-q"]);
    git(&["add", "e.yaml"]);
    git(&["commit", "-qm", "first"]);
    place.fine(&["run", "e.yaml", "--quiet", "--force"]);
    is_clean(&audit(&place, &["e.yaml"]), "dirty-tree");
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    place.write("e.yaml", text + "# changed\n");
    place.fine(&["run", "e.yaml", "--quiet", "--force"]);
    let report = audit(&place, &["e.yaml"]);
    let finding = only(&report, "dirty-tree");
    assert_eq!((number(finding, "dirty"), number(finding, "steps")), (4.0, 4.0));
    git(&["commit", "-qam", "second"]);
    let trial = text_with_another_system(&place);
    place.write("e.yaml", trial);
    git(&["commit", "-qam", "third"]);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let report = audit(&place, &["e.yaml"]);
    let messages: Vec<&str> =
        findings(&report, "dirty-tree").iter().map(|of| of["message"].as_str().unwrap()).collect();
    assert!(
        messages.iter().any(|of| of.starts_with("the 7 steps ran at 2 revisions")),
        "{messages:?}"
    );
}

fn text_with_another_system(place: &Place) -> String {
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    text.replace("systems:\n", "systems:\n  random: {model: random}\n")
}

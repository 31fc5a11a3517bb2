//! Other ways to write the same: one value for a list, metrics as papers write them, old names of settings.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::support::Place;

fn file(evaluate: &str) -> String {
    format!(
        "experiment: e
data: {{set: sample, relevant: '>= 4'}}
split: {{scheme: official, only: [f1]}}
systems: {{popularity: {{model: popularity}}, random: {{model: random}}}}
evaluate: {evaluate}
"
    )
}

/// The keys of all steps of an experiment, and what is said of its file.
fn keys(place: &Place, text: &str) -> (Vec<String>, String) {
    place.write("e.yaml", text);
    let ended = place.assay(&["plan", "e.yaml", "--json"]);
    assert_eq!(ended.code, 0, "{text}\n{}", ended.err);
    let plan: Value = serde_json::from_str(&ended.out).unwrap();
    let steps = plan["steps"].as_array().unwrap().iter();
    (steps.map(|step| step["key"].as_str().unwrap().to_owned()).collect(), ended.err)
}

fn refused(place: &Place, text: &str) -> String {
    place.write("e.yaml", text);
    let ended = place.assay(&["plan", "e.yaml"]);
    assert_eq!(ended.code, 2, "{text}\n{}", ended.out);
    ended.err
}

#[test]
fn one_value_is_a_list_of_one() {
    let place = Place::new();
    let list = file(
        "{k: [5], slices: ['cold<10'], metrics: [ndcg], protocols: [judged], conventions: [trec]}",
    );
    let one =
        file("{k: 5, slices: 'cold<10', metrics: ndcg, protocols: judged, conventions: trec}");
    let expected = keys(&place, &list);
    assert_eq!(keys(&place, &one), expected);
    assert_eq!(keys(&place, &list.replace("[f1]", "f1")), expected);
    for (wrong, says) in [
        ("{k: ten}", "found the text `ten`"),
        ("{k: {a: 1}}", "expected a value or a list of values"),
        ("{slices: warm}", "unknown slice `warm`"),
        ("{k: -1}", "a whole number, 0 or more"),
    ] {
        let err = refused(&place, &file(wrong));
        assert!(err.contains(says) && err.contains("e.yaml:5"), "{err}");
    }
}

#[test]
fn a_number_of_seeds_and_a_seed_are_told_apart() {
    let place = Place::new();
    let err = refused(&place, &format!("{}seeds: 3\n", file("{k: 5}")));
    for text in ["`seeds: 3` may be", "`seeds: [3]` for one seed", "`seeds: [1, 2, 3]`", "e.yaml:6"]
    {
        assert!(err.contains(text), "{err}");
    }
    let place = Place::new();
    place.write("e.yaml", file("{k: 5}"));
    assert_eq!(place.assay(&["plan", "e.yaml", "--set", "seeds=5"]).code, 2);
    place.fine(&["plan", "e.yaml", "--set", "seeds=[5]"]);
}

#[test]
fn metrics_are_read_as_papers_write_them() {
    let place = Place::new();
    let (expected, said) = keys(&place, &file("{k: [10, 20], metrics: [ndcg, hit-rate, recall]}"));
    assert_eq!(said, "");
    for same in [
        "{metrics: [nDCG@10, HR@10, Recall@20]}",
        "{k: [20, 10], metrics: [NDCG@20, hit_rate, R@10]}",
        "{metrics: [ndcg@10, HitRate, recall@20, nDCG@20]}",
    ] {
        assert_eq!(keys(&place, &file(same)), (expected.clone(), String::new()), "{same}");
    }
    let (one, said) = keys(&place, &file("{metrics: MAP@10}"));
    assert_eq!(one, keys(&place, &file("{metrics: [map]}")).0);
    assert!(said.starts_with("warning: e.yaml:5: `MAP@10` is read as `map`: "), "{said}");
    assert!(said.contains("`map-rel` always divides by the relevant items"), "{said}");
    for (wrong, says) in [
        ("{k: [5, 20], metrics: [nDCG@10]}", "`ndcg@10` has the cutoff 10, but k is 5, 20"),
        ("{metrics: [nDCG@ten]}", "expected a cutoff of 1 or more behind `@`"),
        ("{metrics: [coverage]}", "known is the first, `item-coverage`"),
        ("{metrics: [F1@10]}", "unknown metric `F1`"),
    ] {
        let err = refused(&place, &file(wrong));
        assert!(err.contains(says) && err.contains("e.yaml:5"), "{err}");
    }
    // Where one metric is measured, its cutoff is the one beside it.
    let search = |search: &str| {
        file("{k: 5}").replace(
            "{model: random}",
            &format!("{{model: als, search: {{over: {{alpha: [1, 2]}}{search}}}}}"),
        )
    };
    let (expected, _) = keys(&place, &search(", metric: recall, k: 20"));
    assert_eq!(keys(&place, &search(", metric: Recall@20")).0, expected);
    let err = refused(&place, &search(", metric: Recall@20, k: 10"));
    assert!(err.contains("`recall@20` has the cutoff 20, but k is 10"), "{err}");
    let trained = |validate: &str| {
        file("{k: 5}").replace(
            "{model: random}",
            &format!("{{model: bprmf, training: {{validate: {{{validate}}}}}}}"),
        )
    };
    let (expected, _) = keys(&place, &trained("metric: mrr, k: 20"));
    assert_eq!(keys(&place, &trained("metric: MRR@20")).0, expected);
}

#[test]
fn options_read_metrics_as_papers_write_them() {
    let place = Place::new();
    place.write("e.yaml", file("{k: [5, 10], metrics: [ndcg, map], protocols: [full, judged]}"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let compare = |args: &[&str]| -> Value {
        let out = place.fine(&[&["compare", "e.yaml", "--json"], args].concat());
        serde_json::from_str(&out).unwrap()
    };
    assert_eq!(compare(&["--metric", "nDCG@5"]), compare(&["--metric", "ndcg", "-k", "5"]));
    let said = place.assay(&["compare", "e.yaml", "--metric", "MAP@5"]).err;
    assert!(said.contains("note: `MAP@5` is read as `map`"), "{said}");
    let both = place.assay(&["compare", "e.yaml", "--metric", "nDCG@5", "-k", "10"]);
    assert!(both.code == 2 && both.err.contains("has the cutoff 5, but k is 10"), "{}", both.err);
    let two = place.assay(&["compare", "e.yaml", "--metric", "nDCG@5", "--metric", "map@10"]);
    assert!(two.code == 2 && two.err.contains("several cutoffs: 5, 10"), "{}", two.err);
    let unknown = place.assay(&["compare", "e.yaml", "--metric", "F1"]);
    assert!(unknown.err.contains("the experiment has no metric `F1`"), "{}", unknown.err);
    assert_eq!(
        place.fine(&["agreement", "e.yaml", "--metric", "NDCG@5"]),
        place.fine(&["agreement", "e.yaml", "--metric", "ndcg", "-k", "5"])
    );
    place.fine(&["baseline", "record", "e.yaml", "--out", "base.json"]);
    let check = |args: &[&str]| {
        place.fine(&[&["check", "e.yaml", "--against", "base.json"], args].concat())
    };
    assert_eq!(check(&["--metric", "nDCG@5"]), check(&["--metric", "ndcg", "-k", "5"]));
    place.write("runs.csv", "user,item,rank\n1,1,1\n1,2,2\n");
    let score = |args: &[&str]| -> BTreeSet<(String, u64)> {
        let base = ["score", "--data", "sample", "--fold", "f1", "runs.csv", "--json"];
        let ended = place.assay(&[&base[..], args].concat());
        assert_eq!(ended.code, 0, "{}", ended.err);
        let rows: Value = serde_json::from_str(&ended.out).unwrap();
        let rows = rows["rows"].as_array().unwrap().iter();
        rows.map(|row| (row["metric"].as_str().unwrap().to_owned(), row["k"].as_u64().unwrap()))
            .collect()
    };
    assert_eq!(
        score(&["--metric", "nDCG@5,HR@5"]),
        score(&["--metric", "ndcg,hit-rate", "-k", "5"])
    );
    assert_eq!(score(&["--metric", "ndcg"]), BTreeSet::from([("ndcg".to_owned(), 10)]));
}

#[test]
fn settings_have_one_name_in_all_models_and_old_names_warn() {
    let place = Place::new();
    place.write("old.yaml", "model: lightgcn\ndim: 32\n");
    place.write("new.yaml", "model: lightgcn\nfactors: 32\n");
    let systems = |als: &str, dim: &str, file: &str, over: &str| {
        format!(
            "experiment: e
data: {{set: sample, relevant: '>= 4'}}
split: {{scheme: official, only: [f1]}}
systems:
  als: {{model: als, {als}}}
  bprmf: {{model: bprmf, {dim}}}
  ngcf: {{sweep: {{a: {{model: ngcf, {dim}}}, b: {{model: popularity}}}}}}
  lightgcn: {{use: {file}.yaml, layers: 1}}
  changed: {{use: {file}.yaml, factors: 16}}
  searched: {{model: als, search: {{over: {over}}}}}
"
        )
    };
    let old = systems("iterations: 3", "dim: 16", "old", "{iterations: [2, 3], alpha: [1]}");
    let new = systems(
        "training: {epochs: 3}",
        "factors: 16",
        "new",
        "{training.epochs: [2, 3], alpha: [1]}",
    );
    let (expected, said) = keys(&place, &new);
    assert_eq!(said, "");
    let (keys_of_old, said) = keys(&place, &old);
    assert_eq!(keys_of_old, expected);
    for warning in [
        "warning: e.yaml:5: the key `iterations` is deprecated; use `training.epochs`",
        "warning: e.yaml:6: the key `dim` is deprecated; use `factors`",
        "warning: e.yaml:7: the key `dim` is deprecated; use `factors`",
        "old.yaml:2: the key `dim` is deprecated; use `factors`",
        "warning: e.yaml:10: the key `iterations` is deprecated; use `training.epochs`",
    ] {
        assert_eq!(said.matches(warning).count(), 1, "{warning}: {said}");
    }
    let both = refused(
        &place,
        &systems("iterations: 3, training: {epochs: 2}", "factors: 16", "new", "{alpha: [1]}"),
    );
    assert!(both.contains("both `iterations` and `training.epochs` are given"), "{both}");
    place.write("e.yaml", &old);
    let set = place.assay(&["plan", "e.yaml", "--json", "--set", "systems.als.iterations=7"]);
    assert!(set.err.contains("--set:1: the key `iterations` is deprecated"), "{}", set.err);
    let same = place.assay(&["plan", "e.yaml", "--json", "--set", "systems.als.training.epochs=7"]);
    assert_eq!(set.out, same.out);
    let zero =
        refused(&place, &systems("training: {epochs: 0}", "factors: 16", "new", "{alpha: [1]}"));
    assert!(zero.contains("`training.epochs`: is 0") && zero.contains("e.yaml:5:40"), "{zero}");
}

#[test]
fn a_search_tries_each_setting_once_and_says_so() {
    let place = Place::new();
    let searched = |search: &str| {
        file("{k: 5}").replace("{model: random}", &format!("{{model: als, search: {search}}}"))
    };
    let (nine, said) = keys(&place, &searched("{trials: 9, over: {alpha: [1, 2]}}"));
    assert!(
        said.contains("e.yaml:4: the search has 9 trials, but there are only 2 settings to try: each is tried once"),
        "{said}"
    );
    assert_ne!(nine, keys(&place, &searched("{over: {alpha: [1, 2]}}")).0);
    let err = refused(&place, &searched("{over: {alpha: [1, 2, 1]}}"));
    assert!(
        err.contains("two trials of the search are the same setting: alpha=1 and alpha=1"),
        "{err}"
    );
}

#[test]
fn trials_of_searches_are_results() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official, only: [f1, f2]}
seeds: [1, 2]
systems:
  popularity: {model: popularity}
  als: {model: als, factors: 4, search: {metric: recall, k: 20, over: {regularization: [0.1, 50], training.epochs: [2]}}}
",
    );
    let none = place.assay(&["results", "e.yaml", "--trials"]);
    assert!(none.code == 3 && none.err.contains("--until search"), "{}", none.err);
    place.fine(&["run", "e.yaml", "--until", "search", "--folds", "f1", "--quiet"]);
    let part = place.assay(&["results", "e.yaml", "--trials", "--json"]);
    assert!(part.code == 3 && part.err.contains("1 search has no result: als f2"), "{}", part.err);
    place.fine(&["run", "e.yaml", "--quiet"]);
    let out = place.fine(&["results", "e.yaml", "--trials", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!(rows.len(), 4, "two folds of two trials, once for both seeds");
    for fold in ["f1", "f2"] {
        let of_fold: Vec<&Value> = rows.iter().filter(|row| row["fold"] == fold).collect();
        let expected = [0.1, 50.0];
        for (at, row) in of_fold.iter().enumerate() {
            assert_eq!(row["settings"]["regularization"].as_f64(), Some(expected[at]));
            assert_eq!(row["settings"]["training.epochs"], 2);
            assert_eq!((&row["trial"], &row["k"]), (&Value::from(at + 1), &Value::from(20)));
            assert_eq!(row["metric"], "recall");
        }
        let value = |row: &Value| row["validation"].as_f64().unwrap();
        let best = of_fold.iter().map(|row| value(row)).fold(0.0, f64::max);
        let chosen: Vec<&&Value> = of_fold.iter().filter(|row| row["chosen"] == true).collect();
        assert!(chosen.len() == 1 && value(chosen[0]) == best, "{of_fold:?}");
    }
    let csv = place.fine(&["results", "e.yaml", "--trials"]);
    assert!(
        csv.starts_with(
            "experiment,system,fold,trial,settings,metric,k,validation,epochs,chosen,failed\n"
        ),
        "{csv}"
    );
    for value in ["0.1", "50"] {
        let cell = format!("\"training.epochs=2, regularization={value}\",recall,20,");
        assert_eq!(csv.matches(&cell).count(), 2, "{csv}");
    }
    assert_eq!(std::fs::read_to_string(place.path("reports/e/trials.csv")).unwrap(), csv);
    place.write("f.yaml", file("{k: 5}"));
    let refused = place.assay(&["results", "f.yaml", "--trials"]);
    assert!(
        refused.code == 2 && refused.err.contains("no system of f.yaml has a search"),
        "{}",
        refused.err
    );
}

//! Values set on the command line (`--set`), and parts of an experiment (`--only`, `--folds`).

use std::{collections::BTreeSet, fs};

use serde_json::Value;

use crate::support::{Ended, Place, ended};

const FILE: &str = "experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official, only: [f1, f2]}
systems:
  popularity: {model: popularity}
  mine: {use: baselines/als.yaml, factors: 4}
evaluate: {k: [10]}
";

const ALS: &str = "model: als\ntraining: {epochs: 2}\n";

fn place() -> Place {
    let place = Place::new();
    place.write("e.yaml", FILE);
    place.write("baselines/als.yaml", ALS);
    place
}

fn rows(place: &Place, args: &[&str]) -> Vec<Value> {
    let out = place.fine(&[&["results", "e.yaml", "--json"], args].concat());
    serde_json::from_str::<Value>(&out).unwrap().as_array().unwrap().clone()
}

fn texts(rows: &[Value], field: &str) -> BTreeSet<String> {
    rows.iter().map(|row| row[field].as_str().unwrap().to_owned()).collect()
}

fn value(rows: &[Value], system: &str) -> f64 {
    let is_it =
        |row: &&Value| row["system"] == system && row["fold"] == "mean" && row["metric"] == "ndcg";
    rows.iter().find(is_it).unwrap()["value"].as_f64().unwrap()
}

#[test]
fn results_of_a_set_value_are_those_of_the_file_with_it_and_never_shown_as_the_files_own() {
    let place = place();
    let set = ["--set", "systems.mine.factors=16"];
    place.fine(&["run", "e.yaml", "--quiet"]);
    let own = rows(&place, &[]);
    place.fine(&[&["run", "e.yaml", "--quiet"][..], &set].concat());
    assert_eq!(rows(&place, &[]), own, "the file's own results");
    let changed = rows(&place, &set);
    assert_eq!(value(&own, "popularity"), value(&changed, "popularity"));

    // Worked out with a file that has the value itself.
    place.write(
        "f.yaml",
        FILE.replace("factors: 4", "factors: 16").replace("experiment: e", "experiment: f"),
    );
    let plan = |args: &[&str]| -> Vec<String> {
        let out = place.fine(&[&["plan", "--json"], args].concat());
        let plan: Value = serde_json::from_str(&out).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter();
        steps.map(|step| step["key"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(plan(&["f.yaml"]), plan(&[&["e.yaml"][..], &set].concat()));
    assert_ne!(plan(&["f.yaml"]), plan(&["e.yaml"]));
    assert_ne!(value(&own, "mine"), value(&changed, "mine"));

    let names = texts(&changed, "experiment");
    let name = names.first().unwrap();
    assert!(names.len() == 1 && name.starts_with("e@"), "{names:?}");
    assert_eq!(texts(&own, "experiment"), BTreeSet::from(["e".into()]));
    // The same value in other words is the same experiment; another value is another one.
    assert_eq!(texts(&rows(&place, &["--set", "systems.als.factors= 16"]), "experiment"), names);
    let other = place.assay(&["results", "e.yaml", "--set", "systems.mine.factors=17"]);
    assert!(
        other.code == 3 && other.err.contains("--set systems.mine.factors=17` first")
            || !other.out.contains("mine"),
        "{}{}",
        other.out,
        other.err
    );

    assert!(place.fine(&["ls"]).contains(name));
    assert!(place.fine(&["show", name]).contains("with        systems.mine.factors=16\n"));
    assert!(!place.fine(&["show", "e"]).contains("with  "));
    let report = fs::read_to_string(place.path(&format!("reports/{name}/index.html"))).unwrap();
    assert!(report.contains("<code>systems.mine.factors=16</code>"));
    let of_file = fs::read_to_string(place.path("reports/e/index.html")).unwrap();
    assert!(!of_file.contains("systems.mine.factors=16"));

    // Without the data each name has the results that were recorded under it.
    let blind = |args: &[&str]| -> Ended {
        let mut command = place.command(args);
        let output = command.env("ASSAY_DATA", place.path("nothing")).output().unwrap();
        ended(output, place.dir.path())
    };
    let shown = |args: &[&str]| -> Vec<Value> {
        let ended = blind(args);
        serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{args:?}: {}", ended.err))
    };
    assert_eq!(shown(&["results", "e.yaml", "--json"]), own);
    assert_eq!(shown(&[&["results", "e.yaml", "--json"][..], &set].concat()), changed);
    assert_eq!(shown(&["results", name, "--json"]), changed);
    assert_eq!(shown(&["results", "e", "--json"]), own);
    let refused = blind(&["results", "e", "--set", "seeds=[1]"]);
    assert!(
        refused.code == 2 && refused.err.contains("--set needs the experiment file"),
        "{}",
        refused.err
    );

    let compared = place.fine(&["compare", "e.yaml", "e.yaml", "--other-set", set[1], "--json"]);
    let compared: Value = serde_json::from_str(&compared).unwrap();
    let of_mine = compared["rows"].as_array().unwrap().iter().find(|row| row["system"] == "mine");
    let of_mine = of_mine.unwrap();
    assert_eq!(of_mine["reference_value"].as_f64().unwrap(), value(&own, "mine"));
    assert_eq!(of_mine["value"].as_f64().unwrap(), value(&changed, "mine"));
}

#[test]
fn what_cannot_be_set_is_refused_with_what_exists() {
    let place = place();
    for (set, says) in [
        (
            "systems.als.factor=128",
            &["unknown key `factor`", "did you mean `factors`?", "--> --set:1:1"][..],
        ),
        (
            "systems.pop.factors=128",
            &["`systems` has no `pop`", "one of popularity, mine", "did you mean `popularity`?"],
        ),
        ("system.als.factors=128", &["unknown key `system`", "did you mean `systems`?"]),
        (
            "systems.mine.factors=many",
            &["found the text `many`", "a whole number", "--> --set:1:22"],
        ),
        ("systems.mine.factors=0", &["`factors`: ", "--> --set:1:22"]),
        ("evaluate.kk=10", &["unknown key `kk`", "--> --set:1:1"]),
        ("endpoints.gpt.model=x", &["the experiment has no `endpoints`"]),
        ("experiment.name=x", &["cannot set `name` in the text `e`"]),
        ("systems.mine", &["this has no value", "systems.als.factors=128"]),
        ("seeds=", &["found nothing"]),
    ] {
        for command in ["run", "plan", "results"] {
            let refused = place.assay(&[command, "e.yaml", "--set", set]);
            assert_eq!(refused.code, 2, "{set}: {}{}", refused.out, refused.err);
            for text in says {
                assert!(refused.err.contains(text), "{set}: no {text} in {}", refused.err);
            }
        }
    }
    place.write("two.yaml", FILE.replace("  mine:", "  other: {use: baselines/als.yaml}\n  mine:"));
    let refused = place.assay(&["plan", "two.yaml", "--set", "systems.als.factors=3"]);
    assert!(refused.code == 2 && refused.err.contains("one of other, mine"), "{}", refused.err);
    assert!(!place.path(".assay").exists(), "nothing was started");
}

#[test]
fn sweeps_whole_mappings_and_several_values_can_be_set() {
    let place = place();
    place.fine(&[
        "run",
        "e.yaml",
        "--quiet",
        "--set",
        "systems.mine.factors={sweep: [2, 3]}",
        "--set",
        "split={scheme: official, only: [f1]}",
        "--set",
        "seeds=[1, 2]",
        "--set",
        "evaluate.k=[5]",
    ]);
    let name = fs::read_dir(place.path(".assay/experiments")).unwrap().next().unwrap().unwrap();
    let out = place.fine(&["results", name.file_name().to_str().unwrap(), "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&out).unwrap();
    let systems = ["mine[factors=2]", "mine[factors=3]", "popularity"].map(str::to_owned);
    assert_eq!(texts(&rows, "system"), BTreeSet::from(systems));
    assert_eq!(texts(&rows, "fold"), BTreeSet::from(["f1", "mean"].map(str::to_owned)));
    assert_eq!(texts(&rows, "seed"), BTreeSet::from(["1", "2", "mean"].map(str::to_owned)));
    assert!(rows.iter().all(|row| row["k"] == 5));
}

#[test]
fn a_part_is_run_alone_and_the_rest_keeps_its_results() {
    let place = place();
    let part = place.assay(&["run", "e.yaml", "--only", "mine", "--folds", "f2"]);
    assert_eq!(part.code, 0, "{}", part.err);
    assert!(part.err.contains("e: 1 trial, 4 of 4 steps to run"), "{}", part.err);
    assert!(
        part.err.contains("note: 3 trials outside this part of the experiment have no result"),
        "{}",
        part.err
    );
    let results = place.assay(&["results", "e.yaml", "--json"]);
    let rows: Vec<Value> = serde_json::from_str(&results.out).unwrap();
    assert_eq!(results.code, 3, "the rest is missing");
    assert_eq!(texts(&rows, "system"), BTreeSet::from(["mine".into()]));
    assert_eq!(texts(&rows, "fold"), BTreeSet::from(["f2", "mean"].map(str::to_owned)));

    let plan = place.fine(&["plan", "e.yaml", "--only", "popularity"]);
    assert!(plan.starts_with("e: 2 trials in 8 steps, 1 done, 7 to run\n"), "{plan}");
    assert!(!plan.contains("mine"), "{plan}");

    let all = place.assay(&["run", "e.yaml"]);
    assert!(all.err.contains("e: 4 trials, 10 of 14 steps to run"), "{}", all.err);
    let before = place.artefacts(".assay");
    let part = place.assay(&["run", "e.yaml", "--only", "popularity"]);
    assert!(part.code == 0 && part.err.contains("0 of 8 steps to run"), "{}", part.err);
    assert!(!part.err.contains("outside this part"), "{}", part.err);
    assert_eq!(place.artefacts(".assay"), before);
    assert_eq!(place.assay(&["results", "e.yaml"]).code, 0, "nothing is missing");

    for (args, says) in [
        (
            ["--only", "als"],
            "--only als: there is no such system\n  = expected one of popularity, mine",
        ),
        (["--folds", "f1,f9"], "--folds f9: there is no such fold\n  = expected one of f1, f2"),
    ] {
        for command in ["run", "plan"] {
            let refused = place.assay(&[&[command, "e.yaml"][..], &args].concat());
            assert!(refused.code == 2 && refused.err.contains(says), "{}", refused.err);
        }
    }
}

#[test]
fn a_system_alone_has_all_levels_of_its_sweeps_and_a_reranker_its_base() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e
data: {set: sample, relevant: '>= 4'}
split: {scheme: official, only: [f1]}
systems:
  als: {model: als, training: {epochs: 2}, factors: {sweep: [2, 3]}}
  popularity: {model: popularity}
  item-knn: {model: item-knn}
  by-popularity: {model: rerank, of: 'als[factors=3]', judge: popularity, strategy: prompt, text: {profiles: p}}
profiles: {p: {from: template}}
",
    );
    let trials = |system: &str| -> Vec<String> {
        let plan = place.fine(&["plan", "e.yaml", "--only", system]);
        let lines = plan.lines().filter(|line| line.contains("─ ") && !line.contains("─ split"));
        let names = lines.map(|line| line.split("─ ").nth(1).unwrap().split(' ').next().unwrap());
        names.map(str::to_owned).collect()
    };
    assert_eq!(trials("als"), ["als[factors=2]", "als[factors=3]"]);
    assert_eq!(trials("als[factors=2]"), ["als[factors=2]"]);
    assert_eq!(trials("by-popularity"), ["als[factors=3]", "by-popularity"]);
}

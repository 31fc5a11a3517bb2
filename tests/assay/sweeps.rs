//! A sweep may replace any value. Whatever it replaces, each variant must give what the experiment with
//! that one value gives in a workspace of its own, and must be stored as that.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
};

use rec_assay::{
    analysis::ResultRow,
    core::{Failure, Workspace},
    data::DataDirs,
    tasks::Experiment,
};
use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Reply, question},
    support::{Here, Place, root, weights},
};

/// What an experiment says unless a case says otherwise.
const KEYS: [(&str, &str); 5] = [
    ("data", "{set: sample, relevant: \">= 4\", disliked: \"<= 2\"}"),
    ("split", "{scheme: official, only: [f1]}"),
    ("seeds", "[1]"),
    ("systems", "{popularity: {model: popularity}, als: {model: als, factors: 4, iterations: 2}}"),
    ("evaluate", "{protocols: [full, sampled], k: [5], sampled: {negatives: 20}}"),
];

/// One place of a sweep: the key it is below, with HOLE where the sweep stands, and two values.
struct Case {
    key: &'static str,
    text: String,
    values: [String; 2],
    /// What the case needs beside it.
    more: String,
}

fn case(key: &'static str, text: &str, first: &str, second: &str) -> Case {
    Case { key, text: text.into(), values: [first.into(), second.into()], more: String::new() }
}

impl Case {
    fn yaml(&self, name: &str, value: &str) -> String {
        let mut yaml = format!("experiment: {name}\n");
        let replaced = (self.key, &self.text[..]);
        let kept = KEYS.iter().copied().filter(|(key, _)| {
            *key != self.key && !self.more.lines().any(|line| line.starts_with(&format!("{key}:")))
        });
        for (key, text) in kept.chain([replaced]) {
            yaml.push_str(&format!("{key}: {}\n", text.replace("HOLE", value)));
        }
        yaml + &self.more
    }

    /// Runs the sweep and, for each value, the plain experiment in a workspace of its own. In the workspace
    /// of the sweep the results of the plain experiments must be there already.
    fn check(&self, place: &Place) {
        let dirs = DataDirs::new(vec![root().join("datasets"), place.path("datasets")]);
        self.check_with(&dirs, true, place);
    }

    /// The same without the weights of the text encoder: the control beside a judge is left out, and no text is encoded.
    fn check_without_encoder(&self, place: &Place) {
        self.check_with(&DataDirs::new(vec![place.path("datasets")]), false, place);
    }

    fn check_with(&self, dirs: &DataDirs, has_encoder: bool, place: &Place) {
        let done = |experiment: &Experiment, workspace: &Workspace| {
            done(experiment, dirs, has_encoder, workspace)
        };
        let what = format!("{}: {}", self.key, self.text);
        let [first, second] = &self.values;
        let sweep = format!("{{sweep: {{one: {first}, two: {second}}}}}");
        let workspaces = Place::new();
        let at = |name: &str| Workspace::create(&workspaces.path(name)).unwrap();
        let file = |name: &str, text: String| {
            place.write(name, text);
            Experiment::read(&place.path(name), &DataDirs::from_env()).unwrap()
        };
        let swept = done(&file("swept.yaml", self.yaml("swept", &sweep)), &at("swept"));
        let mut of_levels = Vec::new();
        for (level, value) in ["one", "two"].iter().zip(&self.values) {
            let plain = file("plain.yaml", self.yaml("plain", value));
            let expected = done(&plain, &at(level));
            let label = format!("={level}]");
            let of_level = swept.iter().filter(|row| row.system.ends_with(&label));
            let found: Vec<ResultRow> = of_level
                .map(|row| ResultRow {
                    // The label of the variant is the last of a name.
                    system: row.system[..row.system.rfind('[').unwrap()].to_owned(),
                    experiment: "plain".into(),
                    ..row.clone()
                })
                .collect();
            assert!(!found.is_empty(), "{what}: no row of {label}");
            assert!(found == expected, "{what}, {level}\n{found:#?}\n{expected:#?}");
            let kept = Here::new(&plain, dirs).collect(&at("swept"));
            assert!(kept.missing.is_empty(), "{what}, {level}: {:?}", kept.missing);
            assert!(kept.rows == expected, "{what}, {level}, from the sweep's steps");
            of_levels.push(expected);
        }
        let values = |rows: &[ResultRow]| {
            let rows = rows.iter().map(|row| (row.system.clone(), row.metric.clone(), row.value));
            rows.collect::<Vec<_>>()
        };
        assert_ne!(values(&of_levels[0]), values(&of_levels[1]), "{what}: the case shows nothing");
    }
}

/// The results of an experiment, run here.
fn done(
    experiment: &Experiment,
    dirs: &DataDirs,
    has_encoder: bool,
    workspace: &Workspace,
) -> Vec<ResultRow> {
    let here = Here::new(experiment, dirs);
    let failures = here.run(workspace, 2).record.failures;
    // The control beside a judge, where there is no encoder.
    let is_control = |trial: &str| trial.starts_with("embedding baseline[");
    let fails = |of: &&Failure| has_encoder || !is_control(&of.trial);
    assert_eq!(failures.iter().filter(fails).collect::<Vec<_>>(), [] as [&Failure; 0]);
    here.collect(workspace).rows
}

#[test]
fn a_sweep_of_the_data_gives_what_each_value_gives_alone() {
    let place = Place::new();
    // Another set of the same shape: a tenth of the ratings is missing.
    let sample = root().join("datasets/sample");
    let ratings = fs::read_to_string(sample.join("ratings.csv")).unwrap();
    let fewer: Vec<&str> =
        ratings.lines().enumerate().filter(|(at, _)| at % 10 != 1).map(|(_, line)| line).collect();
    place.write("datasets/fewer/ratings.csv", fewer.join("\n") + "\n");
    place.write("datasets/fewer/items.csv", fs::read(sample.join("items.csv")).unwrap());
    let manifest = fs::read_to_string(root().join("datasets/sample.yaml")).unwrap();
    let manifest = manifest.split("sha256:").next().unwrap();
    let manifest = manifest
        .replace("name: sample", "name: fewer")
        .replace("folders: [sample]", "folders: [fewer]")
        .replace("hashes_from: Computed when the sample was written.\n", "");
    place.write("datasets/fewer.yaml", manifest);
    case("data", "{set: sample, relevant: HOLE}", "\">= 3\"", "\">= 5\"").check(&place);
    case("data", "{set: HOLE, relevant: \">= 4\"}", "sample", "fewer").check(&place);
    case("data", "HOLE", "{set: sample, relevant: \">= 5\"}", "{set: fewer, relevant: \">= 4\"}")
        .check(&place);
    let network = "systems: {lightgcn: {model: lightgcn, dim: 16, layers: 1, training: {epochs: 2, negatives: \
                   {exclude: liked-and-disliked}}}}\n";
    let disliked =
        case("data", "{set: sample, relevant: \">= 4\", disliked: HOLE}", "\"<= 1\"", "\"<= 3\"");
    Case { more: network.into(), ..disliked }.check(&place);
}

#[test]
fn a_sweep_of_split_or_seeds_gives_what_each_value_gives_alone() {
    let place = Place::new();
    case("split", "{scheme: HOLE}", "official", "leave-one-out").check(&place);
    case(
        "split",
        "HOLE",
        "{scheme: holdout, test: 0.2, seed: 1}",
        "{scheme: kfold, folds: 3, seed: 2, only: [f2]}",
    )
    .check(&place);
    case("split", "{scheme: holdout, test: 0.2, seed: HOLE}", "1", "2").check(&place);
    case("split", "{scheme: kfold, folds: HOLE, seed: 1, only: [f1]}", "2", "4").check(&place);
    case("split", "{scheme: official, only: HOLE}", "[f1]", "[f2]").check(&place);
    let validation = "{scheme: official, only: [f1], validation: {fraction: HOLE, seed: 1}}";
    case("split", validation, "0.1", "0.3").check(&place);
    case("seeds", "HOLE", "[1]", "[2, 3]").check(&place);
}

#[test]
fn a_sweep_of_the_evaluation_gives_what_each_value_gives_alone() {
    let place = Place::new();
    let of =
        |text: &str, first: &str, second: &str| case("evaluate", text, first, second).check(&place);
    of("{k: HOLE}", "[5]", "[10]");
    of("{protocols: [sampled], sampled: {negatives: HOLE}}", "10", "100");
    of("{protocols: [sampled], sampled: {negatives: 50, seed: HOLE}}", "1", "2");
    of("{protocols: HOLE}", "[full]", "[judged]");
    of("{conventions: HOLE}", "[standard]", "[trec]");
    of("{slices: HOLE}", "[all]", "[\"cold<10\"]");
    of("{metrics: HOLE}", "[ndcg]", "[recall, map]");
    of("HOLE", "{k: [1]}", "{protocols: [judged], slices: [\"cold<20\"]}");
}

#[test]
fn a_sweep_of_a_system_beside_another_sweep_gives_what_each_value_gives_alone() {
    let place = Place::new();
    let mut both = case("systems", "{als: {model: als, factors: HOLE, iterations: 2}}", "3", "5");
    both.more = "evaluate: {protocols: [full], k: [3]}\n".into();
    both.check(&place);
    // The searched settings are the system's own.
    let text = "{knn: {model: item-knn, search: {metric: ndcg, k: 5, over: {neighbours: HOLE}}}}";
    case("systems", text, "[5, 50]", "[1, 2]").check(&place);
}

/// Profiles that name the model that wrote them, and scores that hang on every word of the request.
fn answers(request: &Value) -> Reply {
    let question = question(request);
    let title = question.lines().find_map(|line| line.strip_prefix("Title: "));
    if request["response_format"]["json_schema"]["name"] != "scores" {
        let (title, model) = (title.unwrap_or("Somebody"), &request["model"]);
        return Reply::Content(format!(
            "# {title}\n\n## Overview\nAbout {title}, by {model}.\n\n## Attributes\n- **Genre**: Drama\n- \
             **Tags**: Slow\n\n## Description\nA thing.\n\n## Dislikes:\nComedy\n"
        ));
    }
    let ids = question.lines().filter_map(|line| line.strip_prefix('[')?.split_once("] "));
    let score = |id: &str| {
        let mut hasher = DefaultHasher::new();
        (id, request.to_string()).hash(&mut hasher);
        hasher.finish() % 100
    };
    let scores: Vec<Value> = ids.map(|(id, _)| json!({"id": id, "score": score(id)})).collect();
    Reply::Content(json!({"scores": scores}).to_string())
}

#[test]
fn a_sweep_of_what_language_models_are_told_gives_what_each_value_gives_alone() {
    if !weights("a_sweep_of_what_language_models_are_told_gives_what_each_value_gives_alone") {
        return;
    }
    let endpoint = Endpoint::start(|request, _| answers(request));
    let other = Endpoint::start(|request, _| match answers(request) {
        Reply::Content(text) => Reply::Content(text.replace("\"score\":", "\"score\":1")),
        act => act,
    });
    let place = Place::new();
    let data = place.write_part_of_sample(12, 30);
    for (name, text) in [("first", "A quiet film"), ("second", "A loud film")] {
        let rows: String = (1..=30).map(|item| format!("{item},{text} number {item}\n")).collect();
        place.write(&format!("{name}.csv"), format!("item,overview\n{rows}"));
    }
    let url = endpoint.url();
    let judges = format!("{{chat: {{base_url: \"{url}\", model: one}}}}");
    let profiles = "{texts: {items: {from: metadata}, users: {from: template}}}";
    let systems = "{popularity: {model: popularity}, re: {model: rerank, of: popularity, text: {profiles: \
                   texts}, pool: 6, judge: chat, strategy: relevancy}}";
    let declared = |key: &'static str, text: &str, first: &str, second: &str| {
        let more: String = [
            ("data", data.replace("DISLIKED", "\"<= 2\"")),
            ("endpoints", judges.clone()),
            ("profiles", profiles.to_owned()),
            ("systems", systems.to_owned()),
            ("evaluate", "{k: [3]}".to_owned()),
        ]
        .into_iter()
        .filter(|(other, _)| *other != key)
        .map(|(key, text)| format!("{key}: {text}\n"))
        .collect();
        Case { more, ..case(key, text, first, second) }
    };
    let with = |key: &'static str, text: &str, first: &str, second: &str| {
        declared(key, text, first, second).check_without_encoder(&place);
    };
    let judge = |rest: &str| format!("{{chat: {{base_url: \"{url}\", {rest}}}}}");
    with("endpoints", &judge("model: HOLE"), "one", "two");
    with("endpoints", &judge("model: one, temperature: HOLE"), "0", "0.5");
    with(
        "endpoints",
        "{chat: {base_url: HOLE, model: one}}",
        &format!("\"{url}\""),
        &format!("\"{}\"", other.url()),
    );
    with(
        "endpoints",
        "{chat: HOLE}",
        &format!("{{base_url: \"{url}\", model: one}}"),
        &format!("{{base_url: \"{url}\", model: two}}"),
    );
    let users = "{texts: {items: {from: metadata}, users: {from: HOLE}}}";
    declared("profiles", users, "metadata", "template").check(&place);
    declared("profiles", "{texts: HOLE}", "{from: metadata}", "{from: template}").check(&place);
    let written = "{texts: {items: {from: llm, judge: HOLE}, users: {from: template}}}";
    let mut writers = judges.clone();
    writers.insert_str(
        1,
        &format!("a: {{base_url: \"{url}\", model: a}}, b: {{base_url: \"{url}\", model: b}}, "),
    );
    let more = format!(
        "data: {}\nendpoints: {writers}\nsystems: {systems}\nevaluate: {{k: [3]}}\n",
        data.replace("DISLIKED", "\"<= 2\"")
    );
    Case { more, ..case("profiles", written, "a", "b") }.check(&place);
    let metadata = "{file: HOLE, id: item, overview: overview}";
    declared("metadata", metadata, "first.csv", "second.csv").check(&place);
    declared("data", &data.replace("DISLIKED", "HOLE"), "\"<= 1\"", "\"<= 2\"").check(&place);
}

#[test]
fn settings_of_the_whole_run_cannot_be_swept() {
    let place = Place::new();
    let mut yaml =
        String::from("experiment: swept\nresponses: {mode: {sweep: [record, replay]}}\n");
    KEYS.iter().for_each(|(key, text)| yaml.push_str(&format!("{key}: {text}\n")));
    place.write("e.yaml", yaml);
    let ended = place.assay(&["run", "e.yaml"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("`responses` applies to the whole run and cannot be swept"),
        "{}",
        ended.err
    );
    assert!(ended.err.contains("e.yaml:2"), "{}", ended.err);
}

#[test]
fn systems_of_one_name_are_refused() {
    let place = Place::new();
    let refused = |systems: &str, more: &str| {
        let mut yaml = String::from("experiment: names\n");
        let kept = KEYS.iter().filter(|(key, _)| *key != "systems" && !more.starts_with(key));
        kept.for_each(|(key, text)| yaml.push_str(&format!("{key}: {text}\n")));
        place.write("e.yaml", format!("{yaml}{more}\nsystems: {systems}\n"));
        let ended = place.assay(&["run", "e.yaml"]);
        assert_eq!(ended.code, 2, "{systems}\n{}\n{}", ended.out, ended.err);
        assert!(!place.path(".assay/steps/fit").exists(), "work was begun");
        ended.err
    };
    let twice = "two systems have the name `a[factors=2]`";
    let err = refused(
        "\n  a: {model: als, factors: {sweep: [2, 3]}}\n  \"a[factors=2]\": {model: als, factors: 5}",
        "",
    );
    assert!(err.contains(twice) && err.contains("e.yaml:9"), "{err}");
    let err = refused(
        "{a: {model: als, factors: {sweep: {\"2\": 3, x: 4}}}, \"a[factors=2]\": {model: als}}",
        "",
    );
    assert!(err.contains(twice), "{err}");
    // Across settings: the label of the one stands in the name of the other.
    let err = refused(
        "{a: {model: popularity}, \"a[k=5]\": {model: popularity}}",
        "evaluate: {k: {sweep: {\"5\": [5], \"5][k=5\": [10]}}}",
    );
    assert!(err.contains("two systems have the name `a[k=5][k=5]`"), "{err}");
    let err = refused("{\"\": {model: popularity}}", "");
    assert!(err.contains("no printable name"), "{err}");
    let err = refused("{\"a\\nb\": {model: popularity}}", "");
    assert!(err.contains("contains a line break"), "{err}");
}

#[test]
fn a_fold_called_mean_is_refused() {
    let place = Place::new();
    let rows: String = (0..60)
        .map(|at| {
            let fold = if at % 2 == 0 { "mean" } else { "other" };
            format!("{},{},{},{at},{fold}\n", at / 10, at % 10, 1 + at % 5)
        })
        .collect();
    place.write("ratings.csv", format!("user,item,rating,timestamp,fold\n{rows}"));
    let yaml = "experiment: fold
data: {folder: ., reader: table, ratings: ratings.csv, columns: {user: user, item: item, rating: rating, \
                timestamp: timestamp, fold: fold}, relevant: \">= 3\"}
split: {scheme: official}
systems: {popularity: {model: popularity}}
evaluate: {k: [2]}
";
    place.write("e.yaml", yaml);
    let ended = place.assay(&["run", "e.yaml"]);
    assert_eq!(ended.code, 2, "{}", ended.out);
    assert!(ended.err.contains("a fold of the data set"), "{}", ended.err);
    assert!(ended.err.contains("has the name `mean`"), "{}", ended.err);
    place.write("e.yaml", yaml.replace("official}", "official, only: [other]}"));
    place.fine(&["run", "e.yaml"]);
}

#[test]
fn names_that_are_one_as_file_names_have_logs_of_their_own() {
    let place = Place::new();
    let mut yaml = String::from("experiment: names\n");
    let kept = KEYS.iter().filter(|(key, _)| *key != "systems" && *key != "evaluate");
    kept.for_each(|(key, text)| yaml.push_str(&format!("{key}: {text}\n")));
    yaml.push_str(
        "systems: {\"a b\": {model: popularity}, \"a/b\": {model: random}, A_b: {model: ease}}\n\
         evaluate: {k: [2]}\n",
    );
    place.write("e.yaml", yaml);
    place.fine(&["run", "e.yaml"]);
    let run = fs::read_dir(place.path(".assay/runs")).unwrap().next().unwrap().unwrap().path();
    let logs: Vec<String> = fs::read_dir(run.join("logs"))
        .unwrap()
        .map(|log| fs::read_to_string(log.unwrap().path()).unwrap())
        .collect();
    assert_eq!(logs.len(), 3);
    for (name, model) in [("a b", "popularity"), ("a/b", "random"), ("A_b", "ease")] {
        let said = format!("fit {name} f1");
        let mut of_it = logs.iter().filter(|log| log.contains(&said));
        let log = of_it.next().unwrap();
        assert!(log.contains(&format!("{model} with")), "{log}");
        assert!(of_it.next().is_none(), "two logs tell of {name}");
    }
}

#[test]
fn a_fold_is_exported_under_each_rule_of_what_is_relevant() {
    let place = Place::new();
    let mut yaml = String::from("experiment: rules\n");
    let kept = KEYS.iter().filter(|(key, _)| !["data", "systems", "evaluate"].contains(key));
    kept.for_each(|(key, text)| yaml.push_str(&format!("{key}: {text}\n")));
    yaml.push_str(
        "data: {set: sample, relevant: {sweep: {low: \">= 3\", high: \">= 5\"}}}\n\
         systems: {popularity: {model: popularity}}\nevaluate: {k: [2]}\n",
    );
    place.write("e.yaml", yaml);
    place.fine(&["run", "e.yaml"]);
    place.fine(&["export", "e.yaml", "--format", "trec", "--out", "x"]);
    let relevant = |level: &str| {
        // Its hash is behind it, since brackets are none of a file's.
        let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
        let mut files = fs::read_dir(place.path("x")).unwrap().map(|file| file.unwrap().path());
        let of_level = |path: &PathBuf| name(path).starts_with(&format!("f1_relevant={level}_-"));
        let text = fs::read_to_string(files.find(of_level).unwrap()).unwrap();
        text.lines().filter(|line| !line.ends_with(" 0")).count()
    };
    // Counted in ratings.csv: test ratings of f1 of at least 3, and of 5.
    let ratings = fs::read_to_string(root().join("datasets/sample/ratings.csv")).unwrap();
    let at_least = |bound: u32| {
        let rows = ratings.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
        rows.filter(|row| row.contains(&"f1") && row[2].parse::<f32>().unwrap() >= bound as f32)
            .count()
    };
    assert_eq!((relevant("low"), relevant("high")), (at_least(3), at_least(5)));
}

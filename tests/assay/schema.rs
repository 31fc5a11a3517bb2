//! The schema agrees with the parser: files that come with the program are valid, and what one refuses the other refuses.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    rc::Rc,
};

use rec_assay::{
    data::DataDirs,
    tasks::{Experiment, schema},
};
use serde_json::{Map, Value, json};

use crate::support::{Place, root};

/// The first reason why a value is not valid. Only the keywords that the schema uses; another one is a panic, so that
/// nothing is unchecked in silence.
fn problem(schema: &Value, defs: &Value, value: &Value, at: &str) -> Option<String> {
    let fields = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some(format!("{at}: nothing is allowed")),
        schema => schema.as_object().unwrap(),
    };
    let no = |why: String| Some(format!("{at}: {why}"));
    let sub = |schema: &Value| problem(schema, defs, value, at);
    let number = value.as_f64();
    let limit = |limit: &Value| limit.as_f64().unwrap();
    for (keyword, rule) in fields {
        let wrong = match keyword.as_str() {
            "description" | "default" | "title" | "examples" | "format" | "$schema" | "$defs"
            | "writeOnly" => None,
            "type" => {
                let is = |kind: &Value| match (kind.as_str().unwrap(), value) {
                    ("object", Value::Object(_))
                    | ("array", Value::Array(_))
                    | ("string", Value::String(_))
                    | ("boolean", Value::Bool(_))
                    | ("null", Value::Null)
                    | ("number", Value::Number(_)) => true,
                    ("integer", Value::Number(n)) => n.is_i64() || n.is_u64(),
                    _ => false,
                };
                let kinds = rule.as_array().cloned().unwrap_or_else(|| vec![rule.clone()]);
                (!kinds.iter().any(is)).then(|| format!("is no {rule}")).and_then(no)
            }
            "const" => (value != rule).then(|| format!("is not {rule}")).and_then(no),
            "enum" => {
                let is_one = rule.as_array().unwrap().contains(value);
                (!is_one).then(|| format!("is none of {rule}")).and_then(no)
            }
            "$ref" => sub(&defs[rule.as_str().unwrap().trim_start_matches("#/$defs/")]),
            "anyOf" | "oneOf" => {
                let problems: Vec<Option<String>> =
                    rule.as_array().unwrap().iter().map(sub).collect();
                let valid = problems.iter().filter(|problem| problem.is_none()).count();
                match (valid, keyword.as_str()) {
                    (0, _) => problems.into_iter().flatten().max_by_key(String::len),
                    (1, _) | (_, "anyOf") => None,
                    _ => no("is several of one".into()),
                }
            }
            "allOf" => rule.as_array().unwrap().iter().find_map(sub),
            "properties" => value.as_object().and_then(|of| {
                of.iter().find_map(|(key, value)| {
                    problem(rule.get(key)?, defs, value, &format!("{at}.{key}"))
                })
            }),
            "additionalProperties" => value.as_object().and_then(|of| {
                let known = fields.get("properties").and_then(Value::as_object);
                let more =
                    of.iter().filter(|(key, _)| known.is_none_or(|of| !of.contains_key(*key)));
                let mut problems =
                    more.map(|(key, value)| problem(rule, defs, value, &format!("{at}.{key}")));
                problems.find_map(|problem| problem)
            }),
            "propertyNames" => value.as_object().and_then(|of| {
                of.keys().find_map(|key| problem(rule, defs, &json!(key), &format!("{at}.{key}")))
            }),
            "required" => value.as_object().and_then(|of| {
                let missing = rule.as_array().unwrap().iter();
                let missing =
                    missing.map(|key| key.as_str().unwrap()).find(|key| !of.contains_key(*key));
                missing.map(|key| format!("has no {key}")).and_then(no)
            }),
            "minProperties" => {
                let few = value.as_object().is_some_and(|of| (of.len() as f64) < limit(rule));
                few.then(|| "has too few keys".into()).and_then(no)
            }
            "items" => value.as_array().and_then(|of| {
                of.iter().find_map(|value| problem(rule, defs, value, &format!("{at}[]")))
            }),
            "prefixItems" => value.as_array().and_then(|of| {
                let rules = rule.as_array().unwrap().iter().zip(of);
                rules
                    .clone()
                    .find_map(|(rule, value)| problem(rule, defs, value, &format!("{at}[]")))
            }),
            "minItems" | "maxItems" => {
                let off = value.as_array().is_some_and(|of| match keyword.as_str() {
                    "minItems" => (of.len() as f64) < limit(rule),
                    _ => of.len() as f64 > limit(rule),
                });
                off.then(|| "has a wrong number of items".into()).and_then(no)
            }
            "uniqueItems" => {
                let twice = value.as_array().is_some_and(|of| {
                    of.iter().map(ToString::to_string).collect::<BTreeSet<_>>().len() < of.len()
                });
                twice.then(|| "has an item twice".into()).and_then(no)
            }
            "minLength" => {
                let short = value.as_str().is_some_and(|of| (of.len() as f64) < limit(rule));
                short.then(|| "is too short".into()).and_then(no)
            }
            "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" | "multipleOf" => {
                let off = number.is_some_and(|number| match keyword.as_str() {
                    "minimum" => number < limit(rule),
                    "maximum" => number > limit(rule),
                    "exclusiveMinimum" => number <= limit(rule),
                    "exclusiveMaximum" => number >= limit(rule),
                    _ => number % limit(rule) != 0.0,
                });
                off.then(|| format!("is not within {keyword} {rule}")).and_then(no)
            }
            "pattern" => {
                let pattern = || regex::Regex::new(rule.as_str().unwrap()).unwrap();
                let off = value.as_str().is_some_and(|text| !pattern().is_match(text));
                off.then(|| format!("does not match {rule}")).and_then(no)
            }
            keyword => panic!("{at}: the keyword `{keyword}` is not checked"),
        };
        if wrong.is_some() {
            return wrong;
        }
    }
    None
}

struct Checks {
    /// By task; making one takes milliseconds.
    schemas: RefCell<HashMap<String, Rc<Value>>>,
    place: Place,
    dirs: DataDirs,
}

impl Checks {
    fn new() -> Self {
        let dirs = DataDirs::new(vec![root().join("datasets")]);
        Self { schemas: RefCell::default(), place: Place::new(), dirs }
    }

    fn by_schema(&self, value: &Value) -> Result<(), String> {
        let task = value["task"].as_str().unwrap_or("top-n");
        let mut schemas = self.schemas.borrow_mut();
        let of_task = schemas.entry(task.to_owned()).or_insert_with(|| Rc::new(schema(task)));
        let schema = of_task.clone();
        match problem(&schema, &schema["$defs"], value, "") {
            None => Ok(()),
            Some(problem) => Err(problem),
        }
    }

    fn by_parser(&self, value: &Value) -> Result<(), String> {
        let path = self.place.path("mutated.yaml");
        fs::write(&path, serde_yaml::to_string(value).unwrap()).unwrap();
        match Experiment::read(&path, &self.dirs) {
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn yaml(text: &str) -> Value {
    let mut value: serde_yaml::Value = serde_yaml::from_str(text).unwrap();
    value.apply_merge().unwrap();
    serde_json::to_value(value).unwrap()
}

#[test]
fn every_experiment_that_comes_with_the_program_is_valid_as_it_is_and_with_its_files() {
    let checks = Checks::new();
    let mut n = 0;
    for entry in fs::read_dir(root().join("experiments")).unwrap() {
        let path = entry.unwrap().path();
        let own = yaml(&fs::read_to_string(&path).unwrap());
        checks.by_schema(&own).unwrap_or_else(|problem| panic!("{}{problem}", path.display()));
        let read = Experiment::read(&path, &checks.dirs);
        let read = read.unwrap_or_else(|error| panic!("{error}"));
        let whole = serde_json::to_value(&read.resolved).unwrap();
        checks
            .by_schema(&whole)
            .unwrap_or_else(|problem| panic!("{} resolved{problem}", path.display()));
        n += 1;
    }
    assert!(n >= 10, "{n}");
    for entry in fs::read_dir(root().join("baselines")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|of| of != "yaml") {
            continue;
        }
        let mut system = yaml(&fs::read_to_string(&path).unwrap());
        if system["text"].is_object() {
            system["text"]["profiles"] = "p".into();
        } else if path.file_stem().unwrap().to_str().unwrap().starts_with("gat-text") {
            system["text"] = json!({"profiles": "p"});
        }
        let mut experiment = yaml(BASE);
        experiment["systems"] = json!({"x": system});
        experiment["profiles"] = json!({"p": {"from": "template"}});
        for checked in [checks.by_schema(&experiment), checks.by_parser(&experiment)] {
            checked.unwrap_or_else(|problem| panic!("{}: {problem}", path.display()));
        }
    }
}

/// An experiment with every section, and every key of most.
const BASE: &str = r#"
experiment: all
task: top-n
describe: Everything.
data: {set: sample, relevant: ">= 4", disliked: "<= 2", duplicates: keep-first}
split: {scheme: kfold, folds: 3, seed: 7, by: user, validation: {fraction: 0.1, seed: 3, by: random}, only: [f1]}
seeds: [1, 2]
metadata: {file: items.csv, id: item, title: title, genres: genres, overview: overview, tmdb: {key_env: TMDB_API_KEY, base_url: "https://api.themoviedb.org/3", language: en-US}}
endpoints:
  gpt: {model: m, base_url: "http://127.0.0.1:9/v1", temperature: 0.5, top_p: 0.9, seed: 1, max_tokens: 100, structured: schema, concurrency: 3, requests_per_minute: 10, tokens_per_minute: 1000, timeout: 5, retries: 2, repairs: 1, failures: fall-back, price: {input: 1, output: 2, cached: 0.5}, batch: false}
responses: {mode: record, budget: {money: 1, tokens: 1000}}
profiles:
  p: {from: template}
  s: {items: {from: template, reviews: {most: 3, words: 20}}, users: {from: mean}}
  q: {items: {from: metadata}, users: {from: llm, judge: gpt, liked: 3, disliked: 2, batch: 2}}
  r: {items: {from: file, file: t.csv, id: item, text: text}, users: {from: file, file: u.csv, id: user, text: text, built_from: f1}}
systems:
  random: {model: random, describe: Any.}
  popularity: {model: popularity, positives: any}
  item-knn: {model: item-knn, neighbours: 10, shrinkage: 5}
  user-knn: {model: user-knn, neighbours: all, shrinkage: 5}
  p3alpha: {model: p3alpha, neighbours: 10, alpha: 0.9}
  rp3beta: {model: rp3beta, neighbours: 10, alpha: 0.9, beta: 0.5}
  pure-svd: {model: pure-svd, factors: 5}
  ease: {model: ease, regularization: 100}
  als: {model: als, factors: 8, training: {epochs: 3}, regularization: 0.1, frequency_scaling: {exponent: 0.5, unobserved_weight: 1}, confidence: alpha-r, alpha: 2, values: binary, solver: cg, cg_steps: 2, init_scale: 0.1, train_share: {share: 0.5, take: random, seed: 2}}
  content: {model: content, text: {profiles: p, encoder: {model: all-minilm-l6-v2, prefix: "x ", layer_norm: true, decimals: 3, max_tokens: 50, device: cpu}}}
  bprmf:
    model: bprmf
    factors: 32
    init: 0.1
    regularization: 0.01
    training:
      {epochs: 20, batch: 100, optimizer: adamw, learning_rate: 0.01, weight_decay: 0.1, clip: 1, schedule: {plateau: {factor: 0.5, patience: 2, lowest: 0, on: validation, threshold: 0.1}}, negatives: {draw: hard, exclude: rated, exponent: 0.5, candidates: 3}, validate: {every: 2, metric: ndcg, k: 5}, stop: {on: validation, patience: 3}, keep: best, device: cpu}
  lightgcn: {model: lightgcn, factors: 32, layers: 2, init: 0.1, regularization: 0.01, dropout: 0.1, training: {epochs: 3, schedule: {cosine: {lowest: 0}}}}
  ngcf: {model: ngcf, factors: 32, layers: 2, regularization: 0.01, dropout: 0.1, loss: cross-entropy, training: {epochs: 3, schedule: constant}}
  gat: {model: gat, features: 32, init: 0.1, hidden: 32, heads: [2, 1], edges: all, dropout: 0.1, bpr: 1, cosine: 1, regularization: 0.1, training: {epochs: 3}, text: {profiles: p, train: true}}
  sgl: {model: sgl, factors: 32, layers: 2, views: node-drop, drop: 0.2, contrast: 0.2, temperature: 0.5, among: batch, anchors: distinct, reduction: sum, regularization: 0.01, training: {epochs: 3}}
  simgcl: {model: simgcl, factors: 32, layers: 2, noise: 0.2, contrast: 0.2, temperature: 0.5, among: all, anchors: positives, reduction: sum, regularization: 0.01, training: {epochs: 3}}
  xsimgcl: {model: xsimgcl, factors: 32, layers: 2, noise: 0.1, contrast_layer: 1, contrast: 0.1, temperature: 0.5, among: all, anchors: positives, reduction: sum, regularization: 0.01, training: {epochs: 3}}
  slim: {model: slim, l1: 0.1, l2: 10, positive: false, tolerance: 0.01}
  edlae: {model: edlae, dropout: 0.3, regularization: 10}
  mult-vae: {model: mult-vae, hidden: [32], latent: 8, dropout: 0.2, annealing: {cap: 0.5, steps: 100}, noise: 0.5, training: {epochs: 3}}
  p4r: {model: p4r, factors: 32, text: {profiles: p}, fusion: paper, pooling: sum, alpha: 0.5, beta: 1, layers: 2, ablate: none, regularization: 0.1, training: {epochs: 3}}
  review-gnn: {model: review-gnn, factors: 32, reviews: stars, encoder: {max_tokens: 50}, normalisation: symmetric, pooling: sum, mse: ends, bpr_share: {lowest: 0.1, highest: 0.9}, review_density: 0.5, init: 0.1, regularization: 0.1, training: {epochs: 3}}
  searched: {model: als, search: {trials: 3, seed: 2, over: {alpha: {log: [0.1, 10]}, factors: [4, 8]}, metric: recall, k: 5, validation: 0.2, by: random}}
  grid: {model: als, search: {over: {regularization: [1, 2]}}}
  rerank: {model: rerank, of: als, strategy: bst, judge: gpt, text: {profiles: p}, pool: 10, fuse: {judge: 0.5, by: rank}, users: all, batch: 3, overlap: 1, rounds: 2, recheck: 0.2, explain: {top: 3, users: all}}
  external: {model: external, rankings: "runs/{fold}.csv", columns: {user: u, item: i, rank: r}, order: rank, seen: drop, format: table, encoding: utf-8, quotes: none}
evaluate: {protocols: [full, judged], conventions: [standard], k: [5, 10], slices: [all, "cold<10"], metrics: [ndcg, recall], sampled: {negatives: 10, seed: 2}, depth: 20, ties: random@7, fallback: none}
published: {source: A paper, describe: How., dataset: sample, fold: f1, protocol: full, convention: standard, slice: all, k: 10, digits: 3, rows: {ALS: {ndcg: 0.1}, X: {not_checkable: why}}, systems: {ALS: als}}
"#;

const OWN_DATA: &str = r#"
table: {reader: table, folder: mine, duplicates: keep-last, ratings: r.csv, separator: ",", header: true, columns: {user: u, item: i, rating: r, timestamp: t}, relevant: any}
recbole: {reader: recbole, folder: ml, stem: ml, items: true, users: true, rating: rating, timestamp: none, relevant: ">= 4"}
movielens1m: {reader: movielens1m, folder: ml, ratings: ratings.dat, relevant: ">= 4"}
movielens100k: {reader: movielens100k, folder: ml, relevant: ">= 4"}
"#;

/// Every mutation of one place and of those below it: the path, and the value that is put there.
fn mutations(base: &Value, path: &mut Vec<String>, all: &mut Vec<(Vec<String>, Value)>) {
    let here = path.iter().fold(base, |value, key| at(value, key));
    match here {
        Value::Object(fields) => {
            let mut more = fields.clone();
            more.insert("zzz".into(), json!(1));
            all.push((path.clone(), more.into()));
            all.push((path.clone(), json!("text")));
            all.push((path.clone(), json!([1])));
            for key in fields.keys().cloned().collect::<Vec<_>>() {
                let mut fewer: Map<String, Value> = fields.clone();
                fewer.remove(&key);
                all.push((path.clone(), fewer.into()));
                path.push(key);
                mutations(base, path, all);
                path.pop();
            }
        }
        Value::Array(items) => {
            all.push((path.clone(), json!([])));
            all.push((path.clone(), json!({"zzz": 1})));
            all.push((path.clone(), json!("text")));
            for at in 0..items.len() {
                path.push(at.to_string());
                mutations(base, path, all);
                path.pop();
            }
        }
        scalar => {
            for value in [
                json!(-1),
                json!(0),
                json!(0.5),
                json!(1),
                json!(1.5),
                json!(2_000_000_000_000u64),
                json!("text"),
                json!(true),
                json!([]),
                json!({}),
                json!({"zzz": 1}),
                json!([{}]),
            ] {
                if value != *scalar {
                    all.push((path.clone(), value));
                }
            }
        }
    }
}

/// The experiment with another value at a path.
fn with(base: &Value, path: &[String], value: &Value) -> Value {
    let mut mutated = base.clone();
    let of = path.iter().fold(&mut mutated, |value, key| match value {
        Value::Array(items) => &mut items[key.parse::<usize>().unwrap()],
        value => &mut value[key.as_str()],
    });
    *of = value.clone();
    mutated
}

fn at<'a>(value: &'a Value, key: &str) -> &'a Value {
    match value {
        Value::Array(items) => &items[key.parse::<usize>().unwrap()],
        value => &value[key],
    }
}

/// What the parser refuses and no schema can say: one value depends on another, on names, files or the data.
fn depends_on_more(error: &str) -> bool {
    [
        "has no effect",
        "needs",
        "is not a system",
        "is not a model",
        "unknown judge",
        "endpoint",
        "twice",
        "two systems",
        "reranks",
        "the published table has no row",
        "`lowest` is",
        "nothing would be measured",
        "does not apply",
        "applies to",
        "data set",
        "cannot be combined",
        "a search cannot",
        "reader",
        "the key `",
        "expected 1 to",
        "expected 0 to",
        "`base_url`",
        "is given, but",
        "no trial",
        "same setting",
        "is not less than",
        "range",
        "cannot be an experiment's name",
        "device",
        "`key_env`",
        "without",
        "does not measure relevance",
        "a metric of relevance",
        "is missing",
        "the names of",
        "manifest",
        "finite",
        "greater than",
        "candidates must be",
        "cannot be",
        "the system `",
        "has neither",
        "the search has",
        "fold",
        "in the trial",
        "`extra`",
        "price",
        "profiles",
        "in place of",
        "only to",
        "no such",
        "uses",
    ]
    .iter()
    .any(|text| error.contains(text))
}

#[test]
fn what_the_schema_refuses_the_parser_refuses_and_the_other_way_round() {
    let mut checks = Checks::new();
    // Reading all manifests would take most of the time.
    for manifest in ["datasets/sample.yaml", "datasets/all-minilm-l6-v2.yaml"] {
        checks.place.write(manifest, fs::read(root().join(manifest)).unwrap());
    }
    checks.dirs = DataDirs::new(vec![checks.place.path("datasets")]);
    let base = yaml(BASE);
    checks.by_schema(&base).unwrap();
    checks.by_parser(&base).unwrap();
    // Experiments, and the places in them that are changed: every system beside the one that others need alone.
    let mut changed: Vec<(Value, Vec<String>)> = Vec::new();
    let systems = base["systems"].as_object().unwrap();
    let only = |names: &[&str]| {
        let mut experiment = base.clone();
        let kept = names.iter().map(|name| ((*name).to_owned(), systems[*name].clone()));
        experiment["systems"] = Value::Object(kept.collect());
        experiment
    };
    for key in base.as_object().unwrap().keys().filter(|key| *key != "systems") {
        changed.push((only(&["als"]), vec![key.clone()]));
    }
    for name in systems.keys() {
        changed.push((only(&["als", name]), vec!["systems".into(), name.clone()]));
    }
    for (reader, data) in yaml(OWN_DATA).as_object().unwrap() {
        let mut own = only(&["als"]);
        own["data"] = data.clone();
        checks.by_schema(&own).unwrap_or_else(|problem| panic!("{reader}{problem}"));
        changed.push((own, vec!["data".into()]));
    }
    let mut all = Vec::new();
    for key in base.as_object().unwrap().keys() {
        let mut fewer = only(&["als"]);
        fewer.as_object_mut().unwrap().remove(key);
        all.push((format!("without {key}"), fewer));
    }
    let mut more = only(&["als"]);
    more["zzz"] = json!(1);
    all.push(("zzz".to_owned(), more));
    for (experiment, mut path) in changed {
        let mut of_experiment = Vec::new();
        mutations(&experiment, &mut path, &mut of_experiment);
        all.extend(of_experiment.into_iter().map(|(path, value)| {
            (format!("{} = {value}", path.join(".")), with(&experiment, &path, &value))
        }));
    }
    let (mut refused, mut beyond) = (0, 0);
    let mut differ = Vec::new();
    for (what, value) in &all {
        match (checks.by_schema(value), checks.by_parser(value)) {
            (Err(_), Err(_)) => refused += 1,
            (Ok(()), Ok(())) => {}
            (Err(problem), Ok(())) => {
                differ.push(format!("only the schema refuses {what}: {problem}"))
            }
            (Ok(()), Err(error)) if depends_on_more(&error) => beyond += 1,
            (Ok(()), Err(error)) => differ.push(format!("only the parser refuses {what}: {error}")),
        }
    }
    println!(
        "{} mutations, {refused} refused by both, {beyond} by what depends on more",
        all.len()
    );
    assert!(differ.is_empty(), "{} of {}:\n{}", differ.len(), all.len(), differ.join("\n"));
    assert!(refused > 2000 && beyond < refused / 4, "{refused} {beyond}");
    assert!(Path::new(&checks.place.path("mutated.yaml")).exists());
}

/// The keys that the parser names where it meets an unknown one are the properties of the schema.
#[test]
fn unknown_keys_are_refused_with_the_keys_that_the_schema_has() {
    let checks = Checks::new();
    let base = yaml(BASE);
    for model in schema("top-n")["$defs"]["SystemSpec"]["oneOf"].as_array().unwrap() {
        let name = model["properties"]["model"]["const"].as_str().unwrap();
        let mut experiment = base.clone();
        let known = base["systems"].as_object().unwrap().iter().find(|(_, of)| of["model"] == name);
        match (known, name) {
            (Some((key, _)), _) => experiment["systems"][key]["zzz"] = json!(1),
            (None, "command") => {
                experiment["systems"]["program"] =
                    json!({"model": "command", "run": "rank {out}", "zzz": 1});
            }
            (None, name) => panic!("{name} is not among the systems"),
        }
        let error = checks.by_parser(&experiment).unwrap_err();
        let expected = error.split("= expected ").nth(1).unwrap_or_default();
        let line = expected.lines().next().unwrap_or_default().trim_start_matches("one of ");
        let of_parser: BTreeSet<&str> = line.split(", ").filter(|key| !key.is_empty()).collect();
        let properties = model["properties"].as_object().unwrap();
        let own = ["model", "describe", "search", "positives", "train_share"];
        let of_schema: BTreeSet<&str> =
            properties.keys().map(String::as_str).filter(|key| !own.contains(key)).collect();
        assert_eq!(of_parser, of_schema, "{name}: {error}");
    }
}

#[test]
fn the_reference_is_current() {
    let place = Place::new();
    let reference = place.fine(&["schema", "--markdown"]);
    let path = root().join("docs/REFERENCE.md");
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        reference == committed,
        "docs/REFERENCE.md is not what `assay schema --markdown` prints: write it again"
    );
    for row in reference.lines().filter(|line| line.starts_with("| `")) {
        let cells: Vec<&str> = row.split(" | ").collect();
        let is_kind = cells[0].ends_with("`reader`") || cells[0].ends_with("`from`");
        assert!(is_kind || cells[4].trim_end_matches('|').trim() != "", "no meaning: {row}");
    }
    // Every key of the schema, and every model, has its place.
    for model in schema("top-n")["$defs"]["SystemSpec"]["oneOf"].as_array().unwrap() {
        let name = model["properties"]["model"]["const"].as_str().unwrap();
        assert!(reference.contains(&format!("\n### {name}\n")), "{name}");
        for key in model["properties"].as_object().unwrap().keys() {
            assert!(reference.contains(&format!("| `{key}` |")) || key == "model", "{name}.{key}");
        }
    }
}

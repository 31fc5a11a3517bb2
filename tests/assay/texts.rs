//! Texts: their sources, their use as features, and errors.

use std::{collections::BTreeSet, fs, path::PathBuf};

use rec_assay::{data::TrainingPart, text::Profiles};
use serde_json::Value;

use crate::support::{Place, means, root, weights};

const TEXTS: &str = "experiment: texts
data: {set: sample, relevant: \">= 4\", disliked: \"<= 2\"}
split: {scheme: official, only: [f1]}
profiles:
  integrated: {from: metadata}
  template: {from: template}
  mean: {items: {from: template}, users: {from: mean}}
systems:
  random: {model: random}
  content: {model: content, text: {profiles: {sweep: [integrated, template, mean]}}}
  gat:
    model: gat
    text: {profiles: {sweep: [integrated, template]}}
    hidden: 16
    heads: [2, 1]
    training: {epochs: 12, learning_rate: 0.02, negatives: {exclude: liked-and-disliked}}
evaluate: {k: [10]}
";

#[test]
fn features_from_texts_do_not_depend_on_the_number_of_threads() {
    if !weights("features_from_texts_do_not_depend_on_the_number_of_threads") {
        return;
    }
    let place = Place::new();
    let data = place.write_part_of_sample(25, 40).replace("DISLIKED", "\"<= 2\"");
    let own = TEXTS.lines().map(|line| match line.starts_with("data:") {
        true => format!("data: {data}\n"),
        false => format!("{line}\n"),
    });
    place.write("e.yaml", own.collect::<String>());
    for (threads, workspace) in [("1", "one"), ("3", "three")] {
        place.fine(&["run", "e.yaml", "--threads", threads, "--workspace", workspace]);
    }
    let (one, three) = (place.artefacts("one"), place.artefacts("three"));
    for kind in ["embeddings", "fit", "evaluate"] {
        let of = three.keys().filter(|name| name.starts_with(kind)).count();
        assert!(of >= 2, "{kind}: {of} files");
    }
    assert!(
        one == three,
        "{:?}",
        one.keys().filter(|name| one.get(*name) != three.get(*name)).collect::<Vec<_>>()
    );
}

#[test]
fn features_from_texts_tell_what_a_user_likes() {
    if !weights("features_from_texts_tell_what_a_user_likes") {
        return;
    }
    let place = Place::encoded(&["one"]);
    // Those of which the texts are encoded already.
    let some = TEXTS.replace("{sweep: [integrated, template, mean]}", "mean");
    place.write("some.yaml", some.replace("{sweep: [integrated, template]}", "template"));
    place.fine(&["run", "some.yaml", "--workspace", "one"]);
    let csv = place.fine(&["results", "some.yaml", "--workspace", "one"]);
    let ndcg = means(&csv, "ndcg", "10");
    // Likes in the sample depend on genres, so means of liked items are predictive.
    println!("{ndcg:?}");
    assert!(ndcg["content"] > 1.5 * ndcg["random"], "{ndcg:?}");
    assert!(ndcg["gat"] > 1.5 * ndcg["random"], "{ndcg:?}");
    let html = fs::read_to_string(place.path("reports/texts/index.html")).unwrap();
    assert!(html.contains("id=\"texts\"") && html.contains("template users f1"));
    // Profiles of items are made once; those of users and their embeddings once per fold.
    place.write("e.yaml", TEXTS);
    let plan: Value =
        serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json", "--workspace", "one"]))
            .unwrap();
    let count = |kind: &str| {
        plan["steps"].as_array().unwrap().iter().filter(|step| step["kind"] == kind).count()
    };
    assert_eq!((count("profiles"), count("embeddings")), (5, 5));
}

/// The embeddings are initial values: `nodes` is among the parameters, with the same dimension, and after an epoch with a
/// tiny learning rate it still contains them.
#[test]
fn trained_texts_are_parameters_of_the_graph_model() {
    if !weights("trained_texts_are_parameters_of_the_graph_model") {
        return;
    }
    let place = Place::encoded(&[]);
    let experiment = |rate: &str| {
        format!(
            "experiment: train
data: {{set: sample, relevant: \">= 4\", disliked: \"<= 2\"}}
split: {{scheme: official, only: [f1]}}
profiles: {{template: {{from: template}}}}
systems:
  gat: {{model: gat, text: {{profiles: template, train: {{sweep: [true, false]}}}}, edges: all, hidden: 16, heads: [2, 1], training: {{epochs: 3, learning_rate: {rate}}}}}
evaluate: {{k: [10]}}
"
        )
    };
    let mut before = BTreeSet::new();
    let mut fits = |rate: &str| {
        place.write("e.yaml", experiment(rate));
        place.fine(&["run", "e.yaml"]);
        let mut nodes = Vec::new();
        for (name, bytes) in place.artefacts(".assay") {
            let is_new = before.insert(name.clone());
            if is_new && name.starts_with("fit") && name.ends_with("model.safetensors") {
                let arrays = safetensors::SafeTensors::deserialize(&bytes).unwrap();
                let array = arrays.tensor("param.nodes").unwrap();
                let values: Vec<f32> = array
                    .data()
                    .chunks_exact(4)
                    .map(|word| f32::from_le_bytes(word.try_into().unwrap()))
                    .collect();
                nodes.push((array.shape()[1], values));
            }
        }
        nodes.sort_by_key(|(width, _)| *width);
        nodes
    };
    let (still, moved) = (fits("1e-12"), fits("0.02"));
    assert_eq!((still[0].0, still[1].0, moved[0].0, moved[1].0), (0, 384, 0, 384));
    let lengths = still[1].1.chunks(384).map(|row| row.iter().map(|x| x * x).sum::<f32>());
    assert!(lengths.filter(|length| (length - 1.0).abs() < 1e-4).count() > 300);
    let off = still[1].1.iter().zip(&moved[1].1).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off > 0.01, "{off}");
}

/// The tenth that a search measures on is removed before texts of users are made for it. The profiles `metadata` name
/// every liked item, so an item that a user liked only in that tenth must not be in the text for the search's models, and
/// must be in the text for the model that is fitted afterwards.
#[test]
fn texts_for_a_search_contain_nothing_of_the_part_it_measures_on() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: search
data: {set: sample, relevant: \">= 4\", disliked: \"<= 2\"}
split: {scheme: official, only: [f1]}
profiles: {integrated: {from: metadata}}
systems:
  gat:
    model: gat
    text: {profiles: integrated}
    hidden: 16
    heads: [2, 1]
    training: {epochs: 2}
    search: {over: {training.learning_rate: [0.001, 0.01]}}
evaluate: {k: [10]}
",
    );
    place.fine(&["run", "e.yaml", "--until", "profiles"]);
    let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
    let steps = plan["steps"].as_array().unwrap();
    let of = |kind: &str, name: &str| -> (PathBuf, &Value) {
        let step = steps.iter().find(|step| step["kind"] == kind && step["step"] == name);
        let step = step.unwrap_or_else(|| panic!("no step {kind} {name}: {steps:?}"));
        let key = step["key"].as_str().unwrap();
        let dirs = fs::read_dir(place.path(".assay/steps").join(kind)).into_iter().flatten();
        let dir = dirs
            .flatten()
            .map(|dir| dir.path())
            .find(|dir| dir.file_name().is_some_and(|dir| key.starts_with(dir.to_str().unwrap())));
        (dir.unwrap_or_default(), step)
    };
    let (whole, (part, cut)) = (of("split", "sample f1").0, of("split", "sample f1 search"));
    let (whole, part) = (TrainingPart::read(&whole).unwrap(), TrainingPart::read(&part).unwrap());
    assert_eq!(part.validation.len(), (whole.train.len() as f64 / 10.0).round() as usize);
    assert_eq!(part.train.len() + part.validation.len(), whole.train.len());
    // `12,A Title (1950),Crime|Drama,…`, in a profile `A Title (1950) (Crime, Drama)`.
    let items = fs::read_to_string(root().join("datasets/sample/items.csv")).unwrap();
    let title = |item: u32| {
        let id = format!("{},", part.items.name(item));
        let row = items.lines().find_map(|line| line.strip_prefix(&id)).unwrap();
        let (title, rest) = row.split_once(',').unwrap();
        format!("{title} ({})", rest.split(',').next().unwrap().replace('|', ", "))
    };
    let texts = |name: &str| Profiles::read(&of("profiles", name).0).unwrap().texts;
    let (of_fit, of_search) = (texts("integrated users f1"), texts("integrated users f1 search"));
    let (mut held, mut kept) = (0, 0);
    for row in part.validation.iter().filter(|row| row.rating >= 4.0) {
        let (user, title) = (row.user.at(), title(row.item.0));
        assert!(of_fit[user].as_ref().unwrap().contains(&title), "{title}");
        assert!(of_search[user].as_ref().is_none_or(|text| !text.contains(&title)), "{title}");
        held += 1;
    }
    for row in part.train.iter().filter(|row| row.rating >= 4.0) {
        assert!(of_search[row.user.at()].as_ref().unwrap().contains(&title(row.item.0)));
        kept += 1;
    }
    assert!(held > 300 && kept > 3000, "{held} {kept}");
    // All inputs of the search come from the cut, and the keys of search and fit show it.
    let (_, search) = of("search", "gat f1");
    let users = of("profiles", "integrated users f1 search").1;
    assert_eq!(search["key_inputs"]["split"], cut["key"]);
    assert_eq!(users["key_inputs"]["split"], cut["key"]);
    let vectors = steps.iter().find(|step| step["key"] == search["key_inputs"]["text"]["users"]);
    assert_eq!(vectors.unwrap()["key_inputs"]["profiles"], users["key"]);
    assert_eq!(of("fit", "gat f1 seed 1").1["key_inputs"]["search"], search["key"]);
}

/// Profiles from a file contain the ratings they were written from, including those of the search's tenth.
#[test]
fn a_search_on_profiles_from_a_file_is_marked() {
    if !weights("a_search_on_profiles_from_a_file_is_marked") {
        return;
    }
    let place = Place::encoded(&[]);
    place.write("users.csv", "user,text\n1,A user.\n2,Another.\n");
    let experiment = |from: &str, systems: &str| {
        format!(
            "experiment: marked
data: {{set: sample, relevant: \">= 4\"}}
split: {{scheme: official, only: [f1], validation: {{fraction: 0.1}}}}
profiles:
  mine: {{items: {{from: template}}, users: {{from: file, file: users.csv, id: user, text: text, built_from: {from}}}}}
systems:
{systems}
evaluate: {{k: [5]}}
"
        )
    };
    let gat = "  it: {model: gat, edges: liked, text: {profiles: mine}, hidden: 16, heads: [1], training: \
               {epochs: 2";
    let search = format!("{gat}}}, search: {{over: {{training.learning_rate: [0.01]}}}}}}");
    let validate = format!("{gat}, validate: {{every: 1}}}}}}");
    let plain = format!("{gat}}}}}");
    for (from, systems, says) in [
        (
            "f1",
            &search,
            Some("settings are chosen on ratings that the user profiles `mine` contain"),
        ),
        (
            "f1",
            &validate,
            Some("the best epoch is chosen on ratings that the user profiles `mine`"),
        ),
        ("no-ratings", &search, None),
        ("f1", &plain, None),
    ] {
        place.write("e.yaml", experiment(from, systems));
        let ended = place.assay(&["run", "e.yaml", "--quiet"]);
        assert_eq!(ended.code, 0, "{}", ended.err);
        let found = ended.err.contains("cannot be rebuilt");
        assert_eq!(found, says.is_some(), "{}", ended.err);
        assert!(says.is_none_or(|says| ended.err.contains(says)), "{}", ended.err);
    }
}

#[test]
fn another_fold_reuses_the_texts_of_items() {
    let place = Place::new();
    place.write("e.yaml", TEXTS.replace("only: [f1]", "only: [f1, f2]"));
    let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
    let labels: Vec<&str> = plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|step| step["kind"] == "profiles")
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(labels.len(), 2 + 6, "{labels:?}");
}

#[test]
fn invalid_texts_are_one_clear_error() {
    let place = Place::new();
    let mut shown = String::new();
    let head = "experiment: wrong\ndata: {set: sample, relevant: \">= 4\"}\nsplit: {scheme: official, only: \
                [f1, f2]}\n";
    place.write("users.csv", "user,text\n1,A user.\n2,Another.\n");
    place.write("twice.csv", "item,text\n1,A.\n1,B.\n");
    place.write("others.csv", "item,text\nx1,A.\nx2,B.\n");
    place.write("cut.csv", "item,text\n1,\"A text, whole.\"\n2,\"A text over\nlines, cut");
    let cases = [
        (
            "a file cut off",
            "profiles:\n  mine: {items: {from: file, file: cut.csv, id: item, text: text}, users: {from: mean}}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "no such profiles",
            "profiles:\n  mine: {from: template}\nsystems:\n  it: {model: content, text: {profiles: mne}}",
        ),
        ("no profiles", "systems:\n  it: {model: content, text: {profiles: mine}}"),
        (
            "no such source",
            "profiles:\n  mine: {from: gpt}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "no such judge",
            "endpoints: {gpt: {model: gpt-4.1-mini}}\nprofiles:\n  mine: {from: llm, judge: gtp}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "users built from nothing said",
            "profiles:\n  mine: {items: {from: template}, users: {from: file, file: users.csv, id: user, text: text}}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "users of another fold",
            "profiles:\n  mine: {items: {from: template}, users: {from: file, file: users.csv, id: user, text: text, built_from: f1}}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "a missing file",
            "profiles:\n  mine: {items: {from: file, file: nowhere.csv, id: item, text: text}, users: {from: mean}}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "an item twice",
            "profiles:\n  mine: {items: {from: file, file: twice.csv, id: item, text: text}, users: {from: mean}}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "other items",
            "profiles:\n  mine: {items: {from: file, file: others.csv, id: item, text: text}, users: {from: mean}}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
        (
            "a key in the file",
            "endpoints: {gpt: {model: m, key_env: sk-123}}\nsystems:\n  it: {model: popularity}",
        ),
        (
            "a judge without a model",
            "endpoints: {gpt: {base_url: \"http://localhost:11434/v1\"}}\nsystems:\n  it: {model: popularity}",
        ),
        (
            "a budget without prices",
            "endpoints: {gpt: {model: m}}\nresponses: {budget: {money: 5}}\nsystems:\n  it: {model: popularity}",
        ),
        (
            "a search over texts",
            "profiles:\n  a: {from: template}\n  b: {from: metadata}\nsystems:\n  it: {model: gat, edges: liked, text: {profiles: a}, search: {trials: 2, over: {text.profiles: [a, b]}}}",
        ),
        (
            "trained texts of a model that trains nothing",
            "profiles:\n  mine: {from: template}\nsystems:\n  it: {model: content, text: {profiles: mine, train: true}}",
        ),
        (
            "too many decimals",
            "profiles:\n  mine: {from: template}\nsystems:\n  it: {model: gat, edges: liked, text: {profiles: mine, encoder: {decimals: 30}}}",
        ),
        (
            "another encoder",
            "profiles:\n  mine: {from: template}\nsystems:\n  it: {model: content, text: {profiles: mine, encoder: {model: ml-100k}}}",
        ),
        (
            "a broken prompt",
            "endpoints: {gpt: {base_url: \"http://127.0.0.1:9/v1\", model: m}}\nprofiles:\n  mine: {items: {from: llm, judge: gpt, prompt: users.csv}, users: {from: mean}}\nsystems:\n  it: {model: content, text: {profiles: mine}}",
        ),
    ];
    for (name, text) in cases {
        place.write("e.yaml", format!("{head}{text}\n"));
        let ended = place.assay(&["run", "e.yaml", "--until", "profiles", "--quiet"]);
        assert!([2, 4].contains(&ended.code), "{name}: {} {}", ended.code, ended.err);
        let err: Vec<&str> = ended.err.lines().filter(|line| !line.starts_with("logs:")).collect();
        shown.push_str(&format!("# {name}: exit {}\n{}\n\n", ended.code, err.join("\n")));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn profiles_of_another_fold_can_be_used_and_are_marked() {
    if !weights("profiles_of_another_fold_can_be_used_and_are_marked") {
        return;
    }
    let place = Place::encoded(&[]);
    place.write("users.csv", "user,text\n1,A user.\n2,Another.\n");
    place.write(
        "e.yaml",
        "experiment: leak\ndata: {set: sample, relevant: \">= 4\"}\nsplit: {scheme: official, only: [f1, \
         f2]}\nprofiles:\n  mine: {items: {from: template}, users: {from: file, file: users.csv, id: user, \
         text: text, built_from: f1, accept_leak: true}}\nsystems:\n  it: {model: content, text: {profiles: \
         mine}}\nevaluate: {k: [5]}\n",
    );
    let ended = place.assay(&["run", "e.yaml", "--quiet"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let leaks = ended.err.lines().filter(|line| line.contains("test data leaks")).count();
    assert!(leaks == 1 && ended.err.contains("f2"), "{}", ended.err);
}

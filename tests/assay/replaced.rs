//! Files that are replaced while a run is going: an error, and nothing is stored under the key of the file that was
//! planned with.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use serde_json::Value;

use crate::{
    endpoint::{Endpoint, Reply, question},
    support::Place,
};

/// The chat model of the fold f1 is asked before anything of f2 is done (`--threads 1`): what it is asked with `swap`
/// set replaces a file.
fn chat(swap: Arc<Mutex<Option<(PathBuf, String)>>>) -> Endpoint {
    Endpoint::start(move |request, _| {
        if let Some((path, text)) = swap.lock().unwrap().take() {
            fs::write(path, text).unwrap();
        }
        let question = question(request);
        let ids = question.lines().filter_map(|line| line.strip_prefix('[')?.split_once(']'));
        let ids: Vec<String> = ids.map(|(id, _)| format!("\"{id}\"")).collect();
        Reply::Content(format!("{{\"order\": [{}]}}", ids.join(", ")))
    })
}

fn ratings(shift: usize) -> String {
    let rows: String = (0..12)
        .flat_map(|user| (0..4).map(move |item| (user, (user + item) % 6, 1 + (user + shift) % 5)))
        .map(|(user, item, rating)| format!("{user},{item},{rating}\n"))
        .collect();
    format!("user,item,rating\n{rows}")
}

fn rankings(of: usize) -> String {
    let rows: String = (0..12).map(|user| format!("{user},{}\n", (user + of) % 6)).collect();
    format!("user,item\n{rows}")
}

const PROMPT: &str =
    "[user]\n{% for one in candidates %}[{{ one.id }}] {{ one.title }}\n{% endfor %}\n";

fn place(url: &str) -> Place {
    let place = Place::new();
    place.write("ratings.csv", ratings(0));
    place.write("f1.csv", rankings(4));
    place.write("f2.csv", rankings(5));
    place.write("p.md", PROMPT);
    place.write(
        "e.yaml",
        format!(
            "experiment: replaced
data:
  reader: table
  ratings: ratings.csv
  columns: {{user: user, item: item, rating: rating}}
  relevant: \">= 4\"
split: {{scheme: kfold, folds: 2, seed: 1}}
endpoints: {{chat: {{base_url: \"{url}\", model: test, concurrency: 1}}}}
profiles: {{texts: {{from: template}}}}
systems:
  re: {{model: rerank, of: popularity, text: {{profiles: texts}}, strategy: prompt, pool: 2, judge: chat, prompt: p.md}}
  popularity: {{model: popularity}}
  theirs: {{model: external, rankings: \"{{fold}}.csv\"}}
  baseline: {{model: rerank, of: popularity, text: {{profiles: texts}}, strategy: prompt, pool: 2, judge: popularity}}
evaluate: {{k: [2]}}
"
        ),
    );
    place
}

const RUN: [&str; 5] = ["run", "e.yaml", "--quiet", "--threads", "1"];

/// Without the encoder, which this is not about.
fn run(place: &Place) -> (i32, String) {
    let output = place.command(&RUN).env("ASSAY_DATA", place.path("sets")).output().unwrap();
    (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
}

/// Whether each step is done, by kind and label.
fn states(place: &Place) -> BTreeMap<String, bool> {
    let output = place
        .command(&["plan", "e.yaml", "--json"])
        .env("ASSAY_DATA", place.path("sets"))
        .output()
        .unwrap();
    let plan: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = plan["steps"].as_array().unwrap().iter();
    let state = |step: &Value| {
        let text = |field: &str| step[field].as_str().unwrap().to_owned();
        (format!("{} {}", text("kind"), text("step")), step["done"].as_bool().unwrap())
    };
    steps.map(state).filter(|(name, _)| !name.contains("embedding")).collect()
}

#[test]
fn a_file_that_is_replaced_during_a_run_is_an_error_and_its_results_are_not_kept() {
    let swap: Arc<Mutex<Option<(PathBuf, String)>>> = Arc::default();
    let endpoint = chat(swap.clone());
    let whole = place(&endpoint.url());
    let (code, err) = run(&whole);
    assert_eq!(code, 0, "{err}");
    for (file, other, step) in [
        ("ratings.csv", ratings(1), "split data f2"),
        ("f2.csv", rankings(3), "predict theirs f2"),
        ("p.md", PROMPT.replace("[user]\n", "[user]\nOther words.\n"), "rerank re f1 seed 1"),
    ] {
        let place = place(&endpoint.url());
        let before = fs::read_to_string(place.path(file)).unwrap();
        let label = step.replace("split data", &format!("split {}", name_of(&place)));
        *swap.lock().unwrap() = Some((place.path(file), other));
        let (code, err) = run(&place);
        assert_eq!(code, 4, "{file}: {err}");
        assert!(swap.lock().unwrap().is_none(), "{file} was not replaced");
        assert!(err.contains("it changed while the experiment ran"), "{file}: {err}");
        // With the old file back, what was made meanwhile is not taken for done.
        place.write(file, &before);
        let after = states(&place);
        assert!(!after[&label], "{file}: {label} is done: {after:?}");
        let done = after.values().filter(|done| **done).count();
        assert!(done > 0, "{file}: nothing was kept: {after:?}");
        // And what is made then is what an undisturbed run makes.
        let (code, err) = run(&place);
        assert_eq!(code, 0, "{file}: {err}");
        assert!(states(&place).values().all(|done| *done));
        let values = |place: &Place| place.fine(&["results", "e.yaml", "--csv"]);
        assert_eq!(values(&place), values(&whole), "{file}");
    }
}

/// The name of a data set of one's own is that of its folder.
fn name_of(place: &Place) -> String {
    let steps = states(place);
    let split = steps.keys().find(|name| name.starts_with("split ")).unwrap();
    split.split(' ').nth(1).unwrap().to_owned()
}

//! What is found out before anything is run, written or paid for.

use std::{fs, process::Command};

use crate::{
    endpoint::{Endpoint, Reply},
    support::{Ended, Place, ended},
};

/// An experiment on data of its own, whose chat model reranks.
fn experiment(url: &str, endpoint: &str, profiles: &str, reranker: &str) -> String {
    format!(
        "experiment: checked
data:
  folder: data
  reader: table
  ratings: ratings.csv
  columns: {{user: user, item: item, rating: rating}}
  relevant: \">= 4\"
split: {{scheme: kfold, folds: 2, seed: 1}}
endpoints:
  chat: {{base_url: \"{url}\", model: test{endpoint}}}
profiles:
  texts: {profiles}
systems:
  popularity: {{model: popularity}}
  re: {{model: rerank, of: popularity, text: {{profiles: texts}}, strategy: prompt, pool: 2, judge: chat{reranker}}}
evaluate: {{k: [2]}}
"
    )
}

fn place(text: &str) -> Place {
    let place = Place::new();
    let rows: String = (0..12)
        .flat_map(|user| (0..4).map(move |item| (user, (user + item) % 6, 1 + (user * item) % 5)))
        .map(|(user, item, rating)| format!("{user},{item},{rating}\n"))
        .collect();
    place.write("data/ratings.csv", format!("user,item,rating\n{rows}"));
    place.write("e.yaml", text);
    place
}

/// A command that finds no data set but those of the place: no encoder.
fn alone(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command.env("ASSAY_DATA", place.path("sets")).env("ASSAY_RETRY_SECONDS", "0.01");
    command
}

fn run(place: &Place, args: &[&str]) -> Ended {
    ended(alone(place, args).output().unwrap(), place.dir.path())
}

/// Puts the ids asked about in the order given.
fn chat() -> Endpoint {
    Endpoint::start(|request, _| {
        let question = crate::endpoint::question(request);
        let ids = question.lines().filter_map(|line| line.strip_prefix('[')?.split_once(']'));
        let ids: Vec<String> = ids.map(|(id, _)| format!("\"{id}\"")).collect();
        Reply::Content(format!("{{\"order\": [{}]}}", ids.join(", ")))
    })
}

/// A field that no candidate has, in each prompt that an experiment can name.
#[test]
fn a_prompt_that_cannot_be_filled_in_ends_before_anything_is_written() {
    let template = "{from: template}";
    let written = |of: &str, other: &str| {
        format!("{{{of}: {{from: llm, judge: chat, prompt: p.md}}, {other}: {{from: template}}}}")
    };
    let (items, users) = (written("items", "users"), written("users", "items"));
    for (profiles, reranker, prompt) in [
        (template, ", prompt: p.md", "{% for one in candidates %}{{ one.price }}{% endfor %}"),
        (template, ", prompt: p.md", "{{ recommended }}"),
        (template, ", explain: {top: 2, prompt: p.md}", "{{ recommended.0.price }}"),
        (&items, "", "{{ item.title }}"),
        (&users, "", "{% for one in items %}{{ one.price }}{% endfor %}"),
    ] {
        let endpoint = chat();
        let place = place(&experiment(&endpoint.url(), "", profiles, reranker));
        place.write("p.md", format!("[user]\n{prompt}\n"));
        for verb in ["plan", "run"] {
            let ended = run(&place, &[verb, "e.yaml"]);
            assert_eq!(ended.code, 2, "{verb} {prompt}: {}", ended.err);
            assert!(ended.err.contains("p.md: it cannot be filled in"), "{}", ended.err);
            assert!(!place.path(".assay").exists() && !place.path("reports").exists());
        }
        assert_eq!(endpoint.seen.total(), 0);
        // One that can be filled in is.
        place.write("p.md", "[user]\nHello.\n");
        assert_eq!(run(&place, &["plan", "e.yaml"]).code, 0);
    }
}

#[test]
fn a_key_that_is_not_set_ends_a_run_that_needs_it() {
    let endpoint = chat();
    let place = place(&experiment(&endpoint.url(), ", key_env: TEST_KEY", "{from: template}", ""));
    let plan = run(&place, &["plan", "e.yaml"]);
    assert_eq!(plan.code, 0, "{}", plan.err);
    assert!(plan.err.contains("warning: TEST_KEY is not set"), "{}", plan.err);
    let refused = run(&place, &["run", "e.yaml"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("error: TEST_KEY is not set"), "{}", refused.err);
    assert!(!place.path(".assay").exists());
    // Steps that send nothing need none.
    assert_eq!(run(&place, &["run", "e.yaml", "--until", "fit"]).code, 0);
    let with =
        alone(&place, &["run", "e.yaml", "--quiet"]).env("TEST_KEY", "sk-0123456789").output();
    assert_eq!(ended(with.unwrap(), place.dir.path()).code, 0);
    let asked = endpoint.seen.total();
    assert!(asked > 0);
    // All done: nothing to ask, nothing to say.
    let again = run(&place, &["run", "e.yaml"]);
    assert!(again.code == 0 && !again.err.contains("TEST_KEY is not set"), "{}", again.err);
    // Recorded responses need no key, and a run cannot know before that all are.
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    let recorded = run(&place, &["run", "e.yaml"]);
    assert!(recorded.code == 0 && recorded.err.contains("TEST_KEY is not set"), "{}", recorded.err);
    let refreshed = run(&place, &["run", "e.yaml", "--responses", "refresh"]);
    assert_eq!(refreshed.code, 2, "{}", refreshed.err);
    assert_eq!(endpoint.seen.total(), asked);
}

/// Neither the encoder that is not there nor one that is damaged ends a run whose responses are paid for.
#[test]
fn a_control_that_cannot_run_is_skipped_with_a_warning() {
    let endpoint = chat();
    let place = place(&experiment(&endpoint.url(), "", "{from: template}", ""));
    let plan = run(&place, &["plan", "e.yaml"]);
    assert_eq!(plan.code, 0, "{}", plan.err);
    let skipped = "controls that assay added are skipped: embedding baseline[of=popularity,pool=2]";
    assert!(plan.err.contains(skipped) && plan.err.contains("all-minilm-l6-v2"), "{}", plan.err);
    let without = run(&place, &["run", "e.yaml"]);
    assert_eq!(without.code, 0, "{}", without.err);
    assert!(without.err.contains(skipped), "{}", without.err);
    for system in ["re ", "oracle upper bound", "random reranker", "popularity"] {
        assert!(without.out.contains(system), "{system}: {}", without.out);
    }
    let later = run(&place, &["results", "e.yaml", "--csv"]);
    assert!(
        later.code == 0 && later.err.contains("have no result: embedding baseline"),
        "{}",
        later.err
    );
    // Other than the manifest says.
    place.write("sets/all-minilm-l6-v2/model.safetensors", "damaged");
    place.write("sets/all-minilm-l6-v2/tokenizer.json", "{}");
    let damaged = run(&place, &["run", "e.yaml"]);
    assert_eq!(damaged.code, 0, "{}", damaged.err);
    assert!(
        damaged.err.contains("warning: embedding baseline")
            && damaged.err.contains("hash mismatch"),
        "{}",
        damaged.err
    );
    // A system of the experiment's own that needs it is an error before anything is asked.
    let asked = endpoint.seen.total();
    fs::remove_dir_all(place.path("sets")).unwrap();
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    let own = "  content: {model: content, text: {profiles: texts}}\nevaluate";
    place.write("own.yaml", text.replace("evaluate", own).replace("pool: 2", "pool: 3"));
    let refused = run(&place, &["run", "own.yaml", "--workspace", "own"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(!place.path("own").exists() && endpoint.seen.total() == asked);
}

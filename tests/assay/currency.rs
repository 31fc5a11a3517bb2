//! A result is only as current as what it was made from: responses that are requested again, steps that are
//! rebuilt, prompts that are edited, and workspaces that are copied to where the data is not.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Reply, question},
    support::{Ended, Place, ended, root},
};

const PROMPT: &str = "[user]\nRank. {% for item in candidates %}[{{ item.id }}] {% endfor %}\n";

fn experiment(url: &str) -> String {
    format!(
        "experiment: currency
data: {{set: sample, relevant: \">= 4\", disliked: \"<= 2\"}}
split: {{scheme: official, only: [f1]}}
endpoints:
  chat: {{base_url: \"{url}\", model: test, concurrency: 8}}
profiles: {{template: {{from: template}}}}
systems:
  popularity: {{model: popularity}}
  re:
    {{model: rerank, of: popularity, judge: chat, strategy: prompt, pool: 12, text: {{profiles: template}}, users: \
         \"sample=40\", prompt: prompt.md}}
  control: {{model: rerank, of: popularity, judge: popularity, strategy: prompt, pool: 12, users: \"sample=40\", \
         text: {{profiles: template}}}}
evaluate: {{k: [5], metrics: [ndcg]}}
"
    )
}

/// A chat model that puts the ids of a question in their order, or in the opposite one.
fn endpoint() -> (Endpoint, Arc<AtomicBool>) {
    let backwards = Arc::new(AtomicBool::new(false));
    let told = backwards.clone();
    let endpoint = Endpoint::start(move |request, _| {
        let question = question(request);
        let mut ids: Vec<&str> =
            question.split('[').skip(1).filter_map(|of| of.split(']').next()).collect();
        if told.load(Ordering::SeqCst) {
            ids.reverse();
        }
        Reply::Content(json!({"order": ids}).to_string())
    });
    (endpoint, backwards)
}

fn place(url: &str) -> Place {
    let place = Place::new();
    place.write("prompt.md", PROMPT);
    place.write("e.yaml", experiment(url));
    for file in ["ratings.csv", "items.csv", "users.csv"] {
        if let Ok(text) = fs::read(root().join("datasets/sample").join(file)) {
            place.write(&format!("data/sample/{file}"), text);
        }
    }
    place
}

fn value(place: &Place, workspace: &str) -> f64 {
    let rows = assay(place, &["results", "e.yaml", "--json", "--workspace", workspace]).out;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    let mut rows = rows.as_array().unwrap().iter();
    let row = rows.find(|row| row["system"] == "re" && row["slice"] == "all").unwrap();
    row["value"].as_f64().unwrap()
}

fn run(place: &Place, more: &[&str]) -> Ended {
    assay(place, &[&["run", "e.yaml", "--quiet"], more].concat())
}

/// Where the encoder is not to be found: the control that needs it fails, and takes no time.
fn assay(place: &Place, args: &[&str]) -> Ended {
    let output = place.command(args).env("ASSAY_DATA", place.path("data")).output();
    ended(output.unwrap(), place.dir.path())
}

#[test]
fn scores_of_responses_that_were_replaced_are_not_shown_and_are_made_again() {
    let (endpoint, backwards) = endpoint();
    let place = place(&endpoint.url());
    run(&place, &["--workspace", "before"]);
    let before = value(&place, "before");
    backwards.store(true, Ordering::SeqCst);
    run(&place, &["--workspace", "after"]);
    let after = value(&place, "after");
    assert_ne!(before, after);

    // The reranker's step is made again from other responses, and its score is still there.
    fs::remove_dir_all(place.path("before/steps/rerank")).unwrap();
    fs::remove_dir_all(place.path("before/answers")).unwrap();
    run(&place, &["--workspace", "before", "--until", "rerank"]);
    let ended = assay(&place, &["results", "e.yaml", "--workspace", "before"]);
    assert_eq!(ended.code, 3, "{}", ended.out);
    assert!(!ended.out.lines().any(|line| line.contains(",re,")), "{}", ended.out);
    assert!(ended.err.contains("has been rebuilt with other content"), "{}", ended.err);
    let plan = assay(&place, &["plan", "e.yaml", "--workspace", "before"]).out;
    assert!(plan.contains("evaluate to rerun: rerank re f1"), "{plan}");
    let ended = run(&place, &["--workspace", "before"]);
    assert!(ended.err.contains("evaluate re f1 seed 1 is rerun: rerank re f1"), "{}", ended.err);
    assert_eq!(value(&place, "before"), after);
}

#[test]
fn a_refresh_of_a_finished_run_requests_everything_again() {
    let (endpoint, backwards) = endpoint();
    let place = place(&endpoint.url());
    run(&place, &[]);
    let (sent, before) = (endpoint.seen.total(), value(&place, ".assay"));
    assert_eq!(sent, 40);
    run(&place, &[]);
    assert_eq!(endpoint.seen.total(), sent, "a finished run sends nothing");
    // The same responses: what depends on them stays.
    let ended = assay(&place, &["run", "e.yaml", "--responses", "refresh"]);
    assert_eq!(endpoint.seen.total(), 2 * sent);
    assert!(!ended.err.contains("evaluate re"), "{}", ended.err);
    assert_eq!(value(&place, ".assay"), before);
    // Other responses: what depends on them is made again.
    backwards.store(true, Ordering::SeqCst);
    let ended = assay(&place, &["run", "e.yaml", "--responses", "refresh"]);
    assert_eq!(endpoint.seen.total(), 3 * sent);
    assert!(ended.err.contains("evaluate re f1 seed 1"), "{}", ended.err);
    let after = value(&place, ".assay");
    assert_ne!(after, before);
    run(&place, &["--workspace", "new"]);
    assert_eq!(value(&place, "new"), after);
}

#[test]
fn force_runs_steps_again_and_names_what_there_is() {
    let (endpoint, _) = endpoint();
    let place = place(&endpoint.url());
    run(&place, &[]);
    let again = |what: &str| -> Vec<String> {
        let out = assay(&place, &["run", "e.yaml", "--force", what, "--json"]).out;
        let events =
            out.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let finished = events.filter(|event| event["event"] == "step-finished");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        finished.map(|event| format!("{} {}", text(&event["kind"]), text(&event["step"]))).collect()
    };
    assert_eq!(again("predict"), ["predict popularity f1"]);
    let of_system = again("control");
    let has = |step: &str| of_system.iter().any(|of| of.starts_with(step));
    assert!(has("rerank control f1") && has("evaluate control f1"), "{of_system:?}");
    assert!(!has("rerank re f1"), "{of_system:?}");
    let wrong = assay(&place, &["run", "e.yaml", "--force", "contrl"]);
    assert_eq!(wrong.code, 2);
    assert!(wrong.err.contains("systems: popularity, re, control"), "{}", wrong.err);
    let sent = endpoint.seen.total();
    assay(&place, &["run", "e.yaml", "--force"]);
    assert_eq!(endpoint.seen.total(), sent, "forced steps find their responses");
}

#[test]
fn an_edited_prompt_is_another_step_and_its_results_are_not_the_old_ones() {
    let (endpoint, _) = endpoint();
    let place = place(&endpoint.url());
    run(&place, &[]);
    place.write("prompt.md", PROMPT.replace("Rank.", "Rank them."));
    let ended = assay(&place, &["results", "e.yaml"]);
    assert_eq!(ended.code, 3, "{}", ended.out);
    assert!(ended.err.contains("re f1 seed 1"), "{}", ended.err);
    assert!(assay(&place, &["plan", "e.yaml"]).out.contains("its prompt changed"));
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().flatten() {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => drop(fs::copy(entry.path(), target).unwrap()),
        }
    }
}

const PLAIN: &str = "experiment: plain
data:
  reader: table
  ratings: mine/ratings.csv
  columns: {user: user, item: item, rating: rating}
  relevant: \">= 4\"
split: {scheme: holdout, test: 0.3}
systems: {popularity: {model: popularity}, knn: {model: item-knn}}
evaluate: {k: [2], conventions: [standard, trec]}
";

#[test]
fn a_copied_workspace_shows_its_results_without_the_data() {
    let here = Place::new();
    here.write("plain.yaml", PLAIN);
    let mut ratings = String::from("user,item,rating\n");
    for user in 0..30 {
        for item in 0..8 {
            let rating = 1 + (user * 7 + item * item) % 5;
            ratings.push_str(&format!("u{user},i{},{rating}\n", (item * 5 + user) % 12));
        }
    }
    here.write("mine/ratings.csv", ratings);
    here.fine(&["run", "plain.yaml"]);
    let show = |place: &Place, name: &str| -> Vec<String> {
        let out = |args: &[&str]| place.fine(args);
        vec![
            out(&["results", name]),
            out(&["table", name]),
            out(&["table", name, "--format", "latex", "--intervals"]),
            out(&["agreement", name]),
            out(&["report", name, "--out", "report"]),
            fs::read_to_string(place.path("report/results.csv")).unwrap(),
            fs::read_to_string(place.path("report/index.html")).unwrap(),
            out(&["export", name, "--format", "trec", "--out", "runs"]),
            fs::read_to_string(place.path("runs/knn--holdout--seed1.run")).unwrap(),
        ]
    };
    let expected = show(&here, "plain.yaml");

    // The experiment file and the workspace alone, elsewhere.
    let there = Place::new();
    there.write("plain.yaml", PLAIN);
    copy(&here.path(".assay"), &there.path(".assay"));
    assert_eq!(show(&there, "plain.yaml"), expected);
    let ended = there.assay(&["table", "plain.yaml"]);
    assert!(ended.err.contains("results of the last run"), "{}", ended.err);
    assert_eq!(there.assay(&["run", "plain.yaml"]).code, 2, "a run needs the data");

    // An experiment that has changed since is another one.
    there.write("plain.yaml", PLAIN.replace("k: [2]", "k: [3]"));
    let ended = there.assay(&["table", "plain.yaml"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("has changed since"), "{}", ended.err);

    // Not even the experiment file: by its name.
    fs::remove_file(there.path("plain.yaml")).unwrap();
    assert_eq!(there.fine(&["results", "plain"]), expected[0]);
    // And what was tampered with is not shown.
    let scores = fs::read_dir(there.path(".assay/steps/evaluate")).unwrap().flatten();
    for step in scores {
        let path = step.path().join("summary.json");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(path, text.replacen("\"value\":0", "\"value\":1", 1)).unwrap();
    }
    assert_eq!(there.assay(&["results", "plain"]).code, 3);
}

#[test]
fn gc_removes_what_no_experiment_named_needs_and_never_responses() {
    let (endpoint, _) = endpoint();
    let place = place(&endpoint.url());
    run(&place, &[]);
    run(&place, &[]);
    let other =
        experiment(&endpoint.url()).replace(": currency", ": other").replace("k: [5]", "k: [3]");
    place.write("other.yaml", other);
    assay(&place, &["run", "other.yaml", "--quiet"]);
    let responses = place.path(".assay/answers");
    let count = |path: &Path| fs::read_dir(path).unwrap().count();
    let (before, sent) = (count(&responses), endpoint.seen.total());
    let shown = assay(&place, &["gc", "e.yaml"]);
    assert!(shown.code == 0 && shown.out.contains("can be removed"), "{}{}", shown.out, shown.err);
    assert_eq!(count(&place.path(".assay/steps/evaluate")), 10, "nothing was removed yet");
    assay(&place, &["gc", "e.yaml", "--yes"]);
    assert_eq!(count(&place.path(".assay/steps/evaluate")), 5);
    assert_eq!((count(&place.path(".assay/runs")), count(&responses)), (1, before));
    let again = assay(&place, &["run", "e.yaml"]);
    assert!(again.err.contains("evaluate embedding baseline") || !again.err.contains("evaluate "));
    assert_eq!(endpoint.seen.total(), sent);
    assert_eq!(assay(&place, &["gc"]).code, 2);
}

/// Two prompts of one name in different folders are two prompts.
#[test]
fn prompts_of_one_name_in_different_folders_are_told_apart() {
    let (endpoint, _) = endpoint();
    let place = place(&endpoint.url());
    let reranker = "model: rerank\nof: popularity\njudge: chat\nstrategy: prompt\npool: 12\ntext: {profiles: \
                    template}\nusers: \"sample=40\"\nprompt: order.md\n";
    // The second folder's prompt lists the candidates backwards, and the model keeps to what it reads.
    for (folder, prompt) in [
        ("pa", PROMPT.to_owned()),
        ("pb", PROMPT.replace("in candidates", "in candidates | reverse")),
    ] {
        place.write(&format!("{folder}/order.md"), prompt);
        place.write(&format!("{folder}/rr.yaml"), reranker);
    }
    let text = experiment(&endpoint.url());
    let start = text.find("  re:").unwrap();
    let end = text.find("  control:").unwrap();
    let systems = "  re: {use: pa/rr.yaml}\n  other: {use: pb/rr.yaml}\n";
    place.write("e.yaml", format!("{}{systems}{}", &text[..start], &text[end..]));
    run(&place, &[]);
    let rows = assay(&place, &["results", "e.yaml", "--json"]).out;
    let rows: Value = serde_json::from_str(&rows).unwrap();
    let value = |system: &str| {
        let of = rows.as_array().unwrap().iter();
        let mut of = of.filter(|row| row["system"] == system && row["slice"] == "all");
        of.next().unwrap()["value"].as_f64().unwrap()
    };
    assert_ne!(value("re"), value("other"));
}

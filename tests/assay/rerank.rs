//! Rerankers: controls, the way through a chat endpoint and back, and answers that lie.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rec_assay::text::{Embeddings, Profiles};
use serde_json::{Value, json};

use crate::{
    endpoint::{Act, Endpoint, question},
    support::{Place, means, root},
};

fn experiment(url: &str, judges: &str, strategies: &str) -> String {
    format!(
        "experiment: rerank
data: {{set: sample, relevant: \">= 4\", disliked: \"<= 2\"}}
split: {{scheme: official, only: [f1]}}
judges:
  chat: {{base_url: \"{url}\", model: test, concurrency: 8, price: {{input: 1, output: 1}}}}
profiles:
  template: {{from: template}}
systems:
  als: {{model: als, factors: 8, iterations: 5}}
  re:
    model: rerank
    of: als
    text: {{profiles: template}}
    pool: 12
    strategy: {{sweep: {strategies}}}
    judge: {{sweep: {judges}}}
evaluate: {{k: [5, 10]}}
"
    )
}

fn weights() -> bool {
    let here = root().join("datasets/all-minilm-l6-v2/model.safetensors").is_file();
    if !here {
        println!("NOT RUN, the encoder's weights are not here: `make encoder` fetches them");
    }
    here
}

/// Directories of finished steps by kind and label.
fn steps(place: &Place) -> HashMap<String, PathBuf> {
    let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    plan["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| {
            let (kind, label, key) = (text(&step["kind"]), text(&step["step"]), text(&step["key"]));
            (format!("{kind} {label}"), place.path(&format!(".assay/steps/{kind}/{key}")))
        })
        .collect()
}

fn facts(place: &Place, step: &str) -> Value {
    let record = fs::read(steps(place)[step].join("record.json")).unwrap();
    serde_json::from_slice::<Value>(&record).unwrap()["facts"].clone()
}

/// What a prompt says of each candidate: its id, and the three lines about it.
fn candidates(question: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = question.lines().collect();
    let at = |at: usize| lines.get(at).copied().unwrap_or_default();
    (0..lines.len())
        .filter_map(|line| {
            let (id, title) = lines[line].strip_prefix('[')?.split_once("] ")?;
            Some((id.to_owned(), format!("{title}|{}|{}", at(line + 1), at(line + 2))))
        })
        .collect()
}

#[test]
fn the_controls_bound_what_a_judge_can_do() {
    if !weights() {
        return;
    }
    let place = Place::new();
    let judges = "[encoder, popularity, shuffle, oracle]";
    place.write(
        "e.yaml",
        experiment("http://127.0.0.1:9/v1", judges, "[prompt, bst, batch, relevancy]"),
    );
    place.fine(&["run", "e.yaml", "--threads", "1", "--workspace", "one"]);
    place.fine(&["run", "e.yaml", "--threads", "3", "--workspace", "three"]);
    assert_eq!(place.artefacts("one"), place.artefacts("three"));
    let csv = place
        .fine(&["results", "e.yaml", "--workspace", "one"])
        .replace("],", "];")
        .replace("\"", "");
    // Names hold a comma: taken apart by hand.
    let csv: String = csv
        .lines()
        .map(|line| line.replacen(",judge", "+judge", 1).replace("];", "],") + "\n")
        .collect();
    let ndcg = means(&csv, "ndcg", "10");
    let of = |strategy: &str, judge: &str| ndcg[&format!("re[strategy={strategy}+judge={judge}]")];
    for strategy in ["prompt", "bst", "batch", "relevancy"] {
        for judge in ["encoder", "popularity", "shuffle"] {
            assert!(of(strategy, judge) < of("prompt", "oracle"), "{strategy} {judge} {ndcg:?}");
        }
    }
    assert!(of("prompt", "oracle") > ndcg["als"] && of("prompt", "shuffle") < ndcg["als"]);
    // A judge that has a number for everything says the same however it is asked.
    assert_eq!(of("prompt", "encoder"), of("bst", "encoder"));
    assert_eq!(of("prompt", "encoder"), of("relevancy", "encoder"));
}

/// An endpoint that answers from the encoder's vectors must lead to the encoder's lists.
#[test]
fn a_chat_model_that_knows_the_vectors_gives_the_encoders_order() {
    if !weights() {
        return;
    }
    type Known = (Profiles, Embeddings, Embeddings, HashMap<String, usize>);
    let known: Arc<Mutex<Option<Known>>> = Arc::default();
    let of = known.clone();
    let endpoint = Endpoint::start(move |request, _| {
        let known = of.lock().unwrap();
        let (profiles, users, items, titles) = known.as_ref().unwrap();
        let question = question(request);
        let user = profiles
            .texts
            .iter()
            .position(|text| text.as_ref().is_some_and(|text| question.contains(text.trim())))
            .expect("a profile");
        let row = |of: &Embeddings, at: usize| of.vectors[at * of.dim..][..of.dim].to_vec();
        let score = |title: &str| {
            let (user, item) = (row(users, user), row(items, titles[title]));
            let cosine: f32 = user.iter().zip(&item).map(|(a, b)| a * b).sum();
            50.0 * (1.0 + f64::from(cosine))
        };
        let mut scored: Vec<(String, f64)> =
            candidates(&question).into_iter().map(|(id, title)| (id, score(&title))).collect();
        let schema = &request["response_format"]["json_schema"];
        Act::Answer(match schema["name"].as_str().unwrap() {
            "scores" => {
                let scores: Vec<Value> =
                    scored.iter().map(|(id, score)| json!({"id": id, "score": score})).collect();
                json!({"scores": scores}).to_string()
            }
            name => {
                scored.sort_by(|a, b| b.1.total_cmp(&a.1));
                let ids: Vec<&String> = scored.iter().map(|(id, _)| id).collect();
                match name {
                    "order" => format!("Here you are:\n```json\n{}\n```", json!({"order": ids})),
                    _ => json!({"better": ids[0]}).to_string(),
                }
            }
        })
    });
    let place = Place::new();
    let strategies = "[prompt, relevancy, bst, batch]";
    place.write("e.yaml", experiment(&endpoint.url(), "[encoder]", strategies));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let dirs = steps(&place);
    // What a prompt says of each item: titles alone are not unique.
    let facts_of: Vec<Value> = serde_json::from_slice(
        &fs::read(dirs["profiles template items"].join("facts.json")).unwrap(),
    )
    .unwrap();
    let titles: HashMap<String, usize> = facts_of
        .iter()
        .enumerate()
        .map(|(at, fact)| {
            let genres: Vec<&str> = fact["genres"]
                .as_array()
                .unwrap()
                .iter()
                .map(|genre| genre.as_str().unwrap())
                .collect();
            let text = |name: &str| fact[name].as_str().unwrap_or_default().to_owned();
            (
                format!(
                    "{}|Genre: {}|Overview: {}",
                    text("title"),
                    genres.join(", "),
                    text("overview")
                ),
                at,
            )
        })
        .collect();
    assert_eq!(titles.len(), facts_of.len());
    *known.lock().unwrap() = Some((
        Profiles::read(&dirs["profiles template users f1"]).unwrap(),
        Embeddings::read(&dirs["embeddings template users f1"]).unwrap(),
        Embeddings::read(&dirs["embeddings template items"]).unwrap(),
        titles,
    ));
    place.write("e.yaml", experiment(&endpoint.url(), "[encoder, chat]", strategies));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let dirs = steps(&place);
    for strategy in ["prompt", "relevancy", "bst", "batch"] {
        let lists = |judge: &str| {
            let step = format!("rerank re[strategy={strategy},judge={judge}] f1 seed 1");
            fs::read(dirs[&step].join("lists.parquet")).unwrap()
        };
        assert!(lists("encoder") == lists("chat"), "{strategy}");
        let facts = facts(&place, &format!("rerank re[strategy={strategy},judge=chat] f1 seed 1"));
        for odd in
            ["unknown_ids", "missing_ids", "repeated_ids", "unusable_answers", "fallback_users"]
        {
            assert_eq!(facts["judge"][odd], 0, "{strategy}: {facts}");
        }
        assert!(facts["judge"]["llm"]["money"].as_f64().unwrap() > 0.0);
    }
    let html = fs::read_to_string(place.path("reports/rerank/index.html")).unwrap();
    assert!(html.contains("<h2>Rerankers</h2>") && html.contains("asks no model"));
    // All of it again from the journal.
    let asked = endpoint.seen.total();
    let before = place.artefacts(".assay");
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    place.fine(&["run", "e.yaml", "--quiet", "--answers", "replay"]);
    assert_eq!(endpoint.seen.total(), asked);
    assert_eq!(place.artefacts(".assay"), before);
}

#[test]
fn a_liar_is_counted_and_every_user_still_gets_a_list_of_the_pool() {
    if !weights() {
        return;
    }
    let planted: Arc<Mutex<BTreeMap<&'static str, usize>>> = Arc::default();
    let of = planted.clone();
    let endpoint = Endpoint::start(move |request, _| {
        let mut ids: Vec<String> =
            candidates(&question(request)).into_iter().map(|(id, _)| id).collect();
        let mut planted = of.lock().unwrap();
        let mut plant = |what: &'static str, n: usize| *planted.entry(what).or_default() += n;
        plant("answers", 1);
        let at = ids.iter().flat_map(|id| id.bytes()).map(usize::from).sum::<usize>() % 7;
        match at {
            0 => {
                plant("unusable", 1);
                return Act::Answer("I like all of them.".into());
            }
            1 => {
                plant("unusable", 1);
                return Act::Refusal;
            }
            2 => {
                plant("unusable", 1);
                return Act::Answer(json!({"order": ["zzzzz", "yyyyy"]}).to_string());
            }
            _ => {}
        }
        plant("asked", ids.len());
        match at {
            3 => {
                ids.truncate(ids.len() - 3);
                plant("missing", 3);
            }
            4 => {
                ids.insert(1, "nobody".into());
                plant("unknown", 1);
            }
            5 => {
                ids.push(ids[0].clone());
                plant("repeated", 1);
            }
            _ => {}
        }
        plant("answered", ids.len());
        Act::Answer(format!("Well… {} That is my order.", json!({"order": ids})))
    });
    let place = Place::new();
    place.write("e.yaml", experiment(&endpoint.url(), "[chat]", "[prompt]"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let judge = facts(&place, "rerank re[strategy=prompt,judge=chat] f1 seed 1")["judge"].clone();
    let planted = planted.lock().unwrap().clone();
    println!("planted {planted:?}\ncounted {judge}");
    let n = |what: &str| planted.get(what).copied().unwrap_or(0);
    for (counted, what) in [
        ("answers", "answers"),
        ("unusable_answers", "unusable"),
        ("fallback_users", "unusable"),
        ("ids_asked", "asked"),
        ("ids_answered", "answered"),
        ("unknown_ids", "unknown"),
        ("missing_ids", "missing"),
        ("repeated_ids", "repeated"),
    ] {
        assert_eq!(judge[counted], n(what), "{counted}");
        assert!(n(what) > 0, "{what} was never planted");
    }
    let rate = |part: &str, of: &str| n(part) as f64 / n(of) as f64;
    assert_eq!(judge["hallucination_rate"], rate("unknown", "answered"));
    assert_eq!(judge["omission_rate"], rate("missing", "asked"));
    assert_eq!(judge["fallback_rate"], rate("unusable", "answers"));
    // Every user's first twelve are the base's first twelve, in another order.
    place.fine(&["export", "e.yaml", "--format", "trec", "--out", "out"]);
    let runs: Vec<PathBuf> =
        fs::read_dir(place.path("out")).unwrap().flatten().map(|entry| entry.path()).collect();
    let pool = |name: &str| {
        let path = runs
            .iter()
            .find(|path| path.file_name().unwrap().to_string_lossy().starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in {runs:?}"));
        let mut pools: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in fs::read_to_string(path).unwrap().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let pool = pools.entry(fields[0].to_owned()).or_default();
            if pool.len() < 12 {
                pool.push(fields[2].to_owned());
            }
        }
        for pool in pools.values_mut() {
            pool.sort();
        }
        pools
    };
    assert_eq!(pool("als"), pool("re"));
}

#[test]
fn the_plan_says_what_it_may_cost() {
    let place = Place::new();
    let text = experiment("http://127.0.0.1:9/v1", "[encoder, chat]", "[prompt, relevancy]");
    place.write(
        "e.yaml",
        text.replace("pool: 12", "pool: 20, users: {sample: 50}")
            .replace("    pool: 20, ", "    pool: 20\n    "),
    );
    let plan = place.fine(&["plan", "e.yaml"]);
    let said = plan.split_once("language models").unwrap().1;
    assert!(said.contains("judge=chat] f1 seed 1: up to 50 calls to `chat`"), "{said}");
    assert!(
        said.contains("up to 600 calls to `chat`") && said.contains("in all up to 650 calls"),
        "{said}"
    );
    assert!(said.contains("in the judges' prices"), "{said}");
}

#[test]
fn what_cannot_be_reranked_is_one_clear_error() {
    let place = Place::new();
    let mut shown = String::new();
    for (name, system) in [
        (
            "no such base",
            "{model: rerank, of: al, strategy: prompt, judge: encoder, text: {profiles: p}}",
        ),
        (
            "a base that reranks",
            "{model: rerank, of: it, strategy: prompt, judge: encoder, text: {profiles: p}}",
        ),
        (
            "no such judge",
            "{model: rerank, of: als, strategy: prompt, judge: encodr, text: {profiles: p}}",
        ),
        (
            "no such strategy",
            "{model: rerank, of: als, strategy: promt, judge: encoder, text: {profiles: p}}",
        ),
        (
            "an overlap too large",
            "{model: rerank, of: als, strategy: batch, judge: encoder, batch: 5, overlap: 5, text: {profiles: p}}",
        ),
        (
            "a weight too large",
            "{model: rerank, of: als, strategy: bst, judge: encoder, fuse: {judge: 1.5}, text: {profiles: p}}",
        ),
    ] {
        place.write(
            "e.yaml",
            format!(
                "experiment: wrong\ndata: {{set: sample}}\nsplit: {{scheme: official, only: [f1]}}\nprofiles: \
                 {{p: {{from: template}}}}\nsystems:\n  als: {{model: als}}\n  it: {system}\n"
            ),
        );
        let ended = place.assay(&["plan", "e.yaml"]);
        shown.push_str(&format!("# {name}: exit {}\n{}\n", ended.code, ended.err));
    }
    insta::assert_snapshot!(shown);
}

//! Rerankers: controls, requests to a chat endpoint, and wrong responses.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use rec_assay::{
    base::hash::Digest,
    text::{Embeddings, Profiles},
};
use serde_json::{Value, json};

use crate::{
    endpoint::{Endpoint, Reply, question},
    support::{Place, means, weights},
};

fn experiment(url: &str, judges: &str, strategies: &str) -> String {
    format!(
        "experiment: rerank
data: {{set: sample, relevant: \">= 4\", disliked: \"<= 2\"}}
split: {{scheme: official, only: [f1]}}
endpoints:
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
    serde_json::from_slice::<Value>(&record).unwrap()["stats"].clone()
}

/// The candidates in a prompt: id, and three lines about each.
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
    if !weights("the_controls_bound_what_a_judge_can_do") {
        return;
    }
    let place = Place::encoded(&["one", "three"]);
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
    // Names contain a comma, so they are split by hand.
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
    // A judge with a score for every item gives the same order with every strategy.
    assert_eq!(of("prompt", "encoder"), of("bst", "encoder"));
    assert_eq!(of("prompt", "encoder"), of("relevancy", "encoder"));
}

/// An endpoint that responds by the encoder's embeddings must give the encoder's lists.
#[test]
fn a_chat_model_that_knows_the_vectors_gives_the_encoders_order() {
    if !weights("a_chat_model_that_knows_the_vectors_gives_the_encoders_order") {
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
        Reply::Content(match schema["name"].as_str().unwrap() {
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
    let place = Place::encoded(&[]);
    // A quarter of the users: each costs some thirty requests.
    let of_judges = |judges: &str| {
        experiment(&endpoint.url(), judges, "[prompt, relevancy, bst, batch]")
            .replace("    pool: 12\n", "    pool: 12\n    users: sample=70\n")
    };
    place.write("e.yaml", of_judges("[encoder]"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let dirs = steps(&place);
    // The lines about each item, because titles are not unique.
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
    place.write("e.yaml", of_judges("[encoder, chat]"));
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
    assert!(html.contains("id=\"rerankers\"") && html.contains("no language model"));
    // All responses again from the journal.
    let asked = endpoint.seen.total();
    let before = place.artefacts(".assay");
    for kind in fs::read_dir(place.path(".assay/steps")).unwrap().flatten() {
        // Encoding takes long, and asks nobody.
        if kind.file_name() != "embeddings" {
            fs::remove_dir_all(kind.path()).unwrap();
        }
    }
    place.fine(&["run", "e.yaml", "--quiet", "--responses", "replay"]);
    assert_eq!(endpoint.seen.total(), asked);
    assert_eq!(place.artefacts(".assay"), before);
}

/// Irregularities planted for one strategy.
type Planted = BTreeMap<String, BTreeMap<&'static str, usize>>;

#[test]
fn irregular_responses_are_counted_and_every_list_contains_the_pool() {
    if !weights("irregular_responses_are_counted_and_every_list_contains_the_pool") {
        return;
    }
    let planted: Arc<Mutex<Planted>> = Arc::default();
    let of = planted.clone();
    let endpoint = Endpoint::start(move |request, _| {
        let mut ids: Vec<String> =
            candidates(&question(request)).into_iter().map(|(id, _)| id).collect();
        let schema = request["response_format"]["json_schema"]["name"].as_str().unwrap();
        let strategy = match (schema, ids.len()) {
            ("order", 12) => "prompt",
            ("order", _) => "batch",
            ("better", _) => "bst",
            _ => "relevancy",
        };
        let mut planted = of.lock().unwrap();
        let planted = planted.entry(strategy.to_owned()).or_default();
        let mut plant = |what: &'static str, n: usize| *planted.entry(what).or_default() += n;
        plant("answers", 1);
        let at = ids.iter().flat_map(|id| id.bytes()).map(usize::from).sum::<usize>() % 8;
        match at {
            0 => {
                plant("unusable", 1);
                return Reply::Content("I like all of them.".into());
            }
            1 => {
                plant("unusable", 1);
                return Reply::Refusal;
            }
            _ => {}
        }
        let wanted = if schema == "better" { 1 } else { ids.len() };
        plant("asked", wanted);
        let is_list = schema != "better";
        match at {
            2 => {
                // Only unknown ids.
                plant("unusable", 1);
                plant("missing", wanted);
                ids = vec!["zzzzz".into(), "yyyyy".into()];
                ids.truncate(wanted);
                plant("unknown", ids.len());
            }
            3 if is_list => {
                ids.pop();
                plant("missing", 1);
            }
            4 if is_list => {
                ids.insert(1, "nobody".into());
                plant("unknown", 1);
            }
            5 if is_list => {
                ids.push(ids[0].clone());
                plant("repeated", 1);
            }
            6 if schema == "scores" => plant("out_of_range", 1),
            _ => {}
        }
        if !is_list {
            ids.truncate(1);
        }
        plant("answered", ids.len());
        let scored = |(place, id): (usize, &String)| {
            let score = if at == 6 && place == 0 { 150.0 } else { place as f64 };
            json!({"id": format!("[{id}]"), "score": score})
        };
        let answer = match schema {
            "better" => json!({"reason": "It is darker.", "better": ids[0]}),
            "scores" => json!({"scores": ids.iter().enumerate().map(scored).collect::<Vec<_>>()}),
            _ => json!({"because": ["likes drama"], "order": ids}),
        };
        Reply::Content(format!(
            "<think>First {{\"order\": []}}?</think>Of [1, 2]… {answer} That is it."
        ))
    });
    let place = Place::encoded(&[]);
    let strategies = "[prompt, bst, batch, relevancy]";
    let text = experiment(&endpoint.url(), "[chat]", strategies);
    place.write("e.yaml", text.replace("    pool: 12\n", "    pool: 12\n    users: sample=120\n"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    for (strategy, planted) in planted.lock().unwrap().clone() {
        let step = format!("rerank re[strategy={strategy},judge=chat] f1 seed 1");
        let judge = facts(&place, &step)["judge"].clone();
        println!("{strategy} planted {planted:?}\ncounted {judge}");
        let n = |what: &str| planted.get(what).copied().unwrap_or(0);
        for (counted, what) in [
            ("answers", "answers"),
            ("unusable_answers", "unusable"),
            ("ids_asked", "asked"),
            ("ids_answered", "answered"),
            ("unknown_ids", "unknown"),
            ("missing_ids", "missing"),
            ("repeated_ids", "repeated"),
            ("scores_out_of_range", "out_of_range"),
        ] {
            assert_eq!(judge[counted], n(what), "{strategy}: {counted}");
            let may_lack = (strategy == "bst" && what == "repeated")
                || (strategy != "relevancy" && what == "out_of_range");
            assert!(n(what) > 0 || may_lack, "{strategy}: {what} was never planted");
        }
        let rate = |part: &str, of: &str| n(part) as f64 / n(of) as f64;
        assert_eq!(judge["hallucination_rate"], rate("unknown", "answered"));
        assert_eq!(judge["omission_rate"], rate("missing", "asked"));
        assert_eq!(judge["fallback_rate"], rate("unusable", "answers"));
        if strategy == "prompt" {
            assert_eq!(judge["fallback_users"], n("unusable"));
        }
    }
    // The first twelve items of every user are those of the base, in another order.
    place.fine(&["export", "e.yaml", "--format", "trec", "--out", "out"]);
    let runs: Vec<PathBuf> =
        fs::read_dir(place.path("out")).unwrap().flatten().map(|entry| entry.path()).collect();
    let pools = |path: &PathBuf| {
        let mut pools: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for line in fs::read_to_string(path).unwrap().lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let pool = pools.entry(fields[0].to_owned()).or_default();
            if pool.len() < 12 {
                pool.push(fields[2].to_owned());
            }
        }
        pools.values_mut().for_each(|pool| pool.sort());
        pools
    };
    let name = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().into_owned();
    let base = pools(runs.iter().find(|path| name(path).starts_with("als")).unwrap());
    let reranked: Vec<&PathBuf> = runs.iter().filter(|path| name(path).starts_with("re")).collect();
    assert_eq!(reranked.len(), 4);
    for path in reranked {
        assert_eq!(pools(path), base, "{path:?}");
    }
    // Oracle upper bound, random reranker and embedding baseline are added automatically.
    let results = place.fine(&["results", "e.yaml"]);
    for control in [
        "oracle upper bound[of=als,pool=12,users=sample=120]",
        "embedding baseline[of=als,pool=12,users=sample=120]",
        "random reranker[of=als,pool=12,users=sample=120]",
    ] {
        assert!(results.contains(control), "{control}");
    }
}

#[test]
fn explanations_are_written_checked_and_counted() {
    if !weights("explanations_are_written_checked_and_counted") {
        return;
    }
    let planted: Arc<Mutex<BTreeMap<&'static str, usize>>> = Arc::default();
    let of = planted.clone();
    let endpoint = Endpoint::start(move |request, _| {
        let question = question(request);
        let all = candidates(&question);
        if request["response_format"]["json_schema"]["name"] == "order" {
            let ids: Vec<&String> = all.iter().map(|(id, _)| id).collect();
            return Reply::Content(json!({"order": ids}).to_string());
        }
        let (_, wanted) = question.rsplit_once("Explain these 3: ").expect("what to explain");
        let mut ids: Vec<String> =
            wanted.trim().trim_end_matches('.').split(", ").map(str::to_owned).collect();
        assert_eq!(ids.len(), 3);
        // The best items come first among all candidates.
        assert!(ids.iter().zip(&all).all(|(id, (of, _))| id == of));
        let about = |id: &str| -> (String, String) {
            let text = &all.iter().find(|(of, _)| of == id).expect("a candidate").1;
            let parts: Vec<&str> = text.split('|').collect();
            (parts[0].to_owned(), parts[1].trim_start_matches("Genre: ").to_owned())
        };
        let liked = question.lines().find_map(|line| line.strip_prefix("- **Genre**: "));
        let mut planted = of.lock().unwrap();
        let mut plant = |what: &'static str, n: usize| *planted.entry(what).or_default() += n;
        let at = ids.iter().flat_map(|id| id.bytes()).map(usize::from).sum::<usize>() % 6;
        match at {
            0 => {
                plant("unusable", 1);
                plant("stand_ins", 3);
                return Reply::Content("They are all good.".into());
            }
            1 => {
                ids.pop();
                plant("stand_ins", 1);
            }
            2 => {
                ids.push("nobody".into());
                plant("unknown", 1);
            }
            _ => {}
        }
        let texts: Vec<Value> = ids
            .iter()
            .map(|id| {
                let text = match (at, &id[..]) {
                    (_, "nobody") => "Nothing.".to_owned(),
                    (3, id) => {
                        plant("unfounded", 1);
                        format!(
                            "Zebulon Quark directed {}, and so did Ann Nobody in 2077.",
                            about(id).0
                        )
                    }
                    (4, _) => {
                        plant("generic", 1);
                        "A great <b>thing</b> for everyone.".to_owned()
                    }
                    (_, id) => {
                        plant("honest", 1);
                        let (title, genres) = about(id);
                        format!("{title} is {genres}.\nYou like {}.", liked.unwrap_or("anything"))
                    }
                };
                json!({"id": id, "text": text})
            })
            .collect();
        Reply::Content(json!({"explanations": texts}).to_string())
    });
    let place = Place::encoded(&[]);
    let text = experiment(&endpoint.url(), "[chat, encoder, popularity, oracle]", "[prompt]")
        .replace("    pool: 12\n", "    pool: 12\n    explain: {top: 3}\n");
    place.write("e.yaml", text.clone());
    let plan = place.fine(&["plan", "e.yaml"]);
    assert!(
        plan.contains("explain re[strategy=prompt,judge=chat] f1 seed 1: up to 300 calls"),
        "{plan}"
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    let planted = planted.lock().unwrap().clone();
    let n = |what: &str| planted.get(what).copied().unwrap_or(0);
    let of = facts(&place, "explain re[strategy=prompt,judge=chat] f1 seed 1");
    println!("planted {planted:?}\ncounted {of}");
    let (checks, judge) = (&of["checks"], &of["judge"]);
    for what in ["unusable", "stand_ins", "unknown", "unfounded", "generic", "honest"] {
        assert!(n(what) > 0, "{what} was never planted");
    }
    assert_eq!(
        (&checks["explanations"], &checks["stand_ins"]),
        (&json!(900), &json!(n("stand_ins")))
    );
    assert_eq!(checks["checked"], 900 - n("stand_ins"));
    assert_eq!(
        (&judge["unusable_answers"], &judge["unknown_ids"]),
        (&json!(n("unusable")), &json!(n("unknown")))
    );
    assert_eq!(checks["grounded"], n("generic") + n("honest"));
    // Three names each.
    assert_eq!(checks["unfounded"], 3 * n("unfounded"));
    assert_eq!(checks["unfounded_names"].as_array().unwrap().len(), 3);
    assert!(checks["said_before"].as_u64().unwrap() as usize >= n("generic") - 1);
    let rows: Value =
        serde_json::from_str(&place.fine(&["explanations", "e.yaml", "--json"])).unwrap();
    let rows: Vec<&Value> = rows.as_array().unwrap().iter().collect();
    // The oracle explains nothing.
    assert_eq!(rows.len(), 2700);
    let apart = |is: &dyn Fn(&str) -> bool| {
        let of = rows.iter().map(|row| &row["explanation"]);
        let fits = of.filter(|row| row["stands_in"] == false && is(row["text"].as_str().unwrap()));
        let all: Vec<f64> = fits.filter_map(|row| row["told_apart"].as_f64()).collect();
        all.iter().sum::<f64>() / all.len() as f64
    };
    let generic = apart(&|text| text.starts_with("A great"));
    let popular = apart(&|text| text.contains("was liked by"));
    let honest = apart(&|text| text.contains("You like"));
    println!("user specificity: generic {generic}, popularity {popular}, honest {honest}");
    assert_eq!(generic, 0.5);
    assert!(honest > 0.7 && popular < 0.65, "{honest} {popular}");
    let html = fs::read_to_string(place.path("reports/rerank/index.html")).unwrap();
    assert!(html.contains("id=\"explanations\"") && html.contains("zebulon quark ("));
    assert!(!html.contains("<b>thing</b>"));
    assert!(html.contains("nDCG@10 against money for 1,000 users; "));
    let shown = place.fine(&[
        "explanations",
        "e.yaml",
        "--user",
        "7",
        "--system",
        "re[strategy=prompt,judge=encoder]",
    ]);
    assert!(shown.lines().count() == 4 && shown.contains("user 7 #1"), "{shown}");
    let odd = place.fine(&["explanations", "e.yaml", "--ungrounded", "--limit", "1"]);
    assert!(
        odd.contains("ungrounded: 2077; ann nobody; zebulon quark")
            && odd.contains("more (--limit 0"),
        "{odd}"
    );
    let wrong =
        place.assay(&["explanations", "e.yaml", "--system", "re[strategy=prompt,judge=chatt]"]);
    assert!(wrong.code == 2 && wrong.err.contains("did you mean"), "{}", wrong.err);
    // Other settings of explanations do not change lists; all responses come from the journal.
    let asked = endpoint.seen.total();
    place.write("e.yaml", text.replace("{top: 3}", "{top: 3, users: sample=10}"));
    let plan = place.fine(&["plan", "e.yaml", "--json"]);
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let open = plan["steps"].as_array().unwrap().iter().filter(|step| step["done"] == false);
    let open: Vec<&str> = open.map(|step| step["kind"].as_str().unwrap()).collect();
    assert_eq!(open, ["explain"; 3]);
    place.fine(&["run", "e.yaml", "--quiet"]);
    assert_eq!(endpoint.seen.total(), asked);
    place.write("e.yaml", text);
    let before = place.artefacts(".assay");
    fs::remove_dir_all(place.path(".assay/steps/explain")).unwrap();
    place.fine(&["run", "e.yaml", "--quiet", "--responses", "replay", "--threads", "1"]);
    assert_eq!(endpoint.seen.total(), asked);
    place.write(
        "e.yaml",
        fs::read_to_string(place.path("e.yaml"))
            .unwrap()
            .replace("{top: 3}", "{top: 3, users: sample=10}"),
    );
    place.fine(&["run", "e.yaml", "--quiet", "--responses", "replay"]);
    assert_eq!(place.artefacts(".assay"), before);
}

#[test]
fn prompt_files_are_used_and_versioned() {
    if !weights("prompt_files_are_used_and_versioned") {
        return;
    }
    let endpoint = Endpoint::start(|request, _| {
        let question = question(request);
        let ids: Vec<String> = candidates(&question).into_iter().map(|(id, _)| id).collect();
        Reply::Content(match request["response_format"]["json_schema"]["name"].as_str().unwrap() {
            "order" if question.starts_with("Mine, 12, 5 is best") => {
                json!({"order": ids}).to_string()
            }
            "explanations" if question.starts_with("Why?") => {
                json!({"explanations": {&ids[0]: "Because."}}).to_string()
            }
            _ => "An unknown prompt.".into(),
        })
    });
    let place = Place::encoded(&[]);
    let list = "{% for item in candidates %}\n[{{ item.id }}] {{ item.title }}{% endfor %}\n";
    place.write("mine.md", format!("[user]\nMine, {{{{ n }}}}, {{{{ best }}}} is best\n{list}"));
    place.write("why.md", format!("[system]\nBe brief.\n[user]\nWhy?\n{list}"));
    let text = experiment(&endpoint.url(), "[chat]", "[prompt]").replace(
        "    pool: 12\n",
        "    pool: 12\n    users: sample=5\n    prompt: mine.md\n    explain: {top: 1, prompt: why.md}\n",
    );
    place.write("e.yaml", text);
    place.fine(&["run", "e.yaml", "--quiet"]);
    for kind in ["rerank", "explain"] {
        let facts = facts(&place, &format!("{kind} re[strategy=prompt,judge=chat] f1 seed 1"));
        assert_eq!(
            (&facts["judge"]["answers"], &facts["judge"]["unusable_answers"]),
            (&json!(5), &json!(0))
        );
    }
    let open = || -> Vec<String> {
        let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
        let steps = plan["steps"].as_array().unwrap().iter();
        let open = steps.filter(|step| step["done"] == false);
        open.map(|step| step["kind"].as_str().unwrap().to_owned()).collect()
    };
    assert!(open().is_empty());
    // After a change of a prompt, only the steps that use it are rerun.
    place.write("why.md", format!("[user]\nWhy these?\n{list}"));
    assert_eq!(open(), ["explain"]);
    place.write("why.md", format!("[user]\nWhy? {{{{ nobody }}}}\n{list}"));
    let ended = place.assay(&["run", "e.yaml", "--quiet"]);
    assert!(
        ended.code == 2 && ended.err.contains("why.md") && ended.err.contains("nobody"),
        "{}",
        ended.err
    );
    fs::remove_file(place.path("mine.md")).unwrap();
    let ended = place.assay(&["plan", "e.yaml"]);
    assert!(ended.code == 2 && ended.err.contains("mine.md"), "{} {}", ended.code, ended.err);
}

/// Needs no encoder: these judges read no text.
#[test]
fn systems_may_differ_only_in_their_explanations() {
    let place = Place::new();
    let reranker =
        "model: rerank, of: knn, text: {profiles: p}, strategy: prompt, judge: popularity";
    place.write(
        "e.yaml",
        format!(
            "experiment: e\ndata: {{set: sample, relevant: \">= 4\"}}\nsplit: {{scheme: official, only: [f1]}}\n\
             seeds: [1, 2]\nprofiles: {{p: {{from: template}}}}\nsystems:\n  knn: {{model: item-knn}}\n  plain: \
             {{{reranker}}}\n  explained: {{{reranker}, explain: {{top: {{sweep: [1, 2]}}}}}}\n  oracle: {{model: rerank, of: \
             knn, text: {{profiles: p}}, strategy: bst, judge: oracle}}\nevaluate: {{k: [5], protocols: [full, judged]}}\n"
        ),
    );
    let plan = place.fine(&["plan", "e.yaml"]);
    assert!(plan.contains("not seeded, run once for all seeds: knn, plain"), "{plan}");
    assert!(!plan.contains("embeddings"), "{plan}");
    let out = place.fine(&["run", "e.yaml"]);
    // A system that uses the test part is not marked best, and has a note about it.
    let best: Vec<&str> = out.lines().filter(|line| line.contains('*')).collect();
    assert!(best.iter().all(|line| !line.contains("oracle ")) && best.len() > 1, "{out}");
    assert!(out.contains("Uses the test part, so never marked best: oracle."), "{out}");
    let rows: Value =
        serde_json::from_str(&place.fine(&["explanations", "e.yaml", "--json"])).unwrap();
    let of = |system: &str| {
        rows.as_array().unwrap().iter().filter(|row| row["system"] == system).count()
    };
    assert_eq!((of("plain"), of("explained[top=1]"), of("explained[top=2]")), (0, 300, 600));
    let plan: Value = serde_json::from_str(&place.fine(&["plan", "e.yaml", "--json"])).unwrap();
    let kinds = plan["steps"].as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap());
    assert_eq!(kinds.filter(|kind| *kind == "rerank").count(), 2);
    for (args, says) in [
        (["--fold", "f9"], "no fold `f9`"),
        (["--user", "nobody"], "there are no explanations for a user `nobody`"),
        (["--system", "plain"], "no system `plain` has explanations"),
    ] {
        let ended = place.assay(&["explanations", "e.yaml", args[0], args[1]]);
        assert!(ended.code == 2 && ended.err.contains(says), "{}", ended.err);
    }
    // A truncated file is named and rebuilt.
    let file = steps(&place)["explain explained[top=2] f1"].join("explanations.jsonl");
    let whole = fs::read(&file).unwrap();
    fs::write(&file, &whole[..whole.len() - 20]).unwrap();
    let ended = place.assay(&["explanations", "e.yaml"]);
    let names = ended.err.contains("explanations.jsonl: checksum mismatch")
        && ended.err.contains("run the experiment again");
    assert!(ended.code == 2 && names, "{}", ended.err);
    place.fine(&["run", "e.yaml", "--quiet"]);
    assert_eq!(fs::read(&file).unwrap(), whole);
    // Only the missing explanations are made again.
    fs::remove_dir_all(place.path(".assay/steps/explain")).unwrap();
    let plan = place.fine(&["plan", "e.yaml"]);
    assert!(plan.contains("explained[top=1] f1 – explain to run"), "{plan}");
    let shown = place.assay(&["explanations", "e.yaml"]);
    assert!(shown.code == 3 && shown.err.contains("trials without explanations"), "{}", shown.err);
}

#[test]
fn reranked_users_can_be_evaluated_as_a_slice() {
    let place = Place::encoded(&[]);
    let text = experiment("http://127.0.0.1:9/v1", "[popularity]", "[prompt]");
    place.write("e.yaml", text.replace("    pool: 12\n", "    pool: 12\n    users: sample=40\n"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let rows: Value = serde_json::from_str(&place.fine(&["results", "e.yaml", "--json"])).unwrap();
    let row = |system: &str, slice: &str| {
        let rows = rows.as_array().unwrap().iter();
        let mut found = rows.filter(|row| {
            row["system"] == system
                && row["slice"] == slice
                && (row["fold"] == "mean" && row["metric"] == "ndcg" && row["k"] == 10)
        });
        let row = found.next().unwrap_or_else(|| panic!("{system} {slice}"));
        (row["value"].as_f64().unwrap(), row["n_users"].as_u64().unwrap())
    };
    let reranked = "re[strategy=prompt,judge=popularity]";
    let ((base, n), (of, n_of)) = (row("als", "sample=40"), row(reranked, "sample=40"));
    assert!(n == n_of && (20..=40).contains(&n), "{n} {n_of}");
    let ((base_all, n_all), (of_all, _)) = (row("als", "all"), row(reranked, "all"));
    // All other users have the base's lists: the difference comes from these users.
    let whole = (of_all - base_all) * n_all as f64;
    assert!(of != base && (whole - (of - base) * n as f64).abs() < 1e-9, "{whole} {of} {base} {n}");
    // Intervals are over the slice, too.
    let table = place.fine(&["table", "e.yaml", "--slice", "sample=40", "--intervals"]);
    assert!(table.contains(&format!("n = {n} users")) && table.contains('['), "{table}");
    // In other tables a note says whose lists these are.
    let note = format!(
        "Reranked only for users of the slice `sample=40`, otherwise lists of the base: {reranked}."
    );
    assert!(!table.contains(&note));
    assert!(place.fine(&["table", "e.yaml", "--slice", "all"]).contains(&note));
    // By default, the table is over the reranked users.
    let usual = place.fine(&["table", "e.yaml"]);
    assert!(usual.contains(&format!("n = {n} users")) && !usual.contains(&note), "{usual}");
}

/// The lists are exactly those of the base, so it would share the base's mark.
#[test]
fn a_reranker_without_usable_responses_has_a_warning_and_is_never_marked_best() {
    let endpoint = Endpoint::start(|_, _| Reply::Content("I like all of them.".into()));
    let place = Place::encoded(&[]);
    let text = experiment(&endpoint.url(), "[chat, shuffle]", "[prompt]");
    place.write("e.yaml", text.replace("    pool: 12\n", "    pool: 12\n    users: sample=20\n"));
    let ended = place.assay(&["run", "e.yaml", "--quiet"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    let system = "re[strategy=prompt,judge=chat]";
    assert!(
        ended.err.contains(&format!(
            "warning: {system} f1: none of the 20 responses of `chat` could be used (not JSON: 20): the lists are \
             the base's"
        )),
        "{}",
        ended.err
    );
    for table in [ended.out, place.fine(&["table", "e.yaml", "--slice", "all"])] {
        let line = |system: &str| {
            let line = table.lines().find(|line| line.trim_start().starts_with(system));
            line.unwrap_or_else(|| panic!("{system} is not in {table}")).to_owned()
        };
        assert!(!line(system).contains('*'), "{table}");
        let values = |system: &str| line(system).replace(['*', ' '], "").replace(system, "");
        assert_eq!(values(system), values("als"));
        assert!(line("als").contains('*'), "{table}");
        let flat = table.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(&format!("never marked best: {system}.")), "{table}");
    }
}

#[test]
fn the_plan_shows_the_maximum_cost() {
    let place = Place::new();
    let text = experiment("http://127.0.0.1:9/v1", "[encoder, chat]", "[prompt, relevancy]");
    place.write(
        "e.yaml",
        text.replace("pool: 12", "pool: 20, users: sample=50")
            .replace("    pool: 20, ", "    pool: 20\n    "),
    );
    let plan = place.fine(&["plan", "e.yaml"]);
    let said = plan.split_once("language models").unwrap().1;
    assert!(said.contains("judge=chat] f1 seed 1: up to 50 calls to `chat`"), "{said}");
    assert!(
        said.contains("up to 600 calls to `chat`") && said.contains("in total up to 650 calls"),
        "{said}"
    );
    assert!(said.contains("at the endpoints' prices"), "{said}");
}

#[test]
fn invalid_rerankers_are_one_clear_error() {
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
            "a search over rerankers",
            "{model: rerank, of: als, strategy: bst, judge: encoder, text: {profiles: p}, search: {over: {pool: [10, 20]}, trials: 2}}",
        ),
        (
            "negatives drawn for lists",
            "{model: rerank, of: als, strategy: bst, judge: encoder, text: {profiles: p}}",
        ),
        (
            "users who are no slice",
            "{model: rerank, of: als, strategy: bst, judge: encoder, users: sample=0, text: {profiles: p}}",
        ),
        (
            "more explained than reranked",
            "{model: rerank, of: als, strategy: bst, judge: encoder, pool: 10, explain: {top: 11}, text: {profiles: p}}",
        ),
        (
            "the code of what was not released",
            "{model: rerank, of: als, strategy: bst, variant: code, judge: encoder, text: {profiles: p}}",
        ),
        (
            "an oracle that does not follow its order",
            "{model: rerank, of: als, strategy: prompt, variant: code, judge: oracle, text: {profiles: p}}",
        ),
        (
            "a fusion beside that of the code",
            "{model: rerank, of: als, strategy: prompt, variant: code, judge: encoder, fuse: {judge: 0.8}, text: {profiles: p}}",
        ),
        (
            "rounds that the code has not",
            "{model: rerank, of: als, strategy: relevancy, variant: code, judge: encoder, rounds: 3, text: {profiles: p}}",
        ),
        (
            "a weight too large",
            "{model: rerank, of: als, strategy: bst, judge: encoder, fuse: {judge: 1.5}, text: {profiles: p}}",
        ),
    ] {
        let sampled =
            if name.starts_with("negatives") { "evaluate: {protocols: [sampled]}\n" } else { "" };
        place.write(
            "e.yaml",
            format!(
                "experiment: wrong\ndata: {{set: sample}}\nsplit: {{scheme: official, only: [f1]}}\nprofiles: \
                 {{p: {{from: template}}}}\nsystems:\n  als: {{model: als}}\n  it: {system}\n{sampled}"
            ),
        );
        let ended = place.assay(&["plan", "e.yaml"]);
        shown.push_str(&format!("# {name}: exit {}\n{}\n", ended.code, ended.err));
    }
    place.write(
        "e.yaml",
        experiment("http://127.0.0.1:9/v1", "[oracle]", "[prompt]").replace("  chat:", "  oracle:"),
    );
    let ended = place.assay(&["plan", "e.yaml"]);
    shown.push_str(&format!(
        "# a judge with a control's name: exit {}\n{}\n",
        ended.code, ended.err
    ));
    insta::assert_snapshot!(shown);
}

#[test]
fn a_report_names_unreadable_records_instead_of_showing_zeros() {
    let place = Place::encoded(&[]);
    let text = experiment("http://localhost:9/v1", "[popularity]", "[prompt]");
    place.write("e.yaml", text.replace("    pool: 12\n", "    pool: 12\n    explain: {top: 1}\n"));
    place.fine(&["run", "e.yaml", "--quiet"]);
    let report = || {
        place.fine(&["report", "e.yaml", "--out", "out"]);
        fs::read_to_string(place.path("out/index.html")).unwrap()
    };
    assert!(!report().contains("not readable"));
    let dirs = steps(&place);
    let re = "re[strategy=prompt,judge=popularity] f1 seed 1";
    for (step, field, label) in [
        (format!("rerank {re}"), "/rerank/questions", re),
        (format!("explain {re}"), "/checks/words", re),
        ("profiles template items".into(), "/from", "template items"),
    ] {
        // With a valid seal, as written by a version of assay without this field.
        let path = dirs[&step].join("record.json");
        let mut record: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let (group, field) = field.rsplit_once('/').unwrap();
        let group = record["stats"].pointer_mut(group).unwrap().as_object_mut().unwrap();
        group.shift_remove(field).unwrap();
        record.as_object_mut().unwrap().shift_remove("seal");
        record["seal"] = json!(Digest::of_json(&record));
        fs::write(&path, serde_json::to_vec(&record).unwrap()).unwrap();
        let html = report();
        let says = format!("record not readable: {label}: missing field `{field}`");
        assert!(html.contains(&says) || html.contains(&says.replace('`', "&#x60;")), "{step}");
    }
}

//! Language models over real HTTP: no response is lost or paid for twice.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    process::Stdio,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    endpoint::{BATCH_LOOKS, Endpoint, Reply, question, response},
    support::{Place, ended},
};

/// A data set of `n` items, and an experiment with profiles written by an endpoint with these settings.
fn place(n: usize, url: &str, settings: &str) -> Place {
    let place = Place::new();
    let items: String = (1..=n)
        .map(|item| format!("{item},The {item}th Thing (19{:02}),Drama|Crime\n", item % 100))
        .collect();
    place.write("data/items.csv", format!("item,title,genres\n{items}"));
    place.write("data/ratings.csv", "user,item,rating\n1,1,5\n1,2,1\n1,3,4\n2,1,4\n2,3,2\n2,2,5\n");
    place.write(
        "e.yaml",
        format!(
            "experiment: llm
data:
  folder: data
  reader: table
  ratings: ratings.csv
  columns: {{user: user, item: item, rating: rating}}
  items: {{file: items.csv, item: item, title: title, genres: genres}}
  relevant: \">= 4\"
  disliked: \"<= 2\"
split: {{scheme: kfold, folds: 2, seed: 1, by: rating}}
endpoints:
  writer: {{base_url: {url}, model: test-1, price: {{input: 1, output: 2}}{settings}}}
profiles:
  written: {{items: {{from: llm, judge: writer}}, users: {{from: template}}}}
systems:
  content: {{model: content, text: {{profiles: written}}}}
evaluate: {{k: [2]}}
"
        ),
    );
    place
}

const RUN: [&str; 5] = ["run", "e.yaml", "--until", "profiles", "--quiet"];

/// A profile of the item in a prompt.
fn profile(request: &Value) -> String {
    let question = question(request);
    let title =
        question.lines().find_map(|line| line.strip_prefix("Title: ")).unwrap_or("Somebody");
    format!(
        "# {title}\n\n## Overview\nAbout {title}.\n\n## Attributes\n- **Genre**: Drama\n- **Tags**: \
         {title}, Slow\n\n## Description\nA thing.\n\n## Dislikes:\nComedy\n"
    )
}

fn step_facts(place: &Place, workspace: &str) -> Value {
    let dir = place.path(workspace).join("steps/profiles");
    for step in fs::read_dir(dir).unwrap().flatten() {
        let record: Value =
            serde_json::from_slice(&fs::read(step.path().join("record.json")).unwrap()).unwrap();
        if record["stats"]["items"].is_u64() {
            return record["stats"].clone();
        }
    }
    panic!("no profiles of items in {workspace}");
}

/// Number of responses in the journal by purpose, and all its records.
fn journal(place: &Place, workspace: &str) -> (HashMap<String, usize>, Vec<Value>) {
    let (mut responses, mut lines) = (HashMap::new(), Vec::new());
    let dir = place.path(workspace).join("answers/journal");
    for file in fs::read_dir(dir).into_iter().flatten().flatten() {
        for line in fs::read_to_string(file.path()).unwrap().lines() {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            if line["record"]["kind"] == "answer" {
                let about = line["record"]["about"].as_str().unwrap().to_owned();
                *responses.entry(about).or_default() += 1;
            }
            lines.push(line["record"].clone());
        }
    }
    (responses, lines)
}

/// Different steps (the endpoint has another name) with the same requests at the same time.
#[test]
fn two_processes_do_not_pay_twice_for_the_same_response() {
    const N: usize = 300;
    let endpoint = Endpoint::start(|request, _| {
        thread::sleep(Duration::from_millis(20));
        Reply::Content(profile(request))
    });
    let place = place(N, &endpoint.url(), ", concurrency: 4");
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    place.write(
        "other.yaml",
        text.replace("writer", "scribe").replace("experiment: llm", "experiment: other"),
    );
    let start = |file: &str| {
        let mut command = place.command(&["run", file, "--until", "profiles", "--quiet"]);
        command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let both = [start("e.yaml"), start("other.yaml")];
    for process in both {
        let ended = ended(process.wait_with_output().unwrap(), place.dir.path());
        assert_eq!(ended.code, 0, "{}", ended.err);
    }
    assert_eq!((endpoint.seen.total(), endpoint.seen.most_answers()), (N, 1));
    let (responses, _) = journal(&place, ".assay");
    assert_eq!(responses.len(), N);
    // The test is only valid if both ran at the same time.
    let runs = fs::read_dir(place.path(".assay/runs")).unwrap().flatten().map(|run| {
        let record: Value =
            serde_json::from_slice(&fs::read(run.path().join("run.json")).unwrap()).unwrap();
        let started: f64 =
            record["run"].as_str().unwrap().split('-').next().unwrap().parse().unwrap();
        (started / 1e3, record["wall_seconds"].as_f64().unwrap())
    });
    let mut runs: Vec<(f64, f64)> = runs.collect();
    runs.sort_by(|a, b| a.0.total_cmp(&b.0));
    assert!(runs[1].0 < runs[0].0 + runs[0].1 - 0.5, "{runs:?}");
}

/// A fifth of all attempts fail, in one of ten ways.
#[test]
fn ten_thousand_requests_succeed_despite_faults() {
    const N: usize = 10_000;
    let count = Arc::new(AtomicUsize::new(0));
    let planted: Arc<Mutex<BTreeMap<&'static str, usize>>> = Arc::default();
    let of = planted.clone();
    let endpoint = Endpoint::start(move |request, _| {
        let at = count.fetch_add(1, Ordering::SeqCst);
        // 13 of 65 attempts, in a fixed pattern.
        let (name, reply) = match at % 65 {
            0 | 5 => ("429", Reply::Limit(0.05)),
            10 | 15 => ("500", Reply::Status(500)),
            20 => ("hang", Reply::Hang(Duration::from_millis(900))),
            25 | 27 => ("break", Reply::Break),
            30 => ("truncated", Reply::Truncated),
            35 => ("error body", Reply::ErrorBody),
            40 => ("wrong schema", Reply::Content("{\"not\": \"a profile\"}".into())),
            45 => ("refusal", Reply::Refusal),
            50 => ("length", Reply::Length("# Half a".into())),
            55 => ("400", Reply::Status(400)),
            _ => return Reply::Content(profile(request)),
        };
        *of.lock().unwrap().entry(name).or_default() += 1;
        reply
    });
    let settings =
        ", concurrency: 40, timeout: 0.6, retries: 20, failures: fall-back, max_tokens: 300";
    let place = place(N, &endpoint.url(), settings);
    let ended = ended(
        place.command(&RUN).env("ASSAY_RETRY_SECONDS", "0.01").output().unwrap(),
        place.dir.path(),
    );
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    let facts = step_facts(&place, ".assay");
    let planted = planted.lock().unwrap().clone();
    let (responses, lines) = journal(&place, ".assay");
    let failures = lines.iter().filter(|line| line["kind"] == "failure").count();
    println!("planted {planted:?}\nfacts {facts}\nfailures in the journal {failures}");
    // Every item has a text; items without a usable response have a rule-based one and are counted.
    let (bad, missing) = (&facts["llm"]["bad"], facts["llm"]["missing"].as_u64().unwrap() as usize);
    let sum: u64 = bad.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(bad["refused"], planted["refusal"]);
    assert_eq!(bad["cut off at the limit of tokens"], planted["length"]);
    assert_eq!(bad["not a profile"], planted["wrong schema"]);
    assert_eq!(missing, planted["400"]);
    assert_eq!(facts["writing"]["fallbacks"].as_u64().unwrap(), sum + missing as u64);
    assert_eq!(facts["from"]["llm"].as_u64().unwrap(), N as u64 - sum - missing as u64);
    // Each item has a response or a recorded failure, and no complete response was requested again.
    assert_eq!(responses.len() + missing, N);
    assert!(responses.values().all(|count| *count == 1));
    assert_eq!(endpoint.seen.most_answers(), 1);
    let faults: usize = ["429", "500", "hang", "break", "truncated", "error body", "400"]
        .iter()
        .map(|name| planted[name])
        .sum();
    assert_eq!(failures, faults);
    assert_eq!(endpoint.seen.total(), N + faults - missing);
    assert!(endpoint.seen.most_in_flight.load(Ordering::SeqCst) <= 40);
    assert!(place.assay(&["cache", "verify"]).code == 0);
    // A replay uses the same fallbacks.
    let asked = endpoint.seen.total();
    let before = place.artefacts(".assay");
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    let mut replay = RUN.to_vec();
    replay.extend(["--responses", "replay"]);
    place.fine(&replay);
    assert_eq!(place.artefacts(".assay"), before);
    assert_eq!(endpoint.seen.total(), asked);
}

/// A killed run loses at most the requests in flight.
#[test]
fn fifty_kills_lose_no_recorded_response() {
    const N: usize = 1000;
    const CONCURRENCY: usize = 8;
    let endpoint = Endpoint::start(|request, _| {
        thread::sleep(Duration::from_millis(10));
        Reply::Content(profile(request))
    });
    let place = place(N, &endpoint.url(), &format!(", concurrency: {CONCURRENCY}"));
    // Number of requests by item.
    let by_item = || {
        let asked = endpoint.seen.asked.lock().unwrap();
        let item = |body: &str| {
            let rest = body.split_once("Title: The ").unwrap().1;
            format!("item {}", rest.split_once("th Thing").unwrap().0)
        };
        asked.iter().map(|(body, (n, _))| (item(body), *n)).collect::<HashMap<String, usize>>()
    };
    let mut kills = 0;
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut step = 7;
    while kills < 50 {
        let before = endpoint.seen.total();
        let mut child =
            place.command(&RUN).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Killed after 1 to 17 more requests, and up to 12 ms.
        step = (step * 31 + 11) % 1009;
        while endpoint.seen.total() < before + 1 + step % 17 {
            assert!(child.try_wait().unwrap().is_none(), "it ended after {kills} kills");
            thread::sleep(Duration::from_millis(1));
        }
        thread::sleep(Duration::from_millis(step as u64 % 12));
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        thread::sleep(Duration::from_millis(15));
        // This run did not request what was in the journal before.
        let asked = by_item();
        for (about, times) in &known {
            assert_eq!(asked[about], *times, "{about} was recorded and requested again");
        }
        let (responses, _) = journal(&place, ".assay");
        known = responses.into_keys().map(|about| (about.clone(), asked[&about])).collect();
    }
    let before = endpoint.seen.total();
    let left = N - known.len();
    place.fine(&RUN);
    let asked_at_last = endpoint.seen.total() - before;
    assert_eq!(asked_at_last, left, "the last run requests only what is missing");
    let (responses, _) = journal(&place, ".assay");
    assert_eq!(responses.len(), N);
    let asked_again = endpoint.seen.total() - N;
    println!("{kills} kills, {asked_again} of {N} requests were in flight and sent again");
    assert!(asked_again <= kills * CONCURRENCY);
    // Every response that the step used is in the journal.
    let used: HashSet<String> = used_keys(&place, ".assay");
    let keys: HashSet<String> = journal(&place, ".assay")
        .1
        .iter()
        .map(|record| record["key"].as_str().unwrap().to_owned())
        .collect();
    assert!(used.len() == N && used.is_subset(&keys));
    assert_eq!(place.assay(&["cache", "verify"]).code, 0);
}

fn used_keys(place: &Place, workspace: &str) -> HashSet<String> {
    let dir = place.path(workspace).join("steps/profiles");
    let mut keys = HashSet::new();
    for step in fs::read_dir(dir).unwrap().flatten() {
        if let Ok(text) = fs::read(step.path().join("answers.json")) {
            keys.extend(serde_json::from_slice::<Vec<String>>(&text).unwrap());
        }
    }
    keys
}

#[test]
fn a_cassette_replays_a_study_without_key_or_network() {
    let secret = "sk-very-secret-0123456789";
    let endpoint = Endpoint::start(|request, _| match question(request).contains("The 7th") {
        // A key that the endpoint sends back must not get into any file.
        true => Reply::Content(format!(
            "{}\nAuthorization: sk-very-secret-0123456789",
            profile(request)
        )),
        false => Reply::Content(profile(request)),
    });
    let place = place(30, &endpoint.url(), ", key_env: TEST_KEY");
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    let text =
        text.replace("users: {from: template}", "users: {from: llm, judge: writer, batch: 1}");
    place.write("e.yaml", text);
    let missing = place.assay(&RUN);
    assert_eq!(missing.code, 2, "{}", missing.err);
    assert!(missing.err.contains("TEST_KEY is not set"), "{}", missing.err);
    let first =
        place.command(&["run", "e.yaml", "--until", "profiles"]).env("TEST_KEY", secret).output();
    let first = ended(first.unwrap(), place.dir.path());
    assert_eq!(first.code, 0, "{}", first.err);
    assert!(first.err.contains("requested; ") && first.err.contains("cost"), "{}", first.err);
    assert!(endpoint.seen.keys.lock().unwrap().iter().all(|key| key.ends_with(secret)));
    let asked = endpoint.seen.total();

    place.fine(&["cache", "export", "study.jsonl.gz", "--experiment", "e.yaml"]);
    let again = place.fine(&["cache", "export", "again.jsonl.gz", "--experiment", "e.yaml"]);
    let manifest: Value = serde_json::from_str(&again).unwrap();
    assert_eq!(manifest["models"]["test-1"], asked);
    let read = |name: &str| fs::read(place.path(name)).unwrap();
    assert_eq!(read("study.jsonl.gz"), read("again.jsonl.gz"));

    // Nothing is recorded: the replay names what is missing.
    let replay =
        ["run", "e.yaml", "--until", "profiles", "--responses", "replay", "--workspace", "new"];
    let lost = place.assay(&replay);
    assert_eq!(lost.code, 5, "{}", lost.err);
    assert!(lost.err.contains("30 responses are not recorded"), "{}", lost.err);
    place.fine(&["cache", "--workspace", "new", "import", "study.jsonl.gz"]);
    let twice = place.fine(&["cache", "--workspace", "new", "import", "study.jsonl.gz"]);
    assert!(twice.starts_with("0 responses imported"), "{twice}");
    place.fine(&replay);
    assert_eq!(endpoint.seen.total(), asked, "a replay sends no requests");
    assert_eq!(place.artefacts(".assay"), place.artefacts("new"));

    // With another prompt, the replay names the most similar recorded request.
    let prompt =
        fs::read_to_string(crate::support::root().join("prompts/item-profile.md")).unwrap();
    place.write("mine.md", prompt.replace("short profiles", "long profiles"));
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    place.write(
        "other.yaml",
        text.replace("{from: llm, judge: writer}", "{from: llm, judge: writer, prompt: mine.md}"),
    );
    let mut other = replay;
    other[1] = "other.yaml";
    let lost = place.assay(&other);
    assert_eq!(lost.code, 5, "{}", lost.err);
    assert!(
        lost.err.contains("the first difference is in body.messages[0].content at character 1")
            && lost.err.contains("long profiles"),
        "{}",
        lost.err
    );

    // A damaged cassette is refused whole.
    let mut bytes = read("study.jsonl.gz");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    place.write("bad.jsonl.gz", bytes);
    let bad = place.assay(&["cache", "--workspace", "third", "import", "bad.jsonl.gz"]);
    assert_eq!(bad.code, 2, "{}", bad.err);
    assert!(bad.err.contains("nothing was imported"), "{}", bad.err);

    // The key is in no file and no message.
    let mut open = vec![place.dir.path().to_owned()];
    let mut files = 0;
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(at).unwrap().flatten() {
            if entry.path().is_dir() {
                open.push(entry.path());
                continue;
            }
            let bytes = fs::read(entry.path()).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "the key is in {}", entry.path().display());
            files += 1;
        }
    }
    assert!(files > 20);
    assert!(!first.out.contains(secret) && !first.err.contains(secret));
}

#[test]
fn modes_budget_and_limits_are_respected() {
    let number = Arc::new(AtomicUsize::new(0));
    let counter = number.clone();
    let endpoint = Endpoint::start(move |request, _| {
        thread::sleep(Duration::from_millis(5));
        let n = counter.fetch_add(1, Ordering::SeqCst);
        Reply::Content(profile(request).replace("A thing.", &format!("Thing {n}.")))
    });
    let place = place(20, &endpoint.url(), ", concurrency: 3, max_tokens: 200");
    // The run stops before the request that might exceed the budget.
    let mut poor = RUN.to_vec();
    poor.extend(["--budget-tokens", "4000"]);
    let stopped = place.assay(&poor);
    assert_eq!(stopped.code, 5, "{}", stopped.err);
    assert!(stopped.err.contains("of 4000 tokens are used"), "{}", stopped.err);
    let stats: Value = serde_json::from_str(&place.fine(&["cache", "stats", "--json"])).unwrap();
    let of = &stats["models"]["test-1"];
    let spent = of["input_tokens"].as_u64().unwrap() + of["output_tokens"].as_u64().unwrap();
    assert!(spent <= 4000 && of["answers"].as_u64().unwrap() > 3, "{stats}");
    assert!(endpoint.seen.most_in_flight.load(Ordering::SeqCst) <= 3);
    place.fine(&RUN);
    assert_eq!(endpoint.seen.total(), 20);
    // Refresh: all responses are requested again, and the new ones are used later.
    let with = |mode: &'static str, workspace: &'static str| {
        let mut args = RUN.to_vec();
        args.extend(["--responses", mode, "--workspace", workspace]);
        args
    };
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    place.fine(&with("refresh", ".assay"));
    assert_eq!(endpoint.seen.total(), 40);
    let refreshed = place.artefacts(".assay");
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    place.fine(&with("once", ".assay"));
    assert_eq!(endpoint.seen.total(), 40);
    assert_eq!(place.artefacts(".assay"), refreshed);
    // Off: requested and recorded, but not used later.
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    place.fine(&with("off", ".assay"));
    assert_eq!(endpoint.seen.total(), 60);
    let (_, lines) = journal(&place, ".assay");
    assert_eq!(lines.iter().filter(|line| line["kind"] == "unshared").count(), 20);
    // Compaction loses no response that is found.
    place.fine(&["cache", "gc"]);
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    place.fine(&with("replay", ".assay"));
    assert_eq!(place.artefacts(".assay"), refreshed);
    assert_eq!(place.assay(&["cache", "verify"]).code, 0);
}

#[test]
fn a_refused_key_stops_the_run_and_failures_can_be_requested_again() {
    let broken = Arc::new(AtomicUsize::new(1));
    let of = broken.clone();
    let endpoint = Endpoint::start(move |request, _| match of.load(Ordering::SeqCst) {
        1 => Reply::Status(401),
        2 if question(request).contains("The 5th") => Reply::Status(503),
        _ => Reply::Content(profile(request)),
    });
    let place = place(20, &endpoint.url(), ", retries: 1, key_env: TEST_KEY");
    let run = |code: i32| {
        let mut command = place.command(&RUN);
        command.env("TEST_KEY", "sk-wrong").env("ASSAY_RETRY_SECONDS", "0.01");
        let ended = ended(command.output().unwrap(), place.dir.path());
        assert_eq!(ended.code, code, "{}", ended.err);
        ended.err
    };
    let refused = run(4);
    assert!(refused.contains("check the key in TEST_KEY"), "{refused}");
    assert!(endpoint.seen.total() <= 20);
    broken.store(2, Ordering::SeqCst);
    let failed = run(4);
    assert!(failed.contains("1 of 20 requests") && failed.contains("run again"), "{failed}");
    broken.store(3, Ordering::SeqCst);
    let before = endpoint.seen.total();
    run(0);
    assert_eq!(endpoint.seen.total(), before + 1);
}

/// As reported by the router of llama.cpp and by OpenAI: the requests are not all sent.
#[test]
fn an_unknown_model_or_lack_of_credit_stops_the_run_with_help() {
    for (status, body, says) in [
        (
            400,
            r#"{"error":{"message":"model 'test-1' not found"}}"#,
            "check the endpoint's `base_url` and `model`",
        ),
        (
            404,
            r#"{"error":{"message":"no such model"}}"#,
            "check the endpoint's `base_url` and `model`",
        ),
        (
            429,
            r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#,
            "the account has no credit left",
        ),
        (402, r#"{"error":{"message":"Insufficient Balance"}}"#, "the account has no credit left"),
        (403, r#"{"error":{"message":"not you"}}"#, "check the key"),
        (
            400,
            r#"{"error":{"message":"x is not a valid model ID"}}"#,
            "check the endpoint's `base_url` and `model`",
        ),
    ] {
        let endpoint = Endpoint::start(move |_, _| Reply::Raw(status, body.into()));
        let place = place(200, &endpoint.url(), ", concurrency: 4");
        let ended = place.assay(&RUN);
        assert!(ended.code == 4 && ended.err.contains(says), "{status}: {}", ended.err);
        // Only the requests in flight when the first reply was received.
        assert!(endpoint.seen.total() <= 4, "{status}: {}", endpoint.seen.total());
    }
}

/// Status 200 without a response of a model: each request fails once, in one of these ways.
#[test]
fn a_failure_with_status_200_is_requested_again_and_not_recorded_as_a_response() {
    let choice = |finish: &str, content: Value, more: Value| {
        let mut choice = json!({"message": {"content": content}, "finish_reason": finish});
        if let Some(more) = more.as_object() {
            choice.as_object_mut().unwrap().extend(more.clone());
        }
        json!({"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 0}})
    };
    let gone = json!({"error": {"code": 502, "message": "Upstream provider went away"}});
    let failures = [
        choice("error", json!(""), gone.clone()),
        choice("error", json!("# Half a profile"), gone.clone()),
        choice("stop", json!("# Half a profile"), gone),
        choice("abort", json!("# Half a profile"), json!({})),
        choice("stop", json!(""), json!({})),
        choice("stop", json!([]), json!({})),
        choice("stop", Value::Null, json!({})),
        json!({"choices": []}),
        json!({"object": "chat.completion"}),
    ];
    let n = failures.len();
    let endpoint = Endpoint::start(move |request, before| {
        let question = question(request);
        let item = question.split_once("Title: The ").unwrap().1.split_once("th").unwrap().0;
        let item: usize = item.parse().unwrap();
        match before {
            0 => Reply::Raw(200, failures[item - 1].to_string()),
            _ => Reply::Content(profile(request)),
        }
    });
    let place = place(n, &endpoint.url(), ", concurrency: 2");
    let run = || {
        let output = place.command(&RUN).env("ASSAY_RETRY_SECONDS", "0.01").output().unwrap();
        let ended = ended(output, place.dir.path());
        assert_eq!(ended.code, 0, "{}", ended.err);
    };
    run();
    assert_eq!(endpoint.seen.total(), 2 * n);
    let (responses, lines) = journal(&place, ".assay");
    assert_eq!(responses.len(), n);
    assert_eq!(lines.iter().filter(|line| line["kind"] == "failure").count(), n);
    let facts = step_facts(&place, ".assay");
    assert_eq!((&facts["from"]["llm"], &facts["llm"]["bad"]), (&json!(n), &json!({})));
    // The recorded responses are found.
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    run();
    assert_eq!(endpoint.seen.total(), 2 * n);
}

/// Joined parts give the same steps as a single text.
#[test]
fn content_in_parts_is_joined() {
    let of = |in_parts: bool| {
        let endpoint = Endpoint::start(move |request, _| {
            let text = profile(request);
            if !in_parts {
                return Reply::Content(text);
            }
            let mut response = response(request, &text, "stop");
            let (first, second) = text.split_at(text.len() / 2);
            let thoughts = json!([{"type": "text", "text": "hm, let me see"}]);
            response["choices"][0]["message"]["content"] = json!([
                {"type": "thinking", "thinking": thoughts},
                {"type": "text", "text": first},
                {"type": "text", "text": second},
            ]);
            Reply::Raw(200, response.to_string())
        });
        let place = place(3, &endpoint.url(), "");
        place.fine(&RUN);
        let texts: Vec<Vec<u8>> = place
            .artefacts(".assay")
            .into_iter()
            .filter(|(name, _)| name.ends_with("profiles.parquet"))
            .map(|(_, bytes)| bytes)
            .collect();
        let (_, lines) = journal(&place, ".assay");
        let key = lines[0]["key"].as_str().unwrap().to_owned();
        let explained = place.fine(&["cache", "explain", &key[..12]]);
        assert!(explained.contains("[response]\n# The "), "{explained}");
        (
            texts.len(),
            texts.into_iter().collect::<HashSet<_>>(),
            step_facts(&place, ".assay")["from"].clone(),
        )
    };
    let (plain, parts) = (of(false), of(true));
    assert_eq!(plain.0, parts.0);
    assert_eq!((plain.2, plain.1), (parts.2, parts.1));
}

/// Two seconds by the clock of the endpoint, which differs from ours.
#[test]
fn a_date_in_retry_after_is_respected() {
    let endpoint = Endpoint::start(|request, before| match before {
        0 => Reply::With(
            429,
            "date: Mon, 30 Nov 2020 13:17:34 GMT\r\nretry-after: Mon, 30 Nov 2020 13:17:36 GMT\r\n"
                .into(),
            r#"{"error":{"message":"slow down"}}"#.into(),
        ),
        _ => Reply::Content(profile(request)),
    });
    let place = place(3, &endpoint.url(), ", concurrency: 1");
    let output = place.command(&RUN).env("ASSAY_RETRY_SECONDS", "0.01").output().unwrap();
    assert!(output.status.success());
    let times = endpoint.seen.times.lock().unwrap().clone();
    assert_eq!(times.len(), 6);
    for pair in times.chunks(2) {
        assert!(pair[1].duration_since(pair[0]).as_secs_f64() >= 1.9, "it did not wait");
    }
}

/// A message of an endpoint is shown on one line, without escape sequences, and shortened.
#[test]
fn messages_of_endpoints_are_shown_escaped_and_shortened() {
    let hostile = format!("\u{1b}]52;c;AAAA\u{7}\nsecond line {}", "x".repeat(50_000));
    for status in [200, 400, 401] {
        let body = json!({"error": {"message": hostile}}).to_string();
        let endpoint = Endpoint::start(move |_, _| Reply::Raw(status, body.clone()));
        let place = place(3, &endpoint.url(), ", retries: 0");
        let output = place.command(&RUN).env("ASSAY_RETRY_SECONDS", "0.01").output().unwrap();
        let ended = ended(output, place.dir.path());
        assert_eq!(ended.code, 4, "{}", ended.err);
        assert!(!ended.err.contains(['\u{1b}', '\u{7}']), "{}", ended.err);
        assert!(ended.err.contains("\\u{1b}]52;c;AAAA\\u{7}\\nsecond line xxx"), "{}", ended.err);
        assert!(ended.err.len() < 5000, "{} bytes", ended.err.len());
    }
}

#[test]
fn an_unreachable_endpoint_is_reported_soon() {
    let place = place(200, "http://127.0.0.1:9/v1", "");
    let started = std::time::Instant::now();
    let output = place.command(&RUN).env("ASSAY_RETRY_SECONDS", "0.5").output().unwrap();
    let ended = ended(output, place.dir.path());
    assert_eq!(ended.code, 4, "{}", ended.err);
    assert!(
        ended.err.contains("cannot be reached") && ended.err.contains("base_url"),
        "{}",
        ended.err
    );
    let (_, lines) = journal(&place, ".assay");
    assert!(lines.len() < 100, "{} attempts in {:?}", lines.len(), started.elapsed());
}

#[test]
fn rate_limits_are_respected_and_429_slows_down() {
    let limited = Arc::new(AtomicUsize::new(0));
    let of = limited.clone();
    let endpoint = Endpoint::start(move |request, before| {
        thread::sleep(Duration::from_millis(20));
        if before == 0 && of.fetch_add(1, Ordering::SeqCst) < 8 {
            return Reply::Limit(0.6);
        }
        Reply::Content(profile(request))
    });
    let place = place(40, &endpoint.url(), ", concurrency: 20, requests_per_minute: 1000");
    let run = place.command(&RUN).env("ASSAY_RETRY_SECONDS", "0.01").output().unwrap();
    assert_eq!(ended(run, place.dir.path()).code, 0);
    // After the first wave, no request is sent before Retry-After has passed.
    let times = endpoint.seen.times.lock().unwrap().clone();
    let first = times[0];
    let early = times.iter().filter(|at| at.duration_since(first).as_secs_f64() < 0.55).count();
    assert!(early <= 20 + 8, "{early} requests before Retry-After had passed");
    assert_eq!(endpoint.seen.total(), 48);
}

#[test]
fn bulk_requests_use_the_batch_api() {
    let endpoint = Endpoint::start(|request, _| Reply::Content(profile(request)));
    let place = place(25, &endpoint.url(), ", batch: true");
    place.fine(&RUN);
    assert_eq!(endpoint.seen.total(), 0, "no single requests");
    let (responses, lines) = journal(&place, ".assay");
    assert_eq!(responses.len(), 25);
    let full = |record: &Value| {
        let usage = &record["usage"];
        let n = |name: &str| usage[name].as_f64().unwrap();
        (n("input") + 2.0 * n("output")) / 1e6
    };
    let record = &lines[0];
    assert!((record["money"].as_f64().unwrap() - full(record) / 2.0).abs() < 1e-12);
    let facts = step_facts(&place, ".assay");
    assert_eq!(facts["from"]["llm"], 25);
    assert_eq!(fs::read_dir(place.path(".assay/answers/batches")).unwrap().count(), 0);

    // The run is killed while the batch is pending, and its note lacks the id: the next run finds the batch.
    let dir = place.path("cut/answers/batches");
    let batches = |seen: &Endpoint| {
        seen.seen.paths.lock().unwrap().iter().filter(|path| *path == "/v1/files").count()
    };
    let before = batches(&endpoint);
    BATCH_LOOKS.store(1000, Ordering::SeqCst);
    let mut args = RUN.to_vec();
    args.extend(["--workspace", "cut"]);
    let mut child =
        place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let note = || {
        fs::read_dir(&dir).ok()?.flatten().map(|entry| entry.path()).find(|path| {
            fs::read_to_string(path).is_ok_and(|text| text.contains("\"batch\": \"batch-"))
        })
    };
    while note().is_none() {
        assert!(child.try_wait().unwrap().is_none());
        thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let path = note().unwrap();
    let mut text: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    text["batch"] = Value::Null;
    fs::write(&path, text.to_string()).unwrap();
    BATCH_LOOKS.store(1, Ordering::SeqCst);
    place.fine(&args);
    assert_eq!(batches(&endpoint), before + 1, "one batch, not two");
    assert_eq!(journal(&place, "cut").0.len(), 25);
}

#[test]
fn overviews_come_from_tmdb_with_its_notice() {
    let endpoint = Endpoint::start(|request, _| {
        let path = request["query"].as_str().unwrap_or_default().to_owned();
        let results = match path.contains("7th") {
            true => json!([]),
            false => json!([{"overview": "Somebody does something."}]),
        };
        Reply::Raw(200, json!({"results": results}).to_string())
    });
    let place = place(9, &endpoint.url(), "");
    let text = fs::read_to_string(place.path("e.yaml")).unwrap();
    let text = text.replace(
        "profiles:\n  written: {items: {from: llm, judge: writer}, users: {from: template}}",
        &format!(
            "metadata: {{tmdb: {{base_url: {}, key_env: TEST_TMDB_KEY}}}}\nprofiles:\n  written: {{from: \
             metadata}}",
            endpoint.url()
        ),
    );
    place.write("e.yaml", text);
    let run = || {
        let output = place.command(&RUN).env("TEST_TMDB_KEY", "secret-token").output().unwrap();
        assert_eq!(ended(output, place.dir.path()).code, 0);
    };
    run();
    let facts = step_facts(&place, ".assay");
    assert_eq!((&facts["tmdb"]["found"], &facts["tmdb"]["not_found"]), (&json!(8), &json!(1)));
    assert!(facts["tmdb"]["notice"].as_str().unwrap().contains("TMDB"));
    let paths = endpoint.seen.paths.lock().unwrap().clone();
    assert_eq!(paths.len(), 9);
    assert!(
        paths
            .iter()
            .any(|path| path.contains("query=The+4th+Thing&") && path.contains("year=1904"))
    );
    fs::remove_dir_all(place.path(".assay/steps")).unwrap();
    run();
    assert_eq!(endpoint.seen.paths.lock().unwrap().len(), 9, "recorded like responses");
}

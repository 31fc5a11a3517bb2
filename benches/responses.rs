//! The journal of responses at the size of studies: `cargo bench --bench responses`.
//!
//! 100,000 profiles are asked for over HTTP from an endpoint on loopback, then replayed by the binary;
//! a million responses are written, and opened again after an orderly and after a disorderly end.
//! `ASSAY_BENCH_SHARE=0.01` does a hundredth of it.

#[allow(dead_code)]
#[path = "../tests/assay/endpoint.rs"]
mod endpoint;

use std::{fs, path::Path, process::Command, sync::mpsc, time::Instant};

use endpoint::{Endpoint, Reply, question};
use rec_assay::llm::{
    Responses,
    journal::{Kind, Record, Usage},
    key::{Request, hex},
};
use serde_json::json;

fn main() {
    let share = std::env::var("ASSAY_BENCH_SHARE").ok().and_then(|share| share.parse().ok());
    let share: f64 = share.unwrap_or(1.0);
    replay((100_000.0 * share) as usize);
    open((1_000_000.0 * share) as u32);
}

fn timed<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let started = Instant::now();
    let result = work();
    println!("{what}: {:.2} s", started.elapsed().as_secs_f64());
    result
}

fn replay(n: usize) {
    let dir = tempfile::tempdir().expect("a directory");
    let endpoint = Endpoint::start(|request, _| {
        let question = question(request);
        let title = question.lines().find_map(|line| line.strip_prefix("Title: "));
        let title = title.unwrap_or_default();
        Reply::Content(format!(
            "# {title}\n\n## Overview\nAbout {title}.\n\n## Attributes\n- **Genre**: Drama\n- **Tags**: \
             Slow, Long\n\n## Description\n{}\n\n## Dislikes:\nComedy\n",
            "It is what it is, and it goes on for as long as profiles do. ".repeat(8)
        ))
    });
    let items: String =
        (1..=n).map(|item| format!("{item},The {item}th Thing (1990),Drama\n")).collect();
    fs::create_dir(dir.path().join("data")).expect("a directory");
    fs::write(dir.path().join("data/items.csv"), format!("item,title,genres\n{items}"))
        .expect("disk");
    fs::write(
        dir.path().join("data/ratings.csv"),
        "user,item,rating\n1,1,5\n1,2,1\n2,1,4\n2,3,5\n",
    )
    .expect("disk");
    fs::write(
        dir.path().join("e.yaml"),
        format!(
            "experiment: bench\ndata:\n  folder: data\n  reader: table\n  ratings: ratings.csv\n  columns: \
             {{user: user, item: item, rating: rating}}\n  items: {{file: items.csv, item: item, title: \
             title, genres: genres}}\nsplit: {{scheme: kfold, folds: 2, seed: 1, by: rating}}\nendpoints:\n  \
             writer: {{base_url: \"{}\", model: test, concurrency: 64}}\nprofiles:\n  written: {{items: \
             {{from: llm, judge: writer}}, users: {{from: template}}}}\nsystems:\n  content: {{model: \
             content, text: {{profiles: written}}}}\n",
            endpoint.url()
        ),
    )
    .expect("disk");
    let run = |mode: &str| {
        let ended = Command::new(env!("CARGO_BIN_EXE_assay"))
            .args(["run", "e.yaml", "--until", "profiles", "--quiet", "--responses", mode])
            .current_dir(dir.path())
            .env("ASSAY_DATA", Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets"))
            .status();
        assert!(ended.is_ok_and(|status| status.success()));
    };
    timed(&format!("{n} profiles asked for over HTTP and journaled"), || run("record"));
    fs::remove_dir_all(dir.path().join(".assay/steps")).expect("steps");
    timed(&format!("{n} profiles replayed, the whole command"), || run("replay"));
}

fn request(n: u32) -> Request {
    let text = format!("Title: The {n}th Thing. {}", "What one says of an item. ".repeat(30));
    let body = json!({"model": "test", "messages": [{"role": "user", "content": text}]});
    Request { url: "http://x/v1/chat/completions".into(), body, repeat: 0, weights: None }
}

fn record(n: u32) -> Record {
    let request = request(n);
    let content = format!("Answer {n}. {}", "What a model responses to that. ".repeat(20));
    Record {
        kind: Kind::Response,
        key: hex(&request.key()),
        hash: String::new(),
        about: format!("item {n}"),
        endpoint: "test".into(),
        request: request.canonical(),
        response: endpoint::response(&request.body, &content, "stop"),
        cause: None,
        status: 200,
        at: 1_700_000_000_000,
        latency_ms: 900,
        attempt: 1,
        usage: Usage { input: 200, output: 150, cached: 0 },
        generation: 0,
        money: Some(0.0001),
        model: Some("test".into()),
        fingerprint: None,
        finish: Some("stop".into()),
    }
}

fn size(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .map(|entry| match entry.path().is_dir() {
            true => size(&entry.path()),
            false => entry.metadata().map_or(0, |file| file.len()),
        })
        .sum()
}

fn open(n: u32) {
    let dir = tempfile::tempdir().expect("a directory");
    timed(&format!("{n} responses written and indexed"), || {
        let responses = Responses::open(dir.path()).expect("responses");
        let (sender, done) = mpsc::channel();
        for n in 0..n {
            let sender = sender.clone();
            responses.append(record(n), move |written| drop(sender.send(written)));
        }
        drop(sender);
        done.iter().for_each(|written| written.expect("on disk"));
    });
    let megabytes = |name: &str| size(&dir.path().join(name)) as f64 / 1e6;
    println!("journal {:.0} MB, index {:.0} MB", megabytes("journal"), megabytes("index"));
    let responses = timed(&format!("{n} responses opened after an orderly end"), || {
        Responses::open(dir.path()).expect("responses")
    });
    let asked = n.min(100_000);
    timed(&format!("{asked} of them found, read and compared"), || {
        for at in 0..asked {
            let n = (u64::from(at) * 7919 % u64::from(n)) as u32;
            assert!(responses.find(&request(n).identity()).expect("sound").is_some());
        }
    });
    timed("closed", || drop(responses));
    fs::remove_file(dir.path().join("index.seal.json")).expect("a seal");
    let responses = timed(&format!("{n} responses opened after a disorderly end"), || {
        Responses::open(dir.path()).expect("responses")
    });
    assert_eq!(responses.counts().responses, u64::from(n));
}

//! Exports to MLflow and TensorBoard.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};

use crate::support::{Place, means};

const SMALL: &str = "experiment: small
data: {set: sample, relevant: \">= 4\"}
split: {scheme: official, only: [f1, f2]}
seeds: [1, 2]
systems:
  random: {model: random}
  als: {model: als, factors: 8, training: {epochs: 3}, regularization: 5}
evaluate: {k: [5, 10], slices: [all, \"cold<10\"]}
";

/// An MLflow server as far as assay speaks to it; it refuses what a server refuses.
#[derive(Default)]
struct Tracker {
    experiments: BTreeMap<String, String>,
    runs: Vec<Value>,
    requests: usize,
    /// Requests after which every other one fails.
    breaks_after: Option<usize>,
}

impl Tracker {
    fn answer(&mut self, path: &str, body: &Value) -> (u16, Value) {
        self.requests += 1;
        if self.breaks_after.is_some_and(|most| self.requests > most) {
            return (500, json!({"error_code": "INTERNAL_ERROR", "message": "out of order"}));
        }
        let path = path.strip_prefix("/api/2.0/mlflow/").unwrap();
        let refused =
            |why: &str| (400, json!({"error_code": "INVALID_PARAMETER_VALUE", "message": why}));
        if let Some(name) = path.strip_prefix("experiments/get-by-name?experiment_name=") {
            return match self.experiments.get(name) {
                Some(id) => {
                    (200, json!({"experiment": {"experiment_id": id, "lifecycle_stage": "active"}}))
                }
                None => (404, json!({"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "none"})),
            };
        }
        match path {
            "experiments/create" => {
                let id = (self.experiments.len() + 1).to_string();
                self.experiments.insert(body["name"].as_str().unwrap().into(), id.clone());
                (200, json!({"experiment_id": id}))
            }
            "runs/search" => {
                // One run a page.
                let at: usize =
                    body["page_token"].as_str().map_or(0, |token| token.parse().unwrap());
                let next = (at + 1 < self.runs.len()).then(|| (at + 1).to_string());
                let runs: Vec<&Value> = self.runs.get(at).into_iter().collect();
                (200, json!({"runs": runs, "next_page_token": next}))
            }
            "runs/create" => {
                let id = format!("r{}", self.runs.len());
                self.runs.push(json!({
                    "info": {"run_id": id, "status": "RUNNING", "run_name": body["run_name"]},
                    "data": {"tags": body["tags"], "metrics": [], "params": []},
                }));
                (200, json!({"run": self.runs.last()}))
            }
            "runs/log-batch" => {
                for (field, most) in [("metrics", 1000), ("params", 100), ("tags", 100)] {
                    let new = body[field].as_array().cloned().unwrap_or_default();
                    if new.len() > most {
                        return refused("too many");
                    }
                    for of in new {
                        let key = of["key"].as_str().unwrap();
                        let fine = |c: char| c.is_ascii_alphanumeric() || "_-./ ".contains(c);
                        if key.len() > 250 || !key.chars().all(fine) {
                            return refused(key);
                        }
                        let run = self
                            .runs
                            .iter_mut()
                            .find(|run| run["info"]["run_id"] == body["run_id"]);
                        let all = run.unwrap()["data"][field].as_array_mut().unwrap();
                        match all.iter().find(|known| known["key"] == of["key"]) {
                            Some(known) if *known == of => {}
                            Some(_) => return refused(key),
                            None => all.push(of),
                        }
                    }
                }
                (200, json!({}))
            }
            "runs/update" => {
                let run = self.runs.iter_mut().find(|run| run["info"]["run_id"] == body["run_id"]);
                run.unwrap()["info"]["status"] = body["status"].clone();
                (200, json!({}))
            }
            _ => (404, json!({"error_code": "ENDPOINT_NOT_FOUND", "message": path})),
        }
    }
}

fn start() -> (String, Arc<Mutex<Tracker>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let tracker = Arc::new(Mutex::new(Tracker::default()));
    let of = tracker.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let of = of.clone();
            thread::spawn(move || {
                let mut out = stream.try_clone().unwrap();
                let mut input = BufReader::new(stream);
                loop {
                    let (mut first, mut length) = (String::new(), 0);
                    if input.read_line(&mut first).unwrap_or(0) == 0 {
                        return;
                    }
                    loop {
                        let mut line = String::new();
                        input.read_line(&mut line).unwrap();
                        let line = line.trim().to_lowercase();
                        if let Some(value) = line.strip_prefix("content-length:") {
                            length = value.trim().parse().unwrap();
                        }
                        if line.is_empty() {
                            break;
                        }
                    }
                    let mut body = vec![0; length];
                    input.read_exact(&mut body).unwrap();
                    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
                    let path = first.split_whitespace().nth(1).unwrap();
                    let (status, reply) = of.lock().unwrap().answer(path, &body);
                    let reply = reply.to_string();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        reply.len()
                    );
                    out.write_all((head + &reply).as_bytes()).unwrap();
                }
            });
        }
    });
    (url, tracker)
}

fn value(run: &Value, field: &str, key: &str) -> Value {
    let all = run["data"][field].as_array().unwrap();
    let of = all.iter().find(|of| of["key"] == key);
    of.unwrap_or_else(|| panic!("{key}: {run}"))["value"].clone()
}

#[test]
fn a_server_gets_every_system_and_trial_once() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.fine(&["run", "small.yaml", "--quiet"]);
    let (url, tracker) = start();
    let export = |code: i32| {
        let ended = place.assay(&["export", "mlflow", "small.yaml", "--url", &url]);
        assert_eq!(ended.code, code, "{}{}", ended.out, ended.err);
        ended
    };
    // The server breaks down in the middle; the next export continues.
    tracker.lock().unwrap().breaks_after = Some(12);
    let ended = export(2);
    assert!(
        ended.err.contains("out of order") && ended.err.contains("mlflow server"),
        "{}",
        ended.err
    );
    tracker.lock().unwrap().breaks_after = None;
    export(0);
    // 2 systems; 2 folds, and 2 seeds of those that are seeded.
    let csv = place.fine(&["results", "small.yaml"]);
    let trials = csv
        .lines()
        .filter(|line| line.contains(",all,ndcg,10,") && !line.contains(",mean,"))
        .count();
    {
        let tracker = tracker.lock().unwrap();
        assert_eq!(tracker.runs.len(), 2 + trials);
        assert!(tracker.runs.iter().all(|run| run["info"]["status"] == "FINISHED"));
        let named = |name: &str| {
            tracker.runs.iter().find(|run| run["info"]["run_name"] == name).unwrap_or_else(|| {
                panic!(
                    "{name}: {:?}",
                    tracker.runs.iter().map(|of| &of["info"]).collect::<Vec<_>>()
                )
            })
        };
        let ndcg = means(&csv, "ndcg", "10");
        for system in ["random", "als"] {
            let run = named(system);
            assert_eq!(value(run, "metrics", "ndcg_at_10").as_f64(), Some(ndcg[system]));
            assert_eq!(value(run, "params", "model"), system);
            assert!(value(run, "tags", "assay.fingerprint").as_str().unwrap().len() >= 8);
            value(run, "metrics", "full/standard/cold_below_10/ndcg_at_10");
            let child = named(&format!("{system} f1 seed 1"));
            assert_eq!(value(child, "tags", "mlflow.parentRunId"), run["info"]["run_id"]);
            let start = format!("small,{system},f1,1,full,standard,all,ndcg,10,");
            let line = csv.lines().find(|line| line.starts_with(&start)).unwrap();
            let of_fold: f64 = line.split(',').nth(9).unwrap().parse().unwrap();
            assert_eq!(value(child, "metrics", "ndcg_at_10").as_f64(), Some(of_fold));
        }
        assert_eq!(value(named("als"), "params", "system.factors"), "8");
    }
    let again = export(0);
    assert!(again.out.starts_with("0 runs written"), "{}", again.out);
    assert_eq!(tracker.lock().unwrap().runs.len(), 2 + trials);
    // Without a server.
    let ended = place.assay(&["export", "mlflow", "small.yaml", "--url", "http://127.0.0.1:1"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.starts_with("error: the MLflow server http://127.0.0.1:1: "),
        "{}",
        ended.err
    );
}

#[test]
fn rankings_are_exported_as_before() {
    let place = Place::new();
    place.write("small.yaml", SMALL);
    place.fine(&["run", "small.yaml", "--quiet"]);
    place.fine(&["export", "small.yaml", "--format", "trec", "--out", "runs"]);
    assert!(place.path("runs/als--f1--seed1.run").is_file());
    let ended = place.assay(&["export", "small.yaml", "--out", "x"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("--format"), "{}", ended.err);
    let ended = place.assay(&["export", "tensorboard", "small.yaml", "--out", "tb"]);
    assert_eq!(ended.code, 3, "{}", ended.err);
    assert!(ended.err.contains("no training history"), "{}", ended.err);
}

#[test]
fn histories_of_networks_are_event_files() {
    let place = Place::new();
    place.write(
        "e.yaml",
        "experiment: e\ndata: {set: sample, relevant: \">= 4\"}\nsplit: {scheme: official, only: [f1], validation: \
         {fraction: 0.1}}\nsystems:\n  bprmf: {model: bprmf, dim: 16, training: {epochs: 4, batch: 256, validate: {every: \
         2}}}\nevaluate: {k: [10]}\n",
    );
    place.fine(&["run", "e.yaml", "--quiet"]);
    place.fine(&["export", "tensorboard", "e.yaml", "--out", "tb"]);
    let dir = place.path("tb/bprmf--f1--seed1");
    let files: Vec<_> = fs::read_dir(&dir).unwrap().flatten().collect();
    assert_eq!(files.len(), 1);
    assert!(files[0].file_name().to_string_lossy().starts_with("events.out.tfevents."));
    let bytes = fs::read(files[0].path()).unwrap();
    // Records by their lengths: the version, and one an epoch, each with what the history has.
    let (mut records, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
        records.push(&bytes[at + 12..at + 12 + length]);
        at += 16 + length;
    }
    assert_eq!(records.len(), 5);
    let history = fs::read_dir(place.path(".assay/steps/fit")).unwrap().flatten();
    let history =
        history.map(|step| step.path().join("history.json")).find(|of| of.is_file()).unwrap();
    let history: Vec<Value> = serde_json::from_slice(&fs::read(history).unwrap()).unwrap();
    for (record, epoch) in records[1..].iter().zip(&history) {
        let loss = (epoch["loss"].as_f64().unwrap() as f32).to_le_bytes();
        assert!(record.windows(4).any(|window| window == loss), "{epoch}");
    }
    // A bundle draws the figure of training from them.
    place.fine(&["bundle", "e.yaml", "--out", "e.zip"]);
}

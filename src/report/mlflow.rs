//! Results as runs of an MLflow server, over its REST API (version 2.0).
//!
//! A system is a run with its means, and each of its trials is a run below it. Each run has the tag `assay.key`, a hash of what
//! it shows: a run that is there is not written again, so an export can be repeated.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use serde_json::{Value, json};
use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig},
};

use crate::{
    analysis::{Collected, MEAN, ResultRow},
    base::{hash::Digest, terminal::shown},
    core::{RunRecord, Workspace},
    report::main_cutoff,
    tasks::{ExperimentRecord, TrialRecord},
};

/// Most metrics, parameters and tags of one request, which are limits of the server.
const MOST_METRICS: usize = 1000;
const MOST_PARAMS: usize = 100;
const MOST_TAGS: usize = 100;
/// Longest value of a parameter, and of a tag.
const MOST_OF_PARAM: usize = 6000;
const MOST_OF_TAG: usize = 5000;
/// Longest name.
const MOST_OF_NAME: usize = 250;
/// Longest reply, in bytes.
const MOST_OF_REPLY: u64 = 64 << 20;
const TIMEOUT: Duration = Duration::from_secs(60);
/// The variable with a token for the server, the one that MLflow's own client reads.
pub const TOKEN_VARIABLE: &str = "MLFLOW_TRACKING_TOKEN";
/// By which runs are found again.
const KEY: &str = "assay.key";

/// What an export did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    pub written: usize,
    pub known: usize,
}

/// A server.
pub struct Server {
    agent: Agent,
    url: String,
    token: Option<String>,
}

/// One run as it is written.
struct Run {
    name: String,
    key: String,
    parent: Option<String>,
    /// Milliseconds since 1970.
    start: u64,
    end: u64,
    metrics: Vec<(String, f64)>,
    params: Vec<(String, String)>,
    tags: Vec<(String, String)>,
}

impl Server {
    /// A server by its URL. A token is sent by https or to this machine alone.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, String> {
        let wrong = |why: &str| format!("--url {}: {why}", shown(url));
        let parsed = reqwest::Url::parse(url).map_err(|error| wrong(&error.to_string()))?;
        let host = match parsed.host_str() {
            Some(host) if matches!(parsed.scheme(), "http" | "https") => host,
            _ => return Err(wrong("expected http(s)://HOST:PORT")),
        };
        if !parsed.username().is_empty() || parsed.password().is_some() {
            return Err(wrong(&format!(
                "it contains a user name or password\n  = help: set {TOKEN_VARIABLE} to a token instead"
            )));
        }
        if parsed.query().is_some() || parsed.fragment().is_some() {
            return Err(wrong("it has a query; expected http(s)://HOST:PORT"));
        }
        let plain = host.trim_start_matches('[').trim_end_matches(']');
        let is_local =
            plain == "localhost" || plain.parse::<IpAddr>().is_ok_and(|of| of.is_loopback());
        if token.is_some() && parsed.scheme() == "http" && !is_local {
            return Err(wrong(&format!(
                "the value of {TOKEN_VARIABLE} would be sent over plain http, which is not encrypted\n  = help: use https, or \
                 unset the variable"
            )));
        }
        if token.as_ref().is_some_and(|token| !token.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(format!(
                "{TOKEN_VARIABLE} contains spaces or other characters that no token has"
            ));
        }
        let tls = TlsConfig::builder().root_certs(RootCerts::PlatformVerifier).build();
        let config = Agent::config_builder()
            .tls_config(tls)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_global(Some(TIMEOUT));
        // A proxy does not reach this machine.
        let config = if is_local { config.proxy(None) } else { config };
        let url = url.trim_end_matches('/').to_owned();
        Ok(Self { agent: config.build().into(), url, token })
    }

    /// Sends a request; a status is an error, with the server's message.
    fn send(&self, path: &str, body: Option<&Value>) -> Result<Value, (String, String)> {
        let url = format!("{}/api/2.0/mlflow/{path}", self.url);
        let failed = |problem: &str| (String::new(), self.failed(problem));
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let reply = match body {
            Some(body) => {
                let mut request = self.agent.post(&url).header("content-type", "application/json");
                if let Some(bearer) = &bearer {
                    request = request.header("authorization", bearer);
                }
                request.send(body.to_string())
            }
            None => {
                let mut request = self.agent.get(&url);
                if let Some(bearer) = &bearer {
                    request = request.header("authorization", bearer);
                }
                request.call()
            }
        };
        let mut reply = reply.map_err(|error| failed(&error.to_string()))?;
        let status = reply.status().as_u16();
        let text = reply.body_mut().with_config().limit(MOST_OF_REPLY).read_to_string();
        let text = text.map_err(|error| failed(&format!("its reply cannot be read: {error}")))?;
        let value: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status == 200 && value.is_object() {
            return Ok(value);
        }
        let code = value["error_code"].as_str().unwrap_or_default().to_owned();
        let said = value["message"].as_str().unwrap_or(text.trim());
        let problem = match status {
            200 => "its reply is no JSON object: is it an MLflow server?".to_owned(),
            _ => format!("status {status} to {path}: {}", shown(said)),
        };
        Err((code, self.failed(&problem)))
    }

    fn failed(&self, problem: &str) -> String {
        format!(
            "the MLflow server {}: {problem}\n  = help: start one with `mlflow server --host 127.0.0.1 --port 5000`, and give \
             its URL with --url; what was written before is kept, and the same command continues",
            shown(&self.url)
        )
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        self.send(path, Some(body)).map_err(|(_, problem)| problem)
    }

    /// The id of an experiment of the server, which is created if there is none.
    fn experiment(&self, name: &str) -> Result<String, String> {
        let path = format!("experiments/get-by-name?experiment_name={}", encoded(name));
        match self.send(&path, None) {
            Ok(reply) => {
                let of = &reply["experiment"];
                if of["lifecycle_stage"] == "deleted" {
                    return Err(format!(
                        "the experiment `{}` was deleted on the MLflow server\n  = help: restore it there (`mlflow \
                         experiments restore`), or choose another name with --experiment",
                        shown(name)
                    ));
                }
                self.text(of, "experiment_id")
            }
            Err((code, _)) if code == "RESOURCE_DOES_NOT_EXIST" => {
                let reply = self.post("experiments/create", &json!({"name": name}))?;
                self.text(&reply, "experiment_id")
            }
            Err((_, problem)) => Err(problem),
        }
    }

    fn text(&self, of: &Value, field: &str) -> Result<String, String> {
        let text = of[field].as_str().map(str::to_owned);
        text.ok_or_else(|| self.failed(&format!("its reply has no `{field}`")))
    }

    /// The runs that assay wrote: by key, the id and whether it is complete.
    fn runs(&self, experiment: &str) -> Result<HashMap<String, (String, bool)>, String> {
        let mut runs = HashMap::new();
        let mut token: Option<String> = None;
        loop {
            let body = json!({
                "experiment_ids": [experiment],
                "filter": format!("tags.`{KEY}` LIKE '%'"),
                "run_view_type": "ACTIVE_ONLY",
                "max_results": 1000,
                "page_token": token,
            });
            let reply = self.post("runs/search", &body)?;
            for run in reply["runs"].as_array().into_iter().flatten() {
                let tags = run["data"]["tags"].as_array().into_iter().flatten();
                let key =
                    tags.filter(|tag| tag["key"] == KEY).find_map(|tag| tag["value"].as_str());
                let Some(key) = key else { continue };
                let complete = run["info"]["status"] == "FINISHED";
                let id = self.text(&run["info"], "run_id")?;
                let known = runs.entry(key.to_owned()).or_insert((id.clone(), complete));
                if complete && !known.1 {
                    *known = (id, true);
                }
            }
            token =
                reply["next_page_token"].as_str().filter(|of| !of.is_empty()).map(str::to_owned);
            if token.is_none() {
                return Ok(runs);
            }
        }
    }

    /// Writes a run, or continues one that was interrupted; returns its id.
    fn write(
        &self,
        experiment: &str,
        run: &Run,
        known: &HashMap<String, (String, bool)>,
        exported: &mut Exported,
    ) -> Result<String, String> {
        let id = match known.get(&run.key) {
            Some((id, true)) => {
                exported.known += 1;
                return Ok(id.clone());
            }
            // The same values at the same times are not stored twice.
            Some((id, false)) => id.clone(),
            None => {
                let mut tags = vec![json!({"key": KEY, "value": run.key})];
                tags.push(json!({"key": "mlflow.source.name", "value": "assay"}));
                if let Some(parent) = &run.parent {
                    tags.push(json!({"key": "mlflow.parentRunId", "value": parent}));
                }
                let body = json!({
                    "experiment_id": experiment,
                    "run_name": run.name,
                    "start_time": run.start,
                    "tags": tags,
                });
                let reply = self.post("runs/create", &body)?;
                self.text(&reply["run"]["info"], "run_id")?
            }
        };
        let pairs = |of: &[(String, String)]| -> Vec<Value> {
            of.iter().map(|(key, value)| json!({"key": key, "value": value})).collect()
        };
        let metrics: Vec<Value> = run
            .metrics
            .iter()
            .map(
                |(key, value)| json!({"key": key, "value": value, "timestamp": run.end, "step": 0}),
            )
            .collect();
        for (field, all, most) in [
            ("params", pairs(&run.params), MOST_PARAMS),
            ("tags", pairs(&run.tags), MOST_TAGS),
            ("metrics", metrics, MOST_METRICS),
        ] {
            for part in all.chunks(most) {
                let mut body = json!({"run_id": id});
                body[field] = json!(part);
                self.post("runs/log-batch", &body)?;
            }
        }
        // Last: a run with this status is complete.
        let body = json!({"run_id": id, "status": "FINISHED", "end_time": run.end});
        self.post("runs/update", &body)?;
        exported.written += 1;
        Ok(id)
    }

    /// Writes the results of an experiment: a run for each system, with a run for each of its trials.
    pub fn export(
        &self,
        name: &str,
        experiment: &ExperimentRecord,
        workspace: &Workspace,
        collected: &Collected,
        last: Option<&RunRecord>,
    ) -> Result<Exported, String> {
        let id = self.experiment(name)?;
        let known = self.runs(&id)?;
        let mut exported = Exported::default();
        let names = metric_names(experiment, &collected.rows);
        let has = |trial: &&TrialRecord| {
            let seed = trial.seed.to_string();
            let is_it = |row: &ResultRow| {
                (&row.system, &row.fold, &row.seed) == (&trial.name, &trial.fold, &seed)
            };
            collected.rows.iter().any(is_it)
        };
        let done: Vec<&TrialRecord> = experiment.trials.iter().filter(has).collect();
        for trials in crate::analysis::trials_by_system(&done) {
            let parent = parent(experiment, workspace, &trials, &collected.rows, &names, last);
            let parent_id = self.write(&id, &parent, &known, &mut exported)?;
            for trial in trials {
                let mut run = child(experiment, workspace, trial, &collected.rows, &names, last);
                run.key = Digest::of_json(&(&parent.key, &run.key)).to_string();
                run.parent = Some(parent_id.clone());
                self.write(&id, &run, &known, &mut exported)?;
            }
        }
        Ok(exported)
    }
}

/// The run of a system.
fn parent(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    trials: &[&TrialRecord],
    rows: &[ResultRow],
    names: &BTreeMap<Column, String>,
    last: Option<&RunRecord>,
) -> Run {
    let first = trials[0];
    let means = rows.iter().filter(|row| row.system == first.name && row.fold == MEAN);
    let mut metrics = Vec::new();
    for row in means {
        metrics.extend(metrics_of(row, names));
        let name = &names[&Column::of(row)];
        for (value, what) in [
            (row.low, "low"),
            (row.high, "high"),
            (row.sd_folds, "sd_folds"),
            (row.sd_seeds, "sd_seeds"),
        ] {
            metrics.extend(value.map(|value| (format!("{name}_{what}"), value)));
        }
    }
    let times: Vec<(u64, u64)> = trials.iter().map(|of| times(experiment, workspace, of)).collect();
    let folds: Vec<&str> = trials.iter().map(|trial| trial.fold.as_str()).collect();
    let mut run = Run {
        name: first.name.clone(),
        key: String::new(),
        parent: None,
        start: times.iter().map(|of| of.0).min().unwrap_or_default(),
        end: times.iter().map(|of| of.1).max().unwrap_or_default(),
        metrics,
        params: params(experiment, first),
        tags: tags(experiment, first, last),
    };
    run.tags.push((
        "assay.folds".into(),
        cut(&crate::base::text::distinct(folds.iter()).join(", "), MOST_OF_TAG),
    ));
    // Whatever the record holds: the same results have the same key.
    let content: Vec<_> =
        trials.iter().map(|trial| content(experiment, workspace, trial)).collect();
    run.key = Digest::of_json(&(experiment.slot(), &run.name, &content, &run.metrics, &run.params))
        .to_string();
    run
}

/// The run of a trial. Its key is of its own content.
fn child(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    trial: &TrialRecord,
    rows: &[ResultRow],
    names: &BTreeMap<Column, String>,
    last: Option<&RunRecord>,
) -> Run {
    let seed = trial.seed.to_string();
    let is_own =
        |row: &&ResultRow| (&row.system, &row.fold, &row.seed) == (&trial.name, &trial.fold, &seed);
    let (start, end) = times(experiment, workspace, trial);
    let mut run = Run {
        name: trial.label(),
        key: content(experiment, workspace, trial),
        parent: None,
        start,
        end,
        metrics: rows.iter().filter(is_own).flat_map(|row| metrics_of(row, names)).collect(),
        params: params(experiment, trial),
        tags: tags(experiment, trial, last),
    };
    run.params.push(("fold".into(), cut(&trial.fold, MOST_OF_PARAM)));
    run.params.push(("seed".into(), seed));
    run.tags.push(("assay.evaluate_step".into(), experiment.steps[trial.evaluate].key.to_string()));
    run
}

/// What a trial's results are: its step, and what is in it.
fn content(experiment: &ExperimentRecord, workspace: &Workspace, trial: &TrialRecord) -> String {
    let content = experiment.record(workspace, trial.evaluate).map(|of| of.content()).ok();
    Digest::of_json(&(experiment.steps[trial.evaluate].key, content, &trial.fold, trial.seed))
        .to_string()
}

/// When the first of the steps of a trial started and its last ended, as far as they are recorded.
fn times(experiment: &ExperimentRecord, workspace: &Workspace, trial: &TrialRecord) -> (u64, u64) {
    let steps = [trial.fit, Some(trial.predictions), Some(trial.evaluate)];
    let records =
        steps.into_iter().flatten().filter_map(|of| experiment.record(workspace, of).ok());
    let times: Vec<(u64, u64)> = records
        .map(|of| {
            let end = of.finished.saturating_mul(1000);
            (end.saturating_sub((of.wall_seconds.max(0.0) * 1000.0) as u64), end)
        })
        .collect();
    let start = times.iter().map(|of| of.0).min().unwrap_or_default();
    (start, times.iter().map(|of| of.1).max().unwrap_or_default())
}

/// A column of results.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Column {
    protocol: String,
    convention: String,
    slice: String,
    metric: String,
    k: usize,
}

impl Column {
    fn of(row: &ResultRow) -> Self {
        Self {
            protocol: row.protocol.clone(),
            convention: row.convention.clone(),
            slice: row.slice.clone(),
            metric: row.metric.clone(),
            k: row.k,
        }
    }
}

/// The names of metrics: `ndcg_at_10` for the first protocol, convention and slice, and
/// `judged/standard/all/ndcg_at_10` for the others. Different columns have different names.
fn metric_names(experiment: &ExperimentRecord, rows: &[ResultRow]) -> BTreeMap<Column, String> {
    let first = experiment.variants.first();
    let main = first.and_then(|of| {
        let evaluation = of.evaluations.first()?;
        Some((&evaluation.protocol, &evaluation.convention, of.slices.first()?))
    });
    let mut names = BTreeMap::new();
    let mut taken: HashMap<String, Column> = HashMap::new();
    for row in rows {
        let column = Column::of(row);
        if names.contains_key(&column) {
            continue;
        }
        let is_main = main == Some((&column.protocol, &column.convention, &column.slice));
        let short = format!("{}_at_{}", column.metric, column.k);
        let whole = match is_main {
            true => short,
            false => format!("{}/{}/{}/{short}", column.protocol, column.convention, column.slice),
        };
        let mut name = named(&whole);
        if taken.get(&name.to_lowercase()).is_some_and(|of| *of != column) {
            name = format!("{name}_{}", Digest::of(&whole).short());
        }
        taken.insert(name.to_lowercase(), column.clone());
        names.insert(column, name);
    }
    names
}

/// A name as the server allows it: letters, digits and `_-./`.
fn named(name: &str) -> String {
    let name = name.replace("<=", "_at_most_").replace(">=", "_at_least_");
    let name = name.replace('<', "_below_").replace('>', "_above_").replace('@', "_at_");
    let fine = |c: char| if c.is_ascii_alphanumeric() || "_-./".contains(c) { c } else { '_' };
    let plain: String = name.chars().map(fine).collect();
    match plain.len() > MOST_OF_NAME {
        true => format!("{}_{}", &plain[..MOST_OF_NAME - 13], Digest::of(&name).short()),
        false => plain,
    }
}

fn metrics_of(row: &ResultRow, names: &BTreeMap<Column, String>) -> Vec<(String, f64)> {
    let name = &names[&Column::of(row)];
    let Some(value) = row.value.filter(|value| value.is_finite()) else { return Vec::new() };
    vec![(name.clone(), value), (format!("{name}_users"), row.n_users as f64)]
}

/// The settings of a trial's system, and of its data and evaluation.
fn params(experiment: &ExperimentRecord, trial: &TrialRecord) -> Vec<(String, String)> {
    let (variant, system) = (&experiment.variants[trial.variant], experiment.system(trial));
    let mut all = BTreeMap::new();
    let mut settings = system.settings.clone();
    if let Some(fields) = settings.as_object_mut() {
        // Every candidate of a search; its spec is kept.
        ["candidates", "labels"].iter().for_each(|field| drop(fields.shift_remove(*field)));
    }
    flatten("system", &settings, &mut all);
    flatten("split", &variant.split, &mut all);
    all.insert("model".into(), system.model.clone());
    all.insert("data".into(), variant.data.clone());
    all.insert("relevant".into(), variant.rules.relevant.clone());
    all.insert("ties".into(), variant.rules.ties.clone());
    if !variant.label.is_empty() {
        all.insert("variant".into(), variant.label.clone());
    }
    let mut params: Vec<(String, String)> = Vec::new();
    // A server takes an empty value for none.
    for (name, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
        let mut key = named(&name);
        if params.iter().any(|(known, _)| known.eq_ignore_ascii_case(&key)) {
            key = format!("{key}_{}", Digest::of(&name).short());
        }
        params.push((key, cut(&value, MOST_OF_PARAM)));
    }
    params
}

fn flatten(name: &str, value: &Value, into: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            fields
                .iter()
                .for_each(|(field, value)| flatten(&format!("{name}.{field}"), value, into));
        }
        Value::String(text) => drop(into.insert(name.to_owned(), text.clone())),
        value => drop(into.insert(name.to_owned(), value.to_string())),
    }
}

/// What the numbers rest on.
fn tags(
    experiment: &ExperimentRecord,
    trial: &TrialRecord,
    last: Option<&RunRecord>,
) -> Vec<(String, String)> {
    let variant = &experiment.variants[trial.variant];
    let mut tags = vec![
        ("assay.experiment".to_owned(), experiment.name.clone()),
        ("assay.system".to_owned(), trial.name.clone()),
        ("assay.data_hash".to_owned(), variant.data_digest.to_string()),
        ("assay.split_hash".to_owned(), variant.split_digest.to_string()),
        ("assay.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
    ];
    let k = main_cutoff(experiment);
    let main = variant.evaluations.iter().find(|of| of.k == k).or(variant.evaluations.first());
    if let Some(of) = main {
        tags.push(("assay.fingerprint".into(), of.fingerprint.clone()));
        tags.push((
            "assay.evaluation".into(),
            format!("{}, {}, k = {}", of.protocol, of.convention, of.k),
        ));
    }
    if let Some(run) = last {
        tags.push(("assay.run".into(), run.run.clone()));
        tags.push(("assay.program".into(), run.machine.program.clone()));
        tags.extend(
            run.machine.revision.iter().map(|of| ("mlflow.source.git.commit".into(), of.clone())),
        );
    }
    tags.retain(|(_, value)| !value.is_empty());
    tags.into_iter().map(|(key, value)| (key, cut(&value, MOST_OF_TAG))).collect()
}

/// A value that is not too long; one that is ends in its hash.
fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let mut end = most - 80;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}… (cut; BLAKE3 {})", &text[..end], Digest::of(text).short())
}

/// A value in a query.
fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_a_server_allows() {
        assert_eq!(
            named("full/standard/cold<10/ndcg_at_10"),
            "full/standard/cold_below_10/ndcg_at_10"
        );
        assert_eq!(named("a b@1"), "a_b_at_1");
        assert!(named(&"x".repeat(900)).len() <= MOST_OF_NAME);
        assert_eq!(encoded("a b&c"), "a%20b%26c");
    }

    #[test]
    fn long_values_say_that_they_were_cut() {
        let long = "é".repeat(4000);
        let short = cut(&long, MOST_OF_PARAM);
        assert!(short.len() <= MOST_OF_PARAM && short.contains("(cut; BLAKE3 "));
        assert_eq!(cut("x", 10), "x");
    }

    #[test]
    fn tokens_are_sent_by_https_or_to_this_machine() {
        let token = || Some("t".to_owned());
        for url in [
            "http://127.0.0.1:5000",
            "http://localhost:5000/",
            "http://[::1]:1",
            "https://x.org/mlflow",
        ] {
            assert!(Server::new(url, token()).is_ok(), "{url}");
        }
        assert!(Server::new("http://x.org:5000", token()).is_err());
        assert!(Server::new("http://x.org:5000", None).is_ok());
        for url in ["ftp://x", "x", "http://a:b@x", "http://x?y=1"] {
            assert!(Server::new(url, None).is_err(), "{url}");
        }
    }
}

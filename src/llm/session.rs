//! The requests of one step to one endpoint: chats, checks and repairs of responses, and counts for the step's record.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    LlmError,
    client::Llm,
    endpoint::{EndpointSpec, Failures, Mode},
    journal::{Kind, Record, Usage},
    key::{Key, Request, hex},
    reply, structured,
    structured::Schema,
    transport::Call,
};
use crate::base::terminal::shown;

/// A request to a chat model.
#[derive(Clone, Debug)]
pub struct Chat {
    /// `[{role, content}, …]`
    pub messages: Value,
    /// The schema of the response, if it is JSON.
    pub schema: Option<Schema>,
    /// Number of the repetition, which makes repeated requests different.
    pub repeat: u32,
    /// Its purpose, e.g. `item 12`.
    pub about: String,
}

/// The response of a chat model.
#[derive(Clone, Debug, PartialEq)]
pub struct Response {
    /// The text; empty if there is none.
    pub content: String,
    pub refusal: Option<String>,
    /// `stop`, `length`, `content_filter`, …
    pub finish: String,
    pub record: Record,
}

impl Response {
    pub(super) fn of(record: Record) -> Self {
        let choice = reply::choice(&record.response);
        Self {
            content: reply::content(&choice["message"]).unwrap_or_default(),
            refusal: reply::refusal(&choice["message"]),
            finish: choice["finish_reason"].as_str().unwrap_or_default().to_owned(),
            record,
        }
    }

    /// Whether the endpoint classified text as reasoning.
    fn is_reasoned(&self) -> bool {
        reply::is_reasoned(&reply::choice(&self.record.response)["message"])
    }

    /// The text, or why it cannot be used. The reason becomes a part of repair requests, so another wording would change
    /// their keys.
    pub fn text(&self) -> Result<&str, String> {
        if let Some(refusal) = &self.refusal {
            return Err(format!("refused: {}", shown(refusal)));
        }
        match self.finish.as_str() {
            "length" | "max_tokens" => Err("cut off at the limit of tokens".into()),
            "content_filter" => Err("refused: stopped by a filter of contents".into()),
            _ if self.content.trim().is_empty() && self.is_reasoned() => Err(
                "empty: the endpoint put all of it into its field for reasoning; turn its reasoning \
                 parser off, or thinking on"
                    .into(),
            ),
            _ => Ok(&self.content),
        }
    }
}

/// The result of a checked request.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T> {
    Usable(T),
    /// The response cannot be used: the problem of the last attempt.
    Unusable(String),
    /// The request failed, and `failures: fall-back` is set.
    Abandoned(String),
}

/// Counts for the record of a step: its responses, and what was wrong with them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub keys: BTreeSet<Key>,
    pub cached: usize,
    pub requested: usize,
    pub bad: BTreeMap<String, usize>,
    pub repairs: usize,
    pub abandoned: usize,
    /// Tokens of all responses used, cached or requested.
    pub usage: Usage,
    pub money: f64,
    pub unpriced: usize,
    pub latency_ms: u64,
}

impl Tally {
    /// The part of a step's record.
    pub fn stats(&self) -> LlmStats {
        LlmStats {
            responses: self.keys.len(),
            cached: self.cached,
            requested: self.requested,
            bad: self.bad.clone(),
            repairs: self.repairs,
            abandoned: self.abandoned,
            input_tokens: self.usage.input,
            output_tokens: self.usage.output,
            money: self.money,
            unpriced: self.unpriced,
            latency_seconds: self.latency_ms as f64 / 1e3,
        }
    }

    /// Keys of the responses used, for the directory of a step.
    pub fn keys(&self) -> Vec<String> {
        self.keys.iter().map(|key| hex(key)).collect()
    }
}

/// The part of a step's record about the language model that the step used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LlmStats {
    /// Distinct responses used, cached or requested.
    #[serde(rename = "answers")]
    pub responses: usize,
    #[serde(rename = "found")]
    pub cached: usize,
    #[serde(rename = "asked")]
    pub requested: usize,
    /// Unusable responses by problem.
    pub bad: BTreeMap<String, usize>,
    /// Responses that were sent back with a description of the problem.
    pub repairs: usize,
    /// Requests that failed, in place of which a fallback was used.
    #[serde(rename = "missing")]
    pub abandoned: usize,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Cost of the responses with a known price.
    pub money: f64,
    /// Responses without a known price.
    pub unpriced: usize,
    /// Sum over all responses.
    pub latency_seconds: f64,
}

impl LlmStats {
    /// The cost; `unknown` if the price of a response is unknown.
    pub fn cost(&self) -> String {
        match self.unpriced {
            0 => format!("{:.4}", self.money),
            _ => "unknown".into(),
        }
    }
}

/// The requests of one step to one endpoint, with counts.
pub struct LlmSession<'a> {
    pub(super) llm: &'a Llm,
    pub(super) endpoint: Arc<(String, EndpointSpec)>,
    tally: Mutex<Tally>,
}

impl<'a> LlmSession<'a> {
    pub(super) fn new(llm: &'a Llm, name: &str, endpoint: &EndpointSpec) -> Self {
        let endpoint = Arc::new((name.to_owned(), endpoint.clone()));
        Self { llm, endpoint, tally: Mutex::default() }
    }

    /// Counts so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, work: impl FnOnce(&mut Tally)) {
        work(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn used(&self, key: Key, record: &Record, cached: bool) {
        self.count(|tally| {
            match cached {
                true => tally.cached += 1,
                false => tally.requested += 1,
            }
            // A response that is used twice was paid for once.
            if tally.keys.insert(key) {
                tally.usage.input = tally.usage.input.saturating_add(record.usage.input);
                tally.usage.output = tally.usage.output.saturating_add(record.usage.output);
                tally.usage.cached = tally.usage.cached.saturating_add(record.usage.cached);
                tally.money += record.money.unwrap_or(0.0);
                tally.unpriced += usize::from(record.money.is_none());
                tally.latency_ms += record.latency_ms;
            }
        });
    }

    /// The request of a chat.
    pub fn request(&self, chat: &Chat) -> Request {
        let endpoint = &self.endpoint.1;
        let mut body = endpoint.parameters();
        body.insert("messages".into(), chat.messages.clone());
        if let Some(schema) = &chat.schema {
            structured::request_json(&mut body, schema, endpoint.structured);
        }
        let url = format!("{}/chat/completions", endpoint.base_url.trim_end_matches('/'));
        let weights = endpoint.weights.clone();
        Request { url, body: Value::Object(body), repeat: chat.repeat, weights }
    }

    /// The response to a chat, unchecked.
    pub fn chat(&self, chat: &Chat) -> Result<Response, LlmError> {
        let request = self.request(chat);
        let identity = request.identity();
        let key = identity.key;
        let call = || Call::Chat(request.body);
        let (record, cached) = self.llm.request(identity, call, &self.endpoint, &chat.about)?;
        self.used(key, &record, cached);
        Ok(Response::of(record))
    }

    /// A document by its path and query, recorded like a response.
    pub fn get(
        &self,
        path: &str,
        query: &[(String, String)],
        about: &str,
    ) -> Result<Value, LlmError> {
        let url = format!("{}{path}", self.endpoint.1.base_url.trim_end_matches('/'));
        let body = Value::Object(query.iter().map(|(k, v)| (k.clone(), json!(v))).collect());
        let identity = Request { url, body, repeat: 0, weights: None }.identity();
        let key = identity.key;
        let call = || Call::Get(path.to_owned(), query.to_vec());
        let (record, cached) = self.llm.request(identity, call, &self.endpoint, about)?;
        self.used(key, &record, cached);
        Ok(record.response)
    }

    /// A response that passes `check`. An unusable response is sent back with a description of the problem, at most
    /// `repairs` times; one that stays unusable is counted.
    pub fn checked<T>(
        &self,
        chat: &Chat,
        check: &dyn Fn(&Response) -> Result<T, String>,
    ) -> Result<Outcome<T>, LlmError> {
        let mut chat = chat.clone();
        let mut attempt = 0;
        loop {
            let response = match self.chat(&chat) {
                Ok(response) => response,
                Err(LlmError::Failed(cause)) if self.endpoint.1.failures == Failures::FallBack => {
                    self.abandon(&chat, &cause)?;
                    return Ok(Outcome::Abandoned(cause));
                }
                Err(error) => return Err(error),
            };
            let problem =
                match response.text().map_err(|p| p.to_owned()).and_then(|_| check(&response)) {
                    Ok(value) => return Ok(Outcome::Usable(value)),
                    Err(problem) => problem,
                };
            if attempt >= self.endpoint.1.repairs {
                let kind = problem.split(':').next().unwrap_or_default().to_owned();
                self.count(|tally| *tally.bad.entry(kind).or_default() += 1);
                return Ok(Outcome::Unusable(problem));
            }
            attempt += 1;
            self.count(|tally| tally.repairs += 1);
            if let Value::Array(messages) = &mut chat.messages {
                messages.push(json!({"role": "assistant", "content": response.content}));
                messages.push(json!({
                    "role": "user",
                    "content": format!("That answer cannot be used: {problem}. Answer again, as asked."),
                }));
            }
        }
    }

    /// The responses to all chats, in order; first as a batch if the endpoint has `batch: true`.
    pub fn all<T: Send>(
        &self,
        chats: &[Chat],
        progress: &(dyn Fn(u64, u64) + Sync),
        check: &(dyn Fn(&Response) -> Result<T, String> + Sync),
    ) -> Result<Vec<Outcome<T>>, LlmError> {
        if self.endpoint.1.batch && matches!(self.llm.mode, Mode::Record) {
            match super::batch::request(self, chats, progress) {
                Err(LlmError::Failed(_)) if self.endpoint.1.failures == Failures::FallBack => {}
                result => result?,
            }
        }
        self.each(chats.len(), progress, &|at| self.checked(&chats[at], check))
    }

    /// Continues without a response, and records that in the journal, so that a replay does the same.
    fn abandon(&self, chat: &Chat, cause: &str) -> Result<(), LlmError> {
        let request = self.request(chat).identity();
        self.count(|tally| {
            tally.abandoned += 1;
            tally.keys.insert(request.key);
        });
        if self.llm.mode == Mode::Replay {
            return Ok(());
        }
        let record = Record {
            kind: Kind::Abandoned,
            key: hex(&request.key),
            about: chat.about.clone(),
            endpoint: self.endpoint.0.clone(),
            request: request.canonical,
            cause: Some(cause.to_owned()),
            ..Record::failure()
        };
        let (sender, kept) = std::sync::mpsc::channel();
        self.llm.responses.append(record, move |written| drop(sender.send(written)));
        match kept.recv() {
            Ok(written) => written.map_err(LlmError::Store),
            Err(_) => Err(LlmError::Store("the journal's thread has stopped".into())),
        }
    }

    /// Runs `work` for `0..n`, as many at once as the endpoint allows; results are in order. Stops at the first error that
    /// concerns all requests. Errors of single requests are reported together at the end.
    pub fn each<T: Send>(
        &self,
        n: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
        work: &(dyn Fn(usize) -> Result<T, LlmError> + Sync),
    ) -> Result<Vec<T>, LlmError> {
        let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let results: Mutex<Vec<Option<T>>> = Mutex::new((0..n).map(|_| None).collect());
        let errors: Mutex<Vec<LlmError>> = Mutex::default();
        // Replays do not wait for an endpoint, so a few threads are enough.
        let threads = match self.llm.mode {
            Mode::Replay => 2,
            _ => self.endpoint.1.concurrency,
        };
        thread::scope(|scope| {
            for _ in 0..threads.min(n) {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        if at >= n {
                            return;
                        }
                        match work(at) {
                            Ok(result) => {
                                results.lock().unwrap_or_else(PoisonError::into_inner)[at] =
                                    Some(result);
                            }
                            Err(error) => {
                                if !matches!(error, LlmError::Failed(_) | LlmError::ReplayMiss(_)) {
                                    stop.store(true, Ordering::Relaxed);
                                }
                                errors.lock().unwrap_or_else(PoisonError::into_inner).push(error);
                            }
                        }
                        let done = 1 + done.fetch_add(1, Ordering::Relaxed);
                        progress(done as u64, n as u64);
                    }
                });
            }
        });
        let errors = errors.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !errors.is_empty() {
            return Err(self.combined(errors, n));
        }
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(results.into_iter().flatten().collect())
    }

    /// Combines errors into one.
    fn combined(&self, errors: Vec<LlmError>, n: usize) -> LlmError {
        let (mut failed, mut misses) = (BTreeMap::<String, usize>::new(), Vec::new());
        let mut others = Vec::new();
        for error in errors {
            match error {
                LlmError::Failed(cause) => *failed.entry(cause).or_default() += 1,
                LlmError::ReplayMiss(miss) => misses.push(*miss),
                other => others.push(other),
            }
        }
        // The error that stopped the others comes first.
        let rank = |error: &LlmError| match error {
            LlmError::Interrupted(_) => 0,
            LlmError::Store(_) => 1,
            LlmError::Fatal(_) => 2,
            _ => 3,
        };
        if let Some(first) = others.into_iter().min_by_key(rank) {
            return first;
        }
        if !misses.is_empty() {
            misses.sort_by(|a, b| a.about.cmp(&b.about));
            return LlmError::ReplayMisses(super::explain::misses_text(
                &self.llm.responses,
                &misses,
            ));
        }
        let total: usize = failed.values().sum();
        let causes: Vec<String> = failed
            .iter()
            .take(4)
            .map(|(cause, count)| format!("  {count} × {}", cause.replace('\n', " ")))
            .collect();
        LlmError::Failed(format!(
            "{total} of {n} requests to the endpoint `{}` failed:\n{}\n  = help: received responses are \
             recorded; run again to request the rest, or set `failures: fall-back` to continue without",
            self.endpoint.0,
            causes.join("\n")
        ))
    }
}

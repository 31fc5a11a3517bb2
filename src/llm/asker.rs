//! Asking one judge on behalf of one step: chats, answers that are checked and sent back, and a tally.

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
    journal::{Kind, Record, Usage},
    judge::{Failures, JudgeSpec, Mode},
    key::{Key, Request, hex},
    reply, structured,
    structured::Schema,
    transport::Call,
};
use crate::base::terminal::shown;

/// A chat to be answered.
#[derive(Clone, Debug)]
pub struct Chat {
    /// `[{role, content}, …]`
    pub messages: Value,
    /// What the answer has to be, where it is JSON.
    pub schema: Option<Schema>,
    /// Tells repeated questions apart.
    pub repeat: u32,
    /// What it is for, e.g. `item 12`.
    pub about: String,
}

/// An answer of a chat model.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Empty where there is none.
    pub content: String,
    pub refusal: Option<String>,
    /// `stop`, `length`, `content_filter`, …
    pub finish: String,
    pub record: Record,
}

impl Answer {
    pub(super) fn of(record: Record) -> Self {
        let choice = reply::choice(&record.response);
        Self {
            content: reply::content(&choice["message"]).unwrap_or_default(),
            refusal: reply::refusal(&choice["message"]),
            finish: choice["finish_reason"].as_str().unwrap_or_default().to_owned(),
            record,
        }
    }

    /// Whether the endpoint took a text for thoughts.
    fn is_reasoned(&self) -> bool {
        reply::is_reasoned(&reply::choice(&self.record.response)["message"])
    }

    /// The text, or why it cannot be used as it is.
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

/// An answer that was looked at: what it says, or what was wrong with the last try.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome<T> {
    Good(T),
    /// The answer is there and cannot be used.
    Bad(String),
    /// No answer came, and the judge is set to go on without.
    Missing(String),
}

/// What one step asked: keys of answers used, and what went wrong, for its record.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    pub keys: BTreeSet<Key>,
    pub found: usize,
    pub asked: usize,
    pub bad: BTreeMap<String, usize>,
    pub repairs: usize,
    pub missing: usize,
    /// Of all answers used, found or asked for.
    pub usage: Usage,
    pub money: f64,
    pub unpriced: usize,
    pub latency_ms: u64,
}

impl Tally {
    /// For a step's record.
    pub fn stats(&self) -> LlmStats {
        LlmStats {
            answers: self.keys.len(),
            found: self.found,
            asked: self.asked,
            bad: self.bad.clone(),
            repairs: self.repairs,
            missing: self.missing,
            input_tokens: self.usage.input,
            output_tokens: self.usage.output,
            money: self.money,
            unpriced: self.unpriced,
            latency_seconds: self.latency_ms as f64 / 1e3,
        }
    }

    /// For a step's directory: which answers it was made of.
    pub fn keys(&self) -> Vec<String> {
        self.keys.iter().map(|key| hex(key)).collect()
    }
}

/// What a step's record says of the language model that the step called.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LlmStats {
    /// Different responses used, cached or requested.
    pub answers: usize,
    /// Cached.
    pub found: usize,
    /// Requested.
    pub asked: usize,
    /// Responses that could not be used, by what was wrong with them.
    pub bad: BTreeMap<String, usize>,
    /// Responses that were sent back with what was wrong with them.
    pub repairs: usize,
    /// Requests that were given up.
    pub missing: usize,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Of the responses that have a price.
    pub money: f64,
    /// Responses without a price.
    pub unpriced: usize,
    /// Of all responses, one after the other.
    pub latency_seconds: f64,
}

impl LlmStats {
    /// Money; `unknown` where a response has no price.
    pub fn cost(&self) -> String {
        match self.unpriced {
            0 => format!("{:.4}", self.money),
            _ => "unknown".into(),
        }
    }
}

/// Asks one judge, and counts.
pub struct Asker<'a> {
    pub(super) llm: &'a Llm,
    pub(super) judge: Arc<(String, JudgeSpec)>,
    tally: Mutex<Tally>,
}

impl<'a> Asker<'a> {
    pub(super) fn new(llm: &'a Llm, name: &str, judge: &JudgeSpec) -> Self {
        let judge = Arc::new((name.to_owned(), judge.clone()));
        Self { llm, judge, tally: Mutex::default() }
    }

    /// What was asked so far.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn count(&self, work: impl FnOnce(&mut Tally)) {
        work(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn used(&self, key: Key, record: &Record, found: bool) {
        self.count(|tally| {
            match found {
                true => tally.found += 1,
                false => tally.asked += 1,
            }
            // An answer that is used twice was paid once.
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

    /// The request that a chat makes.
    pub fn request(&self, chat: &Chat) -> Request {
        let judge = &self.judge.1;
        let mut body = judge.parameters();
        body.insert("messages".into(), chat.messages.clone());
        if let Some(schema) = &chat.schema {
            structured::ask(&mut body, schema, judge.structured);
        }
        let url = format!("{}/chat/completions", judge.base_url.trim_end_matches('/'));
        let weights = judge.weights.clone();
        Request { url, body: Value::Object(body), repeat: chat.repeat, weights }
    }

    /// The answer to a chat, whatever it is.
    pub fn chat(&self, chat: &Chat) -> Result<Answer, LlmError> {
        let request = self.request(chat);
        let identity = request.identity();
        let key = identity.key;
        let call = || Call::Chat(request.body);
        let (record, found) = self.llm.request(identity, call, &self.judge, &chat.about)?;
        self.used(key, &record, found);
        Ok(Answer::of(record))
    }

    /// A document by its path and query, kept like an answer.
    pub fn get(
        &self,
        path: &str,
        query: &[(String, String)],
        about: &str,
    ) -> Result<Value, LlmError> {
        let url = format!("{}{path}", self.judge.1.base_url.trim_end_matches('/'));
        let body = Value::Object(query.iter().map(|(k, v)| (k.clone(), json!(v))).collect());
        let identity = Request { url, body, repeat: 0, weights: None }.identity();
        let key = identity.key;
        let call = || Call::Get(path.to_owned(), query.to_vec());
        let (record, found) = self.llm.request(identity, call, &self.judge, about)?;
        self.used(key, &record, found);
        Ok(record.response)
    }

    /// A chat whose answer `check` understands. A bad answer is sent back with what is wrong with it as
    /// often as the judge's `repairs` say; what stays bad is counted.
    pub fn checked<T>(
        &self,
        chat: &Chat,
        check: &dyn Fn(&Answer) -> Result<T, String>,
    ) -> Result<Outcome<T>, LlmError> {
        let mut chat = chat.clone();
        let mut attempt = 0;
        loop {
            let answer = match self.chat(&chat) {
                Ok(answer) => answer,
                Err(LlmError::Failed(cause)) if self.judge.1.failures == Failures::FallBack => {
                    self.abandon(&chat, &cause)?;
                    return Ok(Outcome::Missing(cause));
                }
                Err(error) => return Err(error),
            };
            let problem = match answer.text().map_err(|p| p.to_owned()).and_then(|_| check(&answer))
            {
                Ok(value) => return Ok(Outcome::Good(value)),
                Err(problem) => problem,
            };
            if attempt >= self.judge.1.repairs {
                let kind = problem.split(':').next().unwrap_or_default().to_owned();
                self.count(|tally| *tally.bad.entry(kind).or_default() += 1);
                return Ok(Outcome::Bad(problem));
            }
            attempt += 1;
            self.count(|tally| tally.repairs += 1);
            if let Value::Array(messages) = &mut chat.messages {
                messages.push(json!({"role": "assistant", "content": answer.content}));
                messages.push(json!({
                    "role": "user",
                    "content": format!("That answer cannot be used: {problem}. Answer again, as asked."),
                }));
            }
        }
    }

    /// All chats, in order; as one batch first where the judge says so.
    pub fn all<T: Send>(
        &self,
        chats: &[Chat],
        progress: &(dyn Fn(u64, u64) + Sync),
        check: &(dyn Fn(&Answer) -> Result<T, String> + Sync),
    ) -> Result<Vec<Outcome<T>>, LlmError> {
        if self.judge.1.batch && matches!(self.llm.mode, Mode::Record) {
            match super::batch::ask(self, chats, progress) {
                Err(LlmError::Failed(_)) if self.judge.1.failures == Failures::FallBack => {}
                result => result?,
            }
        }
        self.each(chats.len(), progress, &|at| self.checked(&chats[at], check))
    }

    /// Goes on without an answer, and says so in the journal: a replay then does the same.
    fn abandon(&self, chat: &Chat, cause: &str) -> Result<(), LlmError> {
        let request = self.request(chat).identity();
        self.count(|tally| {
            tally.missing += 1;
            tally.keys.insert(request.key);
        });
        if self.llm.mode == Mode::Replay {
            return Ok(());
        }
        let record = Record {
            kind: Kind::Abandoned,
            key: hex(&request.key),
            about: chat.about.clone(),
            judge: self.judge.0.clone(),
            request: request.canonical,
            cause: Some(cause.to_owned()),
            ..Record::failure()
        };
        let (sender, kept) = std::sync::mpsc::channel();
        self.llm.answers.append(record, move |written| drop(sender.send(written)));
        match kept.recv() {
            Ok(written) => written.map_err(LlmError::Store),
            Err(_) => Err(LlmError::Store("the journal has ended".into())),
        }
    }

    /// Does `work` for `0..n`, as many at a time as the judge allows; results in order. The first error
    /// that no other request can mend ends it, and so does a missing answer in the end; requests that
    /// failed are told together.
    pub fn each<T: Send>(
        &self,
        n: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
        work: &(dyn Fn(usize) -> Result<T, LlmError> + Sync),
    ) -> Result<Vec<T>, LlmError> {
        let (next, done, stop) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
        let results: Mutex<Vec<Option<T>>> = Mutex::new((0..n).map(|_| None).collect());
        let errors: Mutex<Vec<LlmError>> = Mutex::default();
        // Replays wait for nobody: a few threads do.
        let threads = match self.llm.mode {
            Mode::Replay => 2,
            _ => self.judge.1.concurrency,
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
                                if !matches!(error, LlmError::Failed(_) | LlmError::Miss(_)) {
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
            return Err(self.together(errors, n));
        }
        let results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(results.into_iter().flatten().collect())
    }

    /// One error out of many.
    fn together(&self, errors: Vec<LlmError>, n: usize) -> LlmError {
        let (mut failed, mut missing) = (BTreeMap::<String, usize>::new(), Vec::new());
        let mut others = Vec::new();
        for error in errors {
            match error {
                LlmError::Failed(cause) => *failed.entry(cause).or_default() += 1,
                LlmError::Miss(miss) => missing.push(*miss),
                other => others.push(other),
            }
        }
        // What stopped the others says more than what merely failed.
        let rank = |error: &LlmError| match error {
            LlmError::Interrupted(_) => 0,
            LlmError::Store(_) => 1,
            LlmError::Hopeless(_) => 2,
            _ => 3,
        };
        if let Some(first) = others.into_iter().min_by_key(rank) {
            return first;
        }
        if !missing.is_empty() {
            missing.sort_by(|a, b| a.about.cmp(&b.about));
            return LlmError::Missing(super::explain::missing(&self.llm.answers, &missing));
        }
        let total: usize = failed.values().sum();
        let causes: Vec<String> = failed
            .iter()
            .take(4)
            .map(|(cause, count)| format!("  {count} × {}", cause.replace('\n', " ")))
            .collect();
        LlmError::Failed(format!(
            "{total} of {n} requests to the judge `{}` failed for good:\n{}\n  = help: what was answered is \
             kept; run again to ask for the rest, or let the judge's `failures: fall-back` go on without",
            self.judge.0,
            causes.join("\n")
        ))
    }
}

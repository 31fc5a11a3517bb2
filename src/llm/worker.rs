//! The client's thread: sends requests, applies limits, retries and the budget, and writes every response to disk before
//! its caller receives it.

use std::{
    cell::RefCell,
    collections::{BTreeSet, HashMap},
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{
    LlmError,
    endpoint::{EndpointSpec, Mode, ResponsesSpec},
    journal::{Kind, Record, Usage},
    key::{Identity, Key, hex},
    limits::Limits,
    responses::Responses,
    spent::{Ledger, cost, describe, expected_tokens, usage_of},
    transport::{Call, Endpoint, Transport, Verdict},
};
use crate::base::interrupt::{Interrupt, Interrupted};

/// The channel to the caller.
pub(super) type Reply = oneshot::Sender<Result<Record, JobError>>;

/// One request for the client's thread.
pub(super) struct Job {
    pub request: Identity,
    pub call: Call,
    pub endpoint: Arc<(String, EndpointSpec)>,
    pub transport: Transport,
    pub about: String,
    pub reply: Reply,
}

/// Why a job has no response. It is cloneable, because several callers may wait for the same request.
#[derive(Clone, Debug)]
pub(super) enum JobError {
    Interrupted,
    Failed(String),
    Fatal(String),
    Budget(String),
    Store(String),
}

impl From<JobError> for LlmError {
    fn from(error: JobError) -> Self {
        match error {
            JobError::Interrupted => Self::Interrupted(Interrupted),
            JobError::Failed(cause) => Self::Failed(cause),
            JobError::Fatal(cause) => Self::Fatal(cause),
            JobError::Budget(cause) => Self::Budget(cause),
            JobError::Store(cause) => Self::Store(cause),
        }
    }
}

/// The state of the client's thread.
pub(super) struct Worker {
    pub responses: Arc<Responses>,
    pub mode: Mode,
    pub spec: ResponsesSpec,
    pub spent: Arc<Mutex<Ledger>>,
    pub interrupt: Interrupt,
    pub limits: RefCell<HashMap<String, Rc<Limits>>>,
    /// Further callers that wait for a request in flight.
    pub waiting: RefCell<HashMap<Key, Vec<Reply>>>,
    /// Endpoints to which no request can succeed, and why: waiting requests are not sent.
    pub fatal: RefCell<HashMap<String, String>>,
    /// Keys that this run has already refreshed.
    pub renewed: RefCell<BTreeSet<Key>>,
}

impl Worker {
    pub fn run(self, mut jobs: mpsc::UnboundedReceiver<Job>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        let worker = Rc::new(self);
        tokio::task::LocalSet::new().block_on(&runtime, async move {
            let mut tasks = tokio::task::JoinSet::new();
            while let Some(job) = jobs.recv().await {
                let worker = worker.clone();
                tasks.spawn_local(async move { worker.take(job).await });
                while tasks.try_join_next().is_some() {}
            }
            // Requests in flight are paid for, so their responses are awaited.
            while tasks.join_next().await.is_some() {}
        });
    }

    async fn take(&self, job: Job) {
        let key = job.request.key;
        if self.mode != Mode::Off {
            if let Some(waiting) = self.waiting.borrow_mut().get_mut(&key) {
                waiting.push(job.reply);
                return;
            }
            // The response may have been recorded since the caller looked for it.
            let fresh = self.mode != Mode::Refresh || self.renewed.borrow().contains(&key);
            if fresh
                && let Ok(Some(record)) = self.responses.find(&job.request)
                && record.kind != Kind::Abandoned
            {
                let _ = job.reply.send(Ok(record));
                return;
            }
            self.waiting.borrow_mut().insert(key, Vec::new());
        }
        let (request, call, endpoint, transport, about) =
            (job.request, job.call, job.endpoint, job.transport, job.about);
        let result = self.send(&request, &call, &endpoint, &transport, &about).await;
        if self.mode == Mode::Refresh && result.is_ok() {
            self.renewed.borrow_mut().insert(key);
        }
        let waiting = self.waiting.borrow_mut().remove(&key).unwrap_or_default();
        for other in waiting {
            let _ = other.send(result.clone());
        }
        let _ = job.reply.send(result);
    }

    async fn send(
        &self,
        request: &Identity,
        call: &Call,
        endpoint: &(String, EndpointSpec),
        transport: &Transport,
        about: &str,
    ) -> Result<Record, JobError> {
        let (name, spec) = endpoint;
        let limits = self.limits_of(spec, &transport.endpoint);
        let id = format!("{} {:?} {}", spec.base_url, spec.key_env, spec.model);
        let chat = matches!(call, Call::Chat(_));
        let expected = expected_tokens(call, spec);
        let timeout = Duration::from_secs_f64(spec.timeout);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let slot = tokio::select! {
                slot = limits.slot(expected.0 + expected.1) => slot,
                () = self.interrupted() => return Err(JobError::Interrupted),
            };
            if self.interrupt.is_raised() {
                return Err(JobError::Interrupted);
            }
            if let Some(why) = self.fatal.borrow().get(&id) {
                return Err(JobError::Fatal(why.clone()));
            }
            self.check_journal()?;
            self.reserve(expected, spec).await?;
            let (since, started) = (slot.since, std::time::Instant::now());
            let sent = transport.send(call, timeout).await;
            let latency = started.elapsed();
            let (verdict, retry_after, status, body) = match &sent {
                Ok(reply) => (
                    reply.verdict(chat),
                    reply.retry_after,
                    reply.status,
                    String::from_utf8_lossy(&reply.body).into_owned(),
                ),
                Err(cause) => {
                    let retry = Verdict::Retry { cause: cause.clone(), limited: false };
                    (retry, None, 0, String::new())
                }
            };
            let mut record = Record {
                key: hex(&request.key),
                about: about.to_owned(),
                endpoint: name.clone(),
                request: request.canonical.clone(),
                status,
                latency_ms: latency.as_millis() as u64,
                attempt,
                ..Record::failure()
            };
            match verdict {
                Verdict::Response(mut response) => {
                    // The key must not get into the journal, even if an endpoint sends it back.
                    transport.endpoint.redact_value(&mut response);
                    record.response = response;
                    describe(&mut record, spec);
                    // Also a failure that an earlier version recorded as a response.
                    let generation = self.recorded_generation(&request.key);
                    record.kind = match self.mode {
                        Mode::Off => Kind::Unshared,
                        Mode::Refresh => Kind::Renewed,
                        _ if generation.is_some() => Kind::Renewed,
                        _ => Kind::Response,
                    };
                    if record.kind == Kind::Renewed {
                        record.generation = generation.map_or(0, |of| of.saturating_add(1));
                    }
                    limits.settle(since, record.usage.input + record.usage.output);
                    limits.good();
                    limits.note_reply(true);
                    // Booked before the slot is free, so that no other request sees a budget without it.
                    self.settle(expected, spec, Some((&record, latency)));
                    // Other requests may start while this response is written to disk.
                    drop(slot);
                    self.keep(record.clone()).await?;
                    return Ok(record);
                }
                Verdict::Retry { cause, limited } => {
                    self.settle_failure(expected, spec, &body, latency);
                    if limited {
                        limits.limited(since, retry_after);
                    }
                    drop(slot);
                    let cause = transport.endpoint.redact(&cause);
                    self.fail(record, &cause, &body, transport).await?;
                    if limits.note_reply(status != 0) {
                        let why = format!(
                            "the endpoint `{name}` cannot be reached: {cause}\n  = help: check its `base_url` \
                             ({}) and whether the server is running",
                            spec.base_url
                        );
                        self.fatal.borrow_mut().insert(id, why.clone());
                        return Err(JobError::Fatal(why));
                    }
                    if attempt > spec.retries {
                        return Err(JobError::Failed(format!("{cause} ({attempt} attempts)")));
                    }
                    let wait = retry_after.unwrap_or_else(|| backoff(attempt, &request.key));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.interrupted() => return Err(JobError::Interrupted),
                    }
                }
                Verdict::Failed(cause) => {
                    self.settle_failure(expected, spec, &body, latency);
                    drop(slot);
                    let cause = transport.endpoint.redact(&cause);
                    self.fail(record, &cause, &body, transport).await?;
                    return Err(JobError::Failed(cause));
                }
                Verdict::Fatal(cause) => {
                    self.settle_failure(expected, spec, &body, latency);
                    drop(slot);
                    let cause = transport.endpoint.redact(&cause);
                    self.fail(record, &cause, &body, transport).await?;
                    let help = match status {
                        402 => "the account has no credit left".into(),
                        401 | 403 => format!(
                            "check the key in {}",
                            spec.key_env.as_deref().unwrap_or("the environment (`key_env`)")
                        ),
                        429 => "the account has no credit left".into(),
                        _ => "check the endpoint's `base_url` and `model`".into(),
                    };
                    let why = format!(
                        "the endpoint `{name}` at {} replied: {cause}\n  = help: {help}",
                        spec.base_url
                    );
                    self.fatal.borrow_mut().insert(id, why.clone());
                    return Err(JobError::Fatal(why));
                }
            }
        }
    }

    /// The generation of the recorded response to a request, usable or not.
    fn recorded_generation(&self, key: &Key) -> Option<u32> {
        if self.mode == Mode::Refresh {
            // Another process may have refreshed it.
            let _ = self.responses.catch_up_with_others();
        }
        let record = self.responses.get(key).ok()??;
        record.kind.is_response().then_some(record.generation)
    }

    /// Waits for an interrupt.
    async fn interrupted(&self) {
        while !self.interrupt.is_raised() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn limits_of(&self, spec: &EndpointSpec, endpoint: &Endpoint) -> Rc<Limits> {
        use async_openai::config::Config;
        let id = format!("{} {}", endpoint.api_base(), spec.model);
        self.limits.borrow_mut().entry(id).or_insert_with(|| Rc::new(Limits::new(spec))).clone()
    }

    /// No request is sent whose response cannot be recorded.
    fn check_journal(&self) -> Result<(), JobError> {
        let refused = |problem| JobError::Store(format!("no more requests are sent: {problem}"));
        self.responses.check_writable().map_err(refused)
    }

    /// Waits until the record is on disk.
    async fn keep(&self, record: Record) -> Result<(), JobError> {
        let (sender, kept) = oneshot::channel();
        self.responses.append(record, move |written| drop(sender.send(written)));
        match kept.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problem)) => Err(JobError::Store(problem)),
            Err(_) => Err(JobError::Store("the journal's thread has stopped".into())),
        }
    }

    async fn fail(
        &self,
        mut record: Record,
        cause: &str,
        body: &str,
        transport: &Transport,
    ) -> Result<(), JobError> {
        self.ledger(|ledger| ledger.spent.failed += 1);
        record.cause = Some(cause.to_owned());
        if !body.is_empty() {
            let head: String = transport.endpoint.redact(body).chars().take(2000).collect();
            record.response = json!(head);
        }
        self.keep(record).await
    }

    fn ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Reserves the maximum cost of a request. Waits if only requests in flight keep the budget from allowing it.
    async fn reserve(&self, expected: (u64, u64), spec: &EndpointSpec) -> Result<(), JobError> {
        loop {
            match self.try_reserve(expected, spec)? {
                true => return Ok(()),
                false => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            if self.interrupt.is_raised() {
                return Err(JobError::Interrupted);
            }
        }
    }

    fn try_reserve(
        &self,
        (input, output): (u64, u64),
        spec: &EndpointSpec,
    ) -> Result<bool, JobError> {
        let money = cost(spec, &Usage { input, output, cached: 0 }).unwrap_or(0.0);
        self.ledger(|ledger| {
            if let Some(problem) = ledger.spent.over(&self.spec.budget, input + output, money) {
                return Err(JobError::Budget(problem));
            }
            let mut then = ledger.spent;
            then.input_tokens = then.input_tokens.saturating_add(ledger.reserved_tokens);
            then.money += ledger.reserved_money;
            if then.over(&self.spec.budget, input + output, money).is_some() {
                return Ok(false);
            }
            ledger.reserved_money += money;
            ledger.reserved_tokens += input + output;
            Ok(true)
        })
    }

    /// Replaces the reserved cost of a request by its actual cost.
    fn settle(&self, expected: (u64, u64), spec: &EndpointSpec, took: Option<(&Record, Duration)>) {
        let (input, output) = expected;
        let money = cost(spec, &Usage { input, output, cached: 0 }).unwrap_or(0.0);
        self.ledger(|ledger| {
            ledger.reserved_money = (ledger.reserved_money - money).max(0.0);
            ledger.reserved_tokens = ledger.reserved_tokens.saturating_sub(input + output);
            let Some((record, latency)) = took else { return };
            let spent = &mut ledger.spent;
            spent.requested += u64::from(record.kind != Kind::Failure);
            spent.seconds += latency.as_secs_f64();
            // If an endpoint does not report usage, the maximum is assumed.
            let (input, output, priced) = match record.usage {
                Usage { input: 0, output: 0, .. } => {
                    (input, output, cost(spec, &Usage { input, output, cached: 0 }))
                }
                usage => (usage.input, usage.output, record.money),
            };
            spent.input_tokens = spent.input_tokens.saturating_add(input);
            spent.output_tokens = spent.output_tokens.saturating_add(output);
            match priced {
                Some(money) => spent.money += money,
                None => spent.unpriced = true,
            }
        });
    }

    /// Likewise for a failure, which may report usage, too.
    fn settle_failure(
        &self,
        expected: (u64, u64),
        spec: &EndpointSpec,
        body: &str,
        latency: Duration,
    ) {
        let response: Value = serde_json::from_str(body).unwrap_or_default();
        let usage = usage_of(&response);
        if usage == Usage::default() {
            return self.settle(expected, spec, None);
        }
        let mut record = Record::failure();
        (record.usage, record.money) = (usage, cost(spec, &usage));
        self.settle(expected, spec, Some((&record, latency)));
    }
}

/// Exponential backoff: 1, 2, 4 … 60 s, each shortened by up to half depending on the request's key, so that requests
/// that failed together are not sent again together.
fn backoff(attempt: u32, key: &Key) -> Duration {
    let longest = f64::from(1u32 << (attempt - 1).min(6)).min(60.0);
    let jitter = f64::from(key[attempt as usize % 32]) / 512.0;
    Duration::from_secs_f64(base_delay() * longest * (1.0 - jitter))
}

/// Seconds of the first wait, by default 1; set by `ASSAY_RETRY_SECONDS`.
fn base_delay() -> f64 {
    let setting = std::env::var("ASSAY_RETRY_SECONDS").ok();
    let seconds: Option<f64> = setting.and_then(|setting| setting.parse().ok());
    seconds.filter(|seconds| (0.0..3600.0).contains(seconds)).unwrap_or(1.0)
}

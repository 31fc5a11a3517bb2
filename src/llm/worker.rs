//! The client's one thread: requests on their way, their limits, retries, budget, and the way of every
//! answer onto the disk before anybody gets it.

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
    answers::Answers,
    journal::{Kind, Record, Usage},
    judge::{AnswersSpec, JudgeSpec, Mode},
    key::{Identity, Key, hex},
    limits::Limits,
    spent::{Ledger, cost, describe, expected_tokens, usage_of},
    transport::{Call, Endpoint, Transport, Verdict},
};
use crate::base::interrupt::{Interrupt, Interrupted};

/// How an answer gets to its caller.
pub(super) type Reply = oneshot::Sender<Result<Record, Refused>>;

/// One request for the client's thread.
pub(super) struct Job {
    pub request: Identity,
    pub call: Call,
    pub judge: Arc<(String, JudgeSpec)>,
    pub transport: Transport,
    pub about: String,
    pub reply: Reply,
}

/// Why a job gave no answer; can be told to several who asked the same.
#[derive(Clone, Debug)]
pub(super) enum Refused {
    Interrupted,
    Failed(String),
    Hopeless(String),
    Budget(String),
    Store(String),
}

impl From<Refused> for LlmError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Interrupted => Self::Interrupted(Interrupted),
            Refused::Failed(cause) => Self::Failed(cause),
            Refused::Hopeless(cause) => Self::Hopeless(cause),
            Refused::Budget(cause) => Self::Budget(cause),
            Refused::Store(cause) => Self::Store(cause),
        }
    }
}

/// Everything on the client's thread.
pub(super) struct Worker {
    pub answers: Arc<Answers>,
    pub mode: Mode,
    pub spec: AnswersSpec,
    pub spent: Arc<Mutex<Ledger>>,
    pub interrupt: Interrupt,
    pub limits: RefCell<HashMap<String, Rc<Limits>>>,
    /// Who else waits for a request that is on its way.
    pub waiting: RefCell<HashMap<Key, Vec<Reply>>>,
    /// Endpoints to which no request will do, and why: what waits for its turn is not sent.
    pub hopeless: RefCell<HashMap<String, String>>,
    /// What this run has asked anew already.
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
            // What is on its way is waited for: it is paid.
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
            // It may have been answered since the caller looked.
            let fresh = self.mode != Mode::Refresh || self.renewed.borrow().contains(&key);
            if fresh
                && let Ok(Some(record)) = self.answers.find(&job.request)
                && record.kind != Kind::Abandoned
            {
                let _ = job.reply.send(Ok(record));
                return;
            }
            self.waiting.borrow_mut().insert(key, Vec::new());
        }
        let (request, call, judge, transport, about) =
            (job.request, job.call, job.judge, job.transport, job.about);
        let result = self.ask(&request, &call, &judge, &transport, &about).await;
        if self.mode == Mode::Refresh && result.is_ok() {
            self.renewed.borrow_mut().insert(key);
        }
        let waiting = self.waiting.borrow_mut().remove(&key).unwrap_or_default();
        for other in waiting {
            let _ = other.send(result.clone());
        }
        let _ = job.reply.send(result);
    }

    async fn ask(
        &self,
        request: &Identity,
        call: &Call,
        judge: &(String, JudgeSpec),
        transport: &Transport,
        about: &str,
    ) -> Result<Record, Refused> {
        let (name, spec) = judge;
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
                () = self.interrupted() => return Err(Refused::Interrupted),
            };
            if self.interrupt.is_raised() {
                return Err(Refused::Interrupted);
            }
            if let Some(why) = self.hopeless.borrow().get(&id) {
                return Err(Refused::Hopeless(why.clone()));
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
                    let again = Verdict::Again { cause: cause.clone(), limited: false };
                    (again, None, 0, String::new())
                }
            };
            let mut record = Record {
                key: hex(&request.key),
                about: about.to_owned(),
                judge: name.clone(),
                request: request.canonical.clone(),
                status,
                latency_ms: latency.as_millis() as u64,
                attempt,
                ..Record::failure()
            };
            match verdict {
                Verdict::Response(mut response) => {
                    // The key must not get into the journal, even where an endpoint sends it back.
                    transport.endpoint.redact_value(&mut response);
                    record.response = response;
                    describe(&mut record, spec);
                    // Also a failure that an earlier version kept for an answer.
                    let kept = self.kept(&request.key);
                    record.kind = match self.mode {
                        Mode::Off => Kind::Unshared,
                        Mode::Refresh => Kind::Renewed,
                        _ if kept.is_some() => Kind::Renewed,
                        _ => Kind::Answer,
                    };
                    if record.kind == Kind::Renewed {
                        record.generation = kept.map_or(0, |kept| kept.saturating_add(1));
                    }
                    limits.settle(since, record.usage.input + record.usage.output);
                    limits.good();
                    limits.nobody_there(true);
                    // Booked before the slot is free: no other request sees neither the one nor the other.
                    self.settle(expected, spec, Some((&record, latency)));
                    // Others may go on while this one gets onto the disk.
                    drop(slot);
                    self.keep(record.clone()).await?;
                    return Ok(record);
                }
                Verdict::Again { cause, limited } => {
                    self.settle_failure(expected, spec, &body, latency);
                    if limited {
                        limits.limited(since, retry_after);
                    }
                    drop(slot);
                    let cause = transport.endpoint.redact(&cause);
                    self.fail(record, &cause, &body, transport).await?;
                    if limits.nobody_there(status != 0) {
                        let why = format!(
                            "the judge `{name}` cannot be reached: {cause}\n  = help: check its `base_url` \
                             ({}), and that the server runs",
                            spec.base_url
                        );
                        self.hopeless.borrow_mut().insert(id, why.clone());
                        return Err(Refused::Hopeless(why));
                    }
                    if attempt > spec.retries {
                        return Err(Refused::Failed(format!("{cause} ({attempt} tries)")));
                    }
                    let wait = retry_after.unwrap_or_else(|| backoff(attempt, &request.key));
                    tokio::select! {
                        () = tokio::time::sleep(wait) => {}
                        () = self.interrupted() => return Err(Refused::Interrupted),
                    }
                }
                Verdict::Failed(cause) => {
                    self.settle_failure(expected, spec, &body, latency);
                    drop(slot);
                    let cause = transport.endpoint.redact(&cause);
                    self.fail(record, &cause, &body, transport).await?;
                    return Err(Refused::Failed(cause));
                }
                Verdict::Hopeless(cause) => {
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
                        _ => "check the judge's `base_url` and `model`".into(),
                    };
                    let why = format!(
                        "the judge `{name}` at {} answers {cause}\n  = help: {help}",
                        spec.base_url
                    );
                    self.hopeless.borrow_mut().insert(id, why.clone());
                    return Err(Refused::Hopeless(why));
                }
            }
        }
    }

    /// The generation of the reply to a request that the journal holds, usable or not.
    fn kept(&self, key: &Key) -> Option<u32> {
        if self.mode == Mode::Refresh {
            // Another process may have renewed it meanwhile.
            let _ = self.answers.look_again();
        }
        let record = self.answers.get(key).ok()??;
        record.kind.is_response().then_some(record.generation)
    }

    /// Waits for Ctrl-C.
    async fn interrupted(&self) {
        while !self.interrupt.is_raised() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn limits_of(&self, spec: &JudgeSpec, endpoint: &Endpoint) -> Rc<Limits> {
        use async_openai::config::Config;
        let id = format!("{} {}", endpoint.api_base(), spec.model);
        self.limits.borrow_mut().entry(id).or_insert_with(|| Rc::new(Limits::new(spec))).clone()
    }

    /// Nothing is asked that cannot be kept.
    fn check_journal(&self) -> Result<(), Refused> {
        let refused = |problem| Refused::Store(format!("nothing more is asked: {problem}"));
        self.answers.ready().map_err(refused)
    }

    /// Waits until the record is on disk.
    async fn keep(&self, record: Record) -> Result<(), Refused> {
        let (sender, kept) = oneshot::channel();
        self.answers.append(record, move |written| drop(sender.send(written)));
        match kept.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(problem)) => Err(Refused::Store(problem)),
            Err(_) => Err(Refused::Store("the journal has ended".into())),
        }
    }

    async fn fail(
        &self,
        mut record: Record,
        cause: &str,
        body: &str,
        transport: &Transport,
    ) -> Result<(), Refused> {
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

    /// Sets aside what a request may cost at most, once the budget has it; waits while only requests on
    /// their way stand in the way.
    async fn reserve(&self, expected: (u64, u64), spec: &JudgeSpec) -> Result<(), Refused> {
        loop {
            match self.try_reserve(expected, spec)? {
                true => return Ok(()),
                false => tokio::time::sleep(Duration::from_millis(20)).await,
            }
            if self.interrupt.is_raised() {
                return Err(Refused::Interrupted);
            }
        }
    }

    fn try_reserve(&self, (input, output): (u64, u64), spec: &JudgeSpec) -> Result<bool, Refused> {
        let money = cost(spec, &Usage { input, output, cached: 0 }).unwrap_or(0.0);
        self.ledger(|ledger| {
            if let Some(problem) = ledger.spent.over(&self.spec.budget, input + output, money) {
                return Err(Refused::Budget(problem));
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

    /// Puts what a request took in the place of what was set aside for it.
    fn settle(&self, expected: (u64, u64), spec: &JudgeSpec, took: Option<(&Record, Duration)>) {
        let (input, output) = expected;
        let money = cost(spec, &Usage { input, output, cached: 0 }).unwrap_or(0.0);
        self.ledger(|ledger| {
            ledger.reserved_money = (ledger.reserved_money - money).max(0.0);
            ledger.reserved_tokens = ledger.reserved_tokens.saturating_sub(input + output);
            let Some((record, latency)) = took else { return };
            let spent = &mut ledger.spent;
            spent.asked += u64::from(record.kind != Kind::Failure);
            spent.seconds += latency.as_secs_f64();
            // An endpoint that does not say what it took is taken to have taken the most.
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

    /// The same of a failure, which may say that it took something all the same.
    fn settle_failure(
        &self,
        expected: (u64, u64),
        spec: &JudgeSpec,
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

/// A second, two, four … up to a minute, each shortened by up to half: by the request's key, so that
/// requests that failed together do not come again together.
fn backoff(attempt: u32, key: &Key) -> Duration {
    let longest = f64::from(1u32 << (attempt - 1).min(6)).min(60.0);
    let jitter = f64::from(key[attempt as usize % 32]) / 512.0;
    Duration::from_secs_f64(base_delay() * longest * (1.0 - jitter))
}

/// Seconds of the first wait; `ASSAY_RETRY_SECONDS` says otherwise.
fn base_delay() -> f64 {
    let told = std::env::var("ASSAY_RETRY_SECONDS").ok();
    let seconds: Option<f64> = told.and_then(|told| told.parse().ok());
    seconds.filter(|seconds| (0.0..3600.0).contains(seconds)).unwrap_or(1.0)
}

//! Asks judges: answers that are there are used, others are asked for over HTTP, journaled, and then used.
//!
//! One thread runs all requests; callers block. An answer reaches its caller only after it is on disk.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    LlmError,
    answers::Answers,
    asker::Asker,
    claim::Claims,
    journal::{Kind, Record},
    judge::{AnswersSpec, Budget, JudgeSpec, Mode},
    key::{Identity, hex},
    keys::{Allowed, KeyUse},
    spent::{Ledger, Spent},
    transport::{Call, Endpoint, Transport},
    worker::{Job, Worker},
};
use crate::base::interrupt::Interrupt;

/// All judges of a run, and the answers of its workspace.
pub struct Llm {
    pub(super) answers: Arc<Answers>,
    pub(super) mode: Mode,
    spec: AnswersSpec,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    spent: Arc<Mutex<Ledger>>,
    interrupt: Interrupt,
    claims: Claims,
    transports: Mutex<HashMap<String, Transport>>,
}

impl Llm {
    /// Opens the answers in `dir` and gets ready; nothing is asked yet.
    pub fn open(dir: &Path, spec: AnswersSpec, interrupt: &Interrupt) -> Result<Self, LlmError> {
        let answers = Arc::new(Answers::open(dir)?);
        let mode = match spec.mode {
            Mode::Once if answers.counts().answers > 0 => Mode::Replay,
            Mode::Once => Mode::Record,
            mode => mode,
        };
        let spent = Arc::new(Mutex::new(Ledger::default()));
        let (jobs, receiver) = mpsc::unbounded_channel();
        let (of, ledger, flag) = (answers.clone(), spent.clone(), interrupt.clone());
        let thread = thread::spawn(move || {
            let worker = Worker {
                answers: of,
                mode,
                spec,
                spent: ledger,
                interrupt: flag,
                limits: Default::default(),
                waiting: Default::default(),
                hopeless: Default::default(),
                renewed: Default::default(),
            };
            worker.run(receiver);
        });
        Ok(Self {
            answers,
            mode,
            spec,
            jobs: Some(jobs),
            thread: Some(thread),
            spent,
            interrupt: interrupt.clone(),
            claims: Claims::open(dir),
            transports: Mutex::default(),
        })
    }

    /// The answers of the workspace.
    pub fn answers(&self) -> &Answers {
        &self.answers
    }

    /// What was asked and spent so far.
    pub fn spent(&self) -> Spent {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).spent
    }

    /// Whether somebody wants the run to stop.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// What this run may spend.
    pub(super) fn budget(&self) -> Budget {
        self.spec.budget
    }

    /// Takes note of answers that came another way.
    pub(super) fn spend(&self, work: impl FnOnce(&mut Spent)) {
        work(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner).spent);
    }

    /// One who asks one judge on behalf of one step.
    pub fn asker(&self, name: &str, judge: &JudgeSpec) -> Asker<'_> {
        // Another process may have journaled what this one is about to ask for.
        // Where its files cannot be read, the next lookup says so.
        let _ = self.answers.look_again();
        Asker::new(self, name, judge)
    }

    /// The way to a judge's endpoint. The key is read when it is first needed: replays need none.
    pub(super) fn transport(&self, judge: &JudgeSpec) -> Result<Transport, LlmError> {
        let mut transports = self.transports.lock().unwrap_or_else(PoisonError::into_inner);
        let id = format!("{} {:?}", judge.base_url, judge.key_env);
        if let Some(transport) = transports.get(&id) {
            return Ok(transport.clone());
        }
        let key = match KeyUse::of(judge) {
            None => None,
            Some(key) => {
                key.check(&Allowed::read()).map_err(LlmError::Hopeless)?;
                let found = key.read().map_err(LlmError::Hopeless)?;
                let found = found.ok_or_else(|| {
                    let name = &key.name;
                    LlmError::Hopeless(format!(
                        "the environment variable {name} is not set, and the key for {} is taken from \
                         it\n  = help: export {name}=…, or replay recorded responses with `--responses replay`",
                        judge.base_url
                    ))
                })?;
                Some(found)
            }
        };
        let transport =
            Transport::new(Endpoint::new(&judge.base_url, key)).map_err(LlmError::Hopeless)?;
        transports.insert(id, transport.clone());
        Ok(transport)
    }

    /// The answer to a request: from the journal, or asked for. Tells which.
    pub(super) fn request(
        &self,
        request: Identity,
        call: impl FnOnce() -> Call,
        judge: &Arc<(String, JudgeSpec)>,
        about: &str,
    ) -> Result<(Record, bool), LlmError> {
        let looks = !matches!(self.mode, Mode::Refresh | Mode::Off);
        let mut found = if looks { self.answers.find(&request)? } else { None };
        // Held until the answer is journaled: another process that wants the same waits, and finds it.
        let mut _claim = None;
        if looks && found.is_none() && self.mode != Mode::Replay {
            _claim = Some(self.claims.take(&request.key, &self.interrupt)?);
            let _ = self.answers.look_again();
            found = self.answers.find(&request)?;
        }
        if let Some(record) = found
            && (record.kind != Kind::Abandoned || self.mode == Mode::Replay)
        {
            if record.kind == Kind::Abandoned {
                return Err(LlmError::Failed(record.cause.unwrap_or_default()));
            }
            self.spent.lock().unwrap_or_else(PoisonError::into_inner).spent.found += 1;
            return Ok((record, true));
        }
        if self.mode == Mode::Replay {
            return Err(LlmError::Miss(Box::new(super::Miss {
                key: hex(&request.key),
                about: about.to_owned(),
                request: request.canonical,
            })));
        }
        self.interrupt.check()?;
        let transport = self.transport(&judge.1)?;
        let (reply, answered) = oneshot::channel();
        let job = Job {
            request,
            call: call(),
            judge: judge.clone(),
            transport,
            about: about.to_owned(),
            reply,
        };
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        match answered.blocking_recv() {
            Ok(result) if sent => Ok((result?, false)),
            _ => Err(LlmError::Store("the client's thread has ended".into())),
        }
    }
}

impl Drop for Llm {
    /// Waits for what is on its way, so that it gets into the journal.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

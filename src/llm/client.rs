//! The client: cached responses are used; others are requested over HTTP, written to the journal, and then used.
//!
//! One thread sends all requests; callers block. A caller receives a response only after it is on disk.

use std::{
    collections::HashMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::{mpsc, oneshot};

use super::{
    LlmError,
    claim::Claims,
    endpoint::{Budget, EndpointSpec, Mode, ResponsesSpec},
    journal::{Kind, Record},
    key::{Identity, hex},
    keys::{Allowed, KeyUse},
    responses::Responses,
    session::LlmSession,
    spent::{Ledger, Spent},
    transport::{Call, Endpoint, Transport},
    worker::{Job, Worker},
};
use crate::base::interrupt::Interrupt;

/// The endpoints of a run, and the responses of its workspace.
pub struct Llm {
    pub(super) responses: Arc<Responses>,
    pub(super) mode: Mode,
    spec: ResponsesSpec,
    jobs: Option<mpsc::UnboundedSender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
    spent: Arc<Mutex<Ledger>>,
    interrupt: Interrupt,
    claims: Claims,
    transports: Mutex<HashMap<String, Transport>>,
}

impl Llm {
    /// Opens the responses in `dir` and starts the client's thread; no request is sent yet.
    pub fn open(dir: &Path, spec: ResponsesSpec, interrupt: &Interrupt) -> Result<Self, LlmError> {
        let responses = Arc::new(Responses::open(dir)?);
        let mode = match spec.mode {
            Mode::Once if responses.counts().responses > 0 => Mode::Replay,
            Mode::Once => Mode::Record,
            mode => mode,
        };
        let spent = Arc::new(Mutex::new(Ledger::default()));
        let (jobs, receiver) = mpsc::unbounded_channel();
        let (store, ledger, flag) = (responses.clone(), spent.clone(), interrupt.clone());
        let thread = thread::spawn(move || {
            let worker = Worker {
                responses: store,
                mode,
                spec,
                spent: ledger,
                interrupt: flag,
                limits: Default::default(),
                waiting: Default::default(),
                fatal: Default::default(),
                renewed: Default::default(),
            };
            worker.run(receiver);
        });
        Ok(Self {
            responses,
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

    /// The responses of the workspace.
    pub fn responses(&self) -> &Responses {
        &self.responses
    }

    /// Requests and costs so far.
    pub fn spent(&self) -> Spent {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner).spent
    }

    /// Tells whether the run is interrupted.
    pub(super) fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// The budget of this run.
    pub(super) fn budget(&self) -> Budget {
        self.spec.budget
    }

    /// Books responses that did not pass through the thread: those of batches.
    pub(super) fn spend(&self, work: impl FnOnce(&mut Spent)) {
        work(&mut self.spent.lock().unwrap_or_else(PoisonError::into_inner).spent);
    }

    /// The requests of one step to one endpoint.
    pub fn session(&self, name: &str, endpoint: &EndpointSpec) -> LlmSession<'_> {
        // Another process may have recorded responses that this one needs.
        // If its files cannot be read, the next lookup reports it.
        let _ = self.responses.catch_up_with_others();
        LlmSession::new(self, name, endpoint)
    }

    /// The HTTP client of an endpoint. The key is read when it is first needed: replays need none.
    pub(super) fn transport(&self, endpoint: &EndpointSpec) -> Result<Transport, LlmError> {
        let mut transports = self.transports.lock().unwrap_or_else(PoisonError::into_inner);
        let id = format!("{} {:?}", endpoint.base_url, endpoint.key_env);
        if let Some(transport) = transports.get(&id) {
            return Ok(transport.clone());
        }
        let key = match KeyUse::of(endpoint) {
            None => None,
            Some(key) => {
                key.check(&Allowed::read()).map_err(LlmError::Fatal)?;
                let found = key.read().map_err(LlmError::Fatal)?;
                let found = found.ok_or_else(|| {
                    let name = &key.name;
                    LlmError::Fatal(format!(
                        "the environment variable {name} is not set; it must contain the key for \
                         {}\n  = help: export {name}=…, or replay recorded responses with `--responses replay`",
                        endpoint.base_url
                    ))
                })?;
                Some(found)
            }
        };
        let transport =
            Transport::new(Endpoint::new(&endpoint.base_url, key)).map_err(LlmError::Fatal)?;
        transports.insert(id, transport.clone());
        Ok(transport)
    }

    /// The response to a request, and whether it was cached.
    pub(super) fn request(
        &self,
        request: Identity,
        call: impl FnOnce() -> Call,
        endpoint: &Arc<(String, EndpointSpec)>,
        about: &str,
    ) -> Result<(Record, bool), LlmError> {
        let uses_cache = !matches!(self.mode, Mode::Refresh | Mode::Off);
        let mut cached = if uses_cache { self.responses.find(&request)? } else { None };
        // Held until the response is in the journal: another process with the same request waits, and then finds it.
        let mut _claim = None;
        if uses_cache && cached.is_none() && self.mode != Mode::Replay {
            _claim = Some(self.claims.take(&request.key, &self.interrupt)?);
            let _ = self.responses.catch_up_with_others();
            cached = self.responses.find(&request)?;
        }
        if let Some(record) = cached
            && (record.kind != Kind::Abandoned || self.mode == Mode::Replay)
        {
            if record.kind == Kind::Abandoned {
                return Err(LlmError::Failed(record.cause.unwrap_or_default()));
            }
            self.spent.lock().unwrap_or_else(PoisonError::into_inner).spent.cached += 1;
            return Ok((record, true));
        }
        if self.mode == Mode::Replay {
            return Err(LlmError::ReplayMiss(Box::new(super::ReplayMiss {
                key: hex(&request.key),
                about: about.to_owned(),
                request: request.canonical,
            })));
        }
        self.interrupt.check()?;
        let transport = self.transport(&endpoint.1)?;
        let (reply, result) = oneshot::channel();
        let job = Job {
            request,
            call: call(),
            endpoint: endpoint.clone(),
            transport,
            about: about.to_owned(),
            reply,
        };
        let sent = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        match result.blocking_recv() {
            Ok(result) if sent => Ok((result?, false)),
            _ => Err(LlmError::Store("the client's thread has stopped".into())),
        }
    }
}

impl Drop for Llm {
    /// Waits for requests in flight, so that their responses get into the journal.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

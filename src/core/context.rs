//! The context of a running step.

use std::{
    any::Any,
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{Graph, Handle, InputRecord, Record, StepId, Workspace, step::FinishedSteps};
use crate::{
    base::{files::FileError, hash::Digest, interrupt::Interrupt},
    llm::{DIRECTORY, Llm, LlmError, ResponsesSpec, Spent},
};

type Value = Arc<dyn Any + Send + Sync>;

/// Inputs that several steps share, e.g. data sets; each is read once.
#[derive(Default)]
pub struct Shared(Mutex<HashMap<Digest, Arc<OnceLock<Value>>>>);

impl Shared {
    /// The input that `of` identifies; `read` is called if it has not been read.
    pub fn get<T: Any + Send + Sync, E>(
        &self,
        of: Digest,
        read: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let cell = {
            let mut shared = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            shared.entry(of).or_default().clone()
        };
        if let Some(known) = cell.get().and_then(|known| known.clone().downcast::<T>().ok()) {
            return Ok(known);
        }
        let value = Arc::new(read()?);
        // Two concurrent reads give the same value.
        let _ = cell.set(value.clone());
        Ok(value)
    }
}

/// Shared state of the steps of a run.
pub struct RunState<'a> {
    pub graph: &'a Graph,
    pub workspace: &'a Workspace,
    pub interrupt: &'a Interrupt,
    responses: ResponsesSpec,
    /// Opened when a step first uses a language model.
    llm: OnceLock<Result<Llm, String>>,
    shared: Shared,
    /// Outputs of steps kept in memory for dependent steps, e.g. fitted models.
    kept: Mutex<HashMap<StepId, Value>>,
}

impl<'a> RunState<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        workspace: &'a Workspace,
        interrupt: &'a Interrupt,
        responses: ResponsesSpec,
        shared: Shared,
    ) -> Self {
        let (llm, kept) = (OnceLock::new(), Mutex::default());
        Self { graph, workspace, interrupt, responses, llm, shared, kept }
    }

    /// Requests and cost, if there are any, and problems found in the files of responses.
    pub(super) fn spent(&self) -> Option<(Spent, Vec<String>)> {
        let llm = self.llm.get()?.as_ref().ok()?;
        Some((llm.spent(), llm.responses().take_notes()))
    }

    /// Frees what a step kept in memory.
    pub(super) fn forget(&self, step: StepId) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).remove(&step);
    }
}

impl FinishedSteps for RunState<'_> {
    fn record(&self, step: StepId) -> Option<Record> {
        let node = &self.graph[step];
        self.workspace.record(node.kind, &node.key).ok()
    }
}

/// The context of a running step.
pub struct RunContext<'a> {
    pub state: &'a RunState<'a>,
    pub step: StepId,
    /// Its input steps and the digests of their content.
    pub inputs: &'a [InputRecord],
    /// Called with (done, of) units of work; may be called from any thread.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// One line for the logs of its trials.
    pub log: &'a (dyn Fn(&str) + Sync),
}

impl RunContext<'_> {
    /// The interrupt flag of the run.
    pub fn interrupt(&self) -> &Interrupt {
        self.state.interrupt
    }

    /// The directory of an input step.
    pub fn dir<T>(&self, step: Handle<T>) -> PathBuf {
        let node = &self.state.graph[step];
        self.state.workspace.step_dir(node.kind, &node.key)
    }

    /// The record of an input step.
    pub fn record<T>(&self, step: Handle<T>) -> Result<Record, FileError> {
        let node = &self.state.graph[step];
        self.state.workspace.record(node.kind, &node.key)
    }

    /// A directory for checkpoints that survives a kill of the step; it may not exist yet.
    pub fn scratch(&self) -> PathBuf {
        // A checkpoint is only valid for the inputs it was computed from: the key may be the same for other inputs.
        let inputs: Vec<Digest> = self.inputs.iter().map(|input| input.content).collect();
        let of_step = self.state.workspace.scratch(&self.state.graph[self.step].key);
        of_step.join(Digest::of_json(&inputs).short())
    }

    /// Language models and their responses, opened at the first call.
    pub fn llm(&self) -> Result<&Llm, LlmError> {
        let state = self.state;
        let opened = state.llm.get_or_init(|| {
            let dir = state.workspace.path(&[DIRECTORY]);
            let llm = Llm::open(&dir, state.responses, state.interrupt);
            llm.map_err(|error| error.to_string())
        });
        opened.as_ref().map_err(|error| LlmError::Store(error.clone()))
    }

    /// Inputs that are read once for all steps.
    pub fn shared(&self) -> &Shared {
        &self.state.shared
    }

    /// Keeps the output of this step in memory for dependent steps.
    pub fn keep(&self, value: Arc<dyn Any + Send + Sync>) {
        let mut kept = self.state.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(self.step, value);
    }

    /// The output that a step kept in memory.
    pub fn kept<T, V: Any + Send + Sync>(&self, step: Handle<T>) -> Option<Arc<V>> {
        let kept = self.state.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(&step.id())?.clone().downcast().ok()
    }
}

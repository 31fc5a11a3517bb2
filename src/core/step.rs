//! The trait of steps: settings, handles of input steps, and an output directory.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{CommandUse, Found, KeyBuilder, Record, RunContext, Shared, StepError, StepFiles};

/// A step of a graph, identified by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StepId(pub(super) usize);

impl StepId {
    /// The step at an index.
    pub fn new(at: usize) -> Self {
        Self(at)
    }

    /// The index of the step in its graph.
    pub fn at(self) -> usize {
        self.0
    }
}

/// A step with the output type `T`; only steps with such an input accept it.
pub struct Handle<T> {
    id: StepId,
    output: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    pub(super) fn new(id: StepId) -> Self {
        Self { id, output: PhantomData }
    }

    /// The step without its output type.
    pub fn id(self) -> StepId {
        self.id
    }
}

// Not derived: a handle can be copied whatever `T` is.
impl<T> Clone for Handle<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Handle<T> {}

impl<T> PartialEq for Handle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl<T> fmt::Debug for Handle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.id.fmt(f)
    }
}

/// Statistics of a step, for its record. Raise the version if a field changes its meaning.
pub trait StepStats: Serialize + DeserializeOwned {
    const VERSION: u32;

    /// Warnings for readers of the results, a sentence each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// Resources of a running step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Estimated bytes.
    pub memory: u64,
}

/// Upper bounds of a step's requests to an endpoint if nothing is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// Its name in the experiment.
    pub endpoint: String,
    pub calls: u64,
    /// An estimate for prompts of this kind.
    pub tokens_per_call: u64,
    /// Whether an endpoint with `batch: true` uses the Batch API, i.e. no request depends on the response to another.
    pub in_batches: bool,
}

/// A kind of step, one file each. The value contains the settings of one step.
pub trait Step: Send + Sync + 'static {
    /// Type of its output.
    type Output;
    type Stats: StepStats;

    /// Its name, also the name of its directory in the workspace.
    const KIND: &'static str;
    /// Raise it if the code changes its meaning: older results are then not reused.
    const REVISION: u32;

    /// `als u1 seed 1`
    fn label(&self) -> String;

    /// The first part of its key.
    fn revision(&self) -> Value {
        json!(Self::REVISION)
    }

    /// Everything that its output depends on.
    fn key_inputs(&self, key: &mut KeyBuilder);

    /// The files it must write.
    fn files(&self) -> Vec<&'static str>;

    /// Checks the files against the record, beyond their checksums.
    fn check(&self, _files: &StepFiles) -> Result<(), String> {
        Ok(())
    }

    /// The resources it needs. Its input steps are finished.
    fn resources(&self, _finished: &dyn FinishedSteps) -> Resources {
        Resources::default()
    }

    /// The requests it may send to an endpoint, for numbers of users and items; none if it sends no requests.
    fn requests(&self, _users: u64, _items: u64) -> Option<Requests> {
        None
    }

    /// The program of the experiment that it runs; none if it runs no program.
    fn command(&self) -> Option<CommandUse> {
        None
    }

    /// Whether it needs tensors, i.e. the program with libtorch.
    fn needs_tensors(&self) -> bool {
        false
    }

    /// Makes checks that are possible before any step runs: its input steps may not be finished. Inputs that other steps
    /// need, too, stay in `shared`.
    fn preflight(&self, _shared: &Shared) -> Result<Found, StepError> {
        Ok(Found::default())
    }

    /// Runs the step: writes its files to `dir`.
    fn run(&self, cx: &RunContext, dir: &Path) -> Result<Self::Stats, StepError>;
}

/// Access to records of finished steps before a step runs.
pub trait FinishedSteps {
    /// The record of a finished step.
    fn record(&self, step: StepId) -> Option<Record>;
}

/// The report of a step that ran.
pub(super) struct Finished {
    pub stats: Value,
    pub version: u32,
    pub warnings: Vec<String>,
}

/// A step of any kind.
pub(super) trait AnyStep: Send + Sync {
    fn files(&self) -> Vec<&'static str>;
    fn check(&self, files: &StepFiles) -> Result<(), String>;
    fn resources(&self, finished: &dyn FinishedSteps) -> Resources;
    fn requests(&self, users: u64, items: u64) -> Option<Requests>;
    fn command(&self) -> Option<CommandUse>;
    fn needs_tensors(&self) -> bool;
    fn preflight(&self, shared: &Shared) -> Result<Found, StepError>;
    fn run(&self, cx: &RunContext, dir: &Path) -> Result<Finished, StepError>;
    fn as_any(&self) -> &dyn Any;
}

impl<S: Step> AnyStep for S {
    fn files(&self) -> Vec<&'static str> {
        Step::files(self)
    }

    fn check(&self, files: &StepFiles) -> Result<(), String> {
        Step::check(self, files)
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        Step::resources(self, finished)
    }

    fn requests(&self, users: u64, items: u64) -> Option<Requests> {
        Step::requests(self, users, items)
    }

    fn command(&self) -> Option<CommandUse> {
        Step::command(self)
    }

    fn needs_tensors(&self) -> bool {
        Step::needs_tensors(self)
    }

    fn preflight(&self, shared: &Shared) -> Result<Found, StepError> {
        Step::preflight(self, shared)
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<Finished, StepError> {
        let stats = Step::run(self, cx, dir)?;
        let value = serde_json::to_value(&stats).map_err(StepError::failed)?;
        Ok(Finished { stats: value, version: S::Stats::VERSION, warnings: stats.warnings() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// One or several files as they were when the experiment was planned. They are checked before and after the step that
/// reads them: a change in between is an error, because the key of the result would be wrong.
#[derive(Clone)]
pub struct Pinned {
    pub what: String,
    pub digest: crate::base::hash::Digest,
    now: Arc<dyn Fn() -> Result<crate::base::hash::Digest, String> + Send + Sync>,
}

impl Pinned {
    /// The current value of `digest`, which is compared with later ones.
    pub fn new<E: fmt::Display>(
        what: impl Into<String>,
        digest: impl Fn() -> Result<crate::base::hash::Digest, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let now = digest()?;
        let again = move || digest().map_err(|error| error.to_string());
        Ok(Self { what: what.into(), digest: now, now: Arc::new(again) })
    }

    /// The same with a digest that is known from before. The files are not read now; a step that reads them checks it.
    pub fn known<E: fmt::Display>(
        what: impl Into<String>,
        known: crate::base::hash::Digest,
        digest: impl Fn() -> Result<crate::base::hash::Digest, E> + Send + Sync + 'static,
    ) -> Self {
        let now = move || digest().map_err(|error| error.to_string());
        Self { what: what.into(), digest: known, now: Arc::new(now) }
    }

    /// One file.
    pub fn file(path: PathBuf) -> std::io::Result<Self> {
        let what = path.display().to_string();
        Self::new(what, move || crate::base::hash::Digest::of_file(&path))
    }

    /// Whether it is unchanged.
    pub fn verify(&self) -> Result<(), StepError> {
        let problem = match (self.now)() {
            Ok(now) if now == self.digest => return Ok(()),
            Ok(_) => "it changed while the experiment ran".to_owned(),
            Err(error) => error,
        };
        Err(StepError::Changed { what: self.what.clone(), problem })
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.what, self.digest.short())
    }
}

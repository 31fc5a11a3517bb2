//! What a step is: settings of its own, handles of what it reads, a directory that it writes.

use std::{
    any::Any,
    fmt,
    marker::PhantomData,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{KeyBuilder, Record, RunContext, StepError};

/// A step of a graph. Its place is the index by which the graph knows it.
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

/// The step that leaves a `T`: it can only be given to steps that read such.
pub struct Handle<T> {
    id: StepId,
    output: PhantomData<fn() -> T>,
}

impl<T> Handle<T> {
    pub(super) fn new(id: StepId) -> Self {
        Self { id, output: PhantomData }
    }

    /// The step, whatever it leaves.
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

/// What a step counted and measured, for its record; the version is raised when a field changes its meaning.
pub trait StepStats: Serialize + DeserializeOwned {
    const VERSION: u32;

    /// What readers of the results must know, a sentence each.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

/// What a step takes while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Resources {
    /// Bytes, as far as they can be guessed before.
    pub memory: u64,
}

/// What a step may ask of an endpoint at most, before anything is recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Requests {
    /// Its name in the experiment.
    pub endpoint: String,
    pub calls: u64,
    /// A guess: what prompts of this kind take.
    pub tokens_per_call: u64,
    /// Whether an endpoint with `batch: true` is asked through the Batch API: where no request waits for
    /// the response to another.
    pub in_batches: bool,
}

/// One kind of step, in a file of its own. The value holds the settings of one step.
pub trait Step: Send + Sync + 'static {
    /// What it leaves in its directory.
    type Output;
    type Stats: StepStats;

    /// Its name, also of its directory in the workspace.
    const KIND: &'static str;
    /// Raised when the code comes to mean something else: steps of before are then not reused.
    const REVISION: u32;

    /// `als u1 seed 1`
    fn label(&self) -> String;

    /// The first part of its key.
    fn revision(&self) -> Value {
        json!(Self::REVISION)
    }

    /// Everything that its output depends on.
    fn key_inputs(&self, key: &mut KeyBuilder);

    /// The files it must leave.
    fn files(&self) -> Vec<&'static str>;

    /// Whether what lies in `dir` is what its record says, beyond the checksums of its files.
    fn check(&self, _dir: &Path, _record: &Record) -> Result<(), String> {
        Ok(())
    }

    /// What it takes; the steps it reads are done.
    fn resources(&self, _known: &dyn Known) -> Resources {
        Resources::default()
    }

    /// What it may ask of an endpoint, with so many users and items; none where it asks nothing.
    fn requests(&self, _users: u64, _items: u64) -> Option<Requests> {
        None
    }

    /// Whether doing it computes with tensors, which takes the program with libtorch.
    fn needs_tensors(&self) -> bool {
        false
    }

    /// Does it: writes its files into `dir`.
    fn run(&self, cx: &RunContext, dir: &Path) -> Result<Self::Stats, StepError>;
}

/// Records of finished steps, for those who decide before a step runs.
pub trait Known {
    /// The record of a step that is done.
    fn record(&self, step: StepId) -> Option<Record>;
}

/// What a step that ran says of itself.
pub(super) struct Finished {
    pub stats: Value,
    pub version: u32,
    pub warnings: Vec<String>,
}

/// A step of any kind.
pub(super) trait AnyStep: Send + Sync {
    fn files(&self) -> Vec<&'static str>;
    fn check(&self, dir: &Path, record: &Record) -> Result<(), String>;
    fn resources(&self, known: &dyn Known) -> Resources;
    fn requests(&self, users: u64, items: u64) -> Option<Requests>;
    fn needs_tensors(&self) -> bool;
    fn run(&self, cx: &RunContext, dir: &Path) -> Result<Finished, StepError>;
    fn as_any(&self) -> &dyn Any;
}

impl<S: Step> AnyStep for S {
    fn files(&self) -> Vec<&'static str> {
        Step::files(self)
    }

    fn check(&self, dir: &Path, record: &Record) -> Result<(), String> {
        Step::check(self, dir, record)
    }

    fn resources(&self, known: &dyn Known) -> Resources {
        Step::resources(self, known)
    }

    fn requests(&self, users: u64, items: u64) -> Option<Requests> {
        Step::requests(self, users, items)
    }

    fn needs_tensors(&self) -> bool {
        Step::needs_tensors(self)
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

/// A file, or several, as they were when the experiment was planned. They are looked at before and after
/// the step that reads them: what changed in between is an error, not a result under a wrong key.
#[derive(Clone)]
pub struct Pinned {
    pub what: String,
    pub digest: crate::base::hash::Digest,
    now: Arc<dyn Fn() -> Result<crate::base::hash::Digest, String> + Send + Sync>,
}

impl Pinned {
    /// What `digest` says now; it is asked again later.
    pub fn new<E: fmt::Display>(
        what: impl Into<String>,
        digest: impl Fn() -> Result<crate::base::hash::Digest, E> + Send + Sync + 'static,
    ) -> Result<Self, E> {
        let now = digest()?;
        let again = move || digest().map_err(|error| error.to_string());
        Ok(Self { what: what.into(), digest: now, now: Arc::new(again) })
    }

    /// One file.
    pub fn file(path: PathBuf) -> std::io::Result<Self> {
        let what = path.display().to_string();
        Self::new(what, move || crate::base::hash::Digest::of_file(&path))
    }

    /// Whether it is still what it was.
    pub(super) fn verify(&self) -> Result<(), StepError> {
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

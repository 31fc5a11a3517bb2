//! The [`Recommender`] trait, and one file for each model.

pub mod als;
mod bprmf;
mod content;
mod ease;
mod factors;
pub(crate) mod gat;
mod item_knn;
pub(crate) mod lightgcn;
pub(crate) mod ngcf;
mod popularity;
mod random;
mod spec;

use std::{path::Path, sync::LazyLock};

use crate::{
    base::{
        arrays::ArrayError,
        interrupt::{Interrupt, Interrupted},
    },
    data::{DataDirs, DataError, Ids, UserIx},
    nn::NnError,
    ranking::{Rankings, Scorer, Source, files::Findings},
    tasks::top_n::{History, external},
    text::Features,
};

pub use als::AlsParams;
pub use bprmf::BprMfParams;
pub use content::ContentParams;
pub(crate) use factors::Factors;
pub use gat::{Edges, GatParams};
pub use lightgcn::LightGcnParams;
pub use ngcf::{Loss, NgcfParams};
pub use spec::ModelSpec;

/// What accompanies a fit: the seed, how to say how far it is, and when to stop.
pub struct FitContext<'a> {
    pub seed: u64,
    /// What of a user's training part the model goes by.
    pub history: History,
    /// The fold's name.
    pub fold: &'a str,
    /// Who the rows of the data are.
    pub users: &'a Ids,
    /// What the columns of the data are.
    pub items: &'a Ids,
    /// Where files of other people are looked for.
    pub dirs: &'a DataDirs,
    /// Vectors of texts about users and items, where the model asks for them.
    pub features: Option<&'a Features>,
    pub interrupt: &'a Interrupt,
    /// Called with (done, of) units of work, e.g. iterations; may be called from any thread.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// One line for the trial's log file.
    pub log: &'a (dyn Fn(&str) + Sync),
    /// Something worth recording beside the result, e.g. seconds an epoch.
    pub fact: &'a (dyn Fn(&str, serde_json::Value) + Sync),
    /// A directory that outlives a killed fit, for checkpoints; it may not exist yet.
    pub scratch: Option<&'a Path>,
}

impl<'a> FitContext<'a> {
    /// For benchmarks and tests: nobody listens, users and items have no names.
    pub fn silent(seed: u64, interrupt: &'a Interrupt) -> Self {
        static NOBODY: LazyLock<Ids> = LazyLock::new(Ids::default);
        static NOWHERE: LazyLock<DataDirs> = LazyLock::new(|| DataDirs::new(Vec::new()));
        Self {
            seed,
            history: History::Rated,
            fold: "",
            users: &NOBODY,
            items: &NOBODY,
            dirs: &NOWHERE,
            features: None,
            interrupt,
            progress: &|_, _| {},
            log: &|_| {},
            fact: &|_, _| {},
            scratch: None,
        }
    }
}

/// Why a model could not be fitted, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data cannot carry this model; says what to change.
    #[error("{0}")]
    Unsuitable(String),
    /// A number left the range of floats.
    #[error("{0}")]
    Diverged(String),
    #[error("{path}: {source}")]
    Io { path: std::path::PathBuf, source: std::io::Error },
    /// A saved model that does not fit the data or is not one.
    #[error("{path}: {problem}")]
    Malformed { path: std::path::PathBuf, problem: String },
}

impl From<ArrayError> for ModelError {
    fn from(error: ArrayError) -> Self {
        match error {
            ArrayError::NotFinite(problem) => Self::Diverged(problem),
            ArrayError::Io { path, source } => Self::Io { path, source },
            ArrayError::Malformed { path, problem } => Self::Malformed { path, problem },
        }
    }
}

impl From<NnError> for ModelError {
    fn from(error: NnError) -> Self {
        match error {
            NnError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            NnError::Data(error) => Self::Data(error),
            NnError::Io { path, source } => Self::Io { path, source },
            NnError::Unsuitable(problem) => Self::Unsuitable(problem),
        }
    }
}

/// A fitted model.
pub trait Recommender: Scorer {
    /// Whether there is anything in the user's vector; of models that are vectors of texts.
    fn has_vector(&self, _user: UserIx) -> bool {
        true
    }

    /// Writes what [`ModelSpec::load`] needs into the directory `dir`.
    fn save(&self, dir: &Path) -> Result<(), ModelError>;

    /// How it was trained up to the parameters that it has, where it was trained in epochs.
    fn training_path(&self) -> Option<TrainingPath> {
        None
    }
}

/// Epochs of a training, and the learning rate of each.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingPath {
    pub epochs: usize,
    pub rates: Vec<f64>,
}

/// What fitting gives: something that scores every item, or ready-made lists.
pub enum Fitted {
    Scores(Box<dyn Recommender>),
    Lists {
        rankings: Rankings,
        /// What was odd about the file they come from; not kept on disk beside the lists.
        findings: Option<Box<Findings>>,
    },
}

impl Fitted {
    /// Writes what [`ModelSpec::load`] needs into the directory `dir`.
    pub fn save(&self, dir: &Path) -> Result<(), ModelError> {
        match self {
            Self::Scores(model) => model.save(dir),
            Self::Lists { rankings, .. } => external::save(rankings, dir),
        }
    }

    /// As what is scored, before users without history get a fallback.
    pub fn source(&self) -> Source<'_> {
        match self {
            Self::Scores(model) => Source::Model(&**model),
            Self::Lists { rankings, .. } => Source::Lists(rankings),
        }
    }
}

//! The [`Recommender`] trait, and one file for each model.

pub mod als;
mod content;
mod dense;
mod ease;
pub mod external;
mod factors;
mod fallback;
mod files;
mod item_knn;
pub mod neural;
mod popularity;
mod random;
pub mod search;
mod simd;
mod spec;
mod train_on;
mod validate;

use std::{path::Path, sync::LazyLock};

use crate::{
    data::{DataDirs, DataError, Ids, Interactions, Relevance, UserIx},
    eval::Source,
    interrupt::{Interrupt, Interrupted},
    rankings::{Findings, Rankings},
    text::Features,
};

pub use als::AlsParams;
pub use content::ContentParams;
pub use external::{ExternalParams, FILE as LISTS, save as save_lists};
pub use fallback::{History, WithFallback};
pub use files::FILE as MODEL;
pub(crate) use files::{Array, Saved, save as save_arrays};
pub use search::{Search, SearchSpec};
pub use spec::ModelSpec;
pub use train_on::{Take, TrainOn, TrainShare};
pub use validate::validation;

/// What a model may learn from. There is no way from here to the test part of a fold.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Every rating of the training part, users × items (the validation part is not in it).
    pub ratings: Interactions,
    /// The liked ones among `ratings`.
    pub positives: Interactions,
    /// The disliked ones among `ratings`, where the experiment says which those are.
    pub disliked: Option<Interactions>,
    /// The validation part, cut from training; empty where the split has none.
    pub validation: Interactions,
    /// Which ratings are liked.
    pub relevant: Relevance,
}

/// What ratings of a training part say: where all are alike, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scale {
    pub worst: f32,
    pub best: f32,
    /// Whether they have times.
    pub timed: bool,
}

impl TrainingData {
    /// The range of its ratings, and whether they have times.
    pub fn scale(&self) -> Scale {
        let ratings = || self.ratings.ratings().iter().copied();
        let users = (0..self.ratings.n_users() as u32).map(UserIx);
        let mut times = users.flat_map(|user| self.ratings.timestamps_of(user));
        let first = times.next();
        Scale {
            worst: ratings().fold(f32::INFINITY, f32::min),
            best: ratings().fold(f32::NEG_INFINITY, f32::max),
            timed: first.is_some_and(|first| times.any(|time| time != first)),
        }
    }
}

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

/// A fitted model: gives every item a score for a user. Higher is better.
pub trait Recommender: Send + Sync {
    /// Number of items each user gets a score for.
    fn n_items(&self) -> usize;

    /// Writes the scores of all items for each of `users` into `scores`,
    /// row-major `[users.len(), n_items]`. Must not depend on how users are batched
    /// or on the thread count. Items seen in training get a score like any other:
    /// leaving them out is the protocol's business.
    fn score(&self, users: &[UserIx], scores: &mut [f32]);

    /// Whether there is anything in the user's vector; of models that are vectors of texts.
    fn has_vector(&self, _user: UserIx) -> bool {
        true
    }

    /// Whether this user gets a list at all. Where not, all scores are −∞.
    fn recommends_to(&self, _user: UserIx) -> bool {
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

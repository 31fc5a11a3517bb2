//! Shared code of the steps that search, fit and load a system.

use std::{path::Path, sync::Arc};

use serde_json::Value;

use super::{
    SplitStats,
    output::{Split, Vectors},
};
use crate::{
    core::{FinishedSteps, Handle, KeyBuilder, RunContext, StepError, StepId, StepStats},
    data::{DataDirs, Interactions, Relevance, TrainingData, TrainingPart},
    tasks::top_n::{
        History, SystemSpec, TrainOn,
        models::{FitContext, ModelError, Recommender, Size},
    },
    text::{Embeddings, Features, ReviewVectors},
};

/// Of fits that measure on the validation part.
const VALIDATION_REVISION: u32 = 1;

/// A system that is fitted to the training part of a fold.
#[derive(Clone)]
pub struct Learning {
    /// Its name with the label of its variant.
    pub name: String,
    /// A model, or a search of one's settings.
    pub system: Arc<SystemSpec>,
    pub train_on: TrainOn,
    pub relevant: Relevance,
    pub disliked: Option<Relevance>,
    pub fold: String,
    pub split: Handle<Split>,
    /// Embeddings of the texts of items and users.
    pub vectors: Option<[Handle<Vectors>; 2]>,
    /// Embeddings of the reviews of training interactions.
    pub reviews: Option<Handle<Vectors>>,
    pub dirs: Arc<DataDirs>,
    /// Warnings for readers of its results.
    pub warnings: Vec<String>,
}

impl Learning {
    /// What all keys that depend on it say of it.
    pub(super) fn key_inputs(&self, key: &mut KeyBuilder) {
        let system = &self.system;
        key.value("model", &**system)
            .value("relevant", self.relevant)
            .step("split", self.split)
            .value_if(system.validates(), "validation_revision", VALIDATION_REVISION)
            .value_if(system.uses_dislikes(), "disliked", self.disliked)
            .value_if(!self.train_on.is_default(), "train_on", self.train_on);
        if let Some([items, users]) = self.vectors {
            key.step("text.items", items).step("text.users", users);
        }
        if let Some(reviews) = self.reviews {
            key.step("reviews", reviews);
        }
    }

    pub(super) fn revision(&self, step: u32) -> Value {
        serde_json::json!([step, self.system.revision()])
    }

    /// Memory for fitting it, in bytes.
    pub(super) fn memory(&self, finished: &dyn FinishedSteps) -> u64 {
        memory_of(finished, self.split.id(), |size| self.system.memory(size))
    }

    /// The part of the training data that it is trained on.
    pub(super) fn data(&self, training: &TrainingPart) -> TrainingData {
        self.train_on.apply(training.training_data(self.relevant, self.disliked))
    }

    /// What accompanies a fit or a load; features and scratch are not in it.
    pub(super) fn context<'a>(&self, cx: &'a RunContext<'a>, seed: u64) -> FitContext<'a> {
        FitContext {
            seed,
            // Models say it themselves.
            history: History::Rated,
            features: None,
            reviews: None,
            interrupt: cx.interrupt(),
            progress: cx.progress,
            log: cx.log,
            scratch: None,
        }
    }

    /// The same, refusing what nothing can be learnt from.
    pub(super) fn data_to_fit(&self, training: &TrainingPart) -> Result<TrainingData, ModelError> {
        let data = self.data(training);
        if data.positives.is_empty() {
            let rule = match self.train_on.positives {
                Some(rule) => format!("positives: \"{rule}\""),
                None => format!("relevant: \"{}\"", self.relevant),
            };
            return Err(ModelError::Unsuitable(format!(
                "no training rating of the fold {} meets `{rule}`",
                self.fold
            )));
        }
        Ok(data)
    }

    /// What it takes from texts.
    pub(super) fn features(
        &self,
        cx: &RunContext,
        positives: &Interactions,
    ) -> Result<Option<Features>, StepError> {
        self.vectors.map(|vectors| features(cx, vectors, positives)).transpose()
    }

    /// What it takes from the reviews of training interactions, which are all of `training`.
    pub(super) fn review_vectors(
        &self,
        cx: &RunContext,
        training: &TrainingPart,
    ) -> Result<Option<ReviewVectors>, StepError> {
        let Some(reviews) = self.reviews else { return Ok(None) };
        let embeddings = Embeddings::read(&cx.dir(reviews))?;
        if embeddings.present.len() != training.train.len() {
            return Err(StepError::Internal("reviews of another training part".into()));
        }
        Ok(Some(ReviewVectors::new(&training.train, embeddings)))
    }

    /// The fitted model in `dir`.
    pub(super) fn load(
        &self,
        cx: &RunContext,
        dir: &Path,
        training: &TrainingPart,
        seed: u64,
    ) -> Result<Box<dyn Recommender>, StepError> {
        (cx.log)("loading the fitted model");
        let (data, context) = (self.data(training), self.context(cx, seed));
        Ok(match &*self.system {
            SystemSpec::Model(model) => model.load(dir, &data, &context)?,
            SystemSpec::Search(search) => search.load(dir, &data, &context)?,
            _ => return Err(not_fitted()),
        })
    }

    /// What of a user's training part the fitted model in `dir` goes by.
    pub(super) fn history(&self, dir: &Path) -> Result<History, StepError> {
        Ok(match &*self.system {
            SystemSpec::Model(model) => model.history(),
            SystemSpec::Search(search) => search.history(dir)?,
            _ => return Err(not_fitted()),
        })
    }
}

pub(super) fn not_fitted() -> StepError {
    StepError::Internal("a step that fits what is not fitted".into())
}

/// Features of users and items, from their embeddings.
pub(super) fn features(
    cx: &RunContext,
    [items, users]: [Handle<Vectors>; 2],
    positives: &Interactions,
) -> Result<Features, StepError> {
    let read = |of| Embeddings::read(&cx.dir(of));
    Ok(Features::new(read(items)?, read(users)?, positives))
}

/// Estimates memory from the size of a fold.
pub(super) fn memory_of(
    finished: &dyn FinishedSteps,
    split: StepId,
    guess: impl Fn(Size) -> u64,
) -> u64 {
    let stats = finished.record(split).and_then(|record| record.stats::<SplitStats>().ok());
    let size = |of: SplitStats| Size { users: of.users, items: of.items, ratings: of.train };
    stats.map_or(0, |stats| guess(size(stats)))
}

/// Numbers of users and items without a text.
pub(super) fn without_text(features: Option<&Features>) -> (Option<usize>, Option<usize>) {
    (features.map(|of| of.users_without_text), features.map(|of| of.items_without_text))
}

const _: () = assert!(SplitStats::VERSION == 1, "memory is guessed from these statistics");

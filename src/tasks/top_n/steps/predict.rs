//! Steps that predict with a fitted model. No other step does, so a new cutoff, slice, metric or convention needs no
//! new predictions.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    Learning,
    fit::InMemory,
    learning::memory_of,
    output::{Model, Predictions as PredictionsDir},
};
use crate::{
    core::{FinishedSteps, Handle, KeyBuilder, Resources, RunContext, Step, StepError, StepStats},
    data::{Relevance, TrainingPart, UserIx},
    ranking::{
        Fallback, Opening, PredictSpec, Predictions, PredictionsWriter, Scorer, open_for_candidates,
    },
    tasks::top_n::WithFallback,
};

/// Predicts with a fitted model.
pub struct PredictStep {
    pub label: String,
    pub fitted: FittedModel,
    pub predict: PredictSpec,
}

/// A fitted model with its fallback for users without history.
#[derive(Clone)]
pub struct FittedModel {
    pub learning: Learning,
    pub model: Handle<Model>,
    /// Of the fit.
    pub seed: u64,
    /// By the experiment's rule, whatever the system learns from.
    pub relevant: Relevance,
    pub disliked: Option<Relevance>,
    pub fallback: Fallback,
}

/// A model in memory, with the users it can rank for.
pub(super) struct Loaded {
    model: Arc<InMemory>,
    /// By user, whether the model knows anything of them; none where it need not.
    pub known: Option<Vec<bool>>,
}

impl FittedModel {
    pub(super) fn load(
        &self,
        cx: &RunContext,
        training: &TrainingPart,
    ) -> Result<Loaded, StepError> {
        let dir = cx.dir(self.model);
        let model = match cx.kept::<_, InMemory>(self.model) {
            Some(kept) => kept,
            None => Arc::new(InMemory(self.learning.load(cx, &dir, training, self.seed)?)),
        };
        // What is liked and disliked is the experiment's rule.
        let data = training.training_data(self.relevant, self.disliked);
        let data = self.learning.train_on.apply(data);
        let known = self.learning.history(&dir)?.known(&*model.0, &data);
        Ok(Loaded { model, known })
    }

    /// Calls `work` with the model, with the fallback for users without history.
    pub(super) fn with_fallback<T>(
        &self,
        loaded: &Loaded,
        training: &TrainingPart,
        work: impl FnOnce(&dyn Scorer) -> T,
    ) -> T {
        let model = &*loaded.model.0;
        let Some(known) = &loaded.known else { return work(model) };
        // Liked by the experiment's rule: as the model `popularity` counts.
        let data = training.training_data(self.relevant, self.disliked);
        work(&WithFallback::new(model, known, self.fallback, &data.positives))
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PredictStats {
    pub users: usize,
    /// Users without history.
    pub unknown_users: usize,
    /// Where the items that were to be scored depend on the test part.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_opened: Option<Opening>,
}

impl StepStats for PredictStats {
    const VERSION: u32 = 1;
}

impl Step for PredictStep {
    type Output = PredictionsDir;
    type Stats = PredictStats;

    const KIND: &'static str = "predict";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        let of = &self.fitted;
        key.value("predict", self.predict)
            .value("fallback", of.fallback)
            .value("relevant", of.relevant)
            .value("disliked", of.disliked)
            .step("split", of.learning.split)
            .step("fit", of.model);
    }

    fn files(&self) -> Vec<&'static str> {
        Predictions::files(Some(&self.predict))
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        let of = &self.fitted.learning;
        let lists = |users: usize| 24 * users * self.predict.depth;
        let guess = |size| of.system.memory(size) + lists(size.users) as u64;
        Resources { memory: memory_of(finished, of.split.id(), guess) }
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<PredictStats, StepError> {
        let split = cx.dir(self.fitted.learning.split);
        let training = TrainingPart::read(&split)?;
        let loaded = self.fitted.load(cx, &training)?;
        let opened = open_for_candidates(&split, self.fitted.relevant, &self.predict)?;
        let (candidates, test_opened) = opened.unzip();
        // All users, whether the test part has them or not: which it has is not known here.
        let users: Vec<UserIx> = (0..training.users.len() as u32).map(UserIx).collect();
        let seen = training.seen();
        let mut writer = PredictionsWriter::new(dir, Some(self.predict))?;
        let predicted = self.fitted.with_fallback(&loaded, &training, |model| {
            self.predict.predict_blocks(
                model,
                &users,
                &seen,
                candidates.as_ref(),
                (cx.interrupt(), cx.progress),
                |block| writer.add(block),
            )
        });
        predicted.map_err(|error| error.with_names(&training.users, &training.items))?;
        let unknown = loaded.known.iter().flatten().filter(|known| !**known).count();
        writer.finish(loaded.known.as_deref())?;
        Ok(PredictStats { users: users.len(), unknown_users: unknown, test_opened })
    }
}

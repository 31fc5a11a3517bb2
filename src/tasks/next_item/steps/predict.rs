//! Steps that predict what comes next: the input of each user is everything before the test part.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::fit::{InMemory, memory_of};
use crate::{
    core::{FinishedSteps, Handle, KeyBuilder, Resources, RunContext, Step, StepError, StepStats},
    data::{Relevance, SequencePart, UserIx},
    ranking::{
        Fallback, Opening, PredictSpec, Prediction, Predictions, PredictionsWriter,
        open_for_candidates,
    },
    tasks::{
        next_item::{Exclude, candidates::Candidates, models::ModelSpec},
        shared::steps::output::{Model, Predictions as PredictionsDir, Split},
    },
};

/// Predicts with a fitted model.
pub struct PredictStep {
    pub label: String,
    pub model: ModelSpec,
    pub split: Handle<Split>,
    pub fit: Handle<Model>,
    pub exclude: Exclude,
    pub fallback: Fallback,
    pub predict: PredictSpec,
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
        key.value("predict", self.predict)
            .value("exclude", self.exclude)
            .value("fallback", self.fallback)
            .step("split", self.split)
            .step("fit", self.fit);
    }

    fn files(&self) -> Vec<&'static str> {
        Predictions::files(Some(&self.predict))
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        let lists = |users: usize| 24 * users * self.predict.depth;
        let guess = |size| self.model.memory(size) as u64 + lists(size.users) as u64;
        Resources { memory: memory_of(finished, self.split, guess) }
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<PredictStats, StepError> {
        let split = cx.dir(self.split);
        let data = SequencePart::read(&split)?;
        let fitted = match cx.kept::<_, InMemory>(self.fit) {
            Some(kept) => kept,
            None => {
                (cx.log)("loading the fitted model");
                Arc::new(InMemory(self.model.load(&cx.dir(self.fit), &data)?))
            }
        };
        let input = data.input();
        let popularity = || data.train.item_counts().into_iter().map(|count| count as f32);
        let popularity =
            (self.fallback == Fallback::Popularity).then(|| popularity().collect::<Vec<f32>>());
        let candidates = Candidates::new(&*fitted.0, &input, self.exclude, popularity);
        let known = Candidates::known(&input);
        let never = self.exclude.never(&input, data.items.len() + 1);
        let opened = open_for_candidates(&split, Relevance::Any, &self.predict)?;
        let (of_test, test_opened) = opened.unzip();
        let users: Vec<UserIx> = (0..data.users.len() as u32).map(UserIx).collect();
        let mut writer = PredictionsWriter::new(dir, Some(self.predict))?;
        let predicted = self.predict.predict_blocks(
            &candidates,
            &users,
            &never,
            of_test.as_ref(),
            (cx.interrupt(), cx.progress),
            |block| {
                let named = block.into_iter().map(|of| candidates.named(of));
                writer.add(named.collect::<Vec<Prediction>>())
            },
        );
        predicted.map_err(|error| error.with_names(&data.users, &data.items))?;
        let unknown_users = known.iter().filter(|known| !**known).count();
        writer.finish(Some(&known))?;
        Ok(PredictStats { users: users.len(), unknown_users, test_opened })
    }
}

//! Steps that fit a model.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Learning,
    learning::{not_fitted, without_text},
    output::{Model, SearchTrials},
};
use crate::{
    core::{FinishedSteps, Handle, KeyBuilder, Resources, RunContext, Step, StepError, StepStats},
    data::TrainingPart,
    tasks::top_n::{
        SystemSpec,
        models::{FitContext, ModelStats, Recommender},
        search::read_trials,
    },
};

/// Fits a model, or the settings that a search chose.
pub struct FitStep {
    pub label: String,
    pub learning: Learning,
    pub search: Option<Handle<SearchTrials>>,
    /// Whether the key of the search is not the fit's own but for the seed: it has texts of its own.
    pub search_has_texts: bool,
    pub seed: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FitStats {
    /// Number of positives it was trained on.
    pub positives: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users_without_text: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub items_without_text: Option<usize>,
    #[serde(flatten)]
    pub model: ModelStats,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl StepStats for FitStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

/// A fitted model in memory for prediction, so that it need not be read from disk.
pub(super) struct InMemory(pub Box<dyn Recommender>);

impl Step for FitStep {
    type Output = Model;
    type Stats = FitStats;

    const KIND: &'static str = "fit";
    const REVISION: u32 = 2;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> Value {
        self.learning.revision(Self::REVISION)
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        self.learning.key_inputs(key);
        if let Some(search) = self.search {
            match self.search_has_texts {
                true => key.step("search", search),
                false => key.reads("search", search),
            };
        }
        key.value("seed", self.learning.system.is_seeded().then_some(self.seed));
    }

    fn files(&self) -> Vec<&'static str> {
        self.learning.system.files()
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        Resources { memory: self.learning.memory(finished) }
    }

    fn needs_tensors(&self) -> bool {
        self.learning.system.needs_tensors()
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<FitStats, StepError> {
        let system = &*self.learning.system;
        (cx.log)(&format!("{} with {}", system.name(), serde_json::json!(system)));
        let training = TrainingPart::read(&cx.dir(self.learning.split))?;
        let data = self.learning.data_to_fit(&training)?;
        let features = self.learning.features(cx, &data.positives)?;
        let reviews = self.learning.review_vectors(cx, &training)?;
        let scratch = cx.scratch();
        let context = FitContext {
            features: features.as_ref(),
            reviews: reviews.as_ref(),
            scratch: Some(&scratch),
            ..self.learning.context(cx, self.seed)
        };
        let fitted = match (system, self.search) {
            (SystemSpec::Model(model), _) => model.fit(&data, &context)?,
            (SystemSpec::Search(search), Some(trials)) => {
                search.fit_chosen(read_trials(&cx.dir(trials))?, &data, &context)?
            }
            _ => return Err(not_fitted()),
        };
        fitted.save(dir)?;
        let (users_without_text, items_without_text) = without_text(features.as_ref());
        let stats = FitStats {
            positives: data.positives.len(),
            users_without_text,
            items_without_text,
            model: fitted.stats(),
            warnings: self.learning.warnings.clone(),
        };
        cx.keep(Arc::new(InMemory(fitted)));
        Ok(stats)
    }
}

//! Steps that search the settings of a model.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Learning,
    learning::{not_fitted, without_text},
    output::SearchTrials,
};
use crate::{
    core::{FinishedSteps, KeyBuilder, Resources, RunContext, Step, StepError, StepStats},
    data::TrainingPart,
    tasks::top_n::{
        SystemSpec,
        models::FitContext,
        search::{SearchSummary, TRIALS, write_trials},
    },
};

/// Searches settings, once per fold for all seeds of the fits.
pub struct SearchStep {
    pub label: String,
    pub learning: Learning,
    /// Whether `learning` learns from a cut whose validation part the trials are measured on; otherwise the
    /// search cuts for itself.
    pub is_cut: bool,
    pub seed: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchStats {
    pub positives: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub users_without_text: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items_without_text: Option<usize>,
    #[serde(flatten)]
    pub search: SearchSummary,
}

impl StepStats for SearchStats {
    const VERSION: u32 = 1;
}

impl Step for SearchStep {
    type Output = SearchTrials;
    type Stats = SearchStats;

    const KIND: &'static str = "search";
    const REVISION: u32 = 2;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> Value {
        self.learning.revision(Self::REVISION)
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        self.learning.key_inputs(key);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![TRIALS]
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        Resources { memory: self.learning.memory(finished) }
    }

    fn needs_tensors(&self) -> bool {
        self.learning.system.needs_tensors()
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<SearchStats, StepError> {
        let SystemSpec::Search(search) = &*self.learning.system else { return Err(not_fitted()) };
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
        let trials = match self.is_cut {
            true => search.search_in(&data, &context)?,
            false => search.search(&data, &context)?,
        };
        write_trials(&dir.join(TRIALS), &trials)?;
        let (users_without_text, items_without_text) = without_text(features.as_ref());
        Ok(SearchStats {
            positives: data.positives.len(),
            users_without_text,
            items_without_text,
            search: SearchSummary::of(&trials)?,
        })
    }
}

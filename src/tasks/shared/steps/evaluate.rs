//! Steps that evaluate predictions on the test part of a fold.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::output::{Predictions as PredictionsDir, Split, Values};
use crate::{
    core::{Handle, KeyBuilder, RunContext, Step, StepError, StepFiles, StepStats},
    data::{Relevance, TrainingPart},
    ranking::{Opening, PredictSpec, Predictions, ScoreSpec, evaluate_fold, stored},
    tasks::shared::check_means_by,
};

/// Evaluates predictions.
pub struct EvaluateStep {
    pub label: String,
    pub split: Handle<Split>,
    pub predictions: Handle<PredictionsDir>,
    /// How candidates were scored; none for lists.
    pub from_scores: Option<PredictSpec>,
    /// Whether they are lists from files, which may be too short.
    pub is_external: bool,
    /// Normalised.
    pub evaluate: ScoreSpec,
    pub relevant: Relevance,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EvaluateStats {
    pub users: usize,
    pub test_opened: Option<Opening>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl StepStats for EvaluateStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        self.warnings.clone()
    }
}

impl Step for EvaluateStep {
    type Output = Values;
    type Stats = EvaluateStats;

    const KIND: &'static str = "evaluate";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("evaluate", &self.evaluate)
            .value("relevant", self.relevant)
            .step("split", self.split)
            .step("predictions", self.predictions);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![stored::SUMMARY, stored::USERS]
    }

    /// Means against the users' values.
    fn check(&self, files: &StepFiles) -> Result<(), String> {
        check_means_by(files, &self.evaluate)
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<EvaluateStats, StepError> {
        let split = cx.dir(self.split);
        let training = TrainingPart::read(&split)?;
        let from = cx.dir(self.predictions);
        let predictions = Predictions::read(&from, self.from_scores, training.items.len())?;
        if predictions.users.len() != training.users.len() {
            return Err(StepError::Internal("predictions for other users".into()));
        }
        let (found, opening) = evaluate_fold(
            &self.evaluate,
            &split,
            &training,
            self.relevant,
            &predictions,
            cx.interrupt(),
            cx.progress,
        )?;
        found.write(dir, &training.users)?;
        let mut warnings = Vec::new();
        if self.is_external {
            warnings.extend(found.warnings());
        }
        let known = predictions.known.as_deref();
        warnings.extend(known.and_then(|known| found.warning_of_history(known)));
        warnings.extend(found.warning_of_ties());
        Ok(EvaluateStats { users: found.rows.len(), test_opened: Some(opening), warnings })
    }
}

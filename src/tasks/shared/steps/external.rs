//! Steps that read rankings from files.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::output::{Predictions as PredictionsDir, Split};
use crate::{
    core::{
        FinishedSteps, Found, Handle, KeyBuilder, Pinned, Resources, RunContext, Shared, Step,
        StepError, StepStats,
    },
    data::{DataDirs, DataError, Interactions, TrainingPart},
    ranking::{
        Predictions, Rankings,
        files::{Findings, OtherFold},
    },
    tasks::shared::{EXTERNAL, EXTERNAL_REVISION, ExternalParams, Tagged},
};

/// Reads a file of rankings of one fold.
pub struct ExternalStep {
    pub label: String,
    pub params: ExternalParams,
    pub fold: String,
    pub split: Handle<Split>,
    pub rankings: Pinned,
    /// All folds, to tell rankings of another one; none if the task has one fold.
    pub folds: Option<Box<dyn Folds>>,
    pub dirs: Arc<DataDirs>,
}

/// The folds of a split, before they are written.
pub trait Folds: Send + Sync {
    fn names(&self) -> Result<Vec<String>, StepError>;

    /// What the fold `name` trains on.
    fn training(
        &self,
        name: &str,
        shared: &Shared,
        log: &dyn Fn(&str),
    ) -> Result<TrainingPart, StepError>;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExternalStats {
    /// Irregularities of the file.
    pub findings: Findings,
}

impl StepStats for ExternalStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        self.findings.warnings()
    }
}

impl ExternalStep {
    /// The rankings, which must not be those of another fold.
    fn read(
        &self,
        training: &TrainingPart,
        shared: &Shared,
        log: &dyn Fn(&str),
    ) -> Result<(Rankings, Findings), StepError> {
        let (rankings, mut findings) = self.params.read(&self.fold, training, &self.dirs)?;
        let others = || self.other_folds(shared, log);
        let Some(other) = OtherFold::find(&rankings, &findings, others)? else {
            return Ok((rankings, findings));
        };
        if !self.params.accept_leak {
            return Err(DataError::File {
                path: self.rankings.what.clone().into(),
                problem: format!(
                    "rankings of another fold: {:.0} % of the lists avoid the training items of the fold {}, {:.0} % \
                     those of the fold {}",
                    100.0 * other.avoiding_here,
                    self.fold,
                    100.0 * other.avoiding,
                    other.name
                ),
                help: format!(
                    "name the fold that they were made for (`rankings: {{{}: FILE}}`), or set `accept_leak: true`, \
                     which marks the results",
                    other.name
                ),
            }
            .into());
        }
        findings.fits = Some(other.describe(&self.fold));
        Ok((rankings, findings))
    }

    /// What users have seen in the other folds of the scheme.
    fn other_folds(
        &self,
        shared: &Shared,
        log: &dyn Fn(&str),
    ) -> Result<Vec<(String, Interactions)>, StepError> {
        let Some(folds) = &self.folds else { return Ok(Vec::new()) };
        let others = folds.names()?.into_iter().filter(|name| *name != self.fold);
        others
            .map(|name| {
                let training = folds.training(&name, shared, log)?;
                Ok((name, training.seen()))
            })
            .collect()
    }
}

impl Step for ExternalStep {
    type Output = PredictionsDir;
    type Stats = ExternalStats;

    const KIND: &'static str = "predict";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> Value {
        serde_json::json!([Self::REVISION, EXTERNAL_REVISION])
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("model", Tagged { model: EXTERNAL, settings: &self.params })
            .step("split", self.split)
            .file("rankings", &self.rankings);
    }

    fn files(&self) -> Vec<&'static str> {
        Predictions::files(None)
    }

    fn resources(&self, _: &dyn FinishedSteps) -> Resources {
        Resources { memory: 1 << 28 }
    }

    /// Reads the file: rankings that cannot be used, or are of another fold, are an error before anything is written.
    fn preflight(&self, shared: &Shared) -> Result<Found, StepError> {
        self.rankings.verify()?;
        if let Some(folds) = &self.folds {
            let training = folds.training(&self.fold, shared, &|_| ())?;
            self.read(&training, shared, &|_| ())?;
        }
        Ok(Found::default())
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<ExternalStats, StepError> {
        let training = TrainingPart::read(&cx.dir(self.split))?;
        let (rankings, findings) = self.read(&training, cx.shared(), cx.log)?;
        for warning in findings.warnings() {
            (cx.log)(&format!("warning: {}: {warning}", self.rankings.what));
        }
        Predictions::of_lists(rankings, None).write(dir)?;
        Ok(ExternalStats { findings })
    }
}

//! Steps that read rankings from files.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::output::{Predictions as PredictionsDir, Split};
use crate::{
    core::{Handle, KeyBuilder, Known, Pinned, Resources, RunContext, Step, StepError, StepStats},
    data::{DataDirs, TrainingPart},
    ranking::{Predictions, files::Findings},
    tasks::top_n::SystemSpec,
};

/// Reads a file of rankings of one fold.
pub struct ExternalStep {
    pub label: String,
    pub system: Arc<SystemSpec>,
    pub fold: String,
    pub split: Handle<Split>,
    pub rankings: Pinned,
    pub dirs: Arc<DataDirs>,
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

impl Step for ExternalStep {
    type Output = PredictionsDir;
    type Stats = ExternalStats;

    const KIND: &'static str = "predict";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> Value {
        serde_json::json!([Self::REVISION, self.system.revision()])
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("model", &*self.system)
            .step("split", self.split)
            .file("rankings", &self.rankings);
    }

    fn files(&self) -> Vec<&'static str> {
        Predictions::files(None)
    }

    fn resources(&self, _: &dyn Known) -> Resources {
        Resources { memory: 1 << 28 }
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<ExternalStats, StepError> {
        let SystemSpec::External(params) = &*self.system else {
            return Err(StepError::Internal("rankings of something that has none".into()));
        };
        let training = TrainingPart::read(&cx.dir(self.split))?;
        let (rankings, findings) = params.read(&self.fold, &training, &self.dirs)?;
        for warning in findings.warnings() {
            (cx.log)(&format!("warning: {}: {warning}", self.rankings.what));
        }
        Predictions::of_lists(rankings, None).write(dir)?;
        Ok(ExternalStats { findings })
    }
}

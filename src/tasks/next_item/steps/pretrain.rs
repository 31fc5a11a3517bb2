//! Steps that train a network on synthetic sequences, for fits that start from it. What they learn is of numbers: one step
//! serves all numberings of the items, and every way in which a fit takes it over.

use std::path::Path;

use super::fit::memory_of;
use crate::{
    core::{FinishedSteps, Handle, KeyBuilder, Resources, RunContext, Step, StepError},
    data::{SequencePart, SequenceSplit},
    tasks::{
        next_item::{
            Exclude,
            models::{FitContext, ModelSpec},
            steps::FitStats,
        },
        shared::steps::output::Split,
    },
};

/// A network with what it learnt of numbers.
pub enum Pretrained {}

/// Trains a network on synthetic sequences.
pub struct PretrainStep {
    pub label: String,
    pub model: ModelSpec,
    /// Says how many items there are.
    pub split: Handle<Split>,
    pub sequences: SequenceSplit,
    pub seed: u64,
}

impl Step for PretrainStep {
    type Output = Pretrained;
    type Stats = FitStats;

    const KIND: &'static str = "pretrain";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> serde_json::Value {
        serde_json::json!([Self::REVISION, self.model.revision()])
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        let settings = self.model.pretraining().map(|json| json.map_err(|error| error.to_string()));
        key.value("model", self.model.name())
            .value("settings", settings)
            .step("split", self.split)
            .value("seed", self.seed);
    }

    fn files(&self) -> Vec<&'static str> {
        self.model.files().to_vec()
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        Resources {
            memory: memory_of(finished, self.split, |of| {
                self.model.pretraining_memory(of.items) as u64
            }),
        }
    }

    fn needs_tensors(&self) -> bool {
        true
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<FitStats, StepError> {
        let items = SequencePart::read(&cx.dir(self.split))?.items.len();
        let scratch = cx.scratch();
        let context = FitContext {
            seed: self.seed,
            exclude: Exclude::Seen,
            split: &self.sequences,
            interrupt: cx.interrupt(),
            progress: cx.progress,
            log: cx.log,
            scratch: Some(&scratch),
            pretrained: None,
            texts: None,
        };
        let trained = self.model.pretrain(items, &context)?;
        trained.save(dir)?;
        Ok(FitStats {
            interactions: 0,
            parameters: trained.parameters(),
            order: Vec::new(),
            without_text: None,
            model: trained.stats(),
        })
    }
}

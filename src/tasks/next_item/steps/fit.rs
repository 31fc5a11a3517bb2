//! Steps that fit a model to sequences.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pretrain::Pretrained;
use crate::{
    core::{FinishedSteps, Handle, KeyBuilder, Resources, RunContext, Step, StepError, StepStats},
    data::{SequencePart, SequenceSplit},
    tasks::{
        next_item::{
            Exclude,
            models::{FitContext, ModelSpec, NextItem},
            networks::EmbeddingOrder,
        },
        shared::{
            ModelError, ModelStats, Size,
            steps::{
                SplitStats,
                output::{Model, Split, Vectors},
            },
        },
    },
    text::Embeddings,
};

/// Fits a model.
pub struct FitStep {
    pub label: String,
    pub model: ModelSpec,
    pub split: Handle<Split>,
    /// How the sequences were split.
    pub sequences: SequenceSplit,
    /// On the validation part.
    pub exclude: Exclude,
    pub seed: u64,
    /// What it starts from, if the model asks for it.
    pub pretrained: Option<Handle<Pretrained>>,
    /// Vectors of items' texts, if it starts from them.
    pub texts: Option<Handle<Vectors>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct FitStats {
    /// Number of interactions of the training part.
    pub interactions: usize,
    /// Number of trained parameters, of networks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<usize>,
    /// AAE and SA of the item embeddings, of networks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub order: Vec<EmbeddingOrder>,
    /// Items without a text, and all items, of networks that start from texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_text: Option<(usize, usize)>,
    #[serde(flatten)]
    pub model: ModelStats,
}

impl StepStats for FitStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        match self.without_text {
            Some((without, items)) if without > 0 => vec![format!(
                "{without} of {items} items have no text in the file: their embeddings start from random values"
            )],
            _ => Vec::new(),
        }
    }
}

/// A fitted model in memory for prediction, so that it need not be read from disk.
pub(super) struct InMemory(pub Box<dyn NextItem>);

/// Estimates memory from the size of a fold.
pub(super) fn memory_of(
    finished: &dyn FinishedSteps,
    split: Handle<Split>,
    guess: impl Fn(Size) -> u64,
) -> u64 {
    let stats = finished.record(split.id()).and_then(|record| record.stats::<SplitStats>().ok());
    stats.map_or(0, |of| guess(Size { users: of.users, items: of.items, ratings: of.train }))
}

impl Step for FitStep {
    type Output = Model;
    type Stats = FitStats;

    const KIND: &'static str = "fit";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> Value {
        serde_json::json!([Self::REVISION, self.model.revision()])
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("next-item", &self.model)
            .step("split", self.split)
            .value_if(self.model.validates(), "exclude", self.exclude)
            .value("seed", self.model.is_seeded().then_some(self.seed));
        if let Some(pretrained) = self.pretrained {
            key.step("pretrained", pretrained);
        }
        if let Some(texts) = self.texts {
            key.step("texts", texts);
        }
    }

    fn files(&self) -> Vec<&'static str> {
        self.model.files().to_vec()
    }

    fn resources(&self, finished: &dyn FinishedSteps) -> Resources {
        Resources { memory: memory_of(finished, self.split, |size| self.model.memory(size) as u64) }
    }

    fn needs_tensors(&self) -> bool {
        self.model.needs_tensors()
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<FitStats, StepError> {
        (cx.log)(&format!("{} with {}", self.model.name(), serde_json::json!(self.model)));
        let data = SequencePart::read(&cx.dir(self.split))?;
        let scratch = cx.scratch();
        let pretrained = self.pretrained.map(|step| cx.dir(step));
        let texts = self.texts.map(|step| cx.dir(step));
        let context = FitContext {
            seed: self.seed,
            exclude: self.exclude,
            split: &self.sequences,
            interrupt: cx.interrupt(),
            progress: cx.progress,
            log: cx.log,
            scratch: Some(&scratch),
            pretrained: pretrained.as_deref(),
            texts: texts.as_deref(),
        };
        let without_text = match &texts {
            Some(dir) => {
                let present = Embeddings::read(dir).map_err(ModelError::from)?.present;
                Some((present.iter().filter(|present| !**present).count(), present.len()))
            }
            None => None,
        };
        let fitted = self.model.fit(&data, &context)?;
        fitted.save(dir)?;
        let stats = FitStats {
            interactions: data.train.len(),
            parameters: fitted.parameters(),
            order: fitted.order(&data, self.seed),
            without_text,
            model: fitted.stats(),
        };
        cx.keep(Arc::new(InMemory(fitted)));
        Ok(stats)
    }
}

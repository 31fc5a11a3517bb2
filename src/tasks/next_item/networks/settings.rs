//! Settings that all networks on sequences share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    nn::{
        Draw, device,
        learn::{Keep, LoopSettings, Schedule, Stop},
        optimizer::Optimizer,
    },
    ranking::LAST_CUTOFF,
    tasks::{
        next_item::Exclude,
        shared::{Validate, Wrong},
    },
};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SequenceTraining {
    /// Passes over the training sequences.
    pub epochs: usize,
    /// Sequences a step; of models that learn from prefixes, prefixes.
    pub batch: usize,
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Longest gradient; longer ones are scaled down to it.
    pub clip: Option<f64>,
    pub schedule: Schedule,
    /// Measures the model on the validation part as it goes.
    pub validate: Option<Validate>,
    /// How items that a user had before are ranked on the validation part; by default as `evaluate` has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exclude: Option<Exclude>,
    /// Ends before `epochs`.
    pub stop: Option<Stop>,
    /// Which epoch's parameters are kept. By default the best where `validate` measures them, else the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
}

impl Default for SequenceTraining {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch: 128,
            optimizer: Optimizer::Adam,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            clip: None,
            schedule: Schedule::Constant,
            validate: None,
            exclude: None,
            stop: None,
            keep: None,
            device: "auto".into(),
        }
    }
}

impl SequenceTraining {
    /// The settings of the training loop among these.
    pub(super) fn of_loop(&self) -> LoopSettings {
        LoopSettings {
            epochs: self.epochs,
            optimizer: self.optimizer,
            learning_rate: self.learning_rate,
            weight_decay: self.weight_decay,
            clip: self.clip,
            schedule: self.schedule,
            validate_every: self.validate.map(|validate| validate.every),
            stop: self.stop,
            keep: self.keep,
            rates: None,
        }
    }

    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), Wrong> {
        let wrong = |message: String| Err(("training", message));
        self.of_loop().validate().map_err(|message| ("training", message))?;
        if self.batch == 0 {
            return wrong("`batch` is 0".into());
        }
        if let Err(message) = device::validate(&self.device) {
            return wrong(format!("`device` {message}"));
        }
        if self.exclude.is_some() && self.validate.is_none() {
            return wrong("`exclude` has no effect without `validate`".into());
        }
        match self.validate {
            Some(Validate { every, metric, k })
                if every == 0
                    || !(1..=LAST_CUTOFF).contains(&k)
                    || metric.is_of_all_lists()
                    || metric == crate::ranking::Metric::Novelty =>
            {
                wrong("`validate` needs `every` ≥ 1, `k` ≥ 1 and a metric of relevance".into())
            }
            _ => Ok(()),
        }
    }
}

/// What is minimised for each item that is to be predicted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum LossSpec {
    /// Cross-entropy over all items.
    Softmax,
    /// Cross-entropy over the item and `negatives` drawn ones, with log q subtracted from their scores.
    SampledSoftmax {
        negatives: usize,
        /// `uniform`, or `popularity`: by how often items occur in the training part.
        #[serde(default)]
        draw: Draw,
    },
    /// Binary cross-entropy of the item and of `negatives` drawn uniformly.
    Bce { negatives: usize },
    /// The same with a weight on the item that takes away the bias of the sampling: gBCE (Petrov and Macdonald 2023).
    Gbce {
        negatives: usize,
        /// 0 is `bce`, 1 takes the whole bias away.
        #[serde(default = "usual_t")]
        t: f64,
    },
}

fn usual_t() -> f64 {
    0.75
}

impl LossSpec {
    /// Negatives of each item, and how they are drawn; none where all items are.
    pub(super) fn negatives(&self) -> Option<(usize, Draw)> {
        match *self {
            Self::Softmax => None,
            Self::SampledSoftmax { negatives, draw } => Some((negatives, draw)),
            Self::Bce { negatives } | Self::Gbce { negatives, .. } => {
                Some((negatives, Draw::Uniform))
            }
        }
    }

    /// What is wrong with it.
    pub fn validate(&self) -> Result<(), Wrong> {
        let wrong = |message: String| Err(("loss", message));
        match (self.negatives(), self) {
            (Some((0, _)), _) => wrong("`negatives` is 0".into()),
            (Some((_, Draw::Hard)), _) => {
                wrong("`draw: hard` looks at users' vectors; expected uniform or popularity".into())
            }
            (_, Self::Gbce { t, .. }) if !(0.0..=1.0).contains(t) => {
                wrong(format!("`t` is {t}; expected 0 to 1"))
            }
            _ => Ok(()),
        }
    }
}

/// Refuses a shape that no network can have.
pub fn shape(dim: usize, heads: usize, layers: usize, longest: usize) -> Result<(), Wrong> {
    let within = |name: &'static str, value: usize, most: usize| match (1..=most).contains(&value) {
        true => Ok(()),
        false => Err((name, format!("is {value}; expected 1 to {most}"))),
    };
    within("factors", dim, 4096)?;
    within("heads", heads, 64)?;
    within("layers", layers, 32)?;
    within("length", longest, 10_000)?;
    match dim.is_multiple_of(heads) {
        true => Ok(()),
        false => Err(("heads", format!("is {heads}, which does not divide `factors`, {dim}"))),
    }
}

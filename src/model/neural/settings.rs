//! Settings that all networks share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    device,
    optimizer::Optimizer,
    sampler::{Draw, Negatives},
};
use crate::eval::{LAST_CUTOFF, Metric};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Passes over the training positives.
    pub epochs: usize,
    /// Positives a step; 0: all at once. By default 2048, and all for `gat`, whose pass over the graph
    /// costs the same for any number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Longest gradient; longer ones are scaled down to it.
    pub clip: Option<f64>,
    pub schedule: Schedule,
    pub negatives: Negatives,
    /// Measures the model on the validation part as it goes.
    pub validate: Option<Validate>,
    /// Ends before `epochs`.
    pub stop: Option<Stop>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
}

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    #[default]
    Constant,
    /// Times `factor` after `patience` measurements without an improvement: of the validation metric
    /// where it is measured, else of the training loss.
    Plateau { factor: f64, patience: usize, lowest: f64 },
    /// Along half a cosine from the learning rate to `lowest` over all epochs.
    Cosine { lowest: f64 },
}

/// A measurement on the validation part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validate {
    /// Epochs between measurements.
    pub every: usize,
    pub metric: Metric,
    pub k: usize,
}

impl Default for Validate {
    fn default() -> Self {
        Self { every: 5, metric: Metric::Ndcg, k: 10 }
    }
}

/// Early stopping.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    pub on: StopOn,
    /// Measurements (of the training loss: epochs) without an improvement.
    pub patience: usize,
}

/// What early stopping looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StopOn {
    /// The metric of `validate`; the best epoch's model is kept.
    Validation,
    /// The training loss, which says nothing of new interactions: as the authors of Ebrat et al. 2025
    /// do.
    TrainingLoss,
}

impl Default for Training {
    fn default() -> Self {
        Self {
            epochs: 100,
            batch: None,
            optimizer: Optimizer::Adam,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            clip: None,
            schedule: Schedule::Constant,
            negatives: Negatives::default(),
            validate: None,
            stop: None,
            device: "auto".into(),
        }
    }
}

/// More draws a negative would look at a whole catalogue.
const MOST_CANDIDATES: usize = 10_000;

/// More propagations make all embeddings alike.
const MOST_LAYERS: usize = 32;

/// Refuses more layers than make sense.
pub fn layers(value: usize) -> Result<(), Wrong> {
    match value <= MOST_LAYERS {
        true => Ok(()),
        false => Err(("layers", format!("is {value}; expected at most {MOST_LAYERS}"))),
    }
}

type Wrong = (&'static str, String);

/// Refuses a number that is not over 0.
pub fn positive(name: &'static str, value: f64) -> Result<(), Wrong> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err((name, format!("is {value}; expected a number over 0"))),
    }
}

/// Refuses a negative number.
pub fn not_negative(name: &'static str, value: f64) -> Result<(), Wrong> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err((name, format!("is {value}; expected 0 or a number over 0"))),
    }
}

/// Refuses widths that vectors of sixteen do not fit into.
pub fn width(name: &'static str, value: usize) -> Result<(), Wrong> {
    match value > 0 && value.is_multiple_of(16) && value <= 1024 {
        true => Ok(()),
        false => Err((name, format!("is {value}; expected a multiple of 16 up to 1024"))),
    }
}

/// Refuses a share that is not in 0..1.
pub fn share(name: &'static str, value: f64) -> Result<(), Wrong> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err((name, format!("is {value}; expected 0 or more and under 1"))),
    }
}

impl Training {
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), Wrong> {
        let wrong = |message: String| Err(("training", message));
        if self.epochs == 0 {
            return wrong("`epochs` is 0".into());
        }
        positive("training", self.learning_rate)
            .and(not_negative("training", self.weight_decay))
            .map_err(|(at, message)| (at, format!("learning rate or weight decay {message}")))?;
        if self.clip.is_some_and(|clip| clip <= 0.0 || !clip.is_finite()) {
            return wrong("`clip` must be over 0".into());
        }
        if let Err(message) = device::validate(&self.device) {
            return wrong(format!("`device` {message}"));
        }
        match self.schedule {
            Schedule::Plateau { factor, .. } if !(0.0..1.0).contains(&factor) => {
                return wrong("`schedule.plateau.factor` must be under 1".into());
            }
            _ => {}
        }
        let Negatives { draw, candidates, exponent, .. } = self.negatives;
        let few = (1..=MOST_CANDIDATES).contains(&candidates);
        if draw == Draw::Hard && !few || !(exponent >= 0.0 && exponent.is_finite()) {
            return wrong(format!(
                "`negatives`: candidates must be 1 to {MOST_CANDIDATES}, exponent 0 or more"
            ));
        }
        if let Some(Validate { every, metric, k }) = self.validate
            && (every == 0
                || !(1..=LAST_CUTOFF).contains(&k)
                || metric.is_of_all_lists()
                || metric == Metric::Novelty)
        {
            return wrong("`validate` needs every ≥ 1, k ≥ 1 and a metric of relevance".into());
        }
        match self.stop {
            Some(Stop { on: StopOn::Validation, .. }) if self.validate.is_none() => {
                wrong("`stop: {on: validation}` needs `validate: {every: …}`".into())
            }
            Some(Stop { patience: 0, .. }) => wrong("`stop.patience` is 0".into()),
            _ => Ok(()),
        }
    }
}

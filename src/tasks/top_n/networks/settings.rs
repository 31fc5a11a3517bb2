//! Settings that all networks share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    nn::{
        device,
        optimizer::Optimizer,
        sampler::{Draw, Negatives},
    },
    ranking::{LAST_CUTOFF, Metric},
};

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
    /// Which epoch's parameters are kept. By default the best where `validate` measures them, else the
    /// last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keep: Option<Keep>,
    /// `auto`, `cpu`, `cuda` or `cuda:N`.
    pub device: String,
    /// The learning rate of every epoch, in place of `schedule`: of a model that is trained again as
    /// the best trial of a search was.
    #[serde(skip)]
    #[schemars(skip)]
    pub rates: Option<Vec<f64>>,
}

/// Which epoch's parameters are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Keep {
    /// Those with the highest validation metric where `validate` measures it, else those after the epoch
    /// with the lowest training loss.
    Best,
    /// Those after the last epoch.
    Last,
}

/// How the learning rate changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Schedule {
    #[default]
    Constant,
    /// Times `factor` after more than `patience` measurements without an improvement, down to `lowest`.
    Plateau {
        factor: f64,
        patience: usize,
        lowest: f64,
        /// What has to improve. By default the validation metric where it is measured, else the
        /// training loss.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<Watch>,
        /// By which share of the best so far it has to improve. PyTorch's `ReduceLROnPlateau` has 1e-4.
        #[serde(default, skip_serializing_if = "is_zero")]
        threshold: f64,
    },
    /// Along half a cosine from the learning rate to `lowest` over all epochs.
    Cosine { lowest: f64 },
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
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
    pub on: Watch,
    /// Measurements (of the training loss: epochs) without an improvement.
    pub patience: usize,
}

/// A quantity that tells how training goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Watch {
    /// The metric of `validate`.
    Validation,
    /// The training loss, measured in every epoch. It says nothing of new interactions; the released
    /// code of Ebrat et al. 2025 stops on it.
    TrainingLoss,
}

impl Watch {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Validation => "validation",
            Self::TrainingLoss => "training-loss",
        }
    }
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
            keep: None,
            device: "auto".into(),
            rates: None,
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
    /// What says which epoch is kept; none where the last one is.
    pub(super) fn keeps_best_by(&self) -> Option<Watch> {
        match (self.keep, self.validate) {
            (Some(Keep::Last), _) | (None, None) => None,
            (_, Some(_)) => Some(Watch::Validation),
            (Some(Keep::Best), None) => Some(Watch::TrainingLoss),
        }
    }

    /// What the plateau schedule looks at where the file does not say.
    pub(super) fn plateau_watches(&self, on: Option<Watch>) -> Watch {
        match self.validate {
            Some(_) => on.unwrap_or(Watch::Validation),
            None => on.unwrap_or(Watch::TrainingLoss),
        }
    }

    /// Whether the number of epochs or their learning rates depend on what is measured on the way. A
    /// model that is to be trained in the same way on other data must follow what was done.
    pub(crate) fn depends_on_measurements(&self) -> bool {
        self.validate.is_some()
            || self.stop.is_some()
            || self.keep == Some(Keep::Best)
            || self.schedule != Schedule::Constant
    }

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
            Schedule::Plateau { threshold, .. } if !(0.0..1.0).contains(&threshold) => {
                return wrong("`schedule.plateau.threshold` must be 0 or more and under 1".into());
            }
            Schedule::Plateau { on: Some(Watch::Validation), .. } if self.validate.is_none() => {
                return wrong(
                    "`schedule: {plateau: {on: validation}}` needs `validate: {every: …}`".into(),
                );
            }
            Schedule::Plateau { lowest, .. } | Schedule::Cosine { lowest }
                if !(0.0..=self.learning_rate).contains(&lowest) =>
            {
                return wrong(format!(
                    "`schedule`: `lowest` is {lowest}; expected 0 to the learning rate, {}",
                    self.learning_rate
                ));
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
        if let Some(Validate { every, .. }) = self.validate
            && every > self.epochs
        {
            return wrong(format!(
                "`validate.every` is {every}, and there are {} epochs: nothing would be measured",
                self.epochs
            ));
        }
        match self.stop {
            Some(Stop { on: Watch::Validation, .. }) if self.validate.is_none() => {
                wrong("`stop: {on: validation}` needs `validate: {every: …}`".into())
            }
            Some(Stop { patience: 0, .. }) => wrong("`stop.patience` is 0".into()),
            _ => Ok(()),
        }
    }
}

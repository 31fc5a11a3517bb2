//! Settings of the training loop.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::nn::optimizer::Optimizer;

/// What the loop goes by. Tasks read these from the experiment file beside settings of their own.
#[derive(Clone, Debug, PartialEq)]
pub struct LoopSettings {
    /// The most passes over the examples.
    pub epochs: usize,
    pub optimizer: Optimizer,
    pub learning_rate: f64,
    pub weight_decay: f64,
    /// Longest gradient; longer ones are scaled down to it.
    pub clip: Option<f64>,
    pub schedule: Schedule,
    /// Epochs between measurements on validation data; none where it is not measured.
    pub validate_every: Option<usize>,
    /// Ends before `epochs`.
    pub stop: Option<Stop>,
    /// Which epoch's parameters are kept.
    pub keep: Option<Keep>,
    /// The learning rate of every epoch, in place of `schedule`.
    pub rates: Option<Vec<f64>>,
}

impl Default for LoopSettings {
    fn default() -> Self {
        Self {
            epochs: 100,
            optimizer: Optimizer::Adam,
            learning_rate: 1e-3,
            weight_decay: 0.0,
            clip: None,
            schedule: Schedule::Constant,
            validate_every: None,
            stop: None,
            keep: None,
            rates: None,
        }
    }
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
        /// What the rate is multiplied with.
        #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
        factor: f64,
        /// Measurements without an improvement before that.
        patience: usize,
        /// The rate does not fall below it.
        #[schemars(range(min = 0))]
        lowest: f64,
        /// What has to improve. By default the validation metric where it is measured, else the
        /// training loss.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        on: Option<Watch>,
        /// By which share of the best so far it has to improve. PyTorch's `ReduceLROnPlateau` has 1e-4.
        #[serde(default, skip_serializing_if = "is_zero")]
        #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
        threshold: f64,
    },
    /// Along half a cosine from the learning rate to `lowest` over all epochs.
    Cosine {
        /// The rate after the last epoch.
        #[schemars(range(min = 0))]
        lowest: f64,
    },
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// Early stopping.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// What has to improve.
    pub on: Watch,
    /// Measurements (of the training loss: epochs) without an improvement.
    #[schemars(range(min = 1))]
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

impl LoopSettings {
    /// What says which epoch is kept; none where the last one is.
    pub(super) fn keeps_best_by(&self) -> Option<Watch> {
        match (self.keep, self.validate_every) {
            (Some(Keep::Last), _) | (None, None) => None,
            (_, Some(_)) => Some(Watch::Validation),
            (Some(Keep::Best), None) => Some(Watch::TrainingLoss),
        }
    }

    /// What the plateau schedule looks at where the file does not say.
    pub(super) fn plateau_watches(&self, on: Option<Watch>) -> Watch {
        match self.validate_every {
            Some(_) => on.unwrap_or(Watch::Validation),
            None => on.unwrap_or(Watch::TrainingLoss),
        }
    }

    /// The learning rate of an epoch, before any plateau.
    pub(super) fn scheduled(&self, epoch: usize) -> f64 {
        match self.schedule {
            Schedule::Cosine { lowest } => {
                let done = epoch as f64 / self.epochs as f64;
                lowest
                    + (self.learning_rate - lowest)
                        * 0.5
                        * (1.0 + (std::f64::consts::PI * done).cos())
            }
            _ => self.learning_rate,
        }
    }

    /// What is wrong with the first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        let wrong = |message: &str| Err(message.to_owned());
        if self.epochs == 0 {
            return wrong("`epochs` is 0");
        }
        let rate = "learning rate or weight decay is";
        if !(self.learning_rate > 0.0 && self.learning_rate.is_finite()) {
            return Err(format!("{rate} {}; expected a number greater than 0", self.learning_rate));
        }
        if !(self.weight_decay >= 0.0 && self.weight_decay.is_finite()) {
            return Err(format!("{rate} {}; expected 0 or more", self.weight_decay));
        }
        if self.clip.is_some_and(|clip| clip <= 0.0 || !clip.is_finite()) {
            return wrong("`clip` must be over 0");
        }
        let measures = self.validate_every.is_some();
        match self.schedule {
            Schedule::Plateau { factor, .. } if !(0.0..1.0).contains(&factor) => {
                return wrong("`schedule.plateau.factor` must be under 1");
            }
            Schedule::Plateau { threshold, .. } if !(0.0..1.0).contains(&threshold) => {
                return wrong("`schedule.plateau.threshold` must be 0 or more and under 1");
            }
            Schedule::Plateau { on: Some(Watch::Validation), .. } if !measures => {
                return wrong(
                    "`schedule: {plateau: {on: validation}}` needs `validate: {every: …}`",
                );
            }
            Schedule::Plateau { lowest, .. } | Schedule::Cosine { lowest }
                if !(0.0..=self.learning_rate).contains(&lowest) =>
            {
                return Err(format!(
                    "`schedule`: `lowest` is {lowest}; expected 0 to the learning rate, {}",
                    self.learning_rate
                ));
            }
            _ => {}
        }
        if let Some(every) = self.validate_every.filter(|every| *every > self.epochs) {
            return Err(format!(
                "`validate.every` is {every}, and there are {} epochs: nothing would be measured",
                self.epochs
            ));
        }
        match self.stop {
            Some(Stop { on: Watch::Validation, .. }) if !measures => {
                wrong("`stop: {on: validation}` needs `validate: {every: …}`")
            }
            Some(Stop { patience: 0, .. }) => wrong("`stop.patience` is 0"),
            _ => Ok(()),
        }
    }
}

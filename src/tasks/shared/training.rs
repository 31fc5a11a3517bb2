//! Settings that all networks share: those of the training loop, of negatives and of validation.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    nn::{
        device,
        learn::{Keep, LoopSettings, Schedule, Stop},
        optimizer::Optimizer,
        sampler::{Draw, Negatives},
    },
    ranking::{LAST_CUTOFF, Metric, Spelling},
};

/// How a network is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Training {
    /// Passes over the training positives.
    #[schemars(range(min = 1))]
    pub epochs: usize,
    /// Positives a step; 0: all at once. By default 2048, and all for `gat`, whose pass over the graph
    /// costs the same for any number. Of `mult-vae` users, by default 500.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// How parameters follow the gradient.
    pub optimizer: Optimizer,
    /// Step size of the optimiser, where `schedule` begins.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub learning_rate: f64,
    /// Pull of all parameters towards 0, by the optimiser; `regularization` is a part of the loss.
    #[schemars(range(min = 0))]
    pub weight_decay: f64,
    /// Longest gradient; longer ones are scaled down to it.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub clip: Option<f64>,
    pub schedule: Schedule,
    /// Items that positives are compared with.
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

/// A measurement on the validation part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Validate {
    /// Epochs between measurements.
    #[schemars(range(min = 1))]
    pub every: usize,
    /// What is measured.
    #[schemars(with = "Spelling")]
    pub metric: Metric,
    /// Its cutoff.
    #[schemars(range(min = 1, max = 1000000))]
    pub k: usize,
}

impl Default for Validate {
    fn default() -> Self {
        Self { every: 5, metric: Metric::Ndcg, k: 10 }
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
        false => Err((name, format!("is {value}; expected a number greater than 0"))),
    }
}

/// Refuses a negative number.
pub fn not_negative(name: &'static str, value: f64) -> Result<(), Wrong> {
    match value >= 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err((name, format!("is {value}; expected 0 or more"))),
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
        false => Err((name, format!("is {value}; expected at least 0 and less than 1"))),
    }
}

impl Training {
    /// The settings of the training loop among these.
    pub(in crate::tasks) fn of_loop(&self) -> LoopSettings {
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
            rates: self.rates.clone(),
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

    /// The same for so many epochs, with the learning rate of each where they are given, and without
    /// measuring anything on the way. The last parameters are kept.
    pub fn following(&self, epochs: usize, rates: Option<Vec<f64>>) -> Self {
        Self { epochs, rates, validate: None, stop: None, keep: None, ..self.clone() }
    }

    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), Wrong> {
        let wrong = |message: String| Err(("training", message));
        self.of_loop().validate().map_err(|message| ("training", message))?;
        if let Err(message) = device::validate(&self.device) {
            return wrong(format!("`device` {message}"));
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
            return wrong("`validate` needs `every` ≥ 1, `k` ≥ 1 and a metric of relevance".into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As an experiment file is read: serde_yaml alone would ask for tags.
    fn read(yaml: &str) -> Result<Training, serde_json::Error> {
        serde_json::from_value(serde_yaml::from_str(yaml).unwrap())
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for (yaml, says) in [
            ("{stop: {on: validation, patience: 2}}", "needs `validate"),
            (
                "{schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0, on: validation}}}",
                "needs `validate",
            ),
            ("{epochs: 4, validate: {every: 5}}", "nothing would be measured"),
            (
                "{learning_rate: 0.001, schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0.01}}}",
                "`lowest` is 0.01",
            ),
            ("{learning_rate: 0.001, schedule: {cosine: {lowest: 0.01}}}", "`lowest` is 0.01"),
            (
                "{learning_rate: 0}",
                "learning rate or weight decay is 0; expected a number greater than 0",
            ),
            ("{validate: {every: 0}}", "`validate` needs `every` ≥ 1"),
        ] {
            let settings = read(yaml).unwrap();
            let (_, message) = settings.validate().unwrap_err();
            assert!(message.contains(says), "{yaml}: {message}");
        }
        let mistyped = "{schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0, treshold: 1}}}";
        assert!(read(mistyped).is_err());
    }

    #[test]
    fn settings_of_the_loop_are_those_of_the_file_and_have_the_same_defaults() {
        assert_eq!(Training::default().of_loop(), LoopSettings::default());
        let yaml = "{epochs: 7, learning_rate: 0.5, weight_decay: 0.1, clip: 2, optimizer: adamw, keep: \
                    last, validate: {every: 3}, stop: {on: validation, patience: 2}}";
        let of_loop = read(yaml).unwrap().of_loop();
        assert_eq!((of_loop.epochs, of_loop.validate_every), (7, Some(3)));
        assert_eq!((of_loop.learning_rate, of_loop.weight_decay), (0.5, 0.1));
        assert_eq!((of_loop.clip, of_loop.optimizer), (Some(2.0), Optimizer::Adamw));
        assert!(of_loop.keep == Some(Keep::Last) && of_loop.stop.is_some());
    }
}

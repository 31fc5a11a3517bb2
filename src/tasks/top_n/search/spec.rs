//! `search:` of a system: its settings, and the values to try (a grid or random draws).

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    data::{Cut, CutBy},
    ranking::{LAST_CUTOFF, Metric, Spelling},
};

/// How settings are searched: the `search:` of a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchSpec {
    /// Number of random settings to try; without it, all combinations of the lists in `over` (a grid).
    #[serde(default)]
    #[schemars(range(min = 1, max = 10000))]
    pub trials: Option<usize>,
    /// Seed of the random settings, the validation part, and the models.
    #[serde(default = "one")]
    pub seed: u64,
    /// The fields to tune (`layers`, `training.learning_rate`) with their values.
    #[schemars(extend("minProperties" = 1))]
    pub over: std::collections::BTreeMap<String, Over>,
    /// What is measured on the validation part.
    #[serde(default = "ndcg")]
    #[schemars(with = "Spelling")]
    pub metric: Metric,
    /// Its cutoff.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000000))]
    pub k: usize,
    /// Share of the training ratings in the validation part.
    #[serde(default = "tenth")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub validation: f64,
    /// Selection of these ratings: `time`, the latest (the default with `temporal` and `leave-one-out`), or `random` (the
    /// default with other splits).
    #[serde(default, skip_serializing)]
    pub by: Option<CutBy>,
    /// The resulting selection with the experiment's split.
    #[serde(skip_deserializing, skip_serializing_if = "Cut::is_random")]
    #[schemars(skip)]
    pub cut: Cut,
}

fn one() -> u64 {
    1
}

fn ndcg() -> Metric {
    Metric::Ndcg
}

fn ten() -> usize {
    10
}

fn tenth() -> f64 {
    0.1
}

/// The values of one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a list of values, {log: [low, high]} or {uniform: [low, high]}"
)]
pub enum Over {
    /// One of these.
    Choice(#[schemars(with = "Vec<serde_json::Value>", length(min = 1))] Vec<serde_yaml::Value>),
    Range(Range),
}

/// A range that random settings are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Range {
    /// Uniformly between two numbers.
    Uniform([f64; 2]),
    /// Log-uniformly between two positive numbers.
    Log([f64; 2]),
}

/// The maximum number of trials.
const MOST_TRIALS: usize = 10_000;

/// Settings of one trial: field and value.
pub type Levels = Vec<(String, serde_yaml::Value)>;

impl SearchSpec {
    /// The first problem, if any.
    pub fn validate(&self) -> Result<(), String> {
        if self.over.is_empty() {
            return Err("`search.over` is empty".into());
        }
        if !(1..=LAST_CUTOFF).contains(&self.k) {
            return Err(format!("`search.k` must be 1 to {LAST_CUTOFF}"));
        }
        let in_grid = self.over.values().map(|over| match over {
            Over::Choice(values) => values.len(),
            Over::Range(_) => 1,
        });
        let trials = self.trials.unwrap_or_else(|| in_grid.fold(1, usize::saturating_mul));
        if trials > MOST_TRIALS || self.trials == Some(0) {
            return Err(format!("the search has {trials} trials; expected 1 to {MOST_TRIALS}"));
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            return Err("`search.validation` must be between 0 and 1".into());
        }
        if self.metric.is_of_all_lists() || self.metric == Metric::Novelty {
            return Err(format!(
                "`search.metric` cannot be `{}`: it does not measure relevance",
                self.metric
            ));
        }
        for (field, over) in &self.over {
            match over {
                Over::Choice(values) if values.is_empty() => {
                    return Err(format!("`search.over.{field}` is empty"));
                }
                Over::Range(_) if self.trials.is_none() => {
                    return Err(format!(
                        "`search.over.{field}` is a range, but a grid needs lists; give `trials` for a random \
                         search"
                    ));
                }
                Over::Range(Range::Uniform([low, high]) | Range::Log([low, high]))
                    if low >= high =>
                {
                    return Err(format!("`search.over.{field}`: {low} is not less than {high}"));
                }
                Over::Range(Range::Log([low, _])) if *low <= 0.0 => {
                    return Err(format!(
                        "`search.over.{field}`: a logarithmic range needs numbers greater than 0"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All combinations of the lists.
    pub(super) fn grid(&self) -> Vec<Levels> {
        let mut grid: Vec<Levels> = vec![Vec::new()];
        for (field, over) in &self.over {
            let Over::Choice(values) = over else { continue };
            grid = grid
                .iter()
                .flat_map(|levels| {
                    values.iter().map(|value| {
                        let mut levels = levels.clone();
                        levels.push((field.clone(), value.clone()));
                        levels
                    })
                })
                .collect();
        }
        grid
    }

    /// The number of different settings, where it is finite.
    pub(super) fn n_settings(&self) -> usize {
        let of = |over: &Over| match over {
            Over::Choice(values) => values.len(),
            Over::Range(_) => usize::MAX,
        };
        self.over.values().map(of).fold(1, usize::saturating_mul)
    }

    /// Random settings, one after the other.
    pub(super) fn draws(&self) -> impl Iterator<Item = Levels> + '_ {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut draw = move |over: &Over| match over {
            Over::Choice(values) => values[random.random_range(0..values.len())].clone(),
            Over::Range(Range::Uniform([low, high])) => short(random.random_range(*low..*high)),
            Over::Range(Range::Log([low, high])) => {
                short(random.random_range(low.ln()..high.ln()).exp())
            }
        };
        std::iter::repeat_with(move || {
            self.over.iter().map(|(field, over)| (field.clone(), draw(over))).collect()
        })
    }
}

impl SearchSpec {
    /// The different settings to try, where they can be told apart as they are written.
    pub(in crate::tasks::top_n) fn levels(&self) -> Vec<Levels> {
        let Some(trials) = self.trials else { return self.grid() };
        let mut levels: Vec<Levels> = Vec::new();
        for drawn in self.draws().take(most_draws(trials)) {
            if !levels.contains(&drawn) {
                levels.push(drawn);
            }
            if levels.len() == trials.min(self.n_settings()) {
                break;
            }
        }
        levels
    }
}

/// How many draws a search of so many trials takes before it ends with fewer: settings that differ as they are written
/// may be the same to the model.
pub(super) fn most_draws(trials: usize) -> usize {
    1000 + 20 * trials
}

/// Three digits are as good as sixteen, and can be read.
fn short(value: f64) -> serde_yaml::Value {
    format!("{value:.2e}").parse::<f64>().unwrap_or(value).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(yaml: &str) -> SearchSpec {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn a_grid_is_every_combination_and_random_settings_are_reproducible() {
        let grid = spec("over: {layers: [1, 2], factors: [16, 32, 64]}");
        assert!(grid.validate().is_ok());
        assert_eq!((grid.grid().len(), grid.n_settings()), (6, 6));
        let random = spec("{trials: 20, over: {rate: {log: [0.001, 0.1]}, layers: [1, 2, 3]}}");
        assert!(random.validate().is_ok());
        let draws = || -> Vec<Levels> { random.draws().take(20).collect() };
        let levels = draws();
        assert_eq!(levels, draws());
        let rates: Vec<f64> = levels.iter().map(|levels| levels[1].1.as_f64().unwrap()).collect();
        assert!(rates.iter().all(|rate| (0.001..0.1).contains(rate)), "{rates:?}");
        assert!(rates.iter().any(|rate| *rate < 0.01) && rates.iter().any(|rate| *rate > 0.01));
        assert!(spec("over: {rate: {log: [0.001, 0.1]}}").validate().is_err());
        assert!(spec("{trials: 3, over: {rate: {log: [0.1, 0.001]}}}").validate().is_err());
    }
}

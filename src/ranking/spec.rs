//! The `evaluate:` section of an experiment.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Convention, Metric, Protocol, Slice, Ties};
use crate::base::lists::{OneOrMore, one_or_more};

/// How rankings are scored. Every pair of a protocol and a convention that applies to it is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScoreSpec {
    /// What is ranked.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore<Protocol>")]
    pub protocols: Vec<Protocol>,
    /// How metrics are computed and averaged.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore<Convention>")]
    pub conventions: Vec<Convention>,
    /// Cutoffs: every metric is computed at each.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore<Cutoff>")]
    pub k: Vec<usize>,
    /// Groups of users.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore<Slice>")]
    pub slices: Vec<Slice>,
    /// Metrics, also as papers write them (`nDCG@10`, `HR@10`). A cutoff behind `@` is one of `k`; without `k`, those
    /// cutoffs are `k`.
    #[serde(deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore<super::Spelling>")]
    pub metrics: Vec<Metric>,
    /// Settings of the protocol `sampled`.
    pub sampled: Sampled,
    /// How many items of each user's full ranking are stored.
    pub depth: usize,
    /// Which of two items with equal scores goes first: `lower-id`, `random`, or `random@7` with a seed.
    #[serde(skip_serializing_if = "Ties::is_default")]
    pub ties: Ties,
    /// Recommendations for users without history: the most popular items, or nothing.
    pub fallback: Fallback,
}

/// Settings of the protocol `sampled`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampled {
    /// Unseen items drawn for each user.
    #[schemars(range(min = 1))]
    pub negatives: usize,
    /// Seed of the draw.
    pub seed: u64,
}

impl Default for Sampled {
    fn default() -> Self {
        Self { negatives: 100, seed: 42 }
    }
}

impl Default for ScoreSpec {
    fn default() -> Self {
        Self {
            protocols: vec![Protocol::Full],
            conventions: vec![Convention::Standard],
            k: vec![10],
            slices: vec![Slice::All],
            metrics: vec![
                Metric::Precision,
                Metric::Recall,
                Metric::Ndcg,
                Metric::Map,
                Metric::Mrr,
                Metric::HitRate,
                Metric::ItemCoverage,
                Metric::Novelty,
                Metric::Gini,
            ],
            sampled: Sampled::default(),
            depth: 50,
            ties: Ties::LowerId,
            fallback: Fallback::Popularity,
        }
    }
}

/// What users without a history in the training part get from models that go by one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Fallback {
    /// The items with the most liked ratings in the training part.
    #[default]
    Popularity,
    /// No list.
    None,
}

crate::base::names::named!(Fallback, "fallback", {
    Popularity => "popularity",
    None => "none",
});

/// The schema of a cutoff.
struct Cutoff;

impl JsonSchema for Cutoff {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Cutoff".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "integer", "minimum": 1, "maximum": LAST_CUTOFF})
    }
}

/// The largest cutoff: no catalogue is longer, and sums are held for every rank up to it.
pub const LAST_CUTOFF: usize = 1_000_000;

impl ScoreSpec {
    /// Refuses empty and contradictory settings.
    pub fn validate(&self) -> Result<(), String> {
        for (name, empty) in [
            ("protocols", self.protocols.is_empty()),
            ("conventions", self.conventions.is_empty()),
            ("k", self.k.is_empty()),
            ("slices", self.slices.is_empty()),
            ("metrics", self.metrics.is_empty()),
        ] {
            if empty {
                return Err(format!("`evaluate.{name}` is empty"));
            }
        }
        if self.k.contains(&0) {
            return Err("`evaluate.k` holds 0; a cutoff is 1 or more".into());
        }
        if let Some(k) = self.k.iter().find(|k| self.k.iter().filter(|of| of == k).count() > 1) {
            return Err(format!("`evaluate.k` holds {k} twice"));
        }
        if let Some(k) = self.k.iter().find(|k| **k > LAST_CUTOFF) {
            return Err(format!("`evaluate.k` holds {k}; the largest cutoff is {LAST_CUTOFF}"));
        }
        let idle = self
            .conventions
            .iter()
            .find(|convention| !self.protocols.iter().any(|p| convention.applies_to(*p)));
        if let Some(convention) = idle {
            return Err(format!(
                "the convention `{convention}` applies to none of the protocols; add the protocol \
                 `judged-after-cut`"
            ));
        }
        if self.sampled.negatives == 0 {
            return Err("`evaluate.sampled.negatives` is 0".into());
        }
        Ok(())
    }

    /// The same with cutoffs ascending and nothing twice.
    pub fn normalised(&self) -> Self {
        let mut spec = self.clone();
        spec.k.sort_unstable();
        spec.k.dedup();
        fn distinct<T: PartialEq + Copy>(values: &mut Vec<T>) {
            let mut seen: Vec<T> = Vec::new();
            values.retain(|value| {
                let new = !seen.contains(value);
                seen.push(*value);
                new
            });
        }
        distinct(&mut spec.protocols);
        distinct(&mut spec.conventions);
        distinct(&mut spec.slices);
        distinct(&mut spec.metrics);
        spec.depth = spec.depth.max(spec.k.last().copied().unwrap_or(0));
        spec
    }

    /// The pairs of protocol and convention that are computed.
    pub fn pairs(&self) -> impl Iterator<Item = (Protocol, Convention)> + '_ {
        self.protocols.iter().flat_map(|protocol| {
            let applies = self.conventions.iter().filter(|c| c.applies_to(*protocol));
            applies.map(|convention| (*protocol, *convention))
        })
    }
}

//! The settings of a reranker: `model: rerank` in a system.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{model::neural::mix, text::TextSpec};

/// How a judge is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Once, for the order of the whole pool.
    Prompt,
    /// For one of two at a time, into a search tree that is kept balanced.
    Bst,
    /// For the order of overlapping batches, merged by Borda counts.
    Batch,
    /// For scores from 0 to 100 in batches, each item in several of them, averaged.
    Relevancy,
}

impl Strategy {
    /// The name it goes by.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Bst => "bst",
            Self::Batch => "batch",
            Self::Relevancy => "relevancy",
        }
    }
}

/// Who is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", from = "String")]
pub enum JudgeName {
    /// The cosine of the vectors of the user's and the item's profile: free, offline.
    Encoder,
    /// How many liked the item in training.
    Popularity,
    /// Nothing: any order. The floor.
    Shuffle,
    /// The test part itself: the ceiling of any reranking of this pool.
    Oracle,
    /// One of the experiment's `judges`.
    Chat(String),
}

impl From<String> for JudgeName {
    fn from(name: String) -> Self {
        match name.as_str() {
            "encoder" => Self::Encoder,
            "popularity" => Self::Popularity,
            "shuffle" => Self::Shuffle,
            "oracle" => Self::Oracle,
            _ => Self::Chat(name),
        }
    }
}

impl From<JudgeName> for String {
    fn from(name: JudgeName) -> Self {
        match name {
            JudgeName::Encoder => "encoder".into(),
            JudgeName::Popularity => "popularity".into(),
            JudgeName::Shuffle => "shuffle".into(),
            JudgeName::Oracle => "oracle".into(),
            JudgeName::Chat(name) => name,
        }
    }
}

/// How the judge's order and the base's become one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fuse {
    /// The judge's weight; the base has the rest.
    pub judge: f64,
    pub by: FuseBy,
}

/// What is weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FuseBy {
    /// Places, from 1 for the first down to 1/n for the last, as the authors do.
    #[default]
    Rank,
    /// The judge's merits and the base's scores, each set to 0..1 over the pool.
    Score,
}

impl Default for Fuse {
    fn default() -> Self {
        Self { judge: 0.8, by: FuseBy::Rank }
    }
}

/// A reranker over another system of the experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RerankParams {
    /// The base system's name, with the levels of its sweeps: `gat[cosine=on]`.
    pub of: String,
    pub strategy: Strategy,
    /// encoder, popularity, shuffle, oracle, or one of the experiment's `judges`.
    pub judge: JudgeName,
    /// Texts about users and items.
    pub text: TextSpec,
    /// How many of the base's best are reranked; the rest follow as they were. The authors: 20, and 30
    /// for `batch`.
    #[serde(default = "twenty")]
    pub pool: usize,
    #[serde(default)]
    pub fuse: Fuse,
    /// Whom it is for; the lists of others stay as the base made them.
    #[serde(default)]
    pub users: Users,
    /// Items of a batch.
    #[serde(default = "five")]
    pub batch: usize,
    /// `batch`: items that a batch shares with the one before.
    #[serde(default = "two")]
    pub overlap: usize,
    /// `relevancy`: batches that each item is in.
    #[serde(default = "three")]
    pub rounds: usize,
    /// `bst`: share of comparisons that are asked again in swapped order.
    #[serde(default = "tenth")]
    pub recheck: f64,
}

/// Whom a reranker is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Users {
    /// Those with fewer training interactions, as the slice `cold<N>`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cold: Option<usize>,
    /// So many of them, drawn at random.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sample: Option<usize>,
    /// Of the draw.
    #[serde(skip_serializing_if = "is_zero")]
    pub seed: u64,
}

fn is_zero(seed: &u64) -> bool {
    *seed == 0
}

impl Users {
    /// Which users these are; `training` has the number of training interactions of each.
    pub fn of(&self, training: &[usize]) -> Vec<bool> {
        let fits = |user: &usize| self.cold.is_none_or(|cold| training[*user] < cold);
        let mut users: Vec<usize> = (0..training.len()).filter(fits).collect();
        if let Some(sample) = self.sample.filter(|sample| *sample < users.len()) {
            // By a hash of their own, so that a larger sample holds the smaller one.
            users.sort_by_key(|user| mix(mix(self.seed.wrapping_add(1)) ^ *user as u64));
            users.truncate(sample);
        }
        let mut chosen = vec![false; training.len()];
        users.into_iter().for_each(|user| chosen[user] = true);
        chosen
    }
}

fn twenty() -> usize {
    20
}

fn five() -> usize {
    5
}

fn two() -> usize {
    2
}

fn three() -> usize {
    3
}

fn tenth() -> f64 {
    0.1
}

impl RerankParams {
    /// Most questions that one user takes.
    pub fn questions(&self) -> usize {
        let n = self.pool;
        match self.strategy {
            Strategy::Prompt => 1,
            Strategy::Bst => {
                // The place of each item among those before it, found by halving.
                let halvings = |at: usize| (usize::BITS - at.leading_zeros()) as usize;
                let once: usize = (1..n).map(halvings).sum();
                once + (once as f64 * self.recheck).ceil() as usize
            }
            Strategy::Batch => super::batch::windows(n, self.batch, self.overlap).len(),
            Strategy::Relevancy => self.rounds * n.div_ceil(self.batch),
        }
    }

    /// Items of one question.
    pub fn items_a_question(&self) -> usize {
        match self.strategy {
            Strategy::Prompt => self.pool,
            Strategy::Bst => 2,
            Strategy::Batch | Strategy::Relevancy => self.batch.min(self.pool),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), (&'static str, String)> {
        self.text.encoder.validate().map_err(|message| ("text", message))?;
        let within = |name: &'static str, value: usize, low: usize, high: usize| match (low..=high)
            .contains(&value)
        {
            true => Ok(()),
            false => Err((name, format!("is {value}; expected {low} to {high}"))),
        };
        within("pool", self.pool, 2, 1000)?;
        within("batch", self.batch, 2, 100)?;
        within("overlap", self.overlap, 0, self.batch - 1)?;
        within("rounds", self.rounds, 1, 20)?;
        for (name, value) in [("fuse", self.fuse.judge), ("recheck", self.recheck)] {
            if !(0.0..=1.0).contains(&value) {
                return Err((name, format!("holds {value}; expected 0 to 1")));
            }
        }
        Ok(())
    }
}

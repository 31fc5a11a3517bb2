//! The settings of a reranker: `model: rerank` in a system.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{batch, explain::ExplainSpec};
use crate::{
    data::{DataDirs, DataError},
    ranking::Slice,
    text::{Prompt, PromptFile, TextSpec},
};

const ORDER: (&str, &str) =
    ("prompts/rerank-order.md", include_str!("../../../../prompts/rerank-order.md"));
const PAIR: (&str, &str) =
    ("prompts/rerank-pair.md", include_str!("../../../../prompts/rerank-pair.md"));
const RELEVANCY: (&str, &str) =
    ("prompts/rerank-relevancy.md", include_str!("../../../../prompts/rerank-relevancy.md"));

/// The questions to a judge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// One question about the order of the whole pool.
    Prompt,
    /// Pairwise comparisons, sorted by a balanced search tree.
    Bst,
    /// The order of overlapping batches, which are merged.
    Batch,
    /// Scores in batches, averaged.
    Relevancy,
}

/// Whether a strategy follows the paper of Ebrat et al. 2025 or their released code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// As in the paper; what the paper leaves open is chosen by assay: batches include the last item and are merged by
    /// Borda counts, every item is scored from 0 to 100 in `rounds` batches, and `fuse` combines the result with the base.
    #[default]
    Paper,
    /// As in the released code: `prompt` fuses ranks, and the weight of the judge is .9 for its first five, .7 for the next
    /// five and .5 after that; `batch` starts batches at 0, `batch` - `overlap`, … as long as a whole batch fits, merges
    /// them by TrueSkill and does not fuse; `relevancy` scores from 1 to 100 in such batches and fuses the mean (.8) with
    /// the base's rank (.2). `bst` does not exist in the code.
    Code,
}

impl Variant {
    fn is_paper(&self) -> bool {
        *self == Self::Paper
    }
}

impl Strategy {
    /// Its name in experiment files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Prompt => "prompt",
            Self::Bst => "bst",
            Self::Batch => "batch",
            Self::Relevancy => "relevancy",
        }
    }

    /// Name and text of the built-in prompt.
    fn prompt(self) -> (&'static str, &'static str) {
        match self {
            Self::Prompt | Self::Batch => ORDER,
            Self::Bst => PAIR,
            Self::Relevancy => RELEVANCY,
        }
    }
}

/// The judge of a reranker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(into = "String", from = "String")]
pub enum JudgeName {
    /// Cosine similarity of the embeddings of the user's and the item's profile: free and offline.
    Encoder,
    /// Number of users with a positive rating of the item in training.
    Popularity,
    /// A random order: the random reranker.
    Shuffle,
    /// The test part: relevant items first (higher ratings first), then unjudged ones, then irrelevant ones. The oracle
    /// upper bound of any reranking of this pool.
    Oracle,
    /// One of the experiment's `endpoints`.
    Chat(String),
}

impl JudgeName {
    /// Names of the judges that are no chat models.
    pub const CONTROLS: [&str; 4] = ["encoder", "popularity", "shuffle", "oracle"];

    /// Whether it sends no requests.
    pub fn is_control(&self) -> bool {
        !matches!(self, Self::Chat(_))
    }
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

/// Fusion of the orders of judge and base.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fuse {
    /// The weight of the judge; the base has the rest.
    #[schemars(range(min = 0, max = 1))]
    pub judge: f64,
    pub by: FuseBy,
}

/// What is weighted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FuseBy {
    /// Ranks, from 1 for the first item down to 1/n for the last.
    #[default]
    Rank,
    /// The judge's merits and the base's scores, each scaled to 0..1 over the pool.
    Score,
}

impl FuseBy {
    /// Its name in experiment files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rank => "rank",
            Self::Score => "score",
        }
    }
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
    /// encoder, popularity, shuffle, oracle, or one of the experiment's `endpoints`.
    pub judge: JudgeName,
    /// Texts about users and items.
    pub text: TextSpec,
    /// `paper` (the default) or `code`.
    #[serde(default, skip_serializing_if = "Variant::is_paper")]
    pub variant: Variant,
    /// How many of the base's best items are reranked; the rest follow in the base's order.
    #[serde(default = "twenty")]
    #[schemars(range(min = 2, max = 1000))]
    pub pool: usize,
    /// Fusion of the orders of judge and base; by default 80:20 by rank. The variant `code` has its own fusion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuse: Option<Fuse>,
    /// The slice of users whose lists are reranked; other users keep the base's lists.
    #[serde(default, skip_serializing_if = "is_all")]
    pub users: Slice,
    /// Items in a batch.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 100))]
    pub batch: usize,
    /// Items that a batch shares with the previous one; by default 2 for `batch`, and 0 for `relevancy` as in the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<usize>,
    /// `relevancy` as in the paper: number of batches of each item, by default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub rounds: Option<usize>,
    /// `bst`: share of comparisons that are repeated in swapped order.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0, max = 1))]
    pub recheck: f64,
    /// A prompt file to use instead of that of the strategy (`prompts/rerank-*.md`); for chat models.
    #[serde(default, skip_serializing_if = "PromptFile::is_built_in")]
    pub prompt: PromptFile,
    /// Explains the best items of every list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub explain: Option<ExplainSpec>,
}

fn is_all(slice: &Slice) -> bool {
    *slice == Slice::All
}

fn twenty() -> usize {
    20
}

fn five() -> usize {
    5
}

fn tenth() -> f64 {
    0.1
}

impl RerankParams {
    /// The prompt for a chat model.
    pub fn read_prompt(&self, dirs: &DataDirs) -> Result<Prompt, DataError> {
        let (name, text) = self.strategy.prompt();
        self.prompt.read(name, text, dirs)
    }

    /// Sets the directory of the experiment file, where prompt files are looked for.
    pub(crate) fn set_directory(&mut self, directory: &std::path::Path) {
        self.prompt.directory = directory.to_owned();
        if let Some(explain) = &mut self.explain {
            explain.prompt.directory = directory.to_owned();
        }
    }

    /// The fusion; not for the variant `code`.
    pub fn fuse(&self) -> Fuse {
        self.fuse.unwrap_or_default()
    }

    pub(super) fn rounds(&self) -> usize {
        self.rounds.unwrap_or(3)
    }

    fn overlap(&self) -> usize {
        self.overlap.unwrap_or(match self.strategy {
            Strategy::Batch => 2,
            _ => 0,
        })
    }

    /// First and last rank (exclusive) of the batches of a pool of `n`.
    pub(super) fn windows(&self, n: usize) -> Vec<(usize, usize)> {
        match self.variant {
            Variant::Paper => batch::windows(n, self.batch, self.overlap()),
            Variant::Code => {
                let whole = batch::whole_windows(n, self.batch, self.overlap());
                // A pool shorter than a batch is scored as one batch, but it is not ranked.
                match self.strategy {
                    Strategy::Relevancy if whole.is_empty() => vec![(0, n)],
                    _ => whole,
                }
            }
        }
    }

    /// Number of batches of an item of a full pool, by rank of the base; none if the strategy has no batches.
    pub fn batches_of_items(&self) -> Option<Vec<usize>> {
        match (self.strategy, self.variant) {
            (Strategy::Prompt | Strategy::Bst, _) => None,
            (Strategy::Relevancy, Variant::Paper) => Some(vec![self.rounds(); self.pool]),
            _ => {
                let windows = self.windows(self.pool);
                let count = |at: usize| {
                    windows.iter().filter(|(start, end)| (*start..*end).contains(&at)).count()
                };
                Some((0..self.pool).map(count).collect())
            }
        }
    }

    /// Whether no reranking of the pool has a higher value: the oracle, with a strategy that keeps its order.
    pub fn is_upper_bound(&self) -> bool {
        self.judge == JudgeName::Oracle
            && self.variant == Variant::Paper
            && self.strategy != Strategy::Batch
    }

    /// Maximum number of questions for so many users. Repeated comparisons are drawn at random: the bound holds except with
    /// a probability of one in a million.
    pub fn questions(&self, users: u64) -> u64 {
        let n = self.pool;
        let of_one = match self.strategy {
            Strategy::Prompt => 1,
            // The rank of each item among the earlier ones, by binary search.
            Strategy::Bst => (1..n).map(|at| (usize::BITS - at.leading_zeros()) as usize).sum(),
            Strategy::Batch => self.windows(n).len(),
            Strategy::Relevancy => match self.variant {
                Variant::Paper => self.rounds() * n.div_ceil(self.batch),
                Variant::Code => self.windows(n).len(),
            },
        };
        let once = users * of_one as u64;
        if self.strategy != Strategy::Bst {
            return once;
        }
        let mean = once as f64 * self.recheck;
        let deviation = (mean * (1.0 - self.recheck)).sqrt();
        once + once.min((mean + 5.0 * deviation).ceil() as u64)
    }

    /// Items in one question.
    pub fn items_a_question(&self) -> usize {
        match self.strategy {
            Strategy::Prompt => self.pool,
            Strategy::Bst => 2,
            Strategy::Batch | Strategy::Relevancy => self.batch.min(self.pool),
        }
    }

    pub(crate) fn validate(&self) -> Result<(), (&'static str, String)> {
        self.text.validate_fixed().map_err(|message| ("text", message))?;
        let within = |name: &'static str, value: usize, low: usize, high: usize| match (low..=high)
            .contains(&value)
        {
            true => Ok(()),
            false => Err((name, format!("is {value}; expected {low} to {high}"))),
        };
        within("pool", self.pool, 2, 1000)?;
        within("batch", self.batch, 2, 100)?;
        if let Some(overlap) = self.overlap {
            within("overlap", overlap, 0, self.batch - 1)?;
        }
        if let Some(rounds) = self.rounds {
            within("rounds", rounds, 1, 20)?;
        }
        let unused = |name, message: &str| Err((name, message.to_owned()));
        if self.variant == Variant::Code {
            if self.strategy == Strategy::Bst {
                return unused(
                    "variant",
                    "is `code`, but the released code has no `bst`; expected paper",
                );
            }
            if self.judge == JudgeName::Oracle {
                return unused(
                    "variant",
                    "is `code`, which does not follow the oracle's order; expected paper",
                );
            }
            if self.fuse.is_some() {
                return unused(
                    "fuse",
                    "is given, but the variant `code` has its own fusion; remove it",
                );
            }
            if self.rounds.is_some() {
                return unused(
                    "rounds",
                    "is given, but the variant `code` has no rounds; remove it",
                );
            }
        }
        if let Some(explain) = &self.explain
            && !(1..=self.pool).contains(&explain.top)
        {
            let pool = self.pool;
            return Err((
                "explain",
                format!("`top` is {}; expected 1 to {pool}, the pool", explain.top),
            ));
        }
        for (name, value) in [("fuse", self.fuse().judge), ("recheck", self.recheck)] {
            if !(0.0..=1.0).contains(&value) {
                return Err((name, format!("is {value}; expected 0 to 1")));
            }
        }
        Ok(())
    }
}

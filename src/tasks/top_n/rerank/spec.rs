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

/// How a judge is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Once, for the order of the whole pool.
    Prompt,
    /// For one of two at a time, into a search tree that is kept balanced.
    Bst,
    /// For the order of overlapping batches, merged into one.
    Batch,
    /// For scores in batches, averaged.
    Relevancy,
}

/// Whether a strategy works as the paper of Ebrat et al. 2025 describes it or as their released code does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// As the paper describes it, with choices of assay where the paper leaves them open: batches reach the
    /// last item and are merged by Borda counts, every item is scored in `rounds` batches from 0 to 100, and
    /// `fuse` joins the result with the base.
    #[default]
    Paper,
    /// As the released code: `prompt` fuses ranks, the judge weighing .9 for its first five, .7 for the next
    /// five and .5 after that; `batch` starts batches at 0, `batch` - `overlap`, … as long as a whole one
    /// fits, merges them by TrueSkill and does not fuse; `relevancy` scores from 1 to 100 in such batches and
    /// fuses .8 of the mean with .2 of the base's rank. `bst` has no such variant.
    Code,
}

impl Variant {
    fn is_paper(&self) -> bool {
        *self == Self::Paper
    }
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

    /// The name and text of the prompt that comes with assay.
    fn prompt(self) -> (&'static str, &'static str) {
        match self {
            Self::Prompt | Self::Batch => ORDER,
            Self::Bst => PAIR,
            Self::Relevancy => RELEVANCY,
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
    /// Nothing: any order, the random reranker.
    Shuffle,
    /// The test part itself: relevant items first (the higher rated before others), then unjudged ones, then
    /// those judged irrelevant. The oracle upper bound of any reranking of this pool.
    Oracle,
    /// One of the experiment's `endpoints`.
    Chat(String),
}

impl JudgeName {
    /// The names of judges that are no chat models.
    pub const CONTROLS: [&str; 4] = ["encoder", "popularity", "shuffle", "oracle"];

    /// Whether it asks nobody.
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

/// How the judge's order and the base's become one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Fuse {
    /// The judge's weight; the base has the rest.
    #[schemars(range(min = 0, max = 1))]
    pub judge: f64,
    pub by: FuseBy,
}

/// What is weighed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FuseBy {
    /// Ranks, from 1 for the first down to 1/n for the last.
    #[default]
    Rank,
    /// The judge's merits and the base's scores, each set to 0..1 over the pool.
    Score,
}

impl FuseBy {
    /// The name it goes by.
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
    /// How many of the base's best are reranked; the rest follow as they were.
    #[serde(default = "twenty")]
    #[schemars(range(min = 2, max = 1000))]
    pub pool: usize,
    /// How the judge's order and the base's become one; by default 80:20 by rank. The variant `code` fuses
    /// in its own way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fuse: Option<Fuse>,
    /// Whom it is for, as a slice; the lists of others stay as the base made them.
    #[serde(default, skip_serializing_if = "is_all")]
    pub users: Slice,
    /// Items of a batch.
    #[serde(default = "five")]
    #[schemars(range(min = 2, max = 100))]
    pub batch: usize,
    /// Items that a batch shares with the one before, by default 2 for `batch`, and 0 for `relevancy` as in
    /// the code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<usize>,
    /// `relevancy` as in the paper: batches that each item is in, by default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 20))]
    pub rounds: Option<usize>,
    /// `bst`: share of comparisons that are asked again in swapped order.
    #[serde(default = "tenth")]
    #[schemars(range(min = 0, max = 1))]
    pub recheck: f64,
    /// A prompt of one's own in place of the strategy's (`prompts/rerank-*.md`); for chat models.
    #[serde(default, skip_serializing_if = "PromptFile::is_built_in")]
    pub prompt: PromptFile,
    /// Explains the best of every list.
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
    /// The prompt that a chat model is asked with.
    pub fn read_prompt(&self, dirs: &DataDirs) -> Result<Prompt, DataError> {
        let (name, text) = self.strategy.prompt();
        self.prompt.read(name, text, dirs)
    }

    /// Prompts of one's own are looked for beside the experiment file.
    pub(crate) fn set_directory(&mut self, directory: &std::path::Path) {
        self.prompt.directory = directory.to_owned();
        if let Some(explain) = &mut self.explain {
            explain.prompt.directory = directory.to_owned();
        }
    }

    /// How the judge's order and the base's become one; not for the variant `code`.
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
                // A pool shorter than a batch is scored in one; it is not put in order.
                match self.strategy {
                    Strategy::Relevancy if whole.is_empty() => vec![(0, n)],
                    _ => whole,
                }
            }
        }
    }

    /// By rank of the base, the number of batches that an item of a full pool is in; none where the strategy has no
    /// batches.
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

    /// Whether no reranking of the pool has a higher value: the oracle, asked in a way that follows its order.
    pub fn is_upper_bound(&self) -> bool {
        self.judge == JudgeName::Oracle
            && self.variant == Variant::Paper
            && self.strategy != Strategy::Batch
    }

    /// Most questions that so many users take. Which comparisons are asked again is drawn: the bound
    /// holds but for a chance of one in a million.
    pub fn questions(&self, users: u64) -> u64 {
        let n = self.pool;
        let of_one = match self.strategy {
            Strategy::Prompt => 1,
            // The place of each item among those before it, found by halving.
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

    /// Items of one question.
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
        let idle = |name, message: &str| Err((name, message.to_owned()));
        if self.variant == Variant::Code {
            if self.strategy == Strategy::Bst {
                return idle(
                    "variant",
                    "is `code`, but the released code has no `bst`; expected paper",
                );
            }
            if self.judge == JudgeName::Oracle {
                return idle(
                    "variant",
                    "is `code`, which does not follow the oracle's order; expected paper",
                );
            }
            if self.fuse.is_some() {
                return idle(
                    "fuse",
                    "is given, but the variant `code` has its own fusion; remove it",
                );
            }
            if self.rounds.is_some() {
                return idle("rounds", "is given, but the variant `code` has no rounds; remove it");
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

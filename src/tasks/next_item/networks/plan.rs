//! What a network on sequences is: its shape, how it learns, and the rows of its item embedding.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::LossSpec;
use crate::{
    base::simd::WIDTH,
    nn::{
        item_loss,
        sequence::{Gru, Positions, Transformer},
    },
    tasks::shared::Size,
};

/// Rows of the item embedding: 0 is padding, item i is in row i + 1, and a mask may follow the items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    pub items: usize,
}

impl Rows {
    /// The row of an item.
    pub fn of(self, item: u32) -> i64 {
        i64::from(item) + 1
    }

    /// The item of a row.
    pub fn item(self, row: i64) -> usize {
        row as usize - 1
    }

    /// The row of the mask.
    pub fn mask(self) -> i64 {
        self.items as i64 + 1
    }
}

/// The layers between item embeddings and hidden states.
#[derive(Clone, Debug)]
pub enum Shape {
    Transformer(Transformer),
    Gru(Gru),
}

/// What a network learns from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Learns {
    /// Every position of a sequence predicts the next item: for networks in which a position knows nothing of later
    /// ones.
    Shifted,
    /// Every prefix of a sequence predicts the item after it.
    Prefixes,
    /// Masked items are predicted from those around them. A position is masked with the probability `ratio`; in the
    /// share `last` of sequences the last one alone is.
    Cloze { ratio: f64, last: f64 },
    /// What BSARec's repository trains under the name BERT4Rec: a share of the positions of a padded prefix is masked,
    /// padding too, and the item after the prefix is predicted at the position that was drawn last.
    MaskedPrefixes { ratio: f64 },
}

impl Learns {
    /// Whether every prefix of a sequence is an example.
    pub fn from_prefixes(self) -> bool {
        matches!(self, Self::Prefixes | Self::MaskedPrefixes { .. })
    }
}

/// What an example of a causal network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Samples {
    /// A sequence, of which every position predicts the next item.
    Sequences,
    /// A prefix of a sequence, of which the last position predicts the next item.
    Prefixes,
}

impl Samples {
    /// Whether an example is a sequence: what older keys of steps mean.
    pub fn are_sequences(&self) -> bool {
        *self == Self::Sequences
    }

    /// What a causal network learns from.
    pub fn learns(self) -> Learns {
        match self {
            Self::Sequences => Learns::Shifted,
            Self::Prefixes => Learns::Prefixes,
        }
    }
}

/// A network in the making.
#[derive(Clone, Debug)]
pub struct Plan {
    pub shape: Shape,
    pub learns: Learns,
    /// Whether inputs are padded on the left to `longest`, and padding is a token like others.
    pub is_padded: bool,
    pub positions: Positions,
    /// Longest input.
    pub longest: usize,
    pub dim: usize,
    pub rows: Rows,
    /// Whether the padding row is among the items of the softmax.
    pub padding_in_softmax: bool,
}

impl Plan {
    /// Whether there is a head and a bias of each item: BERT4Rec.
    pub fn is_cloze(&self) -> bool {
        matches!(self.learns, Learns::Cloze { .. })
    }

    /// Whether there is a mask, which stands for the next item.
    pub fn has_mask(&self) -> bool {
        matches!(self.learns, Learns::Cloze { .. } | Learns::MaskedPrefixes { .. })
    }

    /// Rows of the item embedding.
    pub fn n_rows(&self) -> usize {
        self.rows.items + 1 + usize::from(self.has_mask())
    }

    /// Numbers of a state as it is scored: one more where items have a bias.
    pub fn state_width(&self) -> usize {
        self.dim + usize::from(self.is_cloze())
    }

    /// The input from which the next item is predicted.
    pub fn test_input(&self, items: &[u32]) -> Vec<i64> {
        let longest = self.longest - usize::from(self.has_mask());
        let last = &items[items.len().saturating_sub(longest)..];
        let mut rows: Vec<i64> = last.iter().map(|item| self.rows.of(*item)).collect();
        rows.extend(self.has_mask().then(|| self.rows.mask()));
        rows
    }

    /// A guess at the memory of training on so many examples at once, in bytes.
    pub fn memory(&self, size: Size, batch: usize, loss: LossSpec) -> usize {
        let prefixes = self.learns.from_prefixes();
        let examples = if prefixes { size.ratings } else { size.users };
        let batch = batch.min(examples.max(1));
        let tokens = batch * self.longest;
        let (dim, layers, heads) = match &self.shape {
            Shape::Transformer(of) => (of.dim, of.layers, of.heads),
            Shape::Gru(of) => (of.dim.max(of.hidden), of.layers, 1),
        };
        let parameters = 16 * size.items * dim + 16 * layers * 12 * dim * dim;
        let states = 4 * tokens * layers * (24 * dim + 4 * heads * self.longest);
        let predicting = if prefixes { batch } else { tokens };
        let scores = match loss.negatives() {
            None => item_loss::softmax_memory(predicting, size.items, self.state_width()),
            // Rows, log q, scores, what is computed of them, and their gradient; states and items with zeros up to whole vectors, and
            // their gradients.
            Some((negatives, _)) => {
                let width = self.state_width();
                let both = width + width.next_multiple_of(WIDTH);
                48 * predicting * (1 + negatives) + 8 * (predicting + size.items) * both
            }
        };
        // Examples, of which a prefix is a copy.
        let copies = if prefixes { self.longest / 2 } else { 1 };
        let examples = 8 * size.ratings * copies;
        parameters + states + scores + examples + 12 * (size.users + size.items) * dim
    }
}

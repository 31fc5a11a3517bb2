//! What a network on sequences is: its shape, how it learns, and the rows of its item embedding.

use crate::nn::sequence::{Gru, Positions, Transformer};

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
    /// Every prefix of a sequence, padded, predicts the item after it.
    Prefixes,
    /// Masked items are predicted from those around them. A position is masked with the probability `ratio`; in the
    /// share `last` of sequences the last one alone is.
    Cloze { ratio: f64, last: f64 },
}

/// A network in the making.
#[derive(Clone, Debug)]
pub struct Plan {
    pub shape: Shape,
    pub learns: Learns,
    pub positions: Positions,
    /// Longest input.
    pub longest: usize,
    pub dim: usize,
    pub rows: Rows,
    /// Whether the padding row is among the items of the softmax.
    pub padding_in_softmax: bool,
}

impl Plan {
    /// Whether there is a mask, a head and a bias of each item: BERT4Rec.
    pub fn is_cloze(&self) -> bool {
        matches!(self.learns, Learns::Cloze { .. })
    }

    /// Rows of the item embedding.
    pub fn n_rows(&self) -> usize {
        self.rows.items + 1 + usize::from(self.is_cloze())
    }

    /// Numbers of a state as it is scored: one more where items have a bias.
    pub fn state_width(&self) -> usize {
        self.dim + usize::from(self.is_cloze())
    }

    /// The input from which the next item is predicted.
    pub fn test_input(&self, items: &[u32]) -> Vec<i64> {
        let longest = self.longest - usize::from(self.is_cloze());
        let last = &items[items.len().saturating_sub(longest)..];
        let mut rows: Vec<i64> = last.iter().map(|item| self.rows.of(*item)).collect();
        rows.extend(self.is_cloze().then(|| self.rows.mask()));
        rows
    }

    /// Tokens that an input of so many items takes.
    pub fn tokens_of(&self, length: usize) -> usize {
        match self.learns {
            Learns::Prefixes => self.longest,
            _ => length,
        }
    }
}

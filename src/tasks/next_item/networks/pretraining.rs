//! Training on synthetic sequences of consecutive item numbers before the fit (Putra and Suzumura, *Ordered Item
//! Embeddings in Sequential Recommender Systems*).
//!
//! The sequences hold numbers, no items: what is learnt serves every numbering of a catalogue of this size. How they are
//! made, and that the last two of each are left out, follows the released code: every block of consecutive numbers
//! once, then runs of at least three numbers within a block, neither the block's first nor its last. Blocks that have
//! no such run (fewer than five numbers) are not drawn; the released code does not end there.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ITEM_ROWS, Network, SequenceTraining};
use crate::{
    base::arrays::Saved,
    data::{Ids, Interaction, ItemIx, SequencePart, Sequences, UserIx},
    nn::{learn::Schedule, tensors::tensor_of},
    tasks::{
        next_item::Numbering,
        shared::{ModelError, Size, Wrong},
    },
};

/// Settings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Pretraining {
    /// Which numbers the items have.
    pub ids: Numbering,
    /// What the fit starts from.
    pub transfer: Transfer,
    /// How many synthetic sequences there are.
    #[schemars(range(min = 1, max = 1000000))]
    pub sequences: usize,
    /// How many numbers a block has.
    #[schemars(range(min = 5, max = 10000))]
    pub block: usize,
    #[schemars(range(min = 1, max = 100000))]
    pub epochs: usize,
    /// Sequences a step, or prefixes; by default as many as of the fit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1))]
    pub batch: Option<usize>,
    /// Which items are negatives, of losses that draw them.
    pub negatives: Side,
}

impl Default for Pretraining {
    fn default() -> Self {
        Self {
            ids: Numbering::AsDistributed,
            transfer: Transfer::All,
            sequences: 25_000,
            block: 20,
            epochs: 10,
            batch: None,
            negatives: Side::Any,
        }
    }
}

/// What the fit starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Transfer {
    /// All parameters; the optimiser starts again.
    All,
    /// The embeddings of items, of padding and of the mask.
    Items,
}

/// Which items are negatives of a synthetic sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Those that are not in it, as in any training.
    Any,
    /// Those with a higher number than all of it; the last but one where there are none.
    Front,
    /// Those with a lower number than all of it; the second where there are none.
    Back,
}

impl Side {
    /// The rows among which one is drawn, of so many items, for a sequence with these lowest and highest rows. None where
    /// they are drawn as in any training.
    pub fn rows(self, (lowest, highest): (i64, i64), items: i64) -> Option<(i64, i64)> {
        match self {
            Self::Any => None,
            Self::Front if highest < items => Some((highest + 1, items)),
            Self::Front => Some(((items - 1).max(1), (items - 1).max(1))),
            Self::Back if lowest > 1 => Some((1, lowest - 1)),
            Self::Back => Some((2.min(items), 2.min(items))),
        }
    }
}

impl Pretraining {
    /// What is wrong with it.
    pub fn validate(&self) -> Result<(), Wrong> {
        let wrong = |message: String| Err(("pretraining", message));
        if !(1..=1_000_000).contains(&self.sequences) {
            return wrong(format!("`sequences` is {}; expected 1 to 1000000", self.sequences));
        }
        if !(5..=10_000).contains(&self.block) {
            return wrong(format!("`block` is {}; expected 5 to 10000", self.block));
        }
        if !(1..=100_000).contains(&self.epochs) {
            return wrong(format!("`epochs` is {}; expected 1 to 100000", self.epochs));
        }
        if self.batch == Some(0) {
            return wrong("`batch` is 0".into());
        }
        Ok(())
    }

    /// How the fit is trained, for as many epochs and without measurements.
    pub fn training(&self, of_fit: &SequenceTraining) -> SequenceTraining {
        SequenceTraining {
            epochs: self.epochs,
            batch: self.batch.unwrap_or(of_fit.batch),
            schedule: Schedule::Constant,
            validate: None,
            exclude: None,
            stop: None,
            keep: None,
            ..of_fit.clone()
        }
    }

    /// How much there is to learn from, at most.
    pub fn size(&self, items: usize) -> Size {
        let users = self.sequences.max(items.div_ceil(self.block));
        Size { users, items, ratings: users * self.block }
    }

    /// The training part: sequences of numbers from 0 on, without the last two of each.
    pub fn part(&self, items: usize, seed: u64) -> SequencePart {
        let rows: Vec<Interaction> = (0u32..)
            .zip(self.synthetic(items, seed))
            .flat_map(|(user, run)| {
                let (first, count) = (run.0, run.1.saturating_sub(2));
                (first..first + count).map(move |item| Interaction {
                    user: UserIx(user),
                    item: ItemIx(item as u32),
                    rating: 1.0,
                    timestamp: Default::default(),
                })
            })
            .collect();
        let n_users = self.size(items).users;
        SequencePart {
            users: Ids::new((0..n_users).map(|user| user.to_string())),
            items: Ids::new((0..items).map(|item| item.to_string())),
            train: Sequences::new(n_users, items, &rows),
            validation: Sequences::new(n_users, items, &[]),
        }
    }

    /// First number and length of each sequence.
    fn synthetic(&self, items: usize, seed: u64) -> Vec<(usize, usize)> {
        let blocks: Vec<(usize, usize)> = (0..items)
            .step_by(self.block)
            .map(|first| (first, self.block.min(items - first)))
            .collect();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::MAX);
        let mut sequences = blocks.clone();
        // invariant: a catalogue of one short block has no run.
        let can_draw = blocks.iter().any(|(_, length)| *length >= 5);
        while can_draw && sequences.len() < self.sequences {
            let (first, length) = blocks[random.random_range(0..blocks.len())];
            if length < 5 {
                continue;
            }
            let run = loop {
                let (from, to) = (random.random_range(1..length), random.random_range(1..length));
                if to >= from + 3 {
                    break (first + from, to - from);
                }
            };
            sequences.push(run);
        }
        sequences
    }
}

/// Lets a network start from the parameters that were saved, where the item with the number n has what n learnt.
pub fn take_over(
    network: &mut Network,
    saved: &Saved,
    transfer: Transfer,
    order: &[u32],
) -> Result<(), ModelError> {
    for param in &mut network.weights.params {
        let of_items = param.name == ITEM_ROWS || param.name == "output_bias";
        if transfer == Transfer::Items && param.name != ITEM_ROWS {
            continue;
        }
        let shape: Vec<usize> = param.value.size().iter().map(|size| *size as usize).collect();
        let mut values = saved.floats(&format!("param.{}", param.name), &shape)?;
        if of_items {
            let width: usize = shape[1..].iter().product();
            let by_number = values.clone();
            for (number, item) in order.iter().enumerate() {
                let (from, to) = ((number + 1) * width, (*item as usize + 1) * width);
                values[to..to + width].copy_from_slice(&by_number[from..from + width]);
            }
        }
        param.value = tensor_of(&values, &shape, network.device);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn synthetic_sequences_are_blocks_and_then_runs_within_them() {
        // 46 items: blocks of 20, 20 and 6.
        let settings = Pretraining { sequences: 2000, ..Pretraining::default() };
        let all = settings.synthetic(46, 1);
        assert_eq!(all.len(), 2000);
        assert_eq!(all[..3], [(0, 20), (20, 20), (40, 6)]);
        let mut of_block = [0; 3];
        for (first, length) in &all[3..] {
            let (block, at) = (first / 20, first % 20);
            let last = if block == 2 { 5 } else { 19 };
            assert!(at >= 1 && *length >= 3 && at + length - 1 < last, "{first} {length}");
            of_block[block] += 1;
        }
        assert!(of_block.iter().all(|count| (566..766).contains(count)), "{of_block:?}");
        assert_ne!(all, settings.synthetic(46, 2));
        assert_eq!(settings.synthetic(3, 1), [(0, 3)]);
        let part = settings.part(46, 1);
        assert_eq!(part.train.of(UserIx(2)), [40, 41, 42, 43]);
        let lengths: usize = all.iter().map(|(_, length)| length - 2).sum();
        assert_eq!(part.train.len(), lengths);
    }

    #[test]
    fn negatives_lie_on_one_side() {
        assert_eq!(Side::Front.rows((3, 5), 9), Some((6, 9)));
        assert_eq!(Side::Front.rows((3, 9), 9), Some((8, 8)));
        assert_eq!(Side::Back.rows((3, 5), 9), Some((1, 2)));
        assert_eq!(Side::Back.rows((1, 5), 9), Some((2, 2)));
        assert_eq!(Side::Any.rows((3, 5), 9), None);
    }
}

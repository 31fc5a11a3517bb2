//! BERT4Rec (Sun et al. 2019): attention to both sides; masked items are predicted (a Cloze task), and the next item is
//! a mask after the last one.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, NextItem, SequenceModel, Size, Wrong, sasrec::memory_of};
use crate::{
    data::SequencePart,
    nn::sequence::{Positions, Transformer},
    tasks::{
        next_item::networks::{self, Learns, LossSpec, Plan, Rows, SequenceTraining, Shape},
        shared::{ModelError, share},
    },
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bert4RecParams {
    /// Width of the item embeddings.
    #[serde(rename = "factors")]
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    /// How many of the last items are looked at, the mask among them.
    pub length: usize,
    /// The probability that an item is masked.
    pub mask: f64,
    /// The share of sequences in which the last item alone is masked, as when the next item is predicted.
    pub mask_last: f64,
    pub dropout: f64,
    pub attention_dropout: f64,
    pub loss: LossSpec,
    pub training: SequenceTraining,
}

impl Default for Bert4RecParams {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 2,
            heads: 2,
            length: 50,
            mask: 0.2,
            mask_last: 0.0,
            dropout: 0.2,
            attention_dropout: 0.2,
            loss: LossSpec::Softmax,
            training: SequenceTraining::default(),
        }
    }
}

impl SequenceModel for Bert4RecParams {
    fn validate(&self) -> Result<(), Wrong> {
        networks::shape(self.dim, self.heads, self.layers, self.length)?;
        if self.length < 2 {
            return Err(("length", "is 1; a mask needs an item before it".into()));
        }
        share("dropout", self.dropout)?;
        share("attention_dropout", self.attention_dropout)?;
        if !(self.mask > 0.0 && self.mask < 1.0) {
            return Err(("mask", format!("is {}; expected a number between 0 and 1", self.mask)));
        }
        if !(0.0..=1.0).contains(&self.mask_last) {
            return Err(("mask_last", format!("is {}; expected 0 to 1", self.mask_last)));
        }
        self.loss.validate()?;
        self.training.validate()
    }

    fn is_seeded(&self) -> bool {
        true
    }

    fn validates(&self) -> bool {
        self.training.validate.is_some()
    }

    fn needs_tensors(&self) -> bool {
        true
    }

    fn memory(&self, size: Size) -> usize {
        let shape = (self.dim, self.layers, self.heads);
        let batch = (self.training.batch.min(size.users), self.length);
        memory_of(size, shape, batch, self.loss == LossSpec::Softmax)
    }

    fn fit(
        &self,
        data: &SequencePart,
        context: &FitContext,
    ) -> Result<Box<dyn NextItem>, ModelError> {
        let plan = Plan {
            shape: Shape::Transformer(Transformer {
                dim: self.dim,
                layers: self.layers,
                heads: self.heads,
                inner: 4 * self.dim,
                longest: self.length,
                is_causal: false,
                dropout: self.dropout,
                attention_dropout: self.attention_dropout,
                filter: None,
            }),
            learns: Learns::Cloze { ratio: self.mask, last: self.mask_last },
            positions: Positions::FromEnd,
            longest: self.length,
            dim: self.dim,
            rows: Rows { items: data.items.len() },
            padding_in_softmax: false,
        };
        networks::fit(plan, self.loss, &self.training, data, context)
    }

    fn load(&self, dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError> {
        networks::load(dir, data)
    }

    fn files(&self) -> &'static [&'static str] {
        networks::FILES
    }
}

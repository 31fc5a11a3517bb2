//! SASRec (Kang and McAuley 2018): causal self-attention; every position predicts the next item.
//!
//! Layers are those of the BERT that later implementations took over (RecBole, S3-Rec, BSARec): norms after the
//! residuals, a feed-forward layer four times as wide, GELU.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, NextItem, SequenceModel, Size, Wrong};
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
pub struct SasRecParams {
    /// Width of the item embeddings.
    #[serde(rename = "factors")]
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    /// How many of the last items are looked at.
    pub length: usize,
    pub dropout: f64,
    pub attention_dropout: f64,
    pub loss: LossSpec,
    pub training: SequenceTraining,
}

impl Default for SasRecParams {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 2,
            heads: 2,
            length: 50,
            dropout: 0.5,
            attention_dropout: 0.5,
            loss: LossSpec::Bce { negatives: 1 },
            training: SequenceTraining::default(),
        }
    }
}

/// Memory of a network that learns from so many tokens at once.
pub(super) fn memory_of(
    size: Size,
    (dim, layers, heads): (usize, usize, usize),
    (batch, length): (usize, usize),
    all_items: bool,
) -> usize {
    let tokens = batch * length;
    let parameters = 16 * size.items * dim + 16 * layers * 12 * dim * dim;
    let states = 4 * tokens * layers * (24 * dim + 4 * heads * length);
    let logits = if all_items { 12 * tokens * size.items } else { 0 };
    parameters + states + logits + 12 * (size.users + size.items) * dim
}

impl SequenceModel for SasRecParams {
    fn validate(&self) -> Result<(), Wrong> {
        networks::shape(self.dim, self.heads, self.layers, self.length)?;
        share("dropout", self.dropout)?;
        share("attention_dropout", self.attention_dropout)?;
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
                is_causal: true,
                dropout: self.dropout,
                attention_dropout: self.attention_dropout,
                filter: None,
            }),
            learns: Learns::Shifted,
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

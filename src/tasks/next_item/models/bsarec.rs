//! BSARec (Shin et al. 2024): self-attention beside a filter that scales high frequencies of the sequence.
//!
//! The filter mixes all positions, later ones too, and padding takes part in it: so sequences are padded to one length,
//! and every prefix is an example of its own. As in the released code the softmax is over all rows, padding included.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Wrong;
use crate::{
    nn::sequence::{Filter, Positions, Transformer},
    tasks::{
        next_item::networks::{
            self, Learns, LossSpec, NetworkSettings, Plan, Pretraining, Rows, SequenceTraining,
            Shape, TextStart,
        },
        shared::share,
    },
};

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BsaRecParams {
    /// Width of the item embeddings.
    #[serde(rename = "factors")]
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    /// How many of the last items are looked at; shorter sequences are padded to it.
    pub length: usize,
    /// Weight of the filter; that of attention is 1 − `alpha`.
    pub alpha: f64,
    /// Frequencies up to ⌊c ÷ 2⌋ pass unscaled.
    pub c: usize,
    pub dropout: f64,
    pub attention_dropout: f64,
    pub loss: LossSpec,
    pub training: SequenceTraining,
    /// Training on synthetic sequences before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretraining: Option<Pretraining>,
    /// Texts of items that their embeddings start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextStart>,
}

impl Default for BsaRecParams {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 2,
            heads: 1,
            length: 50,
            alpha: 0.7,
            c: 5,
            dropout: 0.5,
            attention_dropout: 0.5,
            loss: LossSpec::Softmax,
            training: SequenceTraining { batch: 256, ..SequenceTraining::default() },
            pretraining: None,
            text: None,
        }
    }
}

impl NetworkSettings for BsaRecParams {
    fn validate(&self) -> Result<(), Wrong> {
        networks::shape(self.dim, self.heads, self.layers, self.length)?;
        share("dropout", self.dropout)?;
        share("attention_dropout", self.attention_dropout)?;
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(("alpha", format!("is {}; expected 0 to 1", self.alpha)));
        }
        Ok(())
    }

    fn plan(&self, items: usize) -> Plan {
        Plan {
            shape: Shape::Transformer(Transformer {
                dim: self.dim,
                layers: self.layers,
                heads: self.heads,
                inner: 4 * self.dim,
                longest: self.length,
                is_causal: true,
                dropout: self.dropout,
                attention_dropout: self.attention_dropout,
                filter: Some(Filter { alpha: self.alpha, c: self.c }),
            }),
            learns: Learns::Prefixes,
            is_padded: true,
            positions: Positions::FromEnd,
            longest: self.length,
            dim: self.dim,
            rows: Rows { items },
            padding_in_softmax: true,
        }
    }

    fn loss(&self) -> LossSpec {
        self.loss
    }

    fn training(&self) -> &SequenceTraining {
        &self.training
    }

    fn pretraining(&self) -> Option<&Pretraining> {
        self.pretraining.as_ref()
    }

    fn text(&self) -> Option<&TextStart> {
        self.text.as_ref()
    }
}

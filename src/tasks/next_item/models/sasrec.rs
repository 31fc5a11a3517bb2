//! SASRec (Kang and McAuley 2018): causal self-attention; the last position, or every one, predicts the next item.
//!
//! Layers are those of the BERT that later implementations took over (RecBole, S3-Rec, BSARec): norms after the
//! residuals, a feed-forward layer four times as wide, GELU.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Wrong;
use crate::{
    nn::sequence::{Positions, Transformer},
    tasks::{
        next_item::networks::{
            self, LossSpec, NetworkSettings, Plan, Pretraining, Rows, Samples, SequenceTraining,
            Shape, TextStart,
        },
        shared::share,
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
    /// What is an example: a sequence, of which every position predicts, or each prefix of it, as in the released code of
    /// BSARec: many more steps an epoch, and the last position alone predicts, as in the test.
    #[serde(skip_serializing_if = "Samples::are_sequences")]
    pub samples: Samples,
    /// Where positions are counted from.
    #[serde(default, skip_serializing_if = "is_from_end")]
    pub positions: Positions,
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

/// Whether positions are counted from the end: what older keys of steps mean.
pub(super) fn is_from_end(positions: &Positions) -> bool {
    *positions == Positions::FromEnd
}

impl Default for SasRecParams {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 2,
            heads: 2,
            length: 50,
            samples: Samples::Prefixes,
            positions: Positions::default(),
            dropout: 0.5,
            attention_dropout: 0.5,
            loss: LossSpec::Bce { negatives: 1 },
            training: SequenceTraining { batch: 256, ..SequenceTraining::default() },
            pretraining: None,
            text: None,
        }
    }
}

impl NetworkSettings for SasRecParams {
    fn validate(&self) -> Result<(), Wrong> {
        networks::shape(self.dim, self.heads, self.layers, self.length)?;
        share("dropout", self.dropout)?;
        share("attention_dropout", self.attention_dropout)?;
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
                filter: None,
            }),
            learns: self.samples.learns(),
            is_padded: false,
            positions: self.positions,
            longest: self.length,
            dim: self.dim,
            rows: Rows { items },
            padding_in_softmax: false,
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

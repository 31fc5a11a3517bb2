//! GRU4Rec (Hidasi et al. 2016) as RecBole has it: a gated recurrent unit and a dense layer; every position predicts
//! the next item, scored with the item embeddings.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Wrong;
use crate::{
    nn::sequence::{Gru, Positions},
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
pub struct Gru4RecParams {
    /// Width of the item embeddings.
    #[serde(rename = "factors")]
    pub dim: usize,
    /// Width of the recurrent units.
    pub hidden: usize,
    pub layers: usize,
    /// How many of the last items are looked at.
    pub length: usize,
    /// Dropout of the item embeddings.
    pub dropout: f64,
    pub loss: LossSpec,
    pub training: SequenceTraining,
    /// Training on synthetic sequences before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pretraining: Option<Pretraining>,
    /// Texts of items that their embeddings start from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<TextStart>,
}

impl Default for Gru4RecParams {
    fn default() -> Self {
        Self {
            dim: 64,
            hidden: 128,
            layers: 1,
            length: 50,
            dropout: 0.3,
            loss: LossSpec::Softmax,
            training: SequenceTraining::default(),
            pretraining: None,
            text: None,
        }
    }
}

impl NetworkSettings for Gru4RecParams {
    fn validate(&self) -> Result<(), Wrong> {
        networks::shape(self.dim, 1, self.layers, self.length)?;
        if !(1..=4096).contains(&self.hidden) {
            return Err(("hidden", format!("is {}; expected 1 to 4096", self.hidden)));
        }
        share("dropout", self.dropout)?;
        Ok(())
    }

    fn plan(&self, items: usize) -> Plan {
        Plan {
            shape: Shape::Gru(Gru {
                dim: self.dim,
                hidden: self.hidden,
                layers: self.layers,
                dropout: self.dropout,
            }),
            learns: Learns::Shifted,
            is_padded: false,
            positions: Positions::FromStart,
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

//! GRU4Rec (Hidasi et al. 2016) as RecBole has it: a gated recurrent unit and a dense layer; every position predicts
//! the next item, scored with the item embeddings.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, NextItem, SequenceModel, Size, Wrong, sasrec::memory_of};
use crate::{
    data::SequencePart,
    nn::sequence::{Gru, Positions},
    tasks::{
        next_item::networks::{self, Learns, LossSpec, Plan, Rows, SequenceTraining, Shape},
        shared::{ModelError, share},
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
        }
    }
}

impl SequenceModel for Gru4RecParams {
    fn validate(&self) -> Result<(), Wrong> {
        networks::shape(self.dim, 1, self.layers, self.length)?;
        if !(1..=4096).contains(&self.hidden) {
            return Err(("hidden", format!("is {}; expected 1 to 4096", self.hidden)));
        }
        share("dropout", self.dropout)?;
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
        let shape = (self.dim.max(self.hidden), self.layers, 1);
        let batch = (self.training.batch.min(size.users), self.length);
        memory_of(size, shape, batch, self.loss == LossSpec::Softmax)
    }

    fn fit(
        &self,
        data: &SequencePart,
        context: &FitContext,
    ) -> Result<Box<dyn NextItem>, ModelError> {
        let plan = Plan {
            shape: Shape::Gru(Gru {
                dim: self.dim,
                hidden: self.hidden,
                layers: self.layers,
                dropout: self.dropout,
            }),
            learns: Learns::Shifted,
            positions: Positions::FromStart,
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

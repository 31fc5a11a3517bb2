//! BERT4Rec (Sun et al. 2019): attention to both sides; masked items are predicted (a Cloze task), and the next item is
//! a mask after the last one.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Wrong, sasrec::is_from_end};
use crate::{
    nn::sequence::{Positions, Transformer},
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
pub struct Bert4RecParams {
    /// Width of the item embeddings.
    #[serde(rename = "factors")]
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    /// How many of the last items are looked at, the mask among them.
    pub length: usize,
    /// What is predicted.
    #[serde(default, skip_serializing_if = "Variant::is_cloze")]
    pub variant: Variant,
    /// The probability that an item is masked; of the variant `bsarec`, the share of positions.
    pub mask: f64,
    /// The share of sequences in which the last item alone is masked, as when the next item is predicted.
    pub mask_last: f64,
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

/// What is predicted in training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Masked items, as in the paper.
    #[default]
    Cloze,
    /// The next item, as the model of that name in BSARec's repository does: of each prefix, padded to `length`, a share of
    /// the positions is masked, padding too, and the item after it is predicted at the position that was drawn last.
    Bsarec,
}

impl Variant {
    fn is_cloze(&self) -> bool {
        *self == Self::Cloze
    }
}

impl Default for Bert4RecParams {
    fn default() -> Self {
        Self {
            dim: 64,
            layers: 2,
            heads: 2,
            length: 50,
            positions: Positions::default(),
            variant: Variant::Cloze,
            mask: 0.2,
            mask_last: 0.0,
            dropout: 0.2,
            attention_dropout: 0.2,
            loss: LossSpec::Softmax,
            training: SequenceTraining::default(),
            pretraining: None,
            text: None,
        }
    }
}

impl NetworkSettings for Bert4RecParams {
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
        let is_bsarec = self.variant == Variant::Bsarec;
        if is_bsarec && (self.length as f64 * self.mask) < 1.0 {
            return Err(("mask", format!("is {}, which masks no position", self.mask)));
        }
        if is_bsarec && self.positions != Positions::FromEnd {
            return Err((
                "positions",
                "has no effect on the variant `bsarec`, which pads on the left".into(),
            ));
        }
        if is_bsarec && self.mask_last != 0.0 {
            return Err(("mask_last", "has no effect on the variant `bsarec`".into()));
        }
        if is_bsarec && self.loss != LossSpec::Softmax {
            return Err(("loss", "the variant `bsarec` has the loss `softmax` only".into()));
        }
        if !(0.0..=1.0).contains(&self.mask_last) {
            return Err(("mask_last", format!("is {}; expected 0 to 1", self.mask_last)));
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
                is_causal: false,
                dropout: self.dropout,
                attention_dropout: self.attention_dropout,
                filter: None,
            }),
            learns: match self.variant {
                Variant::Cloze => Learns::Cloze { ratio: self.mask, last: self.mask_last },
                Variant::Bsarec => Learns::MaskedPrefixes { ratio: self.mask },
            },
            is_padded: self.variant == Variant::Bsarec,
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

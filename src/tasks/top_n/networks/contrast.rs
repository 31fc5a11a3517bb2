//! Contrastive learning beside BPR: settings, and the steps of a network with views.
//!
//! The loss is BPR + λ · (InfoNCE of users + InfoNCE of items) + regularisation (Wu et al. 2021, eq. 10 and 11; Yu et al.
//! 2022, eq. 1 and 2; Yu et al. 2023). Programs differ in what is summed and in what is averaged, which is the same as another λ:
//! [`Contrast`] says it all.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::bpr::{BprLearner, BprParts, Positives};
use crate::{
    nn::{
        Tensor,
        info_nce::{self, Compared, LEAST_TEMPERATURE, info_nce},
        learn::MeanLoss,
        loss::{self, Batch, Weights, regularise},
        network::{Encoded, Views},
        sampler::Draw,
        tensors::zeros_like,
    },
    tasks::{
        shared::not_negative,
        top_n::models::{ModelError, Wrong},
    },
};

/// How two views of the same node are compared. The losses of users and of items are added. Each model has these as
/// settings of its own, since their defaults differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// λ of the loss.
    pub weight: f64,
    /// τ, which cosines are divided by.
    pub temperature: f64,
    pub among: Among,
    pub anchors: Anchors,
    pub reduction: Reduction,
}

/// Whose second views are in the sum of the denominator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Among {
    /// Users or positive items of the batch, each once (SimGCL, XSimGCL, SELFRec).
    #[default]
    Batch,
    /// All users or items (eq. 10 of SGL, RecBole).
    All,
}

/// Which nodes of a batch have a loss of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Anchors {
    /// Each user and each positive item once (SELFRec).
    #[default]
    Distinct,
    /// As often as they are in the batch's positives (RecBole).
    Positives,
}

/// Whether losses are averaged over a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Reduction {
    /// BPR is a mean over positives, InfoNCE one over users and one over items (SELFRec).
    #[default]
    Mean,
    /// All are sums (the paper of SGL, RecBole). Regularisation stays as it is, and so weighs less.
    Sum,
}

impl Contrast {
    /// The first setting that is out of range, by its name in files.
    pub fn validate(&self) -> Result<(), Wrong> {
        not_negative("contrast", self.weight)?;
        let (given, least) = (self.temperature, LEAST_TEMPERATURE);
        match (least..=MOST_TEMPERATURE).contains(&given) {
            true => Ok(()),
            false => {
                Err(("temperature", format!("is {given}; expected {least} to {MOST_TEMPERATURE}")))
            }
        }
    }
}

/// From there on all other nodes weigh the same.
const MOST_TEMPERATURE: f64 = 100.0;

/// Nodes of one kind that are compared in a step.
struct Side {
    anchors: Vec<u32>,
    weights: Vec<f64>,
    /// None: the anchors.
    others: Option<Vec<u32>>,
}

impl Side {
    /// `nodes` are those of a batch, with repeats; `all` are all of their kind.
    fn of(nodes: &[u32], all: std::ops::Range<u32>, contrast: &Contrast) -> Self {
        let mut anchors = nodes.to_vec();
        anchors.sort_unstable();
        let mut weights: Vec<f64> = Vec::with_capacity(anchors.len());
        for same in anchors.chunk_by(|a, b| a == b) {
            weights.push(match contrast.anchors {
                Anchors::Distinct => 1.0,
                Anchors::Positives => same.len() as f64,
            });
        }
        anchors.dedup();
        if contrast.reduction == Reduction::Mean {
            let sum: f64 = weights.iter().sum();
            weights.iter_mut().for_each(|weight| *weight /= sum);
        }
        let others = (contrast.among == Among::All).then(|| all.collect());
        Self { anchors, weights, others }
    }

    fn compared(&self, temperature: f64) -> Compared<'_> {
        Compared {
            anchors: &self.anchors,
            weights: &self.weights,
            others: self.others.as_deref().unwrap_or(&self.anchors),
            temperature,
        }
    }
}

/// Users and items of a batch.
fn sides(nodes: &Batch, n_users: usize, n_nodes: usize, contrast: &Contrast) -> [Side; 2] {
    let (n_users, n_nodes) = (n_users as u32, n_nodes as u32);
    [
        Side::of(&nodes.users, 0..n_users, contrast),
        Side::of(&nodes.positives, n_users..n_nodes, contrast),
    ]
}

/// BPR of the embeddings and InfoNCE of the views, and the gradient of all three by our kernels. `weights` are those of
/// [`bpr_weights`].
pub(super) fn compare(
    encoded: &Encoded,
    nodes: &Batch,
    n_users: usize,
    weights: Weights,
    contrast: &Contrast,
) -> (BprParts, Encoded) {
    let n_nodes = encoded.embeddings.size()[0] as usize;
    let (parts, embeddings) = loss::loss(&encoded.embeddings, nodes, weights);
    let mut grads = Encoded {
        embeddings,
        first: zeros_like(&encoded.first),
        second: zeros_like(&encoded.second),
    };
    let mut of_views = 0.0;
    for side in sides(nodes, n_users, n_nodes, contrast) {
        of_views += info_nce(
            [&encoded.first, &encoded.second],
            &side.compared(contrast.temperature),
            contrast.weight,
            [&mut grads.first, &mut grads.second],
        );
    }
    (BprParts { bpr: parts.bpr, contrast: of_views, ..BprParts::default() }, grads)
}

/// Weights of BPR for a batch of so many positives.
pub(super) fn bpr_weights(of_mean: Weights, contrast: &Contrast, positives: usize) -> Weights {
    match contrast.reduction {
        Reduction::Mean => of_mean,
        Reduction::Sum => Weights { bpr: of_mean.bpr * positives as f64, ..of_mean },
    }
}

impl BprLearner<'_> {
    fn views(&mut self) -> Result<&mut dyn Views, ModelError> {
        self.network.views().ok_or_else(|| {
            ModelError::Unsuitable("internal error: a network without views is contrasted".into())
        })
    }

    /// A step by our kernels.
    pub(super) fn contrast_step(
        &mut self,
        batch: &Positives,
        contrast: &Contrast,
    ) -> Result<MeanLoss<BprParts>, ModelError> {
        let stream = self.dropout(batch).stream;
        let n_users = self.data.ratings.n_users();
        let n_nodes = n_users + self.data.ratings.n_items();
        // Hard negatives are chosen by embeddings of all nodes; the others are known before.
        let early = match self.draw {
            Draw::Hard => None,
            _ => Some(self.nodes(batch, &Tensor::new())),
        };
        let of = match (&early, contrast.among) {
            (Some(nodes), Among::Batch) => {
                let mut of = vec![false; n_nodes];
                let all = nodes.users.iter().chain(&nodes.positives).chain(&nodes.negatives);
                all.for_each(|node| of[*node as usize] = true);
                of
            }
            _ => Vec::new(),
        };
        let encoded = self.views()?.encode(stream, &of);
        let nodes = early.unwrap_or_else(|| self.nodes(batch, &encoded.embeddings));
        let weights = bpr_weights(self.objective.weights, contrast, nodes.users.len());
        let (parts, grads) = compare(&encoded, &nodes, n_users, weights, contrast);
        self.views()?.pull(grads, &of);
        let lambda = self.objective.regularization;
        let mut regularization = 0.0;
        if lambda > 0.0 {
            let own = &mut self.network.params()[0];
            let mut grad = own.grad.contiguous();
            regularization = regularise(&own.value, &mut grad, &nodes, lambda);
            own.grad = grad;
        }
        let of_batch = loss::Parts { bpr: parts.bpr, ..loss::Parts::default() };
        let loss =
            weights.sum(of_batch) + contrast.weight * parts.contrast + lambda * regularization;
        Ok(MeanLoss { loss, parts: BprParts { regularization, ..parts } })
    }

    /// The loss by libtorch's own operations: the twin of [`Self::contrast_step`] in tests.
    pub(super) fn contrast_loss(&mut self, batch: &Positives, contrast: &Contrast) -> Tensor {
        let stream = self.dropout(batch).stream;
        let encoded = match self.network.views() {
            Some(views) => views.encode_differentiable(stream),
            // invariant: as in the step, which says so
            None => unreachable!("a network without views is contrasted"),
        };
        let nodes = self.nodes(batch, &encoded.embeddings);
        let weights = bpr_weights(self.objective.weights, contrast, nodes.users.len());
        let (mut total, _) = loss::differentiable(&encoded.embeddings, &nodes, weights);
        let n_users = self.data.ratings.n_users();
        let n_nodes = n_users + self.data.ratings.n_items();
        for side in sides(&nodes, n_users, n_nodes, contrast) {
            let compared = side.compared(contrast.temperature);
            let views = [&encoded.first, &encoded.second];
            total += info_nce::differentiable(views, &compared) * contrast.weight;
        }
        if self.objective.regularization > 0.0 {
            let own = &self.network.params()[0].value;
            total += loss::squares(own, &nodes) * self.objective.regularization;
        }
        total
    }
}

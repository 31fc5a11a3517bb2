//! Networks: from parameters to an embedding of every node, and the gradient back.
//!
//! A score is the product of a user's and an item's embedding; how embeddings come about is what the
//! models differ in.

use tch::Tensor;

use super::{loss::Batch, tensors::zeros_like};
use crate::base::random::mix;

/// A parameter and its gradient.
#[derive(Debug)]
pub struct Param {
    pub name: String,
    pub value: Tensor,
    pub grad: Tensor,
}

impl Param {
    pub fn new(name: impl Into<String>, value: Tensor) -> Self {
        let value = value.detach().contiguous();
        Self { name: name.into(), grad: zeros_like(&value), value }
    }
}

/// Which units are switched off in this step: a stream of its own for each step.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    pub share: f64,
    pub stream: u64,
}

/// What the batch's regularisation is over.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Regularised {
    /// The trainable vectors of the nodes (LightGCN, BPR-MF).
    Nodes,
    /// The final embeddings (NGCF).
    Embeddings,
}

/// The share of BPR in a loss that also aligns embeddings with something else.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum BprShare {
    Fixed(f64),
    /// The share of training pairs that are ranked right when an epoch begins, within these bounds.
    RankedRight {
        lowest: f64,
        highest: f64,
    },
}

/// A model of the user-item graph.
pub trait Network {
    /// Embeddings of all nodes, `[n_nodes, dim]`; `dropout` is none outside training.
    fn forward(&mut self, dropout: Option<Dropout>) -> Tensor;
    /// The same embeddings by libtorch's own operations on the values of the parameters, without our
    /// kernels: autograd finds the gradient of what is computed from them.
    fn differentiable(&self, dropout: Option<Dropout>) -> Tensor;
    /// Sets the gradients of all parameters, given that of the embeddings of the last forward pass.
    fn backward(&mut self, grad: &Tensor);
    /// The first is the nodes' own vectors.
    fn params(&mut self) -> &mut Vec<Param>;
    /// What regularisation is over.
    fn regularised(&self) -> Regularised {
        Regularised::Nodes
    }
    /// The share of BPR in the loss, of a network with an [`Network::alignment`]; that has the rest.
    fn bpr_share(&self) -> Option<BprShare> {
        None
    }
    /// The second part of the loss, by libtorch's own operations on the embeddings of all nodes and on the values of the
    /// parameters; none where the batch gives nothing to align.
    fn alignment(&self, _embeddings: &Tensor, _batch: &Batch) -> Option<Tensor> {
        None
    }
    /// Called before the steps of an epoch, with a stream of its own: what is drawn once for all of them.
    fn start_epoch(&mut self, _stream: u64) {}
    /// The network as one with views of its nodes, where it has some.
    fn views(&mut self) -> Option<&mut dyn Views> {
        None
    }
}

/// What a contrastive loss compares, `[n_nodes, dim]` each: final embeddings and two views of them.
#[derive(Debug)]
pub struct Encoded {
    pub embeddings: Tensor,
    pub first: Tensor,
    pub second: Tensor,
}

/// A network that sees its nodes in two more ways while it is trained.
pub trait Views {
    /// Embeddings and views of the nodes in `of`, or of all where it is empty; rows of others are not meant to be
    /// read. What is drawn depends on the stream and on the last [`Network::start_epoch`] alone.
    fn encode(&mut self, stream: u64, of: &[bool]) -> Encoded;
    /// The same by libtorch's own operations, for autograd.
    fn encode_differentiable(&self, stream: u64) -> Encoded;
    /// Sets the gradients of all parameters, given those of what [`Views::encode`] gave last, which are 0
    /// outside `of`.
    fn pull(&mut self, grads: Encoded, of: &[bool]);
}

/// The same numbers, where a gradient starts from here.
pub fn leaf(tensor: &Tensor) -> Tensor {
    tensor.detach().contiguous().set_requires_grad(true)
}

/// Switches units off and scales the others up; the mask depends on the stream and the place alone.
pub fn drop_units(x: &Tensor, dropout: Option<Dropout>, layer: u64) -> Tensor {
    let Some(Dropout { share, stream }) = dropout.filter(|dropout| dropout.share > 0.0) else {
        return x.shallow_clone();
    };
    let (limit, scale) = ((share * (1u64 << 32) as f64) as u64, (1.0 / (1.0 - share)) as f32);
    let stream = mix(stream ^ mix(layer + 1));
    let mask: Vec<f32> = (0..x.numel() as u64)
        .map(|at| if mix(stream ^ at) >> 32 < limit { 0.0 } else { scale })
        .collect();
    x * Tensor::from_slice(&mask).reshape(x.size()).to_kind(x.kind()).to_device(x.device())
}

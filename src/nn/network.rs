//! Networks: from parameters to an embedding of every node, and the gradient back.
//!
//! A score is the product of a user's and an item's embedding; how embeddings come about is what the
//! models differ in.

use tch::Tensor;

use super::tensors::zeros_like;
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
}

/// The same numbers, where a gradient starts anew.
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

//! The same operations from libtorch's own: what runs on a GPU, and what the kernels are checked
//! against.

use tch::{Kind, Tensor};

use super::{
    attention::SLOPE,
    graph::{Edges, Graph},
};

/// `base + A x`
pub fn propagate(graph: &Graph, x: &Tensor, base: Option<&Tensor>) -> Tensor {
    let Edges { sources, targets, weights, .. } = graph.edges(x);
    let weighted = x.index_select(0, &sources) * weights.unsqueeze(1);
    let base = base.map_or_else(|| x.zeros_like(), Tensor::shallow_clone);
    base.index_add(0, &targets, &weighted)
}

/// GATv2 attention with a gradient of libtorch's: out `[n_nodes, heads · channels]`.
pub fn attend(
    graph: &Graph,
    heads: i64,
    left: &Tensor,
    right: &Tensor,
    attention: &Tensor,
    edge: &Tensor,
) -> Tensor {
    let n_nodes = graph.n_nodes as i64;
    let Edges { sources, targets, attributes, .. } = graph.edges(left);
    let feature = attributes.unsqueeze(1);
    let from = left.index_select(0, &sources);
    let z = &from + right.index_select(0, &targets) + feature * edge.view([1, -1]);
    let z = z.maximum(&(&z * SLOPE)) * attention.view([1, -1]);
    let scores = z.view([-1, heads, z.size()[1] / heads]).sum_dim_intlist(2, false, None::<Kind>);
    let lowest = Tensor::full([n_nodes, heads], f64::NEG_INFINITY, (left.kind(), left.device()));
    let highest = lowest.index_reduce(0, &targets, &scores.detach(), "amax", true);
    let shares = (scores - highest.index_select(0, &targets)).exp();
    let totals = Tensor::zeros([n_nodes, heads], (left.kind(), left.device()))
        .index_add(0, &targets, &shares);
    let alpha = shares / totals.index_select(0, &targets);
    let weighted = from.view([-1, heads, from.size()[1] / heads]) * alpha.unsqueeze(2);
    Tensor::zeros(left.size(), (left.kind(), left.device())).index_add(
        0,
        &targets,
        &weighted.reshape([-1, left.size()[1]]),
    )
}

//! Which steps go first.

use std::collections::HashMap;

use crate::core::{Graph, Node, StepId};

/// How long a step takes compared with an evaluation, roughly. Only the order of steps depends on it.
fn weight(node: &Node) -> u64 {
    let of_kind = match node.kind {
        "search" => 200,
        "fit" | "pretrain" | "rerank" | "explain" | "profiles" | "embeddings" => 10,
        _ => 1,
    };
    if node.needs_tensors() { 10 * of_kind } else { of_kind }
}

/// By step, the weight of the longest chain of steps of `of` that begins with it. The step with the longest chain should run
/// first: the last steps of a long chain determine when all is finished.
pub(super) fn chains(graph: &Graph, of: &[StepId]) -> HashMap<StepId, u64> {
    let needs = super::plan::needs(graph, of);
    let mut chains: HashMap<StepId, u64> = HashMap::with_capacity(of.len());
    for step in of.iter().rev() {
        let own = weight(&graph[*step]) + chains.get(step).copied().unwrap_or(0);
        chains.insert(*step, own);
        for input in &needs[step] {
            let longest = chains.entry(*input).or_default();
            *longest = (*longest).max(own);
        }
    }
    chains
}

//! What can be found out about steps before the first of them runs: before anything is written, waited or paid for.

use rayon::prelude::*;

use super::{Graph, Shared, StepError, StepId};

/// What a step found out before it ran.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What is about to be done, a sentence each.
    pub notes: Vec<String>,
    /// What readers of the results must know, a sentence each.
    pub warnings: Vec<String>,
}

/// Lets the steps `of` a graph check what they can before they run. What is read stays in `shared`.
pub fn preflight(
    graph: &Graph,
    of: &[StepId],
    shared: &Shared,
) -> Vec<(StepId, Result<Found, StepError>)> {
    let check = |step: &StepId| (*step, graph[*step].any().preflight(shared));
    // Steps that share an input would read it twice if they began together.
    let (first, rest) = of.split_at(of.len().min(1));
    let first: Vec<(StepId, Result<Found, StepError>)> = first.iter().map(check).collect();
    first.into_iter().chain(rest.par_iter().map(check).collect::<Vec<_>>()).collect()
}

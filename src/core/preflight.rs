//! Checks of steps before the first of them runs, i.e. before anything is written or paid for.

use rayon::prelude::*;

use super::{Graph, Shared, StepError, StepId};

/// The result of the checks of a step.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// What the step will do, a sentence each.
    pub notes: Vec<String>,
    /// Warnings for readers of the results, a sentence each.
    pub warnings: Vec<String>,
}

/// Makes the checks of the steps `of` a graph. Inputs that are read stay in `shared`.
pub fn preflight(
    graph: &Graph,
    of: &[StepId],
    shared: &Shared,
) -> Vec<(StepId, Result<Found, StepError>)> {
    let check = |step: &StepId| (*step, graph[*step].any().preflight(shared));
    // Steps that share an input would read it twice if all began at the same time.
    let (first, rest) = of.split_at(of.len().min(1));
    let first: Vec<(StepId, Result<Found, StepError>)> = first.iter().map(check).collect();
    first.into_iter().chain(rest.par_iter().map(check).collect::<Vec<_>>()).collect()
}

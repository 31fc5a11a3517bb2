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

/// Lets the steps `of` a graph check what they can before they run. The error is that of the first step that cannot
/// run. What is read stays in `shared`.
pub fn preflight(
    graph: &Graph,
    of: &[StepId],
    shared: &Shared,
) -> Result<Vec<(StepId, Found)>, StepError> {
    let check = |step: &StepId| {
        let node = &graph[*step];
        Ok((*step, node.any().preflight(shared)?))
    };
    // Steps that share an input would read it twice if they began together.
    let Some((first, rest)) = of.split_first() else { return Ok(Vec::new()) };
    let first = check(first)?;
    let rest: Vec<Result<(StepId, Found), StepError>> = rest.par_iter().map(check).collect();
    std::iter::once(Ok(first)).chain(rest).collect()
}

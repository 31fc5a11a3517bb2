//! Judges: the interface, and judges that are no chat models.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::RerankedList;
use crate::{data::UserIx, llm::LlmError};

/// Judges items for users. Items that a judge does not rank keep their order.
pub trait Judge: Sync {
    /// All of `items`, best first; none without a usable response.
    fn order(&self, user: UserIx, items: &[u32]) -> Result<Option<Vec<u32>>, LlmError>;
    /// Whether `first` is better than `second`, presented in this order; none if the judge does not decide.
    fn prefers(&self, user: UserIx, first: u32, second: u32) -> Result<Option<bool>, LlmError>;
    /// The relevance of each of `items`, 0 to 100; none without a score.
    fn relevance(
        &self,
        user: UserIx,
        items: &[u32],
        round: usize,
    ) -> Result<Vec<Option<f64>>, LlmError>;

    /// Runs `work` for `0..n` users, as many at once as the judge allows; results are in order.
    fn each(
        &self,
        n: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
        work: &(dyn Fn(usize) -> Result<Option<RerankedList>, LlmError> + Sync),
    ) -> Result<Vec<Option<RerankedList>>, LlmError> {
        let done = AtomicU64::new(0);
        (0..n)
            .into_par_iter()
            .map(|at| {
                let result = work(at)?;
                progress(1 + done.fetch_add(1, Ordering::Relaxed), n as u64);
                Ok(result)
            })
            .collect()
    }
}

/// A judge with a score for every user and item: the controls.
pub struct Scored<F: Fn(UserIx, u32) -> f64 + Sync>(pub F);

impl<F: Fn(UserIx, u32) -> f64 + Sync> Judge for Scored<F> {
    fn order(&self, user: UserIx, items: &[u32]) -> Result<Option<Vec<u32>>, LlmError> {
        let mut order = items.to_vec();
        // Stable: ties keep the given order.
        order.sort_by(|a, b| (self.0)(user, *b).total_cmp(&(self.0)(user, *a)));
        Ok(Some(order))
    }

    fn prefers(&self, user: UserIx, first: u32, second: u32) -> Result<Option<bool>, LlmError> {
        let (first, second) = ((self.0)(user, first), (self.0)(user, second));
        // No decision about a tie: to prefer the first-named item would be a position bias.
        Ok((first != second).then_some(first > second))
    }

    fn relevance(
        &self,
        user: UserIx,
        items: &[u32],
        _: usize,
    ) -> Result<Vec<Option<f64>>, LlmError> {
        Ok(items.iter().map(|item| Some((self.0)(user, *item))).collect())
    }
}

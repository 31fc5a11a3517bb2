//! Who is asked.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

use super::One;
use crate::{data::UserIx, llm::LlmError};

/// Judges items for users. Items that a judge says nothing of keep the place they were given in.
pub trait Judge: Sync {
    /// All of `items`, best first; none where the judge says nothing that can be used.
    fn order(&self, user: UserIx, items: &[u32]) -> Result<Option<Vec<u32>>, LlmError>;
    /// Whether `first` is better than `second`, asked in this order; none where the judge does not say.
    fn prefers(&self, user: UserIx, first: u32, second: u32) -> Result<Option<bool>, LlmError>;
    /// How relevant each of `items` is, 0 to 100; none where the judge does not say.
    fn relevance(
        &self,
        user: UserIx,
        items: &[u32],
        round: usize,
    ) -> Result<Vec<Option<f64>>, LlmError>;

    /// Does `work` for `0..n` users, as many at a time as suits the judge; results in order.
    fn each(
        &self,
        n: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
        work: &(dyn Fn(usize) -> Result<Option<One>, LlmError> + Sync),
    ) -> Result<Vec<Option<One>>, LlmError> {
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

/// A judge that has a number for every user and item: the controls.
pub struct Scored<F: Fn(UserIx, u32) -> f64 + Sync>(pub F);

impl<F: Fn(UserIx, u32) -> f64 + Sync> Judge for Scored<F> {
    fn order(&self, user: UserIx, items: &[u32]) -> Result<Option<Vec<u32>>, LlmError> {
        let mut order = items.to_vec();
        // Stable: of equals the one given first stays first.
        order.sort_by(|a, b| (self.0)(user, *b).total_cmp(&(self.0)(user, *a)));
        Ok(Some(order))
    }

    fn prefers(&self, user: UserIx, first: u32, second: u32) -> Result<Option<bool>, LlmError> {
        let (first, second) = ((self.0)(user, first), (self.0)(user, second));
        // Of equals it has none to prefer: to name the one that comes first would be a bias.
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

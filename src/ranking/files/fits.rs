//! Which fold rankings were made for: most tools recommend nothing that a user has in training.

use super::Findings;
use crate::{data::Interactions, ranking::Rankings};

/// By how much another fold must fit better to be named.
const TELLING: f64 = 0.25;

/// A fold that rankings fit clearly better than the one they are evaluated on.
#[derive(Clone, Debug, PartialEq)]
pub struct OtherFold {
    pub name: String,
    /// The share of lists without an item that their user has in training there.
    pub avoiding: f64,
    /// The same in the fold they are evaluated on.
    pub avoiding_here: f64,
}

impl OtherFold {
    /// The fold that the rankings fit, if most lists repeat what is in training and another fold fits clearly better.
    /// `others` makes the other folds: their names, and what users have seen.
    pub fn find<E>(
        rankings: &Rankings,
        findings: &Findings,
        others: impl FnOnce() -> Result<Vec<(String, Interactions)>, E>,
    ) -> Result<Option<Self>, E> {
        if !findings.repeat_training() {
            return Ok(None);
        }
        let avoiding_here = findings.avoiding_training();
        let share =
            |seen: &Interactions| rankings.avoiding(seen) as f64 / findings.lists.max(1) as f64;
        let best = others()?
            .into_iter()
            .map(|(name, seen)| Self { avoiding: share(&seen), name, avoiding_here })
            .max_by(|a, b| a.avoiding.total_cmp(&b.avoiding).then(b.name.cmp(&a.name)));
        Ok(best.filter(|best| best.avoiding > avoiding_here + TELLING))
    }

    /// What a warning says of it, after the share of the fold `here`.
    pub fn describe(&self, here: &str) -> String {
        format!(
            "those of the fold {here}; {:.0} % avoid those of the fold {}: the rankings look like that fold's",
            100.0 * self.avoiding,
            self.name
        )
    }
}

//! What can be evaluated beside lists: anything that gives every item a score for a user.

use crate::data::UserIx;

/// Gives every item a score for a user. Higher is better.
pub trait Scorer: Send + Sync {
    /// Number of items each user gets a score for.
    fn n_items(&self) -> usize;

    /// Writes the scores of all items for each of `users` into `scores`,
    /// row-major `[users.len(), n_items]`. Must not depend on how users are batched
    /// or on the thread count. Items seen in training get a score like any other:
    /// leaving them out is the protocol's business.
    fn score(&self, users: &[UserIx], scores: &mut [f32]);

    /// Whether a score of −∞ leaves an item out of the user's list. Otherwise it is an error.
    fn omits_items(&self) -> bool {
        false
    }

    /// Whether this user gets a list at all. Where not, all scores are −∞.
    fn recommends_to(&self, _user: UserIx) -> bool {
        true
    }
}

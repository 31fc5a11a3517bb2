//! Recommendations for users without history.

use std::path::Path;

use super::models::{ModelError, Recommender};
use crate::{
    data::{Interactions, TrainingData, UserIx},
    ranking::{Fallback, Scorer},
};

/// Which of a user's training ratings a model uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Nothing: all users get the same list, or the user is not what it depends on.
    Unused,
    /// Only liked ratings.
    Liked,
    /// Liked and disliked ratings, or what was written about the user from them.
    LikedOrDisliked,
    /// Any rating.
    Rated,
    /// The user's text: those without one have a vector of zeros.
    Text,
}

impl History {
    /// By user, whether the model knows anything of them; none where it need not. `data` is what it was
    /// fitted to.
    pub fn known(self, model: &dyn Recommender, data: &TrainingData) -> Option<Vec<bool>> {
        let has = |of: &Interactions, user: UserIx| !of.items_of(user).is_empty();
        let is_known = |user: UserIx| match self {
            Self::Unused => true,
            Self::Liked => has(&data.positives, user),
            Self::LikedOrDisliked => {
                has(&data.positives, user)
                    || data.disliked.as_ref().is_some_and(|disliked| has(disliked, user))
            }
            Self::Rated => has(&data.ratings, user),
            Self::Text => model.has_vector(user),
        };
        let users = (0..data.ratings.n_users() as u32).map(UserIx);
        (self != Self::Unused).then(|| users.map(is_known).collect())
    }
}

/// A model whose users without the history it goes by get the fallback instead of its scores, which for
/// them are all alike or start values.
pub struct WithFallback<'a> {
    model: &'a dyn Recommender,
    known: &'a [bool],
    /// Scores of the fallback; none where such users get no list.
    popularity: Option<Vec<f32>>,
}

impl<'a> WithFallback<'a> {
    /// `known` is by user; the popularity of items is that among `positives`.
    pub fn new(
        model: &'a dyn Recommender,
        known: &'a [bool],
        fallback: Fallback,
        positives: &Interactions,
    ) -> Self {
        let counts = || positives.item_counts().into_iter().map(|count| count as f32).collect();
        let popularity = (fallback == Fallback::Popularity).then(counts);
        Self { model, known, popularity }
    }
}

impl Scorer for WithFallback<'_> {
    fn n_items(&self) -> usize {
        self.model.n_items()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        self.model.score(users, scores);
        for (user, row) in users.iter().zip(scores.chunks_mut(self.n_items().max(1))) {
            match &self.popularity {
                _ if self.known[user.at()] => {}
                Some(popularity) => row.copy_from_slice(popularity),
                None => row.fill(f32::NEG_INFINITY),
            }
        }
    }

    fn recommends_to(&self, user: UserIx) -> bool {
        self.popularity.is_some() || self.known[user.at()]
    }
}

impl Recommender for WithFallback<'_> {
    /// The fallback is not kept: it follows from the training part.
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        self.model.save(dir)
    }
}

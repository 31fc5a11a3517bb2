//! What is recommended to users of whom a model knows nothing.

use std::path::Path;

use super::{ModelError, Recommender, TrainingData};
use crate::{
    data::{Interactions, UserIx},
    eval::Fallback,
};

/// What of a user's training part a model goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Nothing: all users get the same list, or the user is not what it depends on.
    Unused,
    /// Liked ratings alone.
    Liked,
    /// Any rating, or what was written about the user from them.
    Rated,
}

/// A model whose users without the history it goes by get the fallback instead of its scores, which for
/// them are all alike or start values.
pub struct WithFallback<'a> {
    model: &'a dyn Recommender,
    known: &'a Interactions,
    /// Scores of the fallback; none where such users get no list.
    popularity: Option<Vec<f32>>,
}

impl<'a> WithFallback<'a> {
    /// None where the model needs no fallback.
    pub fn new(
        model: &'a dyn Recommender,
        history: History,
        fallback: Fallback,
        data: &'a TrainingData,
    ) -> Option<Self> {
        let known = match history {
            History::Unused => return None,
            History::Liked => &data.positives,
            History::Rated => &data.ratings,
        };
        let counts =
            || data.positives.item_counts().into_iter().map(|count| count as f32).collect();
        let popularity = (fallback == Fallback::Popularity).then(counts);
        Some(Self { model, known, popularity })
    }
}

impl Recommender for WithFallback<'_> {
    fn n_items(&self) -> usize {
        self.model.n_items()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        self.model.score(users, scores);
        for (user, row) in users.iter().zip(scores.chunks_mut(self.n_items().max(1))) {
            match &self.popularity {
                _ if !self.known.items_of(*user).is_empty() => {}
                Some(popularity) => row.copy_from_slice(popularity),
                None => row.fill(f32::NEG_INFINITY),
            }
        }
    }

    fn recommends_to(&self, user: UserIx) -> bool {
        self.popularity.is_some() || !self.known.items_of(user).is_empty()
    }

    /// The fallback is not kept: it follows from the training part.
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        self.model.save(dir)
    }
}

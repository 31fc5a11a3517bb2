//! The training part of a fold as models see it.

use super::{Interactions, Relevance, UserIx};

/// What a model may learn from. There is no way from here to the test part of a fold.
#[derive(Clone, Debug)]
pub struct TrainingData {
    /// Every rating of the training part, users × items (the validation part is not in it).
    pub ratings: Interactions,
    /// The liked ones among `ratings`.
    pub positives: Interactions,
    /// The disliked ones among `ratings`, where the experiment says which those are.
    pub disliked: Option<Interactions>,
    /// The validation part, cut from training; empty where the split has none.
    pub validation: Interactions,
    /// Which ratings are liked.
    pub relevant: Relevance,
}

/// What ratings of a training part say: where all are alike, nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Scale {
    pub worst: f32,
    pub best: f32,
    /// Whether they have times.
    pub timed: bool,
}

impl TrainingData {
    /// The range of its ratings, and whether they have times.
    pub fn scale(&self) -> Scale {
        let ratings = || self.ratings.ratings().iter().copied();
        let users = (0..self.ratings.n_users() as u32).map(UserIx);
        let mut times = users.flat_map(|user| self.ratings.timestamps_of(user));
        let first = times.next();
        Scale {
            worst: ratings().fold(f32::INFINITY, f32::min),
            best: ratings().fold(f32::NEG_INFINITY, f32::max),
            timed: first.is_some_and(|first| times.any(|time| time != first)),
        }
    }
}

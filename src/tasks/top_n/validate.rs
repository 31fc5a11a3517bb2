//! Evaluation on the validation part, for tuning and early stopping, without access to the test part.

use super::{
    WithFallback,
    models::{FitContext, ModelError, Recommender},
};
use crate::{
    base::interrupt::Interrupted,
    data::TrainingData,
    ranking::{
        Convention, EvalError, Fallback, Labels, Metric, Protocol, ScoreSpec, Slice, Source, score,
    },
};

/// Users without history get the most popular items, whatever the experiment's fallback is, so they contribute the same
/// to all settings and epochs. Ties: lower id first.
///
/// The mean of `metric` at `k` over users with a liked item in the validation part, protocol `full`,
/// convention `standard`; 0 if there is no such user.
pub fn validation(
    model: &dyn Recommender,
    data: &TrainingData,
    metric: Metric,
    k: usize,
    context: &FitContext,
) -> Result<f64, ModelError> {
    let spec = ScoreSpec {
        protocols: vec![Protocol::Full],
        conventions: vec![Convention::Standard],
        k: vec![k],
        slices: vec![Slice::All],
        metrics: vec![metric],
        depth: k,
        ..ScoreSpec::default()
    };
    let labels = Labels {
        train: &data.ratings,
        seen: &data.ratings,
        test: &data.validation,
        relevant: data.relevant,
        is_qrels: false,
    };
    let known = context.history.known(model, data);
    let with_fallback = known
        .as_ref()
        .map(|known| WithFallback::new(model, known, Fallback::Popularity, &data.positives));
    let model: &dyn Recommender = with_fallback.as_ref().map_or(model, |model| model);
    let scores = score(&spec, &labels, &Source::Model(model), context.interrupt, &|_, _| {});
    match scores {
        Ok(scores) => Ok(scores.summary.first().and_then(|mean| mean.value).unwrap_or(0.0)),
        Err(error @ EvalError::NotFinite { .. }) => Err(ModelError::Diverged(error.to_string())),
        // Nothing else can go wrong without files.
        Err(_) => Err(ModelError::Interrupted(Interrupted)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        data::{Interaction, Interactions, ItemIx, Relevance, UserIx},
        ranking::Scorer,
    };

    /// Scores every item alike, as linear models do for users of whom they know nothing.
    struct Constant;

    impl Scorer for Constant {
        fn n_items(&self) -> usize {
            4
        }

        fn score(&self, _: &[UserIx], scores: &mut [f32]) {
            scores.fill(0.0);
        }
    }

    impl Recommender for Constant {
        fn save(&self, _: &Path) -> Result<(), ModelError> {
            Ok(())
        }
    }

    #[test]
    fn users_without_a_rating_are_validated_on_popular_items() {
        let matrix = |pairs: &[(u32, u32)]| {
            let row = |(user, item): &(u32, u32)| Interaction {
                user: UserIx(*user),
                item: ItemIx(*item),
                rating: 1.0,
                timestamp: Default::default(),
            };
            Interactions::new(3, 4, &pairs.iter().map(row).collect::<Vec<_>>())
        };
        let ratings = matrix(&[(0, 3), (1, 3), (1, 2)]);
        let value = |validation: &[(u32, u32)]| {
            let data = TrainingData {
                ratings: ratings.clone(),
                positives: ratings.clone(),
                disliked: None,
                validation: matrix(validation),
                relevant: Relevance::Any,
            };
            let interrupt = Interrupt::default();
            let context = FitContext::silent(1, &interrupt);
            validation_of_first(&data, &context)
        };
        // User 2 has no rating and likes item 3, the most popular; user 0 likes item 0, the first of ties.
        assert_eq!(value(&[(2, 3)]), 1.0);
        assert_eq!(value(&[(2, 0)]), 0.0);
        assert_eq!(value(&[(0, 0)]), 1.0);
    }

    fn validation_of_first(data: &TrainingData, context: &FitContext) -> f64 {
        validation(&Constant, data, Metric::HitRate, 1, context).unwrap()
    }
}

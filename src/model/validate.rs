//! How good a model is on the validation part: what tuning and early stopping go by. The test part
//! cannot be reached from here.

use super::{FitContext, ModelError, Recommender, TrainingData};
use crate::{
    eval::{Convention, EvalError, Labels, Metric, Protocol, ScoreSpec, Slice, Source, score},
    interrupt::Interrupted,
};

/// The mean of `metric` at `k` over users with a liked item in the validation part, protocol `full`,
/// convention `standard`; 0 where there is no such user.
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
    };
    let scores = score(&spec, &labels, &Source::Model(model), context.interrupt, &|_, _| {});
    match scores {
        Ok(scores) => Ok(scores.summary.first().and_then(|mean| mean.value).unwrap_or(0.0)),
        Err(error @ EvalError::NotFinite { .. }) => Err(ModelError::Diverged(error.to_string())),
        // Nothing else can go wrong without files.
        Err(_) => Err(ModelError::Interrupted(Interrupted)),
    }
}

//! Whether baselines got a fair chance.

pub mod far_from_published;
pub mod fixed_setting_beaten;
pub mod missing_baselines;
pub mod ran_out_of_epochs;
pub mod stops_on_training_loss;
pub mod unequal_training_data;
pub mod untuned_baselines;

use super::{columns::Arm, fields::of_model};

/// Models without settings to tune.
const NOTHING_TO_TUNE: [&str; 3] = ["random", "popularity", "content"];

/// Whether a system is a model with settings to tune. Of rankings from files nobody knows; a reranker is tuned as its
/// base is.
pub(super) fn is_tunable(arm: &Arm) -> bool {
    let of = &arm.record.model[..];
    arm.record.reranks.is_none() && of != "external" && !NOTHING_TO_TUNE.contains(&of)
}

/// The name of a system's model.
pub(super) fn model<'a>(arm: &'a Arm) -> &'a str {
    of_model(arm.record)["model"].as_str().unwrap_or(&arm.record.model)
}

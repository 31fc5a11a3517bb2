//! Losses and validation metrics by epoch, of each network's first trial.

use super::{Drawing, Series, Source, curves_canvas, style::Look};
use crate::tasks::shared::HISTORY;

/// What is drawn of an epoch, whatever the network.
#[derive(serde::Deserialize)]
struct Epoch {
    epoch: usize,
    loss: f64,
    validation: Option<f64>,
}

pub(super) fn draw(of: &Source) -> Drawing {
    let experiment = of.request.experiment;
    let shown = of.systems();
    let (mut losses, mut validations) = (Vec::<Series>::new(), Vec::<Series>::new());
    for trial in &experiment.trials {
        // The network of a reranker is shown under its own name.
        let is_known = losses.iter().any(|(name, _)| *name == trial.name);
        let is_own = experiment.system(trial).reranks.is_none() && shown.contains(&trial.name);
        let Some(fit) = trial.fit.filter(|_| is_own && !is_known) else { continue };
        let path = experiment.dir(of.request.workspace, fit).join(HISTORY);
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let Ok(history) = serde_json::from_str::<Vec<Epoch>>(&text) else { continue };
        let first = history.first().map_or(1.0, |epoch| epoch.loss);
        let loss = history.iter().map(|epoch| (epoch.epoch as f64, epoch.loss / first));
        losses.push((trial.name.clone(), loss.collect()));
        let validation: Vec<(f64, f64)> = history
            .iter()
            .filter_map(|epoch| Some((epoch.epoch as f64, epoch.validation?)))
            .collect();
        if !validation.is_empty() {
            validations.push((trial.name.clone(), validation));
        }
    }
    let looks =
        |series: &[Series]| -> Vec<Look> { series.iter().map(|(name, _)| of.look(name)).collect() };
    let title = "Training of networks";
    let draw = |series: &[Series], y: &str| {
        curves_canvas(title, of.width(), series, &looks(series), "epoch", y)
    };
    let loss = draw(&losses, "loss relative to the first epoch");
    let validation = draw(&validations, "validation metric");
    let canvas = match (loss, validation) {
        (Some(loss), Some(validation)) => loss.above(validation),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Ok(None),
    };
    let caption = "Training of networks by epoch: loss relative to that of the first epoch, and validation metric, of each \
         network's first fold and seed.";
    Ok(Some((caption.into(), canvas)))
}

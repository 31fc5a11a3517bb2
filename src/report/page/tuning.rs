//! Searches: trials, budget, and the chosen setting of each fold.

use serde::Serialize;

use super::{Source, metric_at, number};
use crate::{
    base::text::{counted, distinct},
    core::Better,
};

/// The search of a system.
#[derive(Serialize)]
pub struct Tuned {
    pub system: String,
    /// Tried settings, by what they were measured.
    pub about: String,
    pub folds: Vec<OfFold>,
}

#[derive(Serialize)]
pub struct OfFold {
    pub fold: String,
    pub trials: usize,
    pub failed: usize,
    pub chosen: String,
    pub validation: String,
    /// The lowest and highest validation value of all trials.
    pub range: String,
    pub epochs: Option<usize>,
}

pub fn tuned(source: &Source) -> Vec<Tuned> {
    let systems = distinct(source.trials.iter().map(|row| row.system.as_str()));
    let of_system = |system: String| {
        let rows = || source.trials.iter().filter(|row| row.system == system);
        let folds: Vec<OfFold> = distinct(rows().map(|row| row.fold.as_str()))
            .into_iter()
            .map(|fold| {
                let of = || rows().filter(|row| row.fold == fold);
                let chosen = of().find(|row| row.chosen);
                let values = || of().filter_map(|row| row.validation);
                let range = [values().reduce(f64::min), values().reduce(f64::max)].map(number);
                OfFold {
                    trials: of().count(),
                    failed: of().filter(|row| row.failed.is_some()).count(),
                    chosen: chosen.map(|row| row.settings_text()).unwrap_or_default(),
                    validation: number(chosen.and_then(|row| row.validation)),
                    range: range.join(" – "),
                    epochs: chosen.and_then(|row| row.epochs),
                    fold,
                }
            })
            .collect();
        let of_metric = rows().next().map(|row| {
            let better = crate::tasks::metric(&row.metric).map(|of| of.better);
            let best = if better == Some(Better::Lower) { "lowest" } else { "highest" };
            format!(
                "the {best} {} on the search's validation part is chosen",
                metric_at(&row.metric, row.k)
            )
        });
        let trials: Vec<usize> = folds.iter().map(|of| of.trials).collect();
        let (least, most) = (trials.iter().min(), trials.iter().max());
        let budget = match (least, most) {
            (Some(least), Some(most)) if least == most => counted(*most, "setting"),
            (Some(least), Some(most)) => format!("{least} to {most} settings"),
            _ => String::new(),
        };
        let about = format!("{budget} tried in each fold; {}.", of_metric.unwrap_or_default());
        Tuned { system, about, folds }
    };
    systems.into_iter().map(of_system).collect()
}

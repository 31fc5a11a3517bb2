//! Time and memory of each system.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{Source, duration};
use crate::{analysis::trials_by_system, tasks::TrialRecord};

#[derive(Serialize)]
pub struct Spent {
    pub rows: Vec<OfSystem>,
    /// Of all steps, each once.
    pub total: String,
    pub cpu: String,
}

/// Steps of a system, over all folds and seeds.
#[derive(Serialize)]
pub struct OfSystem {
    pub system: String,
    pub trials: usize,
    pub search: Option<Time>,
    pub fit: Option<Time>,
    pub predict: Option<Time>,
    pub evaluate: Option<Time>,
    pub cpu: Option<Time>,
    pub memory: String,
}

#[derive(Serialize)]
pub struct Time {
    pub seconds: f64,
    pub text: String,
}

impl Time {
    fn of(seconds: f64) -> Self {
        Self { text: duration(seconds), seconds: (seconds * 1e3).round() / 1e3 }
    }
}

impl Spent {
    pub fn new(source: &Source) -> Self {
        let experiment = source.experiment;
        let all: Vec<&TrialRecord> = experiment.trials.iter().collect();
        let rows = trials_by_system(&all).into_iter().filter_map(|trials| {
            let (mut cpu, mut memory, mut seen) = (0.0, 0, false);
            let mut time = |steps: BTreeSet<usize>| -> Option<Time> {
                let records: Vec<_> =
                    steps.iter().filter_map(|step| source.record(*step)).collect();
                seen |= !records.is_empty();
                cpu += records.iter().map(|record| record.cpu_seconds).sum::<f64>();
                memory =
                    records.iter().map(|of| of.peak_memory_bytes).max().unwrap_or(0).max(memory);
                let wall = records.iter().map(|record| record.wall_seconds).sum();
                (!records.is_empty()).then(|| Time::of(wall))
            };
            let fits = || {
                trials
                    .iter()
                    .filter(|trial| {
                        // A reranker's network is its base's.
                        experiment.system(trial).reranks.is_none()
                    })
                    .filter_map(|trial| trial.fit)
            };
            let before = trials.iter().map(|trial| trial.fit.unwrap_or(trial.predictions));
            let searches = before.flat_map(|step| &experiment.steps[step].inputs).copied();
            let search =
                time(searches.filter(|step| experiment.steps[*step].kind == "search").collect());
            let fit = time(fits().collect());
            let predict = time(
                trials
                    .iter()
                    .flat_map(|trial| [Some(trial.predictions), trial.explain])
                    .flatten()
                    .collect(),
            );
            let evaluate = time(trials.iter().map(|trial| trial.evaluate).collect());
            seen.then(|| OfSystem {
                system: trials[0].name.clone(),
                trials: trials.iter().filter(|of| source.record(of.evaluate).is_some()).count(),
                search,
                fit,
                predict,
                evaluate,
                cpu: Some(Time::of(cpu)),
                memory: (memory / (1 << 20)).to_string(),
            })
        });
        let sum = |of: fn(&crate::core::Record) -> f64| -> f64 {
            source.records.iter().flatten().map(|record| of(record)).sum()
        };
        Self {
            rows: rows.collect(),
            total: duration(sum(|record| record.wall_seconds)),
            cpu: duration(sum(|record| record.cpu_seconds)),
        }
    }
}

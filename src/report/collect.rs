//! Result rows of an experiment, from the finished steps in the workspace.

use super::ResultRow;
use crate::{
    eval::scores::read_summary,
    plan::{Plan, Trial},
    spec::Experiment,
    stats::with_means,
    store::{StepState, Workspace},
};

/// What was found.
pub struct Collected {
    /// Rows of folds and seeds, then `mean` rows.
    pub rows: Vec<ResultRow>,
    /// Trials without a result.
    pub missing: Vec<String>,
    /// Whether the split holds the folds that were asked for, users by slice and fold, and so on.
    pub slices: Vec<SliceSize>,
}

/// How many users a slice holds in one fold.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SliceSize {
    pub setting: String,
    pub fold: String,
    pub slice: String,
    /// Users with a relevant item in the test part.
    pub users: usize,
}

/// Reads the results of every trial that is done and whose files are as recorded.
pub fn collect(experiment: &Experiment, plan: &Plan, workspace: &Workspace) -> Collected {
    let mut rows = Vec::new();
    let mut missing = Vec::new();
    for trial in &plan.trials {
        let step = &plan.steps[trial.score];
        let dir = workspace.step_dir(step.kind.name(), &step.key);
        let summary = match workspace.verify(step.kind.name(), &step.key) {
            StepState::Done => read_summary(&dir).ok(),
            _ => None,
        };
        match summary {
            Some(summary) => {
                rows.extend(summary.into_iter().map(|mean| row(experiment, plan, trial, mean)))
            }
            None => missing.push(format!("{} {} seed {}", trial.name, trial.fold, trial.seed)),
        }
    }
    let slices = slice_sizes(experiment, plan, &rows);
    Collected { rows: with_means(rows), missing, slices }
}

fn row(
    experiment: &Experiment,
    plan: &Plan,
    trial: &Trial,
    mean: crate::eval::Summary,
) -> ResultRow {
    let pair = (mean.protocol, mean.convention);
    ResultRow {
        experiment: experiment.name.clone(),
        system: trial.name.clone(),
        fold: trial.fold.clone(),
        seed: trial.seed.to_string(),
        protocol: mean.protocol.to_string(),
        convention: mean.convention.to_string(),
        slice: mean.slice.to_string(),
        metric: mean.metric.to_string(),
        k: mean.k,
        value: mean.value,
        sd: None,
        n_users: mean.n_users,
        fingerprint: plan.fingerprint(experiment, trial.setting, pair, mean.k).short(),
    }
}

/// Recall is a mean over the users with a relevant item under every convention.
fn slice_sizes(experiment: &Experiment, plan: &Plan, rows: &[ResultRow]) -> Vec<SliceSize> {
    let mut sizes: Vec<SliceSize> = Vec::new();
    for trial in &plan.trials {
        let setting = experiment.settings[trial.setting].label.clone();
        for row in rows.iter().filter(|row| row.system == trial.name && row.fold == trial.fold) {
            let known = sizes.iter().any(|size| {
                size.setting == setting && size.fold == row.fold && size.slice == row.slice
            });
            if !known && row.metric == "recall" {
                sizes.push(SliceSize {
                    setting: setting.clone(),
                    fold: row.fold.clone(),
                    slice: row.slice.clone(),
                    users: row.n_users,
                });
            }
        }
    }
    sizes
}

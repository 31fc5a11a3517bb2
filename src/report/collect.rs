//! Result rows of an experiment, from the finished steps in the workspace.

use std::collections::{HashMap, HashSet};

use super::ResultRow;
use crate::{
    eval::{
        EvalError, Slice,
        scores::{UserCells, read_summary, read_user_cells},
    },
    model::ModelSpec,
    plan::{Plan, Trial},
    rerank::JudgeName,
    spec::Experiment,
    stats::{Bootstrap, UserValues, with_means},
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
    /// What is odd about rankings made elsewhere: the trial, and a sentence.
    pub warnings: Vec<(String, String)>,
    /// Folds whose rows have their intervals.
    intervals_of: HashSet<String>,
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
    let warnings = warnings(plan, workspace);
    let intervals_of = HashSet::new();
    Collected { rows: with_means(rows), missing, slices, warnings, intervals_of }
}

/// Warnings that steps left in their records.
fn warnings(plan: &Plan, workspace: &Workspace) -> Vec<(String, String)> {
    let mut warnings = Vec::new();
    for trial in &plan.trials {
        for step in [trial.fit, trial.score] {
            let step = &plan.steps[step];
            let Ok(record) = workspace.record(step.kind.name(), &step.key) else { continue };
            let of_step = record.facts["warnings"].as_array().cloned().unwrap_or_default();
            let name = format!("{} {}", trial.name, trial.fold);
            let texts = of_step.iter().filter_map(|text| text.as_str());
            warnings.extend(texts.map(|text| (name.clone(), text.to_owned())));
        }
    }
    warnings
}

impl Collected {
    /// Adds bootstrap intervals to the rows of one fold, or of `mean`.
    pub fn add_intervals(
        &mut self,
        experiment: &Experiment,
        plan: &Plan,
        workspace: &Workspace,
        fold: &str,
        bootstrap: Bootstrap,
    ) -> Result<(), EvalError> {
        if self.intervals_of.contains(fold) {
            return Ok(());
        }
        self.intervals_of.insert(fold.to_owned());
        let mut systems: Vec<(usize, &str)> = Vec::new();
        for trial in &plan.trials {
            if !systems.contains(&(trial.setting, trial.name.as_str())) {
                systems.push((trial.setting, &trial.name));
            }
        }
        let mut intervals = HashMap::new();
        for (setting, system) in systems {
            // By fold, the users' values of every seed.
            let mut folds: Vec<(&str, Vec<UserCells>)> = Vec::new();
            for trial in plan.trials.iter().filter(|trial| trial.name == system) {
                let step = &plan.steps[trial.score];
                let dir = workspace.step_dir(step.kind.name(), &step.key);
                let wanted = fold == "mean" || fold == trial.fold;
                if !wanted || workspace.verify(step.kind.name(), &step.key) != StepState::Done {
                    continue;
                }
                let cells = read_user_cells(&dir)?;
                match folds.iter_mut().find(|(name, _)| *name == trial.fold) {
                    Some((_, seeds)) => seeds.push(cells),
                    None => folds.push((&trial.fold, vec![cells])),
                }
            }
            for slice in &experiment.settings[setting].evaluate.slices {
                let values: Vec<Vec<UserValues>> = folds
                    .iter()
                    .map(|(_, seeds)| seeds.iter().map(|cells| cells.of_slice(*slice)).collect())
                    .collect();
                let values: Vec<Vec<&UserValues>> =
                    values.iter().map(|seeds| seeds.iter().collect()).collect();
                let Some(cells) = folds.first().map(|(_, seeds)| &seeds[0].cells) else { continue };
                for (cell, interval) in cells.iter().zip(bootstrap.intervals(&values)) {
                    let (protocol, convention, k, metric) = cell;
                    let key = format!("{system}\n{protocol}\n{convention}\n{slice}\n{metric}\n{k}");
                    intervals.insert(key, interval);
                }
            }
        }
        for row in self.rows.iter_mut().filter(|row| row.fold == fold) {
            let key = format!(
                "{}\n{}\n{}\n{}\n{}\n{}",
                row.system, row.protocol, row.convention, row.slice, row.metric, row.k
            );
            (row.low, row.high) = intervals.get(&key).copied().flatten().unzip();
        }
        Ok(())
    }
}

fn row(
    experiment: &Experiment,
    plan: &Plan,
    trial: &Trial,
    mean: crate::eval::Summary,
) -> ResultRow {
    let pair = (mean.protocol, mean.convention);
    let fingerprint = plan.fingerprint(experiment, trial.setting, pair, mean.k).short();
    let place = (trial.fold.as_str(), trial.seed.to_string());
    let row = ResultRow::of_mean(&experiment.name, &trial.name, place, &mean, fingerprint);
    let model = &experiment.settings[trial.setting].systems[trial.system].model;
    let ModelSpec::Rerank(params) = model else { return row };
    let users = Some(params.users).filter(|users| *users != Slice::All);
    ResultRow {
        knows_test: params.judge == JudgeName::Oracle,
        own_lists_of: users.map(|users| users.to_string()),
        ..row
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

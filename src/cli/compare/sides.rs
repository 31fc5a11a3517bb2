//! Experiments and runs with their results.

use std::collections::BTreeSet;

use super::{Asked, CliError, ExperimentArg};
use crate::{
    analysis::{
        Collected, MEANS, Request, RunMean, Units, changed_means, collect, later_columns,
        trials_by_system, units_of,
    },
    base::{files::read_json, terminal::tell},
    cli::runs::find_run,
    core::{Columns, MeasureKey, RunRecord, Workspace},
    tasks::{ExperimentRecord, TrialRecord, metric, shared::steps::SplitStats},
};

/// An experiment with its results.
pub struct Side {
    pub of: ExperimentArg,
    pub record: ExperimentRecord,
    workspace: Workspace,
    pub collected: Collected,
    /// The run, or the last one of the experiment.
    pub run: Option<RunRecord>,
}

impl Side {
    /// The results of an experiment, by its file or name, or of a run.
    pub fn read(of: ExperimentArg, workspace: Workspace) -> Result<Self, CliError> {
        if let Some(run) = Self::named_run(&of, &workspace)? {
            return Self::of_run(of, workspace, run);
        }
        let record = of.recorded(&workspace)?;
        let run = read_json(&workspace.path(&["experiments", record.slot(), "run.json"])).ok();
        let request = Request::default().and_later(later_columns(&record, &[]));
        let collected = collect(&record, &workspace, &request)?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "no result of {} is in the workspace\n  = help: run `assay run {}` first",
                of, of
            )));
        }
        Ok(Self { of, record, workspace, collected, run })
    }

    /// The run that is named, unless there is a file or an experiment of this name.
    fn named_run(of: &ExperimentArg, workspace: &Workspace) -> Result<Option<RunRecord>, CliError> {
        let names = |_: &&str| !of.file.exists() || of.file.is_dir();
        let Some(name) = of.file.to_str().filter(names) else { return Ok(None) };
        match ExperimentRecord::read(workspace, name).is_ok() {
            true => Ok(None),
            false => find_run(workspace, name),
        }
    }

    /// The results of a run, which must still be what the run left.
    fn of_run(of: ExperimentArg, workspace: Workspace, run: RunRecord) -> Result<Self, CliError> {
        if !of.set.is_empty() {
            return Err(CliError::Usage(format!(
                "--set needs an experiment file, and `{}` is a run\n  = help: results of --set have a name of their \
                 own: `assay ls` lists it",
                of.file.display()
            )));
        }
        let rebuild = format!("run the experiment again: {}", run.file);
        let Ok(record) = ExperimentRecord::read_of_run(&workspace, &run.run) else {
            return Err(CliError::NoResults(format!(
                "the run {} has no list of its steps: it was interrupted, had no result, or is of an earlier version\n  \
                 = help: {rebuild}",
                run.run
            )));
        };
        let request = Request::default().and_later(later_columns(&record, &[]));
        let collected = collect(&record, &workspace, &request)?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "the steps of the run {} are no longer in the workspace\n  = help: {rebuild}",
                run.run
            )));
        }
        let means: Vec<RunMean> = read_json(&workspace.path(&["runs", &run.run, MEANS]))?;
        let changed = changed_means(&means, &RunMean::all(&collected.rows));
        if let Some(first) = changed.first() {
            return Err(CliError::NoResults(format!(
                "{} of {} means of the run {} are not those that it recorded, {first} among them: steps were rebuilt \
                 with other results, or removed, since\n  = help: {rebuild}",
                changed.len(),
                means.len(),
                run.run
            )));
        }
        Ok(Self { of, record, workspace, collected, run: Some(run) })
    }

    /// The fingerprints of what a system was measured by, in the order of the columns.
    pub fn fingerprints(&self, name: &str, asked: &Asked) -> Vec<Option<&str>> {
        let trial = self.record.trials.iter().find(|trial| trial.name == name);
        let variant = trial.map(|trial| &self.record.variants[trial.variant]);
        asked.keys.iter().map(|key| variant.and_then(|of| of.fingerprint(key))).collect()
    }

    /// The mean size of a system's test parts in sizes of their training parts; none where a record is missing.
    pub fn test_per_train(&self, name: &str) -> Option<f64> {
        let trials = self.record.trials.iter().filter(|trial| trial.name == name);
        let splits: BTreeSet<usize> = trials.map(|trial| trial.split).collect();
        let mut sum = 0.0;
        for split in &splits {
            let record = self.record.record(&self.workspace, *split).ok()?;
            let stats: SplitStats = record.stats().ok()?;
            sum += stats.test as f64 / stats.train as f64;
        }
        let mean = sum / splits.len() as f64;
        mean.is_finite().then_some(mean)
    }

    /// The values of a system's trials that have results, in the columns of `keys`.
    pub fn units(&self, name: &str, keys: &[MeasureKey]) -> Result<Units, CliError> {
        let has_result = |trial: &&TrialRecord| {
            trial.name == name
                && self.collected.rows.iter().any(|row| {
                    row.system == name
                        && row.fold == trial.fold
                        && row.seed == trial.seed.to_string()
                })
        };
        let trials: Vec<&TrialRecord> = self.record.trials.iter().filter(has_result).collect();
        if trials_by_system(&trials).len() > 1 {
            tell!("warning: `{name}` is the name of several systems; all are taken for one");
        }
        Ok(units_of(&trials, &self.record, &self.workspace, Columns::Of(keys))?)
    }
}

/// The best system by the first metric, in the first slice; no oracle.
pub fn best(side: &Side, asked: &Asked, fold: &str) -> Option<String> {
    let key = asked.keys.first()?;
    let info = metric(&key.metric)?;
    let rows = side.collected.rows.iter().filter(|row| {
        (&row.protocol, &row.convention, &row.metric, row.k)
            == (&key.protocol, &key.convention, &key.metric, key.k)
            && (row.slice == asked.slices[0] && row.fold == fold)
            && !row.knows_test
            && !row.lacks_responses
            && !row.one_of_several
    });
    let values: Vec<(&str, f64)> =
        rows.filter_map(|row| Some((row.system.as_str(), row.value?))).collect();
    let best = info.best(values.iter().map(|(_, value)| *value))?;
    values.iter().find(|(_, value)| *value == best).map(|(name, _)| (*name).to_owned())
}

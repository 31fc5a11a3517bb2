//! Runs of a workspace: which there are, and which one a name means.

use std::path::Path;

use super::CliError;
use crate::{
    base::{files::read_json, yaml::nearest},
    core::{RunRecord, Workspace},
    data::DataDirs,
    tasks::{Experiment, Slot},
};

/// All runs, the oldest first.
pub fn all_runs(workspace: &Workspace) -> Vec<RunRecord> {
    let entries = std::fs::read_dir(workspace.path(&["runs"])).into_iter().flatten().flatten();
    let mut runs: Vec<RunRecord> =
        entries.filter_map(|entry| read_json(&entry.path().join("run.json")).ok()).collect();
    runs.sort_by(|a, b| (a.started, &a.run).cmp(&(b.started, &b.run)));
    runs
}

/// The runs of an experiment, by its name or file; none if it is neither.
pub fn runs_of(workspace: &Workspace, what: &str) -> Option<Vec<RunRecord>> {
    let path = Path::new(what);
    let slot = match path.is_file() {
        true => {
            let experiment = Experiment::read(path, &DataDirs::from_env()).ok()?;
            Slot::find(workspace, &experiment.name, path, &experiment.source_texts()).name
        }
        false => what.to_owned(),
    };
    let mut runs = all_runs(workspace);
    runs.retain(|run| *run.slot() == slot);
    (!runs.is_empty()).then_some(runs)
}

/// The run that a text names: its name or the beginning of it, or an experiment, whose last run it is.
pub fn find_run(workspace: &Workspace, what: &str) -> Result<Option<RunRecord>, CliError> {
    let mut runs = all_runs(workspace);
    if let Some(at) = runs.iter().position(|run| run.run == what) {
        return Ok(Some(runs.swap_remove(at)));
    }
    if let Some(of) = runs_of(workspace, what) {
        return Ok(of.into_iter().next_back());
    }
    if what.len() < 4 {
        return Ok(None);
    }
    runs.retain(|run| run.run.starts_with(what));
    match runs.len() {
        0 | 1 => Ok(runs.pop()),
        n => Err(CliError::Usage(format!(
            "{n} runs begin with {what}: {}",
            runs.iter().map(|run| run.run.as_str()).collect::<Vec<_>>().join(", ")
        ))),
    }
}

/// The same, which must be one.
pub fn run_named(workspace: &Workspace, what: &str) -> Result<RunRecord, CliError> {
    find_run(workspace, what)?.ok_or_else(|| {
        let runs = all_runs(workspace);
        let names = runs.iter().flat_map(|run| [run.run.as_str(), run.slot()]);
        let near = nearest(what, names).map(|near| format!(" (did you mean `{near}`?)"));
        CliError::Usage(format!(
            "{} has no run or experiment `{what}`{}\n  = help: `assay ls` lists experiments, `assay ls EXPERIMENT` its \
             runs",
            workspace.root().display(),
            near.unwrap_or_default()
        ))
    })
}

/// When a run started: `2026-11-30 13:17:34 UTC`.
pub fn date(run: &RunRecord) -> String {
    let date = chrono::DateTime::from_timestamp(run.started as i64, 0);
    date.map_or_else(String::new, |date| date.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

/// How a run ended.
pub fn state(run: &RunRecord) -> String {
    match (run.finished, run.failures.len()) {
        (false, _) => "interrupted".to_owned(),
        (true, 0) => "complete".to_owned(),
        (true, 1) => "1 trial failed".to_owned(),
        (true, n) => format!("{n} trials failed"),
    }
}

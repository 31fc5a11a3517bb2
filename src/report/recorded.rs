//! Statistics of finished steps, read from their records.

use std::io::ErrorKind;

use crate::{
    base::files::FileError,
    core::{StepStats, Workspace},
    tasks::ExperimentRecord,
};

/// Statistics and run time of a step; none if it is not finished. If the record cannot be read, the error has to be
/// shown instead of zeros.
pub(super) fn recorded<S: StepStats>(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    step: usize,
) -> Option<Result<(S, f64), String>> {
    let label = &experiment.steps[step].label;
    let unreadable = |problem: String| format!("record not readable: {label}: {problem}");
    let record = match experiment.record(workspace, step) {
        Ok(record) => record,
        Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return None,
        Err(error) => return Some(Err(unreadable(error.to_string()))),
    };
    let seconds = record.wall_seconds;
    Some(record.stats().map(|stats| (stats, seconds)).map_err(unreadable))
}

//! Statistics of finished steps, read from their records.

use std::io::ErrorKind;

use crate::{
    base::files::FileError,
    core::{StepStats, Workspace},
    tasks::ExperimentRecord,
};

/// What the record of a step says, and the seconds that the step took; none where the step is not finished.
/// A record that cannot be read is never taken for zeros: the error is to be shown in their place.
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

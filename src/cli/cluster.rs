//! What commands for clusters have in common.

use std::{env, fs, path::PathBuf};

use super::{CliError, ExperimentArg, hand_over::is_read_once};
use crate::{
    base::{limits, programs::BUILD},
    cluster::About,
    core::{Options, machine},
    data::DataDirs,
    tasks::Plan,
};

/// What all steps of a plan have in common.
pub fn about(
    experiment: &ExperimentArg,
    slot: &str,
    options: &Options,
    memory: Option<u64>,
    plan: &Plan,
) -> Result<About, CliError> {
    let folder = match experiment.file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let here = machine(&folder);
    Ok(About {
        version: About::version(),
        build: BUILD.to_owned(),
        experiment: slot.to_owned(),
        slot: slot.to_owned(),
        file: experiment.file.clone(),
        set: experiment.set.clone(),
        directory: env::current_dir()?,
        data_dirs: DataDirs::from_env().roots().to_vec(),
        known: About::known(&plan.graph),
        responses: options.responses,
        most_trials: limits::most_trials(),
        revision: here.revision,
        dirty: here.dirty,
        threads: options.threads,
        memory,
    })
}

/// An error if the experiment cannot be a file for other processes: it can be read once, or is a file of this process only.
pub fn check_others_can_read(
    experiment: &ExperimentArg,
    of: &str,
    others: &str,
) -> Result<(), CliError> {
    let file = &experiment.file;
    let own = ["/dev/stdin", "/dev/fd", "/proc"].iter().any(|dir| file.starts_with(dir));
    match own || is_read_once(file) {
        true => Err(CliError::Usage(format!(
            "{}: {of}, the experiment must be a file that the {others} can read, too",
            file.display()
        ))),
        false => Ok(()),
    }
}

/// The program that tasks run: `assay`, also if this is the one with tensors.
pub fn program() -> Result<PathBuf, CliError> {
    let here = env::current_exe()
        .map_err(|error| CliError::Internal(format!("the path of this program: {error}")))?;
    Ok(fs::canonicalize(&here).unwrap_or(here).with_file_name("assay"))
}

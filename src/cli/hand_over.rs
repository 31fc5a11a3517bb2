//! Becomes the program that computes with tensors (see [`crate::base::programs`]).

use std::{env, fs, os::unix::process::CommandExt, path::Path, process::Command};

use super::CliError;
use crate::{
    base::programs::{BUILD, HANDED_OVER, PROGRAM},
    tasks::top_n::networks::can_train,
};

/// Runs the same command in the program with tensors, in this process: same arguments, environment,
/// terminal and process id. Returns only where that fails, and does nothing where this is that program.
/// To be called before anything is printed or written.
pub fn hand_over() -> Result<(), CliError> {
    if can_train() {
        return Ok(());
    }
    let here = env::current_exe().map_err(|error| {
        CliError::NoProgram(format!("cannot tell where this program lies: {error}"))
    })?;
    let here = fs::canonicalize(&here).unwrap_or(here);
    let program = here.with_file_name(PROGRAM);
    let mut arguments = env::args_os();
    let mut command = Command::new(&program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).env(HANDED_OVER, BUILD).exec();
    Err(CliError::NoProgram(format!("cannot run {}: {error}", program.display())))
}

/// Ends a program that was handed over to and is of another build.
pub(super) fn check_build() -> Result<(), CliError> {
    match env::var(HANDED_OVER) {
        Ok(build) if can_train() && build != BUILD => Err(CliError::NoProgram(format!(
            "`assay` is of build {build}, and {PROGRAM} beside it of build {BUILD}"
        ))),
        _ => Ok(()),
    }
}

/// Whether the file can be read only once, as a pipe: then whoever does the work must be the one to read it.
pub fn is_read_once(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| !file.is_file() && !file.is_dir())
}

//! Becomes the program that computes with tensors (see [`crate::base::programs`]).

use std::{env, fs, os::unix::process::CommandExt, path::Path, process::Command};

use super::CliError;
use crate::{
    base::programs::{BUILD, HANDED_OVER, PROGRAM},
    tasks::top_n::networks::can_train,
};

/// Replaces this process by the program with tensors: same arguments, environment, terminal and process id. Returns
/// only if that fails, or at once if this is that program. Call it before printing or writing anything.
pub fn hand_over() -> Result<(), CliError> {
    if can_train() {
        return Ok(());
    }
    let here = env::current_exe().map_err(|error| {
        CliError::NoProgram(format!("cannot find the path of this program: {error}"))
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

/// An error if the program that handed over is of another build.
pub(super) fn check_build() -> Result<(), CliError> {
    match env::var(HANDED_OVER) {
        Ok(build) if can_train() && build != BUILD => Err(CliError::NoProgram(format!(
            "`assay` is of build {build}, but the {PROGRAM} next to it is of build {BUILD}"
        ))),
        _ => Ok(()),
    }
}

/// Whether the file can be read only once, like a pipe: then the program that does the work has to read it.
pub fn is_read_once(file: &Path) -> bool {
    fs::metadata(file).is_ok_and(|file| !file.is_file() && !file.is_dir())
}

//! Becomes the program that computes with tensors (see [`crate::base::programs`]).

use std::{
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

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
    check_libraries(&program)?;
    let mut arguments = env::args_os();
    let mut command = Command::new(&program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    let error = command.args(arguments).env(HANDED_OVER, BUILD).exec();
    Err(CliError::NoProgram(format!("cannot run {}: {error}", program.display())))
}

/// An error if the other program is there and cannot start for want of libtorch: the dynamic loader would end it with a
/// message that helps nobody.
fn check_libraries(program: &Path) -> Result<(), CliError> {
    let Some(above) = program.parent().and_then(Path::parent) else { return Ok(()) };
    // The directories that build.rs writes into the program.
    let environments = fs::read_dir(above.join("lib")).into_iter().flatten().flatten();
    let mut places: Vec<PathBuf> = environments
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("python3."))
        .map(|entry| entry.path().join("site-packages/torch/lib"))
        .collect();
    places.push(above.join("lib/assay"));
    places.push(above.join("../.libtorch/lib"));
    if !program.is_file() || places.iter().any(|dir| dir.join("libtorch_cpu.so").is_file()) {
        return Ok(());
    }
    // It may find them elsewhere.
    let tried = Command::new(program).arg("--version").stdin(Stdio::null()).output();
    match tried {
        Ok(tried) if !tried.status.success() => {
            let said = String::from_utf8_lossy(&tried.stderr);
            let is_python = above.join("pyvenv.cfg").is_file();
            Err(CliError::NoLibtorch {
                said: said.trim().to_owned(),
                help: match is_python {
                    true => format!(
                        "install them in this environment: `{} -m pip install torch==2.11.0`",
                        above.join("bin/python").display()
                    ),
                    false => {
                        format!("put libtorch 2.11.0 into {}", above.join("lib/assay").display())
                    }
                },
            })
        }
        _ => Ok(()),
    }
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

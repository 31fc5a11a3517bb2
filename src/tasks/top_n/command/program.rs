//! Where the program of a command line is.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use super::CommandParams;
use crate::{base::process, data::DataError};

/// Where a program lies.
#[derive(Clone, Debug, PartialEq)]
pub enum CommandProgram {
    /// Below the directory that it runs in.
    Input(PathBuf),
    At(PathBuf),
}

impl fmt::Display for CommandProgram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Input(path) | Self::At(path) => path.display().fmt(f),
        }
    }
}

impl CommandParams {
    /// Where the program lies: one of the inputs, beside the experiment file, or in the directories of `PATH`.
    pub fn program(&self) -> Result<CommandProgram, DataError> {
        let name = self.words[0].fill(|_| String::new());
        let missing = |help: &str| {
            Err(DataError::File {
                path: PathBuf::from(&name),
                problem: "there is no such program".into(),
                help: help.into(),
            })
        };
        let plain = Path::new(&name).strip_prefix(".").unwrap_or(Path::new(&name));
        let is_input = self.inputs.iter().any(|input| plain.starts_with(input));
        if name.contains('/') && is_input {
            return match process::find(&name, &self.directory) {
                Some(_) => Ok(CommandProgram::Input(plain.to_owned())),
                None => missing("it must be executable (`chmod +x`)"),
            };
        }
        match process::find(&name, &self.directory) {
            Some(path) => Ok(CommandProgram::At(path)),
            None => missing(
                "a name is looked for in the directories of PATH, a path relative to the experiment file (e.g. \
                 `.venv/bin/python`)",
            ),
        }
    }
}

//! Programs that steps run, and which of them the user of this machine has allowed.
//!
//! An experiment file from someone else may name any program. It runs only with the user's permission
//! (`--allow-commands`), which is recorded for the user, outside of the experiment and its workspace, and is valid only for
//! this command line with these settings and this content of its files.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::base::{
    files::{FileError, config_file, read_json, write_json},
    hash::Digest,
};

/// A program that a step runs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandUse {
    /// The command line, as in the experiment file.
    pub line: String,
    /// The files that it is given, as in the experiment file.
    pub inputs: Vec<String>,
    /// Digest of the command line, the settings, and the content of these files.
    pub digest: Digest,
}

/// The programs that the user of this machine has allowed, by [`CommandUse::digest`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct AllowedCommands(BTreeSet<Digest>);

const FILE: &str = "allowed-commands.json";

impl AllowedCommands {
    /// The programs allowed so far; none if the file cannot be read.
    pub fn read() -> Self {
        config_file(FILE).and_then(|path| read_json(&path).ok()).unwrap_or_default()
    }

    /// Whether a program may be run.
    pub fn allows(&self, of: &CommandUse) -> bool {
        self.0.contains(&of.digest)
    }

    /// Allows programs from now on.
    pub fn allow<'a>(
        &mut self,
        uses: impl IntoIterator<Item = &'a CommandUse>,
    ) -> Result<(), FileError> {
        let before = self.0.len();
        self.0.extend(uses.into_iter().map(|of| of.digest));
        if self.0.len() == before {
            return Ok(());
        }
        match config_file(FILE) {
            Some(path) => write_json(&path, self),
            None => Err(FileError::Damaged {
                path: FILE.into(),
                problem: "there is no directory for it: set XDG_CONFIG_HOME or HOME".into(),
            }),
        }
    }
}

//! To which hosts an experiment sends API keys.

use super::CliError;
use crate::{
    base::terminal::tell,
    llm::{Allowed, KeyUse},
};

/// Permissions for API keys.
#[derive(clap::Args)]
pub struct Keys {
    /// Allow assay to send the key in the variable NAME to HOST, from now on. Needed for plain http to another
    /// machine and for names unlike *_API_KEY, *_KEY and *_TOKEN (can be repeated)
    #[arg(long, value_name = "NAME@HOST")]
    allow_key: Vec<String>,
}

impl Keys {
    /// The recorded permissions and those of the command line.
    fn allowed(&self, uses: &[KeyUse]) -> Result<Allowed, CliError> {
        let mut allowed = Allowed::read();
        for text in &self.allow_key {
            allowed.allow(text, uses).map_err(CliError::Usage)?;
        }
        if !self.allow_key.is_empty() {
            allowed.write()?;
        }
        Ok(allowed)
    }

    /// An error if a key is not allowed to go to its host, or is malformed.
    pub fn check(&self, uses: &[KeyUse]) -> Result<(), CliError> {
        let allowed = self.allowed(uses)?;
        for of in uses {
            of.check(&allowed).map_err(CliError::Usage)?;
            of.read().map_err(CliError::Usage)?;
        }
        Ok(())
    }

    /// The same for a process that a queue has started: only recorded permissions count.
    pub fn check_recorded(uses: &[KeyUse]) -> Result<(), CliError> {
        Self { allow_key: Vec::new() }.check(uses)
    }

    /// Prints where each key goes.
    pub fn tell(uses: &[KeyUse]) {
        uses.iter().for_each(|of| tell!("{of}"));
    }

    /// Where each key would go, as text.
    pub fn of_plan(&self, uses: &[KeyUse]) -> Result<String, CliError> {
        let allowed = self.allowed(uses)?;
        let line = |of: &KeyUse| match of.check(&allowed) {
            Ok(()) => format!("{of}\n"),
            Err(_) => format!("{of}: not allowed yet (--allow-key {}@{})\n", of.name, of.host),
        };
        Ok(uses.iter().map(line).collect())
    }
}

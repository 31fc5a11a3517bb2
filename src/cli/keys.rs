//! Where the keys of an experiment go.

use super::CliError;
use crate::{
    base::terminal::tell,
    llm::{Allowed, KeyUse},
};

/// Leave for keys.
#[derive(clap::Args)]
pub struct Keys {
    /// Allow the key in the variable NAME to go to HOST, from now on (for plain http beyond this machine, and for
    /// names unlike *_API_KEY, *_KEY and *_TOKEN; may be given several times)
    #[arg(long, value_name = "NAME@HOST")]
    allow_key: Vec<String>,
}

impl Keys {
    /// What is allowed, with what the command line adds.
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

    /// An error where a key may not go where it would, or cannot be one.
    pub fn check(&self, uses: &[KeyUse]) -> Result<(), CliError> {
        let allowed = self.allowed(uses)?;
        for of in uses {
            of.check(&allowed).map_err(CliError::Usage)?;
            of.read().map_err(CliError::Usage)?;
        }
        Ok(())
    }

    /// Says where each key goes.
    pub fn tell(uses: &[KeyUse]) {
        uses.iter().for_each(|of| tell!("{of}"));
    }

    /// Where each key would go, for people.
    pub fn of_plan(&self, uses: &[KeyUse]) -> Result<String, CliError> {
        let allowed = self.allowed(uses)?;
        let line = |of: &KeyUse| match of.check(&allowed) {
            Ok(()) => format!("{of}\n"),
            Err(_) => format!("{of}: not allowed yet (--allow-key {}@{})\n", of.name, of.host),
        };
        Ok(uses.iter().map(line).collect())
    }
}

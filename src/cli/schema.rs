//! `assay schema`

use super::{CliError, print};
use crate::{base::exit::Exit, tasks::schema};

/// Print the JSON Schema of experiment files
#[derive(clap::Args)]
#[command(after_help = "Example, for editors that know `yaml-language-server`:
  assay schema > experiment.schema.json
  # first line of an experiment file:
  # yaml-language-server: $schema=../experiment.schema.json")]
pub struct Schema {}

impl Schema {
    pub fn run(self) -> Result<Exit, CliError> {
        print(&(serde_json::to_string_pretty(&schema())? + "\n"))?;
        Ok(Exit::Pass)
    }
}

//! `assay schema`

use super::{CliError, print_json};
use crate::{base::exit::Exit, tasks::schema};

/// Print the JSON Schema of experiment files
#[derive(clap::Args)]
#[command(after_help = "Example for editors that support `yaml-language-server`:
  assay schema > experiment.schema.json
  # first line of an experiment file:
  # yaml-language-server: $schema=../experiment.schema.json")]
pub struct Schema {}

impl Schema {
    pub fn run(self) -> Result<Exit, CliError> {
        print_json(&schema())?;
        Ok(Exit::Pass)
    }
}

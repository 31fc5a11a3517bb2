//! `assay schema`

use super::{CliError, print, print_json};
use crate::{
    base::exit::Exit,
    report::reference,
    tasks::{TASKS, bare_schema, schema},
};

/// Print the JSON Schema of experiment files of a task, or the reference of all keys
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay schema > experiment.schema.json
  assay schema --markdown > docs/REFERENCE.md

For editors that support `yaml-language-server`, the first line of an experiment file:
  # yaml-language-server: $schema=../experiment.schema.json")]
pub struct Schema {
    /// The task
    #[arg(default_value = TASKS[0].name, value_parser = clap::builder::PossibleValuesParser::new(TASKS.iter().map(|task| task.name)))]
    task: String,
    /// Print every key with its type, default, range and meaning as Markdown
    #[arg(long)]
    markdown: bool,
}

impl Schema {
    pub fn run(self) -> Result<Exit, CliError> {
        match self.markdown {
            true => print(&reference(&bare_schema(&self.task)))?,
            false => print_json(&schema(&self.task))?,
        }
        Ok(Exit::Pass)
    }
}

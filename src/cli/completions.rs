//! `assay completions`

use clap::CommandFactory;

use super::{Cli, CliError, print};
use crate::base::exit::Exit;

/// Print a completion script for a shell
#[derive(clap::Args)]
#[command(after_help = "Example:
  assay completions bash > ~/.local/share/bash-completion/completions/assay")]
pub struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

impl Completions {
    pub fn run(self) -> Result<Exit, CliError> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "assay", &mut script);
        print(&String::from_utf8_lossy(&script))?;
        Ok(Exit::Pass)
    }
}

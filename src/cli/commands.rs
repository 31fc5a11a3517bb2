//! Which programs an experiment runs.

use std::collections::BTreeSet;

use super::CliError;
use crate::{
    base::terminal::{shown, tell},
    core::{AllowedCommands, CommandUse},
};

/// Permission for programs.
#[derive(clap::Args)]
pub struct Commands {
    /// Allow the programs of the experiment (`model: command`), with this content of their files, to run from now on.
    /// `assay plan` prints them
    #[arg(long)]
    allow_commands: bool,
}

impl Commands {
    /// An error if a program is not allowed to run.
    pub fn check(&self, uses: &BTreeSet<CommandUse>) -> Result<(), CliError> {
        let mut allowed = AllowedCommands::read();
        if self.allow_commands {
            return Ok(allowed.allow(uses)?);
        }
        let refused: Vec<&CommandUse> = uses.iter().filter(|of| !allowed.allows(of)).collect();
        match &refused[..] {
            [] => Ok(()),
            [first, rest @ ..] => {
                let more = match rest.len() {
                    0 => String::new(),
                    n => format!(" (and {n} more: `assay plan` lists them)"),
                };
                Err(CliError::Usage(format!(
                    "the experiment {}{more}, which you have not allowed\n  = help: a program can do whatever you \
                     can: read it, then allow it with `--allow-commands`; a change of it needs a new permission",
                    line(first)
                )))
            }
        }
    }

    /// The same for a process that a queue has started: only recorded permissions count.
    pub fn check_recorded(uses: &BTreeSet<CommandUse>) -> Result<(), CliError> {
        Self { allow_commands: false }.check(uses)
    }

    /// Prints which programs run.
    pub fn tell(uses: &BTreeSet<CommandUse>) {
        let lines: BTreeSet<String> = uses.iter().map(line).collect();
        lines.iter().for_each(|line| tell!("{line}"));
    }

    /// Which programs would run, as text.
    pub fn of_plan(uses: &BTreeSet<CommandUse>) -> String {
        let allowed = AllowedCommands::read();
        let line = |of: &CommandUse| match allowed.allows(of) {
            true => format!("{}\n", line(of)),
            false => format!("{}: not allowed yet (--allow-commands)\n", line(of)),
        };
        // Settings of a sweep are programs of their own, and their lines are the same.
        uses.iter().map(line).collect::<BTreeSet<String>>().into_iter().collect()
    }
}

/// On one line; the command line in full, since it is what the user allows.
fn line(of: &CommandUse) -> String {
    let inputs: Vec<String> = of.inputs.iter().map(|input| shown(input)).collect();
    let with =
        if inputs.is_empty() { String::new() } else { format!(" with {}", inputs.join(", ")) };
    format!("runs the program `{}`{with}", crate::base::terminal::on_one_line(&of.line))
}

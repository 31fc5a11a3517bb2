//! `assay gc`

use std::{collections::BTreeMap, path::PathBuf};

use super::{CliError, ExperimentArg, WorkspaceArg, print, print_json};
use crate::{
    base::{exit::Exit, files::read_json},
    core::{Kept, RunRecord},
};

/// List what the given experiments do not need in a workspace, and remove it with --yes
///
/// Keeps the steps and the last run of the given experiments, according to their current files. Removes steps of
/// other experiments (those of `--set` are others: name them as `assay ls` does), old runs, locks, checkpoints and unfinished steps. Never removes responses of language models.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay gc experiments/quickstart.yaml             list what would be removed, with sizes
  assay gc experiments/*.yaml --yes                remove it
  assay gc quickstart --json                       name an experiment instead of its file")]
pub struct Gc {
    /// Experiment files, or names of experiments that were run, to keep
    #[arg(required = true, value_name = "EXPERIMENT")]
    experiments: Vec<PathBuf>,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Remove instead of listing
    #[arg(long)]
    yes: bool,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

impl Gc {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let mut kept = Kept::default();
        for experiment in &self.experiments {
            let record = ExperimentArg::of_file(experiment.clone()).recorded(&workspace)?;
            kept.steps.extend(record.steps.iter().map(|step| step.key));
            let last = workspace.path(&["experiments", record.slot(), "run.json"]);
            kept.runs.extend(read_json::<RunRecord>(&last).ok().map(|run| run.run));
            kept.experiments.insert(record.slot().to_owned());
        }
        let garbage = workspace.garbage(&kept)?;
        if self.yes {
            garbage.iter().try_for_each(|of| of.remove())?;
        }
        if self.json {
            print_json(&garbage)?;
            return Ok(Exit::Pass);
        }
        let mut kinds: BTreeMap<&str, (usize, u64)> = BTreeMap::new();
        for of in &garbage {
            let (count, bytes) = kinds.entry(of.what).or_default();
            (*count, *bytes) = (*count + 1, *bytes + of.bytes);
        }
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for (what, (count, bytes)) in &kinds {
            let s = if *count == 1 { "" } else { "s" };
            print(&format!("{count:6} {what}{s:<20} {:10.2} MiB\n", mib(*bytes)))?;
        }
        let total: u64 = garbage.iter().map(|of| of.bytes).sum();
        print(&match (garbage.is_empty(), self.yes) {
            (true, _) => format!("nothing to remove from {}\n", workspace.root().display()),
            (false, true) => format!("removed {:.2} MiB\n", mib(total)),
            (false, false) => {
                format!("{:.2} MiB can be removed; `--yes` removes it\n", mib(total))
            }
        })?;
        Ok(Exit::Pass)
    }
}

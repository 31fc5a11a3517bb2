//! `assay ls`

use std::fs;

use serde_json::json;

use super::{CliError, WorkspaceArg, print, print_json};
use crate::{
    base::{exit::Exit, files::read_json},
    core::RunRecord,
};

/// List the experiments that were run in a workspace
#[derive(clap::Args)]
pub struct Ls {
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Ls {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let entries =
            fs::read_dir(workspace.path(&["experiments"])).into_iter().flatten().flatten();
        let mut runs: Vec<RunRecord> =
            entries.filter_map(|entry| read_json(&entry.path().join("run.json")).ok()).collect();
        runs.sort_by(|a, b| a.experiment.cmp(&b.experiment));
        if self.json {
            let list: Vec<_> = runs
                .iter()
                .map(|run| {
                    json!({
                        "experiment": run.experiment,
                        "run": run.run,
                        "started": run.started,
                        "wall_seconds": run.wall_seconds,
                        "finished": run.finished,
                        "failed_trials": run.failures.len(),
                    })
                })
                .collect();
            print_json(&list)?;
        } else if runs.is_empty() {
            print(&format!("no experiment has been run in {}\n", workspace.root().display()))?;
        } else {
            let mut table = comfy_table::Table::new();
            table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
            table.set_header(["experiment", "last run", "steps run", "reused", "seconds", "state"]);
            for run in runs {
                let state = match (run.finished, run.failures.len()) {
                    (false, _) => "interrupted".to_owned(),
                    (true, 0) => "complete".to_owned(),
                    (true, 1) => "1 trial failed".to_owned(),
                    (true, n) => format!("{n} trials failed"),
                };
                table.add_row([
                    run.experiment,
                    run.run,
                    run.steps_done.to_string(),
                    run.steps_reused.to_string(),
                    format!("{:.1}", run.wall_seconds),
                    state,
                ]);
            }
            print(&format!("{table}\n"))?;
        }
        Ok(Exit::Pass)
    }
}

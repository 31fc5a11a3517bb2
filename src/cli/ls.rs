//! `assay ls`

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{
    CliError, WorkspaceArg, print, print_json,
    runs::{all_runs, date, run_named, runs_of, state},
};
use crate::{base::exit::Exit, core::RunRecord};

/// List the experiments that were run in a workspace, or the runs of one
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay ls                                  experiments, with their last run
  assay ls experiments/quickstart.yaml      its runs, the oldest first
  assay ls quickstart --json")]
pub struct Ls {
    /// An experiment, by its file or name: list its runs
    experiment: Option<String>,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Ls {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let Some(experiment) = &self.experiment else {
            let mut last: BTreeMap<String, (usize, RunRecord)> = BTreeMap::new();
            for run in all_runs(&workspace) {
                let count = last.get(run.slot()).map_or(0, |(count, _)| *count);
                last.insert(run.slot().to_owned(), (count + 1, run));
            }
            if self.json {
                let list = last.values().map(|(count, run)| {
                    let mut value = as_json(run);
                    value["runs"] = json!(count);
                    value
                });
                print_json(&list.collect::<Vec<_>>())?;
            } else if last.is_empty() {
                print(&format!("no experiment has been run in {}\n", workspace.root().display()))?;
            } else {
                let rows = last.iter().map(|(slot, (count, run))| {
                    let mut row = vec![slot.clone(), run.file.clone(), count.to_string()];
                    row.extend(columns(run));
                    row
                });
                print(&table(&["experiment", "file", "runs"], "last run", rows))?;
            }
            return Ok(Exit::Pass);
        };
        let Some(runs) = runs_of(&workspace, experiment) else {
            run_named(&workspace, experiment)?;
            return Err(CliError::Usage(format!("{experiment} is a run, not an experiment")));
        };
        match self.json {
            true => print_json(&runs.iter().map(as_json).collect::<Vec<_>>())?,
            false => print(&table(&[], "run", runs.iter().map(columns)))?,
        }
        Ok(Exit::Pass)
    }
}

fn as_json(run: &RunRecord) -> Value {
    json!({
        "experiment": run.slot(),
        "name": run.experiment,
        "file": run.file,
        "run": run.run,
        "started": run.started,
        "date": date(run),
        "wall_seconds": run.wall_seconds,
        "steps_run": run.steps_done,
        "steps_reused": run.steps_reused,
        "finished": run.finished,
        "failed_trials": run.failures.len(),
    })
}

fn columns(run: &RunRecord) -> Vec<String> {
    vec![
        run.run.clone(),
        date(run),
        run.steps_done.to_string(),
        run.steps_reused.to_string(),
        format!("{:.1}", run.wall_seconds),
        state(run),
    ]
}

fn table(first: &[&str], run: &str, rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    let of_run = [run, "started", "steps run", "reused", "seconds", "state"];
    table.set_header(first.iter().chain(&of_run));
    for row in rows {
        table.add_row(row);
    }
    format!("{table}\n")
}

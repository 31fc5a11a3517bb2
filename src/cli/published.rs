//! `assay published`

use std::path::PathBuf;

use super::{CliError, WorkspaceArg, planned, print, results::warn_of_missing};
use crate::{
    exit::Exit,
    report::{Collected, Reproduction, Request, collect},
    spec::Experiment,
};

/// Hold the results against the printed tables of a paper, cell by cell
///
/// The tables are named under `published:` in the experiment file. A cell is reproduced where our
/// value gives the printed one at the printed precision, rounded or cut.
#[derive(clap::Args)]
#[command(after_help = "Example:
  assay published experiments/ebrat2025-table1.yaml

Exit codes: 0 every checkable cell is reproduced; 1 some are off; 3 results are missing.")]
pub struct Published {
    /// The experiment file
    file: PathBuf,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// A JSON array
    #[arg(long)]
    json: bool,
}

impl Published {
    pub fn run(self) -> Result<Exit, CliError> {
        let (experiment, plan, _) = planned(&self.file)?;
        if experiment.published.is_empty() {
            return Err(CliError::Usage(format!(
                "{} names no printed table\n  = help: add `published: {{use: baselines/published/…}}`",
                self.file.display()
            )));
        }
        let workspace = self.workspace.open();
        let request = Request {
            intervals: experiment.published.iter().map(|table| table.about.fold.clone()).collect(),
            differences: None,
        };
        let collected = collect(&experiment, &plan, &workspace, &request)?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "no result of this experiment is in the workspace\n  = help: run `assay run {}` first",
                self.file.display()
            )));
        }
        let reproductions = reproductions(&experiment, &collected);
        if self.json {
            print(&(serde_json::to_string_pretty(&reproductions)? + "\n"))?;
        } else {
            let texts: Vec<String> = reproductions.iter().map(Reproduction::terminal).collect();
            print(&texts.join("\n"))?;
        }
        let missing = warn_of_missing(&collected);
        Ok(if reproductions.iter().all(Reproduction::holds) { missing } else { Exit::GateFailed })
    }
}

/// Every printed table against the results.
pub fn reproductions(experiment: &Experiment, collected: &Collected) -> Vec<Reproduction> {
    let of = |table| Reproduction::new(table, &collected.rows);
    experiment.published.iter().map(of).collect()
}

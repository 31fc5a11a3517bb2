//! `assay report`

use std::path::PathBuf;

use super::{
    CliError, ExperimentArg, WorkspaceArg, print, published::Anyway, results::warn_of_missing,
};
use crate::{
    analysis::{Request, collect},
    base::{exit::Exit, files::read_json, output::OutputDir},
    core::RunRecord,
    report::{INDEX, render},
};

/// Write the HTML report from the results in the workspace, without running anything
#[derive(clap::Args)]
#[command(
    name = "report",
    after_help = "Example:
  assay report experiments/quickstart.yaml --out site"
)]
pub struct ReportArgs {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Directory of the report (default: reports/<experiment>)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite files in it that assay did not write
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    anyway: Anyway,
}

impl ReportArgs {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let mut experiment = self.experiment.recorded(&workspace)?;
        self.anyway.check_all(&mut experiment)?;
        let request = Request::of_report(&experiment);
        let collected = collect(&experiment, &workspace, &request)?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "the workspace has no result of this experiment\n  = help: run `assay run {}` first",
                self.experiment
            )));
        }
        let last: Option<RunRecord> =
            read_json(&workspace.path(&["experiments", experiment.slot(), "run.json"])).ok();
        let dir = self.out.unwrap_or_else(|| PathBuf::from("reports").join(experiment.slot()));
        let out = OutputDir::open(&dir, INDEX, self.overwrite)?;
        let rendered = render(&experiment, &workspace, &collected, last.as_ref(), out)?;
        print(&format!("report: {}\n", rendered.index.display()))?;
        Ok(warn_of_missing(&collected))
    }
}

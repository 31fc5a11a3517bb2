//! `assay export mlflow` and `assay export tensorboard`

use std::{env, path::PathBuf};

use super::{CliError, ExperimentArg, print, results::warn_of_missing};
use crate::{
    analysis::{MEAN, Request, collect},
    base::{exit::Exit, files::read_json, output::OutputDir, text::counted},
    core::{RunRecord, Workspace},
    report::{
        mlflow::{Server, TOKEN_VARIABLE},
        tensorboard::event_files,
    },
};

/// Send metrics and settings to an MLflow server
///
/// Each system is a run with its means over folds and seeds, and each of its trials is a run below it. Metrics are called
/// `ndcg_at_10`; those of other protocols, conventions and slices `PROTOCOL/CONVENTION/SLICE/ndcg_at_10`. Runs that are
/// there are not written again.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  mlflow server --host 127.0.0.1 --port 5000
  assay export mlflow experiments/quickstart.yaml --url http://127.0.0.1:5000
  assay export mlflow experiments/quickstart.yaml --url https://mlflow.example.org --experiment paper

A token for the server is read from MLFLOW_TRACKING_TOKEN; it is sent by https, or to this machine.")]
pub struct Mlflow {
    #[command(flatten)]
    experiment: ExperimentArg,
    /// The server
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:5000")]
    url: String,
    /// The server's experiment (default: the name of the experiment)
    #[arg(long = "experiment", value_name = "NAME")]
    name: Option<String>,
}

impl Mlflow {
    pub fn run(self, workspace: &Workspace) -> Result<Exit, CliError> {
        let token = env::var(TOKEN_VARIABLE).ok().filter(|token| !token.is_empty());
        let server = Server::new(&self.url, token).map_err(CliError::Usage)?;
        let experiment = self.experiment.recorded(workspace)?;
        let collected = collect(&experiment, workspace, &Request::intervals_of(Some(MEAN)))?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "the workspace {} has no result of this experiment\n  = help: run `assay run {}` first",
                workspace.root().display(),
                self.experiment
            )));
        }
        let last: Option<RunRecord> =
            read_json(&workspace.path(&["experiments", experiment.slot(), "run.json"])).ok();
        let name = self.name.as_deref().unwrap_or(experiment.slot());
        let exported = server
            .export(name, &experiment, workspace, &collected, last.as_ref())
            .map_err(CliError::Usage)?;
        print(&format!(
            "{} written, {} already there: experiment `{name}` of {}\n",
            counted(exported.written, "run"),
            exported.known,
            self.url
        ))?;
        Ok(warn_of_missing(&collected))
    }
}

/// Write training histories as event files of TensorBoard
///
/// There is a directory for each trial of a network, with its loss, validation metric and learning rate by epoch.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay export tensorboard experiments/ml-100k-networks.yaml --out tb
  tensorboard --logdir tb")]
pub struct Tensorboard {
    #[command(flatten)]
    experiment: ExperimentArg,
    /// Directory of the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Overwrite files in it that assay did not write
    #[arg(long)]
    overwrite: bool,
}

impl Tensorboard {
    pub fn run(self, workspace: &Workspace) -> Result<Exit, CliError> {
        let experiment = self.experiment.recorded(workspace)?;
        let files = event_files(&experiment, workspace);
        let Some(first) = files.first() else {
            return Err(CliError::NoResults(format!(
                "the workspace has no training history of this experiment: only networks are trained in epochs\n  = help: \
                 run `assay run {}` first, if it has networks",
                self.experiment
            )));
        };
        let mut out = OutputDir::open(&self.out, &first.name, self.overwrite)?;
        for file in &files {
            out.write(&file.name, &file.bytes)?;
        }
        let epochs: usize = files.iter().map(|file| file.epochs).sum();
        print(&format!(
            "{} with {} in {}\nnext: tensorboard --logdir {}\n",
            if files.len() == 1 {
                "1 history".into()
            } else {
                format!("{} histories", files.len())
            },
            counted(epochs, "epoch"),
            self.out.display(),
            self.out.display()
        ))?;
        Ok(Exit::Pass)
    }
}

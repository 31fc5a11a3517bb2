//! `assay baseline`

use std::path::PathBuf;

use clap::Subcommand;

use super::{CliError, ExperimentArg, WorkspaceArg, print};
use crate::{
    analysis::{Baseline, Request, collect},
    base::{
        exit::Exit,
        files::write_whole,
        text::{counted, grouped},
    },
};

/// Record results that `assay check` holds later ones against
#[derive(clap::Args)]
pub struct BaselineArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write the values of every user of a finished experiment into one JSON file
    ///
    /// The file holds fingerprints, settings, keys, versions and compressed values; neither the data nor the
    /// workspace is needed to read it. It is meant to be committed.
    #[command(after_help = "Examples:
  assay baseline record experiments/quickstart.yaml --out baselines/recorded/quickstart.json
  assay check experiments/quickstart.yaml --against baselines/recorded/quickstart.json")]
    Record {
        #[command(flatten)]
        experiment: ExperimentArg,
        #[command(flatten)]
        workspace: WorkspaceArg,
        /// Where to write it
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Write over a file that is there
        #[arg(long)]
        overwrite: bool,
    },
}

impl BaselineArgs {
    pub fn run(self) -> Result<Exit, CliError> {
        let Verb::Record { experiment: of, workspace, out, overwrite } = self.verb;
        if out.exists() && !overwrite {
            return Err(CliError::Usage(format!(
                "{} already exists\n  = help: replace it with `--overwrite`",
                out.display()
            )));
        }
        let workspace = workspace.open();
        let experiment = of.recorded(&workspace)?;
        let collected = collect(&experiment, &workspace, &Request::default())?;
        if let Some(missing) = collected.missing.first() {
            return Err(CliError::NoResults(format!(
                "{} of {} without a result: {missing}{}\n  = help: run `assay run {}` first",
                collected.missing.len(),
                counted(experiment.trials.len(), "trial"),
                if collected.missing.len() > 1 { ", …" } else { "" },
                of
            )));
        }
        let baseline = Baseline::record(&experiment, &workspace)?;
        let json = serde_json::to_string(&baseline)? + "\n";
        write_whole(&out, json.as_bytes())?;
        print(&format!(
            "recorded {} in {}: {} ({} bytes)\n",
            counted(baseline.systems.len(), "system"),
            counted(experiment.trials.len(), "trial"),
            out.display(),
            grouped(json.len())
        ))?;
        Ok(Exit::Pass)
    }
}

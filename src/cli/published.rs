//! `assay published`

use super::{CliError, ExperimentArg, WorkspaceArg, print, print_json, results::warn_of_missing};
use crate::{
    analysis::{Collected, MEAN, Reproduction, Request, collect, differences},
    base::exit::Exit,
    tasks::{ExperimentRecord, PublishedTable},
};

/// Compare the results with published tables of a paper, cell by cell
///
/// The tables are listed under `published:` in the experiment file. A cell is reproduced if the computed value,
/// rounded or truncated to the published precision, equals the published one. A table whose data set, fold,
/// protocol, convention, slice or cutoff differs from the experiment's is an error.
#[derive(clap::Args)]
#[command(after_help = "Example:
  assay published experiments/ebrat2025-table1.yaml

Exit codes: 0 every checkable cell is reproduced; 1 some are not; 3 results are missing or the table is
not comparable.")]
pub struct Published {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    #[command(flatten)]
    anyway: Anyway,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

/// Whether to compare tables that are not comparable.
#[derive(clap::Args, Clone, Copy)]
pub struct Anyway {
    /// Compare with a published table even if its data, fold or settings differ
    #[arg(long)]
    anyway: bool,
}

impl Anyway {
    /// An error if a table differs from the results it is compared with. With `--anyway` the differences are kept in
    /// the table instead.
    pub fn check(self, table: &mut PublishedTable, differs: Vec<String>) -> Result<(), CliError> {
        if !differs.is_empty() && !self.anyway {
            return Err(CliError::NotComparable { table: table.about.source.clone(), differs });
        }
        table.differs = differs;
        Ok(())
    }

    /// Checks all published tables of an experiment.
    pub fn check_all(self, experiment: &mut ExperimentRecord) -> Result<(), CliError> {
        for mut table in std::mem::take(&mut experiment.published) {
            let differs = differences(&table, experiment);
            self.check(&mut table, differs)?;
            let fold = &table.about.fold;
            if *fold != MEAN && !experiment.trials.iter().any(|trial| trial.fold == *fold) {
                // `--anyway`: compare with the folds there are.
                table.about.fold = MEAN.into();
            }
            experiment.published.push(table);
        }
        Ok(())
    }
}

impl Published {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let mut experiment = self.experiment.recorded(&workspace)?;
        if experiment.published.is_empty() {
            return Err(CliError::Usage(format!(
                "{} has no published table\n  = help: add `published: {{use: baselines/published/…}}`",
                self.experiment
            )));
        }
        self.anyway.check_all(&mut experiment)?;
        let request = Request {
            intervals: experiment.published.iter().map(|table| table.about.fold.clone()).collect(),
            ..Request::default()
        };
        let collected = collect(&experiment, &workspace, &request)?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "the workspace has no result of this experiment\n  = help: run `assay run {}` first",
                self.experiment
            )));
        }
        let reproductions = reproductions(&experiment, &collected);
        if self.json {
            print_json(&reproductions)?;
        } else {
            let texts: Vec<String> = reproductions.iter().map(Reproduction::terminal).collect();
            print(&texts.join("\n"))?;
        }
        let missing = warn_of_missing(&collected);
        Ok(if reproductions.iter().all(Reproduction::holds) { missing } else { Exit::GateFailed })
    }
}

/// Compares every published table with the results.
pub fn reproductions(experiment: &ExperimentRecord, collected: &Collected) -> Vec<Reproduction> {
    let of = |table| Reproduction::new(table, &collected.rows);
    experiment.published.iter().map(of).collect()
}

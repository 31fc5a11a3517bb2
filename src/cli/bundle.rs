//! `assay bundle`

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use super::{
    CliError, ExperimentArg, WorkspaceArg, cache::responses_of, print, results::warn_of_missing,
};
use crate::{
    base::{exit::Exit, output::check_file, terminal::tell, text::counted},
    core::Workspace,
    report::bundle::{BundleError, BundleSpec, Names, bundle, is_bundle},
    tasks::ExperimentRecord,
};

/// Write one archive with which a reviewer checks the results
///
/// It has the experiment file and what it includes, rankings, values of every user, records, responses of language models,
/// the report, a README and metadata (RO-Crate 1.1). It has no interactions unless you ask for them, because data sets have
/// licences. Before it is written, the results are read from it and compared with those of the workspace. The same results
/// give the same bytes.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay bundle experiments/quickstart.yaml --out quickstart.zip
  assay bundle paper.yaml --out submission.zip --anonymous      for a double-blind review
  unzip quickstart.zip -d check && cd check && assay audit quickstart --workspace workspace

Exit codes: 0 written; 2 a name cannot be removed, or invalid usage; 3 results are missing")]
pub struct Bundle {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// The archive
    #[arg(long, value_name = "FILE.zip")]
    out: PathBuf,
    /// Remove names of machines and users, absolute paths, e-mail addresses, addresses and revisions of repositories; refuse
    /// if one cannot be removed
    #[arg(long)]
    anonymous: bool,
    /// A word that --anonymous takes for a name, and that is none (can be repeated)
    #[arg(long, value_name = "WORD", requires = "anonymous")]
    no_name: Vec<String>,
    /// Also put in the folds with all interactions, fitted models and texts: is their licence one that allows it?
    #[arg(long)]
    with_data: bool,
    /// The licence of the archive, a URL or a name, for its metadata
    #[arg(long, value_name = "LICENCE")]
    licence: Option<String>,
    /// Overwrite the file even if it is not a bundle
    #[arg(long)]
    overwrite: bool,
}

impl Bundle {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.out.extension().is_none_or(|end| !end.eq_ignore_ascii_case("zip")) {
            return Err(CliError::Usage(format!(
                "--out {}: expected a name that ends in .zip",
                self.out.display()
            )));
        }
        check_file(&self.out, self.overwrite, is_bundle)?;
        let workspace = self.workspace.open();
        let experiment = self.experiment.recorded(&workspace)?;
        let directory = Path::new(&experiment.path).parent().unwrap_or(Path::new(""));
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let names = self
            .anonymous
            .then(|| Names::find(&hosts(&experiment, &workspace), directory, &self.no_name));
        let spec = BundleSpec {
            with_data: self.with_data,
            names,
            licence: self.licence.clone(),
            responses: responses_of(&workspace, &experiment),
        };
        let bundled =
            bundle(&experiment, &workspace, &spec, &self.out).map_err(|error| match error {
                BundleError::File(error) => error.into(),
                BundleError::Report(error) => error.into(),
                BundleError::Llm(error) => error.into(),
                BundleError::NoResults(problem) => CliError::NoResults(problem),
                BundleError::Refused(problem) => CliError::Usage(problem),
                BundleError::Differs(problem) => CliError::Internal(problem),
            })?;
        print(&format!(
            "{}: {} files, {:.1} MB; its {} values are those of the workspace\n",
            self.out.display(),
            bundled.files,
            bundled.bytes as f64 / 1e6,
            bundled.collected.rows.len()
        ))?;
        match self.with_data {
            true => tell!(
                "note: the bundle has all interactions of the data; share it only if their licence allows it"
            ),
            false => tell!(
                "note: {} without data, with records alone: no interactions, models or texts are in the bundle",
                counted(bundled.omitted, "step")
            ),
        }
        if bundled.responses > 0 {
            tell!(
                "note: {} of language models are in it; their prompts may quote titles and ratings",
                counted(bundled.responses, "response")
            );
        }
        if let Some(names) = &spec.names {
            for (what, n) in &bundled.removed {
                tell!("removed: {what} ({n})");
            }
            let words: Vec<&str> = names.words().collect();
            tell!(
                "checked: no file has {}\nnote: read the descriptions in the experiment file yourself; ids of users and items, \
                 and processor and operating system, were kept",
                match words.is_empty() {
                    true => "your home directory, or an e-mail address".to_owned(),
                    false =>
                        format!("{}, your home directory, or an e-mail address", words.join(", ")),
                }
            );
        }
        Ok(warn_of_missing(&bundled.collected))
    }
}

/// The machines that ran its steps.
fn hosts(experiment: &ExperimentRecord, workspace: &Workspace) -> BTreeSet<String> {
    let steps = 0..experiment.steps.len();
    let records = steps.filter_map(|step| experiment.record(workspace, step).ok());
    records.map(|record| record.machine.host).filter(|host| !host.is_empty()).collect()
}

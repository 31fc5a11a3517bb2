//! `assay diff`

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    CliError, WorkspaceArg, print, print_json,
    runs::{date, run_named, runs_of},
};
use crate::{
    analysis::{MEANS, MeanDifference, RunMean, differences_of_runs},
    base::{exit::Exit, files::read_json},
    core::{RunRecord, Workspace},
};

/// Show what differs between two runs: experiment, data, files, program, and every mean
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay diff experiments/quickstart.yaml           the last two runs of an experiment
  assay diff 1764508654123-4711 1764509911200-93   two runs (`assay ls EXPERIMENT` lists them)
  assay diff mine theirs                           the last runs of two experiments")]
pub struct Diff {
    /// A run, or an experiment, whose last run it is
    first: String,
    /// The other one; without it, the last two runs of an experiment are compared
    second: Option<String>,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Diff {
    pub fn run(self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let (first, second) = match &self.second {
            Some(second) => (run_named(&workspace, &self.first)?, run_named(&workspace, second)?),
            None => last_two(&workspace, &self.first)?,
        };
        let inputs = inputs(&first, &second);
        let means = [&first, &second].map(|run| means(&workspace, run));
        let differences = match &means {
            [Some(first), Some(second)] => Some(MeanDifference::all(first, second)),
            _ => None,
        };
        if self.json {
            print_json(&json!({
                "first": first.run,
                "second": second.run,
                "inputs": inputs,
                "means": differences,
            }))?;
            return Ok(Exit::Pass);
        }
        let about = |run: &RunRecord| format!("{} {} ({})", run.slot(), run.run, date(run));
        let mut text = format!("{}\n{}\n", about(&first), about(&second));
        for (what, changes) in &inputs {
            let (what, changes) = (what, changes.iter());
            text.push_str(&format!("\n{what}\n"));
            changes.for_each(|change| text.push_str(&format!("  {change}\n")));
        }
        if inputs.is_empty() {
            text.push_str("\nno difference in experiment, data, files and program\n");
        }
        match (&differences, &means) {
            (Some(differences), [Some(of_first), _]) => {
                text.push_str(&means_text(differences, of_first.len()));
            }
            _ => {
                for (run, means) in [&first, &second].iter().zip(&means) {
                    if means.is_none() {
                        text.push_str(&format!(
                            "\nno means are recorded of {}: it was interrupted, had no result, or is of an earlier \
                             version\n",
                            run.run
                        ));
                    }
                }
            }
        }
        print(&text)?;
        Ok(Exit::Pass)
    }
}

fn last_two(workspace: &Workspace, what: &str) -> Result<(RunRecord, RunRecord), CliError> {
    let Some(mut runs) = runs_of(workspace, what) else {
        let run = run_named(workspace, what)?;
        return Err(CliError::Usage(format!("{} is compared with which run?", run.run)));
    };
    match (runs.pop(), runs.pop()) {
        (Some(last), Some(before)) => Ok((before, last)),
        _ => Err(CliError::Usage(format!(
            "{what} has been run only once\n  = help: name another run (`assay ls` lists them)"
        ))),
    }
}

pub(super) fn means(workspace: &Workspace, run: &RunRecord) -> Option<Vec<RunMean>> {
    read_json(&workspace.path(&["runs", &run.run, MEANS])).ok()
}

/// What differs in the inputs of two runs, by kind.
pub(super) fn inputs(first: &RunRecord, second: &RunRecord) -> BTreeMap<&'static str, Vec<String>> {
    let mut by_kind: BTreeMap<&'static str, Vec<String>> = BTreeMap::new();
    for of in differences_of_runs(first, second) {
        by_kind.entry(of.kind.name()).or_default().push(of.change);
    }
    by_kind
}

fn means_text(differences: &[MeanDifference], all: usize) -> String {
    if differences.is_empty() {
        return format!("\nall {all} means are equal\n");
    }
    let value = |mean: &Option<RunMean>| match mean.as_ref().map(|mean| mean.value) {
        Some(Some(value)) => format!("{value:.6}"),
        Some(None) => "no user".into(),
        None => "not computed".into(),
    };
    let mut text = format!("\n{} of {all} means differ\n", differences.len());
    for of in differences {
        let (first, second) = (&of.first, &of.second);
        let mut line = format!("  {}: {} → {}", of.label, value(first), value(second));
        if let (Some(first), Some(second)) = (first, second) {
            if let (Some(a), Some(b)) = (first.value, second.value) {
                line.push_str(&format!(" ({:+.6})", b - a));
            }
            if first.n_users != second.n_users {
                line.push_str(&format!(", users {} → {}", first.n_users, second.n_users));
            }
            if first.fingerprint != second.fingerprint {
                line.push_str(", not comparable: other fingerprint");
            }
        }
        text.push_str(&(line + "\n"));
    }
    text
}

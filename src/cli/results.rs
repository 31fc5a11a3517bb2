//! `assay results`

use super::{CliError, ExperimentArg, WorkspaceArg, print_csv, print_json_text};
use crate::{
    analysis::{Collected, MEAN, Request, collect, few_users_of, searches},
    base::exit::Exit,
    base::{terminal::tell, text::counted},
    core::Workspace,
    report::{csv, json, trials_csv},
    tasks::ExperimentRecord,
};

/// Print the results as a tidy table with one row per value
///
/// There is one row per system, fold, seed, protocol, convention, slice, metric and cutoff. Rows with the seed
/// `mean` average the seeds of a fold, rows with the fold `mean` average the folds. If trials have no result, the
/// others are printed and the exit code is 3.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay results experiments/quickstart.yaml --csv > results.csv
  assay results experiments/quickstart.yaml --json | jq '.[] | select(.fold == \"mean\")'
  assay results experiments/ml-100k-search.yaml --trials > trials.csv")]
pub struct Results {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Print CSV (the default)
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Prefix texts that a spreadsheet would read as a formula with '
    #[arg(long, conflicts_with = "json")]
    spreadsheet: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
    /// Print the trials of searches instead: settings, their metric on the search's validation part, the chosen ones
    #[arg(long, conflicts_with = "intervals")]
    trials: bool,
    /// Fill the columns `low` and `high` of `mean` rows with 95 % bootstrap intervals over users
    #[arg(long)]
    intervals: bool,
}

impl Results {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.trials {
            return self.trials();
        }
        let request = Request::intervals_of(self.intervals.then_some(MEAN));
        let collected = results_of(&self.experiment, &self.workspace, &request)?;
        if let Some(text) = few_users_of(&collected.rows) {
            tell!("warning: {text}");
        }
        match self.json {
            true => print_json_text(&json(&collected.rows)?)?,
            false => print_csv(csv(&collected.rows), self.spreadsheet)?,
        }
        Ok(warn_of_missing(&collected))
    }
}

impl Results {
    fn trials(&self) -> Result<Exit, CliError> {
        let workspace = self.workspace.open();
        let record = self.experiment.recorded(&workspace)?;
        let found = searches(&record, &workspace);
        if !found.any {
            return Err(CliError::Usage(format!(
                "no system of {} has a search\n  = help: give one `search: {{over: {{factors: [32, 64]}}}}`",
                self.experiment
            )));
        }
        if found.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "the workspace {} has no trial of this experiment\n  = help: run `assay run {}` first; `--until search` \
                 fits nothing else",
                self.workspace.workspace.display(),
                self.experiment
            )));
        }
        match self.json {
            true => print_json_text(&json(&found.rows)?)?,
            false => print_csv(trials_csv(&found.rows), self.spreadsheet)?,
        }
        match &found.missing[..] {
            [] => Ok(Exit::Pass),
            [one] => {
                tell!("warning: 1 search has no result: {one}");
                Ok(Exit::Inconclusive)
            }
            several => {
                tell!("warning: {} searches have no result: {}", several.len(), several.join(", "));
                Ok(Exit::Inconclusive)
            }
        }
    }
}

/// The results of an experiment; an error if there are none.
pub fn results_of(
    of: &ExperimentArg,
    workspace: &WorkspaceArg,
    request: &Request,
) -> Result<Collected, CliError> {
    let workspace = workspace.open();
    results_of_record(of, &of.recorded(&workspace)?, &workspace, request)
}

/// The results of an experiment that is already read.
pub fn results_of_record(
    of: &ExperimentArg,
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    request: &Request,
) -> Result<Collected, CliError> {
    let collected = collect(experiment, workspace, request)?;
    let damaged = damaged_of(&collected.missing);
    if collected.rows.is_empty() && !damaged.is_empty() {
        return Err(CliError::NoResults(format!(
            "the results of {} in the workspace {} are damaged: {}\n  = help: `assay run {}` makes them again",
            counted(damaged.len(), "trial"),
            workspace.root().display(),
            damaged.join(", "),
            of
        )));
    }
    if collected.rows.is_empty() {
        return Err(CliError::NoResults(format!(
            "the workspace {} has no result of this experiment\n  = help: run `assay run {}` first",
            workspace.root().display(),
            of
        )));
    }
    Ok(collected)
}

/// Warns of trials without a result; the exit code reports them, too.
pub fn warn_of_missing(collected: &Collected) -> Exit {
    if !collected.missing_controls.is_empty() {
        tell!(
            "warning: controls that assay added have no result: {}",
            collected.missing_controls.join(", ")
        );
    }
    if collected.missing.is_empty() {
        return Exit::Pass;
    }
    let damaged = damaged_of(&collected.missing);
    let without: Vec<&str> = collected.missing.iter().map(String::as_str).collect();
    let without: Vec<&str> = without.into_iter().filter(|of| !damaged.contains(of)).collect();
    for (trials, one, several) in [
        (damaged, "is damaged and is in no mean", "are damaged and are in no mean"),
        (without, "has no result and is in no mean", "have no result and are in no mean"),
    ] {
        if !trials.is_empty() {
            let what = if trials.len() == 1 { one } else { several };
            tell!("warning: {} {what}: {}", counted(trials.len(), "trial"), some(&trials));
        }
    }
    Exit::Inconclusive
}

/// Trials that a message names; it gives the number of the others.
const NAMED: usize = 8;

/// The first trials by name.
fn some(trials: &[&str]) -> String {
    match trials.split_at_checked(NAMED) {
        Some((first, others)) if others.len() > 1 => {
            format!("{}, and {} more (`assay plan` lists them)", first.join(", "), others.len())
        }
        _ => trials.join(", "),
    }
}

/// Those of the missing trials that have results which cannot be used.
fn damaged_of(missing: &[String]) -> Vec<&str> {
    missing.iter().map(String::as_str).filter(|of| of.contains(" (damaged: ")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_trials_are_named_in_part() {
        let names: Vec<String> = (1..=20).map(|at| format!("t{at}")).collect();
        let of =
            |count: usize| some(&names[..count].iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(of(2), "t1, t2");
        assert!(of(9).ends_with("t8, t9"), "one more needs no words");
        assert_eq!(of(20), "t1, t2, t3, t4, t5, t6, t7, t8, and 12 more (`assay plan` lists them)");
    }
}

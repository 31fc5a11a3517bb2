//! The command line: one file per command. A command parses its arguments, calls the library and prints.

mod agreement;
mod audit;
mod baseline;
mod bundle;
mod cache;
mod check;
mod cluster;
mod commands;
mod compare;
mod completions;
mod data;
mod diff;
mod error;
mod experiment;
mod explanations;
mod export;
mod export_runs;
mod export_slurm;
mod gc;
mod hand_over;
mod init;
mod keys;
mod ls;
mod metrics;
mod plan;
mod preflight;
mod progress;
mod published;
mod rankings;
mod report;
mod results;
mod run;
mod runs;
mod schema;
mod score;
mod self_test;
mod serve;
mod show;
mod split;
mod step;
mod table;

use std::{
    io::{IsTerminal, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand};

pub use error::CliError;
use experiment::{ExperimentArg, OptionalExperimentArg};

use crate::{
    base::{
        exit::Exit,
        limits, panics,
        terminal::{escaped, escaped_json, tell},
    },
    core::Workspace,
    report::for_spreadsheets,
    tasks::{Experiment, Slot},
};

/// Run and check recommender-system experiments.
///
/// An experiment is a YAML file: data, split, systems, evaluation. assay fits the models, evaluates their rankings
/// and writes tables, figures and an HTML report. Another run gives the same numbers.
#[derive(Parser)]
#[command(name = "assay", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Examples:
  assay init                                 write a first experiment file
  assay run experiments/quickstart.yaml      run an experiment, print a table and write a report
  assay plan experiments/quickstart.yaml     show which steps are done, which would run, and why
  assay results experiments/quickstart.yaml --csv > results.csv
  assay compare experiments/quickstart.yaml  test which differences are statistically significant
  assay score --data ml-100k --fold u1 rankings.csv     evaluate rankings of another tool
  assay diff experiments/quickstart.yaml     show what differs between its last two runs
  assay bundle experiments/quickstart.yaml --out quickstart.zip     one archive for reviewers
  assay serve                                show the workspace in a browser
  assay data list                            list data sets and where they are

Exit codes: 0 success; 1 a check failed; 2 invalid usage, experiment file or data;
3 results are missing or not comparable; 4 some trials failed; 5 a response is not recorded
or a budget is used up; 70 internal error; 74 a disk is full; 75 interrupted,
run again to continue.")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Most trials of an experiment (systems × folds × seeds × swept levels)
    #[arg(
        long,
        global = true,
        value_name = "N",
        env = "ASSAY_MAX_TRIALS",
        default_value_t = limits::most_trials(),
        hide_short_help = true,
        help_heading = "Limits"
    )]
    max_trials: usize,
}

#[derive(Subcommand)]
enum Verb {
    Init(init::Init),
    Run(run::Run),
    Plan(plan::PlanArgs),
    Results(results::Results),
    Table(table::TableArgs),
    Compare(compare::Compare),
    Agreement(agreement::Agreement),
    Audit(audit::Audit),
    Check(check::Check),
    Baseline(baseline::BaselineArgs),
    Published(published::Published),
    Report(report::ReportArgs),
    Score(Box<score::Score>),
    Explanations(explanations::Explanations),
    Export(export::Export),
    Bundle(bundle::Bundle),
    Serve(serve::Serve),
    Ls(ls::Ls),
    Show(show::Show),
    Split(split::Split),
    Step(step::StepArgs),
    Diff(diff::Diff),
    Data(data::Data),
    Cache(cache::Cache),
    Gc(gc::Gc),
    Schema(schema::Schema),
    Completions(completions::Completions),
}

/// Where steps and runs are stored.
#[derive(Args, Clone)]
struct WorkspaceArg {
    /// Directory of finished steps and runs
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "ASSAY_WORKSPACE",
        default_value = ".assay"
    )]
    workspace: PathBuf,
}

impl WorkspaceArg {
    fn open(&self) -> Workspace {
        Workspace::at(&self.workspace)
    }
}

/// Runs the command line. Every error a user can cause ends in a message and an exit code.
pub fn main() -> Exit {
    if let Err(error) = hand_over::check_build() {
        tell!("error: {error}");
        return error.exit();
    }
    panics::install_hook();
    // A file that grows over a limit is an error of the write, which says so.
    // Safe: no handler is installed, the signal is ignored.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let cli = Cli::parse();
    limits::set_most_trials(cli.max_trials);
    // The hook has said what it was.
    std::panic::catch_unwind(|| run(cli.verb)).unwrap_or(Exit::Bug)
}

fn run(verb: Verb) -> Exit {
    let result = match verb {
        Verb::Init(args) => args.run(),
        Verb::Run(args) => args.run(),
        Verb::Plan(args) => args.run(),
        Verb::Results(args) => args.run(),
        Verb::Table(args) => args.run(),
        Verb::Compare(args) => args.run(),
        Verb::Agreement(args) => args.run(),
        Verb::Audit(args) => args.run(),
        Verb::Check(args) => args.run(),
        Verb::Baseline(args) => args.run(),
        Verb::Published(args) => args.run(),
        Verb::Report(args) => args.run(),
        Verb::Score(args) => args.run(),
        Verb::Explanations(args) => args.run(),
        Verb::Export(args) => args.run(),
        Verb::Bundle(args) => args.run(),
        Verb::Serve(args) => args.run(),
        Verb::Ls(args) => args.run(),
        Verb::Show(args) => args.run(),
        Verb::Split(args) => args.run(),
        Verb::Step(args) => args.run(),
        Verb::Diff(args) => args.run(),
        Verb::Data(args) => args.run(),
        Verb::Cache(args) => args.run(),
        Verb::Gc(args) => args.run(),
        Verb::Schema(args) => args.run(),
        Verb::Completions(args) => args.run(),
    };
    match result {
        Ok(exit) => exit,
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Exit::Pass
        }
        Err(error) => {
            tell!("error: {error}");
            error.exit()
        }
    }
}

/// Where the results of an experiment are kept.
fn slot_of(experiment: &Experiment, workspace: &Workspace) -> Slot {
    Slot::find(workspace, &experiment.name, &experiment.path, &experiment.source_texts())
}

/// Says under which name they are kept, if it is not the experiment's own.
fn tell_slot(slot: &Slot, name: &str) {
    if let Some(other) = &slot.other {
        tell!(
            "note: {} has an experiment of the name `{name}`, too: the results of this one are kept as `{}`",
            other.display(),
            slot.name
        );
    }
}

/// Prints text to standard output, with terminal control characters escaped. A closed pipe ends the command
/// without an error.
fn print(text: &str) -> Result<(), CliError> {
    write_out(&escaped(text))
}

/// Prints a value as JSON.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    print_json_text(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Prints JSON.
fn print_json_text(json: &str) -> Result<(), CliError> {
    write_out(&escaped_json(json))
}

/// Prints data for other programs. Values are escaped only on a terminal.
fn print_data(text: &str) -> Result<(), CliError> {
    match std::io::stdout().is_terminal() {
        true => print(text),
        false => write_out(text),
    }
}

/// Prints CSV; with `spreadsheet`, texts that start like a formula are escaped.
fn print_csv(csv: String, spreadsheet: bool) -> Result<(), CliError> {
    print_data(&if spreadsheet { for_spreadsheets(&csv) } else { csv })
}

fn write_out(text: &str) -> Result<(), CliError> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

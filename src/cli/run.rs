//! `assay run`

use std::{
    collections::{BTreeSet, HashSet},
    path::PathBuf,
};

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use super::{
    CliError, ExperimentArg, WorkspaceArg,
    cluster::{about, check_others_can_read, program},
    commands::Commands,
    experiment::{Part, Planned},
    hand_over::{hand_over, is_read_once},
    keys::Keys,
    preflight::{Checked, MissingKeys},
    print,
    progress::reporter,
    published::{Anyway, reproductions},
    report::tell_older,
    results::warn_of_missing,
    slot_of,
    table::main_table,
    tell_slot,
};
use crate::{
    analysis::{MEANS, Reproduction, Request, RunMean, collect},
    base::files::write_json,
    base::terminal::tell,
    base::{exit::Exit, interrupt::Interrupt, limits, output::OutputDir, text::counted},
    cluster::{ClusterPlan, HyperQueue, On},
    core::{
        Failure, Node, Options, Outcome, RunHeader, StepId, ToDo, Workspace, run, run_elsewhere,
        total_memory,
    },
    llm::{Mode, ResponsesSpec},
    nn::{NnError, device::CHECK},
    report::{INDEX, also_for_tables, render},
    tasks::{Experiment, ExperimentRecord, Plan, TASKS},
};

/// Run an experiment, print a table and write a report
///
/// Finished steps are reused, also after an interruption (Ctrl-C) or a crash. Several processes can run the same
/// experiment in one workspace and share the work.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay run experiments/quickstart.yaml
  ASSAY_DATA=~/data assay run experiments/ml-100k-baselines.yaml --threads 8
  assay run experiment.yaml --until profiles --budget-money 5
  assay run experiment.yaml --responses replay
  assay run experiment.yaml --set systems.als.factors=128 --set seeds=[1,2]
  assay run experiment.yaml --only als --folds u1,u2
  assay run experiment.yaml --on hq:/shared/hq --workspace /shared/assay
  assay run experiment.yaml --json | jq 'select(.event == \"step-finished\")'")]
pub struct Run {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    #[command(flatten)]
    part: Part,
    /// Run the steps by the workers of HyperQueue, and follow them. The workspace must be on a file system that all of them
    /// share (docs/CLUSTER.md)
    #[arg(long, value_name = "hq[:SERVER_DIR]")]
    on: Option<On>,
    /// Number of threads (default: one per core; with --on, threads of each step, default 1)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// Number of trials that may use a GPU at the same time, if its memory is large enough; with --on, a step requests such a
    /// share of a GPU
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    trials_per_gpu: u16,
    /// Memory limit for fitting, in GiB (default: 80 % of the machine's memory)
    #[arg(long, value_name = "GIB")]
    memory: Option<f64>,
    /// Where responses of language models come from (default: `responses.mode` of the experiment, or record)
    #[arg(long, value_name = "MODE", value_enum)]
    responses: Option<Mode>,
    /// The old name of --responses
    #[arg(long, value_name = "MODE", value_enum, hide = true, conflicts_with = "responses")]
    answers: Option<Mode>,
    /// Maximum cost of language models in this run, in the currency of the endpoints' prices
    #[arg(long, value_name = "MONEY")]
    budget_money: Option<f64>,
    /// Maximum number of tokens for language models in this run
    #[arg(long, value_name = "N")]
    budget_tokens: Option<u64>,
    /// Stop after steps of this kind, e.g. `profiles` to write profiles without training
    #[arg(long, value_name = "KIND", value_parser = kind_parser())]
    until: Option<String>,
    /// Rerun finished steps: those of a kind, those of a system, or all (without a value). Dependent steps are
    /// rerun if the output changes (can be repeated)
    #[arg(long, value_name = "KIND|SYSTEM", num_args = 0..=1, default_missing_value = "all")]
    force: Vec<String>,
    /// Directory of the report (default: reports/<experiment>)
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite files in it that assay did not write
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    anyway: Anyway,
    #[command(flatten)]
    keys: Keys,
    #[command(flatten)]
    commands: Commands,
    /// Print one JSON object per event instead of a table
    #[arg(long)]
    json: bool,
    /// Print only warnings, errors and the table
    #[arg(long, short)]
    quiet: bool,
}

impl Run {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.on.is_some() {
            check_others_can_read(&self.experiment, "with --on", "workers")?;
        } else if is_read_once(&self.experiment.file) {
            hand_over()?;
        }
        let Planned { experiment, plan, mut record } = self.experiment.planned()?;
        self.anyway.check_all(&mut record)?;
        let selected = self.part.select(&record)?;
        limits::set_trials_per_gpu(usize::from(self.trials_per_gpu));
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let responses = self.responses(&experiment)?;
        // Replaying sends no requests.
        let keys = match responses.mode {
            Mode::Replay => Vec::new(),
            _ => experiment.task.keys(),
        };
        self.keys.check(&keys)?;
        let workspace = self.workspace.open();
        let slot = slot_of(&experiment, &workspace);
        record.slot = slot.name.clone();
        let dir = match &self.out {
            Some(dir) => dir.clone(),
            None => PathBuf::from("reports").join(&slot.name),
        };
        let out = OutputDir::open(&dir, INDEX, self.overwrite)?;
        let options = Options {
            responses,
            ends: self.ends(&plan, &selected)?,
            forced: self.forced(&plan, responses.mode)?,
            threads: self.threads.map_or(if self.on.is_some() { 1 } else { cores }, usize::from),
            memory_bytes: match self.memory {
                Some(gib) if gib > 0.0 && gib.is_finite() => (gib * f64::from(1 << 30)) as u64,
                Some(gib) => {
                    return Err(CliError::Usage(format!(
                        "--memory {gib}: expected a number greater than 0"
                    )));
                }
                None => total_memory() / 5 * 4,
            },
        };
        let interrupt = Interrupt::default();
        stop_on_ctrl_c(&interrupt);
        let fewer;
        let mut to_do = ToDo::of(&plan.graph, &workspace, &options);
        let commands = to_do.commands();
        self.commands.check(&commands)?;
        // The other program would not know of an interrupt that was raised before.
        if to_do.needs_tensors() && !interrupt.is_raised() && self.on.is_none() {
            hand_over()?;
        }
        if self.on.is_none() {
            check_gpus(&to_do.gpu_names())?;
        }
        // Data, prompts and keys that cannot be used are an error before anything is written.
        let checked = Checked::new(&plan, to_do.preflight())?;
        if !checked.skipped.is_empty() {
            let mut left = options.clone();
            let is_skipped = |end: &StepId| {
                plan.graph[*end].trials.iter().all(|trial| checked.skipped.contains(trial))
            };
            left.ends.retain(|end| !is_skipped(end));
            fewer = left;
            to_do = to_do.with(&fewer);
        }
        let missing = MissingKeys::of(&experiment, &plan, &to_do.waiting(), responses.mode);
        match self.on {
            // The machines that send requests have them.
            Some(_) => missing.tell(),
            None => missing.check(&workspace, responses.mode)?,
        }
        Workspace::create(workspace.root())?;
        // Not before: the other program would warn again.
        experiment.warnings.iter().for_each(|text| tell!("warning: {text}"));
        if self.answers.is_some() {
            tell!("warning: the option --answers is deprecated; use --responses");
        }
        checked.tell(&plan);
        Keys::tell(&keys);
        Commands::tell(&commands);
        let reporter = reporter(self.json, self.quiet);
        tell_slot(&slot, &experiment.name);
        slot.claim(&workspace)?;
        record.write(&workspace)?;
        let header = RunHeader {
            experiment: experiment.name.clone(),
            overrides: experiment.overrides.clone(),
            slot: slot.name.clone(),
            file: experiment.path.display().to_string(),
            sources: experiment.source_texts(),
            resolved: serde_json::to_value(&experiment.resolved)?,
            data: plan.data.iter().map(ToString::to_string).collect(),
            directory: match experiment.path.parent() {
                Some(directory) if !directory.as_os_str().is_empty() => directory.to_owned(),
                _ => PathBuf::from("."),
            },
        };
        let names = plan.trial_names();
        // On other machines, each step has a log in the plan.
        let mut logs = None;
        let outcome = match &self.on {
            None => run(header, to_do, &names, &interrupt, &*reporter)?,
            Some(on) => {
                let memory = self.memory.map(|_| options.memory_bytes);
                let about = about(&self.experiment, &slot.name, &options, memory, &plan)?;
                let of = ClusterPlan::write(&workspace, about, &plan, &options.forced)?;
                logs = Some(of.logs());
                let queue = HyperQueue::open(on.clone(), &of, &workspace, &plan.graph, program()?);
                let mut queue = queue.map_err(CliError::Queue)?;
                let outcome =
                    run_elsewhere(header, to_do, &names, &interrupt, &*reporter, &mut queue);
                let outcome = outcome.map_err(CliError::Queue)?;
                if let Some(job) = queue.job().filter(|_| outcome.interrupted) {
                    tell!("HyperQueue goes on with job {job}: `hq job cancel {job}` stops it");
                }
                outcome
            }
        };
        if outcome.interrupted {
            tell!("interrupted; finished steps are kept, run the same command again to continue");
            return Ok(Exit::Interrupted);
        }
        let mut request = Request::of_report(&record);
        also_for_tables(&mut request, &record);
        let mut collected = collect(&record, &workspace, &request)?;
        // A control that assay added is no reason for a run to fail.
        let is_added = |name: &str| plan.trials.iter().any(|of| of.is_added && of.label() == name);
        let (controls, failures): (Vec<&Failure>, Vec<&Failure>) =
            outcome.record.failures.iter().partition(|failure| is_added(&failure.trial));
        if !collected.rows.is_empty() {
            let means = workspace.path(&["runs", &outcome.record.run, MEANS]);
            write_json(&means, &RunMean::all(&collected.rows))?;
            record.write_of_run(&workspace, &outcome.record.run)?;
            let run = Some(&outcome.record);
            let rendered = render(&record, &workspace, &collected, run, false, out)?;
            tell_older(&rendered);
            for (trial, warning) in &collected.warnings {
                tell!("warning: {trial}: {warning}");
            }
            if !self.json {
                // Such an experiment is run for its published tables.
                let reproductions = reproductions(&record, &collected);
                let table = main_table(&record, &workspace, &collected.rows)?;
                let best = table.as_ref().map(|(_, best)| best.clone());
                match (table, &reproductions[..]) {
                    (Some((table, _)), []) => told(print(&table))?,
                    _ => told(print(
                        &reproductions
                            .iter()
                            .map(Reproduction::terminal)
                            .collect::<Vec<_>>()
                            .join("\n"),
                    ))?,
                }
                let best = best.map_or(String::new(), |best| format!("{best}\n"));
                told(print(&format!(
                    "\n{best}report: {}\nnext: assay compare {}   or   assay audit {}\n",
                    rendered.index.display(),
                    self.experiment,
                    self.experiment
                )))?;
            }
        }
        if let Some(spent) = outcome.record.spent
            && !self.json
        {
            tell!("language models: {spent}");
        }
        for failure in controls {
            tell!(
                "warning: {}, a control that assay added, failed: {}",
                failure.trial,
                failure.cause.replace('\n', "\n  ")
            );
        }
        let rest = outside(&record, &selected, &mut collected.missing);
        if rest > 0 {
            let have = if rest == 1 { "has" } else { "have" };
            let trials = counted(rest, "trial");
            tell!("note: {trials} outside this part of the experiment {have} no result");
        }
        if failures.is_empty() {
            // All steps succeeded, but a result may have been removed since.
            return Ok(match self.until {
                None => warn_of_missing(&collected),
                Some(_) => Exit::Pass,
            });
        }
        tell!(
            "\n{} of {} failed:",
            failures.len(),
            counted(selected.iter().filter(|of| **of).count(), "trial")
        );
        let mut causes: Vec<&str> = Vec::new();
        for failure in &failures {
            if !causes.contains(&failure.cause.as_str()) {
                causes.push(&failure.cause);
            }
        }
        for cause in causes {
            let trials: Vec<&str> = failures
                .iter()
                .filter(|failure| failure.cause == cause)
                .map(|failure| failure.trial.as_str())
                .collect();
            let (shown, more) = trials.split_at(trials.len().min(6));
            let more =
                if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            // The whole cause was shown when the first of them failed; events of `--json` go elsewhere.
            let cause = if self.json { cause } else { cause.lines().next().unwrap_or_default() };
            tell!("  {}{more}\n    {}", shown.join(", "), cause.replace('\n', "\n    "));
        }
        let logs = logs.unwrap_or_else(|| workspace.path(&["runs", &outcome.record.run, "logs"]));
        tell!("logs: {}", logs.display());
        Ok(match outcome {
            Outcome { undone: true, .. } | Outcome { internal: true, .. } => Exit::Bug,
            Outcome { disk_full: true, .. } => Exit::DiskFull,
            Outcome { bad_input: true, .. } => Exit::Usage,
            Outcome { lacks_responses: true, .. } => Exit::ReplayMiss,
            _ => Exit::TrialsFailed,
        })
    }
}

/// An error if one of the GPUs is not there: before anything is written, not when the first network is trained.
fn check_gpus(names: &BTreeSet<&str>) -> Result<(), CliError> {
    for name in names {
        let there = CHECK.get().map_err(NnError::from).and_then(|check| check(name));
        there.map_err(|error| CliError::Usage(error.to_string()))?;
    }
    Ok(())
}

/// Takes the trials that are not selected from those without a result, and counts them.
fn outside(record: &ExperimentRecord, selected: &[bool], missing: &mut Vec<String>) -> usize {
    let before = missing.len();
    let trials = record.trials.iter().zip(selected).filter(|(_, is_in)| **is_in);
    let labels: Vec<String> = trials.map(|(trial, _)| trial.label()).collect();
    missing.retain(|of| {
        labels.iter().any(|label| {
            of.strip_prefix(label.as_str())
                .is_some_and(|why| why.is_empty() || why.starts_with(" ("))
        })
    });
    before - missing.len()
}

/// A closed pipe does not change the exit code of the run.
fn told(printed: Result<(), CliError>) -> Result<(), CliError> {
    match printed {
        Err(CliError::Output(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        printed => printed,
    }
}

/// Kinds of steps, with the old name of `evaluate`.
fn kind_parser() -> impl clap::builder::TypedValueParser<Value = String> {
    let mut all: Vec<&'static str> = Vec::new();
    for kind in TASKS.iter().flat_map(|task| task.kinds) {
        if !all.contains(kind) {
            all.push(kind);
        }
    }
    let kinds = all.into_iter().map(|kind| match kind {
        "evaluate" => PossibleValue::new("evaluate").alias("score"),
        kind => PossibleValue::new(kind),
    });
    PossibleValuesParser::new(kinds)
        .map(|kind| if kind == "score" { "evaluate".to_owned() } else { kind })
}

impl Run {
    /// The steps that the run has to finish.
    fn ends(&self, plan: &Plan, selected: &[bool]) -> Result<Vec<StepId>, CliError> {
        let Some(until) = self.until.as_ref().filter(|until| *until != "evaluate") else {
            return Ok(Part::ends(selected, plan));
        };
        let of_kind = plan.graph.nodes().iter().filter(|node| node.kind == until);
        let is_in = |node: &&Node| node.trials.iter().any(|trial| selected[*trial]);
        let ends: Vec<StepId> = of_kind.filter(is_in).map(|node| node.id).collect();
        match ends.is_empty() {
            true => Err(CliError::Usage(format!(
                "--until {until}: the experiment has no step of this kind\n  = help: its kinds are {}",
                kinds_of(plan).join(", ")
            ))),
            false => Ok(ends),
        }
    }

    /// The finished steps that are rerun: those of `--force`, and with `--responses
    /// refresh` all that send requests to an endpoint.
    fn forced(&self, plan: &Plan, mode: Mode) -> Result<HashSet<StepId>, CliError> {
        let nodes = || plan.graph.nodes().iter();
        let mut forced = HashSet::new();
        if mode == Mode::Refresh {
            let asks = |node: &&Node| node.requests(1, 1).is_some();
            forced.extend(nodes().filter(asks).map(|node| node.id));
        }
        for what in &self.force {
            let is_of = |node: &&Node| {
                let system = |trial: &usize| plan.trials[*trial].name == *what;
                what == "all"
                    || node.kind == what
                    || (node.kind != "split" && node.trials.iter().any(system))
            };
            let found: Vec<StepId> = nodes().filter(is_of).map(|node| node.id).collect();
            if found.is_empty() {
                let mut systems: Vec<&str> = plan.trials.iter().map(|of| &of.name[..]).collect();
                systems.dedup();
                return Err(CliError::Usage(format!(
                    "--force {what}: there is no kind of step and no system with this name\n  = kinds: {}\n  = systems: {}",
                    kinds_of(plan).join(", "),
                    systems.join(", ")
                )));
            }
            forced.extend(found);
        }
        Ok(forced)
    }

    /// `responses` of the experiment, with the options of the command line.
    fn responses(&self, experiment: &Experiment) -> Result<ResponsesSpec, CliError> {
        let mut responses = experiment.task.responses();
        if let Some(mode) = self.responses.or(self.answers) {
            responses.mode = mode;
        }
        responses.budget.money = self.budget_money.or(responses.budget.money);
        responses.budget.tokens = self.budget_tokens.or(responses.budget.tokens);
        responses.validate(experiment.task.endpoints(0)).map_err(CliError::Usage)?;
        Ok(responses)
    }
}

fn kinds_of(plan: &Plan) -> Vec<&'static str> {
    let mut kinds: Vec<&'static str> = Vec::new();
    for node in plan.graph.nodes() {
        if !kinds.contains(&node.kind) {
            kinds.push(node.kind);
        }
    }
    kinds
}

/// The first Ctrl-C stops the running steps in an orderly way, the second ends the process. Finished steps are kept.
pub(super) fn stop_on_ctrl_c(interrupt: &Interrupt) {
    let interrupt = interrupt.clone();
    let set = ctrlc::set_handler(move || {
        if interrupt.is_raised() {
            std::process::exit(Exit::Interrupted as i32);
        }
        interrupt.raise();
        tell!("\nstopping; press Ctrl-C again to stop immediately");
    });
    if let Err(error) = set {
        tell!("warning: Ctrl-C will stop the run immediately: {error}");
    }
}

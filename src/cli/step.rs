//! `assay step`

use std::{
    env,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    CliError, WorkspaceArg, commands::Commands, hand_over::hand_over, keys::Keys,
    run::stop_on_ctrl_c,
};
use crate::{
    base::{
        exit::Exit, files::FileError, hash::Digest, interrupt::Interrupt, limits, programs::BUILD,
        terminal::tell,
    },
    cluster::{ClusterPlan, StepAt},
    core::{
        Event, FailedElsewhere, One, Reporter, StepError, Workspace, machine_at, run_one,
        total_memory,
    },
    data::DataDirs,
    llm::{Mode, Spent},
    tasks::{Experiment, Plan},
};

/// Run one step of an experiment, as a queue does on a cluster
///
/// `assay run --on hq` and `assay export slurm` write a plan into the workspace, and start this command for each of its steps. A
/// step that is done is not rerun. Exit code 75 means: interrupted, start it again.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay step 1f0c…e2 --workspace /shared/assay
  assay step 1f0c…e2 --workspace /shared/assay --plan experiments/quickstart/plans/0123456789ab")]
pub struct StepArgs {
    /// The key of the step, 64 hexadecimal digits (`assay plan --json`)
    key: String,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// The plan, as a path in the workspace (default: a plan with this step)
    #[arg(long, value_name = "PATH")]
    plan: Option<String>,
    /// Number of threads (default: that of the plan)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    threads: Option<u16>,
    /// How long to wait for a process that runs the same step, before the exit code 75
    #[arg(long, value_name = "SECONDS", default_value_t = 600)]
    wait: u64,
}

/// Where plans come from.
const HELP: &str = "`assay run EXPERIMENT --on hq` and `assay export slurm EXPERIMENT` write plans";

/// Nobody looks at the progress of one step.
struct Silent;

impl Reporter for Silent {
    fn report(&self, event: &Event) {
        if let Event::Warning { text } = event {
            tell!("warning: {text}");
        }
    }
}

impl StepArgs {
    pub fn run(self) -> Result<Exit, CliError> {
        let key = Digest::try_from(self.key.clone()).map_err(CliError::Usage)?;
        let root = std::path::absolute(&self.workspace.workspace)?;
        let workspace = Workspace::at(&root);
        let found = match &self.plan {
            Some(name) => match ClusterPlan::read(&workspace, plan_name(name)?) {
                Ok(plan) => Some(plan),
                Err(FileError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => {
                    return Err(CliError::Usage(format!(
                        "--plan {name}: the workspace {} has no such plan\n  = help: without --plan, a plan with this \
                         step is looked for; {HELP}",
                        root.display()
                    )));
                }
                Err(error) => return Err(error.into()),
            },
            None => ClusterPlan::find(&workspace, &key)?,
        };
        let missing = |place: String| {
            let short = key.short();
            CliError::Usage(format!("there is no step {short} in {place}\n  = help: {HELP}"))
        };
        let Some(plan) = found else {
            return Err(missing(format!("any plan of the workspace {}", root.display())));
        };
        let Some(at) = plan.step(&key)? else {
            return Err(missing(format!("the plan {}", plan.dir().display())));
        };
        let interrupt = Interrupt::default();
        let ended = self.step(&key, &plan, &at, &workspace, &interrupt);
        let (exit, cause) = match &ended {
            Ok(_) => return Ok(Exit::Pass),
            Err(CliError::Step(error)) => (error.exit(), error.to_string()),
            Err(error) => (error.exit(), error.to_string()),
        };
        // This step was only given what the others had left of the budget.
        let cause = match plan.spent() {
            Ok(Some(spent)) if exit == Exit::ReplayMiss && at.llm => {
                format!("{cause}\n  = note: all steps of the plan together: {spent}")
            }
            _ => cause,
        };
        let host = sysinfo::System::host_name().unwrap_or_default();
        let failed = FailedElsewhere { exit: exit as u8, cause, host };
        // A queue that finds no report tries again.
        let reported = plan.write_failure(&key, &failed);
        plan.note(&format!("{key} failed {}", exit as u8));
        tell!("error: {}", failed.cause);
        if let Err(error) = reported {
            tell!("error: cannot report this failure: {error}");
        }
        Ok(exit)
    }

    fn step(
        &self,
        key: &Digest,
        plan: &ClusterPlan,
        at: &StepAt,
        workspace: &Workspace,
        interrupt: &Interrupt,
    ) -> Result<(), CliError> {
        let about = &plan.about;
        if about.build != BUILD {
            return Err(CliError::Usage(format!(
                "the plan was made by another build of assay ({}, this is {BUILD}), whose numbers may differ\n  = help: \
                 install one build on all machines, and submit again",
                about.build
            )));
        }
        if at.tensors {
            hand_over()?;
        }
        limits::set_most_trials(about.most_trials);
        // Paths of the experiment are relative to where it was submitted.
        env::set_current_dir(&about.directory).map_err(|error| {
            CliError::Usage(format!(
                "{}: {error}\n  = help: the experiment was submitted from there; all machines must see this directory",
                about.directory.display()
            ))
        })?;
        let dirs = DataDirs::new(about.data_dirs.clone()).with_known(about.known.clone());
        let experiment = Experiment::read_with(&about.file, &about.set, &dirs)?;
        let of_trial = Plan::of_trial(&experiment, &dirs, &at.trial)?;
        let Some(step) = of_trial.graph.find(key) else {
            return Err(CliError::Usage(format!(
                "{}, or a file that it names, has changed since it was submitted: it no longer has the step {} {}\n  = \
                 help: submit it again",
                about.file.display(),
                at.kind,
                at.label
            )));
        };
        let node = &of_trial.graph[step];
        Commands::check_recorded(&node.command().into_iter().collect())?;
        let mut responses = about.responses;
        if at.llm && responses.mode != Mode::Replay {
            Keys::check_recorded(&experiment.task.keys())?;
        }
        stop_on_ctrl_c(interrupt);
        // One step at a time sends requests, on whatever machine: each may spend what the others have left.
        let purse = if at.llm { Some(self.purse(plan, workspace, interrupt)?) } else { None };
        if purse.is_some() {
            let before = plan.spent()?.unwrap_or_default();
            let tokens = before.input_tokens.saturating_add(before.output_tokens);
            let budget = &mut responses.budget;
            budget.money = budget.money.map(|money| (money - before.money).max(0.0));
            budget.tokens = budget.tokens.map(|most| most.saturating_sub(tokens));
        }
        let one = One {
            graph: &of_trial.graph,
            workspace,
            step,
            instead_of: at.instead_of,
            threads: self.threads.map_or(about.threads, usize::from),
            memory_bytes: about.memory.unwrap_or_else(|| total_memory() / 5 * 4),
            responses,
            machine: machine_at(about.revision.clone(), about.dirty),
            log: plan.log(&at.kind, key),
            wait: Duration::from_secs(self.wait),
            begun: &|| plan.note(&format!("{key} begun {}", std::process::id())),
        };
        let (ended, spent) = run_one(&one, interrupt, &Silent);
        if let Some(spent) = spent.filter(|spent| *spent != Spent::default()) {
            plan.spend(&spent)?;
        }
        drop(purse);
        let seconds = ended?;
        if let Some(seconds) = seconds {
            plan.note(&format!("{key} done {seconds:.6}"));
        }
        Ok(())
    }

    fn purse(
        &self,
        plan: &ClusterPlan,
        workspace: &Workspace,
        interrupt: &Interrupt,
    ) -> Result<crate::core::Lock, CliError> {
        let started = std::time::Instant::now();
        loop {
            if let Some(lock) = workspace.try_lock(&plan.purse())? {
                return Ok(lock);
            }
            interrupt.check().map_err(StepError::from)?;
            if started.elapsed() > Duration::from_secs(self.wait) {
                return Err(StepError::from(crate::base::interrupt::Interrupted).into());
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }
}

/// A path in the workspace.
fn plan_name(name: &str) -> Result<&str, CliError> {
    let is_plain = |part: std::path::Component| matches!(part, std::path::Component::Normal(_));
    let path = PathBuf::from(name);
    match Path::new(&path).components().all(is_plain) && !name.is_empty() {
        true => Ok(name),
        false => Err(CliError::Usage(format!(
            "--plan {name}: expected a path in the workspace, e.g. experiments/quickstart/plans/0123456789ab"
        ))),
    }
}

//! The executor: one coordinator, a thread for each running step, a lock file for each step.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{StepError, steps::Shared, task::Task};
use crate::{
    base::{
        files::{FileError, write_json},
        interrupt::{Interrupt, Interrupted},
    },
    core::{
        Event, Failure, Machine, Outcome, Reporter, RunRecord, StepState, Workspace,
        machine::machine, measure::process_peak_and_cpu,
    },
    data::DataDirs,
    llm::{AnswersSpec, LlmError},
    tasks::{
        Experiment,
        top_n::plan::{Plan, Step, StepKind},
    },
    text::TextError,
};

/// How often the coordinator looks at the interrupt flag and at steps of other processes.
const TICK: Duration = Duration::from_millis(100);

/// What a run may use.
#[derive(Clone, Debug)]
pub struct Options {
    pub threads: usize,
    /// What becomes of answers of language models.
    pub answers: AnswersSpec,
    /// Does steps up to this kind alone.
    pub until: StepKind,
    pub memory_bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Waiting,
    Running,
    /// Another process works on it.
    LockedByOther,
    Done,
    Failed,
    /// What would use it is done.
    NotNeeded,
}

impl State {
    /// Whether the run still has to do something about it.
    fn is_pending(self) -> bool {
        matches!(self, Self::Waiting | Self::Running | Self::LockedByOther)
    }
}

/// Runs what is not done yet. Failed trials do not stop the others.
pub fn run(
    experiment: &Experiment,
    plan: &Plan,
    dirs: &DataDirs,
    workspace: &Workspace,
    options: &Options,
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Result<Outcome, FileError> {
    let started = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = format!("{}-{}", now.as_millis(), std::process::id());
    let directory = experiment.path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let machine = machine(directory.unwrap_or(std::path::Path::new(".")));
    let shared = Shared::new(experiment, plan, dirs, workspace, interrupt, options.answers);
    let mut states = states(plan, workspace, options.until, reporter);
    let to_do = states.iter().filter(|state| **state == State::Waiting).count();
    let mut record = RunRecord {
        run: id.clone(),
        experiment: experiment.name.clone(),
        sources: experiment
            .sources
            .iter()
            .map(|file| (file.path.display().to_string(), file.text.clone()))
            .collect(),
        resolved: serde_json::to_value(&experiment.resolved).unwrap_or_default(),
        data: plan.data.iter().map(ToString::to_string).collect(),
        machine,
        threads: options.threads,
        started: now.as_secs(),
        wall_seconds: 0.0,
        cpu_seconds: 0.0,
        peak_memory_bytes: 0,
        steps_done: 0,
        steps_reused: plan.steps.len() - to_do,
        failures: Vec::new(),
        spent: None,
        finished: false,
    };
    let run_file = workspace.path(&["runs", &id, "run.json"]);
    write_json(&run_file, &record)?;
    write_json(&workspace.path(&["experiments", &experiment.name, "plan.json"]), &materials(plan))?;
    reporter.report(&Event::RunStarted {
        experiment: experiment.name.clone(),
        run: id.clone(),
        steps: plan.steps.len(),
        to_do,
        trials: plan.trials.len(),
    });
    let logs = workspace.path(&["runs", &id, "logs"]);
    fs::create_dir_all(&logs).map_err(|source| FileError::Io { path: logs.clone(), source })?;

    let mut coordinator = Coordinator {
        shared: &shared,
        options,
        reporter,
        states: &mut states,
        machine: &record.machine,
        logs,
        free_threads: options.threads,
        used_memory: 0,
        finished: 0,
        to_do,
        failed: BTreeSet::new(),
        failures: Vec::new(),
        unanswered: false,
    };
    coordinator.go();
    let interrupted = interrupt.is_raised() && coordinator.has_pending();
    let undone = !interrupted && coordinator.fail_undone();
    let (finished, failures) = (coordinator.finished, coordinator.failures);
    let unanswered = coordinator.unanswered;
    record.spent = shared.spent().map(|(spent, _)| spent);

    let (peak, cpu) = process_peak_and_cpu();
    record.wall_seconds = started.elapsed().as_secs_f64();
    record.cpu_seconds = cpu;
    record.peak_memory_bytes = peak;
    record.steps_done = finished;
    record.finished = !interrupted;
    record.failures = failures;
    write_json(&run_file, &record)?;
    let last = workspace.path(&["experiments", &experiment.name, "run.json"]);
    write_json(&last, &record)?;
    reporter.report(&Event::RunFinished {
        run: id,
        seconds: record.wall_seconds,
        failed_trials: record.failures.len(),
        interrupted,
    });
    Ok(Outcome { record, interrupted, unanswered, undone })
}

/// Key material of every step under a name that stays, to say later what made a step stale.
fn materials(plan: &Plan) -> serde_json::Value {
    let pairs = plan
        .steps
        .iter()
        .map(|step| (format!("{} {}", step.kind.name(), step.label), step.material.clone()));
    serde_json::Value::Object(pairs.collect())
}

/// From the back: a done score needs nothing, a missing one needs its inputs, and so on.
fn states(
    plan: &Plan,
    workspace: &Workspace,
    until: StepKind,
    reporter: &dyn Reporter,
) -> Vec<State> {
    let mut states = vec![State::NotNeeded; plan.steps.len()];
    for (at, step) in plan.steps.iter().enumerate() {
        if is_end(step.kind, until) {
            visit(plan, workspace, reporter, at, &mut states);
        }
    }
    states
}

/// Whether steps of this kind are what a run is for. Explanations and scores are both ends.
fn is_end(kind: StepKind, until: StepKind) -> bool {
    kind == until || (until == StepKind::Score && kind == StepKind::Explain)
}

fn visit(
    plan: &Plan,
    workspace: &Workspace,
    reporter: &dyn Reporter,
    at: usize,
    states: &mut [State],
) {
    if states[at] != State::NotNeeded {
        return;
    }
    let step = &plan.steps[at];
    match step.state(workspace) {
        StepState::Done => {
            states[at] = State::Done;
            // What is said under a table of it, of its fold and of its model, stands in their records.
            for input in &step.inputs {
                let of = &plan.steps[*input];
                let record = workspace.record(of.kind.name(), &of.key);
                if step.kind == StepKind::Score && matches!(record, Err(FileError::Damaged { .. }))
                {
                    visit(plan, workspace, reporter, *input, states);
                }
            }
        }
        state => {
            if let StepState::Damaged(problem) = state {
                reporter.report(&Event::StepDamaged {
                    kind: step.kind.name(),
                    step: step.label.clone(),
                    key: step.key.short(),
                    problem,
                });
            }
            states[at] = State::Waiting;
            for input in &step.inputs {
                visit(plan, workspace, reporter, *input, states);
            }
        }
    }
}

struct Coordinator<'a> {
    shared: &'a Shared<'a>,
    options: &'a Options,
    reporter: &'a dyn Reporter,
    states: &'a mut [State],
    machine: &'a Machine,
    logs: PathBuf,
    free_threads: usize,
    used_memory: u64,
    finished: usize,
    to_do: usize,
    failed: BTreeSet<usize>,
    failures: Vec<Failure>,
    /// A step ended for want of a recorded answer, or of money.
    unanswered: bool,
}

/// A step's end, as its thread tells it.
struct Ended {
    step: usize,
    threads: usize,
    memory: u64,
    result: Result<f64, StepError>,
}

impl Coordinator<'_> {
    fn go(&mut self) {
        let (sender, ended) = mpsc::channel::<Ended>();
        thread::scope(|scope| {
            let mut running = 0;
            let mut looked = Instant::now();
            loop {
                if !self.shared.interrupt.is_raised() {
                    running += self.start_ready(scope, &sender);
                }
                // Nothing is ready here: what is left waits for running steps, for steps of other
                // processes, or, after an interrupt, for the next run.
                let waiting = self.states.contains(&State::LockedByOther);
                let stopped = self.shared.interrupt.is_raised();
                if running == 0 && (stopped || !waiting) {
                    break;
                }
                if let Ok(end) = ended.recv_timeout(TICK) {
                    running -= 1;
                    self.end(end);
                }
                if looked.elapsed() >= TICK {
                    self.look_at_others();
                    looked = Instant::now();
                }
            }
        });
    }

    /// Whether a step is neither done nor failed.
    fn has_pending(&self) -> bool {
        self.states.iter().any(|state| state.is_pending())
    }

    /// A run that ended without an interrupt has done every step or said why not. Where it has not, that
    /// is an error like any other: results that lack it must not pass for complete.
    fn fail_undone(&mut self) -> bool {
        let undone = self.has_pending();
        while let Some(at) = self.states.iter().position(|state| state.is_pending()) {
            self.fail(at, &StepError::Panic("the run ended without doing this step".into()));
        }
        undone
    }

    fn ready(&self) -> Vec<usize> {
        let done = |at: &usize| matches!(self.states[*at], State::Done);
        (0..self.states.len())
            .filter(|at| self.states[*at] == State::Waiting)
            .filter(|at| self.plan().steps[*at].inputs.iter().all(done))
            .collect()
    }

    fn plan(&self) -> &Plan {
        self.shared.plan
    }

    /// Starts what can be started; returns how many steps that are.
    fn start_ready<'scope>(
        &mut self,
        scope: &'scope thread::Scope<'scope, '_>,
        sender: &mpsc::Sender<Ended>,
    ) -> usize
    where
        Self: 'scope,
    {
        let mut n_started = 0;
        loop {
            let (started, adopted) = self.start_once(scope, sender);
            n_started += started;
            // What waited for a step of another process is ready now.
            if !adopted || self.shared.interrupt.is_raised() {
                return n_started;
            }
        }
    }

    /// Starts what is ready by now; returns how many steps that are, and whether others were found to be
    /// done by another process.
    fn start_once<'scope>(
        &mut self,
        scope: &'scope thread::Scope<'scope, '_>,
        sender: &mpsc::Sender<Ended>,
    ) -> (usize, bool)
    where
        Self: 'scope,
    {
        let (mut n_started, mut adopted) = (0, false);
        let mut ready = self.ready();
        // What lies nearest to a result first: memory held between steps is freed early.
        ready.sort_by_key(|at| (std::cmp::Reverse(self.plan().steps[*at].kind as u8), *at));
        let mut left = ready.len();
        for at in ready {
            if self.free_threads == 0 {
                break;
            }
            let step = &self.shared.plan.steps[at];
            let memory = self.shared.memory_estimate(step);
            let budget = self.options.memory_bytes;
            if memory > budget {
                self.fail(at, &StepError::Memory { needed: memory, budget });
                left -= 1;
                continue;
            }
            if self.used_memory + memory > budget {
                continue;
            }
            let lock = match self.shared.workspace.try_lock(&step.key) {
                Ok(Some(lock)) => lock,
                Ok(None) => {
                    self.states[at] = State::LockedByOther;
                    self.reporter.report(&Event::StepElsewhere {
                        kind: step.kind.name(),
                        step: step.label.clone(),
                        key: step.key.short(),
                    });
                    left -= 1;
                    continue;
                }
                Err(error) => {
                    self.fail(at, &error.into());
                    left -= 1;
                    continue;
                }
            };
            // Another process may have finished it since it was last looked at.
            if step.state(self.shared.workspace) == StepState::Done {
                self.adopt(at);
                adopted = true;
                left -= 1;
                continue;
            }
            let threads = (self.free_threads / left.clamp(1, self.free_threads)).max(1);
            left -= 1;
            self.free_threads -= threads;
            self.used_memory += memory;
            self.states[at] = State::Running;
            self.reporter.report(&Event::StepStarted {
                kind: step.kind.name(),
                step: step.label.clone(),
                key: step.key.short(),
                threads,
            });
            let task = Task {
                shared: self.shared,
                step,
                threads,
                reporter: self.reporter,
                machine: self.machine.clone(),
                log: self.log_of(step),
            };
            let sender = sender.clone();
            scope.spawn(move || {
                let result = task.run(&lock);
                drop(lock);
                // The coordinator waits for every thread, so it is there to hear.
                let _ = sender.send(Ended { step: at, threads, memory, result });
            });
            n_started += 1;
        }
        (n_started, adopted)
    }

    fn log_of(&self, step: &Step) -> Vec<PathBuf> {
        step.trials
            .iter()
            .map(|trial| self.logs.join(format!("{}.log", self.plan().trials[*trial].file_name)))
            .collect()
    }

    fn end(&mut self, end: Ended) {
        self.free_threads += end.threads;
        self.used_memory -= end.memory;
        match end.result {
            Ok(seconds) => {
                self.states[end.step] = State::Done;
                self.finished += 1;
                self.forget_unused_model_of(end.step);
                let step = &self.shared.plan.steps[end.step];
                self.reporter.report(&Event::StepFinished {
                    kind: step.kind.name(),
                    step: step.label.clone(),
                    key: step.key.short(),
                    seconds,
                    done: self.finished,
                    to_do: self.to_do,
                });
            }
            Err(StepError::Interrupted(Interrupted)) => self.states[end.step] = State::Waiting,
            Err(error) => {
                self.unanswered |= matches!(
                    &error,
                    StepError::Text(TextError::Llm(LlmError::Missing(_) | LlmError::Budget(_)))
                        | StepError::Llm(LlmError::Missing(_) | LlmError::Budget(_))
                );
                self.fail(end.step, &error);
            }
        }
    }

    /// A model is kept in memory until every step that uses it is done, here or elsewhere.
    fn forget_unused_model_of(&self, at: usize) {
        let steps = &self.plan().steps;
        if !matches!(steps[at].kind, StepKind::Rerank | StepKind::Explain | StepKind::Score) {
            return;
        }
        let fit = steps[at].inputs[1];
        let is_used = steps
            .iter()
            .zip(&*self.states)
            .any(|(step, state)| step.inputs.contains(&fit) && state.is_pending());
        if !is_used {
            self.shared.forget(&steps[fit].key);
        }
    }

    /// Another process did the step.
    fn adopt(&mut self, at: usize) {
        self.states[at] = State::Done;
        self.to_do -= 1;
        self.forget_unused_model_of(at);
        let step = &self.shared.plan.steps[at];
        self.reporter.report(&Event::StepTakenOver {
            kind: step.kind.name(),
            step: step.label.clone(),
            key: step.key.short(),
            done: self.finished,
            to_do: self.to_do,
        });
    }

    /// Steps of other processes: done by now, or given up by a process that died?
    fn look_at_others(&mut self) {
        for at in 0..self.states.len() {
            if self.states[at] != State::LockedByOther {
                continue;
            }
            let step = &self.shared.plan.steps[at];
            // While the lock is held nothing is looked at; once it is free, either the step is done
            // or it is ours to do.
            match self.shared.workspace.try_lock(&step.key) {
                Ok(None) => {}
                Ok(Some(lock)) => {
                    let state = step.state(self.shared.workspace);
                    drop(lock);
                    match state {
                        StepState::Done => self.adopt(at),
                        _ => self.states[at] = State::Waiting,
                    }
                }
                Err(error) => self.fail(at, &error.into()),
            }
        }
    }

    fn fail(&mut self, at: usize, error: &StepError) {
        let step = &self.shared.plan.steps[at];
        let mut lost = vec![at];
        self.states[at] = State::Failed;
        for (later, other) in self.shared.plan.steps.iter().enumerate() {
            // What is done already stays done: only what is still to be done is lost.
            let is_lost = other.inputs.iter().any(|input| lost.contains(input));
            if is_lost && self.states[later].is_pending() {
                self.states[later] = State::Failed;
                lost.push(later);
            }
        }
        let mut trials: Vec<usize> = lost
            .iter()
            .map(|at| &self.shared.plan.steps[*at])
            .filter(|step| is_end(step.kind, self.options.until))
            .flat_map(|step| step.trials.iter().copied())
            .collect();
        trials.sort_unstable();
        let failed = format!("{} {}", step.kind.name(), step.label);
        let mut names = Vec::new();
        for trial in trials {
            if self.failed.insert(trial) {
                let of = &self.shared.plan.trials[trial];
                let name = format!("{} {} seed {}", of.name, of.fold, of.seed);
                names.push(name.clone());
                self.failures.push(Failure {
                    trial: name,
                    step: failed.clone(),
                    cause: error.to_string(),
                });
            }
        }
        self.reporter.report(&Event::StepFailed {
            kind: step.kind.name(),
            step: step.label.clone(),
            key: step.key.short(),
            cause: error.to_string(),
            trials: names,
        });
    }
}

#[cfg(test)]
mod tests;

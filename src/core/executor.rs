//! The executor: one coordinator, a thread for each running step, a lock file for each step.

mod elsewhere;
mod one;
mod to_do;

pub use elsewhere::{FailedElsewhere, Queue, QueueState, run_elsewhere};
pub use one::{One, run_one};
pub use to_do::ToDo;

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    fs,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use to_do::State;

use super::{
    Event, Failure, FileDigest, Graph, Node, Outcome, Reporter, RunHeader, RunRecord, StepError,
    StepId, context::RunState, event::TrialsDone, machine::machine, measure::process_peak_and_cpu,
    record::Machine, task::Task,
};
use crate::{
    base::{
        files::{FileError, full_disk_help, write_json},
        interrupt::Interrupt,
    },
    llm::ResponsesSpec,
};

/// How often the coordinator checks the interrupt flag and the steps of other processes.
const TICK: Duration = Duration::from_millis(100);
/// Longest time between two checks of a step of another process.
const MOST_PAUSE: Duration = Duration::from_secs(5);

/// Resources and targets of a run.
#[derive(Clone, Debug)]
pub struct Options {
    pub threads: usize,
    pub memory_bytes: u64,
    /// The use of recorded responses of language models.
    pub responses: ResponsesSpec,
    /// The steps to finish; steps that they need are run, too.
    pub ends: Vec<StepId>,
    /// Finished steps that are rerun.
    pub forced: HashSet<StepId>,
}

/// A trial, for logs and messages.
#[derive(Clone, Debug)]
pub struct TrialName {
    /// `als u1 seed 1`
    pub name: String,
    /// Its name as a file name.
    pub file_name: String,
}

/// Runs the steps to do. Failed trials do not stop the others.
pub fn run(
    header: RunHeader,
    to_do: ToDo,
    trials: &[TrialName],
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Result<Outcome, FileError> {
    run_by(header, to_do, trials, interrupt, reporter, |coordinator| {
        coordinator.go();
        true
    })
}

/// Runs the steps to do by `go`, and records the run. If `go` gives false, it could not go on: the steps that are left are no
/// failures, and the caller says what is wrong.
fn run_by(
    header: RunHeader,
    mut to_do: ToDo,
    trials: &[TrialName],
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
    go: impl FnOnce(&mut Coordinator) -> bool,
) -> Result<Outcome, FileError> {
    let started = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = new_run(to_do.workspace, now)?;
    let machine = machine(&header.directory);
    let name = header.slot.clone();
    let (graph, workspace, options) = (to_do.graph, to_do.workspace, to_do.options);
    to_do.news.drain(..).for_each(|event| reporter.report(&event));
    let shared = std::mem::take(&mut to_do.shared);
    let state = RunState::new(graph, workspace, interrupt, options.responses, shared);
    let logs = workspace.path(&["runs", &id, "logs"]);
    let mut record = RunRecord {
        run: id.clone(),
        experiment: header.experiment.clone(),
        overrides: header.overrides,
        slot: header.slot,
        file: header.file,
        sources: header.sources,
        resolved: header.resolved,
        data: header.data,
        files: files(graph),
        machine: machine.clone(),
        threads: options.threads,
        started: now.as_secs(),
        wall_seconds: 0.0,
        cpu_seconds: 0.0,
        peak_memory_bytes: 0,
        steps_done: 0,
        steps_reused: to_do.steps() - to_do.count,
        failures: Vec::new(),
        spent: None,
        finished: false,
    };
    let run_file = workspace.path(&["runs", &id, "run.json"]);
    write_json(&run_file, &record)?;
    write_json(&workspace.path(&["experiments", &name, "plan.json"]), &key_inputs(graph))?;
    reporter.report(&Event::RunStarted {
        experiment: header.experiment,
        run: id.clone(),
        steps: to_do.steps(),
        to_do: to_do.count,
        trials: to_do.trials(),
    });
    fs::create_dir_all(&logs).map_err(|source| FileError::Io { path: logs.clone(), source })?;
    let mut coordinator = Coordinator::new(to_do, &state, trials, reporter, &machine, logs);
    let could_go_on = go(&mut coordinator);
    let interrupted = (interrupt.is_raised() || !could_go_on) && coordinator.to_do.has_pending();
    let undone = !interrupted && coordinator.fail_undone();
    let (finished, failures) = (coordinator.finished, coordinator.failures);
    let lacks_responses = coordinator.lacks_responses;
    let (disk_full, internal) = (coordinator.disk_full, coordinator.internal);
    let bad_input = !coordinator.other_failure;
    record.spent = coordinator.spent_elsewhere.or(state.spent().map(|(spent, _)| spent));

    let (peak, cpu) = process_peak_and_cpu();
    record.wall_seconds = started.elapsed().as_secs_f64();
    record.cpu_seconds = cpu;
    record.peak_memory_bytes = peak;
    record.steps_done = finished;
    record.steps_reused = coordinator.to_do.steps().saturating_sub(coordinator.to_do.count);
    record.finished = !interrupted;
    record.failures = failures;
    write_json(&run_file, &record)?;
    write_json(&workspace.path(&["experiments", &name, "run.json"]), &record)?;
    reporter.report(&Event::RunFinished {
        run: id,
        seconds: record.wall_seconds,
        failed_trials: record.failures.len(),
        interrupted,
    });
    let bad_input = bad_input && !record.failures.is_empty();
    Ok(Outcome { record, interrupted, lacks_responses, bad_input, disk_full, internal, undone })
}

/// A directory for a run. Processes of two machines may start in the same millisecond with the same process id.
fn new_run(workspace: &super::Workspace, now: Duration) -> Result<String, FileError> {
    let mut at = now.as_millis();
    loop {
        let id = format!("{at}-{}", std::process::id());
        let dir = workspace.path(&["runs", &id]);
        match fs::create_dir(&dir) {
            Ok(()) => return Ok(id),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => at += 1,
            Err(source) => return Err(FileError::Io { path: dir, source }),
        }
    }
}

/// The files that the steps read, each once.
fn files(graph: &Graph) -> Vec<FileDigest> {
    let pinned = graph.nodes().iter().flat_map(|node| &node.pinned);
    let files = pinned.map(|file| FileDigest { what: file.what.clone(), digest: file.digest });
    files.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Key inputs of every step under its stable name, to explain later why a step is stale.
fn key_inputs(graph: &Graph) -> serde_json::Value {
    let pairs = graph.nodes().iter().map(|node| (node.name(), node.key_inputs.clone()));
    serde_json::Value::Object(pairs.collect())
}

struct Coordinator<'a> {
    to_do: ToDo<'a>,
    state: &'a RunState<'a>,
    trials: &'a [TrialName],
    reporter: &'a dyn Reporter,
    machine: &'a Machine,
    logs: PathBuf,
    /// Trials with steps to run, and the steps that they need.
    open: BTreeMap<usize, Vec<StepId>>,
    trials_to_do: usize,
    /// Steps that other processes run; since when, and when they are checked next.
    locked_by_others: BTreeMap<StepId, (Instant, Instant)>,
    free_threads: usize,
    used_memory: u64,
    finished: usize,
    failed: BTreeSet<usize>,
    failures: Vec<Failure>,
    /// A step failed because a response is not recorded or the budget is used up.
    lacks_responses: bool,
    disk_full: bool,
    internal: bool,
    /// A step failed for another reason than files and settings of the user.
    other_failure: bool,
    /// Requests of other processes to language models.
    spent_elsewhere: Option<crate::llm::Spent>,
}

/// The end of a step, as reported by its thread.
struct Ended {
    step: StepId,
    threads: usize,
    memory: u64,
    result: Result<f64, StepError>,
}

impl<'a> Coordinator<'a> {
    fn new(
        to_do: ToDo<'a>,
        state: &'a RunState<'a>,
        trials: &'a [TrialName],
        reporter: &'a dyn Reporter,
        machine: &'a Machine,
        logs: PathBuf,
    ) -> Self {
        let is_open = |step: &StepId| to_do.states[step.at()].is_pending();
        let mut open = to_do.by_trial();
        open.retain(|_, steps| steps.iter().any(is_open));
        Self {
            free_threads: to_do.options.threads,
            trials_to_do: open.len(),
            open,
            to_do,
            state,
            trials,
            reporter,
            machine,
            logs,
            locked_by_others: BTreeMap::new(),
            used_memory: 0,
            finished: 0,
            failed: BTreeSet::new(),
            failures: Vec::new(),
            lacks_responses: false,
            disk_full: false,
            internal: false,
            other_failure: false,
            spent_elsewhere: None,
        }
    }

    fn go(&mut self) {
        let (sender, ended) = mpsc::channel::<Ended>();
        thread::scope(|scope| {
            let mut running = 0;
            let mut checked = Instant::now();
            loop {
                if !self.state.interrupt.is_raised() {
                    running += self.start_ready(scope, &sender);
                }
                // Nothing is ready: the remaining steps wait for running steps, for steps of other
                // processes, or, after an interrupt, for the next run.
                let stopped = self.state.interrupt.is_raised();
                if running == 0 && (stopped || self.locked_by_others.is_empty()) {
                    break;
                }
                if let Ok(end) = ended.recv_timeout(TICK) {
                    running -= 1;
                    self.end(end);
                }
                if checked.elapsed() >= TICK {
                    self.check_others();
                    checked = Instant::now();
                }
            }
        });
    }

    /// A run without an interrupt must finish every step or report its failure. An unfinished step is an error, so that
    /// incomplete results do not seem complete.
    fn fail_undone(&mut self) -> bool {
        let undone = self.to_do.has_pending();
        while let Some(at) = self.to_do.states.iter().position(|state| state.is_pending()) {
            let error = StepError::Internal("the run ended without doing this step".into());
            self.fail(StepId(at), &error);
        }
        undone
    }

    /// Starts all steps that can run; returns their number.
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
            // Steps that waited for a step of another process are now ready.
            if !adopted || self.state.interrupt.is_raised() {
                return n_started;
            }
        }
    }

    /// Starts the steps that are ready; returns their number, and whether a step of another process was adopted.
    fn start_once<'scope>(
        &mut self,
        scope: &'scope thread::Scope<'scope, '_>,
        sender: &mpsc::Sender<Ended>,
    ) -> (usize, bool)
    where
        Self: 'scope,
    {
        let (mut n_started, mut adopted) = (0, false);
        let ready: Vec<StepId> = self.to_do.ready.iter().map(|(_, step)| *step).collect();
        let mut left = ready.len();
        for at in ready {
            if self.free_threads == 0 {
                break;
            }
            if self.to_do.states[at.at()] != State::Waiting {
                left -= 1;
                continue;
            }
            let node = &self.state.graph[at];
            let memory = node.resources(self.state).memory;
            let budget = self.to_do.options.memory_bytes;
            if memory > budget {
                self.fail(at, &StepError::Memory { needed: memory, budget });
                left -= 1;
                continue;
            }
            if self.used_memory + memory > budget {
                continue;
            }
            let lock = match self.state.workspace.try_lock(&node.key) {
                Ok(Some(lock)) => lock,
                Ok(None) => {
                    self.set(at, State::LockedByOther);
                    self.reporter.report(&Event::StepElsewhere {
                        kind: node.kind,
                        step: node.label.clone(),
                        key: node.key.short(),
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
            // Another process may have finished it since the last check.
            if !self.to_do.options.forced.contains(&at) && self.to_do.is_current(node) {
                self.adopt(at);
                adopted = true;
                left -= 1;
                continue;
            }
            let threads = (self.free_threads / left.clamp(1, self.free_threads)).max(1);
            left -= 1;
            self.free_threads -= threads;
            self.used_memory += memory;
            self.set(at, State::Running);
            self.reporter.report(&Event::StepStarted {
                kind: node.kind,
                step: node.label.clone(),
                key: node.key.short(),
                threads,
            });
            let task = Task {
                state: self.state,
                node,
                threads,
                reporter: self.reporter,
                machine: self.machine.clone(),
                logs: self.logs_of(node),
                lazy_logs: false,
            };
            let sender = sender.clone();
            scope.spawn(move || {
                let result = task.run(&lock);
                drop(lock);
                // The coordinator waits for every thread, so the receiver exists.
                let _ = sender.send(Ended { step: at, threads, memory, result });
            });
            n_started += 1;
        }
        (n_started, adopted)
    }

    fn set(&mut self, step: StepId, state: State) {
        self.to_do.set(step, state);
        match state {
            State::LockedByOther => {
                let now = Instant::now();
                self.locked_by_others.entry(step).or_insert((now, now + TICK));
            }
            _ => drop(self.locked_by_others.remove(&step)),
        }
    }

    fn logs_of(&self, node: &Node) -> Vec<PathBuf> {
        let names = node.trials.iter().map(|trial| &self.trials[*trial].file_name);
        names.map(|name| self.logs.join(format!("{name}.log"))).collect()
    }

    fn end(&mut self, end: Ended) {
        self.free_threads += end.threads;
        self.used_memory -= end.memory;
        match end.result {
            Ok(seconds) => {
                self.finished += 1;
                self.done(end.step);
                let trials = self.trials_done(end.step);
                let node = &self.state.graph[end.step];
                self.reporter.report(&Event::StepFinished {
                    kind: node.kind,
                    step: node.label.clone(),
                    key: node.key.short(),
                    seconds,
                    done: self.finished,
                    to_do: self.to_do.count,
                    trials,
                });
            }
            Err(error) if error.is_temporary() => self.set(end.step, State::Waiting),
            Err(error) => {
                self.lacks_responses |= error.lacks_responses();
                self.fail(end.step, &error);
            }
        }
    }

    /// Notes a finished step, of this process or another one.
    fn done(&mut self, step: StepId) {
        self.locked_by_others.remove(&step);
        self.to_do.done(step);
        self.to_do.news.drain(..).for_each(|event| self.reporter.report(&event));
        self.forget_unused(step);
        for input in self.state.graph[step].input_ids() {
            self.forget_unused(input);
        }
    }

    /// Frees the output that a step kept in memory when no pending step reads it.
    fn forget_unused(&self, step: StepId) {
        let is_pending = |reader: &StepId| self.to_do.states[reader.at()].is_pending();
        let is_used = self.to_do.readers[step.at()].iter().any(is_pending);
        if !is_used {
            self.state.forget(step);
        }
    }

    /// Notes a step that another process finished.
    fn adopt(&mut self, step: StepId) {
        self.to_do.count -= 1;
        self.done(step);
        let trials = self.trials_done(step);
        let node = &self.state.graph[step];
        self.reporter.report(&Event::StepTakenOver {
            kind: node.kind,
            step: node.label.clone(),
            key: node.key.short(),
            done: self.finished,
            to_do: self.to_do.count,
            trials,
        });
    }

    /// The trials that a finished step completes.
    fn trials_done(&mut self, step: StepId) -> TrialsDone {
        let is_open = |step: &StepId| self.to_do.states[step.at()].is_pending();
        let mut finished = Vec::new();
        for trial in &self.state.graph[step].trials {
            let last = self.open.get(trial).is_some_and(|steps| !steps.iter().any(is_open));
            if last && !self.failed.contains(trial) {
                self.open.remove(trial);
                finished.push(self.trials[*trial].name.clone());
            }
        }
        TrialsDone {
            finished_trials: finished,
            trials_done: self.trials_to_do - self.open.len(),
            trials_to_do: self.trials_to_do,
        }
    }

    /// Checks steps of other processes: they may be finished, or their process may have died.
    fn check_others(&mut self) {
        let now = Instant::now();
        for (step, (since, next)) in self.locked_by_others.clone() {
            if now < next {
                continue;
            }
            // The longer it takes, the rarer: thousands of processes may wait in one directory of a file server.
            let pause = (since.elapsed() / 10).clamp(TICK, MOST_PAUSE);
            self.locked_by_others.insert(step, (since, now + pause));
            let node = &self.state.graph[step];
            // Nothing to check while the lock is held; when it is free, the step is either done or has to be run
            // here.
            match self.state.workspace.try_lock(&node.key) {
                Ok(None) => {}
                Ok(Some(lock)) => {
                    let is_current = self.to_do.is_current(node);
                    drop(lock);
                    match is_current {
                        true => self.adopt(step),
                        false => self.set(step, State::Waiting),
                    }
                }
                Err(error) => self.fail(step, &error.into()),
            }
        }
    }

    fn fail(&mut self, step: StepId, error: &StepError) {
        self.disk_full |= error.is_disk_full();
        self.internal |= error.is_internal();
        self.other_failure |= !error.is_bad_input();
        let mut lost = vec![step];
        self.set(step, State::Failed);
        let mut at = 0;
        while at < lost.len() {
            // Finished steps stay finished; only pending steps fail.
            for reader in self.to_do.readers[lost[at].at()].clone() {
                if self.to_do.states[reader.at()].is_pending() {
                    self.set(reader, State::Failed);
                    lost.push(reader);
                }
            }
            at += 1;
        }
        lost.iter().for_each(|step| self.to_do.note_ready_below(*step));
        let ends: HashSet<StepId> = self.to_do.options.ends.iter().copied().collect();
        // A step that was to be rerun has failed, even if its earlier result still exists.
        let is_lost = |of: &&StepId| ends.contains(of) || self.to_do.options.forced.contains(of);
        let mut trials: Vec<usize> = lost
            .iter()
            .filter(is_lost)
            .flat_map(|step| self.state.graph[*step].trials.iter().copied())
            .collect();
        trials.sort_unstable();
        let node = &self.state.graph[step];
        let mut cause = error.to_string();
        if error.is_disk_full() && !cause.contains("= help: ") {
            let tmp = self.state.workspace.path(&["tmp", "x"]);
            cause.push_str(&full_disk_help(&tmp));
        }
        let mut names = Vec::new();
        for trial in trials {
            if self.failed.insert(trial) {
                let name = self.trials[trial].name.clone();
                names.push(name.clone());
                self.failures.push(Failure {
                    trial: name,
                    step: node.name(),
                    cause: cause.clone(),
                });
            }
        }
        self.reporter.report(&Event::StepFailed {
            kind: node.kind,
            step: node.label.clone(),
            key: node.key.short(),
            cause,
            trials: names,
        });
    }
}

#[cfg(test)]
mod tests;

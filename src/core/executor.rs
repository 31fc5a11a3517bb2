//! The executor: one coordinator, a thread for each running step, a lock file for each step.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, HashSet},
    fs,
    path::PathBuf,
    sync::mpsc,
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    Currencies, Currency, Event, Failure, Graph, Node, Outcome, Reporter, RunHeader, RunRecord,
    StepError, StepId, Workspace,
    context::RunState,
    currency::{differs, own},
    machine::machine,
    measure::process_peak_and_cpu,
    record::Machine,
    task::Task,
};
use crate::{
    base::{
        files::{FileError, full_disk_help, write_json},
        interrupt::{Interrupt, Interrupted},
    },
    llm::AnswersSpec,
};

/// How often the coordinator looks at the interrupt flag and at steps of other processes.
const TICK: Duration = Duration::from_millis(100);

/// What a run may use, and what it is for.
#[derive(Clone, Debug)]
pub struct Options {
    pub threads: usize,
    pub memory_bytes: u64,
    /// Where responses of language models are taken from.
    pub responses: AnswersSpec,
    /// The steps that the run is for; those they need are run too.
    pub ends: Vec<StepId>,
    /// Steps that are run again although they are done.
    pub forced: HashSet<StepId>,
}

/// A trial, for logs and messages.
#[derive(Clone, Debug)]
pub struct TrialName {
    /// `als u1 seed 1`
    pub name: String,
    /// Its name as the name of a file.
    pub file_name: String,
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

/// What a run has to do, found before it starts: a program that lacks what a step needs can make way for
/// one that has it.
pub struct ToDo<'a> {
    graph: &'a Graph,
    workspace: &'a Workspace,
    options: &'a Options,
    states: Vec<State>,
    /// The steps that the ends need, themselves included.
    needed: Vec<bool>,
    /// By step, those that read it.
    readers: Vec<Vec<StepId>>,
    /// By step, those that it reads directly or through others.
    above: Vec<Vec<StepId>>,
    /// By step, those that read it directly or through others.
    below: Vec<Vec<StepId>>,
    /// Waiting steps whose inputs are all done and above which nothing is to be done; what lies nearest to a result first, so that memory held
    /// between steps is freed early.
    ready: BTreeSet<(Reverse<usize>, StepId)>,
    count: usize,
    /// Steps that are there and cannot be used, to be reported.
    news: Vec<Event>,
}

impl<'a> ToDo<'a> {
    /// From the back: a done end needs nothing, a missing one needs its inputs, and so on.
    pub fn of(graph: &'a Graph, workspace: &'a Workspace, options: &'a Options) -> Self {
        let nodes = graph.nodes();
        let mut readers = vec![Vec::new(); nodes.len()];
        let mut needed = vec![false; nodes.len()];
        options.ends.iter().for_each(|end| needed[end.at()] = true);
        for node in nodes.iter().rev() {
            for input in node.input_ids() {
                readers[input.at()].push(node.id);
                needed[input.at()] |= needed[node.id.at()];
            }
        }
        let mut above: Vec<Vec<StepId>> = Vec::with_capacity(nodes.len());
        let mut below = vec![Vec::new(); nodes.len()];
        for node in nodes {
            let inputs = || node.input_ids();
            let all: BTreeSet<StepId> =
                inputs().chain(inputs().flat_map(|of| above[of.at()].iter().copied())).collect();
            all.iter().for_each(|of| below[of.at()].push(node.id));
            above.push(all.into_iter().collect());
        }
        let mut to_do = Self {
            graph,
            workspace,
            options,
            states: vec![State::NotNeeded; nodes.len()],
            needed,
            readers,
            above,
            below,
            ready: BTreeSet::new(),
            count: 0,
            news: Vec::new(),
        };
        let currencies = Currencies::new(graph, workspace);
        currencies.look_at(&options.ends);
        for end in &options.ends {
            to_do.visit(*end, &currencies);
        }
        let mut forced: Vec<StepId> = options.forced.iter().copied().collect();
        forced.sort_unstable();
        for step in forced {
            if to_do.needed[step.at()] && to_do.states[step.at()] != State::Waiting {
                to_do.demand(step, &currencies);
            }
        }
        to_do
    }

    /// Whether a step that is to be done, or that reads one and may have to be done again, computes with
    /// tensors.
    pub fn needs_tensors(&self) -> bool {
        let mut may_run: Vec<bool> =
            self.states.iter().map(|state| *state == State::Waiting).collect();
        for node in self.graph.nodes() {
            let reads = node.input_ids().any(|input| may_run[input.at()]);
            may_run[node.id.at()] |= reads && self.needed[node.id.at()];
            if may_run[node.id.at()] && node.needs_tensors() {
                return true;
            }
        }
        false
    }

    fn visit(&mut self, step: StepId, currencies: &Currencies) {
        if self.states[step.at()] != State::NotNeeded {
            return;
        }
        let node = &self.graph[step];
        match currencies.of(step) {
            Currency::Current if !self.options.forced.contains(&step) => {
                self.states[step.at()] = State::Done;
                // What is said under a table of it stands in the records of what it reads.
                for input in node.input_ids() {
                    let of = &self.graph[input];
                    let record = self.workspace.record(of.kind, &of.key);
                    if matches!(record, Err(FileError::Damaged { .. })) {
                        self.visit(input, currencies);
                    }
                }
            }
            found => {
                let (kind, label, key) = (node.kind, node.label.clone(), node.key.short());
                match found {
                    Currency::Damaged(problem) => {
                        self.news.push(Event::StepDamaged { kind, step: label, key, problem });
                    }
                    Currency::Outdated(why) => {
                        self.news.push(Event::StepOutdated { kind, step: label, key, why });
                    }
                    Currency::Absent | Currency::Current => {}
                }
                self.demand(step, currencies);
            }
        }
    }

    /// Puts a step on the list of what is to be done, with what it needs.
    fn demand(&mut self, step: StepId, currencies: &Currencies) {
        self.states[step.at()] = State::Waiting;
        self.count += 1;
        for below in &self.below[step.at()] {
            self.ready.remove(&(Reverse(self.graph[*below].depth), *below));
        }
        for input in self.graph[step].input_ids() {
            self.visit(input, currencies);
        }
        self.note_if_ready(step);
    }

    fn note_if_ready(&mut self, step: StepId) {
        let node = &self.graph[step];
        let is_done = |input: StepId| self.states[input.at()] == State::Done;
        // An input that is in place is made again where what it was made from turns out to be another.
        let is_final = |of: &StepId| !self.states[of.at()].is_pending();
        if self.states[step.at()] == State::Waiting
            && node.input_ids().all(is_done)
            && self.above[step.at()].iter().all(is_final)
        {
            self.ready.insert((Reverse(node.depth), step));
        }
    }

    /// Steps that waited for this one.
    fn note_ready_below(&mut self, step: StepId) {
        for at in 0..self.below[step.at()].len() {
            self.note_if_ready(self.below[step.at()][at]);
        }
    }

    fn set(&mut self, step: StepId, state: State) {
        self.states[step.at()] = state;
        match state {
            State::Waiting => self.note_if_ready(step),
            _ => drop(self.ready.remove(&(Reverse(self.graph[step].depth), step))),
        }
    }

    /// A step is in place: those that read it may start, and those that were made from what it held before
    /// are to be made again.
    fn done(&mut self, step: StepId) {
        self.set(step, State::Done);
        let (mut next, mut seen) = (vec![step], HashSet::new());
        while let Some(at) = next.pop() {
            for reader in self.readers[at.at()].clone() {
                let is_settled = matches!(self.states[reader.at()], State::Done | State::NotNeeded);
                if !is_settled || !self.needed[reader.at()] || !seen.insert(reader) {
                    continue;
                }
                let node = &self.graph[reader];
                let Ok(record) = self.workspace.record(node.kind, &node.key) else {
                    // It is gone: what was made from it was made from this step too.
                    next.push(reader);
                    continue;
                };
                if let Some(why) = differs(self.graph, &record, step, self.workspace) {
                    let (kind, key) = (node.kind, node.key.short());
                    let step = node.label.clone();
                    self.news.push(Event::StepOutdated { kind, step, key, why });
                    self.demand(reader, &Currencies::new(self.graph, self.workspace));
                }
            }
        }
        self.note_ready_below(step);
    }

    /// Whether a step is neither done nor failed.
    fn has_pending(&self) -> bool {
        self.states.iter().any(|state| state.is_pending())
    }

    /// Whether a step whose inputs are done is done too, and was made from what they hold.
    fn is_current(&self, node: &Node) -> bool {
        let Ok(record) = own(self.graph, node.id, self.workspace) else { return false };
        let differ = |input| differs(self.graph, &record, input, self.workspace).is_some();
        !node.input_ids().any(differ)
    }
}

/// Runs what is to be done. Failed trials do not stop the others.
pub fn run(
    header: RunHeader,
    mut to_do: ToDo,
    trials: &[TrialName],
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> Result<Outcome, FileError> {
    let started = Instant::now();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let id = format!("{}-{}", now.as_millis(), std::process::id());
    let machine = machine(&header.directory);
    let name = header.experiment.clone();
    let (graph, workspace, options) = (to_do.graph, to_do.workspace, to_do.options);
    to_do.news.drain(..).for_each(|event| reporter.report(&event));
    let state = RunState::new(graph, workspace, interrupt, options.responses);
    let logs = workspace.path(&["runs", &id, "logs"]);
    let mut record = RunRecord {
        run: id.clone(),
        experiment: header.experiment,
        sources: header.sources,
        resolved: header.resolved,
        data: header.data,
        machine: machine.clone(),
        threads: options.threads,
        started: now.as_secs(),
        wall_seconds: 0.0,
        cpu_seconds: 0.0,
        peak_memory_bytes: 0,
        steps_done: 0,
        steps_reused: graph.len() - to_do.count,
        failures: Vec::new(),
        spent: None,
        finished: false,
    };
    let run_file = workspace.path(&["runs", &id, "run.json"]);
    write_json(&run_file, &record)?;
    write_json(&workspace.path(&["experiments", &name, "plan.json"]), &key_inputs(graph))?;
    reporter.report(&Event::RunStarted {
        experiment: name.clone(),
        run: id.clone(),
        steps: graph.len(),
        to_do: to_do.count,
        trials: trials.len(),
    });
    fs::create_dir_all(&logs).map_err(|source| FileError::Io { path: logs.clone(), source })?;
    let mut coordinator = Coordinator::new(to_do, &state, trials, reporter, &machine, logs);
    coordinator.go();
    let interrupted = interrupt.is_raised() && coordinator.to_do.has_pending();
    let undone = !interrupted && coordinator.fail_undone();
    let (finished, failures) = (coordinator.finished, coordinator.failures);
    let unanswered = coordinator.unanswered;
    let (disk_full, internal) = (coordinator.disk_full, coordinator.internal);
    let bad_input = !coordinator.other_failure;
    record.spent = state.spent().map(|(spent, _)| spent);

    let (peak, cpu) = process_peak_and_cpu();
    record.wall_seconds = started.elapsed().as_secs_f64();
    record.cpu_seconds = cpu;
    record.peak_memory_bytes = peak;
    record.steps_done = finished;
    record.steps_reused = graph.len().saturating_sub(coordinator.to_do.count);
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
    Ok(Outcome { record, interrupted, unanswered, bad_input, disk_full, internal, undone })
}

/// Key inputs of every step under a name that stays, to say later what made a step stale.
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
    /// Steps that other processes work on.
    elsewhere: BTreeSet<StepId>,
    free_threads: usize,
    used_memory: u64,
    finished: usize,
    failed: BTreeSet<usize>,
    failures: Vec<Failure>,
    /// A step ended for want of a recorded response, or of money.
    unanswered: bool,
    disk_full: bool,
    internal: bool,
    /// A step failed for another reason than what the user gave.
    other_failure: bool,
}

/// A step's end, as its thread tells it.
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
        Self {
            free_threads: to_do.options.threads,
            to_do,
            state,
            trials,
            reporter,
            machine,
            logs,
            elsewhere: BTreeSet::new(),
            used_memory: 0,
            finished: 0,
            failed: BTreeSet::new(),
            failures: Vec::new(),
            unanswered: false,
            disk_full: false,
            internal: false,
            other_failure: false,
        }
    }

    fn go(&mut self) {
        let (sender, ended) = mpsc::channel::<Ended>();
        thread::scope(|scope| {
            let mut running = 0;
            let mut looked = Instant::now();
            loop {
                if !self.state.interrupt.is_raised() {
                    running += self.start_ready(scope, &sender);
                }
                // Nothing is ready here: what is left waits for running steps, for steps of other
                // processes, or, after an interrupt, for the next run.
                let stopped = self.state.interrupt.is_raised();
                if running == 0 && (stopped || self.elsewhere.is_empty()) {
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

    /// A run that ended without an interrupt has done every step or said why not. Where it has not, that
    /// is an error like any other: results that lack it must not pass for complete.
    fn fail_undone(&mut self) -> bool {
        let undone = self.to_do.has_pending();
        while let Some(at) = self.to_do.states.iter().position(|state| state.is_pending()) {
            let error = StepError::Internal("the run ended without doing this step".into());
            self.fail(StepId(at), &error);
        }
        undone
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
            if !adopted || self.state.interrupt.is_raised() {
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
            // Another process may have finished it since it was last looked at.
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

    fn set(&mut self, step: StepId, state: State) {
        self.to_do.set(step, state);
        match state {
            State::LockedByOther => drop(self.elsewhere.insert(step)),
            _ => drop(self.elsewhere.remove(&step)),
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
                let node = &self.state.graph[end.step];
                self.reporter.report(&Event::StepFinished {
                    kind: node.kind,
                    step: node.label.clone(),
                    key: node.key.short(),
                    seconds,
                    done: self.finished,
                    to_do: self.to_do.count,
                });
            }
            Err(StepError::Interrupted(Interrupted)) => self.set(end.step, State::Waiting),
            Err(error) => {
                self.unanswered |= error.is_unanswered();
                self.fail(end.step, &error);
            }
        }
    }

    /// A step is in place, made here or elsewhere.
    fn done(&mut self, step: StepId) {
        self.elsewhere.remove(&step);
        self.to_do.done(step);
        self.to_do.news.drain(..).for_each(|event| self.reporter.report(&event));
        self.forget_unused(step);
        for input in self.state.graph[step].input_ids() {
            self.forget_unused(input);
        }
    }

    /// What a step left in memory is kept until every step that reads it is done, here or elsewhere.
    fn forget_unused(&self, step: StepId) {
        let is_pending = |reader: &StepId| self.to_do.states[reader.at()].is_pending();
        let is_used = self.to_do.readers[step.at()].iter().any(is_pending);
        if !is_used {
            self.state.forget(step);
        }
    }

    /// Another process did the step.
    fn adopt(&mut self, step: StepId) {
        self.to_do.count -= 1;
        self.done(step);
        let node = &self.state.graph[step];
        self.reporter.report(&Event::StepTakenOver {
            kind: node.kind,
            step: node.label.clone(),
            key: node.key.short(),
            done: self.finished,
            to_do: self.to_do.count,
        });
    }

    /// Steps of other processes: done by now, or given up by a process that died?
    fn look_at_others(&mut self) {
        for step in self.elsewhere.clone() {
            let node = &self.state.graph[step];
            // While the lock is held nothing is looked at; once it is free, either the step is done
            // or it is ours to do.
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
        self.internal |= matches!(error, StepError::Internal(_) | StepError::NoThreads(_));
        self.other_failure |= !matches!(error, StepError::BadInput(_));
        let mut lost = vec![step];
        self.set(step, State::Failed);
        let mut at = 0;
        while at < lost.len() {
            // What is done already stays done: only what is still to be done is lost.
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
        // A step that was to be run again has failed, even where what it left before still stands.
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

//! A run whose steps are run by other processes, which a queue starts (`cluster/`). Its progress is read from the workspace.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt, fs,
    hash::{DefaultHasher, Hash, Hasher},
    thread,
    time::{Duration, Instant},
};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Coordinator, Outcome, RunHeader, State, ToDo, TrialName, run_by};
use crate::{
    base::{exit::Exit, hash::Digest, interrupt::Interrupt},
    core::{Event, Record, Reporter, StepError, StepId, currency::differs},
    llm::Spent,
};

/// How often the process of a step may end without a result and without a report.
const MOST_DEATHS: u32 = 3;
/// How often a step may ask to be tried again.
const MOST_TRIES: u32 = 50;
/// Longest pause between two looks at the workspace, or at the queue.
const LONGEST: Duration = Duration::from_secs(5);

/// The failure of a step in another process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FailedElsewhere {
    /// The exit code of the process.
    pub exit: u8,
    pub cause: String,
    pub host: String,
}

impl fmt::Display for FailedElsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)
    }
}

/// Starts processes for steps, here or on other machines.
pub trait Queue {
    /// Submits steps that may need each other, in the order of the graph. An error ends the run.
    fn submit(&mut self, steps: &[StepId]) -> Result<(), String>;

    /// Whether the submitted steps wait, run or have ended.
    fn state(&mut self) -> QueueState;

    /// The reports of steps that failed since they were submitted.
    fn failures(&mut self) -> Vec<(StepId, FailedElsewhere)>;

    /// What requests to language models have cost.
    fn spent(&self) -> Result<Option<Spent>, String>;

    /// What the process of a step has said before it died, if that is known.
    fn last_words(&self, step: StepId) -> Option<String>;
}

/// What a queue does.
#[derive(Clone, Debug, PartialEq)]
pub enum QueueState {
    /// Some of the submitted steps wait or run.
    Working,
    /// All submitted steps have ended, in one way or another.
    Ended,
    /// The queue does not know what was submitted, e.g. since it was restarted.
    Forgotten,
    /// Someone has cancelled what was submitted.
    Cancelled,
    /// The queue does not respond.
    Silent(String),
}

/// Pauses between two looks at a file system that thousands of processes may share: longer and longer, and of different
/// lengths in each process.
pub(super) struct Pauses {
    draw: ChaCha8Rng,
    shortest: Duration,
    now: Duration,
}

impl Pauses {
    pub fn new(shortest: Duration) -> Self {
        let mut seed = DefaultHasher::new();
        (std::process::id(), sysinfo::System::host_name()).hash(&mut seed);
        Self { draw: ChaCha8Rng::seed_from_u64(seed.finish()), shortest, now: shortest }
    }

    /// The next pause, at most `most` or the shortest.
    pub fn next(&mut self, most: Duration) -> Duration {
        let base = self.now.min(most).clamp(self.shortest, LONGEST);
        self.now = (self.now * 3 / 2).min(LONGEST);
        base.mul_f64(self.draw.random_range(0.75..1.25))
    }

    /// After something has happened.
    pub fn shorten(&mut self) {
        self.now = (self.now / 4).max(self.shortest);
    }
}

/// Runs the steps to do in the processes of a queue. Failed trials do not stop the others. If this process is killed or
/// interrupted, the queue goes on.
pub fn run_elsewhere(
    header: RunHeader,
    to_do: ToDo,
    trials: &[TrialName],
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
    queue: &mut dyn Queue,
) -> Result<Outcome, String> {
    let mut submitted = Ok(());
    let outcome = run_by(header, to_do, trials, interrupt, reporter, |coordinator| {
        submitted = Follower::new(coordinator, queue).follow();
        submitted.is_ok()
    });
    submitted?;
    outcome.map_err(|error| error.to_string())
}

struct Follower<'a, 'b> {
    of: &'a mut Coordinator<'b>,
    queue: &'a mut dyn Queue,
    /// Steps that exist and are to be rerun, with the seals of their records.
    before: HashMap<StepId, Option<Digest>>,
    /// Names of directories that are not looked at again.
    seen: HashSet<String>,
    deaths: HashMap<StepId, u32>,
    tries: HashMap<StepId, u32>,
    /// Steps that asked to be tried again since the last submission.
    again: HashSet<StepId>,
    /// Processors that steps of this run ran on.
    processors: BTreeSet<String>,
}

impl<'a, 'b> Follower<'a, 'b> {
    fn new(of: &'a mut Coordinator<'b>, queue: &'a mut dyn Queue) -> Self {
        let mut before = HashMap::new();
        for step in of.to_do.waiting() {
            let node = &of.state.graph[step];
            if of.state.workspace.exists(node.kind, &node.key) {
                let record = of.state.workspace.record(node.kind, &node.key).ok();
                before.insert(step, record.and_then(|record| record.seal));
            }
        }
        let (deaths, tries) = (HashMap::new(), HashMap::new());
        let (seen, again, processors) = (HashSet::new(), HashSet::new(), BTreeSet::new());
        Self { of, queue, before, seen, deaths, tries, again, processors }
    }

    fn follow(&mut self) -> Result<(), String> {
        self.submit()?;
        let mut pauses = Pauses::new(Duration::from_millis(50));
        let mut asks = Pauses::new(Duration::from_millis(300));
        let mut ask_at = Instant::now() + asks.next(LONGEST);
        let mut told_silent = false;
        while self.of.to_do.has_pending() {
            let looked = Instant::now();
            let mut news = self.adopt_new() + self.hear_failures();
            if news == 0 && Instant::now() >= ask_at {
                let state = self.queue.state();
                if !matches!(state, QueueState::Silent(_)) {
                    told_silent = false;
                }
                match state {
                    QueueState::Working => {}
                    QueueState::Cancelled => {
                        self.warn("the job was cancelled in HyperQueue".to_owned());
                        self.of.state.interrupt.raise();
                    }
                    QueueState::Silent(problem) => {
                        if !told_silent {
                            self.warn(format!(
                                "HyperQueue does not respond ({problem}); waiting for it"
                            ));
                        }
                        told_silent = true;
                    }
                    found => {
                        news += self.adopt_all() + self.hear_failures();
                        if self.of.to_do.has_pending() {
                            self.count_deaths(found == QueueState::Ended);
                        }
                        if self.of.to_do.has_pending() {
                            self.submit()?;
                            asks.shorten();
                        }
                    }
                }
                ask_at = Instant::now() + asks.next(LONGEST);
            }
            if news > 0 {
                pauses.shorten();
            }
            if self.of.state.interrupt.is_raised() {
                break;
            }
            // A look takes at most a twentieth of the time, however slow the file system is.
            let pause = pauses.next(LONGEST).max(looked.elapsed() * 20);
            let until = Instant::now() + pause;
            while Instant::now() < until && !self.of.state.interrupt.is_raised() {
                thread::sleep(pause.min(Duration::from_millis(50)));
            }
        }
        match self.queue.spent() {
            Ok(spent) => self.of.spent_elsewhere = spent,
            Err(problem) => {
                self.warn(format!("what language models have cost is unknown: {problem}"))
            }
        }
        Ok(())
    }

    fn warn(&self, text: String) {
        self.of.reporter.report(&Event::Warning { text });
    }

    /// Warns once of steps that ran on processors of several kinds.
    fn note_processor(&mut self, cpu: String) {
        if self.processors.insert(cpu) && self.processors.len() == 2 {
            let kinds: Vec<&str> = self.processors.iter().map(String::as_str).collect();
            self.warn(format!(
                "steps run on processors of different kinds ({}), which may round differently (docs/CLUSTER.md)",
                kinds.join("; ")
            ));
        }
    }

    /// Submits everything that is pending.
    fn submit(&mut self) -> Result<(), String> {
        let waiting = self.of.to_do.waiting();
        self.again.clear();
        match waiting.is_empty() {
            true => Ok(()),
            false => self.queue.submit(&waiting),
        }
    }

    /// Adopts finished steps that are new in the listings of the workspace. Returns their number.
    fn adopt_new(&mut self) -> usize {
        let kinds: BTreeSet<&str> = {
            let graph = self.of.state.graph;
            self.of.to_do.ready.iter().map(|(_, step)| graph[*step].kind).collect()
        };
        for kind in kinds {
            let dir = self.of.state.workspace.path(&["steps", kind]);
            for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
                self.seen.insert(entry.file_name().to_string_lossy().into_owned());
            }
        }
        self.adopt(false)
    }

    /// Adopts all finished steps.
    fn adopt_all(&mut self) -> usize {
        self.adopt(true)
    }

    fn adopt(&mut self, all: bool) -> usize {
        let mut n = 0;
        loop {
            let ready: Vec<StepId> = self.of.to_do.ready.iter().map(|(_, step)| *step).collect();
            let mut adopted = 0;
            for step in ready {
                let is_listed = self.seen.contains(&self.of.state.graph[step].key.to_string());
                if (all || is_listed)
                    && let Some(record) = self.finished(step)
                {
                    self.of.adopt_of_queue(step, record.wall_seconds);
                    self.note_processor(record.machine.cpu);
                    adopted += 1;
                }
            }
            n += adopted;
            // Steps that read them may be finished, too; those of another kind are listed next time.
            if adopted == 0 {
                return n;
            }
        }
    }

    /// The record of a step that is finished since the run began.
    fn finished(&self, step: StepId) -> Option<Record> {
        let (graph, workspace) = (self.of.state.graph, self.of.state.workspace);
        let node = &graph[step];
        let record = workspace.record(node.kind, &node.key).ok()?;
        let differ = |input| differs(graph, &record, input, workspace).is_some();
        if node.input_ids().any(differ) {
            return None;
        }
        match self.before.get(&step) {
            None => Some(record),
            Some(seal) if *seal != record.seal => Some(record),
            // The same as before: it may have become current, since an input has its earlier content again.
            Some(_) => {
                let is_forced = self.of.to_do.options.forced.contains(&step);
                (!is_forced && self.of.to_do.is_current(node)).then_some(record)
            }
        }
    }

    /// Notes steps that failed. Returns their number.
    fn hear_failures(&mut self) -> usize {
        let mut n = 0;
        for (step, failed) in self.queue.failures() {
            if !self.of.to_do.states[step.at()].is_pending() {
                continue;
            }
            if failed.exit == Exit::Interrupted as u8 {
                if self.again.insert(step) {
                    *self.tries.entry(step).or_default() += 1;
                }
                continue;
            }
            let error = StepError::Elsewhere(failed);
            self.of.lacks_responses |= error.lacks_responses();
            self.of.fail(step, &error);
            n += 1;
        }
        n
    }

    /// Every submitted step has ended: those that could have run and have neither result nor report have died.
    fn count_deaths(&mut self, have_ended: bool) {
        let ready: Vec<StepId> = self.of.to_do.ready.iter().map(|(_, step)| *step).collect();
        for step in ready {
            let (count, most, what) = match self.again.contains(&step) {
                true => (self.tries[&step], MOST_TRIES, "asked to be tried again"),
                false if have_ended => {
                    let count = self.deaths.entry(step).or_default();
                    *count += 1;
                    (*count, MOST_DEATHS, "ended without a report")
                }
                false => continue,
            };
            if count < most {
                continue;
            }
            let words = match self.queue.last_words(step) {
                Some(words) => format!("; it said:\n    {}", words.replace('\n', "\n    ")),
                None => String::new(),
            };
            let cause = format!(
                "its process {what} {count} times{words}\n  = help: it may have been killed for its memory or its time \
                 limit: the logs of the queue and of the machines tell"
            );
            let exit = Exit::TrialsFailed as u8;
            let host = String::new();
            self.of.fail(step, &StepError::Elsewhere(FailedElsewhere { exit, cause, host }));
        }
    }
}

impl Coordinator<'_> {
    /// Notes a step that the queue has run.
    fn adopt_of_queue(&mut self, step: StepId, seconds: f64) {
        self.finished += 1;
        self.set(step, State::Running);
        self.done(step);
        let trials = self.trials_done(step);
        let node = &self.state.graph[step];
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
}

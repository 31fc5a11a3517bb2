//! One step in a process of its own, as a cluster runs it.

use std::{
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    base::{
        files::FileError,
        hash::Digest,
        interrupt::{Interrupt, Interrupted},
    },
    core::{
        Currencies, Graph, Lock, Machine, Reporter, Shared, StepError, StepId, Workspace,
        context::RunState,
        currency::{Currency, differs, own},
        task::Task,
    },
    llm::{ResponsesSpec, Spent},
};

/// A step to run, and what it may use.
pub struct One<'a> {
    pub graph: &'a Graph,
    pub workspace: &'a Workspace,
    pub step: StepId,
    /// The seal of a finished step that is rerun although it is current.
    pub instead_of: Option<Digest>,
    pub threads: usize,
    pub memory_bytes: u64,
    pub responses: ResponsesSpec,
    pub machine: Machine,
    /// Its log, which is created if the step logs something.
    pub log: PathBuf,
    /// How long it waits for a process that runs the same step.
    pub wait: Duration,
    /// Called when it begins.
    pub begun: &'a dyn Fn(),
}

/// Runs a step whose input steps are finished, unless it is done. Returns its time in seconds, or none if it was done; and
/// what its requests to language models cost, whether it succeeded or not.
pub fn run_one(
    one: &One,
    interrupt: &Interrupt,
    reporter: &dyn Reporter,
) -> (Result<Option<f64>, StepError>, Option<Spent>) {
    let shared = Shared::default();
    let state = RunState::new(one.graph, one.workspace, interrupt, one.responses, shared);
    let ended = one.run(&state, reporter);
    (ended, state.spent().map(|(spent, _)| spent))
}

impl One<'_> {
    fn run(&self, state: &RunState, reporter: &dyn Reporter) -> Result<Option<f64>, StepError> {
        if self.is_done() {
            return Ok(None);
        }
        self.check_inputs()?;
        let lock = self.lock(state.interrupt)?;
        // Another process may have finished it since.
        let Some(lock) = lock.filter(|_| !self.is_done()) else { return Ok(None) };
        let node = &self.graph[self.step];
        let (needed, budget) = (node.resources(state).memory, self.memory_bytes);
        if needed > budget {
            return Err(StepError::Memory { needed, budget });
        }
        let task = Task {
            state,
            node,
            threads: self.threads,
            reporter,
            machine: self.machine.clone(),
            logs: vec![self.log.clone()],
            lazy_logs: true,
        };
        (self.begun)();
        task.run(&lock).map(Some)
    }

    /// Whether it is complete, was made from the current content of its inputs, and is not to be rerun.
    fn is_done(&self) -> bool {
        let Ok(record) = own(self.graph, self.step, self.workspace) else { return false };
        let differ = |input| differs(self.graph, &record, input, self.workspace).is_some();
        (self.instead_of.is_none() || record.seal != self.instead_of)
            && !self.graph[self.step].input_ids().any(differ)
    }

    /// An error if an input step is not finished.
    fn check_inputs(&self) -> Result<(), StepError> {
        let currencies = Currencies::new(self.graph, self.workspace);
        for input in self.graph[self.step].input_ids() {
            let node = &self.graph[input];
            let problem = match self.workspace.record(node.kind, &node.key) {
                Ok(_) => continue,
                Err(FileError::Damaged { problem, .. }) => problem,
                Err(_) => match currencies.of(input) {
                    Currency::Absent => return Err(StepError::NotReady { step: node.name() }),
                    Currency::Damaged(problem) | Currency::Outdated(problem) => problem,
                    Currency::Current => continue,
                },
            };
            let dir = self.workspace.step_dir(node.kind, &node.key);
            return Err(StepError::Input { step: node.name(), problem, dir });
        }
        Ok(())
    }

    /// Its lock; none if another process finished the step.
    fn lock(&self, interrupt: &Interrupt) -> Result<Option<Lock>, StepError> {
        let key = &self.graph[self.step].key;
        let started = Instant::now();
        let mut pauses = super::elsewhere::Pauses::new(Duration::from_millis(20));
        loop {
            if let Some(lock) = self.workspace.try_lock(key)? {
                return Ok(Some(lock));
            }
            let until = Instant::now() + pauses.next(started.elapsed() / 10);
            while Instant::now() < until {
                interrupt.check()?;
                thread::sleep(Duration::from_millis(20));
            }
            if started.elapsed() > self.wait {
                return match self.is_done() {
                    true => Ok(None),
                    // The queue tries it again later.
                    false => Err(Interrupted.into()),
                };
            }
        }
    }
}

//! Whether a finished step is current.
//!
//! A step is current if its files are as recorded, and its input steps have the same content as when it ran. If a step is
//! rebuilt with other bytes (new responses of a language model, a repaired file), its dependent steps are rerun; if the
//! bytes are equal, they are not. A result stays current if an input was removed; the inputs of that input are then
//! checked instead.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use rayon::prelude::*;

use super::{Graph, Record, StepFiles, StepId, Workspace, values::Stamp};
use crate::base::hash::Digest;

/// The state of a step in the workspace.
#[derive(Clone, Debug, PartialEq)]
pub enum Currency {
    Absent,
    Current,
    /// A file differs from the record.
    Damaged(String),
    /// An input has other content than when the step ran.
    Outdated(String),
}

/// Steps that may be in a workspace.
pub trait Steps: Sync {
    /// Number of steps.
    fn count(&self) -> usize;
    /// Kind and key.
    fn place(&self, step: StepId) -> (&str, Digest);
    /// `fit als u1 seed 1`
    fn name(&self, step: StepId) -> String;
    /// Its input steps, each once.
    fn inputs(&self, step: StepId) -> Vec<StepId>;
    /// The files it must write.
    fn files(&self, step: StepId) -> Vec<&str>;
    /// Checks the files against the record, beyond their checksums.
    fn check(&self, step: StepId, files: &StepFiles) -> Result<(), String>;
}

impl Steps for Graph {
    fn count(&self) -> usize {
        self.len()
    }

    fn place(&self, step: StepId) -> (&str, Digest) {
        (self[step].kind, self[step].key)
    }

    fn name(&self, step: StepId) -> String {
        self[step].name()
    }

    fn inputs(&self, step: StepId) -> Vec<StepId> {
        self[step].input_ids().collect()
    }

    fn files(&self, step: StepId) -> Vec<&str> {
        self[step].any().files()
    }

    fn check(&self, step: StepId, files: &StepFiles) -> Result<(), String> {
        self[step].any().check(files)
    }
}

/// States of steps; each step is checked once.
pub struct Currencies<'a> {
    steps: &'a dyn Steps,
    workspace: &'a Workspace,
    /// States of the steps without their inputs.
    own: Vec<OnceLock<Result<Arc<Record>, Currency>>>,
    known: RefCell<Vec<Option<Currency>>>,
}

impl<'a> Currencies<'a> {
    /// No step is checked yet.
    pub fn new(steps: &'a dyn Steps, workspace: &'a Workspace) -> Self {
        let n = steps.count();
        let own = (0..n).map(|_| OnceLock::new()).collect();
        Self { steps, workspace, own, known: RefCell::new(vec![None; n]) }
    }

    /// The state of a step in the workspace.
    pub fn of(&self, step: StepId) -> Currency {
        if let Some(known) = &self.known.borrow()[step.at()] {
            return known.clone();
        }
        let found = self.check(step);
        self.known.borrow_mut()[step.at()] = Some(found.clone());
        found
    }

    /// The states checked so far, by step.
    pub fn states(&self) -> Vec<Option<Currency>> {
        self.known.borrow().clone()
    }

    /// Reads and hashes the files of several steps, and of those that they were made from, in parallel.
    pub fn verify(&self, steps: &[StepId]) {
        // Level by level: steps that wait for each other would block.
        let mut level = steps.to_vec();
        while !level.is_empty() {
            let (own, all, workspace) = (&self.own, self.steps, self.workspace);
            level.par_iter().for_each(|step| {
                own[step.at()].get_or_init(|| self::own(all, *step, workspace).map(Arc::new));
            });
            let is_complete = |step: &&StepId| matches!(own[step.at()].get(), Some(Ok(_)));
            let inputs = level.iter().filter(is_complete).flat_map(|step| all.inputs(*step));
            let inputs: BTreeSet<StepId> =
                inputs.filter(|input| own[input.at()].get().is_none()).collect();
            level = inputs.into_iter().collect();
        }
    }

    /// The record of a step that was found to be complete.
    pub fn record(&self, step: StepId) -> Option<Arc<Record>> {
        self.own[step.at()].get()?.as_ref().ok().cloned()
    }

    fn check(&self, step: StepId) -> Currency {
        let own =
            self.own[step.at()].get_or_init(|| own(self.steps, step, self.workspace).map(Arc::new));
        let record = match own {
            Ok(record) => record,
            Err(state) => return state.clone(),
        };
        match self.why_outdated(record, step) {
            Some(why) => Currency::Outdated(why),
            None => Currency::Current,
        }
    }

    /// Why `record` does not match the current content of the inputs of `step`, if so. If an input is missing or
    /// damaged, its own inputs are checked.
    fn why_outdated(&self, record: &Record, step: StepId) -> Option<String> {
        self.steps.inputs(step).into_iter().find_map(|input| {
            let state = self.of(input);
            if let Currency::Outdated(why) = state {
                return Some(why);
            }
            let known = self.record(input);
            let found = match &known {
                Some(input_record) => differs_from(self.steps, record, input, input_record),
                None => differs(self.steps, record, input, self.workspace),
            };
            found.or_else(|| match state {
                Currency::Current => None,
                _ => self.why_outdated(record, input),
            })
        })
    }
}

/// The state of a step without its inputs, and its record if it is complete.
pub(super) fn own(
    steps: &dyn Steps,
    step: StepId,
    workspace: &Workspace,
) -> Result<Record, Currency> {
    let (kind, key) = steps.place(step);
    let dir = workspace.step_dir(kind, &key);
    let stamp = Stamp::of(&dir);
    let record = match workspace.verified(kind, &key, &steps.files(step)) {
        Some(Ok(record)) => record,
        Some(Err(error)) => return Err(Currency::Damaged(error.to_string())),
        None => return Err(Currency::Absent),
    };
    let files = StepFiles { dir: &dir, record: &record, values: workspace.values(), stamp };
    steps.check(step, &files).map_err(Currency::Damaged)?;
    Ok(record)
}

/// Why a step does not match the current content of an input, if so.
pub(super) fn differs(
    steps: &dyn Steps,
    record: &Record,
    input: StepId,
    workspace: &Workspace,
) -> Option<String> {
    let (kind, key) = steps.place(input);
    record.made_from(key)?;
    // A missing or unreadable input does not make the result outdated.
    let now = workspace.record(kind, &key).ok()?;
    differs_from(steps, record, input, &now)
}

/// The same for the record that an input has now.
fn differs_from(steps: &dyn Steps, record: &Record, input: StepId, now: &Record) -> Option<String> {
    let made_from = record.made_from(steps.place(input).1)?;
    let why = || format!("{} has been rebuilt with other content", steps.name(input));
    (now.content() != made_from).then(why)
}

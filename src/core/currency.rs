//! Whether a finished step is still what its inputs give.
//!
//! A step is current if its own files are as recorded, and the steps it was made from hold what they held
//! then. So a step that is rebuilt with other bytes (new responses of a language model, a repaired file)
//! makes those that read it run again, and equal bytes stop there. Inputs that were removed since say
//! nothing against a result; what they had been made from still does.

use std::{cell::RefCell, path::Path, sync::OnceLock};

use rayon::prelude::*;

use super::{Graph, Record, StepId, StepState, Workspace};
use crate::base::hash::Digest;

/// What is there of a step.
#[derive(Clone, Debug, PartialEq)]
pub enum Currency {
    Absent,
    Current,
    /// It is there, but a file is not what the record says.
    Damaged(String),
    /// It was made from something else than what is there now.
    Outdated(String),
}

/// Steps that may lie in a workspace.
pub trait Steps: Sync {
    /// How many there are.
    fn count(&self) -> usize;
    /// Kind and key.
    fn place(&self, step: StepId) -> (&str, Digest);
    /// `fit als u1 seed 1`
    fn name(&self, step: StepId) -> String;
    /// The steps it reads, each once.
    fn inputs(&self, step: StepId) -> Vec<StepId>;
    /// The files it must leave.
    fn files(&self, step: StepId) -> Vec<&str>;
    /// Whether what lies in `dir` is what its record says, beyond the checksums of its files.
    fn check(&self, step: StepId, dir: &Path, record: &Record) -> Result<(), String>;
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

    fn check(&self, step: StepId, dir: &Path, record: &Record) -> Result<(), String> {
        self[step].any().check(dir, record)
    }
}

/// What is there of steps; each is looked at once.
pub struct Currencies<'a> {
    steps: &'a dyn Steps,
    workspace: &'a Workspace,
    /// What is there of the steps by themselves.
    own: Vec<OnceLock<Result<Record, Currency>>>,
    known: RefCell<Vec<Option<Currency>>>,
}

impl<'a> Currencies<'a> {
    /// Nothing is looked at yet.
    pub fn new(steps: &'a dyn Steps, workspace: &'a Workspace) -> Self {
        let n = steps.count();
        let own = (0..n).map(|_| OnceLock::new()).collect();
        Self { steps, workspace, own, known: RefCell::new(vec![None; n]) }
    }

    /// What is there of a step.
    pub fn of(&self, step: StepId) -> Currency {
        if let Some(known) = &self.known.borrow()[step.at()] {
            return known.clone();
        }
        let found = self.look(step);
        self.known.borrow_mut()[step.at()] = Some(found.clone());
        found
    }

    /// Reads and hashes the files of many steps at a time.
    pub fn look_at(&self, steps: &[StepId]) {
        // By themselves: steps that wait for others could wait for each other.
        let (own, all, workspace) = (&self.own, self.steps, self.workspace);
        steps.par_iter().for_each(|step| {
            own[step.at()].get_or_init(|| self::own(all, *step, workspace));
        });
    }

    fn look(&self, step: StepId) -> Currency {
        let own = self.own[step.at()].get_or_init(|| own(self.steps, step, self.workspace));
        let record = match own {
            Ok(record) => record,
            Err(state) => return state.clone(),
        };
        match self.why_outdated(record, step) {
            Some(why) => Currency::Outdated(why),
            None => Currency::Current,
        }
    }

    /// Why `record` is not of what the inputs of `step` hold now, if so. Where an input is gone, or damaged, its
    /// own inputs are asked.
    fn why_outdated(&self, record: &Record, step: StepId) -> Option<String> {
        self.steps.inputs(step).into_iter().find_map(|input| {
            let state = self.of(input);
            if let Currency::Outdated(why) = state {
                return Some(why);
            }
            differs(self.steps, record, input, self.workspace).or_else(|| match state {
                Currency::Current => None,
                _ => self.why_outdated(record, input),
            })
        })
    }
}

/// What is there of a step, whatever became of those it reads; its record where it is whole.
pub(super) fn own(
    steps: &dyn Steps,
    step: StepId,
    workspace: &Workspace,
) -> Result<Record, Currency> {
    let (kind, key) = steps.place(step);
    match workspace.verify(kind, &key, &steps.files(step)) {
        StepState::Absent => return Err(Currency::Absent),
        StepState::Damaged(problem) => return Err(Currency::Damaged(problem)),
        StepState::Done => {}
    }
    let record =
        workspace.record(kind, &key).map_err(|error| Currency::Damaged(error.to_string()))?;
    let dir = workspace.step_dir(kind, &key);
    steps.check(step, &dir, &record).map_err(Currency::Damaged)?;
    Ok(record)
}

/// Why a step was not made from what an input holds now, if so.
pub(super) fn differs(
    steps: &dyn Steps,
    record: &Record,
    input: StepId,
    workspace: &Workspace,
) -> Option<String> {
    let (kind, key) = steps.place(input);
    let made_from = record.made_from(key)?;
    // An input that is gone or cannot be read says nothing against the result.
    let now = workspace.record(kind, &key).ok()?;
    let why = || format!("{} has been rebuilt with other content", steps.name(input));
    (now.content() != made_from).then(why)
}

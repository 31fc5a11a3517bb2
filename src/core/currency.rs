//! Whether a finished step is still what its inputs give.
//!
//! A step is current if its own files are as recorded, and the steps it was made from hold what they held
//! then. So a step that is rebuilt with other bytes (new responses of a language model, a repaired file)
//! makes those that read it run again, and equal bytes stop there. Inputs that were removed since say
//! nothing against a result.

use std::{cell::RefCell, path::Path};

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
pub trait Steps {
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
    known: RefCell<Vec<Option<Currency>>>,
}

impl<'a> Currencies<'a> {
    /// Nothing is looked at yet.
    pub fn new(steps: &'a dyn Steps, workspace: &'a Workspace) -> Self {
        Self { steps, workspace, known: RefCell::new(vec![None; steps.count()]) }
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

    fn look(&self, step: StepId) -> Currency {
        let record = match own(self.steps, step, self.workspace) {
            Ok(record) => record,
            Err(state) => return state,
        };
        for input in self.steps.inputs(step) {
            if let Currency::Outdated(why) = self.of(input) {
                return Currency::Outdated(why);
            }
            if let Some(why) = differs(self.steps, &record, input, self.workspace) {
                return Currency::Outdated(why);
            }
        }
        Currency::Current
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
    let made_from = record.inputs.iter().find(|of| of.key == key)?;
    // An input that is gone or cannot be read says nothing against the result.
    let now = workspace.record(kind, &key).ok()?;
    let why = || format!("{} was rebuilt with other content since", steps.name(input));
    (now.content() != made_from.content).then(why)
}

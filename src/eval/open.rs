//! The one place where the test part of a fold is opened.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{EvalError, ScoreSpec, Scores, ScoringPermit, Source, score, score::Labels};
use crate::{
    data::{DataError, Fold, Interactions, Relevance, TestPart, TrainingPart},
    interrupt::Interrupt,
};

/// The record of an opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    pub by: String,
    /// Interactions read.
    pub interactions: usize,
}

/// A fold whose test part lies open, behind these methods alone: to be scored against, and to be
/// handed to those who score elsewhere.
pub struct OpenFold {
    pub training: TrainingPart,
    /// Training and validation part: what a recommendation must not repeat.
    pub seen: Interactions,
    test: Interactions,
}

impl OpenFold {
    /// Opens a fold that was just made.
    pub fn of(fold: Fold) -> Self {
        let test = fold.test(&ScoringPermit::issue()).clone();
        let Fold { users, items, train, validation, .. } = fold;
        Self::new(TrainingPart { users, items, train, validation }, test)
    }

    /// Opens the fold in `dir`.
    pub fn read(dir: &Path) -> Result<Self, DataError> {
        let test = TestPart::at(dir).open(&ScoringPermit::issue())?;
        Ok(Self::new(TrainingPart::read(dir)?, test))
    }

    /// A split that lies open anyway, in somebody's files.
    pub fn new(training: TrainingPart, test: Interactions) -> Self {
        let seen = training.seen();
        Self { training, seen, test }
    }

    /// Scores `source` against the test part.
    pub fn score(
        &self,
        spec: &ScoreSpec,
        relevant: Relevance,
        source: &Source,
        interrupt: &Interrupt,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Scores, EvalError> {
        let (train, seen, test) = (&self.training.train, &self.seen, &self.test);
        score(spec, &Labels { train, seen, test, relevant }, source, interrupt, progress)
    }

    /// Hands the test part to `write`, and says that it was opened.
    pub fn hand_out<T>(&self, by: &str, write: impl FnOnce(&Interactions) -> T) -> (T, Opening) {
        (write(&self.test), self.opening(by))
    }

    fn opening(&self, by: &str) -> Opening {
        Opening { by: by.into(), interactions: self.test.len() }
    }
}

/// Scores `source` against the test part of the fold in `dir`, and says that it was opened.
pub fn score_fold(
    spec: &ScoreSpec,
    dir: &Path,
    training: &TrainingPart,
    relevant: Relevance,
    source: &Source,
    interrupt: &Interrupt,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Scores, Opening), EvalError> {
    let test = TestPart::at(dir).open(&ScoringPermit::issue())?;
    let fold = OpenFold::new(training.clone(), test);
    let scores = fold.score(spec, relevant, source, interrupt, progress)?;
    Ok((scores, fold.opening("score")))
}

/// Which items each user will like, for the one judge that is allowed to know: the ceiling of a
/// reranking. Says that the test part was opened.
pub fn open_for_oracle(
    dir: &Path,
    relevant: Relevance,
) -> Result<(Interactions, Opening), DataError> {
    let test = TestPart::at(dir).open(&ScoringPermit::issue())?;
    let opening = Opening { by: "oracle".into(), interactions: test.len() };
    Ok((test.filter(|row| relevant.accepts(row.rating)), opening))
}

//! The one place where the test part of a fold is opened.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{EvalError, ScoreSpec, Scores, ScoringPermit, Source, score, score::Labels};
use crate::{
    data::{Relevance, TestPart, TrainingPart},
    interrupt::Interrupt,
};

/// The record of an opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    pub by: String,
    /// Interactions read.
    pub interactions: usize,
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
    let seen = training.seen();
    let labels = Labels { train: &training.train, seen: &seen, test: &test, relevant };
    let scores = score(spec, &labels, source, interrupt, progress)?;
    Ok((scores, Opening { by: "score".into(), interactions: test.len() }))
}

//! What is there of a step in a workspace.

use serde::Deserialize;

use super::{Step, StepKind};
use crate::{
    base::arrays,
    core::{StepState, Workspace},
    data::check_fold,
    ranking::{ScoreSpec, scores},
    tasks::top_n::{external, rerank::explain, search},
    text,
};

impl Step {
    /// The files it must have left.
    fn files(&self) -> Vec<&'static str> {
        match self.kind {
            StepKind::Split => crate::data::FOLD_FILES.to_vec(),
            StepKind::Profiles => vec![text::PROFILES],
            StepKind::Embeddings => vec![arrays::FILE],
            StepKind::Search => vec![search::TRIALS],
            StepKind::Fit => match self.material["model"]["model"].as_str() {
                // It is its seed.
                Some("random") => vec![],
                Some("external") => vec![external::FILE],
                // And those of the model that was chosen.
                Some("search") => vec![search::TRIALS],
                _ => vec![arrays::FILE],
            },
            StepKind::Rerank => vec![external::FILE],
            StepKind::Explain => vec![explain::FILE],
            StepKind::Score => {
                vec![scores::SUMMARY, scores::USERS, scores::RANKINGS]
            }
        }
    }

    /// What is there of it, and whether that can be believed: its record and its files; of a fold, its
    /// rows against the hash taken when it was made; of scores, their means against the users' values.
    pub fn state(&self, workspace: &Workspace) -> StepState {
        let kind = self.kind.name();
        let state = workspace.verify(kind, &self.key, &self.files());
        if state != StepState::Done {
            return state;
        }
        let dir = workspace.step_dir(kind, &self.key);
        let checked = match self.kind {
            StepKind::Split => {
                workspace.record(kind, &self.key).map_err(|e| e.to_string()).and_then(|record| {
                    check_fold(&dir, &record.facts).map_err(|error| error.to_string())
                })
            }
            StepKind::Score => ScoreSpec::deserialize(&self.material["evaluate"])
                .map_err(|error| error.to_string())
                .and_then(|spec| {
                    scores::check_summary(&dir, &spec).map_err(|error| error.to_string())
                }),
            _ => Ok(()),
        };
        match checked {
            Ok(()) => StepState::Done,
            Err(problem) => StepState::Damaged(problem),
        }
    }
}

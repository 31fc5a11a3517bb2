//! The steps and trials of an experiment.

use serde::{Deserialize, Serialize};

use super::Experiment;
use crate::{
    base::{file_names::file_names, hash::Digest},
    core::{Graph, Handle, Step, StepId, TrialName},
    data::{DataDirs, DataError},
    ranking::PredictSpec,
};

/// One system on one fold with one seed.
#[derive(Clone, Debug)]
pub struct Trial {
    pub variant: usize,
    pub system: usize,
    /// The system's name with the label of its variant.
    pub name: String,
    pub fold: String,
    pub seed: u64,
    pub split: StepId,
    /// The fitted model; the base of a reranker.
    pub fit: Option<StepId>,
    pub predictions: StepId,
    /// How candidates were scored; none for lists.
    pub from_scores: Option<PredictSpec>,
    /// The step that explains its lists, if any.
    pub explain: Option<StepId>,
    pub evaluate: StepId,
    /// Whether it is of a control that assay added: without it, a run goes on.
    pub is_added: bool,
}

/// The place of a trial in its experiment, from which it can be planned without the others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialAt {
    pub variant: usize,
    pub system: usize,
    pub fold: String,
    pub seed: u64,
}

impl Trial {
    /// Its place.
    pub fn at(&self) -> TrialAt {
        let Self { variant, system, seed, .. } = *self;
        TrialAt { variant, system, fold: self.fold.clone(), seed }
    }

    /// `als u1 seed 1`
    pub fn label(&self) -> String {
        format!("{} {} seed {}", self.name, self.fold, self.seed)
    }

    /// Its final steps.
    pub fn ends(&self) -> impl Iterator<Item = StepId> {
        [Some(self.evaluate), self.explain].into_iter().flatten()
    }
}

/// The steps of an experiment.
#[derive(Clone, Default)]
pub struct Plan {
    pub graph: Graph,
    pub trials: Vec<Trial>,
    /// Digest of the data's source files, by variant.
    pub data: Vec<Digest>,
    /// By step, the variant it was first planned for.
    variants: Vec<usize>,
}

impl Plan {
    /// Plans an experiment. Reads the data files only to hash them.
    pub fn new(experiment: &Experiment, dirs: &DataDirs) -> Result<Self, DataError> {
        experiment.task.plan(dirs, None)
    }

    /// Plans one trial. Its steps have the same keys as in the plan of the whole experiment; those that the trial is the
    /// first to need have the same labels, too.
    pub fn of_trial(
        experiment: &Experiment,
        dirs: &DataDirs,
        at: &TrialAt,
    ) -> Result<Self, DataError> {
        experiment.task.plan(dirs, Some(at))
    }

    /// Adds a step of a variant, unless there is one with the same key.
    pub fn add<S: Step>(&mut self, variant: usize, step: S) -> Handle<S::Output> {
        let handle = self.graph.add(step);
        self.variants.resize(self.graph.len(), variant);
        handle
    }

    /// Adds a trial, and records it at all steps that it needs.
    pub fn add_trial(&mut self, trial: Trial) {
        let at = self.trials.len();
        let mut next: Vec<StepId> = trial.ends().collect();
        while let Some(step) = next.pop() {
            if self.graph[step].trials.last() != Some(&at) {
                self.graph.note_trial(step, at);
                next.extend(self.graph[step].input_ids());
            }
        }
        self.trials.push(trial);
    }

    /// The final steps of all trials.
    pub fn ends(&self) -> Vec<StepId> {
        self.trials.iter().flat_map(Trial::ends).collect()
    }

    /// Names of the trials, for logs and messages: `als u1 seed 1` and `als--u1--seed1`, which no other trial
    /// of the plan has.
    pub fn trial_names(&self) -> Vec<TrialName> {
        let plain: Vec<String> = self
            .trials
            .iter()
            .map(|trial| format!("{}--{}--seed{}", trial.name, trial.fold, trial.seed))
            .collect();
        let files = file_names(&plain);
        let each = self.trials.iter().zip(files);
        each.map(|(trial, file_name)| TrialName { name: trial.label(), file_name }).collect()
    }

    /// The variant that a step was first planned for.
    pub fn variant_of(&self, step: StepId) -> usize {
        self.variants[step.at()]
    }
}

//! The experiment under audit: its record, results, folds and predictions, each read once.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::{Arc, Mutex, OnceLock},
};

use super::{Outcome, Runs, language_models::Responses};
use crate::{
    analysis::{Collected, Request, Units, later_columns},
    core::{Record, StepStats, Workspace},
    ranking::{OpenFold, Predictions},
    tasks::{ExperimentRecord, SystemRecord, TrialRecord},
};

/// Why checks of folds cannot be made of a bundle without data.
const NO_FOLDS: &str = "the bundle has no folds: `assay bundle --with-data` puts them in";

/// Values that are read when they are first needed, once for all checks.
pub(super) struct Cache<K, V>(Mutex<HashMap<K, Slot<V>>>);

type Slot<V> = Arc<OnceLock<Result<Arc<V>, String>>>;

impl<K: Eq + Hash, V> Cache<K, V> {
    pub(super) fn new() -> Self {
        Self(Mutex::new(HashMap::new()))
    }

    pub(super) fn get(
        &self,
        key: K,
        read: impl FnOnce() -> Result<V, String>,
    ) -> Result<Arc<V>, String> {
        let slot = {
            let mut slots = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
            slots.entry(key).or_default().clone()
        };
        slot.get_or_init(|| read().map(Arc::new)).clone()
    }
}

/// The experiment under audit.
pub struct Subject<'a> {
    pub experiment: &'a ExperimentRecord,
    pub workspace: &'a Workspace,
    /// Results of the finished trials.
    pub collected: &'a Collected,
    /// Trials with a current result.
    pub done: Vec<&'a TrialRecord>,
    folds: Cache<usize, OpenFold>,
    runs: OnceLock<Result<Runs, String>>,
    /// By variant and system.
    pub(super) units: Cache<(usize, String), Units>,
    pub(super) responses: Responses,
}

impl<'a> Subject<'a> {
    /// What is collected for it.
    pub fn request(experiment: &ExperimentRecord) -> Request {
        Request::default().and_later(later_columns(experiment, &[]))
    }

    /// Of results that were collected with at least [`Subject::request`].
    pub fn new(
        experiment: &'a ExperimentRecord,
        workspace: &'a Workspace,
        collected: &'a Collected,
    ) -> Self {
        let rows = collected.rows.iter();
        let found: HashSet<(&str, &str, &str)> =
            rows.map(|row| (row.system.as_str(), row.fold.as_str(), row.seed.as_str())).collect();
        let is_done = |trial: &&TrialRecord| {
            let seed = trial.seed.to_string();
            found.contains(&(trial.name.as_str(), trial.fold.as_str(), seed.as_str()))
        };
        let done = experiment.trials.iter().filter(is_done).collect();
        Self {
            experiment,
            workspace,
            collected,
            done,
            folds: Cache::new(),
            runs: OnceLock::new(),
            units: Cache::new(),
            responses: Responses::new(),
        }
    }

    /// The system of a trial.
    pub fn system(&self, trial: &TrialRecord) -> &'a SystemRecord {
        self.experiment.system(trial)
    }

    /// Finished trials of each system, in the order of the experiment file.
    pub fn systems(&self) -> Vec<Vec<&'a TrialRecord>> {
        crate::analysis::trials_by_system(&self.done)
    }

    /// Whether the experiment says that a system is proposed; none if it names none.
    pub fn is_proposed(&self, name: &str) -> Option<bool> {
        let proposed = &self.experiment.audit.proposed;
        let is_named = proposed.iter().any(|of| crate::tasks::names_system(of, name));
        (!proposed.is_empty()).then_some(is_named)
    }

    /// The record of a finished step.
    pub fn record(&self, step: usize) -> Result<Record, String> {
        self.experiment.record(self.workspace, step).map_err(|error| error.to_string())
    }

    /// What a check gives that is about another task than the experiment's.
    pub fn of_another_task(&self, task: &str) -> Option<Outcome> {
        let is_other = self.experiment.task != task;
        is_other.then(|| Outcome::NotApplicable(format!("it is about the task `{task}`")))
    }

    /// Whether a step is finished.
    pub fn has_run(&self, step: usize) -> bool {
        let of = &self.experiment.steps[step];
        self.workspace.exists(&of.kind, &of.key)
    }

    /// Statistics of a finished step.
    pub fn stats<S: StepStats>(&self, step: usize) -> Result<S, String> {
        let of = &self.experiment.steps[step];
        let stats = self.record(step)?.stats();
        stats.map_err(|problem| format!("{} {}: {problem}", of.kind, of.label))
    }

    /// The fold of a split step, with its test part.
    pub fn fold(&self, split: usize) -> Result<Arc<OpenFold>, String> {
        self.folds.get(split, || {
            let of = &self.experiment.steps[split];
            if self.workspace.is_omitted(&of.kind, &of.key) {
                return Err(NO_FOLDS.into());
            }
            let dir = self.experiment.dir(self.workspace, split);
            OpenFold::read(&dir).map_err(|error| error.to_string())
        })
    }

    /// Folds and lists of all finished trials, read once.
    pub fn runs(&self) -> Result<&Runs, String> {
        self.runs.get_or_init(|| Runs::of_experiment(self)).as_ref().map_err(String::clone)
    }

    /// A step and everything that it was made from, in the order of steps.
    pub fn ancestors(&self, step: usize) -> Vec<usize> {
        self.closure([step])
    }

    /// All steps of the finished trials, in the order of steps.
    pub fn steps_done(&self) -> Vec<usize> {
        self.closure(
            self.done.iter().flat_map(|trial| [Some(trial.evaluate), trial.explain]).flatten(),
        )
    }

    fn closure(&self, steps: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let mut open: Vec<usize> = steps.into_iter().collect();
        let mut found = BTreeSet::new();
        while let Some(step) = open.pop() {
            if found.insert(step) {
                open.extend(&self.experiment.steps[step].inputs);
            }
        }
        found.into_iter().collect()
    }

    /// What a trial predicts, for all users of its fold.
    pub fn predictions(&self, trial: &TrialRecord) -> Result<Predictions, String> {
        let n_items = self.fold(trial.split)?.training.items.len();
        let dir = self.experiment.dir(self.workspace, trial.predictions);
        Predictions::read(&dir, trial.from_scores, n_items).map_err(|error| error.to_string())
    }
}

//! Events of a run. A [`Reporter`] shows them, e.g. in a terminal or as a JSON stream.

use serde::Serialize;

/// An event.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    RunStarted {
        experiment: String,
        run: String,
        steps: usize,
        to_do: usize,
        trials: usize,
    },
    /// A step of an earlier run is damaged and is rebuilt.
    StepDamaged {
        kind: &'static str,
        step: String,
        key: String,
        problem: String,
    },
    /// A finished step is outdated and is rerun.
    StepOutdated {
        kind: &'static str,
        step: String,
        key: String,
        why: String,
    },
    StepStarted {
        kind: &'static str,
        step: String,
        key: String,
        threads: usize,
    },
    /// Another process runs the step.
    StepElsewhere {
        kind: &'static str,
        step: String,
        key: String,
    },
    Progress {
        kind: &'static str,
        step: String,
        key: String,
        done: u64,
        of: u64,
    },
    /// Requests to language models and their cost so far.
    Spent {
        #[serde(flatten)]
        spent: crate::llm::Spent,
    },
    /// A warning, e.g. about the journal of responses.
    Warning {
        text: String,
    },
    StepFinished {
        kind: &'static str,
        step: String,
        key: String,
        seconds: f64,
        done: usize,
        to_do: usize,
        #[serde(flatten)]
        trials: TrialsDone,
    },
    /// Another process finished the step.
    StepTakenOver {
        kind: &'static str,
        step: String,
        key: String,
        done: usize,
        to_do: usize,
        #[serde(flatten)]
        trials: TrialsDone,
    },
    StepFailed {
        kind: &'static str,
        step: String,
        key: String,
        cause: String,
        trials: Vec<String>,
    },
    RunFinished {
        run: String,
        seconds: f64,
        failed_trials: usize,
        interrupted: bool,
    },
}

/// Finished trials.
#[derive(Clone, Debug, Default, Serialize)]
pub struct TrialsDone {
    /// Trials whose last step this was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub finished_trials: Vec<String>,
    pub trials_done: usize,
    /// Trials with steps to run.
    pub trials_to_do: usize,
}

/// Shows or stores events. Called from several threads.
pub trait Reporter: Sync {
    /// Handles an event.
    fn report(&self, event: &Event);
}

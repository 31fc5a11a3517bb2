//! What an experiment is, as far as its results need it: kept in the workspace, so that results, tables and
//! reports need neither the data nor a plan.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Experiment, Plan, PublishedTable, top_n::steps::check_split};
use crate::{
    base::{
        files::{FileError, read_json, write_json},
        hash::Digest,
    },
    core::{Record, StepId, Steps, Workspace},
    data::{DataDirs, DataError, Relevance},
    ranking::{Convention, Fallback, Fingerprint, PredictSpec, Protocol, ScoreSpec, Slice, scores},
};

/// Raised when a field changes its meaning.
const VERSION: u32 = 1;

/// An experiment with its trials and steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExperimentRecord {
    pub version: u32,
    pub name: String,
    pub task: String,
    pub describe: String,
    /// The experiment file.
    pub path: String,
    /// All files it is made of, path and text.
    pub sources: Vec<(String, String)>,
    pub variants: Vec<VariantRecord>,
    pub trials: Vec<TrialRecord>,
    pub steps: Vec<StepRecord>,
    /// Published tables that the results are compared with.
    pub published: Vec<PublishedTable>,
}

/// One combination of the levels swept outside `systems`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VariantRecord {
    /// `[seed=1]`; empty where there is one variant.
    pub label: String,
    /// The data set's name, and the digest of its files.
    pub data: String,
    pub data_digest: Digest,
    /// The rule, and in words with who says so.
    pub relevant: Relevance,
    pub relevant_described: String,
    pub split: serde_json::Value,
    /// Digest of the splits of all folds that are run.
    pub split_digest: Digest,
    /// All folds of the scheme, whether they are run or not.
    pub all_folds: Vec<String>,
    pub seeds: Vec<u64>,
    pub evaluate: ScoreSpec,
    pub systems: Vec<SystemRecord>,
}

/// One row of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SystemRecord {
    pub name: String,
    pub describe: String,
    pub model: String,
    pub settings: serde_json::Value,
    pub is_seeded: bool,
    /// What of the training part it learns from, where that is not all by the experiment's rule.
    pub learns_from: Option<String>,
    /// An oracle, which knows the test part.
    pub knows_test: bool,
    /// What it reranks, and whose lists.
    pub reranks: Option<(String, Slice)>,
}

/// One system on one fold with one seed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TrialRecord {
    pub variant: usize,
    pub system: usize,
    /// The system's name with the label of its variant.
    pub name: String,
    pub fold: String,
    pub seed: u64,
    pub file_name: String,
    /// Indices of its steps.
    pub split: usize,
    pub fit: Option<usize>,
    pub predictions: usize,
    /// How they were made from scores; none where they are lists.
    pub from_scores: Option<PredictSpec>,
    pub explain: Option<usize>,
    pub evaluate: usize,
}

impl TrialRecord {
    /// `als u1 seed 1`
    pub fn label(&self) -> String {
        format!("{} {} seed {}", self.name, self.fold, self.seed)
    }
}

/// Where a step lies in the workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepRecord {
    pub kind: String,
    pub key: Digest,
    pub label: String,
    pub inputs: Vec<usize>,
    pub files: Vec<String>,
    /// Of steps that evaluate: the variant.
    pub variant: usize,
}

impl ExperimentRecord {
    /// That of an experiment that was planned.
    pub fn new(experiment: &Experiment, plan: &Plan, dirs: &DataDirs) -> Result<Self, DataError> {
        let steps = plan.graph.nodes().iter().map(|node| StepRecord {
            kind: node.kind.to_owned(),
            key: node.key,
            label: node.label.clone(),
            inputs: node.input_ids().map(StepId::at).collect(),
            files: Steps::files(&plan.graph, node.id).into_iter().map(str::to_owned).collect(),
            variant: plan.variant_of(node.id),
        });
        let trials = plan.trials.iter().zip(plan.trial_names());
        let trials = trials.map(|(trial, name)| TrialRecord {
            variant: trial.variant,
            system: trial.system,
            name: trial.name.clone(),
            fold: trial.fold.clone(),
            seed: trial.seed,
            file_name: name.file_name,
            split: trial.split.at(),
            fit: trial.fit.map(StepId::at),
            predictions: trial.predictions.at(),
            from_scores: trial.from_scores,
            explain: trial.explain.map(StepId::at),
            evaluate: trial.evaluate.at(),
        });
        Ok(Self {
            version: VERSION,
            name: experiment.name.clone(),
            task: experiment.task.def().name.to_owned(),
            describe: experiment.describe.clone(),
            path: experiment.path.display().to_string(),
            sources: experiment.source_texts(),
            variants: experiment.task.records(plan, dirs)?,
            trials: trials.collect(),
            steps: steps.collect(),
            published: experiment.published.clone(),
        })
    }

    /// Keeps it in the workspace as that of the last run of the experiment.
    pub fn write(&self, workspace: &Workspace) -> Result<(), FileError> {
        write_json(&workspace.path(&["experiments", &self.name, "experiment.json"]), self)
    }

    /// That of the last run of an experiment.
    pub fn read(workspace: &Workspace, name: &str) -> Result<Self, FileError> {
        let path = workspace.path(&["experiments", name, "experiment.json"]);
        let record: Self = read_json(&path)?;
        match record.version {
            VERSION => Ok(record),
            version => Err(FileError::Damaged {
                path,
                problem: format!("it has version {version}; this program reads version {VERSION}"),
            }),
        }
    }

    /// The system of a trial.
    pub fn system(&self, trial: &TrialRecord) -> &SystemRecord {
        &self.variants[trial.variant].systems[trial.system]
    }

    /// The directory of a step.
    pub fn dir(&self, workspace: &Workspace, step: usize) -> std::path::PathBuf {
        let step = &self.steps[step];
        workspace.step_dir(&step.kind, &step.key)
    }

    /// The record of a finished step.
    pub fn record(&self, workspace: &Workspace, step: usize) -> Result<Record, FileError> {
        let step = &self.steps[step];
        workspace.record(&step.kind, &step.key)
    }

    /// What a number of this experiment rests on.
    pub fn fingerprint(
        &self,
        variant: usize,
        (protocol, convention): (Protocol, Convention),
        k: usize,
    ) -> Fingerprint {
        let of = &self.variants[variant];
        let sampled = of.evaluate.sampled;
        Fingerprint {
            data: of.data_digest.to_string(),
            split: of.split_digest.to_string(),
            relevant: of.relevant.to_string(),
            protocol,
            protocol_settings: match protocol {
                Protocol::Sampled => {
                    format!("{} negatives, seed {}", sampled.negatives, sampled.seed)
                }
                _ => String::new(),
            },
            convention,
            ties: of.evaluate.ties.rule(),
            fallback: (of.evaluate.fallback != Fallback::default())
                .then(|| of.evaluate.fallback.to_string()),
            k,
            users: convention.users_rule().into(),
        }
    }
}

impl Steps for ExperimentRecord {
    fn count(&self) -> usize {
        self.steps.len()
    }

    fn place(&self, step: StepId) -> (&str, Digest) {
        let step = &self.steps[step.at()];
        (&step.kind, step.key)
    }

    fn name(&self, step: StepId) -> String {
        let step = &self.steps[step.at()];
        format!("{} {}", step.kind, step.label)
    }

    fn inputs(&self, step: StepId) -> Vec<StepId> {
        self.steps[step.at()].inputs.iter().map(|input| StepId::new(*input)).collect()
    }

    fn files(&self, step: StepId) -> Vec<&str> {
        self.steps[step.at()].files.iter().map(String::as_str).collect()
    }

    fn check(&self, step: StepId, dir: &Path, record: &Record) -> Result<(), String> {
        let of = &self.steps[step.at()];
        match of.kind.as_str() {
            "split" => check_split(dir, record),
            "evaluate" => {
                let spec = &self.variants[of.variant].evaluate;
                scores::check_summary(dir, spec).map_err(|error| error.to_string())
            }
            _ => Ok(()),
        }
    }
}

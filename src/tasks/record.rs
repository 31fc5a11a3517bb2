//! The record of an experiment. It is stored in the workspace, so that results, tables and reports need neither the data
//! nor a plan.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};

use super::{
    AuditSpec, Experiment, Plan, PublishedTable, ReportSpec, TASKS, TaskDef,
    shared::{COMMAND, EXTERNAL},
};
use crate::{
    base::{
        files::{FileError, read_json, write_json},
        hash::Digest,
        terminal::shown,
    },
    core::{Columns, Mean, MeasureKey, Measurements, Record, StepFiles, StepId, Steps, Workspace},
    data::{DataDirs, DataError, FilterEffect},
    ranking::{PredictSpec, Slice},
};

/// Raise it if a field changes its meaning.
const VERSION: u32 = 1;

/// An experiment with its trials and steps.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ExperimentRecord {
    pub version: u32,
    pub name: String,
    /// The name of its directories; empty in records of earlier versions.
    #[serde(default)]
    pub slot: String,
    pub task: String,
    /// What replaced values of the file, `path=value`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub overrides: Vec<String>,
    pub describe: String,
    /// The experiment file.
    pub path: String,
    /// All files it consists of, path and text.
    pub sources: Vec<(String, String)>,
    pub variants: Vec<VariantRecord>,
    pub trials: Vec<TrialRecord>,
    pub steps: Vec<StepRecord>,
    /// Published tables that the results are compared with.
    pub published: Vec<PublishedTable>,
    /// Settings of `assay audit`.
    #[serde(default)]
    pub audit: AuditSpec,
    /// Tables and figures of its report.
    #[serde(default)]
    pub report: ReportSpec,
}

/// One combination of the levels swept outside `systems`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct VariantRecord {
    /// `[seed=1]`; empty if there is one variant.
    pub label: String,
    /// The data set's name, and the digest of its files.
    pub data: String,
    pub data_digest: Digest,
    pub rules: Rules,
    pub split: serde_json::Value,
    /// Digest of the splits of all folds that are run.
    pub split_digest: Digest,
    /// All folds of the scheme, whether they are run or not.
    pub all_folds: Vec<String>,
    pub seeds: Vec<u64>,
    /// The computed columns, in the order of the experiment file.
    pub evaluations: Vec<Evaluation>,
    pub metrics: Vec<String>,
    pub slices: Vec<String>,
    /// What else the task needs to read its steps.
    pub settings: serde_json::Value,
    pub systems: Vec<SystemRecord>,
}

/// Rules of the numbers, in words; empty if the task has no such rule.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Rules {
    /// The filters that are applied to the data, in turn.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub filter: String,
    /// Which interactions are relevant, and the source of the rule.
    pub relevant: String,
    pub ties: String,
    /// What users without history are recommended.
    pub fallback: String,
}

/// A protocol, convention and cutoff with their fingerprint. Numbers with different fingerprints are not comparable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    pub protocol: String,
    pub convention: String,
    pub k: usize,
    pub fingerprint: String,
}

impl VariantRecord {
    /// The fingerprint of a column; none if it was not computed.
    pub fn fingerprint(&self, key: &MeasureKey) -> Option<&str> {
        let is_of = |of: &&Evaluation| {
            (&of.protocol, &of.convention, of.k) == (&key.protocol, &key.convention, key.k)
        };
        self.evaluations.iter().find(is_of).map(|of| of.fingerprint.as_str())
    }
}

/// One row of a table.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SystemRecord {
    pub name: String,
    pub describe: String,
    pub model: String,
    pub settings: serde_json::Value,
    pub is_seeded: bool,
    /// Its training data, if they differ from the experiment's.
    pub learns_from: Option<String>,
    /// Whether it is an oracle, which uses the test part.
    pub knows_test: bool,
    /// Its base, and the users whose lists it reranks.
    pub reranks: Option<(String, Slice)>,
}

impl SystemRecord {
    /// Whether another training would give the same values, since nothing is drawn. It is not known of files and programs of
    /// others, nor of rerankers, whose judge may be a language model.
    pub fn is_fixed(&self) -> bool {
        let is_own = ![EXTERNAL, COMMAND].contains(&self.model.as_str());
        !self.is_seeded && is_own && self.reranks.is_none()
    }

    /// Its search, of a model or of a program: `spec`, `labels` and `candidates`. None if its settings are fixed.
    pub fn search(&self) -> Option<&serde_json::Value> {
        match self.settings["model"] == "search" {
            true => Some(&self.settings),
            false => self.settings.get("search").filter(|search| search.is_object()),
        }
    }
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
    /// How candidates were scored; none for lists.
    pub from_scores: Option<PredictSpec>,
    pub explain: Option<usize>,
    pub evaluate: usize,
    /// Whether it is of a control that assay added.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_added: bool,
}

impl TrialRecord {
    /// `als u1 seed 1`
    pub fn label(&self) -> String {
        format!("{} {} seed {}", self.name, self.fold, self.seed)
    }
}

/// A step in the workspace.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StepRecord {
    pub kind: String,
    pub key: Digest,
    pub label: String,
    pub inputs: Vec<usize>,
    pub files: Vec<String>,
    /// The variant, for evaluation steps.
    pub variant: usize,
}

impl ExperimentRecord {
    /// The record of a planned experiment.
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
            is_added: trial.is_added,
        });
        Ok(Self {
            version: VERSION,
            name: experiment.name.clone(),
            slot: experiment.name.clone(),
            task: experiment.task.def().name.to_owned(),
            overrides: experiment.overrides.clone(),
            describe: experiment.describe.clone(),
            path: experiment.path.display().to_string(),
            sources: experiment.source_texts(),
            variants: experiment.task.records(plan, dirs)?,
            trials: trials.collect(),
            steps: steps.collect(),
            published: experiment.published.clone(),
            audit: experiment.audit.clone(),
            report: experiment.report.clone(),
        })
    }

    /// Writes it to the workspace as the record of the last run.
    pub fn write(&self, workspace: &Workspace) -> Result<(), FileError> {
        write_json(&workspace.path(&["experiments", self.slot(), "experiment.json"]), self)
    }

    /// Writes it to the workspace as the record of a run: which steps its results are.
    pub fn write_of_run(&self, workspace: &Workspace, run: &str) -> Result<(), FileError> {
        write_json(&workspace.path(&["runs", run, "experiment.json"]), self)
    }

    /// The name of its directories.
    pub fn slot(&self) -> &str {
        if self.slot.is_empty() { &self.name } else { &self.slot }
    }

    /// The record of the last run of an experiment, by the name of its directories.
    pub fn read(workspace: &Workspace, name: &str) -> Result<Self, FileError> {
        Self::read_file(workspace.path(&["experiments", name, "experiment.json"]))
    }

    /// The record of a run that had results.
    pub fn read_of_run(workspace: &Workspace, run: &str) -> Result<Self, FileError> {
        Self::read_file(workspace.path(&["runs", run, "experiment.json"]))
    }

    fn read_file(path: std::path::PathBuf) -> Result<Self, FileError> {
        let record: Self = read_json(&path)?;
        match record.version {
            VERSION if record.find_task().is_none() => Err(FileError::Damaged {
                path,
                problem: format!(
                    "it is of the task `{}`, which this program does not have",
                    record.task
                ),
            }),
            // Both become parts of paths, and the workspace may be a stranger's.
            VERSION => match record.foreign_path() {
                Some(name) => Err(FileError::Damaged {
                    path,
                    problem: format!("`{}` is no name of a step or an experiment", shown(name)),
                }),
                None => Ok(record),
            },
            version => Err(FileError::Damaged {
                path,
                problem: format!("it has version {version}; this program reads version {VERSION}"),
            }),
        }
    }

    /// A kind of step, or the experiment's directory, that is no plain name.
    fn foreign_path(&self) -> Option<&str> {
        let is_kind = |kind: &str| kind.bytes().all(|of| of.is_ascii_lowercase() || of == b'-');
        let is_slot = |slot: &str| !slot.contains(['/', '\\']) && !["", ".", ".."].contains(&slot);
        let mut kinds = self.steps.iter().map(|step| step.kind.as_str());
        kinds.find(|kind| !is_kind(kind)).or(Some(&*self.slot).filter(|of| !is_slot(of)))
    }

    fn find_task(&self) -> Option<&'static TaskDef> {
        TASKS.iter().find(|task| task.name == self.task)
    }

    /// Its task.
    pub fn task(&self) -> &'static TaskDef {
        // invariant: both ways to make a record see to it
        self.find_task().unwrap_or(&TASKS[0])
    }

    /// The means of an evaluated trial.
    pub fn means(
        &self,
        workspace: &Workspace,
        trial: &TrialRecord,
    ) -> Result<Vec<Mean>, FileError> {
        (self.task().means)(&self.dir(workspace, trial.evaluate))
    }

    /// The values by unit of an evaluated trial in these columns, in the order in which they were evaluated. They are not read
    /// again if they were kept when the step was checked.
    pub fn measurements(
        &self,
        workspace: &Workspace,
        trial: &TrialRecord,
        columns: Columns,
    ) -> Result<Measurements, FileError> {
        let (dir, values) = (self.dir(workspace, trial.evaluate), workspace.values());
        if let Some(known) = values.get(&dir, columns) {
            return Ok(known);
        }
        values.note_read();
        let read = (self.task().measurements)(&dir, &self.variants[trial.variant], columns)?;
        Ok(read.in_columns(columns))
    }

    /// Keeps those of the values that were read of a trial that are needed again.
    pub fn keep_only(
        &self,
        workspace: &Workspace,
        trial: &TrialRecord,
        columns: &HashSet<MeasureKey>,
    ) {
        workspace.values().keep_only(&self.dir(workspace, trial.evaluate), columns);
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

    /// What each filter removed of the data of a fold; none where its record is gone.
    pub fn filters(&self, workspace: &Workspace, split: usize) -> Vec<FilterEffect> {
        let effects = self.record(workspace, split).ok().map(|mut of| of.stats["filters"].take());
        effects.and_then(|effects| serde_json::from_value(effects).ok()).unwrap_or_default()
    }

    /// Whether none of the responses behind a trial's lists could be used.
    pub fn lacks_responses(&self, workspace: &Workspace, trial: &TrialRecord) -> bool {
        if self.system(trial).reranks.is_none() {
            return false;
        }
        let Ok(record) = self.record(workspace, trial.predictions) else { return false };
        let judge = &record.stats["judge"];
        let count = |field: &str| judge[field].as_u64().unwrap_or(0);
        count("answers") > 0 && count("answers") == count("unusable_answers")
    }

    /// The record of a finished step.
    pub fn record(&self, workspace: &Workspace, step: usize) -> Result<Record, FileError> {
        let step = &self.steps[step];
        workspace.record(&step.kind, &step.key)
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

    fn check(&self, step: StepId, files: &StepFiles) -> Result<(), String> {
        let of = &self.steps[step.at()];
        (self.task().check)(&of.kind, files, &self.variants[of.variant])
    }
}

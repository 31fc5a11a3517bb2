//! What a task is, and the list of them.

use std::{fmt, path::Path, sync::Arc};

use super::{Plan, VariantRecord, top_n};
use crate::{
    base::{
        files::FileError,
        yaml::{Diagnostic, include::Renamed, node::Node},
    },
    core::{Mean, Measurements, MetricInfo, Record},
    data::{DataDirs, DataError},
    llm::{AnswersSpec, JudgeSpec, KeyUse},
};

/// Reads an experiment file, whose root before its sweeps comes first, from one node for each combination of
/// levels.
pub type Read = fn(&Node, Vec<(String, Node)>, &DataDirs) -> Result<Arc<dyn Task>, Diagnostic>;

/// A kind of prediction: a folder under `tasks/`, and one line in [`TASKS`].
pub struct TaskDef {
    /// What `task:` calls it.
    pub name: &'static str,
    /// Keys of the experiment file that are its own.
    pub keys: &'static [&'static str],
    /// Keys that have a new name.
    pub renamed: &'static [Renamed],
    /// Those of them whose sweeps are its own business: each level is a system of one experiment.
    pub swept_by_system: &'static [&'static str],
    /// Those of them that hold for a whole run.
    pub not_swept: &'static [&'static str],
    pub read: Read,
    /// The JSON Schema of its experiment files.
    pub schema: fn() -> serde_json::Value,
    /// Kinds of its steps, in the order in which a result comes about.
    pub kinds: &'static [&'static str],
    /// What it can measure.
    pub metrics: &'static [MetricInfo],
    /// Checks the files of a finished step of a kind, where there is more to check than checksums.
    pub check: fn(&str, &Path, &Record, &VariantRecord) -> Result<(), String>,
    /// Reads the means that a step left which evaluates.
    pub means: fn(&Path) -> Result<Vec<Mean>, FileError>,
    /// Reads the values by unit that such a step left.
    pub measurements: fn(&Path, &VariantRecord) -> Result<Measurements, FileError>,
}

/// All tasks; the first is that of files that name none.
pub const TASKS: &[TaskDef] = &[top_n::TASK];

/// The metric of a name. Metrics of several tasks that have one name are one metric.
pub fn metric(name: &str) -> Option<&'static MetricInfo> {
    TASKS.iter().flat_map(|task| task.metrics).find(|metric| metric.name == name)
}

/// An experiment as its task understands it.
pub trait Task: fmt::Debug + Send + Sync {
    /// Its line in the list.
    fn def(&self) -> &'static TaskDef;

    /// The graph of steps, and the trials that its ends are. Reads the data's files only to hash them.
    fn plan(&self, dirs: &DataDirs) -> Result<Plan, DataError>;

    /// What results need of each variant.
    fn records(&self, plan: &Plan, dirs: &DataDirs) -> Result<Vec<VariantRecord>, DataError>;

    /// Where responses of language models are taken from.
    fn responses(&self) -> AnswersSpec;

    /// The endpoints of a variant, by name.
    fn endpoints(&self, variant: usize) -> &[(String, JudgeSpec)];

    /// The keys that its steps send, and where they go.
    fn keys(&self) -> Vec<KeyUse>;

    /// Users and items of a variant's data.
    fn sizes(&self, variant: usize, dirs: &DataDirs) -> Result<(u64, u64), DataError>;

    /// What else is to be said of the plan, a sentence each.
    fn notes(&self) -> Vec<String>;
}

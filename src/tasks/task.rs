//! The trait of tasks, and the list of them.

use std::{fmt, path::Path, sync::Arc};

use super::{Plan, TrialAt, VariantRecord, next_item, top_n};
use crate::{
    base::{
        files::FileError,
        yaml::{Diagnostic, include::Renamed, node::Node},
    },
    core::{Columns, Mean, Measurements, MetricInfo, StepFiles},
    data::{DataDirs, DataError, DataSource, SplitSpec},
    llm::{EndpointSpec, KeyUse, ResponsesSpec},
};

/// Reads an experiment file, whose root before its sweeps comes first, from one node for each combination of
/// levels.
pub type Read = fn(&Node, Vec<(String, Node)>, &DataDirs) -> Result<Arc<dyn Task>, Diagnostic>;

/// A kind of prediction: a folder under `tasks/`, and one line in [`TASKS`].
pub struct TaskDef {
    /// Its name in `task:`.
    pub name: &'static str,
    /// Its keys of the experiment file.
    pub keys: &'static [&'static str],
    /// Keys that have a new name.
    pub renamed: &'static [Renamed],
    /// Those of its keys whose mappings have names as keys: what has a name can be changed from the command line.
    pub named: &'static [&'static str],
    /// Those of its keys whose sweeps it expands itself: each level is a system of one experiment.
    pub swept_by_system: &'static [&'static str],
    /// Those of its keys that apply to a whole run and cannot be swept.
    pub not_swept: &'static [&'static str],
    pub read: Read,
    /// The JSON Schema of its experiment files.
    pub schema: fn() -> serde_json::Value,
    /// Kinds of its steps, in the order in which they run.
    pub kinds: &'static [&'static str],
    /// Its metrics.
    pub metrics: &'static [MetricInfo],
    /// Checks the files of a finished step beyond their checksums.
    pub check: fn(&str, &StepFiles, &VariantRecord) -> Result<(), String>,
    /// Reads the means that an evaluation step wrote.
    pub means: fn(&Path) -> Result<Vec<Mean>, FileError>,
    /// Reads the values by unit that an evaluation step wrote: at least these columns.
    pub measurements: ReadMeasurements,
}

/// Of a directory of an evaluation step: the values of these columns, and possibly of others.
pub type ReadMeasurements = fn(&Path, &VariantRecord, Columns) -> Result<Measurements, FileError>;

/// A split of a data set, with the label of its variant.
#[derive(Clone, Debug)]
pub struct SplitOf {
    pub label: String,
    pub source: DataSource,
    pub split: SplitSpec,
}

/// All tasks; the first is the default.
pub const TASKS: &[TaskDef] = &[top_n::TASK, next_item::TASK];

/// Finds a metric by name. Metrics of several tasks with the same name are the same metric.
pub fn metric(name: &str) -> Option<&'static MetricInfo> {
    TASKS.iter().flat_map(|task| task.metrics).find(|metric| metric.name == name)
}

/// The part of an experiment that its task defines.
pub trait Task: fmt::Debug + Send + Sync {
    /// Its entry in [`TASKS`].
    fn def(&self) -> &'static TaskDef;

    /// The graph of steps, and the trials at its ends: all of them, or one. Reads the data files only to hash them.
    fn plan(&self, dirs: &DataDirs, only: Option<&TrialAt>) -> Result<Plan, DataError>;

    /// The record of each variant, from which results are read.
    fn records(&self, plan: &Plan, dirs: &DataDirs) -> Result<Vec<VariantRecord>, DataError>;

    /// Where responses of language models come from.
    fn responses(&self) -> ResponsesSpec;

    /// The endpoints of a variant, by name.
    fn endpoints(&self, variant: usize) -> &[(String, EndpointSpec)];

    /// The API keys that its steps send, and their hosts.
    fn keys(&self) -> Vec<KeyUse>;

    /// Number of users and items of a variant's data.
    fn sizes(&self, variant: usize, dirs: &DataDirs) -> Result<(u64, u64), DataError>;

    /// What its experiment file leaves open and how it is read, a sentence each.
    fn warnings(&self) -> Vec<String>;

    /// The splits of its variants, each once.
    fn splits(&self) -> Vec<SplitOf>;

    /// Notes on the plan, a sentence each.
    fn notes(&self) -> Vec<String>;
}

//! Tasks: what kind of prediction. One folder each.

mod audit;
mod experiment;
pub mod next_item;
mod plan;
pub mod published;
mod record;
mod report;
mod schema;
pub mod shared;
mod slot;
mod task;
pub mod top_n;

pub use audit::{Allow, AuditSpec, Contrast, names_system};
pub use experiment::Experiment;
pub use plan::{Plan, Trial, TrialAt};
pub use published::{PublishedRow, PublishedTable};
pub use record::{
    Evaluation, ExperimentRecord, Rules, StepRecord, SystemRecord, TrialRecord, VariantRecord,
};
pub use report::{
    ColumnSpec, FigureKind, FigureSpec, Known, NO_REFERENCE, ReportSpec, RowSpec, Show, TableSpec,
    Width, levels, read_metric, without_level,
};
pub use schema::{bare_schema, schema};
pub use slot::Slot;
pub use task::{SplitOf, TASKS, Task, TaskDef, metric};

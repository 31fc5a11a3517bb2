//! Tasks: what kind of prediction. One folder each.

mod experiment;
pub mod published;
mod record;
mod texts;
pub mod top_n;

pub use experiment::{DataSpec, Experiment, Setting, System, schema};
pub use published::{PublishedRow, PublishedTable};
pub use record::{ExperimentRecord, StepRecord, SystemRecord, TrialRecord, VariantRecord};

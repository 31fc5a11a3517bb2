//! Steps and what they leave: the workspace, records, events of a run.
//!
//! ```text
//! steps/<kind>/<key>/    one finished step: its files and record.json; a directory that exists is complete
//! locks/<key>.lock       held by the process that works on the step; the system frees it if that dies
//! tmp/                   steps in the making
//! runs/<run>/            run.json and one log a trial
//! experiments/<name>/    the plan of the last run of each experiment
//! ```

pub mod event;
pub mod machine;
pub mod measure;
mod outcome;
mod record;
mod workspace;

pub use event::{Event, Reporter};
pub use machine::machine;
pub use outcome::{Failure, Outcome, RunRecord};
pub use record::{FileRecord, Machine, Record};
pub use workspace::{Lock, Staging, StepState, Workspace};

//! The workspace directory: finished steps, locks, runs.
//!
//! ```text
//! steps/<kind>/<key>/    one finished step: its files and record.json; a directory that exists is complete
//! locks/<key>.lock       held by the process that works on the step; the system frees it if that dies
//! tmp/                   steps in the making
//! runs/<run>/            run.json and one log a trial
//! experiments/<name>/    the plan of the last run of each experiment
//! ```

mod record;
mod workspace;

pub use record::{FileRecord, Machine, Record};
pub use workspace::{
    Lock, Staging, StepState, StoreError, Workspace, read_json, write_json, write_whole,
};

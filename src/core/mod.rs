//! Steps and their results: the workspace, records, events of a run.
//!
//! ```text
//! steps/<kind>/<key>/    one finished step: its files and record.json; a directory that exists is complete
//! locks/<key>.lock       held by the process that runs the step; released if the process dies
//! locks/<key>.lease      the same for processes of other machines (`lease.rs`)
//! tmp/                   unfinished steps
//! runs/<run>/            run.json, means.json and one log per trial
//! experiments/<name>/    the plan of the last run of each experiment; the name is that of its slot (`tasks/slot.rs`)
//! ```

mod commands;
mod context;
mod currency;
mod error;
pub mod event;
mod executor;
mod gc;
mod graph;
mod lease;
mod machine;
mod measure;
mod measurements;
mod outcome;
mod preflight;
mod record;
mod stale;
mod step;
mod task;
mod values;
mod workspace;

pub use commands::{AllowedCommands, CommandUse};
pub use context::{RunContext, RunState, Shared};
pub use currency::{Currencies, Currency, Steps};
pub use error::StepError;
pub use event::{Event, Reporter, TrialsDone};
pub use executor::{
    FailedElsewhere, One, Options, Queue, QueueState, ToDo, TrialName, run, run_elsewhere, run_one,
};
pub use gc::{Garbage, Kept};
pub use graph::{Graph, KeyBuilder, Node};
pub use machine::{machine, machine_at, total_memory};
pub use measurements::{
    Aggregate, Better, Caveats, Mean, MeasureKey, Measurements, MetricInfo, Resample,
};
pub use outcome::{Failure, FileDigest, Outcome, RunHeader, RunRecord};
pub use preflight::{Found, preflight};
pub use record::{FileRecord, InputRecord, Machine, Record};
pub use stale::{OTHER_INPUT, why_stale};
pub use step::{FinishedSteps, Handle, Pinned, Requests, Resources, Step, StepId, StepStats};
pub use values::{Columns, StepFiles, Values};
pub use workspace::{Lock, OMITTED, RECORD, Staging, StepState, Workspace, write_sealed};

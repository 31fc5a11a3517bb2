//! Runs steps on other machines: a queue starts `assay step KEY` for each of them, and the workspace, on a file system that all
//! machines share, is the only state.
//!
//! ```text
//! experiments/<name>/plans/<id>/plan.json      what all steps have in common (`plan.rs`)
//!                              /steps          a line for each step, sorted by key
//!                              /failed/<key>   the failure of a step, written by its process
//!                              /ran/<machine>  which steps a machine has begun and ended
//!                              /logs/, /stderr/
//!                              /jobs.json, /job-<n>.toml   what was submitted to HyperQueue (`hyperqueue.rs`)
//! ```

mod hyperqueue;
mod plan;
mod slurm;
mod weight;

pub use hyperqueue::{HyperQueue, On};
pub use plan::{About, ClusterPlan, PLANS, StepAt};
pub use slurm::{Slurm, SlurmOptions};

//! Experiment files: YAML with places, includes, sweeps, and the validated [`Experiment`].

pub mod de;
pub mod diagnostic;
mod experiment;
mod include;
pub mod node;
pub mod published;
mod rerankers;
mod sweep;
mod texts;

pub use diagnostic::{Diagnostic, nearest};
pub use experiment::{DataSpec, Experiment, Setting, System, schema};
pub use published::{PublishedRow, PublishedTable};

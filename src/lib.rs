//! assay makes recommender-system papers checkable. The modules, in the order data flows:
//!
//! - [`spec`]: YAML → Experiment, with errors that point at a line
//! - [`data`]: interactions and catalogue, readers, splits, manifests
//! - [`rankings`]: files of rankings, in and out
//! - [`llm`]: language models: asked, answers kept, never paid for twice
//! - [`text`]: profiles of items and users, their embeddings
//! - [`model`]: the Recommender trait and the models
//! - [`rerank`]: judges asked about the best candidates of a base system
//! - [`eval`]: protocols, metrics, conventions, slices
//! - [`hash`], [`interrupt`], [`table`]: what the others share

pub mod cli;
pub mod data;
pub mod eval;
pub mod exit;
pub mod hash;
pub mod interrupt;
pub mod llm;
pub mod model;
pub mod plan;
pub mod progress;
pub mod rankings;
pub mod report;
pub mod rerank;
pub mod run;
pub mod spec;
pub mod stats;
pub mod store;
pub mod table;
pub mod text;

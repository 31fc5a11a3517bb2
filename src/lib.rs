//! assay makes recommender-system papers checkable. The modules, in the order data flows:
//!
//! - [`data`]: interactions and catalogue, readers, splits, manifests
//! - [`model`]: the Recommender trait and the models
//! - [`eval`]: protocols, metrics, conventions, slices
//! - [`report`]: tables, figures and HTML
//! - [`hash`], [`interrupt`]: what the others share

pub mod data;
pub mod eval;
pub mod hash;
pub mod interrupt;
pub mod model;
pub mod report;

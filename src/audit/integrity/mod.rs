//! Whether a number is what it claims to be.

pub mod dirty_tree;
pub mod missing_results;

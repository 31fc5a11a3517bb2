//! Whether a number is what it claims to be.

pub mod damaged_artifacts;
pub mod dirty_tree;
pub mod identical_rankings;
pub mod missing_results;
pub mod not_monotone;
pub mod out_of_range;
pub mod recomputed_metrics;
pub mod reranked_beyond_pool;

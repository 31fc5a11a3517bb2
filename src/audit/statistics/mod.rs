//! Whether differences are more than chance.

pub mod single_fold;
pub mod single_seed;

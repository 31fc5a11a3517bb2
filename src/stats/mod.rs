//! From many values to one: means over folds and seeds, and how they spread.

mod aggregate;

pub use aggregate::with_means;

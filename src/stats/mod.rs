//! From many values to one: means over folds and seeds, and how they spread.

mod aggregate;
mod bootstrap;
mod kendall;

pub use aggregate::with_means;
pub use bootstrap::{Bootstrap, LEVEL, UserValues};
pub use kendall::tau_b;

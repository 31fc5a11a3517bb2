//! From many values to one: means over folds and seeds, and how they spread.

mod aggregate;
mod bootstrap;
mod kendall;

pub use aggregate::with_means;
pub use bootstrap::{Bootstrap, FEW_UNITS, FEWEST_UNITS, LEVEL, Resampled, UserValues, interval};
pub use kendall::tau_b;

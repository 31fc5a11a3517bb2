//! From values per user to statements: means over folds and seeds, intervals, differences, agreement.

mod aggregate;
mod bootstrap;
mod collect;
mod kendall;
mod orders;
pub mod published;
pub mod row;
mod units;

pub use aggregate::with_means;
pub use bootstrap::{Bootstrap, FEW_UNITS, FEWEST_UNITS, LEVEL, Resampled, UserValues, interval};
pub use collect::{Collected, Differences, Request, collect};
pub use kendall::tau_b;
pub use orders::Orders;
pub use published::{Reproduction, difference, differences};
pub use row::{Basis, ResultRow};
pub use units::{CellKey, Interval, MEAN, PairedDraws, Units, few_users, few_users_of};

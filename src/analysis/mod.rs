//! Statistics on values per user: means over folds and seeds, intervals, differences, agreement.

mod across;
mod against;
mod aggregate;
mod baseline;
mod bootstrap;
mod collect;
mod comparison;
mod distribution;
mod friedman;
mod inputs;
mod kendall;
mod later;
mod means;
mod orders;
pub mod published;
pub mod row;
mod searches;
mod significance;
mod statistic;
mod units;

pub use across::{Across, Block, NotBlocks};
pub use against::{ALPHA, Against, AgainstCell, Place, against, best_of, corrected, is_testable};
pub use aggregate::with_means;
pub use baseline::{Baseline, Gate, Gates, Margin, Verdict};
pub use bootstrap::{Bootstrap, FEW_UNITS, FEWEST_UNITS, LEVEL, Resampled, UserValues, interval};
pub use collect::{Collected, Differences, Request, collect, trials_by_system, units_of};
pub use comparison::{Paired, Test, compare, has_paired_test};
pub use distribution::Distribution;
pub use friedman::{CriticalDifference, Friedman};
pub use inputs::{
    InputDifference, InputKind, differences_of_environment, differences_of_experiments,
    differences_of_runs, why_not_comparable,
};
pub use kendall::tau_b;
pub use later::{later_columns, main_cutoff};
pub use means::{MEANS, MeanDifference, RunMean, changed_means};
pub use orders::RankAgreement;
pub use published::{Reproduction, difference, differences};
pub use row::{Basis, ResultRow};
pub use searches::{SearchRow, Searches, searches};
pub use significance::{
    Correction, Estimate, OverFolds, benjamini_hochberg, binomial_p, holm, least_sign_flip_p,
};
pub use units::{CellKey, Interval, MEAN, PairedDraws, Units, few_users, few_users_of};

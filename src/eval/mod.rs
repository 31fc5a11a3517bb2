//! Protocols, metrics, conventions and slices: from rankings to a per-user table.

pub mod permit;

pub use permit::ScoringPermit;

//! Interactions and catalogue: identifiers, sparse matrices, readers, splits, manifests.

pub mod ids;
pub mod interactions;
pub mod relevance;

pub use ids::{Ids, ItemIx, UserIx};
pub use interactions::{Interaction, Interactions};
pub use relevance::Relevance;

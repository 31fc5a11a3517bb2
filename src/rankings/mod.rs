//! Rankings as such: `(user, item, rank, score)`, the interface between models, rerankers, other
//! people's files and evaluation.

mod columns;
pub mod export;
mod findings;
mod judgements;
mod lists;
mod open;

pub use columns::{ColumnRef, Columns};
pub use findings::Findings;
pub use judgements::{JudgementFiles, Judgements};
pub use lists::{Order, ReadOptions, Seen};
pub use open::{Opened, open};

/// Stands in lists for an item that is not in the catalogue. It takes a place, and is never a hit.
pub const UNKNOWN: u32 = u32::MAX;

/// (score, item) pairs, best first, no item twice. A score is NaN where the file had none.
pub type List = Vec<(f32, u32)>;

/// One ranked list for each user of a fold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rankings {
    /// By user; `None` for a user without a list.
    pub lists: Vec<Option<List>>,
}

impl Rankings {
    /// The list of a user.
    pub fn of(&self, user: crate::data::UserIx) -> Option<&[(f32, u32)]> {
        self.lists.get(user.at())?.as_deref()
    }
}

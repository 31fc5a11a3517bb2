//! Rankings as such: `(user, item, rank, score)`, the interface between models, rerankers, other
//! people's files and evaluation.

use crate::data::{Interactions, UserIx};

/// Stands in lists for an item that is not in the catalogue. It takes a place, and is never a hit.
pub const UNKNOWN: u32 = u32::MAX;

/// (score, item) pairs, best first, no item twice. A score is NaN where the file had none.
pub type List = Vec<(f32, u32)>;

/// One ranked list for each user of a fold.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rankings {
    /// By user; `None` for a user without a list.
    pub lists: Vec<Option<List>>,
    /// By user, ascending: the ranks (from 0) whose item nothing in the file orders against the next one.
    /// Empty where there are no ties.
    pub tied: Vec<Vec<u32>>,
}

impl Rankings {
    /// The list of a user.
    pub fn of(&self, user: UserIx) -> Option<&[(f32, u32)]> {
        self.lists.get(user.at())?.as_deref()
    }

    /// How many lists hold nothing that the user has in `seen`.
    pub fn avoiding(&self, seen: &Interactions) -> usize {
        let avoids = |(user, list): (usize, &List)| {
            let seen = seen.items_of(UserIx(user as u32));
            list.iter().all(|(_, item)| seen.binary_search(item).is_err())
        };
        let lists = self.lists.iter().enumerate();
        lists.filter(|(user, list)| list.as_ref().is_some_and(|list| avoids((*user, list)))).count()
    }

    /// The ranks of a user's list (from 0) whose item is tied with the next one.
    pub fn tied_of(&self, user: UserIx) -> &[u32] {
        self.tied.get(user.at()).map(Vec::as_slice).unwrap_or_default()
    }
}

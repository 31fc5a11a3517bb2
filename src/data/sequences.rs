//! Interactions of each user in the order in which they happened, repeats kept.

use super::{FilterEffect, Ids, Interaction, Interactions, ItemIx, Time, UserIx};
use crate::base::hash::Digest;

/// The sequence of each user. Unlike [`Interactions`], a sequence may have an item more than once.
#[derive(Clone, Debug, PartialEq)]
pub struct Sequences {
    n_items: usize,
    indptr: Vec<usize>,
    items: Vec<u32>,
    ratings: Vec<f32>,
    times: Vec<Time>,
}

impl Sequences {
    /// Takes rows of which those of one user are in order; the users may be in any order.
    pub fn new(n_users: usize, n_items: usize, rows: &[Interaction]) -> Self {
        let mut indptr = vec![0usize; n_users + 1];
        rows.iter().for_each(|row| indptr[row.user.at() + 1] += 1);
        (0..n_users).for_each(|user| indptr[user + 1] += indptr[user]);
        let mut place = indptr.clone();
        let mut sequences = Self {
            n_items,
            indptr,
            items: vec![0; rows.len()],
            ratings: vec![0.0; rows.len()],
            times: vec![Time::default(); rows.len()],
        };
        for row in rows {
            let at = place[row.user.at()];
            place[row.user.at()] += 1;
            sequences.items[at] = row.item.0;
            sequences.ratings[at] = row.rating;
            sequences.times[at] = row.timestamp;
        }
        sequences
    }

    /// Number of users, with and without interactions.
    pub fn n_users(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of items of the catalogue.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Number of interactions.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is no interaction.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The items of a user in order.
    pub fn of(&self, user: UserIx) -> &[u32] {
        &self.items[self.range(user)]
    }

    /// The times of a user's interactions, aligned with [`of`](Self::of).
    pub fn times_of(&self, user: UserIx) -> &[Time] {
        &self.times[self.range(user)]
    }

    /// How often each item occurs, `[n_items]`.
    pub fn item_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.n_items];
        self.items.iter().for_each(|item| counts[*item as usize] += 1);
        counts
    }

    /// All interactions, user by user.
    pub fn iter(&self) -> impl Iterator<Item = Interaction> + '_ {
        (0..self.n_users() as u32).map(UserIx).flat_map(move |user| {
            self.range(user).map(move |at| Interaction {
                user,
                item: ItemIx(self.items[at]),
                rating: self.ratings[at],
                timestamp: self.times[at],
            })
        })
    }

    /// Each user's sequence, followed by the one in `later`.
    pub fn followed_by(&self, later: &Self) -> Self {
        let rows: Vec<Interaction> = self.iter().chain(later.iter()).collect();
        Self::new(self.n_users(), self.n_items, &rows)
    }

    /// The items of each user as a set, without their order.
    pub fn as_matrix(&self) -> Interactions {
        let rows: Vec<Interaction> = self.iter().collect();
        Interactions::new(self.n_users(), self.n_items, &rows)
    }

    fn range(&self, user: UserIx) -> std::ops::Range<usize> {
        self.indptr[user.at()]..self.indptr[user.at() + 1]
    }
}

/// A data set as sequences.
#[derive(Clone, Debug)]
pub struct SequenceData {
    pub name: String,
    pub users: Ids,
    pub items: Ids,
    pub sequences: Sequences,
    /// Whether times of different users can be compared; otherwise only the order within a user is known.
    pub has_times: bool,
    /// What each filter of the experiment removed.
    pub filtered: Vec<FilterEffect>,
    /// What was resolved while reading.
    pub notes: Vec<String>,
}

impl SequenceData {
    /// Hash of everything that can change a result.
    pub fn digest(&self) -> Digest {
        let mut hasher = blake3::Hasher::new();
        for ids in [&self.users, &self.items] {
            hasher.update(&(ids.len() as u64).to_le_bytes());
            for name in ids.names() {
                hasher.update(name.as_bytes()).update(b"\n");
            }
        }
        hash_rows(&mut hasher, self.sequences.iter());
        Digest::from_blake3(hasher.finalize())
    }
}

/// Adds rows in their order to a hash.
pub(super) fn hash_rows(hasher: &mut blake3::Hasher, rows: impl Iterator<Item = Interaction>) {
    for row in rows {
        hasher.update(&row.user.0.to_le_bytes());
        hasher.update(&row.item.0.to_le_bytes());
        hasher.update(&row.rating.to_le_bytes());
        hasher.update(&row.timestamp.bytes());
    }
    hasher.update(b"end");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(user: u32, item: u32) -> Interaction {
        Interaction {
            user: UserIx(user),
            item: ItemIx(item),
            rating: 1.0,
            timestamp: Default::default(),
        }
    }

    #[test]
    fn order_and_repeats_are_kept() {
        let rows = [row(1, 3), row(0, 2), row(1, 0), row(1, 3)];
        let sequences = Sequences::new(3, 4, &rows);
        assert_eq!(sequences.of(UserIx(0)), [2]);
        assert_eq!(sequences.of(UserIx(1)), [3, 0, 3]);
        assert_eq!(sequences.of(UserIx(2)), [0u32; 0]);
        assert_eq!(sequences.item_counts(), [1, 0, 1, 2]);
        assert_eq!(sequences.as_matrix().items_of(UserIx(1)), [0, 3]);
        let more = sequences.followed_by(&Sequences::new(3, 4, &[row(2, 1), row(1, 1)]));
        assert_eq!((more.of(UserIx(1)), more.of(UserIx(2))), (&[3, 0, 3, 1][..], &[1][..]));
    }
}

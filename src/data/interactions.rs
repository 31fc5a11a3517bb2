//! Interactions as a sparse users × items matrix, the form every model and metric reads.

use super::{
    ids::{ItemIx, UserIx},
    times::Time,
};

/// One rating (or click, with rating 1).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interaction {
    pub user: UserIx,
    pub item: ItemIx,
    pub rating: f32,
    pub timestamp: Time,
}

/// Users × items in compressed rows; the items of a row are in ascending order and distinct.
#[derive(Clone, Debug, PartialEq)]
pub struct Interactions {
    n_items: usize,
    indptr: Vec<usize>,
    items: Vec<u32>,
    ratings: Vec<f32>,
    timestamps: Vec<Time>,
}

/// The order of rows by user, item and position, in which most of what a data set needs is looked up.
pub(super) struct RowOrder {
    /// By user, where their keys start; one more at the end.
    starts: Vec<usize>,
    /// Item and position of a row, the item in the upper half: sorting whole keys reads no row.
    keys: Vec<u64>,
}

impl RowOrder {
    /// Of rows whose users are below `n_users`.
    pub fn of(n_users: usize, rows: &[Interaction]) -> Self {
        let mut starts = vec![0usize; n_users + 1];
        rows.iter().for_each(|row| starts[row.user.at() + 1] += 1);
        (0..n_users).for_each(|user| starts[user + 1] += starts[user]);
        let mut keys = vec![0u64; rows.len()];
        let mut place = starts.clone();
        for (at, row) in rows.iter().enumerate() {
            keys[place[row.user.at()]] = u64::from(row.item.0) << 32 | at as u64;
            place[row.user.at()] += 1;
        }
        for ends in starts.windows(2) {
            keys[ends[0]..ends[1]].sort_unstable();
        }
        Self { starts, keys }
    }

    /// The positions of all rows.
    pub fn rows(&self) -> impl Iterator<Item = u32> + '_ {
        self.keys.iter().map(|key| *key as u32)
    }

    /// The positions of rows with one user and item, the first in the file first, where there are several.
    pub fn repeats(&self) -> impl Iterator<Item = Vec<usize>> + '_ {
        let users = self.starts.windows(2).map(|ends| &self.keys[ends[0]..ends[1]]);
        users
            .flat_map(|keys| keys.chunk_by(|a, b| a >> 32 == b >> 32))
            .filter(|keys| keys.len() > 1)
            .map(|keys| keys.iter().map(|key| *key as u32 as usize).collect())
    }
}

impl Interactions {
    /// Builds the matrix from interactions in any order.
    /// Of several with one (user, item) the last in `rows` is kept: readers have refused or
    /// resolved duplicates before.
    pub fn new(n_users: usize, n_items: usize, rows: &[Interaction]) -> Self {
        let order = RowOrder::of(n_users, rows);
        let mut matrix = Self {
            n_items,
            indptr: Vec::with_capacity(n_users + 1),
            items: Vec::with_capacity(rows.len()),
            ratings: Vec::with_capacity(rows.len()),
            timestamps: Vec::with_capacity(rows.len()),
        };
        matrix.indptr.push(0);
        let mut last = None;
        for at in order.rows() {
            let row = rows[at as usize];
            while matrix.indptr.len() <= row.user.at() {
                matrix.indptr.push(matrix.items.len());
            }
            if last == Some((row.user, row.item)) {
                let end = matrix.items.len() - 1;
                matrix.ratings[end] = row.rating;
                matrix.timestamps[end] = row.timestamp;
                continue;
            }
            last = Some((row.user, row.item));
            matrix.items.push(row.item.0);
            matrix.ratings.push(row.rating);
            matrix.timestamps.push(row.timestamp);
        }
        matrix.indptr.resize(n_users + 1, matrix.items.len());
        matrix
    }

    /// Number of rows.
    pub fn n_users(&self) -> usize {
        self.indptr.len() - 1
    }

    /// Number of columns.
    pub fn n_items(&self) -> usize {
        self.n_items
    }

    /// Number of stored interactions.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether no interaction is stored.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Items of `user` in ascending order.
    pub fn items_of(&self, user: UserIx) -> &[u32] {
        &self.items[self.range(user)]
    }

    /// Ratings of `user`, aligned with [`items_of`](Self::items_of).
    pub fn ratings_of(&self, user: UserIx) -> &[f32] {
        &self.ratings[self.range(user)]
    }

    /// Timestamps of `user`, aligned with [`items_of`](Self::items_of).
    pub fn timestamps_of(&self, user: UserIx) -> &[Time] {
        &self.timestamps[self.range(user)]
    }

    /// Whether `user` has interacted with `item`.
    pub fn contains(&self, user: UserIx, item: ItemIx) -> bool {
        self.items_of(user).binary_search(&item.0).is_ok()
    }

    /// Row starts, `n_users + 1` long.
    pub fn indptr(&self) -> &[usize] {
        &self.indptr
    }

    /// Columns of all rows, one after the other.
    pub fn item_indices(&self) -> &[u32] {
        &self.items
    }

    /// Ratings aligned with [`item_indices`](Self::item_indices).
    pub fn ratings(&self) -> &[f32] {
        &self.ratings
    }

    /// All interactions in (user, item) order.
    pub fn iter(&self) -> impl Iterator<Item = Interaction> + '_ {
        (0..self.n_users()).flat_map(move |user| {
            let user = UserIx(user as u32);
            self.range(user).map(move |at| Interaction {
                user,
                item: ItemIx(self.items[at]),
                rating: self.ratings[at],
                timestamp: self.timestamps[at],
            })
        })
    }

    /// The interactions that `keep` accepts, in a matrix of the same shape.
    pub fn filter(&self, mut keep: impl FnMut(&Interaction) -> bool) -> Self {
        let rows: Vec<Interaction> = self.iter().filter(|row| keep(row)).collect();
        Self::new(self.n_users(), self.n_items, &rows)
    }

    /// Items × users: row `i` holds the users of item `i` in ascending order.
    pub fn transpose(&self) -> Self {
        let rows: Vec<Interaction> = self
            .iter()
            .map(|row| Interaction { user: UserIx(row.item.0), item: ItemIx(row.user.0), ..row })
            .collect();
        Self::new(self.n_items, self.n_users(), &rows)
    }

    /// How many users have interacted with each item, `[n_items]`.
    pub fn item_counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.n_items];
        for &item in &self.items {
            counts[item as usize] += 1;
        }
        counts
    }

    fn range(&self, user: UserIx) -> std::ops::Range<usize> {
        self.indptr[user.at()]..self.indptr[user.at() + 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(triples: &[(u32, u32, f32)]) -> Vec<Interaction> {
        triples
            .iter()
            .map(|&(user, item, rating)| Interaction {
                user: UserIx(user),
                item: ItemIx(item),
                rating,
                timestamp: Default::default(),
            })
            .collect()
    }

    #[test]
    fn rows_come_out_sorted_with_empty_users_kept() {
        let matrix = Interactions::new(4, 5, &rows(&[(2, 4, 1.0), (0, 3, 2.0), (2, 1, 5.0)]));
        assert_eq!(matrix.indptr(), [0, 1, 1, 3, 3]);
        assert_eq!(matrix.items_of(UserIx(2)), [1, 4]);
        assert_eq!(matrix.ratings_of(UserIx(2)), [5.0, 1.0]);
        assert!(matrix.contains(UserIx(0), ItemIx(3)));
        assert!(!matrix.contains(UserIx(1), ItemIx(3)));
    }

    #[test]
    fn rows_are_ordered_by_user_item_and_position_and_repeats_are_found() {
        let rows =
            rows(&[(1, 7, 1.0), (0, 3, 2.0), (1, 2, 5.0), (0, 3, 4.0), (1, 7, 3.0), (0, 3, 1.0)]);
        let order = RowOrder::of(3, &rows);
        assert_eq!(order.rows().collect::<Vec<u32>>(), [1, 3, 5, 2, 0, 4]);
        assert_eq!(order.repeats().collect::<Vec<_>>(), [vec![1, 3, 5], vec![0, 4]]);
        assert_eq!(RowOrder::of(2, &[]).repeats().count(), 0);
        // Of repeats the last one is kept.
        assert_eq!(Interactions::new(3, 8, &rows).ratings_of(UserIx(0)), [1.0]);
    }

    #[test]
    fn transposing_twice_gives_the_matrix_back() {
        let matrix = Interactions::new(3, 4, &rows(&[(0, 1, 1.0), (1, 1, 2.0), (2, 0, 3.0)]));
        assert_eq!(matrix.transpose().transpose(), matrix);
        assert_eq!(matrix.transpose().items_of(UserIx(1)), [0, 1]);
    }
}

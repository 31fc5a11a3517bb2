//! Which ratings of a training part become its validation part.
//!
//! Validation follows the split: where the test part is what came last, so is the validation part. Rows
//! drawn at random from the training part of a split by time would be measured with a model that knows
//! what came after them.

use std::collections::HashMap;

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Interaction, Scheme, SplitSpec, Time};

/// What decides which ratings become the validation part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CutBy {
    /// The latest ones; with `leave-one-out` the latest of each user.
    Time,
    /// Any, drawn with a seed.
    Random,
}

/// The cut that a split and a [`CutBy`] come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cut {
    #[default]
    Random,
    /// The latest share; ratings of one moment stay together.
    Latest,
    /// The latest share of each user, at least one; users with one rating keep it in training.
    LatestOfEach,
}

impl Cut {
    /// Whether it draws any rows.
    pub fn is_random(&self) -> bool {
        *self == Self::Random
    }
}

impl SplitSpec {
    /// Whether the test part is what came last.
    pub fn is_by_time(&self) -> bool {
        matches!(self.scheme, Scheme::Temporal | Scheme::LeaveOneOut)
    }

    /// How a validation part is cut from the training part: by time where the split is by time, unless
    /// the experiment says otherwise.
    pub fn cut(&self, by: Option<CutBy>) -> Cut {
        let by_time = if self.is_by_time() { CutBy::Time } else { CutBy::Random };
        match (by.unwrap_or(by_time), self.scheme) {
            (CutBy::Random, _) => Cut::Random,
            (CutBy::Time, Scheme::LeaveOneOut) => Cut::LatestOfEach,
            (CutBy::Time, _) => Cut::Latest,
        }
    }
}

/// Divides the rows of a training part into those that stay and a `share` that is held back. `seed` is
/// that of random cuts.
pub fn cut_rows(
    rows: &[Interaction],
    cut: Cut,
    share: f64,
    seed: u64,
) -> (Vec<Interaction>, Vec<Interaction>) {
    let count = |n: usize| (n as f64 * share).round() as usize;
    let mut held = vec![false; rows.len()];
    match cut {
        Cut::Random => {
            let mut order: Vec<usize> = (0..rows.len()).collect();
            order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
            order.into_iter().take(count(rows.len())).for_each(|at| held[at] = true);
        }
        Cut::Latest => {
            let mut times: Vec<Time> = rows.iter().map(|row| row.timestamp).collect();
            times.sort_unstable();
            if let Some(from) = times.get(rows.len() - count(rows.len())) {
                held.iter_mut().zip(rows).for_each(|(held, row)| *held = row.timestamp >= *from);
            }
        }
        Cut::LatestOfEach => {
            let mut of_users: HashMap<u32, Vec<usize>> = HashMap::new();
            for (at, row) in rows.iter().enumerate() {
                of_users.entry(row.user.0).or_default().push(at);
            }
            for mut of_user in of_users.into_values().filter(|of| of.len() > 1) {
                of_user.sort_by_key(|at| (rows[*at].timestamp, rows[*at].item));
                let n = count(of_user.len()).clamp(1, of_user.len() - 1);
                of_user.iter().rev().take(n).for_each(|at| held[*at] = true);
            }
        }
    }
    let part = |of: bool| {
        let chosen = rows.iter().zip(&held).filter(move |(_, held)| **held == of);
        chosen.map(|(row, _)| *row).collect()
    };
    (part(false), part(true))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ItemIx, UserIx};

    fn rows(of: &[(u32, u32, i64)]) -> Vec<Interaction> {
        let row = |&(user, item, timestamp): &(u32, u32, i64)| Interaction {
            user: UserIx(user),
            item: ItemIx(item),
            rating: 1.0,
            timestamp: timestamp.into(),
        };
        of.iter().map(row).collect()
    }

    fn pairs(rows: &[Interaction]) -> Vec<(u32, u32)> {
        rows.iter().map(|row| (row.user.0, row.item.0)).collect()
    }

    const ROWS: [(u32, u32, i64); 10] = [
        (0, 0, 9),
        (0, 1, 1),
        (0, 2, 5),
        (0, 3, 5),
        (1, 0, 2),
        (1, 1, 5),
        (1, 2, 3),
        (2, 5, 8),
        (3, 0, 4),
        (3, 1, 4),
    ];

    /// Times sorted: 1 2 3 4 4 5 5 5 8 9. A fifth is two rows; three tenths would begin within the fives.
    #[test]
    fn the_latest_rows_are_held_and_moments_stay_together() {
        let held = |share: f64| pairs(&cut_rows(&rows(&ROWS), Cut::Latest, share, 7).1);
        assert_eq!(held(0.2), [(0, 0), (2, 5)]);
        assert_eq!(held(0.3), [(0, 0), (0, 2), (0, 3), (1, 1), (2, 5)]);
        let (kept, held) = cut_rows(&rows(&ROWS), Cut::Latest, 0.3, 7);
        let first = held.iter().map(|row| row.timestamp).min();
        assert!(kept.iter().map(|row| row.timestamp).max() < first);
        assert_eq!(kept.len() + held.len(), 10);
    }

    /// Each user's last; of one moment the higher item; the user with one rating keeps it.
    #[test]
    fn the_latest_rows_of_each_user_are_held() {
        let held = |share: f64| pairs(&cut_rows(&rows(&ROWS), Cut::LatestOfEach, share, 7).1);
        assert_eq!(held(0.1), [(0, 0), (1, 1), (3, 1)]);
        assert_eq!(held(0.5), [(0, 0), (0, 3), (1, 1), (1, 2), (3, 1)]);
        assert_eq!(held(0.99), [(0, 0), (0, 2), (0, 3), (1, 1), (1, 2), (3, 1)]);
    }

    #[test]
    fn a_random_cut_is_seeded_and_of_the_right_size() {
        let of = |seed: u64| cut_rows(&rows(&ROWS), Cut::Random, 0.3, seed);
        assert_eq!((of(1).0.len(), of(1).1.len()), (7, 3));
        assert_eq!(pairs(&of(1).1), pairs(&of(1).1));
        assert!((2..9).any(|seed| pairs(&of(1).1) != pairs(&of(seed).1)));
    }
}

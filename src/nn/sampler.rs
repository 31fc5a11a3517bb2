//! Negative sampling: seeded by place, so the same whatever the thread count.

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::random::mix,
    data::{Interactions, UserIx},
};

/// How items are drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Draw {
    /// All alike.
    #[default]
    Uniform,
    /// By number of training positives to the power `exponent`.
    Popularity,
    /// The highest-scored of `candidates` uniform ones (dynamic negative sampling, Zhang et al. 2013).
    Hard,
}

/// What is never drawn for a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Exclude {
    /// Items the user liked.
    #[default]
    Liked,
    /// Items the user liked or disliked (`data.disliked`): "robust negatives" in the released code of Ebrat et al. 2025.
    LikedAndDisliked,
    /// All items the user rated.
    Rated,
    /// Nothing: even what the user liked may be drawn. LibRecommender's sampler `random` spares the positive
    /// beside it alone.
    Nothing,
}

/// Settings of negative sampling.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Negatives {
    /// How items are drawn.
    pub draw: Draw,
    /// What is never drawn for a user.
    pub exclude: Exclude,
    /// `popularity`: 0 is uniform, 1 is by counts.
    pub exponent: f64,
    /// `hard`: how many are drawn to choose from.
    pub candidates: usize,
}

impl Default for Negatives {
    fn default() -> Self {
        Self { draw: Draw::Uniform, exclude: Exclude::Liked, exponent: 0.75, candidates: 8 }
    }
}

/// Draws negatives.
pub struct Sampler {
    settings: Negatives,
    seed: u64,
    n_items: usize,
    /// What is not drawn.
    known: Interactions,
    /// Running sums of the items' weights; empty where all weigh the same.
    cumulative: Vec<f64>,
}

/// So many draws that hit known items, and the unknown are counted out instead.
const PATIENCE: u64 = 64;

impl Sampler {
    /// `known` is what is never drawn; `counts` are the items' training positives.
    pub fn new(settings: Negatives, seed: u64, known: Interactions, counts: &[u32]) -> Self {
        let cumulative = match settings.draw {
            Draw::Popularity => counts
                .iter()
                .scan(0.0, |sum, count| {
                    *sum += f64::from(*count).powf(settings.exponent);
                    Some(*sum)
                })
                .collect(),
            _ => Vec::new(),
        };
        Self { settings, seed, n_items: counts.len(), known, cumulative }
    }

    /// One item for each of `users`; the `first + at`-th draw of `epoch` is always the same. `score`
    /// is asked by the hard sampler. Where a user knows every item, any is drawn.
    pub fn draw(
        &self,
        users: &[u32],
        epoch: u64,
        first: u64,
        score: &(dyn Fn(u32, u32) -> f32 + Sync),
    ) -> Vec<u32> {
        let stream = mix(self.seed ^ mix(epoch + 1));
        let draw = |(at, user): (usize, &u32)| {
            let stream = mix(stream ^ mix(first + at as u64));
            match self.settings.draw {
                Draw::Hard => {
                    let candidates = 0..self.settings.candidates.max(1) as u64;
                    let drawn = candidates.map(|c| self.one(*user, mix(stream ^ mix(c + 1))));
                    // Of equals the first: no order of evaluation matters.
                    let mut best: Option<(f32, u32)> = None;
                    for item in drawn {
                        let of = score(*user, item);
                        if best.is_none_or(|(highest, _)| of > highest) {
                            best = Some((of, item));
                        }
                    }
                    best.map_or(0, |(_, item)| item)
                }
                _ => self.one(*user, stream),
            }
        };
        users.par_iter().with_min_len(256).enumerate().map(draw).collect()
    }

    fn one(&self, user: u32, stream: u64) -> u32 {
        let known = self.known.items_of(UserIx(user));
        for attempt in 0..PATIENCE {
            let item = self.any(mix(stream.wrapping_add(attempt)));
            if known.binary_search(&item).is_err() {
                return item;
            }
        }
        // Nearly all is known: take the n-th of what is not.
        let unknown = self.n_items - known.len();
        if unknown == 0 {
            return self.any(stream);
        }
        let mut nth = (stream % unknown as u64) as u32;
        for item in known {
            nth += u32::from(*item <= nth);
        }
        nth
    }

    fn any(&self, random: u64) -> u32 {
        match self.cumulative.last() {
            Some(total) => {
                let at = (random >> 11) as f64 / (1u64 << 53) as f64 * total;
                let item = self.cumulative.partition_point(|sum| *sum <= at);
                item.min(self.n_items - 1) as u32
            }
            None => ((u128::from(random) * self.n_items as u128) >> 64) as u32,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::data::{Interaction, ItemIx};

    fn known(rows: &[(u32, u32)], n_users: usize, n_items: usize) -> Interactions {
        let rows: Vec<Interaction> = rows
            .iter()
            .map(|(user, item)| Interaction {
                user: UserIx(*user),
                item: ItemIx(*item),
                rating: 1.0,
                timestamp: Default::default(),
            })
            .collect();
        Interactions::new(n_users, n_items, &rows)
    }

    fn sampler(draw: Draw, known: Interactions, counts: &[u32]) -> Sampler {
        Sampler::new(Negatives { draw, ..Negatives::default() }, 7, known, counts)
    }

    proptest! {
        #[test]
        fn known_items_are_never_drawn(
            rows in prop::collection::vec((0u32..5, 0u32..12), 0..40),
            epoch in 0u64..4,
        ) {
            let known = known(&rows, 5, 12);
            let users: Vec<u32> = (0..200).map(|at| at % 5).collect();
            for draw in [Draw::Uniform, Draw::Popularity, Draw::Hard] {
                let sampler = sampler(draw, known.clone(), &known.item_counts());
                let drawn = sampler.draw(&users, epoch, 0, &|user, item| (user * item % 7) as f32);
                for (user, item) in users.iter().zip(&drawn) {
                    let of_user = known.items_of(UserIx(*user));
                    prop_assert!(of_user.len() == 12 || of_user.binary_search(item).is_err());
                }
                // In two batches, or with another number of threads, the draws are the same.
                let second = sampler.draw(&users[50..], epoch, 50, &|u, i| (u * i % 7) as f32);
                prop_assert_eq!(&drawn[50..], &second[..]);
            }
        }
    }

    /// χ² over the unknown items; its 99.9 % point at 39 degrees of freedom is 72.1.
    #[test]
    fn draws_follow_their_weights() {
        let known = known(&[(0, 3), (0, 17)], 1, 42);
        let users = vec![0u32; 40_000];
        let counts: Vec<u32> = (0..42).map(|item| 1 + item % 5).collect();
        for draw in [Draw::Uniform, Draw::Popularity] {
            let weight = |item: usize| match draw {
                _ if item == 3 || item == 17 => 0.0,
                Draw::Popularity => f64::from(counts[item]).powf(0.75),
                _ => 1.0,
            };
            let total: f64 = (0..42).map(weight).sum();
            let drawn = sampler(draw, known.clone(), &counts).draw(&users, 0, 0, &|_, _| 0.0);
            let mut found = [0f64; 42];
            drawn.iter().for_each(|item| found[*item as usize] += 1.0);
            let expected = |item: usize| weight(item) / total * users.len() as f64;
            let chi: f64 = (0..42)
                .filter(|item| weight(*item) > 0.0)
                .map(|item| (found[item] - expected(item)).powi(2) / expected(item))
                .sum();
            assert!(chi < 72.1, "{draw:?}: χ² = {chi}");
        }
    }

    #[test]
    fn nearly_everything_known_leaves_the_rest() {
        let rows: Vec<(u32, u32)> = (0..500).filter(|i| *i != 321).map(|item| (0, item)).collect();
        let drawn = sampler(Draw::Uniform, known(&rows, 1, 500), &[1; 500]).draw(
            &[0; 50],
            0,
            0,
            &|_, _| 0.0,
        );
        assert!(drawn.iter().all(|item| *item == 321), "{drawn:?}");
    }
}

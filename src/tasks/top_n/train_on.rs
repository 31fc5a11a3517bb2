//! The training data of a system, if they differ from the experiment's: `positives` and `train_share` of a system.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::data::{Interaction, Interactions, Relevance, TrainingData};

/// Options of a system, in addition to its model's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct TrainOn {
    /// Which training ratings are positives; by default those that the experiment's `relevant` accepts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positives: Option<Relevance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_share: Option<TrainShare>,
}

/// A share of the training ratings.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainShare {
    /// Greater than 0 and at most 1.
    #[schemars(range(max = 1), extend("exclusiveMinimum" = 0))]
    pub share: f64,
    /// Which ratings these are.
    #[serde(default)]
    pub take: Take,
    /// `random` needs it: what is drawn depends on it alone, so every seed of the experiment learns from the
    /// same ratings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Which ratings a [`TrainShare`] takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Take {
    /// Any.
    #[default]
    Random,
    /// Of each user the first in the order of the items' ids, all of up to three. It is what LibRecommender's
    /// `split_by_ratio` leaves of a file that is sorted so, as MovieLens-100K's folds are.
    FirstOfEachUser,
}

impl TrainOn {
    /// Whether the system is trained on the whole training part, with the experiment's rule.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The first problem, if any.
    pub fn validate(&self) -> Result<(), String> {
        match self.train_share {
            Some(TrainShare { share, .. }) if !(share > 0.0 && share <= 1.0) => {
                Err(format!("`share` is {share}; expected a number greater than 0 and at most 1"))
            }
            Some(TrainShare { take: Take::Random, seed: None, .. }) => {
                Err("`train_share` draws ratings at random and needs a `seed`".into())
            }
            Some(TrainShare { take: Take::FirstOfEachUser, seed: Some(_), .. }) => {
                Err("`seed` has no effect with `take: first-of-each-user`".into())
            }
            _ => Ok(()),
        }
    }

    /// The part of `data` that the system is trained on.
    pub fn apply(&self, data: TrainingData) -> TrainingData {
        if self.is_default() {
            return data;
        }
        let ratings = match self.train_share {
            Some(share) => {
                let rows = share.of(&data.ratings);
                Interactions::new(data.ratings.n_users(), data.ratings.n_items(), &rows)
            }
            None => data.ratings,
        };
        let rule = self.positives.unwrap_or(data.relevant);
        TrainingData {
            positives: ratings.filter(|row| rule.accepts(row.rating)),
            disliked: data
                .disliked
                .map(|disliked| ratings.filter(|row| disliked.contains(row.user, row.item))),
            ratings,
            ..data
        }
    }

    /// As text for the note under a table; none for the default.
    pub fn describe(&self) -> Option<String> {
        let positives = self.positives.map(|rule| match rule {
            Relevance::Any => "every rating as a positive".to_owned(),
            rule => format!("ratings {rule} as positives"),
        });
        let share = self.train_share.map(|TrainShare { share, take, seed }| {
            let percent = (1e6 * share).round() / 1e4;
            match take {
                // invariant: validated, so a random share has a seed
                Take::Random => {
                    format!("{percent} % of the training part (seed {})", seed.unwrap_or_default())
                }
                Take::FirstOfEachUser => {
                    format!("the first {percent} % of each user's training ratings by item id")
                }
            }
        });
        match (positives, share) {
            (Some(positives), Some(share)) => Some(format!("{positives}, {share}")),
            (positives, share) => positives.or(share),
        }
    }
}

impl TrainShare {
    fn of(&self, ratings: &Interactions) -> Vec<Interaction> {
        let mut rows: Vec<Interaction> = ratings.iter().collect();
        match self.take {
            Take::Random => {
                // invariant: validated, so there is a seed
                rows.shuffle(&mut ChaCha8Rng::seed_from_u64(self.seed.unwrap_or_default()));
                rows.truncate((rows.len() as f64 * self.share).round() as usize);
                rows
            }
            // Rows come by user, then in the order of the items' ids.
            Take::FirstOfEachUser => {
                let users = rows.chunk_by(|a, b| a.user == b.user);
                let first = users.map(|of_user| match of_user.len() {
                    // Halves to even, as Python rounds.
                    n @ 4.. => &of_user[..(n as f64 * self.share).round_ties_even() as usize],
                    _ => of_user,
                });
                first.flatten().copied().collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{ItemIx, UserIx};

    #[test]
    fn a_system_learns_from_its_share_and_by_its_rule() {
        let rows: Vec<Interaction> = (0..1000u32)
            .map(|at| Interaction {
                user: UserIx(at / 25),
                item: ItemIx(at % 25),
                rating: (1 + at % 5) as f32,
                timestamp: Default::default(),
            })
            .collect();
        let ratings = Interactions::new(40, 25, &rows);
        let data = || TrainingData {
            positives: ratings.filter(|row| row.rating >= 4.0),
            disliked: Some(ratings.filter(|row| row.rating <= 2.0)),
            validation: Interactions::new(40, 25, &[]),
            relevant: Relevance::AtLeast(4.0),
            ratings: ratings.clone(),
        };
        let on = |positives, share: Option<f64>, seed| {
            let train_share =
                share.map(|share| TrainShare { share, take: Take::Random, seed: Some(seed) });
            TrainOn { positives, train_share }.apply(data())
        };
        let all = on(Some(Relevance::Any), None, 0);
        assert_eq!((all.ratings.len(), all.positives.len()), (1000, 1000));
        assert_eq!(all.relevant, Relevance::AtLeast(4.0), "the rule of evaluation stays");
        let part = on(None, Some(0.9), 1);
        assert_eq!(part.ratings.len(), 900);
        assert!(part.ratings.iter().all(|row| ratings.contains(row.user, row.item)));
        let liked = part.ratings.filter(|row| row.rating >= 4.0);
        let disliked = part.ratings.filter(|row| row.rating <= 2.0);
        assert_eq!(part.positives.len(), liked.len());
        assert_eq!(part.disliked.unwrap().len(), disliked.len());
        let rows = |data: TrainingData| data.ratings.iter().collect::<Vec<_>>();
        assert_eq!(rows(on(None, Some(0.9), 1)), rows(on(None, Some(0.9), 1)));
        assert_ne!(rows(on(None, Some(0.9), 1)), rows(on(None, Some(0.9), 2)));
        assert_eq!(
            TrainOn {
                positives: Some(Relevance::Any),
                train_share: Some(TrainShare { share: 0.9, take: Take::Random, seed: Some(1) })
            }
            .describe()
            .unwrap(),
            "every rating as a positive, 90 % of the training part (seed 1)"
        );
    }
    /// Users with 2, 3, 4, 5, 15 and 20 ratings: LibRecommender 1.5.2's `split_by_ratio(test_size=0.1)` leaves
    /// 2, 3, 4, 4, 14 and 18 of them in training, the first ones (round(4.5) = 4, round(13.5) = 14).
    #[test]
    fn of_each_user_the_first_ones_are_taken() {
        let lengths = [2u32, 3, 4, 5, 15, 20];
        let rows: Vec<Interaction> = (0u32..)
            .zip(lengths)
            .flat_map(|(user, n)| {
                // In reverse: the order of the ids counts.
                (0..n).rev().map(move |item| Interaction {
                    user: UserIx(user),
                    item: ItemIx(item),
                    rating: 4.0,
                    timestamp: Default::default(),
                })
            })
            .collect();
        let ratings = Interactions::new(lengths.len(), 20, &rows);
        let share = TrainShare { share: 0.9, take: Take::FirstOfEachUser, seed: None };
        let taken = Interactions::new(lengths.len(), 20, &share.of(&ratings));
        for (user, kept) in (0u32..).zip([2u32, 3, 4, 4, 14, 18]) {
            assert_eq!(taken.items_of(UserIx(user)), (0..kept).collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_random_share_needs_a_seed_and_another_takes_none() {
        let on = |share, take, seed| TrainOn {
            positives: None,
            train_share: Some(TrainShare { share, take, seed }),
        };
        assert!(on(0.9, Take::Random, Some(1)).validate().is_ok());
        assert!(on(0.9, Take::FirstOfEachUser, None).validate().is_ok());
        for wrong in [
            on(0.9, Take::Random, None),
            on(0.9, Take::FirstOfEachUser, Some(1)),
            on(0.0, Take::Random, Some(1)),
            on(f64::NAN, Take::FirstOfEachUser, None),
        ] {
            assert!(wrong.validate().is_err(), "{wrong:?}");
        }
    }
}

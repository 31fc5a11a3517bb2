//! The extrinsic part of an item's profile (Chen and Suzumura 2024): what users said of it, in the training part alone.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Profiles;
use crate::data::{Time, TrainingPart, UserIx};

/// What of the reviews of an item goes into its profile, in addition to the number and mean of its training ratings. Such
/// profiles are made once a fold, from its training part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewedItems {
    /// Most reviews of an item, the latest first.
    pub most: usize,
    /// Most words of a review.
    #[schemars(range(min = 1))]
    pub words: usize,
}

impl Default for ReviewedItems {
    fn default() -> Self {
        Self { most: 5, words: 40 }
    }
}

/// What users said of an item in training.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ItemReviews {
    /// Number of training ratings.
    pub ratings: usize,
    /// Their mean and the best rating that there is; none where all ratings are equal.
    pub mean: Option<(f64, f32)>,
    /// The latest first, cut after some words.
    pub reviews: Vec<String>,
}

impl ReviewedItems {
    pub(super) fn validate(&self) -> Result<(), String> {
        match self.words {
            0 => Err("`words` is 0; expected the most words of a review".into()),
            _ => Ok(()),
        }
    }

    /// Of each item of a training part; `texts` are the reviews of its interactions, in their order.
    pub fn select(&self, part: &TrainingPart, texts: &Profiles) -> Vec<ItemReviews> {
        let ratings = part.train.ratings();
        let worst = ratings.iter().copied().fold(f32::INFINITY, f32::min);
        let best = ratings.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let mut items = vec![ItemReviews::default(); part.items.len()];
        let mut sums = vec![0f64; items.len()];
        let mut reviews: Vec<Vec<(Time, UserIx, &str)>> = vec![Vec::new(); items.len()];
        for (row, text) in part.train.iter().zip(&texts.texts) {
            items[row.item.at()].ratings += 1;
            sums[row.item.at()] += f64::from(row.rating);
            if let Some(text) = text {
                reviews[row.item.at()].push((row.timestamp, row.user, text));
            }
        }
        for ((item, sum), mut reviews) in items.iter_mut().zip(sums).zip(reviews) {
            if worst < best && item.ratings > 0 {
                item.mean = Some((sum / item.ratings as f64, best));
            }
            reviews.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
            let chosen = reviews.iter().take(self.most);
            item.reviews = chosen.map(|(_, _, text)| first_words(text, self.words)).collect();
        }
        items
    }
}

/// The first words of a text in one line.
fn first_words(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.len() > most {
        true => format!("{} …", words[..most].join(" ")),
        false => words.join(" "),
    }
}

impl ItemReviews {
    /// `Rated by 12 users, 4.5 of 5 on average.`; none without ratings.
    pub(super) fn rated(&self) -> Option<String> {
        let users = if self.ratings == 1 { "user" } else { "users" };
        match (self.ratings, self.mean) {
            (0, _) => None,
            (n, None) => Some(format!("Used by {n} {users}.")),
            (n, Some((mean, best))) => {
                Some(format!("Rated by {n} {users}, {mean:.1} of {best} on average."))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        data::{Ids, Interaction, Interactions, ItemIx},
        text::Source,
    };

    #[test]
    fn the_latest_reviews_of_training_interactions_are_chosen_and_ratings_are_those_of_training() {
        let ids = |names: &[&str]| Ids::new(names.iter().map(|name| (*name).to_owned()));
        let row = |user: u32, item: u32, rating: f32, time: i64| Interaction {
            user: UserIx(user),
            item: ItemIx(item),
            rating,
            timestamp: Time::from(time),
        };
        let train = [row(0, 0, 5.0, 10), row(1, 0, 4.0, 30), row(2, 0, 3.0, 30)];
        let part = TrainingPart {
            users: ids(&["a", "b", "c"]),
            items: ids(&["x", "y"]),
            train: Interactions::new(3, 2, &train),
            validation: Interactions::new(3, 2, &[row(0, 1, 1.0, 40)]),
        };
        let texts = ["old", "one two\nthree", "tie"].map(|text| Some(text.to_owned()));
        let texts = Profiles::all_from(Source::Review, texts.to_vec());
        let items = ReviewedItems { most: 2, words: 2 }.select(&part, &texts);
        assert_eq!(items[0].reviews, ["one two …", "tie"]);
        assert_eq!(items[0].rated().unwrap(), "Rated by 3 users, 4.0 of 5 on average.");
        assert_eq!(items[1], ItemReviews::default());
        assert_eq!(items[1].rated(), None);
    }
}

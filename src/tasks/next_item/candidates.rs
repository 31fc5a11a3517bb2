//! Which items are ranked for a user, and what users without history are recommended.

use crate::{
    data::{Interactions, Sequences, UserIx},
    ranking::{Prediction, Scorer, UNKNOWN},
    tasks::next_item::models::NextItem,
};

/// How items that a user had before are ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exclude {
    /// They are not ranked. An item that comes again cannot be hit.
    #[default]
    Seen,
    /// They are ranked like all others.
    None,
    /// As the released evaluator of BSARec has it (and that of S3-Rec, from which it comes): they are ranked with the
    /// score 0, and so is the padding row, item 0, with its own score.
    Bsarec,
}

crate::base::names::named!(Exclude, "rule for `exclude`", {
    Seen => "seen",
    None => "none",
    Bsarec => "bsarec",
});

impl Exclude {
    /// In words, for records and fingerprints.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Seen => "seen items are not ranked",
            Self::None => "all items are ranked",
            Self::Bsarec => "seen items are ranked with the score 0, and the padding row is ranked",
        }
    }

    /// Items that are never recommended, `n_items` wide.
    pub fn never(self, input: &Sequences, n_items: usize) -> Interactions {
        match self {
            Self::Seen => input.as_matrix(),
            Self::None | Self::Bsarec => Interactions::new(input.n_users(), n_items, &[]),
        }
    }
}

/// A model with the input of each user: what is ranked.
pub struct Candidates<'a> {
    model: &'a dyn NextItem,
    input: &'a Sequences,
    exclude: Exclude,
    /// Scores for users without history; none where they get no list.
    popularity: Option<Vec<f32>>,
}

impl<'a> Candidates<'a> {
    /// `popularity` is what users without an input get.
    pub fn new(
        model: &'a dyn NextItem,
        input: &'a Sequences,
        exclude: Exclude,
        popularity: Option<Vec<f32>>,
    ) -> Self {
        Self { model, input, exclude, popularity }
    }

    /// By user, whether there is an input.
    pub fn known(input: &Sequences) -> Vec<bool> {
        (0..input.n_users() as u32).map(|user| !input.of(UserIx(user)).is_empty()).collect()
    }

    /// A prediction in which the padding row is an item outside the catalogue.
    pub fn named(&self, mut prediction: Prediction) -> Prediction {
        let n_items = self.input.n_items() as u32;
        let lists = [&mut prediction.list, &mut prediction.judged, &mut prediction.sampled];
        for (_, item) in lists.into_iter().flatten().chain(prediction.random.iter_mut().flatten()) {
            if *item == n_items {
                *item = UNKNOWN;
            }
        }
        prediction
    }
}

impl Scorer for Candidates<'_> {
    fn n_items(&self) -> usize {
        self.input.n_items() + usize::from(self.exclude == Exclude::Bsarec)
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        let (n, width) = (self.input.n_items(), self.n_items());
        if width == n {
            self.model.score(users, self.input, scores);
        } else {
            let mut own = vec![0.0; users.len() * n];
            self.model.score(users, self.input, &mut own);
            for (row, (user, own)) in scores.chunks_mut(width).zip(users.iter().zip(own.chunks(n)))
            {
                row[..n].copy_from_slice(own);
                for item in self.input.of(*user) {
                    row[*item as usize] = 0.0;
                }
                row[n] = self.model.padding_score(*user);
            }
        }
        for (row, user) in scores.chunks_mut(width).zip(users) {
            if self.input.of(*user).is_empty() {
                row.fill(f32::NEG_INFINITY);
                if let Some(popularity) = &self.popularity {
                    row[..n].copy_from_slice(popularity);
                }
            }
        }
    }

    fn omits_items(&self) -> bool {
        self.model.omits_items() || self.exclude == Exclude::Bsarec
    }

    fn recommends_to(&self, user: UserIx) -> bool {
        self.popularity.is_some() || !self.input.of(user).is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::tasks::{next_item::models::tests::part, shared::ModelError};

    /// Scores item i with −i.
    struct Falling;

    impl NextItem for Falling {
        fn score_one(&self, _: UserIx, _: &[u32], scores: &mut [f32]) {
            scores.iter_mut().enumerate().for_each(|(at, score)| *score = -(at as f32));
        }

        fn padding_score(&self, _: UserIx) -> f32 {
            -1.5
        }

        fn save(&self, _: &Path) -> Result<(), ModelError> {
            Ok(())
        }
    }

    #[test]
    fn the_released_evaluator_ranks_seen_items_with_0_and_the_padding_row() {
        let input = part(4, &[&[3, 1], &[]], &[]).input();
        let scores = |exclude, popularity| {
            let candidates = Candidates::new(&Falling, &input, exclude, popularity);
            let mut scores = vec![f32::NAN; 2 * candidates.n_items()];
            candidates.score(&[UserIx(0), UserIx(1)], &mut scores);
            (scores, candidates.recommends_to(UserIx(1)))
        };
        let none = f32::NEG_INFINITY;
        let popular = Some(vec![1.0, 4.0, 2.0, 3.0]);
        let (of_seen, has_list) = scores(Exclude::Seen, popular.clone());
        assert_eq!(of_seen, [0.0, -1.0, -2.0, -3.0, 1.0, 4.0, 2.0, 3.0]);
        assert!(has_list);
        let (of_bsarec, _) = scores(Exclude::Bsarec, popular);
        assert_eq!(of_bsarec, [0.0, 0.0, -2.0, 0.0, -1.5, 1.0, 4.0, 2.0, 3.0, none]);
        let (without, has_list) = scores(Exclude::None, None);
        assert_eq!(without[4..], [none; 4]);
        assert!(!has_list);
        let never = Exclude::Seen.never(&input, 4);
        assert_eq!(never.items_of(UserIx(0)), [1, 3]);
        assert!(Exclude::Bsarec.never(&input, 5).is_empty());
        let candidates = Candidates::new(&Falling, &input, Exclude::Bsarec, None);
        let named =
            candidates.named(Prediction { list: vec![(0.0, 4), (0.0, 3)], ..Default::default() });
        assert_eq!(named.list, [(0.0, UNKNOWN), (0.0, 3)]);
    }
}

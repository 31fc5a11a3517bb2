//! The judge's order and the base's become one.

use super::{Fuse, FuseBy, Judged};

/// The pool's items in the order of the weighted sum; of equals, the base's better first.
pub(super) fn fuse(fuse: &Fuse, pool: &[(f32, u32)], judged: &Judged) -> Vec<u32> {
    let n = pool.len();
    let place_of = |item: u32| judged.order.iter().position(|of| *of == item).unwrap_or(n);
    let scale = |values: Vec<f64>| -> Vec<f64> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let width = if high > low { high - low } else { 1.0 };
        values.into_iter().map(|value| (value - low) / width).collect()
    };
    let by_place = |place: usize| (n.saturating_sub(place)) as f64 / n as f64;
    let (base, judge): (Vec<f64>, Vec<f64>) = match fuse.by {
        FuseBy::Rank => (
            (0..n).map(by_place).collect(),
            pool.iter().map(|(_, item)| by_place(place_of(*item))).collect(),
        ),
        FuseBy::Score => (
            scale(pool.iter().map(|(score, _)| f64::from(*score)).collect()),
            scale(
                pool.iter()
                    .map(|(_, item)| judged.merit.get(place_of(*item)).copied().unwrap_or(0.0))
                    .collect(),
            ),
        ),
    };
    let sum = |at: usize| fuse.judge * judge[at] + (1.0 - fuse.judge) * base[at];
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| sum(*b).total_cmp(&sum(*a)).then(a.cmp(b)));
    order.into_iter().map(|at| pool[at].1).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{Asking, Judge, JudgeName, RerankParams, Scored, Strategy, judged};
    use super::*;
    use crate::{data::UserIx, eval::Slice, llm::LlmError, text::PromptFile};
    use std::{collections::BTreeSet, sync::Mutex};

    fn params(strategy: Strategy, pool: usize) -> RerankParams {
        RerankParams {
            of: "x".into(),
            strategy,
            judge: JudgeName::Encoder,
            text: serde_json::from_value(serde_json::json!({"profiles": "p"})).unwrap(),
            pool,
            fuse: Fuse::default(),
            users: Slice::All,
            batch: 5,
            overlap: 2,
            rounds: 3,
            recheck: 0.0,
            prompt: PromptFile::default(),
            explain: None,
        }
    }

    /// Remembers which items it was asked about.
    struct Watching<J: Judge>(J, Mutex<Vec<Vec<u32>>>);

    impl<J: Judge> Judge for Watching<J> {
        fn order(&self, user: UserIx, items: &[u32]) -> Result<Option<Vec<u32>>, LlmError> {
            self.1.lock().unwrap().push(items.to_vec());
            self.0.order(user, items)
        }

        fn prefers(&self, user: UserIx, a: u32, b: u32) -> Result<Option<bool>, LlmError> {
            self.1.lock().unwrap().push(vec![a, b]);
            self.0.prefers(user, a, b)
        }

        fn relevance(
            &self,
            user: UserIx,
            items: &[u32],
            round: usize,
        ) -> Result<Vec<Option<f64>>, LlmError> {
            self.1.lock().unwrap().push(items.to_vec());
            self.0.relevance(user, items, round)
        }
    }

    proptest! {
        #[test]
        fn every_strategy_gives_each_item_once_and_asks_no_more_than_promised(
            n in 2usize..60, seed in 0u64..1000,
        ) {
            let value = |_: UserIx, item: u32| f64::from(item.wrapping_mul(2_654_435_761) % 1009);
            let items: Vec<u32> = (0..n as u32).map(|at| at * 3 + 1).collect();
            let mut best = items.clone();
            best.sort_by(|a, b| value(UserIx(0), *b).total_cmp(&value(UserIx(0), *a)));
            for strategy in [Strategy::Prompt, Strategy::Bst, Strategy::Batch, Strategy::Relevancy] {
                let params = params(strategy, n);
                let judge = Watching(Scored(value), Mutex::default());
                let asking = Asking { user: UserIx(0), judge: &judge, params: &params, seed };
                let judged = judged(&asking, &items).unwrap();
                let mut sorted = judged.order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(&sorted, &items);
                prop_assert_eq!(judged.merit.len(), n);
                let asked = judge.1.into_inner().unwrap();
                prop_assert_eq!(asked.len(), judged.asked);
                let times = |item: u32| asked.iter().filter(|of| of.contains(&item)).count();
                match strategy {
                    Strategy::Bst => {
                        let log = (n as f64).log2().ceil() as usize;
                        prop_assert!(judged.asked <= n * log);
                        prop_assert_eq!(&judged.order, &best);
                    }
                    Strategy::Relevancy => {
                        prop_assert!(items.iter().all(|item| times(*item) == 3));
                        // Other company each time, where there is enough of it.
                        let company = |of: &Vec<u32>| of.iter().copied().collect::<BTreeSet<u32>>();
                        let companies: BTreeSet<BTreeSet<u32>> = asked.iter().map(company).collect();
                        prop_assert!(n < 11 || companies.len() == asked.len());
                        let sizes = || asked.iter().map(Vec::len);
                        prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
                        prop_assert!(sizes().max().unwrap() <= 5);
                        prop_assert_eq!(&judged.order, &best);
                    }
                    Strategy::Batch => {
                        prop_assert!(items.iter().all(|item| times(*item) >= 1));
                        for pair in asked.windows(2) {
                            let shared = pair[0].iter().filter(|item| pair[1].contains(item)).count();
                            prop_assert!(shared >= 2);
                        }
                    }
                    Strategy::Prompt => prop_assert_eq!(&judged.order, &best),
                }
            }
        }
    }

    #[test]
    fn fusion_weighs_the_judge_against_the_base() {
        let pool = [(9.0, 1), (8.0, 2), (1.0, 3)];
        let judged =
            Judged { order: vec![3, 2, 1], merit: vec![100.0, 10.0, 0.0], ..Judged::default() };
        let with = |judge: f64, by: FuseBy| fuse(&Fuse { judge, by }, &pool, &judged);
        assert_eq!(with(1.0, FuseBy::Rank), [3, 2, 1]);
        assert_eq!(with(0.0, FuseBy::Rank), [1, 2, 3]);
        assert_eq!(with(0.8, FuseBy::Rank), [3, 2, 1]);
        assert_eq!(with(0.5, FuseBy::Rank), [1, 2, 3], "equals keep the base's order");
        // By score: 1 → .5·0 + .5·1, 2 → .5·.1 + .5·.875, 3 → .5.
        assert_eq!(with(0.5, FuseBy::Score), [1, 3, 2]);
    }

    /// Prefers what comes first, or says nothing; and nothing to any other question.
    struct First(Option<bool>);

    impl Judge for First {
        fn order(&self, _: UserIx, _: &[u32]) -> Result<Option<Vec<u32>>, LlmError> {
            Ok(None)
        }
        fn prefers(&self, _: UserIx, _: u32, _: u32) -> Result<Option<bool>, LlmError> {
            Ok(self.0)
        }
        fn relevance(
            &self,
            _: UserIx,
            items: &[u32],
            _: usize,
        ) -> Result<Vec<Option<f64>>, LlmError> {
            Ok(vec![None; items.len()])
        }
    }

    #[test]
    fn without_a_usable_answer_the_base_stays() {
        for n in [2, 5, 12, 30] {
            let pool: Vec<(f32, u32)> = (0..n).map(|at| (100.0 - at as f32, at * 3 + 1)).collect();
            let items: Vec<u32> = pool.iter().map(|(_, item)| *item).collect();
            for strategy in [Strategy::Prompt, Strategy::Bst, Strategy::Batch, Strategy::Relevancy]
            {
                let params = RerankParams { recheck: 1.0, ..params(strategy, n as usize) };
                let asking =
                    Asking { user: UserIx(0), judge: &First(None), params: &params, seed: 1 };
                let judged = judged(&asking, &items).unwrap();
                for by in [FuseBy::Rank, FuseBy::Score] {
                    assert_eq!(
                        fuse(&Fuse { judge: 0.8, by }, &pool, &judged),
                        items,
                        "{strategy:?} {n}"
                    );
                }
                assert_eq!((judged.swapped, judged.inconsistent), (0, 0));
            }
        }
    }

    #[test]
    fn rechecks_stay_within_what_is_promised() {
        for recheck in [0.1, 0.5, 1.0] {
            let params = RerankParams { recheck, ..params(Strategy::Bst, 20) };
            let value = |user: UserIx, item: u32| f64::from((item + 1) * (user.0 + 7919) % 101);
            let items: Vec<u32> = (0..20).collect();
            let (mut asked, mut swapped) = (0, 0);
            for user in 0..200 {
                let judge = Scored(value);
                let asking = Asking { user: UserIx(user), judge: &judge, params: &params, seed: 1 };
                let judged = judged(&asking, &items).unwrap();
                asked += judged.asked;
                swapped += judged.swapped;
                // A control prefers nothing for its place.
                assert_eq!(judged.inconsistent, 0);
            }
            assert!(asked as u64 <= params.questions(200) && swapped > 0, "{recheck}: {asked}");
        }
    }

    #[test]
    fn the_questions_promised_are_enough() {
        for n in 2..70 {
            for strategy in [Strategy::Prompt, Strategy::Bst, Strategy::Batch, Strategy::Relevancy]
            {
                let params = params(strategy, n);
                let judge = Scored(|_: UserIx, item: u32| f64::from(item * 7919 % 101));
                let asking = Asking { user: UserIx(0), judge: &judge, params: &params, seed: 1 };
                let items: Vec<u32> = (0..n as u32).collect();
                let judged = judged(&asking, &items);
                let asked = judged.unwrap().asked;
                let promised = params.questions(1) as usize;
                assert!(asked <= promised, "{strategy:?} {n}: {asked}");
                assert!(strategy == Strategy::Bst || asked == promised);
            }
        }
    }

    #[test]
    fn a_judge_that_prefers_what_comes_first_is_found_out() {
        let params = RerankParams { recheck: 1.0, ..params(Strategy::Bst, 20) };
        let asking =
            Asking { user: UserIx(0), judge: &First(Some(true)), params: &params, seed: 1 };
        let judged = judged(&asking, &(0..20).collect::<Vec<_>>()).unwrap();
        assert!(judged.swapped > 0 && judged.inconsistent == judged.swapped);
    }
}

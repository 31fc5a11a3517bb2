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

    use super::super::{
        Asking, Judge, JudgeName, RerankParams, Scored, Strategy, Users, batch, bst, prompt,
        relevancy,
    };
    use super::*;
    use crate::{data::UserIx, llm::LlmError};
    use std::sync::Mutex;

    fn params(strategy: Strategy, pool: usize) -> RerankParams {
        RerankParams {
            of: "x".into(),
            strategy,
            judge: JudgeName::Encoder,
            text: serde_json::from_value(serde_json::json!({"profiles": "p"})).unwrap(),
            pool,
            fuse: Fuse::default(),
            users: Users::default(),
            batch: 5,
            overlap: 2,
            rounds: 3,
            recheck: 0.0,
        }
    }

    /// Remembers which items it was asked about.
    struct Watching<J: Judge>(J, Mutex<Vec<Vec<u32>>>);

    impl<J: Judge> Judge for Watching<J> {
        fn order(&self, user: UserIx, items: &[u32]) -> Result<Vec<u32>, LlmError> {
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
                let judged = match strategy {
                    Strategy::Prompt => prompt::judge(&asking, &items),
                    Strategy::Bst => bst::judge(&asking, &items),
                    Strategy::Batch => batch::judge(&asking, &items),
                    Strategy::Relevancy => relevancy::judge(&asking, &items),
                }.unwrap();
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

    #[test]
    fn the_questions_promised_are_enough() {
        for n in 2..70 {
            for strategy in [Strategy::Prompt, Strategy::Bst, Strategy::Batch, Strategy::Relevancy]
            {
                let params = params(strategy, n);
                let judge = Scored(|_: UserIx, item: u32| f64::from(item * 7919 % 101));
                let asking = Asking { user: UserIx(0), judge: &judge, params: &params, seed: 1 };
                let items: Vec<u32> = (0..n as u32).collect();
                let judged = match strategy {
                    Strategy::Prompt => prompt::judge(&asking, &items),
                    Strategy::Bst => bst::judge(&asking, &items),
                    Strategy::Batch => batch::judge(&asking, &items),
                    Strategy::Relevancy => relevancy::judge(&asking, &items),
                };
                let asked = judged.unwrap().asked;
                assert!(asked <= params.questions(), "{strategy:?} {n}: {asked}");
                assert!(strategy == Strategy::Bst || asked == params.questions());
            }
        }
    }

    #[test]
    fn a_larger_sample_holds_the_smaller() {
        let training: Vec<usize> = (0..100).collect();
        let of = |cold, sample| Users { cold, sample, seed: 7 }.of(&training);
        let count = |chosen: &[bool]| chosen.iter().filter(|chosen| **chosen).count();
        assert_eq!(count(&of(None, None)), 100);
        assert_eq!(count(&of(Some(10), None)), 10);
        let (small, large) = (of(None, Some(20)), of(None, Some(40)));
        assert_eq!((count(&small), count(&large)), (20, 40));
        assert!(small.iter().zip(&large).all(|(small, large)| !small || *large));
        assert_eq!(count(&of(Some(10), Some(20))), 10);
    }

    #[test]
    fn a_judge_that_prefers_what_comes_first_is_found_out() {
        struct First;
        impl Judge for First {
            fn order(&self, _: UserIx, items: &[u32]) -> Result<Vec<u32>, LlmError> {
                Ok(items.to_vec())
            }
            fn prefers(&self, _: UserIx, _: u32, _: u32) -> Result<Option<bool>, LlmError> {
                Ok(Some(true))
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
        let params = RerankParams { recheck: 1.0, ..params(Strategy::Bst, 20) };
        let asking = Asking { user: UserIx(0), judge: &First, params: &params, seed: 1 };
        let judged = bst::judge(&asking, &(0..20).collect::<Vec<_>>()).unwrap();
        assert!(judged.swapped > 0 && judged.inconsistent == judged.swapped);
    }
}

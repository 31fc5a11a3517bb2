//! Fusion of the orders of judge and base.

use super::{Fuse, FuseBy, Judged, RerankParams, Strategy, Variant};

/// The items of the pool in the fused order; ties are broken by the base's order.
pub(super) fn fuse(params: &RerankParams, pool: &[(f32, u32)], judged: &Judged) -> Vec<u32> {
    match (params.variant, params.strategy) {
        (Variant::Paper, _) => by_weight(&params.fuse(), pool, judged),
        // Merged batches are the result. (`bst` has no such variant.)
        (Variant::Code, Strategy::Batch | Strategy::Bst) => judged.order.clone(),
        (Variant::Code, Strategy::Prompt) => {
            // Ranks from 1, the lowest sum first. The code divides both by the number of items.
            sorted_by(
                pool,
                |at, rank| {
                    let judge = match rank {
                        1..=5 => 0.9,
                        6..=10 => 0.7,
                        _ => 0.5,
                    };
                    -(judge * rank as f64 + (1.0 - judge) * (at + 1) as f64)
                },
                judged,
            )
        }
        (Variant::Code, Strategy::Relevancy) => {
            // From 100 for the base's first item down to 1 for the last item of a full pool.
            let step = 99.0 / (params.pool.max(2) - 1) as f64;
            sorted_by(
                pool,
                |at, rank| {
                    let merit = judged.merit.get(rank - 1).copied().unwrap_or(1.0);
                    0.8 * merit + (1.0 - 0.8) * (100.0 - at as f64 * step)
                },
                judged,
            )
        }
    }
}

/// The pool sorted by `value` of the base's rank (from 0) and the judge's rank (from 1), the highest first.
fn sorted_by(
    pool: &[(f32, u32)],
    value: impl Fn(usize, usize) -> f64,
    judged: &Judged,
) -> Vec<u32> {
    let rank = |item: u32| 1 + judged.order.iter().position(|of| *of == item).unwrap_or(pool.len());
    let values = pool.iter().enumerate().map(|(at, (_, item))| value(at, rank(*item)));
    let values: Vec<f64> = values.collect();
    let mut order: Vec<usize> = (0..pool.len()).collect();
    order.sort_by(|a, b| values[*b].total_cmp(&values[*a]).then(a.cmp(b)));
    order.into_iter().map(|at| pool[at].1).collect()
}

/// The pool sorted by the weighted sum.
fn by_weight(fuse: &Fuse, pool: &[(f32, u32)], judged: &Judged) -> Vec<u32> {
    let n = pool.len();
    let rank_of = |item: u32| judged.order.iter().position(|of| *of == item).unwrap_or(n);
    let scale = |values: Vec<f64>| -> Vec<f64> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let width = if high > low { high - low } else { 1.0 };
        values.into_iter().map(|value| (value - low) / width).collect()
    };
    let by_rank = |rank: usize| (n.saturating_sub(rank)) as f64 / n as f64;
    let (base, judge): (Vec<f64>, Vec<f64>) = match fuse.by {
        FuseBy::Rank => (
            (0..n).map(by_rank).collect(),
            pool.iter().map(|(_, item)| by_rank(rank_of(*item))).collect(),
        ),
        FuseBy::Score => (
            scale(pool.iter().map(|(score, _)| f64::from(*score)).collect()),
            scale(
                pool.iter()
                    .map(|(_, item)| judged.merit.get(rank_of(*item)).copied().unwrap_or(0.0))
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

    use super::*;
    use crate::tasks::top_n::rerank::{
        Judge, JudgeName, RerankParams, RerankRequest, Scored, Strategy, Variant, judged,
    };
    use crate::{data::UserIx, llm::LlmError, ranking::Slice, text::PromptFile};
    use std::{collections::BTreeSet, sync::Mutex};

    fn params(strategy: Strategy, pool: usize) -> RerankParams {
        RerankParams {
            of: "x".into(),
            strategy,
            judge: JudgeName::Encoder,
            text: serde_json::from_value(serde_json::json!({"profiles": "p"})).unwrap(),
            variant: Variant::Paper,
            pool,
            fuse: None,
            users: Slice::All,
            batch: 5,
            overlap: None,
            rounds: None,
            recheck: 0.0,
            prompt: PromptFile::default(),
            explain: None,
        }
    }

    /// Records the items of each question.
    struct Recording<J: Judge>(J, Mutex<Vec<Vec<u32>>>);

    impl<J: Judge> Judge for Recording<J> {
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
        fn every_strategy_ranks_each_item_once_with_no_more_questions_than_announced(
            n in 2usize..60, seed in 0u64..1000,
        ) {
            let value = |_: UserIx, item: u32| f64::from(item.wrapping_mul(2_654_435_761) % 1009);
            let items: Vec<u32> = (0..n as u32).map(|at| at * 3 + 1).collect();
            let mut best = items.clone();
            best.sort_by(|a, b| value(UserIx(0), *b).total_cmp(&value(UserIx(0), *a)));
            for strategy in [Strategy::Prompt, Strategy::Bst, Strategy::Batch, Strategy::Relevancy] {
                let params = params(strategy, n);
                let judge = Recording(Scored(value), Mutex::default());
                let request = RerankRequest { user: UserIx(0), judge: &judge, params: &params, seed };
                let judged = judged(&request, &items).unwrap();
                let mut sorted = judged.order.clone();
                sorted.sort_unstable();
                prop_assert_eq!(&sorted, &items);
                prop_assert_eq!(judged.merit.len(), n);
                let asked = judge.1.into_inner().unwrap();
                prop_assert_eq!(asked.len(), judged.questions);
                let times = |item: u32| asked.iter().filter(|of| of.contains(&item)).count();
                match strategy {
                    Strategy::Bst => {
                        let log = (n as f64).log2().ceil() as usize;
                        prop_assert!(judged.questions <= n * log);
                        prop_assert_eq!(&judged.order, &best);
                    }
                    Strategy::Relevancy => {
                        prop_assert!(items.iter().all(|item| times(*item) == 3));
                        // Different other items each time, if there are enough.
                        let items_of = |of: &Vec<u32>| of.iter().copied().collect::<BTreeSet<u32>>();
                        let distinct: BTreeSet<BTreeSet<u32>> = asked.iter().map(items_of).collect();
                        prop_assert!(n < 11 || distinct.len() == asked.len());
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
    fn fusion_weights_judge_and_base() {
        let pool = [(9.0, 1), (8.0, 2), (1.0, 3)];
        let judged =
            Judged { order: vec![3, 2, 1], merit: vec![100.0, 10.0, 0.0], ..Judged::default() };
        let with = |judge: f64, by: FuseBy| by_weight(&Fuse { judge, by }, &pool, &judged);
        assert_eq!(with(1.0, FuseBy::Rank), [3, 2, 1]);
        assert_eq!(with(0.0, FuseBy::Rank), [1, 2, 3]);
        assert_eq!(with(0.8, FuseBy::Rank), [3, 2, 1]);
        assert_eq!(with(0.5, FuseBy::Rank), [1, 2, 3], "ties keep the base's order");
        // By score: 1 → .5·0 + .5·1, 2 → .5·.1 + .5·.875, 3 → .5.
        assert_eq!(with(0.5, FuseBy::Score), [1, 3, 2]);
    }

    /// Always prefers the first-named item, or never decides; gives no usable response to other questions.
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
    fn without_usable_responses_the_order_of_the_base_is_kept() {
        for n in [2, 5, 12, 30] {
            let pool: Vec<(f32, u32)> = (0..n).map(|at| (100.0 - at as f32, at * 3 + 1)).collect();
            let items: Vec<u32> = pool.iter().map(|(_, item)| *item).collect();
            for strategy in [Strategy::Prompt, Strategy::Bst, Strategy::Batch, Strategy::Relevancy]
            {
                let params = RerankParams { recheck: 1.0, ..params(strategy, n as usize) };
                let request = RerankRequest {
                    user: UserIx(0),
                    judge: &First(None),
                    params: &params,
                    seed: 1,
                };
                let judged = judged(&request, &items).unwrap();
                for by in [FuseBy::Rank, FuseBy::Score] {
                    assert_eq!(
                        by_weight(&Fuse { judge: 0.8, by }, &pool, &judged),
                        items,
                        "{strategy:?} {n}"
                    );
                }
                assert_eq!((judged.decided, judged.swapped, judged.first_twice), (0, 0, 0));
            }
        }
    }

    #[test]
    fn rechecks_stay_within_the_announced_number_of_questions() {
        for recheck in [0.1, 0.5, 1.0] {
            let params = RerankParams { recheck, ..params(Strategy::Bst, 20) };
            let value = |user: UserIx, item: u32| f64::from((item + 1) * (user.0 + 7919) % 101);
            let items: Vec<u32> = (0..20).collect();
            let (mut asked, mut swapped) = (0, 0);
            for user in 0..200 {
                let judge = Scored(value);
                let request =
                    RerankRequest { user: UserIx(user), judge: &judge, params: &params, seed: 1 };
                let judged = judged(&request, &items).unwrap();
                asked += judged.questions;
                swapped += judged.swapped;
                // A control has no position bias.
                assert_eq!((judged.first_twice, judged.second_twice), (0, 0));
            }
            assert!(asked as u64 <= params.questions(200) && swapped > 0, "{recheck}: {asked}");
        }
    }

    #[test]
    fn the_announced_number_of_questions_is_an_upper_bound() {
        for n in 2..70 {
            for strategy in [Strategy::Prompt, Strategy::Bst, Strategy::Batch, Strategy::Relevancy]
            {
                let params = params(strategy, n);
                let judge = Scored(|_: UserIx, item: u32| f64::from(item * 7919 % 101));
                let request =
                    RerankRequest { user: UserIx(0), judge: &judge, params: &params, seed: 1 };
                let items: Vec<u32> = (0..n as u32).collect();
                let judged = judged(&request, &items);
                let asked = judged.unwrap().questions;
                let announced = params.questions(1) as usize;
                assert!(asked <= announced, "{strategy:?} {n}: {asked}");
                assert!(strategy == Strategy::Bst || asked == announced);
            }
        }
    }

    /// Counts of comparisons by `judge`, over many users.
    fn comparisons(judge: &dyn Judge) -> Judged {
        let params = RerankParams { recheck: 1.0, ..params(Strategy::Bst, 20) };
        let items: Vec<u32> = (0..20).collect();
        let mut total = Judged::default();
        for user in 0..200 {
            let request = RerankRequest { user: UserIx(user), judge, params: &params, seed: 1 };
            let of = judged(&request, &items).unwrap();
            total.decided += of.decided;
            total.first_wins += of.first_wins;
            total.swapped += of.swapped;
            total.first_twice += of.first_twice;
            total.second_twice += of.second_twice;
        }
        total
    }

    #[test]
    fn a_bias_for_the_first_position_is_detected() {
        let of = comparisons(&First(Some(true)));
        assert!(of.decided > 5000 && of.first_wins == of.decided, "{of:?}");
        assert_eq!((of.first_twice, of.second_twice), (of.swapped, 0));
        let of = comparisons(&First(Some(false)));
        assert_eq!((of.first_wins, of.first_twice, of.second_twice), (0, 0, of.swapped));
    }

    /// If the item that the base ranks higher were always named first, a judge with the base's order would seem biased.
    #[test]
    fn a_judge_with_the_bases_order_has_no_position_bias() {
        let of = comparisons(&Scored(|_: UserIx, item: u32| -f64::from(item)));
        let share = of.first_wins as f64 / of.decided as f64;
        // Standard deviation of a share of one half: .5 / √n.
        assert!((share - 0.5).abs() < 4.0 * 0.5 / (of.decided as f64).sqrt(), "{share}");
        assert_eq!((of.first_twice, of.second_twice), (0, 0));
    }

    /// Random decisions without a bias: every question is decided by its own coin.
    #[test]
    fn random_decisions_are_not_a_position_bias() {
        struct Coin;
        impl Judge for Coin {
            fn order(&self, _: UserIx, _: &[u32]) -> Result<Option<Vec<u32>>, LlmError> {
                Ok(None)
            }
            fn prefers(&self, user: UserIx, a: u32, b: u32) -> Result<Option<bool>, LlmError> {
                let of = u64::from(user.0) << 40 | u64::from(a) << 20 | u64::from(b);
                Ok(Some(crate::base::random::mix(of ^ 77) & 1 == 0))
            }
            fn relevance(
                &self,
                _: UserIx,
                _: &[u32],
                _: usize,
            ) -> Result<Vec<Option<f64>>, LlmError> {
                Ok(vec![])
            }
        }
        let of = comparisons(&Coin);
        let share = |part: usize, of: usize| part as f64 / of as f64;
        assert!((share(of.first_wins, of.decided) - 0.5).abs() < 0.03, "{of:?}");
        assert!((share(of.first_twice, of.swapped) - 0.25).abs() < 0.03, "{of:?}");
        assert!((share(of.second_twice, of.swapped) - 0.25).abs() < 0.03, "{of:?}");
    }

    fn code(strategy: Strategy, pool: usize) -> RerankParams {
        RerankParams { variant: Variant::Code, ..params(strategy, pool) }
    }

    /// Values computed with the formulas of the released code in Python (items are numbered from 1 in the base's order).
    #[test]
    fn the_variant_code_fuses_and_merges_like_the_released_code() {
        let rerank = |params: &RerankParams, n: u32, judge: &dyn Judge| {
            let pool: Vec<(f32, u32)> = (1..=n).map(|item| (-(item as f32), item)).collect();
            let items: Vec<u32> = (1..=n).collect();
            let request = RerankRequest { user: UserIx(0), judge, params, seed: 1 };
            let judged = judged(&request, &items).unwrap();
            (fuse(params, &pool, &judged), judged)
        };
        let reversed = Scored(|_: UserIx, item: u32| f64::from(item));
        // Ranks 1 to 12 of the items 12 to 1: 0.9 · 1 + 0.1 · 12 = 2.1 for 12, … 0.9 · 5 + 0.1 · 8 = 5.3 for 8,
        // 0.7 · 6 + 0.3 · 7 = 6.3 for 7, 6.7, 7.1, 7.5, 7.9 for 3; 0.5 · 11 + 0.5 · 2 = 6.5 for 2 and for 1.
        let (order, _) = rerank(&code(Strategy::Prompt, 12), 12, &reversed);
        assert_eq!(order, [12, 11, 10, 9, 8, 7, 1, 2, 6, 5, 4, 3]);
        // 0.8 · 10 · item + 0.2 · (100 − (item − 1) · 99 / 9): 8 per rank from the judge, 2.2 from the base.
        let tens = Scored(|_: UserIx, item: u32| 10.0 * f64::from(item));
        let (order, found) = rerank(&code(Strategy::Relevancy, 10), 10, &tens);
        assert_eq!(order, [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]);
        assert_eq!((found.questions, found.in_no_batch, found.merit[0]), (2, 0, 100.0));
        // Two of twelve are in no batch and score 1: .8 + .2 · base, and .8 · 12 + .2 · base for the rest.
        let twelves = Scored(|_: UserIx, _: u32| 12.0);
        let (order, found) = rerank(&code(Strategy::Relevancy, 12), 12, &twelves);
        assert_eq!((found.questions, found.in_no_batch), (2, 2));
        assert_eq!(order, (1..=12).collect::<Vec<u32>>());
        assert_eq!(
            found.merit,
            [[12.0; 5], [12.0; 5]].concat().into_iter().chain([1.0; 2]).collect::<Vec<_>>()
        );
        // Without usable responses every item scores 1, and the base's order is kept.
        let (order, found) = rerank(&code(Strategy::Relevancy, 10), 10, &First(None));
        assert_eq!((order, found.merit), ((1..=10).collect(), vec![1.0; 10]));
        // Thirty in batches of five with overlap two: the last item is in none and keeps the initial rating.
        let (order, found) = rerank(&code(Strategy::Batch, 30), 30, &reversed);
        assert_eq!((found.questions, found.in_no_batch), (9, 1));
        let at = |item: u32| found.order.iter().position(|of| *of == item).unwrap();
        assert_eq!(found.merit[at(30)], 25.0);
        assert_eq!(order, found.order, "no fusion with the base");
        // The order of the package `trueskill`.
        assert_eq!(
            order,
            [
                29, 28, 26, 23, 20, 17, 14, 11, 27, 24, 21, 18, 15, 12, 8, 9, 25, 22, 19, 16, 13,
                6, 10, 5, 7, 30, 3, 4, 2, 1
            ]
        );
    }

    #[test]
    fn the_variant_code_asks_the_announced_number_of_questions() {
        for n in 2..70 {
            for strategy in [Strategy::Prompt, Strategy::Batch, Strategy::Relevancy] {
                let params = code(strategy, n);
                let judge = Scored(|_: UserIx, item: u32| f64::from(item * 7919 % 101));
                let request =
                    RerankRequest { user: UserIx(0), judge: &judge, params: &params, seed: 1 };
                let items: Vec<u32> = (0..n as u32).collect();
                let judged = judged(&request, &items).unwrap();
                assert_eq!(judged.questions as u64, params.questions(1), "{strategy:?} {n}");
                let mut sorted = judged.order.clone();
                sorted.sort_unstable();
                assert_eq!(sorted, items);
                assert_eq!(judged.merit.len(), n);
            }
        }
    }
}

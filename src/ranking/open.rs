//! The one place where the test part of a fold is opened.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    Candidates, EvalError, PredictSpec, Predictions, ScoreSpec, Scores, Source, score,
    score::Labels,
};
use crate::{
    base::interrupt::Interrupt,
    data::{
        DataError, Fold, Interactions, Relevance, ScoringPermit, TestPart, TrainingPart, UserIx,
    },
};

/// The record of an opening.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    pub by: String,
    /// Interactions read.
    pub interactions: usize,
}

/// A fold whose test part lies open, behind these methods alone: to be scored against, and to be
/// handed to those who score elsewhere.
pub struct OpenFold {
    pub training: TrainingPart,
    /// Training and validation part: what a recommendation must not repeat.
    pub seen: Interactions,
    test: Interactions,
    /// Whether the test part is qrels: the convention `trec` then takes grades and users as trec_eval does.
    is_qrels: bool,
}

impl OpenFold {
    /// Opens a fold that was just made.
    pub fn of(fold: Fold) -> Self {
        let test = fold.test(&ScoringPermit::issue()).clone();
        let Fold { users, items, train, validation, .. } = fold;
        Self::new(TrainingPart { users, items, train, validation }, test)
    }

    /// Opens the fold in `dir`.
    pub fn read(dir: &Path) -> Result<Self, DataError> {
        let test = TestPart::at(dir).open(&ScoringPermit::issue())?;
        Ok(Self::new(TrainingPart::read(dir)?, test))
    }

    /// A split that lies open anyway, in somebody's files.
    pub fn new(training: TrainingPart, test: Interactions) -> Self {
        let seen = training.seen();
        Self { training, seen, test, is_qrels: false }
    }

    /// The same, its test part being qrels or not.
    pub fn of_qrels(self, is_qrels: bool) -> Self {
        Self { is_qrels, ..self }
    }

    /// Whether the test part is qrels.
    pub fn is_qrels(&self) -> bool {
        self.is_qrels
    }

    /// Scores `source` against the test part.
    pub fn score(
        &self,
        spec: &ScoreSpec,
        relevant: Relevance,
        source: &Source,
        interrupt: &Interrupt,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<Scores, EvalError> {
        let (train, seen, test) = (&self.training.train, &self.seen, &self.test);
        let labels = Labels { train, seen, test, relevant, is_qrels: self.is_qrels };
        score(spec, &labels, source, interrupt, progress)
    }

    /// By user, whether the test part has any interaction of theirs.
    pub fn tested(&self) -> Vec<bool> {
        let users = (0..self.test.n_users() as u32).map(UserIx);
        users.map(|user| !self.test.items_of(user).is_empty()).collect()
    }

    /// Hands the test part to `write`, and says that it was opened.
    pub fn hand_out<T>(&self, by: &str, write: impl FnOnce(&Interactions) -> T) -> (T, Opening) {
        (write(&self.test), self.opening(by))
    }

    fn opening(&self, by: &str) -> Opening {
        Opening { by: by.into(), interactions: self.test.len() }
    }
}

/// Scores `source` against the test part of the fold in `dir`, and says that it was opened.
pub fn score_fold(
    spec: &ScoreSpec,
    dir: &Path,
    training: &TrainingPart,
    relevant: Relevance,
    source: &Source,
    interrupt: &Interrupt,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Scores, Opening), EvalError> {
    let test = TestPart::at(dir).open(&ScoringPermit::issue())?;
    let fold = OpenFold::new(training.clone(), test);
    let scores = fold.score(spec, relevant, source, interrupt, progress);
    let scores = scores.map_err(|error| error.with_names(&training.users, &training.items))?;
    Ok((scores, fold.opening("evaluate")))
}

/// Evaluates predictions against the test part of the fold in `dir`, and says that it was opened.
pub fn evaluate_fold(
    spec: &ScoreSpec,
    dir: &Path,
    training: &TrainingPart,
    relevant: Relevance,
    predictions: &Predictions,
    interrupt: &Interrupt,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<(Scores, Opening), EvalError> {
    let source = Source::Predictions(predictions);
    score_fold(spec, dir, training, relevant, &source, interrupt, progress)
}

/// Opens the test part of the fold in `dir` for the items that are to be scored, where the prediction needs
/// any. Says that it was opened.
pub fn open_for_candidates(
    dir: &Path,
    relevant: Relevance,
    spec: &PredictSpec,
) -> Result<Option<(Candidates<'static>, Opening)>, DataError> {
    if !spec.needs_test() {
        return Ok(None);
    }
    let test = TestPart::at(dir).open(&ScoringPermit::issue())?;
    let opening = Opening { by: "predict".into(), interactions: test.len() };
    Ok(Some((Candidates { test: std::borrow::Cow::Owned(test), relevant }, opening)))
}

/// What each item is worth to each user, for the one judge that is allowed to know.
pub struct OracleJudgement {
    test: Interactions,
    relevant: Relevance,
    /// Lowest and highest rating of the test part.
    range: (f32, f32),
}

impl OracleJudgement {
    /// 0 for an item that was judged irrelevant, 25 for one without a judgement, 50 to 100 for a relevant
    /// one, by its rating. An order by this worth is best for every metric of one user: see
    /// [`Convention::bounded_by_oracle`](super::Convention::bounded_by_oracle).
    pub fn worth(&self, user: UserIx, item: u32) -> f64 {
        let Ok(at) = self.test.items_of(user).binary_search(&item) else { return 25.0 };
        let rating = self.test.ratings_of(user)[at];
        if !self.relevant.accepts(rating) {
            return 0.0;
        }
        let (low, high) = self.range;
        let width = if high > low { f64::from(high - low) } else { 1.0 };
        50.0 + 50.0 * f64::from(rating - low) / width
    }
}

/// Opens the test part of the fold in `dir` for the oracle. Says that it was opened.
pub fn open_for_oracle(
    dir: &Path,
    relevant: Relevance,
) -> Result<(OracleJudgement, Opening), DataError> {
    let test = TestPart::at(dir).open(&ScoringPermit::issue())?;
    let opening = Opening { by: "oracle".into(), interactions: test.len() };
    Ok((OracleJudgement::new(test, relevant), opening))
}

impl OracleJudgement {
    pub(super) fn new(test: Interactions, relevant: Relevance) -> Self {
        let ratings = || test.ratings().iter().copied();
        let range = (ratings().fold(f32::INFINITY, f32::min), ratings().fold(f32::MIN, f32::max));
        Self { test, relevant, range }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{
        data::{Interaction, ItemIx},
        ranking::{Convention, Metric, Protocol, Rankings, Slice},
    };

    const POOL: usize = 4;
    /// What may be known of an item: nothing, or its rating in the test part.
    const STATES: [Option<f32>; 4] = [None, Some(2.0), Some(4.0), Some(5.0)];
    const METRICS: [Metric; 7] = [
        Metric::Precision,
        Metric::Recall,
        Metric::Ndcg,
        Metric::Map,
        Metric::MapRel,
        Metric::Mrr,
        Metric::HitRate,
    ];

    fn permutations(items: &[u32]) -> Vec<Vec<u32>> {
        if items.is_empty() {
            return vec![vec![]];
        }
        let with_first = |at: usize| {
            let mut rest = items.to_vec();
            let first = rest.remove(at);
            permutations(&rest).into_iter().map(move |mut list| {
                list.insert(0, first);
                list
            })
        };
        (0..items.len()).flat_map(with_first).collect()
    }

    /// Every order of every pool of four items, followed by one item that stays, with and without a relevant
    /// item that is on no list; under every protocol, convention and cutoff.
    #[test]
    fn no_order_of_a_pool_is_better_than_the_oracles() {
        let orders = permutations(&(0..POOL as u32).collect::<Vec<u32>>());
        let spec = ScoreSpec {
            protocols: vec![Protocol::Full, Protocol::Judged, Protocol::JudgedAfterCut],
            conventions: Convention::ALL.to_vec(),
            k: (1..=POOL + 1).collect(),
            slices: vec![Slice::All],
            metrics: METRICS.to_vec(),
            ..ScoreSpec::default()
        };
        let relevant = Relevance::AtLeast(4.0);
        let interrupt = Interrupt::default();
        let (mut hidden, mut compared) = (BTreeSet::new(), 0);
        for config in 0..4usize.pow(POOL as u32) * 3 * 2 {
            let (pool, rest) = (config % 256, config / 256);
            let mut states: Vec<Option<f32>> =
                (0..POOL).map(|at| STATES[pool >> (2 * at) & 3]).collect();
            states.push(STATES[rest % 3]);
            states.push((rest / 3 == 1).then_some(5.0));
            // The last user has the oracle's order, everybody else one of all orders.
            let n_users = orders.len() + 1;
            let rows: Vec<Interaction> = (0..n_users as u32)
                .flat_map(|user| {
                    let states = states.iter().enumerate();
                    states.filter_map(move |(item, rating)| {
                        Some(Interaction {
                            user: UserIx(user),
                            item: ItemIx(item as u32),
                            rating: (*rating)?,
                            timestamp: Default::default(),
                        })
                    })
                })
                .collect();
            if rows.is_empty() {
                continue;
            }
            let test = Interactions::new(n_users, states.len(), &rows);
            let nothing = Interactions::new(n_users, states.len(), &[]);
            let oracle = OracleJudgement::new(test.clone(), relevant);
            let mut best: Vec<u32> = (0..POOL as u32).collect();
            let worth = |item: u32| oracle.worth(UserIx(0), item);
            best.sort_by(|a, b| worth(*b).total_cmp(&worth(*a)));
            let list = |order: &Vec<u32>| {
                let items = order.iter().copied().chain([POOL as u32]).enumerate();
                Some(items.map(|(at, item)| (-(at as f32), item)).collect())
            };
            let lists = orders.iter().chain([&best]).map(list).collect();
            let labels =
                Labels { train: &nothing, seen: &nothing, test: &test, relevant, is_qrels: false };
            let source = Source::Lists(&Rankings { lists, ..Rankings::default() });
            let scores = score(&spec, &labels, &source, &interrupt, &|_, _| {}).unwrap();
            let of_oracle = &scores.rows[orders.len()].values;
            let mut cells = Vec::new();
            for protocol in &scores.spec.protocols {
                for convention in scores.spec.conventions.iter().filter(|c| c.applies_to(*protocol))
                {
                    for k in &scores.spec.k {
                        for metric in &scores.spec.metrics {
                            cells.push((*protocol, *convention, *k, *metric));
                        }
                    }
                }
            }
            assert_eq!(cells.len(), of_oracle.len());
            for (at, (protocol, convention, k, metric)) in cells.into_iter().enumerate() {
                let bound = of_oracle[at];
                for row in &scores.rows[..orders.len()] {
                    let value = row.values[at];
                    compared += 1;
                    let what = || format!("{protocol} {convention} {metric}@{k} {states:?}");
                    match (bound.is_nan(), value.is_nan()) {
                        (false, false) => assert!(value <= bound + 1e-12, "{} {value}", what()),
                        // Whom the oracle's list takes out of the mean, another list gives 0.
                        (true, false) => assert_eq!(value, 0.0, "{}", what()),
                        // Whom another list takes out has 1 with the oracle's: the mean cannot rise.
                        (false, true) if convention.bounded_by_oracle(metric) => {
                            assert!(bound > 1.0 - 1e-12, "{} {bound}", what())
                        }
                        (false, true) if bound < 1.0 - 1e-12 => {
                            hidden.insert((convention.name(), metric.name()));
                        }
                        _ => {}
                    }
                }
            }
        }
        assert!(compared > 1_000_000);
        // Every mean that is said to have no such bound has none.
        let unbounded: BTreeSet<_> = Convention::ALL
            .iter()
            .flat_map(|convention| METRICS.iter().map(move |metric| (*convention, *metric)))
            .filter(|(convention, metric)| !convention.bounded_by_oracle(*metric))
            .map(|(convention, metric)| (convention.name(), metric.name()))
            .collect();
        assert_eq!(hidden, unbounded);
        let expected = [("ebrat2025", "map"), ("ebrat2025", "map-rel"), ("ebrat2025", "ndcg")];
        assert_eq!(unbounded, BTreeSet::from(expected));
    }
}

//! From scores or lists to metrics: lists by protocol, tallies by cutoff, values by convention.

use rayon::prelude::*;

use std::borrow::Cow;

use super::{
    Convention, EvalError, Protocol, Rankings, ScoreSpec, Scorer, Scores, Slice, Ties, UNKNOWN,
    convention::Case,
    metric::{Metric, Sums, gini, ideal_gains, tallies},
    predictions::{Candidates, PredictSpec, Prediction, Predictions},
    scores::{Summary, UserRow},
    ties,
};
use crate::{
    base::interrupt::Interrupt,
    core::Caveats,
    data::{Interactions, Relevance, UserIx},
};

/// What is scored.
pub enum Source<'a> {
    /// A model that gives every item a score.
    Model(&'a dyn Scorer),
    /// A ranked list of items for each user. The protocol `sampled` cannot be computed; `full` takes
    /// the lists as given, `judged` ranks what of the test part is on the list.
    Lists(&'a Rankings),
    /// What was predicted before.
    Predictions(&'a Predictions),
}

/// The parts of a fold that scoring needs.
pub struct Labels<'a> {
    /// Ratings of the training part: popularity and slices.
    pub train: &'a Interactions,
    /// What a recommendation must not repeat: training and validation part.
    pub seen: &'a Interactions,
    pub test: &'a Interactions,
    pub relevant: Relevance,
    /// Whether the test part is qrels.
    pub is_qrels: bool,
}

/// Scores a model or lists.
///
/// Users are those with a test part (for lists: and with a list, under conventions that ask for one).
/// Does not depend on the number of threads: every user is computed alone, means are taken in the
/// order of the users.
pub fn score(
    spec: &ScoreSpec,
    labels: &Labels,
    source: &Source,
    interrupt: &Interrupt,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Scores, EvalError> {
    let spec = spec.normalised();
    let users: Vec<UserIx> = (0..labels.test.n_users() as u32)
        .map(UserIx)
        .filter(|user| !labels.test.items_of(*user).is_empty())
        .collect();
    let job = Job::new(&spec, labels);
    let mut rows = Vec::with_capacity(users.len());
    match source {
        Source::Model(model) => {
            let predict = PredictSpec::exactly(&spec);
            let candidates =
                Candidates { test: Cow::Borrowed(labels.test), relevant: labels.relevant };
            let take = |predictions: Vec<Prediction>| {
                let of_block = users[rows.len()..].par_iter().zip(&predictions);
                let found: Vec<UserRow> =
                    of_block.map(|(user, of)| job.user(*user, of, true)).collect();
                rows.extend(found);
                Ok::<_, EvalError>(())
            };
            let seen = labels.seen;
            predict.predict_blocks(
                *model,
                &users,
                seen,
                Some(&candidates),
                (interrupt, progress),
                take,
            )?;
        }
        Source::Lists(lists) => {
            refuse_sampled(&spec)?;
            rows.par_extend(users.par_iter().map(|user| {
                let list = lists.of(*user);
                let prediction = Prediction {
                    has_list: list.is_some(),
                    list: list.unwrap_or_default().to_vec(),
                    tied: lists.tied_of(*user).to_vec(),
                    ..Prediction::default()
                };
                job.user(*user, &prediction, false)
            }));
        }
        Source::Predictions(predictions) => {
            match predictions.from_scores {
                Some(made) => covers(made, PredictSpec::exactly(&spec))?,
                None => refuse_sampled(&spec)?,
            }
            let from_scores = predictions.from_scores.is_some();
            let nothing = Prediction::default();
            rows.par_extend(users.par_iter().map(|user| {
                let prediction = predictions.users.get(user.at()).unwrap_or(&nothing);
                job.user(*user, prediction, from_scores)
            }));
        }
    }
    let counts: Vec<usize> = (0..labels.train.n_users() as u32)
        .map(|user| labels.train.items_of(UserIx(user)).len())
        .collect();
    let members = |slice: Slice| -> Vec<bool> {
        let members = slice.members(&counts);
        rows.iter().map(|row| members[row.user.at()]).collect()
    };
    let members: Vec<(Slice, Vec<bool>)> =
        spec.slices.iter().map(|slice| (*slice, members(*slice))).collect();
    let summary = job.summarise(&rows, &members);
    let members = members.into_iter().filter(|(slice, _)| !slice.goes_by_counts()).collect();
    Ok(Scores { summary, rows, members, spec })
}

fn refuse_sampled(spec: &ScoreSpec) -> Result<(), EvalError> {
    match spec.protocols.contains(&Protocol::Sampled) {
        true => Err(EvalError::ListsOnly { protocol: Protocol::Sampled }),
        false => Ok(()),
    }
}

/// Whether predictions that were `made` so hold all that is `asked`.
fn covers(made: PredictSpec, asked: PredictSpec) -> Result<(), EvalError> {
    let covers = made.depth >= asked.depth
        && made.ties == asked.ties
        && (made.judged || !asked.judged)
        && (asked.sampled.is_none() || made.sampled == asked.sampled);
    match covers {
        true => Ok(()),
        false => Err(EvalError::NotPredicted),
    }
}

/// Scores all items for `users`. A NaN would be ranked by the rule for ties, an infinite score as the
/// best: neither is a score. Users who get no list have none.
pub fn score_finite(
    model: &dyn Scorer,
    users: &[UserIx],
    scores: &mut [f32],
) -> Result<(), EvalError> {
    model.score(users, scores);
    let n_items = model.n_items().max(1);
    let first_wrong = |(user, row): (&UserIx, &[f32])| {
        let is_score =
            |score: &f32| score.is_finite() || (*score == f32::NEG_INFINITY && model.omits_items());
        let item = row.iter().position(|score| !is_score(score))?;
        let (at, value) = ((*user, item as u32), row[item]);
        let of = format!("the item of index {item}, of the user of index {},", user.0);
        model.recommends_to(*user).then_some(EvalError::NotFinite { value, at, of })
    };
    match users.par_iter().zip(scores.par_chunks(n_items)).find_map_first(first_wrong) {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// One user's whole ranking under one tie rule.
#[derive(Clone, Copy)]
enum Ranked<'a> {
    /// The first items, best first, one more than are kept; equal scores are ties.
    Scored(&'a [(f32, u32)]),
    /// With the ranks that are tied with the next.
    List(&'a [(f32, u32)], &'a [u32]),
}

/// What a user's lists come to under one tie rule.
#[derive(Default)]
struct Evaluated {
    values: Vec<f64>,
    lists: Vec<List>,
    /// The first items of the full ranking.
    top: Vec<(f32, u32)>,
}

/// Grades along one list, and all of the user's from the highest down.
struct Graded {
    gains: Vec<f64>,
    best: Vec<f64>,
}

impl Graded {
    /// DCG of the first `end` grades ÷ that of the best `k`; 0 where there is nothing to find.
    fn ndcg(&self, end: usize, k: usize) -> f64 {
        let dcg = |gains: &[f64], n: usize| -> f64 {
            let discounted = |(at, gain): (usize, &f64)| gain / ((at + 2) as f64).log2();
            gains.iter().take(n).enumerate().map(discounted).sum()
        };
        let ideal = dcg(&self.best, k);
        if ideal > 0.0 { dcg(&self.gains, end) / ideal } else { 0.0 }
    }
}

struct Job<'a> {
    spec: &'a ScoreSpec,
    labels: &'a Labels<'a>,
    sums: Sums,
    /// Whether hits are weighed by their rating under some convention.
    graded: bool,
    /// −log2 of each item's share of the training interactions.
    surprise: Vec<f64>,
    /// The same of an item outside the catalogue.
    surprise_of_unknown: f64,
}

/// One user's list under one protocol: items, how many of them each cutoff keeps, and at which cutoffs a
/// tie decides what is kept.
struct List {
    items: Vec<u32>,
    ends: Vec<usize>,
    tied: Vec<bool>,
    /// Whether any two neighbours are tied, those at the last cutoff included.
    any_tie: bool,
}

impl<'a> Job<'a> {
    fn new(spec: &'a ScoreSpec, labels: &'a Labels<'a>) -> Self {
        let total = labels.train.len().max(1) as f64;
        // An item that nobody has counts as if one had: its surprise would be infinite.
        let surprise = labels
            .train
            .item_counts()
            .iter()
            .map(|count| -(f64::from((*count).max(1)) / total).log2())
            .collect();
        let sums = Sums::up_to(spec.k.last().copied().unwrap_or(0));
        let graded = spec.conventions.iter().any(|convention| convention.is_graded());
        Self { spec, labels, sums, graded, surprise, surprise_of_unknown: total.log2() }
    }

    fn user(&self, user: UserIx, predicted: &Prediction, from_scores: bool) -> UserRow {
        let test = self.labels.test.items_of(user);
        let ratings = self.labels.test.ratings_of(user);
        let relevant: Vec<u32> = test
            .iter()
            .zip(ratings)
            .filter(|(_, rating)| self.labels.relevant.accepts(**rating))
            .map(|(item, _)| *item)
            .collect();
        let mut row = UserRow {
            user,
            train_count: self.labels.train.items_of(user).len(),
            relevant: relevant.len(),
            ..UserRow::default()
        };
        row.has_list = predicted.has_list;
        let evaluate = |rule: Ties, list: &[(f32, u32)]| {
            let ranked = match from_scores {
                true => Ranked::Scored(list),
                false => Ranked::List(list, &predicted.tied),
            };
            self.evaluate(rule, &row, (predicted, ranked), (test, ratings), &relevant)
        };
        let found = evaluate(self.spec.ties, &predicted.list);
        if self.spec.ties == Ties::LowerId && found.lists.iter().any(|list| list.any_tie) {
            let random = Ties::Random { seed: ties::SEED };
            let list = predicted.random.as_ref().unwrap_or(&predicted.list);
            row.random_values = Some(evaluate(random, list).values);
        }
        row.values = found.values;
        for List { items, ends, tied, .. } in found.lists {
            row.lists.push(items);
            row.ends.push(ends);
            row.tied.push(tied);
        }
        row.ranking = found.top;
        row
    }

    /// A user's lists and values with ties ordered as the rule says.
    fn evaluate(
        &self,
        rule: Ties,
        row: &UserRow,
        (predicted, ranked): (&Prediction, Ranked),
        (test, ratings): (&[u32], &[f32]),
        relevant: &[u32],
    ) -> Evaluated {
        let user = row.user;
        let mut found = Evaluated::default();
        let depth = self.spec.depth;
        let reordered;
        let ranked = match ranked {
            Ranked::List(list, tied) if rule != Ties::LowerId && !tied.is_empty() => {
                reordered = rule.reordered(user, list, tied, self.labels.test.n_items());
                Ranked::List(&reordered, tied)
            }
            as_given => as_given,
        };
        // One item more than is kept says whether the last one is tied.
        let after = match ranked {
            Ranked::Scored(list) => {
                found.top.extend(list.iter().take(depth));
                list.get(depth).copied()
            }
            Ranked::List(list, _) => {
                found.top.extend(list.iter().take(depth));
                None
            }
        };
        let ideal_gains = self.ideal_gains(ratings);
        let mut tally = Vec::new();
        for protocol in &self.spec.protocols {
            let list = self.list(*protocol, rule, user, &found.top, after, predicted, ranked, test);
            let hits: Vec<usize> = (0..list.items.len())
                .filter(|at| relevant.binary_search(&list.items[*at]).is_ok())
                .collect();
            tallies(&hits, &list.ends, &mut tally);
            let gains = self.gains_at(&hits, &list.items, test, ratings);
            let graded = self.graded(&list.items, test, ratings);
            for convention in self.spec.conventions.iter().filter(|c| c.applies_to(*protocol)) {
                for (at, k) in self.spec.k.iter().enumerate() {
                    for metric in &self.spec.metrics {
                        let value = match metric {
                            Metric::Novelty => self.novelty(&list.items[..list.ends[at]]),
                            _ if convention.needs_ranking() && !row.has_list => None,
                            _ => convention.value(
                                *metric,
                                &Case {
                                    tally: &tally[at],
                                    k: *k,
                                    relevant: relevant.len(),
                                    hits: &hits,
                                    gains: &gains,
                                    ideal_gains: &ideal_gains,
                                    graded_ndcg: graded
                                        .as_ref()
                                        .map(|of| of.ndcg(list.ends[at], *k)),
                                    sums: &self.sums,
                                },
                            ),
                        };
                        found.values.push(value.unwrap_or(f64::NAN));
                    }
                }
            }
            found.lists.push(list);
        }
        found
    }

    /// The grades along a list, where the judgements are qrels and a convention asks for them.
    fn graded(&self, items: &[u32], test: &[u32], ratings: &[f32]) -> Option<Graded> {
        if !self.labels.is_qrels || !self.spec.conventions.contains(&Convention::Trec) {
            return None;
        }
        let gain = |grade: f32| f64::from(grade.max(0.0));
        let of_item = |item: &u32| test.binary_search(item).map_or(0.0, |at| gain(ratings[at]));
        let mut best: Vec<f64> = ratings.iter().map(|grade| gain(*grade)).collect();
        best.sort_unstable_by(|a, b| b.total_cmp(a));
        Some(Graded { gains: items.iter().map(of_item).collect(), best })
    }

    /// 2^(rating − threshold + 1) − 1, as Elliot has it; 1 where the rule of relevance is no threshold
    /// from below.
    fn gain(&self, rating: f32) -> f64 {
        match self.labels.relevant {
            Relevance::AtLeast(bound) => (f64::from(rating) - f64::from(bound) + 1.0).exp2() - 1.0,
            _ => 1.0,
        }
    }

    /// Gains of the items at the places `hits`; none where no convention asks for them.
    fn gains_at(&self, hits: &[usize], items: &[u32], test: &[u32], ratings: &[f32]) -> Vec<f64> {
        if !self.graded {
            return Vec::new();
        }
        // invariant: a hit is an item of the test part
        let rating = |item: u32| test.binary_search(&item).map_or(0.0, |at| ratings[at]);
        hits.iter().map(|place| self.gain(rating(items[*place]))).collect()
    }

    fn ideal_gains(&self, ratings: &[f32]) -> Vec<f64> {
        if !self.graded {
            return Vec::new();
        }
        let relevant = ratings.iter().filter(|rating| self.labels.relevant.accepts(**rating));
        ideal_gains(&mut relevant.map(|rating| self.gain(*rating)).collect::<Vec<f64>>())
    }

    #[expect(clippy::too_many_arguments, reason = "one call; a struct would only name them twice")]
    fn list(
        &self,
        protocol: Protocol,
        rule: Ties,
        user: UserIx,
        top: &[(f32, u32)],
        after: Option<(f32, u32)>,
        predicted: &Prediction,
        ranked: Ranked,
        test: &[u32],
    ) -> List {
        let cutoffs = &self.spec.k;
        let deepest = cutoffs.last().copied().unwrap_or(0);
        // Whether the items at the rank `k` and behind it are tied, in a list of scores.
        let equal = |scores: &dyn Fn(usize) -> Option<f32>, k: usize| {
            k > 0 && scores(k).is_some_and(|behind| scores(k - 1) == Some(behind))
        };
        let prefix = |items: Vec<u32>, is_tied: &dyn Fn(usize) -> bool| List {
            ends: cutoffs.iter().map(|k| items.len().min(*k)).collect(),
            tied: cutoffs.iter().map(|k| is_tied(*k)).collect(),
            any_tie: (1..=deepest).any(is_tied),
            items,
        };
        // The whole ranking, cut: in lists made elsewhere equal scores are no ties where ranks decide.
        let of_whole = |k: usize| match ranked {
            Ranked::Scored(_) => equal(
                &|at| top.get(at).copied().or(after.filter(|_| at == top.len())).map(|of| of.0),
                k,
            ),
            Ranked::List(_, tied) => k > 0 && tied.binary_search(&(k as u32 - 1)).is_ok(),
        };
        let of_candidates = |candidates: &[(f32, u32)]| {
            let best = ranked_by(rule, user, candidates.to_vec(), deepest + 1);
            let items = best.iter().take(deepest).map(|(_, item)| *item).collect();
            prefix(items, &|k| equal(&|at| best.get(at).map(|(score, _)| *score), k))
        };
        match protocol {
            Protocol::Full => {
                prefix(top.iter().take(deepest).map(|(_, item)| *item).collect(), &of_whole)
            }
            Protocol::JudgedAfterCut => {
                let kept: Vec<(usize, u32)> = top
                    .iter()
                    .take(deepest)
                    .enumerate()
                    .filter(|(_, (_, item))| test.binary_search(item).is_ok())
                    .map(|(place, (_, item))| (place, *item))
                    .collect();
                let end = |k: &usize| kept.partition_point(|(place, _)| place < k);
                List {
                    ends: cutoffs.iter().map(end).collect(),
                    tied: cutoffs.iter().map(|k| of_whole(*k)).collect(),
                    any_tie: (1..=deepest).any(of_whole),
                    items: kept.iter().map(|(_, item)| *item).collect(),
                }
            }
            Protocol::Judged => match ranked {
                Ranked::Scored(_) => of_candidates(&predicted.judged),
                Ranked::List(list, tied) => {
                    let judged = list.iter().zip(0u32..);
                    let judged: Vec<(u32, u32)> = judged
                        .filter(|((_, item), _)| test.binary_search(item).is_ok())
                        .map(|((_, item), place)| (*item, place))
                        .take(deepest + 1)
                        .collect();
                    let is_tied = |k: usize| {
                        let pair = (k.checked_sub(1).and_then(|at| judged.get(at)), judged.get(k));
                        let (Some((_, above)), Some((_, below))) = pair else { return false };
                        (*above..*below).all(|place| tied.binary_search(&place).is_ok())
                    };
                    let items = judged.iter().take(deepest).map(|(item, _)| *item).collect();
                    prefix(items, &is_tied)
                }
            },
            Protocol::Sampled => match ranked {
                Ranked::Scored(_) => of_candidates(&predicted.sampled),
                // Lists were refused before: they give no scores for what is drawn.
                Ranked::List(..) => prefix(Vec::new(), &|_| false),
            },
        }
    }

    fn novelty(&self, list: &[u32]) -> Option<f64> {
        let surprise = |item: &u32| match self.surprise.get(*item as usize) {
            Some(surprise) => *surprise,
            None => self.surprise_of_unknown,
        };
        let total: f64 = list.iter().map(surprise).sum();
        (!list.is_empty()).then(|| total / list.len() as f64)
    }

    /// Means over users in the order of their indices.
    fn summarise(&self, rows: &[UserRow], members: &[(Slice, Vec<bool>)]) -> Vec<Summary> {
        let mut summary = Vec::new();
        let mut first = 0;
        for (protocol_at, protocol) in self.spec.protocols.iter().enumerate() {
            for convention in self.spec.conventions.iter().filter(|c| c.applies_to(*protocol)) {
                for (slice, members) in members {
                    let users: Vec<&UserRow> = rows
                        .iter()
                        .zip(members)
                        .filter_map(|(row, is_member)| is_member.then_some(row))
                        .collect();
                    let of_cutoffs: Vec<Caveats> = (0..self.spec.k.len())
                        .map(|k_at| self.caveats(&users, protocol_at, k_at))
                        .collect();
                    for (metric_at, metric) in self.spec.metrics.iter().enumerate() {
                        for (k_at, k) in self.spec.k.iter().enumerate() {
                            let mut caveats = of_cutoffs[k_at];
                            let place = first + k_at * self.spec.metrics.len() + metric_at;
                            let (value, n_users) = if metric.is_of_all_lists() {
                                self.of_all_lists(*metric, &users, protocol_at, k_at)
                            } else {
                                let of_random = |row: &&UserRow| match &row.random_values {
                                    Some(values) => values[place],
                                    None => row.values[place],
                                };
                                if self.spec.ties == Ties::LowerId
                                    && caveats.tied_share() > ties::TELLING_SHARE
                                {
                                    caveats.random_ties = mean(users.iter().map(of_random)).0;
                                }
                                mean(users.iter().map(|row| row.values[place]))
                            };
                            summary.push(Summary {
                                protocol: *protocol,
                                convention: *convention,
                                slice: *slice,
                                metric: *metric,
                                k: *k,
                                value,
                                n_users,
                                caveats,
                            });
                        }
                    }
                }
                first += self.spec.k.len() * self.spec.metrics.len();
            }
        }
        summary
    }

    /// Counts of a slice's users, without the values under random ties.
    fn caveats(&self, users: &[&UserRow], protocol_at: usize, k_at: usize) -> Caveats {
        let mut caveats = Caveats::default();
        // Without a training part nobody has a history, and nothing is to be said of it.
        let has_training = !self.labels.train.is_empty();
        for row in users.iter().filter(|row| row.relevant > 0) {
            caveats.users += 1;
            caveats.tied_users += usize::from(row.tied[protocol_at][k_at]);
            caveats.users_without_history += usize::from(has_training && row.train_count == 0);
        }
        caveats
    }

    fn of_all_lists(
        &self,
        metric: Metric,
        users: &[&UserRow],
        protocol_at: usize,
        k_at: usize,
    ) -> (Option<f64>, usize) {
        let mut counts = vec![0u32; self.labels.test.n_items()];
        let mut n = 0;
        for row in users {
            let list = &row.lists[protocol_at][..row.ends[protocol_at][k_at]];
            n += usize::from(!list.is_empty());
            for item in list.iter().filter(|item| **item != UNKNOWN) {
                counts[*item as usize] += 1;
            }
        }
        let value = match metric {
            Metric::Gini => gini(&mut counts),
            _ if n == 0 => None,
            _ => Some(counts.iter().filter(|c| **c > 0).count() as f64 / counts.len() as f64),
        };
        (value, n)
    }
}

/// The mean of those values that there are, and how many there are.
fn mean(values: impl Iterator<Item = f64>) -> (Option<f64>, usize) {
    let (mut total, mut n) = (0.0, 0);
    values.filter(|value| !value.is_nan()).for_each(|value| (total, n) = (total + value, n + 1));
    ((n > 0).then(|| total / n as f64), n)
}

/// The first `k` of `candidates` by score, ties as the rule says.
fn ranked_by(
    rule: Ties,
    user: UserIx,
    mut candidates: Vec<(f32, u32)>,
    k: usize,
) -> Vec<(f32, u32)> {
    // No NaN is left, so every pair can be compared; −0 and 0 are a tie.
    candidates.sort_unstable_by(|a, b| {
        let by_score = b.0.partial_cmp(&a.0).unwrap_or(std::cmp::Ordering::Equal);
        by_score.then_with(|| rule.key(user, a.1).cmp(&rule.key(user, b.1)))
    });
    candidates.truncate(k);
    candidates
}

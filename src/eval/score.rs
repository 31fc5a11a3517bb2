//! From scores or lists to metrics: lists by protocol, tallies by cutoff, values by convention.

use rayon::prelude::*;

use super::{
    EvalError, Protocol, ScoreSpec, Scores, Slice,
    convention::Case,
    metric::{Metric, Sums, gini, ideal_gains, tallies},
    protocol::sample_negatives,
    scores::{Summary, UserRow},
    topk::top_k,
};
use crate::{
    data::{Interactions, Relevance, UserIx},
    interrupt::Interrupt,
    model::Recommender,
    rankings::{Rankings, UNKNOWN},
};

/// Scores of so many bytes are held at once: what fits a processor's cache.
const BATCH_BYTES: usize = 8 << 20;

/// What is scored.
pub enum Source<'a> {
    /// A model that gives every item a score.
    Model(&'a dyn Recommender),
    /// A ranked list of items for each user. The protocol `sampled` cannot be computed; `full` takes
    /// the lists as given, `judged` ranks what of the test part is on the list.
    Lists(&'a Rankings),
}

/// The parts of a fold that scoring needs.
pub struct Labels<'a> {
    /// Ratings of the training part: popularity and slices.
    pub train: &'a Interactions,
    /// What a recommendation must not repeat: training and validation part.
    pub seen: &'a Interactions,
    pub test: &'a Interactions,
    pub relevant: Relevance,
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
    let n_items = labels.test.n_items();
    let mut rows = Vec::with_capacity(users.len());
    match source {
        Source::Model(model) => {
            let batch = (BATCH_BYTES / 4 / n_items.max(1)).clamp(64, 1024);
            let mut scores = vec![0f32; batch.min(users.len()) * n_items];
            for users_of_batch in users.chunks(batch) {
                interrupt.check()?;
                let scores = &mut scores[..users_of_batch.len() * n_items];
                model.score(users_of_batch, scores);
                check_finite(users_of_batch, scores)?;
                rows.par_extend(
                    users_of_batch
                        .par_iter()
                        .zip(scores.par_chunks_mut(n_items.max(1)))
                        .map(|(user, scores)| job.user(*user, Given::Scores(scores))),
                );
                progress(rows.len() as u64, users.len() as u64);
            }
        }
        Source::Lists(lists) => {
            if spec.protocols.contains(&Protocol::Sampled) {
                return Err(EvalError::ListsOnly { protocol: Protocol::Sampled });
            }
            rows.par_extend(
                users.par_iter().map(|user| job.user(*user, Given::List(lists.of(*user)))),
            );
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

/// A NaN would be ranked by the rule for ties, an infinite score as the best: neither is a score.
pub fn check_finite(users: &[UserIx], scores: &[f32]) -> Result<(), EvalError> {
    let Some(at) = scores.par_iter().position_first(|score| !score.is_finite()) else {
        return Ok(());
    };
    // invariant: there are scores, so there are users
    let n_items = scores.len() / users.len();
    let (user, item) = (users[at / n_items], (at % n_items) as u32);
    let of = format!("the item of index {item}, of the user of index {},", user.0);
    Err(EvalError::NotFinite { value: scores[at], at: (user, item), of })
}

/// What is known of one user's ranking.
enum Given<'a> {
    Scores(&'a mut [f32]),
    List(Option<&'a [(f32, u32)]>),
}

/// One user's whole ranking.
enum Ranked<'a> {
    Scores(&'a [f32]),
    List(&'a [(f32, u32)]),
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

/// One user's list under one protocol: items, and how many of them each cutoff keeps.
struct List {
    items: Vec<u32>,
    ends: Vec<usize>,
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

    fn user(&self, user: UserIx, given: Given) -> UserRow {
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
        let mut top = Vec::new();
        row.has_list = match &given {
            Given::Scores(_) => true,
            Given::List(list) => list.is_some(),
        };
        let ranked = match given {
            Given::Scores(scores) => {
                for &item in self.labels.seen.items_of(user) {
                    scores[item as usize] = f32::NEG_INFINITY;
                }
                top_k(scores, self.spec.depth, &mut top);
                Ranked::Scores(scores)
            }
            Given::List(list) => {
                let list = list.unwrap_or_default();
                top.extend(list.iter().take(self.spec.depth));
                Ranked::List(list)
            }
        };
        let ideal_gains = self.ideal_gains(ratings);
        let mut tally = Vec::new();
        for protocol in &self.spec.protocols {
            let list = self.list(*protocol, user, &top, &ranked, test, &relevant);
            let hits: Vec<usize> = (0..list.items.len())
                .filter(|at| relevant.binary_search(&list.items[*at]).is_ok())
                .collect();
            tallies(&hits, &list.ends, &mut tally);
            let gains = self.gains_at(&hits, &list.items, test, ratings);
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
                                    sums: &self.sums,
                                },
                            ),
                        };
                        row.values.push(value.unwrap_or(f64::NAN));
                    }
                }
            }
            row.lists.push(list.items);
            row.ends.push(list.ends);
        }
        row.ranking = top;
        row
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

    fn list(
        &self,
        protocol: Protocol,
        user: UserIx,
        top: &[(f32, u32)],
        given: &Ranked,
        test: &[u32],
        relevant: &[u32],
    ) -> List {
        let cutoffs = &self.spec.k;
        let prefix = |items: Vec<u32>| {
            let ends = cutoffs.iter().map(|k| items.len().min(*k)).collect();
            List { items, ends }
        };
        let deepest = cutoffs.last().copied().unwrap_or(0);
        match protocol {
            Protocol::Full => prefix(top.iter().take(deepest).map(|(_, item)| *item).collect()),
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
                    items: kept.iter().map(|(_, item)| *item).collect(),
                }
            }
            Protocol::Judged => prefix(match given {
                Ranked::Scores(scores) => ranked(test.to_vec(), scores, deepest),
                Ranked::List(list) => list
                    .iter()
                    .map(|(_, item)| *item)
                    .filter(|item| test.binary_search(item).is_ok())
                    .take(deepest)
                    .collect(),
            }),
            Protocol::Sampled => {
                let settings = self.spec.sampled;
                let mut candidates = sample_negatives(
                    settings.negatives,
                    self.labels.test.n_items(),
                    self.labels.seen.items_of(user),
                    test,
                    settings.seed,
                    user.0,
                );
                candidates.extend_from_slice(relevant);
                // Lists were refused before: they give no scores for what is drawn.
                prefix(match given {
                    Ranked::Scores(scores) => ranked(candidates, scores, deepest),
                    Ranked::List(_) => Vec::new(),
                })
            }
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
                    for (metric_at, metric) in self.spec.metrics.iter().enumerate() {
                        for (k_at, k) in self.spec.k.iter().enumerate() {
                            let place = first + k_at * self.spec.metrics.len() + metric_at;
                            let (value, n_users) = if metric.is_of_all_lists() {
                                self.of_all_lists(*metric, &users, protocol_at, k_at)
                            } else {
                                let values = users
                                    .iter()
                                    .map(|row| row.values[place])
                                    .filter(|v| !v.is_nan());
                                let (mut total, mut n) = (0.0, 0);
                                values.for_each(|value| (total, n) = (total + value, n + 1));
                                ((n > 0).then(|| total / f64::from(n)), n as usize)
                            };
                            summary.push(Summary {
                                protocol: *protocol,
                                convention: *convention,
                                slice: *slice,
                                metric: *metric,
                                k: *k,
                                value,
                                n_users,
                            });
                        }
                    }
                }
                first += self.spec.k.len() * self.spec.metrics.len();
            }
        }
        summary
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

/// The first `k` of `candidates` by score, ties by lower item index.
fn ranked(mut candidates: Vec<u32>, scores: &[f32], k: usize) -> Vec<u32> {
    let of = |item: u32| scores.get(item as usize).copied().unwrap_or(f32::NEG_INFINITY);
    candidates.retain(|item| of(*item) > f32::NEG_INFINITY);
    // No NaN is left, so every pair can be compared; −0 and 0 are a tie.
    candidates.sort_unstable_by(|a, b| {
        of(*b).partial_cmp(&of(*a)).unwrap_or(std::cmp::Ordering::Equal).then(a.cmp(b))
    });
    candidates.truncate(k);
    candidates
}

//! Folds, and the lists of systems on them, of an experiment or of files: what checks of rankings are about.
//!
//! Each prediction is read once, and what all checks need of it is kept.

use std::{collections::HashSet, sync::Arc};

use super::{Subject, threads};
use crate::{
    base::hash::Digest,
    data::{Interactions, Relevance, SplitSpec, UserIx},
    ranking::{OpenFold, Predictions, Rankings, Slice, Ties, UNKNOWN, files::Findings, ties},
    tasks::{
        TrialRecord,
        shared::{
            RecordSettings,
            steps::{ExternalStats, SplitStats},
        },
    },
};

/// Folds with the lists of systems.
pub struct Runs {
    pub folds: Vec<TestedFold>,
    /// Folds of the same schemes that nothing is listed for.
    pub others: Vec<TestedFold>,
    pub runs: Vec<Run>,
}

/// A fold.
pub struct TestedFold {
    /// Folds of one group are of one scheme on the same data, with the same indices of users and items.
    pub group: usize,
    /// With the label of its variant, where there are several.
    pub name: String,
    pub open: Arc<OpenFold>,
    pub relevant: Relevance,
    pub ties: Ties,
    /// Cutoffs, ascending.
    pub k: Vec<usize>,
    /// Whether the scheme says that the test part is later than the training part; none of files.
    pub by_time: Option<bool>,
    /// What was said when the data were read.
    pub notes: Vec<String>,
    /// By user, the relevant items of the test part, ascending.
    liked: Vec<Vec<u32>>,
}

/// How lists came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A model of assay ranked the catalogue.
    Model,
    /// A reranker of assay.
    Reranker,
    File,
}

/// The lists of one system on one fold with one seed.
pub struct Run {
    pub system: String,
    /// Index of the fold.
    pub fold: usize,
    pub seed: String,
    pub origin: Origin,
    /// Whether it is an oracle.
    pub knows_test: bool,
    /// The trial, in [`Subject::done`].
    pub trial: Option<usize>,
    /// The first items of all lists, down to the deepest cutoff.
    pub digest: Digest,
    /// Users with a relevant item in the test part, in the order of their indices.
    pub users: Vec<UserList>,
    /// Lists of all users.
    pub n_lists: usize,
    /// Items on them.
    pub n_items: usize,
    /// Lists with an item of the user's training part, and such items, as they came.
    pub lists_with_seen: usize,
    pub seen_items: usize,
    /// By other fold of the group: its name, and the share of lists without an item of its training part. Only
    /// where the lists have items of their own training part.
    pub avoiding: Vec<(String, f64)>,
    /// By cutoff, users of `users` for whom a tie decides what is within it.
    pub tied: Vec<usize>,
    /// nDCG at the deepest cutoff, with ties as the rule says and in random order.
    pub ndcg: f64,
    pub ndcg_of_random_ties: f64,
}

/// The list of one user.
#[derive(Clone, Debug, PartialEq)]
pub struct UserList {
    pub user: UserIx,
    /// Relevant items in the test part.
    pub relevant: usize,
    pub has_list: bool,
    /// Items on the list.
    pub length: usize,
    /// Items that could be recommended.
    pub candidates: usize,
    /// Ranks of relevant items, from 0.
    pub hits: Vec<u32>,
}

impl UserList {
    /// Relevant items among the first `k`.
    pub fn hits_at(&self, k: usize) -> usize {
        self.hits.partition_point(|rank| (*rank as usize) < k)
    }
}

impl TestedFold {
    /// A fold, with the default of the rest.
    pub fn new(group: usize, name: String, open: Arc<OpenFold>, relevant: Relevance) -> Self {
        let liked = |test: &Interactions| {
            let users = (0..test.n_users() as u32).map(UserIx);
            let of_user = |user: UserIx| {
                let rated = test.items_of(user).iter().zip(test.ratings_of(user));
                rated
                    .filter(|(_, rating)| relevant.accepts(**rating))
                    .map(|(item, _)| *item)
                    .collect()
            };
            users.map(of_user).collect()
        };
        let (liked, _) = open.hand_out("audit", liked);
        Self {
            group,
            name,
            relevant,
            liked,
            open,
            ties: Ties::default(),
            k: vec![10],
            by_time: None,
            notes: Vec::new(),
        }
    }

    /// With a rule for ties, cutoffs in ascending order, and what was said when the files were read.
    pub fn of_files(self, ties: Ties, k: Vec<usize>, notes: Vec<String>) -> Self {
        Self { ties, k, notes, ..self }
    }

    /// Lends the test part.
    pub fn test<T>(&self, look: impl FnOnce(&Interactions) -> T) -> T {
        self.open.hand_out("audit", look).0
    }

    /// By user, the relevant items of the test part, ascending.
    pub fn liked(&self) -> &[Vec<u32>] {
        &self.liked
    }

    /// Users of a slice.
    pub fn members(&self, slice: Slice) -> Vec<bool> {
        slice.members(&self.open.training.counts())
    }

    /// The deepest cutoff.
    pub fn depth(&self) -> usize {
        self.k.last().copied().unwrap_or(10)
    }
}

/// What is known of lists beside them.
pub struct Listed<'a> {
    pub system: &'a str,
    pub fold: usize,
    pub seed: String,
    pub origin: Origin,
    pub knows_test: bool,
    pub trial: Option<usize>,
    /// Lists with items of the user's training part, and such items, which were left out when the lists were read.
    pub dropped: (usize, usize),
}

impl Run {
    /// Reads everything from `predictions` that checks need.
    pub fn new(of: Listed, folds: &[TestedFold], predictions: &Predictions) -> Self {
        let fold = &folds[of.fold];
        let (seen, n_items) = (&fold.open.seen, fold.open.training.items.len());
        let depth = fold.depth();
        let mut run = Self {
            system: of.system.to_owned(),
            fold: of.fold,
            seed: of.seed,
            origin: of.origin,
            knows_test: of.knows_test,
            trial: of.trial,
            digest: Digest::of(""),
            users: Vec::new(),
            n_lists: 0,
            n_items: 0,
            lists_with_seen: of.dropped.0,
            seen_items: of.dropped.1,
            avoiding: Vec::new(),
            tied: vec![0; fold.k.len()],
            ndcg: 0.0,
            ndcg_of_random_ties: 0.0,
        };
        let mut hasher = blake3::Hasher::new();
        // By item, the last user who has it in training, and who likes it.
        let (mut seen_by, mut liked_by) = (vec![u32::MAX; n_items], vec![u32::MAX; n_items]);
        let random = Ties::Random { seed: ties::SEED };
        let lists = predictions.evaluated_lists(fold.ties, n_items);
        let in_random_order = predictions.evaluated_lists(random, n_items);
        let users = predictions.users.iter().zip(&fold.liked).zip(lists.zip(in_random_order));
        for (at, ((prediction, liked), (list, random_list))) in (0u32..).zip(users) {
            let user = UserIx(at);
            let seen_items = seen.items_of(user);
            seen_items.iter().for_each(|item| seen_by[*item as usize] = at);
            liked.iter().for_each(|item| liked_by[*item as usize] = at);
            let is = |of: &[u32], item: u32| item != UNKNOWN && of[item as usize] == at;
            let list = list.as_deref().unwrap_or_default();
            if prediction.has_list {
                run.n_lists += 1;
                run.n_items += list.len();
                let repeated = list.iter().filter(|(_, item)| is(&seen_by, *item)).count();
                run.seen_items += repeated;
                run.lists_with_seen += usize::from(repeated > 0);
            }
            hasher.update(&at.to_le_bytes());
            for (_, item) in list.iter().take(depth) {
                hasher.update(&item.to_le_bytes());
            }
            if liked.is_empty() {
                continue;
            }
            let ranks = |list: &[(f32, u32)]| -> Vec<u32> {
                let hits = (0u32..).zip(list).filter(|(_, (_, item))| is(&liked_by, *item));
                hits.map(|(rank, _)| rank).collect()
            };
            let hits = ranks(list);
            run.ndcg += ndcg(&hits, liked.len(), depth);
            // Lists of models that are tied are kept in random order, too; those of files are reordered.
            let of_random = match &prediction.random {
                Some(list) if fold.ties == Ties::LowerId => ranks(list),
                _ => ranks(random_list.as_deref().unwrap_or_default()),
            };
            run.ndcg_of_random_ties += ndcg(&of_random, liked.len(), depth);
            for (tied, k) in run.tied.iter_mut().zip(&fold.k) {
                let all = &prediction.list;
                let is_tied = match predictions.from_scores {
                    Some(_) => *k < all.len() && all[k - 1].0 == all[*k].0,
                    None => prediction.tied.binary_search(&(*k as u32 - 1)).is_ok(),
                };
                *tied += usize::from(is_tied);
            }
            run.users.push(UserList {
                user,
                relevant: liked.len(),
                has_list: prediction.has_list,
                length: list.len(),
                candidates: n_items - seen_items.len(),
                hits,
            });
        }
        let n = run.users.len().max(1) as f64;
        run.ndcg /= n;
        run.ndcg_of_random_ties /= n;
        run.digest = Digest::from_blake3(hasher.finalize());
        if run.lists_with_seen > 0 {
            let others = folds.iter().enumerate();
            let others = others.filter(|(at, other)| *at != run.fold && other.group == fold.group);
            let share =
                |of: &OpenFold| avoiding(predictions, &of.seen) as f64 / run.n_lists.max(1) as f64;
            run.avoiding =
                others.map(|(_, other)| (other.name.clone(), share(&other.open))).collect();
        }
        run
    }

    /// The share of lists without an item of their own fold's training part.
    pub fn avoiding_own(&self) -> f64 {
        1.0 - self.lists_with_seen as f64 / self.n_lists.max(1) as f64
    }

    /// `als`, or `als u1`
    pub fn of_fold(&self, runs: &Runs) -> String {
        format!("{} on {}", self.system, runs.folds[self.fold].name)
    }
}

/// nDCG of one user: gain 1, discount log2(rank + 1) from rank 1, against the best order of min(k, relevant) items.
pub fn ndcg(hits: &[u32], relevant: usize, k: usize) -> f64 {
    let discount = |rank: u32| 1.0 / f64::from(rank + 2).log2();
    let dcg: f64 =
        hits.iter().filter(|rank| (**rank as usize) < k).map(|rank| discount(*rank)).sum();
    let ideal: f64 = (0..relevant.min(k) as u32).map(discount).sum();
    if ideal > 0.0 { dcg / ideal } else { 0.0 }
}

/// How many lists have nothing that their user has in `seen`.
fn avoiding(predictions: &Predictions, seen: &Interactions) -> usize {
    let avoids = |(at, list): (usize, Option<&[(f32, u32)]>)| {
        let seen = seen.items_of(UserIx(at as u32));
        list.is_some_and(|list| list.iter().all(|(_, item)| seen.binary_search(item).is_err()))
    };
    predictions.lists().enumerate().filter(|of| avoids(*of)).count()
}

impl Runs {
    /// Of an experiment.
    pub fn of_experiment(subject: &Subject) -> Result<Self, String> {
        let mut splits: Vec<usize> = Vec::new();
        let mut folds = Vec::new();
        for trial in &subject.done {
            if splits.contains(&trial.split) {
                continue;
            }
            splits.push(trial.split);
            let variant = &subject.experiment.variants[trial.variant];
            let settings = RecordSettings::of(variant)?;
            let spec: SplitSpec = serde_json::from_value(variant.split.clone())
                .map_err(|error| format!("the record of the experiment is damaged: {error}"))?;
            let stats: SplitStats = subject.stats(trial.split)?;
            let name = match variant.label.is_empty() {
                true => trial.fold.clone(),
                false => format!("{}{}", trial.fold, variant.label),
            };
            let group = trial.variant;
            let fold = TestedFold::new(group, name, subject.fold(trial.split)?, settings.relevant);
            folds.push(TestedFold {
                ties: settings.evaluate.ties,
                k: settings.evaluate.normalised().k,
                by_time: Some(spec.is_by_time()),
                notes: stats.notes,
                ..fold
            });
        }
        let n_own = folds.len();
        folds.extend(other_folds(subject, &splits)?);
        let at = |trial: &TrialRecord| splits.iter().position(|split| *split == trial.split);
        let numbered: Vec<(usize, &TrialRecord)> =
            subject.done.iter().copied().enumerate().collect();
        let read = |(place, trial): &(usize, &TrialRecord)| -> Result<Run, String> {
            let system = subject.system(trial);
            let origin = match (&system.reranks, trial.fit) {
                (Some(_), _) => Origin::Reranker,
                (None, Some(_)) => Origin::Model,
                (None, None) => Origin::File,
            };
            let mut dropped = (0, 0);
            if origin == Origin::File {
                let stats: ExternalStats = subject.stats(trial.predictions)?;
                let of = stats.findings;
                dropped = if of.seen_dropped {
                    (of.lists_with_seen_items, of.seen_items)
                } else {
                    (0, 0)
                };
            }
            let listed = Listed {
                system: &trial.name,
                fold: at(trial).unwrap_or_default(),
                seed: trial.seed.to_string(),
                origin,
                knows_test: system.knows_test,
                trial: Some(*place),
                dropped,
            };
            Ok(Run::new(listed, &folds, &subject.predictions(trial)?))
        };
        let runs: Result<Vec<Run>, String> = threads::each(&numbered, read).into_iter().collect();
        let runs = runs?;
        let others = folds.split_off(n_own);
        Ok(Self { folds, others, runs })
    }

    /// Of files: their fold, other folds, and lists by name.
    pub fn of_files(
        fold: TestedFold,
        others: Vec<TestedFold>,
        lists: Vec<(String, Rankings, Findings)>,
    ) -> Self {
        let mut folds = vec![fold];
        folds.extend(others);
        let run = |(name, rankings, findings): (String, Rankings, Findings)| {
            let dropped = (findings.lists_with_seen_items, findings.seen_items);
            let listed = Listed {
                system: &name,
                fold: 0,
                seed: String::new(),
                origin: Origin::File,
                knows_test: false,
                trial: None,
                dropped: if findings.seen_dropped { dropped } else { (0, 0) },
            };
            Run::new(listed, &folds, &Predictions::of_lists(rankings, None))
        };
        let runs = lists.into_iter().map(run).collect();
        let others = folds.split_off(1);
        Self { folds, others, runs }
    }

    /// Runs that are claims: not oracles.
    pub fn claims(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter().filter(|run| !run.knows_test)
    }

    /// Runs of each system, in order.
    pub fn by_system(&self) -> Vec<(&str, Vec<&Run>)> {
        let mut systems: Vec<(&str, Vec<&Run>)> = Vec::new();
        for run in self.claims() {
            match systems.iter_mut().find(|(name, _)| *name == run.system) {
                Some((_, runs)) => runs.push(run),
                None => systems.push((&run.system, vec![run])),
            }
        }
        systems
    }

    /// Groups of folds, in order.
    pub fn groups(&self) -> Vec<Vec<&TestedFold>> {
        let mut groups: Vec<Vec<&TestedFold>> = Vec::new();
        for fold in &self.folds {
            match groups.iter_mut().find(|group| group[0].group == fold.group) {
                Some(group) => group.push(fold),
                None => groups.push(vec![fold]),
            }
        }
        groups
    }
}

/// Folds of the same schemes that the experiment does not run, and that are in the workspace. They are read only
/// where lists from files may be of another fold.
fn other_folds(subject: &Subject, splits: &[usize]) -> Result<Vec<TestedFold>, String> {
    let has_files = subject.done.iter().any(|trial| trial.fit.is_none());
    if !has_files {
        return Ok(Vec::new());
    }
    let own: HashSet<Digest> =
        splits.iter().map(|split| subject.experiment.steps[*split].key).collect();
    let mut others = Vec::new();
    for record in subject.workspace.records().iter().filter(|record| record.kind == "split") {
        if own.contains(&record.key) {
            continue;
        }
        for split in splits {
            let this = subject.record(*split)?;
            let is_same = ["data", "split"].iter().all(|name| {
                record.key_inputs.get(name).is_some()
                    && record.key_inputs.get(name) == this.key_inputs.get(name)
            });
            let Some(name) = record.key_inputs.get("fold").and_then(|name| name.as_str()) else {
                continue;
            };
            let trial = subject.done.iter().find(|trial| trial.split == *split);
            if let (true, Some(trial)) = (is_same, trial) {
                let dir = subject.workspace.step_dir("split", &record.key);
                // What cannot be read is not needed.
                if let Ok(open) = OpenFold::read(&dir) {
                    let fold =
                        TestedFold::new(trial.variant, name.into(), Arc::new(open), Relevance::Any);
                    others.push(fold);
                }
                break;
            }
        }
    }
    Ok(others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ndcg_of_a_list_worked_out_by_hand() {
        // Hits at ranks 1 and 3 of two relevant items: (1 + 1/2) / (1 + 1/log2(3)).
        let expected = 1.5 / (1.0 + 1.0 / 3f64.log2());
        assert!((ndcg(&[0, 2], 2, 10) - expected).abs() < 1e-15);
        assert_eq!(ndcg(&[0, 2], 2, 0), 0.0);
        assert_eq!(ndcg(&[], 0, 10), 0.0);
    }
}

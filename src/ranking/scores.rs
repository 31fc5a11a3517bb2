//! Results of scoring, in memory and as files.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use polars::prelude::*;
use serde::{Deserialize, Serialize};

use super::{
    Convention, Fallback, Metric, Protocol, ScoreSpec, Slice,
    stored::{SUMMARY, USERS},
};
use crate::{
    base::{interrupt::Interrupted, parquet},
    core::{Caveats, Mean, MeasureKey, Measurements},
    data::{DataError, Ids, UserIx},
};

/// The columns of [`USERS`] that say whether a tie decides what is on a list, and whether it has an item.
pub(super) const TIED: &str = "tied";
pub(super) const LISTED: &str = "listed";

/// Why scoring failed.
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Data(#[from] DataError),
    #[error(
        "the protocol `{protocol}` needs a score for every candidate, and lists give none; use `full`, \
         `judged` or `judged-after-cut`"
    )]
    ListsOnly { protocol: Protocol },
    #[error("internal error: the predictions were made for another evaluation")]
    NotPredicted,
    #[error(
        "the model gives {of} the score {value}: a score must be finite\n  = help: the fitted model is of no \
         use; look for ratings or settings out of the ordinary"
    )]
    NotFinite { value: f32, at: (UserIx, u32), of: String },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Malformed { path: PathBuf, problem: String },
}

impl EvalError {
    /// With the ids of the data set in place of indices.
    pub fn with_names(self, users: &Ids, items: &Ids) -> Self {
        match self {
            Self::NotFinite { value, at, .. } => {
                let of = format!("item {} of user {}", items.name(at.1), users.name(at.0.0));
                Self::NotFinite { value, at, of }
            }
            error => error,
        }
    }
}

impl From<EvalError> for crate::core::StepError {
    fn from(error: EvalError) -> Self {
        match error {
            EvalError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            EvalError::Data(error) => error.into(),
            error => Self::failed(error),
        }
    }
}

/// One mean.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub protocol: Protocol,
    pub convention: Convention,
    pub slice: Slice,
    pub metric: Metric,
    pub k: usize,
    /// None where no user is in the mean.
    pub value: Option<f64>,
    /// How many users (for metrics of all lists: lists) the value rests on.
    pub n_users: usize,
    #[serde(flatten)]
    pub caveats: Caveats,
}

impl From<&Summary> for Mean {
    fn from(of: &Summary) -> Self {
        let slice = of.slice.to_string();
        let key = measure_key(&(of.protocol, of.convention, of.k, of.metric));
        Self { key, slice, value: of.value, n: of.n_users, caveats: of.caveats }
    }
}

/// All about one user.
#[derive(Clone, Debug)]
pub struct UserRow {
    pub user: UserIx,
    /// Ratings in the training part, which slices go by.
    pub train_count: usize,
    /// Relevant items in the test part.
    pub relevant: usize,
    /// Whether there is a ranking for her at all.
    pub has_list: bool,
    /// By pair of protocol and convention, then cutoff, then metric; NaN where the user is not in
    /// the mean.
    pub values: Vec<f64>,
    /// The values under random ties, where they can differ.
    pub random_values: Option<Vec<f64>>,
    /// The list under each protocol, and how much of it each cutoff keeps.
    pub lists: Vec<Vec<u32>>,
    pub ends: Vec<Vec<usize>>,
    /// Whether a tie decides what is within the cutoff, by protocol and cutoff.
    pub tied: Vec<Vec<bool>>,
    /// The first items of the full ranking with their scores.
    pub ranking: Vec<(f32, u32)>,
}

impl Default for UserRow {
    fn default() -> Self {
        Self {
            user: UserIx(0),
            train_count: 0,
            relevant: 0,
            has_list: false,
            values: Vec::new(),
            random_values: None,
            lists: Vec::new(),
            ends: Vec::new(),
            tied: Vec::new(),
            ranking: Vec::new(),
        }
    }
}

/// One column of per-user values.
pub type CellOf = (Protocol, Convention, usize, Metric);

fn measure_key((protocol, convention, k, metric): &CellOf) -> MeasureKey {
    MeasureKey {
        protocol: protocol.to_string(),
        convention: convention.to_string(),
        metric: metric.to_string(),
        k: *k,
    }
}

/// One list of each user: what metrics of all lists are over.
pub type ListOf = (Protocol, Convention, usize);

/// Every user's values.
#[derive(Clone, Debug)]
pub struct UserCells {
    /// Of metrics that are means over users.
    pub cells: Vec<CellOf>,
    /// Ids, in the order of the rows.
    pub users: Vec<String>,
    /// Ratings in the training part, which slices go by.
    pub train_counts: Vec<usize>,
    /// Who belongs to those slices that do not go by counts.
    pub members: Vec<(Slice, Vec<bool>)>,
    /// By cell, then by user; NaN where a user is not in a mean.
    pub values: Vec<Arc<[f64]>>,
    pub lists: Vec<ListOf>,
    /// Whether a user has an item on a list, by list, then by user.
    pub listed: Vec<Arc<[bool]>>,
    /// Whether a user has a relevant item in the test part.
    pub relevant: Vec<bool>,
    /// Whether a tie decides what is on a list, by list, then by user.
    pub tied: Vec<Arc<[bool]>>,
}

impl UserCells {
    /// The same for all that comes after evaluation.
    pub fn measurements(self, spec: &ScoreSpec) -> Measurements {
        let members = |slice: &Slice| (slice.to_string(), self.members(*slice).into());
        let slices = spec.slices.iter().map(members).collect();
        let pooled = || spec.metrics.iter().filter(|metric| metric.is_of_all_lists());
        let of_list = |(protocol, convention, k): &ListOf, metric: &Metric| {
            measure_key(&(*protocol, *convention, *k, *metric))
        };
        let each = self.lists.iter().flat_map(|list| pooled().map(move |of| of_list(list, of)));
        let in_pooled = self.listed.iter().flat_map(|is| pooled().map(move |_| is.clone()));
        Measurements {
            unit: "user",
            clusters: None,
            slices,
            columns: self.cells.iter().map(measure_key).collect(),
            pooled: each.collect(),
            in_pooled: in_pooled.collect(),
            ids: self.users.into(),
            values: self.values,
        }
    }

    /// Which users belong to a slice.
    pub fn members(&self, slice: Slice) -> Vec<bool> {
        let drawn = self.members.iter().find(|(of, _)| *of == slice);
        match drawn {
            Some((_, members)) => members.clone(),
            None if slice.goes_by_counts() => slice.members(&self.train_counts),
            // Such a slice was not asked for when the scores were made.
            None => vec![false; self.train_counts.len()],
        }
    }
}

/// Flags that come user by user, in each for `n` lists: by list, then by user.
pub(super) fn by_list(flags: impl Iterator<Item = bool>, n: usize) -> Vec<Arc<[bool]>> {
    let flags: Vec<bool> = flags.collect();
    (0..n).map(|list| flags.iter().skip(list).step_by(n).copied().collect()).collect()
}

/// Everything scoring found.
#[derive(Clone, Debug)]
pub struct Scores {
    pub summary: Vec<Summary>,
    pub rows: Vec<UserRow>,
    /// Rows that belong to those slices that do not go by counts.
    pub(super) members: Vec<(Slice, Vec<bool>)>,
    pub(super) spec: ScoreSpec,
}

impl Scores {
    /// Every user's values.
    pub fn user_cells(&self, users: &Ids) -> UserCells {
        let lists: Vec<ListOf> = self
            .spec
            .pairs()
            .flat_map(|(protocol, convention)| {
                self.spec.k.iter().map(move |k| (protocol, convention, *k))
            })
            .collect();
        let metrics = &self.spec.metrics;
        let each = || {
            lists.iter().enumerate().flat_map(|(at, list)| {
                metrics
                    .iter()
                    .enumerate()
                    .map(move |(metric_at, metric)| (at, metric_at, *list, *metric))
            })
        };
        let of_users = || each().filter(|(.., metric)| !metric.is_of_all_lists());
        let places: Vec<usize> =
            of_users().map(|(at, metric_at, ..)| at * metrics.len() + metric_at).collect();
        UserCells {
            cells: of_users()
                .map(|(_, _, (protocol, convention, k), metric)| (protocol, convention, k, metric))
                .collect(),
            users: self.rows.iter().map(|row| users.name(row.user.0).to_owned()).collect(),
            train_counts: self.rows.iter().map(|row| row.train_count).collect(),
            members: self.members.clone(),
            values: places
                .iter()
                .map(|place| self.rows.iter().map(|row| row.values[*place]).collect())
                .collect(),
            listed: by_list(self.rows.iter().flat_map(|row| self.listed(row)), lists.len()),
            relevant: self.rows.iter().map(|row| row.relevant > 0).collect(),
            tied: by_list(self.rows.iter().flat_map(|row| self.tied(row)), lists.len()),
            lists,
        }
    }

    /// What is held by protocol, for each pair of protocol and convention.
    fn of_pairs<'a, T>(&'a self, by_protocol: &'a [T]) -> impl Iterator<Item = &'a T> {
        self.spec.protocols.iter().zip(by_protocol).flat_map(|(protocol, value)| {
            let applies = self.spec.conventions.iter().filter(|of| of.applies_to(*protocol));
            applies.map(move |_| value)
        })
    }

    /// Whether a tie decides what is on the list of each protocol, convention and cutoff.
    fn tied<'a>(&'a self, row: &'a UserRow) -> impl Iterator<Item = bool> + 'a {
        self.of_pairs(&row.tied).flatten().copied()
    }

    /// Whether a user has an item on the list of each protocol, convention and cutoff.
    fn listed<'a>(&'a self, row: &'a UserRow) -> impl Iterator<Item = bool> + 'a {
        self.of_pairs(&row.ends).flatten().map(|end| *end > 0)
    }

    /// One row for each user, protocol, convention and cutoff, with a column for each metric;
    /// null where the user is not in that metric's mean.
    pub fn users_frame(&self, users: &Ids) -> PolarsResult<DataFrame> {
        let metrics: Vec<Metric> =
            self.spec.metrics.iter().copied().filter(|metric| !metric.is_of_all_lists()).collect();
        let pairs: Vec<(Protocol, Convention)> = self.spec.pairs().collect();
        let (n_k, n_metrics) = (self.spec.k.len(), self.spec.metrics.len());
        let height = self.rows.len() * pairs.len() * n_k;
        let each = || {
            self.rows.iter().flat_map(|row| {
                pairs.iter().enumerate().flat_map(move |(pair_at, pair)| {
                    (0..n_k).map(move |k_at| (row, *pair, k_at, (pair_at * n_k + k_at) * n_metrics))
                })
            })
        };
        let text = |name: &str, values: Vec<&str>| Column::new(name.into(), values);
        let count = |name: &str, values: Vec<u32>| Column::new(name.into(), values);
        let mut columns = vec![
            text("user", each().map(|(row, ..)| users.name(row.user.0)).collect()),
            text("protocol", each().map(|(_, pair, ..)| pair.0.name()).collect()),
            text("convention", each().map(|(_, pair, ..)| pair.1.name()).collect()),
            count("k", each().map(|(_, _, k_at, _)| self.spec.k[k_at] as u32).collect()),
            count("train_count", each().map(|(row, ..)| row.train_count as u32).collect()),
            count("relevant", each().map(|(row, ..)| row.relevant as u32).collect()),
            Column::new(
                LISTED.into(),
                self.rows.iter().flat_map(|row| self.listed(row)).collect::<Vec<bool>>(),
            ),
        ];
        let tied = self.rows.iter().flat_map(|row| self.tied(row));
        columns.push(Column::new(TIED.into(), tied.collect::<Vec<bool>>()));
        for (slice, members) in &self.members {
            let rows_each = pairs.len() * n_k;
            let each =
                members.iter().flat_map(|is_member| std::iter::repeat_n(*is_member, rows_each));
            columns.push(Column::new(slice.to_string().into(), each.collect::<Vec<bool>>()));
        }
        for metric in metrics {
            // invariant: `metric` was taken from this list
            let at = self.spec.metrics.iter().position(|m| *m == metric).unwrap_or_default();
            let values: Vec<Option<f64>> = each()
                .map(|(row, _, _, first)| Some(row.values[first + at]).filter(|v| !v.is_nan()))
                .collect();
            columns.push(Column::new(metric.name().into(), values));
        }
        DataFrame::new(height, columns)
    }

    /// For lists from files: users without a list who should have one, and lists shorter than a cutoff.
    pub fn warnings(&self) -> Vec<String> {
        let asked = self.rows.iter().filter(|row| row.relevant > 0).count();
        let without = self.rows.iter().filter(|row| row.relevant > 0 && !row.has_list).count();
        let mut warnings = Vec::new();
        if without > 0 {
            warnings.push(format!(
                "{without} of {asked} users with a relevant item have no list: 0 under `standard`, `trec` \
                 and `libreco`, left out under the other conventions"
            ));
        }
        let lists = || self.rows.iter().filter(|row| row.has_list);
        let short: Vec<String> = self
            .spec
            .k
            .iter()
            .map(|k| (k, lists().filter(|row| row.ranking.len() < *k).count()))
            .filter(|(_, short)| *short > 0)
            .map(|(k, short)| format!("{short} shorter than {k}"))
            .collect();
        if self.spec.protocols.contains(&Protocol::Judged) {
            warnings.push(
                "`judged` ranks only those test items that are on the lists: a model that scores every \
                 item is asked for more"
                    .into(),
            );
        }
        if !short.is_empty() {
            warnings.push(format!("of {} lists, {}", lists().count(), short.join(", ")));
        }
        warnings
    }

    /// How many of the users with a relevant item the model knows nothing of; `known` is by user.
    pub fn warning_of_history(&self, known: &[bool]) -> Option<String> {
        let asked = || self.rows.iter().filter(|row| row.relevant > 0);
        let users = asked().count();
        let unknown = || asked().filter(|row| !known[row.user.at()]);
        let count = unknown().count();
        let without = unknown().filter(|row| row.train_count == 0).count();
        if count == 0 {
            return None;
        }
        let why = match count - without {
            0 => "no rating in the training part".to_owned(),
            n if n == count => {
                "ratings in the training part and none that the model learns from".into()
            }
            n => format!(
                "no rating in the training part that the model learns from ({without} without any rating, {n} \
                 with others alone)"
            ),
        };
        Some(format!(
            "{count} of {users} users have {why}: {}; the slices `history` and `no-history` show users with \
             and without a rating",
            match self.spec.fallback {
                Fallback::Popularity => "they get the most popular items (`fallback: popularity`)",
                Fallback::None => "they get no list (`fallback: none`)",
            }
        ))
    }

    /// Where ties decide a telling share of the lists: how many, and a value under random ties.
    pub fn warning_of_ties(&self) -> Option<String> {
        let first = self.spec.metrics.iter().find(|metric| !metric.is_of_all_lists());
        let of_first = |mean: &&Summary| {
            // One convention is enough: all use the same lists.
            let convention = self.spec.conventions.iter().find(|of| of.applies_to(mean.protocol));
            Some(&mean.convention) == convention
                && Some(&mean.slice) == self.spec.slices.first()
                && Some(&mean.metric) == first
        };
        let tied: Vec<_> = self
            .summary
            .iter()
            .filter(of_first)
            .filter_map(|mean| Some((mean, mean.value?, mean.caveats.random_ties?)))
            .collect();
        let share = |mean: &Summary| mean.caveats.tied_share();
        let (mean, value, random) = tied.iter().max_by(|a, b| share(a.0).total_cmp(&share(b.0)))?;
        let more = match tied.len() {
            1 => String::new(),
            n => format!("; this is the largest share of {n} cutoffs and protocols"),
        };
        let Caveats { users, tied_users, .. } = mean.caveats;
        Some(format!(
            "ties decide what is within the cutoff for {tied_users} of {users} users ({:.1} %), protocol {}, \
             k = {}: {} {value:.4}, and {random:.4} with ties in random order (`ties: random`){more}",
            100.0 * share(mean),
            mean.protocol,
            mean.k,
            mean.metric,
        ))
    }

    /// Writes all files into the directory `dir`.
    pub fn write(&self, dir: &Path, users: &Ids) -> Result<(), EvalError> {
        let path = dir.join(USERS);
        self.users_frame(users)
            .map_err(parquet::to_io)
            .and_then(|mut frame| parquet::write(&path, &mut frame))
            .map_err(|source| EvalError::Io { path, source })?;
        let path = dir.join(SUMMARY);
        // One line a value: differences between two files read well.
        let lines: Result<Vec<String>, _> =
            self.summary.iter().map(serde_json::to_string).collect();
        lines
            .map_err(io::Error::from)
            .and_then(|lines| fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))))
            .map_err(|source| EvalError::Io { path, source })
    }
}

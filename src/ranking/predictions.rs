//! What a model predicts for every user, made once: evaluation scores no model again.
//!
//! Made from scores, a prediction holds the first items of the full ranking, and the scores of the items that
//! the protocols `judged` and `sampled` rank. Made from lists, it is the lists.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use polars::prelude::*;
use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    EvalError, List, Protocol, Rankings, ScoreSpec, Scorer, Ties, protocol::sample_negatives,
    score::score_finite, spec::Sampled, ties, topk::top_k_by,
};
use crate::{
    base::{interrupt::Interrupt, parquet},
    data::{Interactions, Relevance, UserIx},
};

/// Lists: the first items of every user's full ranking, or lists from files.
pub const LISTS: &str = "lists.parquet";
/// The same with ties in random order, of users whose lists have ties.
pub const RANDOM: &str = "lists-random-ties.parquet";
/// Scores of the items that single protocols rank.
pub const CANDIDATES: &str = "candidates.parquet";
/// One row for each user.
pub const USERS: &str = "users.parquet";

/// Lists are kept in steps of so many items: a deeper cutoff within a step scores no model again.
const DEPTH_STEP: usize = 100;

/// Scores of so many bytes are held at once: what fits a processor's cache.
const BATCH_BYTES: usize = 8 << 20;

/// A row group has so many users or more, but for the last: small ones take long to read.
const BLOCK: usize = 1024;

/// What evaluation will ask of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct PredictSpec {
    /// Items of each list.
    pub depth: usize,
    pub ties: Ties,
    /// Whether the test items are ranked.
    pub judged: bool,
    /// The random items that relevant ones are ranked against.
    pub sampled: Option<Sampled>,
}

impl PredictSpec {
    /// What `spec` asks.
    pub fn of(spec: &ScoreSpec) -> Self {
        let spec = spec.normalised();
        let has = |protocol| spec.protocols.contains(&protocol);
        Self {
            depth: spec.depth.next_multiple_of(DEPTH_STEP),
            ties: spec.ties,
            judged: has(Protocol::Judged),
            sampled: has(Protocol::Sampled).then_some(spec.sampled),
        }
    }

    /// No more than `spec` asks, where nothing is kept.
    pub(super) fn exactly(spec: &ScoreSpec) -> Self {
        Self { depth: spec.depth, ..Self::of(spec) }
    }

    /// Whether the items that are to be scored depend on the test part.
    pub fn needs_test(&self) -> bool {
        self.judged || self.sampled.is_some()
    }
}

/// What is predicted for one user.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// Whether there is a ranking for the user at all.
    pub has_list: bool,
    /// Best first. One item more than `depth` says whether the last one is tied.
    pub list: List,
    /// For lists from files: ranks (from 0) tied with the next. Lists made from scores are tied where
    /// scores are equal.
    pub tied: Vec<u32>,
    /// The list with ties in random order, where it has any and the rule is another.
    pub random: Option<List>,
    /// Test items with their scores; −∞ never among them.
    pub judged: List,
    /// Relevant items and random ones with their scores.
    pub sampled: List,
}

/// What is predicted for all users of a fold.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// By user.
    pub users: Vec<Prediction>,
    /// How they were made from scores; none where they are lists.
    pub from_scores: Option<PredictSpec>,
    /// By user, whether the model knows anything of them; none where it need not.
    pub known: Option<Vec<bool>>,
}

/// Items that the test part says are to be scored for each user; which of them are relevant it does not say.
pub struct Candidates<'a> {
    pub(super) test: Cow<'a, Interactions>,
    pub(super) relevant: Relevance,
}

impl Candidates<'_> {
    /// Test items, ascending.
    fn judged(&self, user: UserIx) -> &[u32] {
        self.test.items_of(user)
    }

    fn sampled(&self, settings: Sampled, user: UserIx, seen: &[u32]) -> Vec<u32> {
        let (test, ratings) = (self.judged(user), self.test.ratings_of(user));
        let n_items = self.test.n_items();
        let mut items =
            sample_negatives(settings.negatives, n_items, seen, test, settings.seed, user.0);
        let relevant = test.iter().zip(ratings).filter(|(_, of)| self.relevant.accepts(**of));
        items.extend(relevant.map(|(item, _)| *item));
        items
    }
}

impl PredictSpec {
    /// What `scores` of all items predict for a user. What the user has seen is set to −∞.
    pub(super) fn predict(
        &self,
        user: UserIx,
        scores: &mut [f32],
        seen: &[u32],
        candidates: Option<&Candidates>,
    ) -> Prediction {
        for &item in seen {
            scores[item as usize] = f32::NEG_INFINITY;
        }
        let scores = &*scores;
        let has_list = scores.iter().any(|score| *score > f32::NEG_INFINITY);
        let mut list = Vec::new();
        top_k_by(self.ties, user, scores, self.depth + 1, &mut list);
        let has_ties = list.windows(2).any(|pair| pair[0].0 == pair[1].0);
        let random = (has_ties && self.ties == Ties::LowerId).then(|| {
            let mut list = Vec::new();
            let rule = Ties::Random { seed: ties::SEED };
            top_k_by(rule, user, scores, self.depth + 1, &mut list);
            list
        });
        let of = |items: &[u32]| -> List {
            let scored = items.iter().map(|item| (scores[*item as usize], *item));
            scored.filter(|(score, _)| *score > f32::NEG_INFINITY).collect()
        };
        let judged = candidates.filter(|_| self.judged).map(|of_test| of(of_test.judged(user)));
        let sampled = candidates.zip(self.sampled);
        let sampled = sampled.map(|(of_test, settings)| of(&of_test.sampled(settings, user, seen)));
        Prediction {
            has_list,
            list,
            tied: Vec::new(),
            random,
            judged: judged.unwrap_or_default(),
            sampled: sampled.unwrap_or_default(),
        }
    }

    /// What `model` predicts for `users`, in their order, given to `take` block by block, so that memory grows with
    /// neither users nor items.
    pub fn predict_blocks<E: From<EvalError>>(
        &self,
        model: &dyn Scorer,
        users: &[UserIx],
        seen: &Interactions,
        candidates: Option<&Candidates>,
        (interrupt, progress): (&Interrupt, &(dyn Fn(u64, u64) + Sync)),
        mut take: impl FnMut(Vec<Prediction>) -> Result<(), E>,
    ) -> Result<(), E> {
        let n_items = model.n_items();
        let block = (BATCH_BYTES / 4 / n_items.max(1)).clamp(64, 1024);
        let mut scores = vec![0f32; block.min(users.len()) * n_items];
        let mut done = 0;
        for users_of_block in users.chunks(block) {
            interrupt.check().map_err(EvalError::from)?;
            let scores = &mut scores[..users_of_block.len() * n_items];
            score_finite(model, users_of_block, scores)?;
            let scores = scores.par_chunks_mut(n_items.max(1));
            let predict = |(user, scores): (&UserIx, &mut [f32])| {
                self.predict(*user, scores, seen.items_of(*user), candidates)
            };
            take(users_of_block.par_iter().zip(scores).map(predict).collect())?;
            done += users_of_block.len();
            progress(done as u64, users.len() as u64);
        }
        Ok(())
    }
}

impl Predictions {
    /// Lists as predictions.
    pub fn of_lists(rankings: Rankings, known: Option<Vec<bool>>) -> Self {
        let mut tied = rankings.tied.into_iter();
        let users = rankings.lists.into_iter().map(|list| {
            let tied = tied.next().unwrap_or_default();
            let has_list = list.is_some();
            let list = list.unwrap_or_default();
            Prediction { has_list, list, tied, ..Prediction::default() }
        });
        Self { users: users.collect(), from_scores: None, known }
    }

    /// The lists as they are evaluated: lists from files have their ties in the order of the rule.
    pub fn evaluated_lists(
        &self,
        ties: Ties,
        n_items: usize,
    ) -> impl Iterator<Item = Option<Cow<'_, [(f32, u32)]>>> {
        let lists = self.lists().zip(&self.users).zip(0u32..);
        lists.map(move |((list, user), at)| match (ties, list) {
            (_, None) => None,
            (Ties::Random { .. }, Some(list)) if !user.tied.is_empty() => {
                Some(ties.reordered(UserIx(at), list, &user.tied, n_items).into())
            }
            (_, Some(list)) => Some(list.into()),
        })
    }

    /// The lists alone, without the item behind the last.
    pub fn lists(&self) -> impl Iterator<Item = Option<&[(f32, u32)]>> {
        let depth = self.from_scores.map_or(usize::MAX, |spec| spec.depth);
        self.users
            .iter()
            .map(move |user| user.has_list.then(|| &user.list[..user.list.len().min(depth)]))
    }

    /// Writes them into the directory `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), EvalError> {
        let mut writer = PredictionsWriter::new(dir, self.from_scores)?;
        for block in self.users.chunks(BLOCK) {
            writer.write(block)?;
        }
        writer.finish(self.known.as_deref())
    }

    /// The files that [`PredictionsWriter`] writes.
    pub fn files(from_scores: Option<&PredictSpec>) -> Vec<&'static str> {
        let mut files = vec![LISTS, USERS];
        if let Some(spec) = from_scores {
            files.push(RANDOM);
            files.extend(spec.needs_test().then_some(CANDIDATES));
        }
        files
    }

    /// Reads what [`PredictionsWriter`] wrote into `dir`.
    pub fn read(
        dir: &Path,
        from_scores: Option<PredictSpec>,
        n_items: usize,
    ) -> Result<Self, EvalError> {
        let path = dir.join(USERS);
        let frame =
            parquet::read(&path).map_err(|source| EvalError::Io { path: path.clone(), source })?;
        let malformed = |problem: String| EvalError::Malformed { path: path.clone(), problem };
        let flags = |name: &str| -> Result<Vec<bool>, EvalError> {
            let column = frame.column(name).map_err(|error| malformed(error.to_string()))?;
            let column = column.bool().map_err(|error| malformed(error.to_string()))?;
            column
                .iter()
                .collect::<Option<_>>()
                .ok_or_else(|| malformed("a value is missing".into()))
        };
        let mut users: Vec<Prediction> = flags("has_list")?
            .into_iter()
            .map(|has_list| Prediction { has_list, ..Prediction::default() })
            .collect();
        let known = match frame.get_column_index("known") {
            Some(_) => Some(flags("known")?),
            None => None,
        };
        let n_users = users.len();
        let more = if from_scores.is_none() { "tied" } else { "" };
        let size = (n_users, n_items);
        for_each(&dir.join(LISTS), size, more, &mut |user, place, tied| {
            let user = &mut users[user];
            if tied == Some("tied") {
                user.tied.push(user.list.len() as u32);
            }
            user.list.push(place);
        })?;
        if let Some(spec) = from_scores {
            for_each(&dir.join(RANDOM), size, "", &mut |user, place, _| {
                users[user].random.get_or_insert_default().push(place);
            })?;
            if spec.needs_test() {
                for_each(&dir.join(CANDIDATES), size, "protocol", &mut |user, place, of| {
                    let user = &mut users[user];
                    match of == Some(Protocol::Judged.name()) {
                        true => user.judged.push(place),
                        false => user.sampled.push(place),
                    }
                })?;
            }
        }
        Ok(Self { users, from_scores, known })
    }
}

/// Writes predictions block by block.
pub struct PredictionsWriter {
    dir: PathBuf,
    from_scores: Option<PredictSpec>,
    lists: parquet::Writer,
    random: Option<parquet::Writer>,
    candidates: Option<parquet::Writer>,
    has_list: Vec<bool>,
    /// Users that are not written yet, for want of a whole row group.
    waiting: Vec<Prediction>,
}

/// Users, items and scores of some lists, row by row.
#[derive(Default)]
struct Rows {
    users: Vec<u32>,
    items: Vec<u32>,
    scores: Vec<f32>,
}

impl Rows {
    fn add(&mut self, user: u32, list: &List) {
        self.users.extend(std::iter::repeat_n(user, list.len()));
        self.items.extend(list.iter().map(|(_, item)| *item));
        self.scores.extend(list.iter().map(|(score, _)| *score));
    }

    fn frame(self, more: Option<Column>) -> PolarsResult<DataFrame> {
        let height = self.users.len();
        let columns = [
            Column::new("user".into(), self.users),
            Column::new("item".into(), self.items),
            Column::new("score".into(), self.scores),
        ];
        DataFrame::new(height, columns.into_iter().chain(more).collect())
    }
}

impl PredictionsWriter {
    /// Into the directory `dir`.
    pub fn new(dir: &Path, from_scores: Option<PredictSpec>) -> Result<Self, EvalError> {
        let open = |file: &str, more: Option<Column>| {
            let path = dir.join(file);
            let frame = Rows::default().frame(more).map_err(parquet::to_io);
            let opened = frame.and_then(|frame| parquet::Writer::new(&path, frame.schema()));
            opened.map_err(|source| EvalError::Io { path, source })
        };
        let tied = from_scores.is_none().then(|| Column::new("tied".into(), [false; 0]));
        let random = from_scores.map(|_| open(RANDOM, None)).transpose()?;
        let names = || Some(Column::new("protocol".into(), [""; 0]));
        let candidates = from_scores.filter(PredictSpec::needs_test);
        Ok(Self {
            dir: dir.to_owned(),
            from_scores,
            lists: open(LISTS, tied)?,
            random,
            candidates: candidates.map(|_| open(CANDIDATES, names())).transpose()?,
            has_list: Vec::new(),
            waiting: Vec::new(),
        })
    }

    /// Adds the users that come next.
    pub fn add(&mut self, block: Vec<Prediction>) -> Result<(), EvalError> {
        self.waiting.extend(block);
        if self.waiting.len() < BLOCK {
            return Ok(());
        }
        self.write_waiting()
    }

    fn write_waiting(&mut self) -> Result<(), EvalError> {
        let waiting = std::mem::take(&mut self.waiting);
        self.write(&waiting)
    }

    /// Writes the users that come next as a row group.
    fn write(&mut self, block: &[Prediction]) -> Result<(), EvalError> {
        let first = self.has_list.len() as u32;
        let users = || (first..).zip(block);
        self.has_list.extend(block.iter().map(|user| user.has_list));
        let add = |writer: &mut parquet::Writer, file: &str, frame: PolarsResult<DataFrame>| {
            let added = frame.map_err(parquet::to_io).and_then(|frame| writer.add(&frame));
            added.map_err(|source| EvalError::Io { path: self.dir.join(file), source })
        };
        let mut lists = Rows::default();
        users().for_each(|(at, user)| lists.add(at, &user.list));
        let tied = self.from_scores.is_none().then(|| {
            let of = |user: &Prediction| {
                let ranks = 0..user.list.len() as u32;
                ranks.map(|rank| user.tied.binary_search(&rank).is_ok()).collect::<Vec<bool>>()
            };
            Column::new("tied".into(), block.iter().flat_map(of).collect::<Vec<bool>>())
        });
        add(&mut self.lists, LISTS, lists.frame(tied))?;
        if let Some(writer) = &mut self.random {
            let mut random = Rows::default();
            for (at, user) in users() {
                user.random.iter().for_each(|list| random.add(at, list));
            }
            add(writer, RANDOM, random.frame(None))?;
        }
        if let Some(writer) = &mut self.candidates {
            let (mut rows, mut names) = (Rows::default(), Vec::new());
            for (protocol, of) in [
                (Protocol::Judged, (|user| &user.judged) as fn(&Prediction) -> &List),
                (Protocol::Sampled, |user| &user.sampled),
            ] {
                users().for_each(|(at, user)| rows.add(at, of(user)));
                names.resize(rows.users.len(), protocol.name());
            }
            let names = Column::new("protocol".into(), names);
            add(writer, CANDIDATES, rows.frame(Some(names)))?;
        }
        Ok(())
    }

    /// Closes the files; `known` says of which users the model knows anything.
    pub fn finish(mut self, known: Option<&[bool]>) -> Result<(), EvalError> {
        self.write_waiting()?;
        let path = self.dir.join(USERS);
        let height = self.has_list.len();
        let mut columns = vec![Column::new("has_list".into(), self.has_list)];
        columns.extend(known.map(|known| Column::new("known".into(), known)));
        DataFrame::new(height, columns)
            .map_err(parquet::to_io)
            .and_then(|mut frame| parquet::write(&path, &mut frame))
            .map_err(|source| EvalError::Io { path, source })?;
        let writers =
            [(LISTS, Some(self.lists)), (RANDOM, self.random), (CANDIDATES, self.candidates)];
        for (file, writer) in writers {
            let finished = writer.map_or(Ok(()), parquet::Writer::finish);
            finished.map_err(|source| EvalError::Io { path: self.dir.join(file), source })?;
        }
        Ok(())
    }
}

/// Takes a row of a file of lists: user, (score, item), and what stands in one column more.
type TakeRow<'a> = &'a mut dyn FnMut(usize, (f32, u32), Option<&str>);

/// Calls `take` with every row of a file of lists; `more` is the column more.
fn for_each(path: &Path, size: (usize, usize), more: &str, take: TakeRow) -> Result<(), EvalError> {
    let failed = |source| EvalError::Io { path: path.to_owned(), source };
    for frame in parquet::parts(path).map_err(failed)? {
        for_each_row(path, &frame.map_err(failed)?, size, more, take)?;
    }
    Ok(())
}

fn for_each_row(
    path: &Path,
    frame: &DataFrame,
    (n_users, n_items): (usize, usize),
    more: &str,
    take: TakeRow,
) -> Result<(), EvalError> {
    let malformed = |problem: String| EvalError::Malformed { path: path.to_owned(), problem };
    let of = |name: &str| frame.column(name).map_err(|error| malformed(error.to_string()));
    let failed = |error: PolarsError| malformed(error.to_string());
    let (users, items) = (of("user")?.u32().map_err(failed)?, of("item")?.u32().map_err(failed)?);
    let scores = of("score")?.f32().map_err(failed)?;
    let words: Vec<Option<&str>> = match more {
        "tied" => {
            let tied = of(more)?.bool().map_err(failed)?;
            tied.iter().map(|tied| (tied == Some(true)).then_some("tied")).collect()
        }
        "" => vec![None; frame.height()],
        _ => of(more)?.str().map_err(failed)?.iter().collect(),
    };
    let rows = users.iter().zip(items.iter()).zip(scores.iter().zip(words));
    for ((user, item), (score, word)) in rows {
        let (Some(user), Some(item), Some(score)) = (user, item, score) else {
            return Err(malformed("a value is missing".into()));
        };
        let is_item = (item as usize) < n_items || item == super::UNKNOWN;
        if user as usize >= n_users || !is_item {
            return Err(malformed(format!(
                "it names user {user} of {n_users} and item {item} of {n_items}"
            )));
        }
        take(user as usize, (score, item), word);
    }
    Ok(())
}

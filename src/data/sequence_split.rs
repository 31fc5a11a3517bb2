//! Splits of sequences: what comes last is tested, what comes before it validates, the rest is learnt from.
//!
//! A fold is a directory like any other ([`super::fold`]), with rows in the order of the sequences and with repeats:
//! so its test part is sealed and opened in the same way.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    DataError, Ids, Interaction, SequenceData, Sequences, Time, UserIx,
    fold::{
        ITEMS, TEST, TRAIN, USERS, VALIDATION, names_digest_of, read_ids, read_rows, write_parts,
    },
    sequences::hash_rows,
};
use crate::base::hash::Digest;

/// Given a user's times, where the validation part and the test part begin.
type CutAt = Box<dyn Fn(&[Time]) -> (usize, usize)>;

/// How sequences are split. The validation part is always what comes last before the test part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SequenceSplit {
    pub scheme: SequenceScheme,
    /// `last`: how many interactions of each user are tested, and as many before them validate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub n: Option<usize>,
    /// `temporal`: the share of all interactions that are tested, the latest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test: Option<f64>,
    /// `temporal`: interactions at or after this time are tested (seconds since 1970), instead of a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// `temporal`: the share of the interactions before the test part that validate, the latest; without it there is
    /// no validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<f64>,
    /// `temporal`: which of a user's interactions after the cut are to be predicted (default `next`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub targets: Option<Targets>,
}

/// The kinds of split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SequenceScheme {
    /// Each user's last interaction is tested, the one before it validates.
    LeaveOneOut,
    /// Each user's last `n` interactions are tested, the `n` before them validate.
    Last,
    /// Everything after one point in time is tested, the same for all users.
    Temporal,
}

/// Which interactions after the cut are to be predicted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Targets {
    /// The first one.
    #[default]
    Next,
    /// All of them, as a set.
    All,
}

impl SequenceSplit {
    /// Refuses settings that the scheme would ignore, and values out of range.
    pub fn validate(&self) -> Result<(), String> {
        use SequenceScheme::*;
        let (last, temporal) = (self.scheme == Last, self.scheme == Temporal);
        let belongs = [
            ("n", self.n.is_some(), last),
            ("test", self.test.is_some(), temporal),
            ("from", self.from.is_some(), temporal),
            ("validation", self.validation.is_some(), temporal),
            ("targets", self.targets.is_some(), temporal),
        ];
        if let Some((key, ..)) = belongs.iter().find(|(_, given, belongs)| *given && !belongs) {
            let scheme = match self.scheme {
                LeaveOneOut => "leave-one-out",
                Last => "last",
                Temporal => "temporal",
            };
            return Err(format!("`{key}` has no effect with the scheme `{scheme}`"));
        }
        for (name, share) in [("test", self.test), ("validation", self.validation)] {
            if let Some(share) = share.filter(|share| !(*share > 0.0 && *share < 1.0)) {
                return Err(format!("`{name}` is {share}; expected a number between 0 and 1"));
            }
        }
        match (self.scheme, self.n, self.test, self.from) {
            (Last, None | Some(0), ..) => Err("the scheme `last` needs `n`, 1 or more".into()),
            (Temporal, _, None, None) | (Temporal, _, Some(_), Some(_)) => {
                Err("the scheme `temporal` needs either `test` (a share) or `from` (a time)".into())
            }
            _ => Ok(()),
        }
    }

    /// The name of its only fold.
    pub fn fold_name(&self) -> &'static str {
        match self.scheme {
            SequenceScheme::LeaveOneOut | SequenceScheme::Last => "last",
            SequenceScheme::Temporal => "later",
        }
    }

    /// The same with defaults written out, so that a default never stands for two rules.
    pub fn written_out(&self) -> Self {
        let is_temporal = self.scheme == SequenceScheme::Temporal;
        let targets = is_temporal.then(|| self.targets.unwrap_or_default());
        Self { targets, ..self.clone() }
    }

    /// Those of a user's interactions after the input that are to be predicted.
    pub fn targets<'a>(&self, part: &'a [u32]) -> &'a [u32] {
        let only_next = self.scheme == SequenceScheme::Temporal
            && self.targets.unwrap_or_default() == Targets::Next;
        if only_next { &part[..part.len().min(1)] } else { part }
    }

    /// Splits a data set.
    pub fn split(&self, data: &SequenceData) -> Result<SequenceFold, DataError> {
        let mut notes = Vec::new();
        let cut: CutAt = match self.scheme {
            SequenceScheme::LeaveOneOut => last(1),
            SequenceScheme::Last => last(self.n.unwrap_or(1)),
            SequenceScheme::Temporal => self.by_time(data)?,
        };
        let (mut train, mut validation, mut test) = (Vec::new(), Vec::new(), Vec::new());
        let (mut short, mut tied, mut tested, mut targets, mut repeats) = (0, 0, 0, 0, 0);
        let mut rows = data.sequences.iter();
        for user in (0..data.users.len() as u32).map(UserIx) {
            let times = data.sequences.times_of(user);
            let (first_validation, first_test) = cut(times);
            let of_user: Vec<Interaction> = rows.by_ref().take(times.len()).collect();
            let items = data.sequences.of(user);
            let (before, after) = items.split_at(first_test);
            let after = self.targets(after);
            tested += usize::from(!after.is_empty());
            targets += after.len();
            repeats += after.iter().filter(|item| before.contains(item)).count();
            short += usize::from(after.is_empty() && self.scheme != SequenceScheme::Temporal);
            let at = |place: usize| times.get(place);
            let between = first_test > 0 && !after.is_empty();
            tied += usize::from(between && at(first_test - 1) == at(first_test));
            train.extend_from_slice(&of_user[..first_validation]);
            validation.extend_from_slice(&of_user[first_validation..first_test]);
            test.extend_from_slice(&of_user[first_test..first_test + after.len()]);
        }
        let matrix =
            |rows: &[Interaction]| Sequences::new(data.users.len(), data.items.len(), rows);
        for (part, rows) in [("training", &train), ("test", &test)] {
            if rows.is_empty() {
                return Err(DataError::Split(format!(
                    "the {part} part of the data set `{}` is empty",
                    data.name
                )));
            }
        }
        if short > 0 {
            notes.push(format!(
                "{short} of {} users have too few interactions for a training, a validation and a test part: all \
                 of theirs are in the training part.",
                data.users.len()
            ));
        }
        if tied > 0 {
            notes.push(format!(
                "{tied} of {tested} users ({:.1} %) have interactions at one time on both sides of the cut: their \
                 order is that of the file.",
                100.0 * tied as f64 / tested as f64
            ));
        }
        Ok(SequenceFold {
            users: data.users.clone(),
            items: data.items.clone(),
            train: matrix(&train),
            validation: matrix(&validation),
            test: matrix(&test),
            targets,
            repeats,
            notes,
        })
    }

    /// Two points in time; interactions of one moment stay together, so shares are as near as that allows.
    fn by_time(&self, data: &SequenceData) -> Result<CutAt, DataError> {
        if !data.has_times {
            return Err(DataError::Split(format!(
                "times of different users cannot be compared in the data set `{}`, but the scheme `temporal` \
                 compares them\n  = help: split with `scheme: leave-one-out` or `last`",
                data.name
            )));
        }
        let mut times: Vec<Time> = data.sequences.iter().map(|row| row.timestamp).collect();
        times.sort_unstable();
        let latest = |n: usize, share: f64| (n as f64 * (1.0 - share)).round() as usize;
        let test = match self.from {
            Some(from) => Some(Time::from(from)),
            None => times.get(latest(times.len(), self.test.unwrap_or_default())).copied(),
        };
        let before = times.partition_point(|time| test.is_none_or(|test| *time < test));
        let validation = match self.validation {
            Some(share) => times[..before].get(latest(before, share)).copied(),
            None => test,
        };
        Ok(Box::new(move |times: &[Time]| {
            let place =
                |cut: Option<Time>| times.partition_point(|time| cut.is_none_or(|cut| *time < cut));
            let test = place(test);
            (place(validation).min(test), test)
        }))
    }
}

/// The last `n` and the `n` before them; a user with too few is not tested.
fn last(n: usize) -> CutAt {
    Box::new(move |times| match times.len() > 2 * n {
        true => (times.len() - 2 * n, times.len() - n),
        false => (times.len(), times.len()),
    })
}

/// A fold of sequences that was just made. Its test part can be written, not read.
#[derive(Clone, Debug)]
pub struct SequenceFold {
    pub users: Ids,
    pub items: Ids,
    pub train: Sequences,
    pub validation: Sequences,
    test: Sequences,
    /// Items to be predicted, and how many of them the user had before.
    pub targets: usize,
    pub repeats: usize,
    /// Notes on the split, a sentence each.
    pub notes: Vec<String>,
}

impl SequenceFold {
    /// Hash of all three parts.
    pub fn digest(&self) -> Digest {
        digest_of([self.train.iter(), self.validation.iter(), self.test.iter()])
    }

    /// Hash of the names that the rows' indices stand for.
    pub fn names_digest(&self) -> Digest {
        names_digest_of(&self.users, &self.items)
    }

    /// Number of interactions in the test part.
    pub fn test_len(&self) -> usize {
        self.test.len()
    }

    /// Writes the fold into the directory `dir`.
    pub fn write(&self, dir: &Path) -> Result<(), DataError> {
        let parts = [&self.train, &self.validation, &self.test].map(|part| part.iter().collect());
        write_parts(dir, &self.users, &self.items, parts)
    }
}

fn digest_of<I: Iterator<Item = Interaction>>(parts: [I; 3]) -> Digest {
    let mut hasher = blake3::Hasher::new();
    parts.into_iter().for_each(|part| hash_rows(&mut hasher, part));
    Digest::from_blake3(hasher.finalize())
}

/// All of a fold but its test part, as sequences.
#[derive(Clone, Debug)]
pub struct SequencePart {
    pub users: Ids,
    pub items: Ids,
    pub train: Sequences,
    pub validation: Sequences,
}

impl SequencePart {
    /// Reads a fold that [`SequenceFold::write`] wrote.
    pub fn read(dir: &Path) -> Result<Self, DataError> {
        let users = read_ids(&dir.join(USERS), "user")?;
        let items = read_ids(&dir.join(ITEMS), "item")?;
        let part = |file: &str| -> Result<Sequences, DataError> {
            let rows = read_rows(&dir.join(file), users.len(), items.len())?;
            Ok(Sequences::new(users.len(), items.len(), &rows))
        };
        Ok(Self { train: part(TRAIN)?, validation: part(VALIDATION)?, users, items })
    }

    /// What precedes the test part of each user.
    pub fn input(&self) -> Sequences {
        self.train.followed_by(&self.validation)
    }
}

/// Whether the fold in `dir` is the one that was made: its rows, in their order, and names have the digests taken
/// then.
pub fn check_sequence_fold(dir: &Path, rows: Digest, names: Digest) -> Result<(), DataError> {
    let users = read_ids(&dir.join(USERS), "user")?;
    let items = read_ids(&dir.join(ITEMS), "item")?;
    let part = |file: &str| read_rows(&dir.join(file), users.len(), items.len());
    let parts = [part(TRAIN)?, part(VALIDATION)?, part(TEST)?];
    let is_same = names_digest_of(&users, &items) == names
        && digest_of(parts.map(|rows| rows.into_iter())) == rows;
    match is_same {
        true => Ok(()),
        false => Err(DataError::File {
            path: dir.to_owned(),
            problem: "hash mismatch: its rows are not the recorded ones".into(),
            help: "remove the directory and run again to rebuild it".into(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::ItemIx;

    /// Users with 5, 2 and 4 interactions; times go round all users.
    fn data() -> SequenceData {
        let of_user = [&[3u32, 1, 3, 2, 3][..], &[0, 1], &[2, 2, 0, 1]];
        let rows: Vec<Interaction> = (0u32..)
            .zip(of_user)
            .flat_map(|(user, items)| {
                (0i64..).zip(items).map(move |(at, item)| Interaction {
                    user: UserIx(user),
                    item: ItemIx(*item),
                    rating: 1.0,
                    timestamp: (10 * at + i64::from(user)).into(),
                })
            })
            .collect();
        SequenceData {
            filtered: Vec::new(),
            name: "made-up".into(),
            users: Ids::new((0..3).map(|id| id.to_string())),
            items: Ids::new((0..4).map(|id| id.to_string())),
            sequences: Sequences::new(3, 4, &rows),
            has_times: true,
            notes: vec![],
        }
    }

    fn spec(scheme: SequenceScheme) -> SequenceSplit {
        SequenceSplit { scheme, n: None, test: None, from: None, validation: None, targets: None }
    }

    fn parts(fold: &SequenceFold, user: u32) -> [Vec<u32>; 3] {
        let of = |part: &Sequences| part.of(UserIx(user)).to_vec();
        [of(&fold.train), of(&fold.validation), of(&fold.test)]
    }

    #[test]
    fn the_last_is_tested_and_the_one_before_validates() {
        let fold = spec(SequenceScheme::LeaveOneOut).split(&data()).unwrap();
        assert_eq!(parts(&fold, 0), [vec![3, 1, 3], vec![2], vec![3]]);
        assert_eq!(parts(&fold, 1), [vec![0, 1], vec![], vec![]]);
        assert_eq!(parts(&fold, 2), [vec![2, 2], vec![0], vec![1]]);
        // User 0 is to be predicted item 3, which they had before.
        assert_eq!((fold.targets, fold.repeats), (2, 1));
        assert!(fold.notes[0].starts_with("1 of 3 users have too few"), "{:?}", fold.notes);
        let two = SequenceSplit { n: Some(2), ..spec(SequenceScheme::Last) };
        let fold = two.split(&data()).unwrap();
        assert_eq!(parts(&fold, 0), [vec![3], vec![1, 3], vec![2, 3]]);
        assert_eq!(parts(&fold, 2), [vec![2, 2, 0, 1], vec![], vec![]]);
    }

    #[test]
    fn a_cut_in_time_is_the_same_for_all_users() {
        let of = |targets| {
            let spec = SequenceSplit { from: Some(20), targets, ..spec(SequenceScheme::Temporal) };
            spec.split(&data()).unwrap()
        };
        let fold = of(None);
        assert_eq!(parts(&fold, 0), [vec![3, 1], vec![], vec![3]]);
        assert_eq!(parts(&fold, 1), [vec![0, 1], vec![], vec![]]);
        assert_eq!(parts(&fold, 2), [vec![2, 2], vec![], vec![0]]);
        assert_eq!(parts(&of(Some(Targets::All)), 0)[2], [3, 2, 3]);
        // 11 interactions: the latest 3 are tested, the latest 2 of the rest validate.
        let spec = SequenceSplit {
            test: Some(0.27),
            validation: Some(0.25),
            targets: Some(Targets::All),
            ..spec(SequenceScheme::Temporal)
        };
        let fold = spec.split(&data()).unwrap();
        assert_eq!(parts(&fold, 0), [vec![3, 1], vec![3], vec![2, 3]]);
        assert_eq!(parts(&fold, 2), [vec![2, 2], vec![0], vec![1]]);
        let untimed = SequenceData { has_times: false, ..data() };
        assert!(spec.split(&untimed).is_err());
    }

    #[test]
    fn a_fold_is_read_as_it_was_written_and_changes_are_found() {
        let fold = spec(SequenceScheme::LeaveOneOut).split(&data()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        fold.write(dir.path()).unwrap();
        let read = SequencePart::read(dir.path()).unwrap();
        assert_eq!((&read.train, &read.validation), (&fold.train, &fold.validation));
        assert_eq!(read.input().of(UserIx(0)), [3, 1, 3, 2]);
        let (rows, names) = (fold.digest(), fold.names_digest());
        check_sequence_fold(dir.path(), rows, names).unwrap();
        assert!(check_sequence_fold(dir.path(), names, names).is_err());
    }

    #[test]
    fn settings_that_have_no_effect_are_refused() {
        let base = spec(SequenceScheme::LeaveOneOut);
        for (wrong, says) in [
            (SequenceSplit { n: Some(2), ..base.clone() }, "`n` has no effect"),
            (SequenceSplit { validation: Some(0.1), ..base.clone() }, "`validation` has no effect"),
            (spec(SequenceScheme::Last), "needs `n`"),
            (spec(SequenceScheme::Temporal), "either `test`"),
            (
                SequenceSplit { test: Some(1.0), ..spec(SequenceScheme::Temporal) },
                "between 0 and 1",
            ),
        ] {
            let message = wrong.validate().unwrap_err();
            assert!(message.contains(says), "{message}");
        }
    }
}

//! Splits: from a data set to (train, validation, test), each fold by itself.

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    CutBy, DataDirs, DataError, DataSource, Dataset, Fold, Interaction, Time, UserIx,
    cut::cut_rows, fold::Parts,
};

use crate::base::{
    limits,
    lists::{OneOrMore, some_or_more},
};

/// How data is split; every fold is (train, validation, test) by construction.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitSpec {
    pub scheme: Scheme,
    /// `kfold`: how many folds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 2))]
    pub folds: Option<usize>,
    /// `kfold`, `holdout`, `leave-one-out` with `ties: random`: the seed (default 42).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// `kfold`, `holdout`: shuffle all ratings (`rating`, the default) or each user's (`user`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub by: Option<By>,
    /// `holdout`, `temporal`: the share of ratings in the test part.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub test: Option<f64>,
    /// `temporal`: ratings at or after this time are tested (seconds since 1970), instead of a share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<i64>,
    /// `leave-one-out`: which of several interactions at a user's latest time is tested (default
    /// `last-row`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ties: Option<TimeTies>,
    /// A validation part cut from the training part; without it there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// Runs only the folds named here.
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "some_or_more")]
    #[schemars(with = "Option<OneOrMore<String>>")]
    pub only: Option<Vec<String>>,
}

/// The kinds of split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// The publisher's folds.
    Official,
    /// Seeded folds of equal size; each is the test part once.
    Kfold,
    /// One seeded cut.
    Holdout,
    /// Each user's last interaction is tested; `ties` says which of several at that time.
    LeaveOneOut,
    /// Everything after one point in time is tested.
    Temporal,
}

/// Which of a user's interactions at their latest time is the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TimeTies {
    /// The one that stands last in the file.
    #[default]
    LastRow,
    /// The one with the highest item id.
    HigherId,
    /// One drawn with the split's seed.
    Random,
}

impl TimeTies {
    fn describe(self) -> &'static str {
        match self {
            Self::LastRow => "the one last in the file is tested (`ties: last-row`)",
            Self::HigherId => "the one with the highest item id is tested (`ties: higher-id`)",
            Self::Random => "a random one is tested (`ties: random`)",
        }
    }
}

/// What is shuffled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum By {
    /// All ratings together.
    Rating,
    /// The ratings of each user, so that every fold has its share of every user.
    User,
}

/// The validation part, cut from training by construction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Validation {
    /// Share of the training ratings, over 0 and under 1; with `leave-one-out` of each user's, at least
    /// one.
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub fraction: f64,
    /// `random`: seed of the shuffle (default 42).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// `time`: the latest ratings, the default with `temporal` and `leave-one-out`. `random`: any, the
    /// default with the other schemes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<CutBy>,
}

fn default_seed() -> u64 {
    42
}

impl SplitSpec {
    /// The publisher's folds.
    pub fn official() -> Self {
        Self {
            scheme: Scheme::Official,
            folds: None,
            seed: None,
            by: None,
            test: None,
            from: None,
            ties: None,
            validation: None,
            only: None,
        }
    }

    /// Refuses settings that the scheme would ignore, and values out of range.
    pub fn validate(&self) -> Result<(), String> {
        use Scheme::*;
        let scheme = format!("{:?}", self.scheme).to_lowercase();
        let belongs = [
            ("folds", self.folds.is_some(), matches!(self.scheme, Kfold)),
            (
                "seed",
                self.seed.is_some(),
                matches!(self.scheme, Kfold | Holdout) || self.ties == Some(TimeTies::Random),
            ),
            ("ties", self.ties.is_some(), matches!(self.scheme, LeaveOneOut)),
            ("by", self.by.is_some(), matches!(self.scheme, Kfold | Holdout)),
            ("test", self.test.is_some(), matches!(self.scheme, Holdout | Temporal)),
            ("from", self.from.is_some(), matches!(self.scheme, Temporal)),
        ];
        if let Some((key, ..)) = belongs.iter().find(|(_, given, belongs)| *given && !belongs) {
            return Err(format!("`{key}` has no effect with the scheme `{scheme}`"));
        }
        if self.only.as_ref().is_some_and(Vec::is_empty) {
            return Err("`only` is empty; expected names of folds".into());
        }
        let share = |name: &str, value: f64| {
            if value > 0.0 && value < 1.0 {
                Ok(())
            } else {
                Err(format!("`{name}` is {value}; expected a number between 0 and 1"))
            }
        };
        if let Some(test) = self.test {
            share("test", test)?;
        }
        if let Some(validation) = self.validation {
            share("validation.fraction", validation.fraction)?;
            if validation.seed.is_some() && !self.cut(validation.by).is_random() {
                return Err(format!(
                    "`validation.seed` has no effect where the validation part is cut by time, as with the \
                     scheme `{scheme}`; remove it, or say `validation: {{by: random}}`"
                ));
            }
        }
        match (self.scheme, self.folds, self.test, self.from) {
            (Kfold, None, ..) => Err("the scheme `kfold` needs `folds`, e.g. 5".into()),
            (Kfold, Some(folds), ..) if folds < 2 => Err("`folds` must be 2 or more".into()),
            (Holdout, _, None, _) => Err("the scheme `holdout` needs `test`, e.g. 0.2".into()),
            (Temporal, _, None, None) | (Temporal, _, Some(_), Some(_)) => {
                Err("the scheme `temporal` needs either `test` (a share) or `from` (a time)".into())
            }
            _ => Ok(()),
        }
    }

    /// The settings one fold depends on: all but which folds are run. Random cuts of schemes that are not
    /// by time are written as they were before there were others, so that their keys stay. The rule for ties in
    /// time is written out, so that a default never stands for two rules.
    pub fn of_one_fold(&self) -> Self {
        let validation = self.validation.map(|validation| {
            let random = self.cut(validation.by).is_random();
            let by = if random { CutBy::Random } else { CutBy::Time };
            Validation {
                seed: random.then(|| validation.seed.unwrap_or_else(default_seed)),
                by: (self.is_by_time() || !random).then_some(by),
                ..validation
            }
        });
        let ties = match self.scheme {
            Scheme::LeaveOneOut => Some(self.ties.unwrap_or_default()),
            _ => self.ties,
        };
        Self { only: None, validation, ties, ..self.clone() }
    }
}

/// Names of the folds to run.
pub fn fold_names(
    spec: &SplitSpec,
    source: &DataSource,
    dirs: &DataDirs,
) -> Result<Vec<String>, DataError> {
    let all = match spec.scheme {
        Scheme::Official => {
            let names = source.official_folds(dirs)?;
            if names.is_empty() {
                return Err(DataError::Split(format!(
                    "the data set `{}` has no official folds\n  = help: split it with \
                     `scheme: kfold`, `holdout`, `leave-one-out` or `temporal`",
                    source.name()
                )));
            }
            names
        }
        Scheme::Kfold => {
            let folds = spec.folds.unwrap_or_default();
            if folds > limits::most_trials() {
                return Err(DataError::Split(format!(
                    "`folds` is {folds}, and each is at least one trial, of which at most {} are allowed\n  = \
                     help: {}",
                    limits::most_trials(),
                    limits::MORE_TRIALS
                )));
            }
            (1..=spec.folds.unwrap_or_default()).map(|fold| format!("f{fold}")).collect()
        }
        Scheme::Holdout => vec!["holdout".into()],
        Scheme::LeaveOneOut => vec!["last".into()],
        Scheme::Temporal => vec!["later".into()],
    };
    let Some(only) = &spec.only else { return Ok(all) };
    match only.iter().find(|name| !all.contains(name)) {
        Some(unknown) => Err(DataError::Split(format!(
            "there is no fold `{unknown}`\n  = expected one of {}",
            all.join(", ")
        ))),
        None if only.is_empty() => Err(DataError::Split("`split.only` is empty".into())),
        None => Ok(all.into_iter().filter(|name| only.contains(name)).collect()),
    }
}

/// Makes one fold.
pub fn split_fold(data: &Dataset, spec: &SplitSpec, name: &str) -> Result<Fold, DataError> {
    let mut notes = Vec::new();
    let mut parts = match spec.scheme {
        Scheme::Official => official(data, name)?,
        Scheme::Kfold => kfold(data, spec, name)?,
        Scheme::Holdout => holdout(data, spec),
        Scheme::LeaveOneOut => leave_one_out(data, spec, &mut notes)?,
        Scheme::Temporal => temporal(data, spec)?,
    };
    if let Some(validation) = spec.validation {
        if !parts.validation.is_empty() {
            return Err(DataError::Split(format!(
                "the fold `{name}` has its own validation part; remove `validation`"
            )));
        }
        let cut = spec.cut(validation.by);
        if !cut.is_random() {
            needs_times(data)?;
        }
        let seed = validation.seed.unwrap_or_else(default_seed);
        let (train, held) = cut_rows(&parts.train, cut, validation.fraction, seed);
        parts = Parts { train, validation: held, test: parts.test };
        if parts.validation.is_empty() || parts.train.is_empty() {
            return Err(DataError::Split(format!(
                "the training part of the fold `{name}` cannot be cut: {} ratings would stay in it and {} \
                 be the validation part",
                parts.train.len(),
                parts.validation.len()
            )));
        }
    }
    for (part, rows) in [("training", &parts.train), ("test", &parts.test)] {
        if rows.is_empty() {
            return Err(DataError::Split(format!("the {part} part of the fold `{name}` is empty")));
        }
    }
    let mut fold = Fold::new(name, data, parts)?;
    fold.notes = notes;
    let official = data.folds.iter().find(|of| spec.scheme == Scheme::Official && of.name == name);
    fold.filtered = official.map_or(&data.filtered, |of| &of.filtered).clone();
    Ok(fold)
}

fn official(data: &Dataset, name: &str) -> Result<Parts, DataError> {
    let fold = data.folds.iter().find(|fold| fold.name == name).ok_or_else(|| {
        DataError::Split(format!("the data set `{}` has no fold `{name}`", data.name))
    })?;
    Ok(Parts {
        train: fold.train.clone(),
        validation: fold.validation.clone(),
        test: fold.test.clone(),
    })
}

/// The place of every interaction in a seeded shuffle, as a number in `0..n_parts`.
fn shuffled_parts(data: &Dataset, spec: &SplitSpec, n_parts: usize) -> Vec<usize> {
    let mut random = ChaCha8Rng::seed_from_u64(spec.seed.unwrap_or_else(default_seed));
    let n = data.interactions.len();
    let mut part = vec![0; n];
    let mut deal = |mut places: Vec<usize>, first: usize| {
        places.shuffle(&mut random);
        for (at, place) in places.into_iter().enumerate() {
            part[place] = (at + first) % n_parts;
        }
    };
    match spec.by.unwrap_or(By::Rating) {
        By::Rating => deal((0..n).collect(), 0),
        // Starting each user's deal where the last ended keeps the folds of equal size.
        By::User => {
            for ends in data.interactions.indptr().windows(2) {
                deal((ends[0]..ends[1]).collect(), ends[0]);
            }
        }
    }
    part
}

fn divide(data: &Dataset, mut is_test: impl FnMut(usize, &Interaction) -> bool) -> Parts {
    let mut parts = Parts::default();
    for (at, row) in data.interactions.iter().enumerate() {
        if is_test(at, &row) { &mut parts.test } else { &mut parts.train }.push(row);
    }
    parts
}

fn kfold(data: &Dataset, spec: &SplitSpec, name: &str) -> Result<Parts, DataError> {
    let folds = spec.folds.unwrap_or_default();
    let this = name.strip_prefix('f').and_then(|number| number.parse::<usize>().ok());
    let Some(this) = this.filter(|this| (1..=folds).contains(this)) else {
        return Err(DataError::Split(format!("no fold `{name}`; there are {folds} folds")));
    };
    let (units, what) = (data.interactions.len(), "ratings");
    if units < folds {
        return Err(DataError::Split(format!(
            "{folds} folds of {units} {what}: some would be empty\n  = help: make `folds` smaller"
        )));
    }
    let part = shuffled_parts(data, spec, folds);
    Ok(divide(data, |at, _| part[at] + 1 == this))
}

fn holdout(data: &Dataset, spec: &SplitSpec) -> Parts {
    let share = spec.test.unwrap_or_default();
    let mut random = ChaCha8Rng::seed_from_u64(spec.seed.unwrap_or_else(default_seed));
    let mut test = vec![false; data.interactions.len()];
    let mut draw = |mut places: Vec<usize>| {
        places.shuffle(&mut random);
        let n = (places.len() as f64 * share).round() as usize;
        places.into_iter().take(n).for_each(|place| test[place] = true);
    };
    match spec.by.unwrap_or(By::Rating) {
        By::Rating => draw((0..data.interactions.len()).collect()),
        By::User => {
            for ends in data.interactions.indptr().windows(2) {
                draw((ends[0]..ends[1]).collect());
            }
        }
    }
    divide(data, |at, _| test[at])
}

/// Users with one interaction stay in training: without a history nothing can be recommended.
fn leave_one_out(
    data: &Dataset,
    spec: &SplitSpec,
    notes: &mut Vec<String>,
) -> Result<Parts, DataError> {
    needs_times(data)?;
    let ties = spec.ties.unwrap_or_default();
    let mut random = ChaCha8Rng::seed_from_u64(spec.seed.unwrap_or_else(default_seed));
    let mut is_last = vec![false; data.interactions.len()];
    let (mut users, mut tied) = (0, 0);
    for user in 0..data.users.len() {
        let ends = &data.interactions.indptr()[user..=user + 1];
        let times = data.interactions.timestamps_of(UserIx(user as u32));
        let Some(latest) = times.iter().max().filter(|_| times.len() > 1) else { continue };
        // In the order of the items' ids.
        let candidates: Vec<usize> =
            (ends[0]..ends[1]).filter(|at| times[*at - ends[0]] == *latest).collect();
        users += 1;
        tied += usize::from(candidates.len() > 1);
        let chosen = match (ties, &candidates[..]) {
            (_, [only]) => Some(only),
            (TimeTies::LastRow, all) => all.iter().max_by_key(|at| data.file_rows[**at]),
            (TimeTies::HigherId, all) => all.last(),
            (TimeTies::Random, all) => all.get(random.random_range(0..all.len())),
        };
        if let Some(at) = chosen {
            is_last[*at] = true;
        }
    }
    if tied > 0 {
        notes.push(format!(
            "{tied} of {users} users ({:.1} %) have several interactions at their latest time: {}.",
            100.0 * tied as f64 / users as f64,
            ties.describe()
        ));
    }
    Ok(divide(data, |at, _| is_last[at]))
}

fn temporal(data: &Dataset, spec: &SplitSpec) -> Result<Parts, DataError> {
    needs_times(data)?;
    if let Some(from) = spec.from {
        return Ok(divide(data, |_, row| row.timestamp >= Time::from(from)));
    }
    let mut times: Vec<Time> = data.interactions.iter().map(|row| row.timestamp).collect();
    times.sort_unstable();
    let n_train = (times.len() as f64 * (1.0 - spec.test.unwrap_or_default())).round() as usize;
    // Ratings of one moment stay together, so the share is as near as that allows.
    let cut = times.get(n_train).copied();
    Ok(divide(data, |_, row| cut.is_some_and(|cut| row.timestamp >= cut)))
}

fn needs_times(data: &Dataset) -> Result<(), DataError> {
    if data.has_timestamps {
        return Ok(());
    }
    Err(DataError::Split(format!(
        "the data set `{}` has no timestamps, but this split needs them\n  = help: map a \
         `timestamp` column, or split with `scheme: kfold` or `holdout`",
        data.name
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fold::tests::test_part;
    use crate::data::{Catalogue, Ids, Interactions, ItemIx};

    fn data() -> Dataset {
        let rows: Vec<Interaction> = (0..20)
            .flat_map(|user| {
                (0..10).map(move |item| Interaction {
                    user: UserIx(user),
                    item: ItemIx((item * 7 + user) % 30),
                    rating: 1.0 + (item % 5) as f32,
                    timestamp: i64::from(item * 100 + user).into(),
                })
            })
            .collect();
        Dataset {
            name: "made-up".into(),
            users: Ids::new((0..20).map(|id| id.to_string())),
            items: Ids::new((0..30).map(|id| id.to_string())),
            interactions: Interactions::new(20, 30, &rows),
            catalogue: Catalogue::default(),
            // The file goes from the last user's last item to the first's first.
            file_rows: (0..200).rev().collect(),
            has_ratings: true,
            has_timestamps: true,
            folds: vec![],
            filtered: vec![],
            notes: vec![],
        }
    }

    fn spec(yaml: &str) -> SplitSpec {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn folds_are_disjoint_and_cover_everything_either_way() {
        for by in ["rating", "user"] {
            let spec = spec(&format!("{{scheme: kfold, folds: 5, by: {by}}}"));
            let mut tested = Vec::new();
            for fold in 1..=5 {
                let fold = split_fold(&data(), &spec, &format!("f{fold}")).unwrap();
                assert_eq!(fold.train.len() + test_part(&fold).len(), 200);
                assert_eq!(test_part(&fold).len(), 40);
                if by == "user" {
                    assert!((0..20).all(|u| test_part(&fold).items_of(UserIx(u)).len() == 2));
                }
                tested.extend(test_part(&fold).iter().map(|row| (row.user, row.item)));
            }
            tested.sort();
            tested.dedup();
            assert_eq!(tested.len(), 200);
        }
    }

    #[test]
    fn the_validation_part_comes_from_training_alone() {
        let plain = split_fold(&data(), &spec("{scheme: holdout, test: 0.2}"), "holdout").unwrap();
        let with = spec("{scheme: holdout, test: 0.2, validation: {fraction: 0.1}}");
        let with = split_fold(&data(), &with, "holdout").unwrap();
        assert_eq!(test_part(&plain), test_part(&with));
        assert_eq!((with.train.len(), with.validation.len()), (144, 16));
        assert_ne!(plain.digest(), with.digest());
    }

    /// Random rows of the past of a time split know what came after them.
    #[test]
    fn the_validation_part_of_a_split_by_time_is_cut_by_time() {
        let split = |yaml: &str, name: &str| split_fold(&data(), &spec(yaml), name).unwrap();
        let later = split("{scheme: temporal, test: 0.25, validation: {fraction: 0.2}}", "later");
        let latest = later.train.iter().map(|row| row.timestamp).max();
        let first = later.validation.iter().map(|row| row.timestamp).min();
        assert!(latest < first, "{latest:?} {first:?}");
        assert_eq!((later.train.len(), later.validation.len()), (120, 30));
        let last = split("{scheme: leave-one-out, validation: {fraction: 0.1}}", "last");
        for user in (0..20).map(UserIx) {
            // Of nine training ratings a tenth is one: the last before the one that is tested.
            assert_eq!(last.validation.timestamps_of(user), [Time::from(800 + i64::from(user.0))]);
        }
        let random = "{scheme: temporal, test: 0.25, validation: {fraction: 0.2, by: random}}";
        let random = split(random, "later");
        let first = random.validation.iter().map(|row| row.timestamp).min();
        assert!(random.train.iter().map(|row| row.timestamp).max() > first);
    }

    /// What was stored under a random cut of a time split, or under another rule for ties in time, is
    /// another fold; no other key changes.
    #[test]
    fn only_cuts_of_splits_by_time_have_other_keys() {
        let key = |yaml: &str| serde_json::to_string(&spec(yaml).of_one_fold()).unwrap();
        for (yaml, expected) in [
            ("{scheme: official, only: [f1]}", r#"{"scheme":"official"}"#),
            (
                "{scheme: official, validation: {fraction: 0.1}}",
                r#"{"scheme":"official","validation":{"fraction":0.1,"seed":42}}"#,
            ),
            (
                "{scheme: official, validation: {fraction: 0.1, seed: 7, by: random}}",
                r#"{"scheme":"official","validation":{"fraction":0.1,"seed":7}}"#,
            ),
            (
                "{scheme: official, validation: {fraction: 0.1, by: time}}",
                r#"{"scheme":"official","validation":{"fraction":0.1,"by":"time"}}"#,
            ),
            ("{scheme: leave-one-out}", r#"{"scheme":"leave-one-out","ties":"last-row"}"#),
            (
                "{scheme: leave-one-out, validation: {fraction: 0.1}}",
                r#"{"scheme":"leave-one-out","ties":"last-row","validation":{"fraction":0.1,"by":"time"}}"#,
            ),
            (
                "{scheme: temporal, test: 0.2, validation: {fraction: 0.1, by: random}}",
                r#"{"scheme":"temporal","test":0.2,"validation":{"fraction":0.1,"seed":42,"by":"random"}}"#,
            ),
        ] {
            assert_eq!(key(yaml), expected, "{yaml}");
        }
        let seeded = spec("{scheme: temporal, test: 0.2, validation: {fraction: 0.1, seed: 3}}");
        assert!(seeded.validate().unwrap_err().contains("has no effect"));
    }

    #[test]
    fn leave_one_out_tests_the_last_of_each_user() {
        let fold = split_fold(&data(), &spec("{scheme: leave-one-out}"), "last").unwrap();
        assert_eq!(test_part(&fold).len(), 20);
        assert!(test_part(&fold).iter().all(|row| row.timestamp >= Time::from(900)));
    }

    #[test]
    fn ties_in_time_are_broken_as_the_rule_says_and_counted() {
        let mut data = data();
        // User 3 has rated everything at one time, user 5 two items last.
        let rows: Vec<Interaction> = data
            .interactions
            .iter()
            .enumerate()
            .map(|(at, row)| match row.user.0 {
                3 => Interaction { timestamp: 7.into(), ..row },
                5 if at % 10 < 2 => Interaction { timestamp: 5000.into(), ..row },
                _ => row,
            })
            .collect();
        data.interactions = Interactions::new(20, 30, &rows);
        let tested = |ties: &str| {
            let spec = spec(&format!("{{scheme: leave-one-out, {ties}}}"));
            spec.validate().unwrap();
            let fold = split_fold(&data, &spec, "last").unwrap();
            assert_eq!(fold.notes.len(), 1);
            assert!(fold.notes[0].starts_with("2 of 20 users (10.0 %)"), "{}", fold.notes[0]);
            let items = |user: u32| test_part(&fold).items_of(UserIx(user)).to_vec();
            (items(3)[0], items(5)[0])
        };
        let (of_3, of_5) =
            (data.interactions.items_of(UserIx(3)), data.interactions.items_of(UserIx(5)));
        assert_eq!(tested("ties: higher-id"), (of_3[9], of_5[1]));
        // The file holds them backwards.
        assert_eq!(tested("ties: last-row"), (of_3[0], of_5[0]));
        assert_eq!(tested("only: [last]"), tested("ties: last-row"));
        assert_eq!(tested("ties: random"), tested("ties: random, seed: 42"));
        let draws: std::collections::BTreeSet<(u32, u32)> =
            (0..40).map(|seed| tested(&format!("ties: random, seed: {seed}"))).collect();
        assert!(draws.len() > 8, "{draws:?}");
        assert!(spec("{scheme: leave-one-out, seed: 1}").validate().is_err());
        assert!(spec("{scheme: holdout, test: 0.2, ties: random}").validate().is_err());
    }

    #[test]
    fn a_temporal_cut_puts_nothing_later_into_training() {
        let fold = split_fold(&data(), &spec("{scheme: temporal, test: 0.25}"), "later").unwrap();
        let first = test_part(&fold).iter().map(|row| row.timestamp).min().unwrap();
        assert!(fold.train.iter().all(|row| row.timestamp < first));
    }

    #[test]
    fn settings_a_scheme_ignores_are_refused() {
        let error = spec("{scheme: official, folds: 5}").validate().unwrap_err();
        assert_eq!(error, "`folds` has no effect with the scheme `official`");
        assert!(spec("{scheme: kfold, folds: 1}").validate().is_err());
        assert!(spec("{scheme: holdout, test: 1.5}").validate().is_err());
    }

    #[test]
    fn splits_by_time_need_times() {
        let data = Dataset { has_timestamps: false, ..data() };
        let error = split_fold(&data, &spec("{scheme: leave-one-out}"), "last").unwrap_err();
        assert!(error.to_string().contains("has no timestamps"), "{error}");
    }
}

//! Slices: which users a table, or a reranker, is about.

use std::{fmt, str::FromStr};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// A group of users, named in experiment files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slice {
    /// Every user with a test part.
    #[default]
    All,
    /// Users with at least one rating in the training part.
    History,
    /// Users without one.
    NoHistory,
    /// Users with fewer than so many, and at least one, ratings in the training part.
    Cold(usize),
    /// So many users, drawn at random; of cold ones alone where `under` is given. A larger draw with the
    /// same seed holds the smaller.
    Sample { under: Option<usize>, n: usize, seed: u64 },
}

impl Slice {
    /// Which users belong to it, from the number of ratings (any rating) each has in training.
    pub fn members(self, train_counts: &[usize]) -> Vec<bool> {
        let cold = |under: usize, user: usize| (1..under).contains(&train_counts[user]);
        let n_users = train_counts.len();
        match self {
            Self::All => vec![true; n_users],
            Self::History => train_counts.iter().map(|count| *count > 0).collect(),
            Self::NoHistory => train_counts.iter().map(|count| *count == 0).collect(),
            Self::Cold(under) => (0..n_users).map(|user| cold(under, user)).collect(),
            Self::Sample { under, n, seed } => {
                let mut users: Vec<usize> = (0..n_users).collect();
                users.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
                let mut members = vec![false; n_users];
                let fits = |user: &usize| under.is_none_or(|under| cold(under, *user));
                users.into_iter().filter(fits).take(n).for_each(|user| members[user] = true);
                members
            }
        }
    }

    /// Whether only the number of a user's ratings determines whether the user belongs to it.
    pub(super) fn goes_by_counts(self) -> bool {
        !matches!(self, Self::Sample { .. })
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::History => f.pad("history"),
            Self::NoHistory => f.pad("no-history"),
            Self::Cold(under) => f.pad(&format!("cold<{under}")),
            Self::Sample { under, n, seed } => {
                let cold = under.map(|under| format!("cold<{under} ")).unwrap_or_default();
                let seed = if *seed > 0 { format!("@{seed}") } else { String::new() };
                f.pad(&format!("{cold}sample={n}{seed}"))
            }
        }
    }
}

impl FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || -> Option<Self> {
            match text.trim() {
                "all" => return Some(Self::All),
                "history" => return Some(Self::History),
                "no-history" => return Some(Self::NoHistory),
                _ => {}
            }
            let (mut under, mut sample) = (None, None);
            // `cold< 10` is written too.
            for part in text.replace("cold< ", "cold<").split_whitespace() {
                match (part.strip_prefix("cold<"), part.strip_prefix("sample=")) {
                    (Some(number), _) if under.is_none() && sample.is_none() => {
                        under = Some(number.parse().ok().filter(|under| *under > 1)?);
                    }
                    (_, Some(draw)) if sample.is_none() => {
                        let (n, seed) = draw.split_once('@').unwrap_or((draw, "0"));
                        sample = Some((n.parse().ok().filter(|n| *n > 0)?, seed.parse().ok()?));
                    }
                    _ => return None,
                }
            }
            match (under, sample) {
                (under, Some((n, seed))) => Some(Self::Sample { under, n, seed }),
                (under, None) => under.map(Self::Cold),
            }
        };
        read().ok_or_else(|| {
            format!(
                "unknown slice `{text}`; known are `all`, `history` and `no-history`: users with and without a rating \
                 in training, `cold<n>`, e.g. \"cold<10\": users with fewer than \
                 10 ratings in training, and `sample=n`, e.g. \"sample=100\": so many users, drawn at random \
                 (\"sample=100@7\" with the seed 7; \"cold<10 sample=100\" from cold ones)"
            )
        })
    }
}

crate::base::names::text_serde!(Slice);

impl schemars::JsonSchema for Slice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slice".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "pattern": r"^(all|history|no-history|cold<\s*[0-9]+|(cold<\s*[0-9]+\s+)?sample=[0-9]+(@[0-9]+)?)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(members: &[bool]) -> usize {
        members.iter().filter(|member| **member).count()
    }

    #[test]
    fn cold_users_have_something_but_little() {
        let slice: Slice = "cold<10".parse().unwrap();
        assert_eq!(slice.members(&[0, 1, 9, 10]), [false, true, true, false]);
        assert_eq!(slice.to_string(), "cold<10");
        let with: Slice = "history".parse().unwrap();
        let without: Slice = "no-history".parse().unwrap();
        assert_eq!(with.members(&[0, 1, 9]), [false, true, true]);
        assert_eq!(without.members(&[0, 1, 9]), [true, false, false]);
        assert_eq!(
            (with.to_string(), without.to_string()),
            ("history".into(), "no-history".into())
        );
        for wrong in [
            "cold<1",
            "warm",
            "",
            "cold<10 cold<5",
            "sample=0",
            "sample=x",
            "sample=5 cold<10",
            "all sample=5",
        ] {
            assert!(wrong.parse::<Slice>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_larger_sample_holds_the_smaller() {
        let counts: Vec<usize> = (0..100).collect();
        let of = |text: &str| {
            let slice: Slice = text.parse().unwrap();
            assert_eq!(slice.to_string(), text);
            slice.members(&counts)
        };
        let (small, large) = (of("sample=20@7"), of("sample=40@7"));
        assert_eq!((count(&small), count(&large)), (20, 40));
        assert!(small.iter().zip(&large).all(|(small, large)| !small || *large));
        assert_ne!(small, of("sample=20"));
        assert_eq!(count(&of("sample=1000")), 100);
        let cold = of("cold<10 sample=5");
        assert!(count(&cold) == 5 && count(&cold[1..10]) == 5);
        assert_eq!(of("cold<10 sample=50"), of("cold<10"));
    }
}

//! Which of two items with equal scores goes first.

use std::{fmt, str::FromStr};

use super::UNKNOWN;
use crate::{base::random::mix, data::UserIx};

/// The order of items with equal scores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ties {
    /// The lower item id first. Where ids are given in the order of, say, popularity, this favours some
    /// items.
    #[default]
    LowerId,
    /// An order drawn for each user, the same whenever the seed is.
    Random { seed: u64 },
}

/// The seed of `random`, and of the values that stand beside those of another rule.
pub const SEED: u64 = 42;

/// From this share of users on, ties are warned of.
pub const TELLING_SHARE: f64 = 0.05;

impl Ties {
    /// In words, for tables and fingerprints.
    pub fn rule(self) -> String {
        match self {
            Self::LowerId => "lower item id first".into(),
            Self::Random { seed } => format!("random order (seed {seed})"),
        }
    }

    /// What equal items of a user are ordered by, lowest first; `item` is an index in the order of ids.
    pub fn key(self, user: UserIx, item: u32) -> u64 {
        match self {
            Self::LowerId => u64::from(item),
            Self::Random { seed } => mix(mix(seed ^ mix(u64::from(user.0) + 1)) ^ u64::from(item)),
        }
    }

    /// A list whose tied neighbours are in the rule's order; what was tied is tied again. `tied` are the ranks (from
    /// 0) tied with the next.
    pub(super) fn reordered(
        self,
        user: UserIx,
        list: &[(f32, u32)],
        tied: &[u32],
        n_items: usize,
    ) -> Vec<(f32, u32)> {
        let n_items = n_items as u32;
        // Items outside the catalogue are all alike here: their places tell them apart.
        let key = |place: usize, item: u32| match item {
            UNKNOWN => self.key(user, n_items.saturating_add(place as u32)),
            _ => self.key(user, item),
        };
        let mut list = list.to_vec();
        let mut first = 0;
        while first < list.len() {
            let mut end = first + 1;
            while end < list.len() && tied.binary_search(&(end as u32 - 1)).is_ok() {
                end += 1;
            }
            let mut group: Vec<(u64, (f32, u32))> = list[first..end]
                .iter()
                .enumerate()
                .map(|(at, of)| (key(first + at, of.1), *of))
                .collect();
            group.sort_by_key(|(key, _)| *key);
            for (at, (_, of)) in group.into_iter().enumerate() {
                list[first + at] = of;
            }
            first = end;
        }
        list
    }

    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Ties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LowerId => f.pad("lower-id"),
            Self::Random { seed: SEED } => f.pad("random"),
            Self::Random { seed } => f.pad(&format!("random@{seed}")),
        }
    }
}

impl FromStr for Ties {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("random@").map(str::parse)) {
            ("lower-id", _) => Ok(Self::LowerId),
            ("random", _) => Ok(Self::Random { seed: SEED }),
            (_, Some(Ok(seed))) => Ok(Self::Random { seed }),
            _ => Err(format!(
                "unknown rule for ties `{text}`; known are `lower-id`, `random` and, with a seed, \
                 e.g. `random@7`"
            )),
        }
    }
}

crate::base::names::text_serde!(Ties);

impl schemars::JsonSchema for Ties {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Ties".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": r"^(lower-id|random(@[0-9]+)?)$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_read_as_they_are_written() {
        for text in ["lower-id", "random", "random@7"] {
            assert_eq!(text.parse::<Ties>().unwrap().to_string(), text);
        }
        for wrong in ["", "Random", "random@", "random@x", "higher-id"] {
            assert!(wrong.parse::<Ties>().is_err(), "{wrong}");
        }
    }
}

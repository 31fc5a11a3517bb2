//! Slices: which users a table is about.

use std::{fmt, str::FromStr};

/// A group of users, named in experiment files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Slice {
    /// Every user with a test part.
    All,
    /// Users with fewer than so many, and at least one, ratings in the training part.
    Cold(usize),
}

impl Slice {
    /// Whether a user with `train_count` ratings (any rating) in training belongs to it.
    pub fn holds(self, train_count: usize) -> bool {
        match self {
            Self::All => true,
            Self::Cold(under) => (1..under).contains(&train_count),
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("all"),
            Self::Cold(under) => f.pad(&format!("cold<{under}")),
        }
    }
}

impl FromStr for Slice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let under = text.strip_prefix("cold<").and_then(|under| under.trim().parse().ok());
        match under.filter(|under| *under > 1) {
            Some(under) => Ok(Self::Cold(under)),
            None => Err(format!(
                "unknown slice `{text}`; known are `all` and `cold<n>`, e.g. \"cold<10\": users with \
                 fewer than 10 ratings in training"
            )),
        }
    }
}

super::text_serde!(Slice);

impl schemars::JsonSchema for Slice {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slice".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({"type": "string", "pattern": r"^(all|cold<\s*[0-9]+)$"})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cold_users_have_something_but_little() {
        let slice: Slice = "cold<10".parse().unwrap();
        assert!(!slice.holds(0) && slice.holds(1) && slice.holds(9) && !slice.holds(10));
        assert_eq!(slice.to_string(), "cold<10");
        assert!("cold<1".parse::<Slice>().is_err());
        assert!("warm".parse::<Slice>().is_err());
    }
}

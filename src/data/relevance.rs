//! Which ratings count as liked and which as disliked.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A threshold on the rating, written `">= 4"`, `"<= 2"`, `"> 3"`, `"< 3"`, or `any`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Relevance {
    Any,
    AtLeast(f32),
    AtMost(f32),
    Above(f32),
    Below(f32),
}

/// The longer ones first: `>` starts `>=`.
const OPERATORS: [(&str, MakeRelevance); 4] = [
    (">=", Relevance::AtLeast),
    ("<=", Relevance::AtMost),
    (">", Relevance::Above),
    ("<", Relevance::Below),
];

/// Where a rule of relevance comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RelevanceFrom {
    /// The experiment file.
    Experiment,
    /// The command line.
    Option,
    /// The data set's manifest.
    Manifest,
    /// TREC's rule for qrels.
    Qrels,
    /// Nothing else is possible: the data have no ratings.
    NoRatings,
    /// Nothing else gives a number: all ratings are the same.
    EqualRatings,
}

impl RelevanceFrom {
    /// In words, for tables.
    pub fn words(self) -> &'static str {
        match self {
            Self::Experiment => "the experiment's rule",
            Self::Option => "--relevant",
            Self::Manifest => "the data set's rule",
            Self::Qrels => "TREC's rule for qrels",
            Self::NoRatings => "the data have no ratings",
            Self::EqualRatings => "all ratings of the test part are equal",
        }
    }
}

type MakeRelevance = fn(f32) -> Relevance;

impl Relevance {
    /// In words, with where it comes from: `rating >= 4 (the data set's rule)`.
    pub fn describe(self, from: RelevanceFrom) -> String {
        match self {
            Self::Any => format!("any interaction ({})", from.words()),
            _ => format!("rating {self} ({})", from.words()),
        }
    }

    /// Whether `rating` meets the threshold.
    pub fn accepts(self, rating: f32) -> bool {
        match self {
            Self::Any => true,
            Self::AtLeast(bound) => rating >= bound,
            Self::AtMost(bound) => rating <= bound,
            Self::Above(bound) => rating > bound,
            Self::Below(bound) => rating < bound,
        }
    }
}

impl fmt::Display for Relevance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => write!(f, "any"),
            Self::AtLeast(bound) => write!(f, ">= {bound}"),
            Self::AtMost(bound) => write!(f, "<= {bound}"),
            Self::Above(bound) => write!(f, "> {bound}"),
            Self::Below(bound) => write!(f, "< {bound}"),
        }
    }
}

impl FromStr for Relevance {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text == "any" {
            return Ok(Self::Any);
        }
        for (operator, make) in OPERATORS {
            if let Some(bound) = text.strip_prefix(operator)
                && let Ok(bound) = bound.trim().parse::<f32>()
                && bound.is_finite()
            {
                return Ok(make(bound));
            }
        }
        Err(format!("{text:?} is not a threshold on ratings; expected `any` or e.g. `\">= 4\"`"))
    }
}

impl TryFrom<String> for Relevance {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Relevance> for String {
    fn from(relevance: Relevance) -> Self {
        relevance.to_string()
    }
}

impl schemars::JsonSchema for Relevance {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Relevance".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A threshold on ratings: `any`, or an operator and a number.",
            "pattern": r"^\s*(any|(>=|<=|>|<)\s*-?[0-9.]+)\s*$",
            "examples": [">= 4", "<= 2", "any"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thresholds_are_read_and_printed_alike() {
        for text in ["any", ">= 4", "<= 2", "> 3.5", "< 1"] {
            assert_eq!(text.parse::<Relevance>().unwrap().to_string(), text);
        }
        assert!("4".parse::<Relevance>().is_err());
        assert!(">= four".parse::<Relevance>().is_err());
    }

    #[test]
    fn bounds_are_inclusive_where_they_say_so() {
        let liked: Relevance = ">=4".parse().unwrap();
        assert!(liked.accepts(4.0) && !liked.accepts(3.0));
    }
}

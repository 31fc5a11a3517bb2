//! Filters: which interactions of a data set an experiment uses, before anything is split. This file says which filters
//! there are, and what is reported of each.

mod apply;
mod rows;
mod yaml;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Relevance, Time};

/// Filters, applied one after the other.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Filters(Vec<Filter>);

/// One filter, under its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Users and items with fewer interactions are removed, again and again until none is left.
    KCore(PerSide),
    /// Users and items with fewer interactions are removed once; both are counted before.
    MinInteractions(PerSide),
    /// Interactions whose rating does not meet the threshold are removed.
    Rating(Relevance),
    /// Interactions outside of a period are removed.
    Time(Period),
    /// Of each user, all but the first interactions are removed.
    First(usize),
    /// Of each user, all but the last interactions are removed.
    Last(usize),
}

/// Numbers of interactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, JsonSchema)]
pub struct PerSide {
    /// The fewest interactions of a user.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<u32>,
    /// The fewest interactions of an item.
    #[serde(skip_serializing_if = "Option::is_none")]
    item: Option<u32>,
}

/// A period of time: from its start on, and before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Period {
    /// The first moment (inclusive).
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<Moment>,
    /// The first moment after it (exclusive).
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Moment>,
}

/// A time in an experiment file: a date (UTC without a zone) or a number, as in data files.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Moment {
    time: Time,
    is_date: bool,
}

/// Numbers at one point: users and items are those with an interaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sizes {
    pub users: usize,
    pub items: usize,
    pub interactions: usize,
}

/// What one filter did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FilterEffect {
    /// As in the experiment file.
    pub filter: String,
    pub before: Sizes,
    pub after: Sizes,
}

impl fmt::Display for FilterEffect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = (self.before, self.after);
        write!(
            f,
            "{}: users {} → {}, items {} → {}, interactions {} → {}",
            self.filter,
            before.users,
            after.users,
            before.items,
            after.items,
            before.interactions,
            after.interactions
        )
    }
}

impl Filters {
    /// Whether there is no filter.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

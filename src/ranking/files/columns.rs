//! Which column of somebody else's table holds what: guessed from the header, or told.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A column by name, or by place (starting at 1) where the table has no such name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ColumnOfRankings")]
#[serde(untagged, expecting = "expected a column's name or its place, starting at 1")]
pub enum ColumnRef {
    Place(usize),
    Name(String),
}

impl fmt::Display for ColumnRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Place(place) => write!(f, "{place}"),
            Self::Name(name) => write!(f, "{name}"),
        }
    }
}

/// Columns that were told; the others are guessed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "ColumnsOfRankings")]
#[serde(deny_unknown_fields)]
pub struct Columns {
    /// Users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<ColumnRef>,
    /// Items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ColumnRef>,
    /// 1 for the first place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rank: Option<ColumnRef>,
    /// Higher is better.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<ColumnRef>,
    /// Of judgements: how much the user liked the item.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rating: Option<ColumnRef>,
}

impl Columns {
    /// Those that tables of judgements have too. Names are about the rankings, so a split's columns
    /// are guessed, but for the rating.
    pub fn of_judgements(&self) -> Self {
        Self { rating: self.rating.clone(), ..Self::default() }
    }
}

/// `user=uid,item=mid,rank=4`
impl FromStr for Columns {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut columns = Self::default();
        for pair in text.split(',') {
            let (role, name) = pair.split_once('=').ok_or_else(|| {
                format!(
                    "`{pair}` is not ROLE=COLUMN; expected e.g. user=uid,item=movie,rank=position"
                )
            })?;
            let name = name.trim();
            let reference = match name.parse() {
                Ok(place) => ColumnRef::Place(place),
                Err(_) => ColumnRef::Name(name.to_owned()),
            };
            *match role.trim() {
                "user" => &mut columns.user,
                "item" => &mut columns.item,
                "rank" => &mut columns.rank,
                "score" => &mut columns.score,
                "rating" => &mut columns.rating,
                other => {
                    return Err(format!(
                        "unknown role `{other}`; expected user, item, rank, score or rating"
                    ));
                }
            } = Some(reference);
        }
        Ok(columns)
    }
}

/// What a column can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    User,
    Item,
    Rank,
    Score,
    Rating,
}

/// Usual names, the most telling first, as [`plain`] writes them.
const USER: &[&str] = &[
    "user",
    "userid",
    "uid",
    "userix",
    "useridx",
    "users",
    "u",
    "queryid",
    "topic",
    "topicid",
    "query",
    "qid",
    "reviewerid",
    "customerid",
    "visitorid",
    "memberid",
    "sessionid",
];
const ITEM: &[&str] = &[
    "item",
    "itemid",
    "iid",
    "itemix",
    "itemidx",
    "items",
    "itemidlist",
    "itemids",
    "itemlist",
    "recs",
    "recommendeditems",
    "i",
    "movieid",
    "movie",
    "docno",
    "docid",
    "corpusid",
    "doc",
    "documentid",
    "document",
    "passageid",
    "pid",
    "did",
    "productid",
    "product",
    "parentasin",
    "asin",
    "bookid",
    "isbn",
    "trackid",
    "songid",
    "artistid",
    "newsid",
    "businessid",
    "recommendation",
    "recommendations",
];
const RANK: &[&str] =
    &["rank", "recommendationrank", "ranking", "itemrank", "position", "pos", "place", "order"];
const SCORE: &[&str] = &[
    "score",
    "scores",
    "prediction",
    "predictions",
    "pred",
    "ratingpred",
    "predictedrating",
    "predictedscore",
    "estimate",
    "estimated",
    "est",
    "relevancescore",
    "similarity",
    "value",
];
const RATING: &[&str] =
    &["rating", "ratings", "stars", "overall", "relevance", "rel", "label", "gain", "preference"];

/// Usual names of times: such a column holds neither scores nor ratings.
const TIME: &[&str] = &[
    "timestamp",
    "time",
    "date",
    "datetime",
    "ts",
    "unixtimestamp",
    "unixreviewtime",
    "reviewtime",
    "createdat",
    "when",
    "t",
];

/// Names that a row's number has.
const ROW_NUMBER: &[&str] = &["", "index", "unnamed0", "rowid", "rownumber", "row", "id"];

/// Parts of names of columns in which lower is better, or may be.
const LOWER_IS_BETTER: &[&str] =
    &["rank", "position", "place", "order", "dist", "loss", "error", "cost", "rmse"];

/// Whether a column of this name may hold what decides: it is no time and no row number.
pub(super) fn may_decide(name: &str) -> bool {
    let name = plain(name);
    !TIME.contains(&&*name) && !ROW_NUMBER.contains(&&*name)
}

/// Whether the name says that lower values are better.
pub(super) fn is_lower_better(name: &str) -> bool {
    let name = plain(name);
    LOWER_IS_BETTER.iter().any(|part| name.contains(part))
}

impl Role {
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Self::User => USER,
            Self::Item => ITEM,
            Self::Rank => RANK,
            Self::Score => SCORE,
            Self::Rating => RATING,
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Item => "item",
            Self::Rank => "rank",
            Self::Score => "score",
            Self::Rating => "rating",
        }
    }

    /// The column among `header` that is usually called so.
    pub fn guess(self, header: &[String]) -> Option<&str> {
        let plain: Vec<String> = header.iter().map(|name| self::plain(name)).collect();
        let at =
            self.names().iter().find_map(|usual| plain.iter().position(|name| name == usual))?;
        Some(&header[at])
    }

    /// All columns among `header` that are usually called so.
    pub fn all(self, header: &[String]) -> Vec<&str> {
        let usual = |name: &&String| self.names().contains(&&*self::plain(name));
        header.iter().filter(usual).map(String::as_str).collect()
    }
}

/// `user_id:token` → `userid`: without RecBole's type, case and signs.
fn plain(name: &str) -> String {
    let name = name.split(':').next().unwrap_or_default();
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Whether a first line names columns rather than holding values.
pub(super) fn is_header(fields: &[&str]) -> bool {
    let known =
        |role: Role| fields.iter().any(|field| role.names().contains(&plain(field).as_str()));
    let number = |field: &&str| !field.is_empty() && field.parse::<f64>().is_ok();
    known(Role::User) || known(Role::Item) || !fields.iter().any(|field| number(&field.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usual_headers_are_understood() {
        for (header, user, item, rank, score) in [
            (
                ",user_id,movie_id,recommendation_rank,module_source",
                "user_id",
                "movie_id",
                Some("recommendation_rank"),
                None,
            ),
            ("user,item,rank,score", "user", "item", Some("rank"), Some("score")),
            (
                "user_id:token,item_id:token,score:float",
                "user_id:token",
                "item_id:token",
                None,
                Some("score:float"),
            ),
            ("UserId,ItemId,prediction", "UserId", "ItemId", None, Some("prediction")),
        ] {
            let header: Vec<String> = header.split(',').map(String::from).collect();
            assert_eq!(Role::User.guess(&header), Some(user));
            assert_eq!(Role::Item.guess(&header), Some(item));
            assert_eq!(Role::Rank.guess(&header), rank);
            assert_eq!(Role::Score.guess(&header), score);
        }
    }

    #[test]
    fn values_are_no_header() {
        assert!(is_header(&["user", "x"]) && is_header(&["a", "b"]));
        assert!(!is_header(&["1", "17", "0.5"]) && !is_header(&["A1B", "x7", "0.5"]));
    }
}

//! The key `report:` of an experiment file: the tables and figures of a paper.

mod check;
mod known;
mod read;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::read_metric;
pub use known::{Known, levels, without_level};

use crate::base::lists::{OneOrMore, one_or_more};

/// `reference: none`
pub const NO_REFERENCE: &str = "none";

/// Tables and figures as a paper has them. They change no result and no key of a step.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReportSpec {
    /// Decimals of values, for tables that do not have `digits`.
    #[schemars(range(max = 15), extend("default" = 4))]
    pub digits: Option<u8>,
    /// The system that the others are tested against, or `none`; by default the best by the first column.
    pub reference: Option<String>,
    /// Tables. Without this key: one of all systems and metrics, at the main cutoff. `[]`: none.
    pub tables: Option<Vec<TableSpec>>,
    /// Figures. Without this key: those that the experiment has data for. `[]`: none.
    pub figures: Option<Vec<FigureSpec>>,
}

/// A table of systems (rows) and metrics (columns).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TableSpec {
    /// Its name in file names and in `\label`: letters, digits and - _ .
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// The caption. By default the data set, protocol, convention and slice.
    #[serde(default)]
    pub caption: Option<String>,
    /// The label in LaTeX. By default `tab:` and the name.
    #[serde(default)]
    pub label: Option<String>,
    /// The systems, in this order. By default all, in the order of the experiment.
    #[serde(default)]
    pub rows: Vec<RowSpec>,
    /// The metrics, such as `nDCG@10`, or groups of them. By default nDCG and recall at the main cutoff.
    #[serde(default)]
    pub columns: Vec<ColumnSpec>,
    /// Slices of users; several are groups of columns. By default the first, or that of the users who were reranked.
    #[serde(default, deserialize_with = "one_or_more")]
    #[schemars(with = "OneOrMore<String>")]
    pub slices: Vec<String>,
    /// The candidate protocol. By default the first.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The metric convention. By default the first.
    #[serde(default)]
    pub convention: Option<String>,
    /// A fold, or `mean` over all folds.
    #[serde(default)]
    #[schemars(extend("default" = "mean"))]
    pub fold: Option<String>,
    /// The system that the others are tested against, or `none`. By default that of `report.reference`.
    #[serde(default)]
    pub reference: Option<String>,
    /// Decimals of values. By default those of `report.digits`.
    #[serde(default)]
    #[schemars(range(max = 15))]
    pub digits: Option<u8>,
    /// What is shown beside each value.
    #[serde(default)]
    pub show: Show,
    /// Whether the second best value of a column is underlined.
    #[serde(default = "yes")]
    #[schemars(extend("default" = true))]
    pub second: bool,
    /// A swept setting, such as `factors`: its levels are groups of columns, and systems that differ in it share a row.
    #[serde(default)]
    pub over: Option<String>,
    /// The width in a two-column paper. By default one column if the table fits, otherwise two.
    #[serde(default)]
    pub width: Option<Width>,
}

fn yes() -> bool {
    true
}

/// What is shown beside a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Show {
    /// The value alone.
    #[default]
    Value,
    /// The standard deviation over folds, or over seeds if there is one fold.
    Sd,
    /// The 95 % bootstrap interval over users.
    Interval,
}

/// A width in a two-column paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Width {
    /// One column.
    One,
    /// Both columns.
    Two,
}

/// A row, or a group of rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = read::or_text)]
pub struct RowSpec {
    /// The system. The name of a swept system stands for all its levels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Its name in the table.
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub shown: Option<String>,
    /// The heading of a group, which has `rows`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The systems of the group.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rows: Vec<RowSpec>,
}

/// A column, or a group of columns.
#[derive(Clone, Debug, Default, PartialEq, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(transform = read::or_text)]
pub struct ColumnSpec {
    /// The heading of the group. By default what it has that others have not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Metrics, such as `nDCG@10`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "OneOrMore<String>")]
    pub metrics: Vec<String>,
    /// The slice of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slice: Option<String>,
    /// The candidate protocol of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// The metric convention of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub convention: Option<String>,
    /// The fold of these columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fold: Option<String>,
}

/// A figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FigureSpec {
    /// Its name in file names: letters, digits and - _ .
    #[schemars(regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"))]
    pub name: String,
    /// What it shows.
    pub kind: FigureKind,
    /// The caption. By default what the figure shows, of which users.
    #[serde(default)]
    pub caption: Option<String>,
    /// The metric, such as `nDCG@10`; without a cutoff, the main one. By default nDCG.
    #[serde(default)]
    pub metric: Option<String>,
    /// The systems. By default all but oracles. The name of a swept system stands for all its levels.
    #[serde(default)]
    pub systems: Vec<String>,
    /// The slice of users. By default the first, or that of the users who were reranked.
    #[serde(default)]
    pub slice: Option<String>,
    /// The candidate protocol. By default the first.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The metric convention. By default the first.
    #[serde(default)]
    pub convention: Option<String>,
    /// The system that others are compared with, for `differences` and `contrasts`. By default that of
    /// `report.reference`, or the best.
    #[serde(default)]
    pub reference: Option<String>,
    /// The swept setting on the horizontal axis, for `sweep`.
    #[serde(default)]
    pub over: Option<String>,
    /// The width in a two-column paper.
    #[serde(default = "one")]
    #[schemars(extend("default" = "one"))]
    pub width: Width,
}

fn one() -> Width {
    Width::One
}

/// What a figure shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FigureKind {
    /// A metric by cutoff, one line per system.
    MetricAgainstK,
    /// Rerankers beside their base, with intervals.
    Reranking,
    /// Differences with intervals: those of `audit.contrasts`, or of each system to the reference.
    Contrasts,
    /// The differences of all users to the reference, sorted.
    Differences,
    /// A metric against what a reranker takes per user.
    Cost,
    /// Loss and validation metric by epoch.
    Training,
    /// A metric by the levels of a swept setting.
    Sweep,
    /// Novelty against item coverage.
    Popularity,
}

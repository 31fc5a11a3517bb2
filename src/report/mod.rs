//! Tables, figures and HTML from result rows.

mod collect;
mod explanations;
mod figures;
mod html;
mod orders;
pub mod published;
mod reranks;
pub mod row;
mod table;
mod texts;
mod tidy;
mod units;

pub use collect::{Collected, Differences, Request, collect};
pub use figures::metric_against_k;
pub use html::{Rendered, ReportError, main_cutoff, render, render_scores};
pub use orders::Orders;
pub use published::{Reproduction, difference, differences};
pub use row::{Basis, ResultRow};
pub use table::{Cell, Format, Selection, Spread, Table};
pub use tidy::{csv, json};
pub use units::{CellKey, Interval, MEAN, PairedDraws, Units, few_users_of};

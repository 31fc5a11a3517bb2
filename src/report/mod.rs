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

pub use collect::{Collected, collect};
pub use figures::metric_against_k;
pub use html::{Rendered, ReportError, render, render_scores};
pub use orders::Orders;
pub use published::Reproduction;
pub use row::ResultRow;
pub use table::{Cell, Format, Selection, Table};
pub use tidy::{csv, json};

//! Tables, figures and HTML from result rows.

mod collect;
mod figures;
mod html;
pub mod row;
mod table;
mod tidy;

pub use collect::{Collected, collect};
pub use figures::metric_against_k;
pub use html::{Rendered, ReportError, render};
pub use row::ResultRow;
pub use table::{Format, Selection, Table};
pub use tidy::{csv, json};

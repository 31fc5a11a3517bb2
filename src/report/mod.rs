//! Tables, figures and HTML from result rows.

pub mod row;

pub use row::ResultRow;

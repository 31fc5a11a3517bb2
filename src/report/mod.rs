//! Tables, figures and HTML from result rows.

pub mod bundle;
mod explanations;
mod figures;
mod html;
mod latex;
mod live;
pub mod mlflow;
mod outputs;
mod page;
mod recorded;
mod reference;
mod reranks;
mod table;
pub mod tensorboard;
mod texts;
mod tidy;

pub use figures::{Figure, FigureRequest, critical_difference, default_figures, metric_against_k};
pub use html::{INDEX, Rendered, ReportError, main_cutoff, render, render_scores};
pub use live::{
    DiffRow, LiveDiff, LiveExperiment, LivePage, LiveRun, LiveState, live_page, live_policy,
};
pub use outputs::{Differs, OutputFile, also_for_tables, compare_files, paper_files};
pub use reference::reference;
pub use reranks::reranked_slice;
pub use table::{
    Cell, DefaultPlace, Format, Selection, Spread, Table, TableRequest, default_table,
    main_metrics, metric_title,
};
pub use tidy::{csv, for_spreadsheets, json, trials_csv};

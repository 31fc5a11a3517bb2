//! The report: one self-contained HTML file, with the main table and figures as files beside it.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tera::{Context, Tera};

use super::{
    Format, Selection, Table,
    outputs::paper_files,
    page::{
        OrdersView, PublishedView, Source,
        figures::{by_cutoff, figures},
        main_metric,
        tables::TableView,
    },
    table::is_unranked,
    tidy,
};
use crate::{
    analysis::{
        self, Collected, Differences, MEAN, RankAgreement, Reproduction, Request, ResultRow,
        later_columns, searches,
    },
    base::{
        files::{FileError, write_whole},
        output::OutputDir,
        terminal::escaped,
        text::distinct,
    },
    core::{MeasureKey, RunRecord, Workspace},
    ranking::score_files::Split,
    tasks::ExperimentRecord,
};

/// The page's frame, the parts that several pages share, and the pages.
const TEMPLATES: [(&str, &str); 6] = [
    ("base.html", include_str!("../../reports/templates/base.html")),
    ("table.html", include_str!("../../reports/templates/table.html")),
    ("published.html", include_str!("../../reports/templates/published.html")),
    ("orders.html", include_str!("../../reports/templates/orders.html")),
    ("report.html", include_str!("../../reports/templates/report.html")),
    ("score.html", include_str!("../../reports/templates/score.html")),
];

const STYLE: &str = include_str!("../../reports/templates/page.css");
const SCRIPT: &str = include_str!("../../reports/templates/page.js");

/// The page of a report.
pub const INDEX: &str = "index.html";

/// Number of comparisons of orders in a report: one per metric, at the main cutoff.
pub(super) const ORDERS_OF: [&str; 4] = ["ndcg", "precision", "recall", "map"];

/// The cutoff that is shown first: 10 if computed, otherwise the largest.
pub fn main_cutoff(experiment: &ExperimentRecord) -> usize {
    let evaluations = experiment.variants.iter().flat_map(|variant| &variant.evaluations);
    analysis::main_cutoff(evaluations.map(|of| of.k)).unwrap_or(10)
}

impl Request {
    /// What a report shows: numbers in it always say how far chance among the users could have moved
    /// them.
    pub fn of_report(experiment: &ExperimentRecord) -> Self {
        let mut intervals = vec![MEAN.to_owned()];
        for table in &experiment.published {
            if !intervals.contains(&table.about.fold) {
                intervals.push(table.about.fold.clone());
            }
        }
        let k = main_cutoff(experiment);
        let differences = Differences {
            fold: MEAN.into(),
            k,
            metrics: Some(ORDERS_OF.map(str::to_owned).into()),
            slice: None,
        };
        let first = experiment.variants.iter().find_map(|of| Some((of, of.evaluations.first()?)));
        let metrics = distinct(experiment.variants.iter().flat_map(|of| &of.metrics));
        let kept = first.zip(main_metric(&metrics)).map(|((_, of), metric)| MeasureKey {
            protocol: of.protocol.clone(),
            convention: of.convention.clone(),
            metric,
            k,
        });
        Self {
            intervals,
            differences: Some(differences),
            kept: kept.into_iter().collect(),
            distributions: true,
            later: later_columns(experiment, &[]),
        }
    }
}

/// The written report.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub index: PathBuf,
    pub files: Vec<PathBuf>,
    /// Files of an earlier report in the same directory.
    pub older: Vec<String>,
}

/// Errors of writing a report.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Store(#[from] FileError),
    #[error("the report's template: {0:?}")]
    Template(#[from] tera::Error),
    #[error("results as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes `index.html`, the results, the main table and figures into a directory; with `all`, the tables and figures of
/// every protocol, convention, slice and cutoff, too.
pub fn render(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    collected: &Collected,
    run: Option<&RunRecord>,
    all: bool,
    mut out: OutputDir,
) -> Result<Rendered, ReportError> {
    let rows = &collected.rows;
    let mut written = Vec::new();
    let mut listed: Vec<(String, String)> = Vec::new();
    let mut write = |name: &str, bytes: &[u8]| -> Result<(), FileError> {
        written.push(out.write(name, bytes)?);
        Ok(())
    };
    let mut list = |name: &str, what: &str| listed.push((name.to_owned(), what.to_owned()));
    let trials = searches(experiment, workspace);
    let k = main_cutoff(experiment);
    let source = Source::new(experiment, workspace, collected, run, &trials.rows, k);
    let ((csv, json), files) = rayon::join(
        || (tidy::csv(rows), tidy::json(rows)),
        || source.as_ref().map(|_| paper_files(experiment, workspace, rows)),
    );
    write("results.csv", csv.as_bytes())?;
    list("results.csv", "every value, one a row, in full precision");
    write("results.json", json?.as_bytes())?;
    list("results.json", "the same as JSON");
    if !trials.rows.is_empty() {
        write("trials.csv", tidy::trials_csv(&trials.rows).as_bytes())?;
        list("trials.csv", "every trial of the searches");
    }
    let Some((source, files)) = source.zip(files) else {
        return Ok(Rendered { index: PathBuf::new(), files: written, older: Vec::new() });
    };
    let files = files?;
    for file in &files {
        write(&file.name, &file.bytes)?;
        list(&file.name, &file.title);
    }
    if all {
        const FORMATS: [(Format, &str); 3] =
            [(Format::Markdown, "md"), (Format::Latex, "tex"), (Format::Csv, "csv")];
        for selection in Selection::all(rows, MEAN) {
            let Some(table) = Table::new(rows, &selection) else { continue };
            for (format, extension) in FORMATS {
                let name = format!("tables/{}.{extension}", table.file_name);
                write(&name, table.write(format).as_bytes())?;
            }
        }
        list("tables/", "a table for each protocol, convention, slice and cutoff");
        for (name, svg) in by_cutoff(&source) {
            write(&name, svg.as_bytes())?;
        }
        list("figures/", "nDCG and recall by cutoff for each protocol, convention and slice");
    }
    let figures = figures(&source, &files);
    write(INDEX, page("report.html", &source.page(figures, listed))?.as_bytes())?;
    let older = out.older();
    Ok(Rendered { index: written.last().cloned().unwrap_or_default(), files: written, older })
}

/// A page: its view, with the style and the one script that it may run.
fn page(name: &str, view: &impl Serialize) -> Result<String, tera::Error> {
    let mut tera = Tera::default();
    tera.add_raw_templates(TEMPLATES)?;
    let mut values = serde_json::to_value(view).map_err(tera::Error::json)?;
    escape_controls(&mut values);
    let mut context = Context::from_value(values)?;
    context.insert("version", env!("CARGO_PKG_VERSION"));
    context.insert("style", STYLE);
    context.insert("script", SCRIPT);
    context.insert("script_hash", &BASE64_STANDARD.encode(Sha256::digest(SCRIPT)));
    tera.render(name, &context)
}

/// Names and messages of others, in which nothing drives a terminal or turns the text around. Markup in them is
/// escaped by the templates.
pub(super) fn escape_controls(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(escaped) = escaped(text) {
                *text = escaped;
            }
        }
        Value::Array(items) => items.iter_mut().for_each(escape_controls),
        Value::Object(object) => object.values_mut().for_each(escape_controls),
        _ => {}
    }
}

/// The page of `assay score`.
#[derive(Serialize)]
struct Scores<'a> {
    data: &'a str,
    fold: &'a str,
    relevant: String,
    data_hash: String,
    split_hash: String,
    tables: Vec<TableView>,
    warnings: &'a [(String, String)],
    orders: Vec<OrdersView>,
    published: Vec<PublishedView>,
}

/// Writes the results of `assay score` as one HTML file.
pub fn render_scores(
    path: &Path,
    split: &Split,
    rows: &[ResultRow],
    warnings: &[(String, String)],
    orders: &[RankAgreement],
    published: Option<&Reproduction>,
) -> Result<(), ReportError> {
    let selections = Selection::all(rows, &split.fold);
    let tables = selections.iter().filter_map(|of| Some(TableView::new(&Table::new(rows, of)?)));
    let shown = orders.iter().filter(|of| !is_unranked(&of.metric));
    let scores = Scores {
        data: &split.data,
        fold: &split.fold,
        relevant: split.relevant.describe(split.relevant_from),
        data_hash: split.data_digest.to_string(),
        split_hash: split.split_digest.to_string(),
        tables: tables.collect(),
        warnings,
        orders: shown.map(OrdersView::new).collect(),
        published: published.map(PublishedView::new).into_iter().collect(),
    };
    write_whole(path, page("score.html", &scores)?.as_bytes())?;
    Ok(())
}

//! The page of a report: a typed view of all that it shows, one file a section.

mod ablations;
mod audited;
mod comparisons;
mod computed;
pub mod figures;
mod language_models;
mod orders;
mod provenance;
mod published;
mod results;
mod slices;
mod spent;
mod summary;
pub mod tables;
mod tuning;

pub use orders::OrdersView;
pub use published::PublishedView;

use std::sync::Arc;

use rayon::prelude::*;
use serde::Serialize;

use self::figures::Figure;
use super::{reranks::reranked_slice, table::is_unranked};
use crate::{
    analysis::{Collected, MEAN, RankAgreement, Reproduction, ResultRow, SearchRow},
    base::text::distinct,
    core::{MeasureKey, Record, RunRecord, Workspace},
    tasks::{ExperimentRecord, metric},
};

/// What a page is made of.
pub struct Source<'a> {
    pub experiment: &'a ExperimentRecord,
    pub workspace: &'a Workspace,
    pub collected: &'a Collected,
    pub run: Option<&'a RunRecord>,
    pub trials: &'a [SearchRow],
    /// By step; none without a finished step.
    records: Vec<Option<Arc<Record>>>,
    pub main: Main,
}

/// The column that a report draws its conclusions from.
#[derive(Clone, Debug)]
pub struct Main {
    pub key: MeasureKey,
    pub slice: String,
}

impl Main {
    /// The first protocol and convention; nDCG, or the first metric of which more or less is better; the slice of the
    /// users who were reranked, or the first.
    pub fn of(rows: &[ResultRow], k: usize) -> Option<Self> {
        let first = rows.first()?;
        let metrics = distinct(rows.iter().map(|row| row.metric.as_str()));
        let metric = main_metric(&metrics)?;
        Some(Self {
            key: MeasureKey {
                protocol: first.protocol.clone(),
                convention: first.convention.clone(),
                metric,
                k,
            },
            slice: reranked_slice(rows).unwrap_or(&first.slice).to_owned(),
        })
    }

    /// Whether it is the column of a row, of any slice.
    fn has(&self, row: &ResultRow) -> bool {
        (&row.protocol, &row.convention, &row.metric, row.k)
            == (&self.key.protocol, &self.key.convention, &self.key.metric, self.key.k)
    }

    /// `nDCG@10`
    pub fn metric(&self) -> String {
        metric_at(&self.key.metric, self.key.k)
    }

    /// `protocol full, convention standard, slice all`
    pub fn setting(&self) -> String {
        format!(
            "protocol {}, convention {}, slice {}",
            self.key.protocol, self.key.convention, self.slice
        )
    }
}

/// nDCG, or the first metric of which more or less is better, or the first.
pub fn main_metric(metrics: &[String]) -> Option<String> {
    let is_ndcg = |name: &&String| *name == "ndcg";
    let ranked = || metrics.iter().filter(|name| !is_unranked(name));
    ranked().find(is_ndcg).or(ranked().next()).or(metrics.first()).cloned()
}

/// A metric as papers write it: `nDCG@10`.
pub fn metric_at(name: &str, k: usize) -> String {
    let title = metric(name).map_or(name, |of| of.title);
    match title.split_once(" (") {
        Some((title, more)) => format!("{title}@{k} ({more}"),
        None => format!("{title}@{k}"),
    }
}

/// `0.1234`, or a dash without a value.
fn number(value: Option<f64>) -> String {
    value.map_or("–".into(), |value| format!("{value:.4}"))
}

/// `+0.0123`
fn signed(value: f64) -> String {
    format!("{value:+.4}").replace('-', "−")
}

/// `[0.1234, 0.2345]`
fn interval(ends: Option<(f64, f64)>) -> Option<String> {
    ends.map(|(low, high)| format!("[{low:.4}, {high:.4}]"))
}

/// `[+0.1234, +0.2345]`
fn signed_interval(ends: Option<(f64, f64)>) -> Option<String> {
    ends.map(|(low, high)| format!("[{}, {}]", signed(low), signed(high)))
}

fn p_text(p: f64) -> String {
    if p < 1e-4 { "< .0001".into() } else { format!("{p:.4}") }
}

/// `1.2 s`, `3 min 20 s`, `2 h 5 min`
fn duration(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{seconds:.1} s"),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// All that a page shows.
#[derive(Serialize)]
pub struct Page {
    title: String,
    describe: String,
    overrides: Vec<String>,
    /// Trials without a result.
    missing: Vec<String>,
    failures: Vec<Failure>,
    /// Whose, and a sentence.
    warnings: Vec<(String, String)>,
    contents: Vec<Entry>,
    summary: summary::Summary,
    published: Vec<PublishedView>,
    results: results::Results,
    comparisons: Option<comparisons::Comparisons>,
    ablations: Option<ablations::Ablations>,
    slices: slices::Slices,
    orders: Vec<OrdersView>,
    tuning: Vec<tuning::Tuned>,
    figures: Vec<Figure>,
    language_models: language_models::LanguageModels,
    audit: audited::Audited,
    spent: spent::Spent,
    computed: computed::Computed,
    provenance: provenance::Provenance,
    /// What the script reads, as JSON.
    data: String,
}

#[derive(Serialize)]
struct Failure {
    trial: String,
    step: String,
    cause: String,
}

/// A line of the table of contents.
#[derive(Serialize)]
struct Entry {
    id: &'static str,
    title: &'static str,
}

impl<'a> Source<'a> {
    /// None without results.
    pub fn new(
        experiment: &'a ExperimentRecord,
        workspace: &'a Workspace,
        collected: &'a Collected,
        run: Option<&'a RunRecord>,
        trials: &'a [SearchRow],
        k: usize,
    ) -> Option<Self> {
        let main = Main::of(&collected.rows, k)?;
        let steps = (0..experiment.steps.len()).into_par_iter();
        let read = |step| experiment.record(workspace, step).ok().map(Arc::new);
        let records = steps.map(|step| collected.records[step].clone().or_else(|| read(step)));
        let records = records.collect();
        Some(Self { experiment, workspace, collected, run, trials, records, main })
    }

    fn record(&self, step: usize) -> Option<&Record> {
        self.records[step].as_deref()
    }

    /// The means over all folds in the main column.
    fn means(&self) -> impl Iterator<Item = &'a ResultRow> {
        let main = self.main.clone();
        let rows = self.collected.rows.iter();
        rows.filter(move |row| row.fold == MEAN && main.has(row) && row.slice == main.slice)
    }

    /// The view of everything. `files` are the files beside the page.
    pub fn page(&self, figures: Vec<Figure>, files: Vec<(String, String)>) -> Page {
        let Self { experiment, collected, run, .. } = self;
        let rows = &collected.rows;
        let ((comparisons, ablations), (results, data)) = rayon::join(
            || (comparisons::Comparisons::new(self), ablations::Ablations::new(self)),
            || results::Results::new(self),
        );
        let published: Vec<PublishedView> = experiment
            .published
            .iter()
            .map(|table| PublishedView::new(&Reproduction::new(table, rows)))
            .collect();
        let orders = self.orders();
        let mut page = Page {
            title: experiment.name.clone(),
            describe: experiment.describe.clone(),
            overrides: experiment.overrides.clone(),
            missing: [&collected.missing[..], &collected.missing_controls].concat(),
            failures: run
                .iter()
                .flat_map(|run| &run.failures)
                .map(|of| Failure {
                    trial: of.trial.clone(),
                    step: of.step.clone(),
                    cause: of.cause.clone(),
                })
                .collect(),
            warnings: collected.warnings.clone(),
            contents: Vec::new(),
            summary: summary::Summary::new(self, &comparisons, &published),
            published,
            results,
            comparisons,
            ablations,
            slices: slices::Slices::new(self),
            orders,
            tuning: tuning::tuned(self),
            figures,
            language_models: language_models::LanguageModels::new(self),
            audit: audited::Audited::new(self),
            spent: spent::Spent::new(self),
            computed: computed::Computed::new(self),
            provenance: provenance::Provenance::new(self, files),
            data,
        };
        page.contents = page.entries();
        page
    }

    /// Whether the order of systems depends on the evaluation setting, by slice and metric.
    fn orders(&self) -> Vec<OrdersView> {
        let rows = &self.collected.rows;
        let mut found = Vec::new();
        for slice in distinct(rows.iter().map(|row| row.slice.as_str())) {
            for metric in super::html::ORDERS_OF {
                let of = RankAgreement::new(
                    rows,
                    &self.collected.draws,
                    metric,
                    self.main.key.k,
                    (&slice, MEAN),
                );
                found.extend(of.map(|of| OrdersView::new(&of)));
            }
        }
        found
    }
}

impl Page {
    fn entries(&self) -> Vec<Entry> {
        let has_figures = |at: figures::Place| self.figures.iter().any(|of| of.place == at);
        let llm = &self.language_models;
        [
            (true, "summary", "Summary"),
            (!self.published.is_empty(), "published", "Published and measured"),
            (true, "results", "Results"),
            (self.comparisons.is_some(), "comparisons", "Comparisons"),
            (self.ablations.is_some(), "ablations", "Ablations"),
            (true, "slices", "Slices"),
            (!self.orders.is_empty(), "settings", "Evaluation settings"),
            (!self.tuning.is_empty(), "tuning", "Tuning"),
            (has_figures(figures::Place::Training), "training", "Training"),
            (llm.has_models(), "language-models", "Rerankers and texts"),
            (!llm.explanations.is_empty(), "explanations", "Explanations"),
            (true, "audit", "Audit"),
            (true, "cost", "Time and memory"),
            (true, "computed", "How the numbers are computed"),
            (true, "provenance", "Provenance"),
        ]
        .into_iter()
        .filter_map(|(is_shown, id, title)| is_shown.then_some(Entry { id, title }))
        .collect()
    }
}

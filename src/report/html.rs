//! The HTML report: one self-contained file, with tables and figures as separate files beside it.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tera::{Context, Tera};

use super::{
    Format, Selection, Table,
    explanations::explain_rows,
    figures::{Series, curves, scatter},
    metric_against_k,
    outputs::paper_files,
    reranks::{RerankRow, rerank_rows, reranked_slice},
    table::is_unranked,
    tidy,
};
use crate::{
    analysis::{
        Collected, Differences, MEAN, RankAgreement, Reproduction, Request, ResultRow,
        published::Verdict, searches,
    },
    base::{
        files::{FileError, write_whole},
        output::OutputDir,
        terminal::escaped,
        text::{distinct, users_text},
    },
    core::{RunRecord, Workspace},
    ranking::{Slice, score_files::Split},
    tasks::{ExperimentRecord, shared::HISTORY},
};

/// What is drawn of an epoch, whatever the network.
#[derive(serde::Deserialize)]
struct Epoch {
    epoch: usize,
    loss: f64,
    validation: Option<f64>,
}

/// The page's frame, the parts that several pages share, and the pages.
const TEMPLATES: [(&str, &str); 5] = [
    ("base.html", include_str!("../../reports/templates/base.html")),
    ("published.html", include_str!("../../reports/templates/published.html")),
    ("orders.html", include_str!("../../reports/templates/orders.html")),
    ("report.html", include_str!("../../reports/templates/report.html")),
    ("score.html", include_str!("../../reports/templates/score.html")),
];

/// The page of a report.
pub const INDEX: &str = "index.html";

/// Number of comparisons of orders in a report: one per metric, at the main cutoff.
const ORDERS_OF: [&str; 4] = ["ndcg", "precision", "recall", "map"];

/// The cutoff that is shown first: 10 if computed, otherwise the largest.
pub fn main_cutoff(experiment: &ExperimentRecord) -> usize {
    let cutoffs =
        || experiment.variants.iter().flat_map(|variant| &variant.evaluations).map(|of| of.k);
    if cutoffs().any(|k| k == 10) { 10 } else { cutoffs().max().unwrap_or(10) }
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
        let differences = Differences {
            fold: MEAN.into(),
            k: main_cutoff(experiment),
            metrics: Some(ORDERS_OF.map(str::to_owned).into()),
            slice: None,
        };
        Self { intervals, differences: Some(differences) }
    }
}

/// The written report.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub index: PathBuf,
    pub files: Vec<PathBuf>,
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

/// Writes `index.html`, `results.csv`, `results.json`, `tables/` and `figures/` into `dir`.
pub fn render(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    collected: &Collected,
    run: Option<&RunRecord>,
    mut out: OutputDir,
) -> Result<Rendered, ReportError> {
    let rows = &collected.rows;
    let mut files = Vec::new();
    for file in paper_files(experiment, workspace, rows)? {
        files.push(out.write(&file.name, &file.bytes)?);
    }
    let mut write = |name: &str, text: &str| -> Result<(), FileError> {
        files.push(out.write(name, text.as_bytes())?);
        Ok(())
    };
    write("results.csv", &tidy::csv(rows))?;
    write("results.json", &tidy::json(rows)?)?;
    let trials = searches(experiment, workspace);
    if !trials.rows.is_empty() {
        write("trials.csv", &tidy::trials_csv(&trials.rows))?;
    }
    let mut sections = Vec::new();
    let pairs = distinct(rows.iter().map(|row| format!("{}\n{}", row.protocol, row.convention)));
    let first_shown = reranked_slice(rows)
        .or(rows.first().map(|row| row.slice.as_str()))
        .unwrap_or_default()
        .to_owned();
    for pair in &pairs {
        let (protocol, convention) = pair.split_once('\n').unwrap_or_default();
        let of_pair = || {
            rows.iter().filter(move |row| row.protocol == protocol && row.convention == convention)
        };
        let cutoffs = distinct(of_pair().map(|row| row.k.to_string()));
        for slice in distinct(of_pair().map(|row| row.slice.as_str())) {
            let mut tables = Vec::new();
            for k in &cutoffs {
                let selection = Selection {
                    protocol: protocol.into(),
                    convention: convention.into(),
                    slice: slice.clone(),
                    k: k.parse().unwrap_or_default(),
                    fold: MEAN.into(),
                };
                let Some(table) = Table::new(rows, &selection) else { continue };
                for (format, extension) in
                    [(Format::Markdown, "md"), (Format::Latex, "tex"), (Format::Csv, "csv")]
                {
                    let name = format!("tables/{}.{extension}", table.file_name);
                    write(&name, &table.write(format))?;
                }
                tables.push(table_value(&table));
            }
            let mut figures = Vec::new();
            for metric in ["ndcg", "recall"] {
                let figure = metric_against_k(rows, protocol, convention, &slice, metric);
                if let Some((svg, bars)) = figure {
                    let name = format!(
                        "figures/{metric}-{protocol}-{convention}-{}.svg",
                        slice.replace('<', "-under-")
                    );
                    write(&name, &svg)?;
                    figures.push(json!({"metric": metric, "svg": svg, "bars": bars, "file": name}));
                }
            }
            sections.push(json!({
                "protocol": protocol,
                "convention": convention,
                "slice": slice,
                "open": Some(pair) == pairs.first() && slice == first_shown,
                "title": format!("{protocol} · {convention} · {slice}"),
                "tables": tables,
                "figures": figures,
                "folds": folds_value(collected, protocol, convention, &slice),
            }));
        }
    }
    let k = main_cutoff(experiment);
    let mut learning = Vec::new();
    for (name, title, svg) in learning_curves(experiment, workspace) {
        let file = format!("figures/{name}.svg");
        write(&file, &svg)?;
        learning.push(json!({"title": title, "svg": svg, "file": file}));
    }
    let reranks = rerank_rows(experiment, workspace);
    let cost = match quality_against_cost(experiment, &reranks, rows, k) {
        Some((title, svg)) => {
            let file = "figures/quality-against-cost.svg";
            write(file, &svg)?;
            json!({"title": title, "svg": svg, "file": file})
        }
        None => Value::Null,
    };
    let published: Vec<Value> = experiment
        .published
        .iter()
        .map(|table| published_value(&Reproduction::new(table, rows)))
        .collect();
    let slices = distinct(rows.iter().map(|row| row.slice.as_str()));
    let mut orders = Vec::new();
    for slice in &slices {
        for metric in ORDERS_OF {
            orders.extend(RankAgreement::new(rows, &collected.draws, metric, k, (slice, MEAN)));
        }
    }
    let mut context = Context::new();
    context.insert("published", &published);
    context.insert("learning", &learning);
    context.insert("asks", &reranks.iter().any(|row| row.is_chat));
    context.insert("reranks", &reranks);
    context.insert("cost", &cost);
    context.insert("explanations", &explain_rows(experiment, workspace));
    context.insert("texts", &super::texts::text_rows(experiment, workspace));
    context.insert("orders", &orders.iter().map(orders_value).collect::<Vec<_>>());
    context.insert("warnings", &collected.warnings);
    context.insert("experiment", &experiment.name);
    context.insert("describe", &experiment.describe);
    context.insert("overrides", &experiment.overrides);
    context.insert("file", &experiment.path);
    // With those that come with the program: `built-in:baselines/als.yaml`.
    let sources: Vec<&str> = experiment.sources.iter().map(|(path, _)| path.as_str()).collect();
    context.insert("files", &sources);
    context.insert("main_k", &k.to_string());
    context.insert("sections", &sections);
    let sizes = collected.slices.iter().map(|of| {
        let fold = if of.fold == MEAN { "all folds" } else { &of.fold };
        json!({
            "setting": of.setting, "fold": fold, "slice": of.slice,
            "users": users_text(of.users, of.pairs),
        })
    });
    context.insert("slices", &sizes.collect::<Vec<Value>>());
    let missing = [&collected.missing[..], &collected.missing_controls].concat();
    context.insert("missing", &missing);
    context.insert("settings", &variants_value(experiment, workspace));
    context.insert("run", &run);
    let steps = 0..experiment.steps.len();
    let seconds =
        steps.filter_map(|step| Some(experiment.record(workspace, step).ok()?.wall_seconds));
    context.insert("step_seconds", &seconds.sum::<f64>());
    context.insert("version", env!("CARGO_PKG_VERSION"));
    write(INDEX, &page("report.html", context)?)?;
    Ok(Rendered { index: files.last().cloned().unwrap_or_default(), files })
}

/// Rerankers and their bases: the first metric against what a user takes: money, else tokens, else
/// seconds where no chat model was asked. Over the users who were reranked, where they are the same for all.
fn quality_against_cost(
    experiment: &ExperimentRecord,
    reranks: &[RerankRow],
    rows: &[ResultRow],
    k: usize,
) -> Option<(String, String)> {
    let first = rows.first()?;
    let rerankers: Vec<(String, Slice)> = experiment
        .variants
        .iter()
        .flat_map(|variant| variant.systems.iter().map(move |system| (variant, system)))
        .filter_map(|(variant, system)| {
            let (base, users) = system.reranks.as_ref()?;
            Some((format!("{base}{}", variant.label), *users))
        })
        .collect();
    let (_, users) = rerankers.first()?;
    let slice = match rerankers.iter().all(|(_, of)| of == users) {
        true => users.to_string(),
        false => Slice::All.to_string(),
    };
    let metric = ["ndcg", "recall", "precision", "map"]
        .into_iter()
        .find(|metric| rows.iter().any(|row| row.metric == *metric))?;
    let value = |system: &str| {
        let row = rows.iter().find(|row| {
            row.system == system
                && row.fold == MEAN
                && (&row.protocol, &row.convention) == (&first.protocol, &first.convention)
                && (row.slice == slice && row.metric == metric && row.k == k)
        });
        row?.value
    };
    let readable = || reranks.iter().filter(|row| row.problem.is_none());
    let chats = || readable().filter(|row| row.is_chat);
    let (what, of): (&str, fn(&RerankRow) -> f64) = if chats().next().is_none() {
        ("seconds for 1,000 users", |row| 1000.0 * row.seconds / row.users.max(1) as f64)
    } else if chats().all(|row| row.spent_a_user().0.is_some_and(|money| money > 0.0)) {
        ("money for 1,000 users", |row| 1000.0 * row.spent_a_user().0.unwrap_or(0.0))
    } else {
        ("tokens per user", |row| row.spent_a_user().1)
    };
    let bases = distinct(rerankers.iter().map(|(base, _)| base.as_str()));
    let mut points: Vec<(String, f64, f64)> =
        bases.iter().filter_map(|base| Some((base.clone(), 0.0, value(base)?))).collect();
    points.extend(
        readable().filter_map(|row| Some((row.system.clone(), of(row), value(&row.system)?))),
    );
    let svg = scatter(&points, what, &format!("{metric}@{k}"))?;
    let title = format!(
        "Quality against cost: {metric}@{k} ({}, {}, {slice}) and {what}; base systems have no cost",
        first.protocol, first.convention
    );
    Some((title, svg))
}

/// Losses and validation metrics by epoch, of each network's first trial.
fn learning_curves(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
) -> Vec<(&'static str, &'static str, String)> {
    let (mut losses, mut validations) = (Vec::<Series>::new(), Vec::<Series>::new());
    for trial in &experiment.trials {
        // The network of a reranker is shown under its own name.
        let is_known = losses.iter().any(|(name, _)| *name == trial.name);
        let fit = trial.fit.filter(|_| experiment.system(trial).reranks.is_none() && !is_known);
        let Some(fit) = fit else { continue };
        let path = experiment.dir(workspace, fit).join(HISTORY);
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let Ok(history) = serde_json::from_str::<Vec<Epoch>>(&text) else { continue };
        let first = history.first().map_or(1.0, |epoch| epoch.loss);
        let loss = history.iter().map(|epoch| (epoch.epoch as f64, epoch.loss / first));
        losses.push((trial.name.clone(), loss.collect()));
        let measured =
            history.iter().filter_map(|epoch| Some((epoch.epoch as f64, epoch.validation?)));
        let measured: Vec<(f64, f64)> = measured.collect();
        if !measured.is_empty() {
            validations.push((trial.name.clone(), measured));
        }
    }
    let loss = curves(&losses, "epoch", "loss relative to the first epoch");
    let validation = curves(&validations, "epoch", "validation metric");
    let loss = loss.map(|svg| ("learning-loss", "Training loss, first trial of each network", svg));
    let validation = validation
        .map(|svg| ("learning-validation", "Validation metric, first trial of each network", svg));
    loss.into_iter().chain(validation).collect()
}

fn page(name: &str, context: Context) -> Result<String, tera::Error> {
    let mut tera = Tera::default();
    tera.add_raw_templates(TEMPLATES)?;
    let mut values = context.into_json();
    escape_controls(&mut values);
    tera.render(name, &Context::from_value(values)?)
}

/// Names and messages of others, in which nothing drives a terminal or turns the text around. Markup in them is
/// escaped by the templates.
fn escape_controls(value: &mut Value) {
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

/// Writes the results of `assay score` as one HTML file.
pub fn render_scores(
    path: &Path,
    split: &Split,
    rows: &[ResultRow],
    warnings: &[(String, String)],
    orders: &[RankAgreement],
    published: Option<&Reproduction>,
) -> Result<(), ReportError> {
    let tables: Vec<Value> = Selection::all(rows, &split.fold)
        .iter()
        .filter_map(|selection| Some(table_value(&Table::new(rows, selection)?)))
        .collect();
    let mut context = Context::new();
    context.insert("data", &split.data);
    context.insert("fold", &split.fold);
    context.insert("relevant", &split.relevant.describe(split.relevant_from));
    context.insert("data_hash", &split.data_digest);
    context.insert("split_hash", &split.split_digest);
    context.insert("tables", &tables);
    context.insert("warnings", warnings);
    let shown = orders.iter().filter(|of| !is_unranked(&of.metric));
    context.insert("orders", &shown.map(orders_value).collect::<Vec<_>>());
    context.insert("published", &published.map(published_value).into_iter().collect::<Vec<_>>());
    context.insert("version", env!("CARGO_PKG_VERSION"));
    write_whole(path, page("score.html", context)?.as_bytes())?;
    Ok(())
}

fn published_value(reproduction: &Reproduction) -> Value {
    let rows: Vec<Value> = reproduction
        .rows
        .iter()
        .map(|row| {
            let cells: Vec<Value> = reproduction
                .metrics
                .iter()
                .map(|metric| match row.cells.iter().find(|cell| cell.metric == *metric) {
                    None => Value::Null,
                    Some(cell) => json!({
                        "printed": format!("{:.*}", reproduction.about.digits as usize, cell.printed),
                        "value": cell.value.map(|value| format!("{value:.4}")),
                        "interval": cell.interval.map(|(low, high)| format!("[{low:.3}, {high:.3}]")),
                        "n": cell.n_users,
                        "mark": match cell.verdict {
                            Verdict::Reproduced { .. } => "=",
                            Verdict::Off { .. } => "≠",
                            Verdict::NotCheckable { .. } => "?",
                        },
                    }),
                })
                .collect();
            json!({"row": row.row, "system": row.system, "cells": cells})
        })
        .collect();
    json!({
        "title": reproduction.title(),
        "describe": reproduction.about.describe,
        "verdict": reproduction.verdict(),
        "holds": reproduction.holds() && reproduction.differs.is_empty(),
        "few": reproduction.few(),
        "reasons": reproduction.reasons(),
        "metrics": reproduction.metrics,
        "rows": rows,
    })
}

fn orders_value(orders: &RankAgreement) -> Value {
    let ways: Vec<Value> = (0..orders.settings.len())
        .map(|way| {
            json!({
                "name": orders.setting_name(way),
                "n": orders.n_text(way),
                "cells": (0..orders.systems.len()).map(|s| orders.text(way, s)).collect::<Vec<_>>(),
                "tau": (0..orders.settings.len()).map(|b| orders.tau_text(way, b)).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "title": orders.title(),
        "systems": orders.systems,
        "ways": ways,
        "verdict": orders.verdict(),
        "swaps": orders.inversions.iter().map(|swap| orders.inversion_text(swap)).collect::<Vec<_>>(),
        "note": orders.note(),
    })
}

/// A table as the template draws it: each cell with its interval and its number of users apart.
pub(super) fn table_value(table: &Table) -> Value {
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            let cells: Vec<Value> = row
                .cells
                .iter()
                .map(|cell| {
                    let plain = super::Cell { interval: None, ..cell.clone() };
                    let interval = cell.interval.map(|(low, high)| format!("[{low:.4}, {high:.4}]"));
                    json!({"text": table.text(&plain, "±"), "interval": interval, "best": cell.best})
                })
                .collect();
            json!({"head": table.row_head(row), "cells": cells})
        })
        .collect();
    json!({
        "k": table.k.map(|k| k.to_string()),
        "title": table.title,
        "header": table.header(),
        "rows": rows,
        "notes": table.notes(true),
        "file": format!("tables/{}", table.file_name),
    })
}

/// nDCG of every fold at every cutoff.
fn folds_value(collected: &Collected, protocol: &str, convention: &str, slice: &str) -> Value {
    let rows: Vec<Value> = collected
        .rows
        .iter()
        .filter(|row| {
            row.fold != MEAN
                && row.metric == "ndcg"
                && row.protocol == protocol
                && row.convention == convention
                && row.slice == slice
        })
        .map(|row| {
            json!({
                "system": row.system,
                "fold": row.fold,
                "seed": row.seed,
                "k": row.k.to_string(),
                "value": row.value.map_or("–".into(), |value| format!("{value:.4}")),
                "n": row.n_users,
            })
        })
        .collect();
    rows.into()
}

fn variants_value(experiment: &ExperimentRecord, workspace: &Workspace) -> Value {
    let variants = experiment.variants.iter().enumerate().map(|(at, variant)| {
        let mut folds: Vec<Value> = Vec::new();
        let (mut known, mut filters): (Vec<usize>, Vec<String>) = (Vec::new(), Vec::new());
        for trial in experiment.trials.iter().filter(|trial| trial.variant == at) {
            if known.contains(&trial.split) {
                continue;
            }
            known.push(trial.split);
            let record = experiment.record(workspace, trial.split).ok();
            for effect in experiment.filters(workspace, trial.split) {
                let effect = effect.to_string();
                if !filters.contains(&effect) {
                    filters.push(effect);
                }
            }
            folds.push(json!({"fold": trial.fold, "facts": record.map(|record| record.stats)}));
        }
        let systems: Vec<Value> = variant
            .systems
            .iter()
            .map(|system| {
                let settings = system.settings.as_object().into_iter().flatten();
                let parameters: Vec<Value> = settings
                    .filter(|(name, _)| *name != "model")
                    .map(|(name, value)| json!([name, value.to_string().replace('"', "")]))
                    .collect();
                json!({
                    "name": system.name,
                    "describe": system.describe,
                    "model": system.model,
                    "parameters": parameters,
                })
            })
            .collect();
        json!({
            "label": variant.label,
            "data": variant.data,
            "data_hash": variant.data_digest.to_string(),
            // What was removed, or the rules alone where the folds are gone.
            "filters": match filters.is_empty() && !variant.rules.filter.is_empty() {
                true => vec![variant.rules.filter.clone()],
                false => filters,
            },
            "relevant": variant.rules.relevant,
            "ties": variant.rules.ties,
            "fallback": variant.rules.fallback,
            "split": variant.split.to_string(),
            "seeds": variant.seeds,
            "folds": folds,
            "systems": systems,
        })
    });
    variants.collect()
}

//! The HTML report: one file that needs nothing else, with tables and figures beside it as files.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tera::{Context, Tera};

use super::{Collected, Format, Selection, Table, metric_against_k, table::distinct, tidy};
use crate::{
    plan::Plan,
    run::RunRecord,
    spec::Experiment,
    store::{StoreError, Workspace, write_whole},
};

const TEMPLATE: &str = include_str!("../../reports/templates/report.html");

/// What was written.
#[derive(Clone, Debug)]
pub struct Rendered {
    pub index: PathBuf,
    pub files: Vec<PathBuf>,
}

/// Why a report could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the report's template: {0:?}")]
    Template(#[from] tera::Error),
    #[error("results as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// Writes `index.html`, `results.csv`, `results.json`, `tables/` and `figures/` into `dir`.
pub fn render(
    experiment: &Experiment,
    plan: &Plan,
    workspace: &Workspace,
    collected: &Collected,
    run: Option<&RunRecord>,
    dir: &Path,
) -> Result<Rendered, ReportError> {
    let rows = &collected.rows;
    let mut files = Vec::new();
    let mut write = |name: &str, text: &str| -> Result<(), StoreError> {
        let path = dir.join(name);
        write_whole(&path, text.as_bytes())?;
        files.push(path);
        Ok(())
    };
    write("results.csv", &tidy::csv(rows))?;
    write("results.json", &tidy::json(rows)?)?;
    let mut sections = Vec::new();
    let pairs = distinct(rows.iter().map(|row| format!("{}\n{}", row.protocol, row.convention)));
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
                    fold: "mean".into(),
                };
                let Some(table) = Table::new(rows, &selection) else { continue };
                for (format, extension) in
                    [(Format::Markdown, "md"), (Format::Latex, "tex"), (Format::Csv, "csv")]
                {
                    let name = format!("tables/{}.{extension}", table.file_name());
                    write(&name, &table.write(format))?;
                }
                tables.push(table_value(&table));
            }
            let mut figures = Vec::new();
            for metric in ["ndcg", "recall"] {
                if let Some(svg) = metric_against_k(rows, protocol, convention, &slice, metric) {
                    let name = format!(
                        "figures/{metric}-{protocol}-{convention}-{}.svg",
                        slice.replace('<', "-under-")
                    );
                    write(&name, &svg)?;
                    figures.push(json!({"metric": metric, "svg": svg, "file": name}));
                }
            }
            sections.push(json!({
                "protocol": protocol,
                "convention": convention,
                "slice": slice,
                "title": format!("{protocol} · {convention} · {slice}"),
                "tables": tables,
                "figures": figures,
                "folds": folds_value(collected, protocol, convention, &slice),
            }));
        }
    }
    let main_k = super::table::distinct(rows.iter().map(|row| row.k.to_string()));
    let main_k = if main_k.iter().any(|k| k == "10") {
        "10".into()
    } else {
        main_k.last().cloned().unwrap_or_default()
    };
    let mut context = Context::new();
    context.insert("experiment", &experiment.name);
    context.insert("describe", &experiment.describe);
    context.insert("file", &experiment.path.display().to_string());
    context.insert("main_k", &main_k);
    context.insert("sections", &sections);
    context.insert("slices", &collected.slices);
    context.insert("missing", &collected.missing);
    context.insert("settings", &settings_value(experiment, plan, workspace));
    context.insert("run", &run);
    let seconds = plan
        .steps
        .iter()
        .filter_map(|step| Some(workspace.record(step.kind.name(), &step.key).ok()?.wall_seconds));
    context.insert("step_seconds", &seconds.sum::<f64>());
    context.insert("version", env!("CARGO_PKG_VERSION"));
    let mut tera = Tera::default();
    tera.add_raw_template("report.html", TEMPLATE)?;
    let html = tera.render("report.html", &context)?;
    write("index.html", &html)?;
    Ok(Rendered { index: dir.join("index.html"), files })
}

fn table_value(table: &Table) -> Value {
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|(system, cells)| {
            let cells: Vec<Value> = cells
                .iter()
                .map(|cell| json!({"text": table.text(cell, "±"), "best": cell.best}))
                .collect();
            json!({"system": system, "cells": cells})
        })
        .collect();
    json!({
        "k": table.selection.k.to_string(),
        "metrics": table.metrics,
        "rows": rows,
        "notes": table.notes,
        "file": format!("tables/{}", table.file_name()),
    })
}

/// nDCG of every fold at every cutoff, so that no fold hides behind a mean.
fn folds_value(collected: &Collected, protocol: &str, convention: &str, slice: &str) -> Value {
    let rows: Vec<Value> = collected
        .rows
        .iter()
        .filter(|row| {
            row.fold != "mean"
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

fn settings_value(experiment: &Experiment, plan: &Plan, workspace: &Workspace) -> Value {
    let settings = experiment.settings.iter().enumerate().map(|(at, setting)| {
        let folds: Vec<Value> = plan
            .steps
            .iter()
            .filter(|step| step.setting == at && step.kind == crate::plan::StepKind::Split)
            .map(|step| {
                let record = workspace.record(step.kind.name(), &step.key).ok();
                json!({"fold": step.fold, "facts": record.map(|record| record.facts)})
            })
            .collect();
        let systems: Vec<Value> = setting
            .systems
            .iter()
            .map(|system| {
                let model = serde_json::to_value(&system.model).unwrap_or_default();
                let parameters: Vec<Value> = model
                    .as_object()
                    .into_iter()
                    .flatten()
                    .filter(|(name, _)| *name != "model")
                    .map(|(name, value)| json!([name, value.to_string().replace('"', "")]))
                    .collect();
                json!({
                    "name": system.name,
                    "describe": system.describe,
                    "model": system.model.name(),
                    "parameters": parameters,
                })
            })
            .collect();
        json!({
            "label": setting.label,
            "data": setting.data.source.name(),
            "data_hash": plan.data[at].to_string(),
            "relevant": setting.data.relevant.to_string(),
            "split": serde_json::to_string(&setting.split).unwrap_or_default(),
            "seeds": setting.seeds,
            "folds": folds,
            "systems": systems,
        })
    });
    settings.collect()
}

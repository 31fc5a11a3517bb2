//! A table of results as the page shows it.

use serde::Serialize;

use super::{interval, metric_at};
use crate::report::{Cell, Table};

#[derive(Serialize)]
pub struct TableView {
    pub title: String,
    pub k: String,
    /// Names of the columns before the metrics.
    pub heads: Vec<String>,
    pub metrics: Vec<MetricHead>,
    pub rows: Vec<RowView>,
    pub notes: Vec<String>,
}

#[derive(Serialize)]
pub struct MetricHead {
    /// The name in experiment files, by which the column is shown or hidden.
    pub key: String,
    pub title: String,
}

#[derive(Serialize)]
pub struct RowView {
    pub system: String,
    /// The column of the system among the cells before the metrics.
    pub leads: Vec<String>,
    /// Number of users and such.
    pub counts: Vec<String>,
    pub cells: Vec<CellView>,
}

#[derive(Serialize)]
pub struct CellView {
    /// In full precision, for sorting; empty without a value.
    pub value: String,
    /// With the number of users, if the cells of a row have different ones.
    pub text: String,
    pub sd: Option<String>,
    pub interval: Option<String>,
    pub best: bool,
}

impl TableView {
    pub fn new(table: &Table) -> Self {
        let n_leads = table.leads.len();
        let header = table.header();
        let metrics = table.metrics.iter().map(|name| MetricHead {
            key: name.clone(),
            title: table.k.map_or_else(|| name.clone(), |k| metric_at(name, k)),
        });
        let rows = table.rows.iter().map(|row| {
            let head = table.row_head(row);
            let cells = row.cells.iter().map(|cell| {
                let plain = Cell { interval: None, sd: None, ..cell.clone() };
                CellView {
                    value: cell.value.map(|value| value.to_string()).unwrap_or_default(),
                    text: table.text(&plain, "±"),
                    sd: cell.value.and(cell.sd).map(|sd| format!("± {sd:.4}")),
                    interval: interval(cell.value.and(cell.interval)),
                    best: cell.best,
                }
            });
            RowView {
                system: row.system.clone(),
                leads: row.leads.clone(),
                counts: head[n_leads + 1..].to_vec(),
                cells: cells.collect(),
            }
        });
        Self {
            title: table.title.clone(),
            k: table.k.map(|k| k.to_string()).unwrap_or_default(),
            heads: header[..header.len() - table.metrics.len()].to_vec(),
            metrics: metrics.collect(),
            rows: rows.collect(),
            notes: table.notes(true).into_iter().map(str::to_owned).collect(),
        }
    }
}

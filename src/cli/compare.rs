//! `assay compare`

use std::path::PathBuf;

use super::{
    CliError, WorkspaceArg, print,
    results::{results_of, warn_of_missing},
};
use crate::{
    exit::Exit,
    report::{Orders, Request, ResultRow},
};

/// Show the same systems under every protocol and convention side by side
///
/// For each way of scoring: values, how far they move from the first way's, the systems' ranks, and
/// Kendall's τ between the orders. A claim that depends on the way of scoring is seen at once.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay compare experiments/ml-100k-baselines.yaml
  assay compare experiments/ml-100k-baselines.yaml --metric map --slice 'cold<20' --fold u1
  assay compare experiments/ml-100k-baselines.yaml --json | jq '.[].swaps'")]
pub struct Compare {
    /// The experiment file
    file: PathBuf,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Metric (default: ndcg, or the first)
    #[arg(long)]
    metric: Option<String>,
    /// Cutoff (default: 10, or the largest)
    #[arg(short)]
    k: Option<usize>,
    /// Users (default: the first slice of the experiment)
    #[arg(long)]
    slice: Option<String>,
    /// A fold's name, or `mean`
    #[arg(long, default_value = "mean")]
    fold: String,
    /// Every metric
    #[arg(long, conflicts_with = "metric")]
    all: bool,
    /// A JSON array
    #[arg(long)]
    json: bool,
}

impl Compare {
    pub fn run(self) -> Result<Exit, CliError> {
        let collected = results_of(&self.file, &self.workspace, &Request::default())?;
        let rows = &collected.rows;
        let distinct = |of: fn(&ResultRow) -> &str| {
            let mut values: Vec<&str> = Vec::new();
            for row in rows {
                if !values.contains(&of(row)) {
                    values.push(of(row));
                }
            }
            values
        };
        let metrics = distinct(|row| &row.metric);
        let slices = distinct(|row| &row.slice);
        let usual = if metrics.contains(&"ndcg") { "ndcg" } else { metrics[0] };
        let metrics = match (&self.metric, self.all) {
            (Some(metric), _) => vec![metric.as_str()],
            (None, true) => metrics,
            (None, false) => vec![usual],
        };
        let slice = self.slice.as_deref().unwrap_or(slices[0]);
        let ten = rows.iter().any(|row| row.k == 10);
        let largest = rows.iter().map(|row| row.k).max().unwrap_or(10);
        let k = self.k.unwrap_or(if ten { 10 } else { largest });
        let orders: Vec<Orders> = metrics
            .iter()
            .filter_map(|metric| Orders::new(rows, metric, k, slice, &self.fold))
            .collect();
        if orders.is_empty() {
            return Err(CliError::Usage(format!(
                "there are not two ways of scoring {} at k = {k}, slice {slice}, fold {}\n  = help: name \
                 several under `evaluate.protocols` or `evaluate.conventions`, and run again",
                metrics.join(", "),
                self.fold
            )));
        }
        if self.json {
            print(&(serde_json::to_string_pretty(&orders)? + "\n"))?;
        } else {
            let texts: Vec<String> = orders.iter().map(Orders::terminal).collect();
            print(&texts.join("\n"))?;
        }
        Ok(warn_of_missing(&collected))
    }
}

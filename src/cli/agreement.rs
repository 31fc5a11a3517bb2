//! `assay agreement`

use super::{
    CliError, ExperimentArg, WorkspaceArg,
    metrics::spelled,
    print, print_json,
    results::{results_of_record, warn_of_missing},
};
use crate::{
    analysis::{Differences, MEAN, RankAgreement, Request},
    base::{exit::Exit, text::distinct},
    ranking::Slice,
    report::main_cutoff,
};

/// Compare the order of the systems under every evaluation setting (protocol and convention)
///
/// Shows the values of each evaluation setting, their difference to the first setting, the systems' ranks, and
/// Kendall's τ between the orders. If two systems swap ranks, the interval of their paired difference shows
/// whether the swap is statistically significant.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay agreement experiments/ml-100k-baselines.yaml
  assay agreement experiments/ml-100k-baselines.yaml --metric map --slice 'cold<20' --fold u1
  assay agreement experiments/ml-100k-baselines.yaml --json | jq '.[].swaps'")]
pub struct Agreement {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Metric (default: ndcg if computed, otherwise the first)
    #[arg(long)]
    metric: Option<String>,
    /// Cutoff (default: 10 if computed, otherwise the largest)
    #[arg(short)]
    k: Option<usize>,
    /// Slice of users (default: the experiment's first)
    #[arg(long)]
    slice: Option<String>,
    /// Name of a fold, or `mean` over all folds
    #[arg(long, default_value = MEAN)]
    fold: String,
    /// Show all metrics
    #[arg(long, conflicts_with = "metric")]
    all: bool,
    /// Print a JSON array
    #[arg(long)]
    json: bool,
}

impl Agreement {
    pub fn run(self) -> Result<Exit, CliError> {
        let given: Vec<String> = self.metric.iter().cloned().collect();
        let (given, k) = spelled(&given, self.k)?;
        let workspace = self.workspace.open();
        let experiment = self.experiment.recorded(&workspace)?;
        let variants = || experiment.variants.iter();
        let metrics = distinct(variants().flat_map(|of| &of.metrics).map(String::as_str));
        let usual = metrics.iter().find(|name| *name == "ndcg").or(metrics.first());
        let metrics: Vec<String> = match (given.first(), self.all) {
            (Some(metric), _) => vec![metric.clone()],
            (None, true) => metrics.clone(),
            (None, false) => usual.into_iter().cloned().collect(),
        };
        let first = variants().flat_map(|of| &of.slices).next();
        let slice = self.slice.clone().or(first.map(ToString::to_string));
        let slice = slice.unwrap_or_else(|| Slice::All.to_string());
        let k = k.unwrap_or_else(|| main_cutoff(&experiment));
        let differences = Differences {
            fold: self.fold.clone(),
            k,
            metrics: Some(metrics.clone()),
            slice: Some(slice.clone()),
        };
        let request = Request { differences: Some(differences), ..Request::default() };
        let collected = results_of_record(&self.experiment, &experiment, &workspace, &request)?;
        let orders: Vec<RankAgreement> = metrics
            .iter()
            .filter_map(|metric| {
                let place = (slice.as_str(), self.fold.as_str());
                RankAgreement::new(&collected.rows, &collected.draws, metric, k, place)
            })
            .collect();
        if orders.is_empty() {
            return Err(CliError::Usage(format!(
                "fewer than two evaluation settings have {} at k = {k}, slice {slice}, fold {}\n  = help: list \
                 several under `evaluate.protocols` or `evaluate.conventions`, and run again",
                metrics.join(", "),
                self.fold
            )));
        }
        if self.json {
            print_json(&orders)?;
        } else {
            let texts: Vec<String> = orders.iter().map(RankAgreement::terminal).collect();
            print(&texts.join("\n"))?;
        }
        Ok(warn_of_missing(&collected))
    }
}

//! `assay table`

use super::{
    CliError, ExperimentArg, WorkspaceArg,
    experiment::unknown,
    metrics::spelled,
    print, print_csv,
    results::{results_of, warn_of_missing},
};
use crate::{
    analysis::{MEAN, Request, ResultRow},
    base::{exit::Exit, text::distinct},
    report::{Format, Selection, Spread, Table, reranked_slice},
};

/// Print a table of systems and metrics for the terminal, or as Markdown, LaTeX or CSV
#[derive(clap::Args)]
#[command(
    name = "table",
    after_help = "Examples:
  assay table experiments/ml-100k-baselines.yaml
  assay table experiments/ml-100k-baselines.yaml --fold u1 --slice 'cold<10' -k 5
  assay table experiments/ml-100k-baselines.yaml --system als --system ease --metric nDCG@10
  assay table experiments/ml-100k-baselines.yaml --intervals --joint -k 10
  assay table experiments/ml-100k-baselines.yaml --format latex > table1.tex"
)]
pub struct TableArgs {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Only this system (can be repeated)
    #[arg(long = "system", value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Only this metric (can be repeated)
    #[arg(long = "metric", value_name = "METRIC")]
    metrics: Vec<String>,
    /// Candidate protocol (default: the experiment's first)
    #[arg(long)]
    protocol: Option<String>,
    /// Metric convention (default: the experiment's first)
    #[arg(long)]
    convention: Option<String>,
    /// Slice of users (default: the users who were reranked, or the experiment's first)
    #[arg(long)]
    slice: Option<String>,
    /// Cutoff (default: 10 if computed, otherwise the largest)
    #[arg(short)]
    k: Option<usize>,
    /// Name of a fold, or `mean` over all folds
    #[arg(long, default_value = MEAN)]
    fold: String,
    /// What the standard deviation (±) is over (default: folds if there are several, otherwise seeds)
    #[arg(long, value_enum)]
    sd: Option<Spread>,
    /// Add 95 % bootstrap intervals over users
    #[arg(long)]
    intervals: bool,
    /// Print one table of all protocols, conventions, slices and cutoffs not fixed by the other options
    #[arg(long)]
    joint: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "terminal")]
    format: Format,
    /// With --format csv: prefix texts that a spreadsheet would read as a formula with '
    #[arg(long)]
    spreadsheet: bool,
}

impl TableArgs {
    pub fn run(self) -> Result<Exit, CliError> {
        let request = Request::intervals_of(self.intervals.then_some(self.fold.as_str()));
        let collected = results_of(&self.experiment, &self.workspace, &request)?;
        let (metrics, k) = spelled(&self.metrics, self.k)?;
        self.check(&collected.rows, &metrics, k)?;
        let is_shown = |row: &&ResultRow| {
            (self.systems.is_empty() || self.systems.contains(&row.system))
                && (metrics.is_empty() || metrics.contains(&row.metric))
        };
        let rows: Vec<ResultRow> = collected.rows.iter().filter(is_shown).cloned().collect();
        let Some(usual) = main_selection(&rows) else { return Ok(Exit::Inconclusive) };
        let selections = match self.joint {
            true => {
                let is = |asked: &Option<String>, value: &String| {
                    asked.as_ref().is_none_or(|asked| asked == value)
                };
                let mut selections = Selection::all(&rows, &self.fold);
                selections.retain(|of| {
                    is(&self.protocol, &of.protocol)
                        && is(&self.convention, &of.convention)
                        && is(&self.slice, &of.slice)
                        && k.is_none_or(|k| k == of.k)
                });
                selections
            }
            false => vec![Selection {
                protocol: self.protocol.clone().unwrap_or(usual.protocol),
                convention: self.convention.clone().unwrap_or(usual.convention),
                slice: self.slice.clone().unwrap_or(usual.slice),
                k: k.unwrap_or(usual.k),
                fold: self.fold.clone(),
            }],
        };
        let Some(table) = Table::joint(&rows, &selections, self.sd) else {
            return Err(CliError::Usage(format!(
                "no result has all of {}: each exists, but not together",
                self.asked(k).join(", ")
            )));
        };
        self.print(&table)?;
        Ok(warn_of_missing(&collected))
    }

    /// An error for the first option that no row has.
    fn check(
        &self,
        rows: &[ResultRow],
        metrics: &[String],
        k: Option<usize>,
    ) -> Result<(), CliError> {
        let known = |of: fn(&ResultRow) -> String| distinct(rows.iter().map(of));
        let one = |of: &Option<String>| of.iter().cloned().collect::<Vec<_>>();
        let cutoffs: Vec<String> = k.iter().map(ToString::to_string).collect();
        let options: [(&str, &str, &[String], Vec<String>); 7] = [
            ("--system", "system", &self.systems, known(|row| row.system.clone())),
            ("--metric", "metric", metrics, known(|row| row.metric.clone())),
            ("--protocol", "protocol", &one(&self.protocol), known(|row| row.protocol.clone())),
            (
                "--convention",
                "convention",
                &one(&self.convention),
                known(|row| row.convention.clone()),
            ),
            ("--slice", "slice", &one(&self.slice), known(|row| row.slice.clone())),
            ("-k", "cutoff", &cutoffs, known(|row| row.k.to_string())),
            ("--fold", "fold", std::slice::from_ref(&self.fold), known(|row| row.fold.clone())),
        ];
        for (option, what, asked, known) in options {
            if let Some(value) = asked.iter().find(|of| !known.contains(of)) {
                return Err(unknown(option, what, value, &known));
            }
        }
        Ok(())
    }

    /// The options that choose rows, as they were given.
    fn asked(&self, k: Option<usize>) -> Vec<String> {
        let named = [
            ("--protocol", &self.protocol),
            ("--convention", &self.convention),
            ("--slice", &self.slice),
        ];
        let named = named
            .iter()
            .filter_map(|(option, value)| Some(format!("{option} {}", value.as_ref()?)));
        let systems = self.systems.iter().map(|system| format!("--system {system}"));
        let metrics = self.metrics.iter().map(|metric| format!("--metric {metric}"));
        let rest =
            k.map(|k| format!("-k {k}")).into_iter().chain([format!("--fold {}", self.fold)]);
        systems.chain(metrics).chain(named).chain(rest).collect()
    }
}

impl TableArgs {
    fn print(&self, table: &Table) -> Result<(), CliError> {
        let text = table.write(self.format);
        match self.format {
            Format::Csv => print_csv(text, self.spreadsheet),
            _ => print(&text),
        }
    }
}

/// The first protocol, convention and slice, at k = 10 where there is that cutoff. The slice is that of the users who
/// were reranked, where it is one: all other users have the lists of the base.
fn main_selection(rows: &[ResultRow]) -> Option<Selection> {
    let first = rows.first()?;
    let ten = rows.iter().any(|row| row.k == 10);
    Some(Selection {
        protocol: first.protocol.clone(),
        convention: first.convention.clone(),
        slice: reranked_slice(rows).unwrap_or(&first.slice).to_owned(),
        k: if ten { 10 } else { rows.iter().map(|row| row.k).max()? },
        fold: MEAN.into(),
    })
}

/// The table printed after a run.
pub fn main_table(rows: &[ResultRow]) -> Option<String> {
    Some(Table::new(rows, &main_selection(rows)?)?.write(Format::Terminal))
}

//! `assay table`

use super::{
    CliError, ExperimentArg, WorkspaceArg, print, print_csv,
    results::{results_of, warn_of_missing},
};
use crate::{
    analysis::{MEAN, Request, ResultRow},
    base::exit::Exit,
    report::{Format, Selection, Spread, Table, reranked_slice},
};

/// Print a table of systems and metrics for the terminal, or as Markdown, LaTeX or CSV
#[derive(clap::Args)]
#[command(
    name = "table",
    after_help = "Examples:
  assay table experiments/ml-100k-baselines.yaml
  assay table experiments/ml-100k-baselines.yaml --fold u1 --slice 'cold<10' -k 5
  assay table experiments/ml-100k-baselines.yaml --intervals --joint -k 10
  assay table experiments/ml-100k-baselines.yaml --format latex > table1.tex"
)]
pub struct TableArgs {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
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
        let rows = &collected.rows;
        let Some(usual) = main_selection(rows) else { return Ok(Exit::Inconclusive) };
        if self.joint {
            let is = |asked: &Option<String>, value: &String| {
                asked.as_ref().is_none_or(|asked| asked == value)
            };
            let mut selections = Selection::all(rows, &self.fold);
            selections.retain(|of| {
                is(&self.protocol, &of.protocol)
                    && is(&self.convention, &of.convention)
                    && is(&self.slice, &of.slice)
                    && self.k.is_none_or(|k| k == of.k)
            });
            if let Some(table) = Table::joint(rows, &selections, self.sd) {
                self.print(&table)?;
                return Ok(warn_of_missing(&collected));
            }
        }
        let selection = Selection {
            protocol: self.protocol.clone().unwrap_or(usual.protocol),
            convention: self.convention.clone().unwrap_or(usual.convention),
            slice: self.slice.clone().unwrap_or(usual.slice),
            k: self.k.unwrap_or(usual.k),
            fold: self.fold.clone(),
        };
        let selection = [selection];
        let Some(table) = Table::joint(rows, &selection, self.sd) else {
            let of = |name: fn(&ResultRow) -> String| {
                let mut values: Vec<String> = rows.iter().map(name).collect();
                values.sort();
                values.dedup();
                values.join(", ")
            };
            return Err(CliError::Usage(format!(
                "there is no such table\n  = protocols: {}\n  = conventions: {}\n  = slices: {}\n  = \
                 folds: {}\n  = k: {}",
                of(|row| row.protocol.clone()),
                of(|row| row.convention.clone()),
                of(|row| row.slice.clone()),
                of(|row| row.fold.clone()),
                of(|row| format!("{:>4}", row.k)),
            )));
        };
        self.print(&table)?;
        Ok(warn_of_missing(&collected))
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

//! `assay table`

use super::{
    CliError, ExperimentArg, WorkspaceArg,
    experiment::unknown,
    metrics::spelled,
    print, print_csv,
    results::{results_of_record, warn_of_missing},
};
use crate::{
    analysis::{
        Against, Bootstrap, Collected, MEAN, Request, ResultRow, against, best_of, is_testable,
        later_columns,
    },
    base::{exit::Exit, files::FileError, terminal::width, text::distinct},
    core::Workspace,
    report::{
        DefaultPlace, Format, Selection, Spread, Table, TableRequest, also_for_tables,
        main_metrics, metric_title,
    },
    tasks::{ExperimentRecord, NO_REFERENCE, TableSpec, names_system},
};

/// Print a table of systems and metrics for the terminal, or as Markdown, LaTeX, CSV or JSON
///
/// Shows nDCG and recall at one cutoff, and which systems differ significantly from the best.
#[derive(clap::Args)]
#[command(
    name = "table",
    after_help = "Examples:
  assay table experiments/ml-100k-baselines.yaml
  assay table experiments/ml-100k-baselines.yaml --fold u1 --slice 'cold<10' -k 5
  assay table experiments/ml-100k-baselines.yaml --systems als --systems ease --metrics nDCG@10,MAP
  assay table experiments/ml-100k-baselines.yaml --wide --digits 3 --intervals
  assay table experiments/ml-100k-baselines.yaml --format latex > table1.tex
  assay table paper.yaml --name main --format latex      a table that `report:` declares"
)]
pub struct TableArgs {
    #[command(flatten)]
    experiment: ExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// A table that `report.tables` of the experiment declares, by its name
    #[arg(long, value_name = "NAME", conflicts_with_all = ["systems", "metrics", "protocol", "convention", "slice", "k", "fold", "sd", "intervals", "joint", "reference", "digits"])]
    name: Option<String>,
    /// Only this system, or all levels of a swept system (can be repeated)
    #[arg(long, alias = "system", value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Only these metrics, separated by commas (default: nDCG and recall) (can be repeated)
    #[arg(long, alias = "metric", value_name = "METRICS", value_delimiter = ',')]
    metrics: Vec<String>,
    /// All metrics, on lines as long as needed
    #[arg(long)]
    wide: bool,
    /// Decimals of values (default: 4)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=15))]
    digits: Option<u8>,
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
    /// The system that the others are tested against, or `none` (default: the best by the first metric)
    #[arg(long, value_name = "SYSTEM")]
    reference: Option<String>,
    /// Print one table of all protocols, conventions, slices and cutoffs not fixed by the other options, without tests
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
        let workspace = self.workspace.open();
        let record = self.experiment.recorded(&workspace)?;
        let declared = self.declared(&record)?;
        let with_intervals = match declared {
            Some(spec) => {
                let fold = spec.fold.clone().unwrap_or_else(|| MEAN.into());
                (spec.show == crate::tasks::Show::Interval).then_some(fold)
            }
            None => self.intervals.then(|| self.fold.clone()),
        };
        let mut request = Request::intervals_of(with_intervals.as_deref());
        if declared.is_some() {
            also_for_tables(&mut request, &record);
        }
        // What is tested; an option that cannot be read is an error later.
        let k = spelled(&self.metrics, self.k).ok().and_then(|(_, k)| k);
        let metrics = record.variants.iter().flat_map(|variant| &variant.metrics);
        let asked: Vec<(String, usize)> =
            metrics.filter_map(|metric| Some((metric.clone(), k?))).collect();
        request.later.extend(later_columns(&record, &asked));
        let collected = results_of_record(&self.experiment, &record, &workspace, &request)?;
        let table = match declared {
            Some(spec) => declared_table(&record, &workspace, &collected, spec)?,
            None => self.asked_table(&record, &workspace, &collected.rows)?,
        };
        let Some(table) = table else { return Ok(Exit::Inconclusive) };
        self.print(&table)?;
        Ok(warn_of_missing(&collected))
    }

    fn declared<'a>(
        &self,
        record: &'a ExperimentRecord,
    ) -> Result<Option<&'a TableSpec>, CliError> {
        let Some(name) = &self.name else { return Ok(None) };
        let tables = || record.report.tables.iter().flatten();
        let known: Vec<String> = tables().map(|table| table.name.clone()).collect();
        match tables().find(|table| table.name == *name) {
            Some(table) => Ok(Some(table)),
            None if known.is_empty() => Err(CliError::Usage(format!(
                "--name {name}: {} declares no table\n  = help: its key `report.tables` does",
                self.experiment
            ))),
            None => Err(unknown("--name", "table", name, &known)),
        }
    }

    /// The table that the options ask for.
    fn asked_table(
        &self,
        record: &ExperimentRecord,
        workspace: &Workspace,
        all: &[ResultRow],
    ) -> Result<Option<Table>, CliError> {
        let (metrics, k) = spelled(&self.metrics, self.k)?;
        self.check(all, &metrics, k)?;
        let metrics = match metrics.is_empty() && !self.wide && self.format == Format::Terminal {
            true => main_metrics(&distinct(all.iter().map(|row| row.metric.as_str()))),
            false => metrics,
        };
        let is_shown = |row: &&ResultRow| {
            (self.systems.is_empty()
                || self.systems.iter().any(|name| names_system(name, &row.system)))
                && (metrics.is_empty() || metrics.contains(&row.metric))
        };
        let rows: Vec<ResultRow> = all.iter().filter(is_shown).cloned().collect();
        let Some(usual) = main_selection(&rows) else { return Ok(None) };
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
        let table = table.ordered(&metrics);
        let table = match self.digits {
            Some(digits) => table.with_digits(digits.into()),
            None => table,
        };
        let named = self.reference.as_deref();
        Ok(Some(match tests(record, workspace, all, &table, named)? {
            Some(tests) => table.tested(&tests),
            None => table,
        }))
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
        let options: [(&str, &str, &[String], Vec<String>); 6] = [
            ("--metrics", "metric", metrics, known(|row| row.metric.clone())),
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
        let systems = known(|row| row.system.clone());
        let is_none = |name: &&String| !systems.iter().any(|full| names_system(name, full));
        if let Some(name) = self.systems.iter().find(is_none) {
            return Err(unknown("--systems", "system", name, &systems));
        }
        let named = self.reference.iter().filter(|name| *name != NO_REFERENCE);
        if let Some(name) = named.into_iter().find(|name| !systems.contains(name)) {
            return Err(unknown("--reference", "system", name, &systems));
        }
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
        let systems = self.systems.iter().map(|system| format!("--systems {system}"));
        let metrics = self.metrics.iter().map(|metric| format!("--metrics {metric}"));
        let rest =
            k.map(|k| format!("-k {k}")).into_iter().chain([format!("--fold {}", self.fold)]);
        systems.chain(metrics).chain(named).chain(rest).collect()
    }
}

impl TableArgs {
    fn print(&self, table: &Table) -> Result<(), CliError> {
        match self.format {
            Format::Csv => print_csv(table.write(self.format), self.spreadsheet),
            Format::Terminal if !self.wide => print(&table.write_terminal(width())),
            format => print(&table.write(format)),
        }
    }
}

/// A table of `report.tables`.
fn declared_table(
    record: &ExperimentRecord,
    workspace: &Workspace,
    collected: &Collected,
    spec: &TableSpec,
) -> Result<Option<Table>, CliError> {
    let rows = &collected.rows;
    let request =
        TableRequest { spec, report: &record.report, experiment: record, workspace, rows };
    Ok(request.table()?)
}

/// The comparisons of a table's systems with a reference; none where there is nothing to compare.
fn tests(
    record: &ExperimentRecord,
    workspace: &Workspace,
    rows: &[ResultRow],
    table: &Table,
    reference: Option<&str>,
) -> Result<Option<Against>, FileError> {
    let reference = reference.or(record.report.reference.as_deref());
    let places = table.columns.iter().filter_map(|column| column.place.clone());
    let places: Vec<_> = places.filter(|place| is_testable(&place.measure.metric)).collect();
    let systems: Vec<String> = table.rows.iter().map(|row| row.system.clone()).collect();
    let is_in = |name: &str| systems.iter().any(|of| of == name);
    let Some(first) = places.first().filter(|_| reference != Some(NO_REFERENCE)) else {
        return Ok(None);
    };
    let reference = match reference {
        Some(named) => Some(named.to_owned()),
        None => best_of(rows, first, &is_in),
    };
    let Some(reference) = reference.filter(|name| systems.iter().any(|of| of != name)) else {
        return Ok(None);
    };
    let bootstrap = Bootstrap { resamples: 0, ..Bootstrap::default() };
    let of = (reference.as_str(), &systems[..]);
    against(record, workspace, rows, of, &places, bootstrap).map(Some)
}

/// The first protocol, convention and slice, at k = 10 where there is that cutoff. The slice is that of the users who
/// were reranked, where it is one: all other users have the lists of the base.
fn main_selection(rows: &[ResultRow]) -> Option<Selection> {
    let DefaultPlace { protocol, convention, slice, k } = DefaultPlace::of(rows)?;
    Some(Selection { protocol, convention, slice, k, fold: MEAN.into() })
}

/// The table printed after a run, and what is best in it, in a sentence.
pub fn main_table(
    record: &ExperimentRecord,
    workspace: &Workspace,
    rows: &[ResultRow],
) -> Result<Option<(String, String)>, FileError> {
    let metrics = main_metrics(&distinct(rows.iter().map(|row| row.metric.as_str())));
    let shown: Vec<ResultRow> =
        rows.iter().filter(|row| metrics.contains(&row.metric)).cloned().collect();
    let selection = main_selection(&shown);
    let Some(table) = selection.and_then(|of| Table::new(&shown, &of)) else { return Ok(None) };
    let table = table.without_intervals().ordered(&metrics);
    let table = match record.report.digits {
        Some(digits) => table.with_digits(digits.into()),
        None => table,
    };
    let tests = tests(record, workspace, rows, &table, None)?;
    let best = best_line(&table, tests.as_ref());
    let table = match &tests {
        Some(tests) => table.tested(tests),
        None => table,
    };
    Ok(Some((table.write_terminal(width()), best)))
}

/// `best: als, nDCG@10 0.2146; not distinguishable from it: ease`
fn best_line(table: &Table, tests: Option<&Against>) -> String {
    let title = table.metrics.first().map(|name| metric_title(name, table.k)).unwrap_or_default();
    let best: Vec<String> = table
        .rows
        .iter()
        .filter(|row| row.cells.first().is_some_and(|cell| cell.best))
        .map(|row| row.system.clone())
        .collect();
    let value =
        table.rows.iter().find_map(|row| row.cells.first()?.value.filter(|_| row.cells[0].best));
    let Some(value) = value else { return "best: nothing was compared".into() };
    let mut line = format!("best: {}, {title} {value:.4}", best.join(", "));
    let place = table.columns.first().and_then(|column| column.place.as_ref());
    if let Some((tests, place)) = tests.zip(place) {
        let others = table.rows.iter().filter(|row| !best.contains(&row.system));
        let alike: Vec<&str> = others
            .filter(|row| {
                let cell = tests.cell(&row.system, place);
                best.contains(&tests.reference)
                    && cell.is_some_and(|cell| cell.p.is_some() && !cell.is_significant())
            })
            .map(|row| row.system.as_str())
            .collect();
        let (shown, more) = alike.split_at(alike.len().min(4));
        if !shown.is_empty() {
            line += &format!("; no significant difference to {}", shown.join(", "));
            if !more.is_empty() {
                line += &format!(" and {} more", more.len());
            }
        }
    }
    line
}

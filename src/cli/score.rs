//! `assay score`

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use serde_json::json;

use super::{
    CliError, print, print_csv, print_json,
    published::Anyway,
    rankings::{ReadArgs, SplitArgs, named_files},
};
use crate::{
    analysis::{
        Basis, Bootstrap, CellKey, Interval, PairedDraws, RankAgreement, Reproduction, ResultRow,
        Units, difference, few_users_of,
    },
    base::{
        exit::Exit,
        output::{check_file, is_own_page},
        terminal::tell,
    },
    core::Mean,
    ranking::{
        Convention, Protocol, ScoreSpec, Slice, Spelling, Ties,
        files::open,
        score_files::{ScoredFile, Split},
    },
    report::{Format, Selection, Table, csv, render_scores},
    tasks::PublishedTable,
};

/// Evaluate rankings of any tool on a split, under any protocol and convention
///
/// Files can be CSV, TSV or Parquet with columns for user, item, and rank or score (detected by name; `--columns`
/// overrides), TREC runs, or RecBole token lists. Irregularities of a file are counted and reported, not silently
/// repaired.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay score --data ml-100k --fold u1 als.csv gat=recs/gat_final.csv
  assay score --data ml-100k --fold u1 --protocol judged-after-cut --convention ebrat2025 \\
      --slice 'cold<10' -k 1,5,10 recommendations/*.csv
  assay score --data ml-100k --fold u1 --protocol all --convention all --compare runs/*.csv
  assay score --train train.tsv --test test.tsv --relevant '>= 4' run.trec --intervals
  assay score --qrels u1.qrels --csv bm25.run
  assay score --data ml-100k --fold u1 --against baselines/published/ebrat2025-table1.yaml \\
      'ALS=als_result_100k.csv'

Exit codes: 0 success; 1 with --against: a checkable cell is not reproduced; 2 invalid file or option;
3 with --against: the table is of other data or another fold.")]
pub struct Score {
    /// Files of rankings. NAME=FILE names the row; by default it is named after the file
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,

    #[command(flatten)]
    split: SplitArgs,
    /// Training part of a split given by --test or --qrels; without it no item counts as seen
    #[arg(long, value_name = "FILE", conflicts_with = "data", help_heading = "Split")]
    train: Option<PathBuf>,
    /// Candidate protocols: full, judged, judged-after-cut, or all
    #[arg(
        long,
        value_name = "P,…",
        value_delimiter = ',',
        default_value = "full",
        help_heading = "Scoring"
    )]
    protocol: Vec<String>,
    /// Conventions: standard, trec, libreco, elliot, lenskit, ebrat2025, or all
    #[arg(
        long,
        value_name = "C,…",
        value_delimiter = ',',
        default_value = "standard",
        help_heading = "Scoring"
    )]
    convention: Vec<String>,
    /// Slices of users: all, 'cold<10'
    #[arg(
        long,
        value_name = "S,…",
        value_delimiter = ',',
        default_value = "all",
        help_heading = "Scoring"
    )]
    slice: Vec<Slice>,
    /// Cutoffs
    #[arg(short, value_name = "K,…", value_delimiter = ',', help_heading = "Scoring")]
    k: Vec<usize>,
    /// Order of items with equal scores: lower-id, random, or random@SEED
    #[arg(long, value_name = "RULE", default_value = "lower-id", help_heading = "Scoring")]
    ties: Ties,
    /// Metrics
    #[arg(
        long,
        value_name = "M,…",
        value_delimiter = ',',
        help_heading = "Scoring",
        default_value = "precision,recall,ndcg,map,mrr,hit-rate"
    )]
    metric: Vec<Spelling>,

    #[command(flatten)]
    read: ReadArgs,

    /// Add 95 % bootstrap intervals over users
    #[arg(long, help_heading = "Output")]
    intervals: bool,
    /// Compare the order of the systems under every protocol and convention, with Kendall's τ
    #[arg(long, help_heading = "Output")]
    compare: bool,
    /// Compare the results with a published table (NAME=FILE names its row)
    #[arg(long, value_name = "TABLE", help_heading = "Output")]
    against: Option<PathBuf>,
    #[command(flatten)]
    anyway: Anyway,
    /// Print a tidy table with one row per value, as `assay results` does
    #[arg(long, conflicts_with_all = ["json", "format"], help_heading = "Output")]
    csv: bool,
    /// Print JSON: rows, findings, comparisons
    #[arg(long, conflicts_with = "format", help_heading = "Output")]
    json: bool,
    /// Output format
    #[arg(long, value_enum, default_value = "terminal", help_heading = "Output")]
    format: Format,
    /// With --csv or --format csv: prefix texts that a spreadsheet would read as a formula with '
    #[arg(long, help_heading = "Output")]
    spreadsheet: bool,
    /// Overwrite the file of --html even if assay did not write it
    #[arg(long, help_heading = "Output")]
    overwrite: bool,
    /// Also write an HTML report, with intervals
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    html: Option<PathBuf>,
    /// Number of threads (default: one per core)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..), help_heading = "Output")]
    threads: Option<u16>,
}

impl Score {
    pub fn run(self) -> Result<Exit, CliError> {
        if let Some(threads) = self.threads {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.into()).build_global();
            pool.map_err(|error| CliError::Usage(error.to_string()))?;
        }
        if let Some(path) = &self.html {
            check_file(path, self.overwrite, is_own_page)?;
        }
        let mut published = match &self.against {
            Some(path) => Some(PublishedTable::read_file(path)?),
            None => None,
        };
        let spec = self.spec(published.as_ref())?;
        let files = named_files(&self.files)?;
        // The split and the first file are read in parallel, further files one by one: they may be large.
        let (what_for, text) = (self.split.what_for(), self.read.text());
        let read_split = || self.split.read(self.train.as_deref(), &self.read);
        let (split, first) = rayon::join(read_split, || open(&files[0].1, what_for, text));
        let ((split, notes), mut first) = (split?, Some(first?));
        if let Some(table) = &mut published {
            let differs = self.differences(table, &split);
            self.anyway.check(table, differs)?;
        }
        let options = self.read.options();
        let mut scored: Vec<ScoredFile> = Vec::new();
        for (name, path) in &files {
            let opened = match first.take() {
                Some(first) => first,
                None => open(path, what_for, text)?,
            };
            scored.push(split.score_file(name, path, &opened, &options, &spec)?);
        }
        for note in &notes {
            tell!("warning: {note}");
        }
        for file in &scored {
            for warning in file.warnings() {
                tell!("warning: {}: {warning}", file.path.display());
            }
        }
        let with_intervals = self.intervals || self.html.is_some() || published.is_some();
        // Only these outputs show the order of the systems.
        let shows_orders = self.compare || self.json || self.html.is_some();
        let asks_for_draws = shows_orders && scored.len() > 1 && spec.pairs().count() > 1;
        let mut draws = PairedDraws::default();
        let mut rows: Vec<ResultRow> = Vec::new();
        for file in &scored {
            let draws = asks_for_draws.then_some(&mut draws);
            rows.extend(result_rows(&split, file, &spec, with_intervals, draws));
        }
        let orders = orders(&rows, &draws, &spec, &split.fold);
        let mut reproduction = published.map(|mut table| {
            table.about.fold = split.fold.clone();
            Reproduction::new(&table, &rows)
        });
        if let Some(path) = &self.html {
            let warnings: Vec<(String, String)> = scored
                .iter()
                .flat_map(|file| {
                    file.warnings().into_iter().map(|warning| (file.system.clone(), warning))
                })
                .collect();
            render_scores(path, &split, &rows, &warnings, &orders, reproduction.as_ref())?;
            tell!("report: {}", path.display());
        }
        // Tables have this as a note.
        if let Some(text) = few_users_of(&rows).filter(|_| self.csv || self.json) {
            tell!("warning: {text}");
        }
        let tables = || Table::joint(&rows, &Selection::all(&rows, &split.fold), None);
        if self.json {
            let findings = scored.iter().map(|file| {
                let mut value = json!(file.findings);
                value["file"] = json!(file.path);
                value["warnings"] = json!(file.warnings());
                (file.system.clone(), value)
            });
            let findings: serde_json::Map<String, serde_json::Value> = findings.collect();
            let all = json!({
                "data": split.data, "fold": split.fold, "relevant": split.relevant,
                "relevant_from": split.relevant_from,
                "rows": rows, "files": findings, "orders": orders, "published": reproduction,
            });
            print_json(&all)?;
        } else if self.csv {
            print_csv(csv(&rows), self.spreadsheet)?;
        } else if self.compare {
            if orders.is_empty() {
                return Err(CliError::Usage(
                    "there is only one evaluation setting to compare\n  = help: give several, e.g. \
                     `--convention all` or `--protocol all`"
                        .into(),
                ));
            }
            let texts: Vec<String> = orders.iter().map(RankAgreement::terminal).collect();
            print(&texts.join("\n"))?;
        } else if reproduction.is_none() || self.format != Format::Terminal {
            let header = format!("{}, fold {}\n", split.data, split.fold);
            let text = tables().map(|table| table.write(self.format)).unwrap_or_default();
            match self.format {
                Format::Terminal => print(&(header + &text))?,
                Format::Csv => print_csv(text, self.spreadsheet)?,
                _ => print(&text)?,
            }
        }
        if let (Some(reproduction), false) = (&reproduction, self.json || self.csv) {
            print(&reproduction.terminal())?;
        }
        Ok(match reproduction.take() {
            Some(reproduction) if !reproduction.holds() => Exit::GateFailed,
            _ => Exit::Pass,
        })
    }

    /// How the data set and fold of a published table differ from the split. Protocol, convention, slice and cutoff
    /// are taken from the table.
    fn differences(&self, table: &PublishedTable, split: &Split) -> Vec<String> {
        let about = &table.about;
        let mut differs = Vec::new();
        match &self.split.data {
            Some(set) if *set == about.dataset => {}
            Some(set) => differs.push(difference("data set", &about.dataset, set)),
            None => differs.push(difference("data set", &about.dataset, "not given (--data)")),
        }
        if about.fold != split.fold {
            differs.push(difference("fold", &about.fold, &split.fold));
        }
        differs
    }

    /// What is computed; what a published table needs is added.
    fn spec(&self, published: Option<&PublishedTable>) -> Result<ScoreSpec, CliError> {
        let usage = |message: String| CliError::Usage(message);
        let mut protocols: Vec<Protocol> = Vec::new();
        for name in &self.protocol {
            match name.as_str() {
                // Lists give no scores for sampled items.
                "all" => {
                    protocols.extend([Protocol::Full, Protocol::Judged, Protocol::JudgedAfterCut])
                }
                name => protocols.push(name.parse().map_err(usage)?),
            }
        }
        let mut conventions: Vec<Convention> = Vec::new();
        for name in &self.convention {
            match name.as_str() {
                "all" => {
                    let all = Convention::ALL.iter().copied();
                    conventions.extend(all.filter(|c| protocols.iter().any(|p| c.applies_to(*p))));
                }
                name => conventions.push(name.parse().map_err(usage)?),
            }
        }
        let mut cutoffs = Spelling::cutoffs(&self.metric, &self.k).map_err(usage)?;
        if cutoffs.is_empty() {
            cutoffs = vec![10];
        }
        for note in self.metric.iter().filter_map(|of| of.note.as_ref()) {
            tell!("note: {note}");
        }
        let mut spec = ScoreSpec {
            protocols,
            conventions,
            k: cutoffs,
            slices: self.slice.clone(),
            metrics: self.metric.iter().map(|of| of.metric).collect(),
            ties: self.ties,
            depth: 0,
            ..ScoreSpec::default()
        };
        if let Some(PublishedTable { about, rows, .. }) = published {
            spec.protocols.push(about.protocol);
            spec.conventions.push(about.convention);
            if !spec.k.contains(&about.k) {
                spec.k.push(about.k);
            }
            spec.slices.push(about.slice);
            spec.metrics.extend(rows.iter().flat_map(|row| row.values.iter().map(|(m, _)| *m)));
        }
        spec.validate().map_err(|message| usage(message.replace("evaluate.", "")))?;
        Ok(spec.normalised())
    }
}

/// One row for each mean of a scored file.
fn result_rows(
    split: &Split,
    file: &ScoredFile,
    spec: &ScoreSpec,
    with_intervals: bool,
    mut draws: Option<&mut PairedDraws>,
) -> Vec<ResultRow> {
    let mut intervals: HashMap<CellKey, Interval> = HashMap::new();
    if with_intervals || draws.is_some() {
        let (units, bootstrap) = (units(split, file, spec), Bootstrap::default());
        for slice in &spec.slices {
            if with_intervals {
                intervals.extend(units.intervals(bootstrap, &split.fold, &slice.to_string()));
            }
            if let Some(draws) = &mut draws {
                let place = (split.fold.as_str(), &*slice.to_string());
                draws.add(&file.system, &units, bootstrap, place, &|_| true);
            }
        }
    }
    let basis = Arc::new(Basis {
        relevant: split.relevant.describe(split.relevant_from),
        ties: spec.ties.rule(),
        ..Basis::default()
    });
    let row = |mean: &crate::ranking::Summary| {
        let fingerprint =
            split.fingerprint(spec.ties, (mean.protocol, mean.convention), mean.k).short();
        let place = (split.fold.as_str(), String::new());
        let row = ResultRow::of_mean("score", &file.system, place, &Mean::from(mean), fingerprint);
        let (low, high) = intervals.get(&CellKey::of(&row)).copied().unzip();
        ResultRow { low, high, interval_asked: with_intervals, basis: basis.clone(), ..row }
    };
    file.scores.summary.iter().map(row).collect()
}

/// The values per user of a scored file.
fn units(split: &Split, file: &ScoredFile, spec: &ScoreSpec) -> Units {
    let cells = file.scores.user_cells(&split.open.training.users);
    let mut units = Units::default();
    units.add(&split.fold, cells.measurements(spec));
    units
}

/// Every metric, slice and cutoff under all evaluation settings.
fn orders(
    rows: &[ResultRow],
    draws: &PairedDraws,
    spec: &ScoreSpec,
    fold: &str,
) -> Vec<RankAgreement> {
    let mut orders = Vec::new();
    for slice in &spec.slices {
        for k in &spec.k {
            for metric in &spec.metrics {
                let place = (&*slice.to_string(), fold);
                orders.extend(RankAgreement::new(rows, draws, metric.name(), *k, place));
            }
        }
    }
    orders
}

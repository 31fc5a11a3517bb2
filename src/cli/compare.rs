//! `assay compare`

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use comfy_table::CellAlignment;
use serde_json::{Value, json};

use super::{
    CliError, ExperimentArg, WorkspaceArg, metrics::spelled, print, print_json,
    results::warn_of_missing,
};
use crate::{
    analysis::{
        Bootstrap, Collected, LEVEL, MEAN, Paired, Request, Test, Units, collect, compare,
        least_sign_flip_p, trials_by_system, units_of,
    },
    analysis::{benjamini_hochberg, holm},
    base::{
        exit::Exit,
        terminal::tell,
        text::{distinct, grouped, plain_table},
        yaml::diagnostic::nearest,
    },
    core::{MeasureKey, Workspace, why_stale},
    report::main_cutoff,
    tasks::{ExperimentRecord, TrialRecord, metric, shared::steps::SplitStats},
};

/// Over fewer units, tests of skewed differences reject too often (docs/EVALUATION.md, by simulation).
const FEW_TO_TEST: usize = 100;

/// Compare systems by paired differences over the same users, with tests corrected for their number
///
/// In one experiment, each system is compared with a reference; in two experiments, each system with the one of
/// the same name. A user counts once, however many folds hold her. The interval is that of a bootstrap over users,
/// p that of a paired test, corrected for all comparisons shown.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay compare experiments/ml-100k-baselines.yaml
  assay compare experiments/ml-100k-baselines.yaml --reference als --system ease --system lightgcn --all
  assay compare before.yaml after.yaml --metric ndcg -k 10 --json
  assay compare mine.yaml mine.yaml --other-set systems.als.factors=128
  assay compare mine.yaml --reference als --margin 0.005      are they equal within ±0.005?

Exit codes: 0 the comparison was made; 2 no such system, metric or slice; 3 results are missing, or the two
experiments do not compare (`--anyway` compares them)")]
pub struct Compare {
    /// The experiment file, or two of them
    #[arg(required = true, num_args = 1..=2, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Replace a value of the experiment file, e.g. systems.als.factors=128 (can be repeated). Of two files, of the
    /// first
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Replace a value of the second experiment file (can be repeated)
    #[arg(long, value_name = "KEY=VALUE")]
    other_set: Vec<String>,
    /// Workspace of the second experiment (default: the same)
    #[arg(long, value_name = "DIR")]
    other_workspace: Option<PathBuf>,
    /// The system that others are compared with (default: the best by the first metric shown)
    #[arg(long, value_name = "SYSTEM")]
    reference: Option<String>,
    /// A system to compare; may be given several times (default: all)
    #[arg(long = "system", value_name = "SYSTEM")]
    systems: Vec<String>,
    /// Metric (default: ndcg, or the first); may be given several times
    #[arg(long = "metric", value_name = "METRIC", conflicts_with = "all")]
    metrics: Vec<String>,
    /// Every metric
    #[arg(long)]
    all: bool,
    /// Cutoff (default: 10, or the largest)
    #[arg(short)]
    k: Option<usize>,
    /// Users; may be given several times (default: the first slice of the experiment)
    #[arg(long = "slice", value_name = "SLICE")]
    slices: Vec<String>,
    /// Protocol (default: the first)
    #[arg(long)]
    protocol: Option<String>,
    /// Convention (default: the first)
    #[arg(long)]
    convention: Option<String>,
    /// A fold's name, or `mean`
    #[arg(long, default_value = MEAN)]
    fold: String,
    /// Which test gives p
    #[arg(long, value_enum, default_value_t)]
    test: Test,
    /// How p is corrected for the number of comparisons
    #[arg(long, value_enum, default_value_t)]
    correction: Correction,
    /// Also test that a difference lies within ± so much
    #[arg(long, value_name = "DIFFERENCE", allow_hyphen_values = true)]
    margin: Option<f64>,
    /// Compare experiments of other data, splits or protocols all the same
    #[arg(long)]
    anyway: bool,
    /// A JSON object
    #[arg(long)]
    json: bool,
}

/// How p-values are corrected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
enum Correction {
    /// Holm: the chance of any false alarm
    #[default]
    Holm,
    /// Benjamini and Hochberg: the share of false alarms among the alarms
    Bh,
    /// Not at all
    None,
}

impl Correction {
    fn apply(self, p: &[f64]) -> Vec<f64> {
        match self {
            Self::Holm => holm(p),
            Self::Bh => benjamini_hochberg(p),
            Self::None => p.to_vec(),
        }
    }

    fn describe(self, n: usize) -> String {
        let comparisons = if n == 1 { "comparison" } else { "comparisons" };
        match self {
            Self::Holm => format!("corrected by Holm for {n} {comparisons}"),
            Self::Bh => format!("corrected by Benjamini-Hochberg for {n} {comparisons}"),
            Self::None => format!("not corrected for {n} {comparisons}"),
        }
    }
}

/// An experiment with its results.
struct Side {
    of: ExperimentArg,
    record: ExperimentRecord,
    workspace: Workspace,
    collected: Collected,
}

/// One comparison: which systems, and the pairs.
struct Compared<'a> {
    first: &'a str,
    second: &'a str,
    paired: Paired,
}

impl Compare {
    pub fn run(self) -> Result<Exit, CliError> {
        if let Some(margin) = self.margin.filter(|margin| !(*margin > 0.0 && margin.is_finite())) {
            return Err(CliError::Usage(format!(
                "`--margin` is {margin}; expected a number over 0"
            )));
        }
        let workspace = self.workspace.open();
        let of = |file: &Path, set: &[String]| ExperimentArg {
            file: file.to_owned(),
            set: set.to_vec(),
        };
        let mut sides = vec![Side::read(of(&self.files[0], &self.set), workspace.clone())?];
        if let Some(file) = self.files.get(1) {
            let other = self.other_workspace.as_deref().map(Workspace::at);
            sides.push(Side::read(of(file, &self.other_set), other.unwrap_or(workspace))?);
        } else if !self.other_set.is_empty() {
            return Err(CliError::Usage(
                "--other-set needs two experiment files; the second may be the same file".into(),
            ));
        }
        let first = &sides[0];
        let asked = self.asked(&first.record)?;
        let second = sides.last().unwrap_or(first);
        let inputs = match sides.len() {
            1 => Vec::new(),
            _ => differences_of_inputs(&first.record, &second.record),
        };
        if sides.len() > 1
            && let Some(why) = not_comparable(&first.record, &second.record, &asked)
            && !self.anyway
        {
            return Err(CliError::NoResults(format!(
                "the two experiments do not compare: {why}\n  = help: `--anyway` compares them all the same"
            )));
        }
        let pairs = self.pairs(&sides, &asked)?;
        let units = |side: &Side, name: &str| side.units(name);
        let mut compared: Vec<Compared> = Vec::new();
        for [a, b] in &pairs {
            // Variants of one experiment may have other data, splits or rules too.
            if first.fingerprints(a, &asked) != second.fingerprints(b, &asked) && !self.anyway {
                return Err(CliError::NoResults(format!(
                    "`{a}` and `{b}` do not compare: they have different fingerprints (data, split, rule of \
                     relevance or protocol)\n  = help: choose systems with `--reference` and `--system`, or compare \
                     them anyway with `--anyway`"
                )));
            }
            let (of_a, of_b) = (units(first, a)?, units(second, b)?);
            for slice in &asked.slices {
                let place = (self.fold.as_str(), slice.as_str());
                let wanted = |key: &MeasureKey| asked.keys.contains(key);
                let found = compare([&of_a, &of_b], place, &wanted, Bootstrap::default());
                compared.extend(found.into_iter().map(|paired| Compared {
                    first: a,
                    second: b,
                    paired,
                }));
            }
        }
        if compared.is_empty() {
            return Err(CliError::NoResults(format!(
                "there is nothing to compare in the fold {}: the systems have no fold in common, or the metrics \
                 have no values by user",
                self.fold
            )));
        }
        let corrected = self.corrected(&compared);
        let test_per_train = first.test_per_train(&pairs[0][0]);
        if self.json {
            print_json(&self.to_json(&compared, &corrected, &inputs, test_per_train))?;
        } else {
            self.show(&compared, &corrected, &inputs, &sides, test_per_train)?;
        }
        let exits: Vec<Exit> = sides.iter().map(|side| warn_of_missing(&side.collected)).collect();
        Ok(exits.into_iter().find(|exit| *exit != Exit::Pass).unwrap_or(Exit::Pass))
    }

    /// Comparisons that a test says something of.
    fn tested(&self, compared: &[Compared]) -> usize {
        compared.iter().filter(|of| of.paired.p(self.test).is_some()).count()
    }

    /// p of each comparison, corrected for the number of those that have one.
    fn corrected(&self, compared: &[Compared]) -> Vec<Option<f64>> {
        let p: Vec<Option<f64>> = compared.iter().map(|of| of.paired.p(self.test)).collect();
        let known: Vec<f64> = p.iter().flatten().copied().collect();
        let mut corrected = self.correction.apply(&known).into_iter();
        p.iter().map(|p| p.and_then(|_| corrected.next())).collect()
    }

    /// The columns and slices that are asked for, all of which the experiment must have.
    fn asked(&self, record: &ExperimentRecord) -> Result<Asked, CliError> {
        let variants = || record.variants.iter();
        let known = distinct(variants().flat_map(|of| &of.metrics).map(String::as_str));
        let usual = known.iter().find(|name| *name == "ndcg").or(known.first());
        let (given, k) = spelled(&self.metrics, self.k)?;
        let metrics = match (given.is_empty(), self.all) {
            (false, _) => given,
            (true, true) => known.clone(),
            (true, false) => usual.into_iter().cloned().collect(),
        };
        let of = || variants().flat_map(|of| &of.evaluations);
        let protocols = distinct(of().map(|of| of.protocol.as_str()));
        let conventions = distinct(of().map(|of| of.convention.as_str()));
        let cutoffs = distinct(
            of().map(|of| of.k.to_string()).collect::<Vec<_>>().iter().map(String::as_str),
        );
        let slices = distinct(variants().flat_map(|of| &of.slices).map(String::as_str));
        let mut folds = distinct(record.trials.iter().map(|trial| trial.fold.as_str()));
        folds.push(MEAN.to_owned());
        let one = |given: &Option<String>, all: &[String]| {
            given.clone().or_else(|| all.first().cloned()).unwrap_or_default()
        };
        let k = k.unwrap_or_else(|| main_cutoff(record));
        let asked_slices = match self.slices.is_empty() {
            true => slices.iter().take(1).cloned().collect(),
            false => self.slices.clone(),
        };
        let (protocol, convention) =
            (one(&self.protocol, &protocols), one(&self.convention, &conventions));
        for (what, given, all) in [
            ("metric", &metrics, &known),
            ("slice", &asked_slices, &slices),
            ("protocol", &vec![protocol.clone()], &protocols),
            ("convention", &vec![convention.clone()], &conventions),
            ("k", &vec![k.to_string()], &cutoffs),
            ("fold", &vec![self.fold.clone()], &folds),
        ] {
            if let Some(unknown) = given.iter().find(|of| !all.contains(of)) {
                return Err(unknown_name(&format!("the experiment has no {what}"), unknown, all));
            }
        }
        let key = |metric: String| MeasureKey {
            protocol: protocol.clone(),
            convention: convention.clone(),
            metric,
            k,
        };
        Ok(Asked { keys: metrics.into_iter().map(key).collect(), slices: asked_slices })
    }

    /// The systems of each comparison: the reference, and the other.
    fn pairs(&self, sides: &[Side], asked: &Asked) -> Result<Vec<[String; 2]>, CliError> {
        let of = |side: &Side| -> Vec<String> {
            distinct(side.collected.rows.iter().map(|row| row.system.as_str()))
        };
        let known = of(&sides[0]);
        if let Some(name) =
            self.systems.iter().chain(&self.reference).find(|of| !known.contains(of))
        {
            return Err(unknown_name("there is no result of a system", name, &known));
        }
        let is_asked = |name: &String| self.systems.is_empty() || self.systems.contains(name);
        if let Some(other) = sides.get(1) {
            let others = of(other);
            let shared: Vec<String> = known
                .iter()
                .filter(|name| others.contains(name) && is_asked(name))
                .cloned()
                .collect();
            if shared.is_empty() {
                return Err(CliError::Usage(format!(
                    "the experiments have no system of one name: {}; and {}",
                    known.join(", "),
                    others.join(", ")
                )));
            }
            return Ok(shared.into_iter().map(|name| [name.clone(), name]).collect());
        }
        let reference = match &self.reference {
            Some(reference) => reference.clone(),
            None => best(&sides[0], asked, &self.fold).ok_or_else(|| {
                CliError::Usage(
                    "no system is best by this metric: name one\n  = help: `--reference SYSTEM`"
                        .into(),
                )
            })?,
        };
        let others = known.iter().filter(|name| **name != reference && is_asked(name));
        let pairs: Vec<[String; 2]> =
            others.map(|other| [reference.clone(), other.clone()]).collect();
        match pairs.is_empty() {
            true => Err(CliError::Usage(format!(
                "there is no other system to compare `{reference}` with"
            ))),
            false => Ok(pairs),
        }
    }

    fn show(
        &self,
        compared: &[Compared],
        corrected: &[Option<f64>],
        inputs: &[String],
        sides: &[Side],
        test_per_train: Option<f64>,
    ) -> Result<(), CliError> {
        let mut text = String::new();
        if let [first, second] = sides {
            text += &format!("{} → {}\n", first.of, second.of);
            match inputs.is_empty() {
                true => text += "The inputs are the same.\n",
                false => inputs.iter().for_each(|line| text += &format!("  {line}\n")),
            }
            text.push('\n');
        }
        let mut head: Vec<String> =
            ["system", "slice", "metric", "reference", "value", "difference"]
                .map(String::from)
                .to_vec();
        head.push(format!("{:.0} % interval", 100.0 * LEVEL));
        head.extend(["p".to_owned(), "better/equal/worse".into(), "users".into()]);
        if self.margin.is_some() {
            head.push("p equal".into());
        }
        let mut table = plain_table();
        let width = head.len();
        table.set_header(head);
        for (of, p) in compared.iter().zip(corrected) {
            let paired = &of.paired;
            let [better, equal, worse] = oriented(paired);
            let mut row = vec![
                of.second.to_owned(),
                paired.slice.clone(),
                format!("{}@{}", paired.measure.metric, paired.measure.k),
                format!("{:.4}", paired.first),
                format!("{:.4}", paired.second),
                format!("{:+.4}", paired.difference()),
                paired
                    .interval
                    .map_or("–".into(), |(low, high)| format!("[{low:+.4}, {high:+.4}]")),
                p.map_or("–".into(), p_text),
                format!("{better}/{equal}/{worse}"),
                grouped(paired.n),
            ];
            if let Some(margin) = self.margin {
                let p = paired.estimate.and_then(|of| of.equivalence_p(margin));
                row.push(p.map_or("–".into(), p_text));
            }
            table.add_row(row);
        }
        for at in 3..width {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.lines().for_each(|line| text += &format!("{}\n", line.trim_end()));
        let first = &compared[0];
        if sides.len() == 1 {
            text += &format!(
                "Reference: {}{}.\n",
                first.first,
                if self.reference.is_some() { "" } else { ", the best by the first metric" }
            );
        }
        text += &(self.notes(compared, test_per_train).join("\n") + "\n");
        print(&text)
    }

    /// What was tested, and what is to be known of it.
    fn notes(&self, compared: &[Compared], test_per_train: Option<f64>) -> Vec<String> {
        let counts = |of: fn(&Paired) -> usize| -> String {
            let least = compared.iter().map(|compared| of(&compared.paired)).min().unwrap_or(0);
            let most = compared.iter().map(|compared| of(&compared.paired)).max().unwrap_or(0);
            match least == most {
                true => grouped(least),
                false => format!("{} to {}", grouped(least), grouped(most)),
            }
        };
        let mut notes = vec![format!(
            "p: {} over {} users ({} user-fold pairs), {}.",
            self.test.name(),
            counts(|of| of.n),
            counts(|of| of.pairs),
            self.correction.describe(self.tested(compared))
        )];
        if self.test == Test::T {
            let detectable = compared
                .iter()
                .filter_map(|of| of.paired.estimate?.detectable(1.0 - LEVEL, 0.8))
                .fold(0.0, f64::max);
            notes.push(format!(
                "Alone, a true difference of {detectable:.4} would be found in 80 % of cases."
            ));
        }
        if let Some(margin) = self.margin {
            notes.push(format!(
                "p equal: two one-sided t tests of a difference within ±{margin}, not corrected."
            ));
        }
        let unpaired = compared.iter().map(|of| of.paired.unpaired).max().unwrap_or(0);
        if unpaired > 0 {
            notes.push(format!(
                "Up to {} user-fold pairs have a value for one of the two systems alone and are left out: means \
                 are over the users that both have.",
                grouped(unpaired)
            ));
        }
        let n_folds = compared[0].paired.by_fold.len();
        if n_folds > 1 {
            let shown = 8;
            let mut p: Vec<String> = compared
                .iter()
                .filter_map(|of| {
                    let (p, key) =
                        (of.paired.over_folds(test_per_train?)?.p()?, &of.paired.measure);
                    let what = format!("{}@{} {}", key.metric, key.k, of.paired.slice);
                    Some(format!("{} {what} {}", of.second, p_text(p)))
                })
                .collect();
            if p.len() > shown {
                let more = p.len() - shown;
                p.truncate(shown);
                p.push(format!("{more} more with `--json`"));
            }
            if !p.is_empty() {
                notes.push(format!(
                    "With folds as units: p of the t test corrected for {n_folds} training parts that overlap (Nadeau \
                     and Bengio), not corrected for the number of comparisons, and too small if the same users are in every fold: {}.",
                    p.join(", ")
                ));
            }
            notes.push(format!(
                "A sign-flip test of {n_folds} folds cannot give less than p = {}.",
                least_sign_flip_p(n_folds)
            ));
        } else if self.fold == MEAN {
            notes.push("There is one fold alone: nothing is said of other splits.".into());
        }
        if compared.iter().any(|of| of.paired.n < FEW_TO_TEST) {
            notes.push(format!(
                "Over fewer than {FEW_TO_TEST} users intervals cover less and tests reject more often than they say, \
                 above all if differences are skewed."
            ));
        }
        if self.test == Test::SignedRank {
            notes.push(
                "Signed ranks test whether differences are symmetric around 0, not whether their mean is 0.".into(),
            );
        }
        notes
    }

    fn to_json(
        &self,
        compared: &[Compared],
        corrected: &[Option<f64>],
        inputs: &[String],
        test_per_train: Option<f64>,
    ) -> Value {
        let rows = compared.iter().zip(corrected).map(|(of, p)| {
            let paired = &of.paired;
            let [better, equal, worse] = oriented(paired);
            let all = |test| paired.p(test);
            let folds = test_per_train.and_then(|of| paired.over_folds(of));
            json!({
                "reference": of.first,
                "system": of.second,
                "protocol": paired.measure.protocol,
                "convention": paired.measure.convention,
                "metric": paired.measure.metric,
                "k": paired.measure.k,
                "slice": paired.slice,
                "fold": self.fold,
                "reference_value": paired.first,
                "value": paired.second,
                "difference": paired.difference(),
                "low": paired.interval.map(|of| of.0),
                "high": paired.interval.map(|of| of.1),
                "p": all(self.test),
                "p_corrected": p,
                "p_t": all(Test::T),
                "p_signed_rank": all(Test::SignedRank),
                "p_sign_flip": all(Test::SignFlip),
                "p_equivalent": self.margin.and_then(|of| paired.estimate?.equivalence_p(of)),
                "standardised": paired.standardised(),
                "detectable": paired.estimate.and_then(|of| of.detectable(1.0 - LEVEL, 0.8)),
                "better": better,
                "equal": equal,
                "worse": worse,
                "users": paired.n,
                "pairs": paired.pairs,
                "unpaired": paired.unpaired,
                "by_fold": paired.by_fold.iter().map(|(fold, of)| json!({"fold": fold, "difference": of}))
                    .collect::<Vec<_>>(),
                "p_over_folds": folds.and_then(|of| of.p()),
                "posterior_over_folds": self.margin.and_then(|rope| folds?.posterior(rope)),
            })
        });
        json!({
            "test": self.test.name(),
            "correction": self.correction.describe(self.tested(compared)),
            "comparisons": self.tested(compared),
            "test_per_train": test_per_train,
            "inputs": inputs,
            "rows": rows.collect::<Vec<_>>(),
        })
    }
}

/// An error for a name that is none of those known.
fn unknown_name(what: &str, name: &str, known: &[String]) -> CliError {
    let near = nearest(name, known.iter().map(String::as_str));
    let help = near.map_or(String::new(), |near| format!("\n  = help: did you mean `{near}`?"));
    CliError::Usage(format!("{what} `{name}`\n  = expected one of {}{help}", known.join(", ")))
}

/// What is compared.
struct Asked {
    keys: Vec<MeasureKey>,
    slices: Vec<String>,
}

impl Side {
    fn read(of: ExperimentArg, workspace: Workspace) -> Result<Self, CliError> {
        let record = of.recorded(&workspace)?;
        let collected = collect(&record, &workspace, &Request::default())?;
        if collected.rows.is_empty() {
            return Err(CliError::NoResults(format!(
                "no result of {} is in the workspace\n  = help: run `assay run {}` first",
                of, of
            )));
        }
        Ok(Self { of, record, workspace, collected })
    }

    /// The fingerprints of what a system was measured by, in the order of the columns.
    fn fingerprints(&self, name: &str, asked: &Asked) -> Vec<Option<&str>> {
        let trial = self.record.trials.iter().find(|trial| trial.name == name);
        let variant = trial.map(|trial| &self.record.variants[trial.variant]);
        asked.keys.iter().map(|key| variant.and_then(|of| of.fingerprint(key))).collect()
    }

    /// The mean size of a system's test parts in sizes of their training parts; none where a record is missing.
    fn test_per_train(&self, name: &str) -> Option<f64> {
        let trials = self.record.trials.iter().filter(|trial| trial.name == name);
        let splits: BTreeSet<usize> = trials.map(|trial| trial.split).collect();
        let mut sum = 0.0;
        for split in &splits {
            let record = self.record.record(&self.workspace, *split).ok()?;
            let stats: SplitStats = record.stats().ok()?;
            sum += stats.test as f64 / stats.train as f64;
        }
        let mean = sum / splits.len() as f64;
        mean.is_finite().then_some(mean)
    }

    /// The values of a system's trials that have results.
    fn units(&self, name: &str) -> Result<Units, CliError> {
        let has_result = |trial: &&TrialRecord| {
            trial.name == name
                && self.collected.rows.iter().any(|row| {
                    row.system == name
                        && row.fold == trial.fold
                        && row.seed == trial.seed.to_string()
                })
        };
        let trials: Vec<&TrialRecord> = self.record.trials.iter().filter(has_result).collect();
        if trials_by_system(&trials).len() > 1 {
            tell!("warning: `{name}` is the name of several systems; all are taken for one");
        }
        Ok(units_of(&trials, &self.record, &self.workspace)?)
    }
}

/// The best system by the first metric, in the first slice; no oracle.
fn best(side: &Side, asked: &Asked, fold: &str) -> Option<String> {
    let key = asked.keys.first()?;
    let info = metric(&key.metric)?;
    let rows = side.collected.rows.iter().filter(|row| {
        (&row.protocol, &row.convention, &row.metric, row.k)
            == (&key.protocol, &key.convention, &key.metric, key.k)
            && (row.slice == asked.slices[0] && row.fold == fold)
            && !row.knows_test
            && !row.lacks_responses
            && !row.one_of_several
    });
    let values: Vec<(&str, f64)> =
        rows.filter_map(|row| Some((row.system.as_str(), row.value?))).collect();
    let best = info.best(values.iter().map(|(_, value)| *value))?;
    values.iter().find(|(_, value)| *value == best).map(|(name, _)| (*name).to_owned())
}

/// Users for whom the second system is better, equal and worse.
fn oriented(paired: &Paired) -> [usize; 3] {
    let [more, equal, less] = paired.wins();
    match metric(&paired.measure.metric).map(|of| of.better) {
        Some(crate::core::Better::Lower) => [less, equal, more],
        _ => [more, equal, less],
    }
}

fn p_text(p: f64) -> String {
    if p < 1e-4 { "< .0001".into() } else { format!("{p:.4}") }
}

/// Why two experiments do not measure the same thing.
fn not_comparable(
    first: &ExperimentRecord,
    second: &ExperimentRecord,
    asked: &Asked,
) -> Option<String> {
    let of = |record: &ExperimentRecord| -> Vec<String> {
        let prints =
            record.variants.iter().flat_map(|of| asked.keys.iter().map(|key| of.fingerprint(key)));
        distinct(prints.flatten())
    };
    let (a, b) = (of(first), of(second));
    if a == b {
        return None;
    }
    let about = |record: &ExperimentRecord| {
        let of: Vec<String> = record
            .variants
            .iter()
            .map(|of| {
                format!(
                    "data {}{}, split {}, {}",
                    of.data_digest.short(),
                    match of.rules.filter.is_empty() {
                        true => String::new(),
                        false => format!(", filter {}", of.rules.filter),
                    },
                    of.split_digest.short(),
                    of.rules.relevant
                )
            })
            .collect();
        of.join("; ")
    };
    Some(format!(
        "fingerprints {} and {} ({} / {})",
        a.join(", "),
        b.join(", "),
        about(first),
        about(second)
    ))
}

/// What differs between two experiments: data, split, evaluation, parameters of systems of one name, code.
fn differences_of_inputs(first: &ExperimentRecord, second: &ExperimentRecord) -> Vec<String> {
    let about = |record: &ExperimentRecord| -> Value {
        let variants = record.variants.iter().map(|of| {
            let systems =
                of.systems.iter().map(|system| (system.name.clone(), system.settings.clone()));
            let value = json!({
                "data": of.data,
                "files of the data": of.data_digest.short(),
                "rules": of.rules,
                "split": of.split,
                "splits": of.split_digest.short(),
                "seeds": of.seeds,
                "evaluation": of.settings,
                "systems": systems.collect::<serde_json::Map<_, _>>(),
            });
            (of.label.clone(), value)
        });
        let variants: Vec<(String, Value)> = variants.collect();
        match &variants[..] {
            [(_, only)] => only.clone(),
            _ => Value::Object(variants.into_iter().collect()),
        }
    };
    why_stale(&about(first), &about(second))
}

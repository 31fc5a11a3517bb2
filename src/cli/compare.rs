//! `assay compare`

mod across;
mod lists;
mod sides;
mod text;

use std::path::{Path, PathBuf};

use super::{CliError, ExperimentArg, WorkspaceArg, metrics::spelled, results::warn_of_missing};
use crate::{
    analysis::{
        Bootstrap, Correction, InputDifference, MEAN, Paired, Test, Units, compare,
        differences_of_environment, differences_of_experiments, has_paired_test,
        why_not_comparable,
    },
    base::{exit::Exit, terminal::tell, text::distinct, yaml::diagnostic::nearest},
    core::{MeasureKey, Workspace},
    report::main_cutoff,
    tasks::ExperimentRecord,
};
use sides::{Side, best};

/// Compare systems by paired differences over the same users, with tests corrected for their number
///
/// In one experiment, each system is compared with a reference; in two experiments or runs, each system with the one of
/// the same name; of files of rankings (--lists), each with a reference. A user counts once, however many folds contain
/// them. The interval is that of a bootstrap over users, p that of a paired test, corrected for all comparisons shown.
/// --across ranks the systems of several experiments over their data sets.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay compare experiments/ml-100k-baselines.yaml
  assay compare experiments/ml-100k-baselines.yaml --reference als --system ease --system lightgcn --all
  assay compare mine.yaml --pairs --system ease --system als --system lightgcn
  assay compare before.yaml after.yaml --metric ndcg -k 10 --json
  assay compare mine.yaml mine.yaml --other-set systems.als.factors=128
  assay compare mine.yaml --reference als --margin 0.005      are they equal within ±0.005?
  assay compare 1764508654123-4711 1764509911200-93           two runs (`assay ls EXPERIMENT` lists them)
  assay compare --lists a.csv b=recs/b.csv --data ml-100k --fold u1
  assay compare --lists a.csv b.csv --test-part u1.test --train u1.base --relevant '>= 4'
  assay compare ml-100k.yaml ml-1m.yaml gowalla.yaml --across     average ranks over data sets
  assay compare ml-100k.yaml ml-1m.yaml gowalla.yaml --across --figures figures

Exit codes: 0 the comparison was made; 2 no such system, metric or slice; 3 results are missing, or what is given
does not compare (`--anyway` compares two experiments all the same)")]
pub struct Compare {
    /// An experiment or run, or two of them; several with --across. An experiment file, the name of an experiment, or
    /// the name of a run
    #[arg(required_unless_present = "lists", value_name = "EXPERIMENT")]
    what: Vec<PathBuf>,
    /// Files of rankings to compare instead, as `assay score` reads them; NAME=FILE names one
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with_all = ["what", "across", "set", "other_set", "other_workspace", "anyway"])]
    lists: Vec<String>,
    /// Rank the systems of the experiments over their data sets: Friedman's test, and Nemenyi's critical difference
    #[arg(long, conflicts_with_all = ["other_set", "other_workspace", "reference", "margin", "test", "correction", "anyway"])]
    across: bool,
    /// With --across: write a critical-difference diagram of each metric into this directory, as SVG, PNG and PDF
    #[arg(long, value_name = "DIR", requires = "across")]
    figures: Option<PathBuf>,
    /// Replace files in it that assay did not write
    #[arg(long, requires = "figures")]
    overwrite: bool,
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
    /// Compare every system with every other; p is corrected for all of them
    #[arg(long, conflicts_with_all = ["reference", "across"])]
    pairs: bool,
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
    /// A fold of the experiment or, with --lists, of the data set (default: the mean over all folds of the experiment)
    #[arg(long)]
    fold: Option<String>,
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
    #[command(flatten)]
    of_lists: lists::ListArgs,
}

/// One comparison: which systems, and the pairs.
struct Compared {
    first: String,
    second: String,
    paired: Paired,
}

/// What is compared.
struct Asked {
    keys: Vec<MeasureKey>,
    slices: Vec<String>,
}

/// All comparisons, and what they are of.
struct Comparison {
    compared: Vec<Compared>,
    /// p of each, corrected.
    corrected: Vec<Option<f64>>,
    /// Of two experiments: their names, and what differs in their inputs.
    sides: Option<([String; 2], Vec<InputDifference>)>,
    fold: String,
    test_per_train: Option<f64>,
}

impl Compare {
    pub fn run(self) -> Result<Exit, CliError> {
        if let Some(margin) = self.margin.filter(|margin| !(*margin > 0.0 && margin.is_finite())) {
            return Err(CliError::Usage(format!(
                "`--margin` is {margin}; expected a number over 0"
            )));
        }
        if !self.lists.is_empty() {
            return self.files();
        }
        if let Some(option) = self.of_lists.given() {
            return Err(CliError::Usage(format!(
                "{option} applies to files of rankings alone\n  = help: give them with --lists"
            )));
        }
        match self.across {
            true => self.over_data_sets(),
            false => self.experiments(),
        }
    }

    /// The experiments or runs, each from the workspace.
    fn sides(&self) -> Result<Vec<Side>, CliError> {
        let workspace = self.workspace.open();
        let of = |file: &Path, set: &[String], workspace: &Workspace| {
            let of = ExperimentArg { file: file.to_owned(), set: set.to_vec() };
            Side::read(of, workspace.clone())
        };
        if self.across {
            if !self.set.is_empty() && self.what.len() > 1 {
                return Err(CliError::Usage(
                    "--set with --across needs one experiment alone\n  = help: results of --set have a name of their \
                     own, which `assay ls` lists: give that name"
                        .into(),
                ));
            }
            return self.what.iter().map(|file| of(file, &self.set, &workspace)).collect();
        }
        if self.what.len() > 2 {
            return Err(CliError::Usage(format!(
                "{} experiments are given; two are compared by their users\n  = help: `--across` ranks systems over \
                 the data sets of several experiments",
                self.what.len()
            )));
        }
        let mut sides = vec![of(&self.what[0], &self.set, &workspace)?];
        if let Some(file) = self.what.get(1) {
            let other = self.other_workspace.as_deref().map(Workspace::at);
            sides.push(of(file, &self.other_set, &other.unwrap_or(workspace))?);
        } else if !self.other_set.is_empty() || self.other_workspace.is_some() {
            return Err(CliError::Usage(
                "--other-set and --other-workspace need two experiments; the second may be the same file".into(),
            ));
        }
        Ok(sides)
    }

    /// Compares the systems of an experiment, or of two.
    fn experiments(&self) -> Result<Exit, CliError> {
        let sides = self.sides()?;
        let first = &sides[0];
        let asked = self.asked(&first.record)?;
        let second = sides.last().unwrap_or(first);
        let fold = self.fold.as_deref().unwrap_or(MEAN);
        if sides.len() > 1
            && let Some(why) = why_not_comparable(&first.record, &second.record, &asked.keys)
            && !self.anyway
        {
            return Err(CliError::NoResults(format!(
                "the two experiments do not compare: {why}\n  = help: `--anyway` compares them all the same"
            )));
        }
        if self.pairs && sides.len() > 1 {
            return Err(CliError::Usage(
                "--pairs is about the systems of one experiment; two experiments are compared by the names of their \
                 systems"
                    .into(),
            ));
        }
        let untested: Vec<&str> =
            asked.keys.iter().filter(|key| !has_paired_test(key)).map(|key| &*key.metric).collect();
        if !untested.is_empty() && !self.all && untested.len() < asked.keys.len() {
            return Err(CliError::Usage(format!(
                "{} is no mean over users, so no paired test compares it\n  = help: leave it out of --metric",
                untested.join(", ")
            )));
        }
        if !untested.is_empty() && self.all {
            tell!("note: no means over users, and not compared: {}", untested.join(", "));
        }
        let pairs = self.chosen_pairs(&sides, &asked)?;
        let mut compared: Vec<Compared> = Vec::new();
        let mut reference: Option<(&str, Units)> = None;
        for [a, b] in &pairs {
            // Variants of one experiment may have other data, splits or rules too.
            if first.fingerprints(a, &asked) != second.fingerprints(b, &asked) && !self.anyway {
                return Err(CliError::NoResults(format!(
                    "`{a}` and `{b}` do not compare: they have different fingerprints (data, split, rule of \
                     relevance or protocol)\n  = help: choose systems with `--reference` and `--system`, or compare \
                     them anyway with `--anyway`"
                )));
            }
            let of_a = match reference.take() {
                Some((name, units)) if name == a => units,
                _ => first.units(a, &asked.keys)?,
            };
            let of_b = second.units(b, &asked.keys)?;
            for slice in &asked.slices {
                let wanted = |key: &MeasureKey| asked.keys.contains(key);
                let found = compare([&of_a, &of_b], (fold, slice), &wanted, Bootstrap::default());
                compared.extend(found.into_iter().map(|paired| Compared {
                    first: a.clone(),
                    second: b.clone(),
                    paired,
                }));
            }
            reference = Some((a, of_a));
        }
        let described = (sides.len() > 1).then(|| {
            let mut inputs = differences_of_experiments(&first.record, &second.record);
            if let (Some(a), Some(b)) = (&first.run, &second.run) {
                inputs.extend(differences_of_environment(a, b));
            }
            ([first.of.to_string(), second.of.to_string()], inputs)
        });
        let test_per_train = first.test_per_train(&pairs[0][0]);
        self.conclude(compared, described, fold, test_per_train)?;
        let exits: Vec<Exit> = sides.iter().map(|side| warn_of_missing(&side.collected)).collect();
        Ok(exits.into_iter().find(|exit| *exit != Exit::Pass).unwrap_or(Exit::Pass))
    }

    /// Corrects and prints the comparisons.
    fn conclude(
        &self,
        compared: Vec<Compared>,
        sides: Option<([String; 2], Vec<InputDifference>)>,
        fold: &str,
        test_per_train: Option<f64>,
    ) -> Result<(), CliError> {
        if compared.is_empty() {
            return Err(CliError::NoResults(format!(
                "there is nothing to compare in the fold {fold}: the systems have no fold in common, or the metrics \
                 have no values by user"
            )));
        }
        let p: Vec<Option<f64>> = compared.iter().map(|of| of.paired.p(self.test)).collect();
        let corrected = self.correction.apply(&p);
        let fold = fold.to_owned();
        self.write(&Comparison { compared, corrected, sides, fold, test_per_train })
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
        let fold = self.fold.clone().unwrap_or_else(|| MEAN.to_owned());
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
            ("fold", &vec![fold], &folds),
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
    fn chosen_pairs(&self, sides: &[Side], asked: &Asked) -> Result<Vec<[String; 2]>, CliError> {
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
            if let Some(name) = self.systems.iter().find(|name| !others.contains(name)) {
                let what = "there is no result in the second experiment of a system";
                return Err(unknown_name(what, name, &others));
            }
            let in_one: Vec<&str> = known
                .iter()
                .filter(|name| !others.contains(name))
                .chain(others.iter().filter(|name| !known.contains(name)))
                .filter(|name| is_asked(name))
                .map(String::as_str)
                .collect();
            if !in_one.is_empty() {
                tell!("note: only in one of the two, and not compared: {}", in_one.join(", "));
            }
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
        if self.pairs {
            let asked: Vec<String> = known.into_iter().filter(|name| is_asked(name)).collect();
            return every_pair(&asked);
        }
        let reference = match &self.reference {
            Some(reference) => reference.clone(),
            None => {
                best(&sides[0], asked, self.fold.as_deref().unwrap_or(MEAN)).ok_or_else(|| {
                    CliError::Usage(
                    "no system is best by this metric: name one\n  = help: `--reference SYSTEM`"
                        .into(),
                )
                })?
            }
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
}

/// Every name with every later one.
fn every_pair(names: &[String]) -> Result<Vec<[String; 2]>, CliError> {
    if names.len() < 2 {
        return Err(CliError::Usage(format!(
            "there are no two systems to compare: {}",
            names.join(", ")
        )));
    }
    let of = |(at, first): (usize, &String)| {
        let first = first.clone();
        names[at + 1..].iter().map(move |second| [first.clone(), second.clone()]).collect()
    };
    Ok(names.iter().enumerate().flat_map::<Vec<[String; 2]>, _>(of).collect())
}

/// An error for a name that is none of those known.
fn unknown_name(what: &str, name: &str, known: &[String]) -> CliError {
    let near = nearest(name, known.iter().map(String::as_str));
    let help = near.map_or(String::new(), |near| format!("\n  = help: did you mean `{near}`?"));
    CliError::Usage(format!("{what} `{name}`\n  = expected one of {}{help}", known.join(", ")))
}

//! `assay check --self-test`

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::Path,
};

use super::{CliError, print};
use crate::{
    analysis::{Baseline, Collected, Gate, Gates, Margin, Request, Verdict, collect},
    base::{
        exit::Exit,
        files::{FileError, io_error},
        interrupt::Interrupt,
        text::distinct,
    },
    core::{Event, Options, Reporter, RunHeader, ToDo, Workspace, run},
    data::{DataDirs, sample},
    llm::ResponsesSpec,
    tasks::{Experiment, ExperimentRecord, Plan},
};

/// The description of the made-up sample.
const SAMPLE: &str = include_str!("../../datasets/sample.yaml");

/// Threads of the second run.
const THREADS: usize = 4;

/// Systems under these names; `als` is another model in the experiment that has to fail.
fn experiment(als: &str) -> String {
    format!(
        "experiment: self-test
data: {{set: sample, relevant: '>= 4', disliked: '<= 2'}}
split: {{scheme: official, only: [f1, f2]}}
systems:
  popularity: {{model: popularity}}
  item-knn: {{model: item-knn}}
  als: {als}
evaluate: {{k: [5, 10], metrics: [precision, recall, ndcg, map, mrr, hit-rate], slices: [all, 'cold<20']}}
"
    )
}

const ALS: &str =
    "{model: als, factors: 8, iterations: 10, regularization: 5, confidence: alpha-r, alpha: 2}";
const SHUFFLED: &str = "{model: random}";

/// Runs small experiments on the made-up sample in a temporary workspace, and says what holds, a line each.
pub(super) fn self_test() -> Result<Exit, CliError> {
    let place = tempfile::tempdir().map_err(io_error(&std::env::temp_dir()))?;
    let data = place.path().join("data");
    sample::write(sample::SEED, &data.join("sample"))?;
    fs::write(data.join("sample.yaml"), SAMPLE).map_err(io_error(&data))?;
    let dirs = DataDirs::new(vec![data]);
    let first = Ran::new(place.path(), &dirs, ALS, ("first", 1))?;
    let again = Ran::new(place.path(), &dirs, ALS, ("again", 1))?;
    let threads = Ran::new(place.path(), &dirs, ALS, ("threads", THREADS))?;
    let shuffled = Ran::new(place.path(), &dirs, SHUFFLED, ("shuffled", 1))?;
    let baseline = Baseline::record(&first.record, &first.workspace)?;
    let held = |ran: &Ran| ran.gates(&baseline);
    let same = held(&again)?;
    let n_same = same.iter().filter(|gate| gate.is_same).count();
    let other = held(&shuffled)?;
    let of_als: Vec<&Gate> = other.iter().filter(|gate| gate.system == "als").collect();
    let (all, of) = (|gate: &&Gate| gate.slice == "all", of_als.iter().copied());
    let whole: Vec<&Gate> = of.filter(all).collect();
    let worse = whole.iter().filter(|gate| gate.verdict == Verdict::Worse).count();
    let untouched = other.iter().filter(|gate| gate.system != "als");
    let untouched_hold = untouched.clone().all(|gate| gate.is_same);
    let (files, differ) = compared(&first.files()?, &threads.files()?);
    let (values, outside) = in_range(&[&first.collected, &shuffled.collected]);
    let lines = [
        (
            n_same == same.len() && !same.is_empty(),
            format!(
                "a second run agrees with the first: {n_same} of {} gates have the same values",
                same.len()
            ),
        ),
        (
            worse == whole.len() && !whole.is_empty(),
            format!(
                "a random order in the place of ALS fails: {worse} of {} gates are worse",
                whole.len()
            ),
        ),
        (
            untouched_hold,
            format!(
                "the systems beside it are unchanged: {} gates have the same values",
                untouched.filter(|gate| gate.is_same).count()
            ),
        ),
        (
            differ.is_empty() && files > 0,
            format!(
                "1 and {THREADS} threads give the same bytes: {} of {files} files differ{}",
                differ.len(),
                differ.first().map(|name| format!(", e.g. {name}")).unwrap_or_default()
            ),
        ),
        (
            outside.is_empty() && values > 0,
            format!(
                "values are within 0 and 1: {} of {values} are not{}",
                outside.len(),
                outside.first().map(|what| format!(", e.g. {what}")).unwrap_or_default()
            ),
        ),
    ];
    let mut text = String::new();
    for (holds, line) in &lines {
        text += &format!("{} {line}\n", if *holds { "ok     " } else { "FAILED " });
    }
    print(&text)?;
    Ok(match lines.iter().all(|(holds, _)| *holds) {
        true => Exit::Pass,
        false => Exit::GateFailed,
    })
}

/// An experiment that ran in a workspace of its own.
struct Ran {
    record: ExperimentRecord,
    workspace: Workspace,
    collected: Collected,
}

struct Nobody;

impl Reporter for Nobody {
    fn report(&self, _: &Event) {}
}

impl Ran {
    fn new(
        place: &Path,
        dirs: &DataDirs,
        als: &str,
        (name, threads): (&str, usize),
    ) -> Result<Self, CliError> {
        let file = place.join(format!("{name}.yaml"));
        fs::write(&file, experiment(als)).map_err(io_error(&file))?;
        let experiment = Experiment::read(&file, dirs)?;
        let plan = Plan::new(&experiment, dirs)?;
        let record = ExperimentRecord::new(&experiment, &plan, dirs)?;
        let workspace = Workspace::create(&place.join(name))?;
        let options = Options {
            threads,
            memory_bytes: 1 << 30,
            responses: ResponsesSpec::default(),
            ends: plan.ends(),
            forced: HashSet::new(),
        };
        let header = RunHeader {
            experiment: experiment.name.clone(),
            overrides: experiment.overrides.clone(),
            slot: experiment.name.clone(),
            file: experiment.path.display().to_string(),
            sources: experiment.source_texts(),
            resolved: serde_json::to_value(&experiment.resolved)?,
            data: plan.data.iter().map(ToString::to_string).collect(),
            directory: place.to_owned(),
        };
        let to_do = ToDo::of(&plan.graph, &workspace, &options);
        let outcome = run(header, to_do, &plan.trial_names(), &Interrupt::default(), &Nobody)?;
        if let Some(failure) = outcome.record.failures.first() {
            return Err(CliError::NoResults(format!(
                "the self-test could not run: {}: {}",
                failure.trial, failure.cause
            )));
        }
        let collected = collect(&record, &workspace, &Request::default())?;
        Ok(Self { record, workspace, collected })
    }

    fn gates(&self, baseline: &Baseline) -> Result<Vec<Gate>, CliError> {
        let margin: Margin = "0".parse().map_err(CliError::Usage)?;
        let gates = Gates { metrics: &[], k: None, slices: &[], margin };
        let found = gates.check(baseline, &self.record, &self.collected, &self.workspace)?;
        found.map_err(CliError::Usage)
    }

    /// By step and name, the bytes of all files but records, which hold times.
    fn files(&self) -> Result<BTreeMap<String, Vec<u8>>, FileError> {
        let mut files = BTreeMap::new();
        for at in 0..self.record.steps.len() {
            let dir = self.record.dir(&self.workspace, at);
            for name in &self.record.steps[at].files {
                let path = dir.join(name);
                let bytes = fs::read(&path).map_err(io_error(&path))?;
                let label = &self.record.steps[at].label;
                files.insert(format!("{label}: {name}"), bytes);
            }
        }
        Ok(files)
    }
}

/// Number of files, and the names of those that differ or that one of both lacks.
fn compared(
    first: &BTreeMap<String, Vec<u8>>,
    second: &BTreeMap<String, Vec<u8>>,
) -> (usize, Vec<String>) {
    let names = distinct(first.keys().chain(second.keys()));
    let differ = names.iter().filter(|name| first.get(*name) != second.get(*name)).cloned();
    (names.len(), differ.collect())
}

/// Number of values, and those outside of 0 to 1.
fn in_range(all: &[&Collected]) -> (usize, Vec<String>) {
    let rows = || all.iter().flat_map(|of| &of.rows);
    let is_wrong = |value: &f64| !(0.0..=1.0).contains(value);
    let wrong = rows().filter(|row| row.value.as_ref().is_some_and(is_wrong));
    let wrong = wrong.map(|row| format!("{} {}@{} of {}", row.system, row.metric, row.k, row.fold));
    (rows().filter(|row| row.value.is_some()).count(), wrong.collect())
}

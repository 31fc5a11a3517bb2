//! Steps that run a program of the experiment, which reads a fold's training part and writes rankings; and steps that
//! search its settings.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    output::{Predictions as PredictionsDir, SearchTrials, Split},
    split::dataset,
};
use crate::{
    base::{
        files::{FileError, io_error},
        hash::Digest,
        process::{self, ProcessError, Program, Usage},
    },
    core::{
        CommandUse, FinishedSteps, Handle, KeyBuilder, Pinned, Resources, RunContext, Step,
        StepError, StepStats,
    },
    data::{
        DataDirs, DataError, DataSource, Interaction, Interactions, Relevance, TrainingPart,
        cut::cut_rows,
    },
    ranking::{
        Convention, Labels, Predictions, Protocol, Rankings, ScoreSpec, Slice, Source,
        files::{Findings, Use, open},
        score,
    },
    tasks::top_n::{
        CommandParams, SearchSpec, SystemSpec,
        command::{CommandProgram, Placeholder, Settings},
        search::{SearchSummary, SearchTrial, TRIALS, choose, read_trials, write_trials},
    },
};

/// Variables from which numeric libraries take their number of threads.
const THREADS: [&str; 5] = [
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "RAYON_NUM_THREADS",
];

/// A program, and what it is run on.
#[derive(Clone)]
pub struct CommandRun {
    pub system: Arc<SystemSpec>,
    pub program: CommandProgram,
    /// The files that it is given, by their names in the experiment file.
    pub inputs: BTreeMap<String, Pinned>,
    pub split: Handle<Split>,
    /// Items that evaluation needs of each list.
    pub depth: usize,
    /// For the catalogue.
    pub source: DataSource,
    pub data: Pinned,
    pub dirs: Arc<DataDirs>,
}

/// Runs a program on one fold.
pub struct CommandStep {
    pub label: String,
    pub run: CommandRun,
    pub search: Option<Handle<SearchTrials>>,
    pub seed: u64,
    /// What readers of its results must know of how its settings were chosen.
    pub warnings: Vec<String>,
}

/// Searches the settings of a program, once per fold for all seeds.
pub struct CommandSearchStep {
    pub label: String,
    pub run: CommandRun,
    pub relevant: Relevance,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandStats {
    /// Where the program lay.
    pub program: String,
    pub cpu_seconds: f64,
    /// Of the largest of its processes.
    pub peak_memory_bytes: u64,
    /// Irregularities of its rankings.
    pub findings: Findings,
    /// The settings that its search chose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchSummary>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

impl StepStats for CommandStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        self.warnings.iter().cloned().chain(self.findings.warnings()).collect()
    }
}

impl CommandRun {
    fn params(&self) -> Result<&CommandParams, StepError> {
        match &*self.system {
            SystemSpec::Command(params) => Ok(params),
            _ => Err(StepError::Internal("a program of something that has none".into())),
        }
    }

    fn uses(&self, place: Placeholder) -> bool {
        self.params().is_ok_and(|params| params.uses(place))
    }

    fn contents(&self) -> BTreeMap<&String, Digest> {
        self.inputs.iter().map(|(name, file)| (name, file.digest)).collect()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("model", &*self.system)
            .value("inputs", self.contents())
            .value_if(self.uses(Placeholder::Depth), "depth", self.depth)
            .step("split", self.split);
        for file in self.inputs.values() {
            key.pin(file);
        }
        if self.uses(Placeholder::Items) {
            // The split's key holds their digest.
            key.pin(&self.data);
        }
    }

    fn resources(&self) -> Resources {
        let limit = self.params().ok().and_then(CommandParams::memory);
        Resources { memory: limit.unwrap_or(1 << 28) }
    }

    fn command(&self) -> Option<CommandUse> {
        let params = self.params().ok()?;
        Some(CommandUse {
            line: params.line(),
            inputs: params.inputs().to_vec(),
            digest: Digest::of_json(&(&*self.system, self.contents())),
        })
    }

    /// Runs the program with these settings, and reads its rankings.
    fn run(
        &self,
        cx: &RunContext,
        training: &TrainingPart,
        settings: &Settings,
        seed: u64,
    ) -> Result<(Rankings, Findings, Usage), StepError> {
        let params = self.params()?;
        let work = WorkDir::new(&cx.scratch().join("program"))?;
        let here = work.0.join("run");
        fs::create_dir(&here).map_err(io_error(&here))?;
        params.copy_inputs(&here)?;
        let format = params.table_format();
        let threads = rayon::current_num_threads();
        let out = work.0.join(format.file("rankings"));
        let written = |place| -> Result<String, StepError> {
            let table = |stem: &str, bytes: std::io::Result<Vec<u8>>| {
                let path = work.0.join(format.file(stem));
                bytes.and_then(|bytes| fs::write(&path, bytes)).map_err(io_error(&path))?;
                Ok::<_, FileError>(path)
            };
            let TrainingPart { users, items, train, validation } = training;
            let path = match place {
                Placeholder::Train => table("train", format.interactions(train, users, items))?,
                Placeholder::Validation if validation.is_empty() => {
                    return Err(DataError::Split(
                        "the program is given `{validation}`, and the fold has no validation part\n  = help: cut one \
                         from the training part, `split: {…, validation: {fraction: 0.1}}`, or remove it from `run`"
                            .into(),
                    )
                    .into());
                }
                Placeholder::Validation => {
                    table("validation", format.interactions(validation, users, items))?
                }
                Placeholder::Users => table("users", format.users(users))?,
                Placeholder::Items => {
                    let data = dataset(cx.shared(), &self.source, &self.dirs, &self.data, cx.log)?;
                    table("items", format.items(&data))?
                }
                Placeholder::Params => {
                    let path = work.0.join("params.json");
                    let text = serde_json::to_vec_pretty(settings).map_err(StepError::failed)?;
                    fs::write(&path, text).map_err(io_error(&path))?;
                    path
                }
                Placeholder::Out => out.clone(),
                Placeholder::Seed => return Ok(seed.to_string()),
                Placeholder::Depth => return Ok(self.depth.to_string()),
                Placeholder::Threads => return Ok(threads.to_string()),
            };
            Ok(path.display().to_string())
        };
        let mut values = BTreeMap::new();
        for place in Placeholder::all().filter(|place| params.uses(*place)) {
            values.insert(place, written(place)?);
        }
        let arguments = params.arguments(|place| values[&place].clone());
        let path = match &self.program {
            CommandProgram::Input(path) => here.join(path),
            CommandProgram::At(path) => path.clone(),
        };
        (cx.log)(&format!("runs {} {}", path.display(), arguments.join(" ")));
        let mut variables: Vec<(&str, String)> = THREADS
            .into_iter()
            .filter(|name| std::env::var_os(name).is_none())
            .map(|name| (name, threads.to_string()))
            .collect();
        // Python orders sets of texts by a random seed otherwise.
        variables.push(("PYTHONHASHSEED", "0".into()));
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        let program = Program {
            path: &path,
            arguments: &arguments,
            directory: &here,
            variables: &variables,
            timeout: params.timeout(),
            memory: params.memory(),
        };
        let used = process::run(&program, cx.interrupt(), &mut |line| (cx.log)(line));
        let used = used.map_err(|error| match error {
            ProcessError::Interrupted(interrupted) => interrupted.into(),
            error => self.failed(error),
        })?;
        if !out.is_file() {
            return Err(self.failed("it ended with success, but it did not write `{out}`"));
        }
        let (options, text) = params.read_options();
        let (users, items) = (&training.users, &training.items);
        let read = open(&out, Use::Rankings, text)
            .and_then(|opened| opened.read(&options, users, items, &training.seen()));
        let (rankings, findings) =
            read.map_err(|error| self.failed(format!("its rankings cannot be read: {error}")))?;
        Ok((rankings, findings, used))
    }

    fn failed(&self, problem: impl ToString) -> StepError {
        let line = self.params().map(CommandParams::line).unwrap_or_default();
        StepError::failed(CommandFailed { line, problem: problem.to_string() })
    }
}

impl Step for CommandStep {
    type Output = PredictionsDir;
    type Stats = CommandStats;

    const KIND: &'static str = "predict";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> Value {
        serde_json::json!([Self::REVISION, self.run.system.revision()])
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        self.run.key_inputs(key);
        key.value_if(self.run.uses(Placeholder::Seed), "seed", self.seed);
        if let Some(search) = self.search {
            key.step("search", search);
        }
    }

    fn files(&self) -> Vec<&'static str> {
        Predictions::files(None)
    }

    fn resources(&self, _: &dyn FinishedSteps) -> Resources {
        self.run.resources()
    }

    fn command(&self) -> Option<CommandUse> {
        self.run.command()
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<CommandStats, StepError> {
        let params = self.run.params()?;
        let training = TrainingPart::read(&cx.dir(self.run.split))?;
        let (settings, search) = match (&params.search, self.search) {
            (Some(search), Some(step)) => {
                let trials = read_trials(&cx.dir(step))?;
                let chosen = search.chosen(&trials).ok_or_else(|| {
                    StepError::Internal("the search chose settings that it does not have".into())
                })?;
                (chosen, Some(SearchSummary::of(&trials)?))
            }
            _ => (params.params(), None),
        };
        let (rankings, findings, used) = self.run.run(cx, &training, settings, self.seed)?;
        for warning in findings.warnings() {
            (cx.log)(&format!("warning: {warning}"));
        }
        Predictions::of_lists(rankings, None).write(dir)?;
        Ok(CommandStats {
            program: self.run.program.to_string(),
            cpu_seconds: used.cpu_seconds,
            peak_memory_bytes: used.peak_memory_bytes,
            findings,
            search,
            warnings: self.warnings.clone(),
        })
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CommandSearchStats {
    #[serde(flatten)]
    pub search: SearchSummary,
}

impl StepStats for CommandSearchStats {
    const VERSION: u32 = 1;
}

impl Step for CommandSearchStep {
    type Output = SearchTrials;
    type Stats = CommandSearchStats;

    const KIND: &'static str = "search";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn revision(&self) -> Value {
        serde_json::json!([Self::REVISION, self.run.system.revision()])
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        self.run.key_inputs(key);
        key.value("relevant", self.relevant);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![TRIALS]
    }

    fn resources(&self, _: &dyn FinishedSteps) -> Resources {
        self.run.resources()
    }

    fn command(&self) -> Option<CommandUse> {
        self.run.command()
    }

    /// Each setting is run on a part of the training part, and measured on the rest. The test part stays closed, and a
    /// validation part that the fold has is none of the two.
    fn run(&self, cx: &RunContext, dir: &Path) -> Result<CommandSearchStats, StepError> {
        let params = self.run.params()?;
        let Some(search) = &params.search else {
            return Err(StepError::Internal("a search of what has none".into()));
        };
        let training = TrainingPart::read(&cx.dir(self.run.split))?;
        let rows: Vec<Interaction> = training.train.iter().collect();
        let spec = &search.spec;
        let (kept, held) = cut_rows(&rows, spec.cut, spec.validation, spec.seed);
        if kept.is_empty() || !held.iter().any(|row| self.relevant.accepts(row.rating)) {
            return Err(DataError::Split(
                "the training part is too small for a search: no liked rating would be measured on"
                    .into(),
            )
            .into());
        }
        let matrix = |rows: &[Interaction]| {
            Interactions::new(training.users.len(), training.items.len(), rows)
        };
        let (part, held) =
            (TrainingPart { train: matrix(&kept), ..training.clone() }, matrix(&held));
        let kept = cx.scratch().join(TRIALS);
        let mut trials = search.remembered(&kept, cx.log);
        for at in trials.len()..search.candidates.len() {
            (cx.progress)(at as u64, search.candidates.len() as u64);
            let (rankings, ..) = self.run.run(cx, &part, &search.candidates[at], spec.seed)?;
            let value = measured(&rankings, &part, &held, self.relevant, spec, cx)?;
            let settings = search.labels[at].clone();
            (cx.log)(&format!("trial {}: {settings} gives {value}", at + 1));
            trials.push(SearchTrial { settings, value: Some(value), ..SearchTrial::default() });
            search.remember(&kept, &trials)?;
        }
        choose(&mut trials)?;
        write_trials(&dir.join(TRIALS), &trials)?;
        Ok(CommandSearchStats { search: SearchSummary::of(&trials)? })
    }
}

/// The mean of the search's metric over users with a liked rating in `held`; those without a list count 0.
fn measured(
    rankings: &Rankings,
    part: &TrainingPart,
    held: &Interactions,
    relevant: Relevance,
    search: &SearchSpec,
    cx: &RunContext,
) -> Result<f64, StepError> {
    let spec = ScoreSpec {
        protocols: vec![Protocol::Full],
        conventions: vec![Convention::Standard],
        k: vec![search.k],
        slices: vec![Slice::All],
        metrics: vec![search.metric],
        depth: search.k,
        ..ScoreSpec::default()
    };
    let seen = part.seen();
    let labels = Labels { train: &part.train, seen: &seen, test: held, relevant, is_qrels: false };
    let scores = score(&spec, &labels, &Source::Lists(rankings), cx.interrupt(), &|_, _| {})?;
    Ok(scores.summary.first().and_then(|mean| mean.value).unwrap_or(0.0))
}

/// Why a program gave no rankings.
#[derive(Debug, thiserror::Error)]
#[error(
    "the program `{line}`: {problem}\n  = help: it runs in a directory that holds its `inputs` alone; the log of the \
     trial has all of its output"
)]
struct CommandFailed {
    line: String,
    problem: String,
}

/// The directory of a program, removed when it has ended, whatever came of it.
struct WorkDir(PathBuf);

impl WorkDir {
    fn new(dir: &Path) -> Result<Self, FileError> {
        // What a killed process left. The step's lock is held.
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).map_err(io_error(dir))?;
        let dir = std::path::absolute(dir).map_err(io_error(dir))?;
        Ok(Self(dir))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

//! A bundle: one archive with which a reviewer checks an experiment without its data and without the network.
//!
//! The archive is put together in a directory: a workspace with the steps that results are read from, the experiment's
//! files, the responses of language models, and the report, which is written from that workspace. So what a reviewer will
//! read has been read once, and its numbers compared with those of the author's workspace.

mod archive;
mod metadata;
mod names;
mod readme;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Component, Path, PathBuf},
};

use serde::Serialize;
use serde_json::json;

pub use archive::is_bundle;
pub use names::Names;

use super::{INDEX, ReportError, also_for_tables, render};
use crate::{
    analysis::{Collected, MEANS, Request, ResultRow, RunMean, collect},
    base::{
        built_in,
        file_names::stays_inside,
        files::{
            FileError, io_error, open_own, read_json, read_own, temporary_dir, write_json,
            write_whole,
        },
        output::OutputDir,
    },
    core::{
        Currencies, Currency, OMITTED, RECORD, RunRecord, StepId, Steps, Workspace, write_sealed,
    },
    llm::{DIRECTORY, LlmError, Responses, cassette, key::Key},
    tasks::{ExperimentRecord, shared::HISTORY},
};

/// Kinds of steps whose files are results: lists, values by user, explanations, trials of searches. The files of the
/// others hold interactions or what was learnt from them.
const RESULTS: [&str; 5] = ["predict", "rerank", "explain", "search", "evaluate"];
/// The workspace in the archive.
const WORKSPACE: &str = "workspace";
/// The experiment's files in the archive.
const EXPERIMENT: &str = "experiment";
/// The report in the archive.
const REPORT: &str = "report";
/// The responses in the archive.
const CASSETTE: &str = "responses.jsonl.gz";

/// What goes into a bundle.
pub struct BundleSpec {
    /// Also the folds, with all interactions, fitted models and texts.
    pub with_data: bool,
    /// What is removed; none: nothing.
    pub names: Option<Names>,
    /// The licence of the bundle: a URL, or a name.
    pub licence: Option<String>,
    /// The responses that the experiment used.
    pub responses: BTreeSet<Key>,
}

/// A written bundle.
pub struct Bundled {
    pub files: usize,
    pub bytes: u64,
    /// Steps with their records alone.
    pub omitted: usize,
    pub responses: usize,
    /// What was removed, and how often.
    pub removed: BTreeMap<String, usize>,
    pub collected: Collected,
}

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Report(#[from] ReportError),
    #[error(transparent)]
    Llm(#[from] LlmError),
    #[error("{0}")]
    NoResults(String),
    #[error("{0}")]
    Refused(String),
    /// The bundle would show other numbers.
    #[error("internal error: {0}")]
    Differs(String),
}

/// Writes the bundle of an experiment to `out`.
pub fn bundle(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    spec: &BundleSpec,
    out: &Path,
) -> Result<Bundled, BundleError> {
    if let Some(names) = &spec.names {
        named_after(experiment, names)?;
    }
    let parent = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (root, _held) = temporary_dir(parent).map_err(io_error(parent))?;
    let mut making = Making {
        root: root.path(),
        // A kept audit would be one more thing that a reviewer has to believe.
        to: Workspace::at(&root.path().join(WORKSPACE)).read_only(),
        from: workspace,
        spec,
        removed: BTreeMap::new(),
        omitted: 0,
        newest: 0,
    };
    let rows = collect(experiment, workspace, &Request::default())?.rows;
    if rows.is_empty() {
        return Err(BundleError::NoResults(
            "the workspace has no result of this experiment\n  = help: run it first: `assay run`"
                .into(),
        ));
    }
    making.steps(experiment)?;
    let paths = layout(&experiment.sources)?;
    let record = making.experiment(experiment, &paths)?;
    write_json(&making.to.path(&["experiments", record.slot(), "experiment.json"]), &record)?;
    for (path, text) in &record.sources {
        if built_in::path_of(Path::new(path)).is_none() {
            write_whole(&root.path().join(path), text.as_bytes())?;
        }
    }
    let run = making.run(experiment, &record, &paths)?;
    let responses = making.cassette()?;
    let collected = making.report(&record, run.as_ref())?;
    if let Some(problem) = differs(&rows, &collected.rows) {
        return Err(BundleError::Differs(problem));
    }
    let about = About {
        record: &record,
        run: run.as_ref(),
        with_data: spec.with_data,
        is_anonymous: spec.names.is_some(),
        responses,
        licence: spec.licence.as_deref(),
        date: date_of(
            run.as_ref()
                .map_or(making.newest, |run| run.started + run.wall_seconds.max(0.0) as u64),
        ),
    };
    write_whole(&root.path().join(readme::FILE), readme::text(&about).as_bytes())?;
    let files = archive::files(root.path())?;
    let described = metadata::metadata(&about, root.path(), &files)?;
    write_json(&root.path().join(metadata::FILE), &described)?;
    let files = archive::files(root.path())?;
    if let Some(names) = &spec.names {
        names.check(root.path(), &files).map_err(BundleError::Refused)?;
    }
    let bytes = archive::write(root.path(), &files, out)?;
    Ok(Bundled {
        files: files.len(),
        bytes,
        omitted: making.omitted,
        responses,
        removed: making.removed,
        collected,
    })
}

/// An error if the name of a system, a fold or the experiment contains a removed name. Results are looked up by these names,
/// so they cannot be replaced.
fn named_after(experiment: &ExperimentRecord, names: &Names) -> Result<(), BundleError> {
    let systems = experiment.trials.iter().flat_map(|trial| [&trial.name, &trial.fold]);
    let own = [&experiment.name];
    let all = own.into_iter().chain(systems).map(String::as_str).chain([experiment.slot()]);
    for name in all {
        if let Some(found) = names.found_in(name) {
            return Err(BundleError::Refused(format!(
                "--anonymous: {found} is in the name `{name}`\n  = help: rename it in the experiment file and run it again; \
                 `--no-name WORD` says that a word is no name"
            )));
        }
    }
    Ok(())
}

/// What its texts say of a bundle.
struct About<'a> {
    record: &'a ExperimentRecord,
    run: Option<&'a RunRecord>,
    with_data: bool,
    is_anonymous: bool,
    responses: usize,
    licence: Option<&'a str>,
    /// Of the run: `2026-11-30`. The same results give the same bytes.
    date: String,
}

fn date_of(seconds: u64) -> String {
    let date = i64::try_from(seconds).ok().and_then(|at| chrono::DateTime::from_timestamp(at, 0));
    date.unwrap_or_default().format("%Y-%m-%d").to_string()
}

/// Where the files of an experiment are in a bundle, by their paths in its record. Files stay where they are to each
/// other, so that an experiment finds what it includes.
fn layout(sources: &[(String, String)]) -> Result<BTreeMap<String, String>, BundleError> {
    let is_built_in = |path: &str| built_in::path_of(Path::new(path)).is_some();
    let mut whole: Vec<(&str, PathBuf)> = Vec::new();
    for (path, _) in sources.iter().filter(|(path, _)| !is_built_in(path)) {
        let absolute = std::path::absolute(path).map_err(io_error(Path::new(path)))?;
        whole.push((path, without_dots(&absolute)));
    }
    let mut common = match whole.first() {
        Some((_, first)) => first.parent().unwrap_or(first).to_owned(),
        None => PathBuf::new(),
    };
    while !whole.iter().all(|(_, path)| path.starts_with(&common)) && common.pop() {}
    let mut places = BTreeMap::new();
    for (path, absolute) in &whole {
        let below = absolute.strip_prefix(&common).unwrap_or(absolute).to_string_lossy();
        if !stays_inside(&below) {
            return Err(BundleError::Refused(format!(
                "the path of the experiment's file {path} cannot be in an archive\n  = help: rename it"
            )));
        }
        places.insert((*path).to_owned(), format!("{EXPERIMENT}/{below}"));
    }
    Ok(places)
}

/// A path without `.` and `..`, whether it exists or not.
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(plain.pop()),
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain
}

/// What differs in the numbers of two tables of results.
fn differs(of: &[ResultRow], other: &[ResultRow]) -> Option<String> {
    let key = |row: &ResultRow| {
        format!(
            "{} {} seed {} {} {} {} {}@{}",
            row.system,
            row.fold,
            row.seed,
            row.protocol,
            row.convention,
            row.slice,
            row.metric,
            row.k
        )
    };
    if of.len() != other.len() {
        return Some(format!("the bundle has {} values of {}", other.len(), of.len()));
    }
    let same = |a: &ResultRow, b: &ResultRow| {
        key(a) == key(b)
            && a.value.map(f64::to_bits) == b.value.map(f64::to_bits)
            && a.n_users == b.n_users
            && a.fingerprint == b.fingerprint
    };
    let wrong = of.iter().zip(other).find(|(a, b)| !same(a, b));
    wrong.map(|(a, b)| {
        format!(
            "{}: {:?} in the workspace, {}: {:?} in the bundle",
            key(a),
            a.value,
            key(b),
            b.value
        )
    })
}

/// A bundle in the making.
struct Making<'a> {
    root: &'a Path,
    to: Workspace,
    from: &'a Workspace,
    spec: &'a BundleSpec,
    removed: BTreeMap<String, usize>,
    omitted: usize,
    /// When the last step was finished.
    newest: u64,
}

impl Making<'_> {
    /// Copies the steps that are finished.
    fn steps(&mut self, experiment: &ExperimentRecord) -> Result<(), BundleError> {
        let currencies = Currencies::new(experiment, self.from);
        let all: Vec<StepId> = (0..experiment.count()).map(StepId::new).collect();
        currencies.verify(&all);
        for step in all {
            let (kind, key) = experiment.place(step);
            let name = experiment.name(step);
            match currencies.of(step) {
                // Its record may be there, if this is the workspace of a bundle.
                Currency::Absent if !self.from.is_omitted(kind, &key) => continue,
                Currency::Current | Currency::Absent => {}
                Currency::Damaged(problem) | Currency::Outdated(problem) => {
                    return Err(BundleError::NoResults(format!(
                        "{name}: {problem}\n  = help: run the experiment again: `assay run`"
                    )));
                }
            }
            let mut record = self.from.record(kind, &key)?;
            self.newest = self.newest.max(record.finished);
            let (from, to) = (self.from.step_dir(kind, &key), self.to.step_dir(kind, &key));
            let is_whole = (self.spec.with_data || RESULTS.contains(&kind))
                && !self.from.is_omitted(kind, &key);
            if let Some(names) = &self.spec.names {
                // The key is their hash: they cannot be changed.
                if let Some(found) = names.found_in(&record.key_inputs.to_string()) {
                    return Err(BundleError::Refused(format!(
                        "--anonymous: {found} is in the settings of {name}, whose hash is its key\n  = help: use \
                         relative paths and neutral names in the experiment file, and run it again"
                    )));
                }
                record.label = names.clean(&record.label, &mut self.removed);
                names.clean_value(&mut record.stats, &mut self.removed);
                for text in &mut record.warnings {
                    *text = names.clean(text, &mut self.removed);
                }
                names.clean_machine(&mut record.machine, &mut self.removed);
            }
            fs::create_dir_all(&to).map_err(io_error(&to))?;
            for file in &record.files {
                // Small, and figures are drawn from it.
                if is_whole || file.name == HISTORY {
                    copy(&from.join(&file.name), &to.join(&file.name))?;
                }
            }
            if !is_whole {
                self.omitted += 1;
                write_json(&to.join(OMITTED), &json!({"why": "the bundle was made without data"}))?;
            }
            write_sealed(&to.join(RECORD), record)?;
        }
        Ok(())
    }

    /// The record, with its paths in the archive.
    fn experiment(
        &mut self,
        of: &ExperimentRecord,
        paths: &BTreeMap<String, String>,
    ) -> Result<ExperimentRecord, BundleError> {
        let mut record = of.clone();
        record.path = placed(&record.path, paths);
        record.sources = self.sources(&of.sources, paths);
        let path = record.path.clone();
        let sources = std::mem::take(&mut record.sources);
        self.cleaned(&mut record)?;
        (record.path, record.sources) = (path, sources);
        Ok(record)
    }

    fn sources(
        &mut self,
        sources: &[(String, String)],
        paths: &BTreeMap<String, String>,
    ) -> Vec<(String, String)> {
        let mut placed_sources = Vec::new();
        for (path, text) in sources {
            let text = match &self.spec.names {
                // What comes with assay names nobody.
                Some(names) if paths.contains_key(path) => names.clean(text, &mut self.removed),
                _ => text.clone(),
            };
            placed_sources.push((placed(path, paths), text));
        }
        placed_sources
    }

    /// Removes names from all texts of a value.
    fn cleaned<T: Serialize + serde::de::DeserializeOwned>(
        &mut self,
        of: &mut T,
    ) -> Result<(), BundleError> {
        let Some(names) = &self.spec.names else { return Ok(()) };
        let damaged = |error: serde_json::Error| {
            BundleError::Differs(format!("a record cannot be read without names: {error}"))
        };
        let mut value = serde_json::to_value(&*of).map_err(damaged)?;
        names.clean_value(&mut value, &mut self.removed);
        *of = serde_json::from_value(value).map_err(damaged)?;
        Ok(())
    }

    /// Writes the record of the last run, its means and its steps.
    fn run(
        &mut self,
        experiment: &ExperimentRecord,
        record: &ExperimentRecord,
        paths: &BTreeMap<String, String>,
    ) -> Result<Option<RunRecord>, BundleError> {
        let place = ["experiments", experiment.slot(), "run.json"];
        let Ok(mut run) = read_json::<RunRecord>(&self.from.path(&place)) else { return Ok(None) };
        if !stays_inside(&run.run) {
            return Err(BundleError::Refused(format!("`{}` is not the name of a run", run.run)));
        }
        let sources = self.sources(&std::mem::take(&mut run.sources), paths);
        if let Some(names) = &self.spec.names {
            names.clean_machine(&mut run.machine, &mut self.removed);
        }
        self.cleaned(&mut run)?;
        (run.file, run.sources) = (record.path.clone(), sources);
        write_json(&self.to.path(&place), &run)?;
        write_json(&self.to.path(&["runs", &run.run, "run.json"]), &run)?;
        let means = self.from.path(&["runs", &run.run, MEANS]);
        if let Ok(means) = read_json::<Vec<RunMean>>(&means) {
            write_json(&self.to.path(&["runs", &run.run, MEANS]), &means)?;
        }
        if let Ok(of_run) = ExperimentRecord::read_of_run(self.from, &run.run) {
            let of_run = self.experiment(&of_run, paths)?;
            of_run.write_of_run(&self.to, &run.run)?;
        }
        Ok(Some(run))
    }

    /// Writes the responses, if there are any; returns their number.
    fn cassette(&self) -> Result<usize, BundleError> {
        let dir = self.from.path(&[DIRECTORY]);
        if self.spec.responses.is_empty() {
            return Ok(0);
        }
        if !dir.join("journal").is_dir() {
            return Err(BundleError::NoResults(format!(
                "{}: the responses that the experiment used are not recorded there\n  = help: import their cassette with \
                 `assay cache import`",
                dir.display()
            )));
        }
        let responses = Responses::open(&dir)?;
        let path = self.root.join(CASSETTE);
        Ok(cassette::export(&responses, Some(&self.spec.responses), &path)?.responses)
    }

    /// Writes the report from the workspace of the bundle, and returns its results.
    fn report(
        &self,
        record: &ExperimentRecord,
        run: Option<&RunRecord>,
    ) -> Result<Collected, BundleError> {
        let mut request = Request::of_report(record);
        also_for_tables(&mut request, record);
        let collected = collect(record, &self.to, &request)?;
        let dir = self.root.join(REPORT);
        let out = OutputDir::open(&dir, INDEX, false)?;
        render(record, &self.to, &collected, run, false, out)?;
        Ok(collected)
    }
}

/// The path of a file of the experiment in the archive.
fn placed(path: &str, paths: &BTreeMap<String, String>) -> String {
    let base = || Path::new(path).file_name().map(|name| name.to_string_lossy().into_owned());
    match paths.get(path) {
        Some(placed) => placed.clone(),
        None if built_in::path_of(Path::new(path)).is_some() => path.to_owned(),
        // Of an earlier run, with other files.
        None => format!("{EXPERIMENT}/{}", base().unwrap_or_default()),
    }
}

fn copy(from: &Path, to: &Path) -> Result<(), FileError> {
    let mut file = open_own(from).map_err(io_error(from))?;
    let mut out = fs::File::create_new(to).map_err(io_error(to))?;
    io::copy(&mut file, &mut out).map_err(io_error(to))?;
    Ok(())
}

/// A file of the bundle.
fn content(root: &Path, name: &str) -> Result<Vec<u8>, FileError> {
    let path = root.join(name);
    read_own(&path).map_err(io_error(&path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_keep_their_places_to_each_other() {
        let sources: Vec<(String, String)> =
            ["/p/exp/a.yaml", "/p/exp/../common/b.yaml", "built-in:baselines/als.yaml"]
                .map(|path| (path.to_owned(), String::new()))
                .into();
        let places = layout(&sources).unwrap();
        assert_eq!(places["/p/exp/a.yaml"], "experiment/exp/a.yaml");
        assert_eq!(places["/p/exp/../common/b.yaml"], "experiment/common/b.yaml");
        assert_eq!(places.len(), 2);
        let one = layout(&sources[..1]).unwrap();
        assert_eq!(one["/p/exp/a.yaml"], "experiment/a.yaml");
    }

    #[test]
    fn dates_are_those_of_runs() {
        assert_eq!(date_of(1_796_061_599), "2026-11-30");
    }
}

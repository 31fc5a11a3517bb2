//! What the process of a step has to know, in the workspace. Planning a large experiment takes longer than many of its steps;
//! so each step is stored with the place of a trial that needs it, from which it is planned alone.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    io::{self, BufRead, BufReader, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::{
    base::{
        files::{
            FileError, boot_id, io_error, open_log, open_own, read_json, write_json, write_whole,
        },
        hash::Digest,
    },
    core::{FailedElsewhere, Graph, StepId, Workspace},
    llm::{ResponsesSpec, Spent},
    tasks::{Plan, TrialAt},
};

/// Raise it if a field changes its meaning.
const VERSION: u32 = 1;
/// The directory of plans in that of an experiment.
pub const PLANS: &str = "plans";

/// What all steps of a plan have in common.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct About {
    pub version: u32,
    /// The build of assay that made it. Another build may give other keys or other bytes.
    pub build: String,
    pub experiment: String,
    /// The name of its directories.
    pub slot: String,
    /// The experiment file, relative to `directory`.
    pub file: PathBuf,
    /// Values of the command line.
    pub set: Vec<String>,
    /// Where it was planned.
    pub directory: PathBuf,
    pub data_dirs: Vec<PathBuf>,
    /// Digests of data, by the name in messages.
    pub known: BTreeMap<String, Digest>,
    pub responses: ResponsesSpec,
    pub most_trials: usize,
    /// Of the repository of the experiment file.
    pub revision: Option<String>,
    pub dirty: Option<bool>,
    /// Threads of each step.
    pub threads: usize,
    /// The memory limit of a step in bytes.
    pub memory: Option<u64>,
}

/// A step of a plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepAt {
    pub kind: String,
    pub label: String,
    /// The first trial that needs it.
    pub trial: TrialAt,
    /// The seal of a finished step that is rerun although it is current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead_of: Option<Digest>,
    /// Whether it needs the program with tensors.
    pub tensors: bool,
    /// Whether it sends requests to a language model.
    pub llm: bool,
}

/// A plan in a workspace.
#[derive(Clone, Debug)]
pub struct ClusterPlan {
    dir: PathBuf,
    /// Its path in the workspace.
    pub name: String,
    pub about: About,
}

impl About {
    /// Digests of the data that a graph reads, by name. Two data sets of one name are omitted.
    pub fn known(graph: &Graph) -> BTreeMap<String, Digest> {
        let (mut known, mut two) = (BTreeMap::new(), HashSet::new());
        for file in graph.nodes().iter().flat_map(|node| &node.pinned) {
            let before = known.insert(file.what.clone(), file.digest);
            if before.is_some_and(|before| before != file.digest) {
                two.insert(file.what.clone());
            }
        }
        known.retain(|what, _| !two.contains(what));
        known
    }

    /// The version of its fields.
    pub fn version() -> u32 {
        VERSION
    }
}

impl ClusterPlan {
    /// Writes the steps of an experiment. The same plan has the same name.
    pub fn write(
        workspace: &Workspace,
        about: About,
        plan: &Plan,
        forced: &HashSet<StepId>,
    ) -> Result<Self, FileError> {
        let mut steps: Vec<(Digest, StepAt)> = Vec::with_capacity(plan.graph.len());
        for node in plan.graph.nodes() {
            let Some(trial) = node.trials.first() else { continue };
            let instead_of = match forced.contains(&node.id) {
                true => workspace.record(node.kind, &node.key).ok().and_then(|of| of.seal),
                false => None,
            };
            let at = StepAt {
                kind: node.kind.to_owned(),
                label: node.label.clone(),
                trial: plan.trials[*trial].at(),
                instead_of,
                tensors: node.needs_tensors(),
                llm: node.requests(1, 1).is_some(),
            };
            steps.push((node.key, at));
        }
        steps.sort_by_key(|(key, _)| *key);
        // The repository may change while the experiment stays the same.
        let same = About { revision: None, dirty: None, ..about.clone() };
        let id = Digest::of_json(&(same, &steps)).short();
        let name = format!("experiments/{}/{PLANS}/{id}", about.slot);
        let dir = workspace.root().join(&name);
        let of = Self { dir, name, about };
        if of.dir.join("plan.json").is_file() {
            return Ok(of);
        }
        for below in ["failed", "ran", "logs", "stderr"] {
            let path = of.dir.join(below);
            fs::create_dir_all(&path).map_err(io_error(&path))?;
        }
        let mut lines = String::new();
        for (key, step) in &steps {
            let json = serde_json::to_string(step)
                .map_err(|error| io_error(&of.dir)(io::Error::from(error)))?;
            lines.push_str(&format!("{key}\t{json}\n"));
        }
        write_whole(&of.dir.join("steps"), lines.as_bytes())?;
        // Last: a plan that has this file is complete.
        write_json(&of.dir.join("plan.json"), &of.about)?;
        Ok(of)
    }

    /// Reads a plan by its path in the workspace.
    pub fn read(workspace: &Workspace, name: &str) -> Result<Self, FileError> {
        let dir = workspace.root().join(name);
        let path = dir.join("plan.json");
        let about: About = read_json(&path)?;
        match about.version == VERSION {
            true => Ok(Self { dir, name: name.to_owned(), about }),
            false => Err(FileError::Damaged {
                path,
                problem: format!(
                    "it has version {}; this program reads version {VERSION}",
                    about.version
                ),
            }),
        }
    }

    /// The plan with a step, if there is one; of several, that with the last name.
    pub fn find(workspace: &Workspace, key: &Digest) -> Result<Option<Self>, FileError> {
        let entries = |dir: &Path| -> Vec<String> {
            let all = fs::read_dir(dir).into_iter().flatten().flatten();
            let mut names: Vec<String> =
                all.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        let mut found = None;
        for slot in entries(&workspace.path(&["experiments"])) {
            for id in entries(&workspace.path(&["experiments", &slot, PLANS])) {
                let name = format!("experiments/{slot}/{PLANS}/{id}");
                if let Ok(plan) = Self::read(workspace, &name)
                    && plan.step(key)?.is_some()
                {
                    found = Some(plan);
                }
            }
        }
        Ok(found)
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A step; none if the plan does not have it. The file is not read as a whole: it has a line for each of maybe 100,000
    /// steps, and each of them has a process.
    pub fn step(&self, key: &Digest) -> Result<Option<StepAt>, FileError> {
        let path = self.dir.join("steps");
        let damaged = |problem: String| FileError::Damaged { path: path.clone(), problem };
        let wanted = key.to_string();
        let found = open_own(&path).and_then(|file| line_of(file, &wanted));
        match found.map_err(io_error(&path))? {
            None => Ok(None),
            Some(json) => serde_json::from_str(&json)
                .map(Some)
                .map_err(|error| damaged(format!("not readable: {error}"))),
        }
    }

    /// The directory of the logs of its steps.
    pub fn logs(&self) -> PathBuf {
        self.dir.join("logs")
    }

    /// Where the log of a step is written.
    pub fn log(&self, kind: &str, key: &Digest) -> PathBuf {
        self.logs().join(format!("{kind}--{}.log", key.short()))
    }

    /// Where HyperQueue writes what the process of a step prints.
    pub fn stderr(&self, key: &Digest) -> PathBuf {
        self.dir.join("stderr").join(format!("{}.txt", key.short()))
    }

    /// Reports the failure of a step.
    pub fn write_failure(&self, key: &Digest, failed: &FailedElsewhere) -> Result<(), FileError> {
        write_json(&self.dir.join("failed").join(key.to_string()), failed)
    }

    /// Removes the reports of steps that are tried again.
    pub fn forget_failures<'a>(&self, of: impl IntoIterator<Item = &'a Digest>) {
        let listed: HashSet<String> = self.failed().into_iter().collect();
        for key in of.into_iter().map(ToString::to_string).filter(|key| listed.contains(key)) {
            let _ = fs::remove_file(self.dir.join("failed").join(key));
        }
    }

    /// The reports that are not in `known`, which they are added to.
    pub fn new_failures(
        &self,
        graph: &Graph,
        known: &mut HashSet<Digest>,
    ) -> Vec<(StepId, FailedElsewhere)> {
        let mut found = Vec::new();
        for name in self.failed() {
            let Ok(key) = Digest::try_from(name.clone()) else { continue };
            let Some(step) = graph.find(&key) else { continue };
            if known.contains(&key) {
                continue;
            }
            if let Ok(failed) = read_json(&self.dir.join("failed").join(name)) {
                known.insert(key);
                found.push((step, failed));
            }
        }
        found.sort_by_key(|(step, _)| *step);
        found
    }

    fn failed(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join("failed")).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Notes in a file of this machine that a step has begun or ended. Not needed for results; it shows what ran where.
    pub fn note(&self, line: &str) {
        let host = sysinfo::System::host_name().unwrap_or_default();
        let host: String =
            host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let boot = boot_id().unwrap_or_default();
        let path = self.dir.join("ran").join(format!("{host}-{}", boot.get(..8).unwrap_or("")));
        // One write of one line: lines of several processes do not mix.
        let line = format!("{line}\n");
        let _ = open_log(&path).and_then(|mut file| file.write_all(line.as_bytes()));
    }

    /// What language models have cost so far. The caller holds [`Self::purse`].
    /// Nothing, if no step has spent anything; a file that cannot be read is an error, since budgets hold by it.
    pub fn spent(&self) -> Result<Option<Spent>, FileError> {
        match read_json(&self.dir.join("spent.json")) {
            Ok(spent) => Ok(Some(spent)),
            Err(FileError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Adds to what language models have cost. The caller holds [`Self::purse`].
    pub fn spend(&self, more: &Spent) -> Result<(), FileError> {
        let mut spent = self.spent()?.unwrap_or_default();
        spent.add(more);
        write_json(&self.dir.join("spent.json"), &spent)
    }

    /// The name of the lock of the budget: one step at a time sends requests, on whatever machine.
    pub fn purse(&self) -> Digest {
        Digest::of_json(&("purse", &self.name))
    }
}

/// The rest of the line that starts with `key` and a tab, in a file of lines that are sorted by their keys.
fn line_of(file: fs::File, key: &str) -> io::Result<Option<String>> {
    let mut end = file.metadata()?.len();
    let mut start = 0;
    let mut file = BufReader::with_capacity(4096, file);
    while start < end {
        let middle = start + (end - start) / 2;
        // The first line that starts at the middle or after it.
        let mut at = middle;
        if middle > start {
            at -= 1;
            file.seek(SeekFrom::Start(at))?;
            let mut rest = Vec::new();
            at += file.read_until(b'\n', &mut rest)? as u64;
        } else {
            file.seek(SeekFrom::Start(at))?;
        }
        let mut line = String::new();
        if at >= end || file.read_line(&mut line)? == 0 {
            end = middle;
            continue;
        }
        let (found, json) = line.trim_end().split_once('\t').unwrap_or((&line, ""));
        match found.cmp(key) {
            std::cmp::Ordering::Equal => return Ok(Some(json.to_owned())),
            std::cmp::Ordering::Less => start = at + line.len() as u64,
            std::cmp::Ordering::Greater => end = middle,
        }
    }
    Ok(None)
}

/// By step, the steps among `of` that must be finished before it.
pub(super) fn needs(graph: &Graph, of: &[StepId]) -> HashMap<StepId, Vec<StepId>> {
    let among: HashSet<StepId> = of.iter().copied().collect();
    let mut needs = HashMap::with_capacity(of.len());
    for step in of {
        let (mut found, mut seen) = (Vec::new(), HashSet::new());
        let mut next: Vec<StepId> = graph[*step].input_ids().collect();
        while let Some(input) = next.pop() {
            if !seen.insert(input) {
                continue;
            }
            match among.contains(&input) {
                true => found.push(input),
                // It is finished, and may be rerun if one of its own inputs changes.
                false => next.extend(graph[input].input_ids()),
            }
        }
        found.sort_unstable();
        needs.insert(*step, found);
    }
    needs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_found_by_bisection_whatever_their_lengths() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("steps");
        for n in [0usize, 1, 2, 3, 17, 300] {
            let keys: Vec<String> =
                (0..n).map(|at| Digest::of(at.to_string()).to_string()).collect();
            let mut lines: Vec<String> = keys
                .iter()
                .enumerate()
                .map(|(at, key)| format!("{key}\t{}{at}\n", "x".repeat(at * 37 % 5000)))
                .collect();
            lines.sort();
            fs::write(&path, lines.concat()).unwrap();
            let look = |key: &str| line_of(fs::File::open(&path).unwrap(), key).unwrap();
            for (at, key) in keys.iter().enumerate() {
                assert!(look(key).unwrap().ends_with(&at.to_string()), "{at} of {n}");
            }
            for absent in ["", "0", "g", &"f".repeat(64), &Digest::of("absent").to_string()] {
                assert_eq!(look(absent), None, "{absent} of {n}");
            }
        }
    }

    #[test]
    fn a_budget_is_not_taken_for_unspent_if_its_file_cannot_be_read() {
        let dir = tempfile::tempdir().unwrap();
        let about = About {
            version: VERSION,
            build: String::new(),
            experiment: String::new(),
            slot: String::new(),
            file: PathBuf::new(),
            set: Vec::new(),
            directory: PathBuf::new(),
            data_dirs: Vec::new(),
            known: BTreeMap::new(),
            responses: ResponsesSpec::default(),
            most_trials: 1,
            revision: None,
            dirty: None,
            threads: 1,
            memory: None,
        };
        let plan = ClusterPlan { dir: dir.path().to_owned(), name: "plan".into(), about };
        assert_eq!(plan.spent().unwrap(), None);
        let spent = Spent { money: 2.5, ..Spent::default() };
        plan.spend(&spent).unwrap();
        plan.spend(&spent).unwrap();
        assert_eq!(plan.spent().unwrap().unwrap().money, 5.0);
        let path = dir.path().join("spent.json");
        for damaged in ["", "{", "[]"] {
            fs::write(&path, damaged).unwrap();
            assert!(plan.spent().is_err() && plan.spend(&spent).is_err(), "{damaged:?}");
            assert_eq!(fs::read_to_string(&path).unwrap(), damaged, "it is not replaced");
        }
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(plan.spent().is_err(), "not readable");
    }
}

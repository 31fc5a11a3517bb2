//! HyperQueue: one job, with a task for each missing step. Everything goes through the command `hq`; whether steps are finished
//! is read from the workspace, because the JSON of `hq` may change with each of its versions.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    env,
    ffi::OsString,
    fmt::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{ClusterPlan, plan::needs, weight::chains};
use crate::{
    base::{
        files::{read_json, read_text, write_json, write_whole},
        hash::Digest,
        limits::trials_per_gpu,
        terminal::tell,
        text::counted,
    },
    core::{
        FailedElsewhere, FinishedSteps, Graph, Lock, Queue, QueueState, Record, StepId, Workspace,
    },
    llm::Spent,
};

/// The command of HyperQueue, unless it is `hq`.
const PROGRAM: &str = "ASSAY_HQ";
/// How often a task is started again after its worker was lost.
const CRASHES: u32 = 20;
/// Most of what is shown of the output of a step that died.
const MOST_WORDS: usize = 1500;

/// Where a run runs its steps: `hq`, or `hq:SERVER_DIR`.
#[derive(Clone, Debug, PartialEq)]
pub struct On {
    /// HyperQueue's server directory; its own default if there is none.
    pub server: Option<PathBuf>,
}

impl FromStr for On {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "hq" => Ok(Self { server: None }),
            Some(("hq", dir)) if !dir.is_empty() => Ok(Self { server: Some(dir.into()) }),
            _ => Err("expected `hq`, or `hq:SERVER_DIR` with the directory of HyperQueue's server"
                .into()),
        }
    }
}

/// A job that was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Job {
    id: u64,
    /// HyperQueue may have been restarted, and count from 1 again.
    name: String,
    server: Option<PathBuf>,
}

/// A job as HyperQueue lists it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    total: u64,
    ended: u64,
    cancelled: u64,
}

/// A queue of HyperQueue.
pub struct HyperQueue<'a> {
    on: On,
    plan: &'a ClusterPlan,
    workspace: &'a Workspace,
    graph: &'a Graph,
    /// The program that tasks run.
    assay: PathBuf,
    /// Held by the process that submits; another one for the same plan only follows.
    lock: Option<Lock>,
    jobs: Vec<Job>,
    known_failures: HashSet<Digest>,
    is_attached: bool,
    is_cancelled: bool,
}

struct Finished<'a>(&'a Workspace, &'a Graph);

impl FinishedSteps for Finished<'_> {
    fn record(&self, step: StepId) -> Option<Record> {
        let node = &self.1[step];
        self.0.record(node.kind, &node.key).ok()
    }
}

impl<'a> HyperQueue<'a> {
    /// The queue of a server; it must respond, and be able to pass on the paths of the plan.
    pub fn open(
        on: On,
        plan: &'a ClusterPlan,
        workspace: &'a Workspace,
        graph: &'a Graph,
        assay: PathBuf,
    ) -> Result<Self, String> {
        let on = On { server: on.server.map(|dir| std::path::absolute(&dir).unwrap_or(dir)) };
        let of = Self {
            on,
            plan,
            workspace,
            graph,
            assay,
            lock: None,
            jobs: read_json(&plan.dir().join("jobs.json")).unwrap_or_default(),
            known_failures: HashSet::new(),
            is_attached: false,
            is_cancelled: false,
        };
        // Before anything runs.
        of.tasks().paths()?;
        if let Some(node) = graph.nodes().first() {
            of.tasks().stderr(&node.key)?;
        }
        of.list()?;
        Ok(of)
    }

    /// The number of the job that was submitted last, unless someone has cancelled it.
    pub fn job(&self) -> Option<u64> {
        self.jobs.last().map(|job| job.id).filter(|_| !self.is_cancelled)
    }

    fn command(&self, arguments: &[&str]) -> Result<Value, String> {
        let program = env::var_os(PROGRAM).filter(|of| !of.is_empty());
        let program = program.unwrap_or_else(|| OsString::from("hq"));
        let mut command = Command::new(&program);
        if let Some(dir) = &self.on.server {
            command.arg("--server-dir").arg(dir);
        }
        command.args(["--output-mode", "json"]).args(arguments).stdin(Stdio::null());
        let ended = command.output().map_err(|error| {
            format!(
                "cannot run {}: {error}\n  = help: install HyperQueue (docs/CLUSTER.md), or name its command in {PROGRAM}",
                program.to_string_lossy()
            )
        })?;
        let printed = String::from_utf8_lossy(&ended.stdout);
        let value: Option<Value> = serde_json::from_str(printed.trim()).ok();
        let error = value.as_ref().and_then(|value| value["error"].as_str().map(str::to_owned));
        match (ended.status.success(), error, value) {
            (true, None, Some(value)) => Ok(value),
            (_, Some(error), _) => Err(first_line(&error)),
            (false, None, _) => Err(first_line(&String::from_utf8_lossy(&ended.stderr))),
            (true, None, None) => Err(format!(
                "`hq {}` printed no JSON: {}",
                arguments.join(" "),
                first_line(&printed)
            )),
        }
    }

    /// The jobs of the server.
    fn list(&self) -> Result<BTreeMap<(u64, String), Counts>, String> {
        let jobs = self.command(&["job", "list", "--all"])?;
        Ok(read_jobs(&jobs))
    }

    /// The counts of a job that this plan has submitted to this server.
    fn counts(&self, job: &Job) -> Result<Option<Counts>, String> {
        match job.server == self.on.server {
            true => Ok(self.list()?.get(&(job.id, job.name.clone())).copied()),
            false => Ok(None),
        }
    }

    fn name(&self) -> String {
        format!("assay {}", self.plan.name.trim_start_matches("experiments/"))
    }

    fn tasks(&self) -> Tasks<'_> {
        Tasks { name: self.name(), assay: &self.assay, plan: self.plan, workspace: self.workspace }
    }

    fn write_job(&self, steps: &[StepId]) -> Result<PathBuf, String> {
        let finished = Finished(self.workspace, self.graph);
        let text = self.tasks().toml(self.graph, steps, &finished)?;
        let path = self.plan.dir().join(format!("job-{}.toml", self.jobs.len() + 1));
        write_whole(&path, text.as_bytes()).map_err(|error| error.to_string())?;
        Ok(path)
    }
}

impl Queue for HyperQueue<'_> {
    fn submit(&mut self, steps: &[StepId]) -> Result<(), String> {
        if self.lock.is_none() {
            self.lock = self
                .workspace
                .try_lock(&Digest::of_json(&("submits", &self.plan.name)))
                .map_err(|error| error.to_string())?;
            if self.lock.is_none() {
                tell!("note: another `assay run` has submitted this plan; this one only follows");
                return Ok(());
            }
            // It may have been submitted by a process that was killed since.
            self.jobs = read_json(&self.plan.dir().join("jobs.json")).unwrap_or_default();
            if !self.is_attached
                && let Some(job) = self.jobs.last().cloned()
                && let Some(counts) = self.counts(&job)?
                && counts.ended < counts.total
            {
                tell!("note: attached to job {} of HyperQueue, which was submitted before", job.id);
                self.is_attached = true;
                return Ok(());
            }
        }
        self.is_attached = true;
        let keys: Vec<Digest> = steps.iter().map(|step| self.graph[*step].key).collect();
        self.plan.forget_failures(&keys);
        self.known_failures.retain(|key| !keys.contains(key));
        let file = self.write_job(steps)?;
        let file = file.to_str().ok_or("the path of the workspace is no UTF-8")?.to_owned();
        let submitted = self
            .command(&["job", "submit-file", &file])
            .map_err(|error| format!("cannot submit {file}: {error}"))?;
        let id = submitted["id"].as_u64().ok_or(format!(
            "`hq job submit-file` did not print the number of the job: {submitted}"
        ))?;
        self.jobs.push(Job { id, name: self.name(), server: self.on.server.clone() });
        write_json(&self.plan.dir().join("jobs.json"), &self.jobs)
            .map_err(|error| error.to_string())?;
        tell!("submitted {} as job {id} of HyperQueue", counted(steps.len(), "step"));
        let asking = steps.iter().filter(|step| self.graph[**step].requests(1, 1).is_some());
        let asking = asking.count();
        if asking > 0 {
            tell!(
                "note: {} {} to a language model and {} a worker with the resource `llm`: start one of them with \
                 --resource 'llm=sum(1)' and the API key",
                counted(asking, "step"),
                if asking == 1 { "sends requests" } else { "send requests" },
                if asking == 1 { "needs" } else { "need" }
            );
        }
        let on_gpus = steps.iter().filter(|step| self.graph[**step].gpus() > 0).count();
        if on_gpus > 0 {
            tell!(
                "note: {} {} a worker with the resource `gpus/nvidia`, which HyperQueue finds by itself where there is a GPU",
                counted(on_gpus, "step"),
                if on_gpus == 1 { "needs" } else { "need" }
            );
        }
        Ok(())
    }

    fn state(&mut self) -> QueueState {
        if self.lock.is_none() {
            // The process that has submitted it may have died.
            let key = Digest::of_json(&("submits", &self.plan.name));
            return match self.workspace.try_lock(&key) {
                Ok(Some(lock)) => {
                    drop(lock);
                    QueueState::Forgotten
                }
                _ => QueueState::Working,
            };
        }
        let Some(job) = self.jobs.last().cloned() else { return QueueState::Forgotten };
        match self.counts(&job) {
            Err(problem) => QueueState::Silent(problem),
            Ok(None) => QueueState::Forgotten,
            Ok(Some(counts)) if counts.cancelled > 0 => {
                self.is_cancelled = true;
                QueueState::Cancelled
            }
            Ok(Some(counts)) if counts.ended >= counts.total => QueueState::Ended,
            Ok(Some(_)) => QueueState::Working,
        }
    }

    fn failures(&mut self) -> Vec<(StepId, FailedElsewhere)> {
        self.plan.new_failures(self.graph, &mut self.known_failures)
    }

    fn spent(&self) -> Result<Option<Spent>, String> {
        self.plan.spent().map_err(|error| error.to_string())
    }

    fn last_words(&self, step: StepId) -> Option<String> {
        let text = read_text(&self.plan.stderr(&self.graph[step].key), 1 << 20).ok()?;
        let text = text.trim();
        let skipped = text.char_indices().rev().nth(MOST_WORDS).map_or(0, |(at, _)| at);
        (!text.is_empty()).then(|| text[skipped..].to_owned())
    }
}

fn first_line(text: &str) -> String {
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or("no message").to_owned()
}

/// Jobs with their numbers of tasks, from the JSON of `hq job list`.
fn read_jobs(jobs: &Value) -> BTreeMap<(u64, String), Counts> {
    let mut found = BTreeMap::new();
    for job in jobs.as_array().into_iter().flatten() {
        let (Some(id), Some(name)) = (job["id"].as_u64(), job["name"].as_str()) else { continue };
        let of = |state: &str| job["task_stats"][state].as_u64().unwrap_or(0);
        // "aborted" has been told from "canceled" since version 0.26.
        let ended = ["finished", "failed", "canceled", "aborted"].map(of).iter().sum();
        // Before that, tasks whose inputs failed were cancelled, too.
        let is_told_apart = job["task_stats"]["aborted"].is_u64();
        let cancelled = if is_told_apart { of("canceled") } else { 0 };
        let total = job["task_count"].as_u64().unwrap_or(u64::MAX);
        found.insert((id, name.to_owned()), Counts { total, ended, cancelled });
    }
    found
}

/// The file of a job.
struct Tasks<'a> {
    name: String,
    assay: &'a Path,
    plan: &'a ClusterPlan,
    workspace: &'a Workspace,
}

impl Tasks<'_> {
    /// The program, the workspace and the directory of the tasks, as TOML.
    fn paths(&self) -> Result<[String; 3], String> {
        Ok([
            quoted(self.assay)?,
            quoted(self.workspace.root())?,
            quoted(&self.plan.about.directory)?,
        ])
    }

    /// Where a task writes what it prints, as TOML.
    fn stderr(&self, key: &Digest) -> Result<String, String> {
        quoted(&self.plan.stderr(key))
    }

    /// A task for each step, with its inputs among the steps, its resources, and a priority by the length of what follows.
    fn toml(
        &self,
        graph: &Graph,
        steps: &[StepId],
        finished: &dyn FinishedSteps,
    ) -> Result<String, String> {
        let (needs, chains) = (needs(graph, steps), chains(graph, steps));
        let at: HashMap<StepId, usize> =
            steps.iter().enumerate().map(|(at, step)| (*step, at)).collect();
        let [assay, root, directory] = self.paths()?;
        let plan = text(&self.plan.name);
        let mut toml = format!("name = {}\n", text(&self.name));
        for (id, step) in steps.iter().enumerate() {
            let node = &graph[*step];
            let after: Vec<usize> = needs[step].iter().map(|input| at[input]).collect();
            let priority = i32::try_from(chains[step]).unwrap_or(i32::MAX);
            let mut resources = format!("\"cpus\" = {}", self.plan.about.threads);
            let memory = node.resources(finished).memory;
            if memory > 0 {
                let _ = write!(resources, ", \"mem\" = {}", memory.div_ceil(1 << 20));
            }
            if node.gpus() > 0 {
                let share = share_of_gpu(node.gpus(), trials_per_gpu());
                let _ = write!(resources, ", \"gpus/nvidia\" = {share}");
            }
            if node.requests(1, 1).is_some() {
                resources.push_str(", \"llm\" = 1");
            }
            let _ = write!(
                toml,
                "\n[[task]] # {}\nid = {id}\ncommand = [{assay}, \"step\", \"{}\", \"--workspace\", {root}, \"--plan\", \
                 {plan}]\ncwd = {directory}\nstdout = \"none\"\nstderr = {{ path = {}, on_close = \"rm-if-finished\" \
                 }}\ncrash_limit = {CRASHES}\npriority = {priority}\ndeps = {after:?}\n[[task.request]]\nresources = {{ \
                 {resources} }}\n",
                crate::base::terminal::on_one_line(&node.name()),
                node.key,
                self.stderr(&node.key)?,
            );
        }
        Ok(toml)
    }
}

/// The request for a share of a GPU. HyperQueue counts in ten-thousandths; rounded down, so that the trials fit together.
fn share_of_gpu(gpus: u32, trials: usize) -> String {
    match trials {
        1 => gpus.to_string(),
        _ => format!("{:.4}", f64::from(gpus) * (10_000.0 / trials as f64).floor() / 10_000.0),
    }
}

/// A string of TOML.
fn text(of: &str) -> String {
    // JSON escapes what TOML does, but for one character.
    Value::from(of).to_string().replace('\u{7f}', "\\u007F")
}

/// An absolute path as TOML.
fn quoted(path: &Path) -> Result<String, String> {
    let path = std::path::absolute(path).map_err(|error| error.to_string())?;
    let of = path.to_str().ok_or(format!("the path {} is no UTF-8", path.display()))?;
    match of.contains("%{") {
        true => Err(format!(
            "{of}: HyperQueue replaces what follows `%{{` in a path\n  = help: use a path without it"
        )),
        false => Ok(text(of)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_server_is_named_after_a_colon() {
        assert_eq!("hq".parse(), Ok(On { server: None }));
        assert_eq!("hq:/a:b".parse(), Ok(On { server: Some("/a:b".into()) }));
        for wrong in ["", "slurm", "hq:", "HQ"] {
            assert!(wrong.parse::<On>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn jobs_are_counted_with_and_without_aborted_tasks() {
        let stats = |of: Value| json!([{"id": 3, "name": "x", "task_count": 9, "task_stats": of}]);
        let of = |stats: &Value| read_jobs(stats)[&(3, "x".to_owned())];
        let new =
            stats(json!({"finished": 4, "failed": 1, "aborted": 2, "canceled": 0, "running": 2}));
        assert_eq!(of(&new), Counts { total: 9, ended: 7, cancelled: 0 });
        let old = stats(json!({"finished": 4, "failed": 1, "canceled": 4}));
        assert_eq!(of(&old), Counts { total: 9, ended: 9, cancelled: 0 });
        let stopped = stats(json!({"finished": 4, "aborted": 0, "canceled": 5}));
        assert_eq!(of(&stopped).cancelled, 5);
        // Unknown output is no job that has ended.
        assert!(read_jobs(&json!({"jobs": []})).is_empty());
        assert_eq!(read_jobs(&json!([{"id": 3, "name": "x"}]))[&(3, "x".into())].total, u64::MAX);
    }

    #[test]
    fn trials_that_share_a_gpu_fit_together() {
        let of = |trials| share_of_gpu(1, trials);
        assert_eq!([of(1), of(2), of(3), of(7)], ["1", "0.5000", "0.3333", "0.1428"]);
    }

    #[test]
    fn texts_are_quoted_for_toml() {
        assert_eq!(text("a\"b\\c\n"), "\"a\\\"b\\\\c\\n\"");
        assert_eq!(text("\u{7f}"), "\"\\u007F\"");
        assert!(quoted(Path::new("/x/%{JOB_ID}")).is_err());
    }
}

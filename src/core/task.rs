//! A step on its own thread, with a thread pool, a log, a staging directory and a record.

use std::{
    collections::HashSet,
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    Event, Lock, Machine, Node, Record, Reporter, RunContext, StepError,
    context::RunState,
    currency::{Currency, own},
    measure::{process_peak_and_cpu, thread_cpu_seconds},
    record::InputRecord,
    step::Finished,
};
use crate::base::{
    files::open_log,
    panics::caught,
    terminal::{escaped, on_one_line},
};

/// A step to run.
pub(super) struct Task<'a> {
    pub state: &'a RunState<'a>,
    pub node: &'a Node,
    pub threads: usize,
    pub reporter: &'a dyn Reporter,
    pub machine: Machine,
    /// Logs of the trials that need the step.
    pub logs: Vec<PathBuf>,
    /// Whether logs are created only when the step itself logs something: a cluster has a process for each step, and many
    /// steps log nothing.
    pub lazy_logs: bool,
}

/// Logs of a step.
struct Logs<'a> {
    paths: &'a [PathBuf],
    files: Vec<File>,
    /// Lines that are written with the next one.
    pending: String,
    is_open: bool,
}

impl Logs<'_> {
    fn open(&mut self) {
        if !self.is_open {
            self.files = self.paths.iter().filter_map(|path| open_log(path).ok()).collect();
            self.is_open = true;
        }
    }

    fn write(&mut self, line: &str) {
        let text = std::mem::take(&mut self.pending) + line;
        self.files.iter_mut().for_each(|file| drop(file.write_all(text.as_bytes())));
    }
}

impl Task<'_> {
    /// Runs the step; the lock proves that no other process does. Returns the time in seconds.
    pub fn run(&self, lock: &Lock) -> Result<f64, StepError> {
        let pending = String::new();
        let logs = Logs { paths: &self.logs, files: Vec::new(), pending, is_open: false };
        let logs = Mutex::new(logs);
        let started = Instant::now();
        let name = on_one_line(&self.node.name());
        let of_task = |line: &str| {
            format!("{:9.3}s {name}: {}\n", started.elapsed().as_secs_f64(), escaped(line))
        };
        let log = |line: &str| {
            let line = of_task(line);
            if let Ok(mut logs) = logs.lock() {
                logs.open();
                logs.write(&line);
            }
        };
        let first = format!("started with {} threads, key {}", self.threads, self.node.key);
        match self.lazy_logs {
            true => drop(logs.lock().map(|mut logs| logs.pending = of_task(&first))),
            false => log(&first),
        }
        let result = self.work(&log, lock).map_err(|error| match lock.is_lost() {
            true => StepError::Lost,
            false => self.blame(error),
        });
        match &result {
            Ok(_) if logs.lock().is_ok_and(|logs| !logs.is_open) => {}
            Ok(seconds) => log(&format!("finished in {seconds:.3} s")),
            Err(error) => log(&format!("failed: {error}")),
        }
        result
    }

    /// Reports the cost of language models so far, and problems in the files of responses.
    fn report_spent(&self) {
        let Some((spent, notes)) = self.state.spent() else { return };
        for text in notes {
            self.reporter.report(&Event::Warning { text });
        }
        self.reporter.report(&Event::Spent { spent });
    }

    fn work(&self, log: &(dyn Fn(&str) + Sync), lock: &Lock) -> Result<f64, StepError> {
        let started = Instant::now();
        let (node, workspace) = (self.node, self.state.workspace);
        self.verify_files()?;
        let inputs = self.inputs()?;
        let staging = workspace.begin(&node.key)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()
            .map_err(|error| StepError::NoThreads(error.to_string()))?;
        let cpu = || pool.broadcast(|_| thread_cpu_seconds()).iter().sum::<f64>();
        let before = cpu();
        let progress = |done, of| {
            self.reporter.report(&Event::Progress {
                kind: node.kind,
                step: node.label.clone(),
                key: node.key.short(),
                done,
                of,
            });
            self.report_spent();
        };
        let context = RunContext {
            state: self.state,
            step: node.id,
            inputs: &inputs.0,
            progress: &progress,
            log,
        };
        let worked = caught(|| pool.install(|| node.any().run(&context, staging.dir())));
        self.report_spent();
        let Finished { stats, version, warnings } = worked.map_err(StepError::internal)??;
        self.verify_files()?;
        // Another process may have rebuilt an input while it was read.
        if self.inputs()? != inputs {
            return Err(StepError::Changed {
                what: node.name(),
                problem: "one of its inputs was rebuilt while it ran".into(),
            });
        }
        if lock.is_lost() {
            return Err(StepError::Lost);
        }
        let seconds = started.elapsed().as_secs_f64();
        let finished = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            kind: node.kind.to_owned(),
            key: node.key,
            label: node.label.clone(),
            key_inputs: node.key_inputs.clone(),
            inputs: inputs.0,
            earlier: inputs.1,
            stats_version: version,
            stats,
            warnings,
            files: Vec::new(),
            wall_seconds: seconds,
            cpu_seconds: cpu() - before,
            peak_memory_bytes: process_peak_and_cpu().0,
            threads: self.threads,
            finished: finished.as_secs(),
            machine: self.machine.clone(),
            seal: None,
        };
        workspace.commit(staging, record)?;
        workspace.clear_scratch(&node.key);
        Ok(seconds)
    }

    /// Checks that files have not changed since the experiment was planned.
    fn verify_files(&self) -> Result<(), StepError> {
        self.node.pinned.iter().try_for_each(|file| file.verify())
    }

    /// Its direct and indirect inputs with digests of their content.
    fn inputs(&self) -> Result<(Vec<InputRecord>, Vec<InputRecord>), StepError> {
        let (mut inputs, mut earlier): (Vec<InputRecord>, Vec<InputRecord>) = (vec![], vec![]);
        for (name, input) in &self.node.inputs {
            let node = &self.state.graph[*input];
            let record = self.state.workspace.record(node.kind, &node.key)?;
            inputs.push(InputRecord {
                name: name.clone(),
                kind: node.kind.to_owned(),
                key: node.key,
                content: record.content(),
            });
            earlier.extend(record.inputs.into_iter().chain(record.earlier));
        }
        let mut known: HashSet<_> = inputs.iter().map(|of| of.key).collect();
        earlier.retain(|of| known.insert(of.key));
        Ok((inputs, earlier))
    }

    /// Replaces the error if the step failed because an input step is damaged: the new error names the directory to remove,
    /// because a step that counts as done is not rerun.
    fn blame(&self, error: StepError) -> StepError {
        if matches!(error, StepError::Interrupted(_) | StepError::Lost | StepError::Changed { .. })
        {
            return error;
        }
        let text = error.to_string();
        for input in self.node.input_ids() {
            let node = &self.state.graph[input];
            let dir = self.state.workspace.step_dir(node.kind, &node.key);
            let problem = match own(self.state.graph, input, self.state.workspace) {
                Err(Currency::Damaged(problem) | Currency::Outdated(problem)) => problem,
                Err(Currency::Absent) => "it has been removed".into(),
                _ if names(&text, &dir) => {
                    text.split("\n  = help").next().unwrap_or_default().to_owned()
                }
                _ => continue,
            };
            return StepError::Input { step: node.name(), problem, dir };
        }
        error
    }
}

fn names(text: &str, dir: &Path) -> bool {
    text.contains(&dir.display().to_string())
}

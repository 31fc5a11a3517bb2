//! One step on its own thread: a pool of its threads, a log, a staging directory, a record.

use std::{
    fs::File,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Mutex,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use super::{
    StepError,
    steps::{Shared, Voice},
};
use crate::{
    core::{
        Event, Lock, Machine, Record, Reporter,
        measure::{process_peak_and_cpu, thread_cpu_seconds},
    },
    tasks::top_n::plan::Step,
};

/// A step to be done.
pub struct Task<'a> {
    pub shared: &'a Shared<'a>,
    pub step: &'a Step,
    pub threads: usize,
    pub reporter: &'a dyn Reporter,
    pub machine: Machine,
    /// Logs of the trials that go through the step.
    pub log: Vec<PathBuf>,
}

impl Task<'_> {
    /// Does the step; the lock is proof that nobody else does. Returns the seconds it took.
    pub fn run(&self, _lock: &Lock) -> Result<f64, StepError> {
        let logs = Mutex::new(
            self.log
                .iter()
                .filter_map(|path| File::options().create(true).append(true).open(path).ok())
                .collect::<Vec<File>>(),
        );
        let started = Instant::now();
        let (kind, label) = (self.step.kind.name(), &self.step.label);
        let log = |line: &str| {
            let line = format!("{:9.3}s {kind} {label}: {line}\n", started.elapsed().as_secs_f64());
            if let Ok(mut logs) = logs.lock() {
                logs.iter_mut().for_each(|file| drop(file.write_all(line.as_bytes())));
            }
        };
        log(&format!("started with {} threads, key {}", self.threads, self.step.key));
        let result = self.work(&log);
        match &result {
            Ok(seconds) => log(&format!("finished in {seconds:.3} s")),
            Err(error) => log(&format!("failed: {error}")),
        }
        result
    }

    /// What language models cost so far, and what was wrong with their answers' files.
    fn tell_spent(&self) {
        let Some((spent, notes)) = self.shared.spent() else { return };
        for text in notes {
            self.reporter.report(&Event::Warning { text });
        }
        self.reporter.report(&Event::Spent { spent });
    }

    fn work(&self, log: &(dyn Fn(&str) + Sync)) -> Result<f64, StepError> {
        let started = Instant::now();
        let workspace = self.shared.workspace;
        let staging = workspace.begin(&self.step.key)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(self.threads)
            .build()
            .map_err(|error| StepError::Panic(error.to_string()))?;
        let cpu = || pool.broadcast(|_| thread_cpu_seconds()).iter().sum::<f64>();
        let before = cpu();
        let progress = |done, of| {
            self.reporter.report(&Event::Progress {
                kind: self.step.kind.name(),
                step: self.step.label.clone(),
                key: self.step.key.short(),
                done,
                of,
            });
            self.tell_spent();
        };
        let voice = Voice { progress: &progress, log };
        let worked = catch_unwind(AssertUnwindSafe(|| {
            pool.install(|| self.shared.work(self.step, staging.dir(), &voice))
        }));
        self.tell_spent();
        let facts = worked.map_err(|panic| {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or_else(|| panic.downcast_ref::<&str>().map(|m| (*m).to_owned()));
            StepError::Panic(message.unwrap_or_else(|| "no message".into()))
        })??;
        let seconds = started.elapsed().as_secs_f64();
        let finished = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let record = Record {
            kind: self.step.kind.name().to_owned(),
            key: self.step.key,
            label: self.step.label.clone(),
            material: self.step.material.clone(),
            facts,
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
        workspace.clear_scratch(&self.step.key);
        Ok(seconds)
    }
}

//! What to run, on what, with what.

use serde::Serialize;

use super::{Source, duration};
use crate::{
    base::text::{distinct, shell_word},
    tasks::shared::steps::SplitStats,
};

#[derive(Serialize)]
pub struct Provenance {
    /// What reproduces the numbers.
    pub commands: Vec<String>,
    pub settings: Vec<Setting>,
    pub evaluations: Vec<(String, String)>,
    pub systems: Vec<System>,
    pub run: Option<Run>,
    /// Files that the experiment consists of.
    pub sources: Vec<String>,
    /// Files that steps read, with their digests.
    pub inputs: Vec<(String, String)>,
    /// Files beside the page: name, and what is in it.
    pub files: Vec<(String, String)>,
    pub version: &'static str,
}

/// Data, split and rules of a variant.
#[derive(Serialize)]
pub struct Setting {
    pub label: String,
    pub data: String,
    pub data_hash: String,
    pub filters: Vec<String>,
    pub split: String,
    pub split_hash: String,
    pub seeds: Vec<u64>,
    pub relevant: String,
    pub ties: String,
    pub fallback: String,
    pub folds: Vec<Fold>,
}

#[derive(Serialize)]
pub struct Fold {
    pub fold: String,
    pub sizes: Option<SplitStats>,
    pub split_hash: String,
}

#[derive(Serialize)]
pub struct System {
    pub name: String,
    pub describe: String,
    pub model: String,
    pub parameters: Vec<(String, String)>,
}

/// The last run and its machine.
#[derive(Serialize)]
pub struct Run {
    pub id: String,
    pub wall: String,
    pub threads: usize,
    pub steps_done: usize,
    pub steps_reused: usize,
    pub memory: u64,
    pub revision: Option<String>,
    pub dirty: bool,
    pub assay: String,
    pub program: String,
    pub cpu: String,
    pub cores: usize,
    pub os: String,
    pub libraries: Vec<(String, String)>,
}

/// `{alpha: 2, epochs: 20}` as a reader of the experiment file knows it.
fn plain(value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none".into(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(", "))
        }
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| match value {
                Value::Object(_) => format!("{name}: {{{}}}", plain(value)),
                value => format!("{name}: {}", plain(value)),
            })
            .collect::<Vec<_>>()
            .join(", "),
        value => value.to_string(),
    }
}

/// The experiment as commands name it: its file, and what was set on the command line.
pub(super) fn named(source: &Source) -> String {
    let experiment = source.experiment;
    let sets = experiment.overrides.iter().map(|set| format!(" --set {}", shell_word(set)));
    format!("{}{}", shell_word(&experiment.path), sets.collect::<String>())
}

impl Provenance {
    pub fn new(source: &Source, files: Vec<(String, String)>) -> Self {
        let (experiment, workspace) = (source.experiment, source.workspace);
        let named = named(source);
        let settings = experiment.variants.iter().enumerate().map(|(at, variant)| {
            let (mut folds, mut known, mut filters) = (Vec::new(), Vec::new(), Vec::new());
            for trial in experiment.trials.iter().filter(|trial| trial.variant == at) {
                if known.contains(&trial.split) {
                    continue;
                }
                known.push(trial.split);
                filters.extend(
                    experiment.filters(workspace, trial.split).iter().map(ToString::to_string),
                );
                let stats = source.record(trial.split).and_then(|of| of.stats::<SplitStats>().ok());
                folds.push(Fold {
                    fold: trial.fold.clone(),
                    split_hash: stats
                        .as_ref()
                        .and_then(|of| of.split_hash.as_ref())
                        .map(|of| of.short())
                        .unwrap_or_default(),
                    sizes: stats,
                });
            }
            let mut filters = distinct(filters.iter().map(String::as_str));
            // What was removed, or the rules alone where the folds are gone.
            if filters.is_empty() && !variant.rules.filter.is_empty() {
                filters.push(variant.rules.filter.clone());
            }
            Setting {
                label: variant.label.clone(),
                data: variant.data.clone(),
                data_hash: variant.data_digest.to_string(),
                filters,
                split: plain(&variant.split),
                split_hash: variant.split_digest.to_string(),
                seeds: variant.seeds.clone(),
                relevant: variant.rules.relevant.clone(),
                ties: variant.rules.ties.clone(),
                fallback: variant.rules.fallback.clone(),
                folds,
            }
        });
        let mut systems: Vec<System> = Vec::new();
        for system in experiment.variants.iter().flat_map(|variant| &variant.systems) {
            if systems.iter().any(|of| of.name == system.name) {
                continue;
            }
            let fields = system.settings.as_object().into_iter().flatten();
            let parameters = fields
                .filter(|(name, _)| *name != "model")
                // Every candidate in full; the section on tuning has them.
                .filter(|(name, _)| !["candidates", "labels"].contains(&name.as_str()))
                .map(|(name, value)| (name.clone(), plain(value)));
            systems.push(System {
                name: system.name.clone(),
                describe: system.describe.clone(),
                model: system.model.clone(),
                parameters: parameters.collect(),
            });
        }
        let mut evaluations: Vec<(String, String)> = Vec::new();
        for of in experiment.variants.iter().flat_map(|variant| &variant.evaluations) {
            let name = format!("{} · {} · k = {}", of.protocol, of.convention, of.k);
            let pair = (name, of.fingerprint.clone());
            if !evaluations.contains(&pair) {
                evaluations.push(pair);
            }
        }
        let run = source.run.map(|run| Run {
            id: run.run.clone(),
            wall: duration(run.wall_seconds),
            threads: run.threads,
            steps_done: run.steps_done,
            steps_reused: run.steps_reused,
            memory: run.peak_memory_bytes >> 20,
            revision: run.machine.revision.as_ref().map(|of| of.chars().take(12).collect()),
            dirty: run.machine.dirty == Some(true),
            assay: run.machine.assay.clone(),
            program: run.machine.program.clone(),
            cpu: run.machine.cpu.clone(),
            cores: run.machine.cores,
            os: run.machine.os.clone(),
            libraries: run.machine.libraries.clone(),
        });
        let inputs = source.run.iter().flat_map(|run| &run.files);
        Self {
            commands: vec![
                format!("assay run {named}"),
                format!("assay results {named} --intervals"),
                format!("assay audit {named}"),
            ],
            settings: settings.collect(),
            evaluations,
            systems,
            run,
            sources: experiment.sources.iter().map(|(path, _)| path.clone()).collect(),
            inputs: inputs.map(|of| (of.what.clone(), of.digest.short())).collect(),
            files,
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

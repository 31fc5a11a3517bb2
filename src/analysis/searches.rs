//! Trials of searches: the settings that were tried, and the chosen ones.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{
    core::{Currencies, Currency, StepId, Workspace},
    tasks::{
        ExperimentRecord,
        top_n::{models::ModelDef, search::read_trials},
    },
};

/// One trial of a search in one fold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SearchRow {
    pub experiment: String,
    pub system: String,
    pub fold: String,
    /// In the order in which they are tried, from 1.
    pub trial: usize,
    /// Fields of the experiment file and their values.
    pub settings: Map<String, Value>,
    pub metric: String,
    pub k: usize,
    /// The metric on the search's validation part; none if fitting failed.
    pub validation: Option<f64>,
    /// Epochs of the final fit with these settings, where they depend on what was measured.
    pub epochs: Option<usize>,
    pub chosen: bool,
    /// Why fitting failed.
    pub failed: Option<String>,
}

/// Trials of all searches of an experiment.
pub struct Searches {
    pub rows: Vec<SearchRow>,
    /// Searches without a result: system and fold, and why if they are damaged.
    pub missing: Vec<String>,
    /// Whether a system has a search.
    pub any: bool,
}

/// Reads the trials of all finished searches.
pub fn searches(record: &ExperimentRecord, workspace: &Workspace) -> Searches {
    let currencies = Currencies::new(record, workspace);
    let mut found = Searches { rows: Vec::new(), missing: Vec::new(), any: false };
    let mut done: Vec<(&str, &str)> = Vec::new();
    for trial in &record.trials {
        let Some(search) = record.system(trial).search() else { continue };
        if done.contains(&(&trial.name, &trial.fold)) {
            continue;
        }
        done.push((&trial.name, &trial.fold));
        found.any = true;
        // A program has no fit.
        let inputs = &record.steps[trial.fit.unwrap_or(trial.predictions)].inputs;
        let step = inputs.iter().copied().find(|step| record.steps[*step].kind == "search");
        let label = format!("{} {}", trial.name, trial.fold);
        let Some(step) = step else { continue };
        match currencies.of(StepId::new(step)) {
            Currency::Current => {}
            Currency::Absent => {
                found.missing.push(label);
                continue;
            }
            Currency::Damaged(problem) | Currency::Outdated(problem) => {
                found.missing.push(format!("{label} (damaged: {problem})"));
                continue;
            }
        }
        let trials = match read_trials(&record.dir(workspace, step)) {
            Ok(trials) => trials,
            Err(error) => {
                found.missing.push(format!("{label} (damaged: {error})"));
                continue;
            }
        };
        let spec = &search["spec"];
        let (Some(metric), Some(k)) = (spec["metric"].as_str(), spec["k"].as_u64()) else {
            found.missing.push(format!("{label} (damaged: its record has no metric)"));
            continue;
        };
        for (at, of) in trials.into_iter().enumerate() {
            found.rows.push(SearchRow {
                experiment: record.name.clone(),
                system: trial.name.clone(),
                fold: trial.fold.clone(),
                trial: at + 1,
                settings: values(search, at),
                metric: metric.to_owned(),
                k: k as usize,
                validation: of.value,
                epochs: of.epochs,
                chosen: of.chosen,
                failed: of.failed,
            });
        }
    }
    found
}

/// The searched fields of a trial as the file gives them, with the names they have in files.
fn values(search: &Value, at: usize) -> Map<String, Value> {
    let def = search["candidates"][at]["model"].as_str().and_then(ModelDef::find);
    let over = search["spec"]["over"].as_object();
    let fields: Vec<&String> = over.into_iter().flat_map(|over| over.keys()).collect();
    let mut rest = search["labels"][at].as_str().unwrap_or_default();
    let mut values = Map::new();
    // `alpha=1, iterations=2`: a value ends where the next field begins.
    for (n, field) in fields.iter().enumerate() {
        rest = rest.strip_prefix(&format!("{field}=")).unwrap_or(rest);
        let end = fields.get(n + 1).and_then(|next| rest.find(&format!(", {next}=")));
        let (text, more) = rest.split_at(end.unwrap_or(rest.len()));
        rest = more.strip_prefix(", ").unwrap_or(more);
        let value = serde_yaml::from_str(text).unwrap_or_else(|_| Value::from(text));
        values.insert(def.map_or(field.as_str(), |def| def.file_name(field)).to_owned(), value);
    }
    values
}

impl SearchRow {
    /// `factors=64, training.learning_rate=0.01`
    pub fn settings_text(&self) -> String {
        let text = |value: &Value| match value {
            Value::String(text) => text.clone(),
            value => value.to_string(),
        };
        let fields = self.settings.iter().map(|(field, value)| format!("{field}={}", text(value)));
        fields.collect::<Vec<_>>().join(", ")
    }
}

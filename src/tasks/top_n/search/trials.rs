//! Trials of a search, the one that is chosen, and their file.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use crate::{base::files::write_whole, tasks::top_n::models::ModelError};

/// The result of a trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchTrial {
    pub settings: String,
    /// The metric on the validation part; none if fitting failed.
    pub value: Option<f64>,
    /// Why fitting failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Epochs after which the model was what was measured, where the settings alone do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// The learning rate of each of them, where it changed on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<f64>>,
    pub chosen: bool,
}

/// Statistics of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchSummary {
    pub search_trials: usize,
    pub search_best: SearchBest,
}

/// The settings that a search chose, and their metric on the validation part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchBest {
    pub settings: String,
    pub validation: f64,
}

impl SearchSummary {
    /// Of trials one of which is chosen.
    pub fn of(trials: &[SearchTrial]) -> Result<Self, ModelError> {
        let best = &trials[chosen_of(trials)?];
        let validation = best.value.ok_or_else(|| {
            ModelError::Unsuitable(format!(
                "the trial `{}` is chosen without a value",
                best.settings
            ))
        })?;
        let search_best = SearchBest { settings: best.settings.clone(), validation };
        Ok(Self { search_trials: trials.len(), search_best })
    }
}

/// The file of trials beside the model that was chosen.
pub const TRIALS: &str = "search.json";

/// Marks the trial with the highest value; of equal ones the first.
pub(in crate::tasks::top_n) fn choose(trials: &mut [SearchTrial]) -> Result<(), ModelError> {
    let best = trials.iter().enumerate().filter_map(|(at, trial)| Some((at, trial.value?))).fold(
        None,
        |best: Option<(usize, f64)>, (at, value)| match best {
            Some((_, highest)) if highest >= value => best,
            _ => Some((at, value)),
        },
    );
    let Some((best, _)) = best else {
        let why = trials.iter().find_map(|trial| trial.failed.clone()).unwrap_or_default();
        return Err(ModelError::Unsuitable(format!(
            "no trial of the search could be fitted: {why}"
        )));
    };
    trials[best].chosen = true;
    Ok(())
}

/// The trial that was chosen.
pub(in crate::tasks::top_n) fn chosen_of(trials: &[SearchTrial]) -> Result<usize, ModelError> {
    let chosen = trials.iter().position(|trial| trial.chosen);
    chosen.ok_or_else(|| ModelError::Unsuitable(format!("no trial in {TRIALS} is chosen")))
}

/// Reads what [`write_trials`] wrote into `dir`.
pub fn read_trials(dir: &Path) -> Result<Vec<SearchTrial>, ModelError> {
    let path = dir.join(TRIALS);
    let text = fs::read_to_string(&path)
        .map_err(|source| ModelError::Io { path: path.clone(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| ModelError::Malformed { path, problem: error.to_string() })
}

/// Writes the results of all trials.
pub fn write_trials(path: &Path, trials: &[SearchTrial]) -> Result<(), ModelError> {
    let error = |source| ModelError::Io { path: path.to_owned(), source };
    let text = text_of(trials).map_err(error)?;
    write_whole(path, text.as_bytes()).map_err(|problem| error(problem.into_io()))
}

pub(super) fn text_of(trials: &[SearchTrial]) -> std::io::Result<String> {
    let lines: Result<Vec<String>, _> = trials.iter().map(serde_json::to_string).collect();
    Ok(format!("[\n{}\n]\n", lines?.join(",\n")))
}

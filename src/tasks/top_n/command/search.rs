//! A search of a program's settings: the settings that it tries, and the trials that an earlier process finished.

use std::path::Path;

use serde::Serialize;

use super::{CommandParams, Settings};
use crate::{
    base::{
        files::{FileError, io_error, read_memory, write_memory},
        yaml::{
            Diagnostic,
            de::from_node,
            node::{Entry, Node},
        },
    },
    tasks::top_n::search::{SearchSpec, SearchTrial, chosen_of},
};

/// The settings that a search tries.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CommandSearch {
    pub spec: SearchSpec,
    /// By trial, what it sets, as text.
    pub labels: Vec<String>,
    /// By trial, all settings; there is at least one.
    pub candidates: Vec<Settings>,
}

impl CommandSearch {
    /// A candidate for every trial of a `search:`.
    pub(in crate::tasks::top_n) fn read(
        parameters: &Node,
        search: &Entry,
        directory: &Path,
    ) -> Result<Self, Diagnostic> {
        let at = &search.value.at;
        let spec: SearchSpec = from_node(&search.value)?;
        spec.validate().map_err(|message| Diagnostic::at(at, message))?;
        if let Some(field) = spec.over.keys().find(|field| !field.starts_with("params.")) {
            return Err(Diagnostic::at(at, format!("a search of a program cannot try `{field}`"))
                .expected("its settings: `params.factors`"));
        }
        let (mut labels, mut candidates) = (Vec::new(), Vec::new());
        for levels in spec.levels() {
            let mut node = parameters.clone();
            let mut label = Vec::new();
            for (field, value) in levels {
                let text = serde_yaml::to_string(&value).unwrap_or_default();
                label.push(format!("{field}={}", text.trim()));
                let path: Vec<&str> = field.split('.').collect();
                node.put(&path, Node::of_yaml(&value, at), at)?;
            }
            let label = label.join(", ");
            if labels.contains(&label) {
                return Err(Diagnostic::at(at, format!("the search tries `{label}` twice"))
                    .help("remove one of the equal values"));
            }
            candidates.push(CommandParams::read(&node, directory)?.params);
            labels.push(label);
        }
        Ok(Self { spec, labels, candidates })
    }

    /// The settings that were chosen.
    pub fn chosen(&self, trials: &[SearchTrial]) -> Option<&Settings> {
        self.candidates.get(chosen_of(trials).ok()?)
    }

    /// Keeps finished trials for the next process.
    pub fn remember(&self, path: &Path, trials: &[SearchTrial]) -> Result<(), FileError> {
        let content = serde_json::to_vec(trials).map_err(|error| io_error(path)(error.into()))?;
        write_memory(path, &content)
    }

    /// The trials that an earlier process finished.
    pub fn remembered(&self, path: &Path, log: &dyn Fn(&str)) -> Vec<SearchTrial> {
        let read = || -> Result<Vec<SearchTrial>, String> {
            let Some(content) = read_memory(path)? else { return Ok(Vec::new()) };
            let trials: Vec<SearchTrial> =
                serde_json::from_slice(&content).map_err(|error| error.to_string())?;
            let is_ours = trials.len() <= self.labels.len()
                && trials.iter().zip(&self.labels).all(|(trial, label)| trial.settings == *label);
            if is_ours { Ok(trials) } else { Err("it is of another search".into()) }
        };
        read().unwrap_or_else(|problem| {
            log(&format!("warning: {}: {problem}; the search starts again", path.display()));
            Vec::new()
        })
    }
}

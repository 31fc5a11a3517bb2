//! The parts of an experiment file about texts and language models.

use std::path::Path;

use super::{experiment::System, rerank::JudgeName};
use crate::{
    base::yaml::{
        Diagnostic,
        de::from_node,
        node::{Entry, Mapping},
    },
    llm::{EndpointSpec, ResponsesSpec},
    tasks::shared::place_of,
    text::{MetadataSpec, ProfilesSpec},
};

/// Profiles, metadata and endpoints of an experiment.
pub(super) struct Texts {
    pub profiles: Vec<(String, ProfilesSpec)>,
    pub metadata: MetadataSpec,
    pub endpoints: Vec<(String, EndpointSpec)>,
    pub responses: ResponsesSpec,
}

impl Texts {
    pub fn read(mapping: &Mapping, directory: &Path) -> Result<Self, Diagnostic> {
        let entries = |key: &str| -> Result<Vec<Entry>, Diagnostic> {
            match mapping.get(key) {
                Some(entry) => Ok(entry.value.mapping(key)?.entries().to_vec()),
                None => Ok(Vec::new()),
            }
        };
        let mut endpoints = Vec::new();
        for entry in entries("endpoints")? {
            let endpoint: EndpointSpec = from_node(&entry.value)?;
            endpoint.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
            if JudgeName::from(entry.key.clone()).is_control() {
                return Err(Diagnostic::at(
                    &entry.value.at,
                    format!(
                        "an endpoint cannot have the name `{}`: rerankers have a judge of this name",
                        entry.key
                    ),
                )
                .expected("another name"));
            }
            endpoints.push((entry.key, endpoint));
        }
        let mut responses = ResponsesSpec::default();
        if let Some(entry) = mapping.get("responses") {
            responses = from_node(&entry.value)?;
            responses
                .validate(&endpoints)
                .map_err(|message| Diagnostic::at(&entry.value.at, message))?;
        }
        let mut profiles = Vec::new();
        for entry in entries("profiles")? {
            let spec = ProfilesSpec::read(&entry.value, directory)?;
            for judge in spec.endpoints() {
                if !endpoints.iter().any(|(name, _)| name == judge) {
                    return Err(Diagnostic::at(
                        &entry.value.at,
                        format!("unknown endpoint `{judge}`"),
                    )
                    .expected("one of the experiment's `endpoints`")
                    .suggest(judge, endpoints.iter().map(|(name, _)| &name[..])));
                }
            }
            profiles.push((entry.key, spec));
        }
        let mut metadata = MetadataSpec::default();
        if let Some(entry) = mapping.get("metadata") {
            metadata = from_node(&entry.value)?;
            metadata.directory = directory.to_owned();
            if let Some(tmdb) = &metadata.tmdb {
                tmdb.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
            }
        }
        Ok(Self { profiles, metadata, endpoints, responses })
    }

    /// Every system that uses texts must name profiles of the experiment.
    pub fn check(&self, systems: &[System], entry: &Entry) -> Result<(), Diagnostic> {
        for system in systems {
            let Some(text) = system.model.text() else { continue };
            let known = || self.profiles.iter().map(|(name, _)| &name[..]);
            if known().any(|name| name == text.profiles) {
                continue;
            }
            let at = place_of(&system.name, entry)?;
            let error = Diagnostic::at(
                at,
                format!("the system `{}` needs the profiles `{}`", system.name, text.profiles),
            );
            return Err(match self.profiles.is_empty() {
                true => {
                    error.expected("`profiles:` in the experiment, e.g. `{mine: {from: template}}`")
                }
                false => error
                    .expected(format!("one of {}", known().collect::<Vec<_>>().join(", ")))
                    .suggest(&text.profiles, known()),
            });
        }
        Ok(())
    }
}

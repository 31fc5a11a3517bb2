//! What an experiment file says of texts and language models.

use std::path::Path;

use super::{
    experiment::{System, place_of},
    rerank::JudgeName,
};
use crate::{
    base::yaml::{
        Diagnostic,
        de::from_node,
        node::{Entry, Mapping},
    },
    llm::{AnswersSpec, JudgeSpec},
    text::{MetadataSpec, ProfilesSpec},
};

/// What an experiment says of texts and language models.
pub(super) struct Texts {
    pub profiles: Vec<(String, ProfilesSpec)>,
    pub metadata: MetadataSpec,
    pub judges: Vec<(String, JudgeSpec)>,
    pub answers: AnswersSpec,
}

impl Texts {
    pub fn read(mapping: &Mapping, directory: &Path) -> Result<Self, Diagnostic> {
        let entries = |key: &str| -> Result<Vec<Entry>, Diagnostic> {
            match mapping.get(key) {
                Some(entry) => Ok(entry.value.mapping(key)?.entries().to_vec()),
                None => Ok(Vec::new()),
            }
        };
        let mut judges = Vec::new();
        for entry in entries("judges")? {
            let judge: JudgeSpec = from_node(&entry.value)?;
            judge.validate().map_err(|message| Diagnostic::at(&entry.value.at, message))?;
            if JudgeName::from(entry.key.clone()).is_control() {
                return Err(Diagnostic::at(
                    &entry.value.at,
                    format!(
                        "a judge cannot be called `{}`: that is a control of rerankers",
                        entry.key
                    ),
                )
                .expected("another name"));
            }
            judges.push((entry.key, judge));
        }
        let mut answers = AnswersSpec::default();
        if let Some(entry) = mapping.get("answers") {
            answers = from_node(&entry.value)?;
            answers
                .validate(&judges)
                .map_err(|message| Diagnostic::at(&entry.value.at, message))?;
        }
        let mut profiles = Vec::new();
        for entry in entries("profiles")? {
            let spec = ProfilesSpec::read(&entry.value, directory)?;
            for judge in spec.judges() {
                if !judges.iter().any(|(name, _)| name == judge) {
                    return Err(Diagnostic::at(
                        &entry.value.at,
                        format!("unknown judge `{judge}`"),
                    )
                    .expected("one of the experiment's `judges`")
                    .suggest(judge, judges.iter().map(|(name, _)| &name[..])));
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
        Ok(Self { profiles, metadata, judges, answers })
    }

    /// Every system that wants texts must find them.
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
                format!("the system `{}` wants the profiles `{}`", system.name, text.profiles),
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

//! Profiles of all items or of all users, and their file.

use std::{collections::BTreeMap, path::Path};

use polars::prelude::{Column, DataFrame};
use serde::{Deserialize, Serialize};

use super::TextError;
use crate::base::parquet;

pub const FILE: &str = "profiles.parquet";

/// The source of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Joined metadata.
    Metadata,
    /// Rule-based.
    Template,
    /// Written by a language model.
    Llm,
    /// A file of the user.
    File,
    /// A review of an interaction.
    Review,
    /// There is no text.
    None,
}

impl Source {
    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Metadata => "metadata",
            Self::Template => "template",
            Self::Llm => "llm",
            Self::File => "file",
            Self::Review => "review",
            Self::None => "none",
        }
    }
}

/// One text for each item or user, in the order of their indices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Profiles {
    pub texts: Vec<Option<String>>,
    pub sources: Vec<Source>,
}

impl Profiles {
    /// Texts that all come from one source, if they exist.
    pub fn all_from(source: Source, texts: Vec<Option<String>>) -> Self {
        let of = |text: &Option<String>| if text.is_some() { source } else { Source::None };
        Self { sources: texts.iter().map(of).collect(), texts }
    }

    /// Number of texts by source.
    pub fn counts(&self) -> BTreeMap<Source, usize> {
        let mut counts = BTreeMap::new();
        for source in &self.sources {
            *counts.entry(*source).or_default() += 1;
        }
        counts
    }

    /// Writes them to the directory of a step.
    pub fn write(&self, dir: &Path, names: &[String]) -> Result<(), TextError> {
        let path = dir.join(FILE);
        let sources: Vec<&str> = self.sources.iter().map(|source| source.name()).collect();
        let frame = DataFrame::new(
            names.len(),
            vec![
                Column::new("id".into(), names),
                Column::new("source".into(), sources),
                Column::new("text".into(), &self.texts),
            ],
        );
        let written = frame.map_err(parquet::to_io);
        written
            .and_then(|mut frame| parquet::write(&path, &mut frame))
            .map_err(|source| TextError::Io { path, source })
    }

    /// Reads the file of [`Profiles::write`].
    pub fn read(dir: &Path) -> Result<Self, TextError> {
        let path = dir.join(FILE);
        let read = || -> std::io::Result<Self> {
            let frame = parquet::read(&path)?;
            let texts = frame.column("text").and_then(|c| c.str()).map_err(parquet::to_io)?;
            let sources = frame.column("source").and_then(|c| c.str()).map_err(parquet::to_io)?;
            let source = |name: &str| match name {
                "metadata" => Source::Metadata,
                "template" => Source::Template,
                "llm" => Source::Llm,
                "file" => Source::File,
                "review" => Source::Review,
                _ => Source::None,
            };
            Ok(Self {
                texts: texts.iter().map(|text| text.map(str::to_owned)).collect(),
                sources: sources.iter().map(|name| source(name.unwrap_or_default())).collect(),
            })
        };
        read().map_err(|source| TextError::Io { path: path.clone(), source })
    }
}

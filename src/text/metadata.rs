//! Metadata of items: from the catalogue of the data set, a file, or The Movie Database.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{TextError, import, spec::locate, tmdb::TmdbSpec};
use crate::{
    core::Pinned,
    data::{Catalogue, DataDirs, DataError, Ids, cells::field_values},
};

/// Metadata of one item, without generated text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ItemFacts {
    pub title: Option<String>,
    pub genres: Vec<String>,
    pub overview: Option<String>,
}

impl ItemFacts {
    /// The title, or the item's identifier.
    pub fn name<'a>(&'a self, id: &'a str) -> &'a str {
        self.title.as_deref().unwrap_or(id)
    }
}

/// Metadata in addition to the catalogue of the data set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MetadataSpec {
    /// A table with one row per item: CSV, TSV or Parquet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    /// The column of identifiers.
    #[serde(default = "item")]
    pub id: String,
    /// The column of titles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The column of genres, separated by `|` or commas.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub genres: Option<String>,
    /// The column of overviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overview: Option<String>,
    /// Overviews from The Movie Database, by title and year.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tmdb: Option<TmdbSpec>,
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

fn item() -> String {
    "item".into()
}

impl MetadataSpec {
    /// The part of a step's key, and the file it names.
    pub fn key_inputs(&self, dirs: &DataDirs) -> Result<(Value, Option<Pinned>), DataError> {
        let mut inputs = json!(self);
        let Some(file) = &self.file else { return Ok((inputs, None)) };
        let path = locate(file, &self.directory, dirs)?;
        let pinned = Pinned::file(path.clone()).map_err(|error| DataError::io(&path, error))?;
        inputs["content"] = json!(pinned.digest);
        Ok((inputs, Some(pinned)))
    }

    /// Metadata of the catalogue, replaced by those of the file if it has some. Overviews of TMDB are added later.
    pub fn facts(
        &self,
        catalogue: &Catalogue,
        items: &Ids,
        dirs: &DataDirs,
    ) -> Result<Vec<ItemFacts>, TextError> {
        let of = |column: &Vec<Option<String>>, at: usize| column.get(at).cloned().flatten();
        let mut facts: Vec<ItemFacts> = (0..items.len())
            .map(|at| ItemFacts {
                title: of(&catalogue.titles, at),
                genres: of(&catalogue.genres, at).map(|g| split_genres(&g)).unwrap_or_default(),
                overview: of(&catalogue.overviews, at),
            })
            .collect();
        let Some(file) = &self.file else { return Ok(facts) };
        let table = import::read_table(&locate(file, &self.directory, dirs)?)?;
        let read = |name: &Option<String>| match name {
            Some(name) => import::column(&table, &self.id, name, items).map(|(texts, _)| texts),
            None => Ok(vec![None; items.len()]),
        };
        let (titles, genres, overviews) =
            (read(&self.title)?, read(&self.genres)?, read(&self.overview)?);
        for (at, fact) in facts.iter_mut().enumerate() {
            if let Some(title) = &titles[at] {
                fact.title = Some(title.clone());
            }
            if let Some(genres) = &genres[at] {
                fact.genres = split_genres(genres);
            }
            if let Some(overview) = &overviews[at] {
                fact.overview = Some(overview.clone());
            }
        }
        Ok(facts)
    }
}

fn split_genres(genres: &str) -> Vec<String> {
    field_values(genres).into_iter().map(str::to_owned).collect()
}

//! `profiles:` and `text:` of an experiment.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    import::FileSpec,
    reviewed::ReviewedItems,
    written::{WriteItems, WriteUsers},
};
use crate::{
    base::yaml::{
        Diagnostic,
        de::from_node,
        node::{Node, Value, refuse_unknown_keys},
    },
    nn::EncoderSpec,
};

/// The text features of a model: profiles by name, and their encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextSpec {
    /// One of the experiment's `profiles`.
    pub profiles: String,
    #[serde(default)]
    pub encoder: EncoderSpec,
    /// Only for `gat`: whether embeddings are initial values that are trained with the model (true), or fixed features
    /// (false).
    #[serde(default, skip_serializing_if = "is_false")]
    pub train: bool,
}

fn is_false(value: &bool) -> bool {
    !value
}

impl TextSpec {
    /// Checks it for a model that does not train embeddings.
    pub fn validate_fixed(&self) -> Result<(), String> {
        if self.train {
            return Err("`train: true` applies only to the model `gat`".into());
        }
        self.encoder.validate()
    }
}

/// Where the profiles of items and of users come from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct ProfilesSpec {
    pub items: ItemProfiles,
    pub users: UserProfiles,
}

/// Where profiles of items come from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum ItemProfiles {
    /// Joined title, genres and overview ("integrated").
    Metadata,
    /// Rule-based profiles in the schema, from metadata: the baseline for language models.
    Template(TemplateItems),
    /// Written by a language model from title, genres and overview.
    Llm(WriteItems),
    /// Taken from a file.
    File(FileSpec),
}

/// Rule-based profiles of items.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateItems {
    /// Adds training ratings and reviews of training interactions; the data set must have reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviews: Option<ReviewedItems>,
}

impl ItemProfiles {
    /// What of the reviews of training interactions they contain.
    pub fn reviews(&self) -> Option<ReviewedItems> {
        match self {
            Self::Template(template) => template.reviews,
            Self::Llm(write) => write.reviews,
            Self::Metadata | Self::File(_) => None,
        }
    }
}

/// Where profiles of users come from.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "from", rename_all = "kebab-case")]
pub enum UserProfiles {
    /// Joined titles of liked and disliked training items.
    Metadata,
    /// Rule-based profiles in the schema, from the profiles of liked and disliked training items.
    Template,
    /// Written by a language model, refined in turns over liked and disliked training items.
    Llm(WriteUsers),
    /// Taken from a file.
    File(ImportedUsers),
    /// No text: the mean of the vectors of the items liked in training.
    Mean,
}

/// User profiles of a file, and the data they were written from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ImportedUsers {
    #[serde(flatten)]
    pub file: FileSpec,
    /// The fold whose training part they were written from, or `no-ratings`. In other folds they contain test ratings, and
    /// are refused.
    pub built_from: String,
    /// Allows them in other folds; results are then marked.
    #[serde(default)]
    pub accept_leak: bool,
}

impl ProfilesSpec {
    /// Reads one entry of `profiles:`: `{from: X}` for both, or `{items: {from: X}, users: {from: Y}}`.
    pub fn read(node: &Node, directory: &Path) -> Result<Self, Diagnostic> {
        let mapping = node.mapping("profiles")?;
        if mapping.get("from").is_some() {
            if let Some(entry) = mapping.get("reviews") {
                return Err(Diagnostic::at(
                    &entry.value.at,
                    "`reviews` is about profiles of items, and this entry is about users, too",
                )
                .expected("`items: {from: template, reviews: {…}}` and `users: {from: mean}`"));
            }
            return Ok(Self { items: items(node, directory)?, users: users(node, directory)? });
        }
        refuse_unknown_keys(mapping, &["items", "users"], "profiles")?;
        let part = |name: &str| {
            mapping.get(name).map(|entry| &entry.value).ok_or_else(|| {
                Diagnostic::at(&node.at, format!("the key `{name}` is missing")).expected(
                    "`{from: template}` for both, or `{items: {from: …}, users: {from: …}}`",
                )
            })
        };
        Ok(Self {
            items: items(part("items")?, directory)?,
            users: users(part("users")?, directory)?,
        })
    }

    /// The endpoints it uses.
    pub fn endpoints(&self) -> Vec<&str> {
        let mut endpoints = Vec::new();
        if let ItemProfiles::Llm(write) = &self.items {
            endpoints.push(&write.endpoint[..]);
        }
        if let UserProfiles::Llm(write) = &self.users {
            endpoints.push(&write.endpoint[..]);
        }
        endpoints
    }
}

/// The value of `from` in a mapping, and the other settings.
fn source(node: &Node) -> Result<(String, Node), Diagnostic> {
    let mut rest = node.mapping("profiles")?.clone();
    let Some(from) = rest.take("from") else {
        return Err(Diagnostic::at(&node.at, "the key `from` is missing")
            .expected("`from:` with metadata, template, llm or file"));
    };
    let name = from.value.text("from")?.to_owned();
    Ok((name, Node { at: from.value.at.clone(), value: Value::Mapping(rest) }))
}

fn refuse_settings(name: &str, settings: &Node) -> Result<(), Diagnostic> {
    let mapping = settings.mapping("profiles")?;
    refuse_unknown_keys(mapping, &["from"], &format!("profiles from {name}"))
}

fn check_reviews(reviews: Option<ReviewedItems>, settings: &Node) -> Result<(), Diagnostic> {
    let checked = reviews.map_or(Ok(()), |reviews| reviews.validate());
    checked.map_err(|message| Diagnostic::at(&settings.at, format!("`reviews`: {message}")))
}

fn unknown(name: &str, settings: &Node, known: &'static [&'static str]) -> Diagnostic {
    Diagnostic::at(&settings.at, format!("profiles cannot come from `{name}`"))
        .expected(format!("one of {}", known.join(", ")))
        .suggest(name, known.iter().copied())
}

fn items(node: &Node, directory: &Path) -> Result<ItemProfiles, Diagnostic> {
    let (name, settings) = source(node)?;
    Ok(match name.as_str() {
        "metadata" => {
            refuse_settings(&name, &settings)?;
            ItemProfiles::Metadata
        }
        "template" => {
            let mapping = settings.mapping("profiles")?;
            refuse_unknown_keys(mapping, &["from", "reviews"], "profiles from template")?;
            let template: TemplateItems = from_node(&settings)?;
            check_reviews(template.reviews, &settings)?;
            ItemProfiles::Template(template)
        }
        "llm" => {
            let mut write: WriteItems = from_node(&settings)?;
            check_reviews(write.reviews, &settings)?;
            write.prompt.directory = directory.to_owned();
            ItemProfiles::Llm(write)
        }
        "file" => {
            let mut file: FileSpec = from_node(&settings)?;
            file.directory = directory.to_owned();
            ItemProfiles::File(file)
        }
        _ => return Err(unknown(&name, &settings, &["metadata", "template", "llm", "file"])),
    })
}

fn users(node: &Node, directory: &Path) -> Result<UserProfiles, Diagnostic> {
    let (name, settings) = source(node)?;
    Ok(match name.as_str() {
        "metadata" => {
            refuse_settings(&name, &settings)?;
            UserProfiles::Metadata
        }
        "template" => {
            refuse_settings(&name, &settings)?;
            UserProfiles::Template
        }
        "mean" => {
            refuse_settings(&name, &settings)?;
            UserProfiles::Mean
        }
        "llm" => {
            let mut write: WriteUsers = from_node(&settings)?;
            write.validate().map_err(|message| Diagnostic::at(&settings.at, message))?;
            write.prompt.directory = directory.to_owned();
            UserProfiles::Llm(write)
        }
        "file" => {
            let mapping = settings.mapping("profiles")?;
            refuse_unknown_keys(
                mapping,
                &["file", "id", "text", "built_from", "accept_leak"],
                "user profiles from a file",
            )?;
            if mapping.get("built_from").is_none() {
                return Err(Diagnostic::at(
                    &settings.at,
                    "`built_from` is missing: it names the training data that the user profiles were written from",
                )
                .expected("the name of a fold (`built_from: u1`), or `built_from: no-ratings`"));
            }
            let mut users: ImportedUsers = from_node(&settings)?;
            users.file.directory = directory.to_owned();
            UserProfiles::File(users)
        }
        _ => {
            return Err(unknown(
                &name,
                &settings,
                &["metadata", "template", "llm", "file", "mean"],
            ));
        }
    })
}

/// Finds a file that an experiment names, next to it or in the data directories.
pub(super) fn locate(
    file: &str,
    directory: &Path,
    dirs: &crate::data::DataDirs,
) -> Result<PathBuf, crate::data::DataError> {
    let mut places = std::iter::once(directory)
        .chain(dirs.roots().iter().map(PathBuf::as_path))
        .map(|place| place.join(file));
    places.find(|path| path.is_file()).ok_or_else(|| crate::data::DataError::File {
        path: PathBuf::from(file),
        problem: "no such file".into(),
        help: format!(
            "assay looked for it beside the experiment file and under {}; set ASSAY_DATA to where it is",
            dirs.roots().iter().map(|root| root.display().to_string()).collect::<Vec<_>>().join(", ")
        ),
    })
}

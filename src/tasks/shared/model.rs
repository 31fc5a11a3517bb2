//! What models of all tasks have in common: errors, settings that can be serialised, statistics, schemas.

use std::{any::Any, fmt::Debug};

use schemars::Schema;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use serde_json::{Map, Value};

use crate::{
    base::{
        arrays::ArrayError,
        interrupt::Interrupted,
        yaml::{
            Diagnostic,
            node::{self, Node},
        },
    },
    data::DataError,
    nn::{NnError, learn::TrainingStats},
};

/// Why a model could not be fitted, saved or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    #[error(transparent)]
    Data(#[from] DataError),
    /// The data cannot carry this model; says what to change.
    #[error("{0}")]
    Unsuitable(String),
    /// A number left the range of floats.
    #[error("{0}")]
    Diverged(String),
    #[error("{path}: {source}")]
    Io { path: std::path::PathBuf, source: std::io::Error },
    /// A saved model that does not fit the data or is not one.
    #[error("{path}: {problem}")]
    Malformed { path: std::path::PathBuf, problem: String },
}

impl From<ArrayError> for ModelError {
    fn from(error: ArrayError) -> Self {
        match error {
            ArrayError::NotFinite(problem) => Self::Diverged(problem),
            ArrayError::Io { path, source } => Self::Io { path, source },
            ArrayError::Malformed { path, problem } => Self::Malformed { path, problem },
        }
    }
}

impl From<NnError> for ModelError {
    fn from(error: NnError) -> Self {
        match error {
            NnError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            NnError::Data(error) => Self::Data(error),
            NnError::Io { path, source } => Self::Io { path, source },
            NnError::NoTensors(error) => Self::Unsuitable(error.to_string()),
            NnError::Unsuitable(problem) => Self::Unsuitable(problem),
            NnError::Diverged(problem) => Self::Diverged(problem),
        }
    }
}

impl From<ModelError> for crate::core::StepError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            ModelError::Data(error) => error.into(),
            error => Self::failed(error),
        }
    }
}

/// What the record of a fit says of the model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelStats {
    /// Of models that are trained in epochs. Its fields are those of the record itself.
    #[serde(flatten, deserialize_with = "training_stats")]
    pub training: Option<TrainingStats>,
}

/// A flattened `Option` would take what it cannot read for nothing; here that is an error.
fn training_stats<'de, D: Deserializer<'de>>(from: D) -> Result<Option<TrainingStats>, D::Error> {
    let fields = serde_json::Map::deserialize(from)?;
    match fields.contains_key("epochs") {
        true => serde_json::from_value(fields.into()).map(Some).map_err(D::Error::custom),
        false => Ok(None),
    }
}

/// A setting that is out of range: its name, and what is wrong.
pub type Wrong = (&'static str, String);

/// The size of a training part, for guesses at memory.
#[derive(Clone, Copy, Debug)]
pub struct Size {
    pub users: usize,
    pub items: usize,
    pub ratings: usize,
}

/// What every type of settings has without saying so.
pub trait Settings: Any + Debug + Send + Sync {
    /// The settings as JSON, in the order of the fields.
    fn json(&self) -> serde_json::Result<Map<String, Value>>;
}

impl<T: Any + Debug + Send + Sync + Serialize> Settings for T {
    fn json(&self) -> serde_json::Result<Map<String, Value>> {
        match serde_json::to_value(self)? {
            Value::Object(settings) => Ok(settings),
            other => Err(serde_json::Error::custom(format!("settings are {other}, not fields"))),
        }
    }
}

/// The error for a setting of `node` that is out of range.
pub(in crate::tasks) fn out_of_range(node: &Node, (field, message): Wrong) -> Diagnostic {
    // A setting of a mapping below has a path.
    let mut at = node;
    for key in field.split('.') {
        match &at.value {
            node::Value::Mapping(mapping) => match mapping.get(key) {
                Some(entry) => at = &entry.value,
                None => break,
            },
            _ => break,
        }
    }
    Diagnostic::at(&at.at, format!("`{field}`: {message}"))
}

/// The schema of settings beside `model: NAME`.
pub(in crate::tasks) fn tagged(name: &str, about: &str, mut settings: Schema) -> Schema {
    let schema = settings.ensure_object();
    schema.insert("description".into(), about.into());
    let mut properties = Map::from_iter([(
        "model".to_owned(),
        serde_json::json!({"type": "string", "const": name}),
    )]);
    if let Some(Value::Object(of_settings)) = schema.remove("properties") {
        properties.extend(of_settings);
    }
    schema.insert("properties".into(), properties.into());
    let mut required = vec![Value::from("model")];
    if let Some(Value::Array(of_settings)) = schema.remove("required") {
        required.extend(of_settings);
    }
    schema.insert("required".into(), required.into());
    settings
}

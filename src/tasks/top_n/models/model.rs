//! What a model is ([`Model`]), what the list of models holds ([`ModelDef`]), and a model that was read
//! from an experiment file ([`ModelSpec`]).

use std::{fmt::Debug, ops::Deref, path::Path, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{
    Serialize, Serializer,
    de::DeserializeOwned,
    ser::{Error, SerializeMap},
};

use super::{FitContext, MODELS, ModelError, Recommender};
use crate::{
    base::{
        arrays,
        yaml::{Diagnostic, de::from_node, node::Node},
    },
    data::TrainingData,
    nn::{EncoderSpec, Exclude},
    tasks::{
        shared::{Settings, Training, out_of_range, tagged},
        top_n::History,
    },
    text::TextSpec,
};

pub use crate::tasks::shared::{Size, Wrong};

/// The settings of a model, which know what it needs and how it learns.
///
/// The type is read from YAML (`Deserialize`), its schema is printed (`JsonSchema`), and its JSON is a part
/// of the key of every step that fits it (`Serialize`): a field that is added must not be serialised where
/// it has the value that older results had.
pub trait Model: Settings {
    /// The first setting that is out of range.
    fn validate(&self) -> Result<(), Wrong> {
        Ok(())
    }

    /// Raised when the code comes to mean something else: fitted models of before are then stale.
    fn revision(&self) -> u32 {
        1
    }

    /// Whether what is fitted depends on the training part.
    fn learns(&self) -> bool {
        true
    }

    /// Whether the fitted model depends on the seed. Where not, one seed does for all.
    fn is_seeded(&self) -> bool {
        self.training().is_some()
    }

    /// What of a user's training part it goes by.
    fn history(&self) -> History {
        History::Liked
    }

    /// Whether it looks at what users dislike.
    fn uses_dislikes(&self) -> bool {
        let exclude = self.training().map(|training| training.negatives.exclude);
        exclude == Some(Exclude::LikedAndDisliked)
    }

    /// The texts it takes features from.
    fn text(&self) -> Option<&TextSpec> {
        None
    }

    /// The encoder of the reviews of training interactions, if it takes features from these.
    fn reviews(&self) -> Option<&EncoderSpec> {
        None
    }

    /// How a network is trained; none for other models.
    fn training(&self) -> Option<&Training> {
        None
    }

    /// The same network, trained in another way; none for other models.
    fn with_training(&self, _: Training) -> Option<Arc<dyn Model>> {
        None
    }

    /// Whether fitting it computes with tensors. Loading and scoring never do.
    fn needs_tensors(&self) -> bool {
        self.training().is_some()
    }

    /// A guess at the memory that fitting takes, in bytes.
    fn memory(&self, size: Size) -> usize;

    /// Learns from the training data.
    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError>;

    /// Reads what [`Recommender::save`] wrote into `dir`.
    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError>;

    /// The files that a saved model consists of.
    fn files(&self) -> &'static [&'static str] {
        &[arrays::FILE]
    }
}

/// A model of the list: its name, how its settings are read, and their schema.
#[derive(Debug)]
pub struct ModelDef {
    /// What `model:` calls it.
    pub name: &'static str,
    about: &'static str,
    /// Where its defaults come from, in a sentence or two; empty where it has no settings.
    defaults: &'static str,
    /// Settings that have another name in keys of steps: the name in files, and that one. Their old names.
    stored: &'static [(&'static str, &'static str)],
    read: fn(&Node) -> Result<Arc<dyn Model>, Diagnostic>,
    schema: fn(&mut SchemaGenerator) -> Schema,
}

impl ModelDef {
    /// A model whose settings are of the type `M`; `about` describes it in the schema.
    pub(super) const fn of<M: Model + DeserializeOwned + JsonSchema>(
        name: &'static str,
        about: &'static str,
    ) -> Self {
        Self {
            name,
            about,
            defaults: "",
            stored: &[],
            read: |node| Ok(Arc::new(from_node::<M>(node)?)),
            schema: M::json_schema,
        }
    }

    /// The same with a note on where its defaults come from.
    pub(super) const fn defaults(self, defaults: &'static str) -> Self {
        Self { defaults, ..self }
    }

    /// The same with settings that have another name in keys of steps.
    pub(super) const fn stored(self, stored: &'static [(&'static str, &'static str)]) -> Self {
        Self { stored, ..self }
    }

    /// The name that a setting of a file has in keys of steps.
    pub fn stored_name<'a>(&self, field: &'a str) -> &'a str {
        self.stored.iter().find(|(name, _)| *name == field).map_or(field, |(_, stored)| stored)
    }

    /// The name in files of a setting in keys of steps.
    pub fn file_name<'a>(&self, stored: &'a str) -> &'a str {
        self.stored.iter().find(|(_, of)| *of == stored).map_or(stored, |(name, _)| name)
    }

    /// What it is, in a sentence.
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// The model of a name.
    pub fn find(name: &str) -> Option<&'static Self> {
        MODELS.iter().find(|model| model.name == name)
    }

    /// Reads and validates settings.
    pub fn read(&'static self, node: &Node) -> Result<ModelSpec, Diagnostic> {
        let model = (self.read)(node)?;
        model.validate().map_err(|wrong| out_of_range(node, wrong))?;
        Ok(ModelSpec { def: self, model })
    }

    /// The schema of a system with this model.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        let about = match self.defaults.is_empty() {
            true => self.about.to_owned(),
            false => format!("{}\n\nDefaults: {}", self.about, self.defaults),
        };
        tagged(self.name, &about, (self.schema)(generator))
    }
}

/// A model of the list with its settings, which were validated.
#[derive(Clone, Debug)]
pub struct ModelSpec {
    def: &'static ModelDef,
    model: Arc<dyn Model>,
}

impl Deref for ModelSpec {
    type Target = dyn Model;

    fn deref(&self) -> &dyn Model {
        &*self.model
    }
}

impl ModelSpec {
    /// The model's name.
    pub fn name(&self) -> &'static str {
        self.def.name
    }

    /// The same, trained for so many epochs, with the learning rate of each where they are given, and
    /// without measuring anything on the way. The last parameters are kept.
    pub fn following(&self, epochs: usize, rates: Option<Vec<f64>>) -> Self {
        let training = self.training().map(|training| training.following(epochs, rates));
        let model = training.and_then(|training| self.with_training(training));
        Self { def: self.def, model: model.unwrap_or_else(|| self.model.clone()) }
    }

    /// Learns from the training data.
    pub fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        self.model.fit(data, &FitContext { history: self.history(), ..*context })
    }
}

/// `{"model": "als", "factors": 64, …}`
impl Serialize for ModelSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Not `self.json()`: this type can be serialised, so it has that method too.
        let settings = (*self.model).json().map_err(S::Error::custom)?;
        let mut map = serializer.serialize_map(Some(settings.len() + 1))?;
        map.serialize_entry("model", self.name())?;
        for (field, value) in &settings {
            map.serialize_entry(field, value)?;
        }
        map.end()
    }
}

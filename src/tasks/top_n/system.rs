//! Systems of the experiment file: a model, a search of its settings, a reranker, files of rankings, or a program.

use std::{iter, path::Path};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::{
    CommandParams, Search,
    command::{CommandSearch, Placeholder},
    models::{MODELS, ModelDef, ModelSpec, Size},
    rerank::RerankParams,
    search,
};
use crate::{
    base::yaml::{
        Diagnostic,
        de::from_node,
        node::{Entry, Node},
    },
    nn::EncoderSpec,
    tasks::shared::{
        COMMAND, EXTERNAL, EXTERNAL_REVISION, ExternalParams, Tagged, out_of_range, tagged,
    },
    text::TextSpec,
};

/// Names of rerankers and of programs in `model:`.
const RERANK: &str = "rerank";

/// A kind of system.
#[derive(Clone, Debug)]
pub enum SystemSpec {
    /// A model and its settings.
    Model(ModelSpec),
    /// The best of several settings of a model; made by a system's `search:`.
    Search(Box<Search>),
    /// Candidates of another system, reordered by a judge.
    Rerank(Box<RerankParams>),
    /// Rankings from files.
    External(Box<ExternalParams>),
    /// A program that reads the training part and writes rankings.
    Command(Box<CommandParams>),
}

impl SystemSpec {
    /// The names that `model:` accepts.
    pub fn names() -> impl Iterator<Item = &'static str> {
        MODELS.iter().map(|model| model.name).chain([RERANK, EXTERNAL, COMMAND])
    }

    /// Reads and validates the system called `model` with the settings `parameters`, or a search of them.
    pub(crate) fn read(
        model: &Node,
        parameters: &Node,
        search: Option<&Entry>,
    ) -> Result<Self, Diagnostic> {
        let name = model.text("model")?;
        let directory = model.at.file.path.parent().unwrap_or(Path::new(""));
        let no_search = |what: &str| match search {
            Some(search) => {
                Err(Diagnostic::at(&search.value.at, format!("a search cannot try {what}")))
            }
            None => Ok(()),
        };
        match (name, ModelDef::find(name)) {
            (_, Some(def)) => match search {
                Some(search) => Ok(Self::Search(Box::new(Search::read(def, parameters, search)?))),
                None => Ok(Self::Model(def.read(parameters)?)),
            },
            (RERANK, _) => {
                no_search("rerankers").map_err(|error| {
                    error.help("make them separate systems: `fuse: {judge: {sweep: [0.5, 0.8]}}`")
                })?;
                let mut params: RerankParams = from_node(parameters)?;
                params.set_directory(directory);
                params.validate().map_err(|wrong| out_of_range(parameters, wrong))?;
                Ok(Self::Rerank(Box::new(params)))
            }
            (EXTERNAL, _) => {
                no_search("rankings from files")?;
                let mut params: ExternalParams = from_node(parameters)?;
                params.directory = directory.to_owned();
                Ok(Self::External(Box::new(params)))
            }
            (COMMAND, _) => {
                let mut params = CommandParams::read(parameters, directory)?;
                if let Some(search) = search {
                    params.search = Some(CommandSearch::read(parameters, search, directory)?);
                }
                Ok(Self::Command(Box::new(params)))
            }
            _ => Err(Diagnostic::at(&model.at, format!("unknown model `{name}`"))
                .expected(format!("one of {}", Self::names().collect::<Vec<_>>().join(", ")))
                .suggest(name, Self::names())),
        }
    }

    /// The name in `model:`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Model(model) => model.name(),
            Self::Search(search) => search.first().name(),
            Self::Rerank(_) => RERANK,
            Self::External(_) => EXTERNAL,
            Self::Command(_) => COMMAND,
        }
    }

    /// The model; of a search, one of those that it tries, which differ in no answer but their settings.
    fn model(&self) -> Option<&ModelSpec> {
        match self {
            Self::Model(model) => Some(model),
            Self::Search(search) => Some(search.first()),
            Self::Rerank(_) | Self::External(_) | Self::Command(_) => None,
        }
    }

    /// Whether it has lists instead of a score for every item.
    pub fn gives_lists(&self) -> bool {
        self.model().is_none()
    }

    /// Whether it is fitted, and what is fitted depends on the training part.
    pub fn learns(&self) -> bool {
        self.model().is_some_and(|model| model.learns())
    }

    /// Raise it if the code changes its meaning: older fits are then outdated.
    pub fn revision(&self) -> u32 {
        match self {
            Self::Model(model) => model.revision(),
            Self::Search(search) => search.first().revision(),
            Self::Rerank(_) => 1,
            Self::External(_) => EXTERNAL_REVISION,
            Self::Command(_) => 1,
        }
    }

    /// Whether the fitted model depends on the seed. If not, it is fitted once for all seeds.
    pub fn is_seeded(&self) -> bool {
        match self {
            Self::Model(model) => model.is_seeded(),
            Self::Search(search) => search.first().is_seeded(),
            // It draws; see `Setting::is_seeded` for what it comes to with its base.
            Self::Rerank(_) => true,
            Self::External(_) => false,
            Self::Command(params) => params.uses(Placeholder::Seed),
        }
    }

    /// The texts it takes features from, or shows to a judge.
    pub fn text(&self) -> Option<&TextSpec> {
        match self {
            Self::Rerank(params) => Some(&params.text),
            _ => self.model()?.text(),
        }
    }

    /// The encoder of the reviews of training interactions, if it takes features from these.
    pub fn reviews(&self) -> Option<&EncoderSpec> {
        self.model()?.reviews()
    }

    /// Whether its fit uses the validation part of the split.
    pub fn validates(&self) -> bool {
        match self {
            Self::Model(model) => model.training().is_some_and(|of| of.validate.is_some()),
            _ => false,
        }
    }

    /// Whether the model uses disliked ratings.
    pub fn uses_dislikes(&self) -> bool {
        match self {
            Self::Model(model) => model.uses_dislikes(),
            Self::Search(search) => search.candidates.iter().any(|model| model.uses_dislikes()),
            Self::Rerank(_) | Self::External(_) | Self::Command(_) => false,
        }
    }

    /// Whether fitting it needs tensors. Loading and scoring never do.
    pub fn needs_tensors(&self) -> bool {
        match self {
            Self::Model(model) => model.needs_tensors(),
            Self::Search(search) => search.candidates.iter().any(|model| model.needs_tensors()),
            Self::Rerank(_) | Self::External(_) | Self::Command(_) => false,
        }
    }

    /// Estimated memory in bytes.
    pub fn memory(&self, size: Size) -> u64 {
        let bytes = match self {
            Self::Model(model) => model.memory(size),
            Self::Search(search) => {
                let each = search.candidates.iter();
                each.map(|model| model.memory(size)).max().unwrap_or(0)
            }
            // Their steps say it themselves.
            Self::Rerank(_) | Self::External(_) | Self::Command(_) => 0,
        };
        bytes as u64
    }

    /// The files that fitting it writes.
    pub fn files(&self) -> Vec<&'static str> {
        match self {
            Self::Model(model) => model.files().to_vec(),
            Self::Search(search) => {
                iter::once(search::TRIALS).chain(search.first().files().iter().copied()).collect()
            }
            Self::Rerank(_) | Self::External(_) | Self::Command(_) => Vec::new(),
        }
    }
}

/// `{"model": "als", …}` with the settings beside the name; a part of the keys of steps.
impl Serialize for SystemSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Model(model) => model.serialize(serializer),
            Self::Search(search) => {
                Tagged { model: "search", settings: &**search }.serialize(serializer)
            }
            Self::Rerank(params) => {
                Tagged { model: RERANK, settings: &**params }.serialize(serializer)
            }
            Self::External(params) => {
                Tagged { model: EXTERNAL, settings: &**params }.serialize(serializer)
            }
            Self::Command(params) => {
                Tagged { model: COMMAND, settings: &**params }.serialize(serializer)
            }
        }
    }
}

impl JsonSchema for SystemSpec {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SystemSpec".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut systems: Vec<Schema> = MODELS.iter().map(|model| model.schema(generator)).collect();
        let rerank = RerankParams::json_schema(generator);
        systems.push(tagged(RERANK, "Candidates of another system, reordered by a judge.", rerank));
        let external = ExternalParams::json_schema(generator);
        systems.push(tagged(EXTERNAL, "Rankings from files.", external));
        let command = CommandParams::json_schema(generator);
        systems.push(tagged(
            COMMAND,
            "A program that reads the training part and writes rankings.",
            command,
        ));
        json_schema!({"description": "A model and its settings.", "oneOf": systems})
    }
}

//! All models by name: settings, fitting, loading.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    FitContext, Fitted, ModelError, TrainingData,
    als::AlsParams,
    ease::EaseParams,
    external::{self, ExternalParams},
    item_knn::ItemKnnParams,
    popularity::PopularityParams,
    random::RandomParams,
};

/// A model and its settings.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(tag = "model", rename_all = "kebab-case")]
pub enum ModelSpec {
    /// Any order: the floor.
    Random(RandomParams),
    /// The most liked items first, the same for everybody.
    Popularity(PopularityParams),
    /// Items like those the user liked.
    ItemKnn(ItemKnnParams),
    /// A linear item-item model in closed form.
    Ease(EaseParams),
    /// Matrix factorisation of implicit feedback by alternating least squares.
    Als(AlsParams),
    /// Rankings made elsewhere, from files.
    External(ExternalParams),
}

impl ModelSpec {
    /// What `model:` may be.
    pub const NAMES: &'static [&'static str] =
        &["random", "popularity", "item-knn", "ease", "als", "external"];

    /// Reads the settings of the model called `name`, one of [`NAMES`](Self::NAMES).
    pub fn deserialize_params<'de, D: Deserializer<'de>>(
        name: &str,
        deserializer: D,
    ) -> Result<Self, D::Error> {
        Ok(match name {
            "random" => Self::Random(RandomParams::deserialize(deserializer)?),
            "popularity" => Self::Popularity(PopularityParams::deserialize(deserializer)?),
            "item-knn" => Self::ItemKnn(ItemKnnParams::deserialize(deserializer)?),
            "ease" => Self::Ease(EaseParams::deserialize(deserializer)?),
            "als" => Self::Als(AlsParams::deserialize(deserializer)?),
            "external" => Self::External(ExternalParams::deserialize(deserializer)?),
            _ => return Err(serde::de::Error::custom(format!("unknown model `{name}`"))),
        })
    }

    /// The model's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Random(_) => "random",
            Self::Popularity(_) => "popularity",
            Self::ItemKnn(_) => "item-knn",
            Self::Ease(_) => "ease",
            Self::Als(_) => "als",
            Self::External(_) => "external",
        }
    }

    /// The first setting that is out of range: its name, and what is wrong.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        match self {
            Self::Random(_) | Self::Popularity(_) | Self::External(_) => Ok(()),
            Self::ItemKnn(params) => params.validate(),
            Self::Ease(params) => params.validate(),
            Self::Als(params) => params.validate(),
        }
    }

    /// Raised when the code comes to mean something else: fitted models of before are then stale.
    pub fn revision(&self) -> u32 {
        1
    }

    /// Whether the fitted model depends on the seed. Where not, one seed does for all.
    pub fn is_seeded(&self) -> bool {
        matches!(self, Self::Random(_) | Self::Als(_))
    }

    /// Learns from the training data.
    pub fn fit(&self, data: &TrainingData, context: &FitContext) -> Result<Fitted, ModelError> {
        Ok(Fitted::Scores(match self {
            Self::Random(params) => params.fit(data, context)?,
            Self::Popularity(params) => params.fit(data)?,
            Self::ItemKnn(params) => params.fit(data, context)?,
            Self::Ease(params) => params.fit(data, context)?,
            Self::Als(params) => params.fit(data, context)?,
            Self::External(params) => return params.fit(data, context),
        }))
    }

    /// Reads what [`Fitted::save`] wrote into `dir`.
    pub fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Fitted, ModelError> {
        Ok(Fitted::Scores(match self {
            Self::Random(params) => params.fit(data, context)?,
            Self::Popularity(params) => params.load(dir, data)?,
            Self::ItemKnn(params) => params.load(dir, data, context)?,
            Self::Ease(params) => params.load(dir, data)?,
            Self::Als(params) => params.load(dir, data)?,
            Self::External(_) => {
                let rankings = external::load(dir, data.ratings.n_users())?;
                return Ok(Fitted::Lists { rankings, findings: None });
            }
        }))
    }

    /// A guess at the memory that fitting takes, in bytes, for `n` interactions.
    pub fn memory_estimate(&self, n_users: usize, n_items: usize, n: usize) -> u64 {
        let bytes = match self {
            Self::Random(_) | Self::Popularity(_) => 8 * n_items,
            Self::External(_) => 1 << 28,
            // A guess: how dense the similarities are is not known before.
            Self::ItemKnn(params) => params.memory_estimate(n_items),
            Self::Ease(_) => 3 * 8 * n_items * n_items,
            Self::Als(params) => 4 * params.factors * (n_users + 2 * n_items) + 16 * n,
        };
        bytes as u64
    }
}

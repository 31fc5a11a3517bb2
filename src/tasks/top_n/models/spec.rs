//! All models by name: settings, fitting, loading.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::{
    BprMfParams, Edges, FitContext, Fitted, GatParams, LightGcnParams, ModelError, NgcfParams,
    als::AlsParams, content::ContentParams, ease::EaseParams, item_knn::ItemKnnParams,
    popularity::PopularityParams, random::RandomParams,
};
use crate::{
    data::TrainingData,
    nn::Exclude,
    tasks::top_n::{
        History, external, external::ExternalParams, networks, networks::Training,
        rerank::RerankParams, search::Search,
    },
    text::TextSpec,
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
    /// Items whose texts are like the user's.
    Content(ContentParams),
    /// Matrix factorisation by pairwise ranking.
    Bprmf(BprMfParams),
    /// Linear propagation of vectors on the user-item graph.
    Lightgcn(LightGcnParams),
    /// Propagation with transformations and activations.
    Ngcf(NgcfParams),
    /// Attention on the user-item graph, ratings as edge features.
    Gat(GatParams),
    /// The best of several settings of a model; made by a system's `search:`.
    #[schemars(skip)]
    Search(Box<Search>),
    /// A judge's order of another system's best candidates.
    Rerank(RerankParams),
    /// Rankings made elsewhere, from files.
    External(ExternalParams),
}

impl ModelSpec {
    /// What `model:` may be.
    pub const NAMES: &'static [&'static str] = &[
        "random",
        "popularity",
        "item-knn",
        "ease",
        "als",
        "content",
        "bprmf",
        "lightgcn",
        "ngcf",
        "gat",
        "rerank",
        "external",
    ];

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
            "content" => Self::Content(ContentParams::deserialize(deserializer)?),
            "bprmf" => Self::Bprmf(BprMfParams::deserialize(deserializer)?),
            "lightgcn" => Self::Lightgcn(LightGcnParams::deserialize(deserializer)?),
            "ngcf" => Self::Ngcf(NgcfParams::deserialize(deserializer)?),
            "gat" => Self::Gat(GatParams::deserialize(deserializer)?),
            "rerank" => Self::Rerank(RerankParams::deserialize(deserializer)?),
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
            Self::Content(_) => "content",
            Self::Bprmf(_) => "bprmf",
            Self::Lightgcn(_) => "lightgcn",
            Self::Ngcf(_) => "ngcf",
            Self::Gat(_) => "gat",
            Self::Search(search) => search.candidates[0].name(),
            Self::Rerank(_) => "rerank",
            Self::External(_) => "external",
        }
    }

    /// The first setting that is out of range: its name, and what is wrong.
    pub fn validate(&self) -> Result<(), (&'static str, String)> {
        match self {
            Self::Random(_) | Self::Popularity(_) | Self::External(_) | Self::Search(_) => Ok(()),
            Self::ItemKnn(params) => params.validate(),
            Self::Ease(params) => params.validate(),
            Self::Als(params) => params.validate(),
            Self::Content(params) => params.validate(),
            Self::Rerank(params) => params.validate(),
            Self::Bprmf(params) => params.validate(),
            Self::Lightgcn(params) => params.validate(),
            Self::Ngcf(params) => params.validate(),
            Self::Gat(params) => params.validate(),
        }
    }

    /// Raised when the code comes to mean something else: fitted models of before are then stale.
    pub fn revision(&self) -> u32 {
        match self {
            // Ties are kept with the lists, go by the items' own ids, and −∞ is no recommendation.
            Self::External(_) => 3,
            _ => 1,
        }
    }

    /// Whether the fitted model depends on the seed. Where not, one seed does for all.
    pub fn is_seeded(&self) -> bool {
        match self {
            Self::Search(search) => search.candidates[0].is_seeded(),
            _ => {
                matches!(self, Self::Random(_) | Self::Als(_) | Self::Rerank(_))
                    || self.training().is_some()
            }
        }
    }

    /// How a network is trained; none for other models.
    pub fn training(&self) -> Option<&Training> {
        match self {
            Self::Bprmf(params) => Some(&params.training),
            Self::Lightgcn(params) => Some(&params.training),
            Self::Ngcf(params) => Some(&params.training),
            Self::Gat(params) => Some(&params.training),
            _ => None,
        }
    }

    /// The same, trained for so many epochs, with the learning rate of each where they are given, and
    /// without measuring anything on the way. The last parameters are kept.
    pub fn following(&self, epochs: usize, rates: Option<Vec<f64>>) -> Self {
        let mut spec = self.clone();
        let training = match &mut spec {
            Self::Bprmf(params) => &mut params.training,
            Self::Lightgcn(params) => &mut params.training,
            Self::Ngcf(params) => &mut params.training,
            Self::Gat(params) => &mut params.training,
            _ => return spec,
        };
        (training.epochs, training.rates) = (epochs, rates);
        (training.validate, training.stop, training.keep) = (None, None, None);
        spec
    }

    /// The texts it takes features from.
    pub fn text(&self) -> Option<&TextSpec> {
        match self {
            Self::Content(params) => Some(&params.text),
            Self::Gat(params) => params.text.as_ref(),
            Self::Rerank(params) => Some(&params.text),
            Self::Search(search) => search.candidates[0].text(),
            _ => None,
        }
    }

    /// What of a user's training part it goes by.
    pub fn history(&self) -> History {
        match self {
            Self::Random(_) | Self::Popularity(_) | Self::External(_) | Self::Rerank(_) => {
                History::Unused
            }
            Self::Content(_) => History::Text,
            // Texts are written from liked and disliked ratings.
            Self::Gat(params) => match (params.edges, &params.text) {
                (Edges::All, _) => History::Rated,
                (Edges::Liked, None) => History::Liked,
                _ => History::LikedOrDisliked,
            },
            // Candidates may differ: see `Search::history`.
            Self::Search(search) => search.candidates[0].history(),
            _ => History::Liked,
        }
    }

    /// Whether the model looks at what users dislike.
    pub fn uses_dislikes(&self) -> bool {
        if let Self::Search(search) = self {
            return search.candidates.iter().any(Self::uses_dislikes);
        }
        let of_edges = matches!(self, Self::Gat(params) if params.edges == Edges::LikedAndDisliked);
        let exclude = self.training().map(|training| training.negatives.exclude);
        of_edges || exclude == Some(Exclude::LikedAndDisliked)
    }

    /// Learns from the training data.
    pub fn fit(&self, data: &TrainingData, context: &FitContext) -> Result<Fitted, ModelError> {
        let context = &FitContext { history: self.history(), ..*context };
        Ok(Fitted::Scores(match self {
            Self::Random(params) => params.fit(data, context)?,
            Self::Popularity(params) => params.fit(data)?,
            Self::ItemKnn(params) => params.fit(data, context)?,
            Self::Ease(params) => params.fit(data, context)?,
            Self::Als(params) => params.fit(data, context)?,
            Self::Content(params) => params.fit(context)?,
            Self::Bprmf(params) => {
                let plan = params.plan(data, context)?;
                networks::fit(plan, &params.training, data, context)?
            }
            Self::Lightgcn(params) => {
                let plan = params.plan(data, context)?;
                networks::fit(plan, &params.training, data, context)?
            }
            Self::Ngcf(params) => {
                let plan = params.plan(data, context)?;
                networks::fit(plan, &params.training, data, context)?
            }
            Self::Gat(params) => {
                let plan = params.plan(data, context)?;
                networks::fit(plan, &params.training, data, context)?
            }
            Self::Search(search) => {
                return search.fit_chosen(search.search(data, context)?, data, context);
            }
            Self::External(params) => return params.fit(data, context),
            Self::Rerank(_) => {
                return Err(ModelError::Unsuitable("a reranker cannot be fitted by itself".into()));
            }
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
            Self::Content(_) => ContentParams::load(dir, data)?,
            Self::Bprmf(_) | Self::Lightgcn(_) | Self::Ngcf(_) | Self::Gat(_) => {
                networks::load(dir, data)?
            }
            Self::Search(search) => return search.load(dir, data, context),
            Self::External(_) | Self::Rerank(_) => {
                let rankings = external::load(dir, data.ratings.n_users())?;
                return Ok(Fitted::Lists { rankings, findings: None });
            }
        }))
    }

    /// A guess at the memory that fitting takes, in bytes, for `n` interactions.
    pub fn memory_estimate(&self, n_users: usize, n_items: usize, n: usize) -> u64 {
        let bytes = match self {
            Self::Search(search) => {
                let each = search.candidates.iter();
                let most = each.map(|of| of.memory_estimate(n_users, n_items, n)).max();
                return most.unwrap_or(0);
            }
            Self::Random(_) | Self::Popularity(_) => 8 * n_items,
            Self::External(_) => 1 << 28,
            // The base's lists, their copies, and what the base holds beside them.
            Self::Rerank(_) => (1 << 27) + 24 * n_users * n_items.min(1000),
            // Vectors, gradients and two moments of each; what passes leave; the graph both ways.
            Self::Bprmf(params) => 4 * 6 * params.dim * (n_users + n_items) + 32 * n,
            Self::Lightgcn(params) => 4 * 8 * params.dim * (n_users + n_items) + 64 * n,
            Self::Ngcf(params) => {
                4 * 12 * params.dim * (params.layers + 1) * (n_users + n_items) + 64 * n
            }
            Self::Gat(params) => {
                let heads: usize = params.heads.iter().sum();
                4 * 14 * params.hidden * (heads + 1) * (n_users + n_items) + 8 * heads * 2 * n
            }
            // A guess: how dense the similarities are is not known before.
            Self::ItemKnn(params) => params.memory_estimate(n_items),
            Self::Content(_) => 4 * 4 * 384 * (n_users + n_items),
            Self::Ease(_) => 3 * 8 * n_items * n_items,
            Self::Als(params) => 4 * params.factors * (n_users + 2 * n_items) + 16 * n,
        };
        bytes as u64
    }
}

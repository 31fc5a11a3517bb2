//! SGL (Wu et al. 2021).

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::TrainingData,
    tasks::top_n::networks::{
        self, Among, Anchors, Contrast, Dropped, NetworkModel, Objective, Origin, Plan, Reduction,
        Training, ViewGcn, layers, not_negative, share, width,
    },
};

/// What a view of the graph is without. Views are drawn again in each epoch, and have weights of their own degrees.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Augmentation {
    /// Edges (SGL-ED, eq. 8).
    #[default]
    EdgeDrop,
    /// Users and items with their edges (SGL-ND, eq. 7).
    NodeDrop,
    /// Edges, others in each layer (SGL-RW, eq. 9).
    RandomWalk,
}

/// Settings. Left as they are, those of the paper for Yelp2018 (SGL-ED, λ₁ = 0.1, τ = 0.2, ρ = 0.1), but for the number
/// of epochs, and means in place of sums. RecBole has λ = 0.05, τ = 0.5, and sums; SELFRec compares within the batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SglParams {
    /// Length of the vectors, a multiple of 16.
    #[schemars(range(min = 16, max = 1024), extend("multipleOf" = 16))]
    pub factors: usize,
    /// Propagations; the embedding is the mean over 0 to so many.
    #[schemars(range(max = 32))]
    pub layers: usize,
    /// What the two views of each epoch are without.
    pub views: Augmentation,
    /// ρ, the share of edges (`node-drop`: of users and of items) that a view is without, each by itself.
    #[schemars(range(min = 0), extend("exclusiveMaximum" = 1))]
    pub drop: f64,
    /// λ of the InfoNCE losses of users and of items beside BPR.
    #[schemars(range(min = 0))]
    pub contrast: f64,
    /// τ, which cosines are divided by.
    #[schemars(range(min = 0.025, max = 100))]
    pub temperature: f64,
    /// What is in the sum of InfoNCE's denominator.
    pub among: Among,
    /// Which nodes of a batch are compared with the others.
    pub anchors: Anchors,
    /// Whether losses are means or sums over a batch.
    pub reduction: Reduction,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's vectors before propagation.
    #[schemars(range(min = 0))]
    pub regularization: f64,
    pub training: Training,
}

impl Default for SglParams {
    fn default() -> Self {
        Self {
            factors: 64,
            layers: 3,
            views: Augmentation::EdgeDrop,
            drop: 0.1,
            contrast: 0.1,
            temperature: 0.2,
            among: Among::All,
            anchors: Anchors::Positives,
            reduction: Reduction::Mean,
            regularization: 1e-4,
            training: Training::default(),
        }
    }
}

impl SglParams {
    fn contrast(&self) -> Contrast {
        Contrast {
            weight: self.contrast,
            temperature: self.temperature,
            among: self.among,
            anchors: self.anchors,
            reduction: self.reduction,
        }
    }
}

impl NetworkModel for SglParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let (graph, nodes) = ViewGcn::start(data, self.factors, context.seed);
        let layers = self.layers;
        let dropped = match self.views {
            Augmentation::EdgeDrop => Dropped::Edges,
            Augmentation::NodeDrop => Dropped::Nodes,
            Augmentation::RandomWalk => Dropped::EdgesOfLayers,
        };
        let origin = Origin::Graphs { dropped, share: self.drop };
        Ok(Plan {
            network: Box::new(move |place| {
                Box::new(ViewGcn::new(graph, layers, origin, place(nodes)))
            }),
            objective: Objective::of_contrast(self.regularization, self.contrast()),
        })
    }
}

impl Model for SglParams {
    fn validate(&self) -> Result<(), Wrong> {
        width("factors", self.factors)?;
        layers(self.layers)?;
        share("drop", self.drop)?;
        self.contrast().validate()?;
        not_negative("regularization", self.regularization)?;
        self.training.validate()
    }

    fn training(&self) -> Option<&Training> {
        Some(&self.training)
    }

    fn with_training(&self, training: Training) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { training, ..self.clone() }))
    }

    fn memory(&self, size: Size) -> usize {
        let graphs = match self.views {
            Augmentation::RandomWalk => 1 + 2 * self.layers,
            _ => 3,
        };
        4 * 16 * self.factors * (size.users + size.items) + 64 * size.ratings * graphs
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        networks::fit(self, &self.training, data, context)
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        _: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        networks::load(dir, data)
    }
}

//! XSimGCL (Yu et al. 2023).

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::TrainingData,
    tasks::top_n::networks::{
        self, Among, Anchors, Contrast, NetworkModel, Objective, Origin, Plan, Reduction, Training,
        ViewGcn, layers, not_negative, width,
    },
};

/// Settings. Left as they are, those of the paper for Yelp2018 (λ = 0.2, ε = 0.2, τ = 0.15, three layers, l* = 1), but
/// for the number of epochs. The authors' SELFRec regularises norms of final embeddings, here squares of the vectors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct XSimGclParams {
    /// Length of the vectors, a multiple of 16.
    #[schemars(range(min = 16, max = 1024), extend("multipleOf" = 16))]
    pub factors: usize,
    /// Propagations; the embedding is the mean over 1 to so many, without the vectors before them.
    #[schemars(range(min = 1, max = 32))]
    pub layers: usize,
    /// ε, the length of the noise that each layer of a view adds to every vector, with the vector's signs.
    #[schemars(range(min = 0))]
    pub noise: f64,
    /// l*, the layer that the final embedding is compared with.
    #[schemars(range(min = 1, max = 32))]
    pub contrast_layer: usize,
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

impl Default for XSimGclParams {
    fn default() -> Self {
        Self {
            factors: 64,
            layers: 3,
            noise: 0.2,
            contrast_layer: 1,
            contrast: 0.2,
            temperature: 0.15,
            among: Among::Batch,
            anchors: Anchors::Distinct,
            reduction: Reduction::Mean,
            regularization: 1e-4,
            training: Training::default(),
        }
    }
}

impl XSimGclParams {
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

impl NetworkModel for XSimGclParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let (graph, nodes) = ViewGcn::start(data, self.factors, context.seed);
        let layers = self.layers;
        let origin = Origin::Layer { length: self.noise, layer: self.contrast_layer };
        Ok(Plan {
            network: Box::new(move |place| {
                Box::new(ViewGcn::new(graph, layers, origin, place(nodes)))
            }),
            objective: Objective::of_contrast(self.regularization, self.contrast()),
        })
    }
}

impl Model for XSimGclParams {
    fn validate(&self) -> Result<(), Wrong> {
        width("factors", self.factors)?;
        layers(self.layers)?;
        if self.layers == 0 {
            return Err(("layers", "is 0; expected 1 or more".into()));
        }
        not_negative("noise", self.noise)?;
        if !(1..=self.layers).contains(&self.contrast_layer) {
            return Err((
                "contrast_layer",
                format!("is {}; expected 1 to the number of layers", self.contrast_layer),
            ));
        }
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
        4 * 12 * self.factors * (size.users + size.items) + 64 * size.ratings
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

//! P4R (Chen and Suzumura 2024, arXiv 2409.16674): LightGCN whose items also send the text of their profile.

use std::{path::Path, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Factors, FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    data::{TrainingData, UserIx},
    nn::{
        Device, Kind, Tensor, composite,
        graph::Graph,
        network::{Dropout, Network, Param},
        propagate::propagate_tensor,
        start,
        tensors::tensor_of,
    },
    tasks::top_n::networks::{
        self, NetworkModel, Objective, Plan, Training, layers, not_negative, positive, width,
    },
    text::{Features, TextSpec},
};

/// Settings. Left as they are, the paper's where it prints them: two layers, sums over layers, eq. 5, 64 factors, Adam with
/// 0.001 in batches of 2048. It prints neither α, β nor the regularisation: 1, 1 and RecBole's 1e-5. Its text encoder is
/// BERT-base; here it is the encoder of `text`, MiniLM, which stands for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct P4rParams {
    /// Length of the vectors, a multiple of 16; with `fusion: concat` one of 32.
    #[schemars(range(min = 16, max = 1024), extend("multipleOf" = 16))]
    pub factors: usize,
    /// Profiles of the items, and their encoder. Those of users are not used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<TextSpec>,
    /// How the text of an item takes part.
    pub fusion: Fusion,
    /// How the layers become one vector.
    pub pooling: Pooling,
    /// α: the factor of everything that an item receives in a layer (eq. 5).
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub alpha: f64,
    /// β: the weight of an item's text.
    #[schemars(range(min = 0))]
    pub beta: f64,
    /// Propagations.
    #[schemars(range(max = 32))]
    pub layers: usize,
    /// What is removed, for an ablation.
    pub ablate: Ablate,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's own vectors before propagation.
    #[schemars(range(min = 0))]
    pub regularization: f64,
    pub training: Training,
}

/// How the text of an item takes part. With s = ReLU(W t + b), t the vector of the item's profile:
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fusion {
    /// In every layer, an item receives β s beside the vector of each neighbour (eq. 5).
    #[default]
    Paper,
    /// The item's vector before the first layer has β s added.
    Init,
    /// The first half of the item's vector before the first layer is its own, the second half is β s. So the length of all
    /// vectors stays `factors`.
    Concat,
}

/// How the layers become one vector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Pooling {
    /// Their sum, as in the paper.
    #[default]
    Sum,
    /// Their mean, as in LightGCN.
    Mean,
}

/// The ablations of the paper's Table 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Ablate {
    /// Nothing.
    #[default]
    None,
    /// The profiles (the paper's WIP): the same network without texts. α stays.
    Profiles,
    /// The training (the paper's WT): items are the raw vectors of their profiles, users the mean of those of their items.
    Training,
    /// Both: random vectors, as the network has them before training.
    All,
}

impl Default for P4rParams {
    fn default() -> Self {
        Self {
            factors: 64,
            text: None,
            fusion: Fusion::default(),
            pooling: Pooling::default(),
            alpha: 1.0,
            beta: 1.0,
            layers: 2,
            ablate: Ablate::default(),
            regularization: 1e-5,
            training: Training::default(),
        }
    }
}

impl P4rParams {
    fn uses_text(&self) -> bool {
        matches!(self.ablate, Ablate::None | Ablate::Training)
    }

    fn features<'a>(&self, context: &FitContext<'a>) -> Result<Option<&'a Features>, ModelError> {
        match (self.uses_text(), context.features) {
            (false, _) => Ok(None),
            (true, Some(features)) => Ok(Some(features)),
            (true, None) => {
                Err(ModelError::Unsuitable("`text` is set, but no texts were given".into()))
            }
        }
    }

    /// The numbers of the network for data of so many users.
    fn shape(&self, n_users: usize) -> P4rShape {
        let (layers, alpha, beta) = (self.layers, self.alpha, self.beta);
        P4rShape { n_users, layers, alpha, beta, fusion: self.fusion, pooling: self.pooling }
    }

    /// The vectors of users and items before training, `[n_nodes, factors]`.
    fn nodes(&self, n_users: usize, n_items: usize, seed: u64) -> Tensor {
        let users = start::glorot(seed, 0, n_users, self.factors);
        let items = start::glorot(seed, 1, n_items, self.factors);
        Tensor::cat(&[users, items], 0)
    }

    /// What an untrained system consists of.
    fn untrained(&self, data: &TrainingData, context: &FitContext) -> Result<Factors, ModelError> {
        let (n_users, n_items) = (data.ratings.n_users(), data.ratings.n_items());
        let Some(features) = self.features(context)? else {
            return Ok(random_factors(self.factors, n_users, n_items, context.seed));
        };
        let dim = features.dim;
        let mut users = vec![0.0f32; n_users * dim];
        for (user, row) in users.chunks_mut(dim).enumerate() {
            let liked = data.positives.items_of(UserIx(user as u32));
            let mut sum = vec![0.0f64; dim];
            for item in liked {
                let vector = &features.items[*item as usize * dim..][..dim];
                sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
            }
            let n = liked.len().max(1) as f64;
            row.iter_mut().zip(sum).for_each(|(to, sum)| *to = (sum / n) as f32);
        }
        Ok(Factors::new(dim, users, features.items.clone()))
    }
}

/// Uniform within the bounds of Glorot and Bengio 2010, without libtorch.
fn random_factors(dim: usize, n_users: usize, n_items: usize, seed: u64) -> Factors {
    use crate::base::random::mix;
    let draw = |side: u64, n: usize| -> Vec<f32> {
        let bound = (6.0 / (n + dim) as f64).sqrt();
        let of = |at: u64| mix(mix(seed) ^ mix(side << 48 | at)) >> 11;
        (0..(n * dim) as u64)
            .map(|at| (bound * (2.0 * (of(at) as f64 / (1u64 << 53) as f64) - 1.0)) as f32)
            .collect()
    };
    Factors::new(dim, draw(0, n_users), draw(1, n_items))
}

impl NetworkModel for P4rParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let (n_users, n_items) = (data.ratings.n_users(), data.ratings.n_items());
        let graph = Graph::of_interactions(&data.positives, false).normalise_symmetric();
        let mut nodes = self.nodes(n_users, n_items, context.seed);
        let text = self.features(context)?.map(|features| {
            let wide = match self.fusion {
                Fusion::Concat => self.factors / 2,
                Fusion::Paper | Fusion::Init => self.factors,
            };
            P4rText {
                vectors: tensor_of(&features.items, &[n_items, features.dim], Device::Cpu),
                weight: start::glorot(context.seed, 2, wide, features.dim),
                bias: start::constant(&[wide], 0.0),
            }
        });
        if text.is_some() && self.fusion == Fusion::Concat {
            nodes = &nodes * own_half(n_users, n_items, self.factors);
        }
        let shape = self.shape(n_users);
        Ok(Plan {
            network: Box::new(move |place| {
                let text = text.map(|text| P4rText {
                    vectors: place(text.vectors),
                    weight: place(text.weight),
                    bias: place(text.bias),
                });
                Box::new(P4r::new(graph, shape, place(nodes), text))
            }),
            objective: Objective::of_bpr(self.regularization, 0.0),
        })
    }
}

impl Model for P4rParams {
    fn validate(&self) -> Result<(), Wrong> {
        width("factors", self.factors)?;
        if self.fusion == Fusion::Concat && !self.factors.is_multiple_of(32) {
            let problem = format!("is {}; `fusion: concat` needs a multiple of 32", self.factors);
            return Err(("factors", problem));
        }
        match (&self.text, self.uses_text()) {
            (Some(text), _) => text.validate_fixed().map_err(|message| ("text", message))?,
            (None, false) => {}
            (None, true) => {
                let problem = "is missing: the model needs profiles of items (`text: {profiles: NAME}`), or \
                               `ablate: profiles`";
                return Err(("text", problem.into()));
            }
        }
        positive("alpha", self.alpha)?;
        not_negative("beta", self.beta)?;
        layers(self.layers)?;
        not_negative("regularization", self.regularization)?;
        self.training.validate()
    }

    fn is_seeded(&self) -> bool {
        self.ablate != Ablate::Training
    }

    fn needs_tensors(&self) -> bool {
        matches!(self.ablate, Ablate::None | Ablate::Profiles)
    }

    fn text(&self) -> Option<&TextSpec> {
        self.text.as_ref().filter(|_| self.uses_text())
    }

    fn training(&self) -> Option<&Training> {
        Some(&self.training)
    }

    fn with_training(&self, training: Training) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { training, ..self.clone() }))
    }

    fn memory(&self, size: Size) -> usize {
        4 * (8 * self.factors + 2 * 384) * (size.users + size.items) + 64 * size.ratings
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        match self.needs_tensors() {
            true => networks::fit(self, &self.training, data, context),
            false => Ok(Box::new(self.untrained(data, context)?)),
        }
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

/// The numbers of the network.
#[derive(Clone, Copy, Debug)]
pub struct P4rShape {
    pub n_users: usize,
    pub layers: usize,
    pub alpha: f64,
    pub beta: f64,
    pub fusion: Fusion,
    pub pooling: Pooling,
}

/// The vectors of the items' profiles, `[n_items, any]` (zeros without a text), and the layer that they go through.
pub struct P4rText {
    pub vectors: Tensor,
    /// `[factors, any]`; half of the factors with [`Fusion::Concat`].
    pub weight: Tensor,
    pub bias: Tensor,
}

/// P4R, eq. 5 and 6: with the symmetrically normalised adjacency A of the user-item graph and s of each item,
/// E(k+1) = α_ A E(k) + α β (A 1) s on the rows of items, where α_ is α for items and 1 for users.
pub struct P4r {
    graph: Graph,
    shape: P4rShape,
    /// α or 1 of each node, `[n_nodes, 1]`.
    alphas: Tensor,
    /// Of each item, α β and the sum of its edges' weights, `[n_items, 1]`.
    text_weights: Tensor,
    /// With [`Fusion::Concat`], which numbers of the nodes' vectors are their own, `[n_nodes, factors]`.
    own: Option<Tensor>,
    /// Profiles, and 1 for each item that has one, `[n_items, 1]`.
    text: Option<(Tensor, Tensor)>,
    /// nodes; with texts also the weight and the bias of their layer.
    params: Vec<Param>,
    /// W t + b of the last pass.
    projected: Option<Tensor>,
}

/// `base + A x`
type Propagate = fn(&Graph, &Tensor, Option<&Tensor>) -> Tensor;

/// 1 where a number of a node's vector is its own, 0 where an item's text stands: `[n_nodes, factors]`.
fn own_half(n_users: usize, n_items: usize, factors: usize) -> Tensor {
    let (users, items, half) = (n_users as i64, n_items as i64, factors as i64 / 2);
    let options = (Kind::Float, Device::Cpu);
    let of_items = [Tensor::ones([items, half], options), Tensor::zeros([items, half], options)];
    Tensor::cat(&[Tensor::ones([users, 2 * half], options), Tensor::cat(&of_items, 1)], 0)
}

impl P4r {
    /// `graph` is normalised, without self-loops.
    pub fn new(graph: Graph, shape: P4rShape, nodes: Tensor, text: Option<P4rText>) -> Self {
        let (kind, device) = (nodes.kind(), nodes.device());
        let n_items = graph.n_nodes - shape.n_users;
        let column = |values: Vec<f64>| {
            Tensor::from_slice(&values).unsqueeze(1).to_kind(kind).to_device(device)
        };
        let alpha = |node: usize| if node < shape.n_users { 1.0 } else { shape.alpha };
        let alphas = column((0..graph.n_nodes).map(alpha).collect());
        let sum = |node: usize| -> f64 {
            let edges = &graph.sources[graph.pointers[node]..graph.pointers[node + 1]];
            edges.iter().map(|source| graph.scales[node] * graph.scales[*source as usize]).sum()
        };
        let weights =
            (shape.n_users..graph.n_nodes).map(|item| shape.alpha * shape.beta * sum(item));
        let text_weights = column(weights.collect());
        let factors = nodes.size()[1] as usize;
        let own = (text.is_some() && shape.fusion == Fusion::Concat)
            .then(|| own_half(shape.n_users, n_items, factors).to_kind(kind).to_device(device));
        let mut params = vec![Param::new("nodes", nodes)];
        let text = text.map(|P4rText { vectors, weight, bias }| {
            params.push(Param::new("project.weight", weight));
            params.push(Param::new("project.bias", bias));
            let present = vectors.ne(0.0).any_dim(1, true).to_kind(kind);
            (vectors, present)
        });
        Self { graph, shape, alphas, text_weights, own, text, params, projected: None }
    }

    fn projected(&self) -> Option<Tensor> {
        let (vectors, _) = self.text.as_ref()?;
        Some(vectors.linear(&self.params[1].value, Some(&self.params[2].value)))
    }

    /// Zeros for the users, above a row for each item.
    fn below_users(&self, items: &Tensor) -> Tensor {
        let size = [self.shape.n_users as i64, items.size()[1]];
        Tensor::cat(&[&Tensor::zeros(size, (items.kind(), items.device())), items], 0)
    }

    fn items_of(&self, nodes: &Tensor) -> Tensor {
        let n_users = self.shape.n_users as i64;
        nodes.narrow(0, n_users, nodes.size()[0] - n_users)
    }

    fn scale(&self) -> f64 {
        match self.shape.pooling {
            Pooling::Sum => 1.0,
            Pooling::Mean => 1.0 / (self.shape.layers as f64 + 1.0),
        }
    }

    /// The layers, joined, of the given projections of the texts.
    fn layers(&self, propagate: Propagate, projected: Option<&Tensor>) -> Tensor {
        let nodes = &self.params[0].value;
        let text = match (projected, &self.text) {
            (Some(projected), Some((_, present))) => Some(projected.relu() * present),
            _ => None,
        };
        let (mut layer, mut added) = (nodes.shallow_clone(), None);
        if let Some(text) = text {
            match self.shape.fusion {
                Fusion::Paper => added = Some(self.below_users(&(text * &self.text_weights))),
                // Not in place: the nodes are a parameter, and autograd keeps layers.
                Fusion::Init => layer = &layer + self.below_users(&(text * self.shape.beta)),
                Fusion::Concat => {
                    let own = match &self.own {
                        Some(own) => layer * own,
                        None => layer,
                    };
                    let text = text * self.shape.beta;
                    let text = Tensor::cat(&[&text.zeros_like(), &text], 1);
                    layer = own + self.below_users(&text);
                }
            }
        }
        let mut sum = layer.shallow_clone();
        for _ in 0..self.shape.layers {
            layer = propagate(&self.graph, &layer, None) * &self.alphas;
            if let Some(added) = &added {
                layer = &layer + added;
            }
            sum = &sum + &layer;
        }
        sum * self.scale()
    }
}

impl Network for P4r {
    fn forward(&mut self, _: Option<Dropout>) -> Tensor {
        self.projected = self.projected();
        self.layers(propagate_tensor, self.projected.as_ref())
    }

    fn differentiable(&self, _: Option<Dropout>) -> Tensor {
        self.layers(composite::propagate, self.projected().as_ref())
    }

    /// The adjoint of a layer is A α_: with g the gradient of each layer's part in the output,
    /// g(k) = g + A α_ g(k+1). What eq. 5 adds enters every layer but the first.
    fn backward(&mut self, grad: &Tensor) {
        let grad = (grad * self.scale()).contiguous();
        let (mut of_layer, mut of_added) = (grad.shallow_clone(), grad.zeros_like());
        for _ in 0..self.shape.layers {
            of_added = &of_added + &of_layer;
            of_layer = propagate_tensor(&self.graph, &(&of_layer * &self.alphas), Some(&grad));
        }
        if let (Some((vectors, present)), Some(projected)) = (&self.text, self.projected.take()) {
            let of_text = match self.shape.fusion {
                Fusion::Paper => self.items_of(&of_added) * &self.text_weights,
                Fusion::Init => self.items_of(&of_layer) * self.shape.beta,
                Fusion::Concat => {
                    let half = of_layer.size()[1] / 2;
                    self.items_of(&of_layer).narrow(1, half, half) * self.shape.beta
                }
            };
            let of_projected = of_text * present * projected.gt(0.0).to_kind(present.kind());
            self.params[1].grad = of_projected.tr().matmul(vectors).contiguous();
            self.params[2].grad = of_projected.sum_dim_intlist(0, false, None::<Kind>).contiguous();
        }
        self.params[0].grad = match &self.own {
            Some(own) => (of_layer * own).contiguous(),
            None => of_layer.contiguous(),
        };
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }
}

//! ReviewGNN (Kanezashi et al. 2025, arXiv 2504.02195): a graph of purchases whose second layer also receives the reviews.
//!
//! Only the abstract and third-party summaries of the paper could be had, and no code. What those print: both layers'
//! purchase terms, normalised by the neighbour's degree; review → encoder → fully connected layer → tanh; node and review
//! concatenated and projected in the second layer, with parameters of its own; a loss of BPR and an MSE between reviews and
//! the representations of users and items, with a weight that follows the performance of the collaborative part.
//! **Reconstructed, because nothing prints it**: that the second layer keeps a purchase term and adds the review term to it;
//! that users and items share weights; what exactly the MSE compares ([`Mse`]); how the weight is measured ([`BprWeight`]);
//! sizes, learning rate, negatives. The encoder is frozen (the paper trains it), and MiniLM stands for it.

use std::{collections::HashMap, path::Path, sync::Arc};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FitContext, Model, ModelError, Recommender, Size, Wrong};
use crate::{
    base::random::mix,
    data::TrainingData,
    nn::{
        Device, EncoderSpec, Kind, Tensor,
        loss::Batch,
        network::{BprShare, Dropout, Network, Param, leaf},
        start,
        tensors::tensor_of,
    },
    tasks::top_n::networks::{
        self, NetworkModel, Objective, Plan, Training, not_negative, positive, width,
    },
};

/// Settings. The paper's summaries print none of the numbers: these are common ones, not tuned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ReviewGnnParams {
    /// Length of the vectors, a multiple of 16.
    #[schemars(range(min = 16, max = 1024), extend("multipleOf" = 16))]
    pub factors: usize,
    /// What stands for the reviews: the reviews, or a control.
    pub reviews: ReviewsUsed,
    /// How the texts of reviews become vectors. Not trained.
    pub encoder: EncoderSpec,
    /// The weights of edges.
    pub normalisation: Normalisation,
    /// What of the layers is scored.
    pub pooling: LayersScored,
    /// The second part of the loss.
    pub mse: Mse,
    /// The share of BPR in the loss; the MSE has the rest.
    pub bpr_share: BprWeight,
    /// The share of training reviews that are used. Those of a smaller share are among those of a larger one with the same
    /// seed.
    #[schemars(extend("exclusiveMinimum" = 0), range(max = 1))]
    pub review_density: f64,
    /// Standard deviation of the vectors at the start.
    #[schemars(extend("exclusiveMinimum" = 0))]
    pub init: f64,
    /// λ of λ/2 · Σ |row|² ÷ batch size, over the batch's own vectors before the first layer.
    #[schemars(range(min = 0))]
    pub regularization: f64,
    pub training: Training,
}

/// What stands for the reviews.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReviewsUsed {
    /// The review of each training interaction that has one.
    #[default]
    Text,
    /// The same reviews, each at the edge of another: a placebo.
    Shuffled,
    /// In place of the vector of a review one number: the rating, between -1 and 1. Every training interaction has it.
    Stars,
    /// None: the same network without the review term of its second layer and without the MSE.
    None,
}

/// The weight of an edge from node j into node i.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Normalisation {
    /// 1 ÷ degree of j, the neighbour, as printed.
    #[default]
    Neighbour,
    /// 1 ÷ √(degree of i · degree of j).
    Symmetric,
}

/// What of the layers is scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LayersScored {
    /// The second layer, as printed. It ends with a ReLU, so no score is below 0.
    #[default]
    Last,
    /// The sum of the nodes' own vectors and both layers.
    Sum,
}

/// What the mean squared error compares, for each purchase (u, i) of a batch that has a review r. Nothing prints it: both
/// are reconstructions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mse {
    /// |h_r − h_u ∘ h_i|² ÷ factors, the elementwise product, whose sum is the score.
    #[default]
    Product,
    /// ½ (|h_r − h_u|² + |h_r − h_i|²) ÷ factors.
    Ends,
    /// There is no MSE: BPR alone.
    Off,
}

/// The share of BPR in the loss.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a share from 0 to 1, or bounds (`{lowest: 0.1, highest: 0.9}`)"
)]
pub enum BprWeight {
    /// Always this one.
    Fixed(#[schemars(range(min = 0, max = 1))] f64),
    /// The share of training pairs that are ranked right when an epoch begins, each liked item against one drawn item, within
    /// bounds: the better the ranking, the more BPR. Measured again for every epoch, so that training that was interrupted goes on
    /// with the same share.
    Adaptive(Bounds),
}

/// Bounds of an adaptive share.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// The least share of BPR.
    #[schemars(range(min = 0, max = 1))]
    pub lowest: f64,
    /// The largest share of BPR.
    #[schemars(range(min = 0, max = 1))]
    pub highest: f64,
}

impl Default for BprWeight {
    fn default() -> Self {
        Self::Adaptive(Bounds { lowest: 0.1, highest: 0.9 })
    }
}

impl Default for ReviewGnnParams {
    fn default() -> Self {
        Self {
            factors: 64,
            reviews: ReviewsUsed::default(),
            encoder: EncoderSpec::default(),
            normalisation: Normalisation::default(),
            pooling: LayersScored::default(),
            mse: Mse::default(),
            bpr_share: BprWeight::default(),
            review_density: 1.0,
            init: 0.1,
            regularization: 1e-5,
            training: Training::default(),
        }
    }
}

/// Draws of reviews are apart from all other draws.
const DENSITY_STREAM: u64 = 0x7265_7669_6577;
const SHUFFLE_STREAM: u64 = 1 << 41;

impl ReviewGnnParams {
    /// Whether the review of this pair is used. What is kept with a share is kept with any larger one.
    fn keeps(&self, seed: u64, user: u32, item: u32) -> bool {
        let drawn = mix(mix(seed ^ DENSITY_STREAM) ^ (u64::from(user) << 32 | u64::from(item)));
        ((drawn >> 11) as f64 / (1u64 << 53) as f64) < self.review_density
    }

    /// Pairs with reviews, and their vectors, `[reviews, any]`.
    fn reviews_of(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Option<PairVectors>, ModelError> {
        let kept =
            data.positives.iter().filter(|row| self.keeps(context.seed, row.user.0, row.item.0));
        let mut of = match self.reviews {
            ReviewsUsed::None => return Ok(None),
            ReviewsUsed::Stars => {
                let scale = data.scale();
                if scale.best <= scale.worst {
                    return Err(ModelError::Unsuitable(
                        "`reviews: stars` needs ratings, and all of these are equal".into(),
                    ));
                }
                let (middle, half) =
                    ((scale.best + scale.worst) / 2.0, (scale.best - scale.worst) / 2.0);
                let rows: Vec<_> = kept.collect();
                PairVectors {
                    dim: 1,
                    pairs: rows.iter().map(|row| (row.user.0, row.item.0)).collect(),
                    vectors: rows.iter().map(|row| (row.rating - middle) / half).collect(),
                }
            }
            ReviewsUsed::Text | ReviewsUsed::Shuffled => {
                let known = context.reviews.ok_or_else(|| {
                    ModelError::Unsuitable("the system uses reviews, but none were given".into())
                })?;
                let mut of = PairVectors { dim: known.dim, ..PairVectors::default() };
                for row in kept {
                    if let Some(vector) = known.of(row.user, row.item) {
                        of.pairs.push((row.user.0, row.item.0));
                        of.vectors.extend_from_slice(vector);
                    }
                }
                of
            }
        };
        if of.pairs.is_empty() {
            return Err(ModelError::Unsuitable(format!(
                "no training positive has a review with `review_density: {}`",
                self.review_density
            )));
        }
        if self.reviews == ReviewsUsed::Shuffled {
            let mut order: Vec<usize> = (0..of.pairs.len()).collect();
            let mut random = ChaCha8Rng::seed_from_u64(context.seed);
            random.set_stream(SHUFFLE_STREAM);
            order.shuffle(&mut random);
            let rows = order.iter().flat_map(|at| &of.vectors[at * of.dim..(at + 1) * of.dim]);
            of.vectors = rows.copied().collect();
        }
        Ok(Some(of))
    }
}

/// User and item of each review, and its vector.
#[derive(Default)]
struct PairVectors {
    dim: usize,
    pairs: Vec<(u32, u32)>,
    vectors: Vec<f32>,
}

impl NetworkModel for ReviewGnnParams {
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError> {
        let (n_users, n_items) = (data.positives.n_users(), data.positives.n_items());
        let (d, seed) = (self.factors, context.seed);
        let purchases: Vec<(u32, u32)> =
            data.positives.iter().map(|row| (row.user.0, row.item.0)).collect();
        let nodes = start::normal(seed, 0, &[n_users + n_items, d], self.init);
        let mut weights = vec![start::glorot(seed, 1, d, d), start::glorot(seed, 2, d, d)];
        let reviews = self.reviews_of(data, context)?.map(|of| {
            weights.push(start::glorot(seed, 3, d, 2 * d));
            weights.push(start::glorot(seed, 4, d, of.dim));
            weights.push(start::constant(&[d], 0.0));
            (tensor_of(&of.vectors, &[of.pairs.len(), of.dim], Device::Cpu), of.pairs)
        });
        let shape = ReviewGnnShape {
            n_users,
            n_items,
            normalisation: self.normalisation,
            pooling: self.pooling,
            mse: self.mse,
            bpr_share: self.bpr_share,
        };
        Ok(Plan {
            network: Box::new(move |place| {
                let reviews = reviews.map(|(vectors, pairs)| (place(vectors), pairs));
                let weights = weights.into_iter().map(place).collect();
                Box::new(ReviewGnn::new(shape, &purchases, place(nodes), weights, reviews))
            }),
            objective: Objective::of_bpr(self.regularization, 0.0),
        })
    }
}

impl Model for ReviewGnnParams {
    fn validate(&self) -> Result<(), Wrong> {
        width("factors", self.factors)?;
        self.encoder.validate().map_err(|message| ("encoder", message))?;
        let share = |value: f64| (0.0..=1.0).contains(&value);
        match self.bpr_share {
            BprWeight::Fixed(value) if !share(value) => {
                return Err(("bpr_share", format!("is {value}; expected a share from 0 to 1")));
            }
            BprWeight::Adaptive(Bounds { lowest, highest })
                if !share(lowest) || !share(highest) || lowest > highest =>
            {
                let problem = format!(
                    "`lowest` is {lowest} and `highest` {highest}; expected bounds from 0 to 1, in this order"
                );
                return Err(("bpr_share", problem));
            }
            _ => {}
        }
        if !(self.review_density > 0.0 && self.review_density <= 1.0) {
            let problem = format!("is {}; expected a share over 0, up to 1", self.review_density);
            return Err(("review_density", problem));
        }
        positive("init", self.init)?;
        not_negative("regularization", self.regularization)?;
        self.training.validate()
    }

    fn reviews(&self) -> Option<&EncoderSpec> {
        matches!(self.reviews, ReviewsUsed::Text | ReviewsUsed::Shuffled).then_some(&self.encoder)
    }

    fn training(&self) -> Option<&Training> {
        Some(&self.training)
    }

    fn with_training(&self, training: Training) -> Option<Arc<dyn Model>> {
        Some(Arc::new(Self { training, ..self.clone() }))
    }

    fn memory(&self, size: Size) -> usize {
        // Vectors of reviews, and what autograd keeps of edges in both directions.
        4 * size.ratings * (2 * 384 + 12 * self.factors)
            + 4 * 16 * self.factors * (size.users + size.items)
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

/// The numbers of the network, and its loss.
#[derive(Clone, Copy, Debug)]
pub struct ReviewGnnShape {
    pub n_users: usize,
    pub n_items: usize,
    pub normalisation: Normalisation,
    pub pooling: LayersScored,
    pub mse: Mse,
    pub bpr_share: BprWeight,
}

/// Names of the parameters after the nodes' own vectors; the last three only with reviews.
pub const REVIEW_GNN_PARAMS: [&str; 5] =
    ["0.purchase", "1.purchase", "1.review", "project.weight", "project.bias"];

/// Both directions of the edges of some pairs of user and item.
struct Edges {
    sources: Tensor,
    targets: Tensor,
    /// `[edges, 1]`
    weights: Tensor,
}

struct ReviewEdges {
    edges: Edges,
    /// By edge, its row in `vectors`.
    rows: Tensor,
    /// `[reviews, any]`
    vectors: Tensor,
    /// The row of each pair of nodes.
    row_of: HashMap<(u32, u32), i64>,
}

/// h¹ = ReLU(P h⁰ W₀ᵀ) and h² = ReLU(P h¹ W₁ᵀ + Σ_r p_r [h¹ ; h_r] W_rᵀ) with the normalised purchases P, the normalised review
/// edges p_r and h_r = tanh(V t_r + b). Weights have no bias, as printed.
pub struct ReviewGnn {
    shape: ReviewGnnShape,
    purchases: Edges,
    reviews: Option<ReviewEdges>,
    /// nodes, then those of [`REVIEW_GNN_PARAMS`].
    params: Vec<Param>,
    /// Of the last pass in training: the parameters as leaves, and the output.
    tape: Option<(Vec<Tensor>, Tensor)>,
}

fn indices(values: Vec<i64>, like: &Tensor) -> Tensor {
    Tensor::from_slice(&values).to_device(like.device())
}

impl Edges {
    /// `pairs` of user and item, each once.
    fn new(shape: &ReviewGnnShape, pairs: &[(u32, u32)], like: &Tensor) -> Self {
        let node = |item: u32| shape.n_users + item as usize;
        let mut degrees = vec![0f64; shape.n_users + shape.n_items];
        for &(user, item) in pairs {
            degrees[user as usize] += 1.0;
            degrees[node(item)] += 1.0;
        }
        let forward = pairs.iter().map(|&(user, item)| (node(item), user as usize));
        let back = pairs.iter().map(|&(user, item)| (user as usize, node(item)));
        let edges: Vec<(usize, usize)> = forward.chain(back).collect();
        let weight = |&(source, target): &(usize, usize)| match shape.normalisation {
            Normalisation::Neighbour => 1.0 / degrees[source],
            Normalisation::Symmetric => 1.0 / (degrees[source] * degrees[target]).sqrt(),
        };
        let weights: Vec<f64> = edges.iter().map(weight).collect();
        let weights = Tensor::from_slice(&weights).unsqueeze(1);
        Self {
            sources: indices(edges.iter().map(|edge| edge.0 as i64).collect(), like),
            targets: indices(edges.iter().map(|edge| edge.1 as i64).collect(), like),
            weights: weights.to_kind(like.kind()).to_device(like.device()),
        }
    }

    /// The weighted sum of the edges' values into each of `n` nodes.
    fn sum(&self, n: usize, values: &Tensor) -> Tensor {
        let size = [n as i64, values.size()[1]];
        let zeros = Tensor::zeros(size, (values.kind(), values.device()));
        zeros.index_add(0, &self.targets, &(values * &self.weights))
    }
}

impl ReviewGnn {
    /// `weights` are those of [`REVIEW_GNN_PARAMS`]; `reviews` are vectors and their pairs of user and item.
    pub fn new(
        shape: ReviewGnnShape,
        purchases: &[(u32, u32)],
        nodes: Tensor,
        weights: Vec<Tensor>,
        reviews: Option<(Tensor, Vec<(u32, u32)>)>,
    ) -> Self {
        let purchases = Edges::new(&shape, purchases, &nodes);
        let reviews = reviews.map(|(vectors, pairs)| {
            let rows = (0..pairs.len() as i64).chain(0..pairs.len() as i64).collect();
            let node = |item: u32| shape.n_users as u32 + item;
            let row_of =
                pairs.iter().zip(0..).map(|(&(user, item), row)| ((user, node(item)), row));
            ReviewEdges {
                edges: Edges::new(&shape, &pairs, &nodes),
                rows: indices(rows, &nodes),
                vectors,
                row_of: row_of.collect(),
            }
        });
        let mut params = vec![Param::new("nodes", nodes)];
        let named = REVIEW_GNN_PARAMS.iter().zip(weights);
        params.extend(named.map(|(name, weight)| Param::new(*name, weight)));
        Self { shape, purchases, reviews, params, tape: None }
    }

    /// Embeddings of all nodes, given the values of the parameters.
    fn embeddings(&self, params: &[Tensor]) -> Tensor {
        let n = self.shape.n_users + self.shape.n_items;
        let from = |edges: &Edges, x: &Tensor| x.index_select(0, &edges.sources);
        let nodes = &params[0];
        let bought = self.purchases.sum(n, &from(&self.purchases, nodes));
        let first = bought.linear(&params[1], None::<Tensor>).relu();
        let bought = self.purchases.sum(n, &from(&self.purchases, &first));
        let mut second = bought.linear(&params[2], None::<Tensor>);
        if let Some(reviews) = &self.reviews {
            let texts = reviews.vectors.linear(&params[4], Some(&params[5])).tanh();
            let texts = texts.index_select(0, &reviews.rows);
            let joined = Tensor::cat(&[from(&reviews.edges, &first), texts], 1);
            let reviewed = reviews.edges.sum(n, &joined);
            second += reviewed.linear(&params[3], None::<Tensor>);
        }
        let second = second.relu();
        match self.shape.pooling {
            LayersScored::Last => second,
            LayersScored::Sum => nodes + first + second,
        }
    }

    fn values(&self) -> Vec<Tensor> {
        self.params.iter().map(|param| param.value.shallow_clone()).collect()
    }
}

impl Network for ReviewGnn {
    fn forward(&mut self, dropout: Option<Dropout>) -> Tensor {
        if dropout.is_none() {
            self.tape = None;
            return self.embeddings(&self.values());
        }
        let leaves: Vec<Tensor> = self.params.iter().map(|param| leaf(&param.value)).collect();
        let out = self.embeddings(&leaves);
        let value = out.detach();
        self.tape = Some((leaves, out));
        value
    }

    fn differentiable(&self, _: Option<Dropout>) -> Tensor {
        self.embeddings(&self.values())
    }

    fn backward(&mut self, grad: &Tensor) {
        // invariant: there was a pass in training
        let Some((leaves, out)) = self.tape.take() else { return };
        let sum = (out * grad).sum(None::<Kind>);
        let grads = Tensor::run_backward(&[sum], &leaves, false, false);
        for (param, grad) in self.params.iter_mut().zip(grads) {
            param.grad = grad.detach().contiguous();
        }
    }

    fn params(&mut self) -> &mut Vec<Param> {
        &mut self.params
    }

    fn bpr_share(&self) -> Option<BprShare> {
        if self.reviews.is_none() || self.shape.mse == Mse::Off {
            return None;
        }
        Some(match self.shape.bpr_share {
            BprWeight::Fixed(share) => BprShare::Fixed(share),
            BprWeight::Adaptive(Bounds { lowest, highest }) => {
                BprShare::RankedRight { lowest, highest }
            }
        })
    }

    fn alignment(&self, embeddings: &Tensor, batch: &Batch) -> Option<Tensor> {
        let reviews = self.reviews.as_ref()?;
        let (mut rows, mut users, mut items) = (Vec::new(), Vec::new(), Vec::new());
        for (&user, &item) in batch.users.iter().zip(&batch.positives) {
            if let Some(row) = reviews.row_of.get(&(user, item)) {
                rows.push(*row);
                users.push(i64::from(user));
                items.push(i64::from(item));
            }
        }
        if rows.is_empty() {
            return None;
        }
        let select = |of: &Tensor, rows: Vec<i64>| of.index_select(0, &indices(rows, of));
        let (weight, bias) = (&self.params[4].value, &self.params[5].value);
        let texts = select(&reviews.vectors, rows).linear(weight, Some(bias)).tanh();
        let (users, items) = (select(embeddings, users), select(embeddings, items));
        let squares = |off: Tensor| off.square().mean(None::<Kind>);
        Some(match self.shape.mse {
            Mse::Product => squares(texts - users * items),
            Mse::Ends => (squares(&texts - users) + squares(texts - items)) * 0.5,
            Mse::Off => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        data::{Interaction, Interactions, ItemIx, Relevance, UserIx},
        text::{Embeddings, ReviewVectors},
    };

    fn data() -> TrainingData {
        let pairs = (0..20u32).flat_map(|user| (0..15u32).map(move |item| (user, item)));
        let rows: Vec<Interaction> = pairs
            .filter(|(user, item)| (user + item * item) % 3 != 0)
            .map(|(user, item)| Interaction {
                user: UserIx(user),
                item: ItemIx(item),
                rating: (1 + (user + item) % 5) as f32,
                timestamp: Default::default(),
            })
            .collect();
        let ratings = Interactions::new(20, 15, &rows);
        TrainingData {
            positives: ratings.clone(),
            disliked: None,
            validation: Interactions::new(20, 15, &[]),
            relevant: Relevance::Any,
            ratings,
        }
    }

    fn vectors(data: &TrainingData) -> ReviewVectors {
        let n = data.ratings.len();
        // Every seventh interaction has no text.
        let present: Vec<bool> = (0..n).map(|at| at % 7 != 0).collect();
        let vectors = (0..2 * n).map(|at| (at as f32 * 0.3).sin()).collect();
        ReviewVectors::new(&data.ratings, Embeddings { dim: 2, vectors, present })
    }

    fn of(settings: serde_json::Value, seed: u64) -> Option<PairVectors> {
        let (data, interrupt) = (data(), Interrupt::default());
        let known = vectors(&data);
        let context = FitContext { reviews: Some(&known), ..FitContext::silent(seed, &interrupt) };
        let params: ReviewGnnParams = serde_json::from_value(settings).unwrap();
        params.reviews_of(&data, &context).unwrap()
    }

    #[test]
    fn shares_of_reviews_are_nested_and_about_as_large_as_asked() {
        let pairs = |density: f64, seed: u64| {
            of(serde_json::json!({"review_density": density}), seed).unwrap().pairs
        };
        let (all, third, tenth) = (pairs(1.0, 1), pairs(0.3, 1), pairs(0.1, 1));
        assert!(tenth.iter().all(|pair| third.contains(pair)));
        assert!(third.iter().all(|pair| all.contains(pair)));
        let share = third.len() as f64 / all.len() as f64;
        assert!((share - 0.3).abs() < 0.08, "{share}");
        assert_ne!(third, pairs(0.3, 2));
        assert_eq!(all.len(), data().ratings.len() - data().ratings.len().div_ceil(7));
    }

    #[test]
    fn shuffled_reviews_are_the_same_ones_at_other_edges() {
        let plain = of(serde_json::json!({}), 1).unwrap();
        let shuffled = of(serde_json::json!({"reviews": "shuffled"}), 1).unwrap();
        assert_eq!(plain.pairs, shuffled.pairs);
        let rows = |of: &PairVectors| -> Vec<Vec<u32>> {
            of.vectors.chunks(2).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect()
        };
        let (before, after) = (rows(&plain), rows(&shuffled));
        let stayed = before.iter().zip(&after).filter(|(a, b)| a == b).count();
        assert!(stayed < before.len() / 10, "{stayed} of {}", before.len());
        let sorted = |mut rows: Vec<Vec<u32>>| {
            rows.sort_unstable();
            rows
        };
        assert_eq!(sorted(before), sorted(after));
    }

    #[test]
    fn stars_are_ratings_between_minus_one_and_one_and_none_is_nothing() {
        let stars = of(serde_json::json!({"reviews": "stars"}), 1).unwrap();
        let ratings = data().ratings.ratings().to_vec();
        assert_eq!(stars.vectors, ratings.iter().map(|r| (r - 3.0) / 2.0).collect::<Vec<_>>());
        assert!(of(serde_json::json!({"reviews": "none"}), 1).is_none());
    }

    #[test]
    fn settings_out_of_range_are_refused() {
        for (settings, field) in [
            (serde_json::json!({"review_density": 0.0}), "review_density"),
            (serde_json::json!({"review_density": 1.5}), "review_density"),
            (serde_json::json!({"bpr_share": 2.0}), "bpr_share"),
            (serde_json::json!({"bpr_share": {"lowest": 0.9, "highest": 0.1}}), "bpr_share"),
        ] {
            let params: ReviewGnnParams = serde_json::from_value(settings).unwrap();
            assert_eq!(params.validate().unwrap_err().0, field);
        }
    }
}

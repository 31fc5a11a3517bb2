//! BPR and its relatives: a network that learns from a user, an item the user liked and one that was drawn.

use std::{ops::Range, sync::Arc};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::{Training, Validate, contrast::Contrast};
use crate::{
    base::random::mix,
    data::{Interactions, TrainingData},
    nn::{
        Tensor,
        learn::{self, Learner, MeanLoss, Parts, TrainContext, TrainingStats, autograd},
        loss::{self, Batch, Weights, regularise},
        network::{BprShare, Dropout, Network, Param, Regularised},
        sampler::{Draw, Exclude, Sampler},
        tensors::floats,
    },
    tasks::top_n::{
        models::{Factors, FitContext, ModelError},
        validation,
    },
};

/// What is minimised.
#[derive(Clone, Copy, Debug)]
pub struct Objective {
    pub weights: Weights,
    /// λ of λ/2 · Σ |row|² ÷ batch size.
    pub regularization: f64,
    pub dropout: f64,
    /// Of a network with views: how they are compared.
    pub contrast: Option<Contrast>,
    /// Positives a step where the settings do not say; 0: all.
    pub batch: usize,
}

impl Objective {
    /// BPR alone, in batches of 2048.
    pub fn of_bpr(regularization: f64, dropout: f64) -> Self {
        Self { weights: Weights::BPR, regularization, dropout, contrast: None, batch: 2048 }
    }

    /// BPR and InfoNCE between two views, in batches of 2048.
    pub fn of_contrast(regularization: f64, contrast: Contrast) -> Self {
        Self { contrast: Some(contrast), ..Self::of_bpr(regularization, 0.0) }
    }
}

/// One epoch of a network's history.
pub type Epoch = learn::Epoch<BprParts>;

/// The parts of the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct BprParts {
    pub bpr: f64,
    /// 1 − mean cosine; 0 where it has no weight.
    pub cosine: f64,
    /// Mean binary cross-entropy; left out where it has no weight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cross_entropy: f64,
    /// InfoNCE of users plus that of items, without λ; left out where nothing is contrasted.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub contrast: f64,
    /// Mean squared error of an alignment, and the share of the rest of the loss beside it; left out where there is none.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub mse: f64,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub bpr_share: f64,
    /// Of a batch without λ, of an epoch with it.
    pub regularization: f64,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

impl Parts for BprParts {
    fn add(&mut self, share: f64, of_batch: &Self) {
        self.bpr += share * of_batch.bpr;
        self.cosine += share * of_batch.cosine;
        self.cross_entropy += share * of_batch.cross_entropy;
        self.contrast += share * of_batch.contrast;
        self.mse += share * of_batch.mse;
        self.bpr_share += share * of_batch.bpr_share;
        self.regularization += share * of_batch.regularization;
    }
}

/// A trained network.
pub struct Trained<P = BprParts> {
    pub dim: usize,
    /// Final embeddings, users then items.
    pub users: Vec<f32>,
    pub items: Vec<f32>,
    /// Name, shape and numbers of every parameter.
    pub params: Vec<(String, Vec<usize>, Vec<f32>)>,
    pub stats: TrainingStats,
    pub history: Vec<learn::Epoch<P>>,
}

/// Name, shape and numbers of parameters.
pub fn numbers_of(params: &[Param]) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let of = |param: &Param| {
        let shape = param.value.size().iter().map(|size| *size as usize).collect();
        (param.name.clone(), shape, floats(&param.value))
    };
    params.iter().map(of).collect()
}

/// Refuses to measure where there is nothing to measure on.
pub fn check_validation(settings: &Training, data: &TrainingData) -> Result<(), ModelError> {
    match settings.validate.is_some() && data.validation.is_empty() {
        true => Err(ModelError::Unsuitable(
            "`training.validate` needs a validation part, but the split has none\n  = help: add \
             `validation: {fraction: 0.1}` to `split`, or remove `validate` and `stop`"
                .into(),
        )),
        false => Ok(()),
    }
}

/// What accompanies a training, of what accompanies a fit.
pub fn of_loop<'a>(context: &FitContext<'a>) -> TrainContext<'a> {
    TrainContext {
        interrupt: context.interrupt,
        progress: context.progress,
        log: context.log,
        checkpoint: context.scratch.map(|dir| dir.join("checkpoint.safetensors")),
    }
}

/// Positives of one step; their negatives are drawn in it.
pub struct Positives {
    epoch: u64,
    /// Which step of the epoch it is.
    step: u64,
    /// All positives of the epoch in the order they are learnt from, and which of those these are.
    order: Arc<[u32]>,
    range: Range<usize>,
}

/// A network, and the positives it learns from.
pub struct BprLearner<'a> {
    pub(super) network: &'a mut dyn Network,
    pub(super) objective: Objective,
    pub(super) data: &'a TrainingData,
    context: &'a FitContext<'a>,
    /// User and liked item.
    pairs: Vec<(u32, u32)>,
    /// Positives a step.
    batch: usize,
    pub(super) draw: Draw,
    sampler: Sampler,
    validate: Option<Validate>,
    /// The share of BPR in this epoch's loss; 1 without an alignment.
    bpr_share: f64,
    /// Of the last [`Learner::loss`].
    last: BprParts,
}

impl<'a> BprLearner<'a> {
    /// `network`'s nodes are the users and then the items of `data`.
    pub fn new(
        network: &'a mut dyn Network,
        data: &'a TrainingData,
        settings: &Training,
        objective: Objective,
        context: &'a FitContext<'a>,
    ) -> Result<Self, ModelError> {
        let pairs: Vec<(u32, u32)> =
            data.positives.iter().map(|row| (row.user.0, row.item.0)).collect();
        let sampler = Sampler::new(
            settings.negatives,
            context.seed,
            known(data, settings.negatives.exclude)?,
            &data.positives.item_counts(),
        );
        let batch = match settings.batch.unwrap_or(objective.batch) {
            0 => pairs.len().max(1),
            batch => batch,
        };
        let (draw, validate) = (settings.negatives.draw, settings.validate);
        let bpr_share = match network.bpr_share() {
            Some(BprShare::Fixed(share)) => share,
            // Measured when an epoch starts.
            Some(BprShare::RankedRight { highest, .. }) => highest,
            None => 1.0,
        };
        let last = BprParts::default();
        Ok(Self {
            network,
            objective,
            data,
            context,
            pairs,
            batch,
            draw,
            sampler,
            validate,
            bpr_share,
            last,
        })
    }

    pub(super) fn dropout(&self, batch: &Positives) -> Dropout {
        let stream = mix(self.context.seed ^ mix(batch.epoch << 32 | batch.step));
        Dropout { share: self.objective.dropout, stream }
    }

    /// The nodes of a batch, with a negative for each positive. The hard sampler looks at embeddings.
    pub(super) fn nodes(&self, batch: &Positives, embeddings: &Tensor) -> Batch {
        let chosen = || batch.order[batch.range.clone()].iter().map(|at| self.pairs[*at as usize]);
        let n_users = self.data.ratings.n_users();
        let item = |item: u32| n_users as u32 + item;
        let users: Vec<u32> = chosen().map(|(user, _)| user).collect();
        let (epoch, first) = (batch.epoch, batch.range.start as u64);
        let negatives = match self.draw {
            Draw::Hard => {
                let dim = embeddings.size()[1] as usize;
                let rows = floats(embeddings);
                let row = |node: usize| &rows[node * dim..(node + 1) * dim];
                self.sampler.draw(&users, epoch, first, &|user, item| {
                    let (user, item) = (row(user as usize), row(n_users + item as usize));
                    user.iter().zip(item).map(|(a, b)| a * b).sum()
                })
            }
            _ => self.sampler.draw(&users, epoch, first, &|_, _| 0.0),
        };
        Batch {
            positives: chosen().map(|(_, liked)| item(liked)).collect(),
            negatives: negatives.into_iter().map(item).collect(),
            users,
        }
    }

    /// What regularisation is over, where there is any.
    fn regularised(&mut self) -> Option<Regularised> {
        let over = self.network.regularised();
        let empty = over == Regularised::Nodes && self.network.params()[0].value.numel() == 0;
        (self.objective.regularization > 0.0 && !empty).then_some(over)
    }

    fn total(&self, parts: &BprParts, regularization: f64) -> f64 {
        let BprParts { bpr, cosine, cross_entropy, mse, .. } = *parts;
        let of_pairs = self.objective.weights.sum(loss::Parts { bpr, cosine, cross_entropy });
        match self.network.bpr_share() {
            Some(_) => self.bpr_share * of_pairs + (1.0 - self.bpr_share) * mse + regularization,
            None => of_pairs + regularization,
        }
    }

    /// The share of training pairs that the parameters rank right: each positive against the item that this epoch draws for
    /// it. Depends on nothing but the parameters and the epoch, so that interrupted training goes on with the same.
    fn ranked_right(&mut self, epoch: usize) -> f64 {
        let Some(first) = self.batches(epoch).next() else { return 0.0 };
        let all = Positives { step: 0, range: 0..first.order.len(), ..first };
        let embeddings = self.network.forward(None);
        let (nodes, dim) = (self.nodes(&all, &embeddings), embeddings.size()[1] as usize);
        let rows = floats(&embeddings);
        let score = |user: u32, item: u32| -> f32 {
            let row = |node: u32| &rows[node as usize * dim..][..dim];
            row(user).iter().zip(row(item)).map(|(a, b)| a * b).sum()
        };
        let pairs = nodes.users.iter().zip(nodes.positives.iter().zip(&nodes.negatives));
        let right = pairs.filter(|(u, (p, q))| score(**u, **p) > score(**u, **q)).count();
        right as f64 / nodes.users.len() as f64
    }
}

impl Learner for BprLearner<'_> {
    type Batch = Positives;
    type Parts = BprParts;
    type Error = ModelError;

    fn params(&mut self) -> &mut [Param] {
        self.network.params()
    }

    fn start_epoch(&mut self, epoch: usize) -> Result<(), ModelError> {
        self.network.start_epoch(mix(self.context.seed ^ mix(EPOCH | epoch as u64)));
        if let Some(BprShare::RankedRight { lowest, highest }) = self.network.bpr_share() {
            self.bpr_share = self.ranked_right(epoch).clamp(lowest, highest);
        }
        Ok(())
    }

    fn batches(&mut self, epoch: usize) -> Box<dyn Iterator<Item = Positives>> {
        let mut order: Vec<u32> = (0..self.pairs.len() as u32).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.context.seed);
        random.set_stream(epoch as u64 + 1);
        order.shuffle(&mut random);
        let (order, size): (Arc<[u32]>, _) = (order.into(), self.batch);
        Box::new((0..order.len().div_ceil(size)).map(move |step| {
            let range = step * size..((step + 1) * size).min(order.len());
            Positives { epoch: epoch as u64, step: step as u64, order: order.clone(), range }
        }))
    }

    fn share(&self, batch: &Positives) -> f64 {
        batch.range.len() as f64 / self.pairs.len() as f64
    }

    /// By libtorch's own operations, without our kernels. Without an alignment, training takes [`Self::step`]; this is its
    /// twin in tests.
    fn loss(&mut self, batch: &Positives) -> Tensor {
        if let Some(contrast) = self.objective.contrast {
            return self.contrast_loss(batch, &contrast);
        }
        let embeddings = self.network.differentiable(Some(self.dropout(batch)));
        let nodes = self.nodes(batch, &embeddings);
        let (mut total, parts) = loss::differentiable(&embeddings, &nodes, self.objective.weights);
        let loss::Parts { bpr, cosine, cross_entropy } = parts;
        self.last = BprParts { bpr, cosine, cross_entropy, ..BprParts::default() };
        let number = |of: &Tensor| f64::try_from(of.detach()).unwrap_or(f64::NAN);
        if self.network.bpr_share().is_some() {
            self.last.bpr_share = self.bpr_share;
            total = &total * self.bpr_share;
            if let Some(mse) = self.network.alignment(&embeddings, &nodes) {
                self.last.mse = number(&mse);
                total += mse * (1.0 - self.bpr_share);
            }
        }
        let squares = match self.regularised() {
            Some(Regularised::Embeddings) => loss::squares(&embeddings, &nodes),
            Some(Regularised::Nodes) => loss::squares(&self.network.params()[0].value, &nodes),
            None => return total,
        };
        self.last.regularization = number(&squares);
        total + squares * self.objective.regularization
    }

    /// By our kernels; with an alignment by autograd.
    fn step(&mut self, batch: &Positives) -> Result<MeanLoss<BprParts>, ModelError> {
        if let Some(contrast) = self.objective.contrast {
            return self.contrast_step(batch, &contrast);
        }
        if self.network.bpr_share().is_some() {
            return Ok(MeanLoss { loss: autograd(self, batch)?, parts: self.last });
        }
        let embeddings = self.network.forward(Some(self.dropout(batch)));
        let nodes = self.nodes(batch, &embeddings);
        let (parts, mut grad) = loss::loss(&embeddings, &nodes, self.objective.weights);
        let (lambda, over) = (self.objective.regularization, self.regularised());
        let mut regularization = 0.0;
        if over == Some(Regularised::Embeddings) {
            regularization = regularise(&embeddings, &mut grad, &nodes, lambda);
        }
        self.network.backward(&grad);
        if over == Some(Regularised::Nodes) {
            let own = &mut self.network.params()[0];
            let mut grad = own.grad.contiguous();
            regularization = regularise(&own.value, &mut grad, &nodes, lambda);
            own.grad = grad;
        }
        let loss::Parts { bpr, cosine, cross_entropy } = parts;
        let parts = BprParts { bpr, cosine, cross_entropy, regularization, ..BprParts::default() };
        Ok(MeanLoss { loss: self.total(&parts, lambda * regularization), parts })
    }

    /// Summed from the means of the parts, in this order: another one rounds otherwise.
    fn epoch_loss(&self, mean: MeanLoss<BprParts>) -> MeanLoss<BprParts> {
        let regularization = self.objective.regularization * mean.parts.regularization;
        let parts = BprParts { regularization, ..mean.parts };
        if self.objective.contrast.is_some() {
            // What is a sum over a batch cannot be summed from means.
            return MeanLoss { loss: mean.loss, parts };
        }
        MeanLoss { loss: self.total(&parts, regularization), parts }
    }

    fn validate(&mut self) -> Result<Option<f64>, ModelError> {
        let Some(Validate { metric, k, .. }) = self.validate else { return Ok(None) };
        let (dim, users, items) = embeddings(self.network, self.data.ratings.n_users());
        let model = Factors::new(dim, users, items);
        validation(&model, self.data, metric, k, self.context).map(Some)
    }
}

/// A stream for what is drawn once in an epoch, apart from those of its steps.
const EPOCH: u64 = 1 << 63;

/// What a sampler must not draw.
fn known(data: &TrainingData, exclude: Exclude) -> Result<Interactions, ModelError> {
    match exclude {
        Exclude::Liked => Ok(data.positives.clone()),
        Exclude::Nothing => {
            Ok(Interactions::new(data.ratings.n_users(), data.ratings.n_items(), &[]))
        }
        Exclude::Rated => Ok(data.ratings.clone()),
        Exclude::LikedAndDisliked => match &data.disliked {
            Some(disliked) => {
                let rows: Vec<_> = data.positives.iter().chain(disliked.iter()).collect();
                Ok(Interactions::new(data.ratings.n_users(), data.ratings.n_items(), &rows))
            }
            None => Err(ModelError::Unsuitable(
                "`negatives.exclude: liked-and-disliked` needs a rule for disliked ratings\n  = help: add \
                 `disliked: \"<= 2\"` to `data`"
                    .into(),
            )),
        },
    }
}

/// Trains `network`, whose nodes are the users and then the items of `data`.
pub fn train(
    network: &mut dyn Network,
    data: &TrainingData,
    settings: &Training,
    objective: Objective,
    context: &FitContext,
) -> Result<Trained, ModelError> {
    check_validation(settings, data)?;
    let mut learner = BprLearner::new(network, data, settings, objective, context)?;
    let learn::Trained { stats, history } =
        learn::train(&mut learner, &settings.of_loop(), &of_loop(context))?;
    let (dim, users, items) = embeddings(network, data.ratings.n_users());
    let params = numbers_of(network.params());
    Ok(Trained { dim, users, items, params, stats, history })
}

/// Dimension, users' and items' final embeddings.
fn embeddings(network: &mut dyn Network, n_users: usize) -> (usize, Vec<f32>, Vec<f32>) {
    let all = network.forward(None);
    let dim = all.size()[1] as usize;
    let mut users = floats(&all);
    let items = users.split_off(n_users * dim);
    (dim, users, items)
}

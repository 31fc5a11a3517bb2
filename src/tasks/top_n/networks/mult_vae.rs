//! MultVAE as a learner: batches of users, the annealed loss, and users' vectors for scoring.

use std::{cell::RefCell, ops::Range, sync::Arc};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

use super::{
    Neural, OwnLearner,
    bpr::{Trained, check_validation, numbers_of, of_loop},
};
use crate::{
    base::random::mix,
    data::{TrainingData, UserIx},
    nn::{
        Device, NnError, Tensor,
        device::has_kernels,
        learn::{self, Learner, MeanLoss, Parts, autograd},
        mult_vae::{Means, MultVae, Users},
        network::Param,
        no_grad_guard,
        tensors::floats,
    },
    tasks::top_n::{
        models::{BATCH, Factors, FitContext, ModelError, MultVaeParams, Recommender},
        validation,
    },
};

/// The parts of the loss, means over users.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct VaeParts {
    /// −Σ log π of the user's items.
    pub multinomial: f64,
    /// Divergence from the prior, without its weight.
    pub kl: f64,
}

impl Parts for VaeParts {
    fn add(&mut self, share: f64, of_batch: &Self) {
        self.multinomial += share * of_batch.multinomial;
        self.kl += share * of_batch.kl;
    }
}

/// Users of one step.
pub struct Batch {
    /// Which step of the training it is, counted from 0.
    step: u64,
    /// All users of the epoch in the order they are learnt from, and which of those these are.
    order: Arc<[u32]>,
    range: Range<usize>,
}

/// The autoencoder, and the users it learns from.
pub struct VaeLearner<'a> {
    pub network: MultVae,
    settings: &'a MultVaeParams,
    data: &'a TrainingData,
    context: &'a FitContext<'a>,
    /// Users who like something.
    users: Vec<u32>,
    batch: usize,
    /// The parts of the last loss.
    parts: RefCell<Option<(Tensor, Tensor)>>,
}

impl<'a> VaeLearner<'a> {
    pub fn new(
        network: MultVae,
        settings: &'a MultVaeParams,
        data: &'a TrainingData,
        context: &'a FitContext<'a>,
    ) -> Result<Self, ModelError> {
        let likes = |user: &u32| !data.positives.items_of(UserIx(*user)).is_empty();
        let users: Vec<u32> = (0..data.positives.n_users() as u32).filter(likes).collect();
        if users.is_empty() {
            return Err(ModelError::Unsuitable(
                "no user likes anything in the training part: there is nothing to learn from"
                    .into(),
            ));
        }
        let batch = match settings.training.batch.unwrap_or(BATCH) {
            0 => users.len(),
            batch => batch,
        };
        Ok(Self { network, settings, data, context, users, batch, parts: RefCell::new(None) })
    }

    fn steps(&self) -> usize {
        self.users.len().div_ceil(self.batch)
    }

    fn inputs(&self, users: &[u32], dropped: Option<u64>) -> Users {
        inputs(self.data, users, self.settings.dropout, dropped)
    }

    /// What a step learns from: inputs, noise and the weight of the divergence.
    fn drawn(&self, batch: &Batch) -> (Users, Option<Tensor>, f64) {
        let users = &batch.order[batch.range.clone()];
        let stream = mix(self.context.seed ^ mix(batch.step));
        let (data, dropout, noise) = (self.data, self.settings.dropout, self.settings.noise);
        let count = users.len() * self.settings.latent;
        let draws = || {
            let mut random = ChaCha8Rng::seed_from_u64(mix(stream ^ 2));
            let draw = || noise * Distribution::<f64>::sample(&StandardNormal, &mut random);
            std::iter::repeat_with(draw).take(count).collect::<Vec<f64>>()
        };
        let (inputs, draws) = rayon::join(
            || inputs(data, users, dropout, Some(mix(stream ^ 1))),
            || (noise > 0.0).then(draws),
        );
        let shape = [users.len() as i64, self.settings.latent as i64];
        let noise = draws.map(|draws| Tensor::from_slice(&draws).reshape(shape));
        (inputs, noise, self.settings.annealing.weight(batch.step + 1))
    }

    /// Vectors whose products are the scores: of users the last hidden layer and a 1, of items their weights and their bias.
    pub fn vectors(&self) -> (usize, Vec<f32>, Vec<f32>) {
        let _guard = no_grad_guard();
        let (weight, bias) = self.network.last();
        let dim = weight.size()[1] as usize + 1;
        let items = floats(&Tensor::cat(&[weight, &bias.reshape([-1, 1])], 1));
        let mut users = vec![0.0; self.data.positives.n_users() * dim];
        for part in self.users.chunks(BATCH) {
            let states = floats(&self.network.hidden(&self.inputs(part, None), None).states);
            for (user, state) in part.iter().zip(states.chunks(dim - 1)) {
                let row = &mut users[*user as usize * dim..][..dim];
                row[..dim - 1].copy_from_slice(state);
                row[dim - 1] = 1.0;
            }
        }
        (dim, users, items)
    }

    fn number(tensor: &Tensor) -> Result<f64, NnError> {
        f64::try_from(tensor.detach()).map_err(|error| {
            NnError::Unsuitable(format!("internal error: the loss is no number: {error}"))
        })
    }
}

/// Inputs of users: x / ‖x‖, with a share dropped in training, where `dropped` is the stream that decides.
fn inputs(data: &TrainingData, users: &[u32], share: f64, dropped: Option<u64>) -> Users {
    let (limit, scale) = ((share * (1u64 << 32) as f64) as u64, 1.0 / (1.0 - share));
    let mut inputs = Users { items: Vec::new(), starts: Vec::new(), inputs: Vec::new() };
    for &user in users {
        let items = data.positives.items_of(UserIx(user));
        let value = 1.0 / (items.len() as f64).sqrt();
        inputs.starts.push(inputs.items.len() as i64);
        for &item in items {
            let is_dropped = |stream: u64| {
                mix(stream ^ mix(u64::from(user) << 32 | u64::from(item))) >> 32 < limit
            };
            inputs.items.push(i64::from(item));
            inputs.inputs.push(match dropped {
                Some(stream) if is_dropped(stream) => 0.0,
                Some(_) => value * scale,
                None => value,
            });
        }
    }
    inputs
}

impl Learner for VaeLearner<'_> {
    type Batch = Batch;
    type Parts = VaeParts;
    type Error = ModelError;

    fn params(&mut self) -> &mut [Param] {
        &mut self.network.params
    }

    fn batches(&mut self, epoch: usize) -> Box<dyn Iterator<Item = Batch>> {
        let mut order = self.users.clone();
        let mut random = ChaCha8Rng::seed_from_u64(self.context.seed);
        random.set_stream(epoch as u64 + 1);
        order.shuffle(&mut random);
        let (order, size, steps): (Arc<[u32]>, _, _) = (order.into(), self.batch, self.steps());
        Box::new((0..steps).map(move |step| {
            let range = step * size..((step + 1) * size).min(order.len());
            Batch { step: (epoch * steps + step) as u64, order: order.clone(), range }
        }))
    }

    fn share(&self, batch: &Batch) -> f64 {
        batch.range.len() as f64 / self.users.len() as f64
    }

    /// By libtorch's own operations: what runs on a GPU, and the twin of [`Self::step`] in tests.
    fn loss(&mut self, batch: &Batch) -> Tensor {
        let (users, noise, weight) = self.drawn(batch);
        let hidden = self.network.hidden(&users, noise.as_ref());
        let multinomial = self.network.softmax_loss(&hidden.states, &users);
        let kl = hidden.kl / batch.range.len() as f64;
        let loss = &multinomial + &kl * weight;
        self.parts.replace(Some((multinomial.detach(), kl.detach())));
        loss
    }

    /// By kernels where there are some.
    fn step(&mut self, batch: &Batch) -> Result<MeanLoss<VaeParts>, ModelError> {
        if !has_kernels(&self.network.params[0].value) {
            let loss = autograd(self, batch)?;
            let mut parts = VaeParts::default();
            if let Some((multinomial, kl)) = self.parts.take() {
                parts =
                    VaeParts { multinomial: Self::number(&multinomial)?, kl: Self::number(&kl)? };
            }
            return Ok(MeanLoss { loss, parts });
        }
        let (users, noise, weight) = self.drawn(batch);
        let Means { multinomial, kl } = self.network.gradients(&users, noise.as_ref(), weight)?;
        Ok(MeanLoss { loss: multinomial + weight * kl, parts: VaeParts { multinomial, kl } })
    }

    fn validate(&mut self) -> Result<Option<f64>, ModelError> {
        let Some(validate) = self.settings.training.validate else { return Ok(None) };
        let (dim, users, items) = self.vectors();
        let model = Factors::new(dim, users, items);
        validation(&model, self.data, validate.metric, validate.k, self.context).map(Some)
    }
}

impl OwnLearner for MultVaeParams {
    fn train(
        &self,
        data: &TrainingData,
        context: &FitContext,
        device: Device,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        check_validation(&self.training, data)?;
        let n_items = data.positives.n_items();
        let place = |tensor: Tensor| tensor.to_device(device);
        let network = MultVae::new(n_items, &self.hidden, self.latent, context.seed, place);
        let mut learner = VaeLearner::new(network, self, data, context)?;
        let of_loop = of_loop(context);
        let learn::Trained { stats, history } =
            learn::train(&mut learner, &self.training.of_loop(), &of_loop)?;
        let (dim, users, items) = learner.vectors();
        let params = numbers_of(&learner.network.params);
        Ok(Box::new(Neural::of(Trained { dim, users, items, params, stats, history })))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        nn::{Kind, one_thread},
        tasks::top_n::models::{Annealing, tests::liked},
    };

    /// Users and their items of a golden file, and the settings it was made with.
    fn golden() -> (HashMap<String, Tensor>, TrainingData, MultVaeParams) {
        one_thread();
        let path = format!("{}/tests/golden/mult_vae.safetensors", env!("CARGO_MANIFEST_DIR"));
        let golden: HashMap<String, Tensor> =
            Tensor::read_safetensors(path).unwrap().into_iter().collect();
        let size = golden["inputs"].size();
        let values: Vec<f64> = golden["inputs"].reshape(-1).try_into().unwrap();
        let lists: Vec<Vec<u32>> = values
            .chunks(size[1] as usize)
            .map(|row| (0u32..).zip(row).filter(|(_, x)| **x > 0.0).map(|(at, _)| at).collect())
            .collect();
        let lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        let params = MultVaeParams {
            hidden: vec![7, 6],
            latent: 4,
            dropout: 0.0,
            noise: 0.0,
            annealing: Annealing { cap: 0.2, steps: 10 },
            ..MultVaeParams::default()
        };
        let data = liked(size[1] as usize, &lists);
        (golden, data, params)
    }

    fn network(
        golden: &HashMap<String, Tensor>,
        data: &TrainingData,
        of: &MultVaeParams,
    ) -> MultVae {
        let n_items = data.positives.n_items();
        let mut network = MultVae::new(n_items, &of.hidden, of.latent, 1, |tensor| tensor);
        for (at, param) in network.params.iter_mut().enumerate() {
            let value = &golden[&format!("param.{}", param.name)];
            // Stored by item.
            let value = if at == 0 { value.transpose(0, 1) } else { value.shallow_clone() };
            assert_eq!(value.size(), param.value.size(), "{}", param.name);
            *param = Param::new(param.name.clone(), value);
        }
        network
    }

    fn close(name: &str, ours: &Tensor, theirs: &Tensor) {
        let off = f64::try_from((ours - theirs.reshape(ours.size())).abs().max()).unwrap();
        assert!(off < 1e-8, "{name}: off by {off:e}");
    }

    fn all(data: &TrainingData) -> Batch {
        let order: Arc<[u32]> = (0..data.positives.n_users() as u32).collect();
        Batch { step: 0, range: 0..order.len(), order }
    }

    #[test]
    fn it_equals_recbole() {
        let (golden, data, params) = golden();
        let interrupt = Interrupt::default();
        let context = FitContext::silent(1, &interrupt);
        let network = network(&golden, &data, &params);
        let mut learner = VaeLearner::new(network, &params, &data, &context).unwrap();
        let number = |name: &str| f64::try_from(golden[name].reshape(-1).get(0)).unwrap();
        let both = [true, false].map(|kernels| {
            let mean = match kernels {
                true => learner.step(&all(&data)).unwrap().loss,
                false => autograd(&mut learner, &all(&data)).unwrap(),
            };
            assert!((mean - number("loss")).abs() < 1e-8, "{mean}");
            let params = learner.network.params.iter().enumerate();
            let compared = params.map(|(at, param)| {
                let theirs = &golden[&format!("grad.{}", param.name)];
                let theirs = if at == 0 { theirs.transpose(0, 1) } else { theirs.shallow_clone() };
                close(&param.name, &param.grad, &theirs);
            });
            compared.count()
        });
        assert_eq!(both, [golden.keys().filter(|name| name.starts_with("grad.")).count(); 2]);
        let (dim, users, items) = learner.vectors();
        let tensor = |values: &[f32]| Tensor::from_slice(values).reshape([-1, dim as i64]);
        let scores = tensor(&users).matmul(&tensor(&items).transpose(0, 1));
        let off = (scores - &golden["scores"]).abs().max();
        assert!(f64::try_from(off).unwrap() < 1e-5);
    }

    /// With dropout and noise, and more items and users than a part has.
    #[test]
    fn parts_of_a_batch_give_the_gradient_of_libtorch() {
        let lists: Vec<Vec<u32>> = (0..150u32)
            .map(|user| (0..1100).filter(|item| (item * 7 + user * 13) % 97 < 5).collect())
            .collect();
        let mut lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        lists[4] = &[];
        let data = liked(1100, &lists);
        let params = MultVaeParams { hidden: vec![24], latent: 8, ..MultVaeParams::default() };
        let interrupt = Interrupt::default();
        let context = FitContext::silent(3, &interrupt);
        let network = MultVae::new(1100, &params.hidden, params.latent, 3, |tensor| {
            tensor.to_kind(Kind::Double)
        });
        let mut learner = VaeLearner::new(network, &params, &data, &context).unwrap();
        assert_eq!(learner.users.len(), 149);
        let batches: Vec<Batch> = learner.batches(2).collect();
        assert_eq!((batches.len(), batches[0].step), (1, 2));
        let by_parts = learner.step(&batches[0]).unwrap();
        let grads: Vec<Tensor> = learner.network.params.iter().map(|of| of.grad.copy()).collect();
        let loss = autograd(&mut learner, &batches[0]).unwrap();
        assert!((by_parts.loss - loss).abs() < 1e-10 && by_parts.parts.kl > 0.0);
        for (param, grad) in learner.network.params.iter().zip(&grads) {
            close(&param.name, &param.grad, grad);
            assert!(f64::try_from(grad.abs().max()).unwrap() > 0.0, "{}", param.name);
        }
    }

    /// More users than a part has: which thread records a part, and which one finds its gradient, is chance.
    #[test]
    fn any_number_of_threads_gives_the_same_bytes() {
        let lists: Vec<Vec<u32>> = (0..400u32)
            .map(|user| (0..90).filter(|item| (item * 7 + user * 13) % 17 < 4).collect())
            .collect();
        let lists: Vec<&[u32]> = lists.iter().map(Vec::as_slice).collect();
        let data = liked(90, &lists);
        let params = MultVaeParams {
            hidden: vec![24],
            latent: 8,
            annealing: Annealing { cap: 0.5, steps: 1 },
            ..MultVaeParams::default()
        };
        let trained = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let interrupt = Interrupt::default();
                let context = FitContext::silent(3, &interrupt);
                let network = MultVae::new(90, &params.hidden, params.latent, 3, |tensor| tensor);
                let mut learner = VaeLearner::new(network, &params, &data, &context).unwrap();
                let mut grads: Vec<Vec<f32>> = Vec::new();
                for epoch in 0..12 {
                    for batch in learner.batches(epoch).collect::<Vec<_>>() {
                        learner.step(&batch).unwrap();
                        grads.extend(learner.network.params.iter().map(|of| floats(&of.grad)));
                    }
                }
                grads
            })
        };
        let one = trained(1);
        for threads in [2, 3, 4] {
            assert!(trained(threads) == one, "{threads} threads");
        }
    }

    #[test]
    fn beta_rises_to_its_cap() {
        let annealing = Annealing { cap: 0.3, steps: 10 };
        assert_eq!([1, 2, 3, 9].map(|step| annealing.weight(step)), [0.1, 0.2, 0.3, 0.3]);
        assert_eq!(Annealing { cap: 0.3, steps: 0 }.weight(1), 0.3);
    }

    #[test]
    fn a_share_of_the_inputs_is_dropped_and_the_rest_scaled() {
        let items: Vec<u32> = (0..400).collect();
        let data = liked(400, &[&items]);
        let (params, interrupt) = (MultVaeParams::default(), Interrupt::default());
        let context = FitContext::silent(3, &interrupt);
        let network = MultVae::new(400, &[4], 2, 1, |tensor| tensor);
        let learner = VaeLearner::new(network, &params, &data, &context).unwrap();
        assert!(learner.inputs(&[0], None).inputs.iter().all(|value| *value == 0.05));
        let dropped = learner.inputs(&[0], Some(5)).inputs;
        let kept = dropped.iter().filter(|value| **value > 0.0).count();
        assert!((160..240).contains(&kept), "{kept} of 400");
        assert!(dropped.iter().all(|value| *value == 0.0 || *value == 0.1));
        assert_ne!(dropped, learner.inputs(&[0], Some(6)).inputs);
    }
}

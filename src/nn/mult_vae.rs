//! The layers of MultVAE (Liang et al., WWW 2018): an encoder of sparse inputs, a sample, a decoder with a softmax over all
//! items.
//!
//! Names of parameters are those of RecBole's `MultiVAE`, but the first layer's weights are stored by item, `[items, width]`:
//! a user's input is a short list of items, whose rows are gathered and summed. The softmax and its gradient are computed for
//! parts of the items at a time, by all threads; the rest is differentiated by libtorch.

use rayon::prelude::*;
use tch::{Device, Kind, Tensor};

use super::{network::Param, start, tensors::one_thread};

/// Items whose scores one task computes.
const PART: i64 = 512;

/// Users with the items they like.
pub struct Users {
    /// The items of all users, one user after the other.
    pub items: Vec<i64>,
    /// Where each user's items start.
    pub starts: Vec<i64>,
    /// The input of each item; 0 where it is dropped.
    pub inputs: Vec<f64>,
}

impl Users {
    fn len(&self) -> usize {
        self.starts.len()
    }

    fn range(&self, user: usize) -> std::ops::Range<usize> {
        let end = self.starts.get(user + 1).map_or(self.items.len(), |end| *end as usize);
        self.starts[user] as usize..end
    }
}

/// An encoder and a decoder.
pub struct MultVae {
    pub params: Vec<Param>,
    /// Layers of the encoder, and of the decoder.
    encoder: usize,
    decoder: usize,
    latent: i64,
}

/// What is computed up to the last layer, where gradients flow back to.
pub struct Hidden {
    /// `[users, width]`
    pub states: Tensor,
    /// Mean over users of the divergence of the posterior from the standard normal distribution.
    pub kl: Tensor,
}

/// The last layer's loss, and its gradients.
pub struct Softmax {
    /// Mean over users of −Σ log π of their items.
    pub loss: f64,
    pub states: Tensor,
    pub weight: Tensor,
    pub bias: Tensor,
}

impl MultVae {
    /// Layers from the items over `hidden` to `latent` and back; weights after Glorot, biases 0. `place` puts them where they
    /// are to be.
    pub fn new(
        n_items: usize,
        hidden: &[usize],
        latent: usize,
        seed: u64,
        place: impl Fn(Tensor) -> Tensor,
    ) -> Self {
        let mut widths = vec![n_items];
        widths.extend(hidden);
        let mut params: Vec<Param> = Vec::new();
        let mut add = |part: &str, layer: usize, from: usize, to: usize| {
            let (rows, columns) = if params.is_empty() { (from, to) } else { (to, from) };
            let weight = start::glorot(seed, params.len() as u64, rows, columns);
            // A nonlinearity has a number of its own in RecBole.
            params.push(Param::new(format!("{part}.{}.weight", 2 * layer), place(weight)));
            let bias = place(start::constant(&[to], 0.0));
            params.push(Param::new(format!("{part}.{}.bias", 2 * layer), bias));
        };
        let last = hidden.len();
        for layer in 0..=last {
            let to = widths.get(layer + 1).copied().unwrap_or(2 * latent);
            add("encoder", layer, widths[layer], to);
        }
        let mut from = latent;
        for (layer, to) in widths.iter().rev().enumerate() {
            add("decoder", layer, from, *to);
            from = *to;
        }
        Self { params, encoder: last + 1, decoder: last + 1, latent: latent as i64 }
    }

    /// Where the parameters are.
    pub fn device(&self) -> Device {
        self.params[0].value.device()
    }

    fn kind(&self) -> Kind {
        self.params[0].value.kind()
    }

    /// The weight and the bias of a layer, counted over encoder and decoder.
    fn layer(&self, at: usize) -> (&Tensor, &Tensor) {
        (&self.params[2 * at].value, &self.params[2 * at + 1].value)
    }

    fn linear(&self, at: usize, x: &Tensor) -> Tensor {
        let (weight, bias) = self.layer(at);
        x.linear(weight, Some(bias))
    }

    /// Everything up to the last layer. `noise` is added to the means in units of the deviations, `[users, latent]`.
    pub fn hidden(&self, users: &Users, noise: Option<&Tensor>) -> Hidden {
        let (device, kind) = (self.device(), self.kind());
        let numbers = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let inputs = Tensor::from_slice(&users.inputs).to_kind(kind).to_device(device);
        let (weight, bias) = self.layer(0);
        let (items, starts) = (numbers(&users.items), numbers(&users.starts));
        let (sums, ..) =
            Tensor::embedding_bag(weight, &items, &starts, false, 0, false, Some(&inputs), false);
        let mut x = sums + bias;
        for layer in 1..self.encoder {
            x = self.linear(layer, &x.tanh());
        }
        let (mean, log_variance) =
            (x.narrow(1, 0, self.latent), x.narrow(1, self.latent, self.latent));
        let kl = (log_variance.exp() + mean.square() - 1.0 - &log_variance) * 0.5;
        let kl = kl.sum(kind) / users.len() as f64;
        let mut states = match noise {
            Some(noise) => {
                mean + noise.to_kind(kind).to_device(device) * (log_variance * 0.5).exp()
            }
            None => mean,
        };
        for layer in 0..self.decoder - 1 {
            states = self.linear(self.encoder + layer, &states).tanh();
        }
        Hidden { states, kl }
    }

    /// The weight `[items, width]` and the bias of the last layer.
    pub fn last(&self) -> (&Tensor, &Tensor) {
        self.layer(self.encoder + self.decoder - 1)
    }

    /// Mean over users of −Σ log π of their items, by libtorch's own operations.
    pub fn softmax_loss(&self, states: &Tensor, users: &Users) -> Tensor {
        let (weight, bias) = self.last();
        let log = states.linear(weight, Some(bias)).log_softmax(1, self.kind());
        let n_items = weight.size()[0];
        let places: Vec<i64> = (0..users.len())
            .flat_map(|user| {
                users.items[users.range(user)].iter().map(move |item| user as i64 * n_items + item)
            })
            .collect();
        let places = Tensor::from_slice(&places).to_device(self.device());
        -log.reshape(-1).index_select(0, &places).sum(self.kind()) / users.len() as f64
    }

    /// The same with its gradients, for parts of the items at a time. In main memory only.
    pub fn softmax(&self, states: &Tensor, users: &Users) -> Softmax {
        let kind = self.kind();
        let (weight, bias) = self.last();
        let (states, weight, bias) = (states.detach(), weight.detach(), bias.detach());
        let (n_items, n_users) = (weight.size()[0], users.len());
        let mean = 1.0 / n_users as f64;
        let likes: Vec<f64> = (0..n_users).map(|user| users.range(user).len() as f64).collect();
        let likes = Tensor::from_slice(&likes).to_kind(kind).reshape([-1, 1]);

        let mut places: Vec<Vec<i64>> =
            vec![Vec::new(); (n_items as usize).div_ceil(PART as usize)];
        let width = |part: i64| PART.min(n_items - part * PART);
        for user in 0..n_users {
            for &item in &users.items[users.range(user)] {
                let part = item / PART;
                places[part as usize].push(user as i64 * width(part) + item % PART);
            }
        }
        let parts: Vec<(Tensor, Tensor, Tensor, Vec<i64>)> = (0i64..)
            .zip(places)
            .map(|(part, places)| {
                let of = |tensor: &Tensor| tensor.narrow(0, part * PART, width(part));
                (of(&weight), of(&bias), states.shallow_clone(), places)
            })
            .collect();
        let scored: Vec<Scored> = parts
            .into_par_iter()
            .map(|(weight, bias, states, places)| {
                one_thread();
                let mut scores = states.linear(&weight, Some(&bias));
                let places = Tensor::from_slice(&places);
                let own = scores.view(-1).index_select(0, &places).sum(Kind::Double);
                let highest = scores.amax([1], true);
                let exponentials = scores.g_sub_(&highest).exp_();
                let sums = exponentials.sum_dim_intlist([1i64].as_slice(), true, kind);
                let own = f64::try_from(own).unwrap_or(f64::NAN);
                Scored { weight, states, places, own, highest, exponentials, sums }
            })
            .collect();

        let stacked = |of: &dyn Fn(&Scored) -> Tensor| {
            Tensor::cat(&scored.iter().map(of).collect::<Vec<_>>(), 1)
        };
        let highest = stacked(&|part| part.highest.shallow_clone());
        let sums = stacked(&|part| part.sums.log());
        let log_sum = (highest + sums).logsumexp([1], true);
        let own: f64 = scored.iter().map(|part| part.own).sum();
        let of_sums = (&log_sum * &likes).sum(Kind::Double);
        let loss = (f64::try_from(of_sums).unwrap_or(f64::NAN) - own) * mean;

        let scored: Vec<(Scored, Tensor)> = scored
            .into_iter()
            .map(|part| {
                let scale = (&part.highest - &log_sum).exp() * &likes * mean;
                (part, scale)
            })
            .collect();
        let grads: Vec<[Tensor; 3]> = scored
            .into_par_iter()
            .map(|(part, scale)| {
                one_thread();
                let Scored { weight, states, places, mut exponentials, .. } = part;
                // Of the scores: π of the item times the user's number of items, minus 1 where the user likes it.
                let grad = exponentials.g_mul_(&scale);
                let less = Tensor::full([places.size()[0]], -mean, (kind, Device::Cpu));
                let _ = grad.view(-1).index_add_(0, &places, &less);
                let bias = grad.sum_dim_intlist([0i64].as_slice(), false, kind);
                [grad.matmul(&weight), grad.transpose(0, 1).matmul(&states), bias]
            })
            .collect();
        let all = |at: usize| {
            Tensor::cat(&grads.iter().map(|grads| grads[at].shallow_clone()).collect::<Vec<_>>(), 0)
        };
        let mut of_states = grads[0][0].shallow_clone();
        for grads in &grads[1..] {
            of_states += &grads[0];
        }
        Softmax { loss, states: of_states, weight: all(1), bias: all(2) }
    }
}

/// Scores of one part of the items.
struct Scored {
    weight: Tensor,
    states: Tensor,
    /// Where the users' own items are among the scores.
    places: Tensor,
    /// The sum of the scores of those.
    own: f64,
    /// `[users, 1]`: the highest score.
    highest: Tensor,
    /// exp(score − highest)
    exponentials: Tensor,
    /// `[users, 1]`: their sums.
    sums: Tensor,
}

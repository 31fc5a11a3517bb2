//! The layers of MultVAE (Liang et al., WWW 2018): an encoder of sparse inputs, a sample, a decoder with a softmax over all
//! items.
//!
//! Names of parameters are those of RecBole's `MultiVAE`, but the first layer's weights are stored by item, `[items, width]`:
//! a user's input is a short list of items, whose rows are summed. [`MultVae::gradients`] shares a batch among all threads:
//! sums of rows by a kernel, the layers after them for parts of the users at a time, by libtorch, and the softmax with its
//! gradient for parts of the items at a time. Which parts there are does not depend on the number of threads.

use rayon::prelude::*;
use tch::{Device, Kind, Tensor, with_grad};

use super::{NnError, bag::Bags, network::Param, start, tensors::one_thread};

/// Items whose scores one task computes, at most.
const ITEMS: usize = 512;

/// Users whose layers one task computes.
const USERS: i64 = 128;

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

    /// Each user's items that are not dropped.
    fn bags(&self) -> Bags {
        Bags::new((0..self.len()).map(|user| {
            let of = self.range(user);
            let items = self.items[of.clone()].iter().map(|item| *item as u32);
            items.zip(self.inputs[of].iter().copied())
        }))
    }
}

/// An encoder and a decoder.
pub struct MultVae {
    pub params: Vec<Param>,
    shape: Shape,
}

#[derive(Clone, Copy)]
struct Shape {
    /// Layers of the encoder, and of the decoder.
    encoder: usize,
    decoder: usize,
    latent: i64,
}

/// What is computed up to the last layer, where gradients flow back to.
pub struct Hidden {
    /// `[users, width]`
    pub states: Tensor,
    /// Sum over users of the divergence of the posterior from the standard normal distribution.
    pub kl: Tensor,
}

/// What [`MultVae::gradients`] finds, as means over users.
pub struct Means {
    /// −Σ log π of their items.
    pub multinomial: f64,
    /// The divergence.
    pub kl: f64,
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
        let shape = Shape { encoder: last + 1, decoder: last + 1, latent: latent as i64 };
        Self { params, shape }
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

    /// The first layer's sums, `[users, width]`, and the parameters of the layers between it and the last one: what
    /// [`Shape::hidden`] computes with.
    fn inner(&self, first: Tensor) -> Vec<Tensor> {
        let params = &self.params[2..self.params.len() - 2];
        let values = params.iter().map(|param| param.value.shallow_clone());
        std::iter::once(first).chain(values).collect()
    }

    /// Everything up to the last layer, by libtorch's own operations. `noise` is added to the means in units of the deviations,
    /// `[users, latent]`.
    pub fn hidden(&self, users: &Users, noise: Option<&Tensor>) -> Hidden {
        let (device, kind) = (self.device(), self.kind());
        let numbers = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let inputs = Tensor::from_slice(&users.inputs).to_kind(kind).to_device(device);
        let (weight, bias) = self.layer(0);
        let (items, starts) = (numbers(&users.items), numbers(&users.starts));
        let (sums, ..) =
            Tensor::embedding_bag(weight, &items, &starts, false, 0, false, Some(&inputs), false);
        self.shape.hidden(&self.inner(sums + bias), noise)
    }

    /// The weight `[items, width]` and the bias of the last layer.
    pub fn last(&self) -> (&Tensor, &Tensor) {
        self.layer(self.shape.encoder + self.shape.decoder - 1)
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

    /// The loss, with the divergence in this weight, and its gradients, which are written into the parameters. In main memory
    /// only.
    pub fn gradients(
        &mut self,
        users: &Users,
        noise: Option<&Tensor>,
        weight: f64,
    ) -> Result<Means, NnError> {
        let n_users = users.len() as i64;
        let bags = users.bags();
        let (of_items, bias) = self.layer(0);
        let mut first = Tensor::empty([n_users, of_items.size()[1]], (self.kind(), Device::Cpu));
        bags.sum(of_items, &mut first);
        let _ = first.g_add_(bias);

        // Each part has leaves of its own, so that threads share nothing that libtorch records.
        let leaves = |start: i64| -> Vec<Tensor> {
            let part = first.narrow(0, start, USERS.min(n_users - start));
            let inner = self.inner(part).into_iter();
            inner.map(|value| value.detach().set_requires_grad(true)).collect()
        };
        let starts = (0..n_users).step_by(USERS as usize);
        let parts: Vec<(Vec<Tensor>, Option<Tensor>)> = starts
            .map(|start| {
                let leaves = leaves(start);
                let size = leaves[0].size()[0];
                (leaves, noise.map(|noise| noise.narrow(0, start, size)))
            })
            .collect();
        let shape = self.shape;
        let parts: Vec<(Vec<Tensor>, Hidden)> = parts
            .into_par_iter()
            .map(|(leaves, noise)| {
                one_thread();
                // A thread may wait for this inside of what another training does not record.
                let hidden = with_grad(|| shape.hidden(&leaves, noise.as_ref()));
                (leaves, hidden)
            })
            .collect();

        let states: Vec<Tensor> = parts.iter().map(|(_, hidden)| hidden.states.detach()).collect();
        let (multinomial, of_states) = self.softmax(&Tensor::cat(&states, 0), users);
        let mut start = 0;
        let parts: Vec<(Vec<Tensor>, Hidden, Vec<Tensor>)> = parts
            .into_iter()
            .map(|(leaves, hidden)| {
                let size = hidden.states.size()[0];
                let of_states = of_states.iter().map(|of| of.narrow(0, start, size)).collect();
                start += size;
                (leaves, hidden, of_states)
            })
            .collect();
        let scale = weight / n_users as f64;
        let grads: Vec<Result<(f64, Vec<Tensor>), tch::TchError>> = parts
            .into_par_iter()
            .map(|(leaves, hidden, of_states)| {
                one_thread();
                let of_states = sum(of_states);
                let kl = f64::try_from(hidden.kl.detach())?;
                // Its gradient is that of the loss.
                let linear = with_grad(|| {
                    (&hidden.states * of_states).sum(None::<Kind>) + hidden.kl * scale
                });
                let grads = Tensor::f_run_backward(&[&linear], &leaves, false, false)?;
                Ok((kl, grads.iter().map(Tensor::detach).collect()))
            })
            .collect();
        let grads: Vec<(f64, Vec<Tensor>)> =
            grads.into_iter().collect::<Result<_, _>>().map_err(|error| {
                NnError::Unsuitable(format!("internal error: the loss has no gradient: {error}"))
            })?;

        let of_first: Vec<&Tensor> = grads.iter().map(|(_, grads)| &grads[0]).collect();
        let of_first = Tensor::cat(&of_first, 0);
        for (at, param) in self.params.iter_mut().enumerate() {
            match at {
                0 => {
                    let n_items = param.value.size()[0] as usize;
                    bags.transposed(n_items).sum(&of_first, &mut param.grad);
                }
                1 => param.grad = of_first.sum_dim_intlist([0i64].as_slice(), false, None::<Kind>),
                at if at <= grads[0].1.len() => {
                    let of = grads.iter().map(|(_, grads)| grads[at - 1].shallow_clone());
                    param.grad = sum(of.collect()).contiguous();
                }
                // The last layer's are there.
                _ => {}
            }
        }
        let kl: f64 = grads.iter().map(|(kl, _)| kl).sum();
        Ok(Means { multinomial, kl: kl / n_users as f64 })
    }

    /// Mean over users of −Σ log π of their items; its gradients of the last layer, written into the parameters, and those of
    /// the states, of which the gradient is the sum.
    fn softmax(&mut self, states: &Tensor, users: &Users) -> (f64, Vec<Tensor>) {
        let kind = self.kind();
        let (weight, bias) = self.last();
        let (weight, bias) = (weight.detach(), bias.detach());
        let (n_items, n_users) = (weight.size()[0] as usize, users.len());
        let mean = 1.0 / n_users as f64;
        let likes: Vec<f64> = (0..n_users).map(|user| users.range(user).len() as f64).collect();
        let likes = Tensor::from_slice(&likes).to_kind(kind).reshape([-1, 1]);

        // As many for each of two or four threads, in whole vectors.
        let n_parts = n_items.div_ceil(ITEMS).next_multiple_of(4);
        let size = n_items.div_ceil(n_parts).next_multiple_of(16);
        let width = |part: usize| size.min(n_items - part * size);
        let mut places: Vec<Vec<i64>> = vec![Vec::new(); n_items.div_ceil(size)];
        for user in 0..n_users {
            for &item in &users.items[users.range(user)] {
                let (part, item) = (item as usize / size, item as usize % size);
                places[part].push((user * width(part) + item) as i64);
            }
        }
        let last = self.params.len() - 2;
        let [of_weight, of_bias] = [&self.params[last].grad, &self.params[last + 1].grad];
        let parts: Vec<([Tensor; 5], Vec<i64>)> = places
            .into_iter()
            .enumerate()
            .map(|(part, places)| {
                let of =
                    |tensor: &Tensor| tensor.narrow(0, (part * size) as i64, width(part) as i64);
                let tensors = [&weight, &bias, of_weight, of_bias].map(of);
                let [weight, bias, of_weight, of_bias] = tensors;
                ([weight, bias, of_weight, of_bias, states.shallow_clone()], places)
            })
            .collect();
        let scored: Vec<Scored> = parts
            .into_par_iter()
            .map(|([weight, bias, of_weight, of_bias, states], places)| {
                one_thread();
                let mut scores = states.linear(&weight, Some(&bias));
                let places = Tensor::from_slice(&places);
                let own = scores.view(-1).index_select(0, &places).sum(Kind::Double);
                let highest = scores.amax([1], true);
                let exponentials = scores.g_sub_(&highest).exp_();
                let sums = exponentials.sum_dim_intlist([1i64].as_slice(), true, kind);
                let own = f64::try_from(own).unwrap_or(f64::NAN);
                let (weight, grads) = (weight, [of_weight, of_bias]);
                Scored { weight, grads, states, places, own, highest, exponentials, sums }
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
        let of_states: Vec<Tensor> = scored
            .into_par_iter()
            .map(|(part, scale)| {
                one_thread();
                let Scored { weight, grads, states, places, mut exponentials, .. } = part;
                // Of the scores: π of the item times the user's number of items, minus 1 where the user likes it.
                let grad = exponentials.g_mul_(&scale);
                let less = Tensor::full([places.size()[0]], -mean, (kind, Device::Cpu));
                let _ = grad.view(-1).index_add_(0, &places, &less);
                let [of_weight, of_bias] = grads;
                let _ = grad.transpose(0, 1).matmul_out(&of_weight, &states);
                let _ = grad.sum_intlist_out(&of_bias, [0i64].as_slice(), false, kind);
                grad.matmul(&weight)
            })
            .collect();
        (loss, of_states)
    }
}

impl Shape {
    /// From the first layer's sums to the states of the last hidden layer. `inner` are those sums and, for each layer between
    /// the first and the last, its weight and its bias.
    fn hidden(self, inner: &[Tensor], noise: Option<&Tensor>) -> Hidden {
        let linear = |at: usize, x: &Tensor| x.linear(&inner[2 * at - 1], Some(&inner[2 * at]));
        let mut x = inner[0].shallow_clone();
        let kind = x.kind();
        for layer in 1..self.encoder {
            x = linear(layer, &x.tanh());
        }
        let (mean, log_variance) =
            (x.narrow(1, 0, self.latent), x.narrow(1, self.latent, self.latent));
        // No value is used more than twice: of three gradients, the order in which libtorch adds them depends on which threads
        // recorded them.
        let log_deviation = log_variance * 0.5;
        let deviation = log_deviation.exp();
        let kl = (deviation.square() + mean.square() - 1.0) * 0.5 - log_deviation;
        let mut states = match noise {
            Some(noise) => mean + noise.to_kind(kind).to_device(x.device()) * deviation,
            None => mean,
        };
        for layer in 0..self.decoder - 1 {
            states = linear(self.encoder + layer, &states).tanh();
        }
        Hidden { states, kl: kl.sum(kind) }
    }
}

/// The sum of tensors of one shape, in their order.
fn sum(tensors: Vec<Tensor>) -> Tensor {
    let mut tensors = tensors.into_iter();
    let mut total = tensors.next().map(|first| first.copy()).unwrap_or_default();
    for tensor in tensors {
        total += tensor;
    }
    total
}

/// Scores of one part of the items.
struct Scored {
    weight: Tensor,
    /// Where the gradients of its weight and its bias go.
    grads: [Tensor; 2],
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

//! Networks on sequences as learners.

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

use super::{
    LossSpec, Network, Neural, SequenceTraining, Side,
    plan::{Learns, Rows},
};
use crate::{
    base::{interrupt::Interrupted, random::mix},
    data::{Interaction, Interactions, ItemIx, Relevance, SequencePart, Sequences, UserIx},
    nn::{
        Draw, Negatives, Tensor,
        item_loss::Sample,
        learn::Learner,
        network::Param,
        sampler::Sampler,
        sequence::{Drops, Of},
    },
    ranking::{Convention, EvalError, Labels, Protocol, ScoreSpec, Slice, Source, score},
    tasks::{
        next_item::{candidates::Candidates, models::FitContext},
        shared::{ModelError, Validate},
    },
};

/// One example: a user's sequence, or a prefix of it.
#[derive(Clone, Debug)]
struct Example {
    user: u32,
    /// Rows of the item embedding.
    rows: Vec<i64>,
}

/// Examples of one step.
pub struct Batch {
    epoch: u64,
    /// Which step of the epoch it is.
    step: u64,
    examples: Vec<u32>,
    /// Items to be predicted in it, and in the epoch.
    targets: usize,
    of: usize,
}

/// What a step predicts: sequences sorted by length, tokens whose hidden states predict, and what they predict.
struct Prepared {
    inputs: Vec<Vec<i64>>,
    /// None where the last token of each input predicts.
    tokens: Vec<i64>,
    targets: Vec<i64>,
    users: Vec<u32>,
    /// The lowest and the highest row up to each target, where negatives depend on them.
    bounds: Vec<(i64, i64)>,
}

/// A network, and the sequences it learns from.
pub struct SequenceLearner<'a> {
    pub network: &'a mut Network,
    loss: LossSpec,
    data: &'a SequencePart,
    context: &'a FitContext<'a>,
    batch: usize,
    validate: Option<Validate>,
    examples: Vec<Example>,
    sampler: Option<Sampler>,
    side: Side,
    /// log q of each item, where the loss needs it.
    log_q: Option<Vec<f32>>,
}

impl<'a> SequenceLearner<'a> {
    pub fn new(
        network: &'a mut Network,
        loss: LossSpec,
        training: &SequenceTraining,
        side: Side,
        data: &'a SequencePart,
        context: &'a FitContext<'a>,
    ) -> Result<Self, ModelError> {
        let rows = Rows { items: data.items.len() };
        let longest = network.plan.longest;
        let mut examples = Vec::new();
        for user in (0..data.users.len() as u32).map(UserIx) {
            let all: Vec<i64> = data.train.of(user).iter().map(|item| rows.of(*item)).collect();
            let last = |n: usize| all[all.len().saturating_sub(n)..].to_vec();
            match network.plan.learns {
                Learns::Shifted if all.len() > 1 => {
                    examples.push(Example { user: user.0, rows: last(longest + 1) });
                }
                Learns::Cloze { .. } if !all.is_empty() => {
                    examples.push(Example { user: user.0, rows: last(longest) });
                }
                // As in the released code of BSARec. The first item is predicted from padding, where there is any.
                Learns::Prefixes | Learns::MaskedPrefixes { .. } => {
                    let all = last(longest);
                    let first = if network.plan.is_padded { 1 } else { 2 };
                    examples.extend(
                        (first..=all.len())
                            .map(|end| Example { user: user.0, rows: all[..end].to_vec() }),
                    );
                }
                _ => {}
            }
        }
        if examples.is_empty() {
            return Err(ModelError::Unsuitable(
                "no user has two interactions in the training part: there is nothing to learn from"
                    .into(),
            ));
        }
        let counts = data.train.item_counts();
        let (mut sampler, mut log_q) = (None, None);
        if let Some((_, draw)) = loss.negatives() {
            let settings = Negatives { draw, exponent: 1.0, ..Negatives::default() };
            sampler = Some(Sampler::new(settings, context.seed, data.train.as_matrix(), &counts));
            let total = f64::from(counts.iter().sum::<u32>());
            let of = |count: &u32| match draw {
                Draw::Popularity => (f64::from((*count).max(1)) / total).ln() as f32,
                _ => -(counts.len() as f64).ln() as f32,
            };
            log_q = matches!(loss, LossSpec::SampledSoftmax { .. })
                .then(|| counts.iter().map(of).collect());
        }
        let (batch, validate) = (training.batch, training.validate);
        Ok(Self { network, loss, data, context, batch, validate, examples, sampler, side, log_q })
    }

    /// The positions of an example that are masked in an epoch, at least one.
    fn masked(&self, epoch: u64, at: u32) -> Vec<usize> {
        let Learns::Cloze { ratio, last } = self.network.plan.learns else { return Vec::new() };
        let length = self.examples[at as usize].rows.len();
        let stream = mix(self.context.seed ^ mix(epoch + 1) ^ mix(u64::from(at) << 20));
        let share = |place: u64| (mix(stream ^ mix(place)) >> 11) as f64 / (1u64 << 53) as f64;
        if share(0) < last {
            return vec![length - 1];
        }
        let masked: Vec<usize> =
            (0..length).filter(|place| share(*place as u64 + 1) < ratio).collect();
        match masked.is_empty() {
            true => vec![(mix(stream) % length as u64) as usize],
            false => masked,
        }
    }

    /// So many different positions of a padded input, in the order in which they are drawn.
    fn drawn(&self, epoch: u64, at: u32, count: usize) -> Vec<usize> {
        let mut random = ChaCha8Rng::seed_from_u64(self.context.seed ^ mix(u64::from(at)));
        random.set_stream(mix(epoch));
        rand::seq::index::sample(&mut random, self.network.plan.longest, count).into_vec()
    }

    /// Inputs, tokens that predict, and targets of a batch.
    #[cfg(test)]
    pub fn prepared(&self, batch: &Batch) -> (Vec<Vec<i64>>, Vec<i64>, Vec<i64>) {
        let Prepared { inputs, tokens, targets, .. } = self.prepare(batch);
        (inputs, tokens, targets)
    }

    fn n_targets(&self, epoch: u64, at: u32) -> usize {
        match self.network.plan.learns {
            Learns::Shifted => self.examples[at as usize].rows.len() - 1,
            Learns::Prefixes | Learns::MaskedPrefixes { .. } => 1,
            Learns::Cloze { .. } => self.masked(epoch, at).len(),
        }
    }

    fn prepare(&self, batch: &Batch) -> Prepared {
        let mut prepared = Prepared {
            inputs: vec![],
            tokens: vec![],
            targets: vec![],
            users: vec![],
            bounds: vec![],
        };
        let mask = self.network.plan.rows.mask();
        let mut first = 0;
        for &at in &batch.examples {
            let Example { user, rows } = &self.examples[at as usize];
            // `known` are the rows up to the target, or around it.
            let mut add = |target: i64, known: &[i64]| {
                prepared.targets.push(target);
                prepared.users.push(*user);
                if self.side != Side::Any {
                    let bounds = known.iter().min().zip(known.iter().max());
                    prepared.bounds.extend(bounds.map(|(lowest, highest)| (*lowest, *highest)));
                }
            };
            let (before, target) = (&rows[..rows.len() - 1], rows[rows.len() - 1]);
            match self.network.plan.learns {
                Learns::Shifted => {
                    (1..rows.len()).for_each(|at| add(rows[at], &rows[..=at]));
                    prepared.tokens.extend(first..first + before.len() as i64);
                    first += before.len() as i64;
                    prepared.inputs.push(before.to_vec());
                }
                Learns::Prefixes => {
                    add(target, rows);
                    prepared.inputs.push(before.to_vec());
                }
                Learns::MaskedPrefixes { ratio } => {
                    let longest = self.network.plan.longest;
                    let mut input = vec![0; longest - before.len()];
                    input.extend(before);
                    let places = self.drawn(batch.epoch, at, (longest as f64 * ratio) as usize);
                    places.iter().for_each(|place| input[*place] = mask);
                    add(target, rows);
                    prepared.tokens.extend(places.last().map(|place| first + *place as i64));
                    first += longest as i64;
                    prepared.inputs.push(input);
                }
                Learns::Cloze { .. } => {
                    let mut input = rows.clone();
                    for place in self.masked(batch.epoch, at) {
                        add(rows[place], rows);
                        prepared.tokens.push(first + place as i64);
                        input[place] = mask;
                    }
                    first += rows.len() as i64;
                    prepared.inputs.push(input);
                }
            }
        }
        prepared
    }

    /// Negatives of the targets, seeded by the epoch and the place in it.
    fn sample(&self, batch: &Batch, prepared: &Prepared) -> Option<Sample> {
        let Prepared { users, targets, .. } = prepared;
        let (sampler, (negatives, _)) = (self.sampler.as_ref()?, self.loss.negatives()?);
        let each: Vec<u32> =
            users.iter().flat_map(|user| std::iter::repeat_n(*user, negatives)).collect();
        // Steps never share a place: none has 2^40 negatives.
        let drawn = sampler.draw(&each, batch.epoch, batch.step << 40, &|_, _| 0.0);
        let (n, device) = (users.len() as i64, self.network.device);
        let rows = self.network.plan.rows;
        let mut of_drawn: Vec<i64> = drawn.iter().map(|item| rows.of(*item)).collect();
        let stream = mix(self.context.seed ^ mix(batch.epoch << 32 | batch.step) ^ 1);
        for (at, drawn) in (0u64..).zip(&mut of_drawn) {
            let Some(bounds) = prepared.bounds.get(at as usize / negatives) else { break };
            if let Some((first, last)) = self.side.rows(*bounds, rows.items as i64) {
                *drawn = first + (mix(stream ^ mix(at)) % (last - first + 1) as u64) as i64;
            }
        }
        let log_q = self.log_q.as_ref().map(|log_q| {
            let of_drawn = drawn.chunks(negatives);
            let values: Vec<f32> = targets
                .iter()
                .zip(of_drawn)
                .flat_map(|(target, drawn)| {
                    let own = log_q[rows.item(*target)];
                    std::iter::once(own).chain(drawn.iter().map(|item| log_q[*item as usize]))
                })
                .collect();
            Tensor::from_slice(&values).reshape([n, negatives as i64 + 1]).to_device(device)
        });
        let rows = Tensor::from_slice(&of_drawn).reshape([n, negatives as i64]).to_device(device);
        Some(Sample { rows, log_q })
    }
}

impl Learner for SequenceLearner<'_> {
    type Batch = Batch;
    type Parts = ();
    type Error = ModelError;

    fn params(&mut self) -> &mut [Param] {
        &mut self.network.weights.params
    }

    /// Sequences of one length together, in a random order: a batch has few lengths, and each epoch others. Prefixes
    /// are drawn as they come, and only sorted within a batch.
    fn batches(&mut self, epoch: usize) -> Box<dyn Iterator<Item = Batch>> {
        let mut order: Vec<u32> = (0..self.examples.len() as u32).collect();
        let mut random = ChaCha8Rng::seed_from_u64(self.context.seed);
        random.set_stream(epoch as u64 + 1);
        order.shuffle(&mut random);
        let epoch = epoch as u64;
        let targets = |at: &[u32]| at.iter().map(|at| self.n_targets(epoch, *at)).sum::<usize>();
        let length = |at: &u32| self.examples[*at as usize].rows.len();
        let is_drawn = self.network.plan.learns.from_prefixes();
        if !is_drawn {
            order.sort_by_key(length);
        }
        let mut batches: Vec<Vec<u32>> = order.chunks(self.batch).map(<[u32]>::to_vec).collect();
        if is_drawn && !self.network.plan.is_padded {
            batches.iter_mut().for_each(|batch| batch.sort_by_key(length));
        }
        batches.shuffle(&mut random);
        let of = targets(&order);
        let batches: Vec<Batch> = (0u64..)
            .zip(batches)
            .map(|(step, examples)| {
                let targets = targets(&examples);
                Batch { epoch, step, examples, targets, of }
            })
            .collect();
        Box::new(batches.into_iter())
    }

    fn share(&self, batch: &Batch) -> f64 {
        batch.targets as f64 / batch.of as f64
    }

    fn loss(&mut self, batch: &Batch) -> Tensor {
        let prepared = self.prepare(batch);
        let Prepared { inputs, tokens, targets, .. } = &prepared;
        let stream = mix(self.context.seed ^ mix(batch.epoch << 32 | batch.step));
        let network = &*self.network;
        let of = if tokens.is_empty() { Of::Last } else { Of::All };
        let mut states = network.encode(&network.tokens(inputs), &Drops::new(Some(stream)), of);
        if of == Of::All {
            let at = Tensor::from_slice(tokens).to_device(network.device);
            states = states.index_select(0, &at);
        }
        let sample = self.sample(batch, &prepared);
        network.loss(self.loss, &states, targets, sample.as_ref())
    }

    fn validate(&mut self) -> Result<Option<f64>, ModelError> {
        let Some(Validate { metric, k, .. }) = self.validate else { return Ok(None) };
        let neural = Neural::of(self.network, &self.data.train);
        let candidates = Candidates::new(&neural, &self.data.train, self.context.exclude, None);
        let spec = ScoreSpec {
            protocols: vec![Protocol::Full],
            conventions: vec![Convention::Standard],
            k: vec![k],
            slices: vec![Slice::All],
            metrics: vec![metric],
            depth: k,
            ..ScoreSpec::default()
        };
        let train = self.data.train.as_matrix();
        let labels = Labels {
            train: &train,
            seen: &self.context.exclude.never(&self.data.train, self.data.items.len() + 1),
            test: &validation_targets(self.data, self.context),
            relevant: Relevance::Any,
            is_qrels: false,
        };
        let source = Source::Model(&candidates);
        match score(&spec, &labels, &source, self.context.interrupt, &|_, _| {}) {
            Ok(scores) => {
                Ok(Some(scores.summary.first().and_then(|mean| mean.value).unwrap_or(0.0)))
            }
            Err(error @ EvalError::NotFinite { .. }) => {
                Err(ModelError::Diverged(error.to_string()))
            }
            // Nothing else can go wrong without files.
            Err(_) => Err(ModelError::Interrupted(Interrupted)),
        }
    }
}

/// What is to be predicted of the validation part.
fn validation_targets(data: &SequencePart, context: &FitContext) -> Interactions {
    let users = (0..data.users.len() as u32).map(UserIx);
    let rows: Vec<Interaction> = users
        .flat_map(|user| {
            let targets = context.split.targets(data.validation.of(user)).iter();
            targets.map(move |item| Interaction {
                user,
                item: ItemIx(*item),
                rating: 1.0,
                timestamp: Default::default(),
            })
        })
        .collect();
    Interactions::new(data.users.len(), data.items.len(), &rows)
}

/// The last hidden states of all users with an input, in blocks: rows of 0 for others.
pub fn last_states(network: &Network, input: &Sequences) -> Vec<f32> {
    let mut order: Vec<u32> =
        (0..input.n_users() as u32).filter(|user| !input.of(UserIx(*user)).is_empty()).collect();
    let rows = |user: u32| network.plan.test_input(input.of(UserIx(user)));
    order.sort_by_key(|user| rows(*user).len());
    let width = network.plan.state_width();
    let mut states = vec![0f32; input.n_users() * width];
    for users in order.chunks(256) {
        let inputs: Vec<Vec<i64>> = users.iter().map(|user| rows(*user)).collect();
        let last = network.encode(&network.tokens(&inputs), &Drops::new(None), Of::Last);
        let values = crate::nn::tensors::floats(&network.scored(&last));
        for (user, row) in users.iter().zip(values.chunks(width)) {
            states[*user as usize * width..][..width].copy_from_slice(row);
        }
    }
    states
}

//! Networks on sequences, trained on tch: SASRec, BSARec, BERT4Rec, GRU4Rec.
//!
//! A model says what its network is and what it learns from ([`Plan`]); examples, losses, negatives and validation are
//! the same for all (`learner.rs`), and so is the training loop (`nn/learn/`). Layers are in `nn/sequence.rs`, losses in
//! `nn/item_loss/`.

#[cfg(test)]
mod golden;
mod learner;
mod order;
mod plan;
mod pretraining;
mod settings;
mod text_start;

use std::{fs, path::Path};

pub use order::EmbeddingOrder;
pub use plan::{Learns, Plan, Rows, Samples, Shape};
pub use pretraining::{Pretraining, Side, Transfer};
pub(super) use settings::shape;
pub use settings::{LossSpec, SequenceTraining};
pub use text_start::TextStart;

use self::learner::{SequenceLearner, last_states};
use super::{
    Exclude, Numbering,
    models::{FitContext, NextItem, SequenceModel},
};
use crate::{
    base::{
        arrays::{self, Array, Saved},
        programs::Slot,
    },
    data::{SequencePart, Sequences, UserIx},
    nn::{
        Device, NnError, Tensor, device,
        item_loss::{self, Sample},
        learn::{self, TrainContext, TrainingStats},
        network::Param,
        one_thread,
        sequence::{Drops, Of, Tokens, Weights, after_cloze_head, cloze_head},
        tensors::floats,
    },
    tasks::shared::{Factors, HISTORY, ModelError, ModelStats, Settings, Size, Wrong},
    text::Embeddings,
};

/// The files of a fitted network.
const FILES: &[&str] = &[arrays::FILE, HISTORY];

/// The item embedding among the parameters.
const ITEM_ROWS: &str = "item_embedding.weight";

/// Settings of a network. What all networks do alike is in the implementation of [`SequenceModel`] for them.
pub trait NetworkSettings: Settings {
    /// What is wrong with the settings of the network itself.
    fn validate(&self) -> Result<(), Wrong>;
    /// The network for so many items.
    fn plan(&self, items: usize) -> Plan;
    fn loss(&self) -> LossSpec;
    fn training(&self) -> &SequenceTraining;
    fn pretraining(&self) -> Option<&Pretraining>;
    fn text(&self) -> Option<&TextStart>;
}

impl<T: NetworkSettings> SequenceModel for T {
    fn validate(&self) -> Result<(), Wrong> {
        NetworkSettings::validate(self)?;
        self.loss().validate()?;
        self.training().validate()?;
        if let Some(text) = NetworkSettings::text(self) {
            text.validate()?;
            if NetworkSettings::pretraining(self).is_some() {
                return Err((
                    "text",
                    "starts the embeddings of items, and so does `pretraining`: remove one of them"
                        .into(),
                ));
            }
        }
        let Some(pretraining) = NetworkSettings::pretraining(self) else { return Ok(()) };
        pretraining.validate()?;
        match (pretraining.negatives, self.loss()) {
            (Side::Any, _) | (_, LossSpec::Bce { .. } | LossSpec::Gbce { .. }) => Ok(()),
            _ => Err((
                "pretraining",
                "`negatives` has no effect on this loss; expected it with the loss `bce` or `gbce`"
                    .into(),
            )),
        }
    }

    /// 2: kernels compute the losses and their gradients; 3: libtorch does where few items are drawn. Weights differ in their last
    /// bits.
    fn revision(&self) -> u32 {
        3
    }

    fn is_seeded(&self) -> bool {
        true
    }

    fn validates(&self) -> bool {
        self.training().validate.is_some()
    }

    fn validation_exclude(&self) -> Option<Exclude> {
        self.training().exclude
    }

    fn needs_tensors(&self) -> bool {
        true
    }

    fn memory(&self, size: Size) -> usize {
        self.plan(size.items).memory(size, self.training().batch, self.loss())
    }

    fn pretraining(&self) -> Option<serde_json::Result<serde_json::Value>> {
        let pretraining = NetworkSettings::pretraining(self)?;
        // What numbers mean, and what the fit takes of it, changes nothing.
        let Pretraining { sequences, block, negatives, .. } = *pretraining;
        let training = pretraining.training(self.training());
        let json = self.json().map(|mut settings| {
            settings.insert(
                "pretraining".into(),
                serde_json::json!({"sequences": sequences, "block": block, "negatives": negatives}),
            );
            settings.insert("training".into(), serde_json::json!(training));
            settings.into()
        });
        Some(json)
    }

    fn text(&self) -> Option<&TextStart> {
        NetworkSettings::text(self)
    }

    fn pretraining_memory(&self, items: usize) -> usize {
        NetworkSettings::pretraining(self).map_or(0, |pretraining| {
            let batch = pretraining.training(self.training()).batch;
            self.plan(items).memory(pretraining.size(items), batch, self.loss())
        })
    }

    fn pretrain(
        &self,
        items: usize,
        context: &FitContext,
    ) -> Result<Box<dyn NextItem>, ModelError> {
        let Some(pretraining) = NetworkSettings::pretraining(self) else {
            return Err(ModelError::Unsuitable("internal error: there is no pretraining".into()));
        };
        let data = pretraining.part(items, context.seed);
        let start = Start { side: pretraining.negatives, transfer: None, is_shuffled: false };
        let training = pretraining.training(self.training());
        let train = TRAIN.get().map_err(NnError::from)?;
        train(self.plan(items), self.loss(), &training, start, &data, context)
    }

    fn fit(
        &self,
        data: &SequencePart,
        context: &FitContext,
    ) -> Result<Box<dyn NextItem>, ModelError> {
        let train = TRAIN.get().map_err(NnError::from)?;
        let start = Start {
            side: Side::Any,
            transfer: NetworkSettings::pretraining(self).map(|of| (of.transfer, of.ids)),
            is_shuffled: NetworkSettings::text(self).is_some_and(|text| text.shuffled),
        };
        train(self.plan(data.items.len()), self.loss(), self.training(), start, data, context)
    }

    fn load(&self, dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError> {
        load(dir, data)
    }

    fn files(&self) -> &'static [&'static str] {
        FILES
    }
}

/// What a training starts from, and where its negatives lie.
struct Start {
    side: Side,
    /// Which parameters start from a pretraining, and the numbering of items it used.
    transfer: Option<(Transfer, Numbering)>,
    /// Whether items get the vectors of other items' texts.
    is_shuffled: bool,
}

type Train = fn(
    Plan,
    LossSpec,
    &SequenceTraining,
    Start,
    &SequencePart,
    &FitContext,
) -> Result<Box<dyn NextItem>, ModelError>;

/// [`train`]
static TRAIN: Slot<Train> = Slot::of(train);

/// Fills the slot of networks.
pub(crate) fn fill_slot() {
    TRAIN.fill(train);
}

/// A network with its parameters.
pub struct Network {
    pub plan: Plan,
    pub weights: Weights,
    pub device: Device,
}

impl Network {
    /// With start values.
    pub fn new(plan: Plan, seed: u64, device: Device) -> Self {
        let mut params = match &plan.shape {
            Shape::Transformer(of) => of.start(plan.n_rows(), seed),
            Shape::Gru(of) => of.start(plan.n_rows(), seed),
        };
        if plan.is_cloze() {
            cloze_head(&mut params, plan.dim, plan.rows.items + 1, seed);
        }
        let params = params
            .into_iter()
            .map(|param| Param::new(param.name, param.value.to_device(device)))
            .collect();
        Self { plan, weights: Weights::new(params), device }
    }

    fn tokens(&self, inputs: &[Vec<i64>]) -> Tokens {
        match self.plan.is_padded {
            true => Tokens::padded(inputs, self.plan.longest, self.device),
            false => Tokens::ragged(inputs, self.plan.longest, self.plan.positions, self.device),
        }
    }

    /// Hidden states of the tokens that are asked for.
    fn encode(&self, tokens: &Tokens, drops: &Drops, of: Of) -> Tensor {
        let states = match &self.plan.shape {
            Shape::Transformer(shape) => shape.encode(&self.weights, tokens, drops, of),
            Shape::Gru(shape) => shape.encode(&self.weights, tokens, drops, of),
        };
        match self.plan.is_cloze() {
            true => after_cloze_head(&self.weights, &states),
            false => states,
        }
    }

    /// States as they are scored, with a 1 for the bias of items.
    fn scored(&self, states: &Tensor) -> Tensor {
        match self.plan.is_cloze() {
            true => {
                let one = Tensor::ones([states.size()[0], 1], (states.kind(), states.device()));
                Tensor::cat(&[states, &one], 1)
            }
            false => states.shallow_clone(),
        }
    }

    /// Embeddings of padding and items as they are scored, with the bias of items.
    fn items(&self) -> Tensor {
        let rows = self.plan.rows.items as i64 + 1;
        let items = self.weights.get(ITEM_ROWS).narrow(0, 0, rows);
        match self.plan.is_cloze() {
            true => Tensor::cat(&[items, self.weights.get("output_bias").unsqueeze(1)], 1),
            false => items,
        }
    }

    /// The mean loss of predicting `targets`, rows of the item embedding.
    fn loss(
        &self,
        spec: LossSpec,
        states: &Tensor,
        targets: &[i64],
        sample: Option<&Sample>,
    ) -> Tensor {
        let (states, items) = (self.scored(states), self.items());
        let targets = Tensor::from_slice(targets).to_device(self.device);
        match (spec, sample) {
            (LossSpec::SampledSoftmax { .. }, Some(sample)) => {
                item_loss::sampled_softmax(&states, &items, &targets, sample)
            }
            (LossSpec::Bce { .. }, Some(sample)) => {
                item_loss::binary_cross_entropy(&states, &items, &targets, sample, 1.0)
            }
            (LossSpec::Gbce { negatives, t }, Some(sample)) => {
                let beta = item_loss::gbce_beta(negatives, self.plan.rows.items, t);
                item_loss::binary_cross_entropy(&states, &items, &targets, sample, beta)
            }
            // As in the released code of BSARec: the mask is an item, too.
            _ if matches!(self.plan.learns, Learns::MaskedPrefixes { .. }) => {
                item_loss::softmax(&states, self.weights.get(ITEM_ROWS), &targets)
            }
            _ if self.plan.padding_in_softmax => item_loss::softmax(&states, &items, &targets),
            _ => {
                let items = items.narrow(0, 1, self.plan.rows.items as i64);
                item_loss::softmax(&states, &items, &(targets - 1))
            }
        }
    }
}

/// A trained network: what it makes of the input of each user, and the embeddings of items.
pub struct Neural {
    factors: Factors,
    /// By user, the score of the padding row.
    padding: Vec<f32>,
    trained: Option<Trained>,
}

struct Trained {
    /// Name, shape and numbers of every parameter.
    params: Vec<(String, Vec<usize>, Vec<f32>)>,
    stats: TrainingStats,
    history: Vec<learn::Epoch<()>>,
}

impl Neural {
    /// What a network predicts from these inputs.
    fn of(network: &Network, input: &Sequences) -> Self {
        let _no_gradient = crate::nn::no_grad_guard();
        let width = network.plan.state_width();
        let users = last_states(network, input);
        let mut items = floats(&network.items());
        let padding_row: Vec<f32> = items.drain(..width).collect();
        let dot = |row: &[f32]| row.iter().zip(&padding_row).map(|(a, b)| a * b).sum();
        let padding = users.chunks(width).map(dot).collect();
        Self { factors: Factors::new(width, users, items), padding, trained: None }
    }
}

fn train(
    plan: Plan,
    loss: LossSpec,
    training: &SequenceTraining,
    start: Start,
    data: &SequencePart,
    context: &FitContext,
) -> Result<Box<dyn NextItem>, ModelError> {
    one_thread();
    if training.validate.is_some() && data.validation.is_empty() {
        return Err(ModelError::Unsuitable(
            "`training.validate` needs a validation part, but the split has none\n  = help: add `validation: 0.1` to \
             `split`, or remove `validate` and `stop`"
                .into(),
        ));
    }
    let neural = device::on(&training.device, |device| -> Result<Neural, ModelError> {
        let mut network = Network::new(plan, context.seed, device);
        if let (Some((transfer, ids)), Some(dir)) = (start.transfer, context.pretrained) {
            let saved = Saved::read(dir)?;
            let order = ids.order(data, context.seed);
            pretraining::take_over(&mut network, &saved, transfer, &order)?;
        }
        if let Some(dir) = context.texts {
            let texts = Embeddings::read(dir)?;
            let started =
                text_start::start_from(&mut network, &texts, start.is_shuffled, context.seed)?;
            (context.log)(&format!(
                "{} of {} items start from their texts; the components hold {:.1} % of the variance of all vectors",
                started.items,
                data.items.len(),
                100.0 * started.variance
            ));
        }
        (context.log)(&format!("{} trained parameters", network.weights.count()));
        let of_loop = TrainContext {
            interrupt: context.interrupt,
            progress: context.progress,
            log: context.log,
            checkpoint: context.scratch.map(|dir| dir.join("checkpoint.safetensors")),
        };
        let mut learner =
            SequenceLearner::new(&mut network, loss, training, start.side, data, context)?;
        let learn::Trained { stats, history } =
            learn::train(&mut learner, &training.of_loop(), &of_loop)?;
        let mut neural = Neural::of(&network, &data.input());
        let params = network.weights.params.iter().map(|param| {
            let shape = param.value.size().iter().map(|size| *size as usize).collect();
            (param.name.clone(), shape, floats(&param.value))
        });
        neural.trained = Some(Trained { params: params.collect(), stats, history });
        Ok(neural)
    })?;
    Ok(Box::new(neural))
}

/// Reads what [`Neural::save`] wrote.
fn load(dir: &Path, data: &SequencePart) -> Result<Box<dyn NextItem>, ModelError> {
    let saved = Saved::read(dir)?;
    let (n_users, n_items) = (data.users.len(), data.items.len());
    let width = saved.float_row("users")?.len() / n_users.max(1);
    let users = saved.floats("users", &[n_users, width])?;
    let items = saved.floats("items", &[n_items, width])?;
    let padding = saved.floats("padding", &[n_users])?;
    Ok(Box::new(Neural { factors: Factors::new(width, users, items), padding, trained: None }))
}

impl NextItem for Neural {
    fn score_one(&self, user: UserIx, _: &[u32], scores: &mut [f32]) {
        self.factors.score(&[user], scores);
    }

    fn score(&self, users: &[UserIx], _: &Sequences, scores: &mut [f32]) {
        self.factors.score(users, scores);
    }

    fn padding_score(&self, user: UserIx) -> f32 {
        self.padding[user.at()]
    }

    fn stats(&self) -> ModelStats {
        ModelStats { training: self.trained.as_ref().map(|trained| trained.stats.clone()) }
    }

    fn parameters(&self) -> Option<usize> {
        let trained = self.trained.as_ref()?;
        Some(trained.params.iter().map(|(.., values)| values.len()).sum())
    }

    fn order(&self, data: &SequencePart, seed: u64) -> Vec<EmbeddingOrder> {
        let params = self.trained.iter().flat_map(|trained| &trained.params);
        let Some((_, shape, rows)) = params.into_iter().find(|of| of.0 == ITEM_ROWS) else {
            return Vec::new();
        };
        let dim = shape[1];
        let orders: Vec<(Numbering, Vec<u32>)> =
            Numbering::ALL.iter().map(|of| (*of, of.order(data, seed))).collect();
        // Without padding before the items and the mask behind them.
        EmbeddingOrder::of(&rows[dim..(data.items.len() + 1) * dim], dim, &orders)
    }

    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let Some(trained) = &self.trained else { return Ok(()) };
        let width = self.factors.dim;
        let mut saved = vec![
            ("users".to_owned(), Array::rows(width, &self.factors.users)),
            ("items".to_owned(), Array::rows(width, &self.factors.items)),
            ("padding".to_owned(), Array::floats(&[self.padding.len()], &self.padding)),
        ];
        for (name, shape, values) in &trained.params {
            saved.push((format!("param.{name}"), Array::floats(shape, values)));
        }
        arrays::save(dir, &saved)?;
        let path = dir.join(HISTORY);
        let lines: Result<Vec<String>, _> =
            trained.history.iter().map(serde_json::to_string).collect();
        lines
            .map_err(std::io::Error::from)
            .and_then(|lines| fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))))
            .map_err(|source| ModelError::Io { path, source })
    }
}

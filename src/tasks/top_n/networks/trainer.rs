//! The training loop of every network: batches, steps, schedule, early stopping, checkpoints.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::settings::{Schedule, Training, Watch};
use crate::{
    base::{arrays::Array, random::mix},
    data::{Interactions, TrainingData},
    nn::{
        Device, Tensor,
        loss::{Batch, Parts, Weights, loss, regularise},
        network::{Dropout, Network, Regularised},
        optimizer::{State, gradient_norm},
        sampler::{Draw, Exclude, Sampler},
        tensors::{floats, tensor_of},
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
    /// Positives a step where the settings do not say; 0: all.
    pub batch: usize,
}

impl Objective {
    /// BPR alone, in batches of 2048.
    pub fn of_bpr(regularization: f64, dropout: f64) -> Self {
        Self { weights: Weights::BPR, regularization, dropout, batch: 2048 }
    }
}

/// One epoch, without seconds: the same run gives the same history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    pub epoch: usize,
    pub bpr: f64,
    /// 1 − mean cosine; 0 where it has no weight.
    pub cosine: f64,
    /// Mean binary cross-entropy; left out where it has no weight.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cross_entropy: f64,
    pub regularization: f64,
    pub loss: f64,
    pub learning_rate: f64,
    /// The metric on the validation part, where it was measured.
    pub validation: Option<f64>,
}

fn is_zero(value: &f64) -> bool {
    *value == 0.0
}

/// A trained network.
pub struct Trained {
    pub dim: usize,
    /// Final embeddings, users then items.
    pub users: Vec<f32>,
    pub items: Vec<f32>,
    /// Name, shape and numbers of every parameter.
    pub params: Vec<(String, Vec<usize>, Vec<f32>)>,
    /// The epoch after which they were these.
    pub kept_epoch: usize,
    pub history: Vec<Epoch>,
}

/// What a run has to remember beside the parameters.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Memory {
    /// Epochs done.
    epochs: usize,
    steps: u64,
    /// Factor on the learning rate.
    factor: f64,
    /// Of the negative training loss, of the validation metric, and of what the plateau schedule looks at.
    loss: Tracker,
    validation: Tracker,
    plateau: Tracker,
    /// The epoch of the best parameters, where those are kept.
    kept_epoch: Option<usize>,
    history: Vec<Epoch>,
    seconds: f64,
}

/// The best of a quantity so far; more is better.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
struct Tracker {
    best: Option<f64>,
    /// The epoch it was measured after.
    epoch: usize,
    /// Measurements since.
    since: usize,
}

impl Tracker {
    /// Takes note of a measurement; whether it is better than the best by more than `threshold`, a share
    /// of the best.
    fn note(&mut self, value: f64, epoch: usize, threshold: f64) -> bool {
        let improves = self.best.is_none_or(|best| value > best + threshold * best.abs());
        match improves {
            true => *self = Self { best: Some(value), epoch, since: 0 },
            false => self.since += 1,
        }
        improves
    }
}

/// Checkpoints are at least so far apart; `ASSAY_CHECKPOINT_SECONDS` says otherwise.
fn between_checkpoints() -> Duration {
    let told = std::env::var("ASSAY_CHECKPOINT_SECONDS").ok();
    let seconds: Option<f64> = told.and_then(|told| told.parse().ok());
    let seconds = seconds.filter(|seconds| (0.0..1e6).contains(seconds));
    Duration::from_secs_f64(seconds.unwrap_or(5.0))
}

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
                "`negatives.exclude: liked-and-disliked` needs to know what is disliked\n  = help: add \
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
    objective: &Objective,
    device: Device,
    context: &FitContext,
) -> Result<Trained, ModelError> {
    let n_users = data.ratings.n_users();
    if settings.validate.is_some() && data.validation.is_empty() {
        return Err(ModelError::Unsuitable(
            "`training.validate` measures on the validation part, and the split has none\n  = help: add \
             `validation: {fraction: 0.1}` to `split`, or remove `validate` and `stop`"
                .into(),
        ));
    }
    let pairs: Vec<(u32, u32)> =
        data.positives.iter().map(|row| (row.user.0, row.item.0)).collect();
    let sampler = Sampler::new(
        settings.negatives,
        context.seed,
        known(data, settings.negatives.exclude)?,
        &data.positives.item_counts(),
    );
    let mut state = State::new(settings.optimizer, settings.weight_decay, network.params());
    let mut memory = Memory { factor: 1.0, ..Memory::default() };
    let mut best: Option<Vec<Tensor>> = None;
    let checkpoint = context.scratch.map(|dir| dir.join("checkpoint.safetensors"));
    if let Some(path) = &checkpoint
        && load(path, network, &mut state, &mut memory, &mut best, device)
    {
        (context.log)(&format!("goes on after epoch {}", memory.epochs));
    }
    let batch_size = match settings.batch.unwrap_or(objective.batch) {
        0 => pairs.len(),
        batch => batch,
    };
    let mut last_saved = Instant::now();
    let between_checkpoints = between_checkpoints();
    while memory.epochs < settings.epochs {
        if let Err(interrupted) = context.interrupt.check() {
            if let Some(path) = &checkpoint {
                save(path, network, &state, &memory, &best)?;
            }
            return Err(interrupted.into());
        }
        let started = Instant::now();
        let epoch = memory.epochs;
        let rate = match &settings.rates {
            Some(rates) => *rates.get(epoch).ok_or_else(|| {
                ModelError::Unsuitable(format!(
                    "there are learning rates of {} epochs, and {} are to be trained",
                    rates.len(),
                    settings.epochs
                ))
            })?,
            None => memory.factor * scheduled(settings, epoch),
        };
        let mut order: Vec<u32> = (0..pairs.len() as u32).collect();
        let mut random = ChaCha8Rng::seed_from_u64(context.seed);
        random.set_stream(epoch as u64 + 1);
        order.shuffle(&mut random);
        let (mut parts, mut regularization) = (Parts::default(), 0.0);
        for (at, chosen) in order.chunks(batch_size).enumerate() {
            let stream = mix(context.seed ^ mix((epoch as u64) << 32 | at as u64));
            let dropout = Dropout { share: objective.dropout, stream };
            let embeddings = network.forward(Some(dropout));
            let users: Vec<u32> = chosen.iter().map(|pair| pairs[*pair as usize].0).collect();
            let first = (at * batch_size) as u64;
            let drawn = draw(&sampler, &users, epoch as u64, first, &embeddings, n_users, settings);
            let item = |item: u32| n_users as u32 + item;
            let batch = Batch {
                positives: chosen.iter().map(|pair| item(pairs[*pair as usize].1)).collect(),
                negatives: drawn.into_iter().map(item).collect(),
                users,
            };
            let (of_batch, mut grad) = loss(&embeddings, &batch, objective.weights);
            let lambda = objective.regularization;
            let share = batch.users.len() as f64 / pairs.len() as f64;
            if lambda > 0.0 && network.regularised() == Regularised::Embeddings {
                regularization += share * regularise(&embeddings, &mut grad, &batch, lambda);
            }
            network.backward(&grad);
            if lambda > 0.0
                && network.regularised() == Regularised::Nodes
                && network.params()[0].value.numel() > 0
            {
                let nodes = &mut network.params()[0];
                let mut grad = nodes.grad.contiguous();
                regularization += share * regularise(&nodes.value, &mut grad, &batch, lambda);
                nodes.grad = grad;
            }
            parts.bpr += share * of_batch.bpr;
            parts.cosine += share * of_batch.cosine;
            parts.cross_entropy += share * of_batch.cross_entropy;
            let scale = match settings.clip {
                Some(clip) => (clip / (gradient_norm(network.params()) + 1e-6)).min(1.0),
                None => 1.0,
            };
            state.step(network.params(), rate, scale);
        }
        let regularization = objective.regularization * regularization;
        let total = objective.weights.sum(parts) + regularization;
        if !total.is_finite() {
            return Err(ModelError::Diverged(format!(
                "the loss is {total} after epoch {}: training diverged\n  = help: lower \
                 `training.learning_rate` (it is {rate}), or set `training.clip`",
                epoch + 1
            )));
        }
        memory.epochs += 1;
        memory.steps = state.steps;
        let mut entry = Epoch {
            epoch: memory.epochs,
            bpr: parts.bpr,
            cosine: parts.cosine,
            cross_entropy: parts.cross_entropy,
            regularization,
            loss: total,
            learning_rate: rate,
            validation: None,
        };
        if let Some(validate) = settings.validate
            && memory.epochs.is_multiple_of(validate.every)
        {
            let (dim, users, items) = embeddings(network, n_users);
            let model = Factors::new(dim, users, items);
            entry.validation =
                Some(validation(&model, data, validate.metric, validate.k, context)?);
        }
        let measured = (total, entry.validation);
        memory.seconds += started.elapsed().as_secs_f64();
        (context.log)(&format!(
            "epoch {}: loss {total:.6}{} ({:.3} s)",
            memory.epochs,
            entry.validation.map(|value| format!(", validation {value:.4}")).unwrap_or_default(),
            started.elapsed().as_secs_f64()
        ));
        memory.history.push(entry);
        (context.progress)(memory.epochs as u64, settings.epochs as u64);
        if judge(measured, settings, &mut memory, &mut best, network) {
            break;
        }
        if let Some(path) = &checkpoint
            && last_saved.elapsed() >= between_checkpoints
        {
            save(path, network, &state, &memory, &best)?;
            last_saved = Instant::now();
        }
    }
    let mut kept = (memory.epochs, "last");
    if let (Some(best), Some(epoch)) = (best, memory.kept_epoch) {
        for (param, value) in network.params().iter_mut().zip(best) {
            param.value = value;
        }
        kept = (epoch, settings.keeps_best_by().map_or("last", Watch::name));
    }
    (context.fact)("epochs", json!(memory.epochs));
    (context.fact)("seconds_an_epoch", json!(memory.seconds / memory.epochs.max(1) as f64));
    (context.fact)("device", json!(format!("{device:?}")));
    (context.fact)("kept_epoch", json!(kept.0));
    (context.fact)("kept_by", json!(kept.1));
    if settings.validate.is_some() {
        (context.fact)("best_epoch", json!(memory.validation.epoch));
        (context.fact)("best_validation", json!(memory.validation.best));
    }
    let (dim, users, items) = embeddings(network, n_users);
    let params = network
        .params()
        .iter()
        .map(|param| {
            let shape = param.value.size().iter().map(|size| *size as usize).collect();
            (param.name.clone(), shape, floats(&param.value))
        })
        .collect();
    Ok(Trained { dim, users, items, params, kept_epoch: kept.0, history: memory.history })
}

fn draw(
    sampler: &Sampler,
    users: &[u32],
    epoch: u64,
    first: u64,
    embeddings: &Tensor,
    n_users: usize,
    settings: &Training,
) -> Vec<u32> {
    if settings.negatives.draw != Draw::Hard {
        return sampler.draw(users, epoch, first, &|_, _| 0.0);
    }
    let dim = embeddings.size()[1] as usize;
    let rows = floats(embeddings);
    let row = |node: usize| &rows[node * dim..(node + 1) * dim];
    sampler.draw(users, epoch, first, &|user, item| {
        let (user, item) = (row(user as usize), row(n_users + item as usize));
        user.iter().zip(item).map(|(a, b)| a * b).sum()
    })
}

/// The learning rate of an epoch, before any plateau.
fn scheduled(settings: &Training, epoch: usize) -> f64 {
    match settings.schedule {
        Schedule::Cosine { lowest } => {
            let done = epoch as f64 / settings.epochs as f64;
            lowest
                + (settings.learning_rate - lowest)
                    * 0.5
                    * (1.0 + (std::f64::consts::PI * done).cos())
        }
        _ => settings.learning_rate,
    }
}

/// Takes note of an epoch's training loss and, where it was measured, of its validation metric: best
/// parameters, learning rate; whether to stop.
fn judge(
    (loss, validation): (f64, Option<f64>),
    settings: &Training,
    memory: &mut Memory,
    best: &mut Option<Vec<Tensor>>,
    network: &mut dyn Network,
) -> bool {
    let epoch = memory.epochs;
    let of = |watch: Watch| match watch {
        Watch::Validation => validation,
        Watch::TrainingLoss => Some(-loss),
    };
    let less_loss = memory.loss.note(-loss, epoch, 0.0);
    let better = validation.is_some_and(|value| memory.validation.note(value, epoch, 0.0));
    let keeps = match settings.keeps_best_by() {
        Some(Watch::Validation) => better,
        Some(Watch::TrainingLoss) => less_loss,
        None => false,
    };
    if keeps {
        *best = Some(network.params().iter().map(|param| param.value.copy()).collect());
        memory.kept_epoch = Some(epoch);
    }
    if let Schedule::Plateau { factor, patience, lowest, on, threshold } = settings.schedule
        && let Some(value) = of(settings.plateau_watches(on))
        && !memory.plateau.note(value, epoch, threshold)
        && memory.plateau.since > patience
    {
        let rate = (settings.learning_rate * memory.factor * factor).max(lowest);
        memory.factor = rate / settings.learning_rate;
        memory.plateau.since = 0;
    }
    settings.stop.is_some_and(|stop| match stop.on {
        Watch::Validation => memory.validation.since >= stop.patience,
        Watch::TrainingLoss => memory.loss.since >= stop.patience,
    })
}

/// Dimension, users' and items' final embeddings.
fn embeddings(network: &mut dyn Network, n_users: usize) -> (usize, Vec<f32>, Vec<f32>) {
    let all = network.forward(None);
    let dim = all.size()[1] as usize;
    let mut users = floats(&all);
    let items = users.split_off(n_users * dim);
    (dim, users, items)
}

/// Everything needed to go on, in one file that is there whole or not at all.
fn save(
    path: &Path,
    network: &mut dyn Network,
    state: &State,
    memory: &Memory,
    best: &Option<Vec<Tensor>>,
) -> Result<(), ModelError> {
    let shape =
        |tensor: &Tensor| tensor.size().iter().map(|size| *size as usize).collect::<Vec<_>>();
    let mut arrays: Vec<(String, Array)> = Vec::new();
    for (at, param) in network.params().iter().enumerate() {
        let mut add = |kind: &str, tensor: &Tensor| {
            arrays.push((
                format!("{kind}.{}", param.name),
                Array::floats(&shape(tensor), &floats(tensor)),
            ));
        };
        add("value", &param.value);
        add("first", &state.first[at]);
        add("second", &state.second[at]);
        if let Some(best) = best {
            add("best", &best[at]);
        }
    }
    let memory = serde_json::to_string(memory).unwrap_or_default();
    let metadata = Some([("memory".to_owned(), memory)].into_iter().collect());
    let views = arrays.iter().map(|(name, array)| (name.as_str(), array));
    let error = |source: std::io::Error| ModelError::Io { path: path.to_owned(), source };
    let bytes = safetensors::serialize(views, metadata)
        .map_err(|problem| error(std::io::Error::other(problem.to_string())))?;
    let partial = PathBuf::from(format!("{}.partial", path.display()));
    if let Some(dir) = path.parent() {
        fs::create_dir_all(dir).map_err(error)?;
    }
    fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path)).map_err(error)
}

/// Goes on from a checkpoint; one that does not fit is no checkpoint.
fn load(
    path: &Path,
    network: &mut dyn Network,
    state: &mut State,
    memory: &mut Memory,
    best: &mut Option<Vec<Tensor>>,
    device: Device,
) -> bool {
    let Ok(bytes) = fs::read(path) else { return false };
    let mut found = || -> Option<_> {
        let (_, header) = SafeTensors::read_metadata(&bytes).ok()?;
        let text = header.metadata().as_ref()?.get("memory")?.clone();
        let memory: Memory = serde_json::from_str(&text).ok()?;
        let tensors = SafeTensors::deserialize(&bytes).ok()?;
        let mut read = |kind: &str| -> Option<Vec<Tensor>> {
            let read = |param: &crate::nn::network::Param| {
                let view = tensors.tensor(&format!("{kind}.{}", param.name)).ok()?;
                let words = view.data().chunks_exact(4);
                let values: Vec<f32> = words
                    .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                    .collect();
                let expected: Vec<usize> = param.value.size().iter().map(|s| *s as usize).collect();
                (view.shape() == expected).then(|| tensor_of(&values, view.shape(), device))
            };
            network.params().iter().map(read).collect()
        };
        Some((memory, read("value")?, read("first")?, read("second")?, read("best")))
    };
    let Some((remembered, values, first, second, best_values)) = found() else { return false };
    for (param, value) in network.params().iter_mut().zip(values) {
        param.value = value;
    }
    (state.first, state.second, state.steps) = (first, second, remembered.steps);
    (*memory, *best) = (remembered, best_values);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::network::Param;

    /// A network whose only number is the epoch.
    struct Counter(Vec<Param>);

    impl Network for Counter {
        fn forward(&mut self, _: Option<Dropout>) -> Tensor {
            self.0[0].value.shallow_clone()
        }

        fn backward(&mut self, _: &Tensor) {}

        fn params(&mut self) -> &mut Vec<Param> {
            &mut self.0
        }
    }

    /// As an experiment file is read: serde_yaml alone would ask for tags.
    fn read(yaml: &str) -> Result<Training, serde_json::Error> {
        serde_json::from_value(serde_yaml::from_str(yaml).unwrap())
    }

    /// What comes of measurements by epoch (training loss; validation, where measured): the epoch after
    /// which it ends, the one whose parameters are kept, and the factors on the learning rate.
    fn follow(yaml: &str, measured: &[(f64, Option<f64>)]) -> (usize, usize, Vec<f64>) {
        let settings = read(yaml).unwrap();
        settings.validate().unwrap();
        let mut network = Counter(vec![Param::new("epoch", Tensor::from_slice(&[0.0f32]))]);
        let mut memory = Memory { factor: 1.0, ..Memory::default() };
        let (mut best, mut factors) = (None, Vec::new());
        for measured in measured {
            memory.epochs += 1;
            network.0[0].value = Tensor::from_slice(&[memory.epochs as f32]);
            let ends = judge(*measured, &settings, &mut memory, &mut best, &mut network);
            factors.push(memory.factor);
            if ends {
                break;
            }
        }
        let kept = best.map_or(memory.epochs, |best| floats(&best[0])[0] as usize);
        assert_eq!(kept, memory.kept_epoch.unwrap_or(memory.epochs));
        (memory.epochs, kept, factors)
    }

    const LOSSES: [f64; 8] = [5.0, 4.0, 3.0, 2.0, 2.5, 2.4, 2.3, 1.0];

    #[test]
    fn stopping_looks_at_what_it_says() {
        // The metric is best in the second epoch, the loss falls up to the fourth.
        let metric = [0.1, 0.3, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2];
        let both: Vec<_> = LOSSES.iter().zip(metric).map(|(loss, of)| (*loss, Some(of))).collect();
        let on = |what: &str| {
            let yaml = format!("{{validate: {{every: 1}}, stop: {{on: {what}, patience: 2}}}}");
            let (end, kept, _) = follow(&yaml, &both);
            (end, kept)
        };
        assert_eq!(on("validation"), (4, 2));
        assert_eq!(on("training-loss"), (6, 2));
        // Measured in every second epoch: the loss is looked at in all of them.
        let seldom: Vec<_> = LOSSES
            .iter()
            .enumerate()
            .map(|(at, loss)| (*loss, (at % 2 == 1).then_some(at as f64)))
            .collect();
        let yaml = "{validate: {every: 2}, stop: {on: training-loss, patience: 2}}";
        assert_eq!(follow(yaml, &seldom).0, 6);
    }

    #[test]
    fn the_best_or_the_last_parameters_are_kept() {
        let losses: Vec<_> = LOSSES[..6].iter().map(|loss| (*loss, None)).collect();
        let kept = |yaml: &str| follow(yaml, &losses).1;
        assert_eq!(kept("{}"), 6);
        assert_eq!(kept("{keep: last}"), 6);
        assert_eq!(kept("{keep: best}"), 4);
        assert_eq!(kept("{stop: {on: training-loss, patience: 2}}"), 6);
        assert_eq!(kept("{stop: {on: training-loss, patience: 2}, keep: best}"), 4);
        let metric = [0.1, 0.3, 0.2, 0.2];
        let both: Vec<_> = LOSSES.iter().zip(metric).map(|(loss, of)| (*loss, Some(of))).collect();
        let kept = |keep: &str| follow(&format!("{{validate: {{every: 1}}{keep}}}"), &both).1;
        assert_eq!((kept(""), kept(", keep: best"), kept(", keep: last")), (2, 2, 4));
    }

    /// As PyTorch's ReduceLROnPlateau: more than `patience` epochs, each no better than the best by the
    /// share `threshold` of it.
    #[test]
    fn a_plateau_is_one_of_the_quantity_that_is_named() {
        let both: Vec<_> = [(4.0, 0.1), (3.0, 0.1), (2.9, 0.1), (2.89, 0.1), (2.88, 0.2)]
            .map(|(loss, metric)| (loss, Some(metric)))
            .to_vec();
        let plateau = |more: &str| {
            let yaml = format!(
                "{{validate: {{every: 1}}, schedule: {{plateau: {{factor: 0.5, patience: 1, lowest: \
                 0{more}}}}}}}"
            );
            follow(&yaml, &both).2
        };
        assert_eq!(plateau(""), [1.0, 1.0, 0.5, 0.5, 0.5]);
        assert_eq!(plateau(", on: validation"), [1.0, 1.0, 0.5, 0.5, 0.5]);
        assert_eq!(plateau(", on: training-loss"), [1.0; 5]);
        assert_eq!(plateau(", on: training-loss, threshold: 0.1"), [1.0, 1.0, 1.0, 0.5, 0.5]);
    }

    #[test]
    fn settings_that_contradict_each_other_are_refused() {
        for (yaml, says) in [
            ("{stop: {on: validation, patience: 2}}", "needs `validate"),
            (
                "{schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0, on: validation}}}",
                "needs `validate",
            ),
            ("{epochs: 4, validate: {every: 5}}", "nothing would be measured"),
            (
                "{learning_rate: 0.001, schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0.01}}}",
                "`lowest` is 0.01",
            ),
            ("{learning_rate: 0.001, schedule: {cosine: {lowest: 0.01}}}", "`lowest` is 0.01"),
        ] {
            let settings = read(yaml).unwrap();
            let (_, message) = settings.validate().unwrap_err();
            assert!(message.contains(says), "{yaml}: {message}");
        }
        let mistyped = "{schedule: {plateau: {factor: 0.5, patience: 1, lowest: 0, treshold: 1}}}";
        assert!(read(mistyped).is_err());
    }
}

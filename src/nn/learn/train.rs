//! The training loop: epochs, steps, learning rates, early stopping, checkpoints, history.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use tch::Tensor;

use super::{Learner, LoopSettings, MeanLoss, Parts, Schedule, Watch, checkpoint};
use crate::{
    base::interrupt::Interrupt,
    nn::{
        NnError, device,
        network::Param,
        optimizer::{State, gradient_norm},
    },
};

/// What accompanies a training.
pub struct TrainContext<'a> {
    pub interrupt: &'a Interrupt,
    /// Called with (done, of) epochs.
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    /// One line for a log file.
    pub log: &'a (dyn Fn(&str) + Sync),
    /// The file to go on from where it exists, and to save to. Where there is none, training that is
    /// interrupted starts again.
    pub checkpoint: Option<PathBuf>,
}

impl<'a> TrainContext<'a> {
    /// For benchmarks and tests: nobody listens.
    pub fn silent(interrupt: &'a Interrupt) -> Self {
        Self { interrupt, progress: &|_, _| {}, log: &|_| {}, checkpoint: None }
    }
}

/// One epoch, without seconds: the same run gives the same history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch<P> {
    /// Counted from 1.
    pub epoch: usize,
    #[serde(flatten)]
    pub parts: P,
    pub loss: f64,
    pub learning_rate: f64,
    /// The metric on the validation part, where it was measured.
    pub validation: Option<f64>,
}

/// What a training gives, beside the parameters.
#[derive(Clone, Debug)]
pub struct Trained<P> {
    pub stats: TrainingStats,
    pub history: Vec<Epoch<P>>,
}

/// What a step's record says of a training.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainingStats {
    /// Epochs done.
    pub epochs: usize,
    pub seconds_an_epoch: f64,
    pub device: String,
    /// The epoch after which the parameters were those that are kept, and why these.
    pub kept_epoch: usize,
    pub kept_by: KeptBy,
    /// The best validation metric and its epoch, where it was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_epoch: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best_validation: Option<f64>,
}

/// Why the parameters of an epoch are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeptBy {
    /// It was the last one.
    #[default]
    Last,
    /// The metric of `validate` was best.
    Validation,
    /// The training loss was least.
    TrainingLoss,
}

impl From<Watch> for KeptBy {
    fn from(watch: Watch) -> Self {
        match watch {
            Watch::Validation => Self::Validation,
            Watch::TrainingLoss => Self::TrainingLoss,
        }
    }
}

/// What has to be remembered beside the parameters and the optimiser's moments.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Memory<P> {
    /// Epochs done.
    pub(super) epochs: usize,
    steps: u64,
    /// Factor on the learning rate.
    pub(super) factor: f64,
    /// Of the negative training loss, of the validation metric, and of what the plateau schedule looks at.
    loss: Tracker,
    validation: Tracker,
    plateau: Tracker,
    /// The epoch of the best parameters, where those are kept.
    pub(super) kept_epoch: Option<usize>,
    history: Vec<Epoch<P>>,
    seconds: f64,
}

impl<P> Default for Memory<P> {
    fn default() -> Self {
        Self {
            epochs: 0,
            steps: 0,
            factor: 1.0,
            loss: Tracker::default(),
            validation: Tracker::default(),
            plateau: Tracker::default(),
            kept_epoch: None,
            history: Vec::new(),
            seconds: 0.0,
        }
    }
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

/// Trains `learner`, whose parameters are those that are kept when this returns.
pub fn train<L: Learner>(
    learner: &mut L,
    settings: &LoopSettings,
    context: &TrainContext,
) -> Result<Trained<L::Parts>, L::Error> {
    let mut state = State::new(settings.optimizer, settings.weight_decay, learner.params());
    let mut memory = Memory::<L::Parts>::default();
    let mut best: Option<Vec<Tensor>> = None;
    let checkpoint = context.checkpoint.as_deref();
    if let Some(path) = checkpoint {
        match go_on(path, learner.params(), &mut state, &mut memory, &mut best) {
            Ok(true) => (context.log)(&format!("goes on after epoch {}", memory.epochs)),
            Ok(false) => {}
            Err(problem) => (context.log)(&format!(
                "warning: {}: {problem}; training starts again",
                path.display()
            )),
        }
    }
    let mut last_saved = Instant::now();
    let between_checkpoints = between_checkpoints();
    while memory.epochs < settings.epochs {
        if let Err(interrupted) = context.interrupt.check() {
            if let Some(path) = checkpoint {
                save(path, learner.params(), &state, &memory, &best)?;
            }
            return Err(NnError::from(interrupted).into());
        }
        let started = Instant::now();
        let epoch = memory.epochs;
        let rate = match &settings.rates {
            Some(rates) => *rates.get(epoch).ok_or_else(|| {
                NnError::Unsuitable(format!(
                    "there are learning rates of {} epochs, and {} are to be trained",
                    rates.len(),
                    settings.epochs
                ))
            })?,
            None => memory.factor * settings.scheduled(epoch),
        };
        learner.start_epoch(epoch)?;
        let mut mean = MeanLoss::<L::Parts>::default();
        for batch in learner.batches(epoch) {
            let share = learner.share(&batch);
            let of_batch = learner.step(&batch)?;
            mean.loss += share * of_batch.loss;
            mean.parts.add(share, &of_batch.parts);
            let scale = match settings.clip {
                Some(clip) => (clip / (gradient_norm(learner.params()) + 1e-6)).min(1.0),
                None => 1.0,
            };
            state.step(learner.params(), rate, scale);
        }
        let MeanLoss { loss, parts } = learner.epoch_loss(mean);
        if !loss.is_finite() {
            return Err(NnError::Diverged(format!(
                "the loss is {loss} after epoch {}: training diverged\n  = help: lower \
                 `training.learning_rate` (it is {rate}), or set `training.clip`",
                epoch + 1
            ))
            .into());
        }
        memory.epochs += 1;
        memory.steps = state.steps;
        let is_due = |every: usize| memory.epochs.is_multiple_of(every);
        let validation = match settings.validate_every.is_some_and(is_due) {
            true => learner.validate()?,
            false => None,
        };
        memory.seconds += started.elapsed().as_secs_f64();
        (context.log)(&format!(
            "epoch {}: loss {loss:.6}{} ({:.3} s)",
            memory.epochs,
            validation.map(|value| format!(", validation {value:.4}")).unwrap_or_default(),
            started.elapsed().as_secs_f64()
        ));
        memory.history.push(Epoch {
            epoch: memory.epochs,
            parts,
            loss,
            learning_rate: rate,
            validation,
        });
        (context.progress)(memory.epochs as u64, settings.epochs as u64);
        if judge((loss, validation), settings, &mut memory, &mut best, learner.params()) {
            break;
        }
        if let Some(path) = checkpoint
            && last_saved.elapsed() >= between_checkpoints
        {
            save(path, learner.params(), &state, &memory, &best)?;
            last_saved = Instant::now();
        }
    }
    let mut kept = (memory.epochs, KeptBy::Last);
    if let (Some(best), Some(epoch)) = (best, memory.kept_epoch) {
        for (param, value) in learner.params().iter_mut().zip(best) {
            param.value = value;
        }
        kept = (epoch, settings.keeps_best_by().map_or(KeptBy::Last, KeptBy::from));
    }
    let device = device::name(learner.params().first().map(|param| &param.value));
    let stats = TrainingStats {
        epochs: memory.epochs,
        seconds_an_epoch: memory.seconds / memory.epochs.max(1) as f64,
        device,
        kept_epoch: kept.0,
        kept_by: kept.1,
        best_epoch: memory.validation.best.map(|_| memory.validation.epoch),
        best_validation: memory.validation.best,
    };
    Ok(Trained { stats, history: memory.history })
}

/// Takes note of an epoch's training loss and, where it was measured, of its validation metric: best
/// parameters, learning rate; whether to stop.
pub(super) fn judge<P>(
    (loss, validation): (f64, Option<f64>),
    settings: &LoopSettings,
    memory: &mut Memory<P>,
    best: &mut Option<Vec<Tensor>>,
    params: &[Param],
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
        *best = Some(params.iter().map(|param| param.value.copy()).collect());
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

fn save<P: Parts>(
    path: &Path,
    params: &[Param],
    state: &State,
    memory: &Memory<P>,
    best: &Option<Vec<Tensor>>,
) -> Result<(), NnError> {
    let memory = serde_json::to_string(memory)
        .map_err(|error| NnError::Io { path: path.to_owned(), source: error.into() })?;
    checkpoint::save(path, params, state, memory, best.as_deref())
}

/// Goes on from a checkpoint, where there is one; an error where it does not fit.
fn go_on<P: Parts>(
    path: &Path,
    params: &mut [Param],
    state: &mut State,
    memory: &mut Memory<P>,
    best: &mut Option<Vec<Tensor>>,
) -> Result<bool, String> {
    let Some(found) = checkpoint::load(path, params)? else { return Ok(false) };
    let remembered: Memory<P> =
        serde_json::from_str(&found.memory).map_err(|error| error.to_string())?;
    for (param, value) in params.iter_mut().zip(found.values) {
        param.value = value;
    }
    (state.first, state.second, state.steps) = (found.first, found.second, remembered.steps);
    (*memory, *best) = (remembered, found.best);
    Ok(true)
}

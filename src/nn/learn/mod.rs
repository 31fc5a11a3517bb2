//! Learners, and the one loop that trains them all.
//!
//! A [`Learner`] has parameters, batches and a loss. [`train`] does the rest: steps of the optimiser,
//! learning rates, clipping, early stopping, checkpoints, history. The gradient is that of libtorch's
//! autograd, unless the learner brings kernels of its own and overrides [`Learner::step`].

mod checkpoint;
mod settings;
#[cfg(test)]
mod tests;
mod train;

use serde::{Serialize, de::DeserializeOwned};
use tch::Tensor;

pub use settings::{Keep, LoopSettings, Schedule, Stop, Watch};
pub use train::{Epoch, KeptBy, TrainContext, Trained, TrainingStats, train};

use super::{NnError, network::Param, tensors::zeros_like};

/// What is trained by gradient descent on batches.
///
/// Whatever is drawn at random (the order of examples, negatives, dropout) is seeded by the number of the
/// epoch and the place in it, never by what was drawn before: training that goes on from a checkpoint must
/// give the same bytes as training that was not interrupted.
pub trait Learner {
    /// What one step of the optimiser learns from.
    type Batch;
    /// The parts of the loss that the history shows; `()` where there are none.
    type Parts: Parts;
    type Error: From<NnError>;

    /// The parameters, 32-bit floats: the same ones in the same order each time, with names of their own.
    fn params(&mut self) -> &mut [Param];

    /// Called before the batches of an epoch are asked for, e.g. to sample a graph. Epochs are counted
    /// from 0, here and below.
    fn start_epoch(&mut self, _epoch: usize) -> Result<(), Self::Error> {
        Ok(())
    }

    /// The batches of an epoch: always the same for the same epoch, whatever the number of threads.
    fn batches(&mut self, epoch: usize) -> Box<dyn Iterator<Item = Self::Batch>>;

    /// The share of the epoch's examples that are in the batch: the weight of its loss in the history.
    fn share(&self, batch: &Self::Batch) -> f64;

    /// The loss that is minimised, a scalar which libtorch computed from the parameters' values.
    fn loss(&mut self, batch: &Self::Batch) -> Tensor;

    /// Sets the gradients of the parameters and returns the loss of the batch: by default with
    /// [`autograd`] of [`Self::loss`]. A learner with faster kernels calls those instead; a test then
    /// compares the two.
    fn step(&mut self, batch: &Self::Batch) -> Result<MeanLoss<Self::Parts>, Self::Error> {
        Ok(MeanLoss { loss: autograd(self, batch)?, parts: Self::Parts::default() })
    }

    /// What the history shows of an epoch, given the mean over its batches.
    fn epoch_loss(&self, mean: MeanLoss<Self::Parts>) -> MeanLoss<Self::Parts> {
        mean
    }

    /// Measures the parameters on validation data, where there is something to measure; more is better.
    fn validate(&mut self) -> Result<Option<f64>, Self::Error> {
        Ok(None)
    }
}

/// A loss and its parts, as means over the examples of a batch or of an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct MeanLoss<P> {
    pub loss: f64,
    pub parts: P,
}

/// Parts of a loss. Their fields are in each line of the history.
pub trait Parts: Clone + Default + Serialize + DeserializeOwned {
    /// Adds those of a batch, which has this share of the epoch's examples.
    fn add(&mut self, share: f64, of_batch: &Self);
}

impl Parts for () {
    fn add(&mut self, _: f64, (): &()) {}
}

/// Sets the gradients of the learner's parameters to those of its loss and returns that.
pub fn autograd<L: Learner + ?Sized>(learner: &mut L, batch: &L::Batch) -> Result<f64, NnError> {
    record(learner, true);
    let loss = learner.loss(batch);
    let values: Vec<&Tensor> = learner.params().iter().map(|param| &param.value).collect();
    let grads = Tensor::f_run_backward(&[&loss], &values, false, false);
    // The optimiser writes into the values.
    record(learner, false);
    let wrong = |what: String| NnError::Unsuitable(format!("internal error: {what}"));
    let grads = grads.map_err(|error| wrong(format!("the loss has no gradient: {error}")))?;
    for (param, grad) in learner.params().iter_mut().zip(grads) {
        // A parameter that the loss does not depend on has no gradient.
        param.grad = match grad.defined() {
            true => grad.detach().contiguous(),
            false => zeros_like(&param.value),
        };
    }
    f64::try_from(loss.detach()).map_err(|error| wrong(format!("the loss is no number: {error}")))
}

/// Whether libtorch records what is computed from the parameters.
fn record<L: Learner + ?Sized>(learner: &mut L, records: bool) {
    for param in learner.params() {
        // Changes the tensor itself; what is returned is the same one.
        let _ = param.value.set_requires_grad(records);
    }
}

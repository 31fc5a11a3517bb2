//! Networks on the user-item graph, trained by BPR on tch: BPR-MF, LightGCN, NGCF, GATv2, P4R, ReviewGNN, and with views
//! that are contrasted SGL, SimGCL, XSimGCL; and MultVAE, which has a learner of its own.
//!
//! A model says what its network and its objective are ([`Plan`]). Loss and negatives are the same for all
//! (`bpr.rs`, `contrast.rs`), and the training loop is that of every learner (`nn/learn/`). Sparse products and attention are
//! kernels of ours, which need no autograd graph; dense layers are libtorch's.

mod bpr;
mod contrast;
#[cfg(test)]
mod golden;
mod mult_vae;
#[cfg(test)]
mod twins;
mod views;

use std::{any::Any, fs, path::Path};

pub use crate::tasks::shared::{HISTORY, Training, Validate};
pub(crate) use crate::tasks::shared::{layers, not_negative, positive, share, width};
pub use bpr::Epoch;
pub(crate) use bpr::Objective;
pub use contrast::{Among, Anchors, Contrast, Reduction};
pub(crate) use views::{Dropped, Origin, ViewGcn};

pub use crate::nn::learn::{Keep, KeptBy, Schedule, Stop, TrainingStats, Watch};

use self::bpr::{BprParts, Trained};
use super::models::{
    BprMfParams, Factors, FitContext, GatParams, LightGcnParams, ModelError, ModelStats,
    MultVaeParams, NgcfParams, P4rParams, Recommender, ReviewGnnParams, SglParams, SimGclParams,
    TrainingPath, XSimGclParams,
};
use crate::{
    base::{
        arrays::{Array, Saved},
        programs::Slot,
    },
    data::TrainingData,
    nn::{Device, NnError, Tensor, device, learn::Parts, network::Network, one_thread},
    ranking::Scorer,
};

/// Makes a network of start values, which `place` puts where they are to be.
type MakeNetwork = Box<dyn FnOnce(&dyn Fn(Tensor) -> Tensor) -> Box<dyn Network>>;

/// A network in the making, and what it is trained for.
pub(crate) struct Plan {
    pub network: MakeNetwork,
    pub objective: Objective,
}

/// A trained network as a model.
struct Neural<P = BprParts> {
    factors: Factors,
    trained: Option<Trained<P>>,
}

impl<P> Neural<P> {
    fn of(trained: Trained<P>) -> Self {
        let factors = Factors::new(trained.dim, trained.users.clone(), trained.items.clone());
        Self { factors, trained: Some(trained) }
    }
}

/// A network that is made for some data; its own file in `models/`.
pub(crate) trait NetworkModel: Any {
    /// The network, and what it is trained for.
    fn plan(&self, data: &TrainingData, context: &FitContext) -> Result<Plan, ModelError>;
}

/// What a network plans, if the settings are its own.
type PlanOf = fn(&dyn Any, &TrainingData, &FitContext) -> Option<Result<Plan, ModelError>>;

fn plan_of<N: NetworkModel>(
    settings: &dyn Any,
    data: &TrainingData,
    context: &FitContext,
) -> Option<Result<Plan, ModelError>> {
    settings.downcast_ref::<N>().map(|network| network.plan(data, context))
}

/// All networks. Apart from the list of models, which must not name what needs libtorch.
const NETWORKS: &[PlanOf] = &[
    plan_of::<BprMfParams>,
    plan_of::<GatParams>,
    plan_of::<LightGcnParams>,
    plan_of::<NgcfParams>,
    plan_of::<SglParams>,
    plan_of::<SimGclParams>,
    plan_of::<XSimGclParams>,
    plan_of::<P4rParams>,
    plan_of::<ReviewGnnParams>,
];

/// A network whose learner is not that of pairs.
pub(crate) trait OwnLearner: Any {
    /// Trains it on a device.
    fn train(
        &self,
        data: &TrainingData,
        context: &FitContext,
        device: Device,
    ) -> Result<Box<dyn Recommender>, ModelError>;
}

/// How a network with a learner of its own is trained, if the settings are its own.
type TrainOf = fn(
    &dyn Any,
    &TrainingData,
    &FitContext,
    Device,
) -> Option<Result<Box<dyn Recommender>, ModelError>>;

fn train_of<N: OwnLearner>(
    settings: &dyn Any,
    data: &TrainingData,
    context: &FitContext,
    device: Device,
) -> Option<Result<Box<dyn Recommender>, ModelError>> {
    settings.downcast_ref::<N>().map(|network| network.train(data, context, device))
}

/// All networks with a learner of their own.
const OTHERS: &[TrainOf] = &[train_of::<MultVaeParams>];

type Train =
    fn(&dyn Any, &Training, &TrainingData, &FitContext) -> Result<Box<dyn Recommender>, ModelError>;

/// [`train`]
static TRAIN: Slot<Train> = Slot::of(train);

/// Fills the slot of networks.
pub(crate) fn fill_slot() {
    TRAIN.fill(train);
}

/// Whether this program computes with tensors.
pub fn can_train() -> bool {
    TRAIN.get().is_ok()
}

/// Trains the network with these settings, one of [`NETWORKS`] or [`OTHERS`].
pub(crate) fn fit(
    settings: &dyn Any,
    training: &Training,
    data: &TrainingData,
    context: &FitContext,
) -> Result<Box<dyn Recommender>, ModelError> {
    let train = TRAIN.get().map_err(NnError::from)?;
    train(settings, training, data, context)
}

/// The same, called through [`TRAIN`] alone.
fn train(
    settings: &dyn Any,
    training: &Training,
    data: &TrainingData,
    context: &FitContext,
) -> Result<Box<dyn Recommender>, ModelError> {
    if let Some(plan) = NETWORKS.iter().find_map(|of| of(settings, data, context)) {
        return fit_plan(plan?, training, data, context);
    }
    one_thread();
    device::on(&training.device, |device| {
        let trained = OTHERS.iter().find_map(|of| of(settings, data, context, device));
        trained.unwrap_or_else(|| {
            Err(ModelError::Unsuitable(
                "internal error: the network is not in the list of networks".into(),
            ))
        })
    })
}

/// Trains what `plan` makes.
fn fit_plan(
    plan: Plan,
    training: &Training,
    data: &TrainingData,
    context: &FitContext,
) -> Result<Box<dyn Recommender>, ModelError> {
    one_thread();
    let trained = device::on(&training.device, |device| {
        let place = |tensor: Tensor| tensor.to_device(device);
        let mut network = (plan.network)(&place);
        bpr::train(&mut *network, data, training, plan.objective, context)
    })?;
    Ok(Box::new(Neural::of(trained)))
}

/// Reads what [`Neural::save`] wrote.
pub(super) fn load(dir: &Path, data: &TrainingData) -> Result<Box<dyn Recommender>, ModelError> {
    let saved = Saved::read(dir)?;
    let (n_users, n_items) = (data.ratings.n_users(), data.ratings.n_items());
    let users = saved.float_row("users")?;
    let dim = users.len() / n_users.max(1);
    let users = saved.floats("users", &[n_users, dim])?;
    let items = saved.floats("items", &[n_items, dim])?;
    let factors = Factors::new(dim, users, items);
    Ok(Box::new(Neural::<BprParts> { factors, trained: None }))
}

impl<P: Send + Sync> Scorer for Neural<P> {
    fn n_items(&self) -> usize {
        self.factors.n_items()
    }

    fn score(&self, users: &[crate::data::UserIx], scores: &mut [f32]) {
        self.factors.score(users, scores);
    }
}

impl<P: Parts + Send + Sync> Recommender for Neural<P> {
    fn training_path(&self) -> Option<TrainingPath> {
        let trained = self.trained.as_ref()?;
        let epochs = trained.stats.kept_epoch;
        let rates = trained.history[..epochs].iter().map(|epoch| epoch.learning_rate);
        Some(TrainingPath { epochs, rates: rates.collect() })
    }

    fn stats(&self) -> ModelStats {
        ModelStats { training: self.trained.as_ref().map(|trained| trained.stats.clone()) }
    }

    /// The final embeddings, the parameters they come from, and the history of epochs.
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        let Some(trained) = &self.trained else { return Ok(()) };
        let mut arrays = vec![
            ("users".to_owned(), Array::rows(trained.dim, &trained.users)),
            ("items".to_owned(), Array::rows(trained.dim, &trained.items)),
        ];
        for (name, shape, values) in &trained.params {
            arrays.push((format!("param.{name}"), Array::floats(shape, values)));
        }
        crate::base::arrays::save(dir, &arrays)?;
        let path = dir.join(HISTORY);
        let lines: Result<Vec<String>, _> =
            trained.history.iter().map(serde_json::to_string).collect();
        lines
            .map_err(std::io::Error::from)
            .and_then(|lines| fs::write(&path, format!("[\n{}\n]\n", lines.join(",\n"))))
            .map_err(|source| ModelError::Io { path, source })
    }
}

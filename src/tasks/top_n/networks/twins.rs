//! The kernels' way through a step against that of libtorch's autograd, for every network.

use serde_json::{Value, json};

use super::{NetworkModel, Training, bpr::BprLearner};
use crate::{
    base::interrupt::Interrupt,
    data::{Interaction, Interactions, ItemIx, Relevance, TrainingData, UserIx},
    nn::{
        Kind, Tensor,
        learn::{Learner, autograd},
        one_thread,
    },
    tasks::top_n::models::{
        BprMfParams, FitContext, GatParams, LightGcnParams, Model, ModelError, NgcfParams,
        P4rParams, ReviewGnnParams, SglParams, SimGclParams, XSimGclParams,
    },
    text::{Embeddings, Features, ReviewVectors},
};

const USERS: usize = 20;
const ITEMS: usize = 15;

fn data() -> TrainingData {
    let rows: Vec<Interaction> = (0..USERS as u32)
        .flat_map(|user| (0..ITEMS as u32).map(move |item| (user, item)))
        .filter(|(user, item)| (user * 7 + item * item) % 4 != 0)
        .map(|(user, item)| Interaction {
            user: UserIx(user),
            item: ItemIx(item),
            rating: (1 + (user + item * 3) % 5) as f32,
            timestamp: Default::default(),
        })
        .collect();
    let ratings = Interactions::new(USERS, ITEMS, &rows);
    TrainingData {
        positives: ratings.filter(|row| row.rating >= 3.0),
        disliked: None,
        validation: Interactions::new(USERS, ITEMS, &[]),
        relevant: Relevance::AtLeast(3.0),
        ratings,
    }
}

fn read<M: serde::de::DeserializeOwned>(settings: &Value) -> M {
    serde_json::from_value(settings.clone()).unwrap()
}

/// Gradients of all parameters, and the loss, of the batches of an epoch: by kernels and by autograd.
fn compare<M: NetworkModel + Model>(what: &str, model: &M, kind: Kind, at_most: f64) {
    one_thread();
    let (data, interrupt) = (data(), Interrupt::default());
    let values = |n: usize| (0..3 * n).map(|at| (at as f32 * 0.7).sin());
    let features = Features {
        dim: 3,
        users: values(USERS).collect(),
        items: values(ITEMS).collect(),
        users_without_text: 0,
        items_without_text: 0,
    };
    let present: Vec<bool> = (0..data.ratings.len()).map(|at| at % 5 != 0).collect();
    let vectors = values(present.len()).collect();
    let reviews = ReviewVectors::new(&data.ratings, Embeddings { dim: 3, vectors, present });
    let context = FitContext {
        features: Some(&features),
        reviews: Some(&reviews),
        ..FitContext::silent(3, &interrupt)
    };
    let plan = model.plan(&data, &context).unwrap();
    let mut network = (plan.network)(&|tensor| tensor.to_kind(kind));
    let training = Training { batch: Some(50), ..Training::default() };
    let mut learner =
        BprLearner::new(&mut *network, &data, &training, plan.objective, &context).unwrap();
    learner.start_epoch(4).unwrap();
    let batches: Vec<_> = learner.batches(4).collect();
    let share: f64 = batches.iter().map(|batch| learner.share(batch)).sum();
    assert!(batches.len() > 2 && (share - 1.0).abs() < 1e-12, "{what}: {share}");
    for batch in &batches {
        let by_kernels = learner.step(batch).unwrap().loss;
        let grads: Vec<Tensor> = learner.params().iter().map(|param| param.grad.copy()).collect();
        learner.params().iter_mut().for_each(|param| param.grad = Tensor::from(f64::NAN));
        let by_autograd = autograd(&mut learner, batch).unwrap();
        assert!((by_kernels - by_autograd).abs() < at_most, "{what}: {by_kernels} {by_autograd}");
        let largest = |tensor: &Tensor| match tensor.numel() {
            0 => 0.0,
            _ => f64::try_from(tensor.abs().max()).unwrap(),
        };
        // Sums of large numbers round coarsely even where they come out small.
        let scale = grads.iter().map(largest).fold(1.0, f64::max);
        for (param, ours) in learner.params().iter().zip(grads) {
            assert_eq!(param.grad.size(), ours.size(), "{what}: {}", param.name);
            if ours.numel() == 0 {
                continue;
            }
            let (off, largest) = (largest(&(&param.grad - &ours)), largest(&ours));
            assert!(
                off < at_most * scale,
                "{what}: {} is off by {off:e} at gradients up to {scale}",
                param.name
            );
            assert!(largest > 1e-6, "{what}: {} has no gradient: {largest:e}", param.name);
            assert!(!param.value.requires_grad(), "{what}: {} is still recorded", param.name);
        }
    }
}

fn in_both_precisions<M: NetworkModel + Model + serde::de::DeserializeOwned>(settings: Value) {
    let (what, model) = (settings.to_string(), read::<M>(&settings));
    compare(&what, &model, Kind::Double, 1e-10);
    compare(&what, &model, Kind::Float, 1e-5);
}

#[test]
fn bprmf_by_kernels_has_the_gradient_of_autograd() {
    in_both_precisions::<BprMfParams>(json!({"factors": 16, "regularization": 0.01}));
}

#[test]
fn lightgcn_by_kernels_has_the_gradient_of_autograd() {
    in_both_precisions::<LightGcnParams>(json!({"factors": 16, "regularization": 0.01}));
    in_both_precisions::<LightGcnParams>(json!({"factors": 16, "layers": 2, "dropout": 0.3}));
}

#[test]
fn ngcf_by_kernels_has_the_gradient_of_autograd() {
    in_both_precisions::<NgcfParams>(json!({"factors": 16, "layers": 2, "regularization": 0.01}));
    in_both_precisions::<NgcfParams>(json!({"factors": 16, "layers": 1, "loss": "cross-entropy"}));
}

#[test]
fn sgl_by_kernels_has_the_gradient_of_autograd() {
    for views in ["edge-drop", "node-drop", "random-walk"] {
        in_both_precisions::<SglParams>(json!({
            "factors": 16, "layers": 2, "views": views, "drop": 0.3, "regularization": 0.01,
        }));
    }
    in_both_precisions::<SglParams>(json!({
        "factors": 80, "among": "batch", "anchors": "distinct", "reduction": "sum", "drop": 0.2,
    }));
    in_both_precisions::<SglParams>(json!({"factors": 16, "layers": 0, "contrast": 0.01}));
}

#[test]
fn simgcl_by_kernels_has_the_gradient_of_autograd() {
    in_both_precisions::<SimGclParams>(json!({"factors": 16, "regularization": 0.01}));
    in_both_precisions::<SimGclParams>(json!({
        "factors": 80, "layers": 1, "among": "all", "anchors": "positives", "reduction": "sum",
    }));
}

#[test]
fn xsimgcl_by_kernels_has_the_gradient_of_autograd() {
    in_both_precisions::<XSimGclParams>(json!({"factors": 16, "regularization": 0.01}));
    for layer in [2, 3] {
        let among = if layer == 2 { "all" } else { "batch" };
        in_both_precisions::<XSimGclParams>(json!({
            "factors": 32, "contrast_layer": layer, "among": among,
        }));
    }
}

#[test]
fn gat_by_kernels_has_the_gradient_of_autograd() {
    let settings = json!({
        "features": 16, "hidden": 16, "heads": [2, 1], "edges": "all", "regularization": 0.01,
    });
    in_both_precisions::<GatParams>(settings);
    let settings = json!({
        "features": 0, "hidden": 16, "heads": [1], "edges": "all", "text": {"profiles": "a"},
    });
    in_both_precisions::<GatParams>(settings);
}

#[test]
fn p4r_by_kernels_has_the_gradient_of_autograd() {
    for fusion in ["paper", "init", "concat"] {
        in_both_precisions::<P4rParams>(json!({
            "factors": 32, "text": {"profiles": "a"}, "fusion": fusion, "alpha": 0.7, "beta": 1.3,
            "regularization": 0.01,
        }));
    }
    in_both_precisions::<P4rParams>(json!({
        "factors": 16, "ablate": "profiles", "pooling": "mean", "layers": 3, "alpha": 0.7,
    }));
}

#[test]
fn review_gnn_by_kernels_has_the_gradient_of_autograd() {
    in_both_precisions::<ReviewGnnParams>(json!({"factors": 16, "mse": "off", "init": 0.5}));
    in_both_precisions::<ReviewGnnParams>(json!({
        "factors": 16, "reviews": "none", "init": 0.5, "pooling": "sum", "regularization": 0.01,
    }));
    in_both_precisions::<ReviewGnnParams>(json!({
        "factors": 16, "mse": "ends", "init": 0.5, "regularization": 0.01,
    }));
}

/// The share of BPR follows what the parameters rank right when the epoch begins, within its bounds.
#[test]
fn an_adaptive_share_is_that_of_pairs_that_are_ranked_right() {
    one_thread();
    let (data, interrupt) = (data(), Interrupt::default());
    let present = vec![true; data.ratings.len()];
    let vectors = (0..present.len()).map(|at| (at as f32).sin()).collect();
    let reviews = ReviewVectors::new(&data.ratings, Embeddings { dim: 1, vectors, present });
    let context = FitContext { reviews: Some(&reviews), ..FitContext::silent(3, &interrupt) };
    let share = |bounds: Value, epoch: usize| {
        let settings = json!({"factors": 16, "init": 0.5, "bpr_share": bounds});
        let model = read::<ReviewGnnParams>(&settings);
        let plan = model.plan(&data, &context).unwrap();
        let mut network = (plan.network)(&|tensor| tensor);
        let training = Training { batch: Some(50), ..Training::default() };
        let mut learner =
            BprLearner::new(&mut *network, &data, &training, plan.objective, &context).unwrap();
        learner.start_epoch(epoch).unwrap();
        let batch = learner.batches(epoch).next().unwrap();
        learner.step(&batch).unwrap().parts.bpr_share
    };
    let free = json!({"lowest": 0, "highest": 1});
    let untrained = share(free.clone(), 0);
    assert!((0.2..0.8).contains(&untrained), "{untrained}");
    assert_ne!(untrained, share(free, 1), "another epoch draws others");
    assert_eq!(share(json!({"lowest": 0.95, "highest": 1}), 0), 0.95);
    assert_eq!(share(json!(0.25), 0), 0.25);
}

/// What is drawn depends on the epoch and the place in it, not on what was drawn before.
#[test]
fn batches_of_an_epoch_are_the_same_whatever_came_before() -> Result<(), ModelError> {
    one_thread();
    same_batches(&read::<BprMfParams>(&json!({"factors": 16})))?;
    same_batches(&read::<SglParams>(&json!({"factors": 16})))?;
    same_batches(&read::<XSimGclParams>(&json!({"factors": 16})))
}

fn same_batches<M: NetworkModel>(model: &M) -> Result<(), ModelError> {
    let (data, interrupt) = (data(), Interrupt::default());
    let context = FitContext::silent(3, &interrupt);
    let training = Training { batch: Some(50), ..Training::default() };
    let losses = |epochs: &[usize]| -> Result<Vec<f64>, ModelError> {
        let plan = model.plan(&data, &context)?;
        let mut network = (plan.network)(&|tensor| tensor);
        let mut learner =
            BprLearner::new(&mut *network, &data, &training, plan.objective, &context)?;
        let mut losses = Vec::new();
        for epoch in epochs {
            learner.start_epoch(*epoch)?;
            for batch in learner.batches(*epoch) {
                losses.push(learner.step(&batch)?.loss);
            }
        }
        Ok(losses)
    };
    let (both, second) = (losses(&[0, 1])?, losses(&[1])?);
    assert_eq!(both[both.len() - second.len()..], second);
    assert_ne!(both[..second.len()], second);
    Ok(())
}

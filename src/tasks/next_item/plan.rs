//! From the variants of an experiment to a graph of steps, and the trials that its ends are.

use std::sync::Arc;

use super::{
    SystemSpec, Variant,
    networks::TextStart,
    steps::{FitStep, ItemTextsStep, PredictStep, PretrainStep, SplitStep},
};
use crate::{
    base::limits,
    core::{Handle, Pinned},
    data::{DataDirs, DataError, Relevance},
    nn::weights_digest,
    ranking::PredictSpec,
    tasks::{
        Plan, Trial, TrialAt,
        shared::steps::{
            EmbeddingsStep, EvaluateStep, ExternalStep,
            output::{Split, Vectors},
        },
    },
    text::FileSpec,
};

/// Plans the variants of an experiment.
pub(super) fn plan(
    variants: &[Variant],
    dirs: &DataDirs,
    only: Option<&TrialAt>,
) -> Result<Plan, DataError> {
    let dirs = Arc::new(dirs.clone());
    let mut plan = Plan::default();
    for (at, variant) in variants.iter().enumerate() {
        if only.is_none_or(|only| only.variant == at) {
            plan_variant(&mut plan, at, variant, &dirs, only)?;
        }
    }
    Ok(plan)
}

fn plan_variant(
    plan: &mut Plan,
    at: usize,
    variant: &Variant,
    dirs: &Arc<DataDirs>,
    only: Option<&TrialAt>,
) -> Result<(), DataError> {
    let (of, from) = (variant.data.clone(), dirs.clone());
    let data = dirs
        .pin(format!("the data set {}", variant.data.name()), move || of.sequence_digest(&from))?;
    plan.data.push(data.digest);
    let seeds = |model: &SystemSpec| match model.is_seeded() {
        true => &variant.seeds[..],
        false => &variant.seeds[..1],
    };
    let trials: usize = variant.systems.iter().map(|system| seeds(&system.model).len()).sum();
    let trials = trials.saturating_add(plan.trials.len());
    if trials > limits::most_trials() {
        return Err(DataError::Split(format!(
            "{}\n  = help: {}",
            limits::too_many_trials(Some(trials)),
            limits::MORE_TRIALS
        )));
    }
    let fold = variant.split.fold_name().to_owned();
    let evaluate = variant.evaluate.normalised();
    let predict = PredictSpec::of(&evaluate);
    let split = plan.add(
        at,
        SplitStep {
            label: format!("{}{} {fold}", variant.data.name(), variant.label),
            source: variant.data.clone(),
            dirs: dirs.clone(),
            data,
            split: variant.split.written_out(),
        },
    );
    for (system_at, system) in variant.systems.iter().enumerate() {
        let is_in = |seed: &&u64| {
            only.is_none_or(|only| {
                (only.system, &only.fold, only.seed) == (system_at, &fold, **seed)
            })
        };
        let name = format!("{}{}", system.name, variant.label);
        for &seed in seeds(&system.model).iter().filter(is_in) {
            let label = match system.model.is_seeded() {
                true => format!("{name} {fold} seed {seed}"),
                false => format!("{name} {fold}"),
            };
            let (fit, predictions) = match &system.model {
                SystemSpec::Model(model) => {
                    let pretrained = model.pretraining().is_some().then(|| {
                        let step = PretrainStep {
                            label: label.clone(),
                            model: model.clone(),
                            split,
                            sequences: variant.split.written_out(),
                            seed,
                        };
                        plan.add(at, step)
                    });
                    let texts = match (model.text(), model.texts()) {
                        (Some(text), Some(items)) => {
                            let label = format!("{}{} items", items.file, variant.label);
                            Some(plan_texts(plan, at, label, text, items, split, dirs)?)
                        }
                        _ => None,
                    };
                    let fit = FitStep {
                        label: label.clone(),
                        model: model.clone(),
                        split,
                        sequences: variant.split.written_out(),
                        exclude: model.validation_exclude().unwrap_or(variant.exclude),
                        seed,
                        pretrained,
                        texts,
                    };
                    let fit = plan.add(at, fit);
                    let step = PredictStep {
                        label: label.clone(),
                        model: model.clone(),
                        split,
                        fit,
                        exclude: variant.exclude,
                        fallback: evaluate.fallback,
                        predict,
                    };
                    (Some(fit), plan.add(at, step))
                }
                SystemSpec::External(external) => {
                    external.folds(&name, std::slice::from_ref(&fold))?;
                    let path = external.locate(&fold, dirs)?;
                    let rankings =
                        Pinned::file(path.clone()).map_err(|error| DataError::io(&path, error))?;
                    let step = ExternalStep {
                        label: label.clone(),
                        params: (**external).clone(),
                        fold: fold.clone(),
                        split,
                        rankings,
                        folds: None,
                        dirs: dirs.clone(),
                    };
                    (None, plan.add(at, step))
                }
            };
            let from_scores = fit.is_some().then_some(predict);
            let step = EvaluateStep {
                label,
                split,
                predictions,
                from_scores,
                is_external: fit.is_none(),
                evaluate: evaluate.clone(),
                relevant: Relevance::Any,
            };
            let evaluated = plan.add(at, step);
            plan.add_trial(Trial {
                variant: at,
                is_added: false,
                system: system_at,
                name: name.clone(),
                fold: fold.clone(),
                seed,
                split: split.id(),
                fit: fit.map(Handle::id),
                predictions: predictions.id(),
                from_scores,
                explain: None,
                evaluate: evaluated.id(),
            });
        }
    }
    Ok(())
}

/// The steps that read texts of items and encode them.
fn plan_texts(
    plan: &mut Plan,
    at: usize,
    label: String,
    text: &TextStart,
    items: FileSpec,
    split: Handle<Split>,
    dirs: &Arc<DataDirs>,
) -> Result<Handle<Vectors>, DataError> {
    let path = items.locate(dirs)?;
    let file = Pinned::file(path.clone()).map_err(|error| DataError::io(&path, error))?;
    let texts = ItemTextsStep { label: label.clone(), items, file, split, dirs: dirs.clone() };
    let profiles = plan.add(at, texts);
    let vectors = EmbeddingsStep {
        label,
        encoder: text.encoder.clone(),
        weights: weights_digest(&text.encoder, dirs)?,
        profiles,
        dirs: dirs.clone(),
    };
    Ok(plan.add(at, vectors))
}

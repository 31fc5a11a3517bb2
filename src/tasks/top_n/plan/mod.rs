//! From the variants of an experiment to a graph of steps, and the trials that its ends are.

mod external;
mod fit;
mod rerank;
mod texts;
mod warnings;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::Serialize;

use self::{rerank::Reranked, texts::TextPlan};
use super::{
    System, SystemSpec, Variant,
    command::CommandProgram,
    steps::{EvaluateStep, PredictStep, PromptedEndpoint, SplitStep, output::Split},
};
use crate::{
    base::{hash::Digest, limits},
    core::{Handle, Pinned},
    data::{DataDirs, DataError, fold_names},
    nn::{EncoderSpec, weights_digest},
    ranking::PredictSpec,
    tasks::{Plan, Trial, TrialAt},
};

/// What tables call the rows of the mean over folds.
const MEAN: &str = "mean";

/// What does not change from trial to trial of a system.
struct SystemPlan<'a> {
    variant: &'a Variant,
    system: &'a System,
    /// With the label of its variant.
    name: String,
    is_seeded: bool,
    spec: Arc<SystemSpec>,
    texts: Option<TextPlan<'a>>,
    /// The encoder of the reviews that it uses, and the digest of its weights.
    reviews: Option<(&'a EncoderSpec, String)>,
}

struct Planner<'a> {
    plan: Plan,
    at: usize,
    variant: &'a Variant,
    dirs: Arc<DataDirs>,
    data: Pinned,
    metadata: (serde_json::Value, Option<Pinned>),
    /// The file of reviews, once something uses it.
    reviews: Option<Pinned>,
    /// What was read for one system and does for others: a sweep has thousands that differ in one number.
    text_plans: HashMap<Digest, TextPlan<'a>>,
    prompts: HashSet<Digest>,
    asked: HashMap<Digest, PromptedEndpoint>,
    commands: HashMap<Digest, (CommandProgram, BTreeMap<String, Pinned>)>,
    /// The only trial to plan.
    only: Option<&'a TrialAt>,
}

/// One fold with one seed.
#[derive(Clone, Copy)]
struct FoldAt<'a> {
    fold: &'a str,
    split: Handle<Split>,
    seed: u64,
}

impl SystemPlan<'_> {
    /// `als u1 seed 1`: with the seed where the system depends on one.
    fn label(&self, fold: &str, seed: u64) -> String {
        match self.is_seeded {
            true => format!("{} {fold} seed {seed}", self.name),
            false => format!("{} {fold}", self.name),
        }
    }
}

/// Plans the variants of an experiment.
pub(super) fn plan(
    variants: &[Variant],
    dirs: &DataDirs,
    only: Option<&TrialAt>,
) -> Result<Plan, DataError> {
    let dirs = Arc::new(dirs.clone());
    let mut plan = Plan::default();
    for (at, variant) in variants.iter().enumerate() {
        if only.is_some_and(|only| only.variant != at) {
            continue;
        }
        let source = variant.data.source.clone();
        let (of, from) = (source.clone(), dirs.clone());
        let what = format!("the data set {}", source.name());
        let data = dirs
            .pin(what, move || of.digest(&from))
            .map_err(|error: DataError| error.placed(&variant.places.data))?;
        plan.data.push(data.digest);
        let metadata = variant.metadata.key_inputs(&dirs)?;
        let mut planner = Planner {
            plan,
            at,
            variant,
            dirs: dirs.clone(),
            data,
            metadata,
            reviews: None,
            text_plans: HashMap::new(),
            prompts: HashSet::new(),
            asked: HashMap::new(),
            commands: HashMap::new(),
            only,
        };
        planner.variant()?;
        plan = planner.plan;
    }
    Ok(plan)
}

impl<'a> Planner<'a> {
    /// Names of the folds. They may be in a column of a large table, so they are not read for a single trial: the whole experiment
    /// was planned with its fold. Files of other tools say themselves which folds they have, and are compared with all.
    fn folds(&self) -> Result<Vec<String>, DataError> {
        let variant = self.variant;
        let has_own_folds = |only: &&TrialAt| {
            let system = variant.systems.get(only.system);
            system.is_none_or(|system| matches!(system.model, SystemSpec::External(_)))
        };
        match self.only.filter(|only| !has_own_folds(only)) {
            Some(only) => Ok(vec![only.fold.clone()]),
            None => fold_names(&variant.split, &variant.data.source, &self.dirs)
                .map_err(|error| error.placed(&variant.places.folds)),
        }
    }

    fn variant(&mut self) -> Result<(), DataError> {
        let variant = self.variant;
        let folds = self.folds()?;
        if folds.iter().any(|fold| fold == MEAN) {
            return Err(DataError::Split(format!(
                "a fold of the data set `{}` has the name `{MEAN}`, which is reserved for the mean over \
                 folds\n  = help: rename the fold, or \
                 exclude it with `split: {{only: [...]}}`",
                variant.data.source.name()
            )));
        }
        self.check_trials(folds.len())?;
        let evaluate = variant.evaluate.normalised();
        let predict = PredictSpec::of(&evaluate);
        let only = self.only;
        for (system_at, system) in variant.systems.iter().enumerate() {
            if only.is_some_and(|only| only.system != system_at) {
                continue;
            }
            let of = self.system_plan(system)?;
            let seeds = match of.is_seeded {
                true => &variant.seeds[..],
                false => &variant.seeds[..1],
            };
            let folds = match &system.model {
                SystemSpec::External(external) => external.folds(&of.name, &folds)?,
                _ => folds.clone(),
            };
            let reranked = match &system.model {
                SystemSpec::Rerank(params) => Some(self.rerank_plan(params)?),
                _ => None,
            };
            for fold in folds.iter().filter(|fold| only.is_none_or(|only| only.fold == **fold)) {
                let split = self.split(fold);
                for &seed in seeds.iter().filter(|seed| only.is_none_or(|only| only.seed == **seed))
                {
                    let at = FoldAt { fold, split, seed };
                    let (fit, predictions, explain) = match (&system.model, &reranked) {
                        (SystemSpec::External(external), _) => {
                            (None, self.external(&of, external, at)?, None)
                        }
                        (SystemSpec::Command(command), _) => {
                            (None, self.command(&of, command, predict.depth, at)?, None)
                        }
                        (SystemSpec::Rerank(params), Some(reranked)) => {
                            let Reranked { fit, lists, explain } =
                                self.rerank(&of, params, reranked, at)?;
                            (Some(fit), lists, explain)
                        }
                        _ => {
                            let fitted = self.fit(&of, at)?;
                            let fit = fitted.model;
                            let label = of.label(fold, seed);
                            let step = PredictStep { label, fitted, predict };
                            (Some(fit), self.add(step), None)
                        }
                    };
                    let from_scores = (!system.model.gives_lists()).then_some(predict);
                    let evaluate = self.add(EvaluateStep {
                        label: of.label(fold, seed),
                        split,
                        predictions,
                        from_scores,
                        is_external: matches!(
                            &system.model,
                            SystemSpec::External(_) | SystemSpec::Command(_)
                        ),
                        evaluate: evaluate.clone(),
                        relevant: variant.data.relevant,
                    });
                    self.plan.add_trial(Trial {
                        variant: self.at,
                        system: system_at,
                        name: of.name.clone(),
                        fold: fold.clone(),
                        seed,
                        split: split.id(),
                        fit: fit.map(Handle::id),
                        predictions: predictions.id(),
                        from_scores,
                        explain: explain.map(Handle::id),
                        evaluate: evaluate.id(),
                        is_added: system.is_added,
                    });
                }
            }
        }
        Ok(())
    }

    /// Before they are planned: each takes memory for its steps.
    fn check_trials(&self, folds: usize) -> Result<(), DataError> {
        let variant = self.variant;
        let seeds = |system: &System| match variant.is_seeded(system) {
            true => variant.seeds.len(),
            false => 1,
        };
        let of_fold: usize = variant.systems.iter().map(seeds).sum();
        let count = of_fold.saturating_mul(folds).saturating_add(self.plan.trials.len());
        match count > limits::most_trials() {
            true => Err(DataError::Split(format!(
                "{}\n  = help: {}",
                limits::too_many_trials(Some(count)),
                limits::MORE_TRIALS
            ))),
            false => Ok(()),
        }
    }

    fn add<S: crate::core::Step>(&mut self, step: S) -> Handle<S::Output> {
        self.plan.add(self.at, step)
    }

    fn system_plan(&mut self, system: &'a System) -> Result<SystemPlan<'a>, DataError> {
        let variant = self.variant;
        let name = format!("{}{}", system.name, variant.label);
        let texts = match &system.model {
            // Of rerankers it depends on the judge which texts they need.
            SystemSpec::Rerank(_) => None,
            model => model.text().map(|spec| self.text_plan(spec, true)).transpose()?,
        };
        Ok(SystemPlan {
            variant,
            system,
            name,
            is_seeded: variant.is_seeded(system),
            spec: Arc::new(system.model.clone()),
            texts,
            reviews: match system.model.reviews() {
                Some(encoder) => Some((encoder, weights_digest(encoder, &self.dirs)?)),
                None => None,
            },
        })
    }

    fn split(&mut self, fold: &str) -> Handle<Split> {
        let variant = self.variant;
        self.add(SplitStep {
            label: format!("{}{} {fold}", variant.data.source.name(), variant.label),
            source: variant.data.source.clone(),
            dirs: self.dirs.clone(),
            data: self.data.clone(),
            split: variant.split.clone(),
            fold: fold.to_owned(),
        })
    }

    /// An endpoint of the experiment with the prompt it is asked with; `of` tells one prompt from another.
    fn asked(
        &mut self,
        name: &str,
        of: &impl Serialize,
        prompt: impl Fn() -> Result<Digest, DataError> + Send + Sync + 'static,
    ) -> Result<PromptedEndpoint, DataError> {
        let key = Digest::of_json(&(name, of));
        if let Some(known) = self.asked.get(&key) {
            return Ok(known.clone());
        }
        let Some((_, endpoint)) = self.variant.endpoints.iter().find(|(known, _)| known == name)
        else {
            return Err(DataError::Split(format!("no endpoint `{name}`")));
        };
        let asked = PromptedEndpoint {
            name: name.to_owned(),
            endpoint: endpoint.clone(),
            prompt: Pinned::new(format!("the prompt for `{name}`"), prompt)?,
        };
        self.asked.insert(key, asked.clone());
        Ok(asked)
    }
}

fn pinned(path: std::path::PathBuf) -> Result<Pinned, DataError> {
    Pinned::file(path.clone()).map_err(|error| DataError::io(&path, error))
}

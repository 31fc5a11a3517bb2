//! From the variants of an experiment to a graph of steps, and the trials that its ends are.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use serde::Serialize;

use super::{
    CommandParams, Search, System, SystemSpec, Variant,
    command::CommandProgram,
    rerank::{ExplainSpec, JudgeName, RerankParams},
    steps::{
        Authors, CommandRun, CommandSearchStep, CommandStep, CutStep, EmbeddingsStep, EvaluateStep,
        ExplainStep, ExternalStep, FitStep, FittedModel, FoldsOf, ItemProfilesStep, JudgeInputs,
        Learning, PredictStep, PromptedEndpoint, RerankStep, ReviewsStep, SearchStep, SplitStep,
        UserProfilesStep,
        output::{Explanations, Model, Predictions, Profiles, Split, Vectors},
    },
};
use crate::{
    base::{hash::Digest, limits},
    core::{Handle, Pinned},
    data::{DataDirs, DataError, fold_names},
    nn::{EncoderSpec, weights_digest},
    ranking::{PredictSpec, Protocol},
    tasks::{Plan, Trial, TrialAt, shared::ExternalParams},
    text::{ItemProfiles, ProfilesSpec, TextSpec, UserProfiles},
};

/// What tables call the rows of the mean over folds.
const MEAN: &str = "mean";

/// Texts of items and users.
#[derive(Clone, Copy)]
struct Texts {
    items: Handle<Profiles>,
    users: Handle<Profiles>,
}

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

/// Where the texts of a system come from.
#[derive(Clone)]
struct TextPlan<'a> {
    spec: &'a TextSpec,
    profiles: &'a ProfilesSpec,
    items: Authors,
    users: Authors,
    weights: Option<String>,
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

    /// The step that takes the reviews of a training part out of the data set.
    fn reviews(
        &mut self,
        (fold, split): (&str, Handle<Split>),
        is_search: bool,
    ) -> Result<Handle<Profiles>, DataError> {
        let (source, dirs) = (self.variant.data.source.clone(), self.dirs.clone());
        let reviews = match &self.reviews {
            Some(known) => known.clone(),
            None => {
                let (of, from) = (source.clone(), dirs.clone());
                let what = format!("the reviews of the data set {}", source.name());
                let pinned = Pinned::new(what, move || of.reviews_digest(&from))
                    .map_err(|error: DataError| error.placed(&self.variant.places.data))?;
                self.reviews = Some(pinned.clone());
                pinned
            }
        };
        Ok(self.add(ReviewsStep {
            label: format!(
                "{}{} {fold}{}",
                source.name(),
                self.variant.label,
                if is_search { " search" } else { "" }
            ),
            source,
            reviews,
            split,
            dirs,
        }))
    }

    /// The step that encodes the reviews that a system uses.
    fn review_vectors(
        &mut self,
        of: &SystemPlan,
        at: (&str, Handle<Split>),
        is_search: bool,
    ) -> Result<Option<Handle<Vectors>>, DataError> {
        let Some((encoder, weights)) = &of.reviews else { return Ok(None) };
        let reviews = self.reviews(at, is_search)?;
        let label = format!("reviews of {}", self.plan.graph[reviews].label);
        let dirs = self.dirs.clone();
        Ok(Some(self.add(EmbeddingsStep {
            label,
            encoder: (*encoder).clone(),
            weights: weights.clone(),
            profiles: reviews,
            dirs,
        })))
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

    fn external(
        &mut self,
        of: &SystemPlan,
        external: &ExternalParams,
        at: FoldAt,
    ) -> Result<Handle<Predictions>, DataError> {
        let rankings = pinned(external.locate(at.fold, &self.dirs)?)?;
        let dirs = self.dirs.clone();
        Ok(self.add(ExternalStep {
            label: of.label(at.fold, at.seed),
            params: external.clone(),
            fold: at.fold.to_owned(),
            split: at.split,
            rankings,
            folds: Some(Box::new(FoldsOf {
                source: self.variant.data.source.clone(),
                data: self.data.clone(),
                scheme: self.variant.split.clone(),
                dirs: dirs.clone(),
            })),
            dirs,
        }))
    }

    fn command(
        &mut self,
        of: &SystemPlan,
        command: &CommandParams,
        depth: usize,
        at: FoldAt,
    ) -> Result<Handle<Predictions>, DataError> {
        let key = Digest::of_json(&(command, &command.directory));
        let (program, inputs) = match self.commands.get(&key) {
            Some(known) => known.clone(),
            None => {
                let read = (command.program()?, command.pin()?);
                self.commands.insert(key, read.clone());
                read
            }
        };
        let run = CommandRun {
            system: of.spec.clone(),
            program,
            inputs,
            split: at.split,
            depth,
            source: of.variant.data.source.clone(),
            data: self.data.clone(),
            dirs: self.dirs.clone(),
        };
        let search = command.search.as_ref().map(|_| {
            self.add(CommandSearchStep {
                label: format!("{} {}", of.name, at.fold),
                run: run.clone(),
                relevant: of.variant.data.relevant,
            })
        });
        let label = of.label(at.fold, at.seed);
        let warnings = of_validation(of.variant, &of.system.model);
        Ok(self.add(CommandStep { label, run, search, seed: at.seed, warnings }))
    }

    /// The step that fits a system.
    fn fit(&mut self, of: &SystemPlan, at: FoldAt) -> Result<FittedModel, DataError> {
        let variant = of.variant;
        let FoldAt { fold, split, seed } = at;
        let vectors = match &of.texts {
            Some(texts) => Some(self.vectors(of, texts, (fold, split), false)?),
            None => None,
        };
        let reviews = self.review_vectors(of, (fold, split), false)?;
        let learning = Learning {
            name: of.name.clone(),
            system: of.spec.clone(),
            train_on: of.system.train_on,
            relevant: variant.data.relevant,
            disliked: variant.data.disliked,
            fold: fold.to_owned(),
            split,
            vectors,
            reviews,
            dirs: self.dirs.clone(),
            warnings: warnings(variant, of.system, fold),
        };
        let search = match &*of.spec {
            SystemSpec::Search(search) => Some(self.search(of, search, &learning, at)?),
            _ => None,
        };
        let model = self.add(FitStep {
            label: of.label(fold, seed),
            learning: learning.clone(),
            search,
            search_has_texts: vectors.is_some() || reviews.is_some(),
            seed,
        });
        Ok(FittedModel {
            learning,
            model,
            seed,
            relevant: variant.data.relevant,
            disliked: variant.data.disliked,
            fallback: variant.evaluate.fallback,
        })
    }

    /// The step that searches settings; once a fold: with every seed the same settings are fitted.
    fn search(
        &mut self,
        of: &SystemPlan,
        search: &Search,
        learning: &Learning,
        at: FoldAt,
    ) -> Result<Handle<super::steps::output::SearchTrials>, DataError> {
        let spec = &search.spec;
        let mut learning = learning.clone();
        // Texts of users are written from ratings: those that a search measures on are cut off first.
        let is_cut = of.texts.is_some() || of.reviews.is_some();
        if is_cut {
            let variant = of.variant;
            learning.split = self.add(CutStep {
                label: format!(
                    "{}{} {} search",
                    variant.data.source.name(),
                    variant.label,
                    at.fold
                ),
                split: at.split,
                fold: at.fold.to_owned(),
                cut: spec.cut,
                share: spec.validation,
                seed: spec.seed,
            });
            let cut = (at.fold, learning.split);
            if let Some(texts) = &of.texts {
                learning.vectors = Some(self.vectors(of, texts, cut, true)?);
            }
            learning.reviews = self.review_vectors(of, cut, true)?;
        }
        Ok(self.add(SearchStep {
            label: format!("{} {}", of.name, at.fold),
            learning,
            is_cut,
            seed: spec.seed,
        }))
    }
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

/// Texts.
impl<'a> Planner<'a> {
    fn text_plan(&mut self, spec: &'a TextSpec, encodes: bool) -> Result<TextPlan<'a>, DataError> {
        let key = Digest::of_json(&(spec, encodes));
        if let Some(known) = self.text_plans.get(&key) {
            return Ok(known.clone());
        }
        let read = self.read_text_plan(spec, encodes)?;
        self.text_plans.insert(key, read.clone());
        Ok(read)
    }

    fn read_text_plan(
        &mut self,
        spec: &'a TextSpec,
        encodes: bool,
    ) -> Result<TextPlan<'a>, DataError> {
        let found = self.variant.profiles.iter().find(|(name, _)| *name == spec.profiles);
        let Some((_, profiles)) = found else {
            return Err(DataError::Split(format!("no profiles `{}`", spec.profiles)));
        };
        let dirs = &self.dirs.clone();
        let items = match &profiles.items {
            ItemProfiles::Llm(write) => {
                let (of, at) = (write.clone(), dirs.clone());
                Authors::Endpoint(Box::new(self.asked(
                    &write.endpoint,
                    &("items", write, write.prompt.place()),
                    move || of.digest(&at),
                )?))
            }
            ItemProfiles::File(file) => Authors::File(pinned(file.locate(dirs)?)?),
            ItemProfiles::Metadata | ItemProfiles::Template(_) => Authors::Rule,
        };
        let users = match &profiles.users {
            UserProfiles::Llm(write) => {
                let (of, at) = (write.clone(), dirs.clone());
                Authors::Endpoint(Box::new(self.asked(
                    &write.endpoint,
                    &("users", write, write.prompt.place()),
                    move || of.digest(&at),
                )?))
            }
            UserProfiles::File(users) => Authors::File(pinned(users.file.locate(dirs)?)?),
            UserProfiles::Metadata | UserProfiles::Template | UserProfiles::Mean => Authors::Rule,
        };
        let weights = encodes.then(|| weights_digest(&spec.encoder, dirs)).transpose()?;
        Ok(TextPlan { spec, profiles, items, users, weights })
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

    /// The steps that make the texts of items, and of the users of a fold.
    fn profiles(
        &mut self,
        system: &str,
        of: &TextPlan,
        (fold, split): (&str, Handle<Split>),
        is_search: bool,
    ) -> Result<Texts, DataError> {
        if let UserProfiles::File(users) = &of.profiles.users {
            let from = &users.built_from;
            if from != fold && from != "no-ratings" && !users.accept_leak {
                return Err(DataError::Split(format!(
                    "the system `{system}` leaks in the fold `{fold}`: the user profiles `{}` were \
                     written from the training part of `{from}`, which contains test ratings of \
                     `{fold}`\n  = help: run only `{from}` (`split: {{…, only: [{from}]}}`), use user \
                     profiles from `template`, `metadata` or `mean`, or set `accept_leak: true`, which \
                     marks the results",
                    of.spec.profiles,
                )));
            }
        }
        let (variant, dirs) = (self.variant, self.dirs.clone());
        let name = format!("{}{}", of.spec.profiles, variant.label);
        let (metadata_inputs, metadata_file) = self.metadata.clone();
        // With reviews of training interactions, profiles of items are those of a fold.
        let (reviews, of_fold) = match of.profiles.items.reviews() {
            Some(_) => {
                let reviews = self.reviews((fold, split), is_search)?;
                let search = if is_search { " search" } else { "" };
                (Some((split, reviews)), format!(" {fold}{search}"))
            }
            None => (None, String::new()),
        };
        let items = self.add(ItemProfilesStep {
            label: format!("{name} items{of_fold}"),
            items: of.profiles.items.clone(),
            authors: of.items.clone(),
            source: variant.data.source.clone(),
            data: self.data.clone(),
            metadata: variant.metadata.clone(),
            metadata_inputs,
            metadata_file,
            reviews,
            dirs: dirs.clone(),
        });
        let users = self.add(UserProfilesStep {
            // A search has texts of its own.
            label: format!("{name} users {fold}{}", if is_search { " search" } else { "" }),
            users: of.profiles.users.clone(),
            authors: of.users.clone(),
            relevant: variant.data.relevant,
            disliked: variant.data.disliked,
            split,
            items,
            dirs,
        });
        Ok(Texts { items, users })
    }

    /// The steps that encode such texts.
    fn vectors(
        &mut self,
        of: &SystemPlan,
        texts: &TextPlan,
        at: (&str, Handle<Split>),
        is_search: bool,
    ) -> Result<[Handle<Vectors>; 2], DataError> {
        let Texts { items, users } = self.profiles(&of.name, texts, at, is_search)?;
        Ok([items, users].map(|profiles| self.encode(texts, profiles)))
    }

    fn encode(&mut self, texts: &TextPlan, profiles: Handle<Profiles>) -> Handle<Vectors> {
        let label = self.plan.graph[profiles].label.clone();
        let dirs = self.dirs.clone();
        self.add(EmbeddingsStep {
            label,
            encoder: texts.spec.encoder.clone(),
            // invariant: texts that are encoded were planned with their encoder
            weights: texts.weights.clone().unwrap_or_default(),
            profiles,
            dirs,
        })
    }
}

/// The steps of one trial of a reranker.
struct Reranked {
    /// Of the base.
    fit: Handle<Model>,
    lists: Handle<Predictions>,
    explain: Option<Handle<Explanations>>,
}

/// What does not change from trial to trial of a reranker.
struct RerankPlan<'a> {
    base: SystemPlan<'a>,
    texts: Option<TextPlan<'a>>,
    /// A chat model with the prompt that it reranks with, and the one that it explains with.
    asked: Option<PromptedEndpoint>,
    explains: Option<(&'a ExplainSpec, Option<PromptedEndpoint>)>,
}

impl<'a> Planner<'a> {
    fn rerank_plan(&mut self, params: &'a RerankParams) -> Result<RerankPlan<'a>, DataError> {
        let base = self.variant.systems.iter().find(|base| base.name == params.of);
        let Some(base) = base else {
            return Err(DataError::Split(format!("no system `{}` to rerank", params.of)));
        };
        // The oracle explains nothing: what it knows is nothing to tell a user.
        let explain = params.explain.as_ref().filter(|_| params.judge != JudgeName::Oracle);
        let reads_text = match &params.judge {
            JudgeName::Encoder | JudgeName::Chat(_) => true,
            // The others look at no text.
            _ => explain.is_some(),
        };
        let encodes = params.judge == JudgeName::Encoder;
        let texts = reads_text.then(|| self.text_plan(&params.text, encodes)).transpose()?;
        // Read whoever the judge is: a file that is not there is a mistake in any case.
        let prompt = (params.strategy, params.prompt.place());
        if self.prompts.insert(Digest::of_json(&prompt)) {
            params.read_prompt(&self.dirs)?;
        }
        let asked = match &params.judge {
            JudgeName::Chat(judge) => {
                let (of, at) = (params.clone(), self.dirs.clone());
                let digest = move || Ok(of.read_prompt(&at)?.digest());
                Some(self.asked(judge, &prompt, digest)?)
            }
            _ => None,
        };
        let explains = match explain {
            Some(explain) => {
                if self.prompts.insert(Digest::of_json(&("explain", explain.prompt.place()))) {
                    explain.read_prompt(&self.dirs)?;
                }
                let asked = match &params.judge {
                    JudgeName::Chat(judge) => {
                        let (of, at) = (explain.clone(), self.dirs.clone());
                        let digest = move || Ok(of.read_prompt(&at)?.digest());
                        Some(self.asked(judge, &("explain", explain.prompt.place()), digest)?)
                    }
                    _ => None,
                };
                Some((explain, asked))
            }
            None => None,
        };
        Ok(RerankPlan { base: self.system_plan(base)?, texts, asked, explains })
    }

    /// The steps that fit the base, rerank its lists, and explain them.
    fn rerank(
        &mut self,
        of: &SystemPlan,
        params: &RerankParams,
        reranked: &RerankPlan,
        at: FoldAt,
    ) -> Result<Reranked, DataError> {
        let variant = of.variant;
        let FoldAt { fold, split, seed } = at;
        // A base that no seed changes is fitted once.
        let of_base = if reranked.base.is_seeded { seed } else { variant.seeds[0] };
        let base = self.fit(&reranked.base, FoldAt { seed: of_base, ..at })?;
        let texts = match &reranked.texts {
            Some(plan) => Some(self.profiles(&of.name, plan, (fold, split), false)?),
            None => None,
        };
        let judge = match (&params.judge, &reranked.texts, texts, &reranked.asked) {
            (JudgeName::Encoder, Some(plan), Some(Texts { items, users }), _) => {
                JudgeInputs::Encoder([items, users].map(|profiles| self.encode(plan, profiles)))
            }
            (JudgeName::Chat(_), _, Some(Texts { items, users }), Some(asked)) => {
                JudgeInputs::Chat { asked: Box::new(asked.clone()), items, users }
            }
            _ => JudgeInputs::None,
        };
        // A judge that reads no text cannot be told too much.
        let warnings = match &judge {
            JudgeInputs::None => Vec::new(),
            _ => leak(variant, &params.text, fold).into_iter().collect(),
        };
        let fit = base.model;
        let lists = self.add(RerankStep {
            label: of.label(fold, seed),
            params: params.clone(),
            base,
            seed,
            ties: variant.evaluate.ties,
            whole_lists: variant.evaluate.protocols.contains(&Protocol::Judged),
            judge,
            warnings,
        });
        let explain = match (&reranked.explains, texts) {
            (Some((explain, asked)), Some(Texts { items, users })) => {
                let dirs = self.dirs.clone();
                Some(self.add(ExplainStep {
                    label: of.label(fold, seed),
                    params: params.clone(),
                    explain: (*explain).clone(),
                    seed,
                    split,
                    relevant: variant.data.relevant,
                    disliked: variant.data.disliked,
                    lists,
                    items,
                    users,
                    asked: asked.clone(),
                    dirs,
                }))
            }
            _ => None,
        };
        Ok(Reranked { fit, lists, explain })
    }
}

fn pinned(path: std::path::PathBuf) -> Result<Pinned, DataError> {
    Pinned::file(path.clone()).map_err(|error| DataError::io(&path, error))
}

/// What to say of a fit whose user profiles were written from ratings that its fold tests.
fn leak(variant: &Variant, text: &TextSpec, fold: &str) -> Option<String> {
    let (_, spec) = variant.profiles.iter().find(|(name, _)| *name == text.profiles)?;
    let UserProfiles::File(users) = &spec.users else { return None };
    let leaks = users.built_from != fold && users.built_from != "no-ratings";
    leaks.then(|| {
        format!(
            "test data leaks: the user profiles `{}` were written from the training part of {}, \
             which contains test ratings of {fold}",
            text.profiles, users.built_from
        )
    })
}

/// What readers of a fitted system's results must know, whatever it computes.
fn warnings(variant: &Variant, system: &System, fold: &str) -> Vec<String> {
    let model = &system.model;
    let leak = model.text().and_then(|text| leak(variant, text, fold));
    leak.into_iter().chain(of_validation(variant, model)).collect()
}

/// What to say of a fit whose validation part its model could know of.
fn of_validation(variant: &Variant, model: &SystemSpec) -> Vec<String> {
    let (cut, what) = match model {
        SystemSpec::Search(search) => (search.spec.cut, "settings are chosen"),
        SystemSpec::Command(params) => match &params.search {
            Some(search) => (search.spec.cut, "settings are chosen"),
            None => return Vec::new(),
        },
        model if model.validates() => {
            let cut = variant.split.cut(variant.split.validation.and_then(|of| of.by));
            (cut, "the best epoch is chosen")
        }
        _ => return Vec::new(),
    };
    let mut warnings = Vec::new();
    if variant.split.is_by_time() && cut.is_random() {
        warnings.push(format!(
            "{what} on random ratings of a training part that is split by time (`by: random`): the model \
             is trained on later ones"
        ));
    }
    let profiles = model.text().and_then(|text| {
        let (name, spec) = variant.profiles.iter().find(|(name, _)| *name == text.profiles)?;
        match &spec.users {
            UserProfiles::File(users) if users.built_from != "no-ratings" => {
                Some((name, &users.built_from))
            }
            _ => None,
        }
    });
    if let Some((name, from)) = profiles {
        warnings.push(format!(
            "{what} on ratings that the user profiles `{name}` contain: they were written from the \
             training part of {from}, and profiles from a file cannot be rebuilt without these ratings"
        ));
    }
    warnings
}

//! What each kind of step does.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, OnceLock},
};

use serde_json::{Value, json};

use super::StepError;
use crate::{
    base::{hash::Digest, interrupt::Interrupt},
    core::{StepState, Workspace},
    data::{DataDirs, Dataset, TrainingData, TrainingPart, split_fold},
    llm::{AnswersSpec, DIRECTORY, Llm, LlmError, Spent},
    ranking::{Source, score_fold},
    tasks::{
        DataSpec, Experiment, System,
        top_n::{
            History, WithFallback,
            models::{FitContext, Fitted, ModelError, ModelSpec},
            plan::{Plan, Step, StepKind},
            search::{TRIALS, read_trials, write_trials},
        },
    },
};

/// Everything steps share.
pub struct Shared<'a> {
    pub experiment: &'a Experiment,
    pub plan: &'a Plan,
    pub dirs: &'a DataDirs,
    pub workspace: &'a Workspace,
    pub interrupt: &'a Interrupt,
    data: Mutex<HashMap<Digest, Arc<OnceLock<Arc<Dataset>>>>>,
    /// Opened when a step first asks a language model.
    llm: OnceLock<Result<Llm, String>>,
    answers: AnswersSpec,
    /// Fitted models on their way to scoring, so that they need not be read back.
    fitted: Mutex<HashMap<Digest, Arc<Fitted>>>,
}

/// How a step tells where it is.
pub struct Voice<'a> {
    pub progress: &'a (dyn Fn(u64, u64) + Sync),
    pub log: &'a (dyn Fn(&str) + Sync),
}

impl<'a> Shared<'a> {
    pub fn new(
        experiment: &'a Experiment,
        plan: &'a Plan,
        dirs: &'a DataDirs,
        workspace: &'a Workspace,
        interrupt: &'a Interrupt,
        answers: AnswersSpec,
    ) -> Self {
        let (data, fitted, llm) = (Mutex::default(), Mutex::default(), OnceLock::new());
        Self { experiment, plan, dirs, workspace, interrupt, data, llm, answers, fitted }
    }

    /// Language models and their answers, opened at the first call.
    pub(super) fn llm(&self) -> Result<&Llm, LlmError> {
        let opened = self.llm.get_or_init(|| {
            let dir = self.workspace.path(&[DIRECTORY]);
            let llm = Llm::open(&dir, self.answers, self.interrupt);
            llm.map_err(|error| error.to_string())
        });
        opened.as_ref().map_err(|error| LlmError::Store(error.clone()))
    }

    /// What was asked and spent, where anything was; and what was found wrong with the answers' files.
    pub fn spent(&self) -> Option<(Spent, Vec<String>)> {
        let llm = self.llm.get()?.as_ref().ok()?;
        Some((llm.spent(), llm.answers().take_notes()))
    }

    /// Does one step: writes its files into `dir`, returns what is worth recording.
    pub fn work(
        &self,
        step: &Step,
        dir: &std::path::Path,
        voice: &Voice,
    ) -> Result<Value, StepError> {
        let worked = match step.kind {
            StepKind::Split => self.split(step, dir, voice),
            StepKind::Profiles => self.profiles(step, dir, voice),
            StepKind::Embeddings => self.embeddings(step, dir, voice),
            StepKind::Search => self.search(step, dir, voice),
            StepKind::Fit => self.fit(step, dir, voice),
            StepKind::Rerank => self.rerank(step, dir, voice),
            StepKind::Explain => self.explain(step, dir, voice),
            StepKind::Score => self.score(step, dir, voice),
        };
        worked.map_err(|error| self.blame(step, error))
    }

    /// Where a step failed over what another one left, says so, and how to be rid of it: a step that is
    /// taken for done is not made again.
    fn blame(&self, step: &Step, error: StepError) -> StepError {
        if matches!(error, StepError::Interrupted(_)) {
            return error;
        }
        let text = error.to_string();
        for input in step.inputs.iter().map(|input| &self.plan.steps[*input]) {
            let dir = self.workspace.step_dir(input.kind.name(), &input.key);
            let problem = match input.state(self.workspace) {
                StepState::Damaged(problem) => problem,
                StepState::Absent => "it is not there any more".into(),
                StepState::Done if text.contains(&dir.display().to_string()) => {
                    text.split("\n  = help").next().unwrap_or_default().to_owned()
                }
                StepState::Done => continue,
            };
            let step = format!("{} {}", input.kind.name(), input.label);
            return StepError::Input { step, problem, dir };
        }
        error
    }

    /// Memory a step may take, in bytes.
    pub fn memory_estimate(&self, step: &Step) -> u64 {
        if step.kind == StepKind::Embeddings {
            return 1 << 30;
        }
        let facts = step.inputs.first().and_then(|split| {
            let split = &self.plan.steps[*split];
            Some(self.workspace.record(split.kind.name(), &split.key).ok()?.facts)
        });
        let (Some(facts), Some(system)) = (facts, step.system) else { return 0 };
        let count = |name: &str| facts[name].as_u64().unwrap_or(0) as usize;
        let model = &self.experiment.settings[step.setting].systems[system].model;
        model.memory_estimate(count("users"), count("items"), count("train"))
    }

    /// Lets go of a fitted model that nobody will score any more.
    pub fn forget(&self, key: &Digest) {
        if let Ok(mut fitted) = self.fitted.lock() {
            fitted.remove(key);
        }
    }

    fn split(&self, step: &Step, dir: &std::path::Path, voice: &Voice) -> Result<Value, StepError> {
        if !step.inputs.is_empty() {
            return self.cut(step, dir);
        }
        let setting = &self.experiment.settings[step.setting];
        let data = self.dataset(step, voice)?;
        let fold = split_fold(&data, &setting.split, &step.fold)?;
        fold.write(dir)?;
        Ok(json!({
            "users": fold.users.len(),
            "items": fold.items.len(),
            "train": fold.train.len(),
            "validation": fold.validation.len(),
            "test": fold.test_len(),
            "data_hash": data.digest(),
            "split_hash": fold.digest(),
            "names_hash": fold.names_digest(),
            "notes": data.notes,
            "split_notes": fold.notes,
        }))
    }

    /// The training part of a fold in two, for a search.
    fn cut(&self, step: &Step, dir: &std::path::Path) -> Result<Value, StepError> {
        let ModelSpec::Search(search) = self.model(step) else {
            return Err(StepError::Panic("a cut for something that is no search".into()));
        };
        let spec = &search.spec;
        let fold = self.training(step)?.cut(&step.fold, spec.cut, spec.validation, spec.seed)?;
        fold.write(dir)?;
        Ok(json!({
            "users": fold.users.len(),
            "items": fold.items.len(),
            "train": fold.train.len(),
            "validation": fold.validation.len(),
            "test": fold.test_len(),
            "split_hash": fold.digest(),
        }))
    }

    /// The data set, read once however many folds ask for it at once.
    pub(super) fn dataset(&self, step: &Step, voice: &Voice) -> Result<Arc<Dataset>, StepError> {
        let key = self.plan.data[step.setting];
        let cell = match self.data.lock() {
            Ok(mut data) => data.entry(key).or_default().clone(),
            Err(_) => Arc::default(),
        };
        if let Some(data) = cell.get() {
            return Ok(data.clone());
        }
        (voice.log)("reading the data set");
        let source = &self.experiment.settings[step.setting].data.source;
        let data = Arc::new(source.load(self.dirs)?);
        for note in &data.notes {
            (voice.log)(note);
        }
        Ok(cell.get_or_init(|| data).clone())
    }

    /// Tries the settings of a search.
    fn search(
        &self,
        step: &Step,
        dir: &std::path::Path,
        voice: &Voice,
    ) -> Result<Value, StepError> {
        let ModelSpec::Search(search) = self.model(step) else {
            return Err(StepError::Panic("a search step of something else".into()));
        };
        let cut_before = !self.plan.steps[step.inputs[0]].inputs.is_empty();
        let search_trials = |data: &TrainingData, context: &FitContext| {
            let trials = match cut_before {
                true => search.search_in(data, context)?,
                false => search.search(data, context)?,
            };
            write_trials(&dir.join(TRIALS), &trials)
        };
        let ((), facts) = self.with_training(step, voice, &search_trials)?;
        Ok(facts)
    }

    fn fit(&self, step: &Step, dir: &std::path::Path, voice: &Voice) -> Result<Value, StepError> {
        let model = self.model(step);
        (voice.log)(&format!("{} with {}", model.name(), step.material["model"]));
        let fit = |data: &TrainingData, context: &FitContext| match model {
            ModelSpec::Search(search) => {
                let inputs = step.inputs.iter().map(|input| &self.plan.steps[*input]);
                let searched = inputs.into_iter().find(|input| input.kind == StepKind::Search);
                let searched = searched.ok_or_else(|| {
                    ModelError::Unsuitable("a fit of a search without its trials".into())
                })?;
                let from = self.workspace.step_dir(searched.kind.name(), &searched.key);
                search.fit_chosen(read_trials(&from)?, data, context)
            }
            _ => model.fit(data, context),
        };
        let (fitted, mut facts) = self.with_training(step, voice, &fit)?;
        fitted.save(dir)?;
        let warnings: Vec<String> =
            self.leak(step).into_iter().chain(self.of_validation(step)).collect();
        if !warnings.is_empty() {
            facts["warnings"] = json!(warnings);
        }
        if let Fitted::Lists { findings: Some(findings), .. } = &fitted {
            facts["findings"] = json!(findings);
            facts["warnings"] = json!(findings.warnings());
        }
        if let Ok(mut models) = self.fitted.lock() {
            models.insert(step.key, Arc::new(fitted));
        }
        Ok(facts)
    }

    /// Calls `work` with what a fit or a search may learn from; returns what it recorded too.
    fn with_training<T>(
        &self,
        step: &Step,
        voice: &Voice,
        work: &dyn Fn(&TrainingData, &FitContext) -> Result<T, ModelError>,
    ) -> Result<(T, Value), StepError> {
        let (training, model) = (self.training(step)?, self.model(step));
        let DataSpec { relevant, disliked, .. } = self.experiment.settings[step.setting].data;
        let data = self.system(step).train_on.apply(training.training_data(relevant, disliked));
        if data.positives.is_empty() && !matches!(model, ModelSpec::External(_)) {
            let rule = match self.system(step).train_on.positives {
                Some(rule) => format!("positives: \"{rule}\""),
                None => format!("relevant: \"{relevant}\""),
            };
            return Err(ModelError::Unsuitable(format!(
                "no rating in the training part of the fold {} meets `{rule}`",
                step.fold
            ))
            .into());
        }
        let facts = Mutex::new(json!({ "positives": data.positives.len() }));
        let fact = |name: &str, value: Value| {
            if let Ok(mut facts) = facts.lock() {
                facts[name] = value;
            }
        };
        let scratch = self.workspace.scratch(&step.key);
        let features = self.features(step, &data.positives)?;
        if let Some(features) = &features {
            fact("users_without_text", json!(features.filled_users));
            fact("items_without_text", json!(features.bare_items));
        }
        let context = FitContext {
            fact: &fact,
            features: features.as_ref(),
            scratch: Some(&scratch),
            ..self.context(step, &training, voice)
        };
        let result = work(&data, &context)?;
        Ok((result, facts.into_inner().unwrap_or_default()))
    }

    fn score(&self, step: &Step, dir: &std::path::Path, voice: &Voice) -> Result<Value, StepError> {
        let setting = &self.experiment.settings[step.setting];
        let (split, fit) = (&self.plan.steps[step.inputs[0]], &self.plan.steps[step.inputs[1]]);
        let training = self.training(step)?;
        let fitted = self.fitted(fit, &training, voice)?;
        let known = self.known_users(step, fit, &fitted, &training, voice)?;
        let with_fallback = self.with_fallback(step, &fitted, known.as_deref(), &training);
        let (scores, opening) = score_fold(
            &setting.evaluate,
            &self.workspace.step_dir(split.kind.name(), &split.key),
            &training,
            setting.data.relevant,
            &with_fallback.as_ref().map_or(fitted.source(), |model| Source::Model(model)),
            self.interrupt,
            voice.progress,
        )?;
        scores.write(dir, &training.users, &training.items)?;
        let mut facts = json!({ "users": scores.rows.len(), "test_opened": opening });
        let mut warnings = Vec::new();
        // A reranker's lists are as long as is needed.
        if matches!(&*fitted, Fitted::Lists { .. }) && fit.kind == StepKind::Fit {
            warnings.extend(scores.warnings());
        }
        warnings.extend(known.and_then(|known| scores.warning_of_history(&known)));
        warnings.extend(scores.warnings_of_ties());
        if !warnings.is_empty() {
            facts["warnings"] = json!(warnings);
        }
        Ok(facts)
    }

    /// By user, whether the model of a fit step knows anything of them, or that of the base where the lists
    /// are a reranker's; none where it need not. What is liked and disliked is the rule of `step`.
    pub(super) fn known_users(
        &self,
        step: &Step,
        fit: &Step,
        fitted: &Fitted,
        training: &TrainingPart,
        voice: &Voice,
    ) -> Result<Option<Vec<bool>>, StepError> {
        let setting = &self.experiment.settings[step.setting];
        let history = match self.model(fit) {
            ModelSpec::Rerank(_) => {
                let base = &self.plan.steps[fit.inputs[1]];
                let of_base = self.fitted(base, training, voice)?;
                return self.known_users(step, base, &of_base, training, voice);
            }
            ModelSpec::Search(search) => {
                search.history(&self.workspace.step_dir(fit.kind.name(), &fit.key))?
            }
            model => model.history(),
        };
        let data = training.training_data(setting.data.relevant, setting.data.disliked);
        let data = self.system(fit).train_on.apply(data);
        Ok(match fitted {
            Fitted::Scores(model) => history.known(&**model, &data),
            Fitted::Lists { .. } => None,
        })
    }

    /// A model with the fallback of `step` for users of whom it knows nothing.
    pub(super) fn with_fallback<'b>(
        &self,
        step: &Step,
        fitted: &'b Fitted,
        known: Option<&'b [bool]>,
        training: &TrainingPart,
    ) -> Option<WithFallback<'b>> {
        let (Fitted::Scores(model), Some(known)) = (fitted, known) else { return None };
        let setting = &self.experiment.settings[step.setting];
        // Liked by the experiment's rule, whatever the system learns from: as the model `popularity` counts.
        let data = training.training_data(setting.data.relevant, setting.data.disliked);
        Some(WithFallback::new(&**model, known, setting.evaluate.fallback, &data.positives))
    }

    /// What a fit or rerank step left, from memory or from its directory.
    pub(super) fn fitted(
        &self,
        fit: &Step,
        training: &TrainingPart,
        voice: &Voice,
    ) -> Result<Arc<Fitted>, StepError> {
        if let Some(known) = self.fitted.lock().ok().and_then(|known| known.get(&fit.key).cloned())
        {
            return Ok(known);
        }
        (voice.log)("loading the fitted model");
        let setting = &self.experiment.settings[fit.setting];
        let data = training.training_data(setting.data.relevant, setting.data.disliked);
        let data = self.system(fit).train_on.apply(data);
        let from = self.workspace.step_dir(fit.kind.name(), &fit.key);
        let context = self.context(fit, training, voice);
        Ok(Arc::new(self.model(fit).load(&from, &data, &context)?))
    }

    pub(super) fn training(&self, step: &Step) -> Result<TrainingPart, StepError> {
        let split = &self.plan.steps[step.inputs[0]];
        Ok(TrainingPart::read(&self.workspace.step_dir(split.kind.name(), &split.key))?)
    }

    pub(super) fn model(&self, step: &Step) -> &ModelSpec {
        &self.system(step).model
    }

    fn system(&self, step: &Step) -> &System {
        // invariant: fit and score steps belong to a system
        let system = step.system.unwrap_or_default();
        &self.experiment.settings[step.setting].systems[system]
    }

    fn context<'b>(
        &'b self,
        step: &'b Step,
        training: &'b TrainingPart,
        voice: &'b Voice,
    ) -> FitContext<'b> {
        FitContext {
            seed: step.seed,
            // Models say it themselves.
            history: History::Rated,
            fold: &step.fold,
            users: &training.users,
            items: &training.items,
            dirs: self.dirs,
            features: None,
            interrupt: self.interrupt,
            progress: voice.progress,
            log: voice.log,
            fact: &|_, _| {},
            scratch: None,
        }
    }
}

//! From an experiment to a graph of content-addressed steps.
//!
//! A step's key is the hash of its kind, its revision, its settings, its seed and the keys of its
//! inputs. So what several trials share is done once, and what has not changed is not done again.

mod names;
mod stale;
mod state;
mod text;

use serde_json::{Value, json};

use super::{
    SearchSpec,
    models::ModelSpec,
    rerank::{ExplainSpec, JudgeName, RerankParams},
};
use crate::{
    base::hash::Digest,
    data::{DataDirs, DataError, fold_names},
    ranking::{Fallback, Fingerprint, Protocol},
    tasks::{Experiment, Setting},
};

pub use names::file_names;
pub use stale::why_stale;
pub use text::TextStep;
use text::TextSteps;

/// What tables call the rows of the mean over folds.
const MEAN: &str = "mean";

/// Raised when the code of a kind of step comes to mean something else.
const SPLIT_REVISION: u32 = 1;
const SEARCH_REVISION: u32 = 2;
const FIT_REVISION: u32 = 2;
/// Of fits that measure on the validation part.
const VALIDATION_REVISION: u32 = 1;
const RERANK_REVISION: u32 = 4;
const EXPLAIN_REVISION: u32 = 4;
const SCORE_REVISION: u32 = 4;

/// What a step does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum StepKind {
    Split,
    Profiles,
    Embeddings,
    Search,
    Fit,
    Rerank,
    Explain,
    Score,
}

impl StepKind {
    /// Its name, also of its directory in the workspace.
    pub fn name(self) -> &'static str {
        match self {
            Self::Split => "split",
            Self::Profiles => "profiles",
            Self::Embeddings => "embeddings",
            Self::Search => "search",
            Self::Fit => "fit",
            Self::Rerank => "rerank",
            Self::Explain => "explain",
            Self::Score => "score",
        }
    }
}

/// One node of the graph.
#[derive(Clone, Debug)]
pub struct Step {
    pub kind: StepKind,
    pub key: Digest,
    /// `als u1 seed 1`
    pub label: String,
    /// Indices of the steps it needs, all smaller than its own.
    pub inputs: Vec<usize>,
    /// What the key is the hash of.
    pub material: Value,
    pub setting: usize,
    pub fold: String,
    /// The system and seed it belongs to; none for splits but those that a search makes.
    pub system: Option<usize>,
    /// Of steps about texts.
    pub text: Option<TextStep>,
    pub seed: u64,
    /// Trials that go through it.
    pub trials: Vec<usize>,
}

/// One system on one fold with one seed.
#[derive(Clone, Debug)]
pub struct Trial {
    pub setting: usize,
    pub system: usize,
    /// The system's name with the label of its setting.
    pub name: String,
    pub fold: String,
    pub seed: u64,
    /// `als--u1--seed1`: its name in a file's name; no other trial of the plan has it.
    pub file_name: String,
    pub split: usize,
    /// What its fit needs beside the split: texts, their vectors, a search.
    pub needs: Vec<usize>,
    pub fit: usize,
    /// The step that explains its lists, where they are explained.
    pub explain: Option<usize>,
    pub score: usize,
}

/// The graph.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In an order in which they can be done.
    pub steps: Vec<Step>,
    pub trials: Vec<Trial>,
    /// Hash of the data's source files, by setting.
    pub data: Vec<Digest>,
}

/// What a step is for.
#[derive(Clone, Copy)]
struct Of<'a> {
    setting: (usize, &'a Setting),
    system: usize,
    seed: u64,
}

impl Plan {
    /// Plans an experiment. Reads the data's files only to hash them.
    pub fn new(experiment: &Experiment, dirs: &DataDirs) -> Result<Self, DataError> {
        let mut plan = Self::default();
        for (setting_at, setting) in experiment.settings.iter().enumerate() {
            let data = setting.data.source.digest(dirs)?;
            plan.data.push(data);
            let folds = fold_names(&setting.split, &setting.data.source, dirs)?;
            if folds.iter().any(|fold| fold == MEAN) {
                return Err(DataError::Split(format!(
                    "a fold of the data set `{}` is called `{MEAN}`, which is what the mean over folds is \
                     called: its results would be taken for that\n  = help: give the fold another name, or \
                     leave it out with `split: {{only: [...]}}`",
                    setting.data.source.name()
                )));
            }
            let evaluate = setting.evaluate.normalised();
            for (system_at, system) in setting.systems.iter().enumerate() {
                let seeds = match setting.is_seeded(system) {
                    true => &setting.seeds[..],
                    false => &setting.seeds[..1],
                };
                let name = format!("{}{}", system.name, setting.label);
                let external = match &system.model {
                    ModelSpec::External(external) => Some(external),
                    _ => None,
                };
                let folds = match external {
                    Some(external) => external.folds(&name, &folds)?,
                    None => folds.clone(),
                };
                for fold in &folds {
                    let rankings = match external {
                        Some(external) => {
                            let path = external.locate(fold, dirs)?;
                            let digest = Digest::of_file(&path);
                            Some(digest.map_err(|error| DataError::io(&path, error))?)
                        }
                        None => None,
                    };
                    for &seed in seeds {
                        let split = plan.step(Step {
                            kind: StepKind::Split,
                            key: Digest::of(""),
                            label: format!(
                                "{}{} {fold}",
                                setting.data.source.name(),
                                setting.label
                            ),
                            inputs: vec![],
                            material: json!({
                                "revision": SPLIT_REVISION,
                                "data": data,
                                "split": setting.split.of_one_fold(),
                                "fold": fold,
                            }),
                            setting: setting_at,
                            fold: fold.clone(),
                            system: None,
                            text: None,
                            seed: 0,
                            trials: vec![],
                        });
                        let of = Of { setting: (setting_at, setting), system: system_at, seed };
                        let (fit, needs, explain) = match &system.model {
                            ModelSpec::Rerank(params) => plan.rerank(&of, params, split, dirs)?,
                            _ => {
                                let (fit, needs) = plan.fit(&of, split, rankings, dirs)?;
                                (fit, needs, None)
                            }
                        };
                        let score = plan.step(Step {
                            kind: StepKind::Score,
                            // Not that of the fit, which may be shared with other variants.
                            label: label(setting, &of, fold),
                            inputs: vec![split, fit],
                            material: json!({
                                "revision": SCORE_REVISION,
                                "evaluate": evaluate,
                                "relevant": setting.data.relevant,
                                "disliked": setting.data.disliked,
                                "split": plan.steps[split].key,
                                "fit": plan.steps[fit].key,
                            }),
                            setting: setting_at,
                            system: Some(system_at),
                            ..plan.steps[fit].clone()
                        });
                        let others = needs.iter().copied().chain(explain);
                        for step in [split, fit, score].into_iter().chain(others) {
                            let trial = plan.trials.len();
                            plan.steps[step].trials.push(trial);
                        }
                        plan.trials.push(Trial {
                            setting: setting_at,
                            system: system_at,
                            name: name.clone(),
                            fold: fold.clone(),
                            seed,
                            file_name: String::new(),
                            split,
                            needs,
                            fit,
                            explain,
                            score,
                        });
                    }
                }
            }
        }
        let trials = plan.trials.iter();
        let names: Vec<String> = trials
            .map(|trial| format!("{}--{}--seed{}", trial.name, trial.fold, trial.seed))
            .collect();
        for (trial, name) in plan.trials.iter_mut().zip(file_names(&names)) {
            trial.file_name = name;
        }
        Ok(plan)
    }

    /// The step that fits a system, and the steps it needs beside the split.
    fn fit(
        &mut self,
        of: &Of,
        split: usize,
        rankings: Option<Digest>,
        dirs: &DataDirs,
    ) -> Result<(usize, Vec<usize>), DataError> {
        let (_, setting) = of.setting;
        let system = &setting.systems[of.system];
        let fold = &self.steps[split].fold.clone();
        let name = format!("{}{}", system.name, setting.label);
        let text = match system.model.text() {
            Some(spec) => Some(self.text(of.setting, split, spec, &name, dirs)?),
            None => None,
        };
        let seeded = system.model.is_seeded();
        let mut material = json!({
            "revision": [FIT_REVISION, system.model.revision()],
            "model": system.model,
            "relevant": setting.data.relevant,
            "split": self.steps[split].key,
        });
        if system.model.training().is_some_and(|training| training.validate.is_some()) {
            material["validation_revision"] = json!(VALIDATION_REVISION);
        }
        if system.model.uses_dislikes() {
            material["disliked"] = json!(setting.data.disliked);
        }
        if !system.train_on.is_default() {
            material["train_on"] = json!(system.train_on);
        }
        if let Some(rankings) = rankings {
            material["rankings"] = json!(rankings);
        }
        let mut inputs = vec![split];
        if let Some(text) = &text {
            let [items, users] = text.vectors.unwrap_or([text.items, text.users]);
            material["text"] =
                json!({"items": self.steps[items].key, "users": self.steps[users].key});
            inputs.extend([items, users]);
        }
        let mut needs: Vec<usize> = text.iter().flat_map(TextSteps::all).collect();
        // Settings are searched once a fold: with every seed the same settings are fitted.
        if let ModelSpec::Search(search) = &system.model {
            let mut of_search = material.clone();
            of_search["revision"] = json!([SEARCH_REVISION, system.model.revision()]);
            let mut inputs_of_search = inputs.clone();
            // Texts of users are written from ratings: those that a search measures on are cut off first.
            if let Some(spec) = system.model.text() {
                let part = self.cut(of, split, &search.spec);
                let text = self.text(of.setting, part, spec, &name, dirs)?;
                let [items, users] = text.vectors.unwrap_or([text.items, text.users]);
                of_search["split"] = json!(self.steps[part].key);
                of_search["text"] =
                    json!({"items": self.steps[items].key, "users": self.steps[users].key});
                inputs_of_search = vec![part, items, users];
                needs.push(part);
                needs.extend(text.all());
                needs.sort_unstable();
                needs.dedup();
            }
            let step = self.step(Step {
                kind: StepKind::Search,
                label: format!("{name} {fold}"),
                inputs: inputs_of_search,
                material: of_search,
                setting: of.setting.0,
                system: Some(of.system),
                seed: search.spec.seed,
                ..self.steps[split].clone()
            });
            if text.is_some() {
                material["search"] = json!(self.steps[step].key);
            }
            inputs.push(step);
            needs.push(step);
        }
        material["seed"] = json!(seeded.then_some(of.seed));
        let fit = self.step(Step {
            kind: StepKind::Fit,
            label: label(setting, of, fold),
            inputs,
            material,
            setting: of.setting.0,
            system: Some(of.system),
            seed: of.seed,
            ..self.steps[split].clone()
        });
        Ok((fit, needs))
    }

    /// The step that cuts a fold's training part in two for a search.
    fn cut(&mut self, of: &Of, split: usize, search: &SearchSpec) -> usize {
        let parent = self.steps[split].clone();
        self.step(Step {
            kind: StepKind::Split,
            label: format!("{} search", parent.label),
            inputs: vec![split],
            material: json!({
                "revision": SPLIT_REVISION,
                "split": parent.key,
                "cut": search.cut,
                "share": search.validation,
                "seed": search.cut.is_random().then_some(search.seed),
            }),
            setting: of.setting.0,
            system: Some(of.system),
            ..parent
        })
    }

    /// The step that reranks, the steps it needs beside the split, and the step that explains.
    fn rerank(
        &mut self,
        of: &Of,
        params: &RerankParams,
        split: usize,
        dirs: &DataDirs,
    ) -> Result<(usize, Vec<usize>, Option<usize>), DataError> {
        let (_, setting) = of.setting;
        let system = &setting.systems[of.system];
        let fold = &self.steps[split].fold.clone();
        let name = format!("{}{}", system.name, setting.label);
        // invariant: the experiment was checked to have a system of this name
        let base = setting.systems.iter().position(|base| base.name == params.of).unwrap_or(0);
        let of_base = Of { system: base, seed: setting.seed_of(base, of.seed), ..*of };
        let (base, mut needs) = self.fit(&of_base, split, None, dirs)?;
        // The oracle explains nothing: what it knows is nothing to tell a user.
        let explain = params.explain.as_ref().filter(|_| params.judge != JudgeName::Oracle);
        let spec = &params.text;
        let text = match &params.judge {
            JudgeName::Encoder => Some(self.text(of.setting, split, spec, &name, dirs)?),
            JudgeName::Chat(_) => Some(self.profiles(of.setting, split, spec, &name, dirs)?),
            // The others look at no text.
            _ if explain.is_some() => Some(self.profiles(of.setting, split, spec, &name, dirs)?),
            _ => None,
        };
        // What the judge goes by.
        let told: Vec<usize> = match (&params.judge, &text) {
            (JudgeName::Encoder, Some(text)) => text.vectors.into_iter().flatten().collect(),
            (JudgeName::Chat(_), Some(text)) => vec![text.items, text.users],
            _ => Vec::new(),
        };
        // What is explained changes no list.
        let model = ModelSpec::Rerank(RerankParams { explain: None, ..params.clone() });
        let mut material = json!({
            "revision": RERANK_REVISION,
            "model": model,
            "relevant": setting.data.relevant,
            "disliked": setting.data.disliked,
            "ties": setting.evaluate.ties,
            "seed": of.seed,
            "split": self.steps[split].key,
            "fit": self.steps[base].key,
            "fallback": setting.evaluate.fallback,
            "text": told.iter().map(|at| self.steps[*at].key).collect::<Vec<_>>(),
        });
        // Read whoever the judge is: a file that is not there is a slip in any case.
        let prompt = params.read_prompt(dirs)?;
        if let JudgeName::Chat(judge) = &params.judge {
            material["judge"] = setting.judge(judge).material();
            material["prompt"] = json!(prompt.digest());
        }
        // Where the order of all test items counts, lists are not cut.
        let whole = setting.evaluate.protocols.contains(&Protocol::Judged);
        if whole {
            material["whole_lists"] = json!(true);
        }
        let rerank = self.step(Step {
            kind: StepKind::Rerank,
            label: label(setting, of, fold),
            inputs: [split, base].into_iter().chain(told).collect(),
            material,
            setting: of.setting.0,
            system: Some(of.system),
            seed: of.seed,
            ..self.steps[split].clone()
        });
        needs.push(base);
        needs.extend(text.iter().flat_map(TextSteps::all));
        let explain = match (explain, &text) {
            (Some(spec), Some(text)) => {
                Some(self.explain(of, params, spec, (rerank, text), dirs)?)
            }
            _ => None,
        };
        Ok((rerank, needs, explain))
    }

    /// The step that explains the lists of a reranker.
    fn explain(
        &mut self,
        of: &Of,
        params: &RerankParams,
        explain: &ExplainSpec,
        (rerank, text): (usize, &TextSteps),
        dirs: &DataDirs,
    ) -> Result<usize, DataError> {
        let (_, setting) = of.setting;
        let mut material = json!({
            "revision": EXPLAIN_REVISION,
            "explain": explain,
            "by": params.judge,
            "pool": params.pool,
            "users": params.users,
            "rerank": self.steps[rerank].key,
            "text": {"items": self.steps[text.items].key, "users": self.steps[text.users].key},
        });
        let prompt = explain.read_prompt(dirs)?;
        if let JudgeName::Chat(judge) = &params.judge {
            material["judge"] = setting.judge(judge).material();
            material["prompt"] = json!(prompt.digest());
        }
        let split = self.steps[rerank].inputs[0];
        Ok(self.step(Step {
            kind: StepKind::Explain,
            // The lists may be those of another system that differs in its explanations alone.
            label: label(setting, of, &self.steps[split].fold),
            setting: of.setting.0,
            system: Some(of.system),
            inputs: vec![split, rerank, text.items, text.users],
            material,
            ..self.steps[rerank].clone()
        }))
    }

    /// The index of the step, which is added where no other has its key.
    fn step(&mut self, mut step: Step) -> usize {
        step.key = Digest::of_json(&(step.kind.name(), &step.material));
        step.trials = Vec::new();
        if let Some(at) = self.steps.iter().position(|known| known.key == step.key) {
            return at;
        }
        self.steps.push(step);
        self.steps.len() - 1
    }

    /// What a number of this experiment rests on. `split` covers data, scheme and all folds run.
    pub fn fingerprint(
        &self,
        experiment: &Experiment,
        setting: usize,
        pair: (crate::ranking::Protocol, crate::ranking::Convention),
        k: usize,
    ) -> Fingerprint {
        let of = &experiment.settings[setting];
        let mut folds: Vec<&Digest> = self
            .trials
            .iter()
            .filter(|trial| trial.setting == setting)
            .map(|trial| &self.steps[trial.split].key)
            .collect();
        folds.sort();
        folds.dedup();
        let sampled = match pair.0 {
            crate::ranking::Protocol::Sampled => {
                format!(
                    "{} negatives, seed {}",
                    of.evaluate.sampled.negatives, of.evaluate.sampled.seed
                )
            }
            _ => String::new(),
        };
        Fingerprint {
            data: self.data[setting].to_string(),
            split: Digest::of_json(&folds).to_string(),
            relevant: of.data.relevant.to_string(),
            protocol: pair.0,
            protocol_settings: sampled,
            convention: pair.1,
            ties: of.evaluate.ties.rule(),
            fallback: (of.evaluate.fallback != Fallback::default())
                .then(|| of.evaluate.fallback.to_string()),
            k,
            users: pair.1.users_rule().into(),
        }
    }
}

/// `als u1 seed 1`: a step of a system, with the seed where it depends on one.
fn label(setting: &Setting, of: &Of, fold: &str) -> String {
    let system = &setting.systems[of.system];
    let name = format!("{}{}", system.name, setting.label);
    match setting.is_seeded(system) {
        true => format!("{name} {fold} seed {}", of.seed),
        false => format!("{name} {fold}"),
    }
}

//! Search of settings on a validation part taken from the training part, without access to the test part.

use std::{collections::HashMap, fs, path::Path};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    History,
    models::{FitContext, ModelDef, ModelError, ModelSpec, ModelStats, Recommender},
    networks::Schedule,
    validation,
};
use crate::{
    base::{
        files::{read_memory, write_memory, write_whole},
        yaml::{
            Diagnostic,
            de::from_node,
            diagnostic::Position,
            node::{Entry, Node},
        },
    },
    data::{Cut, CutBy, Interaction, Interactions, TrainingData, UserIx, cut::cut_rows},
    ranking::{LAST_CUTOFF, Metric, Scorer, Spelling},
};

/// How settings are searched: the `search:` of a system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SearchSpec {
    /// Number of random settings to try; without it, all combinations of the lists in `over` (a grid).
    #[serde(default)]
    #[schemars(range(min = 1, max = 10000))]
    pub trials: Option<usize>,
    /// Seed of the random settings, the validation part, and the models.
    #[serde(default = "one")]
    pub seed: u64,
    /// The fields to tune (`layers`, `training.learning_rate`) with their values.
    #[schemars(extend("minProperties" = 1))]
    pub over: std::collections::BTreeMap<String, Over>,
    /// What is measured on the validation part.
    #[serde(default = "ndcg")]
    #[schemars(with = "Spelling")]
    pub metric: Metric,
    /// Its cutoff.
    #[serde(default = "ten")]
    #[schemars(range(min = 1, max = 1000000))]
    pub k: usize,
    /// Share of the training ratings in the validation part.
    #[serde(default = "tenth")]
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub validation: f64,
    /// Selection of these ratings: `time`, the latest (the default with `temporal` and `leave-one-out`), or `random` (the
    /// default with other splits).
    #[serde(default, skip_serializing)]
    pub by: Option<CutBy>,
    /// The resulting selection with the experiment's split.
    #[serde(skip_deserializing, skip_serializing_if = "Cut::is_random")]
    #[schemars(skip)]
    pub cut: Cut,
}

fn one() -> u64 {
    1
}

fn ndcg() -> Metric {
    Metric::Ndcg
}

fn ten() -> usize {
    10
}

fn tenth() -> f64 {
    0.1
}

/// The values of one field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a list of values, {log: [low, high]} or {uniform: [low, high]}"
)]
pub enum Over {
    /// One of these.
    Choice(#[schemars(with = "Vec<serde_json::Value>", length(min = 1))] Vec<serde_yaml::Value>),
    Range(Range),
}

/// A range that random settings are drawn from.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub enum Range {
    /// Uniformly between two numbers.
    Uniform([f64; 2]),
    /// Log-uniformly between two positive numbers.
    Log([f64; 2]),
}

/// The maximum number of trials.
const MOST_TRIALS: usize = 10_000;

/// Settings of one trial: field and value.
pub type Levels = Vec<(String, serde_yaml::Value)>;

impl SearchSpec {
    /// The first problem, if any.
    pub fn validate(&self) -> Result<(), String> {
        if self.over.is_empty() {
            return Err("`search.over` is empty".into());
        }
        if !(1..=LAST_CUTOFF).contains(&self.k) {
            return Err(format!("`search.k` must be 1 to {LAST_CUTOFF}"));
        }
        let in_grid = self.over.values().map(|over| match over {
            Over::Choice(values) => values.len(),
            Over::Range(_) => 1,
        });
        let trials = self.trials.unwrap_or_else(|| in_grid.fold(1, usize::saturating_mul));
        if trials > MOST_TRIALS || self.trials == Some(0) {
            return Err(format!("the search has {trials} trials; expected 1 to {MOST_TRIALS}"));
        }
        if !(self.validation > 0.0 && self.validation < 1.0) {
            return Err("`search.validation` must be between 0 and 1".into());
        }
        if self.metric.is_of_all_lists() || self.metric == Metric::Novelty {
            return Err(format!(
                "`search.metric` cannot be `{}`: it does not measure relevance",
                self.metric
            ));
        }
        for (field, over) in &self.over {
            match over {
                Over::Choice(values) if values.is_empty() => {
                    return Err(format!("`search.over.{field}` is empty"));
                }
                Over::Range(_) if self.trials.is_none() => {
                    return Err(format!(
                        "`search.over.{field}` is a range, but a grid needs lists; give `trials` for a random \
                         search"
                    ));
                }
                Over::Range(Range::Uniform([low, high]) | Range::Log([low, high]))
                    if low >= high =>
                {
                    return Err(format!("`search.over.{field}`: {low} is not less than {high}"));
                }
                Over::Range(Range::Log([low, _])) if *low <= 0.0 => {
                    return Err(format!(
                        "`search.over.{field}`: a logarithmic range needs numbers greater than 0"
                    ));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// All combinations of the lists.
    fn grid(&self) -> Vec<Levels> {
        let mut grid: Vec<Levels> = vec![Vec::new()];
        for (field, over) in &self.over {
            let Over::Choice(values) = over else { continue };
            grid = grid
                .iter()
                .flat_map(|levels| {
                    values.iter().map(|value| {
                        let mut levels = levels.clone();
                        levels.push((field.clone(), value.clone()));
                        levels
                    })
                })
                .collect();
        }
        grid
    }

    /// The number of different settings, where it is finite.
    fn n_settings(&self) -> usize {
        let of = |over: &Over| match over {
            Over::Choice(values) => values.len(),
            Over::Range(_) => usize::MAX,
        };
        self.over.values().map(of).fold(1, usize::saturating_mul)
    }

    /// Random settings, one after the other.
    fn draws(&self) -> impl Iterator<Item = Levels> + '_ {
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        let mut draw = move |over: &Over| match over {
            Over::Choice(values) => values[random.random_range(0..values.len())].clone(),
            Over::Range(Range::Uniform([low, high])) => short(random.random_range(*low..*high)),
            Over::Range(Range::Log([low, high])) => {
                short(random.random_range(low.ln()..high.ln()).exp())
            }
        };
        std::iter::repeat_with(move || {
            self.over.iter().map(|(field, over)| (field.clone(), draw(over))).collect()
        })
    }
}

impl SearchSpec {
    /// The different settings to try, where they can be told apart as they are written.
    pub(super) fn levels(&self) -> Vec<Levels> {
        let Some(trials) = self.trials else { return self.grid() };
        let mut levels: Vec<Levels> = Vec::new();
        for drawn in self.draws().take(most_draws(trials)) {
            if !levels.contains(&drawn) {
                levels.push(drawn);
            }
            if levels.len() == trials.min(self.n_settings()) {
                break;
            }
        }
        levels
    }
}

/// How many draws a search of so many trials takes before it ends with fewer: settings that differ as they are written
/// may be the same to the model.
fn most_draws(trials: usize) -> usize {
    1000 + 20 * trials
}

/// Three digits are as good as sixteen, and can be read.
fn short(value: f64) -> serde_yaml::Value {
    format!("{value:.2e}").parse::<f64>().unwrap_or(value).into()
}

/// A search with the model of every trial.
#[derive(Clone, Debug, Serialize)]
pub struct Search {
    /// With the names that settings have in keys of steps.
    pub spec: SearchSpec,
    /// What was asked for in each trial, as text, with the same names.
    pub labels: Vec<String>,
    /// All are the same model, with the same texts; there is at least one.
    pub candidates: Vec<ModelSpec>,
    /// The labels with the names of files.
    #[serde(skip)]
    pub shown: Vec<String>,
    /// What has to be said of the trials.
    #[serde(skip)]
    pub note: Option<String>,
}

/// The result of a trial.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchTrial {
    pub settings: String,
    /// The metric on the validation part; none if fitting failed.
    pub value: Option<f64>,
    /// Why fitting failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
    /// Epochs after which the model was what was measured, where the settings alone do not say it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<usize>,
    /// The learning rate of each of them, where it changed on the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rates: Option<Vec<f64>>,
    pub chosen: bool,
}

/// Statistics of a search.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchSummary {
    pub search_trials: usize,
    pub search_best: SearchBest,
}

/// The settings that a search chose, and their metric on the validation part.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SearchBest {
    pub settings: String,
    pub validation: f64,
}

impl SearchSummary {
    /// Of trials one of which is chosen.
    pub fn of(trials: &[SearchTrial]) -> Result<Self, ModelError> {
        let best = &trials[chosen_of(trials)?];
        let validation = best.value.ok_or_else(|| {
            ModelError::Unsuitable(format!(
                "the trial `{}` is chosen without a value",
                best.settings
            ))
        })?;
        let search_best = SearchBest { settings: best.settings.clone(), validation };
        Ok(Self { search_trials: trials.len(), search_best })
    }
}

/// The file of trials beside the model that was chosen.
pub const TRIALS: &str = "search.json";

struct Searched {
    model: Box<dyn Recommender>,
    trials: Vec<SearchTrial>,
}

impl Search {
    /// A model for every trial of a `search:`.
    pub(super) fn read(
        model: &'static ModelDef,
        parameters: &Node,
        search: &Entry,
    ) -> Result<Self, Diagnostic> {
        let at = &search.value.at;
        let mut spec: SearchSpec = from_node(&search.value)?;
        spec.validate().map_err(|message| Diagnostic::at(at, message))?;
        // In keys, and so that the same settings are drawn under either name.
        let over = std::mem::take(&mut spec.over).into_iter();
        spec.over = over.map(|(field, of)| (model.stored_name(&field).to_owned(), of)).collect();
        let mut of = Self {
            labels: Vec::new(),
            candidates: Vec::new(),
            shown: Vec::new(),
            note: None,
            spec,
        };
        let mut taken: HashMap<String, usize> = HashMap::new();
        let mut take = |of: &mut Self, levels: Levels| -> Result<Option<usize>, Diagnostic> {
            let (label, shown, candidate) = of.read_trial(model, parameters, levels, at)?;
            let json = serde_json::to_string(&candidate).unwrap_or_default();
            if let Some(known) = taken.get(&json) {
                return Ok(Some(*known));
            }
            taken.insert(json, of.labels.len());
            of.labels.push(label);
            of.shown.push(shown);
            of.candidates.push(candidate);
            Ok(None)
        };
        match of.spec.trials {
            None => {
                for levels in of.spec.grid() {
                    let text = of.shown_levels(model, &levels);
                    if let Some(known) = take(&mut of, levels)? {
                        return Err(Diagnostic::at(
                            at,
                            format!(
                                "two trials of the search are the same setting: {} and {text}",
                                of.shown[known]
                            ),
                        )
                        .expected("each value of a field once"));
                    }
                }
            }
            Some(trials) => {
                let wanted = trials.min(of.spec.n_settings());
                let spec = of.spec.clone();
                for levels in spec.draws().take(most_draws(trials)) {
                    if of.labels.len() == wanted {
                        break;
                    }
                    take(&mut of, levels)?;
                }
                let found = of.labels.len();
                of.note = (found < trials).then(|| {
                    let different = if found == 1 { "is 1 setting" } else { "are only" };
                    let many = if found == 1 { String::new() } else { format!(" {found} settings") };
                    format!(
                        "{}:{}: the search has {trials} trials, but there {different}{many} to try: each is tried once",
                        at.file.name(),
                        at.line
                    )
                });
            }
        }
        let candidates = &of.candidates;
        // Whether texts are trained makes no other texts.
        let texts = |model: &ModelSpec| {
            let text = model.text().map(|text| (text.profiles.clone(), text.encoder.clone()));
            (text, model.reviews().cloned())
        };
        if candidates.iter().any(|candidate| texts(candidate) != texts(&candidates[0])) {
            return Err(Diagnostic::at(at, "a search cannot try several texts")
                .help("make them separate systems: `text: {profiles: {sweep: [a, b]}}`"));
        }
        Ok(of)
    }

    /// Label (with the names of keys and of files) and model of a trial.
    fn read_trial(
        &self,
        model: &'static ModelDef,
        parameters: &Node,
        levels: Levels,
        at: &Position,
    ) -> Result<(String, String, ModelSpec), Diagnostic> {
        let mut node = parameters.clone();
        let mut label = Vec::new();
        let shown = self.shown_levels(model, &levels);
        for (field, value) in levels {
            label.push(format!("{field}={}", text_of_value(&value)));
            let path: Vec<&str> = model.file_name(&field).split('.').collect();
            node.put(&path, Node::of_yaml(&value, at), at)?;
        }
        let candidate = model
            .read(&node)
            .map_err(|error| error.or_at(at).help(format!("in the trial {shown}")))?;
        Ok((label.join(", "), shown, candidate))
    }

    /// `factors=64, training.learning_rate=0.01`
    fn shown_levels(&self, model: &ModelDef, levels: &Levels) -> String {
        let shown = levels.iter().map(|(field, value)| {
            format!("{}={}", model.file_name(field), text_of_value(value).replace('\n', " "))
        });
        shown.collect::<Vec<_>>().join(", ")
    }

    /// Any of the models, for properties that all share.
    pub(super) fn first(&self) -> &ModelSpec {
        // invariant: a validated search has a trial
        &self.candidates[0]
    }

    /// Fits every candidate on a part of the training ratings and measures it on the rest. The best
    /// one is marked.
    pub fn search(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Vec<SearchTrial>, ModelError> {
        self.search_in(&self.cut(data)?, context)
    }

    /// The same, where the part that settings are measured on is the data's validation part already.
    pub fn search_in(
        &self,
        part: &TrainingData,
        context: &FitContext,
    ) -> Result<Vec<SearchTrial>, ModelError> {
        let kept = context.scratch.map(|dir| dir.join(TRIALS));
        let mut trials: Vec<SearchTrial> = match kept.as_deref().map(|path| self.remembered(path)) {
            None => Vec::new(),
            Some(Ok(trials)) => trials,
            Some(Err(problem)) => {
                (context.log)(&format!("warning: {TRIALS}: {problem}; the search starts again"));
                Vec::new()
            }
        };
        for at in trials.len()..self.candidates.len() {
            context.interrupt.check()?;
            (context.progress)(at as u64, self.candidates.len() as u64);
            let trial = self.trial(at, part, context)?;
            (context.log)(&format!("trial {}: {} gives {:?}", at + 1, trial.settings, trial.value));
            trials.push(trial);
            if let Some(path) = &kept {
                let text = text_of(&trials)
                    .map_err(|source| ModelError::Io { path: path.clone(), source })?;
                write_memory(path, text.as_bytes()).map_err(|problem| ModelError::Io {
                    path: path.clone(),
                    source: problem.into_io(),
                })?;
            }
        }
        choose(&mut trials)?;
        Ok(trials)
    }

    /// Fits the settings that a search chose, on all of the training part, for as many epochs as
    /// were best and with the learning rates of the trial.
    pub fn fit_chosen(
        &self,
        trials: Vec<SearchTrial>,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let best = chosen_of(&trials)?;
        (context.log)(&format!("fits {} on the whole training part", trials[best].settings));
        let model = self.chosen(best, &trials)?.fit(data, context)?;
        Ok(Box::new(Searched { model, trials }))
    }

    pub(super) fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let trials = read_trials(dir)?;
        self.chosen(chosen_of(&trials)?, &trials)?.load(dir, data, context)
    }

    /// The settings of a trial, to be trained as they were in it.
    fn chosen(&self, best: usize, trials: &[SearchTrial]) -> Result<ModelSpec, ModelError> {
        let (spec, trial) = (&self.candidates[best], &trials[best]);
        let changes = spec.training().is_some_and(|of| of.schedule != Schedule::Constant);
        let Some(epochs) = trial.epochs else { return Ok(spec.clone()) };
        if changes && trial.rates.as_ref().is_none_or(|rates| rates.len() < epochs) {
            return Err(ModelError::Unsuitable(format!(
                "the trial `{}` in {TRIALS} lacks the learning rates of its {epochs} epochs\n  = help: \
                 remove the directory of the search's step and run again",
                trial.settings
            )));
        }
        Ok(spec.following(epochs, trial.rates.clone()))
    }

    /// The training part without a share of it, which becomes the validation part.
    fn cut(&self, data: &TrainingData) -> Result<TrainingData, ModelError> {
        let rows: Vec<Interaction> = data.ratings.iter().collect();
        let SearchSpec { cut, validation, seed, .. } = self.spec;
        if !cut.is_random() && !data.scale().timed {
            return Err(ModelError::Unsuitable(
                "`search.by: time` needs ratings with different times, but these have none\n  = help: use \
                 `by: random`"
                    .into(),
            ));
        }
        let (kept, held) = cut_rows(&rows, cut, validation, seed);
        let matrix = |rows: &[Interaction]| {
            Interactions::new(data.ratings.n_users(), data.ratings.n_items(), rows)
        };
        let ratings = matrix(&kept);
        let positives = ratings.filter(|row| data.relevant.accepts(row.rating));
        if held.is_empty() || positives.is_empty() {
            return Err(ModelError::Unsuitable(
                "the training part is too small for a validation part".into(),
            ));
        }
        let disliked =
            data.disliked.as_ref().map(|of| ratings.filter(|row| of.contains(row.user, row.item)));
        Ok(TrainingData {
            ratings,
            positives,
            disliked,
            validation: matrix(&held),
            relevant: data.relevant,
        })
    }

    /// The trials that an earlier process did of this search.
    fn remembered(&self, path: &Path) -> Result<Vec<SearchTrial>, String> {
        let Some(content) = read_memory(path)? else { return Ok(Vec::new()) };
        let trials: Vec<SearchTrial> =
            serde_json::from_slice(&content).map_err(|error| error.to_string())?;
        let fits = trials.len() <= self.shown.len()
            && trials.iter().zip(&self.shown).all(|(trial, label)| trial.settings == *label);
        match fits {
            true => Ok(trials),
            false => Err("it is of another search".into()),
        }
    }

    fn trial(
        &self,
        at: usize,
        part: &TrainingData,
        context: &FitContext,
    ) -> Result<SearchTrial, ModelError> {
        let scratch = context.scratch.map(|dir| dir.join(format!("trial-{at}")));
        // Not the trial's seed: the search is the same for every seed that is fitted afterwards.
        let of_trial = FitContext {
            seed: self.spec.seed,
            scratch: scratch.as_deref(),
            progress: &|_, _| {},
            history: self.candidates[at].history(),
            ..*context
        };
        let mut trial = SearchTrial {
            settings: self.shown[at].clone(),
            value: None,
            failed: None,
            epochs: None,
            rates: None,
            chosen: false,
        };
        match self.candidates[at].fit(part, &of_trial) {
            Ok(model) => {
                let (metric, k) = (self.spec.metric, self.spec.k);
                trial.value = Some(validation(&*model, part, metric, k, &of_trial)?);
                let training = self.candidates[at].training();
                if let Some(training) = training.filter(|of| of.depends_on_measurements())
                    && let Some(path) = model.training_path()
                {
                    trial.epochs = Some(path.epochs);
                    trial.rates = (training.schedule != Schedule::Constant).then_some(path.rates);
                }
            }
            // A trial that diverges is a result of the search.
            Err(ModelError::Diverged(why)) => trial.failed = Some(why),
            Err(error) => return Err(error),
        }
        if let Some(scratch) = scratch {
            let _ = fs::remove_dir_all(scratch);
        }
        Ok(trial)
    }
}

impl Search {
    /// What the chosen model goes by; `dir` is that of the fit.
    pub fn history(&self, dir: &Path) -> Result<History, ModelError> {
        Ok(self.candidates[chosen_of(&read_trials(dir)?)?].history())
    }
}

/// A value as it is written in a label.
fn text_of_value(value: &serde_yaml::Value) -> String {
    serde_yaml::to_string(value).unwrap_or_default().trim().to_owned()
}

/// Marks the trial with the highest value; of equal ones the first.
pub(super) fn choose(trials: &mut [SearchTrial]) -> Result<(), ModelError> {
    let best = trials.iter().enumerate().filter_map(|(at, trial)| Some((at, trial.value?))).fold(
        None,
        |best: Option<(usize, f64)>, (at, value)| match best {
            Some((_, highest)) if highest >= value => best,
            _ => Some((at, value)),
        },
    );
    let Some((best, _)) = best else {
        let why = trials.iter().find_map(|trial| trial.failed.clone()).unwrap_or_default();
        return Err(ModelError::Unsuitable(format!(
            "no trial of the search could be fitted: {why}"
        )));
    };
    trials[best].chosen = true;
    Ok(())
}

/// The trial that was chosen.
pub(super) fn chosen_of(trials: &[SearchTrial]) -> Result<usize, ModelError> {
    let chosen = trials.iter().position(|trial| trial.chosen);
    chosen.ok_or_else(|| ModelError::Unsuitable(format!("no trial in {TRIALS} is chosen")))
}

/// Reads what [`write_trials`] wrote into `dir`.
pub fn read_trials(dir: &Path) -> Result<Vec<SearchTrial>, ModelError> {
    let path = dir.join(TRIALS);
    let text = fs::read_to_string(&path)
        .map_err(|source| ModelError::Io { path: path.clone(), source })?;
    serde_json::from_str(&text)
        .map_err(|error| ModelError::Malformed { path, problem: error.to_string() })
}

/// Writes the results of all trials.
pub fn write_trials(path: &Path, trials: &[SearchTrial]) -> Result<(), ModelError> {
    let error = |source| ModelError::Io { path: path.to_owned(), source };
    let text = text_of(trials).map_err(error)?;
    write_whole(path, text.as_bytes()).map_err(|problem| error(problem.into_io()))
}

fn text_of(trials: &[SearchTrial]) -> std::io::Result<String> {
    let lines: Result<Vec<String>, _> = trials.iter().map(serde_json::to_string).collect();
    Ok(format!("[\n{}\n]\n", lines?.join(",\n")))
}

impl Scorer for Searched {
    fn n_items(&self) -> usize {
        self.model.n_items()
    }

    fn score(&self, users: &[UserIx], scores: &mut [f32]) {
        self.model.score(users, scores);
    }
}

impl Recommender for Searched {
    fn has_vector(&self, user: UserIx) -> bool {
        self.model.has_vector(user)
    }

    /// The chosen model's files, and how every trial went.
    fn save(&self, dir: &Path) -> Result<(), ModelError> {
        self.model.save(dir)?;
        write_trials(&dir.join(TRIALS), &self.trials)
    }

    fn stats(&self) -> ModelStats {
        self.model.stats()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::yaml::diagnostic::SourceFile;

    fn spec(yaml: &str) -> SearchSpec {
        serde_yaml::from_str(yaml).unwrap()
    }

    #[test]
    fn a_grid_is_every_combination_and_random_settings_are_reproducible() {
        let grid = spec("over: {layers: [1, 2], factors: [16, 32, 64]}");
        assert!(grid.validate().is_ok());
        assert_eq!((grid.grid().len(), grid.n_settings()), (6, 6));
        let random = spec("{trials: 20, over: {rate: {log: [0.001, 0.1]}, layers: [1, 2, 3]}}");
        assert!(random.validate().is_ok());
        let draws = || -> Vec<Levels> { random.draws().take(20).collect() };
        let levels = draws();
        assert_eq!(levels, draws());
        let rates: Vec<f64> = levels.iter().map(|levels| levels[1].1.as_f64().unwrap()).collect();
        assert!(rates.iter().all(|rate| (0.001..0.1).contains(rate)), "{rates:?}");
        assert!(rates.iter().any(|rate| *rate < 0.01) && rates.iter().any(|rate| *rate > 0.01));
        assert!(spec("over: {rate: {log: [0.001, 0.1]}}").validate().is_err());
        assert!(spec("{trials: 3, over: {rate: {log: [0.1, 0.001]}}}").validate().is_err());
    }

    fn read(parameters: &str, search: &str) -> Result<Search, Diagnostic> {
        let text = format!("parameters: {parameters}\nsearch: {search}\n");
        let file = SourceFile { path: "e.yaml".into(), text };
        let root = Node::parse(&Arc::new(file))?;
        let of = |key: &str| root.mapping("it").unwrap().get(key).unwrap().clone();
        let model = ModelDef::find("als").unwrap();
        Search::read(model, &of("parameters").value, &of("search"))
    }

    #[test]
    fn the_same_setting_is_tried_once() {
        let nine = read("{}", "{trials: 9, over: {alpha: [1, 2]}}").unwrap();
        let note = "e.yaml:2: the search has 9 trials, but there are only 2 settings to try: each is tried once";
        assert_eq!((nine.shown.len(), nine.note.as_deref()), (2, Some(note)));
        let all = read("{}", "{trials: 6, over: {alpha: [1, 2, 3], cg_steps: [1, 2]}}").unwrap();
        assert_eq!((all.candidates.len(), all.note), (6, None));
        // The same numbers in other words.
        let same = read("{}", "{trials: 4, over: {alpha: [1, 1.0, 2]}}").unwrap();
        assert_eq!(same.candidates.len(), 2);
        for search in ["{over: {alpha: [1, 2, 1]}}", "{over: {alpha: [1, 1.0]}}"] {
            let error = read("{}", search).unwrap_err();
            assert!(error.message.contains("the same setting: alpha=1"), "{error}");
        }
        // A range that rounds to one number ends, too.
        let one = read("{}", "{trials: 3, over: {alpha: {uniform: [1.0001, 1.0002]}}}").unwrap();
        assert!(
            one.candidates.len() == 1 && one.note.unwrap().contains("there is 1 setting to try")
        );
    }

    #[test]
    fn keys_have_the_old_names_of_settings_and_messages_the_new_ones() {
        let search = read("{}", "{over: {training.epochs: [3], factors: [8]}}").unwrap();
        assert_eq!(search.labels, ["factors=8, iterations=3"]);
        assert_eq!(search.shown, ["factors=8, training.epochs=3"]);
        let json = serde_json::to_value(&search).unwrap();
        assert_eq!(json["spec"]["over"]["iterations"], serde_json::json!([3]));
        assert_eq!(json["candidates"][0]["iterations"], 3);
    }
}

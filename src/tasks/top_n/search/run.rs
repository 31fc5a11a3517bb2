//! Runs a search: fits every candidate on a part of the training part, and the best one on all of it.

use std::{fs, path::Path};

use super::{
    Search, SearchSpec, SearchTrial, TRIALS, choose, chosen_of, read_trials, trials::text_of,
    write_trials,
};
use crate::{
    base::files::{read_memory, write_memory},
    data::{Interaction, Interactions, TrainingData, UserIx, cut::cut_rows},
    ranking::Scorer,
    tasks::top_n::{
        History,
        models::{FitContext, ModelError, ModelSpec, ModelStats, Recommender},
        networks::Schedule,
        validation,
    },
};

struct Searched {
    model: Box<dyn Recommender>,
    trials: Vec<SearchTrial>,
}

impl Search {
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

    pub(in crate::tasks::top_n) fn load(
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

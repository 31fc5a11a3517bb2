//! Steps about texts: profiles, their vectors, and features made of them.

use std::path::Path;

use serde_json::{Value, json};

use super::{
    StepError,
    steps::{Shared, Voice},
};
use crate::{
    base::files::{read_json, write_json},
    data::Interactions,
    nn::{Encoder, EncoderSpec},
    tasks::{
        Setting,
        top_n::{
            models::ModelSpec,
            plan::{Step, StepKind, TextStep},
        },
    },
    text::{
        Embeddings, Features, ItemFacts, Made, Profiles, ProfilesSpec, UserProfiles, Writing,
        profiles_of_items, profiles_of_users,
    },
};

/// What is known of the items, beside their profiles.
pub(super) const FACTS: &str = "facts.json";

/// Keys of the answers of language models that a step used.
pub const ANSWERS: &str = "answers.json";

impl Shared<'_> {
    /// Profiles of items, or of the users of a fold.
    pub(super) fn profiles(
        &self,
        step: &Step,
        dir: &Path,
        voice: &Voice,
    ) -> Result<Value, StepError> {
        let setting = &self.experiment.settings[step.setting];
        let (of, spec) = text_of(step, setting)?;
        let writing = Writing {
            dirs: self.dirs,
            interrupt: self.interrupt,
            progress: voice.progress,
            log: voice.log,
            judges: &setting.judges,
            llm: &|| self.llm(),
        };
        if !of.users {
            let data = self.dataset(step, voice)?;
            let (made, items) = profiles_of_items(
                &spec.items,
                &setting.metadata,
                &data.catalogue,
                &data.items,
                &writing,
            )?;
            write_json(&dir.join(FACTS), &items)?;
            return written(made, "items", dir, data.items.names());
        }
        let training = self.training(step)?;
        let data = training.training_data(setting.data.relevant, setting.data.disliked);
        let items = &self.plan.steps[step.inputs[1]];
        let items = self.workspace.step_dir(items.kind.name(), &items.key);
        let facts: Vec<ItemFacts> = read_json(&items.join(FACTS))?;
        let known = Profiles::read(&items)?;
        let made =
            profiles_of_users(&spec.users, &training.users, &data, &facts, &known, &writing)?;
        written(made, "users", dir, training.users.names())
    }

    /// Vectors of profiles.
    pub(super) fn embeddings(
        &self,
        step: &Step,
        dir: &Path,
        voice: &Voice,
    ) -> Result<Value, StepError> {
        let from = &self.plan.steps[step.inputs[0]];
        let profiles = Profiles::read(&self.workspace.step_dir(from.kind.name(), &from.key))?;
        let spec: EncoderSpec =
            step.text.as_ref().and_then(|text| text.encoder.clone()).unwrap_or_default();
        (voice.log)("reading the encoder");
        let encoder = Encoder::read(&spec, self.dirs)?;
        let texts: Vec<&str> = profiles.texts.iter().flatten().map(String::as_str).collect();
        let started = std::time::Instant::now();
        let (rows, cut) = encoder.encode(&texts, self.interrupt, voice.progress)?;
        let seconds = started.elapsed().as_secs_f64();
        (voice.log)(&format!("{} texts in {seconds:.3} s, {cut} of them cut off", texts.len()));
        let dim = encoder.dim();
        let mut vectors = vec![0.0; profiles.texts.len() * dim];
        let mut rows = rows.chunks_exact(dim);
        for (to, text) in vectors.chunks_exact_mut(dim).zip(&profiles.texts) {
            if text.is_some()
                && let Some(row) = rows.next()
            {
                to.copy_from_slice(row);
            }
        }
        let present = profiles.texts.iter().map(Option::is_some).collect();
        Embeddings { dim, vectors, present }.save(dir)?;
        Ok(json!({"texts": texts.len(), "cut_off": cut, "encode_seconds": seconds}))
    }

    /// What a fit step's model takes from texts.
    pub(super) fn features(
        &self,
        step: &Step,
        positives: &Interactions,
    ) -> Result<Option<Features>, StepError> {
        let vectors: Vec<&Step> = step
            .inputs
            .iter()
            .map(|input| &self.plan.steps[*input])
            .filter(|input| input.kind == StepKind::Embeddings)
            .collect();
        let [items, users] = vectors[..] else { return Ok(None) };
        let read =
            |step: &Step| Embeddings::read(&self.workspace.step_dir(step.kind.name(), &step.key));
        Ok(Some(Features::new(read(items)?, read(users)?, positives)))
    }

    /// What to say of a trial whose user profiles were written from ratings that its fold tests.
    pub(super) fn leak(&self, step: &Step) -> Option<String> {
        let setting = &self.experiment.settings[step.setting];
        let text = setting.systems[step.system?].model.text()?;
        let (_, spec) = setting.profiles.iter().find(|(name, _)| *name == text.profiles)?;
        let UserProfiles::File(users) = &spec.users else { return None };
        let leaks = users.built_from != step.fold && users.built_from != "no-ratings";
        leaks.then(|| {
            format!(
                "test data leaks: the profiles `{}` of users were written from the training part of {}, \
                 which holds ratings that {} tests",
                text.profiles, users.built_from, step.fold
            )
        })
    }

    /// What to say of a trial whose validation part its model could know of.
    pub(super) fn of_validation(&self, step: &Step) -> Vec<String> {
        let setting = &self.experiment.settings[step.setting];
        let Some(system) = step.system else { return Vec::new() };
        let model = &setting.systems[system].model;
        let search = match model {
            ModelSpec::Search(search) => Some(&search.spec),
            _ => None,
        };
        let cut = match (search, model.training().and_then(|training| training.validate)) {
            (Some(search), _) => search.cut,
            (None, Some(_)) => setting.split.cut(setting.split.validation.and_then(|of| of.by)),
            (None, None) => return Vec::new(),
        };
        let what =
            if search.is_some() { "settings are chosen" } else { "the best epoch is chosen" };
        let mut warnings = Vec::new();
        if setting.split.is_by_time() && cut.is_random() {
            warnings.push(format!(
                "{what} on random ratings of a training part that is split by time (`by: random`): the model \
                 knows later ones"
            ));
        }
        let profiles = model.text().and_then(|text| {
            let (name, spec) = setting.profiles.iter().find(|(name, _)| *name == text.profiles)?;
            match &spec.users {
                UserProfiles::File(users) if users.built_from != "no-ratings" => {
                    Some((name, &users.built_from))
                }
                _ => None,
            }
        });
        if let Some((name, from)) = profiles {
            warnings.push(format!(
                "{what} on ratings that the profiles `{name}` of users hold: they were written from the \
                 training part of {from}, and profiles from a file cannot be rebuilt without these ratings"
            ));
        }
        warnings
    }
}

fn text_of<'a>(
    step: &'a Step,
    setting: &'a Setting,
) -> Result<(&'a TextStep, &'a ProfilesSpec), StepError> {
    // invariant: a step about texts says which, and the experiment was checked to have them
    let of = step.text.as_ref().ok_or_else(|| StepError::Panic("a step without texts".into()))?;
    let found = setting.profiles.iter().find(|(name, _)| *name == of.profiles);
    match found {
        Some((_, spec)) => Ok((of, spec)),
        None => Err(StepError::Panic(format!("no profiles `{}`", of.profiles))),
    }
}

/// Writes profiles and the keys of the answers they were made of; returns what is recorded.
fn written(made: Made, of: &str, dir: &Path, names: &[String]) -> Result<Value, StepError> {
    made.profiles.write(dir, names)?;
    if !made.answers.is_empty() {
        let mut keys = made.answers;
        keys.sort();
        keys.dedup();
        write_json(&dir.join(ANSWERS), &keys)?;
    }
    let mut facts = json!({"from": made.profiles.counts()});
    facts[of] = json!(made.profiles.texts.len());
    if let (Value::Object(facts), Value::Object(counted)) = (&mut facts, made.counted) {
        facts.extend(counted);
    }
    Ok(facts)
}

//! The steps that make texts and their vectors.

use serde_json::{Value, json};

use super::{Plan, Step, StepKind};
use crate::{
    base::hash::Digest,
    data::{DataDirs, DataError},
    nn::{EncoderSpec, weights_digest},
    tasks::Setting,
    text::{ItemProfiles, TextSpec, UserProfiles},
};

/// Raised when the code comes to mean something else.
const PROFILES_REVISION: u32 = 2;
const EMBEDDINGS_REVISION: u32 = 2;

/// What a step about texts is about.
#[derive(Clone, Debug, PartialEq)]
pub struct TextStep {
    /// The profiles' name in the experiment.
    pub profiles: String,
    /// Of users, or of items.
    pub users: bool,
    /// Of steps that make vectors.
    pub encoder: Option<EncoderSpec>,
}

/// Indices of the steps a trial's texts go through.
#[derive(Clone, Copy)]
pub(super) struct TextSteps {
    pub items: usize,
    pub users: usize,
    /// Those of their vectors, items before users, where vectors are wanted.
    pub vectors: Option<[usize; 2]>,
}

impl TextSteps {
    pub fn all(&self) -> impl Iterator<Item = usize> {
        [self.items, self.users].into_iter().chain(self.vectors.into_iter().flatten())
    }
}

impl Plan {
    /// Adds the steps for the texts of one system on one fold, whose split is at `split`, and for their
    /// vectors.
    pub(super) fn text(
        &mut self,
        setting: (usize, &Setting),
        split: usize,
        spec: &TextSpec,
        system: &str,
        dirs: &DataDirs,
    ) -> Result<TextSteps, DataError> {
        let texts = self.profiles(setting, split, spec, system, dirs)?;
        let weights = weights_digest(&spec.encoder, dirs)?;
        let vectors = [(texts.items, false), (texts.users, true)].map(|(of, users)| {
            let of_profiles = self.steps[of].clone();
            let material = json!({
                "revision": EMBEDDINGS_REVISION,
                "encoder": spec.encoder,
                "weights": weights,
                "profiles": of_profiles.key,
            });
            self.step(Step {
                kind: StepKind::Embeddings,
                inputs: vec![of],
                material,
                text: Some(TextStep {
                    profiles: spec.profiles.clone(),
                    users,
                    encoder: Some(spec.encoder.clone()),
                }),
                setting: setting.0,
                ..of_profiles
            })
        });
        Ok(TextSteps { vectors: Some(vectors), ..texts })
    }

    /// Adds the steps that make profiles alone.
    pub(super) fn profiles(
        &mut self,
        setting: (usize, &Setting),
        split: usize,
        spec: &TextSpec,
        system: &str,
        dirs: &DataDirs,
    ) -> Result<TextSteps, DataError> {
        let (setting_at, setting) = setting;
        // invariant: the experiment was checked to have profiles of this name
        let Some((_, profiles)) = setting.profiles.iter().find(|(name, _)| *name == spec.profiles)
        else {
            return Err(DataError::Split(format!("no profiles `{}`", spec.profiles)));
        };
        let fold = self.steps[split].fold.clone();
        let name = format!("{}{}", spec.profiles, setting.label);
        let template = Step {
            kind: StepKind::Profiles,
            key: Digest::of(""),
            label: format!("{name} items"),
            inputs: vec![],
            material: Value::Null,
            setting: setting_at,
            fold: String::new(),
            system: None,
            text: Some(TextStep { profiles: spec.profiles.clone(), users: false, encoder: None }),
            seed: 0,
            trials: vec![],
        };
        let mut material = json!({
            "revision": PROFILES_REVISION,
            "data": self.data[setting_at],
            "items": profiles.items,
            "metadata": setting.metadata.material(dirs)?,
        });
        match &profiles.items {
            ItemProfiles::Llm(write) => {
                material["prompt"] = json!(write.digest(dirs)?);
                material["judge"] = setting.judge(&write.judge).material();
            }
            ItemProfiles::File(file) => {
                material["file"] = json!(digest_of(&file.locate(dirs)?)?);
            }
            ItemProfiles::Metadata | ItemProfiles::Template => {}
        }
        let items = self.step(Step { material, ..template.clone() });
        let mut material = json!({
            "revision": PROFILES_REVISION,
            "users": profiles.users,
            "relevant": setting.data.relevant,
            "disliked": setting.data.disliked,
            "split": self.steps[split].key,
            "items": self.steps[items].key,
        });
        match &profiles.users {
            UserProfiles::Llm(write) => {
                material["prompt"] = json!(write.digest(dirs)?);
                material["judge"] = setting.judge(&write.judge).material();
            }
            UserProfiles::File(users) => {
                let from = &users.built_from;
                if *from != fold && from != "no-ratings" && !users.accept_leak {
                    return Err(DataError::Split(format!(
                        "the system `{system}` leaks in the fold `{fold}`: the profiles `{}` of users were \
                         written from the training part of `{from}`, which holds ratings that `{fold}` \
                         tests\n  = help: run `{from}` alone (`split: {{…, only: [{from}]}}`), take user \
                         profiles from `template`, `metadata` or `mean`, or say `accept_leak: true`: \
                         results are then marked",
                        spec.profiles,
                    )));
                }
                material["file"] = json!(digest_of(&users.file.locate(dirs)?)?);
            }
            UserProfiles::Metadata | UserProfiles::Template | UserProfiles::Mean => {}
        }
        let users = self.step(Step {
            // A search has texts of its own.
            label: match self.steps[split].inputs.is_empty() {
                true => format!("{name} users {fold}"),
                false => format!("{name} users {fold} search"),
            },
            inputs: vec![split, items],
            material,
            fold: fold.clone(),
            text: Some(TextStep { profiles: spec.profiles.clone(), users: true, encoder: None }),
            ..template.clone()
        });
        Ok(TextSteps { items, users, vectors: None })
    }
}

fn digest_of(path: &std::path::Path) -> Result<Digest, DataError> {
    Digest::of_file(path).map_err(|error| DataError::io(path, error))
}

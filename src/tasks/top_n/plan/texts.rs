//! Steps of texts: profiles of items and users, reviews, and their vectors.

use super::{Planner, SystemPlan, pinned};
use crate::{
    base::hash::Digest,
    core::{Handle, Pinned},
    data::DataError,
    nn::weights_digest,
    tasks::top_n::steps::{
        Authors, EmbeddingsStep, ItemProfilesStep, ReviewsStep, UserProfilesStep,
        output::{Profiles, Split, Vectors},
    },
    text::{ItemProfiles, ProfilesSpec, TextSpec, UserProfiles},
};

/// Texts of items and users.
#[derive(Clone, Copy)]
pub(super) struct Texts {
    pub items: Handle<Profiles>,
    pub users: Handle<Profiles>,
}

/// Where the texts of a system come from.
#[derive(Clone)]
pub(super) struct TextPlan<'a> {
    spec: &'a TextSpec,
    profiles: &'a ProfilesSpec,
    items: Authors,
    users: Authors,
    weights: Option<String>,
}

impl<'a> Planner<'a> {
    pub(super) fn text_plan(
        &mut self,
        spec: &'a TextSpec,
        encodes: bool,
    ) -> Result<TextPlan<'a>, DataError> {
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

    /// The steps that make the texts of items, and of the users of a fold.
    pub(super) fn profiles(
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
    pub(super) fn vectors(
        &mut self,
        of: &SystemPlan,
        texts: &TextPlan,
        at: (&str, Handle<Split>),
        is_search: bool,
    ) -> Result<[Handle<Vectors>; 2], DataError> {
        let Texts { items, users } = self.profiles(&of.name, texts, at, is_search)?;
        Ok([items, users].map(|profiles| self.encode(texts, profiles)))
    }

    pub(super) fn encode(
        &mut self,
        texts: &TextPlan,
        profiles: Handle<Profiles>,
    ) -> Handle<Vectors> {
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
    pub(super) fn review_vectors(
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
}

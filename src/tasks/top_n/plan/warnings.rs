//! Warnings of a plan: profiles that contain test ratings, and validation parts that a model could know of.

use crate::{
    tasks::top_n::{System, SystemSpec, Variant},
    text::{TextSpec, UserProfiles},
};

/// What to say of a fit whose user profiles were written from ratings that its fold tests.
pub(super) fn leak(variant: &Variant, text: &TextSpec, fold: &str) -> Option<String> {
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
pub(super) fn warnings(variant: &Variant, system: &System, fold: &str) -> Vec<String> {
    let model = &system.model;
    let leak = model.text().and_then(|text| leak(variant, text, fold));
    leak.into_iter().chain(of_validation(variant, model)).collect()
}

/// What to say of a fit whose validation part its model could know of.
pub(super) fn of_validation(variant: &Variant, model: &SystemSpec) -> Vec<String> {
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

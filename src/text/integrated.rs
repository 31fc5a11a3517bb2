//! Metadata joined into a text, after the "integrated" texts of Ebrat et al. 2025.

use super::{
    metadata::ItemFacts,
    profiles::{Profiles, Source},
    template::UserPreferences,
};

/// Title, genres and overview of each item; none without metadata.
pub(super) fn items(facts: &[ItemFacts]) -> Profiles {
    let text = |fact: &ItemFacts| {
        let lines = [
            ("Title", fact.title.clone().unwrap_or_default()),
            ("Genre", fact.genres.join(", ")),
            ("Overview", fact.overview.clone().unwrap_or_default()),
        ];
        let lines = lines.iter().filter(|(_, value)| !value.is_empty());
        let lines: Vec<String> = lines.map(|(name, value)| format!("{name}: {value}")).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    Profiles::all_from(Source::Metadata, facts.iter().map(text).collect())
}

/// Titles and genres of the items that a user liked and disliked in training, the best (worst) and latest first.
pub(super) fn users(preferences: &[UserPreferences], facts: &[ItemFacts]) -> Profiles {
    let list = |items: &[u32]| {
        let of = |item: &u32| {
            let fact = &facts[*item as usize];
            let title = fact.title.clone()?;
            Some(match fact.genres.is_empty() {
                true => title,
                false => format!("{title} ({})", fact.genres.join(", ")),
            })
        };
        items.iter().filter_map(of).collect::<Vec<_>>().join("; ")
    };
    let text = |preferences: &UserPreferences| {
        let lines =
            [("Liked", list(&preferences.liked)), ("Disliked", list(&preferences.disliked))];
        let lines = lines.iter().filter(|(_, value)| !value.is_empty());
        let lines: Vec<String> = lines.map(|(name, value)| format!("{name}: {value}")).collect();
        (!lines.is_empty()).then(|| lines.join("\n"))
    };
    Profiles::all_from(Source::Metadata, preferences.iter().map(text).collect())
}

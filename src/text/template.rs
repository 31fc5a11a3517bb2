//! Rule-based profiles in the schema: deterministic, free, and the baseline for generated profiles.

use std::collections::{BTreeMap, HashSet};

use super::{
    metadata::ItemFacts,
    profile::Profile,
    profiles::{Profiles, Source},
    reviewed::ItemReviews,
};
use crate::data::{Interactions, TrainingData, UserIx};

/// Items that a user liked and disliked in training, the best (worst) and latest first.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UserPreferences {
    pub liked: Vec<u32>,
    pub disliked: Vec<u32>,
}

/// The preferences of all users, only from training ratings.
pub fn preferences(data: &TrainingData) -> Vec<UserPreferences> {
    let n_users = data.ratings.n_users();
    let sorted = |part: &Interactions, user: u32, best_first: bool| {
        let user = UserIx(user);
        let (ratings, times) = (part.ratings_of(user), part.timestamps_of(user));
        let items = part.items_of(user);
        let mut rows: Vec<usize> = (0..items.len()).collect();
        rows.sort_by(|&a, &b| {
            let order = ratings[b].total_cmp(&ratings[a]);
            let order = if best_first { order } else { order.reverse() };
            order.then(times[b].cmp(&times[a])).then(items[a].cmp(&items[b]))
        });
        rows.into_iter().map(|row| items[row]).collect::<Vec<u32>>()
    };
    (0..n_users as u32)
        .map(|user| UserPreferences {
            liked: sorted(&data.positives, user, true),
            disliked: match &data.disliked {
                Some(disliked) => sorted(disliked, user, false),
                None => Vec::new(),
            },
        })
        .collect()
}

/// Maximum numbers of entries in a profile.
const MAX_GENRES: usize = 8;
const MAX_TAGS: usize = 24;
const MAX_TITLES: usize = 10;

/// Rule-based profiles of items, of metadata and of what users said of them in training.
pub(super) fn items(facts: &[ItemFacts], reviews: Option<&[ItemReviews]>) -> Profiles {
    let of = |(at, fact): (usize, &ItemFacts)| match reviews {
        Some(reviews) => reviewed_item(fact, &reviews[at]),
        None => item(fact),
    };
    let profiles = facts.iter().enumerate().map(of);
    let texts = profiles.map(|profile| profile.map(|profile| profile.markdown())).collect();
    Profiles::all_from(Source::Template, texts)
}

/// The rule-based profile of an item with training ratings and reviews; none where nothing is known.
pub(super) fn reviewed_item(fact: &ItemFacts, reviews: &ItemReviews) -> Option<Profile> {
    let (intrinsic, rated) = (item(fact), reviews.rated());
    if intrinsic.is_none() && rated.is_none() {
        return None;
    }
    let mut profile = intrinsic.unwrap_or_else(|| Profile {
        overview: fact.overview.clone().unwrap_or_default(),
        genres: fact.genres.clone(),
        tags: fact.genres.clone(),
        ..Profile::default()
    });
    let said = (!reviews.reviews.is_empty())
        .then(|| format!("Users say: {}", reviews.reviews.join(" / ")));
    let parts = [Some(profile.description).filter(|of| !of.is_empty()), rated.clone(), said];
    profile.description = parts.into_iter().flatten().collect::<Vec<_>>().join(" ");
    if profile.overview.is_empty() {
        profile.overview = rated.unwrap_or_default();
    }
    Some(profile)
}

/// The rule-based profile of an item; none without metadata.
pub(super) fn item(fact: &ItemFacts) -> Option<Profile> {
    let title = fact.title.clone()?;
    let decade = year(&title).map(|year| format!("{}s", year / 10 * 10));
    let kind = fact.genres.join(" and ");
    let kind = if kind.is_empty() { "A".to_owned() } else { kind };
    let description = match &decade {
        Some(decade) => format!("{kind} title of the {decade}."),
        None => format!("{kind} title."),
    };
    Some(Profile {
        overview: fact.overview.clone().unwrap_or_else(|| description.clone()),
        genres: fact.genres.clone(),
        tags: fact.genres.iter().cloned().chain(decade).collect(),
        description,
        dislikes: Vec::new(),
        title: Some(title),
    })
}

/// The year in brackets at the end of a title.
fn year(title: &str) -> Option<u32> {
    let inside = title.trim_end().strip_suffix(')')?;
    let (_, year) = inside.rsplit_once('(')?;
    year.parse().ok().filter(|year| (1870..2200).contains(year))
}

/// Rule-based profiles of users: frequent genres and tags of liked items, and genres that are more frequent in disliked
/// items.
pub(super) fn users(
    preferences: &[UserPreferences],
    facts: &[ItemFacts],
    profiles: &Profiles,
) -> Profiles {
    let known: Vec<Profile> = profiles
        .texts
        .iter()
        .zip(facts)
        .map(|(text, fact)| {
            let written = text.as_deref().and_then(|text| Profile::parse(text).ok());
            written.map(|(profile, _)| profile).or_else(|| item(fact)).unwrap_or_default()
        })
        .collect();
    let texts = preferences
        .iter()
        .map(|preferences| {
            (!preferences.liked.is_empty() || !preferences.disliked.is_empty())
                .then(|| user(preferences, facts, &known).markdown())
        })
        .collect();
    Profiles::all_from(Source::Template, texts)
}

fn user(preferences: &UserPreferences, facts: &[ItemFacts], known: &[Profile]) -> Profile {
    let count = |items: &[u32], of: fn(&Profile) -> &Vec<String>| {
        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        for item in items {
            for name in of(&known[*item as usize]) {
                *counts.entry(name.clone()).or_default() += 1;
            }
        }
        let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        counts
    };
    let names = |counts: &[(String, usize)], most: usize| {
        counts.iter().take(most).map(|(name, _)| name.clone()).collect::<Vec<String>>()
    };
    let liked_genres = count(&preferences.liked, |profile| &profile.genres);
    let genres = names(&liked_genres, MAX_GENRES);
    let tags = names(&count(&preferences.liked, |profile| &profile.tags), MAX_TAGS);
    // A genre is disliked if its share in disliked items is larger than in liked items.
    let share = |count: usize, of: usize| count as f64 / of.max(1) as f64;
    let liked: BTreeMap<&String, usize> =
        liked_genres.iter().map(|(name, count)| (name, *count)).collect();
    let disliked = count(&preferences.disliked, |profile| &profile.genres);
    let dislikes: Vec<String> = disliked
        .iter()
        .filter(|(name, count)| {
            let liked = liked.get(name).copied().unwrap_or(0);
            share(*count, preferences.disliked.len()) > share(liked, preferences.liked.len())
        })
        .take(MAX_GENRES)
        .map(|(name, _)| name.clone())
        .collect();
    let mut titles = HashSet::new();
    let favourites: Vec<String> = preferences
        .liked
        .iter()
        .filter_map(|item| facts[*item as usize].title.clone())
        .filter(|title| titles.insert(title.clone()))
        .take(MAX_TITLES)
        .collect();
    let enjoys = if genres.is_empty() { "a variety of titles".into() } else { genres.join(", ") };
    let overview = match dislikes.is_empty() {
        true => format!("This user enjoys {enjoys}."),
        false => format!("This user enjoys {enjoys}, and avoids {}.", dislikes.join(", ")),
    };
    Profile {
        title: None,
        overview,
        genres,
        tags,
        description: match favourites.is_empty() {
            true => "Nothing is known of what the user likes best.".into(),
            false => format!("Favourites are {}.", favourites.join("; ")),
        },
        dislikes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fact(title: &str, genres: &[&str]) -> ItemFacts {
        ItemFacts {
            title: Some(title.into()),
            genres: genres.iter().map(|g| (*g).to_owned()).collect(),
            overview: None,
        }
    }

    #[test]
    fn training_ratings_and_reviews_are_the_extrinsic_part_of_a_profile() {
        let said = ItemReviews {
            ratings: 2,
            mean: Some((4.5, 5.0)),
            reviews: vec!["Loud.".into(), "Works".into()],
        };
        let nothing = ItemReviews::default();
        let known = fact("Heat (1995)", &["Crime"]);
        let reviews = [said.clone(), said, nothing.clone(), nothing];
        let facts = [known.clone(), ItemFacts::default(), known, ItemFacts::default()];
        let profiles = items(&facts, Some(&reviews));
        let text = |at: usize| profiles.texts[at].as_deref().unwrap();
        let said = "Rated by 2 users, 4.5 of 5 on average. Users say: Loud. / Works";
        assert!(text(0).contains(&format!("Crime title of the 1990s. {said}\n")), "{}", text(0));
        assert!(text(1).contains(&format!("## Description\n{said}\n")), "{}", text(1));
        assert_eq!(text(2), items(&facts, None).texts[2].as_deref().unwrap());
        assert_eq!(profiles.texts[3], None);
    }

    #[test]
    fn rule_based_profiles_follow_the_schema() {
        let facts = [fact("Heat (1995)", &["Crime"]), fact("Grease (1978)", &["Musical"])];
        let profiles = items(&facts, None);
        let (profile, repairs) = Profile::parse(profiles.texts[0].as_ref().unwrap()).unwrap();
        assert_eq!((profile.tags, repairs), (vec!["Crime".into(), "1990s".into()], vec![]));
        let preferences =
            [UserPreferences { liked: vec![0], disliked: vec![1] }, UserPreferences::default()];
        let users = users(&preferences, &facts, &profiles);
        assert_eq!(users.sources, [Source::Template, Source::None]);
        let (user, _) = Profile::parse(users.texts[0].as_ref().unwrap()).unwrap();
        assert_eq!((user.genres, user.dislikes), (vec!["Crime".into()], vec!["Musical".into()]));
        assert!(user.description.contains("Heat (1995)"));
    }
}

//! The information about users and items in prompts.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::{
    base::random::mix,
    data::{Ids, Interaction, Interactions, ItemIx, Relevance, Scale, TrainingData, UserIx},
    text::{ItemFacts, Profiles, Source, number},
};

/// Latest ratings that a prompt shows.
const RECENT: usize = 10;

/// The information from which prompts are filled in. None of it comes from the test part.
#[derive(Clone, Copy)]
pub struct JudgeContext<'a> {
    pub users: &'a Ids,
    pub items: &'a Ids,
    pub user_profiles: &'a Profiles,
    pub item_profiles: &'a Profiles,
    pub facts: &'a [ItemFacts],
    pub data: &'a TrainingData,
    /// Seed of the opaque ids of items.
    pub seed: u64,
    pub scale: Scale,
}

impl<'a> JudgeContext<'a> {
    /// An item's title, or its identifier.
    pub fn name(&self, item: u32) -> &'a str {
        self.facts[item as usize].name(self.items.name(item))
    }

    /// The user's profile; empty if there is none.
    pub fn profile(&self, user: UserIx) -> &'a str {
        self.user_profiles.texts[user.at()].as_deref().unwrap_or_default()
    }

    /// The item's profile; empty if there is none.
    pub fn item_profile(&self, item: u32) -> &'a str {
        self.item_profiles.texts[item as usize].as_deref().unwrap_or_default()
    }

    /// The latest training ratings: items with their ratings, the latest first.
    pub fn recent(&self, user: UserIx) -> Vec<(u32, f32)> {
        let ratings = self.data.ratings.ratings_of(user);
        let times = self.data.ratings.timestamps_of(user);
        let rated = self.data.ratings.items_of(user);
        let mut latest: Vec<usize> = (0..rated.len()).collect();
        latest.sort_by(|a, b| times[*b].cmp(&times[*a]).then(rated[*a].cmp(&rated[*b])));
        latest.into_iter().take(RECENT).map(|at| (rated[at], ratings[at])).collect()
    }

    /// An opaque id for each item, always the same for the same user and item.
    pub(super) fn ids(&self, user: UserIx, items: &[u32]) -> Vec<String> {
        let mut used = HashSet::new();
        items
            .iter()
            .map(|item| {
                let first = mix(self.seed ^ mix(u64::from(user.0) << 32 | u64::from(*item)));
                let mut draw = mix(first);
                loop {
                    let id = opaque(draw);
                    if used.insert(id.clone()) {
                        return id;
                    }
                    draw = mix(draw);
                }
            })
            .collect()
    }

    /// The values of a prompt that explains the first `n` of these candidates.
    pub(super) fn values_of_explained(
        &self,
        user: UserIx,
        items: &[u32],
        ids: &[String],
        n: usize,
    ) -> Value {
        let mut values = self.values(user, items, ids);
        values["recommended"] =
            values["candidates"].as_array().map_or(&[][..], |all| &all[..n.min(all.len())]).into();
        values
    }

    /// The values of a prompt about these candidates, under these ids.
    pub(super) fn values(&self, user: UserIx, items: &[u32], ids: &[String]) -> Value {
        let recent: Vec<Value> = self
            .recent(user)
            .into_iter()
            .map(|(item, rating)| json!({"title": self.name(item), "rating": number(rating)}))
            .collect();
        let candidates: Vec<Value> = items
            .iter()
            .zip(ids)
            .map(|(item, id)| {
                let fact = &self.facts[*item as usize];
                json!({
                    "id": id,
                    "title": self.name(*item),
                    "genres": fact.genres,
                    "overview": fact.overview.as_deref().unwrap_or_default(),
                    "profile": self.item_profile(*item),
                })
            })
            .collect();
        let scale = self.scale;
        json!({
            "profile": self.profile(user),
            "recent": recent,
            "rated": scale.worst < scale.best,
            "best": number(scale.best),
            "worst": number(scale.worst),
            "timed": scale.timed,
            "n": candidates.len(),
            "candidates": candidates,
        })
    }
}

/// Sample values for a prompt about `n` candidates (of which the first are `recommended`, if it is a prompt for
/// explanations), to check the prompt before the first request.
pub fn sample_values(n: usize, recommended: Option<usize>) -> Value {
    let count = n.max(RECENT) as u32;
    let items = Ids::new((0..count).map(|id| id.to_string()));
    let users = Ids::new(["0".to_owned()]);
    let fact = ItemFacts {
        title: Some("A title".into()),
        genres: vec!["Drama".into()],
        overview: Some("What it is about.".into()),
    };
    let text = |n: usize| Profiles::all_from(Source::Template, vec![Some("A profile.".into()); n]);
    let rated = (0..RECENT as u32).map(|item| Interaction {
        user: UserIx(0),
        item: ItemIx(item),
        rating: 1.0 + (item % 5) as f32,
        timestamp: i64::from(item).into(),
    });
    let ratings = Interactions::new(1, items.len(), &rated.collect::<Vec<_>>());
    let data = TrainingData {
        positives: ratings.clone(),
        disliked: None,
        validation: Interactions::new(1, items.len(), &[]),
        relevant: Relevance::Any,
        ratings,
    };
    let context = JudgeContext {
        users: &users,
        items: &items,
        user_profiles: &text(1),
        item_profiles: &text(items.len()),
        facts: &vec![fact; items.len()],
        scale: data.scale(),
        data: &data,
        seed: 0,
    };
    let candidates: Vec<u32> = (0..n as u32).collect();
    let ids = context.ids(UserIx(0), &candidates);
    match recommended {
        Some(top) => context.values_of_explained(UserIx(0), &candidates, &ids, top),
        None => context.values(UserIx(0), &candidates, &ids),
    }
}

/// A letter and three letters or digits, without those that are easily confused. Never only digits, which a model would
/// write as a number.
fn opaque(mut draw: u64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::new();
    for of in [24, 32, 32, 32] {
        text.push(char::from(LETTERS[(draw % of) as usize]));
        draw /= of;
    }
    text
}

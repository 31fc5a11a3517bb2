//! Profiles written by a language model.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    ItemFacts, Profile, Profiles, Slip, Source, TextError, Writing, WritingStats,
    prompt::{Prompt, PromptFile, number},
    template,
    template::tastes,
};
use crate::{
    base::hash::Digest,
    data::{DataDirs, DataError, Ids, Scale, TrainingData, UserIx},
    llm::{Answer, Chat, Outcome, Tally},
};

const ITEM_PROMPT: &str = include_str!("../../prompts/item-profile.md");
const USER_PROMPT: &str = include_str!("../../prompts/user-profile.md");

/// Profiles of items, written from title, genres and overview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteItems {
    /// One of the experiment's `endpoints`.
    pub judge: String,
    /// A prompt of one's own in place of assay's (`prompts/item-profile.md`).
    #[serde(default)]
    pub prompt: PromptFile,
}

/// Profiles of users, refined in turns: each turn shows some rated items and the profile so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteUsers {
    /// One of the experiment's `endpoints`.
    pub judge: String,
    /// A prompt of one's own in place of assay's (`prompts/user-profile.md`).
    #[serde(default)]
    pub prompt: PromptFile,
    /// How many of the best rated training items are shown.
    #[serde(default = "ten")]
    pub liked: usize,
    /// How many of the worst rated.
    #[serde(default = "ten")]
    pub disliked: usize,
    /// Items of one turn.
    #[serde(default = "five")]
    #[schemars(range(min = 1))]
    pub batch: usize,
}

fn ten() -> usize {
    10
}

fn five() -> usize {
    5
}

impl WriteItems {
    pub(super) fn read_prompt(&self, dirs: &DataDirs) -> Result<Prompt, DataError> {
        self.prompt.read("prompts/item-profile.md", ITEM_PROMPT, dirs)
    }

    /// The prompt's version.
    pub fn digest(&self, dirs: &DataDirs) -> Result<Digest, DataError> {
        Ok(self.read_prompt(dirs)?.digest())
    }

    /// Whether the prompt can be filled in, tried with an item.
    pub fn check_prompt(&self, dirs: &DataDirs) -> Result<(), DataError> {
        let fact = ItemFacts {
            title: None,
            genres: vec!["Drama".into()],
            overview: Some("What it is about.".into()),
        };
        self.read_prompt(dirs)?.check(&item_values("A title", &fact))
    }
}

/// The values of a prompt about an item.
fn item_values(title: &str, fact: &ItemFacts) -> Value {
    json!({
        "title": title,
        "genres": fact.genres,
        "overview": fact.overview.as_deref().unwrap_or_default(),
    })
}

/// The values of a prompt about a user, in one turn.
fn user_values(
    draft: &Draft,
    (turn, turns): (usize, usize),
    scale: Scale,
    items: Vec<Value>,
) -> Value {
    json!({
        "profile": draft.profile.as_ref().map(Profile::markdown).unwrap_or_default(),
        "turn": turn,
        "turns": turns,
        "rated": scale.worst < scale.best,
        "best": number(scale.best),
        "worst": number(scale.worst),
        "items": items,
        "genres": draft.genres,
        "tags": draft.tags,
    })
}

/// One of its items.
fn shown_item(title: Option<&str>, rating: f32, profile: Option<&str>) -> Value {
    json!({
        "title": title.unwrap_or("untitled"),
        "rating": number(rating),
        "profile": profile.unwrap_or_default(),
    })
}

impl WriteUsers {
    pub(super) fn read_prompt(&self, dirs: &DataDirs) -> Result<Prompt, DataError> {
        self.prompt.read("prompts/user-profile.md", USER_PROMPT, dirs)
    }

    /// The prompt's version.
    pub fn digest(&self, dirs: &DataDirs) -> Result<Digest, DataError> {
        Ok(self.read_prompt(dirs)?.digest())
    }

    /// Whether the prompt can be filled in, tried with a user in the first turn.
    pub fn check_prompt(&self, dirs: &DataDirs) -> Result<(), DataError> {
        let draft =
            Draft { profile: None, genres: vec!["Drama".into()], tags: vec!["Slow".into()] };
        let scale = Scale { worst: 1.0, best: 5.0, timed: true };
        let items = vec![shown_item(Some("A title"), 4.0, Some("A profile.")); self.batch];
        self.read_prompt(dirs)?.check(&user_values(&draft, (1, 2), scale, items))
    }

    pub(super) fn validate(&self) -> Result<(), String> {
        match self.batch {
            0 => Err("`batch` is 0; expected the number of items of one turn".into()),
            _ => Ok(()),
        }
    }
}

impl WritingStats {
    fn note(&mut self, slips: &[Slip]) {
        for slip in slips {
            *self.slips.entry(*slip).or_default() += 1;
        }
    }
}

fn read(answer: &Answer) -> Result<(Profile, Vec<Slip>), String> {
    Profile::parse(&answer.content).map_err(|missing| format!("not a profile: {missing}"))
}

/// Profiles of items; those that cannot be written are made by rule, and stats.
pub(super) fn items(
    write: &WriteItems,
    facts: &[ItemFacts],
    ids: &Ids,
    writing: &Writing,
) -> Result<(Profiles, WritingStats, Tally), TextError> {
    let prompt = write.read_prompt(writing.dirs)?;
    let asker = writing.asker(&write.judge)?;
    let (mut asked, mut chats) = (Vec::new(), Vec::new());
    for (at, fact) in facts.iter().enumerate() {
        let Some(title) = &fact.title else { continue };
        asked.push(at);
        chats.push(Chat {
            messages: prompt.messages(&item_values(title, fact)).map_err(TextError::Unsuitable)?,
            schema: None,
            repeat: 0,
            about: format!("item {}", ids.name(at as u32)),
        });
    }
    let written = asker.all(&chats, writing.progress, &read)?;
    let mut stats = WritingStats::default();
    let mut profiles = Profiles::all_from(Source::None, vec![None; facts.len()]);
    for (at, outcome) in asked.into_iter().zip(written) {
        let (text, source) = match outcome {
            Outcome::Good((mut profile, slips)) => {
                stats.note(&slips);
                profile.title.clone_from(&facts[at].title);
                (Some(profile.markdown()), Source::Llm)
            }
            Outcome::Bad(_) | Outcome::Missing(_) => {
                stats.fallbacks += 1;
                (template::item(&facts[at]).map(|profile| profile.markdown()), Source::Template)
            }
        };
        (profiles.texts[at], profiles.sources[at]) = (text, source);
    }
    Ok((profiles, stats, asker.tally()))
}

/// A user's profile in the making.
#[derive(Default)]
struct Draft {
    profile: Option<Profile>,
    genres: Vec<String>,
    tags: Vec<String>,
}

/// Profiles of users, refined in turns; a turn whose answer cannot be used leaves the profile as it was,
/// and a user without a usable turn gets one by rule.
pub(super) fn users(
    write: &WriteUsers,
    ids: &Ids,
    data: &TrainingData,
    facts: &[ItemFacts],
    items: &Profiles,
    writing: &Writing,
) -> Result<(Profiles, WritingStats, Tally), TextError> {
    let prompt = write.read_prompt(writing.dirs)?;
    let asker = writing.asker(&write.judge)?;
    let (tastes, scale) = (tastes(data), data.scale());
    let shown: Vec<Vec<u32>> = tastes
        .iter()
        .map(|taste| {
            let liked = taste.liked.iter().take(write.liked);
            liked.chain(taste.disliked.iter().take(write.disliked)).copied().collect()
        })
        .collect();
    let known: Vec<Option<Profile>> = items
        .texts
        .iter()
        .map(|text| text.as_deref().and_then(|text| Profile::parse(text).ok()).map(|(of, _)| of))
        .collect();
    let turns: Vec<usize> = shown.iter().map(|items| items.len().div_ceil(write.batch)).collect();
    let all: u64 = turns.iter().map(|turns| *turns as u64).sum();
    let mut drafts: Vec<Draft> = shown.iter().map(|_| Draft::default()).collect();
    let (mut stats, mut done) = (WritingStats::default(), 0);
    for turn in 0..turns.iter().copied().max().unwrap_or(0) {
        let (mut asked, mut chats) = (Vec::new(), Vec::new());
        for (user, draft) in drafts.iter_mut().enumerate() {
            if turn >= turns[user] {
                continue;
            }
            let ratings = data.ratings.ratings_of(UserIx(user as u32));
            let rated = data.ratings.items_of(UserIx(user as u32));
            let mut batch = Vec::new();
            for item in shown[user].chunks(write.batch).nth(turn).unwrap_or_default() {
                let at = *item as usize;
                if let Some(profile) = &known[at] {
                    extend(&mut draft.genres, &profile.genres);
                    extend(&mut draft.tags, &profile.tags);
                } else {
                    extend(&mut draft.genres, &facts[at].genres);
                }
                let rating = rated.iter().position(|of| of == item).map_or(0.0, |at| ratings[at]);
                let (title, profile) = (facts[at].title.as_deref(), items.texts[at].as_deref());
                batch.push(shown_item(title, rating, profile));
            }
            let values = user_values(draft, (turn + 1, turns[user]), scale, batch);
            asked.push(user);
            chats.push(Chat {
                messages: prompt.messages(&values).map_err(TextError::Unsuitable)?,
                schema: None,
                repeat: 0,
                about: format!("user {} turn {}", ids.name(user as u32), turn + 1),
            });
        }
        let progress = |at: u64, _: u64| (writing.progress)(done + at, all);
        let written = asker.all(&chats, &progress, &read)?;
        done += asked.len() as u64;
        for (user, outcome) in asked.into_iter().zip(written) {
            if let Outcome::Good((mut profile, slips)) = outcome {
                stats.note(&slips);
                let draft = &mut drafts[user];
                let keep = |list: &mut Vec<String>, words: &[&Vec<String>]| {
                    let before = list.len();
                    let allowed: HashSet<String> = words
                        .iter()
                        .flat_map(|words| words.iter())
                        .map(|w| w.to_lowercase())
                        .collect();
                    list.retain(|word| allowed.contains(&word.to_lowercase()));
                    before - list.len()
                };
                stats.outside_vocabulary += keep(&mut profile.genres, &[&draft.genres])
                    + keep(&mut profile.tags, &[&draft.tags])
                    + keep(&mut profile.dislikes, &[&draft.genres, &draft.tags]);
                draft.profile = Some(profile);
            }
        }
    }
    let rule = template::users(&tastes, facts, items);
    let mut profiles = Profiles::all_from(Source::None, vec![None; ids.len()]);
    for (user, draft) in drafts.into_iter().enumerate() {
        (profiles.texts[user], profiles.sources[user]) = match draft.profile {
            Some(profile) => (Some(profile.markdown()), Source::Llm),
            None => {
                stats.fallbacks += usize::from(turns[user] > 0);
                (rule.texts[user].clone(), rule.sources[user])
            }
        };
    }
    Ok((profiles, stats, asker.tally()))
}

/// Adds the words that are not there yet.
fn extend(list: &mut Vec<String>, words: &[String]) {
    for word in words {
        if !list.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            list.push(word.clone());
        }
    }
}

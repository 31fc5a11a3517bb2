//! Profiles written by a language model.

use std::collections::HashSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    GenerationContext, ItemFacts, ItemReviews, Profile, Profiles, Repair, ReviewedItems, Source,
    TextError, WritingStats,
    prompt::{Prompt, PromptFile, number},
    template,
    template::preferences,
};
use crate::{
    base::hash::Digest,
    data::{DataDirs, DataError, Ids, Scale, TrainingData, UserIx},
    llm::{Chat, Outcome, Response, Tally},
};

const ITEM_PROMPT: &str = include_str!("../../prompts/item-profile.md");
const USER_PROMPT: &str = include_str!("../../prompts/user-profile.md");

/// Profiles of items, written from title, genres and overview.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteItems {
    /// One of the experiment's `endpoints`.
    #[serde(rename = "judge")]
    pub endpoint: String,
    /// A prompt file to use instead of `prompts/item-profile.md`.
    #[serde(default)]
    pub prompt: PromptFile,
    /// Shows training ratings and reviews of training interactions, too; the prompt must use them
    /// (`prompts/p4r-item-profile.md` does), and the data set must have reviews.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reviews: Option<ReviewedItems>,
}

/// Profiles of users, refined in turns: each turn shows some rated items and the profile so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteUsers {
    /// One of the experiment's `endpoints`.
    #[serde(rename = "judge")]
    pub endpoint: String,
    /// A prompt file to use instead of `prompts/user-profile.md`.
    #[serde(default)]
    pub prompt: PromptFile,
    /// How many of the best-rated training items are shown.
    #[serde(default = "ten")]
    pub liked: usize,
    /// How many of the worst-rated training items are shown.
    #[serde(default = "ten")]
    pub disliked: usize,
    /// Items per turn.
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

    /// The version of the prompt.
    pub fn digest(&self, dirs: &DataDirs) -> Result<Digest, DataError> {
        Ok(self.read_prompt(dirs)?.digest())
    }

    /// Checks that the prompt can be filled in, with a sample item.
    pub fn check_prompt(&self, dirs: &DataDirs) -> Result<(), DataError> {
        let fact = ItemFacts {
            title: None,
            genres: vec!["Drama".into()],
            overview: Some("What it is about.".into()),
        };
        let reviews = ItemReviews {
            ratings: 2,
            mean: Some((4.5, 5.0)),
            reviews: vec!["What a user says.".into()],
        };
        let (prompt, values) = (self.read_prompt(dirs)?, item_values("A title", &fact, &reviews));
        prompt.check(&values)?;
        let shows = |messages: Value| messages.to_string().contains(&reviews.reviews[0]);
        if self.reviews.is_some() && !prompt.messages(&values).is_ok_and(shows) {
            return Err(DataError::Split(
                "profiles have `reviews`, but their prompt shows none\n  = help: use the value `reviews` in the \
                 prompt, as prompts/p4r-item-profile.md does (`prompt: FILE`), or remove `reviews`"
                    .into(),
            ));
        }
        Ok(())
    }
}

/// The values of a prompt about an item.
fn item_values(title: &str, fact: &ItemFacts, reviews: &ItemReviews) -> Value {
    let (mean, best) = match reviews.mean {
        Some((mean, best)) => (json!(format!("{mean:.1}")), number(best)),
        None => (json!(""), json!("")),
    };
    json!({
        "title": title,
        "genres": fact.genres,
        "overview": fact.overview.as_deref().unwrap_or_default(),
        "ratings": reviews.ratings,
        "mean_rating": mean,
        "best_rating": best,
        "reviews": reviews.reviews,
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

/// The values of an item in a prompt about a user.
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

    /// The version of the prompt.
    pub fn digest(&self, dirs: &DataDirs) -> Result<Digest, DataError> {
        Ok(self.read_prompt(dirs)?.digest())
    }

    /// Checks that the prompt can be filled in, with a sample user in the first turn.
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
    fn note(&mut self, repairs: &[Repair]) {
        for repair in repairs {
            *self.repairs.entry(*repair).or_default() += 1;
        }
    }
}

fn read(response: &Response) -> Result<(Profile, Vec<Repair>), String> {
    Profile::parse(&response.content).map_err(|missing| format!("not a profile: {missing}"))
}

/// Profiles of items, with counts; the fallback is a rule-based profile.
pub(super) fn items(
    write: &WriteItems,
    facts: &[ItemFacts],
    reviews: Option<&[ItemReviews]>,
    ids: &Ids,
    context: &GenerationContext,
) -> Result<(Profiles, WritingStats, Tally), TextError> {
    let prompt = write.read_prompt(context.dirs)?;
    let session = context.session(&write.endpoint)?;
    let (mut requested, mut chats) = (Vec::new(), Vec::new());
    let nothing = ItemReviews::default();
    let reviews_of = |at: usize| reviews.map_or(&nothing, |reviews| &reviews[at]);
    for (at, fact) in facts.iter().enumerate() {
        let has_reviews = !reviews_of(at).reviews.is_empty();
        let title = match &fact.title {
            Some(title) => title,
            None if has_reviews => "untitled",
            None => continue,
        };
        requested.push(at);
        let values = item_values(title, fact, reviews_of(at));
        chats.push(Chat {
            messages: prompt.messages(&values).map_err(TextError::Unsuitable)?,
            schema: None,
            repeat: 0,
            about: format!("item {}", ids.name(at as u32)),
        });
    }
    let written = session.all(&chats, context.progress, &read)?;
    let mut stats = WritingStats::default();
    let mut profiles = Profiles::all_from(Source::None, vec![None; facts.len()]);
    for (at, outcome) in requested.into_iter().zip(written) {
        let (text, source) = match outcome {
            Outcome::Usable((mut profile, repairs)) => {
                stats.note(&repairs);
                profile.title.clone_from(&facts[at].title);
                (Some(profile.markdown()), Source::Llm)
            }
            Outcome::Unusable(_) | Outcome::Abandoned(_) => {
                stats.fallbacks += 1;
                let rule = template::reviewed_item(&facts[at], reviews_of(at));
                (rule.map(|profile| profile.markdown()), Source::Template)
            }
        };
        (profiles.texts[at], profiles.sources[at]) = (text, source);
    }
    Ok((profiles, stats, session.tally()))
}

/// The profile of a user during its refinement.
#[derive(Default)]
struct Draft {
    profile: Option<Profile>,
    genres: Vec<String>,
    tags: Vec<String>,
}

/// Profiles of users, refined in turns, with counts. A turn without a usable response does not change the profile; a user
/// without a usable turn gets a rule-based profile.
pub(super) fn users(
    write: &WriteUsers,
    ids: &Ids,
    data: &TrainingData,
    facts: &[ItemFacts],
    items: &Profiles,
    context: &GenerationContext,
) -> Result<(Profiles, WritingStats, Tally), TextError> {
    let prompt = write.read_prompt(context.dirs)?;
    let session = context.session(&write.endpoint)?;
    let (preferences, scale) = (preferences(data), data.scale());
    let shown: Vec<Vec<u32>> = preferences
        .iter()
        .map(|preferences| {
            let liked = preferences.liked.iter().take(write.liked);
            liked.chain(preferences.disliked.iter().take(write.disliked)).copied().collect()
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
        let (mut requested, mut chats) = (Vec::new(), Vec::new());
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
            requested.push(user);
            chats.push(Chat {
                messages: prompt.messages(&values).map_err(TextError::Unsuitable)?,
                schema: None,
                repeat: 0,
                about: format!("user {} turn {}", ids.name(user as u32), turn + 1),
            });
        }
        let progress = |at: u64, _: u64| (context.progress)(done + at, all);
        let written = session.all(&chats, &progress, &read)?;
        done += requested.len() as u64;
        for (user, outcome) in requested.into_iter().zip(written) {
            if let Outcome::Usable((mut profile, repairs)) = outcome {
                stats.note(&repairs);
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
    let rule = template::users(&preferences, facts, items);
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
    Ok((profiles, stats, session.tally()))
}

/// Adds words that are not in the list.
fn extend(list: &mut Vec<String>, words: &[String]) {
    for word in words {
        if !list.iter().any(|known| known.eq_ignore_ascii_case(word)) {
            list.push(word.clone());
        }
    }
}

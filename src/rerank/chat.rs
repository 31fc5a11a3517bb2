//! A chat model as a judge: prompts with opaque ids, answers mended by rule, everything odd counted.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Mutex, PoisonError},
};

use serde_json::{Value, json};

use super::{One, judge::Judge};
use crate::{
    data::{DataDirs, DataError, Ids, UserIx},
    hash::Digest,
    llm::{
        Answer, Asker, Chat, LlmError, Outcome,
        structured::{Schema, find},
    },
    model::{TrainingData, neural::mix},
    text::{ItemFacts, Profiles, Prompt, PromptFile},
};

const ORDER: (&str, &str) =
    ("prompts/rerank-order.md", include_str!("../../prompts/rerank-order.md"));
const PAIR: (&str, &str) = ("prompts/rerank-pair.md", include_str!("../../prompts/rerank-pair.md"));
const RELEVANCY: (&str, &str) =
    ("prompts/rerank-relevancy.md", include_str!("../../prompts/rerank-relevancy.md"));

/// Latest ratings that a prompt shows.
const RECENT: usize = 10;

/// The prompts of rerankers.
pub struct Prompts {
    order: Prompt,
    pair: Prompt,
    relevancy: Prompt,
}

impl Prompts {
    /// Those that come with assay.
    pub fn built_in(dirs: &DataDirs) -> Result<Self, DataError> {
        let read =
            |(name, text): (&str, &'static str)| PromptFile::default().read(name, text, dirs);
        Ok(Self { order: read(ORDER)?, pair: read(PAIR)?, relevancy: read(RELEVANCY)? })
    }

    /// The version of all.
    pub fn digest() -> Digest {
        Digest::of([ORDER.1, PAIR.1, RELEVANCY.1].concat())
    }
}

/// What was odd about answers.
#[derive(Debug, Default)]
struct Counts {
    answers: usize,
    /// Answers that nothing could be taken from.
    unusable: usize,
    /// Ids asked about, ids answered, and among those: unknown ones, repeated ones, scores out of range.
    asked: usize,
    answered: usize,
    unknown: usize,
    repeated: usize,
    out_of_range: usize,
    /// Ids asked about that usable answers left out.
    missing: usize,
    usable: HashSet<u32>,
    users: HashSet<u32>,
}

/// A chat model with what it is told.
pub struct ChatJudge<'a> {
    pub asker: Asker<'a>,
    pub prompts: Prompts,
    pub users: &'a Ids,
    pub user_profiles: &'a Profiles,
    pub facts: &'a [ItemFacts],
    pub items: &'a Ids,
    pub data: &'a TrainingData,
    pub seed: u64,
    counts: Mutex<Counts>,
}

/// What every prompt is filled in from.
pub struct Knowledge<'a> {
    pub users: &'a Ids,
    pub items: &'a Ids,
    pub user_profiles: &'a Profiles,
    pub facts: &'a [ItemFacts],
    pub data: &'a TrainingData,
    pub seed: u64,
}

impl<'a> ChatJudge<'a> {
    /// A judge who knows this.
    pub fn new(asker: Asker<'a>, prompts: Prompts, knows: Knowledge<'a>) -> Self {
        let Knowledge { users, items, user_profiles, facts, data, seed } = knows;
        let counts = Mutex::default();
        Self { asker, prompts, users, user_profiles, facts, items, data, seed, counts }
    }

    /// What was counted, for the step's record.
    pub fn facts(&self) -> Value {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let rate = |part: usize, of: usize| part as f64 / of.max(1) as f64;
        json!({
            "llm": self.asker.tally().facts(),
            "answers": counts.answers,
            "unusable_answers": counts.unusable,
            "fallback_rate": rate(counts.unusable, counts.answers),
            "fallback_users": counts.users.len() - counts.usable.len(),
            "ids_asked": counts.asked,
            "ids_answered": counts.answered,
            "unknown_ids": counts.unknown,
            "hallucination_rate": rate(counts.unknown, counts.answered),
            "repeated_ids": counts.repeated,
            "missing_ids": counts.missing,
            "omission_rate": rate(counts.missing, counts.asked),
            "scores_out_of_range": counts.out_of_range,
        })
    }

    fn count(&self, work: impl FnOnce(&mut Counts)) {
        work(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// An id for each item that says nothing of it, the same whenever the same is asked.
    fn ids(&self, user: UserIx, items: &[u32]) -> Vec<String> {
        let mut taken = HashSet::new();
        items
            .iter()
            .map(|item| {
                let place = mix(self.seed ^ mix(u64::from(user.0) << 32 | u64::from(*item)));
                let mut draw = mix(place);
                loop {
                    let id = format!("{:c>4}", base32(draw % (1 << 20)));
                    if taken.insert(id.clone()) {
                        return id;
                    }
                    draw = mix(draw);
                }
            })
            .collect()
    }

    fn chat(
        &self,
        prompt: &Prompt,
        user: UserIx,
        items: &[u32],
        ids: &[String],
        schema: Schema,
        round: usize,
    ) -> Result<Chat, LlmError> {
        let ratings = self.data.ratings.ratings_of(user);
        let times = self.data.ratings.timestamps_of(user);
        let rated = self.data.ratings.items_of(user);
        let mut latest: Vec<usize> = (0..rated.len()).collect();
        latest.sort_by(|a, b| times[*b].cmp(&times[*a]).then(rated[*a].cmp(&rated[*b])));
        let name = |item: u32| {
            self.facts[item as usize].title.clone().unwrap_or_else(|| self.items.name(item).into())
        };
        let recent: Vec<Value> = latest
            .iter()
            .take(RECENT)
            .map(|at| json!({"title": name(rated[*at]), "rating": ratings[*at]}))
            .collect();
        let candidates: Vec<Value> = items
            .iter()
            .zip(ids)
            .map(|(item, id)| {
                let fact = &self.facts[*item as usize];
                json!({
                    "id": id,
                    "title": name(*item),
                    "genres": fact.genres,
                    "overview": fact.overview.as_deref().unwrap_or_default(),
                })
            })
            .collect();
        let values = json!({
            "profile": self.user_profiles.texts[user.at()].as_deref().unwrap_or_default(),
            "recent": recent,
            "n": candidates.len(),
            "candidates": candidates,
        });
        let round = if round > 0 { format!(" round {}", round + 1) } else { String::new() };
        Ok(Chat {
            messages: prompt.messages(&values).map_err(LlmError::Hopeless)?,
            schema: Some(schema),
            repeat: 0,
            about: format!("user {} {}{round}", self.users.name(user.0), schema_name(items.len())),
        })
    }

    /// Asks, and counts what cannot be used.
    fn ask<T>(
        &self,
        user: UserIx,
        chat: &Chat,
        read: &dyn Fn(&Value) -> Option<T>,
    ) -> Result<Option<T>, LlmError> {
        let check = |answer: &Answer| {
            let value = find(&answer.content).ok_or("not JSON: no object and no list in it")?;
            read(&value).ok_or_else(|| "no known id: nothing of what was asked about".to_owned())
        };
        let outcome = self.asker.checked(chat, &check)?;
        self.count(|counts| {
            counts.answers += 1;
            counts.users.insert(user.0);
            match outcome {
                Outcome::Good(_) => drop(counts.usable.insert(user.0)),
                _ => counts.unusable += 1,
            }
        });
        Ok(match outcome {
            Outcome::Good(value) => Some(value),
            Outcome::Bad(_) | Outcome::Missing(_) => None,
        })
    }

    /// Takes note of the ids of a usable answer; returns the places of the known ones, each once.
    fn known(&self, ids: &[String], answered: &[String]) -> Vec<usize> {
        let places: HashMap<&str, usize> =
            ids.iter().enumerate().map(|(at, id)| (&id[..], at)).collect();
        let (mut unknown, mut repeated, mut known) = (0, 0, Vec::new());
        for id in answered {
            match places.get(id.trim()) {
                None => unknown += 1,
                Some(at) if known.contains(at) => repeated += 1,
                Some(at) => known.push(*at),
            }
        }
        self.count(|counts| {
            counts.asked += ids.len();
            counts.answered += answered.len();
            counts.unknown += unknown;
            counts.repeated += repeated;
            counts.missing += ids.len() - known.len();
        });
        known
    }
}

fn schema_name(n: usize) -> String {
    format!("about {n} items")
}

/// Five bits a letter, without letters and digits that are easily confused.
fn base32(mut number: u64) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut text = String::new();
    for _ in 0..4 {
        text.push(char::from(LETTERS[(number % 32) as usize]));
        number /= 32;
    }
    text
}

/// The texts in a list, wherever the answer puts it: the list itself, or the first list of an object.
fn texts(value: &Value) -> Option<Vec<String>> {
    let list = match value {
        Value::Array(list) => list,
        Value::Object(object) => object.values().find_map(Value::as_array)?,
        _ => return None,
    };
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => object.get("id").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    Some(list.iter().filter_map(text).collect())
}

/// Ids with their numbers: a list of objects, or an object by id.
fn numbers(value: &Value) -> Option<Vec<(String, f64)>> {
    let pair = |value: &Value| {
        let id = value.get("id")?.as_str()?.to_owned();
        let score = value.get("score").or_else(|| value.get("relevance"))?;
        Some((id, score.as_f64().or_else(|| score.as_str()?.trim().parse().ok())?))
    };
    let by_id = |object: &serde_json::Map<String, Value>| -> Vec<(String, f64)> {
        object.iter().filter_map(|(id, score)| Some((id.clone(), score.as_f64()?))).collect()
    };
    Some(match value {
        Value::Array(list) => list.iter().filter_map(pair).collect(),
        Value::Object(object) => match object.values().find(|of| of.is_array() || of.is_object()) {
            Some(Value::Array(list)) => list.iter().filter_map(pair).collect(),
            Some(Value::Object(scores)) => by_id(scores),
            _ => by_id(object),
        },
        _ => return None,
    })
}

fn schema(name: &str, properties: Value, required: &str) -> Schema {
    Schema {
        name: name.into(),
        schema: json!({
            "type": "object",
            "properties": properties,
            "required": [required],
            "additionalProperties": false,
        }),
    }
}

impl Judge for ChatJudge<'_> {
    fn order(&self, user: UserIx, items: &[u32]) -> Result<Vec<u32>, LlmError> {
        let ids = self.ids(user, items);
        let of = json!({"order": {"type": "array", "items": {"type": "string"}}});
        let chat =
            self.chat(&self.prompts.order, user, items, &ids, schema("order", of, "order"), 0)?;
        let read = |value: &Value| {
            let answered = texts(value)?;
            answered.iter().any(|id| ids.contains(id)).then_some(answered)
        };
        let Some(answered) = self.ask(user, &chat, &read)? else { return Ok(items.to_vec()) };
        let mut places = self.known(&ids, &answered);
        // What was left out follows in the order it was given in.
        places.extend((0..items.len()).filter(|at| !places.contains(at)).collect::<Vec<_>>());
        Ok(places.into_iter().map(|at| items[at]).collect())
    }

    fn prefers(&self, user: UserIx, first: u32, second: u32) -> Result<Option<bool>, LlmError> {
        let items = [first, second];
        let ids = self.ids(user, &items);
        let of = json!({"better": {"type": "string", "enum": ids}});
        let chat =
            self.chat(&self.prompts.pair, user, &items, &ids, schema("better", of, "better"), 0)?;
        let read = |value: &Value| {
            let better = match value {
                Value::Object(object) => object.values().find_map(Value::as_str)?.trim().to_owned(),
                _ => texts(value)?.into_iter().next()?,
            };
            ids.iter().position(|id| *id == better)
        };
        let place = self.ask(user, &chat, &read)?;
        Ok(place.map(|place| place == 0))
    }

    fn relevance(
        &self,
        user: UserIx,
        items: &[u32],
        round: usize,
    ) -> Result<Vec<Option<f64>>, LlmError> {
        let ids = self.ids(user, items);
        let of = json!({"scores": {"type": "array", "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "score": {"type": "number"}},
            "required": ["id", "score"],
            "additionalProperties": false,
        }}});
        let prompt = &self.prompts.relevancy;
        let chat = self.chat(prompt, user, items, &ids, schema("scores", of, "scores"), round)?;
        let read = |value: &Value| {
            let answered = numbers(value)?;
            answered.iter().any(|(id, _)| ids.contains(id)).then_some(answered)
        };
        let Some(answered) = self.ask(user, &chat, &read)? else {
            return Ok(vec![None; items.len()]);
        };
        let names: Vec<String> = answered.iter().map(|(id, _)| id.clone()).collect();
        self.known(&ids, &names);
        let mut scores: BTreeMap<&str, f64> = BTreeMap::new();
        let mut outside = 0;
        for (id, score) in &answered {
            outside += usize::from(!(0.0..=100.0).contains(score));
            // Of a repeated id the first counts, as in an order.
            scores.entry(id.trim()).or_insert(score.clamp(0.0, 100.0));
        }
        self.count(|counts| counts.out_of_range += outside);
        Ok(ids.iter().map(|id| scores.get(&id[..]).copied()).collect())
    }

    fn each(
        &self,
        n: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
        work: &(dyn Fn(usize) -> Result<Option<One>, LlmError> + Sync),
    ) -> Result<Vec<Option<One>>, LlmError> {
        self.asker.each(n, progress, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_scores_are_found_in_any_dress() {
        let ids = |text: &str| texts(&find(text).unwrap()).unwrap();
        for text in [
            r#"{"order": ["a", "b"]}"#,
            r#"["a", "b"]"#,
            r#"Here you go: {"ranking": [{"id": "a"}, {"id": "b"}]}"#,
        ] {
            assert_eq!(ids(text), ["a", "b"], "{text}");
        }
        let scores = |text: &str| numbers(&find(text).unwrap()).unwrap();
        for text in [
            r#"{"scores": [{"id": "a", "score": 70.5}, {"id": "b", "score": "3"}]}"#,
            r#"{"scores": {"a": 70.5, "b": 3}}"#,
            r#"```json
{"a": 70.5, "b": 3}
```"#,
        ] {
            assert_eq!(scores(text), [("a".to_owned(), 70.5), ("b".to_owned(), 3.0)], "{text}");
        }
    }
}

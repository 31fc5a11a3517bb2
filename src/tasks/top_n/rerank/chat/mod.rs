//! A chat model as a judge: prompts with opaque ids, responses repaired by rules, irregularities counted.

mod read;

use std::{
    cell::Cell,
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::read::{Response, read_response};

use self::read::ids;
use self::read::numbers;
use self::read::one;
use self::read::pairs;
use self::read::plain;
use super::{Knowledge, judge::Judge};
use crate::{
    data::UserIx,
    llm::{
        Answer, Asker, Chat, LlmError, LlmStats, Outcome,
        structured::{Schema, values},
    },
    ranking::TELLING_SHARE,
    text::Prompt,
};

/// What an answer says of the ids it names.
type Named<T> = Vec<(String, T)>;

/// What an answer says of items, by their places among those asked about.
type Known<T> = Vec<(usize, T)>;

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

/// What a step's record says of a chat model's responses.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeStats {
    pub llm: LlmStats,
    pub answers: usize,
    /// Responses that nothing could be taken from, and their share.
    pub unusable_answers: usize,
    pub fallback_rate: Option<f64>,
    /// Users without a usable response.
    pub fallback_users: usize,
    pub ids_asked: usize,
    pub ids_answered: usize,
    /// Ids in responses that were not asked about, and their share of those in responses.
    pub unknown_ids: usize,
    pub hallucination_rate: Option<f64>,
    pub repeated_ids: usize,
    /// Ids asked about that usable responses omitted, and their share of those asked about.
    pub missing_ids: usize,
    pub omission_rate: Option<f64>,
    pub scores_out_of_range: usize,
}

impl JudgeStats {
    /// What readers of its results must know, if many responses could not be used.
    pub fn warning(&self, endpoint: &str) -> Option<String> {
        let (unusable, answers) = (self.unusable_answers, self.answers);
        let causes: Vec<String> =
            self.llm.bad.iter().map(|(cause, count)| format!("{cause}: {count}")).collect();
        let causes = match causes.is_empty() {
            true => String::new(),
            false => format!(" ({})", causes.join(", ")),
        };
        if answers > 0 && unusable == answers {
            return Some(format!(
                "none of the {answers} responses of `{endpoint}` could be used{causes}: the lists are the base's"
            ));
        }
        (unusable as f64 > TELLING_SHARE * answers as f64).then(|| {
            format!("{unusable} of {answers} responses of `{endpoint}` could not be used{causes}")
        })
    }
}

/// What an answer is about: the first `among` of `ids`, of which it should name `n`. The others may be
/// named too.
struct Asked<'a> {
    ids: &'a [String],
    among: usize,
    n: usize,
}

impl<'a> Asked<'a> {
    fn all(ids: &'a [String]) -> Self {
        Self { ids, among: ids.len(), n: ids.len() }
    }
}

/// How the problem of an answer begins that names inventions alone.
const NO_KNOWN_ID: &str = "no known id";

/// A chat model with what it is told.
pub struct ChatJudge<'a> {
    pub asker: Asker<'a>,
    prompt: Prompt,
    knows: Knowledge<'a>,
    counts: Mutex<Counts>,
}

impl<'a> ChatJudge<'a> {
    /// A judge who knows this and is asked with this prompt.
    pub fn new(asker: Asker<'a>, prompt: Prompt, knows: Knowledge<'a>) -> Self {
        Self { asker, prompt, knows, counts: Mutex::default() }
    }

    /// What was counted, for the step's record.
    pub fn stats(&self) -> JudgeStats {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // Of nothing there is no rate.
        let rate = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        JudgeStats {
            llm: self.asker.tally().stats(),
            answers: counts.answers,
            unusable_answers: counts.unusable,
            fallback_rate: rate(counts.unusable, counts.answers),
            fallback_users: counts.users.len() - counts.usable.len(),
            ids_asked: counts.asked,
            ids_answered: counts.answered,
            unknown_ids: counts.unknown,
            hallucination_rate: rate(counts.unknown, counts.answered),
            repeated_ids: counts.repeated,
            missing_ids: counts.missing,
            omission_rate: rate(counts.missing, counts.asked),
            scores_out_of_range: counts.out_of_range,
        }
    }

    /// One explanation for each of the first `n` of `items`, the best first; all of them are shown. None
    /// where the judge gives none.
    pub fn explain(
        &self,
        user: UserIx,
        items: &[u32],
        n: usize,
    ) -> Result<Vec<Option<String>>, LlmError> {
        let ids = self.knows.ids(user, items);
        let n = n.min(items.len());
        if n == 0 {
            return Ok(Vec::new());
        }
        let values = self.knows.values_of_explained(user, items, &ids, n);
        let of = json!({"explanations": {"type": "array", "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "text": {"type": "string"}},
            "required": ["id", "text"],
            "additionalProperties": false,
        }}});
        let name = self.knows.users.name(user.0);
        let about = format!("user {name} explanations of {n} items");
        let chat = self.chat(&values, schema("explanations", of), about)?;
        let read = |value: &Value| {
            let texts = pairs(value, &ids)?.into_iter();
            let texts =
                texts.map(|(id, text)| (id, text.split_whitespace().collect::<Vec<_>>().join(" ")));
            Some(texts.filter(|(_, text)| !text.is_empty()).collect())
        };
        let mut explained = vec![None; n];
        // All are shown, so those beyond are no inventions.
        let asked = Asked { ids: &ids, among: n, n };
        for (at, text) in self.ask(user, &chat, &asked, &read)?.unwrap_or_default() {
            if at < n {
                explained[at] = Some(text);
            }
        }
        Ok(explained)
    }

    fn count<T>(&self, work: impl FnOnce(&mut Counts) -> T) -> T {
        work(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn chat(&self, values: &Value, schema: Schema, about: String) -> Result<Chat, LlmError> {
        let messages = self.prompt.messages(values).map_err(LlmError::Hopeless)?;
        Ok(Chat { messages, schema: Some(schema), repeat: 0, about })
    }

    /// A question about candidates under these ids.
    fn question(
        &self,
        user: UserIx,
        items: &[u32],
        ids: &[String],
        schema: Schema,
        round: usize,
    ) -> Result<Chat, LlmError> {
        let round = if round > 0 { format!(" round {}", round + 1) } else { String::new() };
        let name = self.knows.users.name(user.0);
        let about = format!("user {name} about {} items{round}", items.len());
        self.chat(&self.knows.values(user, items, ids), schema, about)
    }

    /// Asks, and counts what is odd. Returns what is said of known ids, each once, in the order of the
    /// answer; none where the answer cannot be used.
    fn ask<T>(
        &self,
        user: UserIx,
        chat: &Chat,
        &Asked { ids, among, n }: &Asked,
        read: &dyn Fn(&Value) -> Option<Named<T>>,
    ) -> Result<Option<Known<T>>, LlmError> {
        let place = |id: &str| {
            let id = plain(id);
            ids.iter().position(|known| *known == id)
        };
        let n_known =
            |named: &[(String, T)]| named.iter().filter(|(id, _)| place(id).is_some()).count();
        // What the last answer named, should it be of no use.
        let unknown = Cell::new(None);
        let check = |answer: &Answer| {
            unknown.set(None);
            let values = values(&answer.content);
            if values.is_empty() {
                return Err("not JSON: no object and no list in it".into());
            }
            // Before the answer may stand examples and drafts: the fullest counts, of equals the last.
            let named = values.iter().filter_map(read).max_by_key(|named| n_known(named));
            match named {
                Some(named) if n_known(&named) > 0 => Ok(named),
                named => {
                    unknown.set(named.map(|named| named.len()));
                    Err(format!("{NO_KNOWN_ID}: nothing of what was asked about"))
                }
            }
        };
        let outcome = self.asker.checked(chat, &check)?;
        let (named, invented) = match outcome {
            Outcome::Good(named) => (Some(named), None),
            // The last try may have ended otherwise, and named nothing.
            Outcome::Bad(problem) if problem.starts_with(NO_KNOWN_ID) => (None, unknown.get()),
            Outcome::Bad(_) | Outcome::Missing(_) => (None, None),
        };
        Ok(self.count(|counts| {
            counts.answers += 1;
            counts.users.insert(user.0);
            let Some(named) = named else {
                counts.unusable += 1;
                if let Some(invented) = invented {
                    counts.asked += n;
                    counts.missing += n;
                    counts.answered += invented;
                    counts.unknown += invented;
                }
                return None;
            };
            counts.usable.insert(user.0);
            counts.asked += n;
            counts.answered += named.len();
            let mut known: Known<T> = Vec::new();
            for (id, of) in named {
                match place(&id) {
                    None => counts.unknown += 1,
                    Some(at) if known.iter().any(|(known, _)| *known == at) => counts.repeated += 1,
                    Some(at) => known.push((at, of)),
                }
            }
            let n_wanted = known.iter().filter(|(at, _)| *at < among).count();
            counts.missing += n.saturating_sub(n_wanted);
            Some(known)
        }))
    }
}

/// An object of one property, which has the schema's name.
fn schema(name: &str, properties: Value) -> Schema {
    Schema {
        name: name.into(),
        schema: json!({
            "type": "object",
            "properties": properties,
            "required": [name],
            "additionalProperties": false,
        }),
    }
}

impl Judge for ChatJudge<'_> {
    fn order(&self, user: UserIx, items: &[u32]) -> Result<Option<Vec<u32>>, LlmError> {
        let wanted = self.knows.ids(user, items);
        let of = json!({"order": {"type": "array", "items": {"type": "string"}}});
        let chat = self.question(user, items, &wanted, schema("order", of), 0)?;
        let read = |value: &Value| ids(value, &wanted);
        let Some(known) = self.ask(user, &chat, &Asked::all(&wanted), &read)? else {
            return Ok(None);
        };
        let mut places: Vec<usize> = known.into_iter().map(|(at, ())| at).collect();
        // What was left out follows in the order it was given in.
        places.extend((0..items.len()).filter(|at| !places.contains(at)).collect::<Vec<_>>());
        Ok(Some(places.into_iter().map(|at| items[at]).collect()))
    }

    fn prefers(&self, user: UserIx, first: u32, second: u32) -> Result<Option<bool>, LlmError> {
        let items = [first, second];
        let wanted = self.knows.ids(user, &items);
        let of = json!({"better": {"type": "string", "enum": wanted}});
        let chat = self.question(user, &items, &wanted, schema("better", of), 0)?;
        let known = self.ask(user, &chat, &Asked { n: 1, ..Asked::all(&wanted) }, &|value| {
            one(value, &wanted)
        })?;
        Ok(known.and_then(|known| Some(known.first()?.0 == 0)))
    }

    fn relevance(
        &self,
        user: UserIx,
        items: &[u32],
        round: usize,
    ) -> Result<Vec<Option<f64>>, LlmError> {
        let wanted = self.knows.ids(user, items);
        let of = json!({"scores": {"type": "array", "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "score": {"type": "number"}},
            "required": ["id", "score"],
            "additionalProperties": false,
        }}});
        let chat = self.question(user, items, &wanted, schema("scores", of), round)?;
        let known = self
            .ask(user, &chat, &Asked::all(&wanted), &|value| numbers(value, &wanted))?
            .unwrap_or_default();
        let mut scores = vec![None; items.len()];
        let mut outside = 0;
        for (at, score) in known {
            outside += usize::from(!(0.0..=100.0).contains(&score));
            scores[at] = Some(score.clamp(0.0, 100.0));
        }
        self.count(|counts| counts.out_of_range += outside);
        Ok(scores)
    }

    fn each(
        &self,
        n: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
        work: &(dyn Fn(usize) -> Result<Option<super::One>, LlmError> + Sync),
    ) -> Result<Vec<Option<super::One>>, LlmError> {
        self.asker.each(n, progress, work)
    }
}

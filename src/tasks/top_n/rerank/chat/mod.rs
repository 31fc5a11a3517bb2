//! A chat model as a judge: prompts with opaque ids, responses repaired by rules, irregularities counted.

mod read;

use std::{
    cell::Cell,
    collections::HashSet,
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use self::read::{ParsedResponse, read_response};

use self::read::{ids, numbers, one, pairs, plain};
use super::{JudgeContext, judge::Judge};
use crate::{
    data::UserIx,
    llm::{
        Chat, LlmError, LlmSession, LlmStats, Outcome, Response,
        structured::{Schema, values},
    },
    ranking::TELLING_SHARE,
    text::Prompt,
};

/// Ids in a response, with their values.
type Named<T> = Vec<(String, T)>;

/// Known ids in a response, as indices into the requested ids, with their values.
type RankedIds<T> = Vec<(usize, T)>;

/// Counts of irregularities in responses.
#[derive(Debug, Default)]
struct Counts {
    responses: usize,
    /// Responses without usable content.
    unusable: usize,
    /// Requested ids, ids in responses, and among the latter: unknown ids, repeated ids, scores out of range.
    requested: usize,
    named: usize,
    unknown: usize,
    repeated: usize,
    out_of_range: usize,
    /// Requested ids that usable responses omit.
    omitted: usize,
    usable: HashSet<u32>,
    users: HashSet<u32>,
}

/// The part of a step's record about the responses of a chat model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct JudgeStats {
    pub llm: LlmStats,
    #[serde(rename = "answers")]
    pub responses: usize,
    /// Responses without usable content, and their share.
    #[serde(rename = "unusable_answers")]
    pub unusable_responses: usize,
    pub fallback_rate: Option<f64>,
    /// Users without a usable response.
    pub fallback_users: usize,
    #[serde(rename = "ids_asked")]
    pub ids_requested: usize,
    #[serde(rename = "ids_answered")]
    pub ids_in_responses: usize,
    /// Ids in responses that were not requested, and their share of the ids in responses.
    pub unknown_ids: usize,
    pub hallucination_rate: Option<f64>,
    pub repeated_ids: usize,
    /// Requested ids that usable responses omit, and their share of the requested ids.
    #[serde(rename = "missing_ids")]
    pub omitted_ids: usize,
    pub omission_rate: Option<f64>,
    pub scores_out_of_range: usize,
}

impl JudgeStats {
    /// A warning if many responses could not be used.
    pub fn warning(&self, endpoint: &str) -> Option<String> {
        let (unusable, responses) = (self.unusable_responses, self.responses);
        let causes: Vec<String> =
            self.llm.bad.iter().map(|(cause, count)| format!("{cause}: {count}")).collect();
        let causes = match causes.is_empty() {
            true => String::new(),
            false => format!(" ({})", causes.join(", ")),
        };
        if responses > 0 && unusable == responses {
            return Some(format!(
                "none of the {responses} responses of `{endpoint}` could be used{causes}: the lists are the base's"
            ));
        }
        (unusable as f64 > TELLING_SHARE * responses as f64).then(|| {
            format!("{unusable} of {responses} responses of `{endpoint}` could not be used{causes}")
        })
    }
}

/// The ids that a response may name: it should name `n` of the first `among` of `ids`. To name the others is no error.
struct ExpectedIds<'a> {
    ids: &'a [String],
    among: usize,
    n: usize,
}

impl<'a> ExpectedIds<'a> {
    fn all(ids: &'a [String]) -> Self {
        Self { ids, among: ids.len(), n: ids.len() }
    }
}

/// Prefix of the problem of a response that names only unknown ids.
const NO_KNOWN_ID: &str = "no known id";

/// A chat model as a judge, with its prompt and the information in it.
pub struct ChatJudge<'a> {
    pub session: LlmSession<'a>,
    prompt: Prompt,
    context: JudgeContext<'a>,
    counts: Mutex<Counts>,
}

impl<'a> ChatJudge<'a> {
    /// A judge with this prompt, filled in from this information.
    pub fn new(session: LlmSession<'a>, prompt: Prompt, context: JudgeContext<'a>) -> Self {
        Self { session, prompt, context, counts: Mutex::default() }
    }

    /// Counts for the step's record.
    pub fn stats(&self) -> JudgeStats {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        // There is no rate of zero responses.
        let rate = |part: usize, of: usize| (of > 0).then(|| part as f64 / of as f64);
        JudgeStats {
            llm: self.session.tally().stats(),
            responses: counts.responses,
            unusable_responses: counts.unusable,
            fallback_rate: rate(counts.unusable, counts.responses),
            fallback_users: counts.users.len() - counts.usable.len(),
            ids_requested: counts.requested,
            ids_in_responses: counts.named,
            unknown_ids: counts.unknown,
            hallucination_rate: rate(counts.unknown, counts.named),
            repeated_ids: counts.repeated,
            omitted_ids: counts.omitted,
            omission_rate: rate(counts.omitted, counts.requested),
            scores_out_of_range: counts.out_of_range,
        }
    }

    /// One explanation for each of the first `n` of `items`, best first; the prompt shows all items. None without a usable
    /// response.
    pub fn explain(
        &self,
        user: UserIx,
        items: &[u32],
        n: usize,
    ) -> Result<Vec<Option<String>>, LlmError> {
        let ids = self.context.ids(user, items);
        let n = n.min(items.len());
        if n == 0 {
            return Ok(Vec::new());
        }
        let values = self.context.values_of_explained(user, items, &ids, n);
        let of = json!({"explanations": {"type": "array", "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "text": {"type": "string"}},
            "required": ["id", "text"],
            "additionalProperties": false,
        }}});
        let name = self.context.users.name(user.0);
        let about = format!("user {name} explanations of {n} items");
        let chat = self.chat(&values, schema("explanations", of), about)?;
        let read = |value: &Value| {
            let texts = pairs(value, &ids)?.into_iter();
            let texts =
                texts.map(|(id, text)| (id, text.split_whitespace().collect::<Vec<_>>().join(" ")));
            Some(texts.filter(|(_, text)| !text.is_empty()).collect())
        };
        let mut explained = vec![None; n];
        // The prompt shows all items, so the others are not unknown.
        let expected = ExpectedIds { ids: &ids, among: n, n };
        for (at, text) in self.request(user, &chat, &expected, &read)?.unwrap_or_default() {
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
        let messages = self.prompt.messages(values).map_err(LlmError::Fatal)?;
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
        let name = self.context.users.name(user.0);
        let about = format!("user {name} about {} items{round}", items.len());
        self.chat(&self.context.values(user, items, ids), schema, about)
    }

    /// Sends a request, and counts irregularities. Returns the known ids with their values, each once, in the order of the
    /// response; none if the response cannot be used.
    fn request<T>(
        &self,
        user: UserIx,
        chat: &Chat,
        &ExpectedIds { ids, among, n }: &ExpectedIds,
        read: &dyn Fn(&Value) -> Option<Named<T>>,
    ) -> Result<Option<RankedIds<T>>, LlmError> {
        let index = |id: &str| {
            let id = plain(id);
            ids.iter().position(|known| *known == id)
        };
        let n_known =
            |named: &[(String, T)]| named.iter().filter(|(id, _)| index(id).is_some()).count();
        // Number of ids in the last response, if it names only unknown ids.
        let n_unknown = Cell::new(None);
        let check = |response: &Response| {
            n_unknown.set(None);
            let values = values(&response.content);
            if values.is_empty() {
                return Err("not JSON: no object and no list in it".into());
            }
            // Examples and drafts may come before the final value: the one with most known ids counts, of ties the last.
            let named = values.iter().filter_map(read).max_by_key(|named| n_known(named));
            match named {
                Some(named) if n_known(&named) > 0 => Ok(named),
                named => {
                    n_unknown.set(named.map(|named| named.len()));
                    Err(format!("{NO_KNOWN_ID}: nothing of what was asked about"))
                }
            }
        };
        let outcome = self.session.checked(chat, &check)?;
        let (named, n_unknown) = match outcome {
            Outcome::Usable(named) => (Some(named), None),
            // The last attempt may have failed otherwise, without any ids.
            Outcome::Unusable(problem) if problem.starts_with(NO_KNOWN_ID) => {
                (None, n_unknown.get())
            }
            Outcome::Unusable(_) | Outcome::Abandoned(_) => (None, None),
        };
        Ok(self.count(|counts| {
            counts.responses += 1;
            counts.users.insert(user.0);
            let Some(named) = named else {
                counts.unusable += 1;
                if let Some(n_unknown) = n_unknown {
                    counts.requested += n;
                    counts.omitted += n;
                    counts.named += n_unknown;
                    counts.unknown += n_unknown;
                }
                return None;
            };
            counts.usable.insert(user.0);
            counts.requested += n;
            counts.named += named.len();
            let mut known: RankedIds<T> = Vec::new();
            for (id, of) in named {
                match index(&id) {
                    None => counts.unknown += 1,
                    Some(at) if known.iter().any(|(known, _)| *known == at) => counts.repeated += 1,
                    Some(at) => known.push((at, of)),
                }
            }
            let n_wanted = known.iter().filter(|(at, _)| *at < among).count();
            counts.omitted += n.saturating_sub(n_wanted);
            Some(known)
        }))
    }
}

/// The schema of an object with one property, which has the name of the schema.
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
        let requested = self.context.ids(user, items);
        let of = json!({"order": {"type": "array", "items": {"type": "string"}}});
        let chat = self.question(user, items, &requested, schema("order", of), 0)?;
        let read = |value: &Value| ids(value, &requested);
        let Some(known) = self.request(user, &chat, &ExpectedIds::all(&requested), &read)? else {
            return Ok(None);
        };
        let mut order: Vec<usize> = known.into_iter().map(|(at, ())| at).collect();
        // Omitted items follow in the given order.
        order.extend((0..items.len()).filter(|at| !order.contains(at)).collect::<Vec<_>>());
        Ok(Some(order.into_iter().map(|at| items[at]).collect()))
    }

    fn prefers(&self, user: UserIx, first: u32, second: u32) -> Result<Option<bool>, LlmError> {
        let items = [first, second];
        let requested = self.context.ids(user, &items);
        let of = json!({"better": {"type": "string", "enum": requested}});
        let chat = self.question(user, &items, &requested, schema("better", of), 0)?;
        let known = self.request(
            user,
            &chat,
            &ExpectedIds { n: 1, ..ExpectedIds::all(&requested) },
            &|value| one(value, &requested),
        )?;
        Ok(known.and_then(|known| Some(known.first()?.0 == 0)))
    }

    fn relevance(
        &self,
        user: UserIx,
        items: &[u32],
        round: usize,
    ) -> Result<Vec<Option<f64>>, LlmError> {
        let requested = self.context.ids(user, items);
        let of = json!({"scores": {"type": "array", "items": {
            "type": "object",
            "properties": {"id": {"type": "string"}, "score": {"type": "number"}},
            "required": ["id", "score"],
            "additionalProperties": false,
        }}});
        let chat = self.question(user, items, &requested, schema("scores", of), round)?;
        let known = self
            .request(user, &chat, &ExpectedIds::all(&requested), &|value| {
                numbers(value, &requested)
            })?
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
        work: &(dyn Fn(usize) -> Result<Option<super::RerankedList>, LlmError> + Sync),
    ) -> Result<Vec<Option<super::RerankedList>>, LlmError> {
        self.session.each(n, progress, work)
    }
}

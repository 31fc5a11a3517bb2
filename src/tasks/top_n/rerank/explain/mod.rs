//! Explanations of reranked lists: one for each of the best items, written by the judge from what it
//! ranked by (after Ebrat et al. 2025), by rule where the judge is a control, and checked without another judge.

mod check;
mod ground;
mod rule;
mod words;

use std::{fs, io, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{Check, ExplainChecks, summary};

use super::{JudgeName, Knowledge};
use crate::{
    data::{DataDirs, DataError, UserIx},
    ranking::{Rankings, Slice},
    text::{Prompt, PromptFile},
};

const PROMPT: (&str, &str) =
    ("prompts/rerank-explain.md", include_str!("../../../../../prompts/rerank-explain.md"));

/// What is explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExplainSpec {
    /// How many of the best of each list.
    #[schemars(range(min = 1))]
    pub top: usize,
    /// To whom, of those whose lists are reranked.
    pub users: Slice,
    /// A prompt of one's own in place of assay's (`prompts/rerank-explain.md`); for chat models.
    #[serde(skip_serializing_if = "PromptFile::is_built_in")]
    pub prompt: PromptFile,
}

impl Default for ExplainSpec {
    fn default() -> Self {
        Self { top: 5, users: Slice::All, prompt: PromptFile::default() }
    }
}

impl ExplainSpec {
    /// The prompt that a chat model is asked with.
    pub fn read_prompt(&self, dirs: &DataDirs) -> Result<Prompt, DataError> {
        let (name, text) = PROMPT;
        self.prompt.read(name, text, dirs)
    }
}

/// One explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub user: UserIx,
    pub item: u32,
    /// Place in the user's list, from 1.
    pub place: usize,
    pub text: String,
    /// Rule-based, because the judge gave none.
    pub stands_in: bool,
    pub check: Check,
}

/// Explanations of the lists of those `chosen`, from the texts that a chat model wrote (`written`: by
/// user, by place), or by rule; checked.
pub fn explain(
    judge: &JudgeName,
    lists: &Rankings,
    chosen: &[bool],
    top: usize,
    written: Option<&[Vec<Option<String>>]>,
    knows: &Knowledge,
) -> Vec<Explanation> {
    let mut explained = Vec::new();
    for (at, list) in lists.lists.iter().enumerate() {
        let Some(list) = list.as_ref().filter(|_| chosen[at]) else { continue };
        let user = UserIx(at as u32);
        for (place, (_, item)) in list.iter().take(top).enumerate() {
            let text = written.and_then(|by_user| by_user[at].get(place)?.clone());
            let stands_in = written.is_some() && text.is_none();
            let Some(text) = text.or_else(|| rule::explain(judge, user, *item, knows)) else {
                continue;
            };
            let check = Check::default();
            explained.push(Explanation {
                user,
                item: *item,
                place: place + 1,
                text,
                stands_in,
                check,
            });
        }
    }
    check::check(&mut explained, knows);
    explained
}

pub const FILE: &str = "explanations.jsonl";

/// One explanation as it is kept and read by people: users and items by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub user: String,
    pub place: usize,
    pub item: String,
    pub title: String,
    pub text: String,
    /// Rule-based, because the judge gave none.
    pub stands_in: bool,
    #[serde(flatten)]
    pub check: Check,
}

impl Row {
    fn of(explanation: &Explanation, knows: &Knowledge) -> Self {
        let Explanation { user, item, place, text, stands_in, check } = explanation;
        Self {
            user: knows.users.name(user.0).to_owned(),
            place: *place,
            item: knows.items.name(*item).to_owned(),
            title: knows.name(*item).to_owned(),
            text: text.clone(),
            stands_in: *stands_in,
            check: check.clone(),
        }
    }
}

/// Writes explanations into the directory of a step, one a line.
pub fn write(explained: &[Explanation], knows: &Knowledge, dir: &Path) -> io::Result<()> {
    let rows = explained.iter().map(|of| serde_json::to_string(&Row::of(of, knows)));
    let lines: Vec<String> = rows.collect::<Result<_, _>>()?;
    fs::write(dir.join(FILE), lines.iter().map(|line| line.to_owned() + "\n").collect::<String>())
}

/// Reads what [`write`] wrote; the error says which file and line.
pub fn read(dir: &Path) -> Result<Vec<Row>, String> {
    let path = dir.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let row = |(at, line): (usize, &str)| {
        let row = serde_json::from_str(line);
        row.map_err(|error| format!("{}:{}: {error}", path.display(), at + 1))
    };
    text.lines().enumerate().map(row).collect()
}

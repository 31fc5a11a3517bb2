//! Explanations of reranked lists: one for each of the best items, written by the judge from the information it ranked with
//! (after Ebrat et al. 2025), or rule-based if the judge is a control; checked without another judge.

mod check;
mod ground;
mod rule;
mod words;

use std::{fs, io, path::Path};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{Check, ExplainChecks, summary};

use super::{JudgeContext, JudgeName};
use crate::{
    data::{DataDirs, DataError, UserIx},
    ranking::{Rankings, Slice},
    text::{Prompt, PromptFile},
};

const PROMPT: (&str, &str) =
    ("prompts/rerank-explain.md", include_str!("../../../../../prompts/rerank-explain.md"));

/// Which items are explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExplainSpec {
    /// How many of the best items of each list.
    #[schemars(range(min = 1))]
    pub top: usize,
    /// For which of the users with reranked lists.
    pub users: Slice,
    /// A prompt file to use instead of `prompts/rerank-explain.md`; for chat models.
    #[serde(skip_serializing_if = "PromptFile::is_built_in")]
    pub prompt: PromptFile,
}

impl Default for ExplainSpec {
    fn default() -> Self {
        Self { top: 5, users: Slice::All, prompt: PromptFile::default() }
    }
}

impl ExplainSpec {
    /// The prompt for a chat model.
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
    /// Rank in the user's list, from 1.
    pub rank: usize,
    pub text: String,
    /// Whether it is rule-based, because the judge gave none.
    pub is_fallback: bool,
    pub check: Check,
}

/// Checked explanations of the lists of the `chosen` users: the texts of a chat model (`written`: by user and rank), or
/// rule-based.
pub fn explain(
    judge: &JudgeName,
    lists: &Rankings,
    chosen: &[bool],
    top: usize,
    written: Option<&[Vec<Option<String>>]>,
    context: &JudgeContext,
) -> Vec<Explanation> {
    let mut explained = Vec::new();
    for (at, list) in lists.lists.iter().enumerate() {
        let Some(list) = list.as_ref().filter(|_| chosen[at]) else { continue };
        let user = UserIx(at as u32);
        for (rank, (_, item)) in list.iter().take(top).enumerate() {
            let text = written.and_then(|by_user| by_user[at].get(rank)?.clone());
            let is_fallback = written.is_some() && text.is_none();
            let Some(text) = text.or_else(|| rule::explain(judge, user, *item, context)) else {
                continue;
            };
            let check = Check::default();
            explained.push(Explanation {
                user,
                item: *item,
                rank: rank + 1,
                text,
                is_fallback,
                check,
            });
        }
    }
    check::check(&mut explained, context);
    explained
}

pub const FILE: &str = "explanations.jsonl";

/// One explanation in the file, with users and items by name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub user: String,
    #[serde(rename = "place")]
    pub rank: usize,
    pub item: String,
    pub title: String,
    pub text: String,
    /// Whether it is rule-based, because the judge gave none.
    #[serde(rename = "stands_in")]
    pub is_fallback: bool,
    #[serde(flatten)]
    pub check: Check,
}

impl Row {
    fn of(explanation: &Explanation, context: &JudgeContext) -> Self {
        let Explanation { user, item, rank, text, is_fallback, check } = explanation;
        Self {
            user: context.users.name(user.0).to_owned(),
            rank: *rank,
            item: context.items.name(*item).to_owned(),
            title: context.name(*item).to_owned(),
            text: text.clone(),
            is_fallback: *is_fallback,
            check: check.clone(),
        }
    }
}

/// Writes explanations to the directory of a step, one per line.
pub fn write(explained: &[Explanation], context: &JudgeContext, dir: &Path) -> io::Result<()> {
    let rows = explained.iter().map(|of| serde_json::to_string(&Row::of(of, context)));
    let lines: Vec<String> = rows.collect::<Result<_, _>>()?;
    fs::write(dir.join(FILE), lines.iter().map(|line| line.to_owned() + "\n").collect::<String>())
}

/// Reads the file of [`write`]; an error contains file and line.
pub fn read(dir: &Path) -> Result<Vec<Row>, String> {
    let path = dir.join(FILE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let row = |(at, line): (usize, &str)| {
        let row = serde_json::from_str(line);
        row.map_err(|error| format!("{}:{}: {error}", path.display(), at + 1))
    };
    text.lines().enumerate().map(row).collect()
}

//! Explanations of reranked lists: one for each of the best items, written by the judge from what it
//! ranked by (Ebrat et al. 2025), by rule where the judge is a control, and checked without another judge.

mod check;
mod ground;
mod rule;
mod words;

use std::path::{Path, PathBuf};

use polars::prelude::{Column, DataFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use check::{Check, summary};

use super::{JudgeName, Knowledge};
use crate::{
    data::{DataDirs, DataError, UserIx},
    eval::Slice,
    rankings::Rankings,
    table,
    text::{Prompt, PromptFile},
};

const PROMPT: (&str, &str) =
    ("prompts/rerank-explain.md", include_str!("../../../prompts/rerank-explain.md"));

/// What is explained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExplainSpec {
    /// How many of the best of each list.
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
    /// Made by rule, because the judge gave none.
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

const FILE: &str = "explanations.parquet";

/// One explanation as it is kept and read by people: users and items by name.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub user: String,
    pub place: u32,
    pub item: String,
    pub title: String,
    pub text: String,
    /// The judge gave none: made by rule.
    pub stands_in: bool,
    /// Names that are known neither of the item nor of the user, parted by `; `.
    pub unfounded: String,
    pub names_item: bool,
    pub names_user: bool,
    pub told_apart: Option<f64>,
    pub said_before: bool,
    pub repeated: f64,
}

/// Writes explanations into the directory of a step.
pub fn write(explained: &[Explanation], knows: &Knowledge, dir: &Path) -> std::io::Result<()> {
    let texts = |of: &dyn Fn(&Explanation) -> String| explained.iter().map(of).collect::<Vec<_>>();
    let flags = |of: &dyn Fn(&Explanation) -> bool| explained.iter().map(of).collect::<Vec<_>>();
    let places: Vec<u32> = explained.iter().map(|of| of.place as u32).collect();
    let apart: Vec<Option<f64>> = explained.iter().map(|of| of.check.told_apart).collect();
    let repeated: Vec<f64> = explained.iter().map(|of| of.check.repeated).collect();
    let mut frame = DataFrame::new(
        explained.len(),
        vec![
            Column::new("user".into(), texts(&|of| knows.users.name(of.user.0).to_owned())),
            Column::new("place".into(), places),
            Column::new("item".into(), texts(&|of| knows.items.name(of.item).to_owned())),
            Column::new("title".into(), texts(&|of| knows.name(of.item).to_owned())),
            Column::new("text".into(), texts(&|of| of.text.clone())),
            Column::new("stands_in".into(), flags(&|of| of.stands_in)),
            Column::new("unfounded".into(), texts(&|of| of.check.unfounded.join("; "))),
            Column::new("names_item".into(), flags(&|of| of.check.names_item)),
            Column::new("names_user".into(), flags(&|of| of.check.names_user)),
            Column::new("told_apart".into(), apart),
            Column::new("said_before".into(), flags(&|of| of.check.said_before)),
            Column::new("repeated".into(), repeated),
        ],
    )
    .map_err(table::to_io)?;
    table::write(&path(dir), &mut frame)
}

/// Reads what [`write`] wrote.
pub fn read(dir: &Path) -> std::io::Result<Vec<Row>> {
    let frame = table::read(&path(dir))?;
    let column = |name: &str| frame.column(name).map_err(table::to_io);
    let texts = |name: &str| -> std::io::Result<Vec<String>> {
        let column = column(name)?.str().map_err(table::to_io)?.clone();
        Ok(column.iter().map(|text| text.unwrap_or_default().to_owned()).collect())
    };
    let flags = |name: &str| -> std::io::Result<Vec<bool>> {
        let column = column(name)?.bool().map_err(table::to_io)?.clone();
        Ok(column.iter().map(|flag| flag.unwrap_or_default()).collect())
    };
    let numbers = |name: &str| -> std::io::Result<Vec<Option<f64>>> {
        Ok(column(name)?.f64().map_err(table::to_io)?.iter().collect())
    };
    let places: Vec<Option<u32>> = column("place")?.u32().map_err(table::to_io)?.iter().collect();
    let [user, item, title, text, unfounded] =
        ["user", "item", "title", "text", "unfounded"].map(texts);
    let (user, item, title, text, unfounded) = (user?, item?, title?, text?, unfounded?);
    let [stands_in, names_item, names_user, said_before] =
        ["stands_in", "names_item", "names_user", "said_before"].map(flags);
    let (stands_in, names_item, names_user, said_before) =
        (stands_in?, names_item?, names_user?, said_before?);
    let (told_apart, repeated) = (numbers("told_apart")?, numbers("repeated")?);
    Ok((0..frame.height())
        .map(|at| Row {
            user: user[at].clone(),
            place: places[at].unwrap_or_default(),
            item: item[at].clone(),
            title: title[at].clone(),
            text: text[at].clone(),
            stands_in: stands_in[at],
            unfounded: unfounded[at].clone(),
            names_item: names_item[at],
            names_user: names_user[at],
            told_apart: told_apart[at],
            said_before: said_before[at],
            repeated: repeated[at].unwrap_or_default(),
        })
        .collect())
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}

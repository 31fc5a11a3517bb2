//! Explanations of reranked lists: what the checks found, and a sample to read.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

use crate::{
    base::hash::Digest,
    core::Workspace,
    tasks::top_n::{
        plan::Plan,
        rerank::{explain, explain::Row},
    },
};

/// Users whose explanations are shown, the same for every system; and how many of each.
const SHOWN_USERS: usize = 3;
const SHOWN_EACH: usize = 2;
/// Explanations with unfounded names that are shown beside them.
const SHOWN_UNFOUNDED: usize = 3;

/// A system whose lists are explained, all folds and seeds together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExplainRow {
    pub system: String,
    /// Explanations, and those made by rule because the judge gave none.
    pub explanations: u64,
    pub stand_ins: u64,
    /// All that follows is of those that nothing stands in for. Mean words.
    pub words: String,
    /// Share without an unfounded name, and unfounded names for a hundred explanations.
    pub grounded: String,
    pub unfounded: String,
    /// Shares that name something of the item beside its title, and something of the user.
    pub name_item: String,
    pub name_user: String,
    /// Mean share of other users whom it fits less.
    pub told_apart: String,
    pub said_before: String,
    /// Mean share of runs of three words that an earlier one for the same user has.
    pub repeated: String,
    /// Money, of chat models alone; `unknown` without a price.
    pub cost: String,
    /// The most frequent unfounded names.
    pub names: Vec<String>,
    pub sample: Vec<Row>,
    #[serde(skip)]
    sums: Sums,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    checked: f64,
    words: f64,
    grounded: f64,
    unfounded: f64,
    name_item: f64,
    name_user: f64,
    told_apart: f64,
    told_apart_of: f64,
    said_before: f64,
    repeated: f64,
    money: f64,
    unpriced: f64,
    is_chat: bool,
    names: Vec<(String, u64)>,
}

/// One row for each system whose lists were explained, in the order of the experiment. The sample is of
/// the first fold and seed.
pub fn explain_rows(plan: &Plan, workspace: &Workspace) -> Vec<ExplainRow> {
    let mut rows: Vec<ExplainRow> = Vec::new();
    for trial in &plan.trials {
        let Some(step) = trial.explain.map(|at| &plan.steps[at]) else { continue };
        let Ok(record) = workspace.record(step.kind.name(), &step.key) else { continue };
        let at = rows.iter().position(|row| row.system == trial.name).unwrap_or_else(|| {
            let dir = workspace.step_dir(step.kind.name(), &step.key);
            let sample = explain::read(&dir).unwrap_or_default();
            rows.push(ExplainRow { system: trial.name.clone(), sample, ..ExplainRow::default() });
            rows.len() - 1
        });
        add(&mut rows[at], &record.facts);
    }
    let shared = shared_users(&rows);
    for row in &mut rows {
        finish(row);
        row.sample = sample(std::mem::take(&mut row.sample), &shared);
    }
    rows
}

fn add(row: &mut ExplainRow, facts: &Value) {
    let (checks, llm) = (&facts["checks"], &facts["judge"]["llm"]);
    let number = |name: &str| checks[name].as_f64().unwrap_or(0.0);
    row.explanations += number("explanations") as u64;
    row.stand_ins += number("stand_ins") as u64;
    let sums = &mut row.sums;
    for (to, name) in [
        (&mut sums.checked, "checked"),
        (&mut sums.words, "words"),
        (&mut sums.grounded, "grounded"),
        (&mut sums.unfounded, "unfounded"),
        (&mut sums.name_item, "name_item"),
        (&mut sums.name_user, "name_user"),
        (&mut sums.told_apart, "told_apart"),
        (&mut sums.told_apart_of, "told_apart_of"),
        (&mut sums.said_before, "said_before"),
        (&mut sums.repeated, "repeated"),
    ] {
        *to += number(name);
    }
    sums.is_chat |= llm.is_object();
    sums.money += llm["money"].as_f64().unwrap_or(0.0);
    sums.unpriced += llm["unpriced"].as_f64().unwrap_or(0.0);
    for pair in checks["unfounded_names"].as_array().into_iter().flatten() {
        let (Some(name), Some(count)) = (pair[0].as_str(), pair[1].as_u64()) else { continue };
        match sums.names.iter_mut().find(|(known, _)| known == name) {
            Some((_, known)) => *known += count,
            None => sums.names.push((name.to_owned(), count)),
        }
    }
}

fn finish(row: &mut ExplainRow) {
    let sums = &mut row.sums;
    let mean = |part: f64, of: f64, scale: f64, end: &str| match of > 0.0 {
        true => format!("{:.1}{end}", scale * part / of),
        false => "–".into(),
    };
    let n = sums.checked;
    row.words = mean(sums.words, n, 1.0, "");
    row.grounded = mean(sums.grounded, n, 100.0, " %");
    row.unfounded = mean(sums.unfounded, n, 100.0, "");
    row.name_item = mean(sums.name_item, n, 100.0, " %");
    row.name_user = mean(sums.name_user, n, 100.0, " %");
    row.told_apart = mean(sums.told_apart, sums.told_apart_of, 100.0, " %");
    row.said_before = mean(sums.said_before, n, 100.0, " %");
    row.repeated = mean(sums.repeated, n, 100.0, " %");
    row.cost = match (sums.is_chat, sums.unpriced > 0.0) {
        (false, _) => String::new(),
        (true, false) => format!("{:.4}", sums.money),
        (true, true) => "unknown".into(),
    };
    sums.names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let names = sums.names.iter().take(8);
    row.names = names.map(|(name, count)| format!("{name} ({count})")).collect();
}

/// Users to whom every system explains something.
fn shared_users(rows: &[ExplainRow]) -> BTreeSet<String> {
    let users = |row: &ExplainRow| -> BTreeSet<String> {
        row.sample.iter().map(|of| of.user.clone()).collect()
    };
    let all = rows.iter().map(users);
    all.reduce(|a, b| a.intersection(&b).cloned().collect()).unwrap_or_default()
}

/// What is shown of all rows: some users by a draw that their names make, those that all systems share
/// first, and some of what is unfounded.
fn sample(rows: Vec<Row>, shared: &BTreeSet<String>) -> Vec<Row> {
    let mut users: Vec<&str> = rows.iter().map(|row| &row.user[..]).collect();
    users.dedup();
    users.sort_by_key(|user| (!shared.contains(*user), Digest::of(user)));
    users.truncate(SHOWN_USERS);
    let shown = |row: &Row| row.place <= SHOWN_EACH && users.contains(&&row.user[..]);
    let mut sample: Vec<Row> = rows.iter().filter(|row| shown(row)).cloned().collect();
    let unfounded = rows.iter().filter(|row| !row.check.unfounded.is_empty() && !shown(row));
    sample.extend(unfounded.take(SHOWN_UNFOUNDED).cloned());
    sample
}

//! Explanations of reranked lists: results of their checks, and a sample.

use std::collections::BTreeSet;

use serde::Serialize;

use super::recorded::recorded;
use crate::{
    base::hash::Digest,
    core::Workspace,
    tasks::{
        ExperimentRecord,
        top_n::{
            rerank::explain::{self, ExplainChecks, Row},
            steps::ExplainStats,
        },
    },
};

/// Users whose explanations are shown, the same for every system; and how many of each.
const SHOWN_USERS: usize = 3;
const SHOWN_EACH: usize = 2;
/// Ungrounded explanations that are shown in addition.
const SHOWN_UNGROUNDED: usize = 3;

/// A system whose lists are explained, all folds and seeds together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ExplainRow {
    pub system: String,
    /// The reason if a record or the explanations are not readable.
    pub problem: Option<String>,
    /// Explanations, and fallbacks among them.
    pub explanations: usize,
    pub stand_ins: usize,
    /// The following fields exclude fallbacks. Mean number of words.
    pub words: String,
    /// Share of grounded explanations, and ungrounded names per 100 explanations.
    pub grounded: String,
    pub unfounded: String,
    /// Shares that name something of the item beside its title, and something of the user.
    pub name_item: String,
    pub name_user: String,
    /// Mean share of other users whom it fits less.
    pub told_apart: String,
    pub said_before: String,
    /// Mean share of three-word sequences that an earlier one for the same user has.
    pub repeated: String,
    /// Money, of chat models alone; `unknown` without a price.
    pub cost: String,
    /// The most frequent ungrounded names.
    pub names: Vec<String>,
    pub sample: Vec<Row>,
    #[serde(skip)]
    sums: Sums,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    checks: ExplainChecks,
    money: f64,
    unpriced: usize,
    is_chat: bool,
}

/// One row per system with explanations, in the order of the experiment. The sample is of
/// the first fold and seed.
pub fn explain_rows(experiment: &ExperimentRecord, workspace: &Workspace) -> Vec<ExplainRow> {
    let mut rows: Vec<ExplainRow> = Vec::new();
    for trial in &experiment.trials {
        let Some(step) = trial.explain else { continue };
        let read = recorded::<ExplainStats>(experiment, workspace, step);
        let Some(read) = read else { continue };
        let at = rows.iter().position(|row| row.system == trial.name).unwrap_or_else(|| {
            let mut row = ExplainRow { system: trial.name.clone(), ..ExplainRow::default() };
            match explain::read(&experiment.dir(workspace, step)) {
                Ok(sample) => row.sample = sample,
                Err(problem) => row.problem = Some(format!("explanations not readable: {problem}")),
            }
            rows.push(row);
            rows.len() - 1
        });
        match read {
            Ok((stats, _)) => add(&mut rows[at], stats),
            Err(problem) => rows[at].problem = Some(problem),
        }
    }
    let shared = shared_users(&rows);
    for row in &mut rows {
        match row.problem.take() {
            None => finish(row),
            // Sums without some of the folds and seeds would pass for those of all.
            problem => {
                let (system, sample) = (row.system.clone(), std::mem::take(&mut row.sample));
                *row = ExplainRow { system, problem, sample, ..ExplainRow::default() };
            }
        }
        row.sample = sample(std::mem::take(&mut row.sample), &shared);
    }
    rows
}

fn add(row: &mut ExplainRow, stats: ExplainStats) {
    let ExplainStats { judge, checks, .. } = stats;
    row.explanations += checks.explanations;
    row.stand_ins += checks.fallbacks;
    let sums = &mut row.sums.checks;
    sums.checked += checks.checked;
    sums.words += checks.words;
    sums.grounded += checks.grounded;
    sums.ungrounded += checks.ungrounded;
    sums.name_item += checks.name_item;
    sums.name_user += checks.name_user;
    sums.user_specificity += checks.user_specificity;
    sums.user_specificity_of += checks.user_specificity_of;
    sums.duplicates += checks.duplicates;
    sums.repeated += checks.repeated;
    for (name, count) in checks.ungrounded_names {
        match sums.ungrounded_names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known += count,
            None => sums.ungrounded_names.push((name, count)),
        }
    }
    if let Some(judge) = judge {
        row.sums.is_chat = true;
        row.sums.money += judge.llm.money;
        row.sums.unpriced += judge.llm.unpriced;
    }
}

fn finish(row: &mut ExplainRow) {
    let Sums { checks, money, unpriced, is_chat } = &mut row.sums;
    let mean = |part: f64, of: usize, scale: f64, end: &str| match of {
        0 => "–".into(),
        _ => format!("{:.1}{end}", scale * part / of as f64),
    };
    let n = checks.checked;
    let percent = |part: usize| mean(part as f64, n, 100.0, " %");
    row.words = mean(checks.words as f64, n, 1.0, "");
    row.grounded = percent(checks.grounded);
    row.unfounded = mean(checks.ungrounded as f64, n, 100.0, "");
    row.name_item = percent(checks.name_item);
    row.name_user = percent(checks.name_user);
    row.told_apart = mean(checks.user_specificity, checks.user_specificity_of, 100.0, " %");
    row.said_before = percent(checks.duplicates);
    row.repeated = mean(checks.repeated, n, 100.0, " %");
    row.cost = match (*is_chat, *unpriced) {
        (false, _) => String::new(),
        (true, 0) => format!("{money:.4}"),
        (true, _) => "unknown".into(),
    };
    checks.ungrounded_names.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    let names = checks.ungrounded_names.iter().take(8);
    row.names = names.map(|(name, count)| format!("{name} ({count})")).collect();
}

/// Users with explanations by every system.
fn shared_users(rows: &[ExplainRow]) -> BTreeSet<String> {
    let users = |row: &ExplainRow| -> BTreeSet<String> {
        row.sample.iter().map(|of| of.user.clone()).collect()
    };
    let all = rows.iter().map(users);
    all.reduce(|a, b| a.intersection(&b).cloned().collect()).unwrap_or_default()
}

/// The rows to show: users drawn by their ids, first those with explanations by all systems, and some ungrounded
/// explanations.
fn sample(rows: Vec<Row>, shared: &BTreeSet<String>) -> Vec<Row> {
    let mut users: Vec<&str> = rows.iter().map(|row| &row.user[..]).collect();
    users.dedup();
    users.sort_by_key(|user| (!shared.contains(*user), Digest::of(user)));
    users.truncate(SHOWN_USERS);
    let shown = |row: &Row| row.rank <= SHOWN_EACH && users.contains(&&row.user[..]);
    let mut sample: Vec<Row> = rows.iter().filter(|row| shown(row)).cloned().collect();
    let ungrounded = rows.iter().filter(|row| !row.check.ungrounded.is_empty() && !shown(row));
    sample.extend(ungrounded.take(SHOWN_UNGROUNDED).cloned());
    sample
}

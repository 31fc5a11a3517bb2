//! Requests, unusable responses and cost of rerankers, for a report.

use serde::Serialize;

use super::recorded::recorded;
use crate::{
    analysis::ResultRow,
    core::Workspace,
    tasks::{ExperimentRecord, top_n::steps::RerankStats},
};

/// A reranker, all folds and seeds together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RerankRow {
    pub system: String,
    /// The reason if a record is not readable.
    pub problem: Option<String>,
    /// Folds and seeds.
    pub runs: usize,
    pub users: usize,
    pub questions: usize,
    /// Of the steps, as they ran; what a chat model took is `answer_seconds`.
    pub seconds: f64,
    /// Share of comparisons won by the item named first, beyond a half, with its sign: which place the judge
    /// favours. Empty where none was decided, as the next.
    pub first_named: String,
    /// Share of comparisons asked again in swapped order that came out otherwise: noise, and what the order
    /// decides.
    pub inconsistent: String,
    /// Number of items in no batch, over all users.
    pub in_no_batch: usize,
    /// Only for chat models, like all following fields.
    pub calls: usize,
    pub tokens: u64,
    pub cost: String,
    pub answer_seconds: f64,
    pub unknown_ids: String,
    pub missing_ids: String,
    pub unusable: String,
    pub fallback_users: usize,
    pub is_chat: bool,
    #[serde(skip)]
    sums: Sums,
}

impl RerankRow {
    /// What it took for one user: money where every answer has a price, else tokens.
    pub fn spent_a_user(&self) -> (Option<f64>, f64) {
        let users = self.users.max(1) as f64;
        let money = (self.sums.unpriced == 0).then_some(self.sums.money / users);
        (money, self.tokens as f64 / users)
    }
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Sums {
    decided: usize,
    first_wins: usize,
    swapped: usize,
    inconsistent: usize,
    money: f64,
    unpriced: usize,
    unknown: usize,
    answered: usize,
    missing: usize,
    asked: usize,
    unusable: usize,
    answers: usize,
}

/// The slice of the users who were reranked, if it is the same for all rerankers and was evaluated.
pub fn reranked_slice(rows: &[ResultRow]) -> Option<&str> {
    let mut slices = rows.iter().filter_map(|row| row.own_lists_of.as_deref());
    let first = slices.next()?;
    (slices.all(|of| of == first) && rows.iter().any(|row| row.slice == first)).then_some(first)
}

/// One row per reranker with finished steps, in the order of the experiment.
pub fn rerank_rows(experiment: &ExperimentRecord, workspace: &Workspace) -> Vec<RerankRow> {
    let mut rows: Vec<RerankRow> = Vec::new();
    for trial in &experiment.trials {
        if experiment.system(trial).reranks.is_none() {
            continue;
        }
        let read = recorded::<RerankStats>(experiment, workspace, trial.predictions);
        let Some(read) = read else { continue };
        let at = rows.iter().position(|row| row.system == trial.name).unwrap_or_else(|| {
            rows.push(RerankRow { system: trial.name.clone(), ..RerankRow::default() });
            rows.len() - 1
        });
        match read {
            Ok((stats, seconds)) => {
                rows[at].seconds += seconds;
                add(&mut rows[at], &stats);
            }
            Err(problem) => rows[at].problem = Some(problem),
        }
    }
    for row in &mut rows {
        match row.problem.take() {
            None => finish(row),
            // Sums without some of the folds and seeds would pass for those of all.
            problem => {
                *row = RerankRow { system: row.system.clone(), problem, ..RerankRow::default() };
            }
        }
    }
    rows
}

fn add(row: &mut RerankRow, stats: &RerankStats) {
    let (counts, sums) = (&stats.rerank, &mut row.sums);
    row.runs += 1;
    row.users += counts.users;
    row.questions += counts.questions;
    row.in_no_batch += counts.items_in_no_batch;
    sums.decided += counts.decided;
    sums.first_wins += counts.first_named_wins;
    sums.swapped += counts.asked_again_swapped;
    sums.inconsistent += counts.inconsistent;
    let Some(judge) = &stats.judge else { return };
    row.is_chat = true;
    row.calls += judge.llm.responses;
    row.tokens += judge.llm.input_tokens + judge.llm.output_tokens;
    row.answer_seconds += judge.llm.latency_seconds;
    row.fallback_users += judge.fallback_users;
    sums.money += judge.llm.money;
    sums.unpriced += judge.llm.unpriced;
    sums.unknown += judge.unknown_ids;
    sums.answered += judge.ids_in_responses;
    sums.missing += judge.omitted_ids;
    sums.asked += judge.ids_requested;
    sums.unusable += judge.unusable_responses;
    sums.answers += judge.responses;
}

fn finish(row: &mut RerankRow) {
    let share = |part: usize, of: usize| match of {
        0 => String::new(),
        _ => format!("{:.2} %", 100.0 * part as f64 / of as f64),
    };
    let sums = row.sums.clone();
    if sums.decided > 0 {
        let share = sums.first_wins as f64 / sums.decided as f64;
        row.first_named = format!("{:+.2} %", 100.0 * (share - 0.5));
    }
    row.inconsistent = share(sums.inconsistent, sums.swapped);
    row.unknown_ids = share(sums.unknown, sums.answered);
    row.missing_ids = share(sums.missing, sums.asked);
    row.unusable = share(sums.unusable, sums.answers);
    row.cost = match (row.is_chat, sums.unpriced) {
        (false, _) => String::new(),
        (true, 0) => format!("{:.4}", sums.money),
        (true, _) => "unknown".into(),
    };
}

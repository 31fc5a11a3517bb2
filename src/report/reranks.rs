//! What rerankers asked, what was odd about the answers, and what they cost, for a report.

use serde::Serialize;
use serde_json::Value;

use crate::{
    core::Workspace,
    tasks::top_n::plan::{Plan, StepKind},
};

/// A reranker, all folds and seeds together.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct RerankRow {
    pub system: String,
    /// Folds and seeds.
    pub runs: usize,
    pub users: u64,
    pub questions: u64,
    /// Of the steps, as they ran; what a chat model took is `answer_seconds`.
    pub seconds: f64,
    /// Share of comparisons won by the item named first, beyond a half, with its sign: which place the judge
    /// favours. Empty where none was decided, as the next.
    pub first_named: String,
    /// Share of comparisons asked again in swapped order that came out otherwise: noise, and what the order
    /// decides.
    pub inconsistent: String,
    /// Items that were in no batch, all users together.
    pub in_no_batch: u64,
    /// Of chat models alone, as all that follows.
    pub calls: u64,
    pub tokens: u64,
    pub cost: String,
    pub answer_seconds: f64,
    pub unknown_ids: String,
    pub missing_ids: String,
    pub unusable: String,
    pub fallback_users: u64,
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
    decided: u64,
    first_wins: u64,
    swapped: u64,
    inconsistent: u64,
    money: f64,
    unpriced: u64,
    unknown: u64,
    answered: u64,
    missing: u64,
    asked: u64,
    unusable: u64,
    answers: u64,
}

/// One row for each reranker with finished steps, in the order of the experiment.
pub fn rerank_rows(plan: &Plan, workspace: &Workspace) -> Vec<RerankRow> {
    let mut rows: Vec<RerankRow> = Vec::new();
    for trial in &plan.trials {
        let step = &plan.steps[trial.fit];
        if step.kind != StepKind::Rerank {
            continue;
        }
        let Ok(record) = workspace.record(step.kind.name(), &step.key) else { continue };
        let at = rows.iter().position(|row| row.system == trial.name).unwrap_or_else(|| {
            rows.push(RerankRow { system: trial.name.clone(), ..RerankRow::default() });
            rows.len() - 1
        });
        rows[at].seconds += record.wall_seconds;
        add(&mut rows[at], &record.facts);
    }
    rows.iter_mut().for_each(finish);
    rows
}

fn add(row: &mut RerankRow, facts: &Value) {
    let number = |value: &Value| value.as_u64().unwrap_or(0);
    let (asked, judge) = (&facts["rerank"], &facts["judge"]);
    let llm = &judge["llm"];
    row.runs += 1;
    row.users += number(&asked["users"]);
    row.questions += number(&asked["questions"]);
    row.is_chat |= judge.is_object();
    row.calls += number(&llm["answers"]);
    row.tokens += number(&llm["input_tokens"]) + number(&llm["output_tokens"]);
    row.answer_seconds += llm["latency_seconds"].as_f64().unwrap_or(0.0);
    row.fallback_users += number(&judge["fallback_users"]);
    row.in_no_batch += number(&asked["items_in_no_batch"]);
    let sums = &mut row.sums;
    sums.decided += number(&asked["decided"]);
    sums.first_wins += number(&asked["first_named_wins"]);
    sums.swapped += number(&asked["asked_again_swapped"]);
    sums.inconsistent += number(&asked["inconsistent"]);
    sums.money += llm["money"].as_f64().unwrap_or(0.0);
    sums.unpriced += number(&llm["unpriced"]);
    sums.unknown += number(&judge["unknown_ids"]);
    sums.answered += number(&judge["ids_answered"]);
    sums.missing += number(&judge["missing_ids"]);
    sums.asked += number(&judge["ids_asked"]);
    sums.unusable += number(&judge["unusable_answers"]);
    sums.answers += number(&judge["answers"]);
}

fn finish(row: &mut RerankRow) {
    let share = |part: u64, of: u64| match of {
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

//! What a run has asked and spent, what calls cost, and whether a budget allows more.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    journal::{Record, Usage},
    judge::{Budget, JudgeSpec},
    transport::Call,
};

/// What a run has asked and spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Answers taken from the journal.
    pub found: u64,
    /// Answers asked for.
    pub asked: u64,
    /// Tries that failed.
    pub failed: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// In the currency of the judges' prices.
    pub money: f64,
    /// Whether some of it has no known price.
    pub unpriced: bool,
    /// Answers that came whole.
    pub seconds: f64,
}

/// What was spent, and what requests on their way may cost.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub spent: Spent,
    pub reserved_money: f64,
    pub reserved_tokens: u64,
}

impl Spent {
    /// Why a budget does not allow that much more; none where it does.
    pub(super) fn over(&self, budget: &Budget, tokens: u64, money: f64) -> Option<String> {
        let spent = self.input_tokens.saturating_add(self.output_tokens);
        let what = if let Some(limit) = budget.tokens.filter(|limit| spent + tokens > *limit) {
            format!("{spent} of {limit} tokens are spent, and what is next may take {tokens}")
        } else if let Some(limit) = budget.money.filter(|limit| self.money + money > *limit) {
            format!(
                "{:.4} of {limit:.4} is spent, and what is next may cost {money:.4}",
                self.money
            )
        } else {
            return None;
        };
        Some(format!(
            "the budget is reached: {what}\n  = help: what was answered is kept; raise it with \
             `--budget-money`, `--budget-tokens` or `responses.budget`, and run again"
        ))
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answers from the journal, {} asked for", self.found, self.asked)?;
        if self.failed > 0 {
            write!(f, ", {} tries failed", self.failed)?;
        }
        if self.asked > 0 {
            write!(f, "; {} + {} tokens", self.input_tokens, self.output_tokens)?;
            match self.unpriced {
                false => write!(f, ", cost {:.4}", self.money)?,
                true if self.money > 0.0 => write!(f, ", cost {:.4} and more", self.money)?,
                true => write!(f, ", cost unknown (no `price`)")?,
            }
        }
        Ok(())
    }
}

/// Fills in what the response says of itself.
pub(super) fn describe(record: &mut Record, spec: &JudgeSpec) {
    let response = &record.response;
    record.usage = usage_of(response);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    record.money = cost(spec, &record.usage);
    record.model = text(&response["model"]);
    record.fingerprint = text(&response["system_fingerprint"]);
    record.finish = text(&response["choices"][0]["finish_reason"]);
}

/// Tokens as a response tells them. No call takes billions: what says so is held to that.
pub(super) fn usage_of(response: &Value) -> Usage {
    let number = |value: &Value| value.as_u64().unwrap_or(0).min(1 << 32);
    let usage = &response["usage"];
    Usage {
        input: number(&usage["prompt_tokens"]),
        output: number(&usage["completion_tokens"]),
        cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
    }
}

/// What tokens cost, where the price is known.
pub fn cost(spec: &JudgeSpec, usage: &Usage) -> Option<f64> {
    let price = spec.price?;
    let cached = usage.cached.min(usage.input);
    let millions = |tokens: u64| tokens as f64 / 1e6;
    Some(
        millions(usage.input - cached) * price.input
            + millions(cached) * price.cached.unwrap_or(price.input)
            + millions(usage.output) * price.output,
    )
}

/// (input, output) tokens a call may take at most: no token is less than a byte of the request.
pub fn expected_tokens(call: &Call, spec: &JudgeSpec) -> (u64, u64) {
    match call {
        Call::Chat(body) => (body.to_string().len() as u64, spec.max_tokens),
        Call::Get(..) => (0, 0),
    }
}

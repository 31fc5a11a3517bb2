//! Requests and costs of a run, the cost of calls, and the budget.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    endpoint::{Budget, EndpointSpec},
    journal::{Record, Usage},
    transport::Call,
};

/// Requests and costs of a run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Responses from the journal.
    #[serde(rename = "found")]
    pub cached: u64,
    /// Responses received from endpoints.
    #[serde(rename = "asked")]
    pub requested: u64,
    /// Failed attempts.
    pub failed: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// In the currency of the prices of endpoints.
    pub money: f64,
    /// Whether the price of a response is unknown.
    pub unpriced: bool,
    /// Sum of the latencies of complete responses.
    pub seconds: f64,
}

/// The costs so far, and the maximum cost of requests in flight.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub spent: Spent,
    pub reserved_money: f64,
    pub reserved_tokens: u64,
}

impl Spent {
    /// Adds what another process has spent.
    pub fn add(&mut self, more: &Self) {
        self.cached += more.cached;
        self.requested += more.requested;
        self.failed += more.failed;
        self.input_tokens = self.input_tokens.saturating_add(more.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(more.output_tokens);
        self.money += more.money;
        self.unpriced |= more.unpriced;
        self.seconds += more.seconds;
    }

    /// Why a budget does not allow so much more; none if it does.
    pub(super) fn over(&self, budget: &Budget, tokens: u64, money: f64) -> Option<String> {
        let spent = self.input_tokens.saturating_add(self.output_tokens);
        let what = if let Some(limit) = budget.tokens.filter(|limit| spent + tokens > *limit) {
            format!("{spent} of {limit} tokens are used, and the next request may use {tokens}")
        } else if let Some(limit) = budget.money.filter(|limit| self.money + money > *limit) {
            format!(
                "{:.4} of {limit:.4} is spent, and the next request may cost {money:.4}",
                self.money
            )
        } else {
            return None;
        };
        Some(format!(
            "the budget is reached: {what}\n  = help: received responses are recorded; raise the budget with \
             `--budget-money`, `--budget-tokens` or `responses.budget`, and run again"
        ))
    }
}

impl std::fmt::Display for Spent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} responses cached, {} requested", self.cached, self.requested)?;
        if self.failed > 0 {
            write!(f, ", {} attempts failed", self.failed)?;
        }
        if self.requested > 0 {
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

/// Fills in tokens, cost, model and finish reason of a response.
pub(super) fn describe(record: &mut Record, spec: &EndpointSpec) {
    let response = &record.response;
    record.usage = usage_of(response);
    let text = |value: &Value| value.as_str().map(str::to_owned);
    record.money = cost(spec, &record.usage);
    record.model = text(&response["model"]);
    record.fingerprint = text(&response["system_fingerprint"]);
    record.finish = text(&response["choices"][0]["finish_reason"]);
}

/// Tokens as reported by a response, at most 2³²: no call uses more.
pub(super) fn usage_of(response: &Value) -> Usage {
    let number = |value: &Value| value.as_u64().unwrap_or(0).min(1 << 32);
    let usage = &response["usage"];
    Usage {
        input: number(&usage["prompt_tokens"]),
        output: number(&usage["completion_tokens"]),
        cached: number(&usage["prompt_tokens_details"]["cached_tokens"]),
    }
}

/// The cost of tokens, if the price is known.
pub fn cost(spec: &EndpointSpec, usage: &Usage) -> Option<f64> {
    let price = spec.price?;
    let cached = usage.cached.min(usage.input);
    let millions = |tokens: u64| tokens as f64 / 1e6;
    Some(
        millions(usage.input - cached) * price.input
            + millions(cached) * price.cached.unwrap_or(price.input)
            + millions(usage.output) * price.output,
    )
}

/// The maximum number of (input, output) tokens of a call: a token has at least one byte.
pub fn expected_tokens(call: &Call, spec: &EndpointSpec) -> (u64, u64) {
    match call {
        Call::Chat(body) => (body.to_string().len() as u64, spec.max_tokens),
        Call::Get(..) => (0, 0),
    }
}

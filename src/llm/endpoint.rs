//! `endpoints:` and `responses:` of an experiment: language models, and the use of their responses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A chat model behind an endpoint that speaks OpenAI's protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointSpec {
    /// The URL of the endpoint up to `/v1`: OpenAI, Ollama, vLLM, a llama.cpp server or another one.
    pub base_url: String,
    /// The name of the model at the endpoint.
    pub model: String,
    /// The environment variable that contains the key; none if the endpoint needs no key.
    pub key_env: Option<String>,
    /// Temperature of the request; by default that of the endpoint.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f64>,
    /// `top_p` of the request; by default that of the endpoint.
    #[schemars(range(min = 0, max = 1))]
    pub top_p: Option<f64>,
    /// Seed of the request, for endpoints that support it.
    pub seed: Option<u64>,
    /// Maximum number of tokens of a response.
    #[schemars(range(min = 1, max = 10000000))]
    pub max_tokens: u64,
    /// A reasoning model: no temperature, and `max_completion_tokens` instead of `max_tokens`.
    pub reasoning: bool,
    /// For reasoning models: minimal, low, medium or high.
    pub reasoning_effort: Option<String>,
    /// How JSON responses are requested.
    pub structured: Structured,
    /// Further fields of the request, sent unchanged.
    pub extra: Map<String, Value>,
    /// For local models: a hash of the weights, so that other weights under the same name are another model.
    pub weights: Option<String>,
    /// Maximum number of concurrent requests. It is reduced after responses with status 429, and then grows back.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: usize,
    /// Rate limit of this endpoint.
    #[schemars(range(min = 1, max = 4294967295u32))]
    pub requests_per_minute: Option<u32>,
    /// Rate limit of this endpoint.
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Timeout of a request in seconds.
    #[schemars(range(min = 0.05, max = 86400))]
    pub timeout: f64,
    /// Retries if the endpoint fails (not if the response is unusable).
    #[schemars(range(max = 100))]
    pub retries: u32,
    /// How often an unusable response is sent back with a description of the problem. This changes the distribution
    /// of responses, so it is counted, and off by default.
    #[schemars(range(max = 10))]
    pub repairs: u32,
    /// What happens to a step if requests fail after all retries.
    pub failures: Failures,
    /// Price per million tokens; without it, costs are unknown.
    pub price: Option<Price>,
    /// Uses OpenAI's Batch API for bulk requests: half the price, but hours instead of minutes.
    pub batch: bool,
}

/// How JSON responses are requested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Structured {
    /// `response_format` with the JSON Schema.
    #[default]
    Schema,
    /// `response_format: {type: json_object}`, with the schema in the prompt.
    Json,
    /// Only the prompt asks for JSON; the response may contain a code fence or other text around it.
    Text,
}

/// What happens to a step if requests fail after all retries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Failures {
    /// The step fails. Its responses are recorded, and the next run requests only the missing ones.
    #[default]
    Fail,
    /// The step uses a fallback instead of each missing response, and counts them.
    FallBack,
}

/// Price per million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Per million input tokens.
    #[schemars(range(min = 0))]
    pub input: f64,
    /// Per million output tokens.
    #[schemars(range(min = 0))]
    pub output: f64,
    /// Per million input tokens in the cache of the endpoint; by default the same as `input`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cached: Option<f64>,
}

impl Default for EndpointSpec {
    fn default() -> Self {
        Self {
            base_url: "https://api.openai.com/v1".into(),
            model: String::new(),
            key_env: None,
            temperature: None,
            top_p: None,
            seed: None,
            max_tokens: 1024,
            reasoning: false,
            reasoning_effort: None,
            structured: Structured::Schema,
            extra: Map::new(),
            weights: None,
            concurrency: 20,
            requests_per_minute: None,
            tokens_per_minute: None,
            timeout: 120.0,
            retries: 8,
            repairs: 0,
            failures: Failures::Fail,
            price: None,
            batch: false,
        }
    }
}

/// Fields of a request that assay sets, so `extra` may not contain them.
const RESERVED: [&str; 6] = ["messages", "model", "stream", "n", "response_format", "max_tokens"];

impl EndpointSpec {
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        if self.model.is_empty() {
            return Err("`model` is missing: the model's name at the endpoint".into());
        }
        let url = reqwest::Url::parse(&self.base_url)
            .map_err(|error| format!("`base_url` is `{}`: {error}", self.base_url))?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(format!("`base_url` is `{}`; expected http(s)://HOST…/v1", self.base_url));
        }
        if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
            return Err(
                "`base_url` contains a user name, password or query: name an environment variable \
                        with the key in `key_env` instead"
                    .into(),
            );
        }
        if let Some(name) = &self.key_env {
            let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(fine) || name.starts_with("sk-") {
                return Err(
                    "`key_env` is the NAME of an environment variable, e.g. OPENAI_API_KEY, \
                            not the key itself"
                        .into(),
                );
            }
        }
        let range = |name: &str, value: Option<f64>, low: f64, high: f64| match value {
            Some(value) if !(low..=high).contains(&value) => {
                Err(format!("`{name}` is {value}; expected {low} to {high}"))
            }
            _ => Ok(()),
        };
        range("temperature", self.temperature, 0.0, 2.0)?;
        range("top_p", self.top_p, 0.0, 1.0)?;
        range("timeout", Some(self.timeout), 0.05, 86_400.0)?;
        if self.reasoning && self.temperature.is_some() {
            return Err("`temperature` is set, but reasoning models do not support it".into());
        }
        if !self.reasoning && self.reasoning_effort.is_some() {
            return Err("`reasoning_effort` is set without `reasoning: true`".into());
        }
        if !(1..=1000).contains(&self.concurrency) {
            return Err(format!("`concurrency` is {}; expected 1 to 1000", self.concurrency));
        }
        if self.max_tokens > 10_000_000 {
            return Err(format!("`max_tokens` is {}; expected at most 10000000", self.max_tokens));
        }
        for (name, zero) in [
            ("max_tokens", self.max_tokens == 0),
            ("requests_per_minute", self.requests_per_minute == Some(0)),
            ("tokens_per_minute", self.tokens_per_minute == Some(0)),
        ] {
            if zero {
                return Err(format!("`{name}` is 0"));
            }
        }
        if self.retries > 100 || self.repairs > 10 {
            return Err("`retries` goes up to 100, `repairs` up to 10".into());
        }
        if let Some(key) = self.extra.keys().find(|key| RESERVED.contains(&&key[..])) {
            return Err(format!("`extra` contains `{key}`, which assay sets itself"));
        }
        if let Some(price) = self.price {
            for value in [Some(price.input), Some(price.output), price.cached].into_iter().flatten()
            {
                if !(value >= 0.0 && value.is_finite()) {
                    return Err(format!("`price` contains {value}; expected 0 or more"));
                }
            }
        }
        Ok(())
    }

    /// Everything a response depends on: the endpoint's part of a step's key.
    pub fn key_inputs(&self) -> Value {
        json!({
            "base_url": self.base_url.trim_end_matches('/'),
            "parameters": self.parameters(),
            "structured": self.structured,
            "weights": self.weights,
            "repairs": self.repairs,
            "failures": self.failures,
        })
    }

    /// The fields of a request that are the same for every request.
    pub fn parameters(&self) -> Map<String, Value> {
        let mut body = Map::new();
        let mut put = |name: &str, value: Option<Value>| {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        };
        put("model", Some(json!(self.model)));
        put("temperature", self.temperature.map(|value| json!(value)));
        put("top_p", self.top_p.map(|value| json!(value)));
        put("seed", self.seed.map(|value| json!(value)));
        put("reasoning_effort", self.reasoning_effort.as_ref().map(|value| json!(value)));
        let limit = if self.reasoning { "max_completion_tokens" } else { "max_tokens" };
        put(limit, Some(json!(self.max_tokens)));
        for (name, value) in &self.extra {
            put(name, Some(value.clone()));
        }
        body
    }
}

/// Where responses of language models come from, and what they may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ResponsesSpec {
    pub mode: Mode,
    /// What one run may spend. It is checked before each request.
    pub budget: Budget,
}

/// Where responses come from.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Recorded responses are used; others are requested and recorded
    #[default]
    Record,
    /// As `record` if no response is recorded yet, otherwise as `replay`
    Once,
    /// Only recorded responses are used; a missing one is an error
    Replay,
    /// All responses are requested again and replace recorded ones
    Refresh,
    /// Recorded responses are not used, and new ones are not used later (they are still in the journal)
    Off,
}

/// What one run may spend.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// In the currency of the prices of endpoints.
    #[schemars(range(min = 0))]
    pub money: Option<f64>,
    /// Input and output tokens.
    pub tokens: Option<u64>,
}

impl ResponsesSpec {
    /// The first setting that is out of range.
    pub fn validate(&self, endpoints: &[(String, EndpointSpec)]) -> Result<(), String> {
        let Some(money) = self.budget.money else { return Ok(()) };
        if !(money >= 0.0 && money.is_finite()) {
            return Err(format!("`budget.money` is {money}; expected 0 or more"));
        }
        match endpoints.iter().find(|(_, endpoint)| endpoint.price.is_none()) {
            Some((name, _)) => Err(format!(
                "`budget.money` is set, but the endpoint `{name}` has no `price` (write `price: {{input: 0, \
                 output: 0}}` if it is free)"
            )),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_passwords_are_refused_in_settings() {
        let endpoint = |url: &str, key: Option<&str>| EndpointSpec {
            base_url: url.into(),
            model: "m".into(),
            key_env: key.map(str::to_owned),
            ..EndpointSpec::default()
        };
        assert!(endpoint("https://x/v1", Some("A_KEY")).validate().is_ok());
        for (url, key) in [
            ("https://me:pw@x/v1", None),
            ("https://x/v1?key=1", None),
            ("ftp://x", None),
            ("x", None),
            ("https://x/v1", Some("sk-abc")),
            ("https://x/v1", Some("")),
        ] {
            assert!(endpoint(url, key).validate().is_err(), "{url} {key:?}");
        }
    }

    #[test]
    fn reasoning_models_get_other_parameters() {
        let mut endpoint =
            EndpointSpec { model: "o4-mini".into(), reasoning: true, ..Default::default() };
        endpoint.reasoning_effort = Some("low".into());
        let body = endpoint.parameters();
        assert!(body.contains_key("max_completion_tokens") && !body.contains_key("max_tokens"));
        endpoint.temperature = Some(0.0);
        assert!(endpoint.validate().is_err());
    }
}

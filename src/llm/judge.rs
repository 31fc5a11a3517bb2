//! `judges:` and `answers:` of an experiment: language models, and the use of their responses.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

/// A chat model behind an endpoint that speaks OpenAI's protocol.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JudgeSpec {
    /// The endpoint up to `/v1`: OpenAI's, or that of Ollama, vLLM, a llama.cpp server and their like.
    pub base_url: String,
    /// The model's name there.
    pub model: String,
    /// The environment variable that holds the key; none where the endpoint wants no key.
    pub key_env: Option<String>,
    /// Of the request; the endpoint's default where it is not given.
    #[schemars(range(min = 0, max = 2))]
    pub temperature: Option<f64>,
    /// Of the request, likewise.
    #[schemars(range(min = 0, max = 1))]
    pub top_p: Option<f64>,
    /// Of the request, for endpoints that take one.
    pub seed: Option<u64>,
    /// Most tokens of an answer.
    #[schemars(range(min = 1, max = 10000000))]
    pub max_tokens: u64,
    /// A reasoning model: no temperature, `max_completion_tokens` in place of `max_tokens`.
    pub reasoning: bool,
    /// Of reasoning models: minimal, low, medium or high.
    pub reasoning_effort: Option<String>,
    /// How answers in JSON are asked for.
    pub structured: Structured,
    /// Anything else that is put into the request as it is.
    pub extra: Map<String, Value>,
    /// Of local models: a hash of the weights, so that another file under the same name is another model.
    pub weights: Option<String>,
    /// Most requests at a time. It shrinks where the endpoint answers 429, and grows back.
    #[schemars(range(min = 1, max = 1000))]
    pub concurrency: usize,
    /// Limit of this endpoint.
    #[schemars(range(min = 1, max = 4294967295u32))]
    pub requests_per_minute: Option<u32>,
    /// Limit of this endpoint.
    #[schemars(range(min = 1))]
    pub tokens_per_minute: Option<u64>,
    /// Seconds until a request counts as lost.
    #[schemars(range(min = 0.05, max = 86400))]
    pub timeout: f64,
    /// Tries after the first, where the endpoint fails (not where the answer is bad).
    #[schemars(range(max = 100))]
    pub retries: u32,
    /// Times that a bad answer is sent back with what is wrong with it. It changes the distribution of
    /// answers, so it is counted and off by default.
    #[schemars(range(max = 10))]
    pub repairs: u32,
    /// What happens to a step whose requests failed in the end.
    pub failures: Failures,
    /// Money for a million tokens; without it costs are unknown.
    pub price: Option<Price>,
    /// Sends bulk work through OpenAI's Batch API: half the price, hours instead of minutes.
    pub batch: bool,
}

/// How answers in JSON are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Structured {
    /// `response_format` with the JSON Schema.
    #[default]
    Schema,
    /// `response_format: {type: json_object}`; the schema stands in the prompt.
    Json,
    /// The prompt alone asks for it; the answer may be fenced or have prose around it.
    Text,
}

/// What happens to a step whose requests failed in the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Failures {
    /// It fails; what was answered is kept, and the next run asks for the rest alone.
    #[default]
    Fail,
    /// It goes on with what stands in for an answer, and counts.
    FallBack,
}

/// Money for a million tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// Per million tokens sent.
    #[schemars(range(min = 0))]
    pub input: f64,
    /// Per million tokens received.
    #[schemars(range(min = 0))]
    pub output: f64,
    /// Of input that the endpoint had in its cache; by default as other input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub cached: Option<f64>,
}

impl Default for JudgeSpec {
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

/// Fields of a request that others set.
const OURS: [&str; 6] = ["messages", "model", "stream", "n", "response_format", "max_tokens"];

impl JudgeSpec {
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
                "`base_url` holds a name, password or query: keys belong into the environment \
                        (`key_env`)"
                    .into(),
            );
        }
        if let Some(name) = &self.key_env {
            let fine = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(fine) || name.starts_with("sk-") {
                return Err(
                    "`key_env` is the NAME of an environment variable, e.g. OPENAI_API_KEY; \
                            never the key itself"
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
            return Err("`temperature` is set, and reasoning models take none".into());
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
        if let Some(key) = self.extra.keys().find(|key| OURS.contains(&&key[..])) {
            return Err(format!("`extra` holds `{key}`, which assay sets itself"));
        }
        if let Some(price) = self.price {
            for value in [Some(price.input), Some(price.output), price.cached].into_iter().flatten()
            {
                if !(value >= 0.0 && value.is_finite()) {
                    return Err(format!("`price` holds {value}; expected 0 or more"));
                }
            }
        }
        Ok(())
    }

    /// What an answer depends on: what a step's key says of the judge.
    pub fn material(&self) -> Value {
        json!({
            "base_url": self.base_url.trim_end_matches('/'),
            "parameters": self.parameters(),
            "structured": self.structured,
            "weights": self.weights,
            "repairs": self.repairs,
            "failures": self.failures,
        })
    }

    /// The request's fields that do not depend on what is asked.
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
#[schemars(rename = "ResponsesSpec")]
#[serde(deny_unknown_fields, default)]
pub struct AnswersSpec {
    pub mode: Mode,
    /// What one run may spend. It is looked at before each request.
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
    /// In the currency of the judges' prices.
    #[schemars(range(min = 0))]
    pub money: Option<f64>,
    /// Tokens sent and received.
    pub tokens: Option<u64>,
}

impl AnswersSpec {
    /// The first setting that is out of range.
    pub fn validate(&self, judges: &[(String, JudgeSpec)]) -> Result<(), String> {
        let Some(money) = self.budget.money else { return Ok(()) };
        if !(money >= 0.0 && money.is_finite()) {
            return Err(format!("`budget.money` is {money}; expected 0 or more"));
        }
        match judges.iter().find(|(_, judge)| judge.price.is_none()) {
            Some((name, _)) => Err(format!(
                "`budget.money` is set, and the judge `{name}` has no `price` (say `price: {{input: 0, \
                 output: 0}}` where it costs nothing)"
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
        let judge = |url: &str, key: Option<&str>| JudgeSpec {
            base_url: url.into(),
            model: "m".into(),
            key_env: key.map(str::to_owned),
            ..JudgeSpec::default()
        };
        assert!(judge("https://x/v1", Some("A_KEY")).validate().is_ok());
        for (url, key) in [
            ("https://me:pw@x/v1", None),
            ("https://x/v1?key=1", None),
            ("ftp://x", None),
            ("x", None),
            ("https://x/v1", Some("sk-abc")),
            ("https://x/v1", Some("")),
        ] {
            assert!(judge(url, key).validate().is_err(), "{url} {key:?}");
        }
    }

    #[test]
    fn reasoning_models_get_other_parameters() {
        let mut judge =
            JudgeSpec { model: "o4-mini".into(), reasoning: true, ..Default::default() };
        judge.reasoning_effort = Some("low".into());
        let body = judge.parameters();
        assert!(body.contains_key("max_completion_tokens") && !body.contains_key("max_tokens"));
        judge.temperature = Some(0.0);
        assert!(judge.validate().is_err());
    }
}

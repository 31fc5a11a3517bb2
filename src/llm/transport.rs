//! One request over HTTP: the complete reply, and its interpretation.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use async_openai::{Client, config::Config, error::OpenAIError, middleware::HttpRequestFactory};
use chrono::{DateTime, FixedOffset};
use reqwest::header::{AUTHORIZATION, DATE, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::reply;
use crate::base::{
    limits::{LINE_VARIABLE, most_of_line, too_long},
    terminal::{shown, shown_up_to},
};

/// An endpoint with its key. Only the variable that its settings name is read from the environment.
#[derive(Clone, Debug)]
pub struct Endpoint {
    base: String,
    key: SecretString,
}

impl Endpoint {
    /// `base` is the URL up to `/v1`.
    pub fn new(base: &str, key: Option<String>) -> Self {
        let key = SecretString::from(key.unwrap_or_default());
        Self { base: base.trim_end_matches('/').to_owned(), key }
    }

    /// Removes the key, and every piece of it of eight characters or more, from a text, in case the endpoint sent it back.
    pub fn redact(&self, text: &str) -> String {
        let key = self.key.expose_secret().as_bytes();
        // Real keys are longer; a placeholder like `none` occurs in many texts.
        if key.len() < SHORTEST_KEY {
            return text.to_owned();
        }
        let pieces: HashSet<&[u8]> = key.windows(SHORTEST_KEY).collect();
        let bytes = text.as_bytes();
        let mut out = String::with_capacity(text.len());
        // Keys are ASCII, so pieces of them begin and end at character boundaries.
        let (mut copied, mut at) = (0, 0);
        while at + SHORTEST_KEY <= bytes.len() {
            if !pieces.contains(&bytes[at..at + SHORTEST_KEY]) {
                at += 1;
                continue;
            }
            let mut end = at + SHORTEST_KEY;
            while end < bytes.len() && pieces.contains(&bytes[end + 1 - SHORTEST_KEY..=end]) {
                end += 1;
            }
            out.push_str(&text[copied..at]);
            out.push_str(REDACTED);
            (copied, at) = (end, end);
        }
        out.push_str(&text[copied..]);
        out
    }

    /// Removes the key from every string, name and number in a value, whose structure is kept.
    pub fn redact_value(&self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.redact(text),
            Value::Array(items) => items.iter_mut().for_each(|item| self.redact_value(item)),
            Value::Object(object) => {
                *object = std::mem::take(object)
                    .into_iter()
                    .map(|(name, mut value)| {
                        self.redact_value(&mut value);
                        (self.redact(&name), value)
                    })
                    .collect();
            }
            Value::Number(number) => {
                let text = number.to_string();
                let redacted = self.redact(&text);
                if redacted != text {
                    *value = Value::String(redacted);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }

    /// Removes the key from a body before it is shortened, shown or stored.
    fn redact_body(&self, body: Vec<u8>) -> Vec<u8> {
        if self.key.expose_secret().len() < SHORTEST_KEY {
            return body;
        }
        if let Ok(mut value) = serde_json::from_slice::<Value>(&body) {
            let before = value.clone();
            self.redact_value(&mut value);
            // A key may be written with escapes, which only the parsed value shows.
            if value != before || body.windows(2).any(|pair| pair == b"\\u") {
                let text = value.to_string();
                // Pieces that span several strings.
                return self.redact(&text).into_bytes();
            }
        }
        match String::from_utf8(body) {
            Ok(text) => self.redact(&text).into_bytes(),
            Err(bytes) => self.redact(&String::from_utf8_lossy(bytes.as_bytes())).into_bytes(),
        }
    }
}

impl Config for Endpoint {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let key = self.key.expose_secret();
        if !key.is_empty()
            && let Ok(mut value) = HeaderValue::from_str(&format!("Bearer {key}"))
        {
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        headers
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    fn query(&self) -> Vec<(&str, &str)> {
        Vec::new()
    }

    fn api_base(&self) -> &str {
        &self.base
    }

    fn api_key(&self) -> &SecretString {
        &self.key
    }
}

/// Minimum length of keys, and of pieces of keys that are removed.
const SHORTEST_KEY: usize = 8;
/// Maximum size of the file of a batch, in maximum sizes of a reply.
const REPLIES_OF_FILE: u64 = 128;
/// Replaces a key.
const REDACTED: &str = "[key]";

/// The reply of an endpoint.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// Complete: an interrupted connection is an error.
    pub body: Vec<u8>,
    /// The target of a redirect.
    pub location: Option<String>,
    /// Whether it exceeds the maximum size; then the body is empty.
    pub too_long: bool,
}

/// How the client proceeds after a reply. The content of a response is checked by its reader.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// A response to record: it has content, a refusal, or a reason for its end.
    Response(Value),
    /// The request can be sent again.
    Retry { cause: String, limited: bool },
    /// This request fails; others may succeed.
    Failed(String),
    /// No request to this endpoint can succeed.
    Fatal(String),
}

/// A request to send.
#[derive(Clone, Debug)]
pub enum Call {
    Chat(Value),
    /// A path with its query.
    Get(String, Vec<(String, String)>),
}

/// An HTTP client without retries.
#[derive(Clone)]
pub struct Transport {
    http: reqwest::Client,
    pub endpoint: Endpoint,
}

impl Transport {
    /// A client; it does not open a connection yet.
    pub fn new(endpoint: Endpoint) -> Result<Self, String> {
        // It may already be installed.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(20))
            .user_agent(concat!("assay/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, endpoint })
    }

    /// Sends a request once. An error means that no complete reply was received.
    pub async fn send(&self, call: &Call, timeout: Duration) -> Result<Reply, String> {
        let reply = tokio::time::timeout(timeout, async {
            match call {
                Call::Chat(body) => {
                    let (client, seen) = self.client();
                    let sent = client.chat().create_byot::<_, Value>(body).await;
                    seen.take().ok_or_else(|| match sent {
                        Err(error) => in_words(&error),
                        Ok(_) => "no reply".into(),
                    })
                }
                Call::Get(path, query) => {
                    let request = self
                        .http
                        .get(self.endpoint.url(path))
                        .query(query)
                        .headers(self.endpoint.headers());
                    let response = request.send().await.map_err(|error| chain(&error))?;
                    whole(response, &self.endpoint, most_of_line())
                        .await
                        .map_err(|error| chain(&error))
                }
            }
        });
        let reply = match reply.await {
            Ok(reply) => reply,
            Err(_) => Err(format!("no reply within {} s", timeout.as_secs_f64())),
        };
        reply.map_err(|error| self.endpoint.redact(&error))
    }

    /// A client of async-openai whose complete replies, with status and headers, are also available to us.
    pub fn client(&self) -> (Client<Endpoint>, Seen) {
        let seen = Seen::default();
        let service = Capture {
            http: self.http.clone(),
            seen: seen.clone(),
            endpoint: self.endpoint.clone(),
        };
        let client = Client::build(self.http.clone(), self.endpoint.clone());
        (client.with_http_service(service), seen)
    }
}

/// The last complete reply.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Option<Reply>>>);

impl Seen {
    /// Takes the reply.
    pub fn take(&self) -> Option<Reply> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Sends a request, reads the whole body, and passes it to us and to async-openai.
#[derive(Clone)]
struct Capture {
    http: reqwest::Client,
    seen: Seen,
    endpoint: Endpoint,
}

impl tower_service::Service<HttpRequestFactory> for Capture {
    type Response = reqwest::Response;
    type Error = OpenAIError;
    type Future = Pin<Box<dyn Future<Output = Result<reqwest::Response, OpenAIError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), OpenAIError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: HttpRequestFactory) -> Self::Future {
        let (http, seen, endpoint) = (self.http.clone(), self.seen.clone(), self.endpoint.clone());
        Box::pin(async move {
            let request = request.build().await?;
            // The file of a batch contains many replies.
            let is_file = request.url().path().ends_with("/content");
            let limit = most_of_line().saturating_mul(if is_file { REPLIES_OF_FILE } else { 1 });
            let response = http.execute(request).await.map_err(OpenAIError::Reqwest)?;
            let reply = whole(response, &endpoint, limit).await.map_err(OpenAIError::Reqwest)?;
            if reply.too_long && is_file {
                let problem = format!("it is longer than {} MB ({LINE_VARIABLE})", limit >> 20);
                return Err(OpenAIError::InvalidArgument(problem));
            }
            let mut copy = http::Response::new(reply.body.clone());
            *copy.status_mut() =
                http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
            *seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
            Ok(reqwest::Response::from(copy))
        })
    }
}

/// The complete reply, without the key.
async fn whole(
    mut response: reqwest::Response,
    endpoint: &Endpoint,
    most: u64,
) -> Result<Reply, reqwest::Error> {
    let status = response.status().as_u16();
    let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
    let retry_after = header(RETRY_AFTER).and_then(|text| {
        // A date refers to the server's clock.
        let now = header(DATE).and_then(date).unwrap_or_else(|| chrono::Utc::now().into());
        wait_of(text, now)
    });
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.filter(|_| (300..400).contains(&status)).map(|to| endpoint.redact(to));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        // The rest is not read: it may be endless.
        if (body.len() + chunk.len()) as u64 > most {
            return Ok(Reply { status, retry_after, body: Vec::new(), location, too_long: true });
        }
        body.extend_from_slice(&chunk);
    }
    let body = endpoint.redact_body(body);
    Ok(Reply { status, retry_after, body, location, too_long: false })
}

/// The longest wait that an endpoint may request, in seconds.
const LONGEST_WAIT: f64 = 86_400.0;

/// The wait in `Retry-After`: seconds, or the time until a date.
fn wait_of(text: &str, now: DateTime<FixedOffset>) -> Option<Duration> {
    let seconds = match text.trim().parse::<f64>() {
        Ok(seconds) => seconds,
        // A date in the past means no wait.
        Err(_) => ((date(text)? - now).num_milliseconds() as f64 / 1e3).max(0.0),
    };
    (0.0..LONGEST_WAIT).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
}

/// An HTTP date: `Mon, 30 Nov 2026 13:17:34 GMT`.
fn date(text: &str) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc2822(text.trim()).ok()
}

fn in_words(error: &OpenAIError) -> String {
    match error {
        OpenAIError::Reqwest(error) => chain(error),
        other => other.to_string(),
    }
}

/// An error with its causes, because messages of reqwest are short.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut below = error.source();
    while let Some(error) = below {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(&format!(": {more}"));
        }
        below = error.source();
    }
    text
}

impl Reply {
    /// How to proceed. A `chat` reply must contain a response.
    pub fn verdict(&self, chat: bool) -> Verdict {
        if self.too_long {
            return Verdict::Failed(too_long(&format!("status {}: the reply", self.status)));
        }
        if (300..400).contains(&self.status) {
            let to = self.location.as_deref().map_or("another URL".into(), shown);
            return Verdict::Fatal(format!(
                "status {}: the endpoint redirects to {to}; redirects are not followed, because they would \
                 receive the key; if this is the right endpoint, set it as `base_url`",
                self.status
            ));
        }
        // Skips a byte order mark.
        let body = self.body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(&self.body);
        let text = String::from_utf8_lossy(body);
        let value: Option<Value> = serde_json::from_slice(body).ok();
        let error = value.as_ref().and_then(reply::error_of);
        let codes: Vec<&str> = value
            .iter()
            .flat_map(|value| [&value["error"]["code"], &value["error"]["type"]])
            .filter_map(Value::as_str)
            .collect();
        let is = |names: &[&str]| codes.iter().any(|code| names.contains(code));
        // Shortened and escaped: an endpoint may send anything.
        let in_message = |text: &str| {
            format!("status {}: {}", self.status, shown_up_to(text.trim(), MAX_MESSAGE))
        };
        let message = || in_message(error.as_deref().unwrap_or(&text));
        match self.status {
            200..=299 => {}
            402 => return Verdict::Fatal(message()),
            429 if is(&NO_CREDIT) => return Verdict::Fatal(message()),
            429 => return Verdict::Retry { cause: message(), limited: true },
            401 | 403 => return Verdict::Fatal(message()),
            404 | 405 | 410 if chat => return Verdict::Fatal(message()),
            400 | 422 if chat && (is(&NO_MODEL) || error.as_deref().is_some_and(no_such_model)) => {
                return Verdict::Fatal(message());
            }
            408 | 409 | 425 | 500..=599 => {
                return Verdict::Retry { cause: message(), limited: false };
            }
            _ => return Verdict::Failed(message()),
        }
        let retry = |cause: String| Verdict::Retry { cause, limited: false };
        let Some(value) = value else {
            let text = shown(&text);
            return retry(format!("status 200, but the body is not JSON: `{text}`"));
        };
        if !chat {
            return match error {
                Some(_) => retry(message()),
                None => Verdict::Response(value),
            };
        }
        if let Some(problem) = reply::failure(&value) {
            return retry(in_message(&problem));
        }
        match reply::is_empty(&value) {
            true => retry("status 200, but no text and no reason for that".into()),
            false => Verdict::Response(value),
        }
    }
}

/// Maximum number of characters of an endpoint's message that are shown and recorded.
pub(super) const MAX_MESSAGE: usize = 300;
/// Error codes for an account without credit.
const NO_CREDIT: [&str; 4] = [
    "billing_hard_limit_reached",
    "billing_not_active",
    "insufficient_balance",
    "insufficient_quota",
];
/// Error codes for an unknown model.
const NO_MODEL: [&str; 3] = ["invalid_model", "model_not_available", "model_not_found"];

/// Whether a message says that the model is unknown: the router of llama.cpp, Mistral and OpenRouter send no code.
fn no_such_model(message: &str) -> bool {
    let message = message.to_lowercase();
    let phrases =
        ["does not exist", "invalid model", "not a valid model", "not found", "unknown model"];
    message.len() < 200
        && message.contains("model")
        && phrases.iter().any(|phrase| message.contains(phrase))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        let body = body.as_bytes().to_vec();
        Reply { status, retry_after: None, body, location: None, too_long: false }.verdict(true)
    }

    #[test]
    fn only_a_complete_reply_is_a_response() {
        let response = r#"{"choices":[{"message":{"content":"yes"}}]}"#;
        assert!(matches!(verdict(200, response), Verdict::Response(_)));
        let refused = r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#;
        assert!(matches!(verdict(200, refused), Verdict::Response(_)));
        for why in ["length", "content_filter"] {
            let empty = format!(
                r#"{{"choices":[{{"message":{{"content":""}},"finish_reason":"{why}"}}]}}"#
            );
            assert!(matches!(verdict(200, &empty), Verdict::Response(_)));
        }
        for (status, body) in [
            (200, r#"{"choices":[{"mess"#),
            (200, r#"{"error":{"message":"overloaded"}}"#),
            (200, r#"{"choices":[]}"#),
            (200, r#"{"choices":[{"message":{"content":""}}]}"#),
            (200, r#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#),
            (200, r#"{"choices":[{"message":{"content":"ha"},"finish_reason":"abort"}]}"#),
            (200, r#"{"choices":[{"message":{"content":"ha"},"error":{"message":"gone"}}]}"#),
            (200, r#"{"message":"moved"}"#),
            (200, ""),
            (503, "busy"),
            (429, "{}"),
        ] {
            assert!(matches!(verdict(status, body), Verdict::Retry { .. }), "{status} {body}");
        }
        assert!(matches!(verdict(400, "{}"), Verdict::Failed(_)));
        for status in [401, 402, 403, 404, 405] {
            assert!(matches!(verdict(status, "{}"), Verdict::Fatal(_)), "{status}");
        }
        for message in [
            "model 'a' not found",
            "Invalid model: a",
            "a/b is not a valid model ID",
            "The model `a` does not exist",
        ] {
            let body = serde_json::json!({"error": {"message": message}}).to_string();
            assert!(matches!(verdict(400, &body), Verdict::Fatal(_)), "{message}");
        }
        let too_long = r#"{"error":{"message":"the prompt is too long for the model"}}"#;
        assert!(matches!(verdict(400, too_long), Verdict::Failed(_)));
        let with_mark = format!("\u{feff}{response}");
        assert!(matches!(verdict(200, &with_mark), Verdict::Response(_)));
        let quota = r#"{"error":{"code":"insufficient_quota","message":"pay"}}"#;
        assert_eq!(verdict(429, quota), Verdict::Fatal("status 429: pay".into()));
    }

    /// A message of an endpoint is shown on one line, without control characters, and shortened.
    #[test]
    fn messages_of_endpoints_are_escaped_and_shortened() {
        let hostile = format!("\u{1b}[2J\n{}", "x".repeat(100_000));
        for body in [
            serde_json::json!({"error": {"message": hostile}}).to_string(),
            serde_json::json!({"choices": [{"error": {"message": hostile}}]}).to_string(),
            hostile.clone(),
        ] {
            for status in [200, 400, 401, 402, 429, 500] {
                let (Verdict::Retry { cause, .. } | Verdict::Failed(cause) | Verdict::Fatal(cause)) =
                    verdict(status, &body)
                else {
                    panic!("{status} is a response");
                };
                assert!(
                    cause.len() < 500 && !cause.contains(['\u{1b}', '\n']),
                    "{status}: {cause}"
                );
            }
        }
    }

    #[test]
    fn waits_are_seconds_or_dates() {
        let now = date("Mon, 30 Nov 2026 13:17:34 GMT").unwrap();
        let wait = |text: &str| wait_of(text, now).map(|wait| wait.as_secs_f64());
        assert_eq!(wait("8"), Some(8.0));
        assert_eq!(wait(" 0.5 "), Some(0.5));
        assert_eq!(wait("Mon, 30 Nov 2026 13:17:42 GMT"), Some(8.0));
        assert_eq!(wait("Mon, 30 Nov 2026 13:00:00 GMT"), Some(0.0));
        assert_eq!(wait("Tue, 01 Dec 2026 00:00:00 +0100"), Some(34_946.0));
        for wrong in ["", "soon", "-1", "inf", "Wed, 30 Dec 2026 13:17:34 GMT", "86400"] {
            assert_eq!(wait(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_key_that_is_sent_back_is_removed() {
        let endpoint = Endpoint::new("http://x/v1/", Some("sk-secret".into()));
        assert_eq!(endpoint.redact("bad key sk-secret!"), "bad key [key]!");
        assert_eq!(endpoint.url("/a"), "http://x/v1/a");
        assert!(!format!("{endpoint:?}").contains("sk-secret"));
        let mut value = serde_json::json!({"a": ["x sk-secret y", null], "null": null});
        endpoint.redact_value(&mut value);
        assert_eq!(value, serde_json::json!({"a": ["x [key] y", null], "null": null}));
        let mut value = serde_json::json!({"a": {"x-sk-secret": 1}, "sk-secret": [true]});
        endpoint.redact_value(&mut value);
        assert_eq!(value, serde_json::json!({"a": {"x-[key]": 1}, "[key]": [true]}));
        let short = Endpoint::new("http://x/v1", Some("null".into()));
        assert_eq!(short.redact("null"), "null");
    }

    /// Whatever an endpoint sends, what is recorded contains no piece of the key.
    #[test]
    fn pieces_of_a_key_are_removed_from_any_body() {
        let key = "sk-0123456789abcdefghijklmnop";
        let endpoint = Endpoint::new("http://x/v1", Some(key.into()));
        let pieces = |text: &str| (0..=key.len() - 8).any(|at| text.contains(&key[at..at + 8]));
        let escaped: String = key.bytes().map(|byte| format!("\\u{byte:04x}")).collect();
        for body in [
            format!("{{\"{key}\": 1}}"),
            format!("{{\"{escaped}\": [\"{escaped}\"]}}"),
            format!("{{\"a\": \"{escaped}\", \"a\": 2}}"),
            format!("bad key {} and {}", &key[..12], &key[9..]),
            format!("{{\"error\": {{\"message\": \"{}{key}\"}}}}", "x".repeat(190)),
            "[1234567890]".into(),
        ] {
            let redacted = endpoint.redact_body(body.clone().into_bytes());
            let redacted = String::from_utf8(redacted).unwrap();
            assert!(!pieces(&redacted), "{body} {redacted}");
            let parsed: Result<Value, _> = serde_json::from_str(&redacted);
            assert_eq!(parsed.is_ok(), body.starts_with(['{', '[']), "{redacted}");
            if let Ok(value) = parsed {
                assert!(!pieces(&value.to_string()), "{value}");
            }
        }
        let untouched = br#"{"choices":[{"message":{"content":"yes"}}]}"#.to_vec();
        assert_eq!(endpoint.redact_body(untouched.clone()), untouched);
    }

    proptest::proptest! {
        #[test]
        fn no_piece_of_a_key_remains(key in "[ -~]{8,40}", before: String, after: String, from in 0usize..32, len in 8usize..40) {
            let endpoint = Endpoint::new("http://x/v1", Some(key.clone()));
            let from = from.min(key.len() - 8);
            let piece = &key[from..(from + len).min(key.len())];
            let redacted = endpoint.redact(&format!("{before}{piece}{after}"));
            let rest = redacted.replace(REDACTED, "\u{1}");
            for at in 0..=key.len() - 8 {
                let window = &key[at..at + 8];
                proptest::prop_assert!(!rest.contains(window), "{redacted}");
            }
        }
    }
}

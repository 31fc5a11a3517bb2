//! One request over HTTP: what came back in full, and what that means.

use std::{
    collections::HashSet,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use async_openai::{Client, config::Config, error::OpenAIError, middleware::HttpRequestFactory};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LOCATION, RETRY_AFTER};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::base::{
    limits::{LINE_VARIABLE, most_of_line, too_long},
    terminal::shown,
};

/// An endpoint with its key. Nothing is taken from the environment but what the judge names.
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

    /// Takes the key, and every piece of it of eight characters or more, out of a text, should an endpoint have
    /// sent it back.
    pub fn redact(&self, text: &str) -> String {
        let key = self.key.expose_secret().as_bytes();
        // No key is so short; a word like `none` in its place stands in many texts.
        if key.len() < SHORTEST_KEY {
            return text.to_owned();
        }
        let pieces: HashSet<&[u8]> = key.windows(SHORTEST_KEY).collect();
        let bytes = text.as_bytes();
        let mut out = String::with_capacity(text.len());
        // Keys are ASCII, so pieces of them begin and end at characters.
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

    /// Takes the key out of every text, name and number in a value; its form stays.
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

    /// Takes the key out of a body, before anything else sees it: nothing is cut, shown or stored before.
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
                // Pieces that lie across several texts.
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

/// Of keys, and of the pieces of them that are taken out of what comes back.
const SHORTEST_KEY: usize = 8;
/// How many times longer than a reply the file of a batch may be.
const REPLIES_OF_FILE: u64 = 128;
/// Stands where a key stood.
const REDACTED: &str = "[key]";

/// What an endpoint sent.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// Whole: a connection that broke in the middle is an error.
    pub body: Vec<u8>,
    /// Where a redirect says to go.
    pub location: Option<String>,
    /// It has more bytes than a reply may have; none are kept.
    pub too_long: bool,
}

/// What a reply means for the transport. What is in an answer is looked at elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// A response to keep: it has content, a refusal, or says why it ended.
    Response(Value),
    /// Worth another try.
    Again { cause: String, limited: bool },
    /// This request fails, others may not.
    Failed(String),
    /// No request to this endpoint will do.
    Hopeless(String),
}

/// What is sent.
#[derive(Clone, Debug)]
pub enum Call {
    Chat(Value),
    /// A path with its query.
    Get(String, Vec<(String, String)>),
}

/// A client without retries of its own.
#[derive(Clone)]
pub struct Transport {
    http: reqwest::Client,
    pub endpoint: Endpoint,
}

impl Transport {
    /// A client; it opens no connection yet.
    pub fn new(endpoint: Endpoint) -> Result<Self, String> {
        // Someone else may have installed it before: the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(20))
            .user_agent(concat!("assay/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { http, endpoint })
    }

    /// Sends once. The error is of the connection: no whole reply came.
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

    /// A client of async-openai whose replies are also seen whole, with status and headers.
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

/// The last reply that came whole.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<Option<Reply>>>);

impl Seen {
    /// Takes it.
    pub fn take(&self) -> Option<Reply> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Sends, reads the whole body, and shows both to us and to async-openai.
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
            // The file that a batch brings holds many replies.
            let is_file = request.url().path().ends_with("/content");
            let most = most_of_line().saturating_mul(if is_file { REPLIES_OF_FILE } else { 1 });
            let response = http.execute(request).await.map_err(OpenAIError::Reqwest)?;
            let reply = whole(response, &endpoint, most).await.map_err(OpenAIError::Reqwest)?;
            if reply.too_long && is_file {
                let limit = format!("it is longer than {} MB ({LINE_VARIABLE})", most >> 20);
                return Err(OpenAIError::InvalidArgument(limit));
            }
            let mut again = http::Response::new(reply.body.clone());
            *again.status_mut() =
                http::StatusCode::from_u16(reply.status).unwrap_or(http::StatusCode::BAD_GATEWAY);
            *seen.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reply);
            Ok(reqwest::Response::from(again))
        })
    }
}

/// A reply, from which the key is taken out.
async fn whole(
    mut response: reqwest::Response,
    endpoint: &Endpoint,
    most: u64,
) -> Result<Reply, reqwest::Error> {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(RETRY_AFTER).and_then(|value| {
        let text = value.to_str().ok()?;
        let seconds: f64 = text.trim().parse().ok()?;
        (0.0..86_400.0).contains(&seconds).then(|| Duration::from_secs_f64(seconds))
    });
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    let location = location.filter(|_| (300..400).contains(&status)).map(|to| endpoint.redact(to));
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        // What comes later is not waited for: an endpoint may never end.
        if (body.len() + chunk.len()) as u64 > most {
            return Ok(Reply { status, retry_after, body: Vec::new(), location, too_long: true });
        }
        body.extend_from_slice(&chunk);
    }
    let body = endpoint.redact_body(body);
    Ok(Reply { status, retry_after, body, location, too_long: false })
}

fn in_words(error: &OpenAIError) -> String {
    match error {
        OpenAIError::Reqwest(error) => chain(error),
        other => other.to_string(),
    }
}

/// An error with what lies below it: reqwest's own words are few.
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
    /// What it means. `chat` replies must have an answer in them.
    pub fn verdict(&self, chat: bool) -> Verdict {
        if self.too_long {
            return Verdict::Failed(too_long(&format!("status {}: the reply", self.status)));
        }
        if (300..400).contains(&self.status) {
            let to = self.location.as_deref().map_or("elsewhere".into(), shown);
            return Verdict::Hopeless(format!(
                "status {}: the endpoint redirects to {to}, and redirects are not followed, since the key would go \
                 along; if that is the right place, give it as `base_url`",
                self.status
            ));
        }
        let text = String::from_utf8_lossy(&self.body);
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        let told = value.as_ref().and_then(|value| {
            let error = value.get("error").filter(|error| !error.is_null())?;
            let message = error.get("message").and_then(Value::as_str).map(str::to_owned);
            Some(
                message
                    .or_else(|| error.as_str().map(str::to_owned))
                    .unwrap_or_else(|| error.to_string()),
            )
        });
        let code = value.as_ref().and_then(|value| value["error"]["code"].as_str()).unwrap_or("");
        let said = || {
            let text = told.clone().unwrap_or_else(|| text.chars().take(200).collect());
            format!("status {}: {}", self.status, text.trim())
        };
        match self.status {
            200..=299 => {}
            429 if code == "insufficient_quota" => return Verdict::Hopeless(said()),
            429 => return Verdict::Again { cause: said(), limited: true },
            401 | 403 => return Verdict::Hopeless(said()),
            404 if chat => return Verdict::Hopeless(said()),
            // A router of llama.cpp says so of a model it does not have.
            400 if chat && told.as_deref().is_some_and(no_such_model) => {
                return Verdict::Hopeless(said());
            }
            408 | 409 | 425 | 500..=599 => {
                return Verdict::Again { cause: said(), limited: false };
            }
            _ => return Verdict::Failed(said()),
        }
        let again = |cause: String| Verdict::Again { cause, limited: false };
        let Some(value) = value else {
            let shown: String = text.chars().take(80).collect();
            return again(format!("status 200 with something that is not JSON: `{shown}`"));
        };
        if told.is_some() {
            return again(said());
        }
        if !chat {
            return Verdict::Response(value);
        }
        let choice = &value["choices"][0];
        let message = &choice["message"];
        let some = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
        // An empty answer that says why it ended is an answer: asking again for those alone would shift
        // the distribution.
        match some(&message["content"])
            || some(&message["refusal"])
            || some(&choice["finish_reason"])
        {
            true => Verdict::Response(value),
            false => again("status 200 without content, refusal or reason to stop".into()),
        }
    }
}

fn no_such_model(message: &str) -> bool {
    message.starts_with("model ") && message.ends_with(" not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, body: &str) -> Verdict {
        let body = body.as_bytes().to_vec();
        Reply { status, retry_after: None, body, location: None, too_long: false }.verdict(true)
    }

    #[test]
    fn only_a_whole_answer_is_a_response() {
        let answer = r#"{"choices":[{"message":{"content":"yes"}}]}"#;
        assert!(matches!(verdict(200, answer), Verdict::Response(_)));
        let refused = r#"{"choices":[{"message":{"content":null,"refusal":"no"}}]}"#;
        assert!(matches!(verdict(200, refused), Verdict::Response(_)));
        for why in ["length", "stop", "content_filter"] {
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
            (200, ""),
            (503, "busy"),
            (429, "{}"),
        ] {
            assert!(matches!(verdict(status, body), Verdict::Again { .. }), "{status} {body}");
        }
        assert!(matches!(verdict(400, "{}"), Verdict::Failed(_)));
        assert!(matches!(verdict(401, "{}"), Verdict::Hopeless(_)));
        let quota = r#"{"error":{"code":"insufficient_quota","message":"pay"}}"#;
        assert_eq!(verdict(429, quota), Verdict::Hopeless("status 429: pay".into()));
    }

    #[test]
    fn a_key_that_comes_back_is_taken_out() {
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
    /// Whatever an endpoint sends: what is kept of it holds no piece of the key.
    #[test]
    fn pieces_of_a_key_are_taken_out_of_any_body() {
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
        fn no_piece_of_a_key_is_left(key in "[ -~]{8,40}", before: String, after: String, from in 0usize..32, len in 8usize..40) {
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

//! The key of a request: a hash of everything a response may depend on.

use std::fmt::Write;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// SHA-256 of the canonical form of a request.
pub type Key = [u8; 32];

/// Fields of a request body that do not affect the response.
const IGNORED: [&str; 3] = ["stream", "user", "metadata"];

/// A request to an endpoint.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The endpoint with the path: `https://api.openai.com/v1/chat/completions`.
    pub url: String,
    /// The body, or the query of a GET request.
    pub body: Value,
    /// Number of the repetition, which makes repeated requests different.
    pub repeat: u32,
    /// A hash of local weights.
    pub weights: Option<String>,
}

impl Request {
    /// The canonical form: sorted object keys, without fields that do not affect the response.
    pub fn canonical(&self) -> Value {
        let mut body = self.body.clone();
        if let Value::Object(body) = &mut body {
            for field in IGNORED {
                body.shift_remove(field);
            }
        }
        sorted(&json!({
            "body": body,
            "repeat": self.repeat,
            "url": self.url,
            "weights": self.weights,
        }))
    }

    /// SHA-256 of the canonical form.
    pub fn key(&self) -> Key {
        key_of(&self.canonical())
    }

    /// The canonical form and its key.
    pub fn identity(&self) -> Identity {
        let canonical = self.canonical();
        Identity { key: key_of(&canonical), canonical }
    }
}

/// A request's canonical form with its key.
#[derive(Clone, Debug, PartialEq)]
pub struct Identity {
    pub key: Key,
    pub canonical: Value,
}

/// SHA-256 of a canonical form.
pub fn key_of(canonical: &Value) -> Key {
    Sha256::digest(canonical.to_string()).into()
}

/// A key in hexadecimal.
pub fn hex(key: &[u8]) -> String {
    key.iter().fold(String::with_capacity(2 * key.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A key from hexadecimal.
pub fn from_hex(text: &str) -> Option<Key> {
    let mut key = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (at, byte) in key.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(key)
}

fn sorted(value: &Value) -> Value {
    match value {
        Value::Object(object) => {
            let mut entries: Vec<(&String, &Value)> = object.iter().collect();
            entries.sort_by_key(|(name, _)| *name);
            Value::Object(
                entries
                    .into_iter()
                    .map(|(name, of)| (name.clone(), sorted(of)))
                    .collect::<Map<_, _>>(),
            )
        }
        Value::Array(items) => Value::Array(items.iter().map(sorted).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(body: Value) -> Request {
        Request { url: "u".into(), body, repeat: 0, weights: None }
    }

    #[test]
    fn the_key_depends_on_all_fields_that_affect_the_response() {
        let plain = request(json!({"model": "m", "messages": [], "temperature": 0}));
        let key = plain.key();
        let reordered = request(json!({"temperature": 0, "messages": [], "model": "m"}));
        assert_eq!(key, reordered.key());
        let extra =
            json!({"model": "m", "messages": [], "temperature": 0, "stream": false, "user": "x"});
        assert_eq!(key, request(extra).key());
        for other in [
            json!({"model": "n", "messages": [], "temperature": 0}),
            json!({"model": "m", "messages": [], "temperature": 0, "an_unknown_field": 1}),
            json!({"model": "m", "messages": [], "temperature": 0.5}),
        ] {
            assert_ne!(key, request(other).key());
        }
        assert_ne!(key, Request { repeat: 1, ..plain.clone() }.key());
        assert_ne!(key, Request { url: "v".into(), ..plain.clone() }.key());
        assert_ne!(key, Request { weights: Some("w".into()), ..plain }.key());
        assert_eq!(from_hex(&hex(&key)), Some(key));
    }
}

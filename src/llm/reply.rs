//! Reads the body of a chat response: its text, in the forms that servers use, and whether the server failed.

use serde_json::Value;

use crate::base::terminal::shown;

/// Values of `finish_reason` of servers that failed: OpenRouter writes `error`, vLLM `abort`. The text up to then is not
/// a response of the model.
const FAILED: [&str; 9] = [
    "abort",
    "aborted",
    "cancelled",
    "canceled",
    "error",
    "failed",
    "overloaded",
    "server_error",
    "timeout",
];

/// Values of `finish_reason` that explain a response without text. To request only these again would change the
/// distribution of responses.
const WITHOUT_TEXT: [&str; 6] =
    ["content_filter", "function_call", "length", "max_tokens", "safety", "tool_calls"];

/// The first choice of a response.
pub fn choice(response: &Value) -> &Value {
    &response["choices"][0]
}

/// The text of a message, or the concatenated text of its parts of the type `text`. Other parts are reasoning, images
/// and so on.
pub fn content(message: &Value) -> Option<String> {
    match &message["content"] {
        Value::String(text) => Some(text.clone()),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts.iter().filter_map(|part| text_of(part, "text")).collect();
            (!texts.is_empty()).then(|| texts.concat())
        }
        _ => None,
    }
}

/// The text of a part of this type; a part that is a string has no type.
fn text_of<'a>(part: &'a Value, kind: &str) -> Option<&'a str> {
    match part {
        Value::String(text) => Some(text).filter(|_| kind == "text").map(String::as_str),
        part if part["type"].as_str() == Some(kind) => part[kind].as_str(),
        // Some servers write `output_text`, as in OpenAI's newer API.
        part if kind == "text" && part["type"].as_str() == Some("output_text") => {
            part["text"].as_str()
        }
        _ => None,
    }
}

/// The refusal of a message.
pub fn refusal(message: &Value) -> Option<String> {
    let parts = message["content"].as_array().into_iter().flatten();
    let of_parts = parts.filter_map(|part| text_of(part, "refusal")).next();
    let refusal = message["refusal"].as_str().filter(|refusal| !refusal.is_empty());
    refusal.or(of_parts).map(str::to_owned)
}

/// Whether the server classified text as reasoning: `reasoning` of vLLM and Ollama, `reasoning_content` of llama.cpp,
/// or parts of another type than text.
pub fn is_reasoned(message: &Value) -> bool {
    let has = |field: &str| message[field].as_str().is_some_and(|text| !text.trim().is_empty());
    let thinks = |part: &Value| matches!(part["type"].as_str(), Some("thinking" | "reasoning"));
    has("reasoning")
        || has("reasoning_content")
        || message["content"].as_array().is_some_and(|parts| parts.iter().any(thinks))
}

/// The message of an `error`, if there is one.
pub fn error_of(value: &Value) -> Option<String> {
    let error = value.get("error").filter(|error| !error.is_null())?;
    let message = error["message"].as_str().or_else(|| error.as_str());
    Some(message.map_or_else(|| error.to_string(), str::to_owned))
}

/// Why a body with status 200 reports a failure of the server, if it does.
pub fn failure(response: &Value) -> Option<String> {
    if let Some(error) = error_of(response) {
        return Some(error);
    }
    if response["choices"].as_array().is_none_or(Vec::is_empty) {
        return Some("it has no choices".into());
    }
    let choice = choice(response);
    if let Some(error) = error_of(choice) {
        return Some(error);
    }
    let finish = choice["finish_reason"].as_str()?;
    FAILED
        .contains(&finish.to_ascii_lowercase().as_str())
        .then(|| format!("it ended with finish_reason `{}`", shown(finish)))
}

/// Whether a response has no text and no reason for that. A model may stop before the first word; then the server
/// reports at least one token (recorded from llama.cpp and vLLM).
pub fn is_empty(response: &Value) -> bool {
    let choice = choice(response);
    let message = &choice["message"];
    let finish = choice["finish_reason"].as_str().unwrap_or_default().to_ascii_lowercase();
    let has_ended =
        !finish.is_empty() && response["usage"]["completion_tokens"].as_u64().unwrap_or(0) > 0;
    !has_ended
        && content(message).is_none_or(|text| text.trim().is_empty())
        && refusal(message).is_none()
        && !is_reasoned(message)
        && !WITHOUT_TEXT.contains(&finish.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_of_parts_is_joined() {
        let thinking = json!({"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]});
        let text = |text: &str| json!({"type": "text", "text": text});
        let of = |content: Value| super::content(&json!({"content": content}));
        assert_eq!(of(json!("yes")), Some("yes".into()));
        assert_eq!(of(json!([thinking, text("{\"a\":"), text(" 1}")])), Some("{\"a\": 1}".into()));
        assert_eq!(of(json!(["a", {"type": "output_text", "text": "b"}])), Some("ab".into()));
        assert_eq!(of(json!([thinking])), None);
        assert_eq!(of(json!([])), None);
        assert_eq!(of(Value::Null), None);
        let refused = json!({"content": [{"type": "refusal", "refusal": "no"}]});
        assert_eq!(refusal(&refused), Some("no".into()));
        assert!(is_reasoned(&json!({"content": [thinking]})));
    }

    #[test]
    fn failures_with_status_200_are_not_responses() {
        let with = |choice: Value| json!({"choices": [choice]});
        let message = json!({"content": "half a"});
        for failed in [
            json!({"choices": []}),
            json!({"choices": null}),
            json!({"id": "x"}),
            json!({"error": "gone"}),
            with(json!({"message": message, "finish_reason": "error"})),
            with(json!({"message": message, "finish_reason": "ABORT"})),
            with(
                json!({"message": message, "finish_reason": "stop", "error": {"code": 502, "message": "gone"}}),
            ),
        ] {
            assert!(failure(&failed).is_some(), "{failed}");
        }
        for fine in ["stop", "length", "content_filter", "tool_calls", "", "eos"] {
            let response = with(json!({"message": message, "finish_reason": fine, "error": null}));
            assert_eq!(failure(&response), None, "{fine}");
            assert!(!is_empty(&response));
        }
        for (finish, empty) in [
            ("stop", true),
            ("", true),
            ("eos", true),
            ("length", false),
            ("content_filter", false),
        ] {
            let response = with(json!({"message": {"content": " "}, "finish_reason": finish}));
            assert_eq!(is_empty(&response), empty, "{finish}");
            let mut ended = response;
            ended["usage"] = json!({"completion_tokens": 1});
            assert_eq!(is_empty(&ended), finish.is_empty(), "{finish}");
        }
    }
}

//! JSON responses: how they are requested, and how they are found in a text.

use serde_json::{Map, Value, json};

use super::endpoint::Structured;

/// A JSON Schema with a name.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    pub name: String,
    pub schema: Value,
}

/// Adds to the body of a request what asks for JSON.
pub fn request_json(body: &mut Map<String, Value>, schema: &Schema, how: Structured) {
    match how {
        Structured::Schema => {
            body.insert(
                "response_format".into(),
                json!({
                    "type": "json_schema",
                    "json_schema": {
                        "name": schema.name,
                        "schema": schema.schema,
                        "strict": true,
                    },
                }),
            );
        }
        Structured::Json => {
            body.insert("response_format".into(), json!({"type": "json_object"}));
            append(body, schema);
        }
        Structured::Text => append(body, schema),
    }
}

/// Appends the schema to the last message.
fn append(body: &mut Map<String, Value>, schema: &Schema) {
    let last =
        body.get_mut("messages").and_then(Value::as_array_mut).and_then(|all| all.last_mut());
    let Some(Value::String(content)) = last.and_then(|message| message.get_mut("content")) else {
        return;
    };
    content.push_str(&format!(
        "\n\nAnswer with one JSON value that follows this JSON Schema, and nothing else:\n{}",
        schema.schema
    ));
}

/// The complete JSON objects and arrays in a text, in order: the text itself, in a code fence, or within other text.
/// Reasoning before the response (`<think>`) is ignored.
pub fn values(text: &str) -> Vec<Value> {
    let text = text.rsplit_once("</think>").map_or(text, |(_, response)| response).trim();
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(['{', '[']) {
        let start = from + at;
        let mut values = serde_json::Deserializer::from_str(&text[start..]).into_iter::<Value>();
        from = match values.next() {
            Some(Ok(value)) => {
                found.push(value);
                start + values.byte_offset()
            }
            _ => start + 1,
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_anywhere_in_a_text() {
        let value = json!({"ids": ["a", "b"]});
        for text in [
            r#"{"ids": ["a", "b"]}"#,
            "```json\n{\"ids\": [\"a\", \"b\"]}\n```",
            "Sure! {not json} Here: {\"ids\": [\"a\", \"b\"]} – enjoy.",
            "<think>Perhaps {\"ids\": [\"b\"]}?</think>{\"ids\": [\"a\", \"b\"]}",
        ] {
            assert_eq!(values(text), std::slice::from_ref(&value), "{text}");
        }
        assert_eq!(values("of [1, 2]: {\"ids\": [\"a\", \"b\"]}"), [json!([1, 2]), value]);
        for text in ["", "no", "7", "\"x\"", "{\"ids\": "] {
            assert!(values(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn json_is_requested_by_schema_or_by_prompt() {
        let schema = Schema { name: "order".into(), schema: json!({"type": "object"}) };
        let mut body = Map::new();
        body.insert("messages".into(), json!([{"role": "user", "content": "Rank."}]));
        let mut by_schema = body.clone();
        request_json(&mut by_schema, &schema, Structured::Schema);
        assert_eq!(by_schema["response_format"]["json_schema"]["name"], "order");
        let mut by_text = body.clone();
        request_json(&mut by_text, &schema, Structured::Text);
        assert!(!by_text.contains_key("response_format"));
        assert!(by_text["messages"][0]["content"].as_str().unwrap().contains("JSON Schema"));
    }
}

//! Prompts: files with the parts `[system]` and `[user]`, filled in by tera, versioned by their hash.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::spec::locate;
use crate::{
    data::{DataDirs, DataError},
    hash::Digest,
};

/// A prompt of one's own, or one that comes with assay.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PromptFile {
    /// Looked for beside the experiment file.
    file: Option<String>,
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

impl Serialize for PromptFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.file.serialize(serializer)
    }
}

/// A prompt's text.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    text: String,
    /// For messages: its file, or its name.
    name: String,
}

impl PromptFile {
    /// The file's text, or `built_in`.
    pub fn read(&self, name: &str, built_in: &str, dirs: &DataDirs) -> Result<Prompt, DataError> {
        let Some(file) = &self.file else {
            return Ok(Prompt { text: built_in.to_owned(), name: name.to_owned() });
        };
        let path = locate(file, &self.directory, dirs)?;
        let text = std::fs::read_to_string(&path).map_err(|error| DataError::io(&path, error))?;
        Ok(Prompt { text, name: path.display().to_string() })
    }
}

impl Prompt {
    /// Its version.
    pub fn digest(&self) -> Digest {
        Digest::of(&self.text)
    }

    /// The messages of a chat: a part starts at a line `[system]` or `[user]`.
    pub fn messages(&self, values: &Value) -> Result<Value, String> {
        let failed = |problem: String| format!("the prompt {}: {problem}", self.name);
        let context =
            tera::Context::from_value(values.clone()).map_err(|error| failed(error.to_string()))?;
        let mut messages: Vec<(&str, String)> = Vec::new();
        for line in self.text.lines() {
            match line.trim() {
                "[system]" => messages.push(("system", String::new())),
                "[user]" => messages.push(("user", String::new())),
                _ => {
                    if let Some((_, text)) = messages.last_mut() {
                        text.push_str(line);
                        text.push('\n');
                    }
                }
            }
        }
        if messages.is_empty() {
            return Err(failed("no line `[user]` starts a message".into()));
        }
        let mut filled = Vec::new();
        for (role, template) in messages {
            let text = tera::Tera::one_off(&template, &context, false).map_err(|error| {
                let cause = std::error::Error::source(&error).map(ToString::to_string);
                failed(cause.unwrap_or_else(|| error.to_string()))
            })?;
            filled.push(json!({"role": role, "content": text.trim()}));
        }
        Ok(Value::Array(filled))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_messages() {
        let text = "Notes.\n[system]\nBe brief.\n[user]\nHello {{ name }}.\n";
        let prompt = Prompt { text: text.into(), name: "p".into() };
        let messages = prompt.messages(&json!({"name": "<Ann>"})).unwrap();
        assert_eq!(messages[1], json!({"role": "user", "content": "Hello <Ann>."}));
        let error = prompt.messages(&json!({})).unwrap_err();
        assert!(error.contains("name"), "{error}");
    }
}

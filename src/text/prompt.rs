//! Prompts: files with the parts `[system]` and `[user]`, templates of Tera, versioned by their hash.

use std::{
    borrow::Cow,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Value, json};

use super::{sandbox, spec::locate};
use crate::{
    base::{files::read_text, hash::Digest, terminal::shown},
    data::{DataDirs, DataError},
};

/// A prompt file, or a built-in prompt.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct PromptFile {
    /// Looked for next to the experiment file.
    file: Option<String>,
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

impl Serialize for PromptFile {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.file.serialize(serializer)
    }
}

/// A parsed prompt.
pub struct Prompt {
    digest: Digest,
    /// Its file or name, for messages.
    name: String,
    /// The role of each message. The name of its template is its index.
    roles: Vec<&'static str>,
    templates: tera::Tera,
}

impl PromptFile {
    /// Whether it is the built-in prompt.
    pub fn is_built_in(&self) -> bool {
        self.file.is_none()
    }

    /// The file, and the directory it is relative to.
    pub fn place(&self) -> (Option<&str>, &Path) {
        (self.file.as_deref(), &self.directory)
    }

    /// The text of the file or `built_in`, and its name.
    fn text(
        &self,
        name: &str,
        built_in: &'static str,
        dirs: &DataDirs,
    ) -> Result<(Cow<'static, str>, String), DataError> {
        let Some(file) = &self.file else { return Ok((built_in.into(), name.to_owned())) };
        let path = locate(file, &self.directory, dirs)?;
        let text =
            read_text(&path, sandbox::MAX_TEXT).map_err(|error| DataError::io(&path, error))?;
        Ok((text.into(), path.display().to_string()))
    }

    /// The prompt of the file, or `built_in`.
    pub fn read(
        &self,
        name: &str,
        built_in: &'static str,
        dirs: &DataDirs,
    ) -> Result<Prompt, DataError> {
        let (text, name) = self.text(name, built_in, dirs)?;
        Prompt::parse(&text, &name).map_err(|(line, problem)| DataError::Line {
            path: name.clone().into(),
            line,
            problem,
            found: shown(text.lines().nth(line - 1).unwrap_or_default().trim()),
            expected: "text with the parts `[system]` and `[user]`, filled in by Tera with the values, filters \
                       and tests that docs/LANGUAGE-MODELS.md lists"
                .into(),
        })
    }
}

impl Prompt {
    /// A message starts at a line `[system]` or `[user]`; text before the first message is a comment.
    fn parse(text: &str, name: &str) -> Result<Self, sandbox::Problem> {
        // With the line of the file before each message.
        let mut messages: Vec<(&'static str, usize, String)> = Vec::new();
        for (line, number) in text.lines().zip(1..) {
            match line.trim() {
                "[system]" => messages.push(("system", number, String::new())),
                "[user]" => messages.push(("user", number, String::new())),
                _ => {
                    if let Some((_, _, text)) = messages.last_mut() {
                        text.push_str(line);
                        text.push('\n');
                    }
                }
            }
        }
        if !messages.iter().any(|(role, ..)| *role == "user") {
            return Err((1, "no line `[user]` starts a message".into()));
        }
        let mut templates = tera::Tera::default();
        templates.autoescape_on(Vec::new());
        for (at, (_, before, template)) in messages.iter().enumerate() {
            let in_file = |(line, problem): sandbox::Problem| (before + line, problem);
            sandbox::check_text(template).map_err(in_file)?;
            let added = templates.add_raw_template(&at.to_string(), template);
            added.map_err(|error| in_file((1, cause(&error))))?;
            let parsed = templates.get_template(&at.to_string());
            let parsed = parsed.map_err(|error| in_file((1, cause(&error))))?;
            sandbox::check_nodes(&parsed.ast).map_err(|problem| in_file((1, problem)))?;
        }
        Ok(Self {
            digest: Digest::of(text),
            name: name.to_owned(),
            roles: messages.into_iter().map(|(role, ..)| role).collect(),
            templates,
        })
    }

    /// Its version: the hash of its text.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Checks that it can be filled in with such values.
    pub fn check(&self, values: &Value) -> Result<(), DataError> {
        let checked = self.messages(values);
        checked.map(drop).map_err(|problem| DataError::File {
            path: self.name.clone().into(),
            problem: format!("it cannot be filled in: {problem}"),
            help: "the header of the prompt of the same kind in prompts/ lists the values".into(),
        })
    }

    /// The messages of a chat.
    pub fn messages(&self, values: &Value) -> Result<Value, String> {
        let failed = |problem: String| format!("the prompt {}: {problem}", self.name);
        let context =
            tera::Context::from_value(values.clone()).map_err(|error| failed(error.to_string()))?;
        let mut filled = Vec::new();
        for (at, role) in self.roles.iter().enumerate() {
            let name = at.to_string();
            let template =
                self.templates.get_template(&name).map_err(|error| failed(cause(&error)))?;
            sandbox::check_loops(&template.ast, values).map_err(failed)?;
            let mut output = sandbox::Output::default();
            let written = self.templates.render_to(&name, &context, &mut output);
            written.map_err(|error| failed(cause(&error)))?;
            let text = String::from_utf8_lossy(&output.0);
            filled.push(json!({"role": role, "content": text.trim()}));
        }
        Ok(Value::Array(filled))
    }
}

/// A rating as people write it: 4 instead of 4.0.
pub fn number(rating: f32) -> Value {
    match rating.fract() == 0.0 && rating.abs() < 1e6 {
        true => json!(rating as i64),
        false => json!(rating),
    }
}

/// The root cause of an error of Tera.
fn cause(error: &tera::Error) -> String {
    let mut error: &dyn std::error::Error = error;
    while let Some(below) = error.source() {
        error = below;
    }
    error.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_become_messages() {
        let text = "Notes.\n[system]\nBe brief.\n[user]\nHello {{ name }}.\n";
        let prompt = Prompt::parse(text, "p").unwrap();
        let messages = prompt.messages(&json!({"name": "<Ann>"})).unwrap();
        assert_eq!(messages[1], json!({"role": "user", "content": "Hello <Ann>."}));
        let error = prompt.messages(&json!({})).unwrap_err();
        assert!(error.contains("name"), "{error}");
        assert!(Prompt::parse("[user]\n{{ oops", "p").is_err());
        assert!(Prompt::parse("Hello", "p").is_err());
    }

    #[test]
    fn errors_name_the_line_of_the_file() {
        let text = "Notes.\n[system]\nBe brief.\n[user]\nHello\n{{ get_env(name=\"HOME\") }}.\n";
        let Err((line, problem)) = Prompt::parse(text, "p") else { panic!("it was taken") };
        assert_eq!(line, 6);
        assert!(problem.contains("get_env"), "{problem}");
    }

    #[test]
    fn a_message_that_is_too_long_is_an_error() {
        let prompt = Prompt::parse(
            "[user]\n{% for a in x %}{% for b in x %}{{ t }}{% endfor %}{% endfor %}",
            "p",
        );
        let values = json!({"x": vec![1; 1000], "t": "t".repeat(1000)});
        let error = prompt.unwrap().messages(&values).unwrap_err();
        assert!(error.contains("over 4 MB"), "{error}");
    }
}

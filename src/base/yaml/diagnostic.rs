//! Errors with a position in a file: file, line and column, what was found, what was expected, how to fix it.

use std::{
    borrow::Cow,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::base::terminal::shown;

/// A text file of an experiment, kept so that errors can show the line.
#[derive(Debug, PartialEq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
}

/// The name of the source for the command line.
pub const COMMAND_LINE: &str = "--set";

impl SourceFile {
    /// A text of the command line, with paths relative to `directory`.
    pub fn of_command_line(directory: &Path, text: &str) -> Self {
        Self { path: directory.join(COMMAND_LINE), text: text.to_owned() }
    }

    /// Its name in messages.
    pub fn name(&self) -> Cow<'_, str> {
        match self.path.file_name().is_some_and(|name| name == COMMAND_LINE) {
            true => COMMAND_LINE.into(),
            false => self.path.to_string_lossy(),
        }
    }
}

/// A position in a source file; lines and columns start at 1, `width` is in characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    pub file: Arc<SourceFile>,
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

/// An error in an experiment file.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    pub message: String,
    pub position: Option<Position>,
    /// What was expected.
    pub expected: Option<String>,
    /// How to fix it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error with a position.
    pub fn at(position: &Position, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            position: Some(position.clone()),
            expected: None,
            help: None,
        }
    }

    /// An error without a position (yet).
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), position: None, expected: None, help: None }
    }

    /// Adds what was expected.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Adds how to fix it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the most similar of `names` to `found` as help, if one is similar enough.
    pub fn suggest<'a>(self, found: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(found, names) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Sets the position if there is none yet.
    pub fn or_at(mut self, position: &Position) -> Self {
        self.position.get_or_insert_with(|| position.clone());
        self
    }
}

/// The most similar name in `names`, if it is similar enough.
pub fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&found, &name.to_lowercase()), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

/// Maximum number of characters of a line, and of a value in a message: files are untrusted and may be long.
const MOST_SHOWN: usize = 80;

/// The part of a line around a column, and where the column is in it.
fn window(line: &str, column: usize) -> (String, usize) {
    let length = line.chars().count();
    if length <= 2 * MOST_SHOWN {
        return (line.to_owned(), column);
    }
    let from = column.saturating_sub(MOST_SHOWN / 2).min(length - MOST_SHOWN);
    let before = if from > 0 { "…" } else { "" };
    let after = if from + MOST_SHOWN < length { "…" } else { "" };
    let shown: String = line.chars().skip(from).take(MOST_SHOWN).collect();
    let indent = column.min(length) - from + before.chars().count();
    (format!("{before}{shown}{after}"), indent)
}

/// A message in which values (between backticks) are shortened.
fn cut_quotes(message: &str) -> String {
    let parts = message.split('`').enumerate();
    let cut = parts.map(|(at, part)| match at % 2 {
        1 => shown(part),
        _ => part.to_owned(),
    });
    cut.collect::<Vec<String>>().join("`")
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", cut_quotes(&self.message))?;
        if let Some(place) = &self.position {
            let margin = place.line.to_string().len();
            let line = place.file.text.lines().nth(place.line - 1).unwrap_or_default();
            let (line, indent) = window(line, place.column - 1);
            let width = place.width.clamp(1, line.chars().count().saturating_sub(indent).max(1));
            write!(f, "\n{:margin$}--> {}:{}:{}", "", place.file.name(), place.line, place.column)?;
            write!(f, "\n{:margin$} |\n{} | {line}", "", place.line)?;
            write!(f, "\n{:margin$} | {:indent$}{}", "", "", "^".repeat(width),)?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "\n  = expected {expected}")?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n  = help: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Diagnostic {}

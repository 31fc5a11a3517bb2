//! Errors that point at a place in a file: which file, line and column, what was found,
//! what was expected, how to mend it.

use std::{fmt, path::PathBuf, sync::Arc};

/// A text file the experiment is made of, kept whole so that errors can show the line.
#[derive(Debug, PartialEq)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
}

/// A place in a source file; lines and columns start at 1, `width` is in characters.
#[derive(Clone, Debug, PartialEq)]
pub struct Position {
    pub file: Arc<SourceFile>,
    pub line: usize,
    pub column: usize,
    pub width: usize,
}

/// Something wrong at one place of an experiment file.
#[derive(Clone, Debug, PartialEq)]
pub struct Diagnostic {
    pub message: String,
    pub position: Option<Position>,
    /// What would have been right.
    pub expected: Option<String>,
    /// How to mend it.
    pub help: Option<String>,
}

impl Diagnostic {
    /// An error with a place.
    pub fn at(position: &Position, message: impl Into<String>) -> Self {
        Self {
            message: message.into(),
            position: Some(position.clone()),
            expected: None,
            help: None,
        }
    }

    /// An error without a place (yet).
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), position: None, expected: None, help: None }
    }

    /// Says what was expected instead.
    pub fn expected(mut self, expected: impl Into<String>) -> Self {
        self.expected = Some(expected.into());
        self
    }

    /// Says how to mend it.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Adds the nearest of `names` to `found` as help, where one is near.
    pub fn suggest<'a>(self, found: &str, names: impl IntoIterator<Item = &'a str>) -> Self {
        match nearest(found, names) {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Gives the place, where none was given before.
    pub fn or_at(mut self, position: &Position) -> Self {
        self.position.get_or_insert_with(|| position.clone());
        self
    }
}

/// The name in `names` most like `found`, if any is like enough to be meant.
pub fn nearest<'a>(found: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    names
        .into_iter()
        .map(|name| (strsim::jaro_winkler(&found, &name.to_lowercase()), name))
        .filter(|(similarity, _)| *similarity > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, name)| name)
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.message)?;
        if let Some(place) = &self.position {
            let margin = place.line.to_string().len();
            let line = place.file.text.lines().nth(place.line - 1).unwrap_or_default();
            let width = place.width.clamp(1, line.chars().count().max(1));
            write!(
                f,
                "\n{:margin$}--> {}:{}:{}",
                "",
                place.file.path.display(),
                place.line,
                place.column
            )?;
            write!(f, "\n{:margin$} |\n{} | {line}", "", place.line)?;
            write!(
                f,
                "\n{:margin$} | {:indent$}{}",
                "",
                "",
                "^".repeat(width),
                indent = place.column - 1
            )?;
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

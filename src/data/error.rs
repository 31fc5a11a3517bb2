//! Errors in data: file, line and field, what was found, what was expected.

use std::{io, path::PathBuf};

use crate::base::{
    terminal::shown,
    yaml::{Diagnostic, diagnostic::Position},
};

/// An error while finding, reading, fetching or splitting data.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },

    #[error("{}:{line}: {problem}\n  found: {}\n  expected: {expected}", path.display(), shown(found))]
    Line { path: PathBuf, line: usize, problem: String, found: String, expected: String },

    #[error("{}: {problem}\n  = help: {help}", path.display())]
    File { path: PathBuf, problem: String, help: String },

    #[error("unknown data set `{name}`{}\n  = expected one of {}", suggestion(suggested), known.join(", "))]
    UnknownSet { name: String, suggested: Option<String>, known: Vec<String> },

    #[error("data set `{name}` not found: no file {file} under {}\n  = help: {help}", looked.join(", "))]
    NotFound { name: String, file: String, looked: Vec<String>, help: String },

    #[error("{}: hash mismatch\n  found: sha256 {found}\n  expected: sha256 {expected}\n  = help: {help}", path.display())]
    HashMismatch { path: PathBuf, found: String, expected: String, help: String },

    #[error("{0}")]
    Split(String),

    #[error(
        "the data set `{name}` has ratings, but no rule says which of them are relevant\n  = help: {help}"
    )]
    NoRelevance { name: String, help: String },

    #[error("{url}: {problem}\n  = help: {help}")]
    Fetch { url: String, problem: String, help: String },

    #[error(transparent)]
    Manifest(#[from] Diagnostic),

    /// Another error, with what the experiment file says.
    #[error("{diagnostic}")]
    Placed { diagnostic: Box<Diagnostic>, is_missing: bool },

    #[error(transparent)]
    Interrupted(#[from] crate::base::interrupt::Interrupted),
}

fn suggestion(suggested: &Option<String>) -> String {
    suggested.as_ref().map(|name| format!(" (did you mean `{name}`?)")).unwrap_or_default()
}

impl DataError {
    /// Whether something it names does not exist.
    pub fn is_missing(&self) -> bool {
        match self {
            Self::NotFound { .. } | Self::UnknownSet { .. } => true,
            Self::Io { source, .. } => source.kind() == io::ErrorKind::NotFound,
            Self::File { path, .. } => !path.exists(),
            Self::Placed { is_missing, .. } => *is_missing,
            _ => false,
        }
    }

    /// The same with the position of what it is about, where it does not name a file itself.
    pub(crate) fn placed(self, at: &Position) -> Self {
        if !matches!(self, Self::UnknownSet { .. } | Self::Split(_)) {
            return self;
        }
        let text = self.to_string();
        let mut lines = text.lines();
        let mut diagnostic = Diagnostic::at(at, lines.next().unwrap_or_default());
        for line in lines {
            let line = line.trim();
            if let Some(expected) = line.strip_prefix("= expected ") {
                diagnostic = diagnostic.expected(expected);
            } else if let Some(help) = line.strip_prefix("= help: ") {
                diagnostic = diagnostic.help(help);
            } else {
                diagnostic.message.push_str(&format!("\n{line}"));
            }
        }
        Self::Placed { diagnostic: Box::new(diagnostic), is_missing: self.is_missing() }
    }

    /// An input or output error on `path`.
    pub(crate) fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }
}

impl From<DataError> for crate::core::StepError {
    fn from(error: DataError) -> Self {
        match error {
            DataError::Interrupted(interrupted) => Self::Interrupted(interrupted),
            error => Self::BadInput(Box::new(error)),
        }
    }
}

//! A check, and what it gives.

use serde::Serialize;
use serde_json::Value;

use super::Subject;

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// Whether a number is what it claims to be.
    Integrity,
    /// Whether a system could know what it is tested on.
    Leakage,
    /// Whether arms of an ablation differ in one factor.
    Ablation,
    /// Whether baselines got a fair chance.
    Baselines,
    /// Whether differences are more than chance.
    Statistics,
    /// Whether the way of evaluating decides the result.
    Evaluation,
    /// Whether responses of language models can be relied on.
    LanguageModels,
}

impl Family {
    pub fn name(self) -> &'static str {
        match self {
            Self::Integrity => "integrity",
            Self::Leakage => "leakage",
            Self::Ablation => "ablation",
            Self::Baselines => "baselines",
            Self::Statistics => "statistics",
            Self::Evaluation => "evaluation",
            Self::LanguageModels => "language-models",
        }
    }

    /// What it is about, in a sentence.
    pub fn about(self) -> &'static str {
        match self {
            Self::Integrity => "Whether a number is what it claims to be.",
            Self::Leakage => "Whether a system could know what it is tested on.",
            Self::Ablation => "Whether the arms of an ablation differ in one factor.",
            Self::Baselines => "Whether baselines got a fair chance.",
            Self::Statistics => "Whether differences are more than chance.",
            Self::Evaluation => "Whether the way of evaluating decides the result.",
            Self::LanguageModels => "Whether responses of language models can be relied on.",
        }
    }
}

/// How serious a finding is, least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Readers should know it.
    Note,
    /// A conclusion may not hold.
    Warning,
    /// A number or a comparison is not what it claims to be.
    Error,
}

impl Severity {
    pub fn name(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A check: one file, and one line in [`super::CHECKS`].
pub struct Check {
    /// Its name on the command line and in `audit: allow:`, such as `single-fold`.
    pub id: &'static str,
    pub family: Family,
    /// Of its findings, unless a finding says otherwise.
    pub severity: Severity,
    /// What it looks for, in a sentence.
    pub title: &'static str,
    /// Why it matters.
    pub why: &'static str,
    /// Where that is shown: a paper, or a document.
    pub source: &'static str,
    /// What to do about a finding.
    pub fix: &'static str,
    /// An error says why it could not be checked.
    pub run: fn(&Subject) -> Result<Outcome, String>,
}

/// What a check gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// It was checked, and this was found.
    Checked(Vec<Finding>),
    /// The experiment has nothing that it is about; why.
    NotApplicable(String),
    /// It could not be checked; why.
    NotChecked(String),
}

impl Outcome {
    pub fn findings(&self) -> &[Finding] {
        match self {
            Self::Checked(findings) => findings,
            Self::NotApplicable(_) | Self::NotChecked(_) => &[],
        }
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The system it is about, or a data set, or a fold; empty if it is about the whole experiment.
    pub subject: String,
    /// What was found, with its numbers, in a sentence.
    pub message: String,
    /// The numbers by name, for programs.
    pub evidence: Vec<(&'static str, Value)>,
    /// If it differs from the check's.
    pub severity: Option<Severity>,
}

impl Finding {
    pub fn new(subject: impl Into<String>, message: impl Into<String>) -> Self {
        let (subject, message) = (subject.into(), message.into());
        Self { subject, message, evidence: Vec::new(), severity: None }
    }

    /// With a number, or another value.
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.evidence.push((name, value.into()));
        self
    }

    /// With a severity of its own.
    pub fn as_severe_as(self, severity: Severity) -> Self {
        Self { severity: Some(severity), ..self }
    }
}

//! The pages of `assay serve`.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tera::{Context, Tera};

use super::html::escape_controls;

const TEMPLATE: &str = include_str!("../../reports/templates/serve.html");
const SCRIPT: &str = include_str!("../../reports/templates/serve.js");

/// What there is in a workspace.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct LiveState {
    pub experiments: Vec<LiveExperiment>,
    /// The newest first.
    pub runs: Vec<LiveRun>,
}

/// An experiment with its last run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveExperiment {
    pub slot: String,
    pub file: String,
    pub runs: usize,
    pub started: String,
    pub state: String,
    /// Finished steps of all steps.
    pub done: usize,
    pub steps: usize,
    /// The path of its report; none if it has no result.
    pub report: Option<String>,
}

/// A run.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LiveRun {
    pub run: String,
    pub slot: String,
    pub started: String,
    pub seconds: String,
    pub steps_run: usize,
    pub reused: usize,
    pub state: String,
}

/// What differs between two runs.
#[derive(Clone, Debug, Serialize)]
pub struct LiveDiff {
    pub first: LiveRun,
    pub second: LiveRun,
    /// By kind.
    pub inputs: Vec<(String, Vec<String>)>,
    /// How many means differ, in a sentence.
    pub means: String,
    pub rows: Vec<DiffRow>,
}

/// A mean that differs.
#[derive(Clone, Debug, Serialize)]
pub struct DiffRow {
    pub label: String,
    pub first: String,
    pub second: String,
    pub difference: String,
    pub note: String,
}

/// A page of the server.
#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub enum LivePage {
    State(LiveState),
    Diff(Box<LiveDiff>),
    Problem(String),
}

/// A page as HTML.
pub fn live_page(title: &str, page: &LivePage) -> Result<String, tera::Error> {
    let mut tera = Tera::default();
    tera.add_raw_template("serve.html", TEMPLATE)?;
    let mut values = serde_json::to_value(page).map_err(tera::Error::json)?;
    escape_controls(&mut values);
    let mut context = Context::from_value(values)?;
    for other in ["state", "diff", "problem"] {
        if !context.contains_key(other) {
            context.insert(other, &false);
        }
    }
    context.insert("title", title);
    context.insert("version", env!("CARGO_PKG_VERSION"));
    context.insert("script", SCRIPT);
    tera.render("serve.html", &context)
}

/// The Content-Security-Policy of these pages: one script, by its hash, and events and forms of this server alone.
pub fn live_policy() -> String {
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{}'; connect-src 'self'; form-action 'self'; \
         base-uri 'none'; frame-ancestors 'none'",
        BASE64_STANDARD.encode(Sha256::digest(SCRIPT))
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_others_are_escaped() {
        let page =
            live_page("t", &LivePage::Problem("<script>alert(1)</script>\u{1b}".into())).unwrap();
        assert!(page.contains("&lt;script&gt;alert") && !page.contains("<script>alert"), "{page}");
        assert!(!page.contains('\u{1b}'));
    }
}

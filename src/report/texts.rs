//! Where the texts of an experiment come from, for its report.

use serde::Serialize;
use serde_json::Value;

use crate::{
    core::Workspace,
    tasks::top_n::plan::{Plan, StepKind},
};

/// The profiles of all items, or of the users of a fold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextRow {
    pub profiles: String,
    /// `llm 1591, metadata 91`
    pub from: String,
    /// What was odd, in words.
    pub notes: Vec<String>,
    /// Answers of language models used, their tokens and cost; none where none was asked.
    pub answers: Option<u64>,
    pub tokens: u64,
    pub cost: String,
}

/// One row for each finished step that made profiles.
pub fn text_rows(plan: &Plan, workspace: &Workspace) -> Vec<TextRow> {
    let steps = plan.steps.iter().filter(|step| step.kind == StepKind::Profiles);
    steps
        .filter_map(|step| {
            let facts = workspace.record(step.kind.name(), &step.key).ok()?.facts;
            let from = facts["from"].as_object().cloned().unwrap_or_default();
            let from: Vec<String> =
                from.iter().map(|(source, count)| format!("{source} {count}")).collect();
            let (llm, number) = (&facts["llm"], |value: &Value| value.as_u64().unwrap_or(0));
            Some(TextRow {
                profiles: step.label.clone(),
                from: from.join(", "),
                notes: notes(&facts),
                answers: llm["answers"].as_u64(),
                tokens: number(&llm["input_tokens"]) + number(&llm["output_tokens"]),
                cost: match (llm["money"].as_f64(), number(&llm["unpriced"])) {
                    (Some(money), 0) => format!("{money:.4}"),
                    (Some(_), _) => "unknown".into(),
                    (None, _) => String::new(),
                },
            })
        })
        .collect()
}

fn notes(facts: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    let mut count = |value: &Value, what: &str| {
        if let Some(count) = value.as_u64().filter(|count| *count > 0) {
            notes.push(format!("{count} {what}"));
        }
    };
    count(&facts["without_title"], "items without a title");
    count(&facts["without_overview"], "items without an overview");
    count(&facts["writing"]["fallbacks"], "made by rule instead: no usable answer");
    count(&facts["writing"]["outside_vocabulary"], "words outside the vocabulary left out");
    count(&facts["llm"]["repairs"], "answers sent back to be mended");
    count(&facts["tmdb"]["not_found"], "overviews not found at TMDB");
    for (group, what) in [("bad", "answers not used"), ("slips", "slips mended")] {
        let found = facts["llm"][group].as_object().or(facts["writing"][group].as_object());
        for (name, count) in found.into_iter().flatten() {
            notes.push(format!("{count} {what}: {name}"));
        }
    }
    if let Some(from) = facts["built_from"].as_str() {
        notes.push(format!("users' profiles written from {from}"));
    }
    if let Some(notice) = facts["tmdb"]["notice"].as_str() {
        notes.push(notice.to_owned());
    }
    notes
}

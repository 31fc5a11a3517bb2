//! Sources of the texts of an experiment, for its report.

use serde::Serialize;

use super::recorded::recorded;
use crate::{
    core::{Step, Workspace},
    tasks::{
        ExperimentRecord,
        top_n::steps::{ItemProfilesStep, ProfilesStats},
    },
    text::TextStats,
};

/// The profiles of all items, or of the users of a fold.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct TextRow {
    pub profiles: String,
    /// The reason if the record is not readable.
    pub problem: Option<String>,
    /// `llm 1591, metadata 91`
    pub from: String,
    /// Notes.
    pub notes: Vec<String>,
    /// Responses of language models used, their tokens and cost; none without a language model.
    pub answers: Option<usize>,
    pub tokens: u64,
    pub cost: String,
}

/// One row per finished step that made profiles.
pub fn text_rows(experiment: &ExperimentRecord, workspace: &Workspace) -> Vec<TextRow> {
    let steps = experiment.steps.iter().enumerate();
    steps
        .filter(|(_, step)| step.kind == ItemProfilesStep::KIND)
        .filter_map(|(at, step)| {
            Some(match recorded::<ProfilesStats>(experiment, workspace, at)? {
                Ok((stats, _)) => row(&step.label, &stats.text),
                Err(problem) => TextRow {
                    profiles: step.label.clone(),
                    problem: Some(problem),
                    ..TextRow::default()
                },
            })
        })
        .collect()
}

fn row(label: &str, stats: &TextStats) -> TextRow {
    let mut from: Vec<String> =
        stats.from.iter().map(|(source, count)| format!("{} {count}", source.name())).collect();
    from.sort();
    let llm = stats.llm.as_ref();
    TextRow {
        profiles: label.to_owned(),
        problem: None,
        from: from.join(", "),
        notes: notes(stats),
        answers: llm.map(|llm| llm.responses),
        tokens: llm.map_or(0, |llm| llm.input_tokens + llm.output_tokens),
        cost: llm.map(|llm| llm.cost()).unwrap_or_default(),
    }
}

fn notes(stats: &TextStats) -> Vec<String> {
    let mut notes = Vec::new();
    let mut count = |count: Option<usize>, what: &str| {
        if let Some(count) = count.filter(|count| *count > 0) {
            notes.push(format!("{count} {what}"));
        }
    };
    let (writing, llm, tmdb) = (stats.writing.as_ref(), stats.llm.as_ref(), stats.tmdb.as_ref());
    count(stats.without_title, "items without a title");
    count(stats.without_overview, "items without an overview");
    count(writing.map(|of| of.fallbacks), "rule-based instead: no usable response");
    count(writing.map(|of| of.outside_vocabulary), "words outside the vocabulary omitted");
    count(llm.map(|of| of.repairs), "responses sent back for repair");
    count(tmdb.map(|of| of.not_found), "overviews not found at TMDB");
    for (name, count) in llm.iter().flat_map(|of| &of.bad) {
        notes.push(format!("{count} responses not used: {name}"));
    }
    for (repair, count) in writing.iter().flat_map(|of| &of.repairs) {
        notes.push(format!("{count} repairs: {}", repair.name()));
    }
    if let Some(from) = &stats.built_from {
        notes.push(format!("user profiles written from {from}"));
    }
    notes.extend(tmdb.map(|of| of.notice.clone()));
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn a_record_without_its_counts_is_an_error_and_not_zeros() {
        assert!(from_value::<TextStats>(json!({"items": 3})).is_err());
        let llm = json!({"answers": 2, "found": 0, "asked": 2, "bad": {}, "repairs": 0, "missing": 0,
            "input_tokens": 5, "output_tokens": 7, "money": 0.5, "unpriced": 0, "latency_seconds": 1.0});
        let mut stats = json!({"from": {"llm": 2, "file": 1}, "users": 3, "llm": llm,
            "writing": {"fallbacks": 1, "slips": {"code-fence": 2}, "outside_vocabulary": 0}});
        let read = row("users", &from_value(stats.clone()).unwrap());
        assert_eq!((&read.from[..], read.answers, read.tokens), ("file 1, llm 2", Some(2), 12));
        assert_eq!(read.cost, "0.5000");
        assert_eq!(
            read.notes,
            ["1 rule-based instead: no usable response", "2 repairs: code-fence"]
        );
        stats["llm"].as_object_mut().unwrap().remove("unpriced");
        assert!(from_value::<TextStats>(stats).is_err());
    }
}

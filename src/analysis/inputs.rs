//! What differs in the inputs of two experiments or runs: data, split, evaluation, parameters, code and environment.

use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    base::text::distinct,
    core::{MeasureKey, RunRecord, why_stale},
    tasks::{ExperimentRecord, VariantRecord},
};

/// What an input is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum InputKind {
    Data,
    Split,
    Evaluation,
    Parameters,
    /// The experiment file.
    Experiment,
    /// Files that steps read.
    Files,
    Program,
    Machine,
}

impl InputKind {
    /// Its name in a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Split => "split",
            Self::Evaluation => "evaluation",
            Self::Parameters => "parameters",
            Self::Experiment => "experiment",
            Self::Files => "data and files",
            Self::Program => "program",
            Self::Machine => "machine",
        }
    }
}

/// One input that differs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputDifference {
    pub kind: InputKind,
    /// `systems.als.factors: 8 → 4`
    pub change: String,
}

fn differences(kind: InputKind, [first, second]: [&Value; 2]) -> Vec<InputDifference> {
    let changes = why_stale(first, second).into_iter();
    changes.map(|change| InputDifference { kind, change }).collect()
}

/// The inputs of a variant, by kind.
fn inputs_of(variant: &VariantRecord) -> [(InputKind, Value); 4] {
    let systems = variant.systems.iter().map(|of| (of.name.clone(), of.settings.clone()));
    [
        (
            InputKind::Data,
            json!({"data set": variant.data, "files of the data": variant.data_digest.short()}),
        ),
        (InputKind::Split, json!({"split": variant.split, "splits": variant.split_digest.short()})),
        (InputKind::Evaluation, json!({"rules": variant.rules, "evaluation": variant.settings})),
        (
            InputKind::Parameters,
            json!({"seeds": variant.seeds, "systems": systems.collect::<serde_json::Map<_, _>>()}),
        ),
    ]
}

/// What differs in the data, split, evaluation and parameters of two experiments.
pub fn differences_of_experiments(
    first: &ExperimentRecord,
    second: &ExperimentRecord,
) -> Vec<InputDifference> {
    let [a, b] = [first, second].map(|of| &of.variants);
    if let ([a], [b]) = (&a[..], &b[..]) {
        let pairs = inputs_of(a).into_iter().zip(inputs_of(b));
        return pairs.flat_map(|((kind, a), (_, b))| differences(kind, [&a, &b])).collect();
    }
    let labels = distinct(a.iter().chain(b).map(|of| of.label.as_str()));
    let nothing = || Value::Null;
    let mut found = Vec::new();
    for label in labels {
        let of = |variants: &[VariantRecord]| {
            variants.iter().find(|of| of.label == label).map(inputs_of)
        };
        let (a, b) = (of(a), of(b));
        let kinds = a.as_ref().or(b.as_ref()).map(|of| of.each_ref().map(|(kind, _)| *kind));
        for (at, kind) in kinds.into_iter().flatten().enumerate() {
            let value = |of: &Option<[(InputKind, Value); 4]>| {
                let value = of.as_ref().map_or_else(nothing, |of| of[at].1.clone());
                json!({label.as_str(): value})
            };
            found.extend(differences(kind, [&value(&a), &value(&b)]));
        }
    }
    found
}

/// The program of a run, and the state of the experiment's repository.
fn program(run: &RunRecord) -> Value {
    let machine = &run.machine;
    let libraries: serde_json::Map<String, Value> =
        machine.libraries.iter().map(|(name, of)| (name.clone(), json!(of))).collect();
    json!({
        "assay": machine.assay,
        "program": machine.program,
        "libraries": libraries,
        "revision of the experiment": machine.revision,
        "uncommitted changes": machine.dirty,
    })
}

fn machine(run: &RunRecord) -> Value {
    let of = &run.machine;
    json!({"host": of.host, "os": of.os, "cpu": of.cpu, "threads": run.threads})
}

fn files(run: &RunRecord) -> Value {
    // Records of earlier versions name no files.
    let data = run.data.iter().filter(|_| run.files.is_empty()).enumerate().map(|(at, digest)| {
        (format!("data of variant {}", at + 1), json!(&digest[..digest.len().min(12)]))
    });
    let files = run.files.iter().map(|file| (file.what.clone(), json!(file.digest.short())));
    Value::Object(data.chain(files).collect())
}

/// What differs in the program and the machine of two runs.
pub fn differences_of_environment(first: &RunRecord, second: &RunRecord) -> Vec<InputDifference> {
    let of = |kind: InputKind, value: fn(&RunRecord) -> Value| {
        differences(kind, [&value(first), &value(second)])
    };
    [of(InputKind::Program, program), of(InputKind::Machine, machine)].concat()
}

/// What differs between two runs: experiment file, files read, program and machine.
pub fn differences_of_runs(first: &RunRecord, second: &RunRecord) -> Vec<InputDifference> {
    let experiment = differences(InputKind::Experiment, [&first.resolved, &second.resolved]);
    let read = differences(InputKind::Files, [&files(first), &files(second)]);
    [experiment, read, differences_of_environment(first, second)].concat()
}

/// Why two experiments do not measure the same thing in these columns; none if they do.
pub fn why_not_comparable(
    first: &ExperimentRecord,
    second: &ExperimentRecord,
    keys: &[MeasureKey],
) -> Option<String> {
    let of = |record: &ExperimentRecord| -> Vec<String> {
        let prints =
            record.variants.iter().flat_map(|of| keys.iter().map(|key| of.fingerprint(key)));
        distinct(prints.flatten())
    };
    let (a, b) = (of(first), of(second));
    if a == b {
        return None;
    }
    let about = |record: &ExperimentRecord| {
        let of: Vec<String> = record.variants.iter().map(about).collect();
        of.join("; ")
    };
    let (a, b) = (a.join(", "), b.join(", "));
    Some(format!("fingerprints {a} and {b} ({} / {})", about(first), about(second)))
}

/// What the fingerprints of a variant go by.
fn about(of: &VariantRecord) -> String {
    let filter = match of.rules.filter.is_empty() {
        true => String::new(),
        false => format!(", filter {}", of.rules.filter),
    };
    let (data, split) = (of.data_digest.short(), of.split_digest.short());
    format!("data {data}{filter}, split {split}, {}", of.rules.relevant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::hash::Digest,
        tasks::{AuditSpec, Evaluation, Rules, SystemRecord},
    };

    fn variant(label: &str, factors: u64) -> VariantRecord {
        VariantRecord {
            label: label.into(),
            data: "sample".into(),
            data_digest: Digest::of("ratings"),
            rules: Rules { relevant: "rating >= 4".into(), ..Rules::default() },
            split: json!({"scheme": "official"}),
            split_digest: Digest::of("split"),
            all_folds: vec!["f1".into()],
            seeds: vec![1],
            evaluations: vec![Evaluation {
                protocol: "full".into(),
                convention: "standard".into(),
                k: 10,
                fingerprint: "abc".into(),
            }],
            metrics: vec!["ndcg".into()],
            slices: vec!["all".into()],
            settings: json!({"k": [10]}),
            systems: vec![SystemRecord {
                name: "als".into(),
                describe: String::new(),
                model: "als".into(),
                settings: json!({"factors": factors}),
                is_seeded: true,
                learns_from: None,
                knows_test: false,
                reranks: None,
            }],
        }
    }

    fn record(variants: Vec<VariantRecord>) -> ExperimentRecord {
        ExperimentRecord {
            version: 1,
            name: "e".into(),
            slot: "e".into(),
            task: "top-n".into(),
            overrides: vec![],
            describe: String::new(),
            path: "e.yaml".into(),
            sources: vec![],
            variants,
            trials: vec![],
            steps: vec![],
            published: vec![],
            audit: AuditSpec::default(),
            report: Default::default(),
        }
    }

    fn change(kind: InputKind, change: &str) -> InputDifference {
        InputDifference { kind, change: change.into() }
    }

    #[test]
    fn each_kind_of_input_is_named() {
        let first = record(vec![variant("", 8)]);
        assert!(differences_of_experiments(&first, &first).is_empty());
        let mut other = variant("", 4);
        other.data = "other".into();
        other.split = json!({"scheme": "kfold"});
        other.seeds = vec![1, 2];
        other.rules.relevant = "rating >= 3".into();
        let found = differences_of_experiments(&first, &record(vec![other]));
        assert_eq!(
            found,
            [
                change(InputKind::Data, "data set: \"sample\" → \"other\""),
                change(InputKind::Split, "split.scheme: \"official\" → \"kfold\""),
                change(InputKind::Evaluation, "rules.relevant: \"rating >= 4\" → \"rating >= 3\""),
                change(InputKind::Parameters, "seeds: [1] → [1,2]"),
                change(InputKind::Parameters, "systems.als.factors: 8 → 4"),
            ]
        );
    }

    #[test]
    fn variants_are_compared_by_their_labels() {
        let first = record(vec![variant("[a]", 8), variant("[b]", 8)]);
        let second = record(vec![variant("[a]", 8), variant("[b]", 2)]);
        let found = differences_of_experiments(&first, &second);
        assert_eq!(found, [change(InputKind::Parameters, "[b].systems.als.factors: 8 → 2")]);
        // A variant that one of them lacks differs in everything.
        let found = differences_of_experiments(&first, &record(vec![variant("[a]", 8)]));
        assert_eq!(found.len(), 4, "{found:?}");
    }

    #[test]
    fn other_fingerprints_are_not_comparable_and_say_what_they_go_by() {
        let key = |k| MeasureKey {
            protocol: "full".into(),
            convention: "standard".into(),
            metric: "ndcg".into(),
            k,
        };
        let first = record(vec![variant("", 8)]);
        let mut other = variant("", 8);
        other.evaluations[0].fingerprint = "xyz".into();
        other.rules.filter = "5-core".into();
        let second = record(vec![other]);
        assert_eq!(why_not_comparable(&first, &first, &[key(10)]), None);
        let why = why_not_comparable(&first, &second, &[key(10)]).unwrap();
        assert!(why.starts_with("fingerprints abc and xyz"), "{why}");
        assert!(why.contains("filter 5-core") && why.contains("rating >= 4"), "{why}");
    }
}

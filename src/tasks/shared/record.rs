//! Records of experiments whose systems rank items, and how to read the files of their steps.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::{
    base::{files::FileError, hash::Digest},
    core::{Columns, Mean, Measurements, StepFiles},
    data::Relevance,
    ranking::{Convention, EvalError, Fallback, Fingerprint, Protocol, ScoreSpec, stored},
    tasks::{Evaluation, VariantRecord},
};

/// The settings of a variant that are specific to this task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RecordSettings {
    pub relevant: Relevance,
    /// Normalised.
    pub evaluate: ScoreSpec,
}

impl RecordSettings {
    /// Those of a variant.
    pub fn of(variant: &VariantRecord) -> Result<Self, String> {
        let of = serde_json::from_value(variant.settings.clone());
        of.map_err(|error| format!("the record of the experiment is damaged: {error}"))
    }
}

/// The means of an evaluation step against the values of its users.
pub(in crate::tasks) fn check_means(
    files: &StepFiles,
    variant: &VariantRecord,
) -> Result<(), String> {
    check_means_by(files, &RecordSettings::of(variant)?.evaluate)
}

/// The same where it is known how they are evaluated. The values are kept for what needs them next.
pub(in crate::tasks) fn check_means_by(
    files: &StepFiles,
    evaluate: &ScoreSpec,
) -> Result<(), String> {
    let asked = Digest::of_json(evaluate);
    if files.is_checked(&asked) {
        return Ok(());
    }
    let measured = stored::check_summary(files.dir, evaluate).map_err(|error| error.to_string())?;
    files.keep(measured, asked);
    Ok(())
}

pub(in crate::tasks) fn means(dir: &Path) -> Result<Vec<Mean>, FileError> {
    let summary = stored::read_summary(dir).map_err(|error| unread(dir, error))?;
    Ok(summary.iter().map(Mean::from).collect())
}

pub(in crate::tasks) fn measurements(
    dir: &Path,
    variant: &VariantRecord,
    columns: Columns,
) -> Result<Measurements, FileError> {
    let settings = RecordSettings::of(variant)
        .map_err(|problem| FileError::Damaged { path: dir.to_owned(), problem })?;
    stored::read_measurements(dir, &settings.evaluate, columns).map_err(|error| unread(dir, error))
}

fn unread(dir: &Path, error: EvalError) -> FileError {
    match error {
        EvalError::Io { path, source } => FileError::Io { path, source },
        EvalError::Malformed { path, problem } => FileError::Damaged { path, problem },
        error => FileError::Damaged { path: dir.to_owned(), problem: error.to_string() },
    }
}

/// What the numbers of a variant rest on, beside how they are evaluated.
pub(in crate::tasks) struct RestsOn {
    pub data: Digest,
    /// The filters of the data, if there are any.
    pub filter: Option<String>,
    /// Of all folds.
    pub split: Digest,
    pub relevant: Relevance,
    /// Which items are not ranked, where the task says so.
    pub exclude: Option<String>,
}

impl RestsOn {
    /// The columns that `evaluate`, normalised, asks for, with their fingerprints.
    pub fn evaluations(&self, evaluate: &ScoreSpec) -> Vec<Evaluation> {
        let columns = evaluate.pairs().flat_map(|(protocol, convention)| {
            evaluate.k.iter().map(move |k| (protocol, convention, *k))
        });
        let columns = columns.map(|(protocol, convention, k)| Evaluation {
            protocol: protocol.to_string(),
            convention: convention.to_string(),
            k,
            fingerprint: self.fingerprint(evaluate, protocol, convention, k).short(),
        });
        columns.collect()
    }

    fn fingerprint(
        &self,
        evaluate: &ScoreSpec,
        protocol: Protocol,
        convention: Convention,
        k: usize,
    ) -> Fingerprint {
        Fingerprint {
            data: self.data.to_string(),
            filter: self.filter.clone(),
            split: self.split.to_string(),
            relevant: self.relevant.to_string(),
            protocol,
            protocol_settings: match protocol {
                Protocol::Sampled => {
                    let of = evaluate.sampled;
                    format!("{} negatives, seed {}", of.negatives, of.seed)
                }
                _ => String::new(),
            },
            convention,
            ties: evaluate.ties.rule(),
            fallback: (evaluate.fallback != Fallback::default())
                .then(|| evaluate.fallback.to_string()),
            exclude: self.exclude.clone(),
            k,
            users: convention.users_rule().into(),
        }
    }
}

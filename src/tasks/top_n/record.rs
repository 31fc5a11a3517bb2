//! Records of experiments of this task, and how to read the files of their steps.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{System, SystemSpec, Variant, rerank::JudgeName, steps::check_split};
use crate::{
    base::{files::FileError, hash::Digest},
    core::{Mean, Measurements, Record},
    data::{DataDirs, DataError, Relevance, SplitSpec, fold_names},
    ranking::{Convention, EvalError, Fallback, Fingerprint, Protocol, ScoreSpec, scores},
    tasks::{Evaluation, Plan, Rules, SystemRecord, VariantRecord},
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

pub(super) fn check(
    kind: &str,
    dir: &Path,
    record: &Record,
    variant: &VariantRecord,
) -> Result<(), String> {
    match kind {
        "split" => check_split(dir, record),
        "evaluate" => scores::check_summary(dir, &RecordSettings::of(variant)?.evaluate)
            .map_err(|error| error.to_string()),
        _ => Ok(()),
    }
}

pub(super) fn means(dir: &Path) -> Result<Vec<Mean>, FileError> {
    let summary = scores::read_summary(dir).map_err(|error| unread(dir, error))?;
    Ok(summary.iter().map(Mean::from).collect())
}

pub(super) fn measurements(dir: &Path, variant: &VariantRecord) -> Result<Measurements, FileError> {
    let settings = RecordSettings::of(variant)
        .map_err(|problem| FileError::Damaged { path: dir.to_owned(), problem })?;
    scores::read_measurements(dir, &settings.evaluate).map_err(|error| unread(dir, error))
}

fn unread(dir: &Path, error: EvalError) -> FileError {
    match error {
        EvalError::Io { path, source } => FileError::Io { path, source },
        EvalError::Malformed { path, problem } => FileError::Damaged { path, problem },
        error => FileError::Damaged { path: dir.to_owned(), problem: error.to_string() },
    }
}

impl Variant {
    /// What results need of it.
    pub(super) fn record(
        &self,
        at: usize,
        plan: &Plan,
        dirs: &DataDirs,
    ) -> Result<VariantRecord, DataError> {
        let trials = plan.trials.iter().filter(|trial| trial.variant == at);
        let mut folds: Vec<&Digest> = trials.map(|trial| &plan.graph[trial.split].key).collect();
        folds.sort();
        folds.dedup();
        let (source, data) = (&self.data.source, &self.data);
        let all = SplitSpec { only: None, ..self.split.clone() };
        let evaluate = self.evaluate.normalised();
        let split_digest = Digest::of_json(&folds);
        let fingerprint = |protocol: Protocol, convention: Convention, k| Fingerprint {
            data: plan.data[at].to_string(),
            filter: (!source.filters().is_empty()).then(|| source.filters().to_string()),
            split: split_digest.to_string(),
            relevant: data.relevant.to_string(),
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
            k,
            users: convention.users_rule().into(),
        };
        let evaluations = evaluate.pairs().flat_map(|(protocol, convention)| {
            evaluate.k.iter().map(move |k| (protocol, convention, *k))
        });
        let evaluations = evaluations.map(|(protocol, convention, k)| Evaluation {
            protocol: protocol.to_string(),
            convention: convention.to_string(),
            k,
            fingerprint: fingerprint(protocol, convention, k).short(),
        });
        Ok(VariantRecord {
            label: self.label.clone(),
            data: source.name(),
            data_digest: plan.data[at],
            rules: Rules {
                filter: source.filters().to_string(),
                relevant: data.relevant.describe(data.relevant_from),
                ties: evaluate.ties.rule(),
                fallback: match evaluate.fallback {
                    Fallback::Popularity => {
                        "personalized models recommend the most popular items".into()
                    }
                    Fallback::None => "personalized models recommend nothing".into(),
                },
            },
            split: serde_json::to_value(&self.split).unwrap_or_default(),
            split_digest,
            all_folds: fold_names(&all, source, dirs)?,
            seeds: self.seeds.clone(),
            evaluations: evaluations.collect(),
            metrics: evaluate.metrics.iter().map(ToString::to_string).collect(),
            slices: evaluate.slices.iter().map(ToString::to_string).collect(),
            settings: serde_json::to_value(RecordSettings {
                relevant: data.relevant,
                evaluate: evaluate.clone(),
            })
            .unwrap_or_default(),
            systems: self.systems.iter().map(|system| self.system_record(system)).collect(),
        })
    }

    fn system_record(&self, system: &System) -> SystemRecord {
        let rerank = match &system.model {
            SystemSpec::Rerank(params) => Some(params),
            _ => None,
        };
        // A reranker learns what its base does.
        let learner = rerank
            .map_or(Some(system), |params| self.systems.iter().find(|base| base.name == params.of));
        SystemRecord {
            name: system.name.clone(),
            describe: system.describe.clone(),
            model: system.model.name().to_owned(),
            settings: serde_json::to_value(&system.model).unwrap_or_default(),
            is_seeded: self.is_seeded(system),
            learns_from: learner.and_then(|learner| learner.train_on.describe()),
            knows_test: rerank.is_some_and(|params| params.judge == JudgeName::Oracle),
            reranks: rerank.map(|params| (params.of.clone(), params.users)),
        }
    }
}

//! Records of experiments of this task, and how to read the files of their steps.

use super::{System, SystemSpec, Variant, rerank::JudgeName, steps::check_split};
use crate::{
    base::hash::Digest,
    core::StepFiles,
    data::{DataDirs, DataError, SplitSpec, fold_names},
    ranking::Fallback,
    tasks::{
        Plan, Rules, SystemRecord, VariantRecord,
        shared::{RecordSettings, RestsOn, check_means},
    },
};

pub(super) fn check(kind: &str, files: &StepFiles, variant: &VariantRecord) -> Result<(), String> {
    match kind {
        "split" => check_split(files.dir, files.record),
        "evaluate" => check_means(files, variant),
        _ => Ok(()),
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
        let rests_on = RestsOn {
            data: plan.data[at],
            filter: (!source.filters().is_empty()).then(|| source.filters().to_string()),
            split: split_digest,
            relevant: data.relevant,
            exclude: None,
        };
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
            evaluations: rests_on.evaluations(&evaluate),
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

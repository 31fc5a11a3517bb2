//! Records of experiments of this task.

use super::{System, Variant, steps::check_split};
use crate::{
    base::hash::Digest,
    core::StepFiles,
    data::Relevance,
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
    pub(super) fn record(&self, at: usize, plan: &Plan) -> VariantRecord {
        let trials = plan.trials.iter().filter(|trial| trial.variant == at);
        let mut folds: Vec<&Digest> = trials.map(|trial| &plan.graph[trial.split].key).collect();
        folds.sort();
        folds.dedup();
        let (evaluate, filters) = (self.evaluate.normalised(), self.data.filters());
        let rests_on = RestsOn {
            data: plan.data[at],
            filter: (!filters.is_empty()).then(|| filters.to_string()),
            split: Digest::of_json(&folds),
            relevant: Relevance::Any,
            exclude: Some(self.exclude.rule().to_owned()),
        };
        VariantRecord {
            label: self.label.clone(),
            data: self.data.name(),
            data_digest: plan.data[at],
            rules: Rules {
                filter: filters.to_string(),
                relevant: format!("what comes next in the sequence; {}", self.exclude.rule()),
                ties: evaluate.ties.rule(),
                fallback: format!(
                    "users without history are recommended {}",
                    match evaluate.fallback {
                        Fallback::Popularity => "the most popular items",
                        Fallback::None => "nothing",
                    }
                ),
            },
            split: serde_json::to_value(self.split.written_out()).unwrap_or_default(),
            split_digest: rests_on.split,
            all_folds: vec![self.split.fold_name().to_owned()],
            seeds: self.seeds.clone(),
            evaluations: rests_on.evaluations(&evaluate),
            metrics: evaluate.metrics.iter().map(ToString::to_string).collect(),
            slices: evaluate.slices.iter().map(ToString::to_string).collect(),
            settings: serde_json::to_value(RecordSettings { relevant: Relevance::Any, evaluate })
                .unwrap_or_default(),
            systems: self.systems.iter().map(System::record).collect(),
        }
    }
}

impl System {
    fn record(&self) -> SystemRecord {
        SystemRecord {
            name: self.name.clone(),
            describe: self.describe.clone(),
            model: self.model.name().to_owned(),
            settings: serde_json::to_value(&self.model).unwrap_or_default(),
            is_seeded: self.model.is_seeded(),
            learns_from: None,
            knows_test: false,
            reranks: None,
        }
    }
}

//! Whether responses of language models can be relied on.

pub mod bad_responses;
pub mod cost_not_recorded;
mod exchange;
pub mod floating_model_name;
pub mod gain_over_controls;
pub mod ground_truth_in_prompt;
pub mod items_in_no_batch;
pub mod position_bias;
pub mod scored_once;
pub mod temperature_without_repeats;

use std::collections::BTreeSet;

use serde_json::Value;

pub use exchange::{Exchange, Responses, names};

use super::{Subject, columns::Arm};
use crate::{
    core::Step,
    tasks::top_n::{
        rerank::{JudgeName, RerankParams},
        steps::RerankStep,
    },
};

/// A reranker whose judge is a chat model, or a control.
pub(super) struct Reranker<'a> {
    pub arm: Arm<'a>,
    pub params: RerankParams,
}

impl Reranker<'_> {
    pub fn uses_chat_model(&self) -> bool {
        matches!(self.params.judge, JudgeName::Chat(_))
    }

    /// Its finished steps.
    pub fn steps(&self) -> BTreeSet<usize> {
        self.arm.trials.iter().map(|trial| trial.predictions).collect()
    }
}

/// All rerankers with finished trials.
pub(super) fn rerankers<'a>(subject: &Subject<'a>) -> Result<Vec<Reranker<'a>>, String> {
    let arms = subject.arms().into_iter().filter(|arm| arm.record.reranks.is_some());
    arms.map(|arm| {
        let mut settings = arm.record.settings.clone();
        if let Some(settings) = settings.as_object_mut() {
            settings.shift_remove("model");
        }
        let params = serde_json::from_value(settings);
        let params = params.map_err(|error| format!("the settings of `{}`: {error}", arm.name))?;
        Ok(Reranker { arm, params })
    })
    .collect()
}

/// A finished step that asked a chat model.
pub(super) struct AskingStep {
    pub step: usize,
    /// `judge` of its key: base URL, parameters, weights.
    pub endpoint: Value,
    /// Systems that it is a part of.
    pub systems: Vec<String>,
    pub seeds: BTreeSet<u64>,
}

impl AskingStep {
    /// The model's name at the endpoint.
    pub fn model(&self) -> &str {
        self.endpoint["parameters"]["model"].as_str().unwrap_or_default()
    }
}

/// All finished steps of the experiment that asked a chat model: profiles, rerankers, explanations.
pub(super) fn asking(subject: &Subject) -> Result<Vec<AskingStep>, String> {
    let steps = &subject.experiment.steps;
    let mut found: Vec<AskingStep> = Vec::new();
    for trial in &subject.done {
        let mut open = vec![trial.evaluate];
        open.extend(trial.explain);
        let mut seen = BTreeSet::new();
        while let Some(step) = open.pop() {
            if !seen.insert(step) {
                continue;
            }
            open.extend(&steps[step].inputs);
            if !matches!(&steps[step].kind[..], "profiles" | RerankStep::KIND | "explain") {
                continue;
            }
            match found.iter_mut().find(|of| of.step == step) {
                Some(known) => {
                    if !known.systems.contains(&trial.name) {
                        known.systems.push(trial.name.clone());
                    }
                    known.seeds.insert(trial.seed);
                }
                None => {
                    let endpoint = subject.record(step)?.key_inputs["judge"].clone();
                    if endpoint.is_object() {
                        found.push(AskingStep {
                            step,
                            endpoint,
                            systems: vec![trial.name.clone()],
                            seeds: BTreeSet::from([trial.seed]),
                        });
                    }
                }
            }
        }
    }
    found.sort_by_key(|of| of.step);
    Ok(found)
}

/// Why checks of language models do not apply.
pub(super) const NO_MODEL: &str = "no finished step asked a language model";

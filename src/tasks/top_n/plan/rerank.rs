//! Steps of rerankers: the fit of the base, the reranked lists, and their explanations.

use super::{
    FoldAt, Planner, SystemPlan,
    texts::{TextPlan, Texts},
    warnings::leak,
};
use crate::{
    base::hash::Digest,
    core::Handle,
    data::DataError,
    ranking::Protocol,
    tasks::top_n::{
        rerank::{ExplainSpec, JudgeName, RerankParams},
        steps::{
            ExplainStep, JudgeInputs, PromptedEndpoint, RerankStep,
            output::{Explanations, Model, Predictions},
        },
    },
};

/// The steps of one trial of a reranker.
pub(super) struct Reranked {
    /// Of the base.
    pub fit: Handle<Model>,
    pub lists: Handle<Predictions>,
    pub explain: Option<Handle<Explanations>>,
}

/// What does not change from trial to trial of a reranker.
pub(super) struct RerankPlan<'a> {
    base: SystemPlan<'a>,
    texts: Option<TextPlan<'a>>,
    /// A chat model with the prompt that it reranks with, and the one that it explains with.
    asked: Option<PromptedEndpoint>,
    explains: Option<(&'a ExplainSpec, Option<PromptedEndpoint>)>,
}

impl<'a> Planner<'a> {
    pub(super) fn rerank_plan(
        &mut self,
        params: &'a RerankParams,
    ) -> Result<RerankPlan<'a>, DataError> {
        let base = self.variant.systems.iter().find(|base| base.name == params.of);
        let Some(base) = base else {
            return Err(DataError::Split(format!("no system `{}` to rerank", params.of)));
        };
        // The oracle explains nothing: what it knows is nothing to tell a user.
        let explain = params.explain.as_ref().filter(|_| params.judge != JudgeName::Oracle);
        let reads_text = match &params.judge {
            JudgeName::Encoder | JudgeName::Chat(_) => true,
            // The others look at no text.
            _ => explain.is_some(),
        };
        let encodes = params.judge == JudgeName::Encoder;
        let texts = reads_text.then(|| self.text_plan(&params.text, encodes)).transpose()?;
        // Read whoever the judge is: a file that is not there is a mistake in any case.
        let prompt = (params.strategy, params.prompt.place());
        if self.prompts.insert(Digest::of_json(&prompt)) {
            params.read_prompt(&self.dirs)?;
        }
        let asked = match &params.judge {
            JudgeName::Chat(judge) => {
                let (of, at) = (params.clone(), self.dirs.clone());
                let digest = move || Ok(of.read_prompt(&at)?.digest());
                Some(self.asked(judge, &prompt, digest)?)
            }
            _ => None,
        };
        let explains = match explain {
            Some(explain) => {
                if self.prompts.insert(Digest::of_json(&("explain", explain.prompt.place()))) {
                    explain.read_prompt(&self.dirs)?;
                }
                let asked = match &params.judge {
                    JudgeName::Chat(judge) => {
                        let (of, at) = (explain.clone(), self.dirs.clone());
                        let digest = move || Ok(of.read_prompt(&at)?.digest());
                        Some(self.asked(judge, &("explain", explain.prompt.place()), digest)?)
                    }
                    _ => None,
                };
                Some((explain, asked))
            }
            None => None,
        };
        Ok(RerankPlan { base: self.system_plan(base)?, texts, asked, explains })
    }

    /// The steps that fit the base, rerank its lists, and explain them.
    pub(super) fn rerank(
        &mut self,
        of: &SystemPlan,
        params: &RerankParams,
        reranked: &RerankPlan,
        at: FoldAt,
    ) -> Result<Reranked, DataError> {
        let variant = of.variant;
        let FoldAt { fold, split, seed } = at;
        // A base that no seed changes is fitted once.
        let of_base = if reranked.base.is_seeded { seed } else { variant.seeds[0] };
        let base = self.fit(&reranked.base, FoldAt { seed: of_base, ..at })?;
        let texts = match &reranked.texts {
            Some(plan) => Some(self.profiles(&of.name, plan, (fold, split), false)?),
            None => None,
        };
        let judge = match (&params.judge, &reranked.texts, texts, &reranked.asked) {
            (JudgeName::Encoder, Some(plan), Some(Texts { items, users }), _) => {
                JudgeInputs::Encoder([items, users].map(|profiles| self.encode(plan, profiles)))
            }
            (JudgeName::Chat(_), _, Some(Texts { items, users }), Some(asked)) => {
                JudgeInputs::Chat { asked: Box::new(asked.clone()), items, users }
            }
            _ => JudgeInputs::None,
        };
        // A judge that reads no text cannot be told too much.
        let warnings = match &judge {
            JudgeInputs::None => Vec::new(),
            _ => leak(variant, &params.text, fold).into_iter().collect(),
        };
        let fit = base.model;
        let lists = self.add(RerankStep {
            label: of.label(fold, seed),
            params: params.clone(),
            base,
            seed,
            ties: variant.evaluate.ties,
            whole_lists: variant.evaluate.protocols.contains(&Protocol::Judged),
            judge,
            warnings,
        });
        let explain = match (&reranked.explains, texts) {
            (Some((explain, asked)), Some(Texts { items, users })) => {
                let dirs = self.dirs.clone();
                Some(self.add(ExplainStep {
                    label: of.label(fold, seed),
                    params: params.clone(),
                    explain: (*explain).clone(),
                    seed,
                    split,
                    relevant: variant.data.relevant,
                    disliked: variant.data.disliked,
                    lists,
                    items,
                    users,
                    asked: asked.clone(),
                    dirs,
                }))
            }
            _ => None,
        };
        Ok(Reranked { fit, lists, explain })
    }
}

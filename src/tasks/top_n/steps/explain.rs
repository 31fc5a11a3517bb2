//! Steps that explain the best of reranked lists.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{
    PromptedEndpoint, RESPONSES, Written,
    output::{Explanations, Predictions as PredictionsDir, Profiles as ProfilesDir, Split},
    rerank::{knowledge, most},
};
use crate::{
    base::files::{FileError, write_json},
    core::{Found, Handle, KeyBuilder, Requests, RunContext, Shared, Step, StepError, StepStats},
    data::{DataDirs, Relevance, TrainingPart, UserIx},
    ranking::{Predictions, Rankings},
    tasks::top_n::rerank::{
        ChatJudge, ExplainSpec, JudgeName, JudgeStats, RerankParams,
        explain::{self, ExplainChecks},
        sample_values,
    },
};

/// Explains the lists of a reranker.
pub struct ExplainStep {
    pub label: String,
    pub params: RerankParams,
    pub explain: ExplainSpec,
    pub seed: u64,
    pub split: Handle<Split>,
    pub relevant: Relevance,
    pub disliked: Option<Relevance>,
    pub lists: Handle<PredictionsDir>,
    pub items: Handle<ProfilesDir>,
    pub users: Handle<ProfilesDir>,
    /// Who writes, where that is a chat model.
    pub asked: Option<PromptedEndpoint>,
    pub dirs: std::sync::Arc<DataDirs>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExplainStats {
    pub users: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub judge: Option<JudgeStats>,
    pub checks: ExplainChecks,
}

impl StepStats for ExplainStats {
    const VERSION: u32 = 1;
}

impl Step for ExplainStep {
    type Output = Explanations;
    type Stats = ExplainStats;

    const KIND: &'static str = "explain";
    const REVISION: u32 = 4;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("explain", &self.explain)
            .value("by", &self.params.judge)
            .value("pool", self.params.pool)
            .value("users", self.params.users)
            .step("rerank", self.lists)
            .step("text.items", self.items)
            .step("text.users", self.users)
            .reads("split", self.split);
        if let Some(asked) = &self.asked {
            asked.key_inputs(key);
        }
    }

    fn files(&self) -> Vec<&'static str> {
        vec![explain::FILE]
    }

    fn preflight(&self, _: &Shared) -> Result<Found, StepError> {
        if self.asked.is_some() {
            let prompt = self.explain.read_prompt(&self.dirs)?;
            prompt.check(&sample_values(self.params.pool, Some(self.explain.top)))?;
        }
        Ok(Found::default())
    }

    fn requests(&self, users: u64, _: u64) -> Option<Requests> {
        let JudgeName::Chat(endpoint) = &self.params.judge else { return None };
        let of_reranked = most(self.params.users, users);
        Some(Requests {
            endpoint: endpoint.clone(),
            calls: most(self.explain.users, users).min(of_reranked),
            tokens_per_call: 650 + 90 * self.params.pool as u64,
            in_batches: false,
        })
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<ExplainStats, StepError> {
        let training = TrainingPart::read(&cx.dir(self.split))?;
        let data = training.training_data(self.relevant, self.disliked);
        let predictions = Predictions::read(&cx.dir(self.lists), None, training.items.len())?;
        let lists = Rankings {
            lists: predictions.lists().map(|list| list.map(<[_]>::to_vec)).collect(),
            ..Rankings::default()
        };
        let counts = training.counts();
        let of_all = self.params.users.members(&counts);
        let chosen = self.explain.users.members(&counts).into_iter().zip(of_all);
        let chosen: Vec<bool> = chosen.map(|(asked, reranked)| asked && reranked).collect();
        let texts = Written::read(cx, self.items, self.users)?;
        let knows = knowledge(&texts, &training, &data, self.seed);
        let (pool, top) = (self.params.pool, self.explain.top);
        let mut judge = None;
        let written = match &self.asked {
            Some(asked) => {
                let session = cx.llm()?.session(&asked.name, &asked.endpoint);
                let writer = ChatJudge::new(session, self.explain.read_prompt(&self.dirs)?, knows);
                let written = writer.session.each(lists.lists.len(), cx.progress, &|at| {
                    cx.interrupt().check()?;
                    let list = lists.lists[at].as_ref().filter(|_| chosen[at]);
                    let Some(list) = list else { return Ok(Vec::new()) };
                    let items: Vec<u32> = list.iter().take(pool).map(|(_, item)| *item).collect();
                    writer.explain(UserIx(at as u32), &items, top)
                })?;
                judge = Some(writer.stats());
                write_json(&dir.join(RESPONSES), &writer.session.tally().keys())?;
                Some(written)
            }
            None => None,
        };
        let by = &self.params.judge;
        let explained = explain::explain(by, &lists, &chosen, top, written.as_deref(), &knows);
        let failed = |source| FileError::Io { path: dir.to_owned(), source };
        explain::write(&explained, &knows, dir).map_err(failed)?;
        Ok(ExplainStats {
            users: chosen.iter().filter(|chosen| **chosen).count(),
            judge,
            checks: explain::summary(&explained),
        })
    }
}

//! Rerankers, texts and explanations: requests, faults and cost.

use serde::Serialize;

use super::Source;
use crate::report::{
    explanations::{ExplainRow, explain_rows},
    reranks::{RerankRow, rerank_rows},
    texts::{TextRow, text_rows},
};

#[derive(Serialize)]
pub struct LanguageModels {
    /// Whether a chat model was asked to rerank.
    pub asks: bool,
    pub reranks: Vec<RerankRow>,
    pub texts: Vec<TextRow>,
    pub explanations: Vec<ExplainRow>,
    /// Money and requests of the last run.
    pub spent: Option<String>,
}

impl LanguageModels {
    pub fn new(source: &Source) -> Self {
        let (experiment, workspace) = (source.experiment, source.workspace);
        let reranks = rerank_rows(experiment, workspace);
        Self {
            asks: reranks.iter().any(|row| row.is_chat),
            reranks,
            texts: text_rows(experiment, workspace),
            explanations: explain_rows(experiment, workspace),
            spent: source.run.and_then(|run| run.spent.as_ref()).map(ToString::to_string),
        }
    }

    /// Whether there are rerankers or texts.
    pub fn has_models(&self) -> bool {
        !self.reranks.is_empty() || !self.texts.is_empty()
    }
}

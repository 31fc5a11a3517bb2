//! `scored-once`

use super::rerankers;
use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    tasks::top_n::rerank::Strategy,
};

pub const CHECK: Check = Check {
    id: "scored-once",
    family: Family::LanguageModels,
    severity: Severity::Warning,
    title: "Relevance scores from one batch an item",
    why: "A score depends on the items beside it and on its place among them. A mean over several batches takes that out; \
          one batch leaves it in. Ebrat et al. 2025 describe three batches an item, and their code has one.",
    source: "Wang et al. 2024, Large Language Models are not Fair Evaluators; Ebrat et al. 2025, section on relevancy \
             scores, and their code, llm_relevancy_score.py",
    fix: "Use `variant: paper`, with `rounds: 3`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut scoring = 0;
    for reranker in rerankers(subject)? {
        if reranker.params.strategy != Strategy::Relevancy {
            continue;
        }
        scoring += 1;
        let Some(batches) = reranker.params.batches_of_items() else { continue };
        let once = batches.iter().filter(|n| **n < 2).count();
        if once == 0 {
            continue;
        }
        let name = reranker.arm.name;
        let message = format!(
            "{once} of {} items of the pool of `{name}` are scored in one batch or none",
            batches.len()
        );
        let finding = Finding::new(name, message).with("items", once).with("pool", batches.len());
        findings.push(match reranker.uses_chat_model() {
            true => finding,
            // A control says the same in any company.
            false => finding.as_severe_as(Severity::Note),
        });
    }
    Ok(match scoring {
        0 => Outcome::NotApplicable("no reranker asks for relevance scores".into()),
        _ => Outcome::Checked(findings),
    })
}

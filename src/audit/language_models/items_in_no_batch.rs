//! `items-in-no-batch`

use super::rerankers;
use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    tasks::top_n::steps::RerankStats,
};

pub const CHECK: Check = Check {
    id: "items-in-no-batch",
    family: Family::LanguageModels,
    severity: Severity::Warning,
    title: "Items of the pool that no batch holds",
    why: "The judge never sees them: where they end up is decided by the merge, not by a judgement.",
    source: "the code of Ebrat et al. 2025, llm_batch_reranker.py: with a pool of 30, batches of 5 and an overlap of 2 the \
             30th item is in no batch",
    fix: "Choose `pool`, `batch` and `overlap` so that batches reach the last item, or use `variant: paper`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut planned = 0;
    for reranker in rerankers(subject)? {
        let Some(batches) = reranker.params.batches_of_items() else { continue };
        planned += 1;
        let (mut items, mut users) = (0, 0);
        for step in reranker.steps() {
            let stats: RerankStats = subject.stats(step)?;
            items += stats.rerank.items_in_no_batch;
            users += stats.rerank.users;
        }
        if items == 0 {
            continue;
        }
        let name = reranker.arm.name;
        let ranks: Vec<usize> = (1..=batches.len()).filter(|rank| batches[rank - 1] == 0).collect();
        let of_plan = match &ranks[..] {
            [] => String::new(),
            ranks => {
                let ranks: Vec<String> = ranks.iter().map(usize::to_string).collect();
                format!("; of a full pool of {}, rank {}", batches.len(), ranks.join(", "))
            }
        };
        let message =
            format!("{items} items of {users} lists of `{name}` are in no batch{of_plan}");
        findings.push(
            Finding::new(name, message)
                .with("items", items)
                .with("lists", users)
                .with("ranks", ranks),
        );
    }
    Ok(match planned {
        0 => Outcome::NotApplicable("no reranker asks in batches".into()),
        _ => Outcome::Checked(findings),
    })
}

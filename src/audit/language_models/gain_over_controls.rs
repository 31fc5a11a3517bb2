//! `gain-over-controls`

use super::{Reranker, rerankers};
use crate::{
    analysis::{Test, holm},
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::Column,
        statistics::{ALPHA, p_text},
    },
    tasks::top_n::rerank::JudgeName,
};

pub const CHECK: Check = Check {
    id: "gain-over-controls",
    family: Family::LanguageModels,
    severity: Severity::Warning,
    title: "Chat models that are not better than their base, the embedding baseline or a random order of the same pool",
    why: "A reranker moves items of a good pool around. Unless it does better than the base without it, than cosines of the \
          same texts, and than chance, nothing shows that the language model contributes.",
    source: "docs/RERANKING.md of assay; Lipton and Steinhardt 2019, Troubling Trends in Machine Learning Scholarship, section \
             3.2: sources of empirical gains",
    fix: "Report the controls beside the chat model (assay adds them), and claim no more than the difference.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let all = rerankers(subject)?;
    let chats: Vec<&Reranker> = all.iter().filter(|of| of.uses_chat_model()).collect();
    if chats.is_empty() {
        return Ok(Outcome::NotApplicable("no reranker asks a chat model".into()));
    }
    let arms = subject.arms();
    let mut findings = Vec::new();
    for chat in chats {
        let (name, variant) = (chat.arm.name, chat.arm.trials[0].variant);
        let Some(mut column) = Column::main(&subject.experiment.variants[variant]) else {
            continue;
        };
        // The lists of other users are the base's.
        column.slice = chat.params.users.to_string();
        let control = |judge: JudgeName| {
            all.iter().find(|of| {
                let (a, b) = (&of.params, &chat.params);
                of.arm.trials[0].variant == variant
                    && a.judge == judge
                    && (&a.of, a.pool, a.users, a.variant) == (&b.of, b.pool, b.users, b.variant)
                    && a.fuse() == b.fuse()
            })
        };
        let mut compared = Vec::new();
        for (what, judge) in
            [("embedding baseline", JudgeName::Encoder), ("random reranker", JudgeName::Shuffle)]
        {
            match control(judge) {
                Some(control) => compared.push((what, &control.arm)),
                None => findings.push(
                    Finding::new(name, format!("there is no {what} of the pool of `{name}`"))
                        .with("missing", what),
                ),
            }
        }
        let base = arms
            .iter()
            .find(|arm| arm.record.name == chat.params.of && arm.trials[0].variant == variant);
        compared.extend(base.map(|arm| ("base", arm)));
        let mut pairs = Vec::new();
        for (what, arm) in compared {
            let Some(paired) = subject.paired([arm, &chat.arm], &column)? else { continue };
            let Some(p) = paired.p(Test::T) else { continue };
            pairs.push((what, arm.name, paired, p));
        }
        let corrected = holm(&pairs.iter().map(|of| of.3).collect::<Vec<_>>());
        let sign = if column.is_lower_better() { -1.0 } else { 1.0 };
        for ((what, control, paired, _), p) in pairs.iter().zip(corrected) {
            if sign * paired.difference() > 0.0 && p < ALPHA {
                continue;
            }
            let message = format!(
                "`{name}` has {:.4} in {}, and the {what} `{control}` {:.4}: {:+.4}, {} after Holm over {} users",
                paired.second,
                column.name(),
                paired.first,
                paired.difference(),
                p_text(p),
                paired.n
            );
            findings.push(
                Finding::new(name, message)
                    .with("control", *what)
                    .with("difference", paired.difference())
                    .with("p", p)
                    .with("users", paired.n),
            );
        }
    }
    Ok(Outcome::Checked(findings))
}

//! `cost-not-recorded`

use super::{NO_MODEL, asking};
use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    llm::LlmStats,
    tasks::top_n::steps::{ProfilesStats, RerankStats},
};

pub const CHECK: Check = Check {
    id: "cost-not-recorded",
    family: Family::LanguageModels,
    severity: Severity::Note,
    title: "Language models whose price is not known",
    why: "A gain over a free baseline is worth what it costs, and readers cannot weigh it.",
    source: "Strubell, Ganesh and McCallum 2019, Energy and Policy Considerations for Deep Learning in NLP",
    fix: "Give the endpoint a `price:` (0 for a model of your own), and run again with `--responses replay`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let steps = asking(subject)?;
    for step in &steps {
        let of = &subject.experiment.steps[step.step];
        let stats: Option<LlmStats> = match &of.kind[..] {
            "profiles" => subject.stats::<ProfilesStats>(step.step)?.text.llm,
            "rerank" => subject.stats::<RerankStats>(step.step)?.judge.map(|of| of.llm),
            _ => None,
        };
        let Some(stats) = stats.filter(|stats| stats.unpriced > 0) else { continue };
        let message = format!(
            "{} of {} responses of {} {} have no price ({} tokens of prompts, {} of responses)",
            stats.unpriced,
            stats.responses,
            of.kind,
            of.label,
            stats.input_tokens,
            stats.output_tokens
        );
        findings.push(
            Finding::new(of.label.clone(), message)
                .with("unpriced", stats.unpriced)
                .with("responses", stats.responses)
                .with("input_tokens", stats.input_tokens)
                .with("output_tokens", stats.output_tokens),
        );
    }
    Ok(match steps.is_empty() {
        true => Outcome::NotApplicable(NO_MODEL.into()),
        false => Outcome::Checked(findings),
    })
}

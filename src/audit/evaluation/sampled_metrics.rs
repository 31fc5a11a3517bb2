//! `sampled-metrics`

use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
    ranking::Protocol,
    tasks::shared::RecordSettings,
};

pub const CHECK: Check = Check {
    id: "sampled-metrics",
    family: Family::Evaluation,
    severity: Severity::Warning,
    title: "Relevant items are ranked among sampled items only",
    why: "Sampled metrics are inconsistent: they can put systems in another order than metrics over the whole \
          catalogue, and their values say nothing of those.",
    source: "Krichene and Rendle 2020, On Sampled Metrics for Item Recommendation",
    fix: "Evaluate with the protocol `full`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    for variant in &subject.experiment.variants {
        let spec = RecordSettings::of(variant)?.evaluate;
        if !spec.protocols.contains(&Protocol::Sampled) {
            continue;
        }
        let (n, is_alone) = (spec.sampled.negatives, !spec.protocols.contains(&Protocol::Full));
        let beside =
            if is_alone { "no ranking of the catalogue is" } else { "the protocol full is" };
        let message = format!(
            "the protocol sampled ranks relevant items among {n} random ones; {beside} evaluated beside it"
        );
        let finding = Finding::new(&variant.label, message).with("negatives", n);
        findings.push(if is_alone { finding } else { finding.as_severe_as(Severity::Note) });
    }
    Ok(Outcome::Checked(findings))
}

//! `uncorrected-comparisons`

use serde_json::json;

use super::{ALPHA, contenders, listed};
use crate::{
    analysis::{Test, holm},
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::{Column, is_ranked},
    },
};

pub const CHECK: Check = Check {
    id: "uncorrected-comparisons",
    family: Family::Statistics,
    severity: Severity::Note,
    title: "Differences of a table that are significant one by one, and not all together",
    why: "Of twenty comparisons of equal systems one is expected to have p < .05.",
    source: "Fuhr 2017, Some Common Mistakes in IR Evaluation, and How They Can Be Avoided; Holm 1979",
    fix: "Report p-values corrected for their number, as `assay compare --all` does.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut tested = 0;
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let arms = subject.arms_of(at);
        let Some(main) = Column::main(variant) else { continue };
        let Some((first, others)) = contenders(subject, &arms, &main) else { continue };
        let mut all = Vec::new();
        for metric in variant.metrics.iter().filter(|name| is_ranked(name)) {
            let mut column = main.clone();
            column.key.metric = metric.clone();
            for other in &others {
                let Some(paired) = subject.paired([other, first], &column)? else { continue };
                all.extend(paired.p(Test::T).map(|p| (other.name, metric.as_str(), p)));
            }
        }
        tested += all.len();
        let corrected = holm(&all.iter().map(|(.., p)| *p).collect::<Vec<_>>());
        let alone = all.iter().filter(|(.., p)| *p < ALPHA).count();
        let lost: Vec<_> = all
            .iter()
            .zip(&corrected)
            .filter(|((.., p), corrected)| *p < ALPHA && **corrected >= ALPHA)
            .collect();
        if lost.is_empty() {
            continue;
        }
        let each: Vec<String> = lost
            .iter()
            .map(|((system, metric, p), corrected)| {
                format!("`{system}` {metric} ({p:.4}, corrected {corrected:.4})")
            })
            .collect();
        let message = format!(
            "of {} comparisons with `{}`, those with p < .05 are {alone} alone and {} after Holm; not any more: {}",
            all.len(),
            first.name,
            alone - lost.len(),
            listed(&each)
        );
        let rows = lost.iter().map(|((system, metric, p), corrected)| {
            json!({"system": system, "metric": metric, "p": p, "p_corrected": corrected})
        });
        let finding = Finding::new(first.name, message)
            .with("comparisons", all.len())
            .with("significant_alone", alone)
            .with("significant_after_holm", alone - lost.len())
            .with("lost", rows.collect::<Vec<_>>());
        findings.push(match subject.is_proposed(first.name) {
            Some(true) => finding.as_severe_as(Severity::Warning),
            _ => finding,
        });
    }
    Ok(match tested {
        0 | 1 => Outcome::NotApplicable("there are not two comparisons".into()),
        _ => Outcome::Checked(findings),
    })
}

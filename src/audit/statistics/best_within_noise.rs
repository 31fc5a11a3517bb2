//! `best-within-noise`

use serde_json::json;

use super::{ALPHA, POWER, contenders, listed, p_text};
use crate::{
    analysis::{Paired, Test, holm},
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::{Arm, Column},
    },
};

pub const CHECK: Check = Check {
    id: "best-within-noise",
    family: Family::Statistics,
    severity: Severity::Warning,
    title: "A best system that cannot be told from others, or a proposed one that is not best",
    why: "A bold number says that a system is best. If another sample of users could reverse the order, the table does not \
          show it.",
    source: "Sakai 2014, Statistical Reform in Information Retrieval?; Urbano, Lima and Hanjalic 2019, Statistical \
             Significance Testing in Information Retrieval",
    fix: "Say that they are equal as far as these users tell (`assay compare`), or evaluate on more users.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut compared = false;
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let arms = subject.arms_of(at);
        let Some(column) = Column::main(variant) else { continue };
        let Some((first, others)) = contenders(subject, &arms, &column) else { continue };
        let mut pairs: Vec<(&Arm, Paired, f64)> = Vec::new();
        for other in others {
            let Some(paired) = subject.paired([other, first], &column)? else { continue };
            let Some(p) = paired.p(Test::T) else { continue };
            pairs.push((other, paired, p));
        }
        compared |= !pairs.is_empty();
        let corrected = holm(&pairs.iter().map(|(.., p)| *p).collect::<Vec<_>>());
        let sign = if column.is_lower_better() { -1.0 } else { 1.0 };
        let is_proposed = subject.is_proposed(first.name) == Some(true);
        // Nothing is claimed of baselines among themselves.
        let severity = if is_proposed { Severity::Warning } else { Severity::Note };
        let pairs: Vec<(&Arm, Paired, f64)> =
            pairs.into_iter().zip(corrected).map(|((arm, of, _), p)| (arm, of, p)).collect();
        let better = pairs.iter().filter(|(_, of, p)| sign * of.difference() < 0.0 && *p < ALPHA);
        for (other, paired, p) in better {
            let message = format!(
                "the proposed `{}` has {:.4} in {}, and `{}` has {:.4} ({} after Holm, {} users)",
                first.name,
                paired.second,
                column.name(),
                other.name,
                paired.first,
                p_text(*p),
                paired.n
            );
            findings.push(
                Finding::new(first.name, message)
                    .with("other", other.name)
                    .with("difference", paired.difference())
                    .with("p", *p)
                    .with("users", paired.n),
            );
        }
        let near: Vec<&(&Arm, Paired, f64)> =
            pairs.iter().filter(|(_, _, p)| *p >= ALPHA).collect();
        if near.is_empty() {
            continue;
        }
        let each: Vec<String> = near
            .iter()
            .map(|(arm, of, p)| format!("`{}` ({:+.4}, {})", arm.name, of.difference(), p_text(*p)))
            .collect();
        // Of the pair with the most users: others may have too few to say anything.
        let most = near.iter().map(|(_, of, _)| of).max_by_key(|of| of.n);
        let detectable =
            most.and_then(|of| of.estimate?.detectable(ALPHA, POWER)).unwrap_or(f64::NAN);
        let n = most.map_or(0, |of| of.n);
        let message = format!(
            "`{}` cannot be told from {} in {}: up to {n} users, p after Holm for {} comparisons; with them a \
             difference of {detectable:.4} would be found in 80 % of cases",
            first.name,
            listed(&each),
            column.name(),
            pairs.len()
        );
        let rows = near.iter().map(|(arm, of, p)| {
            json!({"system": arm.name, "difference": of.difference(), "p": p, "users": of.n})
        });
        findings.push(
            Finding::new(first.name, message)
                .with("comparisons", pairs.len())
                .with("detectable", detectable)
                .with("indistinguishable", rows.collect::<Vec<_>>())
                .as_severe_as(severity),
        );
    }
    Ok(match compared {
        false => {
            Outcome::NotApplicable("there are no two systems with values of the same users".into())
        }
        true => Outcome::Checked(findings),
    })
}

//! `claims-underpowered`

use super::{ALPHA, POWER, contenders};
use crate::audit::{
    Check, Family, Finding, Outcome, Severity, Subject,
    columns::{Arm, Column},
};

pub const CHECK: Check = Check {
    id: "claims-underpowered",
    family: Family::Statistics,
    severity: Severity::Warning,
    title: "Claimed differences that are smaller than what so many users can show",
    why: "If a difference of the claimed size is found in less than 80 % of cases, finding it says little, and its size is \
          overestimated wherever it is found.",
    source: "Card et al. 2020, With Little Power Comes Great Responsibility; Button et al. 2013, Power failure",
    fix: "Evaluate on more users, or do not claim the difference.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let arms = subject.arms();
    let mut findings = Vec::new();
    let mut claims = 0;
    for table in subject.published() {
        let of_table: Vec<&Arm> = arms
            .iter()
            .filter(|arm| {
                table.rows.iter().any(|row| row.not_checkable.is_none() && row.system == arm.name)
            })
            .collect();
        let (mut all, mut small, mut most, mut n) = (0, 0, 0.0f64, 0);
        let mut nearest = None;
        for column in Column::of_published(table) {
            let Some(best) = subject.best(&of_table, &column) else { continue };
            for other in of_table.iter().filter(|arm| arm.name != best.name) {
                let Some(paired) = subject.paired([other, best], &column)? else { continue };
                let detectable = paired.estimate.and_then(|of| of.detectable(ALPHA, POWER));
                // Of fewer than two users nothing can be shown.
                let Some(detectable) = detectable else { continue };
                all += 1;
                n = n.max(paired.n);
                most = most.max(detectable);
                // As the table has it: over the users of each.
                let values = [subject.mean(best, &column), subject.mean(other, &column)];
                let [Some(first), Some(second)] = values else { continue };
                let claimed = (first - second).abs();
                if claimed < detectable {
                    small += 1;
                    let is_nearest = nearest.as_ref().is_none_or(|(_, least, _)| claimed < *least);
                    if is_nearest {
                        let of =
                            format!("`{}` over `{}` in {}", best.name, other.name, column.name());
                        nearest = Some((of, claimed, detectable));
                    }
                }
            }
        }
        claims += all;
        if let Some((of, claimed, detectable)) = nearest {
            let message = format!(
                "{}: {small} of {all} differences between the best row of a metric and another are smaller than what up \
                 to {n} users show in 80 % of cases; the smallest is {claimed:.4}, of {of}, where {detectable:.4} would \
                 be found",
                table.about.source
            );
            findings.push(
                Finding::new("", message)
                    .with("differences", all)
                    .with("too_small", small)
                    .with("users", n)
                    .with("largest_detectable", most),
            );
        }
    }
    if !subject.experiment.audit.proposed.is_empty() {
        for (at, variant) in subject.experiment.variants.iter().enumerate() {
            let arms = subject.arms_of(at);
            let Some(column) = Column::main(variant) else { continue };
            let Some((first, others)) = contenders(subject, &arms, &column) else { continue };
            let Some(best) = subject.best(&others, &column) else { continue };
            let Some(paired) = subject.paired([best, first], &column)? else { continue };
            let Some(estimate) = paired.estimate else { continue };
            claims += 1;
            let claimed = paired.difference().abs();
            let Some(detectable) = estimate.detectable(ALPHA, POWER) else { continue };
            if claimed < detectable {
                let message = format!(
                    "`{}` differs from the best baseline `{}` by {claimed:.4} in {}, and {} users show {detectable:.4} \
                     in 80 % of cases",
                    first.name,
                    best.name,
                    column.name(),
                    paired.n
                );
                findings.push(
                    Finding::new(first.name, message)
                        .with("difference", paired.difference())
                        .with("detectable", detectable)
                        .with("users", paired.n),
                );
            }
        }
    }
    Ok(match claims {
        0 => Outcome::NotApplicable(
            "no system is `audit: proposed`, and no published table is compared with".into(),
        ),
        _ => Outcome::Checked(findings),
    })
}

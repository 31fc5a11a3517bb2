//! `users-without-history`

use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject, words::percent};

pub const CHECK: Check = Check {
    id: "users-without-history",
    family: Family::Evaluation,
    severity: Severity::Warning,
    title: "Tested users without a rating in the training part, in the same mean as all others",
    why: "No personalized model knows anything of them. A mean over both groups is largely a statement on the \
          fallback, and can turn the order of systems around.",
    source: "docs/EVALUATION.md, section Users without history",
    fix: "Report the slices `history` and `no-history`.",
    run,
};

/// Up to this share of users it is a note.
const FEW: f64 = 0.05;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let is_of =
            |name: &str| subject.done.iter().any(|trial| trial.variant == at && trial.name == name);
        let rows = subject.collected.rows.iter();
        let of_all = rows.filter(|row| row.slice == "all" && is_of(&row.system));
        let Some(caveats) =
            of_all.map(|row| row.caveats).max_by_key(|of| (of.users_without_history, of.users))
        else {
            continue;
        };
        let (without, n) = (caveats.users_without_history, caveats.users);
        if without == 0 {
            continue;
        }
        let slices = ["history", "no-history"];
        let shown: Vec<&str> = slices
            .into_iter()
            .filter(|slice| variant.slices.iter().any(|of| of == slice))
            .collect();
        let message = format!(
            "{without} of {n} tested users ({}; users of several folds count in each) have no rating in the training part: \
             {}; {}",
            percent(without, n),
            variant.rules.fallback,
            match &shown[..] {
                [] => "no slice shows them apart".into(),
                shown => format!("the slices {} show them apart", shown.join(" and ")),
            }
        );
        let finding =
            Finding::new(&variant.label, message).with("pairs", n).with("without_history", without);
        let is_note = without as f64 <= FEW * n as f64 || !shown.is_empty();
        findings.push(if is_note { finding.as_severe_as(Severity::Note) } else { finding });
    }
    Ok(Outcome::Checked(findings))
}

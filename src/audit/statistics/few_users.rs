//! `few-users`

use crate::{
    analysis::{FEW_UNITS, MEAN, ResultRow},
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::{Column, is_ranked},
    },
};

pub const CHECK: Check = Check {
    id: "few-users",
    family: Family::Statistics,
    severity: Severity::Warning,
    title: "Slices of few users",
    why: "A mean over a few users says little of others: below 10 users even its interval is too narrow (85 % coverage at \
          6 users in place of 95 %), and with the usual spread of nDCG between users (0.2) a difference below 0.06 is \
          not found with 100.",
    source: "docs/EVALUATION.md of assay; Card et al. 2020, With Little Power Comes Great Responsibility",
    fix: "Draw no conclusion from the slice, run all folds, or define it wider.",
    run,
};

/// With fewer users differences of the usual size are not found.
const FEW: usize = 100;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let main = Column::main(variant).map(|of| of.slice);
        let published: Vec<(String, String)> = subject
            .published()
            .iter()
            .map(|table| (table.about.slice.to_string(), table.about.fold.clone()))
            .collect();
        let of_variant = |row: &&ResultRow| {
            subject.done.iter().any(|trial| trial.variant == at && trial.name == row.system)
        };
        for slice in &variant.slices {
            // Users with a relevant item: the most that any metric of relevance is a mean over.
            let of_slice = || {
                let rows = subject.collected.rows.iter().filter(of_variant);
                rows.filter(|row| {
                    row.slice == *slice && !row.one_of_several && is_ranked(&row.metric)
                })
            };
            let most =
                |fold: &str| of_slice().filter(|row| row.fold == fold).map(|row| row.n_users).max();
            let claim = published.iter().find(|(of, _)| of == slice);
            let fold = claim.map_or(MEAN, |(_, fold)| fold);
            let Some(users) = most(fold).or_else(|| most(MEAN)) else { continue };
            if users >= FEW {
                continue;
            }
            let is_claim = claim.is_some() || main.as_ref() == Some(slice);
            let severity = match (is_claim, users < FEW_UNITS) {
                (true, true) => Severity::Error,
                (true, false) | (false, true) => Severity::Warning,
                (false, false) => Severity::Note,
            };
            let named = match claim {
                Some((_, fold)) if fold != MEAN => {
                    format!("the slice `{slice}` of the published table, in fold {fold},")
                }
                Some(_) => format!("the slice `{slice}` of the published table"),
                None => format!("the slice `{slice}`"),
            };
            let folds: std::collections::BTreeSet<&str> =
                of_slice().filter(|row| row.fold != MEAN).map(|row| row.fold.as_str()).collect();
            let over = match folds.len() {
                n if n > 1 && fold == MEAN => format!(" in {n} folds together"),
                _ => String::new(),
            };
            let users_text = if users == 1 { "user" } else { "users" };
            let message = format!("{named} holds {users} {users_text}{over}");
            let finding = Finding::new(slice.clone(), message).with("users", users);
            findings.push(finding.with("fold", fold).as_severe_as(severity));
        }
    }
    Ok(Outcome::Checked(findings))
}

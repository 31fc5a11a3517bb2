//! `copied-reviews`

use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject, words::percent},
    tasks::top_n::steps::ReviewsStats,
};

pub const CHECK: Check = Check {
    id: "copied-reviews",
    family: Family::Leakage,
    severity: Severity::Warning,
    title: "Reviews that a user has at several items",
    why: "Shops merge listings, and each keeps the reviews of all. The review of a held-out interaction is kept from models, but \
          its copy at another item of the same user is not: it says that the two items are one, or next to each other.",
    source: "tests/assay/audit/leakage.rs; on Amazon's All Beauty, 892 of 981 held-out reviews have a copy in training",
    fix: "Compare with `reviews: shuffled` and with the same network without reviews, and use data whose reviews are not \
          copied; do not claim that the text helps from these data alone.",
    run,
};

/// From this share of reviews on.
const TELLING: f64 = 0.01;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut is_used = false;
    let mut findings = Vec::new();
    for (step, of) in subject.experiment.steps.iter().enumerate() {
        if of.kind != "reviews" || !subject.has_run(step) {
            continue;
        }
        is_used = true;
        let stats: ReviewsStats = subject.stats(step)?;
        let stats = stats.reviews;
        for (copies, all, what) in [
            (
                stats.held_out_copies,
                stats.held_out,
                "reviews outside the training part have the same text as a training review of the same user",
            ),
            (
                stats.copies,
                stats.with_text,
                "training reviews have the same text as another one of the same user",
            ),
        ] {
            if (copies as f64) < TELLING * all as f64 || copies == 0 {
                continue;
            }
            let share = percent(copies, all);
            let message = format!("`{}`: {copies} of {all} {what} ({share})", of.label);
            findings.push(Finding::new("", message).with("copies", copies).with("reviews", all));
        }
    }
    match is_used {
        true => Ok(Outcome::Checked(findings)),
        false => Ok(Outcome::NotApplicable("no system uses reviews".into())),
    }
}

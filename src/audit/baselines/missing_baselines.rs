//! `missing-baselines`

use super::{is_tunable, model};
use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject, fields::search},
    tasks::top_n,
};

pub const CHECK: Check = Check {
    id: "missing-baselines",
    family: Family::Baselines,
    severity: Severity::Warning,
    title: "No popularity baseline, or none of the simple models that are hard to beat",
    why: "Popularity shows what can be had without personalization. Tuned ALS and EASE have matched or \
          passed many networks of the literature on the usual data sets, at a fraction of the cost.",
    source: "Ferrari Dacrema et al. 2021, A Troubling Analysis of Reproducibility and Progress in Recommender Systems \
             Research; Steck 2019, Embarrassingly Shallow Autoencoders; Rendle et al. 2022, Revisiting the Performance \
             of iALS on Item Recommendation Benchmarks",
    fix: "Add `popularity: {use: baselines/popularity.yaml}`, `als: {use: baselines/als-search.yaml}` and \
          `ease: {use: baselines/ease-search.yaml}`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    if let Some(other) = subject.of_another_task(top_n::TASK.name) {
        return Ok(other);
    }
    let mut findings = Vec::new();
    let mut applies = false;
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let arms = subject.arms_of(at);
        // Rankings from files are models of somebody.
        if !arms.iter().any(|arm| is_tunable(arm) || arm.record.model == "external") {
            continue;
        }
        applies = true;
        let has = |name: &str| arms.iter().any(|arm| model(arm) == name);
        let is_tuned =
            |name: &str| arms.iter().any(|arm| model(arm) == name && search(arm.record).is_some());
        let n = arms.len();
        let mut miss = |what: &str, message: String, severity| {
            let of = Finding::new(variant.label.clone(), message).with("missing", what);
            findings.push(of.with("systems", n).as_severe_as(severity));
        };
        if !has("popularity") {
            miss("popularity", format!("none of the {n} systems is popularity"), Severity::Warning);
        }
        match (has("als"), has("ease")) {
            (false, false) => miss(
                "als, ease",
                format!("none of the {n} systems is ALS or EASE"),
                Severity::Warning,
            ),
            (false, true) => {
                miss("als", format!("none of the {n} systems is ALS"), Severity::Note);
            }
            (true, false) => {
                miss("ease", format!("none of the {n} systems is EASE"), Severity::Note);
            }
            (true, true) => {}
        }
        if has("als") && !is_tuned("als") {
            miss("tuned als", "ALS is not tuned".into(), Severity::Note);
        }
    }
    Ok(match applies {
        false => Outcome::NotApplicable("no system learns".into()),
        true => Outcome::Checked(findings),
    })
}

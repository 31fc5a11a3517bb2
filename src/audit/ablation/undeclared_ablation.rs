//! `undeclared-ablation`

use crate::{
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::Arm,
        fields::{Difference, differences, texts},
    },
    tasks::top_n::rerank::JudgeName,
};

pub const CHECK: Check = Check {
    id: "undeclared-ablation",
    family: Family::Ablation,
    severity: Severity::Note,
    title: "Systems of one model that read as an ablation and differ in several settings",
    why: "Readers compare rows of one model as an ablation. If the nearest row differs in two settings, none of the \
          differences can be ascribed to one of them.",
    source: "Lipton and Steinhardt 2019, Troubling Trends in Machine Learning Scholarship, section 3.2: sources of \
             empirical gains",
    fix: "Declare `audit: contrasts` for what is claimed, and add the arms in between.",
    run,
};

/// Beyond so many differences nobody takes two systems for arms of an ablation.
const MOST: usize = 6;

fn run(subject: &Subject) -> Result<Outcome, String> {
    if !subject.experiment.audit.contrasts.is_empty() {
        let why = "the experiment declares its ablations: `impure-contrast` looks at them";
        return Ok(Outcome::NotApplicable(why.into()));
    }
    let mut findings: Vec<Finding> = Vec::new();
    let mut several = false;
    for at in 0..subject.experiment.variants.len() {
        let arms: Vec<Arm> = subject.arms_of(at).into_iter().filter(is_arm).collect();
        let mut told: Vec<[&str; 2]> = Vec::new();
        for arm in &arms {
            let others = arms
                .iter()
                .filter(|other| other.name != arm.name && other.record.model == arm.record.model);
            let nearest = others
                .map(|other| (other, all_differences(arm, other)))
                .min_by_key(|(_, found)| found.len());
            let Some((other, found)) = nearest else { continue };
            several = true;
            let pair = [arm.name, other.name];
            if !(2..=MOST).contains(&found.len())
                || told.iter().any(|of| of.contains(&pair[0]) && of.contains(&pair[1]))
            {
                continue;
            }
            told.push(pair);
            let message = format!(
                "`{}` is nearest to `{}`, and they differ in {} settings: {}",
                pair[0],
                pair[1],
                found.len(),
                texts(&found)
            );
            let differences: Vec<_> = found.iter().map(Difference::to_json).collect();
            findings.push(
                Finding::new(arm.name, message)
                    .with("nearest", other.name)
                    .with("differences", differences),
            );
        }
    }
    Ok(match several {
        false => Outcome::NotApplicable("no two systems are of one model".into()),
        true => Outcome::Checked(findings),
    })
}

fn all_differences(first: &Arm, second: &Arm) -> Vec<Difference> {
    let mut found = differences(first.record, second.record);
    if first.record.learns_from != second.record.learns_from {
        let said = |arm: &Arm| {
            arm.record.learns_from.clone().unwrap_or_else(|| "the whole training part".into())
        };
        found.push(Difference::new("train_on", said(first), said(second)));
    }
    found
}

/// Whether readers may take a system for an arm: rankings from files have no settings, and judges that ask nobody are
/// controls.
fn is_arm(arm: &Arm) -> bool {
    let judge = arm.record.settings["judge"].as_str();
    let is_control = judge.is_some_and(|judge| JudgeName::from(judge.to_owned()).is_control());
    arm.record.model != "external" && !is_control
}

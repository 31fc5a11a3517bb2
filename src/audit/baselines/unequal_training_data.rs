//! `unequal-training-data`

use std::collections::BTreeMap;

use crate::{
    audit::{Check, Family, Finding, Outcome, Severity, Subject, columns::Arm},
    tasks::top_n::{self, steps::FitStats},
};

pub const CHECK: Check = Check {
    id: "unequal-training-data",
    family: Family::Baselines,
    severity: Severity::Warning,
    title: "Systems of one table that learn from other ratings",
    why: "A difference between systems that learn from other data is also a difference of the data.",
    source: "Sun et al. 2020, Are We Evaluating Rigorously? Benchmarking Recommendation for Reproducible Evaluation and \
             Fair Comparison",
    fix: "Remove `positives:` and `train_share:` of systems, or add the same system without them.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    if let Some(other) = subject.of_another_task(top_n::TASK.name) {
        return Ok(other);
    }
    let mut findings = Vec::new();
    for at in 0..subject.experiment.variants.len() {
        let arms = subject.arms_of(at);
        let learners: Vec<&Arm> =
            arms.iter().filter(|arm| arm.trials.iter().any(|trial| trial.fit.is_some())).collect();
        // Whatever most others learn from is the experiment's own training part, or that of the proposed system.
        let proposed = learners.iter().find(|arm| subject.is_proposed(arm.name) == Some(true));
        let usual = proposed.map_or(&None, |arm| &arm.record.learns_from);
        let reference =
            proposed.or_else(|| learners.iter().find(|arm| arm.record.learns_from.is_none()));
        let Some(reference) = reference else { continue };
        let of_reference = positives(subject, reference)?;
        for arm in &learners {
            if arm.record.learns_from == *usual {
                continue;
            }
            let of = positives(subject, arm)?;
            let shared: Vec<(usize, usize)> =
                of.iter().filter_map(|(fold, n)| Some((*n, *of_reference.get(fold)?))).collect();
            let total = |of: fn(&(usize, usize)) -> usize| shared.iter().map(of).sum::<usize>();
            let (n, others) = (total(|of| of.0), total(|of| of.1));
            let said = |arm: &Arm| match &arm.record.learns_from {
                Some(text) => text.clone(),
                None => "the whole training part".into(),
            };
            let message = format!(
                "`{}` learns from {} ({n} positives over {}), `{}` from {} ({others})",
                arm.name,
                said(arm),
                match shared.len() {
                    1 => "1 fold".to_owned(),
                    folds => format!("{folds} folds"),
                },
                reference.name,
                said(reference)
            );
            findings.push(
                Finding::new(arm.name, message)
                    .with("positives", n)
                    .with("reference", reference.name)
                    .with("reference_positives", others),
            );
        }
        let files: Vec<&str> =
            arms.iter().filter(|arm| arm.record.model == "external").map(|arm| arm.name).collect();
        if !files.is_empty() && files.len() < arms.len() {
            let message = format!(
                "what these rankings from files learnt from is not recorded: {}",
                files.join(", ")
            );
            let of = Finding::new("", message).with("systems", files);
            findings.push(of.as_severe_as(Severity::Note));
        }
    }
    Ok(Outcome::Checked(findings))
}

/// By fold, the number of positives that a system was trained on.
fn positives(subject: &Subject, arm: &Arm) -> Result<BTreeMap<String, usize>, String> {
    let mut found = BTreeMap::new();
    for trial in &arm.trials {
        let Some(fit) = trial.fit.filter(|_| !found.contains_key(&trial.fold)) else { continue };
        let stats: FitStats = subject.stats(fit)?;
        found.insert(trial.fold.clone(), stats.positives);
    }
    Ok(found)
}

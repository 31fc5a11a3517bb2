//! `fixed-setting-beaten`

use std::{collections::BTreeSet, path::PathBuf};

use serde_json::Value;

use super::is_tunable;
use crate::{
    analysis::{Test, holm},
    audit::{
        Check, Family, Finding, Outcome, Severity, Subject,
        columns::{Arm, Column},
        fields::search,
        statistics::{ALPHA, p_text},
    },
    base::hash::Digest,
    core::{Record, Step, Workspace},
    tasks::top_n::{search::read_trials, steps::SearchStep},
};

pub const CHECK: Check = Check {
    id: "fixed-setting-beaten",
    family: Family::Baselines,
    severity: Severity::Warning,
    title: "Fixed settings that a search of the same model is better than",
    why: "A baseline with settings from another paper, or with defaults, is weaker than the model. What beats it need not \
          beat the model.",
    source: "Rendle, Zhang and Koren 2019, On the Difficulty of Evaluating Baselines",
    fix: "Compare with the tuned system.",
    run,
};

/// Part of the validation metric by which a searched setting has to be better.
const LEAST: f64 = 0.02;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut compared = 0;
    for (at, variant) in subject.experiment.variants.iter().enumerate() {
        let arms: Vec<Arm> = subject.arms_of(at).into_iter().filter(is_tunable).collect();
        let (tuned, fixed): (Vec<&Arm>, Vec<&Arm>) =
            arms.iter().partition(|arm| search(arm.record).is_some());
        let is_baseline = |arm: &&&Arm| subject.is_proposed(arm.name) != Some(true);
        let mut pairs = Vec::new();
        if let Some(column) = Column::main(variant) {
            for fixed in fixed.iter().filter(is_baseline) {
                for tuned in tuned.iter().filter(|of| is_same_model(of, fixed)) {
                    compared += 1;
                    let paired = subject.paired([fixed, tuned], &column)?;
                    let sign = if column.is_lower_better() { -1.0 } else { 1.0 };
                    let Some(paired) = paired else { continue };
                    let Some(p) = paired.p(Test::T) else { continue };
                    pairs.push((*fixed, *tuned, sign * paired.difference(), paired, p));
                }
            }
            let corrected = holm(&pairs.iter().map(|of| of.4).collect::<Vec<_>>());
            for ((fixed, tuned, gain, paired, _), p) in pairs.iter().zip(corrected) {
                if *gain > 0.0 && p < ALPHA {
                    let message = format!(
                        "`{}` with fixed settings has {:.4} in {}, and `{}` of the same model, tuned, {:.4} \
                         ({}, {} users)",
                        fixed.name,
                        paired.first,
                        column.name(),
                        tuned.name,
                        paired.second,
                        p_text(p),
                        paired.n
                    );
                    findings.push(
                        Finding::new(fixed.name, message)
                            .with("tuned", tuned.name)
                            .with("value", paired.first)
                            .with("tuned_value", paired.second)
                            .with("p", p),
                    );
                }
            }
        }
        for arm in fixed.iter().filter(is_baseline) {
            // Beside its own search, nothing more is to be learnt from searches elsewhere.
            if tuned.iter().any(|of| of.record.model == arm.record.model) {
                continue;
            }
            let (n, finding) = in_workspace(subject, arm)?;
            compared += n;
            findings.extend(finding);
        }
    }
    Ok(match compared {
        0 => Outcome::NotApplicable(
            "no model is there with fixed settings and with a search, here or in the workspace"
                .into(),
        ),
        _ => Outcome::Checked(findings),
    })
}

/// Programs are the same model if they have the same command line.
fn is_same_model(one: &Arm, other: &Arm) -> bool {
    let of = |arm: &Arm| (arm.record.model.clone(), arm.record.settings["run"].clone());
    of(one) == of(other)
}

/// Searches of the workspace on the same folds that tried just these settings. Returns their number, and what the
/// best trials of them are better by.
fn in_workspace(subject: &Subject, arm: &Arm) -> Result<(usize, Option<Finding>), String> {
    let splits: BTreeSet<Digest> =
        arm.trials.iter().map(|trial| subject.experiment.steps[trial.split].key).collect();
    let fit = arm.trials[0].fit.and_then(|fit| subject.record(fit).ok());
    let (mut n, mut here, mut best, mut trials) = (0, 0.0, 0.0, 0);
    for (dir, record) in searches(subject.workspace)? {
        let inputs = &record.key_inputs;
        let model = &inputs["model"];
        let is_same =
            |name: &str| fit.as_ref().is_some_and(|fit| fit.key_inputs[name] == inputs[name]);
        let is_here = splits.iter().any(|split| record.made_from(*split).is_some());
        if !is_here || !["relevant", "train_on"].into_iter().all(is_same) {
            continue;
        }
        let candidates = model["candidates"].as_array().map_or(&[][..], Vec::as_slice);
        let same = candidates.iter().position(|of| *of == arm.record.settings);
        let (Some(at), Ok(found)) = (same, read_trials(&dir)) else { continue };
        let chosen = found.iter().find(|trial| trial.chosen).and_then(|trial| trial.value);
        if let (Some(value), Some(chosen)) = (found.get(at).and_then(|trial| trial.value), chosen) {
            n += 1;
            here += value;
            best += chosen;
            trials = trials.max(found.len());
        }
    }
    if n == 0 || best - here <= LEAST * best.abs() {
        return Ok((n, None));
    }
    let (here, best) = (here / n as f64, best / n as f64);
    let message = format!(
        "`{}` has fixed settings with {here:.4} on validation parts, and the best of {trials} trials of searches in the \
         workspace has {best:.4} (mean of {n} searches on the same folds)",
        arm.name
    );
    let finding = Finding::new(arm.name, message)
        .with("validation", here)
        .with("best_validation", best)
        .with("searches", n);
    Ok((n, Some(finding)))
}

/// Directories of finished searches, with their records.
fn searches(workspace: &Workspace) -> Result<Vec<(PathBuf, Record)>, String> {
    let steps = workspace.path(&["steps", SearchStep::KIND]);
    let dirs = std::fs::read_dir(steps).into_iter().flatten().flatten();
    let of = |entry: std::fs::DirEntry| {
        // What has another name is no step.
        let name = entry.file_name().to_str()?.to_owned();
        let key: Digest = serde_json::from_value(Value::String(name)).ok()?;
        let record = workspace.record(SearchStep::KIND, &key);
        Some(record.map(|record| (entry.path(), record)).map_err(|error| error.to_string()))
    };
    let mut found = dirs.filter_map(of).collect::<Result<Vec<_>, _>>()?;
    found.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(found)
}

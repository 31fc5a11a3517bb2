//! `stops-on-training-loss`

use serde_json::Value;

use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject, fields::of_model};

pub const CHECK: Check = Check {
    id: "stops-on-training-loss",
    family: Family::Baselines,
    severity: Severity::Warning,
    title: "Networks whose training stops, slows down or keeps its best epoch by the training loss",
    why: "The training loss falls on while a network overfits. What stops on it stops at no particular place, and systems \
          that overfit sooner lose by it.",
    source: "Prechelt 1998, Early Stopping – But When?",
    fix: "Stop on a validation part: `validate: {every: 5}`, `stop: {on: validation, patience: 3}`.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let mut findings = Vec::new();
    let mut networks = 0;
    for arm in subject.arms() {
        let training = &of_model(arm.record)["training"];
        if training.is_null() {
            continue;
        }
        networks += 1;
        let by = by_training_loss(training);
        if !by.is_empty() {
            let message = format!("`{}` goes by the training loss: {}", arm.name, by.join(", "));
            findings.push(Finding::new(arm.name, message).with("settings", by));
        }
    }
    Ok(match networks {
        0 => Outcome::NotApplicable("no system is a network".into()),
        _ => Outcome::Checked(findings),
    })
}

/// The settings that watch the training loss.
fn by_training_loss(training: &Value) -> Vec<&'static str> {
    const LOSS: &str = "training-loss";
    let validates = !training["validate"].is_null();
    let mut by = Vec::new();
    if training["stop"]["on"] == LOSS {
        by.push("stop");
    }
    let plateau = &training["schedule"]["plateau"];
    if plateau["on"] == LOSS || (plateau.is_object() && plateau["on"].is_null() && !validates) {
        by.push("schedule");
    }
    if training["keep"] == "best" && !validates {
        by.push("keep");
    }
    by
}

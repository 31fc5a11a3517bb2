//! `temperature-without-repeats`

use std::collections::{BTreeMap, BTreeSet};

use super::{NO_MODEL, asking};
use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject};

pub const CHECK: Check = Check {
    id: "temperature-without-repeats",
    family: Family::LanguageModels,
    severity: Severity::Warning,
    title: "Responses drawn at a temperature over 0, once",
    why: "Asked again, such a model answers otherwise. One draw shows nothing of how much the result depends on it.",
    source: "Atil et al. 2024, Non-Determinism of \"Deterministic\" LLM Settings",
    fix: "Set `temperature: 0`, or give three or more `seeds:`; each seed asks again.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let steps = asking(subject)?;
    if steps.is_empty() {
        return Ok(Outcome::NotApplicable(NO_MODEL.into()));
    }
    // By kind of step and endpoint: seeds and systems. Profiles are written once for all seeds.
    let mut asked: BTreeMap<(String, String), (BTreeSet<u64>, Vec<String>, Option<f64>)> =
        BTreeMap::new();
    for step in steps {
        let parameters = &step.endpoint["parameters"];
        let temperature = parameters["temperature"].as_f64();
        if temperature == Some(0.0) {
            continue;
        }
        let kind = subject.experiment.steps[step.step].kind.clone();
        let place = (kind.clone(), step.endpoint.to_string());
        let of = asked.entry(place).or_insert((BTreeSet::new(), Vec::new(), temperature));
        match &kind[..] {
            "profiles" => drop(of.0.insert(0)),
            _ => of.0.extend(&step.seeds),
        }
        of.1.extend(
            step.systems.iter().filter(|name| !of.1.contains(name)).cloned().collect::<Vec<_>>(),
        );
    }
    let mut findings = Vec::new();
    for ((kind, endpoint), (seeds, systems, temperature)) in asked {
        if seeds.len() > 1 {
            continue;
        }
        let endpoint: serde_json::Value = serde_json::from_str(&endpoint).unwrap_or_default();
        let parameters = &endpoint["parameters"];
        let model = parameters["model"].as_str().unwrap_or_default();
        let at = match temperature {
            Some(value) => format!("temperature {value}"),
            None if parameters.get("max_completion_tokens").is_some() => {
                "a temperature that reasoning models do not let anybody choose".into()
            }
            None => "the endpoint's own temperature, as none is set".into(),
        };
        let message =
            format!("`{model}` was asked once ({kind}) at {at}, for {}", systems.join(", "));
        findings.push(
            Finding::new(model, message)
                .with("temperature", temperature)
                .with("repeats", 1)
                .with("systems", systems),
        );
    }
    Ok(Outcome::Checked(findings))
}

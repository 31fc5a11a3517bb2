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
    source: "Atil et al. 2024, Non-Determinism of \"Deterministic\" LLM Settings (responses differ even at temperature 0)",
    fix: "Give three or more `seeds:`, each of which asks again; or set `temperature: 0`, with which responses differ less, \
          but are not always the same.",
    run,
};

/// How often an endpoint was asked the same for some systems.
#[derive(Default)]
struct Repeats {
    seeds: BTreeSet<u64>,
    systems: BTreeSet<String>,
    temperature: Option<f64>,
}

fn run(subject: &Subject) -> Result<Outcome, String> {
    let steps = asking(subject)?;
    if steps.is_empty() {
        return Ok(Outcome::NotApplicable(NO_MODEL.into()));
    }
    // By kind of step and endpoint.
    let mut asked: BTreeMap<(String, String), Repeats> = BTreeMap::new();
    for step in steps {
        let temperature = step.endpoint["parameters"]["temperature"].as_f64();
        if temperature == Some(0.0) {
            continue;
        }
        let kind = subject.experiment.steps[step.step].kind.clone();
        let is_profiles = kind == "profiles";
        let of = asked.entry((kind, step.endpoint.to_string())).or_default();
        of.temperature = temperature;
        match is_profiles {
            // Written once for all seeds.
            true => of.seeds.extend([0]),
            false => of.seeds.extend(&step.seeds),
        }
        of.systems.extend(step.systems);
    }
    let mut findings = Vec::new();
    for ((kind, endpoint), Repeats { seeds, systems, temperature }) in asked {
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
        let systems: Vec<String> = systems.into_iter().collect();
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

//! `floating-model-name`

use std::collections::{BTreeMap, BTreeSet};

use super::{NO_MODEL, asking};
use crate::audit::{Check, Family, Finding, Outcome, Severity, Subject};

pub const CHECK: Check = Check {
    id: "floating-model-name",
    family: Family::LanguageModels,
    severity: Severity::Warning,
    title: "Models named without a date or version, or several versions under one name",
    why: "Providers put other weights behind a name without telling. Results under such a name cannot be repeated.",
    source: "Chen, Zaharia and Zou 2023, How is ChatGPT's behavior changing over time?",
    fix: "Name the dated model (`gpt-4o-mini-2024-07-18`); of a local model give the `weights:` hash.",
    run,
};

fn run(subject: &Subject) -> Result<Outcome, String> {
    let steps = asking(subject)?;
    if steps.is_empty() {
        return Ok(Outcome::NotApplicable(NO_MODEL.into()));
    }
    // By endpoint and model: whether it is pinned, and who answered.
    let mut models: BTreeMap<(String, String), (bool, BTreeSet<String>)> = BTreeMap::new();
    for step in &steps {
        let url = step.endpoint["base_url"].as_str().unwrap_or_default();
        let is_pinned = is_dated(step.model()) || !step.endpoint["weights"].is_null();
        let of = models.entry((url.into(), step.model().into()));
        let (_, answered) = of.or_insert((is_pinned, BTreeSet::new()));
        // Who answered is told where the responses are kept.
        if let Ok(recorded) = subject.recorded(step.step) {
            answered.extend(recorded.records.iter().filter_map(|record| record.model.clone()));
        }
    }
    let mut findings = Vec::new();
    for ((url, model), (is_pinned, answered)) in models {
        let who: Vec<&str> = answered.iter().map(String::as_str).collect();
        if who.len() > 1 {
            let message =
                format!("`{model}` was answered by {} models: {}", who.len(), who.join(", "));
            let of = Finding::new(model.clone(), message);
            findings.push(of.with("answered_by", who.clone()));
        }
        if is_pinned {
            continue;
        }
        let named = match who[..] {
            [one] if one != model => format!("; the responses are of `{one}`"),
            _ => String::new(),
        };
        let is_local = is_local(&url);
        let of = if is_local { "no hash of its weights" } else { "no date or version" };
        let message = format!("`{model}` at {url} has {of} in its settings{named}");
        let finding = Finding::new(model, message).with("endpoint", url).with("answered_by", who);
        findings.push(match is_local {
            true => finding.as_severe_as(Severity::Note),
            false => finding,
        });
    }
    Ok(Outcome::Checked(findings))
}

/// Whether a name has a date or a version of a snapshot: `-2024-07-18`, `-20240620`, `-0613`, `@2024…`.
fn is_dated(name: &str) -> bool {
    let digits: Vec<&str> =
        name.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty()).collect();
    let is_long = |run: &&str| matches!(run.len(), 6 | 8);
    let is_year = |run: &str| run.len() == 4 && run.starts_with("20");
    let has_date = digits.windows(2).any(|of| is_year(of[0]) && of[1].len() == 2);
    let is_month_and_day = |run: &&&str| run.len() == 4 && run.starts_with(['0', '1']);
    let ends = digits.last().filter(|run| name.ends_with(**run));
    digits.iter().any(is_long) || has_date || ends.filter(is_month_and_day).is_some()
}

fn is_local(url: &str) -> bool {
    let host = url.split("://").nth(1).unwrap_or_default();
    ["localhost", "127.", "[::1]", "10.", "192.168."].iter().any(|of| host.starts_with(of))
}

#[cfg(test)]
mod tests {
    use super::is_dated;

    #[test]
    fn dates_and_snapshots_are_told_from_sizes() {
        for name in [
            "gpt-4o-mini-2024-07-18",
            "claude-3-5-sonnet-20240620",
            "gpt-4-0613",
            "mistral-large-2407-1106",
        ] {
            assert!(is_dated(name), "{name}");
        }
        for name in [
            "gpt-4o-mini",
            "o4-mini",
            "gemma3:4b",
            "gpt-4.1-mini",
            "llama-3.1-8b",
            "mistral-large-latest",
            "test",
        ] {
            assert!(!is_dated(name), "{name}");
        }
    }
}

//! `assay audit`

use std::{fmt::Write, path::PathBuf};

use serde_json::{Value, json};

use super::{CliError, WorkspaceArg, print, print_json, recorded};
use crate::{
    audit::{self, CHECKS, Check, Checked, Finding, Outcome, Severity, Subject, Tally},
    base::{exit::Exit, files::write_whole, text::distinct},
};

/// Check a finished experiment as a careful reviewer would
///
/// A check looks for one fault: leakage, arms of an ablation that differ in more than the factor, untuned baselines,
/// differences within noise, … `audit: {allow: {ID: reason}}` in the experiment file accepts findings; they stay in
/// the report, with the reason.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay audit experiments/quickstart.yaml
  assay audit mine.yaml --only leakage --only single-fold
  assay audit mine.yaml --json
  assay audit mine.yaml --sarif audit.sarif --fail-on warning      for CI
  assay audit --list
  assay audit --explain single-fold

Exit codes: 0 no open finding of the severity of --fail-on; 1 there is one; 3 a check could not be made, or there
are no results")]
pub struct Audit {
    /// The experiment file, or the name of an experiment in the workspace
    #[arg(required_unless_present_any = ["list", "explain"])]
    file: Option<PathBuf>,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// Run these checks or families alone; may be given several times
    #[arg(long, value_name = "ID")]
    only: Vec<String>,
    /// The least severity of an open finding that fails the command
    #[arg(long, value_enum, default_value = "error", value_name = "SEVERITY")]
    fail_on: Severity,
    /// Show checks without a finding, too
    #[arg(long)]
    all: bool,
    /// A JSON object
    #[arg(long)]
    json: bool,
    /// Write SARIF 2.1.0, e.g. for code scanning
    #[arg(long, value_name = "FILE")]
    sarif: Option<PathBuf>,
    /// List all checks
    #[arg(long)]
    list: bool,
    /// Say what a check looks for, why it matters, and what to do
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
}

impl Audit {
    pub fn run(self) -> Result<Exit, CliError> {
        if let Some(id) = &self.explain {
            let check = audit::find(id).ok_or_else(|| unknown(id))?;
            print(&explained(check))?;
            return Ok(Exit::Pass);
        }
        if self.list {
            match self.json {
                true => {
                    print_json(&CHECKS.iter().map(|check| described(check)).collect::<Vec<_>>())?
                }
                false => print(&list())?,
            }
            return Ok(Exit::Pass);
        }
        let checks = self.checks()?;
        let file = self.file.clone().unwrap_or_default();
        let workspace = self.workspace.open();
        let experiment = recorded(&file, &workspace)?;
        let systems = distinct(experiment.trials.iter().map(|trial| trial.name.as_str()));
        let problems = audit::problems(&experiment.audit, &systems);
        if !problems.is_empty() {
            return Err(CliError::Usage(problems.join("\n")));
        }
        let subject = Subject::new(&experiment, &workspace)?;
        if subject.done.is_empty() {
            return Err(CliError::NoResults(format!(
                "the experiment {} has no results; `assay run {}` makes them",
                experiment.name,
                file.display()
            )));
        }
        let checked = audit::audit(&subject, &checks);
        let tally = Tally::of(&checked);
        if let Some(path) = &self.sarif {
            let sarif = sarif(&checked, &experiment.path);
            write_whole(path, (serde_json::to_string_pretty(&sarif)? + "\n").as_bytes())?;
        }
        let exit = self.exit(&tally);
        match self.json {
            true => print_json(&json!({
                "experiment": experiment.name,
                "passed": exit == Exit::Pass,
                "tally": tally,
                "checks": checked.iter().map(to_json).collect::<Vec<_>>(),
            }))?,
            false => print(&self.text(&experiment.name, &checked, &tally))?,
        }
        Ok(exit)
    }

    fn checks(&self) -> Result<Vec<&'static Check>, CliError> {
        let is_of = |name: &str, check: &Check| check.id == name || check.family.name() == name;
        for name in &self.only {
            if !CHECKS.iter().any(|check| is_of(name, check)) {
                return Err(unknown(name));
            }
        }
        let chosen = |check: &&&Check| {
            self.only.is_empty() || self.only.iter().any(|name| is_of(name, check))
        };
        Ok(CHECKS.iter().filter(chosen).copied().collect())
    }

    fn exit(&self, tally: &Tally) -> Exit {
        let fails = match self.fail_on {
            Severity::Note => tally.notes + tally.warnings + tally.errors,
            Severity::Warning => tally.warnings + tally.errors,
            Severity::Error => tally.errors,
        };
        match (fails, tally.not_checked) {
            (0, 0) => Exit::Pass,
            (0, _) => Exit::Inconclusive,
            _ => Exit::GateFailed,
        }
    }

    fn text(&self, name: &str, checked: &[Checked], tally: &Tally) -> String {
        let mut text = String::new();
        let mut by_severity: Vec<(Severity, &Checked)> = checked
            .iter()
            .filter(|of| of.open().next().is_some())
            .map(|of| (of.open().map(|finding| severity(of.check, finding)).max(), of))
            .filter_map(|(severity, of)| Some((severity?, of)))
            .collect();
        by_severity.sort_by_key(|(severity, _)| std::cmp::Reverse(*severity));
        for (severity, of) in by_severity {
            let check = of.check;
            let _ = writeln!(text, "{} {} ({})", severity.name(), check.id, check.family.name());
            of.open().for_each(|finding| text += &format!("  - {}\n", finding.message));
            let _ = writeln!(text, "  why: {} ({})", check.why, check.source);
            let _ = writeln!(text, "  what to do: {}\n", check.fix);
        }
        for of in checked {
            for (finding, reason) in of.findings() {
                if let Some(reason) = reason {
                    let _ = writeln!(text, "accepted {}: {}", of.check.id, finding.message);
                    let _ = writeln!(text, "  because: {reason}\n");
                }
            }
        }
        for of in checked {
            match &of.outcome {
                Outcome::NotChecked(why) => {
                    let _ = writeln!(text, "not checked: {}: {why}", of.check.id);
                }
                Outcome::NotApplicable(why) if self.all => {
                    let _ = writeln!(text, "does not apply: {}: {why}", of.check.id);
                }
                Outcome::Checked(findings) if self.all && findings.is_empty() => {
                    let _ = writeln!(text, "passed: {}: {}", of.check.id, of.check.title);
                }
                _ => {}
            }
        }
        let count =
            |n: usize, one: &str, many: &str| format!("{n} {}", if n == 1 { one } else { many });
        let _ = writeln!(
            text,
            "{name}: {}: {}, {}, {}; {} accepted. {} passed, {} not apply, {} not checked.",
            count(tally.checks, "check", "checks"),
            count(tally.errors, "error", "errors"),
            count(tally.warnings, "warning", "warnings"),
            count(tally.notes, "note", "notes"),
            tally.accepted,
            tally.passed,
            count(tally.not_applicable, "does", "do"),
            tally.not_checked,
        );
        text
    }
}

fn severity(check: &Check, finding: &Finding) -> Severity {
    finding.severity.unwrap_or(check.severity)
}

fn unknown(id: &str) -> CliError {
    CliError::Usage(format!("there is no check or family `{id}`; `assay audit --list` lists them"))
}

fn list() -> String {
    let mut text = String::new();
    let mut family = None;
    for check in CHECKS {
        if family != Some(check.family) {
            family = Some(check.family);
            let _ = writeln!(text, "{}", check.family.name());
        }
        let _ = writeln!(text, "  {:<28} {:<8} {}", check.id, check.severity.name(), check.title);
    }
    text
}

fn explained(check: &Check) -> String {
    let Check { id, title, why, source, fix, .. } = check;
    let (family, severity) = (check.family.name(), check.severity.name());
    format!("{id} ({family}, {severity})\n{title}\n\nwhy: {why} ({source})\nwhat to do: {fix}\n")
}

fn described(check: &Check) -> Value {
    json!({
        "id": check.id,
        "family": check.family,
        "severity": check.severity,
        "title": check.title,
        "why": check.why,
        "source": check.source,
        "fix": check.fix,
    })
}

fn to_json(of: &Checked) -> Value {
    let (outcome, reason) = match &of.outcome {
        Outcome::Checked(findings) if findings.is_empty() => ("passed", None),
        Outcome::Checked(_) => ("found", None),
        Outcome::NotApplicable(why) => ("not-applicable", Some(why)),
        Outcome::NotChecked(why) => ("not-checked", Some(why)),
    };
    let findings = of.findings().map(|(finding, accepted)| {
        let evidence: serde_json::Map<String, Value> =
            finding.evidence.iter().map(|(name, value)| ((*name).into(), value.clone())).collect();
        json!({
            "severity": severity(of.check, finding),
            "subject": finding.subject,
            "message": finding.message,
            "evidence": evidence,
            "accepted": accepted,
        })
    });
    json!({
        "id": of.check.id,
        "family": of.check.family,
        "outcome": outcome,
        "reason": reason,
        "findings": findings.collect::<Vec<_>>(),
    })
}

/// SARIF 2.1.0: a rule for each check, a result for each finding; accepted findings are suppressed.
fn sarif(checked: &[Checked], experiment: &str) -> Value {
    let level = |severity: Severity| severity.name();
    let rules = checked.iter().map(|of| {
        json!({
            "id": of.check.id,
            "shortDescription": {"text": of.check.title},
            "fullDescription": {"text": of.check.why},
            "help": {"text": of.check.fix},
            "defaultConfiguration": {"level": level(of.check.severity)},
            "properties": {"family": of.check.family, "source": of.check.source},
        })
    });
    let mut results = Vec::new();
    for (rule, of) in checked.iter().enumerate() {
        for (finding, accepted) in of.findings() {
            let mut result = json!({
                "ruleId": of.check.id,
                "ruleIndex": rule,
                "level": level(severity(of.check, finding)),
                "message": {"text": finding.message},
                "locations": [{
                    "physicalLocation": {
                        "artifactLocation": {"uri": uri(experiment)},
                        "region": {"startLine": 1},
                    },
                }],
                "partialFingerprints": {
                    "finding/v1": crate::base::hash::Digest::of(format!("{} {}", of.check.id, finding.subject)).to_string(),
                },
            });
            if let Some(reason) = accepted {
                result["suppressions"] = json!([{"kind": "external", "justification": reason}]);
            }
            results.push(result);
        }
    }
    let unchecked = checked.iter().filter_map(|of| match &of.outcome {
        Outcome::NotChecked(why) => Some(json!({
            "level": "error",
            "message": {"text": format!("{} could not be checked: {why}", of.check.id)},
        })),
        _ => None,
    });
    let unchecked: Vec<Value> = unchecked.collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "assay",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules.collect::<Vec<_>>(),
            }},
            "invocations": [{
                "executionSuccessful": unchecked.is_empty(),
                "toolExecutionNotifications": unchecked,
            }],
            "results": results,
        }],
    })
}

/// A path as a relative URI reference.
fn uri(path: &str) -> String {
    let keep = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte);
    path.bytes().fold(String::new(), |mut uri, byte| {
        match keep(byte) {
            true => uri.push(byte as char),
            false => uri += &format!("%{byte:02X}"),
        }
        uri
    })
}

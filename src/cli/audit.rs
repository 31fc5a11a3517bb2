//! `assay audit`

use std::{fmt::Write, path::PathBuf, sync::Arc};

use serde_json::{Value, json};

use super::{
    CliError, OptionalExperimentArg, WorkspaceArg, print, print_json,
    rankings::{ReadArgs, SplitArgs, named_files},
};
use crate::{
    analysis::collect,
    audit::{
        self, CHECKS, Check, Checked, Finding, Outcome, Runs, Severity, Subject, Tally,
        runs::TestedFold,
    },
    base::{exit::Exit, files::write_whole, terminal::tell, text::distinct},
    ranking::{Ties, files::open},
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
  assay audit --lists a.csv b=recs/b.csv --train u1.base u2.base --test u1.test --relevant '>= 4'
  assay audit --lists recs/*.csv --data ml-100k --fold u1
  assay audit --list
  assay audit --explain single-fold

Exit codes: 0 no open finding of the severity of --fail-on; 1 there is one; 3 a check could not be made, or there
are no results")]
pub struct Audit {
    #[command(flatten)]
    experiment: OptionalExperimentArg,
    /// Files of rankings to check instead of an experiment, as `assay score` reads them; NAME=FILE names one
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "file")]
    lists: Vec<String>,
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
    /// With --list: as Markdown, as docs/AUDIT.md has it
    #[arg(long, requires = "list", conflicts_with = "json")]
    markdown: bool,
    /// Say what a check looks for, why it matters, and what to do
    #[arg(long, value_name = "ID")]
    explain: Option<String>,
    #[command(flatten)]
    split: SplitArgs,
    /// Training part of --test or --qrels; further ones are those of other folds, which the lists may fit
    #[arg(long, value_name = "FILE", num_args = 1.., conflicts_with = "data", help_heading = "Split")]
    train: Vec<String>,
    #[command(flatten)]
    read: ReadArgs,
    /// Cutoffs of --lists
    #[arg(
        short,
        value_name = "K,…",
        value_delimiter = ',',
        default_value = "10",
        help_heading = "Reading"
    )]
    k: Vec<usize>,
    /// Order of items of --lists with equal scores: lower-id, random, or random@SEED
    #[arg(long, value_name = "RULE", default_value = "lower-id", help_heading = "Reading")]
    ties: Ties,
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
                _ if self.markdown => print(&markdown())?,
                true => {
                    print_json(&CHECKS.iter().map(|check| described(check)).collect::<Vec<_>>())?
                }
                false => print(&list())?,
            }
            return Ok(Exit::Pass);
        }
        let checks = self.checks()?;
        if !self.lists.is_empty() {
            return self.files(&checks);
        }
        let of_lists = self.split.is_given() || self.read.is_given() || !self.train.is_empty();
        if of_lists || self.k != [10] || self.ties != Ties::default() {
            return Err(CliError::Usage(
                "options of a split and of reading apply to files of rankings alone\n  = help: give them with --lists"
                    .into(),
            ));
        }
        let file = self.experiment.given("assay audit experiment.yaml")?;
        let workspace = self.workspace.open();
        let experiment = file.recorded(&workspace)?;
        let systems = distinct(experiment.trials.iter().map(|trial| trial.name.as_str()));
        let problems = audit::problems(&experiment.audit, &systems);
        if !problems.is_empty() {
            return Err(CliError::Usage(problems.join("\n")));
        }
        let collected = collect(&experiment, &workspace, &Subject::request(&experiment))?;
        let subject = Subject::new(&experiment, &workspace, &collected);
        if subject.done.is_empty() {
            return Err(CliError::NoResults(format!(
                "the experiment {} has no results; `assay run {file}` makes them",
                experiment.name
            )));
        }
        let about = json!({"experiment": experiment.name});
        self.conclude(&experiment.name, about, &experiment.path, &audit::audit(&subject, &checks))
    }

    /// Checks files of rankings.
    fn files(&self, checks: &[&'static Check]) -> Result<Exit, CliError> {
        let of_experiments = checks.iter().find(|check| !audit::is_of_files(check));
        if let Some(check) =
            of_experiments.filter(|check| self.only.iter().any(|name| name == check.id))
        {
            return Err(CliError::Usage(format!(
                "the check `{}` needs an experiment; of files can be checked: {}",
                check.id,
                CHECKS
                    .iter()
                    .filter(|of| audit::is_of_files(of))
                    .map(|of| of.id)
                    .collect::<Vec<_>>()
                    .join(", ")
            )));
        }
        if self.k.contains(&0) {
            return Err(CliError::Usage("-k holds 0; a cutoff is 1 or more".into()));
        }
        let (files, trains) = (named_files(&self.lists)?, named_files(&self.train)?);
        let own = trains.first().map(|(_, path)| path.as_path());
        let (split, notes) = self.split.read(own, &self.read)?;
        let mut others = Vec::new();
        for (name, path) in trains.iter().skip(1) {
            others.push((name.clone(), self.split.read_other(path, &self.read, &split)?));
        }
        others.extend(split.other_folds.as_ref().map(|make| make()).into_iter().flatten());
        let mut lists = Vec::new();
        for (name, path) in &files {
            let opened = open(path, self.split.what_for(), self.read.text())?;
            let training = &split.open.training;
            let (rankings, findings) = opened.read(
                &self.read.options(),
                &training.users,
                &training.items,
                &split.open.seen,
            )?;
            for warning in findings.warnings() {
                tell!("warning: {}: {warning}", path.display());
            }
            lists.push((name.clone(), rankings, findings));
        }
        notes.iter().for_each(|note| tell!("warning: {note}"));
        let names: Vec<&String> = files.iter().map(|(name, _)| name).collect();
        let about = json!({"lists": names, "data": split.data, "fold": split.fold});
        let what = format!(
            "{} on {}",
            names.iter().map(|name| &***name).collect::<Vec<_>>().join(", "),
            split.fold
        );
        let mut k = self.k.clone();
        k.sort_unstable();
        k.dedup();
        let tested = |name: String, open| TestedFold::new(0, name, Arc::new(open), split.relevant);
        let others = others.into_iter().map(|(name, open)| tested(name, open)).collect();
        let fold = tested(split.fold, split.open).of_files(self.ties, k, notes);
        let path = files[0].1.display().to_string();
        self.conclude(
            &what,
            about,
            &path,
            &audit::audit_files(&Runs::of_files(fold, others, lists), checks),
        )
    }

    /// Writes and prints what the checks gave; `path` is the file that they are about.
    fn conclude(
        &self,
        name: &str,
        mut about: Value,
        path: &str,
        checked: &[Checked],
    ) -> Result<Exit, CliError> {
        let tally = Tally::of(checked);
        if let Some(to) = &self.sarif {
            let sarif = sarif(checked, path);
            write_whole(to, (serde_json::to_string_pretty(&sarif)? + "\n").as_bytes())?;
        }
        let exit = self.exit(&tally);
        if !self.json {
            print(&self.text(name, checked, &tally))?;
            return Ok(exit);
        }
        about["passed"] = json!(exit == Exit::Pass);
        about["tally"] = json!(tally);
        about["checks"] = checked.iter().map(to_json).collect();
        print_json(&about)?;
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

/// All checks, as docs/AUDIT.md has them.
fn markdown() -> String {
    let mut text = String::new();
    let mut family = None;
    for check in CHECKS {
        if family != Some(check.family) {
            family = Some(check.family);
            let _ = writeln!(text, "### {}\n\n{}\n", check.family.name(), check.family.about());
        }
        let of_files = if audit::is_of_files(check) { ", also of files" } else { "" };
        let _ = writeln!(
            text,
            "**`{}`** ({}{of_files}): {}.",
            check.id,
            check.severity.name(),
            check.title
        );
        let _ = writeln!(
            text,
            "{} *Source*: {}. *What to do*: {}\n",
            check.why,
            check.source.trim_end_matches('.'),
            check.fix
        );
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

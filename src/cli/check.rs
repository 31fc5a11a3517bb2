//! `assay check`

use std::{
    fmt::Write,
    io::Write as _,
    path::{Path, PathBuf},
};

use comfy_table::CellAlignment;
use serde_json::json;

use super::{
    CliError, OptionalExperimentArg, WorkspaceArg, metrics::spelled, print, print_json,
    self_test::self_test,
};
use crate::{
    analysis::{Baseline, Collected, Gate, Gates, LEVEL, Margin, Request, Verdict, collect},
    base::{
        exit::Exit,
        files::{FileError, open_log, write_whole},
        terminal::escaped,
        text::{counted, distinct, plain_table},
    },
    core::MeasureKey,
};

/// With more gates, those in which nothing changed are counted instead of listed.
const MOST_SHOWN: usize = 10;

/// Hold the results of an experiment against recorded ones, for CI
///
/// A gate is one system, metric, cutoff and slice. It is *unchanged* where every user has the recorded value, or
/// where the whole interval of the paired difference is above −margin; *better* where it is above 0; *worse* where it is
/// below 0 and reaches below −margin; else *inconclusive*. Results of other data, another split or protocol are *not
/// comparable*.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  assay check experiments/quickstart.yaml --against baselines/recorded/quickstart.json
  assay check mine.yaml --against mine.json --metric ndcg -k 10 --margin 1% --junit check.xml
  assay check mine.yaml --against mine.json --github        annotations and a step summary in GitHub Actions
  assay check --self-test

Exit codes: 0 all gates are unchanged or better; 1 a gate is worse or missing; 3 a gate is inconclusive or not
comparable")]
pub struct Check {
    #[command(flatten)]
    experiment: OptionalExperimentArg,
    #[command(flatten)]
    workspace: WorkspaceArg,
    /// What `assay baseline record` wrote
    #[arg(long, value_name = "FILE", required_unless_present = "self_test")]
    against: Option<PathBuf>,
    /// Check assay itself on its made-up sample: that a run agrees with itself, a random order fails, and numbers of
    /// threads change no byte
    #[arg(long, conflicts_with_all = ["file", "against", "metrics", "k", "slices", "all", "junit", "github", "json"])]
    self_test: bool,
    /// Metric; may be given several times (default: all of which more or less is better)
    #[arg(long = "metric", value_name = "METRIC")]
    metrics: Vec<String>,
    /// Cutoff (default: all)
    #[arg(short)]
    k: Option<usize>,
    /// Users; may be given several times (default: all slices)
    #[arg(long = "slice", value_name = "SLICE")]
    slices: Vec<String>,
    /// How much worse a mean may be: 0.005, or 1% of the recorded mean
    #[arg(long, default_value = "0", allow_hyphen_values = true)]
    margin: Margin,
    /// Show every gate: of many, those in which every user has the recorded value are else only counted
    #[arg(long)]
    all: bool,
    /// Write JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Print annotations of GitHub Actions, and append a summary to the file that GITHUB_STEP_SUMMARY names
    #[arg(long)]
    github: bool,
    /// A JSON object
    #[arg(long, conflicts_with = "github")]
    json: bool,
}

impl Check {
    pub fn run(self) -> Result<Exit, CliError> {
        if self.self_test {
            return self_test();
        }
        let file = self.experiment.given("assay check experiment.yaml --against recorded.json")?;
        let Some(against) = &self.against else { return self_test() };
        let baseline = Baseline::read(against)?;
        let workspace = self.workspace.open();
        let experiment = file.recorded(&workspace)?;
        let collected = collect(&experiment, &workspace, &Request::default())?;
        let (metrics, k) = spelled(&self.metrics, self.k)?;
        let gates = Gates { metrics: &metrics, k, slices: &self.slices, margin: self.margin };
        let gates = gates.check(&baseline, &experiment, &collected, &workspace)?;
        let gates = gates
            .map_err(|problem| CliError::Usage(format!("{}: {problem}", against.display())))?;
        if let Some(path) = &self.junit {
            write_whole(path, junit(&experiment.name, &gates).as_bytes())?;
        }
        match self.json {
            true => print_json(&self.to_json(&baseline, &gates, &collected))?,
            false => print(&self.text(&baseline, &gates, &collected))?,
        }
        if self.github {
            print(&annotations(&gates, &file.file))?;
            if let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY") {
                summary(&PathBuf::from(path), &experiment.name, &gates)?;
            }
        }
        Ok(exit(&gates))
    }

    fn text(&self, baseline: &Baseline, gates: &[Gate], collected: &Collected) -> String {
        let mut table = plain_table();
        let interval = format!("{:.0} % interval", 100.0 * LEVEL);
        let head = [
            "system",
            "slice",
            "metric",
            "recorded",
            "now",
            "difference",
            &interval,
            "margin",
            "verdict",
        ];
        table.set_header(head);
        let mut text = String::new();
        let is_shown = |gate: &&Gate| self.all || gates.len() <= MOST_SHOWN || !gate.is_same;
        let shown: Vec<&Gate> = gates.iter().filter(is_shown).collect();
        table.add_rows(shown.iter().map(|gate| cells(gate)));
        for at in 3..8 {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        if !shown.is_empty() {
            table.lines().for_each(|line| text += &format!("{}\n", line.trim_end()));
        }
        if shown.len() < gates.len() {
            let _ = writeln!(
                text,
                "{} in which every user has the recorded value: not listed (--all lists them)",
                counted(gates.len() - shown.len(), "gate")
            );
        }
        for why in distinct(gates.iter().map(|gate| gate.why.as_str()))
            .iter()
            .filter(|why| !why.is_empty())
        {
            let of = gates.iter().filter(|gate| gate.why == *why);
            let systems = distinct(of.map(|gate| gate.system.as_str()));
            let _ = writeln!(text, "{}: {why}", systems.join(", "));
        }
        let unknown: Vec<String> = distinct(collected.rows.iter().map(|row| row.system.as_str()))
            .into_iter()
            .filter(|name| !baseline.systems.iter().any(|system| system.name == *name))
            .collect();
        if !unknown.is_empty() {
            let _ = writeln!(text, "not so not checked: {}", unknown.join(", "));
        }
        let _ = writeln!(text, "{}", tally(gates));
        text
    }

    fn to_json(
        &self,
        baseline: &Baseline,
        gates: &[Gate],
        collected: &Collected,
    ) -> serde_json::Value {
        let rows = gates.iter().map(|gate| {
            let paired = gate.paired.as_ref();
            json!({
                "system": gate.system,
                "protocol": gate.measure.protocol,
                "convention": gate.measure.convention,
                "metric": gate.measure.metric,
                "k": gate.measure.k,
                "slice": gate.slice,
                "verdict": gate.verdict,
                "same_values": gate.is_same,
                "recorded": paired.map(|of| of.first),
                "now": paired.map(|of| of.second),
                "difference": paired.map(|of| of.difference()),
                "low": paired.and_then(|of| of.interval).map(|of| of.0),
                "high": paired.and_then(|of| of.interval).map(|of| of.1),
                "margin": gate.margin,
                "users": paired.map(|of| of.n),
                "why": gate.why,
            })
        });
        json!({
            "experiment": baseline.experiment,
            "recorded_with": {"assay": baseline.assay, "program": baseline.program},
            "passed": exit(gates) == Exit::Pass,
            "missing_trials": collected.missing,
            "gates": rows.collect::<Vec<_>>(),
        })
    }
}

fn exit(gates: &[Gate]) -> Exit {
    let has = |verdicts: &[Verdict]| gates.iter().any(|gate| verdicts.contains(&gate.verdict));
    if has(&[Verdict::Worse, Verdict::Missing]) {
        return Exit::GateFailed;
    }
    match has(&[Verdict::Inconclusive, Verdict::NotComparable]) {
        true => Exit::Inconclusive,
        false => Exit::Pass,
    }
}

fn cells(gate: &Gate) -> [String; 9] {
    let number = |value: Option<f64>| value.map_or("–".into(), |value| format!("{value:.4}"));
    let paired = gate.paired.as_ref();
    let interval = paired.and_then(|of| of.interval);
    [
        gate.system.clone(),
        gate.slice.clone(),
        format!("{}@{}", gate.measure.metric, gate.measure.k),
        number(paired.map(|of| of.first)),
        number(paired.map(|of| of.second)),
        paired.map_or("–".into(), |of| format!("{:+.4}", of.difference())),
        match gate.is_same {
            true => "same values".into(),
            false => {
                interval.map_or("–".into(), |(low, high)| format!("[{low:+.4}, {high:+.4}]"))
            }
        },
        format!("{:.4}", gate.margin),
        gate.verdict.name().into(),
    ]
}

/// `12 gates: 10 unchanged, 2 worse`
fn tally(gates: &[Gate]) -> String {
    let verdicts = distinct(gates.iter().map(|gate| gate.verdict.name()));
    let count = |name: &str| gates.iter().filter(|gate| gate.verdict.name() == name).count();
    let counts: Vec<String> =
        verdicts.iter().map(|name| format!("{} {name}", count(name))).collect();
    let gate = if gates.len() == 1 { "gate" } else { "gates" };
    format!("{} {gate}: {}", gates.len(), counts.join(", "))
}

fn title(gate: &Gate) -> String {
    let MeasureKey { protocol, convention, metric, k } = &gate.measure;
    format!("{} {metric}@{k} {} ({protocol}, {convention})", gate.system, gate.slice)
}

fn detail(gate: &Gate) -> String {
    match &gate.paired {
        Some(of) => {
            let (low, high) = of.interval.unwrap_or((f64::NAN, f64::NAN));
            format!(
                "{}: {:.4} {:.4} now, difference {:+.4} [{low:+.4}, {high:+.4}], margin {:.4}, {} users",
                gate.verdict.name(),
                of.first,
                of.second,
                of.difference(),
                gate.margin,
                of.n
            )
        }
        None => format!("{}: {}", gate.verdict.name(), gate.why),
    }
}

/// JUnit XML: a test case a gate; worse and missing are failures, inconclusive and not comparable are errors.
fn junit(experiment: &str, gates: &[Gate]) -> String {
    let is_failure = |gate: &&Gate| matches!(gate.verdict, Verdict::Worse | Verdict::Missing);
    let is_error =
        |gate: &&Gate| matches!(gate.verdict, Verdict::Inconclusive | Verdict::NotComparable);
    let counts = format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\"",
        gates.len(),
        gates.iter().filter(is_failure).count(),
        gates.iter().filter(is_error).count()
    );
    let mut text = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites {counts}>\n<testsuite name=\"{}\" {counts}>\n",
        xml(experiment)
    );
    for gate in gates {
        let _ = write!(
            text,
            "<testcase classname=\"{}\" name=\"{}\">",
            xml(&gate.system),
            xml(&title(gate))
        );
        let element = match (is_failure(&gate), is_error(&gate)) {
            (true, _) => "failure",
            (_, true) => "error",
            _ => "system-out",
        };
        let message = xml(&detail(gate));
        let _ = match element {
            "system-out" => write!(text, "<system-out>{message}</system-out>"),
            _ => {
                write!(text, "<{element} message=\"{message}\" type=\"{}\"/>", gate.verdict.name())
            }
        };
        text.push_str("</testcase>\n");
    }
    text + "</testsuite>\n</testsuites>\n"
}

fn xml(text: &str) -> String {
    let mut out = String::new();
    for c in escaped(text).chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\n' | '\t' => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

/// Workflow commands: an error for what fails, a warning for what does not tell, a notice for what is better.
fn annotations(gates: &[Gate], file: &Path) -> String {
    let mut text = String::new();
    for gate in gates {
        let level = match gate.verdict {
            Verdict::Worse | Verdict::Missing => "error",
            Verdict::Inconclusive | Verdict::NotComparable => "warning",
            Verdict::Better => "notice",
            Verdict::Unchanged => continue,
        };
        let value = |text: &str| text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        let property = |text: &str| value(text).replace(':', "%3A").replace(',', "%2C");
        let _ = writeln!(
            text,
            "::{level} file={},title={}::{}",
            property(&file.display().to_string()),
            property(&title(gate)),
            value(&detail(gate))
        );
    }
    text
}

/// A table in Markdown, behind what the file holds.
fn summary(path: &Path, experiment: &str, gates: &[Gate]) -> Result<(), CliError> {
    let cell =
        |text: &str| escaped(text).replace('|', "\\|").replace('<', "&lt;").replace('\n', " ");
    let mut text = format!("### assay check: {}\n\n{}\n\n", cell(experiment), tally(gates));
    text.push_str(
        "| system | slice | metric | recorded | now | difference | interval | margin | verdict |\n",
    );
    text.push_str("| --- | --- | --- | --: | --: | --: | --: | --: | --- |\n");
    for gate in gates.iter().filter(|gate| gate.verdict != Verdict::Unchanged || gates.len() <= 50)
    {
        let cells: Vec<String> = cells(gate).iter().map(|text| cell(text)).collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
    }
    let written = open_log(path).and_then(|mut file| file.write_all(text.as_bytes()));
    Ok(written.map_err(|source| FileError::Io { path: path.to_owned(), source })?)
}

//! `far-from-published`

use crate::{
    analysis::{Reproduction, published::Verdict},
    audit::{Check, Family, Finding, Outcome, Severity, Subject},
};

pub const CHECK: Check = Check {
    id: "far-from-published",
    family: Family::Baselines,
    severity: Severity::Warning,
    title: "Values that differ from the published ones under the same data, split and rules",
    why: "A baseline below its published value is not the published baseline; one above it says that the published one \
          was not at its best.",
    source: "Rendle, Zhang and Koren 2019, On the Difficulty of Evaluating Baselines",
    fix: "Find the difference: data, filters, settings, number of epochs. Or say why it is there.",
    run,
};

/// Differences of less than this part of the published value are notes.
const SMALL: f64 = 0.05;

fn run(subject: &Subject) -> Result<Outcome, String> {
    let tables = subject.published();
    if tables.is_empty() {
        let of = subject.experiment.published.len();
        let why = match of {
            0 => "the experiment is compared with no published table".to_owned(),
            _ => format!(
                "the data or settings of {of} published tables are not those of the results"
            ),
        };
        return Ok(Outcome::NotApplicable(why));
    }
    let mut findings = Vec::new();
    for table in tables {
        let found = Reproduction::new(table, &subject.collected.rows);
        for row in &found.rows {
            let off: Vec<(&str, f64, f64)> = row
                .cells
                .iter()
                .filter_map(|cell| match cell.verdict {
                    Verdict::Off { .. } => Some((&cell.metric[..], cell.printed, cell.value?)),
                    _ => None,
                })
                .collect();
            if off.is_empty() {
                continue;
            }
            let cells: Vec<String> = off
                .iter()
                .map(|(metric, printed, value)| format!("{metric} {value:.4}, published {printed}"))
                .collect();
            let worst = off
                .iter()
                .map(|(_, printed, value)| (value - printed).abs() / printed.abs().max(1e-9))
                .fold(0.0, f64::max);
            let message = format!(
                "`{}` differs from {} by up to {:.0} %: {}",
                row.system,
                table.about.source,
                100.0 * worst,
                cells.join("; ")
            );
            let severity = if worst < SMALL { Severity::Note } else { Severity::Warning };
            findings.push(
                Finding::new(row.system.clone(), message)
                    .with("cells", off.len())
                    .with("largest_relative_difference", worst)
                    .as_severe_as(severity),
            );
        }
    }
    Ok(Outcome::Checked(findings))
}

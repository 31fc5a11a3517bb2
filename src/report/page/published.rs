//! A published table beside what was measured.

use serde::Serialize;

use super::metric_at;
use crate::analysis::{Reproduction, published::Verdict};

#[derive(Serialize)]
pub struct PublishedView {
    pub title: String,
    pub describe: String,
    pub verdict: String,
    pub holds: bool,
    pub few: Option<String>,
    pub reasons: Vec<String>,
    pub metrics: Vec<String>,
    pub rows: Vec<PublishedRow>,
}

#[derive(Serialize)]
pub struct PublishedRow {
    pub row: String,
    pub system: String,
    /// By metric; none where the published table has no value.
    pub cells: Vec<Option<PublishedCell>>,
}

#[derive(Serialize)]
pub struct PublishedCell {
    pub printed: String,
    pub value: Option<String>,
    pub interval: Option<String>,
    pub n: usize,
    pub verdict: &'static str,
    pub mark: char,
}

impl PublishedView {
    pub fn new(of: &Reproduction) -> Self {
        let rows = of.rows.iter().map(|row| {
            let cell = |metric: &String| {
                let cell = row.cells.iter().find(|cell| cell.metric == *metric)?;
                let (verdict, mark) = match cell.verdict {
                    Verdict::Reproduced { .. } => ("same", '='),
                    Verdict::Off { .. } => ("off", '≠'),
                    Verdict::NotCheckable { .. } => ("open", '?'),
                };
                Some(PublishedCell {
                    printed: format!("{:.*}", of.about.digits as usize, cell.printed),
                    value: cell.value.filter(|_| mark != '?').map(|value| format!("{value:.4}")),
                    interval: cell.interval.map(|(low, high)| format!("[{low:.3}, {high:.3}]")),
                    n: cell.n_users,
                    verdict,
                    mark,
                })
            };
            PublishedRow {
                row: row.row.clone(),
                system: row.system.clone(),
                cells: of.metrics.iter().map(cell).collect(),
            }
        });
        Self {
            title: of.title(),
            describe: of.about.describe.clone(),
            verdict: of.verdict(),
            holds: of.holds() && of.differs.is_empty(),
            few: of.few(),
            reasons: of.reasons(),
            metrics: of.metrics.iter().map(|name| metric_at(name, of.about.k)).collect(),
            rows: rows.collect(),
        }
    }
}

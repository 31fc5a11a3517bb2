//! Published tables of papers, with which results are compared.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::{
        built_in,
        yaml::{
            de::from_node,
            diagnostic::Diagnostic,
            include,
            node::{Entry, Node, Value},
        },
    },
    ranking::{Convention, Metric, Protocol, Slice, Spelling},
};

/// A published table: its numbers, and how they were computed according to the paper (or our findings).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedTable {
    pub about: About,
    /// In the order of the paper.
    pub rows: Vec<PublishedRow>,
    /// Differences to the results, if it is compared in spite of them.
    #[serde(skip)]
    pub differs: Vec<String>,
}

/// Description of a published table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Paper and table.
    pub source: String,
    /// How the numbers were computed, with the source of this information.
    #[serde(default)]
    pub describe: String,
    /// The data set of the numbers: the name of a set, or of the folder of your own files.
    pub dataset: String,
    /// The fold of the numbers, or `mean` for the mean over all folds.
    pub fold: String,
    /// What was ranked.
    pub protocol: Protocol,
    /// How metrics were computed and averaged.
    pub convention: Convention,
    /// Which users.
    pub slice: Slice,
    /// The cutoff.
    pub k: usize,
    /// Number of published decimals.
    #[schemars(range(max = 15))]
    pub digits: u32,
}

/// A published row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedRow {
    pub name: String,
    /// The system of the experiment to compare with.
    pub system: String,
    pub values: Vec<(Metric, f64)>,
    /// Why it cannot be checked, if so.
    pub not_checkable: Option<String>,
}

/// As many decimals as a number has.
const MOST_DIGITS: u32 = 15;

const NOT_CHECKABLE: &str = "not_checkable";

/// Required keys of a table, so that it is only compared with matching results, and their descriptions.
const OF_WHAT: [(&str, &str); 2] = [
    ("dataset", "the data set of its numbers, such as `dataset: ml-100k`"),
    (
        "fold",
        "the fold of its numbers, such as `fold: u1`, or `fold: mean` for the mean over all folds",
    ),
];

impl PublishedTable {
    /// Reads a file with one table.
    pub fn read_file(path: &std::path::Path) -> Result<Self, Diagnostic> {
        let built_in = !path.exists() && built_in::find(path).is_some();
        let path = if built_in { built_in::shown(path) } else { path.to_owned() };
        Self::read(&include::read(&path, &[])?.root)
    }

    /// Reads a mapping: `rows`, `systems` (published row: system), and the keys of [`About`].
    pub fn read(node: &Node) -> Result<Self, Diagnostic> {
        let mut rest = node.mapping("a published table")?.clone();
        let rows = rest.take("rows").ok_or_else(|| {
            Diagnostic::at(&node.at, "the published table has no `rows`")
                .expected("`rows:` with a mapping for each row: `ALS: {ndcg: 0.197}`")
        })?;
        let systems = rest.take("systems");
        if let Some((key, what)) = OF_WHAT.iter().find(|(key, _)| rest.get(key).is_none()) {
            let message = format!("the published table does not name its `{key}`");
            return Err(Diagnostic::at(&node.at, message).expected(*what));
        }
        let about: About = from_node(&Node { at: node.at.clone(), value: Value::Mapping(rest) })?;
        if about.digits > MOST_DIGITS {
            return Err(Diagnostic::at(&node.at, format!("`digits` is {}", about.digits))
                .expected(format!("the number of published decimals, at most {MOST_DIGITS}")));
        }
        let rows = rows.value.mapping("rows")?.entries().iter();
        let rows = rows.map(|row| PublishedRow::read(row, about.k));
        let mut rows = rows.collect::<Result<Vec<_>, _>>()?;
        if let Some(systems) = systems {
            for entry in systems.value.mapping("systems")?.entries() {
                let Some(row) = rows.iter_mut().find(|row| row.name == entry.key) else {
                    let names: Vec<&str> = rows.iter().map(|row| row.name.as_str()).collect();
                    return Err(Diagnostic::at(
                        &entry.key_at,
                        format!("the published table has no row `{}`", entry.key),
                    )
                    .expected(format!("one of {}", names.join(", ")))
                    .suggest(&entry.key, names));
                };
                row.system = entry.value.text("the system of a published row")?.to_owned();
            }
        }
        Ok(Self { about, rows, differs: Vec::new() })
    }
}

impl PublishedRow {
    fn read(entry: &Entry, k: usize) -> Result<Self, Diagnostic> {
        let mut row = Self {
            name: entry.key.clone(),
            system: entry.key.clone(),
            values: Vec::new(),
            not_checkable: None,
        };
        for cell in entry.value.mapping(&format!("the published row `{}`", entry.key))?.entries() {
            if cell.key == NOT_CHECKABLE {
                row.not_checkable = Some(cell.value.text(NOT_CHECKABLE)?.to_owned());
                continue;
            }
            let wrong = |message: String| {
                Diagnostic::at(&cell.key_at, message)
                    .help("beside metrics, a row may say `not_checkable: WHY`")
            };
            let read: Spelling = cell.key.parse().map_err(wrong)?;
            if read.k.is_some_and(|cutoff| cutoff != k) {
                return Err(wrong(format!("`{}` is in a table with `k: {k}`", cell.key)));
            }
            row.values.push((read.metric, from_node(&cell.value)?));
        }
        Ok(row)
    }
}

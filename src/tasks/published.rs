//! Printed tables of papers, as data: what our numbers are held against.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    base::yaml::{
        de::from_node,
        diagnostic::Diagnostic,
        include,
        node::{Entry, Node, Value},
    },
    ranking::{Convention, Metric, Protocol, Slice},
};

/// One printed table: the numbers, and how they are said (or were found) to have been computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedTable {
    pub about: About,
    /// In the order of the paper.
    pub rows: Vec<PublishedRow>,
    /// In what it differs from what it is held against, where it is held against it anyway.
    #[serde(skip)]
    pub differs: Vec<String>,
}

/// What holds for all of a printed table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// Paper and table.
    pub source: String,
    /// What is known about how the numbers came about, and where that is said.
    #[serde(default)]
    pub describe: String,
    /// The data set the numbers are of: a set's name, or that of the folder of one's own files.
    pub dataset: String,
    /// The fold the numbers are of, or `mean` for the mean over all folds.
    pub fold: String,
    pub protocol: Protocol,
    pub convention: Convention,
    pub slice: Slice,
    pub k: usize,
    /// Decimals that were printed.
    pub digits: u32,
}

/// One printed row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PublishedRow {
    pub name: String,
    /// The system of the experiment it is held against.
    pub system: String,
    pub values: Vec<(Metric, f64)>,
    /// Why it cannot be checked, where it cannot.
    pub not_checkable: Option<String>,
}

/// As many decimals as a number has.
const MOST_DIGITS: u32 = 15;

const NOT_CHECKABLE: &str = "not_checkable";

/// What a table must say that no other number is held against it, and how.
const OF_WHAT: [(&str, &str); 2] = [
    ("dataset", "the data set of its numbers, such as `dataset: ml-100k`"),
    (
        "fold",
        "the fold of its numbers, such as `fold: u1`, or `fold: mean` for the mean over all folds",
    ),
];

impl PublishedTable {
    /// Reads a file that holds one table.
    pub fn read_file(path: &std::path::Path) -> Result<Self, Diagnostic> {
        Self::read(&include::read(path, &[])?.root)
    }

    /// Reads a mapping: `rows`, `systems` (printed row: system), and the keys of [`About`].
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
        let rows = rows.value.mapping("rows")?.entries().iter().map(PublishedRow::read);
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
    fn read(entry: &Entry) -> Result<Self, Diagnostic> {
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
            let metric = cell.key.parse().map_err(|message: String| {
                Diagnostic::at(&cell.key_at, message)
                    .help("beside metrics, a row may say `not_checkable: WHY`")
            })?;
            row.values.push((metric, from_node(&cell.value)?));
        }
        Ok(row)
    }
}

//! From an experiment file to a validated [`Experiment`]. Later code relies on its validity.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    AuditSpec, ExperimentRecord, ReportSpec, TASKS, Task, TaskDef, published::PublishedTable,
};
use crate::{
    base::{
        hash::Digest,
        yaml::{
            Override,
            de::from_node,
            diagnostic::{Diagnostic, SourceFile},
            include::{self, Read, Renamed},
            node::{Entry, Mapping, Node, Value, refuse_unknown_keys},
            overrides, sweep,
        },
    },
    data::DataDirs,
};

/// A parsed and validated experiment file.
#[derive(Clone, Debug)]
pub struct Experiment {
    /// The name of its results; with the digest of its overrides, where it has any.
    pub name: String,
    /// What replaces values of the file, `path=value` with the value as JSON.
    pub overrides: Vec<String>,
    pub describe: String,
    /// The file it was read from.
    pub path: PathBuf,
    /// The part that its task defines: data, systems, evaluation.
    pub task: Arc<dyn Task>,
    /// Published tables that the results are compared with.
    pub published: Vec<PublishedTable>,
    /// Settings of `assay audit`.
    pub audit: AuditSpec,
    /// Tables and figures of its report.
    pub report: ReportSpec,
    /// The same with places, for messages.
    report_node: Option<Node>,
    /// All files it consists of, as they were read.
    pub sources: Vec<Arc<SourceFile>>,
    /// Deprecated keys that it uses, a sentence each.
    pub warnings: Vec<String>,
    /// The experiment with all included files merged.
    pub resolved: serde_yaml::Value,
}

/// The keys of every experiment file, whatever its task.
const KEYS: [&str; 6] = ["experiment", "task", "describe", "published", "audit", "report"];

impl Experiment {
    /// Reads an experiment file and everything it includes.
    ///
    /// `dirs` are the directories with manifests: a data set may define which of its ratings are relevant.
    pub fn read(path: &Path, dirs: &DataDirs) -> Result<Self, Diagnostic> {
        Self::read_with(path, &[], dirs)
    }

    /// The same with some values replaced, `path=value` each. This is another experiment with a name of its own: its
    /// results are not those of the file.
    pub fn read_with(path: &Path, set: &[String], dirs: &DataDirs) -> Result<Self, Diagnostic> {
        let directory = path.parent().unwrap_or(Path::new(""));
        let parse = |text: &String| Override::parse(text, directory);
        let set = set.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        // Keys of all tasks: the file has to be read before its task is known.
        let renamed: Vec<Renamed> = TASKS.iter().flat_map(|task| task.renamed).copied().collect();
        let named: Vec<&str> = TASKS.iter().flat_map(|task| task.named).copied().collect();
        let Read { mut root, files: mut sources, mut warnings } = include::read(path, &renamed)?;
        let applied = overrides::apply(&mut root, &set, &named, &renamed)?;
        let overrides = applied.set;
        warnings.extend(applied.warnings);
        for file in applied.files {
            if !sources.iter().any(|known| known.path == file.path) {
                sources.push(file);
            }
        }
        let mapping = root.mapping("an experiment file")?;
        let task = task_of(mapping)?;
        refuse_unknown_keys(mapping, &[&KEYS[..], task.keys].concat(), "the experiment")?;
        let name = required(mapping, "experiment", &root)?.value.text("experiment")?.to_owned();
        check_name(&name, mapping)?;
        let name = name_with(&name, &overrides);
        let describe = match mapping.get("describe") {
            Some(entry) => entry.value.text("describe")?.trim().to_owned(),
            None => String::new(),
        };
        for key in KEYS.iter().chain(task.not_swept) {
            if let Some(entry) = mapping.get(key).filter(|_| *key != "published")
                && let Some(at) = sweep::first(&entry.value)
            {
                let message = format!("`{key}` applies to the whole run and cannot be swept");
                return Err(Diagnostic::at(at, message).expected("one value"));
            }
        }
        let apart = [&KEYS[..], task.swept_by_system].concat();
        let variants = sweep::expand(&root, &apart)?
            .into_iter()
            .map(|(levels, node)| (levels.label(), node))
            .collect();
        let task = (task.read)(&root, variants, dirs)?;
        for text in task.warnings() {
            if !warnings.contains(&text) {
                warnings.push(text);
            }
        }
        let published = match mapping.get("published") {
            Some(entry) => published(&entry.value)?,
            None => Vec::new(),
        };
        let audit = match mapping.get("audit") {
            Some(entry) => from_node(&entry.value)?,
            None => AuditSpec::default(),
        };
        let report_node = mapping.get("report").map(|entry| entry.value.clone());
        let report = match &report_node {
            Some(node) => from_node(node)?,
            None => ReportSpec::default(),
        };
        Ok(Self {
            name,
            overrides,
            describe,
            path: path.to_owned(),
            task,
            published,
            audit,
            report,
            report_node,
            sources,
            warnings,
            resolved: root.to_yaml(),
        })
    }

    /// An error for a name in `report:` that the experiment does not have.
    pub fn check_report(&self, record: &ExperimentRecord) -> Result<(), Diagnostic> {
        self.report.check(record, self.report_node.as_ref())
    }

    /// Path and text of all files it consists of.
    pub fn source_texts(&self) -> Vec<(String, String)> {
        let text = |file: &Arc<SourceFile>| (file.path.display().to_string(), file.text.clone());
        self.sources.iter().map(text).collect()
    }
}

/// The task of the key `task:`, by default `top-n`.
fn task_of(mapping: &Mapping) -> Result<&'static TaskDef, Diagnostic> {
    let Some(entry) = mapping.get("task") else { return Ok(&TASKS[0]) };
    let name = entry.value.text("task")?;
    let names = || TASKS.iter().map(|task| task.name);
    TASKS.iter().find(|task| task.name == name).ok_or_else(|| {
        Diagnostic::at(&entry.value.at, format!("unknown task `{name}`"))
            .expected(format!("one of {}", names().collect::<Vec<_>>().join(", ")))
            .suggest(name, names())
    })
}

/// A published table, or a list of them.
fn published(node: &Node) -> Result<Vec<PublishedTable>, Diagnostic> {
    match &node.value {
        Value::Sequence(tables) => tables.iter().map(PublishedTable::read).collect(),
        _ => Ok(vec![PublishedTable::read(node)?]),
    }
}

/// The entry of a required key.
pub(super) fn required<'a>(
    mapping: &'a Mapping,
    key: &str,
    node: &Node,
) -> Result<&'a Entry, Diagnostic> {
    mapping.get(key).ok_or_else(|| {
        Diagnostic::at(&node.at, format!("the key `{key}` is missing"))
            .help("`assay schema` describes the keys of an experiment file")
    })
}

/// The name of the results of an experiment whose values were replaced: `quickstart@1a2b3c`. No file can have a name
/// with `@`.
pub fn name_with(name: &str, overrides: &[String]) -> String {
    match overrides {
        [] => name.to_owned(),
        _ => format!("{name}@{}", &Digest::of_json(&overrides).to_string()[..6]),
    }
}

/// The name of an experiment is also the name of directories.
fn check_name(name: &str, mapping: &Mapping) -> Result<(), Diagnostic> {
    let fine = |c: char| c.is_alphanumeric() || "-_.+".contains(c);
    if !name.is_empty() && name.chars().all(fine) && !name.starts_with('.') {
        return Ok(());
    }
    let entry = mapping.get("experiment").map(|entry| entry.value.at.clone());
    let error = Diagnostic::new(format!("`{name}` cannot be an experiment's name"))
        .expected("letters, digits and - _ . + (it names a directory)");
    Err(match entry {
        Some(at) => error.or_at(&at),
        None => error,
    })
}

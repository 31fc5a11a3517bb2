//! `include:` at the top of an experiment file and `use:` in any mapping.
//!
//! Both insert a mapping from another file. Keys beside them override the inserted ones, and nested mappings are
//! merged key by key. Keys with a new name get it in each file before files are merged: one file may use the old name
//! and another the new one.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    diagnostic::{Diagnostic, Position, SourceFile},
    node::{Entry, Mapping, Node, Value},
};
use crate::base::built_in;

/// Maximum nesting of includes.
const MAX_DEPTH: usize = 16;
/// Maximum number of included files: files that include others twice multiply.
const MOST_FILES: usize = 1000;

/// A key that has a new name. The old name still works, with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    /// The mapping that has the key: keys separated by dots, `*` for any. Empty: the top level.
    pub within: &'static str,
    pub old: &'static str,
    /// Several keys: the value moves into nested mappings.
    pub new: &'static [&'static str],
}

impl Renamed {
    /// A key of the top level.
    pub const fn top(old: &'static str, new: &'static [&'static str]) -> Self {
        Self { within: "", old, new }
    }

    fn is_within(&self, path: &[String]) -> bool {
        let within: Vec<&str> = self.within.split('.').filter(|key| !key.is_empty()).collect();
        // The levels of a sweep take the place of the value.
        let mut keys: Vec<&str> = Vec::new();
        let mut all = path.iter().map(String::as_str);
        while let Some(key) = all.next() {
            match key {
                SWEEP => _ = all.next(),
                key => keys.push(key),
            }
        }
        within.len() == keys.len()
            && within.iter().zip(keys).all(|(known, key)| *known == "*" || *known == key)
    }
}

const SWEEP: &str = "sweep";
/// The name of a list item in a path.
const ITEM: &str = "[]";

/// Gives keys their new names, with a warning for each.
pub struct Renames<'a> {
    renamed: &'a [Renamed],
    pub warnings: Vec<String>,
}

impl<'a> Renames<'a> {
    pub fn new(renamed: &'a [Renamed]) -> Self {
        Self { renamed, warnings: Vec::new() }
    }

    /// Renames keys of `node`, which is at `path`, and below it.
    pub fn rename(&mut self, node: &mut Node, path: &[String]) -> Result<(), Diagnostic> {
        self.below(node, &mut path.to_vec())
    }

    fn below(&mut self, node: &mut Node, path: &mut Vec<String>) -> Result<(), Diagnostic> {
        match &mut node.value {
            Value::Sequence(items) => {
                path.push(ITEM.into());
                items.iter_mut().try_for_each(|item| self.below(item, path))?;
                path.pop();
            }
            Value::Mapping(_) => {
                let renamed = self.renamed.iter().filter(|of| of.is_within(path));
                renamed.copied().try_for_each(|of| self.one(node, of))?;
                let Value::Mapping(mapping) = &mut node.value else { return Ok(()) };
                for (key, value) in mapping.values_mut() {
                    path.push(key.to_owned());
                    self.below(value, path)?;
                    path.pop();
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn one(
        &mut self,
        node: &mut Node,
        Renamed { old, new, .. }: Renamed,
    ) -> Result<(), Diagnostic> {
        let Value::Mapping(mapping) = &mut node.value else { return Ok(()) };
        let Some(entry) = mapping.get(old) else { return Ok(()) };
        let at = entry.key_at.clone();
        let name = new.join(".");
        let mut known = Some(&*mapping);
        for (depth, key) in new.iter().enumerate() {
            let entry = known.and_then(|of| of.get(key));
            if entry.is_some() && depth + 1 == new.len() {
                return Err(Diagnostic::at(&at, format!("both `{old}` and `{name}` are given"))
                    .help(format!("`{old}` is the old name of `{name}`; keep `{name}`")));
            }
            known = match entry.map(|entry| &entry.value.value) {
                Some(Value::Mapping(of)) => Some(of),
                _ => None,
            };
        }
        let warning =
            format!("{}:{}: the key `{old}` is deprecated; use `{name}`", at.file.name(), at.line);
        if !self.warnings.contains(&warning) {
            self.warnings.push(warning);
        }
        if let [new] = new {
            mapping.rename(old, new);
        } else if let Some(entry) = mapping.take(old) {
            node.put(new, entry.value, &at)?;
        }
        Ok(())
    }
}

/// A file with everything it includes and uses.
#[derive(Debug)]
pub struct Read {
    pub root: Node,
    /// All files read.
    pub files: Vec<Arc<SourceFile>>,
    /// One warning for each deprecated key of a file.
    pub warnings: Vec<String>,
}

/// Reads `path` with everything it includes and uses.
pub fn read(path: &Path, renamed: &[Renamed]) -> Result<Read, Diagnostic> {
    let renames = Renames::new(renamed);
    let mut reader = Reader { files: Vec::new(), renames, open: Vec::new(), brought: 0 };
    let root = reader.file(path, &mut Vec::new())?;
    Ok(Read { root, files: reader.files, warnings: reader.renames.warnings })
}

/// Inserts the files that `use:` names in a tree of the command line, which has the shape of an experiment file.
pub fn bring_in(mut node: Node, renamed: &[Renamed]) -> Result<Read, Diagnostic> {
    let mut renames = Renames::new(renamed);
    renames.rename(&mut node, &[])?;
    let mut reader = Reader { files: Vec::new(), renames, open: Vec::new(), brought: 0 };
    let root = reader.expand(node, false, &mut Vec::new())?;
    Ok(Read { root, files: reader.files, warnings: reader.renames.warnings })
}

struct Reader<'a> {
    files: Vec<Arc<SourceFile>>,
    renames: Renames<'a>,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    brought: usize,
}

impl Reader<'_> {
    /// Reads a file whose keys go into the mapping at `place`.
    fn file(&mut self, path: &Path, place: &mut Vec<String>) -> Result<Node, Diagnostic> {
        let built_in = built_in::path_of(path).and_then(|path| built_in::find(&path));
        let (mut node, file) = match built_in {
            Some(text) => {
                let file = Arc::new(SourceFile { path: path.to_owned(), text: text.to_owned() });
                (Node::parse(&file)?, file)
            }
            None => Node::read(path)?,
        };
        if !self.files.iter().any(|known| known.path == file.path) {
            self.files.push(file);
        }
        self.renames.rename(&mut node, place)?;
        self.open.push(path.to_owned());
        let node = self.expand(node, true, place);
        self.open.pop();
        node
    }

    fn expand(
        &mut self,
        mut node: Node,
        top: bool,
        place: &mut Vec<String>,
    ) -> Result<Node, Diagnostic> {
        match &mut node.value {
            Value::Sequence(items) => {
                for item in items {
                    place.push(ITEM.into());
                    *item = self.expand(item.clone(), false, place)?;
                    place.pop();
                }
            }
            Value::Mapping(mapping) => {
                for (key, value) in mapping.values_mut() {
                    place.push(key.to_owned());
                    *value = self.expand(value.clone(), false, place)?;
                    place.pop();
                }
                let brought = match mapping.take(if top { "include" } else { "use" }) {
                    Some(entry) => self.bring(&entry, place)?,
                    None => return Ok(node),
                };
                let mut merged = Mapping::default();
                for source in brought {
                    merge(&mut merged, source);
                }
                merge(&mut merged, std::mem::take(mapping));
                *mapping = merged;
            }
            _ => {}
        }
        Ok(node)
    }

    /// The mappings named by an `include:` or `use:` entry: one path or a list of paths.
    fn bring(
        &mut self,
        entry: &Entry,
        place: &mut Vec<String>,
    ) -> Result<Vec<Mapping>, Diagnostic> {
        let names = match &entry.value.value {
            Value::Sequence(names) => names.iter().collect(),
            _ => vec![&entry.value],
        };
        let mut brought = Vec::new();
        for name in names {
            let path = self.find(name.text(&entry.key)?, &name.at)?;
            if self.open.contains(&path) || self.open.len() >= MAX_DEPTH {
                return Err(Diagnostic::at(
                    &name.at,
                    format!("{} includes itself", path.display()),
                ));
            }
            self.brought += 1;
            if self.brought > MOST_FILES {
                return Err(Diagnostic::at(
                    &name.at,
                    format!("files are included more than {MOST_FILES} times, which is the limit"),
                ));
            }
            let node = self.file(&path, place)?;
            match node.value {
                Value::Mapping(mapping) => brought.push(mapping),
                _ => {
                    return Err(Diagnostic::at(
                        &name.at,
                        format!("{} holds {}", path.display(), node.found()),
                    )
                    .expected("a file with a mapping (`key: value` lines)"));
                }
            }
        }
        Ok(brought)
    }

    /// Looks in the directory of the file that names it, then in each parent directory, then among the built-in files.
    fn find(&self, name: &str, at: &Position) -> Result<PathBuf, Diagnostic> {
        let directory = at.file.path.parent().unwrap_or(Path::new(""));
        // A file name without a directory is in the working directory.
        let here = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let absolute = std::path::absolute(here).unwrap_or_else(|_| here.to_owned());
        let found = std::iter::once(directory)
            .chain(absolute.ancestors().skip(1))
            .map(|directory| directory.join(name))
            .find(|path| path.is_file())
            .map(|path| shown_from_here(path, directory));
        let built_in = || built_in::find(Path::new(name)).map(|_| built_in::shown(Path::new(name)));
        found.or_else(built_in).ok_or_else(|| {
            let error = Diagnostic::at(at, format!("there is no file `{name}`")).expected(format!(
                "a path relative to {} or to a directory above it",
                absolute.display()
            ));
            match name.strip_prefix("baselines/") {
                Some(wanted) => {
                    let names = built_in::in_directory("baselines").map(|(name, _)| name);
                    error.suggest(wanted, names)
                }
                None => error,
            }
        })
    }
}

/// A path below the working directory as a path from there, if the file that names it has such a path, too: messages, records and
/// reports then say the same on every machine.
fn shown_from_here(path: PathBuf, directory: &Path) -> PathBuf {
    if directory.is_absolute() {
        return path;
    }
    let here = std::env::current_dir().ok();
    match here.and_then(|here| path.strip_prefix(here).ok().map(Path::to_owned)) {
        Some(relative) => relative,
        None => path,
    }
}

/// Merges `over` into `base`; mappings in both are merged, other values are replaced.
fn merge(base: &mut Mapping, over: Mapping) {
    for entry in over.entries() {
        let merged = match (base.get(&entry.key).map(|e| &e.value.value), &entry.value.value) {
            (Some(Value::Mapping(below)), Value::Mapping(above)) => {
                let mut below = below.clone();
                merge(&mut below, above.clone());
                let value = Node { at: entry.value.at.clone(), value: Value::Mapping(below) };
                Entry { value, ..entry.clone() }
            }
            _ => entry.clone(),
        };
        base.set(merged);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in pairs {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        dir
    }

    fn yaml(node: &Node) -> String {
        serde_yaml::to_string(&node.to_yaml()).unwrap()
    }

    #[test]
    fn the_using_mapping_wins_and_nested_mappings_merge() {
        let dir = files(&[
            ("x/main.yaml", "a: {use: base.yaml, one: 10, deep: {p: 1}}\n"),
            ("base.yaml", "one: 1\ntwo: 2\ndeep: {p: 0, q: 0}\n"),
        ]);
        let Read { root, files, .. } = read(&dir.path().join("x/main.yaml"), &[]).unwrap();
        assert_eq!(yaml(&root), "a:\n  one: 10\n  two: 2\n  deep:\n    p: 1\n    q: 0\n");
        assert_eq!(files.len(), 2);
    }

    #[test]
    fn a_missing_file_is_an_error_at_its_name() {
        let dir = files(&[("main.yaml", "a:\n  use: gone.yaml\n")]);
        let error = read(&dir.path().join("main.yaml"), &[]).unwrap_err();
        assert_eq!(error.position.as_ref().map(|p| (p.line, p.column)), Some((2, 8)));
    }

    #[test]
    fn files_that_include_each_other_are_an_error() {
        let dir = files(&[("a.yaml", "include: b.yaml\n"), ("b.yaml", "include: a.yaml\n")]);
        let error = read(&dir.path().join("a.yaml"), &[]).unwrap_err();
        assert!(error.message.contains("includes itself"), "{error}");
    }

    const RENAMED: [Renamed; 2] = [
        Renamed::top("old", &["new"]),
        Renamed { within: "systems.*", old: "dim", new: &["deep", "factors"] },
    ];

    #[test]
    fn nested_keys_are_renamed_in_used_files_and_in_sweeps() {
        let dir = files(&[
            (
                "main.yaml",
                "dim: 1\nsystems:\n  a: {use: base.yaml, deep: {factors: 2}}\n  b: {sweep: {x: {dim: 3}, y: {use: base.yaml}}}\n  c: {x: {dim: 4}}\n",
            ),
            ("base.yaml", "dim: 64\ndeep: {other: 1}\n"),
        ]);
        let read = read(&dir.path().join("main.yaml"), &RENAMED).unwrap();
        assert_eq!(
            serde_json::to_string(&read.root.to_yaml()).unwrap(),
            r#"{"dim":1,"systems":{"a":{"deep":{"other":1,"factors":2}},"b":{"sweep":{"x":{"deep":{"factors":3}},"y":{"deep":{"other":1,"factors":64}}}},"c":{"x":{"dim":4}}}}"#
        );
        assert_eq!(read.warnings.len(), 2, "{:?}", read.warnings);
        assert!(
            read.warnings[0]
                .ends_with("main.yaml:4: the key `dim` is deprecated; use `deep.factors`")
        );
    }

    #[test]
    fn a_renamed_key_is_merged_under_its_new_name_with_one_warning_for_each_file() {
        let dir = files(&[
            ("main.yaml", "include: base.yaml\nnew: {a: 2}\nold_too: 1\n"),
            ("base.yaml", "old: {a: 1, b: {use: used.yaml}}\n"),
            ("used.yaml", "old: 3\n"),
        ]);
        let read = read(&dir.path().join("main.yaml"), &RENAMED).unwrap();
        // Files of `use:` have their own keys.
        assert_eq!(yaml(&read.root), "new:\n  a: 2\n  b:\n    old: 3\nold_too: 1\n");
        let base = dir.path().join("base.yaml");
        let expected = format!("{}:1: the key `old` is deprecated; use `new`", base.display());
        assert_eq!(read.warnings, [expected]);
    }

    #[test]
    fn an_old_and_a_new_name_in_one_file_are_an_error() {
        let dir = files(&[("main.yaml", "new: 1\nold: 2\n")]);
        let error = read(&dir.path().join("main.yaml"), &RENAMED).unwrap_err();
        assert!(error.message.contains("both `old` and `new`"), "{error}");
        assert_eq!(error.position.as_ref().map(|p| (p.line, p.column)), Some((2, 1)));
    }
}

//! `include:` at the top of an experiment file and `use:` in any mapping.
//!
//! Both insert a mapping from another file. Keys beside them override the inserted ones, and nested mappings are
//! merged key by key.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    diagnostic::{Diagnostic, Position, SourceFile},
    node::{Entry, Mapping, Node, Value},
};

/// How deep includes may be nested: more is a mistake.
const MAX_DEPTH: usize = 16;
/// How often files may be brought in, all in all: files that bring in others twice multiply.
const MOST_FILES: usize = 1000;

/// A key of the top level that has a new name. The old name still works, with a warning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Renamed {
    pub old: &'static str,
    pub new: &'static str,
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

/// Reads `path` with everything it includes and uses. Keys in `renamed` get their new names in `path` and in the
/// files it includes, before the files are merged: one file may use the old name and another the new one.
pub fn read(path: &Path, renamed: &[Renamed]) -> Result<Read, Diagnostic> {
    let mut reader =
        Reader { files: Vec::new(), warnings: Vec::new(), open: Vec::new(), brought: 0, renamed };
    let root = reader.file(path, true)?;
    Ok(Read { root, files: reader.files, warnings: reader.warnings })
}

struct Reader<'a> {
    files: Vec<Arc<SourceFile>>,
    warnings: Vec<String>,
    renamed: &'a [Renamed],
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    brought: usize,
}

impl Reader<'_> {
    /// Reads a file. `is_part`: it is the first file or one that is included, not one that `use:` names.
    fn file(&mut self, path: &Path, is_part: bool) -> Result<Node, Diagnostic> {
        let (mut node, file) = Node::read(path)?;
        if !self.files.iter().any(|known| known.path == file.path) {
            self.files.push(file);
        }
        if let (true, Value::Mapping(mapping)) = (is_part, &mut node.value) {
            self.rename(mapping)?;
        }
        self.open.push(path.to_owned());
        let node = self.expand(node, true, is_part);
        self.open.pop();
        node
    }

    fn rename(&mut self, mapping: &mut Mapping) -> Result<(), Diagnostic> {
        for Renamed { old, new } in self.renamed {
            let Some(entry) = mapping.get(old) else { continue };
            let at = entry.key_at.clone();
            if mapping.get(new).is_some() {
                return Err(Diagnostic::at(&at, format!("both `{old}` and `{new}` are given"))
                    .help(format!("`{old}` is the old name of `{new}`; keep `{new}`")));
            }
            let warning = format!(
                "{}:{}: the key `{old}` is deprecated; use `{new}`",
                at.file.path.display(),
                at.line
            );
            if !self.warnings.contains(&warning) {
                self.warnings.push(warning);
            }
            mapping.rename(old, new);
        }
        Ok(())
    }

    fn expand(&mut self, mut node: Node, top: bool, is_part: bool) -> Result<Node, Diagnostic> {
        match &mut node.value {
            Value::Sequence(items) => {
                for item in items {
                    *item = self.expand(item.clone(), false, false)?;
                }
            }
            Value::Mapping(mapping) => {
                for (_, value) in mapping.values_mut() {
                    *value = self.expand(value.clone(), false, false)?;
                }
                let brought = match mapping.take(if top { "include" } else { "use" }) {
                    Some(entry) => self.bring(&entry, is_part)?,
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
    fn bring(&mut self, entry: &Entry, is_part: bool) -> Result<Vec<Mapping>, Diagnostic> {
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
            let node = self.file(&path, is_part && entry.key == "include")?;
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

    /// Looks beside the file that names it, then in each directory above.
    fn find(&self, name: &str, at: &Position) -> Result<PathBuf, Diagnostic> {
        let directory = at.file.path.parent().unwrap_or(Path::new(""));
        let absolute = std::path::absolute(directory).unwrap_or_else(|_| directory.to_owned());
        let found = std::iter::once(directory)
            .chain(absolute.ancestors().skip(1))
            .map(|directory| directory.join(name))
            .find(|path| path.is_file());
        found.ok_or_else(|| {
            Diagnostic::at(at, format!("there is no file `{name}`")).expected(format!(
                "a path relative to {} or to a directory above it",
                absolute.display()
            ))
        })
    }
}

/// Puts `over` on top of `base`; mappings in both are merged, anything else is replaced.
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
    fn a_missing_file_is_an_error_where_it_is_named() {
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

    const RENAMED: [Renamed; 1] = [Renamed { old: "old", new: "new" }];

    #[test]
    fn a_renamed_key_is_merged_under_its_new_name_with_one_warning_for_each_file() {
        let dir = files(&[
            ("main.yaml", "include: base.yaml\nnew: {a: 2}\nold_too: 1\n"),
            ("base.yaml", "old: {a: 1, b: {use: used.yaml}}\n"),
            ("used.yaml", "old: 3\n"),
        ]);
        let read = read(&dir.path().join("main.yaml"), &RENAMED).unwrap();
        // Files that `use:` brings in have keys of their own.
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

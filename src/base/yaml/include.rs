//! `include:` at the top of an experiment file and `use:` in any mapping.
//!
//! Both bring a mapping in from another file; keys beside them win over what is brought in,
//! and mappings are merged key by key.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    diagnostic::{Diagnostic, Position, SourceFile},
    node::{Entry, Mapping, Node, Value},
};

/// How deep files may bring in files: more is a mistake.
const MAX_DEPTH: usize = 16;
/// How often files may be brought in, all in all: files that bring in others twice multiply.
const MOST_FILES: usize = 1000;

/// Reads `path` with everything it includes and uses; returns the tree and all files read.
pub fn read(path: &Path) -> Result<(Node, Vec<Arc<SourceFile>>), Diagnostic> {
    let mut files = Vec::new();
    let node = Reader { files: &mut files, open: Vec::new(), brought: 0 }.file(path)?;
    Ok((node, files))
}

struct Reader<'a> {
    files: &'a mut Vec<Arc<SourceFile>>,
    /// The files being read, outermost first.
    open: Vec<PathBuf>,
    brought: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path) -> Result<Node, Diagnostic> {
        let (node, file) = Node::read(path)?;
        if !self.files.iter().any(|known| known.path == file.path) {
            self.files.push(file);
        }
        self.open.push(path.to_owned());
        let node = self.expand(node, true);
        self.open.pop();
        node
    }

    fn expand(&mut self, mut node: Node, top: bool) -> Result<Node, Diagnostic> {
        match &mut node.value {
            Value::Sequence(items) => {
                for item in items {
                    *item = self.expand(item.clone(), false)?;
                }
            }
            Value::Mapping(mapping) => {
                for (_, value) in mapping.values_mut() {
                    *value = self.expand(value.clone(), false)?;
                }
                let brought = match mapping.take(if top { "include" } else { "use" }) {
                    Some(entry) => self.bring(&entry)?,
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
    fn bring(&mut self, entry: &Entry) -> Result<Vec<Mapping>, Diagnostic> {
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
                    format!("{} brings itself in again", path.display()),
                ));
            }
            self.brought += 1;
            if self.brought > MOST_FILES {
                return Err(Diagnostic::at(
                    &name.at,
                    format!("files are brought in more than {MOST_FILES} times, the limit"),
                ));
            }
            let node = self.file(&path)?;
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
        let (node, sources) = read(&dir.path().join("x/main.yaml")).unwrap();
        assert_eq!(yaml(&node), "a:\n  one: 10\n  two: 2\n  deep:\n    p: 1\n    q: 0\n");
        assert_eq!(sources.len(), 2);
    }

    #[test]
    fn a_missing_file_is_an_error_where_it_is_named() {
        let dir = files(&[("main.yaml", "a:\n  use: gone.yaml\n")]);
        let error = read(&dir.path().join("main.yaml")).unwrap_err();
        assert_eq!(error.position.as_ref().map(|p| (p.line, p.column)), Some((2, 8)));
    }

    #[test]
    fn files_that_include_each_other_are_an_error() {
        let dir = files(&[("a.yaml", "include: b.yaml\n"), ("b.yaml", "include: a.yaml\n")]);
        let error = read(&dir.path().join("a.yaml")).unwrap_err();
        assert!(error.message.contains("brings itself in again"), "{error}");
    }
}

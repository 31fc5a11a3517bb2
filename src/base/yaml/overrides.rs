//! Values of the command line that replace values of an experiment file: `systems.als.factors=128`.

use std::{path::Path, sync::Arc};

use super::{
    diagnostic::{Diagnostic, Position, SourceFile},
    include::{self, Read, Renamed},
    node::{Entry, Mapping, Node, Value},
};

/// A value, and the path of keys at which it is set.
#[derive(Clone, Debug)]
pub struct Override {
    /// Keys separated by dots. A key may contain dots itself: what a path means depends on the file.
    path: String,
    at: Position,
    value: Node,
}

impl Override {
    /// Reads `PATH=VALUE`; the value is YAML. Paths of files in it are relative to `directory`.
    pub fn parse(text: &str, directory: &Path) -> Result<Self, Diagnostic> {
        let file = Arc::new(SourceFile::of_command_line(directory, text));
        let place = |width: usize| Position { file: file.clone(), line: 1, column: 1, width };
        let Some((path, value)) = text.split_once('=') else {
            return Err(Diagnostic::at(&place(text.chars().count()), "this has no value")
                .expected("a path of keys and a value: `systems.als.factors=128`"));
        };
        let at = place(path.chars().count().max(1));
        if path.split('.').any(|key| key.trim().is_empty()) {
            return Err(Diagnostic::at(&at, "a key of the path is empty")
                .expected("keys separated by dots: `systems.als.factors=128`"));
        }
        // Blanks instead of the path, so that positions refer to the whole text.
        let blank = " ".repeat(path.chars().count() + 1);
        let value = Node::parse_part(&file, &format!("{blank}{value}"))?;
        Ok(Self { path: path.to_owned(), at, value })
    }
}

/// The values that were set.
#[derive(Default)]
pub struct Applied {
    /// `path=value` with the value as JSON and the path as the file spells it.
    pub set: Vec<String>,
    /// Files that values use.
    pub files: Vec<Arc<SourceFile>>,
    /// Deprecated keys.
    pub warnings: Vec<String>,
}

/// Sets all values in their order. `named` are keys of the root whose mappings have names as keys: an override can change
/// the value of a name there, but not add a name.
pub fn apply(
    root: &mut Node,
    overrides: &[Override],
    named: &[&str],
    renamed: &[Renamed],
) -> Result<Applied, Diagnostic> {
    let mut set: Vec<(Vec<String>, String)> = Vec::new();
    let mut applied = Applied::default();
    for of in overrides {
        let mut path = resolve(root, of, named)?;
        // As in a file: old names are replaced before values are merged into those of the file.
        let Read { root: layer, files, warnings } = include::bring_in(nested(&path, of), renamed)?;
        if at_path(&layer, &path).is_none() {
            path = path_of(&layer, path.len());
        }
        applied.files.extend(files);
        applied.warnings.extend(warnings);
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        let value = at_path(&layer, &path).cloned().unwrap_or_else(|| of.value.clone());
        root.put(&keys, value, &of.at)?;
        let json = serde_json::to_string(&of.value.to_yaml()).unwrap_or_default();
        set.retain(|(known, _)| *known != path);
        set.push((path, json));
    }
    applied.set =
        set.into_iter().map(|(path, json)| format!("{}={json}", path.join("."))).collect();
    Ok(applied)
}

/// The keys of a path. At each mapping the longest key that the path begins with is taken.
fn resolve(root: &Node, of: &Override, named: &[&str]) -> Result<Vec<String>, Diagnostic> {
    let mut keys: Vec<String> = Vec::new();
    let mut rest = of.path.as_str();
    let mut here = Some(root);
    while !rest.is_empty() {
        let mapping = match here.map(|node| &node.value) {
            Some(Value::Mapping(mapping)) => Some(mapping),
            _ => None,
        };
        let is_named = keys.len() == 1 && named.contains(&keys[0].as_str());
        let starts = |key: &str| {
            rest.strip_prefix(key).is_some_and(|more| more.is_empty() || more.starts_with('.'))
        };
        let known = mapping.and_then(|mapping| {
            mapping.keys().filter(|key| starts(key)).max_by_key(|key| key.len())
        });
        let (key, length) = match (known, mapping) {
            (Some(key), _) => (key.to_owned(), key.len()),
            (None, mapping) => {
                let first = rest.split('.').next().unwrap_or(rest);
                let key = match (is_named, mapping) {
                    (true, Some(mapping)) => by_file(mapping, first, &keys[0], &of.at)?,
                    (true, None) => {
                        return Err(Diagnostic::at(
                            &of.at,
                            format!("the experiment has no `{}`", keys[0]),
                        ));
                    }
                    (false, _) => first.to_owned(),
                };
                (key, first.len())
            }
        };
        here = mapping.and_then(|mapping| mapping.get(&key)).map(|entry| &entry.value);
        keys.push(key);
        rest = rest[length..].trim_start_matches('.');
    }
    Ok(keys)
}

/// The name whose keys come from the file `stem` (`use: baselines/als.yaml`).
fn by_file(mapping: &Mapping, stem: &str, what: &str, at: &Position) -> Result<String, Diagnostic> {
    let uses = |entry: &&Entry| match &entry.value.value {
        Value::Mapping(of) => of.entries().iter().any(|key| {
            let path = &key.key_at.file.path;
            *path != entry.key_at.file.path && path.file_stem().is_some_and(|of| of == stem)
        }),
        _ => false,
    };
    let found: Vec<&Entry> = mapping.entries().iter().filter(uses).collect();
    let names = |of: &[&Entry]| of.iter().map(|of| of.key.clone()).collect::<Vec<_>>().join(", ");
    match &found[..] {
        [one] => Ok(one.key.clone()),
        [] => {
            let all: Vec<&Entry> = mapping.entries().iter().collect();
            Err(Diagnostic::at(at, format!("`{what}` has no `{stem}`"))
                .expected(format!("one of {}", names(&all)))
                .suggest(stem, mapping.keys()))
        }
        several => Err(Diagnostic::at(at, format!("several of `{what}` use a file `{stem}`"))
            .expected(format!("one of {}", names(several)))),
    }
}

/// A tree that contains only the value.
fn nested(path: &[String], of: &Override) -> Node {
    let mut node = of.value.clone();
    for key in path.iter().rev() {
        let mut mapping = Mapping::default();
        mapping.set(Entry { key: key.clone(), key_at: of.at.clone(), value: node });
        node = Node { at: of.at.clone(), value: Value::Mapping(mapping) };
    }
    node
}

/// The path of the only key of each level, at most two levels deeper than it was: a new name may be a path.
fn path_of(layer: &Node, length: usize) -> Vec<String> {
    let mut path = Vec::new();
    let mut here = layer;
    while path.len() < length + 1
        && let Value::Mapping(mapping) = &here.value
        && let [entry] = mapping.entries()
        && entry.key_at.file.name() == super::diagnostic::COMMAND_LINE
        && entry.key_at.column == 1
    {
        path.push(entry.key.clone());
        here = &entry.value;
    }
    path
}

fn at_path<'a>(node: &'a Node, path: &[String]) -> Option<&'a Node> {
    path.iter().try_fold(node, |node, key| match &node.value {
        Value::Mapping(mapping) => mapping.get(key).map(|entry| &entry.value),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "data: {set: a}\nsystems:\n  als.v2: {model: als, factors: 3}\n  x: {model: x}\nother: 1\n";

    fn set(texts: &[&str]) -> Result<(String, Vec<String>), Diagnostic> {
        let file = Arc::new(SourceFile { path: "x.yaml".into(), text: FILE.into() });
        let mut root = Node::parse(&file)?;
        let parse = |text: &&str| Override::parse(text, Path::new(""));
        let overrides = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        let set = apply(&mut root, &overrides, &["systems"], &[])?.set;
        Ok((serde_json::to_string(&root.to_yaml()).unwrap(), set))
    }

    #[test]
    fn values_are_yaml_and_keys_may_contain_dots() {
        let (yaml, set) = set(&[
            "systems.als.v2.factors=128",
            "systems.x.training.epochs={sweep: [1, 2]}",
            "seeds=[1, 2]",
            "other=a=b",
            "other=yes please",
        ])
        .unwrap();
        assert_eq!(
            yaml,
            r#"{"data":{"set":"a"},"systems":{"als.v2":{"model":"als","factors":128},"x":{"model":"x","training":{"epochs":{"sweep":[1,2]}}}},"other":"yes please","seeds":[1,2]}"#
        );
        assert_eq!(
            set,
            [
                "systems.als.v2.factors=128",
                r#"systems.x.training.epochs={"sweep":[1,2]}"#,
                "seeds=[1,2]",
                r#"other="yes please""#,
            ]
        );
    }

    #[test]
    fn values_may_use_files_and_old_names() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("base.yaml"), "model: als\nold: 5\n").unwrap();
        let file = Arc::new(SourceFile { path: dir.path().join("x.yaml"), text: FILE.into() });
        let mut root = Node::parse(&file).unwrap();
        let renamed = [Renamed { within: "systems.*", old: "old", new: &["training", "epochs"] }];
        let texts = ["systems.x={use: base.yaml, factors: 2}", "systems.als.old=7"];
        let parse = |text: &&str| Override::parse(text, dir.path()).unwrap();
        let overrides: Vec<Override> = texts[..1].iter().map(parse).collect();
        let applied = apply(&mut root, &overrides, &["systems"], &renamed).unwrap();
        assert_eq!((applied.files.len(), applied.warnings.len()), (1, 1));
        // `als` is the file's name of no system here, so the second is refused; `x` has the key under its new name.
        let overrides: Vec<Override> = texts[1..].iter().map(parse).collect();
        assert!(apply(&mut root, &overrides, &["systems"], &renamed).is_err());
        let overrides = [parse(&"systems.x.old=7")];
        let applied = apply(&mut root, &overrides, &["systems"], &renamed).unwrap();
        assert_eq!(applied.set, ["systems.x.training.epochs=7"]);
        let of = |path: &[&str]| {
            let path: Vec<String> = path.iter().map(|key| (*key).to_owned()).collect();
            at_path(&root, &path).unwrap().to_yaml()
        };
        assert_eq!(of(&["systems", "x", "training", "epochs"]), serde_yaml::Value::from(7));
        assert_eq!(of(&["systems", "x", "factors"]), serde_yaml::Value::from(2));
    }

    #[test]
    fn errors_point_at_the_text_of_the_command_line() {
        for (text, column, says) in [
            ("systems.y.factors=1", 1, "`systems` has no `y`"),
            ("systems.x", 1, "no value"),
            ("a..b=1", 1, "empty"),
            ("other.deep=1", 1, "cannot set `deep` in the number `1`"),
        ] {
            let error = set(&[text]).unwrap_err();
            assert!(error.message.contains(says), "{error}");
            let at = error.position.unwrap();
            assert_eq!((at.line, at.column, at.file.name()), (1, column, "--set".into()), "{text}");
        }
        let error = set(&["seeds=[1, 2"]).unwrap_err();
        assert!(error.to_string().contains("not valid YAML"), "{error}");
    }
}

//! `{sweep: …}` in place of any value: one variant for each level.
//!
//! `{sweep: [32, 64]}` names its levels by their values, `{sweep: {on: 2.0, off: 0.0}}` by its keys.

use std::collections::HashSet;

use super::{
    diagnostic::{Diagnostic, Position},
    node::{Entry, Node, Value},
};
use crate::base::limits;

/// Which level each swept field has, in the order of the file.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Levels(pub Vec<(String, String)>);

impl Levels {
    /// `[factors=32,alpha=on]`, or empty without sweeps.
    pub fn label(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let parts: Vec<String> =
            self.0.iter().map(|(field, level)| format!("{field}={level}")).collect();
        format!("[{}]", parts.join(","))
    }
}

/// The position of the first sweep at `node` or below it.
pub fn first(node: &Node) -> Option<&Position> {
    let Value::Mapping(mapping) = &node.value else { return None };
    if mapping.get("sweep").is_some() {
        return Some(&node.at);
    }
    mapping.entries().iter().find_map(|entry| first(&entry.value))
}

/// All combinations of the levels of all sweeps below `node`; `skip` names keys of the top mapping that are not expanded.
/// The last sweep of the file changes fastest.
pub fn expand(node: &Node, skip: &[&str]) -> Result<Vec<(Levels, Node)>, Diagnostic> {
    let mut sweeps = Vec::new();
    find(node, &mut Vec::new(), skip, &mut sweeps)?;
    for sweep in &mut sweeps {
        sweep.field = sweep.path.last().cloned().unwrap_or_default();
    }
    // Two sweeps of fields with the same name are distinguished by their full paths.
    let short: Vec<String> = sweeps.iter().map(|sweep| sweep.field.clone()).collect();
    for sweep in &mut sweeps {
        if short.iter().filter(|field| **field == sweep.field).count() > 1 {
            sweep.field = sweep.path.join(".");
        }
    }
    // Before anything is expanded: three sweeps of 1,000 levels would fill the memory.
    let count =
        sweeps.iter().try_fold(1usize, |count, sweep| count.checked_mul(sweep.levels.len()));
    if count.is_none_or(|count| count > limits::most_trials()) {
        return Err(
            Diagnostic::at(&sweeps[0].at, limits::too_many_trials(count)).help(limits::MORE_TRIALS)
        );
    }
    // Variants contain no levels.
    let mut bare = node.clone();
    let nothing = Node { at: node.at.clone(), value: Value::Null };
    for sweep in &sweeps {
        put(&mut bare, &sweep.path, &nothing);
    }
    let mut variants = vec![(Levels::default(), bare)];
    for sweep in &sweeps {
        let mut next = Vec::with_capacity(variants.len() * sweep.levels.len());
        for (levels, variant) in &variants {
            for (name, value) in &sweep.levels {
                let mut levels = levels.clone();
                levels.0.push((sweep.field.clone(), name.clone()));
                let mut variant = variant.clone();
                put(&mut variant, &sweep.path, value);
                next.push((levels, variant));
            }
        }
        variants = next;
    }
    Ok(variants)
}

struct Sweep {
    path: Vec<String>,
    field: String,
    levels: Vec<(String, Node)>,
    at: Position,
}

fn find(
    node: &Node,
    path: &mut Vec<String>,
    skip: &[&str],
    sweeps: &mut Vec<Sweep>,
) -> Result<(), Diagnostic> {
    let Value::Mapping(mapping) = &node.value else { return Ok(()) };
    if let Some(entry) = mapping.get("sweep") {
        if let Some(other) = mapping.entries().iter().find(|other| other.key != "sweep") {
            return Err(Diagnostic::at(
                &other.key_at,
                format!("`{}` is given beside `sweep`", other.key),
            )
            .expected("`sweep` as the only key of its mapping: `{sweep: [first, second]}`"));
        }
        sweeps.push(Sweep {
            path: path.clone(),
            field: String::new(),
            levels: levels(entry)?,
            at: node.at.clone(),
        });
        return Ok(());
    }
    for entry in mapping.entries() {
        if path.is_empty() && skip.contains(&entry.key.as_str()) {
            continue;
        }
        path.push(entry.key.clone());
        find(&entry.value, path, skip, sweeps)?;
        path.pop();
    }
    Ok(())
}

fn levels(entry: &Entry) -> Result<Vec<(String, Node)>, Diagnostic> {
    let levels: Vec<(String, Node)> = match &entry.value.value {
        Value::Sequence(items) => {
            items.iter().map(|item| (level_name(item), item.clone())).collect()
        }
        Value::Mapping(mapping) => {
            mapping.entries().iter().map(|e| (e.key.clone(), e.value.clone())).collect()
        }
        _ => Vec::new(),
    };
    if levels.is_empty() {
        return Err(Diagnostic::at(
            &entry.value.at,
            format!("`sweep`: found {}", entry.value.found()),
        )
        .expected("a list of values, or a mapping from level names to values"));
    }
    let mut taken = HashSet::new();
    for (name, node) in &levels {
        if name.contains(['\n', '\t']) {
            return Err(Diagnostic::at(&node.at, "this level's name has a line break in it")
                .help("name the levels: `{sweep: {first: …, second: …}}`"));
        }
        if !taken.insert(name) {
            return Err(Diagnostic::at(&node.at, format!("the level `{name}` is given twice")));
        }
    }
    Ok(levels)
}

fn level_name(node: &Node) -> String {
    match &node.value {
        Value::Null => "none".into(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => value.clone(),
        Value::Sequence(items) => items.iter().map(level_name).collect::<Vec<_>>().join("+"),
        Value::Mapping(mapping) => mapping
            .entries()
            .iter()
            .map(|entry| format!("{}:{}", entry.key, level_name(&entry.value)))
            .collect::<Vec<_>>()
            .join("+"),
    }
}

fn put(node: &mut Node, path: &[String], value: &Node) {
    let Some((first, rest)) = path.split_first() else {
        *node = value.clone();
        return;
    };
    if let Value::Mapping(mapping) = &mut node.value {
        for (key, child) in mapping.values_mut() {
            if key == first {
                put(child, rest, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::base::yaml::diagnostic::SourceFile;

    fn labels(text: &str) -> Result<Vec<String>, Diagnostic> {
        let file = Arc::new(SourceFile { path: "x.yaml".into(), text: text.into() });
        let variants = expand(&Node::parse(&file)?, &["systems"])?;
        Ok(variants
            .into_iter()
            .map(|(levels, node)| {
                format!("{} {}", levels.label(), serde_json::to_string(&node.to_yaml()).unwrap())
            })
            .collect())
    }

    #[test]
    fn all_combinations_are_expanded_with_the_last_sweep_fastest() {
        let found = labels("a: {sweep: [1, 2]}\nb: {c: {sweep: {on: 2.5, off: 0}}}").unwrap();
        assert_eq!(
            found,
            [
                r#"[a=1,c=on] {"a":1,"b":{"c":2.5}}"#,
                r#"[a=1,c=off] {"a":1,"b":{"c":0}}"#,
                r#"[a=2,c=on] {"a":2,"b":{"c":2.5}}"#,
                r#"[a=2,c=off] {"a":2,"b":{"c":0}}"#,
            ]
        );
    }

    #[test]
    fn more_combinations_than_the_limit_are_not_expanded() {
        let levels: Vec<String> = (0..1000).map(|level| level.to_string()).collect();
        let levels = levels.join(", ");
        let text = |n: usize| {
            let fields = (0..n).map(|at| format!("a{at}: {{sweep: [{levels}]}}\n"));
            fields.collect::<String>()
        };
        assert_eq!(labels(&text(1)).unwrap().len(), 1000);
        let error = labels(&text(3)).unwrap_err();
        assert!(error.message.contains("1000000000 trials, and at most 100000"), "{error:?}");
        assert!(labels(&text(10)).unwrap_err().message.contains("far more trials"));
    }

    #[test]
    fn a_document_without_sweeps_is_unchanged() {
        assert_eq!(labels("a: 1\nsystems: {x: {sweep: [1]}}").unwrap().len(), 1);
    }

    #[test]
    fn fields_with_the_same_name_are_distinguished_by_path() {
        let found = labels("a: {k: {sweep: [1, 2]}}\nb: {k: {sweep: [3]}}").unwrap();
        assert!(found[0].starts_with("[a.k=1,b.k=3]"), "{}", found[0]);
    }

    #[test]
    fn an_empty_sweep_is_an_error() {
        assert!(labels("a: {sweep: []}").is_err());
        assert!(labels("a: {sweep: [1, 1]}").unwrap_err().message.contains("twice"));
    }
}

//! Metrics of experiment files, as papers write them: `metrics: [nDCG@10, HR@10]`.

use crate::{
    base::yaml::{
        Diagnostic,
        node::{Entry, Mapping, Node, Value},
    },
    ranking::Spelling,
};

/// Gives metrics their own names, and `k` the cutoffs behind `@`. Returns what has to be said of them.
pub(in crate::tasks) fn spell_out(evaluate: &mut Node) -> Result<Vec<String>, Diagnostic> {
    let Value::Mapping(mapping) = &mut evaluate.value else { return Ok(Vec::new()) };
    rename(mapping, "metrics")
}

/// The same of the one metric of a search or a validation.
pub(in crate::tasks) fn spell_out_one(mapping: &mut Mapping) -> Result<Vec<String>, Diagnostic> {
    rename(mapping, "metric")
}

fn rename(mapping: &mut Mapping, key: &str) -> Result<Vec<String>, Diagnostic> {
    let Some(entry) = mapping.get(key) else { return Ok(Vec::new()) };
    let mut entry = entry.clone();
    let nodes: Vec<&mut Node> = match &mut entry.value.value {
        Value::Sequence(items) if key == "metrics" => items.iter_mut().collect(),
        _ => vec![&mut entry.value],
    };
    let (mut spelled, mut notes) = (Vec::new(), Vec::new());
    for node in nodes {
        // What is no text is an error of who reads the value.
        let Value::Text(text) = &node.value else { continue };
        let read: Spelling = text.parse().map_err(|message| Diagnostic::at(&node.at, message))?;
        if let Some(note) = &read.note {
            notes.push(format!("{}:{}: {note}", node.at.file.name(), node.at.line));
        }
        node.value = Value::Text(read.metric.name().into());
        spelled.push((node.at.clone(), read));
    }
    let given = mapping.get("k").map(|entry| cutoffs(&entry.value)).unwrap_or_default();
    for (at, of) in &spelled {
        Spelling::cutoffs([of], &given).map_err(|message| {
            Diagnostic::at(at, message)
                .help("every metric is computed at every cutoff of `k`: add it there, or leave it out here")
        })?;
    }
    let all = spelled.iter().map(|(_, of)| of);
    let found = Spelling::cutoffs(all, &given).unwrap_or_default();
    if given.is_empty() && mapping.get("k").is_none() && !found.is_empty() {
        let number = |k: &usize| Node {
            at: entry.value.at.clone(),
            value: Value::Integer(i64::try_from(*k).unwrap_or(i64::MAX)),
        };
        let value = match (key, &found[..]) {
            ("metrics", _) => Value::Sequence(found.iter().map(number).collect()),
            (_, found) => number(&found[0]).value,
        };
        mapping.set(Entry {
            key: "k".into(),
            key_at: entry.key_at.clone(),
            value: Node { at: entry.value.at.clone(), value },
        });
    }
    mapping.set(entry);
    Ok(notes)
}

/// Those of `k`; none where it is no number and no list of them, which is an error of who reads it.
fn cutoffs(k: &Node) -> Vec<usize> {
    let number = |node: &Node| match node.value {
        Value::Integer(k) => usize::try_from(k).ok(),
        _ => None,
    };
    match &k.value {
        Value::Sequence(items) => items.iter().filter_map(number).collect(),
        _ => number(k).into_iter().collect(),
    }
}

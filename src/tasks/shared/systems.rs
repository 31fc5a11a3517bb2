//! Systems and seeds in an experiment file.

use std::collections::BTreeSet;

use crate::{
    base::yaml::{
        de::from_node,
        diagnostic::{Diagnostic, Position},
        node::{Entry, Mapping, Node, Value},
        sweep,
    },
    ranking::Protocol,
};

/// The systems of an experiment file, one for each combination of the levels that are swept in it; `read` gets a name
/// and its settings.
pub(in crate::tasks) fn systems<S>(
    entry: &Entry,
    example: &str,
    mut read: impl FnMut(String, &Node) -> Result<S, Diagnostic>,
) -> Result<Vec<S>, Diagnostic> {
    let mapping = entry.value.mapping("systems")?;
    if mapping.entries().is_empty() {
        return Err(Diagnostic::at(&entry.value.at, "`systems` is empty")
            .expected(format!("at least one system: `{example}`")));
    }
    let mut systems = Vec::new();
    for entry in mapping.entries() {
        for (levels, node) in sweep::expand(&entry.value, &[])? {
            systems.push(read(format!("{}{}", entry.key, levels.label()), &node)?);
        }
    }
    Ok(systems)
}

/// Takes the description of a system.
pub(in crate::tasks) fn description(system: &mut Mapping) -> Result<String, Diagnostic> {
    match system.take("describe") {
        Some(entry) => Ok(entry.value.text("describe")?.trim().to_owned()),
        None => Ok(String::new()),
    }
}

/// Refuses the protocol `sampled` where a system, whose name is given, has lists without scores.
pub(in crate::tasks) fn needs_scores(
    protocols: &[Protocol],
    list: Option<&str>,
    evaluate: &Position,
    expected: &str,
) -> Result<(), Diagnostic> {
    match list.filter(|_| protocols.contains(&Protocol::Sampled)) {
        Some(name) => Err(Diagnostic::at(
            evaluate,
            format!(
                "the protocol `sampled` needs a score for every item, and the system `{name}` has rankings without \
                 scores"
            ),
        )
        .expected(expected)),
        None => Ok(()),
    }
}

/// The seeds of an experiment, by default 1.
pub(in crate::tasks) fn seeds(mapping: &Mapping) -> Result<Vec<u64>, Diagnostic> {
    let Some(entry) = mapping.get("seeds") else { return Ok(vec![1]) };
    if let Value::Integer(seed) = entry.value.value {
        // One seed to some, a number of seeds to others: either gives numbers.
        let several: Vec<String> = (1..=seed.clamp(2, 4)).map(|seed| seed.to_string()).collect();
        let more = if seed > 4 { ", …" } else { "" };
        return Err(Diagnostic::at(
            &entry.value.at,
            format!("`seeds: {seed}` may be the seed {seed} or a number of seeds"),
        )
        .help(format!(
            "write `seeds: [{seed}]` for one seed, or list them: `seeds: [{}{more}]`",
            several.join(", ")
        )));
    }
    let seeds: Vec<u64> = from_node(&entry.value)?;
    if seeds.is_empty() {
        return Err(Diagnostic::at(&entry.value.at, "`seeds` is empty")
            .expected("at least one whole number: `seeds: [1, 2, 3]`"));
    }
    let mut taken = BTreeSet::new();
    for seed in &seeds {
        if !taken.insert(seed) {
            return Err(Diagnostic::at(
                &entry.value.at,
                format!("the seed {seed} is given twice: one run would count as two"),
            ));
        }
    }
    Ok(seeds)
}

/// Refuses names that cannot be printed, and two systems with one name. A name comes with the label of its variant.
pub(in crate::tasks) fn check_system_names<'a>(
    names: impl Iterator<Item = (&'a str, &'a str)>,
    systems: &Entry,
) -> Result<(), Diagnostic> {
    let mut taken = BTreeSet::new();
    for (system, label) in names {
        if system.trim().is_empty() || system.chars().any(char::is_control) {
            return Err(Diagnostic::at(
                place_of(system, systems)?,
                "a system has no printable name",
            )
            .expected("a name of one line: `als: {model: als}`"));
        }
        let name = format!("{system}{label}");
        if taken.contains(&name) {
            let problem = format!(
                "two systems have the name `{name}` (including the levels of their sweeps): their results \
                 could not be distinguished"
            );
            return Err(Diagnostic::at(place_of(system, systems)?, problem)
                .expected("a unique name for each")
                .help("rename one of them, or a level: `{sweep: {low: 2, high: 3}}`"));
        }
        taken.insert(name);
    }
    Ok(())
}

/// The position of a system in the file.
pub(in crate::tasks) fn place_of<'a>(
    name: &str,
    systems: &'a Entry,
) -> Result<&'a Position, Diagnostic> {
    let entries = systems.value.mapping("systems")?.entries();
    let found = entries.iter().filter(|of| name.starts_with(&of.key)).max_by_key(|of| of.key.len());
    Ok(found.map_or(&systems.value.at, |of| &of.value.at))
}

//! Names of trials and folds as names of files.

use std::collections::{BTreeMap, BTreeSet};

use super::hash::Digest;

/// Longer names are cut: file systems take 255 bytes, and an ending is to come.
const MOST: usize = 120;

/// A name of a file for each name, without what file systems refuse. Different names get different
/// ones, also where upper and lower case are one; those that would be the same end in their hash.
pub fn file_names(names: &[String]) -> Vec<String> {
    let mapped: Vec<String> = names.iter().map(|name| plain(name)).collect();
    let mut named: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, mapped) in names.iter().zip(&mapped) {
        named.entry(mapped.to_lowercase()).or_default().insert(name);
    }
    let is_alone = |mapped: &str| named.get(&mapped.to_lowercase()).is_some_and(|of| of.len() == 1);
    let ending = |name: &str| Digest::of(name).short();
    names
        .iter()
        .zip(mapped.iter())
        .map(|(name, mapped)| match is_alone(mapped) && mapped.len() <= MOST {
            true => mapped.clone(),
            false => {
                let end = (0..=MOST).rev().find(|end| mapped.is_char_boundary(*end)).unwrap_or(0);
                format!("{}-{}", &mapped[..end.min(mapped.len())], ending(name))
            }
        })
        .collect()
}

fn plain(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_alphanumeric() || "-_.+=".contains(c) { c } else { '_' })
        .collect();
    // No `.` or `..`, and nothing that is hidden.
    match name.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> Vec<String> {
        file_names(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn names_that_differ_give_files_that_differ() {
        assert_eq!(of(&["als--u1--seed1", "als[k=2]"]), ["als--u1--seed1", "als_k=2_"]);
        let long = "x".repeat(300);
        let other = format!("{long}y");
        let all = [
            "a b",
            "a_b",
            "a/b",
            "A_B",
            "a b",
            "..",
            "../c",
            "",
            &long,
            &other,
            "é".repeat(90).leak(),
        ];
        let found = of(&all);
        assert_eq!(found[0], found[4], "one name, one file");
        let differ: BTreeSet<String> = found.iter().map(|name| name.to_lowercase()).collect();
        assert_eq!(differ.len(), all.len() - 1, "{found:?}");
        assert!(found.iter().all(|name| name.len() <= 140 && !name.contains('/')), "{found:?}");
        assert!(found.iter().all(|name| !name.starts_with('.')), "{found:?}");
    }
}

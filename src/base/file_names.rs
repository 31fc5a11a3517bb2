//! File names for untrusted names; paths are only made from such file names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Component, Path},
};

use super::hash::Digest;

/// Maximum length: file systems allow 255 bytes, and an extension is added.
const MOST: usize = 120;
/// Digits of the hash after a name that cannot be used unchanged.
const DIGITS: usize = 12;

/// A file name for each name. It is the name itself if that is plain: ASCII letters, digits and `-_.+=`, not too long, and
/// different from all other names even without case. Otherwise a hash of the name is appended. So different names have
/// different files, even on file systems that ignore case or normalise `é`.
pub fn file_names(names: &[String]) -> Vec<String> {
    let mut alike: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for name in names {
        alike.entry(name.to_lowercase()).or_default().insert(name);
    }
    let named = |name: &str, digits: usize| -> String {
        let plain = plain(name);
        let is_alone = alike.get(&name.to_lowercase()).is_none_or(|of| of.len() < 2);
        match plain == name
            && name.len() <= MOST
            && is_alone
            && digits == DIGITS
            && !looks_hashed(name)
        {
            true => plain,
            false => {
                format!(
                    "{}-{}",
                    &plain[..plain.len().min(MOST)],
                    &Digest::of(name).to_string()[..digits]
                )
            }
        }
    };
    let short: Vec<String> = names.iter().map(|name| named(name, DIGITS)).collect();
    // Collisions of twelve digits can be constructed; collisions of the whole hash cannot.
    let mut takes: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for (name, file) in names.iter().zip(&short) {
        takes.entry(file.to_lowercase()).or_default().insert(name);
    }
    let each = names.iter().zip(&short);
    each.map(|(name, file)| match takes[&file.to_lowercase()].len() {
        1 => file.clone(),
        _ => named(name, 64),
    })
    .collect()
}

/// The file name of a single name.
pub fn file_name(name: &str) -> String {
    file_names(&[name.to_owned()]).remove(0)
}

/// Whether a path in a file (a manifest, an archive) is relative and stays inside its directory.
pub fn stays_inside(path: &str) -> bool {
    let mut parts = Path::new(path).components().peekable();
    parts.peek().is_some()
        && parts.all(|part| matches!(part, Component::Normal(_)))
        && !path.contains(super::terminal::is_control)
        && !path.contains(['\n', '\t', '\\'])
}

/// Whether a plain name ends like a name with an appended hash.
fn looks_hashed(name: &str) -> bool {
    let Some((_, end)) = name.rsplit_once('-') else { return false };
    matches!(end.len(), DIGITS | 64) && end.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn plain(name: &str) -> String {
    let name: String = name
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || "-_.+=".contains(c) { c } else { '_' })
        .collect();
    // Not `.` or `..`, not hidden, and not like an option.
    match name.strip_prefix(['.', '-']) {
        Some(rest) => format!("_{rest}"),
        None if name.is_empty() => "_".into(),
        None => name,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(names: &[&str]) -> Vec<String> {
        file_names(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn plain_names_are_unchanged_and_others_end_in_a_hash() {
        assert_eq!(of(&["als--u1--seed1", "f1", "ml-1m.2"]), ["als--u1--seed1", "f1", "ml-1m.2"]);
        let long = "x".repeat(300);
        for name in
            ["a b", "../c", "..", "", ".x", "-rf", "/abs", "é", "a\u{1b}", &long, "a-0123456789ab"]
        {
            let file = file_name(name);
            assert_eq!(file.rsplit_once('-').unwrap().1, Digest::of(name).short(), "{name} {file}");
        }
        assert_eq!(of(&["Als"]), ["Als"]);
        assert!(of(&["Als", "als"]).iter().all(|name| looks_hashed(name)));
    }

    #[test]
    fn paths_outside_of_the_directory_are_detected() {
        for path in ["", ".", "..", "a/..", "../a", "/a", "a/../../b", "a\u{1b}", "a\nb", "a\\b"] {
            assert!(!stays_inside(path), "{path}");
        }
        assert!(stays_inside("ml-100k/u1.base") && stays_inside("a..b"));
    }

    fn names() -> impl Strategy<Value = Vec<String>> {
        let hostile = prop_oneof![
            "[aAbB/. _-]{0,4}",
            any::<String>(),
            "[aé\u{301}eE]{0,3}",
            "[a-b]{119,123}",
            // Names that look like names with a hash.
            "a_b".prop_map(|_| file_name("a b")),
            "x".prop_map(|_| file_name("é").to_uppercase()),
        ];
        prop::collection::vec(hostile, 0..12)
    }

    proptest! {
        #[test]
        fn names_to_files_are_injective_and_stay_inside(names in names()) {
            let files = file_names(&names);
            for (name, file) in names.iter().zip(&files) {
                prop_assert!(stays_inside(file), "{file:?}");
                prop_assert_eq!(Path::new(file).components().count(), 1);
                prop_assert!(file.len() <= 200 && !file.starts_with(['.', '-']), "{file:?}");
                prop_assert!(file.is_ascii());
                for (other, of) in names.iter().zip(&files) {
                    prop_assert_eq!(name == other, file.eq_ignore_ascii_case(of), "{:?} {:?}", name, other);
                }
            }
        }
    }
}

//! Names of people and machines, which an anonymous bundle must not have.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use super::content;
use crate::core::Machine;

/// Accounts that name nobody; as words they are in many texts.
const GENERIC: [&str; 13] = [
    "root", "user", "admin", "ubuntu", "debian", "runner", "docker", "vagrant", "guest", "nobody",
    "test", "ec2-user", "jovyan",
];
/// Shorter ones are found in compressed bytes by chance.
const SHORTEST_IN_BYTES: usize = 6;
/// What stands for a name.
const REMOVED: &str = "anonymous";

/// What is removed.
#[derive(Clone, Debug, Default)]
pub struct Names {
    /// Directories, the longest first: the whole path is replaced by the rest below.
    directories: Vec<String>,
    /// Words, with what each is.
    words: Vec<(String, &'static str)>,
    /// Addresses of repositories.
    remotes: Vec<String>,
}

impl Names {
    /// Those of this user and machine, of the machines `hosts`, and of the repository of `directory`. Words in `kept` are no
    /// names.
    pub fn find(hosts: &BTreeSet<String>, directory: &Path, kept: &[String]) -> Self {
        let mut names = Self::default();
        let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
        let mut words: Vec<(String, &'static str)> = Vec::new();
        words.extend(hosts.iter().map(|host| (host.clone(), "the name of a machine")));
        words.extend(sysinfo::System::host_name().map(|host| (host, "the name of a machine")));
        for name in ["USER", "LOGNAME", "USERNAME"] {
            words.extend(variable(name).map(|user| (user, "a user name")));
        }
        let mut directories: Vec<PathBuf> = Vec::new();
        if let Some(home) = variable("HOME").map(PathBuf::from) {
            let user = home.file_name().map(|name| name.to_string_lossy().into_owned());
            words.extend(user.map(|user| (user, "a user name")));
            directories.push(home);
        }
        directories.extend(env::current_dir().ok());
        directories.extend(std::path::absolute(directory).ok());
        let git = |args: &[&str]| -> Option<String> {
            let output = Command::new("git").arg("-C").arg(directory).args(args).output().ok()?;
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        if let Some(name) = git(&["config", "user.name"]) {
            let parts = name.split_whitespace().filter(|part| part.chars().count() > 2);
            words.extend(
                parts.map(|part| (part.to_owned(), "a part of the name in git's settings")),
            );
            words.push((name, "the name in git's settings"));
        }
        let address = git(&["config", "user.email"]);
        if let Some((account, _)) = address.as_deref().and_then(|of| of.split_once('@')) {
            words.push((account.to_owned(), "the account of the address in git's settings"));
        }
        let remotes = git(&["remote", "-v"]).unwrap_or_default();
        let remotes = remotes.lines().filter_map(|line| line.split_whitespace().nth(1));
        // Also without `.git`, and as `owner/repository`, however the address is written.
        let forms = remotes.flat_map(|remote| {
            let short = remote.trim_end_matches('/').trim_end_matches(".git");
            let mut parts = short.rsplit(['/', ':']);
            let pair = parts.next().zip(parts.next().filter(|owner| !owner.is_empty()));
            let pair = pair.map(|(repository, owner)| format!("{owner}/{repository}"));
            [Some(remote.to_owned()), Some(short.to_owned()), pair].into_iter().flatten()
        });
        names.remotes = forms.collect::<BTreeSet<_>>().into_iter().collect();
        names.remotes.sort_by_key(|of| std::cmp::Reverse(of.len()));
        let is_name = |(word, _): &(String, &'static str)| {
            word.chars().count() > 1
                && word != "localhost"
                && !GENERIC.contains(&word.to_lowercase().as_str())
                && !kept.iter().any(|of| of.eq_ignore_ascii_case(word))
        };
        words.retain(is_name);
        words.sort();
        words.dedup_by(|a, b| a.0 == b.0);
        // The longest first: one may be a part of another.
        words.sort_by_key(|(word, _)| std::cmp::Reverse(word.len()));
        names.words = words;
        let mut directories: Vec<String> = directories
            .iter()
            .map(|path| path.to_string_lossy().trim_end_matches('/').to_owned())
            .filter(|path| path.len() > 1)
            .collect();
        directories.sort_by_key(|path| std::cmp::Reverse(path.len()));
        directories.dedup();
        names.directories = directories;
        names
    }

    /// What is searched for, for a message.
    pub fn words(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(|(word, _)| word.as_str())
    }

    /// A text without names. What was removed is counted.
    pub fn clean(&self, text: &str, removed: &mut BTreeMap<String, usize>) -> String {
        let mut text = text.to_owned();
        let mut count = |what: &str, n: usize| {
            if n > 0 {
                *removed.entry(what.to_owned()).or_default() += n;
            }
        };
        for remote in &self.remotes {
            let places = words_at(&text, remote);
            count("addresses of repositories", places.len());
            for at in places.into_iter().rev() {
                text.replace_range(at..at + remote.len(), REMOVED);
            }
        }
        for directory in &self.directories {
            let (cleaned, n) = without_directory(&text, directory);
            count("absolute paths", n);
            text = cleaned;
        }
        let (cleaned, n) = without_paths(&text);
        count("absolute paths", n);
        let (cleaned, n) = without_addresses(&cleaned);
        count("e-mail addresses", n);
        text = cleaned;
        for (word, what) in &self.words {
            let places = words_at(&text, word);
            count(&format!("{what} in texts"), places.len());
            for at in places.into_iter().rev() {
                text.replace_range(at..at + word.len(), REMOVED);
            }
        }
        text
    }

    /// The same for every text of a value; names of fields stay.
    pub fn clean_value(&self, value: &mut Value, removed: &mut BTreeMap<String, usize>) {
        match value {
            Value::String(text) => *text = self.clean(text, removed),
            Value::Array(items) => items.iter_mut().for_each(|of| self.clean_value(of, removed)),
            Value::Object(fields) => {
                fields.values_mut().for_each(|of| self.clean_value(of, removed));
            }
            _ => {}
        }
    }

    /// A machine without its name, and without the revision, by which a public repository is found.
    pub fn clean_machine(&self, machine: &mut Machine, removed: &mut BTreeMap<String, usize>) {
        let mut count = |what: &str, is: bool| {
            if is {
                *removed.entry(what.to_owned()).or_default() += 1;
            }
        };
        count("names of machines in records", !machine.host.is_empty());
        count("revisions of repositories in records", machine.revision.is_some());
        machine.host = String::new();
        machine.revision = None;
    }

    /// The first name in a text, with what it is.
    pub fn found_in(&self, text: &str) -> Option<String> {
        let directories = self.directories.iter().find(|of| has_directory(text, of));
        let remotes = self.remotes.iter().find(|of| !words_at(text, of).is_empty());
        let word = self.words.iter().find(|(word, _)| !words_at(text, word).is_empty());
        directories
            .map(|of| format!("the directory {of}"))
            .or_else(|| remotes.map(|of| format!("the repository {of}")))
            .or_else(|| word.map(|(word, what)| format!("{what}, `{word}`,")))
            .or_else(|| {
                addresses(text)
                    .first()
                    .map(|at| format!("the e-mail address {}", &text[at.clone()]))
            })
    }

    /// An error if a file of the bundle has one of them in its name or content.
    pub fn check(&self, root: &Path, files: &[String]) -> Result<(), String> {
        let refused = |name: &str, found: String| {
            format!(
                "--anonymous: {found} is in {name} of the bundle, where it cannot be removed\n  = help: change it in the \
                 experiment and run it again; `--no-name WORD` says that a word is no name"
            )
        };
        for name in files {
            if let Some(found) = self.found_in(name) {
                return Err(refused(name, found));
            }
            let bytes = content(root, name).map_err(|error| error.to_string())?;
            let bytes = match name.ends_with(".gz") {
                true => {
                    let mut plain = Vec::new();
                    let read =
                        std::io::copy(&mut flate2::read::GzDecoder::new(&bytes[..]), &mut plain);
                    read.map_err(|error| format!("{name}: {error}"))?;
                    plain
                }
                false => bytes,
            };
            let found = match std::str::from_utf8(&bytes) {
                Ok(text) => self.found_in(text),
                Err(_) => self.found_in_bytes(&bytes),
            };
            if let Some(found) = found {
                return Err(refused(name, found));
            }
        }
        Ok(())
    }

    fn found_in_bytes(&self, bytes: &[u8]) -> Option<String> {
        let words = self.words.iter().map(|(word, _)| word);
        let mut all = words.chain(&self.directories).filter(|of| of.len() >= SHORTEST_IN_BYTES);
        let is_in = |of: &&String| bytes.windows(of.len()).any(|window| window == of.as_bytes());
        all.find(is_in).map(|of| format!("`{of}`"))
    }
}

/// From this length on a word is found in capitals, too. Shorter names (`May`, `Will`) are also other words.
const LONG_WORD: usize = 5;

/// Where a word is in a text, as a word of its own.
fn words_at(text: &str, word: &str) -> Vec<usize> {
    let is_part = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let (in_text, word) = match word.len() >= LONG_WORD {
        true => (text.to_ascii_lowercase(), word.to_ascii_lowercase()),
        false => (text.to_owned(), word.to_owned()),
    };
    let places = in_text.match_indices(&word).map(|(at, _)| at);
    places
        .filter(|at| {
            !is_part(text[..*at].chars().next_back())
                && !is_part(text[at + word.len()..].chars().next())
        })
        .collect()
}

fn has_directory(text: &str, directory: &str) -> bool {
    without_directory(text, directory).1 > 0
}

/// Paths below a directory become relative to it.
fn without_directory(text: &str, directory: &str) -> (String, usize) {
    let (mut out, mut rest, mut n) = (String::with_capacity(text.len()), text, 0);
    while let Some(at) = rest.find(directory) {
        let after = &rest[at + directory.len()..];
        // A full stop ends a sentence, or begins `.old`.
        let of_name = |c: char| c.is_alphanumeric() || "-_".contains(c);
        let goes_on = after.strip_prefix('.').unwrap_or(after).starts_with(of_name);
        let is_inside = rest[..at].ends_with(|c: char| c.is_alphanumeric() || "-_.~".contains(c));
        out.push_str(&rest[..at]);
        if goes_on || is_inside {
            out.push_str(directory);
            rest = after;
            continue;
        }
        n += 1;
        rest = match after.strip_prefix('/') {
            Some(below) if below.starts_with(is_of_path) => below,
            Some(below) => {
                out.push('.');
                below
            }
            None => {
                out.push('.');
                after
            }
        };
    }
    (out + rest, n)
}

fn is_of_path(c: char) -> bool {
    c.is_alphanumeric() || "-_.+@~%".contains(c)
}

/// Absolute paths of two parts or more become the names of their files.
fn without_paths(text: &str) -> (String, usize) {
    let (mut out, mut n, mut at) = (String::with_capacity(text.len()), 0, 0);
    while let Some(found) = text[at..].find('/') {
        let start = at + found;
        let before = text[..start].chars().next_back();
        // `file:/data/x` and `file:///data/x`, but no address.
        let of_scheme = text[..start].ends_with("file:") || !text[start..].starts_with("//");
        let begins = before.is_none_or(|c| {
            c.is_whitespace() || "\"'`(=[,{".contains(c) || (c == ':' && of_scheme)
        });
        let end = text[start..]
            .find(|c: char| c != '/' && !is_of_path(c))
            .map_or(text.len(), |length| start + length);
        let path = text[start..end].trim_end_matches('/');
        let parts = path.split('/').filter(|part| !part.is_empty()).count();
        if begins && parts > 1 {
            out.push_str(&text[at..start]);
            out.push_str(path.rsplit('/').next().unwrap_or_default());
            n += 1;
        } else {
            out.push_str(&text[at..end]);
        }
        at = end;
    }
    (out + &text[at..], n)
}

/// Where e-mail addresses are in a text: `a@b.org`, not `ndcg@10`.
fn addresses(text: &str) -> Vec<std::ops::Range<usize>> {
    let of_name = |c: char| c.is_ascii_alphanumeric() || "._%+-".contains(c);
    let of_host = |c: char| c.is_ascii_alphanumeric() || ".-".contains(c);
    let mut found = Vec::new();
    for (at, _) in text.match_indices('@') {
        let (before, after) = (&text[..at], &text[at + 1..]);
        let start = before.len() - before.chars().rev().take_while(|c| of_name(*c)).count();
        let host = &after[..after.chars().take_while(|c| of_host(*c)).count()];
        let host = host.trim_end_matches(['.', '-']);
        let end = host.rsplit_once('.').map_or("", |(_, end)| end);
        let is_host = end.len() >= 2 && end.bytes().all(|of| of.is_ascii_alphabetic());
        if start < at && is_host {
            found.push(start..at + 1 + host.len());
        }
    }
    found
}

fn without_addresses(text: &str) -> (String, usize) {
    let found = addresses(text);
    let mut text = text.to_owned();
    for place in found.iter().rev() {
        text.replace_range(place.clone(), REMOVED);
    }
    (text, found.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            directories: vec!["/people/alice/thesis".into(), "/people/alice".into()],
            words: vec![
                ("gpu-box".into(), "the name of a machine"),
                ("alice".into(), "a user name"),
            ],
            remotes: vec!["git@github.com:alice/paper.git".into(), "work/main".into()],
        }
    }

    fn clean(text: &str) -> String {
        names().clean(text, &mut BTreeMap::new())
    }

    #[test]
    fn names_paths_and_addresses_are_removed_and_nothing_else() {
        assert_eq!(clean("path: /people/alice/thesis/data/u1.csv"), "path: data/u1.csv");
        assert_eq!(clean("in /people/alice. Or /people/alice/"), "in .. Or .");
    }

    #[test]
    fn words_are_whole_words() {
        assert_eq!(clean("malice on gpu-box by alice-2"), "malice on anonymous by anonymous-2");
        assert_eq!(clean("ALICE's results"), "anonymous's results");
        assert_eq!(clean("a@b.org wrote ndcg@10 and x@1.0"), "anonymous wrote ndcg@10 and x@1.0");
        assert_eq!(clean("{path: '/data/lab/r.csv'}"), "{path: 'r.csv'}");
        assert_eq!(
            clean("https://x.org/a/b and/or full / standard"),
            "https://x.org/a/b and/or full / standard"
        );
        assert_eq!(clean("see work/main, network/mainly"), "see anonymous, network/mainly");
        assert_eq!(clean("file:/data/lab/r.csv file:///data/lab/r.csv"), "file:r.csv file:r.csv");
        assert_eq!(clean("from git@github.com:alice/paper.git"), "from anonymous");
        assert_eq!(clean("/people/alicette/x"), "x");
    }

    #[test]
    fn what_is_left_is_found() {
        for text in [
            "at /people/alice/x",
            "by alice",
            "me@lab.edu",
            "gpu-box",
            "git@github.com:alice/paper.git",
        ] {
            assert!(names().found_in(text).is_some(), "{text}");
            assert_eq!(names().found_in(&clean(text)), None, "{}", clean(text));
        }
        assert_eq!(names().found_in("malice /people/bob ndcg@10"), None);
        assert!(names().found_in_bytes(b"\x00\xff/people/alice\x00").is_some());
    }
}

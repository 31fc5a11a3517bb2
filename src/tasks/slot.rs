//! Under which name the results of an experiment file are kept: two files may name their experiments alike.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    base::{
        files::{FileError, read_json, write_json},
        hash::Digest,
    },
    core::Workspace,
};

/// Says which experiment file a directory of `experiments/` is of.
const OWNER: &str = "file.json";

/// The name of the directories of an experiment's records and reports: the name of the experiment, or that with a hash
/// if another file has the name.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    pub name: String,
    /// The file that has the plain name.
    pub other: Option<PathBuf>,
    owner: Owner,
}

/// An experiment file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Owner {
    /// Absolute.
    path: PathBuf,
    /// Of the texts of all files it consists of.
    content: Digest,
}

impl Owner {
    /// Whether it is the same experiment: the same file, or a copy of it. A file that is gone was moved or renamed.
    fn is(&self, other: &Self) -> bool {
        self.path == other.path || self.content == other.content || !self.path.exists()
    }
}

impl Slot {
    /// Where a workspace keeps the results of the experiment `name` in the file `path`.
    pub fn find(
        workspace: &Workspace,
        name: &str,
        path: &Path,
        sources: &[(String, String)],
    ) -> Self {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let texts: Vec<&str> = sources.iter().map(|(_, text)| text.as_str()).collect();
        let owner = Owner { content: Digest::of_json(&texts), path };
        let owner_of = |slot: &str| -> Option<Owner> {
            read_json(&workspace.path(&["experiments", slot, OWNER])).ok()
        };
        let hash = Digest::of_json(&(name, &owner.path)).to_string();
        let own = format!("{name}-{}", &hash[..8]);
        // Where it was kept before, it is kept, whatever became of the other file.
        let kept = owner_of(&own).is_some_and(|of| of.path == owner.path);
        match owner_of(name) {
            Some(of) if kept || !of.is(&owner) => Self { name: own, other: Some(of.path), owner },
            _ if kept => Self { name: own, other: None, owner },
            _ => Self { name: name.to_owned(), other: None, owner },
        }
    }

    /// Takes the name for this file.
    pub fn claim(&self, workspace: &Workspace) -> Result<(), FileError> {
        write_json(&workspace.path(&["experiments", &self.name, OWNER]), &self.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_with_one_name_are_told_apart_and_copies_are_not() {
        let place = tempfile::tempdir().unwrap();
        let workspace = Workspace::create(&place.path().join("ws")).unwrap();
        let file = |name: &str, text: &str| {
            let path = place.path().join(name);
            std::fs::write(&path, text).unwrap();
            let sources = [(name.to_owned(), text.to_owned())];
            Slot::find(&workspace, "x", &path, &sources)
        };
        let first = file("a.yaml", "one");
        assert_eq!((first.name.as_str(), &first.other), ("x", &None));
        first.claim(&workspace).unwrap();
        // Edited, or copied: the same.
        assert_eq!(file("a.yaml", "two").name, "x");
        assert_eq!(file("copy.yaml", "one").name, "x");
        let second = file("b.yaml", "other");
        assert!(second.name.starts_with("x-") && second.name.len() == 10, "{}", second.name);
        assert_eq!(second.other, Some(place.path().join("a.yaml")));
        second.claim(&workspace).unwrap();
        let third = file("c.yaml", "third");
        assert!(third.name != second.name && third.name != "x");
        // Once the first is gone its name is free, but what has a name keeps it.
        std::fs::remove_file(place.path().join("a.yaml")).unwrap();
        assert_eq!(file("b.yaml", "edited").name, second.name);
        assert_eq!(file("c.yaml", "third").name, "x");
    }
}

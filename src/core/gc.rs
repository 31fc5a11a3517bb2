//! Removal of unneeded files of a workspace, never of responses of language models.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::Workspace;
use crate::base::{
    files::{FileError, io_error},
    hash::Digest,
};

/// What to keep.
#[derive(Clone, Debug, Default)]
pub struct Kept {
    /// Keys of steps.
    pub steps: HashSet<Digest>,
    /// Names of experiments.
    pub experiments: HashSet<String>,
    /// Names of runs.
    pub runs: HashSet<String>,
}

/// Something that can be removed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Garbage {
    pub what: &'static str,
    pub path: PathBuf,
    pub bytes: u64,
}

impl Workspace {
    /// What the experiments in `kept` do not need. An error if another process uses the workspace.
    pub fn garbage(&self, kept: &Kept) -> Result<Vec<Garbage>, FileError> {
        let mut garbage = Vec::new();
        let keys: HashSet<String> = kept.steps.iter().map(ToString::to_string).collect();
        for lock in entries(&self.path(&["locks"])) {
            let Some(key) =
                name(&lock).and_then(|name| name.strip_suffix(".lock").map(str::to_owned))
            else {
                continue;
            };
            let is_held = Digest::try_from(key.clone()).is_ok_and(|key| self.is_held(&key));
            if is_held {
                return Err(FileError::Damaged {
                    path: lock,
                    problem: "another process uses this workspace; wait for it or stop it".into(),
                });
            }
            if !keys.contains(&key) {
                garbage.push(Garbage { what: "lock", bytes: size(&lock), path: lock });
            }
        }
        let mut unless = |what, path: PathBuf, is_kept: &dyn Fn(&str) -> bool| {
            if !name(&path).is_some_and(|name| is_kept(&name)) {
                garbage.push(Garbage { what, bytes: size(&path), path });
            }
        };
        for kind in entries(&self.path(&["steps"])) {
            for step in entries(&kind) {
                unless("step", step, &|name| keys.contains(name));
            }
        }
        for checkpoint in entries(&self.path(&["scratch"])) {
            unless("checkpoint", checkpoint, &|name| keys.contains(name));
        }
        for left in entries(&self.path(&["tmp"])) {
            unless("unfinished step", left, &|_| false);
        }
        for run in entries(&self.path(&["runs"])) {
            unless("run", run, &|name| kept.runs.contains(name));
        }
        for experiment in entries(&self.path(&["experiments"])) {
            unless("experiment", experiment, &|name| kept.experiments.contains(name));
        }
        garbage.sort_by(|a, b| (a.what, &a.path).cmp(&(b.what, &b.path)));
        Ok(garbage)
    }
}

impl Garbage {
    /// Removes it.
    pub fn remove(&self) -> Result<(), FileError> {
        let removed = match self.path.is_dir() {
            true => fs::remove_dir_all(&self.path),
            false => fs::remove_file(&self.path),
        };
        removed.map_err(io_error(&self.path))
    }
}

/// Entries of a directory; none if it is a link, which leads out of the workspace.
fn entries(dir: &Path) -> Vec<PathBuf> {
    if fs::symlink_metadata(dir).is_ok_and(|of| of.is_symlink()) {
        return Vec::new();
    }
    fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn name(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

fn size(path: &Path) -> u64 {
    match path.is_dir() {
        true => entries(path).iter().map(|entry| size(entry)).sum(),
        false => fs::symlink_metadata(path).map_or(0, |file| file.len()),
    }
}

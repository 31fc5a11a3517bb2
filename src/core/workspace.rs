//! Directories, locks and checksums.

use std::{
    ffi::OsStr,
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use super::{
    FileRecord, Record, Values,
    lease::{Lease, Leases, STALE},
};
use crate::base::{
    files::{FileError, io_error, open_lock, open_own, read_json, write_json, write_whole},
    hash::Digest,
};

/// The record of a step, in its directory.
pub const RECORD: &str = "record.json";
/// Marks a step of a bundle that has its record and not its files.
pub const OMITTED: &str = "omitted.json";

/// A workspace on disk.
#[derive(Clone, Debug)]
pub struct Workspace {
    root: PathBuf,
    read_only: bool,
    leases: Arc<Leases>,
    values: Arc<Values>,
}

/// The state of a step in the workspace.
#[derive(Clone, Debug, PartialEq)]
pub enum StepState {
    Absent,
    Done,
    /// A file differs from the record; the step is rebuilt.
    Damaged(String),
}

/// The directory of an unfinished step; removed when it is dropped without [`Workspace::commit`].
pub struct Staging {
    dir: tempfile::TempDir,
}

impl Staging {
    /// Where the step writes its files.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }
}

/// Held while a step runs.
pub struct Lock {
    // Dropped first: the lease is removed under the lock.
    lease: Lease,
    _file: File,
}

impl Lock {
    /// Whether another machine has taken the step over, because this process did not run for a while.
    pub fn is_lost(&self) -> bool {
        self.lease.is_lost()
    }
}

impl Workspace {
    /// The workspace at `root`; nothing is written.
    pub fn at(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
            read_only: false,
            leases: Arc::default(),
            values: Arc::default(),
        }
    }

    /// Creates the directories, which also checks write permission.
    pub fn create(root: &Path) -> Result<Self, FileError> {
        let workspace = Self::at(root);
        for dir in ["steps", "locks", "tmp", "runs", "experiments"] {
            let path = root.join(dir);
            fs::create_dir_all(&path).map_err(io_error(&path))?;
        }
        let probe = root.join("tmp");
        tempfile::tempfile_in(&probe).map_err(io_error(&probe))?;
        let ignore = root.join(".gitignore");
        if fs::symlink_metadata(&ignore).is_err() {
            write_whole(&ignore, b"*\n")?;
        }
        Ok(workspace)
    }

    /// The same, for commands that only look: what is computed for a report is not kept in it.
    pub fn read_only(self) -> Self {
        Self { read_only: true, ..self }
    }

    /// The same with room for so many bytes of values by unit that were read from it.
    pub fn with_room_for_values(self, bytes: usize) -> Self {
        Self { values: Arc::new(Values::with_room(bytes)), ..self }
    }

    /// Whether it is only read.
    pub fn is_read_only(&self) -> bool {
        self.read_only
    }

    /// Its directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Values by unit that were read from it, shared by all copies of this handle.
    pub fn values(&self) -> &Values {
        &self.values
    }

    /// The directory of a step; it may not exist.
    pub fn step_dir(&self, kind: &str, key: &Digest) -> PathBuf {
        self.root.join("steps").join(kind).join(key.to_string())
    }

    /// The directory for checkpoints and other files that survive a kill of the step, one per content of its inputs; it
    /// may not exist.
    pub fn scratch(&self, key: &Digest) -> PathBuf {
        self.root.join("scratch").join(key.to_string())
    }

    /// Removes it after the step is finished.
    pub fn clear_scratch(&self, key: &Digest) {
        let _ = fs::remove_dir_all(self.scratch(key));
    }

    /// Whether a step exists, without checking its files.
    pub fn exists(&self, kind: &str, key: &Digest) -> bool {
        self.step_dir(kind, key).join(RECORD).is_file()
    }

    /// Whether a step exists, has its own record, which lists the files `needed`, and every file matches its recorded
    /// checksum. The content of files is not interpreted.
    pub fn verify(&self, kind: &str, key: &Digest, needed: &[&str]) -> StepState {
        match self.verified(kind, key, needed) {
            None => StepState::Absent,
            Some(Ok(_)) => StepState::Done,
            Some(Err(error)) => StepState::Damaged(error.to_string()),
        }
    }

    /// The record that the files of a step were compared with, or what is damaged. None if there is no such step.
    pub(super) fn verified(
        &self,
        kind: &str,
        key: &Digest,
        needed: &[&str],
    ) -> Option<Result<Record, FileError>> {
        let is_there = self.step_dir(kind, key).exists() && !self.is_omitted(kind, key);
        is_there.then(|| self.check(kind, key, needed))
    }

    /// Whether only the record of a step is there, because a bundle was made without its files.
    pub fn is_omitted(&self, kind: &str, key: &Digest) -> bool {
        self.step_dir(kind, key).join(OMITTED).is_file()
    }

    fn check(&self, kind: &str, key: &Digest, needed: &[&str]) -> Result<Record, FileError> {
        let dir = self.step_dir(kind, key);
        let damaged = |name: &str, problem: &str| FileError::Damaged {
            path: dir.join(name),
            problem: problem.to_owned(),
        };
        let record = self.record(kind, key)?;
        let is_recorded = |name: &str| record.files.iter().any(|file| file.name == name);
        if let Some(name) = needed.iter().find(|name| !is_recorded(name)) {
            return Err(damaged(RECORD, &format!("it does not list the file `{name}`")));
        }
        for entry in fs::read_dir(&dir).map_err(io_error(&dir))?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name != RECORD && !is_recorded(&name) {
                return Err(damaged(&name, "the record of the step does not list this file"));
            }
        }
        for file in &record.files {
            if Path::new(&file.name).file_name() != Some(OsStr::new(&file.name)) {
                return Err(damaged(RECORD, &format!("`{}` is not a file name", file.name)));
            }
            let path = dir.join(&file.name);
            if Digest::of_own_file(&path).map_err(io_error(&path))? != file.blake3 {
                return Err(damaged(&file.name, "checksum mismatch"));
            }
        }
        Ok(record)
    }

    /// The record of a finished step. It is checked that it belongs to this step, that its inputs match the key, and that
    /// it was not modified.
    pub fn record(&self, kind: &str, key: &Digest) -> Result<Record, FileError> {
        let path = self.step_dir(kind, key).join(RECORD);
        let damaged = |problem: String| FileError::Damaged { path: path.clone(), problem };
        let unreadable = |error: serde_json::Error| damaged(format!("not readable: {error}"));
        let mut value: serde_json::Value = read_json(&path)?;
        let written = take_seal(&mut value);
        let seal = Digest::of_json(&value);
        let mut record: Record = serde_json::from_value(value).map_err(unreadable)?;
        record.seal = serde_json::from_value(written).map_err(unreadable)?;
        if record.kind != kind {
            return Err(damaged(format!("it is the record of a step `{}`", record.kind)));
        }
        if record.key != *key {
            return Err(damaged(format!(
                "it is the record of another step, {}",
                record.key.short()
            )));
        }
        if Digest::of_json(&(kind, &record.key_inputs)) != *key {
            return Err(damaged("the key of the step does not match its inputs".into()));
        }
        match record.seal {
            Some(written) if written == seal => {}
            Some(_) => return Err(damaged("it was modified after it was written".into())),
            None => {
                return Err(damaged(
                    "it has no seal: it was written by an earlier version or modified".into(),
                ));
            }
        }
        Ok(record)
    }

    /// All records of finished steps, as far as they can be read.
    pub fn records(&self) -> Vec<Record> {
        let mut records = Vec::new();
        let dirs = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten();
        for kind in dirs(&self.root.join("steps")) {
            for step in dirs(&kind.path()) {
                records.extend(read_json::<Record>(&step.path().join(RECORD)));
            }
        }
        records.sort_by(|a, b| (&a.kind, &a.label, a.key).cmp(&(&b.kind, &b.label, b.key)));
        records
    }

    /// Takes the lock and the lease of a step; none if another process has one of them.
    pub fn try_lock(&self, key: &Digest) -> Result<Option<Lock>, FileError> {
        let path = self.root.join("locks").join(format!("{key}.lock"));
        let file = open_lock(&path).map_err(io_error(&path))?;
        let locks = match file.try_lock() {
            Ok(()) => true,
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) if has_no_locks(&error) => false,
            Err(TryLockError::Error(error)) => return Err(io_error(&path)(error)),
        };
        let path = path.with_extension("lease");
        let lease = self.leases.take(&path, locks).map_err(io_error(&path))?;
        Ok(lease.map(|lease| Lock { lease, _file: file }))
    }

    /// Whether another process runs a step. What a killed process of another machine has left is watched until it is stale.
    pub fn is_held(&self, key: &Digest) -> bool {
        let path = self.root.join("locks").join(format!("{key}.lease"));
        let started = Instant::now();
        loop {
            match self.try_lock(key) {
                Ok(None) if started.elapsed() <= 2 * STALE && path.exists() => {
                    let of_lock = open_lock(&path.with_extension("lock"));
                    // Its holder is alive.
                    if of_lock.is_ok_and(|file| file.try_lock().is_err()) {
                        return true;
                    }
                    thread::sleep(Duration::from_secs(1));
                }
                found => return matches!(found, Ok(None)),
            }
        }
    }

    /// Starts a step, which needs its lock. Removes files of the step from dead processes.
    pub fn begin(&self, key: &Digest) -> Result<Staging, FileError> {
        let tmp = self.root.join("tmp");
        let prefix = format!("{}-", key.short());
        for entry in fs::read_dir(&tmp).map_err(io_error(&tmp))?.flatten() {
            if entry.file_name().to_string_lossy().starts_with(&prefix) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let dir =
            tempfile::Builder::new().prefix(&prefix).tempdir_in(&tmp).map_err(io_error(&tmp))?;
        Ok(Staging { dir })
    }

    /// Moves a finished step to its final directory. Fills in the checksums of `record`.
    pub fn commit(&self, staging: Staging, mut record: Record) -> Result<(), FileError> {
        let dir = staging.dir().to_owned();
        let mut names: Vec<String> = fs::read_dir(&dir)
            .map_err(io_error(&dir))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            let path = dir.join(&name);
            let blake3 = Digest::of_own_file(&path).map_err(io_error(&path))?;
            let file = open_own(&path).map_err(io_error(&path))?;
            // The files must be on disk before the record that lists them.
            file.sync_all().map_err(io_error(&path))?;
            let bytes = file.metadata().map_err(io_error(&path))?.len();
            record.files.push(FileRecord { name, bytes, blake3 });
        }
        write_sealed(&dir.join(RECORD), record.clone())?;
        let target = self.step_dir(&record.kind, &record.key);
        // A damaged step is moved away atomically, so that no process finds a part of it.
        let mut old = None;
        if fs::symlink_metadata(&target).is_ok() {
            let away = tempfile::tempdir_in(self.root.join("tmp")).map_err(io_error(&dir))?;
            match fs::rename(&target, away.path().join("old")) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(io_error(&target)(error));
                }
                _ => old = Some(away),
            }
        }
        // The directory of the kind is there but for the first step.
        match fs::rename(&dir, &target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = target.parent() {
                    fs::create_dir_all(parent).map_err(io_error(parent))?;
                }
                fs::rename(&dir, &target).map_err(io_error(&target))?;
            }
            moved => moved.map_err(io_error(&target))?,
        }
        drop(old);
        let _ = staging.dir.keep();
        Ok(())
    }

    /// A file below the workspace.
    pub fn path(&self, parts: &[&str]) -> PathBuf {
        parts.iter().fold(self.root.clone(), |path, part| path.join(part))
    }
}

/// Whether a file system has no locks: Lustre without `flock`, NFS without a lock daemon.
fn has_no_locks(error: &io::Error) -> bool {
    let codes = [libc::ENOSYS, libc::ENOLCK, libc::EOPNOTSUPP];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Writes a record with the seal of its content.
pub fn write_sealed(path: &Path, mut record: Record) -> Result<(), FileError> {
    record.seal = None;
    let mut value = serde_json::to_value(&record).map_err(|error| io_error(path)(error.into()))?;
    take_seal(&mut value);
    record.seal = Some(Digest::of_json(&value));
    write_json(path, &record)
}

/// Takes the seal out of a record: it is the hash of the rest.
fn take_seal(record: &mut serde_json::Value) -> serde_json::Value {
    match record {
        serde_json::Value::Object(fields) => fields.shift_remove("seal").unwrap_or_default(),
        _ => serde_json::Value::Null,
    }
}

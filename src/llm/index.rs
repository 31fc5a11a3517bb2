//! The index of the journal: the position of the response to each key. It can be rebuilt from the journal at any time,
//! and it is rebuilt if it was not closed properly, or if its files changed since.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, TryLockError},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    journal,
    journal::{End, Head, Kind, LineState},
    key::Key,
};
use crate::base::{
    files::{is_read_only, open_lock, open_own, read_json, write_json},
    hash::Digest,
};

/// The position of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: u32,
    pub offset: u64,
    pub len: u32,
    /// Hash of the response.
    response: u64,
    generation: u32,
}

/// A segment, and how much of it is indexed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Segment {
    name: String,
    /// Bytes indexed.
    bytes: u64,
}

/// Written when the index is closed: digests of its files, and what it covers.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Seal {
    version: u32,
    files: BTreeMap<String, Digest>,
    segments: Vec<Segment>,
    counts: Counts,
}

/// How many records there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Keys with a response.
    #[serde(rename = "answers")]
    pub responses: u64,
    pub failures: u64,
    /// Responses received again, with the same content.
    pub repeated: u64,
    /// Responses received again with other content, although no refresh was requested.
    pub conflicts: u64,
    pub renewed: u64,
    pub unshared: u64,
    /// Requests that failed in a run that then continued without them.
    #[serde(default)]
    pub abandoned: u64,
    /// Lines whose checksum does not hold.
    pub damaged: u64,
}

const VERSION: u32 = 2;
/// Takes the place of a response's hash for requests of the kind `Abandoned`.
const ABANDONED: u64 = 0;
const FILES: &str = "index";
const SEAL: &str = "index.seal.json";
const LOCK: &str = "index.lock";
const LOST: &str = "journal-lost.json";
const ACKNOWLEDGED: &str = "damage-acknowledged.json";

enum Table {
    Sled(sled::Db),
    /// For further processes: only one can open sled.
    Memory(HashMap<Key, Place>),
}

/// The open index.
pub struct Index {
    dir: PathBuf,
    table: Table,
    segments: Vec<Segment>,
    pub counts: Counts,
    acknowledged: u64,
    /// Indexed files of the journal that are missing or truncated.
    lost: Vec<Segment>,
    /// Warnings from opening the index.
    pub notes: Vec<String>,
    /// Held by the process that has the sled directory.
    _lock: Option<File>,
}

impl Index {
    /// Opens or creates the index of the journal in `dir/journal`. Its content depends on the journal alone.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(LOCK);
        let created = fs::create_dir_all(dir.join("journal"));
        let lock = match created.and_then(|()| open_lock(&path).map_err(named(&path))) {
            Ok(lock) => Some(lock),
            // The directory is read-only: only the journal is used.
            Err(error) if is_read_only(&error) && dir.join("journal").is_dir() => None,
            Err(error) => return Err(error),
        };
        let mut index = Self {
            dir: dir.to_owned(),
            table: Table::Memory(HashMap::new()),
            segments: Vec::new(),
            counts: Counts::default(),
            acknowledged: read_json(&dir.join(ACKNOWLEDGED)).unwrap_or(0),
            lost: read_json(&dir.join(LOST)).unwrap_or_default(),
            notes: Vec::new(),
            _lock: None,
        };
        // Missing files may have been restored.
        let mut lost = std::mem::take(&mut index.lost);
        lost.retain(|segment| !index.is_whole(segment));
        index.lost = lost;
        let Some(lock) = lock else {
            index.check_seal();
            index.catch_up()?;
            return Ok(index);
        };
        match lock.try_lock() {
            Ok(()) => {
                index._lock = Some(lock);
                if !index.open_sealed() {
                    index.restart();
                }
            }
            // Another process has the index: this one reads only the journal.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        index.catch_up()?;
        Ok(index)
    }

    /// Deletes the index and builds it again from the journal.
    pub fn rebuild(&mut self) -> io::Result<()> {
        if self._lock.is_none() {
            return Err(io::Error::other("another process has the index open"));
        }
        self.restart();
        self.catch_up()?;
        // The user knows of the damage and continues without the damaged lines.
        self.acknowledged = self.counts.damaged;
        self.lost.clear();
        match fs::remove_file(self.dir.join(LOST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_json(&self.dir.join(ACKNOWLEDGED), &self.acknowledged)
            .map_err(|error| io::Error::other(error.to_string()))
    }

    /// Names of missing or truncated files of the journal that the user has not acknowledged.
    pub fn lost(&self) -> Vec<String> {
        self.lost.iter().map(|segment| segment.name.clone()).collect()
    }

    fn is_whole(&self, segment: &Segment) -> bool {
        let found = fs::metadata(self.segment_path(&segment.name));
        // A file without indexed bytes may be missing.
        segment.bytes == 0 || found.is_ok_and(|found| found.len() >= segment.bytes)
    }

    /// Number of damaged lines that the user has not acknowledged. They may contain responses that are not found.
    pub fn unacknowledged(&self) -> u64 {
        self.counts.damaged.saturating_sub(self.acknowledged)
    }

    /// Looks for missing and truncated files, for a read-only directory.
    fn check_seal(&mut self) {
        let Ok(seal) = read_json::<Seal>(&self.dir.join(SEAL)) else { return };
        for segment in seal.segments {
            if !self.is_whole(&segment) && !self.lost.contains(&segment) {
                self.lost.push(segment);
            }
        }
    }

    /// Opens the index if it was closed properly and its files have not changed since.
    fn open_sealed(&mut self) -> bool {
        let path = self.dir.join(SEAL);
        let existed = self.dir.join(FILES).exists();
        let Ok(seal) = read_json::<Seal>(&path) else {
            if existed {
                self.notes.push(
                    "the index of responses was not closed properly; it is rebuilt from the journal"
                        .into(),
                );
            }
            return false;
        };
        // From here on the files change: they are not valid until they are sealed again.
        let _ = fs::remove_file(&path);
        let lost: Vec<&Segment> = seal.segments.iter().filter(|of| !self.is_whole(of)).collect();
        let sound = seal.version == VERSION
            && files_of(&self.dir.join(FILES)).is_ok_and(|files| files == seal.files)
            && lost.is_empty()
            && seal.segments.iter().all(|of| self.segment_path(&of.name).exists());
        let lost: Vec<Segment> = lost.into_iter().cloned().collect();
        for segment in lost {
            self.notes.push(format!(
                "{}: this journal file is missing or truncated; its responses are lost",
                self.segment_path(&segment.name).display()
            ));
            if !self.lost.contains(&segment) {
                self.lost.push(segment);
            }
        }
        if !self.lost.is_empty() && write_json(&self.dir.join(LOST), &self.lost).is_err() {
            self.notes.push("the list of missing journal files cannot be written".into());
        }
        if sound && let Some(db) = self.open_sled() {
            (self.table, self.segments, self.counts) =
                (Table::Sled(db), seal.segments, seal.counts);
            return true;
        }
        self.notes.push(
            "the index of responses is damaged or does not match the journal; it is rebuilt from the \
             journal"
                .into(),
        );
        false
    }

    fn restart(&mut self) {
        // The old table must be closed before its files are removed.
        self.table = Table::Memory(HashMap::new());
        (self.segments, self.counts) = (Vec::new(), Counts::default());
        let _ = fs::remove_file(self.dir.join(SEAL));
        let _ = fs::remove_dir_all(self.dir.join(FILES));
        if let Some(db) = self.open_sled() {
            self.table = Table::Sled(db);
        } else {
            self.notes.push("sled cannot open the index; it is kept in memory".into());
        }
    }

    fn open_sled(&self) -> Option<sled::Db> {
        let config = sled::Config::new()
            .path(self.dir.join(FILES))
            .cache_capacity(256 << 20)
            .mode(sled::Mode::HighThroughput)
            .flush_every_ms(None);
        // sled panics on some kinds of damage.
        catch_unwind(AssertUnwindSafe(|| config.open())).ok()?.ok()
    }

    /// Indexes the part of the journal that is not indexed yet.
    fn catch_up(&mut self) -> io::Result<()> {
        let mut names: Vec<String> = fs::read_dir(self.dir.join("journal"))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".jsonl"))
            .collect();
        // Which of two responses is found does not depend on this order.
        names.sort();
        for name in names {
            let path = self.segment_path(&name);
            let at = self.segment(&name);
            let from = self.segments[at as usize].bytes;
            let file = open_own(&path).map_err(named(&path))?;
            if file.metadata()?.len() == from {
                continue;
            }
            let mut heads = Vec::new();
            let (mut damaged, mut torn) = (Vec::new(), None);
            let end = journal::scan(&path, from, &mut |line, offset, len, found| match found {
                LineState::Record(text) => match journal::head(text) {
                    Some(head) => heads.push((head, offset, len as u32)),
                    None => damaged.push((line, offset)),
                },
                LineState::Damaged => damaged.push((line, offset)),
                LineState::Torn => torn = Some(offset),
            })?;
            for (head, offset, len) in heads {
                self.take(&head, at, offset, len)?;
            }
            for (line, offset) in damaged {
                self.counts.damaged += 1;
                let line =
                    if from == 0 { format!("line {line}") } else { format!("byte {offset}") };
                self.notes.push(format!(
                    "{}: {line} is damaged and cannot be used (`assay cache verify` lists all damaged lines)",
                    path.display()
                ));
            }
            self.segments[at as usize].bytes = end;
            let Some(offset) = torn else { continue };
            let end = match journal::repair_end(&path, offset) {
                Err(error) if is_read_only(&error) => continue,
                end => end?,
            };
            match end {
                End::Cut(len) => self.notes.push(format!(
                    "{}: the last line was torn when its process died; its {len} bytes, which were never \
                     used, are removed",
                    path.display()
                )),
                End::Repaired => {
                    self.notes.push(format!(
                        "{}: the last line had lost its line break, which was restored",
                        path.display()
                    ));
                    // Again, from the line that is now complete.
                    return self.catch_up();
                }
                End::Alive => {}
            }
        }
        Ok(())
    }

    /// Indexes what other processes have written.
    pub fn catch_up_with_others(&mut self) -> io::Result<()> {
        self.catch_up()
    }

    /// The position of the response to a key.
    pub fn find(&self, key: &Key) -> io::Result<Option<(PathBuf, Place)>> {
        let place = match &self.table {
            Table::Memory(table) => table.get(key).copied(),
            Table::Sled(db) => match db.get(key).map_err(io::Error::other)? {
                Some(value) => Some(decode(&value).ok_or_else(unreadable)?),
                None => None,
            },
        };
        let Some(place) = place else { return Ok(None) };
        let segment = self.segments.get(place.segment as usize).ok_or_else(unreadable)?;
        Ok(Some((self.segment_path(&segment.name), place)))
    }

    /// Adds a record that this process has just written.
    pub fn add_written(
        &mut self,
        head: &Head,
        path: &Path,
        offset: u64,
        len: u32,
    ) -> io::Result<()> {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let at = self.segment(&name.unwrap_or_default());
        let end = offset + u64::from(len);
        if self.segments[at as usize].bytes >= end {
            return Ok(());
        }
        self.take(head, at, offset, len)?;
        self.segments[at as usize].bytes = end;
        Ok(())
    }

    /// All positions, in no order.
    pub fn places(&self) -> io::Result<Vec<(Key, PathBuf, Place)>> {
        let path = |place: &Place| {
            let segment = self.segments.get(place.segment as usize).ok_or_else(unreadable)?;
            Ok::<_, io::Error>(self.segment_path(&segment.name))
        };
        let mut places = Vec::new();
        match &self.table {
            Table::Memory(table) => {
                for (key, place) in table {
                    places.push((*key, path(place)?, *place));
                }
            }
            Table::Sled(db) => {
                for entry in db.iter() {
                    let (key, value) = entry.map_err(io::Error::other)?;
                    let key = Key::try_from(&key[..]).map_err(|_| unreadable())?;
                    let place = decode(&value).ok_or_else(unreadable)?;
                    places.push((key, path(&place)?, place));
                }
            }
        }
        Ok(places)
    }

    /// Paths of all segments, in order.
    pub fn segment_paths(&self) -> Vec<PathBuf> {
        self.segments.iter().map(|segment| self.segment_path(&segment.name)).collect()
    }

    /// Whether this process has the sled directory.
    pub fn is_owner(&self) -> bool {
        self._lock.is_some()
    }

    fn take(&mut self, head: &Head, segment: u32, offset: u64, len: u32) -> io::Result<()> {
        match head.kind {
            Kind::Failure => self.counts.failures += 1,
            Kind::Unshared => self.counts.unshared += 1,
            Kind::Abandoned => {
                self.counts.abandoned += 1;
                // It never replaces a response.
                let place = Place { segment, offset, len, response: ABANDONED, generation: 0 };
                match &mut self.table {
                    Table::Memory(table) => drop(table.entry(head.key).or_insert(place)),
                    Table::Sled(db) => {
                        let none: Option<&[u8]> = None;
                        let bytes = encode(place);
                        // An existing response is kept.
                        let _ = db
                            .compare_and_swap(head.key, none, Some(&bytes[..]))
                            .map_err(io::Error::other)?;
                    }
                }
            }
            Kind::Response | Kind::Renewed => {
                let (response, generation) = (head.response, head.generation);
                let place = Place { segment, offset, len, response, generation };
                let before = match &self.table {
                    Table::Memory(table) => table.get(&head.key).copied(),
                    Table::Sled(db) => {
                        let before = db.get(head.key).map_err(io::Error::other)?;
                        before.and_then(|before| decode(&before))
                    }
                };
                let before = before.filter(|before| before.response != ABANDONED);
                if before.is_none_or(|before| self.order(&before) < self.order(&place)) {
                    match &mut self.table {
                        Table::Memory(table) => drop(table.insert(head.key, place)),
                        Table::Sled(db) => {
                            db.insert(head.key, &encode(place)[..]).map_err(io::Error::other)?;
                        }
                    }
                }
                match (before, head.kind) {
                    (None, _) => self.counts.responses += 1,
                    (Some(_), Kind::Renewed) => self.counts.renewed += 1,
                    (Some(before), _) if before.response == head.response => {
                        self.counts.repeated += 1;
                    }
                    (Some(_), _) => self.counts.conflicts += 1,
                }
            }
        }
        Ok(())
    }

    /// Of two responses to one request, the one that is greater in this order is found: the one of the later generation,
    /// then the one in the later file, then the one at the higher offset. It does not matter which is read first.
    fn order(&self, place: &Place) -> (u32, &str, u64) {
        let name = self.segments.get(place.segment as usize).map_or("", |of| of.name.as_str());
        (place.generation, name, place.offset)
    }

    fn segment(&mut self, name: &str) -> u32 {
        if let Some(at) = self.segments.iter().position(|segment| segment.name == name) {
            return at as u32;
        }
        self.segments.push(Segment { name: name.to_owned(), bytes: 0 });
        self.segments.len() as u32 - 1
    }

    fn segment_path(&self, name: &str) -> PathBuf {
        self.dir.join("journal").join(name)
    }
}

impl Drop for Index {
    /// Seals the index, so that it need not be rebuilt when it is opened next.
    fn drop(&mut self) {
        if !matches!(self.table, Table::Sled(_)) {
            return;
        }
        let table = std::mem::replace(&mut self.table, Table::Memory(HashMap::new()));
        if let Table::Sled(db) = table {
            let flushed = db.flush();
            drop(db);
            let files = files_of(&self.dir.join(FILES));
            if let (Ok(_), Ok(files)) = (flushed, files) {
                let seal = Seal {
                    version: VERSION,
                    files,
                    segments: std::mem::take(&mut self.segments),
                    counts: self.counts,
                };
                let _ = write_json(&self.dir.join(SEAL), &seal);
            }
        }
    }
}

fn unreadable() -> io::Error {
    io::Error::other("the index of responses is damaged\n  = help: run `assay cache rebuild`")
}

/// Adds the path to an error.
fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.to_owned();
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Digests of all files below a directory. A symbolic link is an error, because sled would write to its target.
fn files_of(dir: &Path) -> io::Result<BTreeMap<String, Digest>> {
    let mut files = BTreeMap::new();
    if fs::symlink_metadata(dir)?.is_symlink() {
        return Err(io::Error::other("it is a symbolic link"));
    }
    let mut open = vec![dir.to_owned()];
    while let Some(at) = open.pop() {
        for entry in fs::read_dir(&at)? {
            let entry = entry?;
            let path = entry.path();
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else {
                let name = path.strip_prefix(dir).unwrap_or(&path).display().to_string();
                files.insert(name, Digest::of_own_file(&path)?);
            }
        }
    }
    Ok(files)
}

fn encode(place: Place) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..4].copy_from_slice(&place.segment.to_le_bytes());
    bytes[4..12].copy_from_slice(&place.offset.to_le_bytes());
    bytes[12..16].copy_from_slice(&place.len.to_le_bytes());
    bytes[16..24].copy_from_slice(&place.response.to_le_bytes());
    bytes[24..].copy_from_slice(&place.generation.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<Place> {
    let bytes: [u8; 28] = bytes.try_into().ok()?;
    let word =
        |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let long = |at: usize| u64::from(word(at)) | u64::from(word(at + 4)) << 32;
    Some(Place {
        segment: word(0),
        offset: long(4),
        len: word(12),
        response: long(16),
        generation: word(24),
    })
}

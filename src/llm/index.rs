//! The index of the journal: where the answer to a key stands. It can be rebuilt from the journal at
//! any time, and is whenever it was not closed in order or is not, byte for byte, what it was then.

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
    journal::{End, Found, Head, Kind},
    key::Key,
};
use crate::base::{
    files::{is_read_only, open_lock, open_own, read_json, write_json},
    hash::Digest,
};

/// Where a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub segment: u32,
    pub offset: u64,
    pub len: u32,
    /// Of the response.
    response: u64,
    generation: u32,
}

/// A segment and how much of it the index knows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Segment {
    name: String,
    /// Bytes indexed.
    bytes: u64,
}

/// Written when the index is closed in order: what its files are, and what it covers.
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
    /// Keys that have an answer.
    pub answers: u64,
    pub failures: u64,
    /// Answers that came again, the same.
    pub repeated: u64,
    /// Answers that came again, different, without having been asked for anew.
    pub conflicts: u64,
    pub renewed: u64,
    pub unshared: u64,
    /// Requests that a run went on without.
    #[serde(default)]
    pub abandoned: u64,
    /// Lines whose checksum does not hold.
    pub damaged: u64,
}

const VERSION: u32 = 2;
/// Stands where a response's hash stands, for requests that a run went on without.
const ABANDONED: u64 = 0;
const FILES: &str = "index";
const SEAL: &str = "index.seal.json";
const LOCK: &str = "index.lock";
const LOST: &str = "journal-lost.json";
const ACKNOWLEDGED: &str = "damage-acknowledged.json";

enum Table {
    Sled(sled::Db),
    /// Of processes that came second: sled admits one.
    Memory(HashMap<Key, Place>),
}

/// The index, open.
pub struct Index {
    dir: PathBuf,
    table: Table,
    segments: Vec<Segment>,
    pub counts: Counts,
    acknowledged: u64,
    /// Files of the journal that the index knew, and that are gone or shorter than they were.
    lost: Vec<Segment>,
    /// What was found on opening that somebody should know.
    pub notes: Vec<String>,
    /// Held by the process that has the sled directory.
    _lock: Option<File>,
}

impl Index {
    /// Opens the index of the journal in `dir/journal`, or makes it. Nothing but the journal decides
    /// what is in it.
    pub fn open(dir: &Path) -> io::Result<Self> {
        let path = dir.join(LOCK);
        let made = fs::create_dir_all(dir.join("journal"));
        let lock = match made.and_then(|()| open_lock(&path).map_err(named(&path))) {
            Ok(lock) => Some(lock),
            // Nothing may be written here: the journal alone says what there is.
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
        // They may have been restored.
        let mut lost = std::mem::take(&mut index.lost);
        lost.retain(|segment| !index.is_whole(segment));
        index.lost = lost;
        let Some(lock) = lock else {
            index.look_at_seal();
            index.catch_up()?;
            return Ok(index);
        };
        match lock.try_lock() {
            Ok(()) => {
                index._lock = Some(lock);
                if !index.take_sealed() {
                    index.start_anew();
                }
            }
            // Another process has the index: this one goes by the journal alone.
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) => return Err(error),
        }
        index.catch_up()?;
        Ok(index)
    }

    /// Throws the index away and makes it anew.
    pub fn rebuild(&mut self) -> io::Result<()> {
        if self._lock.is_none() {
            return Err(io::Error::other("another process has the index open"));
        }
        self.start_anew();
        self.catch_up()?;
        // Whoever asks for this has been told of the damage, and goes on without.
        self.acknowledged = self.counts.damaged;
        self.lost.clear();
        match fs::remove_file(self.dir.join(LOST)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        write_json(&self.dir.join(ACKNOWLEDGED), &self.acknowledged)
            .map_err(|error| io::Error::other(error.to_string()))
    }

    /// Names of files of the journal that are gone or were cut, and that nobody has said to go on without.
    pub fn lost(&self) -> Vec<String> {
        self.lost.iter().map(|segment| segment.name.clone()).collect()
    }

    fn is_whole(&self, segment: &Segment) -> bool {
        let found = fs::metadata(self.segment_path(&segment.name));
        // One that held nothing yet may be gone.
        segment.bytes == 0 || found.is_ok_and(|found| found.len() >= segment.bytes)
    }

    /// Damaged lines that nobody has said to go on without: an answer that is not found may be in one.
    pub fn unacknowledged(&self) -> u64 {
        self.counts.damaged.saturating_sub(self.acknowledged)
    }

    /// What the seal knows of the journal, where nothing may be written.
    fn look_at_seal(&mut self) {
        let Ok(seal) = read_json::<Seal>(&self.dir.join(SEAL)) else { return };
        for segment in seal.segments {
            if !self.is_whole(&segment) && !self.lost.contains(&segment) {
                self.lost.push(segment);
            }
        }
    }

    /// Takes the index that was closed in order, if its files are still what they were.
    fn take_sealed(&mut self) -> bool {
        let path = self.dir.join(SEAL);
        let existed = self.dir.join(FILES).exists();
        let Ok(seal) = read_json::<Seal>(&path) else {
            if existed {
                self.notes.push(
                    "the index of answers was not closed in order: it is rebuilt from the journal"
                        .into(),
                );
            }
            return false;
        };
        // From here on the files change: until they are sealed again, nobody shall trust them.
        let _ = fs::remove_file(&path);
        let lost: Vec<&Segment> = seal.segments.iter().filter(|of| !self.is_whole(of)).collect();
        let sound = seal.version == VERSION
            && files_of(&self.dir.join(FILES)).is_ok_and(|files| files == seal.files)
            && lost.is_empty()
            && seal.segments.iter().all(|of| self.segment_path(&of.name).exists());
        let lost: Vec<Segment> = lost.into_iter().cloned().collect();
        for segment in lost {
            self.notes.push(format!(
                "{}: this file of the journal is gone or was cut; responses that it held are missing",
                self.segment_path(&segment.name).display()
            ));
            if !self.lost.contains(&segment) {
                self.lost.push(segment);
            }
        }
        if !self.lost.is_empty() && write_json(&self.dir.join(LOST), &self.lost).is_err() {
            self.notes.push("what is missing of the journal cannot be noted down".into());
        }
        if sound && let Some(db) = self.open_sled() {
            (self.table, self.segments, self.counts) =
                (Table::Sled(db), seal.segments, seal.counts);
            return true;
        }
        self.notes.push(
            "the index of answers is damaged or does not fit the journal: it is rebuilt from the \
             journal"
                .into(),
        );
        false
    }

    fn start_anew(&mut self) {
        // The old table must be closed before its files go.
        self.table = Table::Memory(HashMap::new());
        (self.segments, self.counts) = (Vec::new(), Counts::default());
        let _ = fs::remove_file(self.dir.join(SEAL));
        let _ = fs::remove_dir_all(self.dir.join(FILES));
        if let Some(db) = self.open_sled() {
            self.table = Table::Sled(db);
        } else {
            self.notes.push("sled does not open: the index is kept in memory".into());
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

    /// Reads what the journal has more than the index.
    fn catch_up(&mut self) -> io::Result<()> {
        let mut names: Vec<String> = fs::read_dir(self.dir.join("journal"))?
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .filter(|name| name.ends_with(".jsonl"))
            .collect();
        // In this order; which of two answers is found does not depend on it.
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
                Found::Record(text) => match journal::head(text) {
                    Some(head) => heads.push((head, offset, len as u32)),
                    None => damaged.push((line, offset)),
                },
                Found::Damaged => damaged.push((line, offset)),
                Found::Torn => torn = Some(offset),
            })?;
            for (head, offset, len) in heads {
                self.take(&head, at, offset, len)?;
            }
            for (line, offset) in damaged {
                self.counts.damaged += 1;
                let line =
                    if from == 0 { format!("line {line}") } else { format!("byte {offset}") };
                self.notes.push(format!(
                    "{}: {line} is damaged; what it held cannot be used (`assay cache verify` lists all)",
                    path.display()
                ));
            }
            self.segments[at as usize].bytes = end;
            let Some(offset) = torn else { continue };
            let end = match journal::mend_end(&path, offset) {
                Err(error) if is_read_only(&error) => continue,
                end => end?,
            };
            match end {
                End::Cut(len) => self.notes.push(format!(
                    "{}: the last line was torn when its process died; {len} bytes that nobody had used \
                     are cut off",
                    path.display()
                )),
                End::Mended => {
                    self.notes.push(format!(
                        "{}: the last line had lost its end; nothing else of it was lost",
                        path.display()
                    ));
                    // Once more, from the line that is whole now.
                    return self.catch_up();
                }
                End::Alive => {}
            }
        }
        Ok(())
    }

    /// Reads what other processes wrote meanwhile.
    pub fn look_again(&mut self) -> io::Result<()> {
        self.catch_up()
    }

    /// Where the answer to a key stands.
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

    /// Takes note of a record that was just written by this process.
    pub fn wrote(&mut self, head: &Head, path: &Path, offset: u64, len: u32) -> io::Result<()> {
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

    /// All places, in no order.
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
                // It never hides an answer.
                let place = Place { segment, offset, len, response: ABANDONED, generation: 0 };
                match &mut self.table {
                    Table::Memory(table) => drop(table.entry(head.key).or_insert(place)),
                    Table::Sled(db) => {
                        let none: Option<&[u8]> = None;
                        let bytes = encode(place);
                        // Some answer stands there already: it stays.
                        let _ = db
                            .compare_and_swap(head.key, none, Some(&bytes[..]))
                            .map_err(io::Error::other)?;
                    }
                }
            }
            Kind::Answer | Kind::Renewed => {
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
                    (None, _) => self.counts.answers += 1,
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

    /// Of two answers to one request, the greater is found. It does not depend on when which is read: the one that
    /// took the place of more, then the one in the later file, further on.
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
    /// Seals the index, so that the next to open it can trust it.
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
    io::Error::other("the index of answers holds what it cannot: run `assay cache rebuild`")
}

/// Hashes of all files below a directory.
fn named(path: &Path) -> impl FnOnce(io::Error) -> io::Error {
    let path = path.to_owned();
    move |error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Sled writes into its files: a link among them, or in their place, is no index of assay's.
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

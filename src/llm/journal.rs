//! The journal: append-only files of lines that carry their checksum. Each process writes its own.
//!
//! A line is `{"sum":"<16 hex of BLAKE3>","record":{…}}`, the sum over the bytes of the record as they
//! stand there.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, BufReader, Read, Seek, SeekFrom, Write},
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::key::{Key, from_hex};
use crate::base::{
    files::{open_own, open_to_mend},
    limits::{read_line, too_long},
};

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A response that arrived whole; later questions like it get it.
    Answer,
    /// The same, asked for in spite of an earlier one, whose place it takes.
    Renewed,
    /// The same, not to be found by later questions.
    Unshared,
    /// A request that failed. Never an answer.
    Failure,
    /// A request that failed for good, and that a run went on without: a replay does too.
    Abandoned,
}

impl Kind {
    /// Whether it holds what an endpoint answered.
    pub fn is_response(self) -> bool {
        matches!(self, Self::Answer | Self::Renewed | Self::Unshared)
    }
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    /// Of the input: what the endpoint had in its cache.
    #[serde(default)]
    pub cached: u64,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub kind: Kind,
    pub key: String,
    /// Of the response, 16 hex of BLAKE3: filled in by [`line`].
    pub hash: String,
    /// What it was for, e.g. `item 12`; not a part of the key.
    pub about: String,
    pub judge: String,
    /// The canonical request.
    pub request: Value,
    /// The response's JSON; null of failures without any.
    pub response: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(default)]
    pub status: u16,
    /// Milliseconds since 1970.
    pub at: u64,
    pub latency_ms: u64,
    /// The first try is 1.
    pub attempt: u32,
    #[serde(default)]
    pub usage: Usage,
    /// What it cost, where the price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
    /// How many responses to the request it takes the place of, one after the other: of two, the one that knew of
    /// more is the later, wherever it stands.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// `model`, `system_fingerprint` and `finish_reason` as answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finish: Option<String>,
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Record {
    /// A failure, now, of which nothing is said yet.
    pub fn failure() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            kind: Kind::Failure,
            key: String::new(),
            hash: String::new(),
            about: String::new(),
            judge: String::new(),
            request: Value::Null,
            response: Value::Null,
            cause: None,
            status: 0,
            at: now.unwrap_or_default().as_millis() as u64,
            latency_ms: 0,
            attempt: 1,
            usage: Usage::default(),
            money: None,
            generation: 0,
            model: None,
            fingerprint: None,
            finish: None,
        }
    }
}

/// What the index keeps of a record.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    pub kind: Kind,
    pub key: Key,
    /// Of the response: two answers to one key are told apart by it.
    pub response: u64,
    pub generation: u32,
}

const START: &[u8] = b"{\"sum\":\"";
/// Bytes that must be free before the first request.
const ROOM: u64 = 1 << 20;
const MIDDLE: &[u8] = b"\",\"record\":";

/// A record as a line with its end.
pub fn line(record: &mut Record) -> Vec<u8> {
    record.hash = sum(record.response.to_string().as_bytes());
    // invariant: a record has string keys only
    let text = serde_json::to_vec(record).expect("a record serialises");
    with_sum(&text)
}

/// A record's text as a line with its end.
pub fn with_sum(text: &[u8]) -> Vec<u8> {
    let mut line = Vec::with_capacity(text.len() + 48);
    line.extend_from_slice(START);
    line.extend_from_slice(sum(text).as_bytes());
    line.extend_from_slice(MIDDLE);
    line.extend_from_slice(text);
    line.extend_from_slice(b"}\n");
    line
}

fn sum(text: &[u8]) -> String {
    blake3::hash(text).to_hex()[..16].to_owned()
}

/// The record's text in a line (with or without its end) whose checksum holds.
pub fn checked(line: &[u8]) -> Option<&[u8]> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let rest = line.strip_prefix(START)?;
    let (found, rest) = rest.split_at_checked(16)?;
    let text = rest.strip_prefix(MIDDLE)?.strip_suffix(b"}")?;
    (sum(text).as_bytes() == found).then_some(text)
}

/// The record of a checked text.
pub fn record(text: &[u8]) -> Option<Record> {
    serde_json::from_slice(text).ok()
}

/// The head of a checked text, without reading the rest.
pub fn head(text: &[u8]) -> Option<Head> {
    #[derive(Deserialize)]
    struct Brief<'a> {
        kind: Kind,
        #[serde(borrow)]
        key: std::borrow::Cow<'a, str>,
        #[serde(borrow)]
        hash: std::borrow::Cow<'a, str>,
        #[serde(default)]
        generation: u32,
    }
    let brief: Brief = serde_json::from_slice(text).ok()?;
    let response = u64::from_str_radix(&brief.hash, 16).ok()?;
    let (kind, generation) = (brief.kind, brief.generation);
    Some(Head { kind, key: from_hex(&brief.key)?, response, generation })
}

/// What was found at a place of a segment.
pub enum Found<'a> {
    /// A record's text whose checksum holds.
    Record(&'a [u8]),
    /// A line that is not one.
    Damaged,
    /// The last line, without its end.
    Torn,
}

/// Reads a segment from `from` on: calls `each` with (line number counted from there, offset, length,
/// what was found). Returns the offset after the last whole line.
pub fn scan(
    path: &Path,
    from: u64,
    each: &mut dyn FnMut(usize, u64, usize, Found),
) -> io::Result<u64> {
    let mut file = open_own(path)?;
    file.seek(SeekFrom::Start(from))?;
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut at, mut line, mut number) = (from, Vec::new(), 0);
    loop {
        let (n, is_whole) = read_line(&mut reader, &mut line)?;
        if n == 0 {
            return Ok(at);
        }
        number += 1;
        if !is_whole {
            let what = format!("{}: line {number} after byte {from}", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, too_long(&what)));
        }
        if line.last() != Some(&b'\n') {
            each(number, at, n, Found::Torn);
            return Ok(at);
        }
        match checked(&line) {
            Some(text) => each(number, at, n, Found::Record(text)),
            None => each(number, at, n, Found::Damaged),
        }
        at += n as u64;
    }
}

/// Whether another process is writing the segment.
pub fn is_being_written(path: &Path) -> bool {
    let Ok(file) = open_own(path) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// What became of an end without a line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its process still writes it, or has finished it meanwhile.
    Alive,
    /// So many bytes that nobody had used were cut off.
    Cut(u64),
    /// The record was whole, and only its line break was missing.
    Mended,
}

/// Looks at the end of a segment from `at` on, while nobody else can write it, and mends it.
pub fn mend_end(path: &Path, at: u64) -> io::Result<End> {
    let mut file = open_to_mend(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(End::Alive),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Its process may have finished the line since it was looked at.
    file.seek(SeekFrom::Start(at))?;
    let mut rest = Vec::new();
    file.read_to_end(&mut rest)?;
    let whole = rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let torn = &rest[whole..];
    let start = at + whole as u64;
    let end = match (torn.is_empty(), checked(torn).is_some(), torn.split_last()) {
        (true, ..) => return Ok(End::Alive),
        (_, true, _) => {
            file.write_all(b"\n")?;
            End::Mended
        }
        // A line break of which a bit was flipped.
        (_, _, Some((_, before))) if checked(before).is_some() => {
            file.seek(SeekFrom::Start(start + before.len() as u64))?;
            file.write_all(b"\n")?;
            End::Mended
        }
        _ => {
            file.set_len(start)?;
            End::Cut(torn.len() as u64)
        }
    };
    file.sync_all()?;
    Ok(end)
}

/// Where a record was put.
#[derive(Clone, Debug)]
pub struct Written {
    pub segment: PathBuf,
    pub offset: u64,
    pub len: u32,
}

/// Called once the record is on disk, or with why it is not.
pub type Done = Box<dyn FnOnce(Result<Written, String>) + Send>;

/// Writes records on a thread of its own; those that come at one time share one fsync.
pub struct Writer {
    sender: Option<mpsc::Sender<(Vec<u8>, Done)>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// A writer of new segments in `dir`. No file is made before the first record.
    pub fn new(dir: &Path) -> Self {
        let dir = dir.to_owned();
        let (sender, receiver) = mpsc::channel::<(Vec<u8>, Done)>();
        let thread = thread::spawn(move || {
            let mut segment: Option<Segment> = None;
            while let Ok(first) = receiver.recv() {
                let mut batch = vec![first];
                batch.extend(receiver.try_iter());
                write_batch(&dir, &mut segment, batch);
            }
        });
        Self { sender: Some(sender), thread: Some(thread) }
    }

    /// Makes sure that lines can be written: a segment is there, with room for what comes first.
    pub fn probe(&self) -> Result<(), String> {
        let (sender, probed) = mpsc::channel();
        let done: Done = Box::new(move |written| drop(sender.send(written.map(drop))));
        self.write(Vec::new(), done);
        probed.recv().unwrap_or_else(|_| Err("the journal's thread has ended".into()))
    }

    /// Writes a line; `done` is called when it is on disk.
    pub fn write(&self, line: Vec<u8>, done: Done) {
        if let Some(sender) = &self.sender
            && let Err(mpsc::SendError((_, done))) = sender.send((line, done))
        {
            done(Err("the journal's thread has ended".into()));
        }
    }
}

impl Drop for Writer {
    /// Waits until everything is on disk.
    fn drop(&mut self) {
        self.sender = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Segment {
    path: PathBuf,
    file: File,
    len: u64,
}

fn write_batch(dir: &Path, segment: &mut Option<Segment>, batch: Vec<(Vec<u8>, Done)>) {
    let lines: Vec<&[u8]> = batch.iter().map(|(line, _)| &line[..]).collect();
    match append(dir, segment, &lines) {
        Ok(places) => {
            for ((_, done), place) in batch.into_iter().zip(places) {
                done(Ok(place));
            }
        }
        Err(error) => {
            for (_, done) in batch {
                done(Err(format!("the journal in {} cannot be written: {error}", dir.display())));
            }
        }
    }
}

fn append(dir: &Path, segment: &mut Option<Segment>, lines: &[&[u8]]) -> io::Result<Vec<Written>> {
    let segment = match segment {
        Some(segment) => segment,
        None => segment.insert(begin(dir)?),
    };
    let start = segment.len;
    if lines.iter().all(|line| line.is_empty()) {
        make_room(&segment.file, start)?;
    }
    let mut places = Vec::with_capacity(lines.len());
    let mut write = || -> io::Result<()> {
        for line in lines {
            segment.file.write_all(line)?;
            places.push(Written {
                segment: segment.path.clone(),
                offset: segment.len,
                len: line.len() as u32,
            });
            segment.len += line.len() as u64;
        }
        segment.file.sync_data()
    };
    if let Err(error) = write() {
        // Half a line in the middle would look like damage later.
        segment.len = start;
        segment.file.set_len(start)?;
        segment.file.seek(SeekFrom::Start(start))?;
        return Err(error);
    }
    Ok(places)
}

/// Takes some of the disk and gives it back: a full one is noticed before anything is paid.
fn make_room(file: &File, len: u64) -> io::Result<()> {
    // Safe: the descriptor is open.
    let taken =
        unsafe { libc::posix_fallocate(file.as_raw_fd(), len as libc::off_t, ROOM as libc::off_t) };
    file.set_len(len)?;
    match taken {
        0 => Ok(()),
        // A file system that cannot do that.
        libc::EOPNOTSUPP | libc::EINVAL => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The number that a new segment's name starts with at least, to be the last of all.
fn after_all(dir: &Path) -> io::Result<u64> {
    let mut next = 0;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let name = name.to_string_lossy();
        let number = name.strip_suffix(".jsonl").and_then(|name| name.split('-').next());
        if let Some(number) = number.and_then(|number| number.parse::<u64>().ok()) {
            next = next.max(number.saturating_add(1));
        }
    }
    match next < 100_000_000_000_000 {
        true => Ok(next),
        // No clock of ours: a name of one digit more would be sorted before it.
        false => Err(io::Error::other(format!(
            "a file in {} has a time in its name that no later one can follow: rename it",
            dir.display()
        ))),
    }
}

/// Makes a segment that nobody else writes, locked for as long as it is open.
fn begin(dir: &Path) -> io::Result<Segment> {
    fs::create_dir_all(dir)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // Later files take the place of earlier ones, whatever the clock says meanwhile.
    let now = (now.unwrap_or_default().as_millis() as u64).max(after_all(dir)?);
    let mut at = 0;
    loop {
        let path = dir.join(format!("{now:014}-{:08}-{at}.jsonl", std::process::id()));
        match OpenOptions::new().create_new(true).append(true).open(&path) {
            Ok(file) => {
                file.lock()?;
                // The name must survive a power cut too.
                File::open(dir)?.sync_all()?;
                return Ok(Segment { path, file, len: 0 });
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => at += 1,
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub fn sample(key: u8) -> Record {
        Record {
            kind: Kind::Answer,
            key: super::super::key::hex(&[key; 32]),
            response: serde_json::json!({"n": key}),
            ..Record::failure()
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let mut written = sample(7);
        let line = line(&mut written);
        assert_eq!(record(checked(&line).unwrap()).unwrap(), written);
        for at in 0..line.len() - 1 {
            let mut flipped = line.clone();
            flipped[at] ^= 1;
            assert!(checked(&flipped).is_none(), "byte {at}");
        }
    }

    #[test]
    fn a_new_segment_is_the_last_whatever_the_clock_says() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("09999999999990-00000001-0.jsonl"), "").unwrap();
        let segment = begin(dir.path()).unwrap();
        let name = segment.path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("09999999999991-"), "{name}");
        fs::write(dir.path().join("99999999999999-00000001-0.jsonl"), "").unwrap();
        assert!(begin(dir.path()).is_err());
    }

    #[test]
    fn records_are_on_disk_when_their_writer_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::new(dir.path());
        let (sender, told) = mpsc::channel();
        for key in 0..50 {
            let sender = sender.clone();
            writer.write(
                line(&mut sample(key)),
                Box::new(move |written| sender.send(written.unwrap()).unwrap()),
            );
        }
        for _ in 0..50 {
            let written = told.recv().unwrap();
            let bytes = fs::read(&written.segment).unwrap();
            let line = &bytes[written.offset as usize..][..written.len as usize];
            assert!(checked(line).is_some());
            assert!(is_being_written(&written.segment));
        }
        drop(writer);
        let segment = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        assert!(!is_being_written(&segment));
        let mut count = 0;
        let end = scan(&segment, 0, &mut |_, _, _, found| {
            count += usize::from(matches!(found, Found::Record(_)));
        });
        assert_eq!((count, end.unwrap()), (50, fs::metadata(&segment).unwrap().len()));
    }
}

//! The journal: append-only files of lines with checksums. Each process writes its own file.
//!
//! A line is `{"sum":"<16 hex of BLAKE3>","record":{…}}`; the sum is over the bytes of the record.

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
    files::{open_own, open_to_repair},
    limits::{read_line, too_long},
};

/// The kind of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A complete response; later requests with the same key use it.
    #[serde(rename = "answer")]
    Response,
    /// A response that replaces an earlier one.
    Renewed,
    /// A response that later requests do not use.
    Unshared,
    /// A request that failed; it has no response.
    Failure,
    /// A request that failed after all retries in a run that then continued without it. A replay continues, too.
    Abandoned,
}

impl Kind {
    /// Whether it contains a response of an endpoint.
    pub fn is_response(self) -> bool {
        matches!(self, Self::Response | Self::Renewed | Self::Unshared)
    }
}

/// Tokens of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    /// Input tokens in the cache of the endpoint.
    #[serde(default)]
    pub cached: u64,
}

/// One call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub kind: Kind,
    pub key: String,
    /// BLAKE3 of the response, 16 hexadecimal digits; filled in by [`line`].
    pub hash: String,
    /// Its purpose, e.g. `item 12`; not a part of the key.
    pub about: String,
    /// The name of the endpoint in the experiment.
    #[serde(rename = "judge")]
    pub endpoint: String,
    /// The canonical request.
    pub request: Value,
    /// The response as JSON; null for failures without a response.
    pub response: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    #[serde(default)]
    pub status: u16,
    /// Milliseconds since 1970.
    pub at: u64,
    pub latency_ms: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    #[serde(default)]
    pub usage: Usage,
    /// Its cost, if the price is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub money: Option<f64>,
    /// How many responses to the same request it replaces. Of two responses, the one with the higher generation is the
    /// later, whichever file contains it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub generation: u32,
    /// `model`, `system_fingerprint` and `finish_reason` of the response.
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
    /// A failure at the current time, without further details.
    pub fn failure() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            kind: Kind::Failure,
            key: String::new(),
            hash: String::new(),
            about: String::new(),
            endpoint: String::new(),
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

/// The part of a record that the index stores.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Head {
    pub kind: Kind,
    pub key: Key,
    /// Hash of the response, to compare two responses to one key.
    pub response: u64,
    pub generation: u32,
}

const START: &[u8] = b"{\"sum\":\"";
/// Bytes that must be free before the first request.
const ROOM: u64 = 1 << 20;
const MIDDLE: &[u8] = b"\",\"record\":";

/// A record as a line with its line break.
pub fn line(record: &mut Record) -> Vec<u8> {
    record.hash = sum(record.response.to_string().as_bytes());
    // invariant: a record has string keys only
    let text = serde_json::to_vec(record).expect("a record serialises");
    with_sum(&text)
}

/// The text of a record as a line with its line break.
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

/// The text of the record in a line (with or without its line break), if the checksum matches.
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

/// The head of a checked text, without parsing the rest.
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

/// What a line of a segment contains.
pub enum LineState<'a> {
    /// The text of a record whose checksum matches.
    Record(&'a [u8]),
    /// A line without a valid checksum.
    Damaged,
    /// The last line, without a line break.
    Torn,
}

/// Reads a segment from the offset `from`: calls `each` with line number (from there), offset, length, and content.
/// Returns the offset after the last complete line.
pub fn scan(
    path: &Path,
    from: u64,
    each: &mut dyn FnMut(usize, u64, usize, LineState),
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
            each(number, at, n, LineState::Torn);
            return Ok(at);
        }
        match checked(&line) {
            Some(text) => each(number, at, n, LineState::Record(text)),
            None => each(number, at, n, LineState::Damaged),
        }
        at += n as u64;
    }
}

/// Whether another process is writing the segment.
pub fn is_being_written(path: &Path) -> bool {
    let Ok(file) = open_own(path) else { return false };
    matches!(file.try_lock(), Err(TryLockError::WouldBlock))
}

/// The result of [`repair_end`] for a last line without a line break.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its process is still writing it, or has finished it since.
    Alive,
    /// So many bytes, which were never used, were removed.
    Cut(u64),
    /// The record was complete; only its line break was missing.
    Repaired,
}

/// Repairs the end of a segment from the offset `at`, while no other process can write to it.
pub fn repair_end(path: &Path, at: u64) -> io::Result<End> {
    let mut file = open_to_repair(path)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Ok(End::Alive),
        Err(TryLockError::Error(error)) => return Err(error),
    }
    // Its process may have finished the line since it was read.
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
            End::Repaired
        }
        // A line break with a flipped bit.
        (_, _, Some((_, before))) if checked(before).is_some() => {
            file.seek(SeekFrom::Start(start + before.len() as u64))?;
            file.write_all(b"\n")?;
            End::Repaired
        }
        _ => {
            file.set_len(start)?;
            End::Cut(torn.len() as u64)
        }
    };
    file.sync_all()?;
    Ok(end)
}

/// The position of a written record.
#[derive(Clone, Debug)]
pub struct Written {
    pub segment: PathBuf,
    pub offset: u64,
    pub len: u32,
}

/// Called when the record is on disk, or with the error.
pub type Done = Box<dyn FnOnce(Result<Written, String>) + Send>;

/// Writes records on its own thread; records that arrive together share one fsync.
pub struct Writer {
    sender: Option<mpsc::Sender<(Vec<u8>, Done)>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    /// A writer of new segments in `dir`. No file is created before the first record.
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

    /// Checks that lines can be written: creates a segment and reserves disk space.
    pub fn probe(&self) -> Result<(), String> {
        let (sender, probed) = mpsc::channel();
        let done: Done = Box::new(move |written| drop(sender.send(written.map(drop))));
        self.write(Vec::new(), done);
        probed.recv().unwrap_or_else(|_| Err("the journal's thread has stopped".into()))
    }

    /// Writes a line; `done` is called when it is on disk.
    pub fn write(&self, line: Vec<u8>, done: Done) {
        if let Some(sender) = &self.sender
            && let Err(mpsc::SendError((_, done))) = sender.send((line, done))
        {
            done(Err("the journal's thread has stopped".into()));
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
        // A partial line would look like damage later.
        segment.len = start;
        segment.file.set_len(start)?;
        segment.file.seek(SeekFrom::Start(start))?;
        return Err(error);
    }
    Ok(places)
}

/// Allocates and frees some disk space, so that a full disk is found before anything is paid for.
fn make_room(file: &File, len: u64) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    let allocated =
        unsafe { libc::posix_fallocate(file.as_raw_fd(), len as libc::off_t, ROOM as libc::off_t) };
    file.set_len(len)?;
    match allocated {
        0 => Ok(()),
        // The file system does not support it.
        libc::EOPNOTSUPP | libc::EINVAL => Ok(()),
        error => Err(io::Error::from_raw_os_error(error)),
    }
}

/// The lowest number with which the name of a new segment sorts after all others.
fn next_number(dir: &Path) -> io::Result<u64> {
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
        // No valid time: a name with one more digit would sort before it.
        false => Err(io::Error::other(format!(
            "a file in {} has a time in its name that is too late for a later file; rename it",
            dir.display()
        ))),
    }
}

/// Creates a segment that only this process writes, locked while it is open.
fn begin(dir: &Path) -> io::Result<Segment> {
    fs::create_dir_all(dir)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    // Later files replace earlier ones, even if the clock was set back.
    let now = (now.unwrap_or_default().as_millis() as u64).max(next_number(dir)?);
    let mut at = 0;
    loop {
        let path = dir.join(format!("{now:014}-{:08}-{at}.jsonl", std::process::id()));
        match OpenOptions::new().create_new(true).append(true).open(&path) {
            Ok(file) => {
                file.lock()?;
                // The directory entry must survive a power failure, too.
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
            kind: Kind::Response,
            key: super::super::key::hex(&[key; 32]),
            response: serde_json::json!({"n": key}),
            ..Record::failure()
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_detected() {
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
    fn a_new_segment_sorts_last_even_if_the_clock_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("09999999999990-00000001-0.jsonl"), "").unwrap();
        let segment = begin(dir.path()).unwrap();
        let name = segment.path.file_name().unwrap().to_string_lossy().into_owned();
        assert!(name.starts_with("09999999999991-"), "{name}");
        fs::write(dir.path().join("99999999999999-00000001-0.jsonl"), "").unwrap();
        assert!(begin(dir.path()).is_err());
    }

    #[test]
    fn records_are_on_disk_when_the_callback_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let writer = Writer::new(dir.path());
        let (sender, done) = mpsc::channel();
        for key in 0..50 {
            let sender = sender.clone();
            writer.write(
                line(&mut sample(key)),
                Box::new(move |written| sender.send(written.unwrap()).unwrap()),
            );
        }
        for _ in 0..50 {
            let written = done.recv().unwrap();
            let bytes = fs::read(&written.segment).unwrap();
            let line = &bytes[written.offset as usize..][..written.len as usize];
            assert!(checked(line).is_some());
            assert!(is_being_written(&written.segment));
        }
        drop(writer);
        let segment = fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        // Another test may be starting a program, which has the file, too, until it has replaced this one.
        let is_free = (0..500).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(10));
            !is_being_written(&segment)
        });
        assert!(is_free);
        let mut count = 0;
        let end = scan(&segment, 0, &mut |_, _, _, found| {
            count += usize::from(matches!(found, LineState::Record(_)));
        });
        assert_eq!((count, end.unwrap()), (50, fs::metadata(&segment).unwrap().len()));
    }
}

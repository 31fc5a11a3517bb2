//! Cassettes: responses in one compressed file of JSON lines, with a manifest in the first line.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use flate2::{Compression, GzBuilder, bufread, read::GzDecoder};
use serde::{Deserialize, Serialize};

use super::{
    LlmError, journal,
    journal::Kind,
    key::{Key, from_hex},
    responses::Responses,
};
use crate::base::{
    files::{open_plain, temporary_file},
    hash::Digest,
    limits::{read_line, too_long},
    terminal::on_one_line,
};

/// The first line of a cassette.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format.
    pub cassette: u32,
    #[serde(rename = "answers")]
    pub responses: usize,
    /// BLAKE3 of all lines after this one.
    pub blake3: Digest,
    /// Responses by requested model.
    pub models: BTreeMap<String, usize>,
    /// Milliseconds since 1970 of the first and the last response.
    pub first: u64,
    pub last: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    /// Their cost, as far as prices were known.
    pub money: f64,
    pub assay: String,
}

impl Manifest {
    fn empty() -> Self {
        Self {
            cassette: VERSION,
            responses: 0,
            blake3: Digest::of(""),
            models: BTreeMap::new(),
            first: u64::MAX,
            last: 0,
            input_tokens: 0,
            output_tokens: 0,
            money: 0.0,
            assay: env!("CARGO_PKG_VERSION").into(),
        }
    }

    fn count(&mut self, record: &journal::Record) {
        let model = record.request["body"]["model"].as_str().unwrap_or("none").to_owned();
        *self.models.entry(model).or_default() += 1;
        self.first = self.first.min(record.at);
        self.last = self.last.max(record.at);
        self.input_tokens = self.input_tokens.saturating_add(record.usage.input);
        self.output_tokens = self.output_tokens.saturating_add(record.usage.output);
        self.money += record.money.unwrap_or(0.0);
    }

    /// The first field that differs from `counted`, the manifest of the records.
    fn differs(&self, counted: &Self) -> Option<String> {
        let is_other = |what: &str, says: String, is: String| {
            (says != is)
                .then(|| format!("its manifest says {what} {says}, but its records give {is}"))
        };
        let models = |of: &Self| format!("{:?}", of.models);
        let dates = |of: &Self| format!("{} to {}", of.first.min(of.last), of.last);
        let tokens = |of: &Self| format!("{} + {}", of.input_tokens, of.output_tokens);
        // Sums of floats, printed and read again.
        let money = |of: &Self| match (of.money - counted.money).abs() <= 1e-9 * counted.money.abs()
        {
            true => counted.money.to_string(),
            false => of.money.to_string(),
        };
        is_other("responses", self.responses.to_string(), counted.responses.to_string())
            .or_else(|| is_other("models", models(self), models(counted)))
            .or_else(|| is_other("dates", dates(self), dates(counted)))
            .or_else(|| is_other("tokens", tokens(self), tokens(counted)))
            .or_else(|| is_other("money", money(self), money(counted)))
    }
}

const VERSION: u32 = 1;
/// Maximum size of the first line in bytes.
const MAX_MANIFEST: u64 = 1 << 20;

/// The result of an import.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Imported {
    pub manifest: Manifest,
    pub added: usize,
    /// Responses that were already recorded.
    pub known: usize,
    /// Responses whose recorded lines were damaged.
    #[serde(rename = "mended")]
    pub repaired: usize,
    /// Keys of responses that were already recorded with other content, which is kept.
    pub conflicts: Vec<String>,
}

/// Writes the responses of `keys` (of all keys if none are given) to `path`, in the order of their keys.
pub fn export(
    responses: &Responses,
    keys: Option<&BTreeSet<Key>>,
    path: &Path,
) -> Result<Manifest, LlmError> {
    let places = responses.with_index(|index| index.places());
    let mut places = places.map_err(|error| LlmError::store(responses.dir(), error))?;
    places.retain(|(key, ..)| keys.is_none_or(|keys| keys.contains(key)));
    places.sort_by_key(|place| place.0);
    if let Some(missing) = keys.filter(|keys| keys.len() > places.len()) {
        return Err(LlmError::Store(format!(
            "{} of {} responses are no longer in the journal\n  = help: run `assay cache verify`",
            missing.len() - places.len(),
            missing.len()
        )));
    }
    let mut manifest = Manifest::empty();
    // Two passes: the manifest comes first, and only one line is in memory at a time.
    let mut hasher = blake3::Hasher::new();
    for (_, segment, place) in &places {
        let line = read(responses, segment, place)?;
        hasher.update(&line);
        let record = journal::checked(&line).and_then(journal::record);
        let record = record.ok_or_else(|| damaged(segment))?;
        manifest.count(&record);
    }
    manifest.responses = places.len();
    manifest.first = manifest.first.min(manifest.last);
    manifest.blake3 = Digest::from_blake3(hasher.finalize());
    let fail = |error: io::Error| LlmError::store(path, error);
    let directory = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    let file = temporary_file(directory.unwrap_or(Path::new("."))).map_err(fail)?;
    // No time and no name in the header, so that the same responses give the same bytes.
    let mut out = GzBuilder::new().write(BufWriter::new(&file), Compression::default());
    let head = serde_json::to_string(&manifest).map_err(|error| fail(error.into()))?;
    out.write_all(head.as_bytes()).and_then(|()| out.write_all(b"\n")).map_err(fail)?;
    for (_, segment, place) in &places {
        out.write_all(&read(responses, segment, place)?).map_err(fail)?;
    }
    out.finish().and_then(|mut out| out.flush()).map_err(fail)?;
    file.as_file().sync_all().map_err(fail)?;
    #[cfg(unix)]
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .map_err(fail)?;
    file.persist(path).map_err(|error| fail(error.error))?;
    Ok(manifest)
}

fn read(
    responses: &Responses,
    segment: &Path,
    place: &super::index::Place,
) -> Result<Vec<u8>, LlmError> {
    responses.line(segment, place).map_err(|error| LlmError::store(segment, error))
}

fn damaged(segment: &Path) -> LlmError {
    LlmError::Store(format!(
        "{}: a line is damaged\n  = help: `assay cache verify` shows which",
        segment.display()
    ))
}

/// Imports the responses of a cassette, if all of it is valid. A second import changes nothing.
pub fn import(responses: &Responses, path: &Path) -> Result<Imported, LlmError> {
    let manifest = verify(path)?;
    let mut imported =
        Imported { manifest, added: 0, known: 0, repaired: 0, conflicts: Vec::new() };
    let mut repaired = 0;
    let problem: Arc<Mutex<Option<String>>> = Arc::default();
    let known = responses.with_index(|index| index.places());
    let known = known.map_err(|error| LlmError::store(responses.dir(), error))?;
    let known: BTreeSet<Key> = known.into_iter().map(|(key, ..)| key).collect();
    let (sender, done) = std::sync::mpsc::channel();
    each_line(path, &mut |line| {
        let (text, record, key) = valid(line)?;
        if known.contains(&key) {
            match responses.get(&key) {
                Ok(Some(before)) if before.response == record.response => imported.known += 1,
                // The recorded line is damaged: the cassette repairs it.
                Err(_) => imported.repaired += 1,
                _ => imported.conflicts.push(record.key),
            }
            if imported.repaired == repaired {
                return Ok(());
            }
            repaired = imported.repaired;
        } else {
            imported.added += 1;
        }
        let (problem, sender) = (problem.clone(), sender.clone());
        responses.append_line(journal::with_sum(text), move |written| {
            if let Err(error) = written {
                *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            let _ = sender.send(());
        });
        Ok(())
    })
    .map_err(|problem| unusable(path, &problem))?;
    drop(sender);
    // Waits until every line is on disk.
    while done.recv().is_ok() {}
    let problem = problem.lock().unwrap_or_else(PoisonError::into_inner).take();
    match problem {
        Some(problem) => Err(LlmError::Store(problem)),
        None => Ok(imported),
    }
}

/// Whether a file begins with the manifest of a cassette.
pub fn is_cassette(path: &Path) -> bool {
    let Ok(file) = open_plain(path) else { return false };
    let mut line = Vec::new();
    let read = BufReader::new(GzDecoder::new(file).take(MAX_MANIFEST)).read_until(b'\n', &mut line);
    read.is_ok() && serde_json::from_slice::<Manifest>(&line).is_ok()
}

/// The manifest of a cassette, after all lines have been checked against it.
pub fn verify(path: &Path) -> Result<Manifest, LlmError> {
    let mut manifest = None;
    let (mut hasher, mut counted) = (blake3::Hasher::new(), Manifest::empty());
    let mut keys = BTreeSet::new();
    each_line_with_head(
        path,
        &mut |head| {
            let read: Manifest =
                serde_json::from_slice(head).map_err(|_| "its first line is not a manifest")?;
            if read.cassette != VERSION {
                return Err("it was written by another version of assay");
            }
            manifest = Some(read);
            Ok(())
        },
        &mut |line| {
            hasher.update(line);
            // All records are checked before any is imported.
            let (_, record, key) = valid(line)?;
            if !keys.insert(key) {
                return Err("a second response to the same request");
            }
            counted.responses += 1;
            counted.count(&record);
            Ok(())
        },
    )
    .map_err(|problem| unusable(path, &problem))?;
    let manifest = manifest.ok_or_else(|| unusable(path, "it is empty"))?;
    if let Some(problem) = manifest.differs(&counted) {
        return Err(unusable(path, &shortened(&problem)));
    }
    if manifest.blake3 != Digest::from_blake3(hasher.finalize()) {
        return Err(unusable(path, "its responses do not match the hash in its manifest"));
    }
    Ok(manifest)
}

/// A problem on one line, shortened.
fn shortened(problem: &str) -> String {
    on_one_line(&problem.chars().take(400).collect::<String>())
}

/// A valid line: the text of its record, the record, and its key.
fn valid(line: &[u8]) -> Result<(&[u8], journal::Record, Key), &'static str> {
    if line.last() != Some(&b'\n') {
        return Err("the last line has no line break");
    }
    let text = journal::checked(line).ok_or("a line is damaged")?;
    let record = journal::record(text).ok_or("a line is not a record")?;
    if record.kind == Kind::Failure {
        return Err("a line is not a response");
    }
    let key = from_hex(&record.key).ok_or("a line has no key")?;
    match super::key::key_of(&record.request) == key {
        true => Ok((text, record, key)),
        false => Err("the key of a response does not match its request"),
    }
}

fn unusable(path: &Path, problem: &str) -> LlmError {
    LlmError::Store(format!(
        "{}: {problem}\n  = help: download the cassette again; nothing was imported",
        path.display()
    ))
}

type EachLine<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), &'static str>;

fn each_line(path: &Path, each: EachLine) -> Result<(), String> {
    each_line_with_head(path, &mut |_| Ok(()), each)
}

fn each_line_with_head(path: &Path, head: EachLine, each: EachLine) -> Result<(), String> {
    let file = open_plain(path).map_err(|error| error.to_string())?;
    let packed = BufReader::with_capacity(1 << 20, file);
    let mut reader = BufReader::with_capacity(1 << 20, bufread::GzDecoder::new(packed));
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        let (n, is_whole) = read_line(&mut reader, &mut line)
            .map_err(|error| format!("it cannot be unpacked: {error}"))?;
        if n == 0 {
            let mut behind = reader.into_inner().into_inner();
            return match behind.fill_buf().map_err(|error| error.to_string())?.is_empty() {
                true => Ok(()),
                false => Err("it has bytes after its end".into()),
            };
        }
        number += 1;
        if !is_whole {
            return Err(too_long(&format!("line {number}")));
        }
        let result = if number == 1 { head(&line) } else { each(&line) };
        result.map_err(|problem| format!("line {number}: {problem}"))?;
    }
}

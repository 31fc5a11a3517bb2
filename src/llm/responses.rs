//! The responses of a workspace: the journal and its index.

use std::{
    collections::HashMap,
    fs,
    fs::File,
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use super::{
    LlmError,
    index::{Counts, Index, Place},
    journal,
    journal::{Done, Record, Writer},
    key::{Identity, Key, hex},
    reply, short,
};
use crate::base::files::{is_read_only, open_lock, open_own};

/// Locked by every process that uses the responses.
const USERS: &str = "users.lock";

/// Responses in a directory: `journal/` contains them, `index/` finds them.
pub struct Responses {
    dir: PathBuf,
    index: Arc<Mutex<Index>>,
    files: Mutex<HashMap<PathBuf, Arc<File>>>,
    // Dropped first, see `drop`: records in flight must be indexed before the index is sealed.
    writer: Option<Writer>,
    /// A shared lock; exclusive for a process that removes files. None in a read-only directory, from which no process
    /// can remove files.
    users: Option<File>,
    /// Why the journal cannot be written, as tested before the first request.
    probed: OnceLock<Option<String>>,
    /// The error of a failed write: responses to further requests would be paid for and lost.
    broken: Arc<OnceLock<String>>,
}

impl Responses {
    /// Opens or creates the directory.
    pub fn open(dir: &Path) -> Result<Self, LlmError> {
        let failed = |error| LlmError::store(dir, error);
        // Before anything is read: `cache gc` removes files while it has the exclusive lock.
        let users = match fs::create_dir_all(dir).and_then(|()| open_lock(&dir.join(USERS))) {
            Ok(file) => Some(file),
            Err(error) if is_read_only(&error) && dir.is_dir() => open_own(&dir.join(USERS)).ok(),
            Err(error) => return Err(failed(error)),
        };
        if let Some(file) = &users {
            file.lock_shared().map_err(failed)?;
        }
        let index = Index::open(dir).map_err(failed)?;
        let writer = Some(Writer::new(&dir.join("journal")));
        Ok(Self {
            users,
            probed: OnceLock::new(),
            broken: Arc::default(),
            dir: dir.to_owned(),
            index: Arc::new(Mutex::new(index)),
            files: Mutex::default(),
            writer,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Calls `work` with the index.
    pub fn with_index<T>(&self, work: impl FnOnce(&mut Index) -> T) -> T {
        work(&mut self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes the exclusive lock; false if another process uses these responses.
    pub fn lock_exclusively(&self) -> bool {
        self.users.as_ref().is_some_and(|users| users.try_lock().is_ok())
            && self.with_index(|index| index.is_owner())
    }

    /// Indexes what other processes have written.
    pub fn catch_up_with_others(&self) -> Result<(), LlmError> {
        self.with_index(|index| index.catch_up_with_others())
            .map_err(|error| LlmError::store(&self.dir, error))
    }

    /// Warnings from opening the responses; each is returned once.
    pub fn take_notes(&self) -> Vec<String> {
        self.with_index(|index| std::mem::take(&mut index.notes))
    }

    /// Numbers of records.
    pub fn counts(&self) -> Counts {
        self.with_index(|index| index.counts)
    }

    /// The response to a request, if there is one; an error if the recorded request differs. A reply that reports a failure
    /// of the server does not count, even if an earlier version recorded it as a response.
    pub fn find(&self, request: &Identity) -> Result<Option<Record>, LlmError> {
        let Some(record) = self.get(&request.key)? else {
            let (damaged, lost) = self.with_index(|index| (index.unacknowledged(), index.lost()));
            if !lost.is_empty() {
                return Err(LlmError::Store(format!(
                    "files of the journal in {} are missing or truncated, and may have contained a response that is \
                     needed: {}\n  = help: restore them from a backup, or run `assay cache rebuild` to continue \
                     without them: the responses are then requested again",
                    self.dir.join("journal").display(),
                    lost.join(", ")
                )));
            }
            if damaged > 0 {
                return Err(LlmError::Store(format!(
                    "{damaged} damaged {} of the journal in {} may contain a response that is needed\n  \
                     = help: `assay cache verify` shows damage; restore the files from a backup, or run `assay cache \
                     rebuild` to continue without: the responses are then requested again",
                    if damaged == 1 { "line" } else { "lines" },
                    self.dir.join("journal").display()
                )));
            }
            return Ok(None);
        };
        if record.request != request.canonical {
            return Err(LlmError::Store(format!(
                "the response {} was recorded for another request\n  = help: run `assay cache verify`",
                short(&record.key)
            )));
        }
        let url = record.request["url"].as_str().unwrap_or_default();
        let is_failure = record.kind.is_response()
            && url.ends_with("/chat/completions")
            && reply::failure(&record.response).is_some();
        Ok(Some(record).filter(|_| !is_failure))
    }

    /// The record of a key, if there is one.
    pub fn get(&self, key: &Key) -> Result<Option<Record>, LlmError> {
        let found = self.with_index(|index| index.find(key));
        let found = found.map_err(|error| LlmError::store(&self.dir, error))?;
        let Some((path, place)) = found else { return Ok(None) };
        let line = self.line(&path, &place).map_err(|error| LlmError::store(&path, error))?;
        let record = journal::checked(&line).and_then(journal::record);
        let record = record.filter(|record| record.key == hex(key));
        record.map(Some).ok_or_else(|| {
            LlmError::Store(format!(
                "{}: the line at byte {} is damaged, and it contains a response that is needed\n  = help: \
                 restore the file from a backup, or run `assay cache rebuild` to continue without it: the response \
                 is then requested again",
                path.display(),
                place.offset
            ))
        })
    }

    /// The bytes of a line.
    pub fn line(&self, path: &Path, place: &Place) -> io::Result<Vec<u8>> {
        let file = {
            let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
            match files.get(path) {
                Some(file) => file.clone(),
                None => {
                    let file = Arc::new(open_own(path)?);
                    files.insert(path.to_owned(), file.clone());
                    file
                }
            }
        };
        let mut line = vec![0; place.len as usize];
        file.read_exact_at(&mut line, place.offset)?;
        Ok(line)
    }

    /// Checks that records can be written, before anything is paid for. The first call tests it; after a failed write it
    /// is an error.
    pub fn check_writable(&self) -> Result<(), String> {
        let probed = self.probed.get_or_init(|| {
            let probed = self.writer.as_ref().map(Writer::probe);
            probed.unwrap_or_else(|| Err("the journal is closed".into())).err()
        });
        match probed.as_ref().or(self.broken.get()) {
            Some(problem) => Err(problem.clone()),
            None => Ok(()),
        }
    }

    /// Writes a record; `done` is called when it is on disk and can be found.
    pub fn append(
        &self,
        mut record: Record,
        done: impl FnOnce(Result<(), String>) + Send + 'static,
    ) {
        let line = journal::line(&mut record);
        self.append_line(line, done);
    }

    /// Writes a line that has been checked.
    pub fn append_line(
        &self,
        line: Vec<u8>,
        done: impl FnOnce(Result<(), String>) + Send + 'static,
    ) {
        let head = journal::checked(&line).and_then(journal::head);
        let (index, broken) = (self.index.clone(), self.broken.clone());
        let callback: Done = Box::new(move |written| {
            let indexed = written.and_then(|written| {
                let Some(head) = head else { return Err("a record without a key".into()) };
                let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
                index
                    .add_written(&head, &written.segment, written.offset, written.len)
                    .map_err(|error| format!("the index of responses cannot be written: {error}"))
            });
            if let Err(problem) = &indexed {
                let _ = broken.set(problem.clone());
            }
            done(indexed);
        });
        match &self.writer {
            Some(writer) => writer.write(line, callback),
            None => callback(Err("the journal is closed".into())),
        }
    }
}

impl Drop for Responses {
    fn drop(&mut self) {
        // Records in flight are written and indexed before the index is sealed.
        self.writer = None;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use rand::{Rng, SeedableRng};
    use serde_json::{Value, json};

    use super::*;
    use crate::llm::{journal::Kind, key::Request};

    fn request(n: u32) -> Request {
        Request { url: "u".into(), body: json!({"n": n}), repeat: 0, weights: None }
    }

    fn record(n: u32, response: &str) -> Record {
        let request = request(n);
        Record {
            kind: Kind::Response,
            key: hex(&request.key()),
            about: format!("item {n}"),
            request: request.canonical(),
            response: json!({"response": response}),
            ..Record::failure()
        }
    }

    fn put(responses: &Responses, record: Record) {
        let (sender, done) = mpsc::channel();
        responses.append(record, move |written| sender.send(written).unwrap());
        done.recv().unwrap().unwrap();
    }

    /// Two processes refresh a response at the same time: every reader finds the same one, whichever file it reads first.
    #[test]
    fn the_later_response_does_not_depend_on_the_order_of_files() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path();
        let renewed = |response: &str, generation: u32| Record {
            kind: Kind::Renewed,
            generation,
            ..record(1, response)
        };
        let found = |responses: &Responses| {
            responses.catch_up_with_others().unwrap();
            responses.find(&request(1).identity()).unwrap().unwrap().response["response"].clone()
        };
        let first = Responses::open(dir).unwrap();
        put(&first, record(1, "old"));
        let second = Responses::open(dir).unwrap();
        put(&second, renewed("by the second", 1));
        // The first has not seen that, and writes later, into the earlier file.
        put(&first, renewed("by the first", 1));
        let agreed = found(&first);
        assert_eq!(found(&second), agreed);
        assert_eq!(found(&Responses::open(dir).unwrap()), agreed);
        // Refreshed again in the earlier file, when both were known.
        put(&first, renewed("again", 2));
        put(&second, record(1, "late, and of the first generation"));
        for responses in [&first, &second, &Responses::open(dir).unwrap()] {
            assert_eq!(found(responses), "again");
        }
        drop((first, second));
        assert_eq!(found(&Responses::open(dir).unwrap()), "again");
        fs::remove_dir_all(dir.join("index")).unwrap();
        assert_eq!(found(&Responses::open(dir).unwrap()), "again");
    }

    fn filled(dir: &Path, n: u32) {
        let responses = Responses::open(dir).unwrap();
        for n in 0..n {
            put(&responses, record(n, "yes"));
        }
    }

    fn complete(dir: &Path, n: u32) -> Vec<String> {
        let responses = Responses::open(dir).unwrap();
        for n in 0..n {
            let found = responses.find(&request(n).identity()).unwrap().unwrap();
            assert_eq!(found.response, json!({"response": "yes"}));
        }
        assert_eq!(responses.find(&request(n).identity()).unwrap(), None);
        assert_eq!(responses.counts().responses, u64::from(n));
        responses.take_notes()
    }

    #[test]
    fn recorded_responses_are_found_again() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 40);
        assert_eq!(complete(dir.path(), 40), Vec::<String>::new());
    }

    /// Every file of sled's directory truncated or with a bit flipped, anywhere.
    #[test]
    fn a_damaged_index_is_detected_and_rebuilt() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 30);
        let mut random = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for round in 0..40 {
            let mut files = Vec::new();
            let mut open = vec![dir.path().join("index")];
            while let Some(at) = open.pop() {
                for entry in fs::read_dir(at).unwrap().flatten() {
                    match entry.path().is_dir() {
                        true => open.push(entry.path()),
                        false => files.push(entry.path()),
                    }
                }
            }
            files.sort();
            let file = &files[random.random_range(0..files.len())];
            let mut bytes = fs::read(file).unwrap();
            let at = random.random_range(0..bytes.len().max(1));
            match bytes.is_empty() || round % 2 == 0 {
                true => bytes.truncate(at),
                false => bytes[at] ^= 1 << random.random_range(0..8),
            }
            let changed = bytes != fs::read(file).unwrap();
            fs::write(file, bytes).unwrap();
            let mut notes = complete(dir.path(), 30);
            // A process that another test starts holds the lock on the index until it has become its program; the
            // index is not opened then.
            for _ in 0..20 {
                if notes.len() == usize::from(changed) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
                notes = complete(dir.path(), 30);
            }
            assert_eq!(notes.len(), usize::from(changed), "{notes:?}");
        }
    }

    #[test]
    fn a_torn_end_is_removed_and_a_damaged_line_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 5);
        let journal = dir.path().join("journal");
        let segment = fs::read_dir(&journal).unwrap().next().unwrap().unwrap().path();
        let whole = fs::read(&segment).unwrap();
        let half = &journal::line(&mut record(5, "yes"))[..60];
        fs::write(&segment, [&whole[..], half].concat()).unwrap();
        let notes = complete(dir.path(), 5);
        assert!(notes.len() == 1 && notes[0].contains("torn"), "{notes:?}");
        assert_eq!(fs::read(&segment).unwrap(), whole);
        // A complete line without a line break is kept.
        for end in ["", "\u{b}"] {
            let lost = [&whole[..whole.len() - 1], end.as_bytes()].concat();
            fs::write(&segment, lost).unwrap();
            fs::remove_file(dir.path().join("index.seal.json")).unwrap();
            let notes = complete(dir.path(), 5);
            assert!(notes.iter().any(|note| note.contains("lost its line break")), "{notes:?}");
            assert_eq!(fs::read(&segment).unwrap(), whole);
        }

        let mut damaged = whole.clone();
        let second = 1 + whole.iter().position(|byte| *byte == b'\n').unwrap();
        damaged[second + 100] ^= 1;
        fs::write(&segment, damaged).unwrap();
        let responses = Responses::open(dir.path()).unwrap();
        let error = responses.find(&request(1).identity()).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("rebuild"), "{error}");
        assert!(responses.find(&request(2).identity()).unwrap().is_some());
        drop(responses);
        // Also if the line was never indexed: nothing is requested again before the damage was reported.
        fs::remove_file(dir.path().join("index.seal.json")).unwrap();
        let responses = Responses::open(dir.path()).unwrap();
        let error = responses.find(&request(1).identity()).unwrap_err().to_string();
        assert!(error.contains("1 damaged line ") && error.contains("rebuild"), "{error}");
        responses.with_index(|index| index.rebuild().unwrap());
        assert_eq!(responses.counts().damaged, 1);
        assert_eq!(responses.find(&request(1).identity()).unwrap(), None);
        assert!(responses.take_notes().iter().any(|note| note.contains("line 2 is damaged")));
    }

    #[test]
    fn two_processes_read_and_write_at_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = Responses::open(dir.path()).unwrap();
        put(&first, record(0, "yes"));
        let second = Responses::open(dir.path()).unwrap();
        assert!(first.with_index(|i| i.is_owner()) && !second.with_index(|i| i.is_owner()));
        assert!(second.find(&request(0).identity()).unwrap().is_some());
        put(&second, record(1, "yes"));
        assert_eq!(first.find(&request(1).identity()).unwrap(), None);
        first.with_index(|index| index.catch_up_with_others()).unwrap();
        assert!(first.find(&request(1).identity()).unwrap().is_some());
        drop((first, second));
        assert_eq!(complete(dir.path(), 2), Vec::<String>::new());
    }

    #[test]
    fn different_responses_are_a_conflict_unless_refreshed() {
        let dir = tempfile::tempdir().unwrap();
        let responses = Responses::open(dir.path()).unwrap();
        put(&responses, record(0, "yes"));
        put(&responses, record(0, "yes"));
        put(&responses, record(0, "no"));
        put(&responses, Record { kind: Kind::Renewed, ..record(0, "new") });
        put(&responses, Record { kind: Kind::Failure, ..record(0, "x") });
        let counts = responses.counts();
        assert_eq!((counts.responses, counts.repeated, counts.conflicts), (1, 1, 1));
        assert_eq!((counts.renewed, counts.failures), (1, 1));
        let found = responses.find(&request(0).identity()).unwrap().unwrap();
        assert_eq!(found.response["response"], Value::from("new"));
    }
}

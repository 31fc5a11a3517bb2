//! All answers of a workspace: the journal and its index together.

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

/// Locked by all who use the answers.
const USERS: &str = "users.lock";

/// Answers in a directory: `journal/` holds them, `index/` finds them.
pub struct Answers {
    dir: PathBuf,
    index: Arc<Mutex<Index>>,
    files: Mutex<HashMap<PathBuf, Arc<File>>>,
    // After the index in order of dropping would be wrong: what is on its way must be indexed first.
    writer: Option<Writer>,
    /// Held together with others who use these answers; alone by those who take files away. None where nothing can
    /// be written, so that nobody can take files away.
    users: Option<File>,
    /// Why the journal cannot be written, as far as was tried before the first request.
    probed: OnceLock<Option<String>>,
    /// The same, once a write failed: whatever is asked then is paid for and lost.
    broken: Arc<OnceLock<String>>,
}

impl Answers {
    /// Opens the directory, which is made where it is missing.
    pub fn open(dir: &Path) -> Result<Self, LlmError> {
        let failed = |error| LlmError::store(dir, error);
        // Before anything is looked at: `cache gc` takes files away, and holds it alone meanwhile.
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

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Works with the index.
    pub fn with_index<T>(&self, work: impl FnOnce(&mut Index) -> T) -> T {
        work(&mut self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether nobody else uses these answers; from then on nobody can begin to.
    pub fn alone(&self) -> bool {
        self.users.as_ref().is_some_and(|users| users.try_lock().is_ok())
            && self.with_index(|index| index.is_owner())
    }

    /// Reads what other processes wrote meanwhile.
    pub fn look_again(&self) -> Result<(), LlmError> {
        self.with_index(|index| index.look_again())
            .map_err(|error| LlmError::store(&self.dir, error))
    }

    /// What was found on opening that somebody should know; told once.
    pub fn take_notes(&self) -> Vec<String> {
        self.with_index(|index| std::mem::take(&mut index.notes))
    }

    /// How many records there are.
    pub fn counts(&self) -> Counts {
        self.with_index(|index| index.counts)
    }

    /// The answer to a request, if there is one. The request that was recorded must be the same. A reply with which
    /// the endpoint said that it failed is none, also where an earlier version kept it for one.
    pub fn find(&self, request: &Identity) -> Result<Option<Record>, LlmError> {
        let Some(record) = self.get(&request.key)? else {
            let (damaged, lost) = self.with_index(|index| (index.unacknowledged(), index.lost()));
            if !lost.is_empty() {
                return Err(LlmError::Store(format!(
                    "files of the journal in {} are gone or were cut, and may have held an answer that is \
                     needed and not found: {}\n  = help: restore them from a copy, or run `assay cache rebuild` \
                     to go on without: the answers are then asked for again",
                    self.dir.join("journal").display(),
                    lost.join(", ")
                )));
            }
            if damaged > 0 {
                return Err(LlmError::Store(format!(
                    "{damaged} damaged lines of the journal in {} may hold an answer that is needed and not \
                     found\n  = help: `assay cache verify` lists them; restore the files from a copy, or run \
                     `assay cache rebuild` to go on without: the answers are then asked for again",
                    self.dir.join("journal").display()
                )));
            }
            return Ok(None);
        };
        if record.request != request.canonical {
            return Err(LlmError::Store(format!(
                "the answer {} was recorded for another request\n  = help: run `assay cache verify`",
                short(&record.key)
            )));
        }
        let url = record.request["url"].as_str().unwrap_or_default();
        let is_failure = record.kind.is_response()
            && url.ends_with("/chat/completions")
            && reply::failure(&record.response).is_some();
        Ok(Some(record).filter(|_| !is_failure))
    }

    /// The answer of a key, if there is one.
    pub fn get(&self, key: &Key) -> Result<Option<Record>, LlmError> {
        let found = self.with_index(|index| index.find(key));
        let found = found.map_err(|error| LlmError::store(&self.dir, error))?;
        let Some((path, place)) = found else { return Ok(None) };
        let line = self.line(&path, &place).map_err(|error| LlmError::store(&path, error))?;
        let record = journal::checked(&line).and_then(journal::record);
        let record = record.filter(|record| record.key == hex(key));
        record.map(Some).ok_or_else(|| {
            LlmError::Store(format!(
                "{}: the line at byte {} is damaged, and it holds an answer that is needed\n  = help: \
                 restore the file from a copy, or run `assay cache rebuild` to go on without: the answer \
                 is then asked for again",
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

    /// Makes sure that records can be written, before anything is paid for: the first call tries, and once a
    /// write failed nothing more is to be asked.
    pub fn ready(&self) -> Result<(), String> {
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

    /// Writes a line that was checked.
    pub fn append_line(
        &self,
        line: Vec<u8>,
        done: impl FnOnce(Result<(), String>) + Send + 'static,
    ) {
        let head = journal::checked(&line).and_then(journal::head);
        let (index, broken) = (self.index.clone(), self.broken.clone());
        let told: Done = Box::new(move |written| {
            let indexed = written.and_then(|written| {
                let Some(head) = head else { return Err("a record without a key".into()) };
                let mut index = index.lock().unwrap_or_else(PoisonError::into_inner);
                index
                    .wrote(&head, &written.segment, written.offset, written.len)
                    .map_err(|error| format!("the index of answers cannot be written: {error}"))
            });
            if let Err(problem) = &indexed {
                let _ = broken.set(problem.clone());
            }
            done(indexed);
        });
        match &self.writer {
            Some(writer) => writer.write(line, told),
            None => told(Err("the journal is closed".into())),
        }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        // Everything on its way is written and indexed before the index is sealed.
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

    fn record(n: u32, answer: &str) -> Record {
        let request = request(n);
        Record {
            kind: Kind::Answer,
            key: hex(&request.key()),
            about: format!("item {n}"),
            request: request.canonical(),
            response: json!({"answer": answer}),
            ..Record::failure()
        }
    }

    fn put(answers: &Answers, record: Record) {
        let (sender, told) = mpsc::channel();
        answers.append(record, move |written| sender.send(written).unwrap());
        told.recv().unwrap().unwrap();
    }

    /// What two processes renew at once: every reader finds the same, whichever file it reads first.
    #[test]
    fn which_answer_is_the_later_does_not_depend_on_the_order_of_files() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path();
        let renewed = |answer: &str, generation: u32| Record {
            kind: Kind::Renewed,
            generation,
            ..record(1, answer)
        };
        let found = |answers: &Answers| {
            answers.look_again().unwrap();
            answers.find(&request(1).identity()).unwrap().unwrap().response["answer"].clone()
        };
        let first = Answers::open(dir).unwrap();
        put(&first, record(1, "old"));
        let second = Answers::open(dir).unwrap();
        put(&second, renewed("by the second", 1));
        // The first has not seen that, and writes later, into the earlier file.
        put(&first, renewed("by the first", 1));
        let agreed = found(&first);
        assert_eq!(found(&second), agreed);
        assert_eq!(found(&Answers::open(dir).unwrap()), agreed);
        // Renewed again in the earlier file: it knew of both.
        put(&first, renewed("again", 2));
        put(&second, record(1, "late, and of the first generation"));
        for answers in [&first, &second, &Answers::open(dir).unwrap()] {
            assert_eq!(found(answers), "again");
        }
        drop((first, second));
        assert_eq!(found(&Answers::open(dir).unwrap()), "again");
        fs::remove_dir_all(dir.join("index")).unwrap();
        assert_eq!(found(&Answers::open(dir).unwrap()), "again");
    }

    fn filled(dir: &Path, n: u32) {
        let answers = Answers::open(dir).unwrap();
        for n in 0..n {
            put(&answers, record(n, "yes"));
        }
    }

    fn complete(dir: &Path, n: u32) -> Vec<String> {
        let answers = Answers::open(dir).unwrap();
        for n in 0..n {
            let found = answers.find(&request(n).identity()).unwrap().unwrap();
            assert_eq!(found.response, json!({"answer": "yes"}));
        }
        assert_eq!(answers.find(&request(n).identity()).unwrap(), None);
        assert_eq!(answers.counts().answers, u64::from(n));
        answers.take_notes()
    }

    #[test]
    fn what_was_answered_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        filled(dir.path(), 40);
        assert_eq!(complete(dir.path(), 40), Vec::<String>::new());
    }

    /// Every file of sled's directory truncated or with a bit flipped, anywhere.
    #[test]
    fn a_damaged_index_is_noticed_and_made_anew() {
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
    fn a_torn_end_is_cut_off_and_a_damaged_line_is_told() {
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
        // A whole line that lost its end alone is not cut off.
        for end in ["", "\u{b}"] {
            let lost = [&whole[..whole.len() - 1], end.as_bytes()].concat();
            fs::write(&segment, lost).unwrap();
            fs::remove_file(dir.path().join("index.seal.json")).unwrap();
            let notes = complete(dir.path(), 5);
            assert!(notes.iter().any(|note| note.contains("lost its end")), "{notes:?}");
            assert_eq!(fs::read(&segment).unwrap(), whole);
        }

        let mut damaged = whole.clone();
        let second = 1 + whole.iter().position(|byte| *byte == b'\n').unwrap();
        damaged[second + 100] ^= 1;
        fs::write(&segment, damaged).unwrap();
        let answers = Answers::open(dir.path()).unwrap();
        let error = answers.find(&request(1).identity()).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("rebuild"), "{error}");
        assert!(answers.find(&request(2).identity()).unwrap().is_some());
        drop(answers);
        // Also where the index never knew of it: nobody asks again before somebody has been told.
        fs::remove_file(dir.path().join("index.seal.json")).unwrap();
        let answers = Answers::open(dir.path()).unwrap();
        let error = answers.find(&request(1).identity()).unwrap_err().to_string();
        assert!(error.contains("1 damaged lines") && error.contains("rebuild"), "{error}");
        answers.with_index(|index| index.rebuild().unwrap());
        assert_eq!(answers.counts().damaged, 1);
        assert_eq!(answers.find(&request(1).identity()).unwrap(), None);
        assert!(answers.take_notes().iter().any(|note| note.contains("line 2 is damaged")));
    }

    #[test]
    fn a_second_process_reads_and_writes_beside_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let first = Answers::open(dir.path()).unwrap();
        put(&first, record(0, "yes"));
        let second = Answers::open(dir.path()).unwrap();
        assert!(first.with_index(|i| i.is_owner()) && !second.with_index(|i| i.is_owner()));
        assert!(second.find(&request(0).identity()).unwrap().is_some());
        put(&second, record(1, "yes"));
        assert_eq!(first.find(&request(1).identity()).unwrap(), None);
        first.with_index(|index| index.look_again()).unwrap();
        assert!(first.find(&request(1).identity()).unwrap().is_some());
        drop((first, second));
        assert_eq!(complete(dir.path(), 2), Vec::<String>::new());
    }

    #[test]
    fn two_different_answers_are_a_conflict_and_renewed_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let answers = Answers::open(dir.path()).unwrap();
        put(&answers, record(0, "yes"));
        put(&answers, record(0, "yes"));
        put(&answers, record(0, "no"));
        put(&answers, Record { kind: Kind::Renewed, ..record(0, "new") });
        put(&answers, Record { kind: Kind::Failure, ..record(0, "x") });
        let counts = answers.counts();
        assert_eq!((counts.answers, counts.repeated, counts.conflicts), (1, 1, 1));
        assert_eq!((counts.renewed, counts.failures), (1, 1));
        let found = answers.find(&request(0).identity()).unwrap().unwrap();
        assert_eq!(found.response["answer"], Value::from("new"));
    }
}

//! Values by unit that a process has read, so that checks, means, tables, comparisons and audits share them.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{MeasureKey, Measurements, Record, workspace::RECORD};

/// Most memory of the values that are kept. Beyond it, they are read again when they are needed again.
const MOST_BYTES: usize = 256 << 20;
/// Lists of units that later ones are compared with: one for each fold, mostly.
const MOST_LISTS: usize = 64;

/// Which columns are needed.
#[derive(Clone, Copy, Debug)]
pub enum Columns<'a> {
    All,
    /// These, as far as there are such columns.
    Of(&'a [MeasureKey]),
}

impl Columns<'_> {
    /// Whether a column is one of them.
    pub fn has(&self, key: &MeasureKey) -> bool {
        match self {
            Self::All => true,
            Self::Of(keys) => keys.contains(key),
        }
    }

    /// Whether there is a column of a metric among them.
    pub fn has_metric(&self, metric: &str) -> bool {
        match self {
            Self::All => true,
            Self::Of(keys) => keys.iter().any(|key| key.metric == metric),
        }
    }
}

/// The files of a finished step, to be checked.
pub struct StepFiles<'a> {
    pub dir: &'a Path,
    pub record: &'a Record,
    /// Where values that were read in order to check them are kept.
    pub values: &'a Values,
}

/// Values by unit of evaluation steps, by the directory of the step. They are valid as long as the record in it is the same
/// file: a step that is rebuilt gets another directory. Nothing of it is written.
#[derive(Debug, Default)]
pub struct Values {
    kept: Mutex<Kept>,
    reads: AtomicUsize,
}

#[derive(Debug, Default)]
struct Kept {
    of: HashMap<PathBuf, Entry>,
    /// Of all entries, without the lists of units.
    bytes: usize,
    /// Lists of ids, so that equal ones are kept once.
    lists: Vec<Arc<[String]>>,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    /// Whether it was checked that the means are those of the values.
    is_checked: bool,
    /// None if only the check is remembered.
    measured: Option<Measurements>,
    /// Columns that the file has and that were dropped.
    dropped: Vec<MeasureKey>,
}

/// A file as it was found: device, inode, size and time of change.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    fn of(dir: &Path) -> Option<Self> {
        let of = fs::symlink_metadata(dir.join(RECORD)).ok()?;
        Some(Self(of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
    }
}

impl Values {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a file of values was read.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// Notes that a file of values is read.
    pub fn note_read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether the means of this step were compared with its values.
    pub fn is_checked(&self, dir: &Path) -> bool {
        let Some(stamp) = Stamp::of(dir) else { return false };
        self.lock().of.get(dir).is_some_and(|entry| entry.is_checked && entry.stamp == stamp)
    }

    /// The kept values of a step, with at least these columns.
    pub fn get(&self, dir: &Path, wanted: Columns) -> Option<Measurements> {
        let stamp = Stamp::of(dir)?;
        let kept = self.lock();
        let entry = kept.of.get(dir).filter(|entry| entry.stamp == stamp)?;
        let measured = entry.measured.as_ref()?;
        entry.dropped.iter().all(|key| !wanted.has(key)).then(|| measured.clone())
    }

    /// Keeps all values of a step, if there is room for them.
    pub fn put(&self, dir: &Path, mut measured: Measurements, is_checked: bool) -> Measurements {
        let Some(stamp) = Stamp::of(dir) else { return measured };
        let mut kept = self.lock();
        let known = kept.forget(dir);
        let is_checked = is_checked || known.is_some_and(|of| of.is_checked && of.stamp == stamp);
        measured.ids = kept.shared(measured.ids);
        let bytes = size(&measured);
        let has_room = kept.bytes + bytes <= MOST_BYTES;
        if has_room {
            kept.bytes += bytes;
        }
        let of = has_room.then(|| measured.clone());
        let entry = Entry { stamp, is_checked, measured: of, dropped: Vec::new() };
        kept.of.insert(dir.to_owned(), entry);
        measured
    }

    /// Drops the columns of a step that are not wanted; all of them if there are none.
    pub fn keep_only(&self, dir: &Path, wanted: &HashSet<MeasureKey>) {
        let mut kept = self.lock();
        let Some(mut entry) = kept.forget(dir) else { return };
        entry.measured = entry.measured.filter(|_| !wanted.is_empty()).map(|measured| {
            let is_wanted = |key: &MeasureKey| wanted.contains(key);
            let columns = measured.columns.iter().filter(|key| !is_wanted(key));
            entry.dropped.extend(columns.chain(&measured.pooled).cloned());
            measured.narrowed(&is_wanted)
        });
        kept.bytes += entry.measured.as_ref().map_or(0, size);
        kept.of.insert(dir.to_owned(), entry);
    }
}

impl Kept {
    /// Takes an entry out.
    fn forget(&mut self, dir: &Path) -> Option<Entry> {
        let entry = self.of.remove(dir)?;
        self.bytes -= entry.measured.as_ref().map_or(0, size);
        Some(entry)
    }

    /// The same list, as it is kept already.
    fn shared(&mut self, ids: Arc<[String]>) -> Arc<[String]> {
        if let Some(known) = self.lists.iter().find(|known| **known == ids) {
            return known.clone();
        }
        if self.lists.len() >= MOST_LISTS {
            self.lists.remove(0);
        }
        self.lists.push(ids.clone());
        ids
    }
}

/// Bytes, without the lists of units, which steps share.
fn size(of: &Measurements) -> usize {
    let rows = of.ids.len();
    rows * (8 * of.values.len() + of.in_pooled.len() + of.slices.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(metric: &str) -> MeasureKey {
        MeasureKey {
            protocol: "full".into(),
            convention: "standard".into(),
            metric: metric.into(),
            k: 10,
        }
    }

    fn measured(value: f64) -> Measurements {
        let slices = vec![("all".to_owned(), vec![true; 2])];
        let ids = vec!["a".to_owned(), "b".to_owned()];
        let columns = vec![key("ndcg"), key("recall")];
        Measurements::of_rows("user", ids, slices, columns, &[value, 0.2, value, 0.4])
    }

    #[test]
    fn values_are_kept_until_the_step_is_rebuilt() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("step");
        let write = |text: &str| {
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join(RECORD), text).unwrap();
        };
        let values = Values::default();
        // No step: nothing is kept.
        values.put(&dir, measured(0.1), true);
        assert!(values.get(&dir, Columns::All).is_none() && !values.is_checked(&dir));
        write("one");
        values.put(&dir, measured(0.1), true);
        assert!(values.is_checked(&dir));
        assert_eq!(values.get(&dir, Columns::All).unwrap().values[0][..], [0.1, 0.1]);
        fs::remove_dir_all(&dir).unwrap();
        write("another");
        assert!(values.get(&dir, Columns::All).is_none() && !values.is_checked(&dir));
    }

    #[test]
    fn dropped_columns_are_not_taken_for_columns_that_do_not_exist() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(RECORD), "").unwrap();
        let values = Values::default();
        values.put(dir.path(), measured(0.1), true);
        values.keep_only(dir.path(), &HashSet::from([key("ndcg")]));
        let get = |wanted: Columns| values.get(dir.path(), wanted).map(|of| of.columns);
        assert!(get(Columns::All).is_none());
        assert!(get(Columns::Of(&[key("recall")])).is_none());
        assert_eq!(get(Columns::Of(&[key("ndcg"), key("map")])), Some(vec![key("ndcg")]));
        values.keep_only(dir.path(), &HashSet::new());
        assert!(get(Columns::Of(&[key("ndcg")])).is_none());
        assert!(values.is_checked(dir.path()), "the check is remembered");
        assert_eq!(values.lock().bytes, 0);
    }

    #[test]
    fn no_more_is_kept_than_there_is_room_for() {
        let root = tempfile::tempdir().unwrap();
        let values = Values::default();
        values.lock().bytes = MOST_BYTES - size(&measured(0.0));
        for name in ["a", "b"] {
            fs::create_dir(root.path().join(name)).unwrap();
            fs::write(root.path().join(name).join(RECORD), "").unwrap();
            values.put(&root.path().join(name), measured(0.5), true);
        }
        assert!(values.get(&root.path().join("a"), Columns::All).is_some());
        assert!(values.get(&root.path().join("b"), Columns::All).is_none());
        assert!(values.is_checked(&root.path().join("b")));
    }
}

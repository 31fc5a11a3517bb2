//! Values by unit that a process has read, so that checks, means, tables, comparisons and audits share them.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{MeasureKey, Measurements, Record, workspace::RECORD};
use crate::base::hash::Digest;

/// Most memory of the values that are kept. Beyond it those that were read first are dropped, and read again when they are
/// needed again.
const MOST_BYTES: usize = 256 << 20;

/// Which columns are needed.
#[derive(Clone, Copy, Debug)]
pub enum Columns<'a> {
    All,
    /// These and no others, as far as there are such columns.
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
    pub(super) values: &'a Values,
    /// Before any of the files were read.
    pub(super) stamp: Option<Stamp>,
}

impl StepFiles<'_> {
    /// Whether the means of this step, evaluated as `checked_for` says, were compared with its values.
    pub fn is_checked(&self, checked_for: &Digest) -> bool {
        self.values.is_checked(self.dir, self.stamp, checked_for)
    }

    /// Keeps all values, which were read in order to compare the means with them.
    pub fn keep(&self, measured: Measurements, checked_for: Digest) {
        self.values.note_read();
        self.values.put(self.dir, self.stamp, measured, checked_for);
    }
}

/// Values by unit of evaluation steps, by the directory of the step. They are valid as long as its record is the same file:
/// a step that is rebuilt gets a new one.
#[derive(Debug)]
pub struct Values {
    kept: Mutex<Kept>,
    most_bytes: usize,
    reads: AtomicUsize,
}

#[derive(Debug, Default)]
struct Kept {
    of: HashMap<PathBuf, Entry>,
    /// Of all entries.
    bytes: usize,
    /// Steps with values, those that were read first in front.
    order: VecDeque<PathBuf>,
    /// Lists of ids of these values, so that equal ones are in memory once.
    lists: Vec<Weak<[String]>>,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    /// How the step was asked to evaluate when its means were compared with its values.
    checked_for: Digest,
    /// None if only the check is remembered.
    measured: Option<Measurements>,
    /// Columns that were dropped, and then all pooled metrics, too.
    dropped: Option<Vec<MeasureKey>>,
}

/// A file as it was found: device, inode, size and time of change.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Stamp(u64, u64, u64, i64, i64);

impl Stamp {
    /// The record of a step.
    pub(super) fn of(dir: &Path) -> Option<Self> {
        let of = fs::symlink_metadata(dir.join(RECORD)).ok()?;
        Some(Self(of.dev(), of.ino(), of.size(), of.mtime(), of.mtime_nsec()))
    }
}

impl Default for Values {
    fn default() -> Self {
        Self::with_room(MOST_BYTES)
    }
}

impl Values {
    /// At most so many bytes are kept.
    pub(super) fn with_room(most_bytes: usize) -> Self {
        Self { kept: Mutex::default(), most_bytes, reads: AtomicUsize::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How often a file of values was read. Tests ask.
    pub fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }

    /// Notes that a file of values is read.
    pub fn note_read(&self) {
        self.reads.fetch_add(1, Ordering::Relaxed);
    }

    fn is_checked(&self, dir: &Path, stamp: Option<Stamp>, checked_for: &Digest) -> bool {
        let kept = self.lock();
        let entry = kept.of.get(dir);
        entry.is_some_and(|of| Some(of.stamp) == stamp && of.checked_for == *checked_for)
    }

    /// The kept values of a step in these columns.
    pub fn get(&self, dir: &Path, wanted: Columns) -> Option<Measurements> {
        let stamp = Stamp::of(dir)?;
        let kept = self.lock();
        let entry = kept.of.get(dir).filter(|entry| entry.stamp == stamp)?;
        let measured = entry.measured.as_ref()?;
        let has_all = match wanted {
            Columns::All => entry.dropped.is_none(),
            Columns::Of(keys) => !entry.dropped.iter().flatten().any(|key| keys.contains(key)),
        };
        has_all.then(|| measured.in_columns(wanted))
    }

    /// Keeps all values of a step of which the files were found to be right, and that its means were compared with them.
    /// Values of a step that was rebuilt since are not kept.
    fn put(
        &self,
        dir: &Path,
        stamp: Option<Stamp>,
        mut measured: Measurements,
        checked_for: Digest,
    ) {
        let Some(stamp) = stamp.filter(|of| Stamp::of(dir) == Some(*of)) else { return };
        let bytes = size(&measured);
        let mut kept = self.lock();
        kept.forget(dir);
        let has_room = bytes <= self.most_bytes;
        while has_room && kept.bytes + bytes > self.most_bytes {
            kept.drop_first();
        }
        if has_room {
            measured.ids = kept.shared(measured.ids);
            kept.bytes += bytes;
            kept.order.push_back(dir.to_owned());
        }
        let measured = has_room.then_some(measured);
        let entry = Entry { stamp, checked_for, measured, dropped: None };
        kept.of.insert(dir.to_owned(), entry);
    }

    /// Drops the columns of a step that are not wanted; all of them if there are none.
    pub fn keep_only(&self, dir: &Path, wanted: &HashSet<MeasureKey>) {
        let mut kept = self.lock();
        let Some(mut entry) = kept.forget(dir) else { return };
        entry.measured = entry.measured.filter(|_| !wanted.is_empty()).map(|measured| {
            let is_wanted = |key: &MeasureKey| wanted.contains(key);
            let columns = measured.columns.iter().filter(|key| !is_wanted(key));
            entry.dropped.get_or_insert_default().extend(columns.cloned());
            measured.narrowed(&is_wanted)
        });
        if let Some(measured) = &entry.measured {
            kept.bytes += size(measured);
            kept.order.push_back(dir.to_owned());
        }
        kept.of.insert(dir.to_owned(), entry);
    }
}

impl Kept {
    /// Takes an entry out.
    fn forget(&mut self, dir: &Path) -> Option<Entry> {
        let entry = self.of.remove(dir)?;
        if let Some(measured) = &entry.measured {
            self.bytes -= size(measured);
            self.order.retain(|of| of != dir);
        }
        Some(entry)
    }

    /// Drops the values that were read first, and remembers that they were checked.
    fn drop_first(&mut self) {
        let Some(dir) = self.order.pop_front() else { return };
        if let Some(measured) = self.of.get_mut(&dir).and_then(|entry| entry.measured.take()) {
            self.bytes -= size(&measured);
        }
    }

    /// The same list, as it is kept already.
    fn shared(&mut self, ids: Arc<[String]>) -> Arc<[String]> {
        self.lists.retain(|list| list.strong_count() > 0);
        let mut known = self.lists.iter().filter_map(Weak::upgrade);
        if let Some(known) = known.find(|known| *known == ids) {
            return known;
        }
        self.lists.push(Arc::downgrade(&ids));
        ids
    }
}

/// Bytes in memory, as if the list of units were not shared with other steps.
fn size(of: &Measurements) -> usize {
    let of_ids =
        |ids: &[String]| -> usize { ids.iter().map(|id| size_of::<String>() + id.len()).sum() };
    let ids = of_ids(&of.ids) + of.clusters.as_ref().map_or(0, |clusters| of_ids(clusters));
    ids + of.ids.len() * (8 * of.values.len() + of.in_pooled.len() + of.slices.len())
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

    /// Keeps values of the step in `dir`, which was evaluated as `asked` says.
    fn put(values: &Values, dir: &Path, value: f64, asked: &str) {
        values.put(dir, Stamp::of(dir), measured(value), Digest::of(asked));
    }

    fn is_checked(values: &Values, dir: &Path, asked: &str) -> bool {
        values.is_checked(dir, Stamp::of(dir), &Digest::of(asked))
    }

    fn step(root: &Path, name: &str) -> PathBuf {
        let dir = root.join(name);
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join(RECORD), name).unwrap();
        dir
    }

    #[test]
    fn values_are_kept_until_the_step_is_rebuilt() {
        let root = tempfile::tempdir().unwrap();
        let values = Values::default();
        // No step: nothing is kept.
        let dir = root.path().join("step");
        put(&values, &dir, 0.1, "a");
        assert!(values.get(&dir, Columns::All).is_none() && !is_checked(&values, &dir, "a"));
        step(root.path(), "step");
        put(&values, &dir, 0.1, "a");
        assert!(is_checked(&values, &dir, "a") && !is_checked(&values, &dir, "b"));
        assert_eq!(values.get(&dir, Columns::All).unwrap().values[0][..], [0.1, 0.1]);
        fs::remove_dir_all(&dir).unwrap();
        step(root.path(), "step");
        assert!(values.get(&dir, Columns::All).is_none() && !is_checked(&values, &dir, "a"));
    }

    #[test]
    fn values_of_a_step_that_is_rebuilt_while_they_are_read_are_not_kept() {
        let root = tempfile::tempdir().unwrap();
        let (dir, values) = (step(root.path(), "step"), Values::default());
        let stamp = Stamp::of(&dir);
        fs::remove_dir_all(&dir).unwrap();
        step(root.path(), "step");
        values.put(&dir, stamp, measured(0.1), Digest::of("a"));
        assert!(values.get(&dir, Columns::All).is_none() && !is_checked(&values, &dir, "a"));
    }

    #[test]
    fn only_the_wanted_columns_are_given() {
        let root = tempfile::tempdir().unwrap();
        let (dir, values) = (step(root.path(), "step"), Values::default());
        put(&values, &dir, 0.1, "a");
        let get = |wanted: Columns| values.get(&dir, wanted).map(|of| of.columns);
        assert_eq!(get(Columns::Of(&[key("recall")])), Some(vec![key("recall")]));
        values.keep_only(&dir, &HashSet::from([key("ndcg")]));
        assert!(get(Columns::All).is_none());
        assert!(get(Columns::Of(&[key("recall")])).is_none());
        assert_eq!(get(Columns::Of(&[key("ndcg"), key("map")])), Some(vec![key("ndcg")]));
        values.keep_only(&dir, &HashSet::new());
        assert!(get(Columns::Of(&[key("ndcg")])).is_none());
        assert!(is_checked(&values, &dir, "a"), "the check is remembered");
        assert_eq!(values.lock().bytes, 0);
    }

    #[test]
    fn what_was_read_first_is_dropped_where_there_is_no_room() {
        let root = tempfile::tempdir().unwrap();
        let values = Values::with_room(2 * size(&measured(0.0)));
        let dirs = ["a", "b", "c"].map(|name| step(root.path(), name));
        dirs.iter().for_each(|dir| put(&values, dir, 0.5, "a"));
        let is_kept = dirs.each_ref().map(|dir| values.get(dir, Columns::All).is_some());
        assert_eq!(is_kept, [false, true, true]);
        assert!(dirs.iter().all(|dir| is_checked(&values, dir, "a")));
        let none = Values::with_room(1);
        put(&none, &dirs[0], 0.5, "a");
        assert!(none.get(&dirs[0], Columns::All).is_none() && is_checked(&none, &dirs[0], "a"));
    }
}

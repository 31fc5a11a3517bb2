//! Leases of steps, beside the locks of the file system.
//!
//! A lock (`flock`) excludes other processes of the same machine on every file system, and those of other machines only
//! where the file system passes locks on: NFS 4, NFS 3 with a lock daemon, Lustre mounted with `flock`. It does not on NFS
//! with `nolock` and Lustre with `localflock`. So the holder of a lock also has a lease: a file that was created
//! exclusively, with a counter that it increases while it lives ([`BEAT`]).
//!
//! Clocks of two machines are never compared. A lease of another machine is stale if its counter did not change for
//! [`STALE`], measured by the clock of the process that looks. A lease of this machine is stale as soon as its lock is free.

use std::{
    collections::HashMap,
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crate::base::{
    files::{boot_id, open_own, read_own},
    hash::Digest,
};

/// How often the holder of a lease changes its counter.
const BEAT: Duration = Duration::from_secs(5);
/// A lease whose counter did not change for so long is stale.
pub const STALE: Duration = Duration::from_secs(30);
/// The counter has a fixed width, so that it can be overwritten.
const DIGITS: usize = 20;

/// The leases that this process holds, and those of other machines that it watches.
#[derive(Debug)]
pub struct Leases {
    /// Identifies the running system of a machine; another one after each start.
    boot: String,
    stale: Duration,
    /// Leases of other machines: their content, and since when it did not change.
    watched: Mutex<HashMap<PathBuf, (Vec<u8>, Instant)>>,
}

/// A lease; its file is removed when it is dropped.
#[derive(Debug)]
pub struct Lease(Arc<Held>);

#[derive(Debug)]
struct Held {
    path: PathBuf,
    file: File,
    count: AtomicU64,
    lost: AtomicBool,
}

impl Default for Leases {
    fn default() -> Self {
        // Without an identity of its own, a machine does not recognise its own leases, and waits for them to become stale.
        let unknown =
            || format!("unknown-{}-{}", std::process::id(), Digest::of(now_text()).short());
        Self::of(boot_id().map_or_else(unknown, str::to_owned), STALE)
    }
}

fn now_text() -> String {
    format!("{:?}", std::time::SystemTime::now())
}

impl Leases {
    /// Those of a machine.
    pub(super) fn of(boot: String, stale: Duration) -> Self {
        Self { boot, stale, watched: Mutex::default() }
    }

    /// Takes a lease; none if a process of another machine has it. The caller holds the lock of the same name; `locks` tells
    /// whether the file system has locks.
    pub fn take(&self, path: &Path, locks: bool) -> io::Result<Option<Lease>> {
        for _ in 0..3 {
            if let Some(lease) = self.create(path)? {
                self.watched().remove(path);
                return Ok(Some(lease));
            }
            let Some(found) = read(path)? else { continue };
            let is_dead = locks && self.is_own(&found);
            if !is_dead && !self.is_stale(path, &found) {
                return Ok(None);
            }
            if !clear(path, &found)? {
                return Ok(None);
            }
        }
        // Other processes take and release it all the time.
        Ok(None)
    }

    fn create(&self, path: &Path) -> io::Result<Option<Lease>> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).custom_flags(libc::O_NOFOLLOW);
        let mut file = match options.open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
            Err(error) => return Err(error),
        };
        file.write_all(self.content(0).as_bytes())?;
        let (count, lost) = (AtomicU64::new(0), AtomicBool::new(false));
        let held = Arc::new(Held { path: path.to_owned(), file, count, lost });
        keep(&held);
        Ok(Some(Lease(held)))
    }

    /// The counter comes first, because it is overwritten.
    fn content(&self, count: u64) -> String {
        let host = sysinfo::System::host_name().unwrap_or_default();
        format!("{count:0DIGITS$}\n{}\n{}\n{host}\n", self.boot, std::process::id())
    }

    fn is_own(&self, content: &[u8]) -> bool {
        let text = String::from_utf8_lossy(content);
        text.lines().nth(1) == Some(&self.boot)
    }

    /// Whether it did not change while this process watched it.
    fn is_stale(&self, path: &Path, content: &[u8]) -> bool {
        let mut watched = self.watched();
        match watched.get(path) {
            Some((known, since)) if known == content => since.elapsed() >= self.stale,
            _ => {
                watched.insert(path.to_owned(), (content.to_owned(), Instant::now()));
                false
            }
        }
    }

    fn watched(&self) -> std::sync::MutexGuard<'_, HashMap<PathBuf, (Vec<u8>, Instant)>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The content; none if there is no such file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match read_own(path) {
        Ok(content) => Ok(Some(content)),
        // Another client of a network file system may have removed it while it was read.
        Err(error)
            if error.kind() == io::ErrorKind::NotFound
                || error.raw_os_error() == Some(libc::ESTALE) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Removes a stale lease. Returns false if another process was faster.
fn clear(path: &Path, content: &[u8]) -> io::Result<bool> {
    let name = format!(
        "{}.{}-{}",
        path.file_name().unwrap_or_default().to_string_lossy(),
        std::process::id(),
        Digest::of(now_text()).short()
    );
    let away = path.with_file_name(name);
    // Of several processes only one moves it away.
    match fs::rename(path, &away) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
        Ok(()) => {}
    }
    let is_it = read(&away)?.as_deref() == Some(content);
    if !is_it {
        // It was taken again in between: its holder gets it back, unless there is yet another one.
        let _ = fs::hard_link(&away, path);
    }
    let _ = fs::remove_file(&away);
    Ok(is_it)
}

impl Lease {
    /// Whether another machine has taken it, because this process did not run for a while.
    pub fn is_lost(&self) -> bool {
        self.0.check();
        self.0.lost.load(Ordering::SeqCst)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_lost() {
            let _ = fs::remove_file(&self.0.path);
        }
    }
}

impl Held {
    /// Notes whether the file at its path is still the one that was created.
    fn check(&self) {
        let own = self.file.metadata();
        let found = open_own(&self.path).and_then(|file| file.metadata());
        let is_own = match (own, found) {
            (Ok(own), Ok(found)) => (own.dev(), own.ino()) == (found.dev(), found.ino()),
            (_, Err(error)) if error.kind() == io::ErrorKind::NotFound => false,
            (Err(error), _) if error.raw_os_error() == Some(libc::ESTALE) => false,
            // Unknown, e.g. since the server does not respond.
            _ => true,
        };
        if !is_own {
            self.lost.store(true, Ordering::SeqCst);
        }
    }

    fn beat(&self) {
        self.check();
        if !self.lost.load(Ordering::SeqCst) {
            let count = self.count.fetch_add(1, Ordering::SeqCst) + 1;
            // Into the open file: a lease that another machine has moved away is not touched.
            let _ = self.file.write_all_at(format!("{count:0DIGITS$}").as_bytes(), 0);
            let _ = self.file.sync_data();
        }
    }
}

/// Adds a lease to those whose counters a thread increases.
fn keep(held: &Arc<Held>) {
    static ALL: OnceLock<Mutex<Vec<Weak<Held>>>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let beat = || {
            loop {
                thread::sleep(BEAT);
                let Some(all) = ALL.get() else { continue };
                let now: Vec<Arc<Held>> = {
                    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
                    all.retain(|held| held.strong_count() > 0);
                    all.iter().filter_map(Weak::upgrade).collect()
                };
                now.iter().for_each(|held| held.beat());
            }
        };
        // Without it leases become stale: steps may then be run twice, with equal results.
        let _ = thread::Builder::new().name("leases".into()).spawn(beat);
        Mutex::default()
    });
    all.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(held));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machines(stale: u64) -> (tempfile::TempDir, PathBuf, Leases, Leases) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.lease");
        let of = |boot: &str| Leases::of(boot.into(), Duration::from_millis(stale));
        (dir, path, of("one"), of("other"))
    }

    /// As a killed process leaves it.
    fn abandoned(leases: &Leases, path: &Path) {
        fs::write(path, leases.content(7)).unwrap();
    }

    #[test]
    fn a_lease_excludes_processes_of_other_machines_until_it_is_released() {
        let (_dir, path, one, other) = machines(10_000);
        let held = one.take(&path, true).unwrap().unwrap();
        assert!(other.take(&path, true).unwrap().is_none());
        assert!(other.take(&path, false).unwrap().is_none());
        drop(held);
        assert!(!path.exists());
        assert!(other.take(&path, true).unwrap().is_some());
    }

    #[test]
    fn a_killed_process_of_this_machine_is_replaced_at_once_and_another_machines_when_it_is_stale()
    {
        let (_dir, path, one, other) = machines(60);
        abandoned(&one, &path);
        // The lock was free, and locks of one machine can be relied on.
        assert!(one.take(&path, true).unwrap().is_some());
        abandoned(&one, &path);
        assert!(one.take(&path, false).unwrap().is_none(), "there are no locks");
        assert!(other.take(&path, true).unwrap().is_none());
        thread::sleep(Duration::from_millis(80));
        assert!(other.take(&path, true).unwrap().is_some());
    }

    #[test]
    fn a_lease_that_changes_is_never_stale() {
        let (_dir, path, one, other) = machines(40);
        let held = one.take(&path, true).unwrap().unwrap();
        for _ in 0..6 {
            thread::sleep(Duration::from_millis(25));
            held.0.beat();
            assert!(other.take(&path, true).unwrap().is_none());
        }
        assert!(!held.is_lost());
    }

    #[test]
    fn a_holder_that_slept_notices_that_its_lease_is_lost_and_leaves_the_new_one_alone() {
        let (_dir, path, one, other) = machines(30);
        let slept = one.take(&path, true).unwrap().unwrap();
        assert!(other.take(&path, true).unwrap().is_none());
        thread::sleep(Duration::from_millis(50));
        let new = other.take(&path, true).unwrap().unwrap();
        slept.0.beat();
        assert!(slept.is_lost() && !new.is_lost());
        drop(slept);
        assert!(path.exists() && !new.is_lost());
    }

    #[test]
    fn of_several_machines_one_takes_a_stale_lease() {
        for _ in 0..20 {
            let (_dir, path, one, _) = machines(0);
            abandoned(&one, &path);
            let others: Vec<Leases> =
                (0..4).map(|at| Leases::of(format!("m{at}"), Duration::ZERO)).collect();
            // The first look only begins to watch.
            others.iter().for_each(|of| assert!(of.take(&path, true).unwrap().is_none()));
            let taken: Vec<Option<Lease>> = thread::scope(|scope| {
                let take = |of: &'_ Leases| of.take(&path, true).unwrap();
                let all: Vec<_> = others.iter().map(|of| scope.spawn(move || take(of))).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            // A lease that its holder gets back may be taken for lost: fewer than one is allowed, more is not.
            let sure = taken.iter().flatten().filter(|lease| !lease.is_lost()).count();
            assert!(sure <= 1, "{sure}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let (dir, path, one, _) = machines(0);
        std::os::unix::fs::symlink(dir.path().join("elsewhere"), &path).unwrap();
        assert!(one.take(&path, true).is_err());
        assert!(!dir.path().join("elsewhere").exists());
    }
}

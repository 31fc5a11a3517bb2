//! Claims on responses, so that no two processes request the same one: a process locks one byte of a file at an
//! offset derived from the key of the response. The system releases the lock when the process ends.

use std::{fs::File, os::fd::AsRawFd, path::Path, thread, time::Duration};

use super::key::Key;
use crate::base::{
    files::open_lock,
    interrupt::{Interrupt, Interrupted},
};

/// How often a waiting process tries again.
const TICK: Duration = Duration::from_millis(20);

/// The claims of a directory of responses. If the file cannot be opened, nothing is claimed: in the worst case, a
/// response is paid for twice.
pub struct Claims(Option<File>);

/// Held while a response is requested.
pub struct Claim<'a>(Option<(&'a File, i64)>);

impl Claims {
    /// The claims of the responses in `dir`.
    pub fn open(dir: &Path) -> Self {
        Self(open_lock(&dir.join("claims")).ok())
    }

    /// Claims a response; waits while another process requests it.
    pub fn take(&self, key: &Key, interrupt: &Interrupt) -> Result<Claim<'_>, Interrupted> {
        let Some(file) = &self.0 else { return Ok(Claim(None)) };
        let mut first = [0; 8];
        first.copy_from_slice(&key[..8]);
        // Positive, and so that the byte after it is a valid offset.
        let at = (u64::from_be_bytes(first) >> 2) as i64;
        loop {
            match lock(file, at, libc::F_WRLCK) {
                Ok(()) => return Ok(Claim(Some((file, at)))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    interrupt.check()?;
                    thread::sleep(TICK);
                }
                // The file system does not support such locks.
                Err(_) => return Ok(Claim(None)),
            }
        }
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        if let Some((file, at)) = self.0 {
            let _ = lock(file, at, libc::F_UNLCK);
        }
    }
}

/// Locks the open file, not the process, so that threads of one process do not release each other's locks.
fn lock(file: &File, at: i64, kind: libc::c_int) -> std::io::Result<()> {
    // SAFETY: a plain structure of numbers, for which zeros are a valid value.
    let mut of: libc::flock = unsafe { std::mem::zeroed() };
    of.l_type = kind as libc::c_short;
    of.l_whence = libc::SEEK_SET as libc::c_short;
    of.l_start = at;
    of.l_len = 1;
    // SAFETY: the descriptor is open, and the structure outlives the call.
    match unsafe { libc::fcntl(file.as_raw_fd(), libc::F_OFD_SETLK, &of) } {
        0 => Ok(()),
        _ => Err(std::io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_claim_excludes_other_processes_only() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Claims::open(dir.path()), Claims::open(dir.path()));
        let (key, another) = ([7; 32], [200; 32]);
        let interrupt = Interrupt::default();
        let held = one.take(&key, &interrupt).unwrap();
        // Other keys are not locked.
        drop(other.take(&another, &interrupt).unwrap());
        thread::scope(|scope| {
            let waits = scope.spawn(|| {
                let started = Instant::now();
                drop(other.take(&key, &interrupt).unwrap());
                started.elapsed()
            });
            thread::sleep(Duration::from_millis(100));
            drop(held);
            assert!(waits.join().unwrap() >= Duration::from_millis(80));
        });
        let _held = one.take(&key, &interrupt).unwrap();
        interrupt.raise();
        assert!(other.take(&key, &interrupt).is_err());
        assert!(Claims::open(&dir.path().join("nowhere")).take(&key, &interrupt).is_ok());
    }
}

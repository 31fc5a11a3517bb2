//! Claims on answers, so that no two processes pay for the same one at once: who asks holds a lock on one
//! byte of a file, whose place the answer's key tells. A lock goes with its process, however that ends.

use std::{fs::File, os::fd::AsRawFd, path::Path, thread, time::Duration};

use super::key::Key;
use crate::base::{
    files::open_lock,
    interrupt::{Interrupt, Interrupted},
};

/// How often it is looked whether another process is done.
const TICK: Duration = Duration::from_millis(20);

/// The claims of a directory of answers. Where the file cannot be had, nothing is claimed: the worst that
/// can happen then is that an answer is paid twice.
pub struct Claims(Option<File>);

/// Held while an answer is asked for.
pub struct Claim<'a>(Option<(&'a File, i64)>);

impl Claims {
    /// Those of the answers in `dir`.
    pub fn open(dir: &Path) -> Self {
        Self(open_lock(&dir.join("claims")).ok())
    }

    /// Claims an answer; waits for another process that is about it.
    pub fn take(&self, key: &Key, interrupt: &Interrupt) -> Result<Claim<'_>, Interrupted> {
        let Some(file) = &self.0 else { return Ok(Claim(None)) };
        let mut first = [0; 8];
        first.copy_from_slice(&key[..8]);
        // Positive, and with room for the byte after.
        let at = (u64::from_be_bytes(first) >> 2) as i64;
        loop {
            match lock(file, at, libc::F_WRLCK) {
                Ok(()) => return Ok(Claim(Some((file, at)))),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    interrupt.check()?;
                    thread::sleep(TICK);
                }
                // A file system without such locks.
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

/// Locks of an open file, not of the process: threads of one process do not take them from each other.
fn lock(file: &File, at: i64, kind: libc::c_int) -> std::io::Result<()> {
    // Safe: a plain structure of numbers, for which zeros are a value.
    let mut of: libc::flock = unsafe { std::mem::zeroed() };
    of.l_type = kind as libc::c_short;
    of.l_whence = libc::SEEK_SET as libc::c_short;
    of.l_start = at;
    of.l_len = 1;
    // Safe: the descriptor is open, and the structure lives over the call.
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
    fn a_claim_is_held_against_others_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (Claims::open(dir.path()), Claims::open(dir.path()));
        let (key, another) = ([7; 32], [200; 32]);
        let interrupt = Interrupt::default();
        let held = one.take(&key, &interrupt).unwrap();
        // The same process may ask twice; another answer is free.
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

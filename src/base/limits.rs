//! Limits for untrusted files and endpoints. Each message names the limit and how to raise it.

use std::{
    env,
    io::{self, BufRead, Read},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Maximum number of values of an experiment file, including aliases and included files.
pub const MOST_VALUES: usize = 1_000_000;
/// Maximum unpacked size of an archive in bytes, if its manifest has none.
pub const MOST_UNPACKED: u64 = 20_000_000_000;
/// Sets [`most_of_line`], in MB.
pub const LINE_VARIABLE: &str = "ASSAY_MAX_LINE_MB";

static MOST_TRIALS: AtomicUsize = AtomicUsize::new(100_000);

/// Maximum number of trials of an experiment.
pub fn most_trials() -> usize {
    MOST_TRIALS.load(Ordering::Relaxed)
}

/// Sets the maximum, once for the whole command.
pub fn set_most_trials(most: usize) {
    MOST_TRIALS.store(most, Ordering::Relaxed);
}

static TRIALS_PER_GPU: AtomicUsize = AtomicUsize::new(1);

/// Number of trials that may use a GPU at the same time.
pub fn trials_per_gpu() -> usize {
    TRIALS_PER_GPU.load(Ordering::Relaxed)
}

/// Sets the number, once for the whole command; at least 1.
pub fn set_trials_per_gpu(most: usize) {
    TRIALS_PER_GPU.store(most.max(1), Ordering::Relaxed);
}

/// The message for too many trials.
pub fn too_many_trials(found: Option<usize>) -> String {
    let found = found.map_or("far more".to_owned(), |found| found.to_string());
    format!("the experiment has {found} trials, and at most {} are allowed", most_trials())
}

/// How to allow more trials.
pub const MORE_TRIALS: &str = "sweep fewer levels, or raise the limit with `--max-trials N`";

/// Maximum size of a line of a journal or cassette, and of an endpoint's reply, in bytes.
pub fn most_of_line() -> u64 {
    static MOST: OnceLock<u64> = OnceLock::new();
    *MOST.get_or_init(|| {
        let set = env::var(LINE_VARIABLE).ok().and_then(|text| text.trim().parse::<u64>().ok());
        // Offsets in the index have 32 bits for a length.
        set.unwrap_or(16).clamp(1, 2048) << 20
    })
}

/// The message for a longer one.
pub fn too_long(what: &str) -> String {
    let most = most_of_line() >> 20;
    format!("{what} is longer than {most} MB, the limit that {LINE_VARIABLE} sets")
}

/// Reads a line with its line break into `line`, which is cleared first; at most [`most_of_line`] bytes. Returns its length
/// and whether it is complete.
pub fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<(usize, bool)> {
    line.clear();
    let most = most_of_line();
    let n = reader.by_ref().take(most).read_until(b'\n', line)?;
    Ok((n, n as u64 != most || line.last() == Some(&b'\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_only_up_to_the_limit() {
        let mut endless = io::BufReader::new(io::repeat(b'x'));
        let mut line = Vec::new();
        let (n, whole) = read_line(&mut endless, &mut line).unwrap();
        assert!(n as u64 == most_of_line() && !whole);
        let mut short = io::BufReader::new(&b"a\nb"[..]);
        assert_eq!(read_line(&mut short, &mut line).unwrap(), (2, true));
        assert_eq!(read_line(&mut short, &mut line).unwrap(), (1, true));
        assert_eq!(read_line(&mut short, &mut line).unwrap(), (0, true));
    }
}

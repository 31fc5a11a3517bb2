//! Bounds on what files and endpoints of others can make the program do. Each message names the bound and how to raise it.

use std::{
    env,
    io::{self, BufRead, Read},
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

/// Most values of an experiment file, with everything that aliases and includes bring in.
pub const MOST_VALUES: usize = 1_000_000;
/// Most bytes that an archive unpacks to, where its manifest does not say.
pub const MOST_UNPACKED: u64 = 20_000_000_000;
/// Sets [`most_of_line`], in MB.
pub const LINE_VARIABLE: &str = "ASSAY_MAX_LINE_MB";

static MOST_TRIALS: AtomicUsize = AtomicUsize::new(100_000);

/// Most trials of an experiment.
pub fn most_trials() -> usize {
    MOST_TRIALS.load(Ordering::Relaxed)
}

/// Sets it, once for the whole command.
pub fn set_most_trials(most: usize) {
    MOST_TRIALS.store(most, Ordering::Relaxed);
}

/// What is said of more trials than that.
pub fn too_many_trials(found: Option<usize>) -> String {
    let found = found.map_or("far more".to_owned(), |found| found.to_string());
    format!("the experiment has {found} trials, and at most {} are allowed", most_trials())
}

/// How to allow more trials.
pub const MORE_TRIALS: &str = "sweep fewer levels, or raise the limit with `--max-trials N`";

/// Most bytes of a line of a journal or cassette, and of an endpoint's reply.
pub fn most_of_line() -> u64 {
    static MOST: OnceLock<u64> = OnceLock::new();
    *MOST.get_or_init(|| {
        let set = env::var(LINE_VARIABLE).ok().and_then(|text| text.trim().parse::<u64>().ok());
        // Offsets in the index have 32 bits for a length.
        set.unwrap_or(16).clamp(1, 2048) << 20
    })
}

/// What is said of a longer one.
pub fn too_long(what: &str) -> String {
    let most = most_of_line() >> 20;
    format!("{what} is longer than {most} MB, the limit that {LINE_VARIABLE} sets")
}

/// Reads a line with its end into `line`, which is emptied first; at most [`most_of_line`] bytes of it. Returns its
/// length and whether it is whole.
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
    fn no_more_of_a_line_is_read_than_the_limit() {
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

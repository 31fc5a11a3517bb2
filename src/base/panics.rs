//! Panics of libraries: each gives one message, without a backtrace.
//!
//! Polars panics on some Parquet files with a changed footer, and if the system can start no more threads. The panic may
//! occur on a thread of the library, so the hook cannot know who will report it, and stores the message.

use std::{
    any::Any,
    io,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::terminal::{on_one_line, tell};

/// Number of running callers of [`caught`], which report what they catch.
static GUARDED: AtomicUsize = AtomicUsize::new(0);
/// Whether a panic was reported: there is only one message.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Replaces Rust's report, which has a backtrace and paths of the machine that built the program.
pub fn install_hook() {
    panic::set_hook(Box::new(|info| {
        if GUARDED.load(Ordering::SeqCst) > 0 {
            return;
        }
        let place = info.location().map(|at| {
            let file = Path::new(at.file()).file_name().unwrap_or_default();
            format!(" ({}:{})", file.to_string_lossy(), at.line())
        });
        let problem = in_words(info.payload());
        // Later panics of other threads are consequences of the first.
        if TOLD.swap(true, Ordering::SeqCst) {
            return;
        }
        match is_lack_of_threads(&problem) {
            true => tell!("error: {}", no_threads(&problem)),
            false => tell!(
                "error: internal error: {problem}{}\n  = help: please report it with the command and its output",
                place.unwrap_or_default()
            ),
        }
    }));
}

/// The message if no thread could be started.
pub fn no_threads(problem: &str) -> String {
    format!(
        "the system gives no more threads: {problem}\n  = help: raise the limit (`ulimit -u`, `ulimit -v`, the \
         container's), or run with `--threads 1`"
    )
}

/// Whether a panic means that no thread could be started.
pub fn is_lack_of_threads(problem: &str) -> bool {
    let text = problem.to_lowercase();
    text.contains("thread") && (text.contains("spawn") || text.contains("temporarily unavailable"))
}

/// Runs `work`; a panic in it, on any thread, becomes an error with its message.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    struct Guard;
    impl Drop for Guard {
        fn drop(&mut self) {
            GUARDED.fetch_sub(1, Ordering::SeqCst);
        }
    }
    GUARDED.fetch_add(1, Ordering::SeqCst);
    let _guard = Guard;
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| in_words(&*panic))
}

/// Runs code in which a library reads an untrusted file: a panic is an error about the file.
pub fn reading<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match caught(work) {
        Ok(read) => read,
        // The file is not the cause: the message of the hook applies.
        Err(problem) if is_lack_of_threads(&problem) => panic!("{problem}"),
        Err(problem) => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the library that reads it gave up: {problem:.200}"),
        )),
    }
}

fn in_words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    on_one_line(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_on_any_thread_becomes_a_message() {
        assert_eq!(caught(|| 1), Ok(1));
        assert_eq!(caught(|| panic!("of {}", 1)), Err::<(), _>("of 1".into()));
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
        assert_eq!(caught(|| pool.install(|| panic!("below"))), Err::<(), _>("below".into()));
        let error = reading::<()>(|| panic!("index out of bounds")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(is_lack_of_threads(
            "could not spawn threads: ThreadPoolBuildError { kind: IOError(Os { code: 11 }) }"
        ));
        assert!(!is_lack_of_threads("index out of bounds"));
    }
}

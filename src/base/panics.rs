//! Panics of libraries: each ends in one message, without a backtrace.
//!
//! Polars panics on some Parquet files whose footer was changed, and where the system gives no more threads. The panic
//! may come up on a thread of the library's own, so the hook cannot know who will report it: it keeps what it saw.

use std::{
    any::Any,
    io,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use super::terminal::{on_one_line, tell};

/// How many callers of [`caught`] are at work: they report what they catch.
static GUARDED: AtomicUsize = AtomicUsize::new(0);
/// Whether a panic was told: there is one message.
static TOLD: AtomicBool = AtomicBool::new(false);

/// Takes the place of Rust's own report, which has a backtrace and paths of the machine that built the program.
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
        // What other threads panic on after that follows from it.
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

/// What is said where no thread could be started.
pub fn no_threads(problem: &str) -> String {
    format!(
        "the system gives no more threads: {problem}\n  = help: raise the limit (`ulimit -u`, `ulimit -v`, the \
         container's), or run with `--threads 1`"
    )
}

/// Whether a panic says that no thread could be started.
pub fn is_lack_of_threads(problem: &str) -> bool {
    let text = problem.to_lowercase();
    text.contains("thread") && (text.contains("spawn") || text.contains("temporarily unavailable"))
}

/// Runs `work`; a panic in it, on whatever thread, is its message.
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

/// Runs what reads a file of others with a library: a panic in it is an error of the file.
pub fn reading<T>(work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match caught(work) {
        Ok(read) => read,
        // Nothing is wrong with the file: the hook's message is for everybody.
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
    fn a_panic_on_any_thread_is_its_message() {
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

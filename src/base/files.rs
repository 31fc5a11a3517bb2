//! Files that are there whole or not at all.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Serialize, de::DeserializeOwned};

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {source}{}", path.display(), hint(path, source))]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
}

impl FileError {
    /// The error below it.
    pub fn into_io(self) -> io::Error {
        match self {
            Self::Io { source, .. } => source,
            Self::Damaged { problem, .. } => io::Error::other(problem),
        }
    }
}

fn hint(path: &Path, error: &io::Error) -> String {
    match error.kind() {
        _ if is_full_kind(error) => full_disk_help(path),
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory => {
            "\n  = help: choose a workspace you may write to with `--workspace DIR`".into()
        }
        _ => String::new(),
    }
}

fn is_full_kind(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

/// What to do where a file could not be written for want of space. Says which directory is full: `--out` and the
/// temporary directory may be on other disks than the workspace.
pub fn full_disk_help(path: &Path) -> String {
    let dir = path.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(path);
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    format!(
        "\n  = help: the disk of {} is full, or a quota or `ulimit -f` is reached: free some space there, or write \
         elsewhere (`--workspace DIR` for steps and runs, `--out DIR` for what is exported); what is finished is kept",
        dir.display()
    )
}

/// Whether an error, or one below it, says that a disk is full.
pub fn is_disk_full(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut at = Some(error);
    while let Some(error) = at {
        let io = error.downcast_ref::<io::Error>();
        let file = error.downcast_ref::<FileError>();
        let below = match file {
            Some(FileError::Io { source, .. }) => Some(source),
            _ => io,
        };
        if below.is_some_and(is_full_kind) {
            return true;
        }
        at = error.source();
    }
    false
}

pub(crate) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> FileError {
    let path = path.to_owned();
    move |source| FileError::Io { path, source }
}

/// Opens a file to read it; something that is no plain file (a pipe, a device, a directory) is an error, and is
/// not waited for.
pub fn open_plain(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)
}

/// The same of a file that assay wrote: one that is a link is an error, since a workspace may be a stranger's.
pub fn open_own(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    plain(no_link(OpenOptions::new().read(true).custom_flags(flags).open(path))?)
}

/// Opens a file for locks, which is made where it is missing. What it holds stays, and links are not followed.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).custom_flags(flags);
    plain(no_link(options.open(path))?)
}

/// Opens a file that assay wrote to read and to write in it. Links are not followed.
pub fn open_to_mend(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    plain(no_link(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path))?)
}

/// Whether an error says that nothing may be written there.
pub fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Opens a log to write at its end, which is made where it is missing. Links are not followed.
pub fn open_log(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let mut options = OpenOptions::new();
    options.create(true).append(true).custom_flags(flags);
    plain(no_link(options.open(path))?)
}

fn no_link(opened: io::Result<File>) -> io::Result<File> {
    opened.map_err(|error| match error.raw_os_error() {
        Some(libc::ELOOP) => io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is a symbolic link, which assay never creates: another program put it there",
        ),
        _ => error,
    })
}

fn plain(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")),
    }
}

/// Reads a text of at most so many bytes from a plain file.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let mut text = String::new();
    open_plain(path)?.take(most + 1).read_to_string(&mut text)?;
    match text.len() as u64 > most {
        true => Err(io::Error::other(format!("it is longer than {} KB", most >> 10))),
        false => Ok(text),
    }
}

/// Reads a file that assay wrote.
pub fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_own(path)?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A file with settings of the user: in `$XDG_CONFIG_HOME/assay`, or in `~/.config/assay`.
pub fn config_file(name: &str) -> Option<PathBuf> {
    Some(user_dir("XDG_CONFIG_HOME", ".config")?.join("assay").join(name))
}

/// A directory of the user: that of the variable, or `below` their home.
pub fn user_dir(variable: &str, below: &str) -> Option<PathBuf> {
    let absolute =
        |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute(variable).or_else(|| Some(absolute("HOME")?.join(below)))
}

/// Reads a JSON file that assay wrote.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = read_own(path).map_err(io_error(path))?;
    serde_json::from_slice(&text).map_err(|error| FileError::Damaged {
        path: path.to_owned(),
        problem: format!("not readable: {error}"),
    })
}

/// Writes what a step needs to go on after it was stopped, with a checksum behind it that also covers where it
/// lies: the memory of another step is none.
pub fn write_memory(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let sum = memory_sum(path, content);
    write_whole(path, &[content, sum.as_bytes()].concat())
}

/// What [`write_memory`] wrote; none where there is nothing, an error where it is not what was written.
pub fn read_memory(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut content = match read_own(path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let end = content.len().checked_sub(blake3::OUT_LEN).ok_or("it is too short")?;
    match *memory_sum(path, &content[..end]).as_bytes() == content[end..] {
        true => {
            content.truncate(end);
            Ok(Some(content))
        }
        false => Err("checksum mismatch".into()),
    }
}

fn memory_sum(path: &Path, content: &[u8]) -> blake3::Hash {
    let mut hasher = blake3::Hasher::new();
    // The step's key and what is below it; the workspace itself may be moved.
    let parts: Vec<_> = path.iter().collect();
    let from =
        parts.iter().rposition(|part| *part == "scratch").map_or(parts.len() - 1, |at| at + 1);
    for part in &parts[from..] {
        hasher.update(part.as_encoded_bytes()).update(b"/");
    }
    hasher.update(content);
    hasher.finalize()
}

/// Writes a JSON file in one go: the file is there whole or not at all.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| io_error(path)(error.into()))?;
    write_new(path, &text, true)
}

/// Writes a file in one go; it is not forced to disk, since it can be made again.
pub fn write_whole(path: &Path, content: &[u8]) -> Result<(), FileError> {
    write_new(path, content, false)
}

fn write_new(path: &Path, content: &[u8], durable: bool) -> Result<(), FileError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let write = || {
        fs::create_dir_all(dir)?;
        let mut file = temporary_file(dir)?;
        file.write_all(content)?;
        if durable {
            file.as_file().sync_all()?;
        }
        // Readable by others, as files that are not temporary are.
        #[cfg(unix)]
        fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(io_error(path))
}

/// Begins the names of temporary files and directories.
const TEMPORARY: &str = ".assay-tmp-";

/// A temporary file in a directory; what killed processes left of such files there is removed.
pub fn temporary_file(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    sweep(dir);
    loop {
        let file = tempfile::Builder::new().prefix(TEMPORARY).tempfile_in(dir)?;
        if is_held(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

/// A temporary directory, with the lock that says that it is in use.
pub fn temporary_dir(dir: &Path) -> io::Result<(tempfile::TempDir, File)> {
    sweep(dir);
    loop {
        let made = tempfile::Builder::new().prefix(TEMPORARY).tempdir_in(dir)?;
        let lock = File::open(made.path())?;
        if is_held(&lock, made.path()) {
            return Ok((made, lock));
        }
    }
}

/// Locks it for as long as it is open. Another process may have taken it for a dead one's before it was locked.
fn is_held(file: &File, path: &Path) -> bool {
    // A file system without locks: nobody else sees the lock, and nobody removes anything.
    let _ = file.lock_shared();
    path.exists()
}

/// Removes temporary files whose process is gone; once in each directory.
fn sweep(dir: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if !SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned()) {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if !entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
            continue;
        }
        let (path, flags) = (entry.path(), libc::O_NONBLOCK | libc::O_NOFOLLOW);
        let Ok(file) = OpenOptions::new().read(true).custom_flags(flags).open(&path) else {
            continue;
        };
        if file.try_lock().is_ok() {
            let _ = match file.metadata().is_ok_and(|of| of.is_dir()) {
                true => fs::remove_dir_all(&path),
                false => fs::remove_file(&path),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn the_memory_of_a_step_is_what_was_written_there() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("scratch/a/m"), dir.path().join("scratch/b/m"));
        assert_eq!(read_memory(&one), Ok(None));
        write_memory(&one, b"content").unwrap();
        assert_eq!(read_memory(&one), Ok(Some(b"content".to_vec())));
        let bytes = fs::read(&one).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            fs::write(&one, flipped).unwrap();
            assert!(read_memory(&one).is_err(), "{at}");
        }
        fs::create_dir_all(other.parent().unwrap()).unwrap();
        fs::write(&other, &bytes).unwrap();
        assert!(read_memory(&other).is_err(), "the memory of another step");
    }

    #[test]
    fn temporary_files_of_the_dead_are_removed_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(format!("{TEMPORARY}dead"));
        let dead_dir = dir.path().join(format!("{TEMPORARY}dir"));
        let alive = dir.path().join(format!("{TEMPORARY}alive"));
        fs::write(&dead, "x").unwrap();
        fs::create_dir(&dead_dir).unwrap();
        fs::write(dead_dir.join("x"), "x").unwrap();
        fs::write(dir.path().join(".tmpother"), "x").unwrap();
        fs::write(&alive, "x").unwrap();
        let held = File::open(&alive).unwrap();
        held.lock_shared().unwrap();
        write_whole(&dir.path().join("mine"), b"x").unwrap();
        let mut left: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [".assay-tmp-alive", ".tmpother", "mine"]);
    }

    #[test]
    fn a_full_disk_is_known_through_other_errors() {
        let full = || io::Error::from_raw_os_error(libc::ENOSPC);
        let dir = tempfile::tempdir().unwrap();
        let error = io_error(&dir.path().join("out/x"))(full());
        assert!(is_disk_full(&error) && is_disk_full(&full()));
        let text = error.to_string();
        assert!(text.contains(&format!("the disk of {} is full", dir.path().display())), "{text}");
        assert!(!is_disk_full(&io::Error::other("x")));
    }

    #[test]
    fn links_and_pipes_are_not_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (target, link, pipe) =
            (dir.path().join("target"), dir.path().join("link"), dir.path().join("pipe"));
        fs::write(&target, "mine").unwrap();
        symlink(&target, &link).unwrap();
        let name = std::ffi::CString::new(pipe.to_str().unwrap()).unwrap();
        // Safe: the name ends in a zero byte.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        for open in [open_own, open_lock, open_log, open_to_mend] {
            assert!(open(&link).is_err() && open(&pipe).is_err());
        }
        assert!(open_plain(&pipe).is_err() && open_plain(Path::new("/dev/zero")).is_err());
        assert!(open_plain(&link).is_ok(), "inputs may be links");
        open_lock(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"mine", "a lock empties nothing");
        assert!(read_text(&target, 3).is_err() && read_text(&target, 4).is_ok());
    }
}

//! How files are opened and written: a file that exists is complete.

use std::{
    collections::BTreeSet,
    env,
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};

/// An error about a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {source}{}", path.display(), hint(path, source))]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
}

impl FileError {
    /// The underlying error.
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

/// Help for a file that could not be written because a disk is full. It names the directory: `--out` and the temporary
/// directory may be on other disks than the workspace.
pub fn full_disk_help(path: &Path) -> String {
    let dir = path.ancestors().skip(1).find(|dir| dir.is_dir()).unwrap_or(path);
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    format!(
        "\n  = help: the disk of {} is full, or a quota or `ulimit -f` is reached: free some space there, or write \
         elsewhere (`--workspace DIR` for steps and runs, `--out DIR` for what is exported); what is finished is kept",
        dir.display()
    )
}

/// Whether an error or one of its causes is a full disk.
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

/// Opens a file for reading. A pipe, a device or a directory is an error, and does not block.
pub fn open_plain(path: &Path) -> io::Result<File> {
    plain(OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?)
}

/// Opens a file that assay wrote, for reading. A link is an error, because a workspace may come from someone else.
pub fn open_own(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    plain(no_link(OpenOptions::new().read(true).custom_flags(flags).open(path))?)
}

/// Opens or creates a lock file. Its content is kept, and links are not followed.
pub fn open_lock(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).custom_flags(flags);
    plain(no_link(options.open(path))?)
}

/// Opens a file that assay wrote, for reading and writing. Links are not followed.
pub fn open_to_repair(path: &Path) -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOFOLLOW;
    plain(no_link(OpenOptions::new().read(true).write(true).custom_flags(flags).open(path))?)
}

/// Whether an error means that the directory is read-only.
pub fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem)
}

/// Opens or creates a log file for appending. Links are not followed.
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

/// Reads a text with a maximum size from a plain file.
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

/// A directory of the user: the value of the variable, or `below` their home.
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

/// Writes the data with which an interrupted step continues, with a checksum that also covers the path: the file of another
/// step is not valid.
pub fn write_memory(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let sum = memory_sum(path, content);
    write_whole(path, &[content, sum.as_bytes()].concat())
}

/// Reads the file of [`write_memory`]; none if there is no file, an error if it is damaged.
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
    // Only the step's key and the path below it, because the workspace may be moved.
    let parts: Vec<_> = path.iter().collect();
    let from =
        parts.iter().rposition(|part| *part == "scratch").map_or(parts.len() - 1, |at| at + 1);
    for part in &parts[from..] {
        hasher.update(part.as_encoded_bytes()).update(b"/");
    }
    hasher.update(content);
    hasher.finalize()
}

/// Writes a JSON file atomically: a file that exists is complete.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<(), FileError> {
    let text = serde_json::to_vec_pretty(value).map_err(|error| io_error(path)(error.into()))?;
    write_new(path, &text, true)
}

/// Writes a file atomically. It is not synced to disk, because it can be rebuilt.
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
        // Readable by others, like files that are not temporary.
        #[cfg(unix)]
        fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
        file.persist(path).map_err(|error| error.error)
    };
    write().map(drop).map_err(io_error(path))
}

/// Prefix of the names of temporary files and directories. After it comes the machine.
const TEMPORARY: &str = ".assay-tmp-";
/// Number of digits of the machine.
const MACHINE: usize = 8;
/// Temporary files of other machines are kept for so long: their locks may not be visible here.
const FOREIGN: Duration = Duration::from_secs(24 * 3600);

/// Identifies the running system of this machine; another one after each start.
pub fn boot_id() -> Option<&'static str> {
    static ID: OnceLock<Option<String>> = OnceLock::new();
    let read = || {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
        Some(id.trim().to_owned()).filter(|id| id.len() > MACHINE && id.is_ascii())
    };
    ID.get_or_init(read).as_deref()
}

/// The prefix of temporary files of this machine.
fn temporary() -> String {
    boot_id().map_or(TEMPORARY.to_owned(), |id| format!("{TEMPORARY}{}-", &id[..MACHINE]))
}

/// Whether a temporary file was made by another machine.
fn is_foreign(name: &str) -> bool {
    let machine = name[TEMPORARY.len()..].split_once('-').map(|(machine, _)| machine);
    machine.is_some_and(|of| of.len() == MACHINE && boot_id().map(|id| &id[..MACHINE]) != Some(of))
}

/// A temporary file in a directory. Temporary files of killed processes in it are removed.
pub fn temporary_file(dir: &Path) -> io::Result<tempfile::NamedTempFile> {
    sweep(dir);
    loop {
        let file = tempfile::Builder::new().prefix(&temporary()).tempfile_in(dir)?;
        if is_held(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

/// A temporary directory, with a lock that shows that it is in use.
pub fn temporary_dir(dir: &Path) -> io::Result<(tempfile::TempDir, File)> {
    sweep(dir);
    loop {
        let made = tempfile::Builder::new().prefix(&temporary()).tempdir_in(dir)?;
        let lock = File::open(made.path())?;
        if is_held(&lock, made.path()) {
            return Ok((made, lock));
        }
    }
}

/// Locks it while it is open. Before that, another process may have removed it as one of a dead process.
fn is_held(file: &File, path: &Path) -> bool {
    // A file system without locks: no process removes files there.
    let _ = file.lock_shared();
    path.exists()
}

/// Removes temporary files of dead processes; once per directory.
fn sweep(dir: &Path) {
    static SWEPT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    if !SWEPT.lock().unwrap_or_else(PoisonError::into_inner).insert(dir.to_owned()) {
        return;
    }
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !name.starts_with(TEMPORARY) {
            continue;
        }
        if is_foreign(&name) {
            // Both times come from the file server, if there is one.
            let time = |of: io::Result<fs::Metadata>| of.and_then(|of| of.modified()).ok();
            let (of, last) = (time(entry.metadata()), time(fs::metadata(dir)));
            let age = of.zip(last).and_then(|(of, last)| last.duration_since(of).ok());
            if age.is_none_or(|age| age < FOREIGN) {
                continue;
            }
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
    fn the_data_of_a_step_are_valid_only_at_their_path() {
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
    fn temporary_files_of_dead_processes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let dead = dir.path().join(format!("{TEMPORARY}dead"));
        let dead_dir = dir.path().join(format!("{TEMPORARY}dir"));
        let alive = dir.path().join(format!("{TEMPORARY}alive"));
        fs::write(&dead, "x").unwrap();
        fs::create_dir(&dead_dir).unwrap();
        fs::write(dead_dir.join("x"), "x").unwrap();
        fs::write(dir.path().join(".tmpother"), "x").unwrap();
        // Of another machine: new, and old.
        fs::write(dir.path().join(format!("{TEMPORARY}0a0a0a0a-new")), "x").unwrap();
        let old = fs::File::create(dir.path().join(format!("{TEMPORARY}0a0a0a0a-old"))).unwrap();
        old.set_modified(std::time::SystemTime::now() - 2 * FOREIGN).unwrap();
        fs::write(&alive, "x").unwrap();
        let held = File::open(&alive).unwrap();
        held.lock_shared().unwrap();
        write_whole(&dir.path().join("mine"), b"x").unwrap();
        let mut left: Vec<String> = fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let new = ".assay-tmp-0a0a0a0a-new";
        assert_eq!(left, [new, ".assay-tmp-alive", ".tmpother", "mine"]);
    }

    #[test]
    fn a_full_disk_is_detected_as_a_cause() {
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
        // SAFETY: the name ends in a zero byte.
        assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
        for open in [open_own, open_lock, open_log, open_to_repair] {
            assert!(open(&link).is_err() && open(&pipe).is_err());
        }
        assert!(open_plain(&pipe).is_err() && open_plain(Path::new("/dev/zero")).is_err());
        assert!(open_plain(&link).is_ok(), "inputs may be links");
        open_lock(&target).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"mine", "a lock empties nothing");
        assert!(read_text(&target, 3).is_err() && read_text(&target, 4).is_ok());
    }
}

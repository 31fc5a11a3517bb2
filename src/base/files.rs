//! Files that are there whole or not at all.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Serialize, de::DeserializeOwned};

/// What can go wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("{}: {source}{}", path.display(), hint(source))]
    Io { path: PathBuf, source: io::Error },
    #[error("{}: {problem}", path.display())]
    Damaged { path: PathBuf, problem: String },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            "\n  = help: free some space, or put the workspace elsewhere with `--workspace DIR`; what \
             is finished is kept"
        }
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::ReadOnlyFilesystem
        | io::ErrorKind::NotADirectory => {
            "\n  = help: choose a workspace you may write to with `--workspace DIR`"
        }
        _ => "",
    }
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
            "it is a symbolic link, and assay makes none: somebody put it there",
        ),
        _ => error,
    })
}

fn plain(file: File) -> io::Result<File> {
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a plain file")),
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

/// Reads a JSON file that assay wrote.
pub fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = read_own(path).map_err(io_error(path))?;
    serde_json::from_slice(&text).map_err(|error| FileError::Damaged {
        path: path.to_owned(),
        problem: format!("not readable: {error}"),
    })
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
        let mut file = tempfile::NamedTempFile::new_in(dir)?;
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

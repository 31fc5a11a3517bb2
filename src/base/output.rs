//! Directories and files that a command writes for its user. Files that assay did not write are not overwritten.

use std::{
    collections::BTreeSet,
    fs,
    io::{self, Read, Write},
    path::{Component, Path, PathBuf},
};

use super::files::{FileError, io_error, open_log, open_own, read_own, write_whole};

/// The list of files in a directory that assay wrote, one JSON string per line.
const LIST: &str = ".assay-files";
/// The first line of every HTML file of assay, by which it is recognised.
const GENERATOR: &str = "<meta name=\"generator\" content=\"assay\">";

/// A directory that a command writes files into.
pub struct OutputDir {
    dir: PathBuf,
    known: BTreeSet<String>,
    written: BTreeSet<String>,
    overwrite: bool,
}

impl OutputDir {
    /// The directory, which may not exist. `first` is a file that will be written: if it exists and assay did not write it,
    /// the error comes before any work is done.
    pub fn open(dir: &Path, first: &str, overwrite: bool) -> Result<Self, FileError> {
        // A report of a version without the list.
        let is_older = !dir.join(LIST).exists() && is_own_page(&dir.join(first));
        let mut of = Self {
            dir: dir.to_owned(),
            known: BTreeSet::new(),
            written: BTreeSet::new(),
            overwrite: overwrite || is_older,
        };
        of.check(first)?;
        Ok(of)
    }

    /// Writes a file by its name below the directory; returns its path.
    pub fn write(&mut self, name: &str, content: &[u8]) -> Result<PathBuf, FileError> {
        self.check(name)?;
        // Before the file, so that a command killed in between leaves no file that the next one refuses.
        // Appended, so that concurrent processes do not lose each other's lines.
        if self.known.insert(name.to_owned()) {
            let list = self.dir.join(LIST);
            let line = format!("{}\n", serde_json::Value::from(name));
            fs::create_dir_all(&self.dir)
                .and_then(|()| open_log(&list)?.write_all(line.as_bytes()))
                .map_err(io_error(&list))?;
        }
        let path = self.dir.join(name);
        write_whole(&path, content)?;
        self.written.insert(name.to_owned());
        Ok(path)
    }

    /// Files that assay wrote earlier and not now: they may hold other numbers than those beside them.
    pub fn older(&mut self) -> Vec<String> {
        self.look_again();
        let older = self.known.iter().filter(|name| !self.written.contains(*name));
        older.filter(|name| self.dir.join(name).is_file()).cloned().collect()
    }

    fn look_again(&mut self) {
        let listed = read_own(&self.dir.join(LIST)).unwrap_or_default();
        let names = listed.split(|byte| *byte == b'\n');
        self.known.extend(names.filter_map(|name| serde_json::from_slice::<String>(name).ok()));
    }

    fn check(&mut self, name: &str) -> Result<(), FileError> {
        let whole = self.dir.join(name);
        let damaged = |problem: &str| {
            Err(FileError::Damaged { path: whole.clone(), problem: problem.into() })
        };
        if name.is_empty() {
            return damaged("it is not a file name");
        }
        let mut path = self.dir.clone();
        for part in Path::new(name).components() {
            let Component::Normal(part) = part else {
                return damaged("it is outside of the directory");
            };
            path.push(part);
            let is_link = fs::symlink_metadata(&path).is_ok_and(|of| of.is_symlink());
            if is_link {
                return damaged("it is a symbolic link, and assay does not write through links");
            }
        }
        if self.overwrite || fs::symlink_metadata(&path).is_err() {
            return Ok(());
        }
        if !self.known.contains(name) {
            self.look_again();
        }
        match self.known.contains(name) {
            true => Ok(()),
            false => Err(refused(&path)),
        }
    }
}

/// Writes one file. An existing file is overwritten only if `is_own` recognises it as a file of assay.
pub fn check_file(
    path: &Path,
    overwrite: bool,
    is_own: impl Fn(&Path) -> bool,
) -> Result<(), FileError> {
    match fs::symlink_metadata(path) {
        Ok(_) if !overwrite && !is_own(path) => Err(refused(path)),
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(path)(error)),
        _ => Ok(()),
    }
}

/// Whether a file is a page that assay wrote.
pub fn is_own_page(path: &Path) -> bool {
    let mut start = [0; 512];
    let read = open_own(path).and_then(|mut file| file.read(&mut start));
    read.is_ok_and(|n| {
        let text = String::from_utf8_lossy(&start[..n]);
        text.contains(GENERATOR) || text.contains("– assay</title>")
    })
}

fn refused(path: &Path) -> FileError {
    FileError::Damaged {
        path: path.to_owned(),
        problem: "it exists, and assay did not write it\n  = help: choose another path, or overwrite it with \
                  --overwrite"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_files_are_overwritten_and_others_are_not() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("out");
        let mut out = OutputDir::open(&dir, "a.txt", false).unwrap();
        out.write("a.txt", b"1").unwrap();
        out.write("sub/b.txt", b"1").unwrap();
        fs::write(dir.join("mine.txt"), "mine").unwrap();
        let mut out = OutputDir::open(&dir, "a.txt", false).unwrap();
        out.write("a.txt", b"2").unwrap();
        let refused = out.write("mine.txt", b"2").unwrap_err().to_string();
        assert!(refused.contains("--overwrite"), "{refused}");
        assert_eq!(fs::read(dir.join("mine.txt")).unwrap(), b"mine");
        assert!(OutputDir::open(&dir, "mine.txt", false).is_err());
        OutputDir::open(&dir, "mine.txt", true).unwrap().write("mine.txt", b"2").unwrap();
        assert_eq!(fs::read(dir.join("mine.txt")).unwrap(), b"2");
    }

    #[test]
    fn nothing_is_written_outside_or_through_links() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("out");
        let mut out = OutputDir::open(&dir, "a.txt", true).unwrap();
        for name in ["../x", "/x", "a/../../x", ""] {
            let written = out.write(name, b"1");
            assert!(written.is_err(), "{name}");
        }
        fs::create_dir_all(&dir).unwrap();
        std::os::unix::fs::symlink(root.path(), dir.join("link")).unwrap();
        assert!(out.write("link/x", b"1").is_err());
        assert!(!root.path().join("x").exists());
    }
}

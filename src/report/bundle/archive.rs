//! The archive: the same files give the same bytes.

use std::{
    fs::{self, File},
    io::{self, BufWriter},
    path::Path,
};

use zip::{CompressionMethod, DateTime, ZipWriter, write::SimpleFileOptions};

use crate::base::{
    file_names::stays_inside,
    files::{FileError, io_error, open_own, temporary_file},
};

/// The start of a zip archive.
const MAGIC: &[u8] = b"PK\x03\x04";

/// The files below a directory, as names with `/`, sorted. Hidden files, such as lists of what was written, are not
/// among them.
pub fn files(root: &Path) -> Result<Vec<String>, FileError> {
    let (mut open, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).map_err(io_error(&dir))? {
            let entry = entry.map_err(io_error(&dir))?;
            let path = entry.path();
            if entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if entry.file_type().map_err(io_error(&path))?.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if !stays_inside(&name) {
                return Err(FileError::Damaged {
                    path,
                    problem: "a file of this name cannot be in an archive".into(),
                });
            }
            found.push(name);
        }
    }
    found.sort();
    Ok(found)
}

/// Writes them as a zip archive; returns its size. No times and no owners are in it.
pub fn write(root: &Path, files: &[String], out: &Path) -> Result<u64, FileError> {
    let dir = out.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let file = temporary_file(dir).map_err(io_error(out))?;
    let failed = |error: zip::result::ZipError| io_error(out)(io::Error::other(error));
    let mut zip = ZipWriter::new(BufWriter::new(file.as_file()));
    for name in files {
        let path = root.join(name);
        let mut content = open_own(&path).map_err(io_error(&path))?;
        let bytes = content.metadata().map_err(io_error(&path))?.len();
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default())
            .unix_permissions(0o644)
            .large_file(bytes >= u64::from(u32::MAX));
        zip.start_file(name.as_str(), options).map_err(failed)?;
        io::copy(&mut content, &mut zip).map_err(io_error(out))?;
    }
    let inner = zip.finish().map_err(failed)?;
    inner.into_inner().map_err(|error| io_error(out)(error.into_error()))?;
    file.as_file().sync_all().map_err(io_error(out))?;
    #[cfg(unix)]
    fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .map_err(io_error(out))?;
    let bytes = file.as_file().metadata().map_err(io_error(out))?.len();
    file.persist(out).map_err(|error| io_error(out)(error.error))?;
    Ok(bytes)
}

/// Whether a file is a bundle.
pub fn is_bundle(path: &Path) -> bool {
    let starts = File::open(path).is_ok_and(|mut file| {
        let mut start = [0; 4];
        io::Read::read_exact(&mut file, &mut start).is_ok() && start == MAGIC
    });
    starts
        && File::open(path)
            .ok()
            .and_then(|file| zip::ZipArchive::new(file).ok())
            .is_some_and(|zip| zip.index_for_name(super::metadata::FILE).is_some())
}

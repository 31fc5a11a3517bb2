//! The files that a program is given: their content, and copies of them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::CommandParams;
use crate::{base::hash::Digest, core::Pinned, data::DataError};

/// Most files of `inputs`.
const MOST_FILES: usize = 10_000;

impl CommandParams {
    /// The files that it is given, with the content that they have now.
    pub fn pin(&self) -> Result<BTreeMap<String, Pinned>, DataError> {
        let pin = |input: &String| {
            let path = self.directory.join(input);
            let pinned = Pinned::new(path.display().to_string(), move || digest(&path))?;
            Ok((input.clone(), pinned))
        };
        self.inputs.iter().map(pin).collect()
    }

    /// Copies the files that it is given into a directory.
    pub fn copy_inputs(&self, to: &Path) -> Result<(), DataError> {
        for input in &self.inputs {
            let from = self.directory.join(input);
            for (name, path) in files_of(&from)? {
                let target = match name.as_os_str().is_empty() {
                    true => to.join(input),
                    false => to.join(input).join(&name),
                };
                let copied = target.parent().map_or(Ok(()), fs::create_dir_all);
                copied
                    .and_then(|()| fs::copy(&path, &target).map(drop))
                    .map_err(|error| DataError::io(&path, error))?;
            }
            // What was copied is what was planned, whatever happens to the original meanwhile.
            let (was, is) = (digest(&from)?, digest(&to.join(input))?);
            if was != is {
                return Err(DataError::File {
                    path: from,
                    problem: "it changed while it was copied".into(),
                    help: "run the experiment again to plan it with the current file".into(),
                });
            }
        }
        Ok(())
    }
}

/// The content of a file, or the names and contents of the files below a directory.
fn digest(path: &Path) -> Result<Digest, DataError> {
    let of_file = |path: &Path| Digest::of_file(path).map_err(|error| DataError::io(path, error));
    let files = files_of(path)?;
    if let [(name, file)] = &files[..]
        && name.as_os_str().is_empty()
    {
        return of_file(file);
    }
    let all = files.iter().map(|(name, file)| Ok((name.to_string_lossy(), of_file(file)?)));
    Ok(Digest::of_json(&all.collect::<Result<Vec<_>, DataError>>()?))
}

/// A file, under an empty name, or all files below a directory, without hidden ones and what Python caches.
fn files_of(path: &Path) -> Result<Vec<(PathBuf, PathBuf)>, DataError> {
    let error = |path: &Path| {
        let path = path.to_owned();
        move |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => DataError::File {
                path,
                problem: "there is no such file".into(),
                help: "`inputs` are relative to the experiment file".into(),
            },
            _ => DataError::io(path, error),
        }
    };
    if !fs::metadata(path).map_err(error(path))?.is_dir() {
        return Ok(vec![(PathBuf::new(), path.to_owned())]);
    }
    let (mut dirs, mut files) = (vec![PathBuf::new()], Vec::new());
    while let Some(dir) = dirs.pop() {
        let whole = path.join(&dir);
        for entry in fs::read_dir(&whole).map_err(error(&whole))? {
            let entry = entry.map_err(error(&whole))?;
            let name = entry.file_name();
            if name.to_string_lossy().starts_with('.') || name == "__pycache__" {
                continue;
            }
            // Links to directories are not followed: they may lead in a circle.
            match entry.file_type().map_err(error(&whole))?.is_dir() {
                true => dirs.push(dir.join(name)),
                false => files.push((dir.join(name), entry.path())),
            }
        }
        if files.len() + dirs.len() > MOST_FILES {
            return Err(DataError::File {
                path: path.to_owned(),
                problem: format!("it holds more than {MOST_FILES} files, the limit for `inputs`"),
                help: "name the files that the program needs".into(),
            });
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks::top_n::command::tests::command;

    #[test]
    fn inputs_are_known_by_content_and_copied() {
        let from = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = from.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("m.py", "1");
        write("lib/a.py", "2");
        write("lib/deep/b.py", "3");
        write("lib/__pycache__/a.pyc", "4");
        write("lib/.hidden", "5");
        let mut of = command("{run: 'm {out}', inputs: [m.py, lib]}").unwrap();
        of.directory = from.path().to_owned();
        let digests =
            || -> Vec<Digest> { of.pin().unwrap().values().map(|of| of.digest).collect() };
        let before = digests();
        let to = tempfile::tempdir().unwrap();
        of.copy_inputs(to.path()).unwrap();
        assert_eq!(fs::read(to.path().join("lib/deep/b.py")).unwrap(), b"3");
        assert!(
            !to.path().join("lib/.hidden").exists() && !to.path().join("lib/__pycache__").exists()
        );
        write("lib/__pycache__/a.pyc", "changed");
        assert_eq!(digests(), before);
        write("lib/deep/b.py", "changed");
        assert_ne!(digests(), before);
        fs::remove_file(from.path().join("m.py")).unwrap();
        assert!(of.pin().unwrap_err().to_string().contains("there is no such file"));
    }
}

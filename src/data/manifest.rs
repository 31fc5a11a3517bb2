//! Manifests: what a data set is, where it comes from, how it is read, and its hashes.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{
    DataDirs, DataError, Relevance, ReviewsSpec,
    readers::{DuplicateRule, ReaderSpec},
};
use crate::base::{
    built_in,
    file_names::stays_inside,
    files::{open_plain, read_own, read_text, user_dir, write_whole},
    terminal::shown,
    yaml::{
        Diagnostic,
        de::from_node,
        diagnostic::SourceFile,
        nearest,
        node::{Node, Value},
    },
};

/// A data set's manifest.
#[derive(Clone, Debug, Serialize)]
pub struct Manifest {
    #[serde(flatten)]
    pub about: About,
    pub duplicates: Option<DuplicateRule>,
    pub reader: ReaderSpec,
    /// The table of reviews, if the set has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reviews: Option<ReviewsSpec>,
}

/// What a manifest says besides how the set is read.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub name: String,
    pub title: String,
    #[serde(default)]
    pub describe: String,
    pub licence: String,
    #[serde(default)]
    pub citation: String,
    /// Which ratings are usually taken as liked: the rule of experiments and of `assay score` unless they
    /// are told another.
    #[serde(default)]
    pub relevant: Option<Relevance>,
    /// Names of folders it is looked for in.
    pub folders: Vec<String>,
    /// The publisher's archive; none where the set cannot be fetched.
    pub archive: Option<Archive>,
    /// Hashes of the files; a file without one is not checked.
    #[serde(default)]
    pub sha256: BTreeMap<String, String>,
    /// Where the hashes come from, or why there are none.
    #[serde(default)]
    pub hashes_from: String,
}

/// An archive to fetch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    pub url: String,
    /// Hash of the archive, where it is known.
    pub sha256: Option<String>,
    /// Size in bytes, for the message before the download.
    pub bytes: Option<u64>,
    /// Most bytes that its files come to when they are unpacked; 20 GB where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked_bytes: Option<u64>,
    /// The folder inside the zip archive that holds the files.
    #[serde(default)]
    pub inside: String,
}

/// What `assay data verify` found of one file.
#[derive(Clone, Debug, Serialize)]
pub struct FileCheck {
    pub file: String,
    pub state: FileState,
    pub sha256: Option<String>,
}

/// Whether a file is as its manifest says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileState {
    Matches,
    Differs,
    Missing,
    /// The manifest gives no hash for it.
    Unchecked,
}

/// All manifests by name: the built-in ones, and those in `datasets/` directories, which win.
pub struct Manifests {
    all: BTreeMap<String, Manifest>,
    /// YAML files beside them that are no manifests: what they hold, and why.
    strays: Vec<(String, Diagnostic)>,
}

/// Most bytes of a manifest.
const MOST_BYTES: u64 = 1 << 20;

impl Manifests {
    /// Reads the built-in manifests and every `*.yaml` in `dirs`.
    pub fn read(dirs: &DataDirs) -> Result<Self, DataError> {
        let (mut all, mut strays) = (BTreeMap::new(), Vec::new());
        let built_in = built_in::in_directory("datasets").map(|(name, text)| {
            let path = built_in::shown(&Path::new("datasets").join(name));
            Arc::new(SourceFile { path, text: text.to_owned() })
        });
        let mut files: Vec<_> = built_in.collect();
        for root in dirs.roots().iter().rev() {
            let Ok(entries) = fs::read_dir(root) else { continue };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.retain(|path| path.extension().is_some_and(|extension| extension == "yaml"));
            paths.sort();
            for path in paths {
                // A data directory may hold any files: only a set that is asked for needs its manifest.
                let text = match read_text(&path, MOST_BYTES) {
                    Ok(text) => text,
                    Err(error) => {
                        let name = path.file_stem().unwrap_or_default().to_string_lossy();
                        let problem = format!("{}: cannot read it: {error}", path.display());
                        strays.push((name.into_owned(), Diagnostic::new(problem)));
                        continue;
                    }
                };
                files.push(Arc::new(SourceFile { path, text }));
            }
        }
        for file in files {
            match Manifest::parse(&file) {
                Ok(manifest) => drop(all.insert(manifest.about.name.clone(), manifest)),
                Err(error) => {
                    let name = file.path.file_stem().unwrap_or_default().to_string_lossy();
                    strays.push((format!("{name}\n{}", file.text), error));
                }
            }
        }
        Ok(Self { all, strays })
    }

    /// Why files beside the manifests are none.
    pub fn strays(&self) -> impl Iterator<Item = &Diagnostic> {
        self.strays.iter().map(|(_, why)| why)
    }

    /// The manifest of `name`, or an error that names the nearest.
    pub fn get(&self, name: &str) -> Result<&Manifest, DataError> {
        // It may have been meant to describe this set: another manifest does not stand in for it.
        if let Some((_, why)) = self.strays.iter().find(|(text, _)| names(text, name)) {
            return Err(why.clone().into());
        }
        self.all.get(name).ok_or_else(|| DataError::UnknownSet {
            name: name.to_owned(),
            suggested: nearest(name, self.all.keys().map(String::as_str)).map(str::to_owned),
            known: self.all.keys().cloned().collect(),
        })
    }

    /// All of them in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Manifest> {
        self.all.values()
    }
}

/// Whether a file that is no manifest, its name in the first line, says of itself that it is that of a set.
fn names(text: &str, set: &str) -> bool {
    let is_name = |line: &str| line.trim().strip_prefix("name:").is_some_and(|of| of.contains(set));
    text.lines().next() == Some(set) || text.lines().any(is_name)
}

impl Manifest {
    fn parse(file: &Arc<SourceFile>) -> Result<Self, Diagnostic> {
        let root = Node::parse(file)?;
        let mut rest = root.mapping("a manifest")?.clone();
        let Some(reader) = rest.take("reader") else {
            return Err(Diagnostic::at(&root.at, "the key `reader` is missing"));
        };
        let duplicates = match rest.take("duplicates") {
            Some(entry) => Some(from_node(&entry.value)?),
            None => None,
        };
        let reviews = match rest.take("reviews") {
            Some(entry) => Some(from_node(&entry.value)?),
            None => None,
        };
        let mut settings = match reader.value.value {
            Value::Text(_) => Default::default(),
            _ => reader.value.mapping("reader")?.clone(),
        };
        let name = settings.take("name").map_or(reader.value.clone(), |entry| entry.value);
        let settings = Node { at: reader.value.at.clone(), value: Value::Mapping(settings) };
        let reader = ReaderSpec::deserialize_named(name.text("reader")?, &name.at, &settings)?;
        let about: About = from_node(&Node { at: root.at.clone(), value: Value::Mapping(rest) })?;
        let manifest = Self { about, duplicates, reader, reviews };
        manifest.check_paths().map_err(|problem| Diagnostic::at(&root.at, problem))?;
        Ok(manifest)
    }

    /// Manifests are untrusted: they can only name files in the data directory.
    fn check_paths(&self) -> Result<(), String> {
        let leads_out = |what: &str, path: &str| {
            format!("{what} `{}` is not a path inside the data directory", shown(path))
        };
        if !stays_inside(&self.about.name) || self.about.name.contains('/') {
            return Err(format!(
                "the name `{}` cannot be used as a file name",
                shown(&self.about.name)
            ));
        }
        if self.about.folders.is_empty() {
            return Err("`folders` is empty: name the folder of the files".into());
        }
        for folder in &self.about.folders {
            if !stays_inside(folder) {
                return Err(leads_out("the folder", folder));
            }
        }
        match self.files().iter().find(|file| !stays_inside(file)) {
            Some(file) => Err(leads_out("the file", file)),
            None => Ok(()),
        }
    }

    /// The files that it consists of, relative to its folder.
    pub fn files(&self) -> Vec<String> {
        let mut files = self.reader.files();
        let of_reviews = self.reviews.iter().map(|reviews| reviews.file.clone());
        files.extend(of_reviews.filter(|file| !self.reader.files().contains(file)));
        files
    }

    /// The folder that holds its files.
    pub fn locate(&self, dirs: &DataDirs) -> Result<PathBuf, DataError> {
        let files = self.files();
        let mut nearly = None;
        for root in dirs.roots() {
            for folder in &self.about.folders {
                let folder = root.join(folder);
                match files.iter().find(|file| !folder.join(file).is_file()) {
                    None => return Ok(folder),
                    Some(missing) if folder.is_dir() => {
                        nearly.get_or_insert((folder, missing.clone()));
                    }
                    Some(_) => {}
                }
            }
        }
        if let Some(folder) = self.built_in(&files)? {
            return Ok(folder);
        }
        let help = match &self.about.archive {
            Some(_) => format!(
                "run `assay data fetch {}`, or set ASSAY_DATA to the directory that contains the folder",
                self.about.name
            ),
            None => format!(
                "set ASSAY_DATA to the directory that contains the folder `{}`",
                self.about.folders.join("` or `")
            ),
        };
        let (looked, file) = match nearly {
            Some((folder, missing)) => (vec![folder.display().to_string()], missing),
            None => (
                dirs.roots()
                    .iter()
                    .flat_map(|root| {
                        self.about.folders.iter().map(|f| root.join(f).display().to_string())
                    })
                    .collect(),
                files.first().cloned().unwrap_or_default(),
            ),
        };
        Err(DataError::NotFound { name: self.about.name.clone(), file, looked, help })
    }

    /// The folder of a set whose files come with the program; they are written there first.
    fn built_in(&self, files: &[String]) -> Result<Option<PathBuf>, DataError> {
        let Some(folder) = self.about.folders.first() else { return Ok(None) };
        // Of another set of this name nothing stands in for a file: the hashes of this one tell it apart.
        if !files.iter().all(|file| self.about.sha256.contains_key(file)) {
            return Ok(None);
        }
        let path = Path::new("datasets").join(folder);
        let found: Option<Vec<(&String, &str)>> =
            files.iter().map(|file| Some((file, built_in::find(&path.join(file))?))).collect();
        let Some(found) = found.filter(|found| !found.is_empty()) else { return Ok(None) };
        // Not in a directory for temporary files, where others could put files in its place.
        let Some(cache) = user_dir("XDG_CACHE_HOME", ".cache") else { return Ok(None) };
        let to = cache.join("assay").join(&path);
        for (file, text) in found {
            let path = to.join(file);
            if read_own(&path).ok().as_deref() != Some(text.as_bytes()) {
                write_whole(&path, text.as_bytes())
                    .map_err(|error| DataError::io(&path, error.into_io()))?;
            }
        }
        Ok(Some(to))
    }

    /// An error for the first file whose hash is not the manifest's.
    pub fn check_hashes(&self, folder: &Path) -> Result<(), DataError> {
        for file in self.files() {
            let Some(expected) = self.about.sha256.get(&file) else { continue };
            let path = folder.join(&file);
            let found = sha256_of(&path)?;
            if found != *expected {
                return Err(DataError::HashMismatch {
                    path,
                    found,
                    expected: expected.clone(),
                    help: "the file is not the published one: fetch it again, or describe your \
                           version with a manifest of its own"
                        .into(),
                });
            }
        }
        Ok(())
    }

    /// Looks at every file of the set.
    pub fn verify(&self, folder: &Path) -> Result<Vec<FileCheck>, DataError> {
        let mut checks = Vec::new();
        for file in self.files() {
            let path = folder.join(&file);
            let expected = self.about.sha256.get(&file);
            let (state, sha256) = if path.is_file() {
                let found = sha256_of(&path)?;
                let state = match expected {
                    None => FileState::Unchecked,
                    Some(expected) if *expected == found => FileState::Matches,
                    Some(_) => FileState::Differs,
                };
                (state, Some(found))
            } else {
                (FileState::Missing, None)
            };
            checks.push(FileCheck { file, state, sha256 });
        }
        Ok(checks)
    }
}

/// SHA-256 of a file in hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> Result<String, DataError> {
    let mut hasher = Sha256::new();
    let mut file = open_plain(path).map_err(|error| DataError::io(path, error))?;
    std::io::copy(&mut file, &mut hasher).map_err(|error| DataError::io(path, error))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_manifest_is_valid() {
        let manifests = Manifests::read(&DataDirs::new(vec![])).unwrap();
        assert_eq!(manifests.iter().count(), built_in::in_directory("datasets").count());
    }

    #[test]
    fn a_stray_file_is_in_the_way_of_the_set_that_it_names_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("notes.yaml"), "shopping: [milk]\n").unwrap();
        fs::write(dir.path().join("bytes.yaml"), [0xff]).unwrap();
        fs::write(dir.path().join("mine.yaml"), "name: ml-1m\ntitle: [\n").unwrap();
        let manifests = Manifests::read(&DataDirs::new(vec![dir.path().into()])).unwrap();
        assert!(manifests.get("ml-100k").is_ok() && manifests.get("sample").is_ok());
        assert_eq!(manifests.strays().count(), 3);
        let error = manifests.get("ml-1m").unwrap_err().to_string();
        assert!(error.contains("mine.yaml"), "{error}");
        assert!(manifests.get("notes").unwrap_err().to_string().contains("notes.yaml"));
    }

    #[test]
    fn an_unknown_set_names_the_nearest() {
        let manifests = Manifests::read(&DataDirs::new(vec![])).unwrap();
        let error = manifests.get("ml-100").unwrap_err().to_string();
        assert!(error.contains("did you mean `ml-100k`?"), "{error}");
    }
}

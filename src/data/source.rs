//! Where the data of an experiment comes from and where it is looked for.

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
    sync::Arc,
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::Deserializer};

use super::{
    DataError, Dataset, Filters, Manifest, Manifests, Relevance, RelevanceFrom, Reviews,
    ReviewsSpec, SequenceData, readers,
    readers::{DuplicateRule, ReaderSpec},
    reviews,
};
use crate::{
    base::{
        hash::Digest,
        yaml::{
            Diagnostic,
            de::NodeDeserializer,
            node::{Node, Value},
        },
    },
    core::Pinned,
};

/// The `data:` of an experiment: a data set by name, or a reader with its files.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum DataSource {
    /// A data set that a manifest describes (`assay data list`).
    Set {
        /// The data set's name.
        set: String,
        /// What to do where one user has rated one item more than once.
        duplicates: Option<DuplicateRule>,
        /// Which interactions are used: filters that are applied in turn, before the split.
        #[serde(skip_serializing_if = "Filters::is_empty")]
        #[schemars(default)]
        filter: Filters,
    },
    /// Files of one's own.
    Inline {
        /// Folder of the files, relative to the experiment file.
        folder: PathBuf,
        /// What to do where one user has rated one item more than once.
        duplicates: Option<DuplicateRule>,
        /// Which interactions are used: filters that are applied in turn, before the split.
        #[serde(skip_serializing_if = "Filters::is_empty")]
        #[schemars(default)]
        filter: Filters,
        /// A table of reviews: the texts of interactions. Systems that do not use them do not read them.
        #[serde(skip_serializing_if = "Option::is_none")]
        reviews: Option<Box<ReviewsSpec>>,
        #[serde(flatten)]
        reader: ReaderSpec,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SetKeys {
    set: String,
    duplicates: Option<DuplicateRule>,
}

/// Directories in which data sets are looked for.
#[derive(Clone, Debug)]
pub struct DataDirs {
    roots: Vec<PathBuf>,
    /// Digests of data as of an earlier plan.
    known: Arc<BTreeMap<String, Digest>>,
}

impl DataDirs {
    /// `ASSAY_DATA`, or `datasets/` where it is not set; then `datasets/` in the working directory
    /// and in those above it, so that a committed sample is found whatever `ASSAY_DATA` says.
    pub fn from_env() -> Self {
        let mut roots: Vec<PathBuf> = env::var_os("ASSAY_DATA")
            .filter(|dir| !dir.is_empty())
            .map(PathBuf::from)
            .into_iter()
            .collect();
        roots.push("datasets".into());
        if let Ok(here) = env::current_dir() {
            roots.extend(
                here.ancestors().skip(1).map(|dir| dir.join("datasets")).filter(|dir| dir.is_dir()),
            );
        }
        Self::new(roots)
    }

    /// Looks in these directories only.
    pub fn new(roots: Vec<PathBuf>) -> Self {
        Self { roots, known: Arc::default() }
    }

    /// The same with the digests that an earlier plan has found: data is not read to plan again. A step that reads it
    /// checks that it still has this digest.
    pub fn with_known(self, known: BTreeMap<String, Digest>) -> Self {
        Self { known: Arc::new(known), ..self }
    }

    /// Pins data, whose digest may be known.
    pub fn pin<E: std::fmt::Display>(
        &self,
        what: String,
        digest: impl Fn() -> Result<Digest, E> + Send + Sync + 'static,
    ) -> Result<Pinned, E> {
        match self.known.get(&what) {
            Some(known) => Ok(Pinned::known(what, *known, digest)),
            None => Pinned::new(what, digest),
        }
    }

    /// The first directory: where `assay data fetch` puts data.
    pub fn first(&self) -> &Path {
        self.roots.first().map_or(Path::new("datasets"), PathBuf::as_path)
    }

    /// All directories, in the order in which they are looked through.
    pub fn roots(&self) -> &[PathBuf] {
        &self.roots
    }
}

/// A source with its reader settings and the folder its files lie in.
pub(crate) struct Located {
    pub name: String,
    pub folder: PathBuf,
    pub reader: ReaderSpec,
    pub duplicates: DuplicateRule,
    pub reviews: Option<ReviewsSpec>,
    pub manifest: Option<Manifest>,
}

impl DataSource {
    /// Reads the `data:` mapping; `directory` is where the experiment file lies.
    pub fn read(node: NodeDeserializer<'_>, directory: &Path) -> Result<Self, Diagnostic> {
        let mut rest = node.0.mapping("data")?.clone();
        let filter = match rest.take("filter") {
            Some(entry) => Filters::read(&entry.value)?,
            None => Filters::default(),
        };
        if rest.get("set").is_some() {
            let keys = Node { at: node.0.at.clone(), value: Value::Mapping(rest) };
            let keys = SetKeys::deserialize(NodeDeserializer(&keys))?;
            return Ok(Self::Set { set: keys.set, duplicates: keys.duplicates, filter });
        }
        let (Some(reader), folder) = (rest.take("reader"), rest.take("folder")) else {
            return Err(Diagnostic::at(&node.0.at, "`data` has neither `set` nor `reader`")
                .expected("`set: NAME` (see `assay data list`), or `reader:` with its files"));
        };
        let duplicates = match rest.take("duplicates") {
            Some(entry) => Some(crate::base::yaml::de::from_node(&entry.value)?),
            None => None,
        };
        let reviews = match rest.take("reviews") {
            Some(entry) => Some(crate::base::yaml::de::from_node(&entry.value)?),
            None => None,
        };
        let folder = match folder {
            Some(entry) => directory.join(entry.value.text("folder")?),
            None => directory.to_owned(),
        };
        let name = reader.value.text("reader")?;
        let settings = Node { at: node.0.at.clone(), value: Value::Mapping(rest) };
        let reader = ReaderSpec::deserialize_named(name, &reader.value.at, &settings)?;
        Ok(Self::Inline { folder, duplicates, filter, reviews, reader })
    }

    /// All of a data set with a manifest.
    pub fn set(name: impl Into<String>) -> Self {
        Self::Set { set: name.into(), duplicates: None, filter: Filters::default() }
    }

    /// The name of the set, or of the folder.
    pub fn name(&self) -> String {
        match self {
            Self::Set { set, .. } => set.clone(),
            Self::Inline { folder, .. } => {
                folder.file_name().map_or("data".into(), |name| name.to_string_lossy().into_owned())
            }
        }
    }

    pub(crate) fn locate(&self, dirs: &DataDirs) -> Result<Located, DataError> {
        match self {
            Self::Set { set, duplicates, .. } => {
                let manifests = Manifests::read(dirs)?;
                let manifest = manifests.get(set)?;
                let folder = manifest.locate(dirs)?;
                Ok(Located {
                    name: set.clone(),
                    folder,
                    reader: manifest.reader.clone(),
                    duplicates: duplicates.or(manifest.duplicates).unwrap_or_default(),
                    reviews: manifest.reviews.clone(),
                    manifest: Some(manifest.clone()),
                })
            }
            Self::Inline { folder, duplicates, reader, reviews, .. } => {
                for file in reader.files() {
                    let path = folder.join(&file);
                    if !path.is_file() {
                        return Err(DataError::File {
                            path,
                            problem: "no such file".into(),
                            help: "`folder` is relative to the experiment file, file names to `folder`"
                                .into(),
                        });
                    }
                }
                Ok(Located {
                    name: self.name(),
                    folder: folder.clone(),
                    reader: reader.clone(),
                    duplicates: duplicates.unwrap_or_default(),
                    reviews: reviews.as_deref().cloned(),
                    manifest: None,
                })
            }
        }
    }

    /// Which of its interactions are used.
    pub fn filters(&self) -> &Filters {
        match self {
            Self::Set { filter, .. } | Self::Inline { filter, .. } => filter,
        }
    }

    /// Whether interactions come with ratings, without reading them.
    pub fn has_ratings(&self, dirs: &DataDirs) -> Result<bool, DataError> {
        let located = self.locate(dirs)?;
        located.reader.has_ratings(&located.folder)
    }

    /// Which ratings are relevant where nobody says so: what the manifest says, or any where there are no
    /// ratings; an error elsewhere, with `help`, because any rule would be a guess.
    pub fn usual_relevance(
        &self,
        dirs: &DataDirs,
        help: &str,
    ) -> Result<(Relevance, RelevanceFrom), DataError> {
        let located = self.locate(dirs)?;
        if let Some(rule) = located.manifest.as_ref().and_then(|of| of.about.relevant) {
            return Ok((rule, RelevanceFrom::Manifest));
        }
        match located.reader.has_ratings(&located.folder)? {
            false => Ok((Relevance::Any, RelevanceFrom::NoRatings)),
            true => Err(DataError::NoRelevance { name: located.name, help: help.into() }),
        }
    }

    /// Names of the publisher's folds, without reading the data.
    pub fn official_folds(&self, dirs: &DataDirs) -> Result<Vec<String>, DataError> {
        let located = self.locate(dirs)?;
        readers::official_folds(&located)
    }

    /// Hash of the source files and of how they are read, without the filters: a cheap key for what reading
    /// would give.
    pub fn digest(&self, dirs: &DataDirs) -> Result<Digest, DataError> {
        let located = self.locate(dirs)?;
        let mut files = Vec::new();
        for file in located.reader.files() {
            let path = located.folder.join(&file);
            let digest = Digest::of_file(&path).map_err(|error| DataError::io(&path, error))?;
            files.push((file, digest));
        }
        Ok(Digest::of_json(&(
            located.reader.revision(),
            &located.reader,
            located.duplicates,
            files,
        )))
    }

    /// The declared table of reviews, and where it is.
    fn located_reviews(&self, dirs: &DataDirs) -> Result<(Located, ReviewsSpec), DataError> {
        let located = self.locate(dirs)?;
        match located.reviews.clone() {
            Some(reviews) => Ok((located, reviews)),
            None => Err(DataError::Split(format!(
                "the data set `{}` has no reviews\n  = help: declare their table (`data: {{reviews: {{file: …, \
                 user: …, item: …, text: …}}}}`, or `reviews:` in the manifest of the set)",
                located.name
            ))),
        }
    }

    /// Hash of the file of reviews and of how it is read. [`Self::digest`] does not contain it: only what uses reviews
    /// depends on them.
    pub fn reviews_digest(&self, dirs: &DataDirs) -> Result<Digest, DataError> {
        let (located, reviews) = self.located_reviews(dirs)?;
        let path = located.folder.join(&reviews.file);
        let digest = Digest::of_file(&path).map_err(|error| DataError::io(&path, error))?;
        Ok(Digest::of_json(&(reviews::REVISION, &reviews, located.duplicates, digest)))
    }

    /// Reads the reviews, sealed. Where a manifest gives the hash of their file, it is checked first.
    pub fn load_reviews(&self, dirs: &DataDirs) -> Result<Reviews, DataError> {
        let (located, reviews) = self.located_reviews(dirs)?;
        if let Some(manifest) = &located.manifest {
            manifest.check_hashes(&located.folder)?;
        }
        reviews.read(&located.folder, located.duplicates)
    }

    /// Reads the data set and filters it. Where a manifest gives hashes of its files, they are checked first.
    pub fn load(&self, dirs: &DataDirs) -> Result<Dataset, DataError> {
        let located = self.locate(dirs)?;
        if let Some(manifest) = &located.manifest {
            manifest.check_hashes(&located.folder)?;
        }
        self.filters().apply(readers::read(&located)?)
    }

    /// Reads the data set as sequences and filters it. Repeats are kept, unless the experiment says what to do with duplicates;
    /// what a manifest says of them is about matrices.
    pub fn load_sequences(&self, dirs: &DataDirs) -> Result<SequenceData, DataError> {
        let located = self.locate(dirs)?;
        if let Some(manifest) = &located.manifest {
            manifest.check_hashes(&located.folder)?;
        }
        let (Self::Set { duplicates, .. } | Self::Inline { duplicates, .. }) = self;
        self.filters().apply_to_sequences(readers::read_sequences(&located, *duplicates)?)
    }

    /// A key of what [`Self::load_sequences`] would give: [`Self::digest`], and whether repeats are kept.
    pub fn sequence_digest(&self, dirs: &DataDirs) -> Result<Digest, DataError> {
        let (Self::Set { duplicates, .. } | Self::Inline { duplicates, .. }) = self;
        Ok(Digest::of_json(&("sequences", self.digest(dirs)?, duplicates)))
    }
}

impl<'de> Deserialize<'de> for DataSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let keys = SetKeys::deserialize(deserializer)?;
        let (set, duplicates) = (keys.set, keys.duplicates);
        Ok(Self::Set { set, duplicates, filter: Filters::default() })
    }
}

//! Rankings from files as a system.

use std::{collections::BTreeMap, path::PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    data::{DataDirs, DataError, Encoding, Quotes, TrainingPart},
    ranking::{
        Rankings,
        files::{Columns, Findings, InputFormat, Order, ReadOptions, Seen, TextOptions, Use, open},
    },
};

/// Files of rankings: CSV, TSV, Parquet or TREC runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalParams {
    /// The file, in which `{fold}` stands for the fold's name, or a file for each fold
    /// (`{u1: FILE}`). Looked for beside the experiment file, then in the data directories.
    rankings: RankingFiles,
    /// Columns by name or position, if the header does not identify them.
    #[serde(default)]
    columns: Columns,
    /// What orders a list: by default ranks; scores in TREC runs and without ranks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    /// What to do with recommended items that are in the user's training or validation part.
    #[serde(default)]
    seen: Seen,
    /// The format: by default detected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    format: Option<InputFormat>,
    /// The encoding: by default UTF-8, or UTF-16 with a byte order mark.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    encoding: Option<Encoding>,
    /// `none`: quotes are ordinary characters.
    #[serde(default, skip_serializing_if = "Quotes::are_usual")]
    quotes: Quotes,
    /// Evaluates rankings that look like those of another fold, with a warning. Without it they are an error.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) accept_leak: bool,
    /// Where the experiment file lies.
    #[serde(skip)]
    pub(crate) directory: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a file (`runs/{fold}.csv`), or one for each fold (`{u1: FILE}`)"
)]
enum RankingFiles {
    Pattern(String),
    ByFold(BTreeMap<String, String>),
}

impl ExternalParams {
    /// Those of the folds `run` that there are rankings for.
    pub fn folds(&self, system: &str, run: &[String]) -> Result<Vec<String>, DataError> {
        match &self.rankings {
            RankingFiles::Pattern(file) if file.contains("{fold}") || run.len() == 1 => {
                Ok(run.to_vec())
            }
            RankingFiles::Pattern(file) => Err(DataError::Split(format!(
                "the system `{system}` has one file of rankings for {} folds ({})\n  = help: name its \
                 fold, `rankings: {{{}: {file}}}`, or use {{fold}} in the file name",
                run.len(),
                run.join(", "),
                run[0],
            ))),
            RankingFiles::ByFold(files) => {
                let folds: Vec<String> =
                    run.iter().filter(|fold| files.contains_key(*fold)).cloned().collect();
                if folds.is_empty() {
                    return Err(DataError::Split(format!(
                        "the system `{system}` has rankings for {}, but the experiment runs {}",
                        files.keys().cloned().collect::<Vec<_>>().join(", "),
                        run.join(", ")
                    )));
                }
                Ok(folds)
            }
        }
    }

    /// The file for a fold, where it lies.
    pub fn locate(&self, fold: &str, dirs: &DataDirs) -> Result<PathBuf, DataError> {
        let file = match &self.rankings {
            RankingFiles::Pattern(file) => file.replace("{fold}", fold),
            RankingFiles::ByFold(files) => files.get(fold).cloned().unwrap_or_default(),
        };
        let places = std::iter::once(&self.directory).chain(dirs.roots());
        let mut candidates = places.map(|place| place.join(&file));
        candidates.find(|path| path.is_file()).ok_or_else(|| DataError::File {
            path: PathBuf::from(&file),
            problem: format!("no such file of rankings (fold {fold})"),
            help: format!(
                "assay looked for it beside the experiment file and under {}; set ASSAY_DATA to where it \
                 lies",
                dirs.roots()
                    .iter()
                    .map(|root| root.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })
    }

    /// Reads the rankings of a fold.
    pub(in crate::tasks) fn read(
        &self,
        fold: &str,
        training: &TrainingPart,
        dirs: &DataDirs,
    ) -> Result<(Rankings, Findings), DataError> {
        let path = self.locate(fold, dirs)?;
        let options =
            ReadOptions { columns: self.columns.clone(), order: self.order, seen: self.seen };
        let text =
            TextOptions { format: self.format, encoding: self.encoding, quotes: self.quotes };
        open(&path, Use::Rankings, text)?.read(
            &options,
            &training.users,
            &training.items,
            &training.seen(),
        )
    }
}

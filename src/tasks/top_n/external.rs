//! Rankings made elsewhere, as a system: somebody else's files beside our own models.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use polars::prelude::{Column, DataFrame};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::models::{FitContext, Fitted, ModelError};
use crate::{
    base::parquet,
    data::{DataDirs, DataError, TrainingData, UserIx},
    ranking::{
        Rankings,
        files::{Columns, Order, ReadOptions, Seen, open},
    },
};

pub const FILE: &str = "lists.parquet";

/// Files of rankings: CSV, TSV, Parquet or TREC runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExternalParams {
    /// The file, in which `{fold}` stands for the fold's name, or a file for each fold
    /// (`{u1: FILE}`). Looked for beside the experiment file, then in the data directories.
    rankings: RankingFiles,
    /// Which column holds what, where the header does not tell.
    #[serde(default)]
    columns: Columns,
    /// What decides the order: by default ranks; in TREC runs, and without ranks, scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    /// What becomes of recommended items that the user has in training.
    #[serde(default)]
    seen: Seen,
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
                "the system `{system}` has one file of rankings for {} folds ({})\n  = help: say which \
                 fold it is for, `rankings: {{{}: {file}}}`, or write {{fold}} in the file's name",
                run.len(),
                run.join(", "),
                run[0],
            ))),
            RankingFiles::ByFold(files) => {
                let folds: Vec<String> =
                    run.iter().filter(|fold| files.contains_key(*fold)).cloned().collect();
                if folds.is_empty() {
                    return Err(DataError::Split(format!(
                        "the system `{system}` has rankings for {}, and the experiment runs {}",
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
            problem: format!("there is no such file of rankings (fold {fold})"),
            help: format!(
                "it was looked for beside the experiment file and under {}; set ASSAY_DATA to where it \
                 lies",
                dirs.roots()
                    .iter()
                    .map(|root| root.display().to_string())
                    .collect::<Vec<_>>()
                    .join(", ")
            ),
        })
    }

    pub(super) fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Fitted, ModelError> {
        let path = self.locate(context.fold, context.dirs)?;
        let options =
            ReadOptions { columns: self.columns.clone(), order: self.order, seen: self.seen };
        let (rankings, findings) =
            open(&path)?.read(&options, context.users, context.items, &data.ratings)?;
        for warning in findings.warnings() {
            (context.log)(&format!("warning: {}: {warning}", path.display()));
        }
        Ok(Fitted::Lists { rankings, findings: Some(Box::new(findings)) })
    }
}

/// Writes lists into `dir`: one row an item, in order, with whether it is tied with the next.
pub fn save(rankings: &Rankings, dir: &Path) -> Result<(), ModelError> {
    let path = dir.join(FILE);
    let rows = || {
        rankings.lists.iter().enumerate().flat_map(|(user, list)| {
            list.iter().flatten().map(move |(score, item)| (user as u32, *item, *score))
        })
    };
    let column = |name: &str, values: Vec<u32>| Column::new(name.into(), values);
    let ties = || {
        rankings.lists.iter().enumerate().flat_map(|(user, list)| {
            let tied = rankings.tied.get(user).map(Vec::as_slice).unwrap_or_default();
            let places = 0..list.as_ref().map_or(0, Vec::len) as u32;
            places.map(|place| tied.binary_search(&place).is_ok())
        })
    };
    let frame = DataFrame::new(
        rows().count(),
        vec![
            column("user", rows().map(|row| row.0).collect()),
            column("item", rows().map(|row| row.1).collect()),
            Column::new("score".into(), rows().map(|row| row.2).collect::<Vec<f32>>()),
            Column::new("tied".into(), ties().collect::<Vec<bool>>()),
        ],
    );
    let written = frame.map_err(parquet::to_io);
    written
        .and_then(|mut frame| parquet::write(&path, &mut frame))
        .map_err(|source| ModelError::Io { path, source })
}

/// Reads what [`save`] wrote.
pub(super) fn load(dir: &Path, n_users: usize) -> Result<Rankings, ModelError> {
    let path = dir.join(FILE);
    let malformed = |problem: String| ModelError::Malformed { path: path.clone(), problem };
    let frame =
        parquet::read(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
    let of = |name: &str| frame.column(name).map_err(|error| malformed(error.to_string()));
    let users = of("user")?.u32().map_err(|error| malformed(error.to_string()))?.clone();
    let items = of("item")?.u32().map_err(|error| malformed(error.to_string()))?.clone();
    let scores = of("score")?.f32().map_err(|error| malformed(error.to_string()))?.clone();
    let tied = of("tied")?.bool().map_err(|error| malformed(error.to_string()))?.clone();
    let mut rankings = Rankings { lists: vec![None; n_users], tied: vec![Vec::new(); n_users] };
    let rows = users.into_no_null_iter().zip(items.into_no_null_iter());
    let rows = rows.zip(scores.into_no_null_iter().zip(tied.iter().map(Option::unwrap_or_default)));
    for ((user, item), (score, tied)) in rows {
        let list = rankings
            .lists
            .get_mut(UserIx(user).at())
            .ok_or_else(|| malformed(format!("user {user} of {n_users}")))?;
        let list = list.get_or_insert_default();
        if tied {
            rankings.tied[UserIx(user).at()].push(list.len() as u32);
        }
        list.push((score, item));
    }
    Ok(rankings)
}

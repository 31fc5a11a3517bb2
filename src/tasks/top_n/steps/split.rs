//! Steps that split the data set into folds, and a fold's training part into two.

use std::{path::Path, sync::Arc};

use super::{SplitStats, output::Split};
use crate::{
    base::hash::Digest,
    core::{
        Found, Handle, KeyBuilder, Pinned, Record, RunContext, Shared, Step, StepError, StepFiles,
    },
    data::{
        Cut, DataDirs, DataSource, Dataset, FOLD_FILES, Fold, SplitSpec, TrainingPart, check_fold,
        fold_names, split_fold,
    },
    tasks::shared::steps::{Folds, filter_notes},
};

/// Raise it if the code changes its meaning.
const REVISION: u32 = 1;

/// One fold of a data set.
pub struct SplitStep {
    pub label: String,
    pub source: DataSource,
    pub dirs: Arc<DataDirs>,
    /// The data set's files.
    pub data: Pinned,
    pub split: SplitSpec,
    pub fold: String,
}

fn stats_of(fold: &Fold) -> SplitStats {
    SplitStats {
        users: fold.users.len(),
        items: fold.items.len(),
        train: fold.train.len(),
        validation: fold.validation.len(),
        test: fold.test_len(),
        data_hash: None,
        split_hash: Some(fold.digest()),
        names_hash: Some(fold.names_digest()),
        filters: fold.filtered.clone(),
        notes: Vec::new(),
        split_notes: fold.notes.clone(),
    }
}

/// Rows and names against the hashes that were taken when the fold was made.
pub fn check_split(dir: &Path, record: &Record) -> Result<(), String> {
    let stats: SplitStats = record.stats()?;
    let (Some(split), Some(names)) = (stats.split_hash, stats.names_hash) else {
        return Err("its record holds no hash of its rows".into());
    };
    check_fold(dir, split, names).map_err(|error| error.to_string())
}

/// The data set, read once for all steps.
pub(super) fn dataset(
    shared: &Shared,
    source: &DataSource,
    dirs: &DataDirs,
    data: &Pinned,
    log: &dyn Fn(&str),
) -> Result<Arc<Dataset>, StepError> {
    shared.get(Digest::of_json(&(data.digest, source.filters())), || {
        log("reading the data set");
        let read = source.load(dirs)?;
        // Of other files than were planned with: no step may use it, also not once they are put back.
        data.verify()?;
        for effect in &read.filtered {
            log(&format!("filter {effect}"));
        }
        for note in &read.notes {
            log(note);
        }
        Ok(read)
    })
}

/// The folds of a scheme.
pub struct FoldsOf {
    pub source: DataSource,
    pub data: Pinned,
    pub scheme: SplitSpec,
    pub dirs: Arc<DataDirs>,
}

impl Folds for FoldsOf {
    fn names(&self) -> Result<Vec<String>, StepError> {
        let all = SplitSpec { only: None, ..self.scheme.clone() };
        Ok(fold_names(&all, &self.source, &self.dirs)?)
    }

    fn training(
        &self,
        name: &str,
        shared: &Shared,
        log: &dyn Fn(&str),
    ) -> Result<TrainingPart, StepError> {
        let data = dataset(shared, &self.source, &self.dirs, &self.data, log)?;
        let all = SplitSpec { only: None, ..self.scheme.clone() };
        Ok(TrainingPart::of(&split_fold(&data, &all, name)?))
    }
}

impl Step for SplitStep {
    type Output = Split;
    type Stats = SplitStats;

    const KIND: &'static str = "split";
    const REVISION: u32 = REVISION;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        let filters = self.source.filters();
        key.file("data", &self.data)
            .value_if(!filters.is_empty(), "filter", filters)
            .value("split", self.split.of_one_fold())
            .value("fold", &self.fold);
    }

    fn files(&self) -> Vec<&'static str> {
        FOLD_FILES.to_vec()
    }

    fn check(&self, files: &StepFiles) -> Result<(), String> {
        check_split(files.dir, files.record)
    }

    /// Reads the data set and splits it: data that cannot be used are an error before anything is written.
    fn preflight(&self, shared: &Shared) -> Result<Found, StepError> {
        self.data.verify()?;
        let data = dataset(shared, &self.source, &self.dirs, &self.data, &|_| ())?;
        let fold = split_fold(&data, &self.split, &self.fold)?;
        Ok(Found { notes: filter_notes(&fold.filtered), warnings: Vec::new() })
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<SplitStats, StepError> {
        let data = dataset(cx.shared(), &self.source, &self.dirs, &self.data, cx.log)?;
        let fold = split_fold(&data, &self.split, &self.fold)?;
        fold.write(dir)?;
        Ok(SplitStats {
            data_hash: Some(data.digest()),
            notes: data.notes.clone(),
            ..stats_of(&fold)
        })
    }
}

/// The training part of a fold in two, for a search whose texts must not be written from what it measures
/// on.
pub struct CutStep {
    pub label: String,
    pub split: Handle<Split>,
    pub fold: String,
    pub cut: Cut,
    pub share: f64,
    pub seed: u64,
}

impl Step for CutStep {
    type Output = Split;
    type Stats = SplitStats;

    const KIND: &'static str = "split";
    const REVISION: u32 = REVISION;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.step("split", self.split)
            .value("cut", self.cut)
            .value("share", self.share)
            .value("seed", self.cut.is_random().then_some(self.seed));
    }

    fn files(&self) -> Vec<&'static str> {
        FOLD_FILES.to_vec()
    }

    fn check(&self, files: &StepFiles) -> Result<(), String> {
        check_split(files.dir, files.record)
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<SplitStats, StepError> {
        let training = TrainingPart::read(&cx.dir(self.split))?;
        let fold = training.cut(&self.fold, self.cut, self.share, self.seed)?;
        fold.write(dir)?;
        Ok(stats_of(&fold))
    }
}

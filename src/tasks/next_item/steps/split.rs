//! Steps that split the sequences of a data set.

use std::{path::Path, sync::Arc};

use crate::{
    base::hash::Digest,
    core::{Found, KeyBuilder, Pinned, Record, RunContext, Shared, Step, StepError, StepFiles},
    data::{DataDirs, DataSource, FOLD_FILES, SequenceData, SequenceSplit, check_sequence_fold},
    tasks::shared::steps::{SplitStats, filter_notes, output::Split},
};

/// The sequences of a data set in a training, a validation and a sealed test part.
pub struct SplitStep {
    pub label: String,
    pub source: DataSource,
    pub dirs: Arc<DataDirs>,
    /// The data set's files.
    pub data: Pinned,
    /// With its defaults written out.
    pub split: SequenceSplit,
}

/// Rows and names against the hashes that were taken when the fold was made.
pub fn check_split(dir: &Path, record: &Record) -> Result<(), String> {
    let stats: SplitStats = record.stats()?;
    let (Some(split), Some(names)) = (stats.split_hash, stats.names_hash) else {
        return Err("its record holds no hash of its rows".into());
    };
    check_sequence_fold(dir, split, names).map_err(|error| error.to_string())
}

impl SplitStep {
    /// The data set, read once for all steps.
    fn sequences(
        &self,
        shared: &Shared,
        log: &dyn Fn(&str),
    ) -> Result<Arc<SequenceData>, StepError> {
        shared.get(Digest::of_json(&(self.data.digest, self.source.filters())), || {
            log("reading the data set");
            let data = self.source.load_sequences(&self.dirs)?;
            // Of other files than were planned with: no step may use it, also not once they are put back.
            self.data.verify()?;
            filter_notes(&data.filtered).iter().for_each(|note| log(note));
            data.notes.iter().for_each(|note| log(note));
            Ok(data)
        })
    }
}

impl Step for SplitStep {
    type Output = Split;
    type Stats = SplitStats;

    const KIND: &'static str = "split";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        let filters = self.source.filters();
        key.file("sequences", &self.data)
            .value_if(!filters.is_empty(), "filter", filters)
            .value("split", &self.split);
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
        let data = self.sequences(shared, &|_| ())?;
        self.split.split(&data)?;
        Ok(Found { notes: filter_notes(&data.filtered), warnings: Vec::new() })
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<SplitStats, StepError> {
        let data = self.sequences(cx.shared(), cx.log)?;
        let fold = self.split.split(&data)?;
        fold.write(dir)?;
        let mut split_notes = fold.notes.clone();
        if fold.repeats > 0 {
            split_notes.push(format!(
                "{} of {} items to be predicted are items that the user had before: with `exclude: seen` they \
                 cannot be hit.",
                fold.repeats, fold.targets
            ));
        }
        Ok(SplitStats {
            users: fold.users.len(),
            items: fold.items.len(),
            train: fold.train.len(),
            validation: fold.validation.len(),
            test: fold.test_len(),
            data_hash: Some(data.digest()),
            split_hash: Some(fold.digest()),
            names_hash: Some(fold.names_digest()),
            filters: data.filtered.clone(),
            notes: data.notes.clone(),
            split_notes,
        })
    }
}

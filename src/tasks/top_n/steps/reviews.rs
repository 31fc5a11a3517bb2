//! Steps that take the reviews of a fold's training interactions out of the data set.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::output::{Profiles as ProfilesDir, Split};
use crate::{
    core::{Found, Handle, KeyBuilder, Pinned, RunContext, Shared, Step, StepError, StepStats},
    data::{DataDirs, DataSource, ReviewStats, TrainingPart},
    text::{PROFILES, Profiles, Source},
};

/// The reviews of the training interactions of a fold, in their order. All others stay sealed (`data/reviews.rs`).
pub struct ReviewsStep {
    pub label: String,
    pub source: DataSource,
    /// The file of reviews.
    pub reviews: Pinned,
    pub split: Handle<Split>,
    pub dirs: Arc<DataDirs>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReviewsStats {
    #[serde(flatten)]
    pub reviews: ReviewStats,
}

impl StepStats for ReviewsStats {
    const VERSION: u32 = 1;

    fn warnings(&self) -> Vec<String> {
        self.reviews.notes()
    }
}

impl Step for ReviewsStep {
    type Output = ProfilesDir;
    type Stats = ReviewsStats;

    const KIND: &'static str = "reviews";
    const REVISION: u32 = 1;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.file("reviews", &self.reviews).step("split", self.split);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![PROFILES]
    }

    /// Reads the table: wrong columns are an error before anything is written.
    fn preflight(&self, _: &Shared) -> Result<Found, StepError> {
        self.reviews.verify()?;
        self.source.load_reviews(&self.dirs)?;
        Ok(Found::default())
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<ReviewsStats, StepError> {
        let training = TrainingPart::read(&cx.dir(self.split))?;
        let sealed = self.source.load_reviews(&self.dirs)?;
        // Of another file than was planned with: no step may use it.
        self.reviews.verify()?;
        let of_training = training.reviews(&sealed)?;
        for note in of_training.stats.notes() {
            (cx.log)(&note);
        }
        let name = |row: crate::data::Interaction| {
            format!("{} {}", training.users.name(row.user.0), training.items.name(row.item.0))
        };
        let names: Vec<String> = training.train.iter().map(name).collect();
        Profiles::all_from(Source::Review, of_training.texts).write(dir, &names)?;
        Ok(ReviewsStats { reviews: of_training.stats })
    }
}

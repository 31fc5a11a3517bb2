//! Interactions and catalogue: identifiers, sparse matrices, readers, manifests, splits.

pub mod cut;
mod dataset;
mod error;
pub mod fetch;
mod filter;
mod fold;
pub mod ids;
pub mod interactions;
mod manifest;
mod permit;
mod readers;
pub mod relevance;
mod reviews;
pub mod sample;
mod sequence_split;
mod sequences;
mod source;
mod split;
mod stats;
mod tables;
mod times;
mod training;

pub use cut::{Cut, CutBy};
pub use dataset::{Catalogue, Dataset, OfficialFold};
pub use error::DataError;
pub use filter::{Filter, FilterEffect, Filters};
pub use fold::{FOLD_FILES, Fold, TestPart, TrainingPart, check_fold};
pub use ids::{Ids, ItemIx, UserIx};
pub use interactions::{Interaction, Interactions};
pub use manifest::{FileCheck, FileState, Manifest, Manifests};
pub use permit::ScoringPermit;
pub use readers::{DuplicateRule, Quotes, ReaderSpec, content::Encoding};
pub(crate) use readers::{cells, content, delimited};
pub use relevance::{Relevance, RelevanceFrom};
pub use reviews::{ReviewStats, Reviews, ReviewsSpec, TrainingReviews};
pub use sequence_split::{
    SequenceFold, SequencePart, SequenceScheme, SequenceSplit, Targets, check_sequence_fold,
};
pub use sequences::{SequenceData, Sequences};
pub use source::{DataDirs, DataSource};
pub use split::{Scheme, SplitSpec, TimeTies, fold_names, split_fold};
pub use stats::DatasetStats;
pub use tables::TableFormat;
pub use times::Time;
pub use training::{Scale, TrainingData};

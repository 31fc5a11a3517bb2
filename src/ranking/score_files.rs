//! Scores files of rankings against one split.

use std::path::PathBuf;

use super::{
    Convention, EvalError, Fingerprint, OpenFold, Protocol, ScoreSpec, Scores, Source, Ties,
    files::{Findings, Opened, OtherFold, ReadOptions},
};
use crate::{
    base::{hash::Digest, interrupt::Interrupt},
    data::{Relevance, RelevanceFrom},
};

/// Makes the other folds of a data set, with their names.
pub type OtherFolds = Box<dyn Fn() -> Vec<(String, OpenFold)> + Send + Sync>;

/// What rankings are scored against.
pub struct Split {
    /// `ml-100k`, or the test file.
    pub data: String,
    pub fold: String,
    pub relevant: Relevance,
    /// Who says so.
    pub relevant_from: RelevanceFrom,
    pub open: OpenFold,
    /// The other folds of the data set, made when they are asked for.
    pub other_folds: Option<OtherFolds>,
    pub data_digest: Digest,
    pub split_digest: Digest,
}

/// One file of rankings, scored.
pub struct ScoredFile {
    pub system: String,
    pub path: PathBuf,
    pub findings: Findings,
    pub scores: Scores,
}

impl ScoredFile {
    /// Everything odd about the file, a sentence each.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.findings.warnings();
        warnings.extend(self.scores.warnings());
        warnings.extend(self.scores.warning_of_ties());
        warnings
    }
}

impl Split {
    /// Scores one file, `opened` from `path`.
    pub fn score_file(
        &self,
        system: &str,
        path: &std::path::Path,
        opened: &Opened,
        options: &ReadOptions,
        spec: &ScoreSpec,
    ) -> Result<ScoredFile, EvalError> {
        let training = &self.open.training;
        let (rankings, mut findings) =
            opened.read(options, &training.users, &training.items, &self.open.seen)?;
        let others = || {
            let folds = self.other_folds.as_ref().map_or_else(Vec::new, |make| make());
            let seen = folds.into_iter().map(|(name, open)| (name, open.seen));
            Ok::<_, EvalError>(seen.collect())
        };
        let other = OtherFold::find(&rankings, &findings, others)?;
        findings.fits = other.map(|other| other.describe(&self.fold));
        let source = Source::Lists(&rankings);
        let interrupt = Interrupt::default();
        let scores = self.open.score(spec, self.relevant, &source, &interrupt, &|_, _| {})?;
        Ok(ScoredFile { system: system.to_owned(), path: path.to_owned(), findings, scores })
    }

    /// What a number rests on.
    pub fn fingerprint(
        &self,
        ties: Ties,
        (protocol, convention): (Protocol, Convention),
        k: usize,
    ) -> Fingerprint {
        Fingerprint {
            data: self.data_digest.to_string(),
            filter: None,
            split: self.split_digest.to_string(),
            relevant: self.relevant.to_string(),
            protocol,
            protocol_settings: String::new(),
            convention,
            fallback: None,
            exclude: None,
            ties: ties.rule(),
            k,
            users: match (convention, self.open.is_qrels()) {
                (Convention::Trec, true) => "users with judgements; gain by grade".into(),
                _ => convention.users_rule().into(),
            },
        }
    }
}

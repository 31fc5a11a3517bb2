//! Scores files of rankings against one split.

use std::path::PathBuf;

use super::{
    Convention, EvalError, Fingerprint, OpenFold, Protocol, Rankings, ScoreSpec, Scores, Source,
    Ties,
    files::{Findings, Opened, ReadOptions},
};
use crate::{
    base::{hash::Digest, interrupt::Interrupt},
    data::{Interactions, Relevance, RelevanceFrom},
};

/// Makes the other folds of a data set, with their names.
pub type OtherFolds = Box<dyn Fn() -> Vec<(String, OpenFold)> + Send + Sync>;

/// By how much another fold must fit better to be named.
const TELLING: f64 = 0.25;

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
        findings.fits = self.fold_that_fits(&rankings, &findings);
        let source = Source::Lists(&rankings);
        let interrupt = Interrupt::default();
        let scores = self.open.score(spec, self.relevant, &source, &interrupt, &|_, _| {})?;
        Ok(ScoredFile { system: system.to_owned(), path: path.to_owned(), findings, scores })
    }

    /// The fold of the data set that the rankings fit, where they do not fit the one they are scored against.
    fn fold_that_fits(&self, rankings: &Rankings, findings: &Findings) -> Option<String> {
        if !findings.repeat_training() {
            return None;
        }
        let own = findings.avoiding_training();
        let share =
            |seen: &Interactions| rankings.avoiding(seen) as f64 / findings.lists.max(1) as f64;
        let others = self.other_folds.as_ref()?().into_iter();
        let (best, name) = others
            .map(|(name, open)| (share(&open.seen), name))
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
        (best > own + TELLING).then(|| {
            format!(
                "those of the fold {}; {:.0} % avoid those of the fold {name}: the rankings look like that fold's",
                self.fold,
                100.0 * best
            )
        })
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
            ties: ties.rule(),
            k,
            users: match (convention, self.open.is_qrels()) {
                (Convention::Trec, true) => "users with judgements; gain by grade".into(),
                _ => convention.users_rule().into(),
            },
        }
    }
}

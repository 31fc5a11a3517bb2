//! How files of rankings and their split are read: options of `assay score` and `assay audit`.

use std::path::{Path, PathBuf};

use super::CliError;
use crate::{
    data::{
        DataDirs, DataSource, Encoding, Interactions, Quotes, Relevance, RelevanceFrom, SplitSpec,
        TrainingPart, UserIx, fold_names, split_fold,
    },
    ranking::{
        OpenFold,
        files::{Columns, InputFormat, JudgementFiles, Order, ReadOptions, Seen, TextOptions, Use},
        score_files::Split,
    },
};

/// The split that rankings are of, without its training part.
#[derive(clap::Args)]
pub struct SplitArgs {
    /// Data set that provides the split (see `assay data list`)
    #[arg(long, value_name = "SET", conflicts_with_all = ["test", "qrels"], help_heading = "Split")]
    pub data: Option<String>,
    /// Fold of the data set
    #[arg(long, requires = "data", help_heading = "Split")]
    pub fold: Option<String>,
    /// Test part: a table with user, item and optionally rating
    #[arg(long, value_name = "FILE", conflicts_with = "qrels", help_heading = "Split")]
    pub test: Option<PathBuf>,
    /// Test part as TREC qrels (relevant: 1 or more, unless --relevant is given)
    #[arg(long, value_name = "FILE", help_heading = "Split")]
    pub qrels: Option<PathBuf>,
    /// Which test ratings are relevant: '>= 4', '> 0', any (default: the data set's rule; any if there are no
    /// ratings or all are equal)
    #[arg(long, value_name = "RULE", help_heading = "Split")]
    pub relevant: Option<Relevance>,
}

/// How files of rankings are read.
#[derive(clap::Args)]
pub struct ReadArgs {
    /// Columns by name or position: user=uid,item=movie,rank=3,score=pred
    #[arg(long, value_name = "ROLE=COLUMN,…", help_heading = "Reading")]
    columns: Option<Columns>,
    /// What orders a list (default: ranks; scores in TREC runs and without ranks)
    #[arg(long, value_enum, help_heading = "Reading")]
    order: Option<Order>,
    /// What to do with recommended items that are in the user's training part
    #[arg(long, value_enum, default_value = "keep", help_heading = "Reading")]
    seen: Seen,
    /// Format of the rankings (default: detected)
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = "Reading")]
    input_format: Option<InputFormat>,
    /// Encoding of all text files (default: UTF-8, or UTF-16 with a byte order mark)
    #[arg(long, value_enum, value_name = "NAME", help_heading = "Reading")]
    encoding: Option<Encoding>,
    /// How to read quotes in text files
    #[arg(long, value_enum, default_value = "usual", help_heading = "Reading")]
    quotes: Quotes,
}

impl ReadArgs {
    /// How text is read.
    pub fn text(&self) -> TextOptions {
        TextOptions { format: self.input_format, encoding: self.encoding, quotes: self.quotes }
    }

    /// How rankings are read.
    pub fn options(&self) -> ReadOptions {
        ReadOptions { columns: self.columns(), order: self.order, seen: self.seen }
    }

    fn columns(&self) -> Columns {
        self.columns.clone().unwrap_or_default()
    }

    /// Whether any of its options is given.
    pub fn is_given(&self) -> bool {
        self.options() != ReadOptions::default() || self.text() != TextOptions::default()
    }
}

/// Names and paths of `NAME=FILE` or `FILE`, which is named after the file. A name that occurs twice is an error.
pub fn named_files(texts: &[String]) -> Result<Vec<(String, PathBuf)>, CliError> {
    let mut files: Vec<(String, PathBuf)> = Vec::new();
    for text in texts {
        let whole = Path::new(text);
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !whole.exists() => (name.to_owned(), PathBuf::from(path)),
            _ => {
                let stem = whole.file_stem().unwrap_or_default();
                (stem.to_string_lossy().into_owned(), whole.to_owned())
            }
        };
        if let Some((_, other)) = files.iter().find(|(known, _)| *known == name) {
            return Err(CliError::Usage(format!(
                "{} and {} have the same name `{name}`\n  = help: name one with NAME={}",
                other.display(),
                path.display(),
                path.display()
            )));
        }
        files.push((name, path));
    }
    Ok(files)
}

impl SplitArgs {
    /// Whether any of its options is given.
    pub fn is_given(&self) -> bool {
        let files = [&self.test, &self.qrels];
        self.data.is_some() || files.iter().any(|file| file.is_some()) || self.relevant.is_some()
    }

    /// What files of rankings are used for.
    pub fn what_for(&self) -> Use {
        if self.qrels.is_some() { Use::Run } else { Use::Rankings }
    }

    /// A training file of another fold, by the indices of `split`.
    pub fn read_other(
        &self,
        train: &Path,
        read: &ReadArgs,
        split: &Split,
    ) -> Result<OpenFold, CliError> {
        let (other, _) = self.read(Some(train), read)?;
        let (own, other) = (&split.open.training, other.open.training);
        let rows = other.train.iter().filter_map(|row| {
            let user = own.users.index_of(other.users.name(row.user.0))?;
            let item = own.items.index_of(other.items.name(row.item.0))?;
            Some(crate::data::Interaction {
                user: UserIx(user),
                item: crate::data::ItemIx(item),
                ..row
            })
        });
        let rows: Vec<_> = rows.collect();
        let matrix = |rows: &[_]| Interactions::new(own.users.len(), own.items.len(), rows);
        let training = TrainingPart {
            users: own.users.clone(),
            items: own.items.clone(),
            train: matrix(&rows),
            validation: matrix(&[]),
        };
        Ok(OpenFold::new(training, matrix(&[])))
    }

    /// The split with what is odd about it.
    pub fn read(
        &self,
        train: Option<&Path>,
        read: &ReadArgs,
    ) -> Result<(Split, Vec<String>), CliError> {
        if let Some(set) = &self.data {
            return Ok((self.split_of_set(set)?, Vec::new()));
        }
        let Some(test) = self.test.as_ref().or(self.qrels.as_ref()) else {
            return Err(CliError::Usage(
                "no split is given\n  = help: give --data SET --fold FOLD, \
                 --test FILE (with --train FILE), or --qrels FILE"
                    .into(),
            ));
        };
        let given = [
            ("--train", train),
            ("--test", self.test.as_deref()),
            ("--qrels", self.qrels.as_deref()),
        ];
        for (option, path) in given {
            if let Some(path) = path.filter(|path| !path.exists()) {
                return Err(CliError::Usage(format!("{option} {}: no such file", path.display())));
            }
        }
        let files = JudgementFiles {
            train: train.map(Path::to_owned),
            test: test.clone(),
            qrels: self.qrels.is_some(),
            relevant: self.relevant,
            text: read.text(),
            columns: read.columns().of_judgements(),
        };
        let judgements = files.read()?;
        // Ratings that are all alike say nothing, in training and test part together; without a column of
        // ratings they are 1.
        let (test_ratings, train_ratings) = (judgements.test.ratings(), judgements.train.ratings());
        let alike = |ratings: &[f32]| ratings.windows(2).all(|pair| pair[0] == pair[1]);
        let all_equal = alike(test_ratings)
            && alike(train_ratings)
            && (train_ratings.first().is_none_or(|first| *first == 1.0)
                || train_ratings.first() == test_ratings.first());
        let (relevant, relevant_from) = match (self.relevant, &self.qrels, judgements.has_ratings) {
            (Some(told), ..) => (told, RelevanceFrom::Option),
            (None, Some(_), _) => (Relevance::AtLeast(1.0), RelevanceFrom::Qrels),
            (None, None, false) => (Relevance::Any, RelevanceFrom::NoRatings),
            (None, None, true) if all_equal => (Relevance::Any, RelevanceFrom::EqualRatings),
            (None, None, true) => {
                return Err(CliError::Usage(format!(
                    "{} has ratings, but no rule says which of them are relevant\n  = help: add \
                     --relevant '>= 4' (any threshold), or --relevant any where every rating counts as \
                     liked",
                    test.display()
                )));
            }
        };
        let stem = test.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let validation = judgements.train.filter(|_| false);
        let training = TrainingPart {
            users: judgements.users,
            items: judgements.items,
            train: judgements.train,
            validation,
        };
        let split = Split {
            data: test.display().to_string(),
            fold: stem,
            relevant,
            relevant_from,
            open: OpenFold::new(training, judgements.test).of_qrels(self.qrels.is_some()),
            other_folds: None,
            data_digest: judgements.digest,
            split_digest: judgements.digest,
        };
        Ok((split, judgements.notes))
    }

    fn split_of_set(&self, set: &str) -> Result<Split, CliError> {
        let dirs = DataDirs::from_env();
        let source = DataSource::set(set.to_owned());
        let spec = SplitSpec::official();
        let folds = fold_names(&spec, &source, &dirs)?;
        let fold = match (&self.fold, &folds[..]) {
            (Some(fold), _) if folds.contains(fold) => fold.clone(),
            (None, [only]) => only.clone(),
            (fold, _) => {
                let asked = fold.as_ref().map(|fold| format!("there is no fold `{fold}`"));
                return Err(CliError::Usage(format!(
                    "{}; the folds of {set} are {}",
                    asked.unwrap_or_else(|| "which fold? (--fold)".into()),
                    folds.join(", ")
                )));
            }
        };
        let (relevant, relevant_from) = match self.relevant {
            Some(rule) => (rule, RelevanceFrom::Option),
            None => source.usual_relevance(
                &dirs,
                "add --relevant '>= 4' (any threshold), or --relevant any where every rating counts as \
                 liked",
            )?,
        };
        let data = source.load(&dirs)?;
        let made = split_fold(&data, &spec, &fold)?;
        let this = fold.clone();
        Ok(Split {
            data: set.to_owned(),
            fold,
            relevant,
            relevant_from,
            data_digest: source.digest(&dirs)?,
            split_digest: made.digest(),
            open: OpenFold::of(made),
            other_folds: Some(Box::new(move || {
                let others = folds.iter().filter(|other| **other != this);
                others
                    .filter_map(|name| {
                        let made = split_fold(&data, &spec, name).ok()?;
                        Some((name.clone(), OpenFold::of(made)))
                    })
                    .collect()
            })),
        })
    }
}

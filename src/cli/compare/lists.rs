//! `assay compare --lists`

use std::path::PathBuf;

use super::{Compare, Compared, every_pair, unknown_name};
use crate::{
    analysis::{Bootstrap, Units, compare},
    base::{exit::Exit, terminal::tell},
    cli::{
        CliError,
        metrics::spelled,
        rankings::{ReadArgs, SplitArgs, named_files},
    },
    core::MeasureKey,
    data::Relevance,
    ranking::{METRICS, Metric, ScoreSpec, Slice, Ties, files::open, score_files::ScoredFile},
};

/// The split of files of rankings, and how they are read. The test part is `--test` elsewhere, which is the name of a test
/// here.
#[derive(clap::Args)]
pub struct ListArgs {
    /// Data set that provides the split (see `assay data list`)
    #[arg(long, value_name = "SET", conflicts_with_all = ["test_part", "qrels"], help_heading = "Split of --lists")]
    data: Option<String>,
    /// Test part: a table with user, item and optionally rating
    #[arg(long, value_name = "FILE", conflicts_with = "qrels", help_heading = "Split of --lists")]
    test_part: Option<PathBuf>,
    /// Test part as TREC qrels (relevant: 1 or more, unless --relevant is given)
    #[arg(long, value_name = "FILE", help_heading = "Split of --lists")]
    qrels: Option<PathBuf>,
    /// Training part of --test-part or --qrels; without it no item counts as seen
    #[arg(long, value_name = "FILE", conflicts_with = "data", help_heading = "Split of --lists")]
    train: Option<PathBuf>,
    /// Which test ratings are relevant: '>= 4', '> 0', any (default: the data set's rule; any if there are no ratings or
    /// all are equal)
    #[arg(long, value_name = "RULE", help_heading = "Split of --lists")]
    relevant: Option<Relevance>,
    /// Order of items with equal scores: lower-id, random, or random@SEED
    #[arg(long, value_name = "RULE", default_value = "lower-id", help_heading = "Reading")]
    ties: Ties,
    #[command(flatten)]
    read: ReadArgs,
}

impl ListArgs {
    /// An option that is given.
    pub fn given(&self) -> Option<&'static str> {
        let options = [
            ("--data", self.data.is_some()),
            ("--test-part", self.test_part.is_some()),
            ("--qrels", self.qrels.is_some()),
            ("--train", self.train.is_some()),
            ("--relevant", self.relevant.is_some()),
            ("--ties", self.ties != Ties::default()),
            ("an option of reading", self.read.is_given()),
        ];
        options.into_iter().find(|(_, is)| *is).map(|(name, _)| name)
    }
}

impl Compare {
    /// Compares files of rankings with one of them.
    pub fn files(&self) -> Result<Exit, CliError> {
        let of = &self.of_lists;
        let files = named_files(&self.lists)?;
        let names: Vec<String> = files.iter().map(|(name, _)| name.clone()).collect();
        if let Some(name) =
            self.systems.iter().chain(&self.reference).find(|of| !names.contains(of))
        {
            return Err(unknown_name("there is no list of a system", name, &names));
        }
        if let [only] = &names[..] {
            return Err(CliError::Usage(format!(
                "there is no other list to compare `{only}` with\n  = help: --lists a.csv b.csv"
            )));
        }
        if of.data.is_none() && of.test_part.is_none() && of.qrels.is_none() {
            return Err(CliError::Usage(
                "no split is given\n  = help: give --data SET --fold FOLD, --test-part FILE (with --train FILE), or \
                 --qrels FILE"
                    .into(),
            ));
        }
        if let (None, Some(fold)) = (&of.data, &self.fold) {
            return Err(CliError::Usage(format!(
                "--fold {fold} needs --data: files of a split are one fold"
            )));
        }
        let spec = self.score_spec()?;
        let split = SplitArgs {
            data: of.data.clone(),
            fold: self.fold.clone(),
            test: of.test_part.clone(),
            qrels: of.qrels.clone(),
            relevant: of.relevant,
        };
        let what_for = split.what_for();
        let (split, notes) = split.read(of.train.as_deref(), &of.read)?;
        let mut scored: Vec<ScoredFile> = Vec::new();
        for (name, path) in &files {
            let opened = open(path, what_for, of.read.text())?;
            let file = split.score_file(name, path, &opened, &of.read.options(), &spec)?;
            for warning in file.warnings() {
                tell!("warning: {}: {warning}", path.display());
            }
            scored.push(file);
        }
        notes.iter().for_each(|note| tell!("warning: {note}"));
        let is_asked = |name: &String| self.systems.is_empty() || self.systems.contains(name);
        let pairs: Vec<[String; 2]> = match (self.pairs, &self.reference) {
            (true, _) => {
                let asked: Vec<String> =
                    names.iter().filter(|name| is_asked(name)).cloned().collect();
                every_pair(&asked)?
            }
            (false, reference) => {
                let best = || best(&scored, &spec);
                let first = reference.clone().or_else(best).ok_or_else(|| {
                    CliError::Usage(
                        "no list is best by this metric: name one\n  = help: `--reference NAME`"
                            .into(),
                    )
                })?;
                let others = names.iter().filter(|name| **name != first && is_asked(name));
                others.map(|other| [first.clone(), other.clone()]).collect()
            }
        };
        let units = |name: &str| {
            let mut units = Units::default();
            if let Some(file) = scored.iter().find(|file| file.system == name) {
                let cells = file.scores.user_cells(&split.open.training.users);
                units.add(&split.fold, cells.measurements(&spec));
            }
            units
        };
        let mut compared: Vec<Compared> = Vec::new();
        let mut reference: Option<(&String, Units)> = None;
        for [a, b] in &pairs {
            let of_a = match reference.take() {
                Some((name, units)) if name == a => units,
                _ => units(a),
            };
            let of_b = units(b);
            for slice in &spec.slices {
                let place = (split.fold.as_str(), &*slice.to_string());
                let found =
                    compare([&of_a, &of_b], place, &|_: &MeasureKey| true, Bootstrap::default());
                compared.extend(found.into_iter().map(|paired| Compared {
                    first: a.clone(),
                    second: b.clone(),
                    paired,
                }));
            }
            reference = Some((a, of_a));
        }
        self.conclude(compared, None, &split.fold, None)?;
        Ok(Exit::Pass)
    }

    /// What is computed: one protocol, convention and cutoff.
    fn score_spec(&self) -> Result<ScoreSpec, CliError> {
        let usage = |message: String| CliError::Usage(message);
        let (names, k) = spelled(&self.metrics, self.k)?;
        let of_users = || METRICS.iter().filter_map(|of| of.name.parse::<Metric>().ok());
        let of_users = || of_users().filter(|metric| !metric.is_of_all_lists());
        let mut metrics: Vec<Metric> = Vec::new();
        for name in &names {
            metrics.push(name.parse().map_err(usage)?);
        }
        match (metrics.is_empty(), self.all) {
            (true, true) => metrics.extend(of_users()),
            (true, false) => metrics.push(Metric::Ndcg),
            _ => {}
        }
        let mut slices: Vec<Slice> = Vec::new();
        for slice in &self.slices {
            slices.push(slice.parse().map_err(usage)?);
        }
        if slices.is_empty() {
            slices.push(Slice::All);
        }
        let protocol = self.protocol.as_deref().unwrap_or("full").parse().map_err(usage)?;
        let convention = self.convention.as_deref().unwrap_or("standard").parse().map_err(usage)?;
        let spec = ScoreSpec {
            protocols: vec![protocol],
            conventions: vec![convention],
            k: vec![k.or(self.k).unwrap_or(10)],
            slices,
            metrics,
            ties: self.of_lists.ties,
            depth: 0,
            ..ScoreSpec::default()
        };
        spec.validate().map_err(|message| usage(message.replace("evaluate.", "")))?;
        Ok(spec.normalised())
    }
}

/// The best list by the first metric, in the first slice.
fn best(scored: &[ScoredFile], spec: &ScoreSpec) -> Option<String> {
    let (metric, slice) = (spec.metrics.first()?, spec.slices.first()?);
    let value = |file: &ScoredFile| {
        let mut means = file.scores.summary.iter();
        means.find(|of| of.metric == *metric && of.slice == *slice)?.value
    };
    let best = metric.info().best(scored.iter().filter_map(value))?;
    scored.iter().find(|file| value(file) == Some(best)).map(|file| file.system.clone())
}

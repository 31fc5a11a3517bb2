//! Result rows of an experiment, from the finished steps in the workspace.

use std::{collections::HashMap, sync::Arc};

use rayon::prelude::*;

use super::{
    Basis, Bootstrap, Distribution, ResultRow,
    units::{CellKey, Interval, MEAN, PairedDraws, Units},
    with_means,
};
use crate::{
    base::files::FileError,
    core::{Currencies, Currency, Mean, MeasureKey, StepId, Workspace},
    ranking::Slice,
    tasks::{ExperimentRecord, TrialRecord},
};

/// Results of an experiment.
pub struct Collected {
    /// Rows of folds and seeds, then `mean` rows.
    pub rows: Vec<ResultRow>,
    /// Trials without a result.
    pub missing: Vec<String>,
    /// The same of controls that assay added: the results of the experiment are complete without them.
    pub missing_controls: Vec<String>,
    /// Users by slice and fold.
    pub slices: Vec<SliceSize>,
    /// Warnings: the trial, and a sentence.
    pub warnings: Vec<(String, String)>,
    /// Resamples of users for comparisons between systems, if requested.
    pub draws: PairedDraws,
    /// Values of every system's users in the columns of [`Request::kept`].
    pub units: Vec<(String, Units)>,
    /// How the values of users are distributed, by system and cell, over all folds, if requested.
    pub distributions: HashMap<String, HashMap<CellKey, Distribution>>,
    /// States of steps, as far as results needed them.
    pub states: Vec<Option<Currency>>,
}

/// What takes every user's values, beside the number of users: asked for before they are read, as they
/// may be large.
#[derive(Default)]
pub struct Request {
    /// Folds, or `mean`, whose rows get intervals.
    pub intervals: Vec<String>,
    /// Which differences between systems are needed.
    pub differences: Option<Differences>,
    /// Columns whose values by user are kept, for comparisons of systems.
    pub kept: Vec<MeasureKey>,
    /// Whether the distributions of users' values are needed.
    pub distributions: bool,
}

/// Differences of one fold, or of `mean`.
pub struct Differences {
    pub fold: String,
    /// The cutoff.
    pub k: usize,
    /// None: all.
    pub metrics: Option<Vec<String>>,
    /// None: all.
    pub slice: Option<String>,
}

impl Differences {
    fn has_cell(&self, key: &MeasureKey) -> bool {
        key.k == self.k && self.metrics.as_ref().is_none_or(|metrics| metrics.contains(&key.metric))
    }

    fn has_slice(&self, slice: &str) -> bool {
        self.slice.as_ref().is_none_or(|name| name == slice)
    }
}

impl Request {
    /// Intervals of the rows of one fold, or of `mean`, or of none.
    pub fn intervals_of(fold: Option<&str>) -> Self {
        Self { intervals: fold.map(str::to_owned).into_iter().collect(), ..Self::default() }
    }
}

/// Number of users of a slice in one fold, or in all.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct SliceSize {
    pub setting: String,
    /// A fold's name, or `mean` for all folds together.
    pub fold: String,
    pub slice: String,
    /// Users with a relevant item in the test part.
    pub users: usize,
    /// Pairs of a user and a fold.
    pub pairs: usize,
}

/// Reads the results of all finished, undamaged trials.
pub fn collect(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    request: &Request,
) -> Result<Collected, FileError> {
    let mut rows = Vec::new();
    let (mut missing, mut missing_controls) = (Vec::new(), Vec::new());
    let mut done: Vec<&TrialRecord> = Vec::new();
    let currencies = Currencies::new(experiment, workspace);
    let ends: Vec<StepId> =
        experiment.trials.iter().map(|trial| StepId::new(trial.evaluate)).collect();
    currencies.verify(&ends);
    // By variant and fold: many trials have the same.
    let mut bases: HashMap<(usize, usize), Result<Arc<Basis>, String>> = HashMap::new();
    for trial in &experiment.trials {
        let summary = match currencies.of(StepId::new(trial.evaluate)) {
            Currency::Current => {
                experiment.means(workspace, trial).map_err(|error| format!(" ({error})"))
            }
            Currency::Damaged(problem) => Err(format!(" (damaged: {problem})")),
            Currency::Outdated(why) => Err(format!(" (to rerun: {why})")),
            Currency::Absent => Err(String::new()),
        };
        let place = (trial.variant, trial.split);
        let of_fold = || basis(experiment, workspace, trial);
        let basis = bases.entry(place).or_insert_with(of_fold).clone();
        let lacks_responses = experiment.lacks_responses(workspace, trial);
        let of_trial = summary.and_then(|means| {
            let basis = basis?;
            means
                .iter()
                .map(|mean| {
                    let row = row(experiment, trial, &basis, mean)?;
                    Ok(ResultRow { lacks_responses, ..row })
                })
                .collect::<Result<Vec<_>, _>>()
        });
        match of_trial {
            Ok(of_trial) => {
                done.push(trial);
                rows.extend(of_trial);
            }
            Err(why) => {
                // A control may be unable to run. One that has run and cannot be read is damage like any other.
                let missing = match trial.is_added && why.is_empty() {
                    true => &mut missing_controls,
                    false => &mut missing,
                };
                missing.push(format!("{}{why}", trial.label()));
            }
        }
    }
    let mut counts: Counts = HashMap::new();
    let mut intervals: HashMap<(String, String, CellKey), Interval> = HashMap::new();
    let mut draws = PairedDraws::default();
    let mut kept: Vec<(String, Units)> = Vec::new();
    let mut distributions: HashMap<String, HashMap<CellKey, Distribution>> = HashMap::new();
    let bootstrap = Bootstrap::default();
    // System by system: the values of all users of all trials may not fit the memory together.
    for of_system in trials_by_system(&done) {
        let first = of_system[0];
        let slices = &experiment.variants[first.variant].slices;
        let asks = !request.intervals.is_empty()
            || request.differences.is_some()
            || request.distributions
            || !request.kept.is_empty();
        if of_system.len() < 2 && !asks {
            continue;
        }
        let units = units_of(&of_system, experiment, workspace, None)?;
        let folds: Vec<&str> = of_system.iter().map(|trial| trial.fold.as_str()).collect();
        let mut repeated: Vec<&str> = folds.clone();
        repeated.retain(|fold| folds.iter().filter(|other| *other == fold).count() > 1);
        repeated.dedup();
        if folds.len() > 1 {
            repeated.push(MEAN);
        }
        for slice in slices {
            for fold in &repeated {
                let of = units.counts(fold, slice).into_iter();
                let place = (first.name.clone(), (*fold).to_owned());
                counts.entry(place).or_default().extend(of);
            }
            for fold in &request.intervals {
                for (cell, interval) in units.intervals(bootstrap, fold, slice) {
                    intervals.insert((first.name.clone(), fold.clone(), cell), interval);
                }
            }
            if let Some(of) = request.differences.as_ref().filter(|of| of.has_slice(slice)) {
                let place = (of.fold.as_str(), slice.as_str());
                draws.add(&first.name, &units, bootstrap, place, &|cell| of.has_cell(cell));
            }
            if request.distributions {
                let of_system = distributions.entry(first.name.clone()).or_default();
                of_system.extend(units.distributions(MEAN, slice));
            }
        }
        if !request.kept.is_empty() {
            kept.push((first.name.clone(), units.narrowed(&request.kept)));
        }
    }
    let mut rows = with_means(rows, &|group| count(&counts, group));
    for row in rows.iter_mut().filter(|row| request.intervals.contains(&row.fold)) {
        // The interval of a fold is that of its mean over seeds.
        if !row.one_of_several {
            let place = (row.system.clone(), row.fold.clone(), CellKey::of(row));
            (row.low, row.high) = intervals.get(&place).copied().unzip();
            row.interval_asked = true;
        }
    }
    let slices = slice_sizes(experiment, &rows);
    let warnings = warnings(experiment, workspace);
    let states = currencies.states();
    Ok(Collected {
        rows,
        missing,
        missing_controls,
        slices,
        warnings,
        draws,
        units: kept,
        distributions,
        states,
    })
}

/// Users, and pairs of users and folds, by system, fold (or `mean`) and cell.
type Counts = HashMap<(String, String), HashMap<CellKey, (usize, usize)>>;

/// How many users, and pairs of users and folds, the mean of a group of rows is over.
fn count(counts: &Counts, group: &[&ResultRow]) -> (usize, usize) {
    let first = group[0];
    let is_one_fold = group.iter().all(|row| row.fold == first.fold);
    let known = |fold: &str| {
        let of_fold = counts.get(&(first.system.clone(), fold.to_owned()))?;
        of_fold.get(&CellKey::of(first)).copied()
    };
    // invariant: whatever repeats was counted
    known(if is_one_fold { &first.fold } else { MEAN }).unwrap_or_default()
}

/// Trials of the same system, in the order in which each first comes.
pub fn trials_by_system<'a>(trials: &[&'a TrialRecord]) -> Vec<Vec<&'a TrialRecord>> {
    let mut systems: Vec<Vec<&TrialRecord>> = Vec::new();
    for trial in trials {
        let is_same = |of: &&mut Vec<&TrialRecord>| {
            (of[0].variant, &of[0].name) == (trial.variant, &trial.name)
        };
        match systems.iter_mut().find(is_same) {
            Some(of_system) => of_system.push(trial),
            None => systems.push(vec![trial]),
        }
    }
    systems
}

/// Reads every unit's values of all trials of a system; of the metrics named, or of all.
pub fn units_of(
    trials: &[&TrialRecord],
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    metrics: Option<&[String]>,
) -> Result<Units, FileError> {
    let read: Vec<_> =
        trials.par_iter().map(|trial| experiment.measurements(workspace, trial, metrics)).collect();
    let mut units = Units::default();
    for (trial, cells) in trials.iter().zip(read) {
        units.add(&trial.fold, cells?);
        units.is_fixed = experiment.variants[trial.variant].systems[trial.system].is_fixed();
    }
    Ok(units)
}

/// Warnings that steps left in their records: whose, and a sentence. What several trials say is said once.
fn warnings(experiment: &ExperimentRecord, workspace: &Workspace) -> Vec<(String, String)> {
    let mut warnings: Vec<(Vec<String>, String)> = Vec::new();
    let mut read: HashMap<usize, Vec<String>> = HashMap::new();
    for trial in &experiment.trials {
        let steps = [Some(trial.split), trial.fit, Some(trial.predictions), Some(trial.evaluate)];
        for step in steps.into_iter().flatten() {
            let name = match step == trial.split {
                true => experiment.steps[step].label.clone(),
                false => format!("{} {}", trial.name, trial.fold),
            };
            let of_step = || match experiment.record(workspace, step) {
                Ok(record) => record.warnings,
                // What it warned of is lost.
                Err(error @ FileError::Damaged { .. }) => vec![error.to_string()],
                Err(FileError::Io { .. }) => Vec::new(),
            };
            let texts = read.entry(step).or_insert_with(of_step).clone();
            for text in texts {
                match warnings.iter_mut().find(|(_, known)| *known == text) {
                    Some((names, _)) if names.contains(&name) => {}
                    Some((names, _)) => names.push(name.clone()),
                    None => warnings.push((vec![name.clone()], text)),
                }
            }
        }
    }
    warnings.into_iter().map(|(names, text)| (names.join(", "), text)).collect()
}

/// What a trial's numbers go by, or why that cannot be said: a fold whose record was changed says nothing.
fn basis(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    trial: &TrialRecord,
) -> Result<Arc<Basis>, String> {
    let variant = &experiment.variants[trial.variant];
    let notes = match experiment.record(workspace, trial.split) {
        Ok(record) => record.warnings,
        // The folds of results that were kept alone are gone, and what was to be said of them.
        Err(FileError::Io { .. }) => Vec::new(),
        Err(error) => return Err(format!(" (damaged: {error})")),
    };
    let effects = experiment.filters(workspace, trial.split);
    let effects: Vec<String> = effects.iter().map(ToString::to_string).collect();
    Ok(Arc::new(Basis {
        filter: match effects.is_empty() {
            true => variant.rules.filter.clone(),
            false => effects.join("; "),
        },
        relevant: variant.rules.relevant.clone(),
        ties: variant.rules.ties.clone(),
        fallback: variant.rules.fallback.clone(),
        split: notes.join(" "),
    }))
}

fn row(
    experiment: &ExperimentRecord,
    trial: &TrialRecord,
    basis: &Arc<Basis>,
    mean: &Mean,
) -> Result<ResultRow, String> {
    let fingerprint = experiment.variants[trial.variant].fingerprint(&mean.key);
    let fingerprint = fingerprint.ok_or_else(|| {
        let MeasureKey { protocol, convention, metric, k } = &mean.key;
        format!(" (damaged: {protocol} {convention} {metric}@{k} was not asked for)")
    })?;
    let place = (trial.fold.as_str(), trial.seed.to_string());
    let system = experiment.system(trial);
    let own_lists_of = system.reranks.as_ref().map(|(_, users)| *users);
    Ok(ResultRow {
        is_seeded: system.is_seeded,
        basis: basis.clone(),
        learns_from: system.learns_from.clone(),
        knows_test: system.knows_test,
        own_lists_of: own_lists_of.filter(|of| *of != Slice::All).map(|of| of.to_string()),
        ..ResultRow::of_mean(&experiment.name, &trial.name, place, mean, fingerprint.to_owned())
    })
}

/// Recall is a mean over the users with a relevant item under every convention. Fold by fold, then all
/// folds together where there are several.
fn slice_sizes(experiment: &ExperimentRecord, rows: &[ResultRow]) -> Vec<SliceSize> {
    let (mut sizes, mut of_all): (Vec<SliceSize>, Vec<SliceSize>) = (Vec::new(), Vec::new());
    let mut done: Vec<(usize, &str)> = Vec::new();
    for trial in &experiment.trials {
        if done.contains(&(trial.variant, &trial.name)) {
            continue;
        }
        done.push((trial.variant, &trial.name));
        let setting = &experiment.variants[trial.variant].label;
        let of_system = || rows.iter().filter(|row| row.system == trial.name);
        for row in of_system().filter(|row| row.metric == "recall" && !row.one_of_several) {
            let sizes = if row.fold == MEAN { &mut of_all } else { &mut sizes };
            let size = SliceSize {
                setting: setting.clone(),
                fold: row.fold.clone(),
                slice: row.slice.clone(),
                users: row.n_users,
                pairs: row.n_pairs,
            };
            let is_same = |of: &&mut SliceSize| {
                (&of.setting, &of.fold, &of.slice) == (&size.setting, &size.fold, &size.slice)
            };
            match sizes.iter_mut().find(is_same) {
                // A system may have results for some folds alone.
                Some(known) if known.pairs >= size.pairs => {}
                Some(known) => *known = size,
                None => sizes.push(size),
            }
        }
    }
    let has_several = |of: &SliceSize| {
        let folds =
            sizes.iter().filter(|fold| (&fold.setting, &fold.slice) == (&of.setting, &of.slice));
        folds.count() > 1
    };
    of_all.retain(has_several);
    sizes.extend(of_all);
    sizes
}

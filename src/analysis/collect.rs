//! Result rows of an experiment, from the finished steps in the workspace.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fs,
    path::Path,
    sync::Arc,
};

use rayon::prelude::*;

use super::{
    Basis, Bootstrap, Distribution, ResultRow, has_paired_test,
    units::{CellKey, Interval, MEAN, PairedDraws, Units},
    with_means,
};
use crate::{
    base::files::FileError,
    core::{Columns, Currencies, Currency, Mean, MeasureKey, Record, StepId, Workspace},
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
    /// By step, the record of a complete step, as far as results needed it.
    pub records: Vec<Option<Arc<Record>>>,
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
    /// Columns that are needed after this, by tables, figures and checks: their values stay in memory if there is room.
    /// Others are read again.
    pub later: HashSet<MeasureKey>,
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
    /// Also keeps these columns for later.
    pub fn and_later(mut self, keys: HashSet<MeasureKey>) -> Self {
        self.later.extend(keys);
        self
    }

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

/// Trials that are verified together, unless a system has more: enough for all cores.
const TOGETHER: usize = 64;
/// Bytes of their files, unless those of one system are larger: their values take about four times as much in memory.
const BYTES_TOGETHER: u64 = 64 << 20;

/// Reads the results of all finished, undamaged trials. The values of each evaluation are read once: to compare them with
/// its means, and for what is requested.
pub fn collect(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    request: &Request,
) -> Result<Collected, FileError> {
    let currencies = Currencies::new(experiment, workspace);
    // By variant and fold: many trials have the same.
    let mut bases: HashMap<(usize, usize), Result<Arc<Basis>, String>> = HashMap::new();
    // By the index of the trial: rows, or why there are none.
    let mut results: BTreeMap<usize, Result<Vec<ResultRow>, String>> = BTreeMap::new();
    let mut found = OfSystem::default();
    let mut kept: Vec<(String, Units)> = Vec::new();
    let systems = indices_by_system(&experiment.trials.iter().collect::<Vec<_>>());
    let mut rest = &systems[..];
    // A few systems at a time: the values of all users of all trials may not fit the memory together.
    while !rest.is_empty() {
        let (mut n_trials, mut n_bytes) = (0, 0);
        let fits = |of: &&Vec<usize>| {
            let trials = of.iter().map(|at| &experiment.trials[*at]);
            n_trials += of.len();
            n_bytes += trials.map(|of| bytes(&experiment.dir(workspace, of.evaluate))).sum::<u64>();
            n_trials <= TOGETHER && n_bytes <= BYTES_TOGETHER
        };
        let n = rest.iter().take_while(fits).count().max(1);
        let (now, later) = rest.split_at(n);
        rest = later;
        let ends: Vec<StepId> =
            now.iter().flatten().map(|at| StepId::new(experiment.trials[*at].evaluate)).collect();
        currencies.verify(&ends);
        let mut done: Vec<Vec<&TrialRecord>> = Vec::new();
        for of_system in now {
            let mut done_of_system = Vec::new();
            for at in of_system {
                let trial = &experiment.trials[*at];
                let place = (trial.variant, trial.split);
                let of_fold = || basis(experiment, workspace, trial);
                let basis = bases.entry(place).or_insert_with(of_fold).clone();
                let of_trial = rows_of(experiment, workspace, &currencies, trial, basis);
                if of_trial.is_ok() {
                    done_of_system.push(trial);
                }
                results.insert(*at, of_trial);
            }
            if !done_of_system.is_empty() {
                done.push(done_of_system);
            }
        }
        let of_systems: Result<Vec<Option<(OfSystem, Units)>>, FileError> = done
            .par_iter()
            .map(|of_system| OfSystem::new(experiment, workspace, request, of_system))
            .collect();
        for (trials, of_system) in done.iter().zip(of_systems?) {
            if let Some((of_system, units)) = of_system {
                found.extend(of_system);
                if !request.kept.is_empty() {
                    kept.push((trials[0].name.clone(), units));
                }
            }
        }
        for at in now.iter().flatten() {
            experiment.keep_only(workspace, &experiment.trials[*at], &request.later);
        }
    }
    let mut rows = Vec::new();
    let (mut missing, mut missing_controls) = (Vec::new(), Vec::new());
    for (at, of_trial) in results {
        let trial = &experiment.trials[at];
        match of_trial {
            Ok(of_trial) => rows.extend(of_trial),
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
    let OfSystem { counts, intervals, draws, distributions } = found;
    let mut rows = with_means(rows, &|group| count(&counts, group));
    for row in rows.iter_mut().filter(|row| request.intervals.contains(&row.fold)) {
        // The interval of a fold is that of its mean over seeds.
        if !row.one_of_several {
            let place = (row.system.clone(), row.fold.clone());
            let of = intervals.get(&place).and_then(|of| of.get(&CellKey::of(row)));
            (row.low, row.high) = of.copied().unzip();
            row.interval_asked = true;
        }
    }
    let slices = slice_sizes(experiment, &rows);
    let warnings = warnings(experiment, workspace, &currencies);
    let states = currencies.states();
    let steps = 0..experiment.steps.len();
    let records = steps.map(|step| currencies.record(StepId::new(step))).collect();
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
        records,
    })
}

/// Bytes of the files of a step.
fn bytes(dir: &Path) -> u64 {
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files.filter_map(|file| file.metadata().ok()).map(|of| of.len()).sum()
}

/// The rows of a trial, or why there are none.
fn rows_of(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    currencies: &Currencies,
    trial: &TrialRecord,
    basis: Result<Arc<Basis>, String>,
) -> Result<Vec<ResultRow>, String> {
    let means = match currencies.of(StepId::new(trial.evaluate)) {
        Currency::Current => {
            experiment.means(workspace, trial).map_err(|error| format!(" ({error})"))?
        }
        Currency::Damaged(problem) => return Err(format!(" (damaged: {problem})")),
        Currency::Outdated(why) => return Err(format!(" (to rerun: {why})")),
        Currency::Absent => return Err(String::new()),
    };
    let basis = basis?;
    let lacks_responses = experiment.lacks_responses(workspace, trial);
    let of_mean = |mean: &Mean| -> Result<ResultRow, String> {
        let row = row(experiment, trial, &basis, mean)?;
        Ok(ResultRow { lacks_responses, ..row })
    };
    means.iter().map(of_mean).collect()
}

/// What is made of the values of a system's users.
#[derive(Default)]
struct OfSystem {
    counts: Counts,
    /// By system and fold.
    intervals: HashMap<(String, String), HashMap<CellKey, Interval>>,
    draws: PairedDraws,
    distributions: HashMap<String, HashMap<CellKey, Distribution>>,
}

impl OfSystem {
    /// Of finished trials, with the values that are kept. None if nothing needs the values.
    fn new(
        experiment: &ExperimentRecord,
        workspace: &Workspace,
        request: &Request,
        trials: &[&TrialRecord],
    ) -> Result<Option<(Self, Units)>, FileError> {
        let first = trials[0];
        let slices = &experiment.variants[first.variant].slices;
        let asks = !request.intervals.is_empty()
            || request.differences.is_some()
            || request.distributions
            || !request.kept.is_empty();
        if trials.len() < 2 && !asks {
            return Ok(None);
        }
        let bootstrap = Bootstrap::default();
        let units = units_of(trials, experiment, workspace, Columns::All)?;
        let folds: Vec<&str> = trials.iter().map(|trial| trial.fold.as_str()).collect();
        let mut repeated: Vec<&str> = folds.clone();
        repeated.retain(|fold| folds.iter().filter(|other| *other == fold).count() > 1);
        repeated.dedup();
        if folds.len() > 1 {
            repeated.push(MEAN);
        }
        let mut of = Self::default();
        for slice in slices {
            for fold in &repeated {
                let counts = units.counts(fold, slice).into_iter();
                let place = (first.name.clone(), (*fold).to_owned());
                of.counts.entry(place).or_default().extend(counts);
            }
            let differences = request.differences.as_ref().filter(|of| of.has_slice(slice));
            let mut is_drawn = false;
            for fold in &request.intervals {
                let place = (first.name.clone(), fold.clone());
                let intervals = of.intervals.entry(place).or_default();
                let place = (fold.as_str(), slice.as_str());
                if let Some(draws) = units.draw(bootstrap, place, &has_paired_test) {
                    intervals.extend(draws.intervals());
                    // The differences need some of the same resampled means.
                    if let Some(differences) = differences.filter(|of| of.fold == *fold) {
                        let is_wanted = |cell: &MeasureKey| differences.has_cell(cell);
                        of.draws.add_drawn(&first.name, &draws, &is_wanted);
                        is_drawn = true;
                    }
                }
                intervals.extend(units.intervals_of_others(bootstrap, fold, slice));
            }
            if let Some(differences) = differences.filter(|_| !is_drawn) {
                let place = (differences.fold.as_str(), slice.as_str());
                let is_wanted = |cell: &MeasureKey| differences.has_cell(cell);
                of.draws.add(&first.name, &units, bootstrap, place, &is_wanted);
            }
            if request.distributions {
                let of_system = of.distributions.entry(first.name.clone()).or_default();
                of_system.extend(units.distributions(MEAN, slice));
            }
        }
        Ok(Some((of, units.narrowed(&request.kept))))
    }

    /// Adds that of another system, or of the same system in another variant.
    fn extend(&mut self, other: Self) {
        for (place, counts) in other.counts {
            self.counts.entry(place).or_default().extend(counts);
        }
        for (place, intervals) in other.intervals {
            self.intervals.entry(place).or_default().extend(intervals);
        }
        self.draws.extend(other.draws);
        for (system, of) in other.distributions {
            self.distributions.entry(system).or_default().extend(of);
        }
    }
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
    let systems = indices_by_system(trials);
    systems.into_iter().map(|of| of.into_iter().map(|at| trials[at]).collect()).collect()
}

/// The same as indices.
fn indices_by_system(trials: &[&TrialRecord]) -> Vec<Vec<usize>> {
    let (mut systems, mut known): (Vec<Vec<usize>>, HashMap<_, usize>) = Default::default();
    for (at, trial) in trials.iter().enumerate() {
        let system = *known.entry((trial.variant, &trial.name)).or_insert_with(|| {
            systems.push(Vec::new());
            systems.len() - 1
        });
        systems[system].push(at);
    }
    systems
}

/// Reads every unit's values of all trials of a system in these columns.
pub fn units_of(
    trials: &[&TrialRecord],
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    columns: Columns,
) -> Result<Units, FileError> {
    let read: Vec<_> =
        trials.par_iter().map(|trial| experiment.measurements(workspace, trial, columns)).collect();
    let mut units = Units::default();
    for (trial, cells) in trials.iter().zip(read) {
        units.add(&trial.fold, cells?);
        units.is_fixed = experiment.variants[trial.variant].systems[trial.system].is_fixed();
    }
    Ok(units)
}

/// Warnings that steps left in their records: whose, and a sentence. What several trials say is said once.
fn warnings(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    currencies: &Currencies,
) -> Vec<(String, String)> {
    let mut warnings: Vec<(Vec<String>, String)> = Vec::new();
    let mut read: HashMap<usize, Vec<String>> = HashMap::new();
    for trial in &experiment.trials {
        let steps = [Some(trial.split), trial.fit, Some(trial.predictions), Some(trial.evaluate)];
        for step in steps.into_iter().flatten() {
            let name = match step == trial.split {
                true => experiment.steps[step].label.clone(),
                false => format!("{} {}", trial.name, trial.fold),
            };
            let of_step = || match currencies.record(StepId::new(step)) {
                Some(record) => record.warnings.clone(),
                None => match experiment.record(workspace, step) {
                    Ok(record) => record.warnings,
                    // What it warned of is lost.
                    Err(error @ FileError::Damaged { .. }) => vec![error.to_string()],
                    Err(FileError::Io { .. }) => Vec::new(),
                },
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

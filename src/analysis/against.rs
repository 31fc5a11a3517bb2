//! Systems of an experiment against a reference: which differences of a table are significant. The tests are those of
//! `assay compare`.

use std::collections::HashMap;

use rayon::prelude::*;

use super::{Bootstrap, Paired, ResultRow, Test, compare, holm, trials_by_system, units_of};
use crate::{
    base::{files::FileError, text::grouped},
    core::{Better, Columns, MeasureKey, Workspace},
    tasks::{ExperimentRecord, TrialRecord, metric},
};

/// The share of false alarms among tests where there is no difference: corrected p-values below it are significant.
pub const ALPHA: f64 = 0.05;

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    pub measure: MeasureKey,
    pub slice: String,
    /// A fold's name, or `mean`.
    pub fold: String,
}

impl Place {
    /// Whether a row is of this column.
    pub fn holds(&self, row: &ResultRow) -> bool {
        self.measure.k == row.k
            && self.measure.metric == row.metric
            && self.fold == row.fold
            && self.slice == row.slice
            && self.measure.protocol == row.protocol
            && self.measure.convention == row.convention
    }
}

/// Paired differences of systems to a reference, with p corrected by Holm for all of them.
#[derive(Clone, Debug, Default)]
pub struct Against {
    pub reference: String,
    pub cells: Vec<AgainstCell>,
    by_place: HashMap<(String, Place), usize>,
}

/// The difference of one system to the reference in one column.
#[derive(Clone, Debug)]
pub struct AgainstCell {
    pub system: String,
    pub place: Place,
    /// The reference is its first.
    pub paired: Paired,
    /// Corrected; none if the test says nothing.
    pub p: Option<f64>,
}

impl AgainstCell {
    pub fn is_significant(&self) -> bool {
        self.p.is_some_and(|p| p < ALPHA)
    }
}

/// The best system in a column; no oracle, and no system whose language model did not respond.
pub fn best_of(rows: &[ResultRow], place: &Place, is_in: &dyn Fn(&str) -> bool) -> Option<String> {
    let info = metric(&place.measure.metric)?;
    let rows = rows.iter().filter(|row| {
        !row.knows_test
            && !row.lacks_responses
            && !row.one_of_several
            && is_in(&row.system)
            && place.holds(row)
    });
    let values: Vec<(&str, f64)> =
        rows.filter_map(|row| Some((row.system.as_str(), row.value?))).collect();
    let best = info.best(values.iter().map(|(_, value)| *value))?;
    values.iter().find(|(_, value)| *value == best).map(|(name, _)| (*name).to_owned())
}

/// Compares `systems` with `reference` in each column. Oracles, and numbers with another fingerprint than the
/// reference's, are not compared. `resamples`: of the bootstrap for intervals; 0: none.
pub fn against(
    experiment: &ExperimentRecord,
    workspace: &Workspace,
    rows: &[ResultRow],
    (reference, systems): (&str, &[String]),
    places: &[Place],
    bootstrap: Bootstrap,
) -> Result<Against, FileError> {
    // By system and place.
    let mut fingerprints: HashMap<&str, Vec<Option<&ResultRow>>> = HashMap::new();
    for row in rows.iter().filter(|row| !row.one_of_several) {
        if row.system != reference && !systems.contains(&row.system) {
            continue;
        }
        if let Some(at) = places.iter().position(|place| place.holds(row)) {
            let of = fingerprints.entry(&row.system).or_insert_with(|| vec![None; places.len()]);
            of[at] = Some(row);
        }
    }
    let row_of = |system: &str, at: usize| fingerprints.get(system).and_then(|of| of[at]);
    let done: std::collections::HashSet<(&str, &str, &str)> =
        rows.iter().map(|row| (&*row.system, &*row.fold, &*row.seed)).collect();
    let mut keys: Vec<MeasureKey> = places.iter().map(|place| place.measure.clone()).collect();
    keys.sort();
    keys.dedup();
    let units = |name: &str| {
        let has_result = |trial: &&TrialRecord| {
            let seed = trial.seed.to_string();
            trial.name == name && done.contains(&(&*trial.name, &*trial.fold, &*seed))
        };
        let trials: Vec<&TrialRecord> = experiment.trials.iter().filter(has_result).collect();
        // Systems of one name cannot be told apart.
        match trials_by_system(&trials).len() {
            1 => units_of(&trials, experiment, workspace, Columns::Of(&keys)).map(Some),
            _ => Ok(None),
        }
    };
    let mut of = Against { reference: reference.to_owned(), ..Against::default() };
    let Some(of_reference) = units(reference)? else { return Ok(of) };
    let mut groups: Vec<(&str, &str)> = Vec::new();
    for place in places {
        if !groups.contains(&(&place.fold, &place.slice)) {
            groups.push((&place.fold, &place.slice));
        }
    }
    let of_system = |system: &String| -> Result<Vec<AgainstCell>, FileError> {
        let mut cells = Vec::new();
        let comparable: Vec<&Place> = places
            .iter()
            .enumerate()
            .filter(|(at, _)| {
                let (a, b) = (row_of(reference, *at), row_of(system, *at));
                a.zip(b).is_some_and(|(a, b)| a.fingerprint == b.fingerprint && !b.knows_test)
            })
            .map(|(_, place)| place)
            .collect();
        if comparable.is_empty() {
            return Ok(cells);
        }
        let Some(of_system) = units(system)? else { return Ok(cells) };
        for (fold, slice) in &groups {
            let wanted = |key: &MeasureKey| {
                comparable.iter().any(|place| {
                    place.measure == *key && place.fold == **fold && place.slice == **slice
                })
            };
            let found = compare([&of_reference, &of_system], (fold, slice), &wanted, bootstrap);
            cells.extend(found.into_iter().map(|paired| AgainstCell {
                system: system.clone(),
                place: Place {
                    measure: paired.measure.clone(),
                    slice: (*slice).to_owned(),
                    fold: (*fold).to_owned(),
                },
                paired,
                p: None,
            }));
        }
        Ok(cells)
    };
    let others: Vec<&String> = systems.iter().filter(|system| *system != reference).collect();
    let found: Result<Vec<Vec<AgainstCell>>, FileError> =
        others.par_iter().map(|system| of_system(system)).collect();
    of.cells = found?.into_iter().flatten().collect();
    let pairs: Vec<&Paired> = of.cells.iter().map(|cell| &cell.paired).collect();
    let p = corrected(&pairs);
    of.cells.iter_mut().zip(p).for_each(|(cell, p)| cell.p = p);
    let places = of.cells.iter().enumerate();
    of.by_place =
        places.map(|(at, cell)| ((cell.system.clone(), cell.place.clone()), at)).collect();
    Ok(of)
}

impl Against {
    /// The comparison of a cell; none if there is none.
    pub fn cell(&self, system: &str, place: &Place) -> Option<&AgainstCell> {
        let at = self.by_place.get(&(system.to_owned(), place.clone()))?;
        self.cells.get(*at)
    }

    /// Number of comparisons that a test says something of.
    pub fn tested(&self) -> usize {
        self.cells.iter().filter(|cell| cell.p.is_some()).count()
    }

    /// `paired t test over 943 users (3,717 user-fold pairs), corrected by Holm for 8 comparisons`
    pub fn describe(&self) -> String {
        let range = |of: fn(&Paired) -> usize| -> (usize, usize) {
            let tested = || self.cells.iter().filter(|cell| cell.p.is_some());
            let all = || tested().map(|cell| of(&cell.paired));
            (all().min().unwrap_or(0), all().max().unwrap_or(0))
        };
        let text = |(least, most): (usize, usize)| match least == most {
            true => grouped(least),
            false => format!("{} to {}", grouped(least), grouped(most)),
        };
        let (users, pairs) = (range(|of| of.n), range(|of| of.pairs));
        let of_pairs = match users == pairs {
            true => String::new(),
            false => format!(" ({} user-fold pairs)", text(pairs)),
        };
        let n = self.tested();
        format!(
            "{} over {} users{of_pairs}, corrected by Holm for {} comparison{}",
            Test::default().name(),
            text(users),
            grouped(n),
            if n == 1 { "" } else { "s" }
        )
    }

    /// One sentence below a table: what was tested, on how many users, corrected for how many comparisons. `mark`
    /// is what stands beside values that differ.
    pub fn sentence(&self, mark: &str, shown: &str) -> String {
        match (self.tested(), self.cells.iter().any(AgainstCell::is_significant)) {
            (0, _) => format!("No difference to {shown} can be tested."),
            (_, true) => {
                format!("{mark} differs from {shown} (p < {ALPHA}; {}).", self.describe())
            }
            (_, false) => {
                format!("No value differs from {shown} at p < {ALPHA} ({}).", self.describe())
            }
        }
    }
}

/// p of each comparison by the default test, corrected by Holm for the number of those that have one.
pub fn corrected(pairs: &[&Paired]) -> Vec<Option<f64>> {
    let p: Vec<Option<f64>> = pairs.iter().map(|paired| paired.p(Test::default())).collect();
    let known: Vec<f64> = p.iter().flatten().copied().collect();
    let mut corrected = holm(&known).into_iter();
    p.iter().map(|p| p.and_then(|_| corrected.next())).collect()
}

/// Whether a metric can be tested by user: a mean over users of which a value is better.
pub fn is_testable(name: &str) -> bool {
    metric(name).is_some_and(|of| {
        of.better != Better::Neither && of.aggregate == crate::core::Aggregate::Mean
    })
}

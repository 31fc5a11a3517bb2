//! Every system against a reference: paired differences over the same users, as `assay compare` has them.

use rayon::prelude::*;
use serde::Serialize;

use super::{Source, number, p_text, provenance::named, signed, signed_interval};
use crate::{
    analysis::{ALPHA, Bootstrap, LEVEL, MEAN, Paired, ResultRow, Test, Units, compare, corrected},
    base::text::grouped,
    core::{Better, MeasureKey},
    tasks::metric,
};

/// With more pairs of systems, other references are left to `assay compare`.
const MOST_PAIRS: usize = 60;

#[derive(Serialize)]
pub struct Comparisons {
    /// `nDCG@10`
    pub metric: String,
    pub setting: String,
    /// The best system first.
    pub references: Vec<Reference>,
    pub level: String,
    /// Systems that do not compare, as they have other fingerprints.
    pub left_out: Vec<String>,
    /// Systems that are no reference on the page.
    pub more: usize,
    pub command: String,
}

#[derive(Serialize)]
pub struct Reference {
    pub system: String,
    pub value: String,
    /// Whether it is the one that the page opens with: the declared one, or the best.
    pub is_shown: bool,
    /// What was tested, on how many users, and how it was corrected.
    pub tested: String,
    pub notes: Vec<String>,
    pub rows: Vec<Compared>,
}

/// A system, compared with the reference.
#[derive(Clone, Serialize)]
pub struct Compared {
    pub system: String,
    /// Means of both over the users that both have.
    pub value: String,
    pub reference_value: String,
    pub difference: String,
    /// In full precision, for sorting.
    pub exact: f64,
    pub interval: Option<String>,
    pub p: Option<String>,
    pub verdict: Verdict,
    /// Users for whom the system is better, equal and worse.
    pub wins: String,
    pub users: String,
    pub by_fold: Vec<(String, String)>,
    #[serde(skip)]
    pub paired: Paired,
    #[serde(skip)]
    pub corrected: Option<f64>,
}

/// What a corrected test says of a system beside its reference.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Better,
    Worse,
    NotDistinguishable,
    NotTested,
}

impl Verdict {
    pub fn of(paired: &Paired, corrected: Option<f64>) -> Self {
        let is_lower_better =
            metric(&paired.measure.metric).is_some_and(|of| of.better == Better::Lower);
        match corrected {
            None => Self::NotTested,
            Some(p) if p >= ALPHA => Self::NotDistinguishable,
            Some(_) if (paired.difference() > 0.0) != is_lower_better => Self::Better,
            Some(_) => Self::Worse,
        }
    }
}

/// `p: paired t test over 943 users (3,717 user-fold pairs), corrected by Holm for 4 comparisons.`
pub fn tested(pairs: &[&Paired]) -> String {
    let range = |of: fn(&Paired) -> usize| -> String {
        let counts = || pairs.iter().map(|paired| of(paired));
        let (least, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        match least == most {
            true => grouped(least),
            false => format!("{} to {}", grouped(least), grouped(most)),
        }
    };
    let n = pairs.iter().filter(|paired| paired.p(Test::default()).is_some()).count();
    format!(
        "p: {} over {} users ({} user-fold pairs), corrected by Holm for {n} {}.",
        Test::default().name(),
        range(|of| of.n),
        range(|of| of.pairs),
        if n == 1 { "comparison" } else { "comparisons" }
    )
}

/// What is to be known of paired tests.
pub fn notes(pairs: &[&Paired]) -> Vec<String> {
    const FEW_TO_TEST: usize = 100;
    let mut notes = Vec::new();
    let detectable =
        pairs.iter().filter_map(|of| of.estimate?.detectable(ALPHA, 0.8)).fold(0.0, f64::max);
    if detectable > 0.0 {
        notes.push(format!(
            "Alone, a true difference of {detectable:.4} would be found in 80 % of cases."
        ));
    }
    let unpaired = pairs.iter().map(|of| of.unpaired).max().unwrap_or(0);
    if unpaired > 0 {
        notes.push(format!(
            "Up to {} user-fold pairs have a value for one of the two systems alone and are left out: means are over the \
             users that both have.",
            grouped(unpaired)
        ));
    }
    if pairs.iter().any(|of| of.by_fold.len() < 2) {
        notes.push("There is one fold alone: nothing is said of other splits.".into());
    }
    if pairs.iter().any(|of| of.n < FEW_TO_TEST) {
        notes.push(format!(
            "Over fewer than {FEW_TO_TEST} users intervals cover less and tests reject more often than they say, above \
             all if differences are skewed."
        ));
    }
    notes
}

/// The kept values of a system.
pub fn units<'a>(source: &Source<'a>, system: &str) -> Option<&'a Units> {
    let units = source.collected.units.iter();
    units.filter(|(name, _)| name == system).map(|(_, units)| units).next()
}

/// The second less the first, in the main column.
pub fn paired(source: &Source, first: &str, second: &str) -> Option<Paired> {
    let main = &source.main;
    let wanted = |key: &MeasureKey| *key == main.key;
    let both = [units(source, first)?, units(source, second)?];
    compare(both, (MEAN, &main.slice), &wanted, Bootstrap::default()).into_iter().next()
}

impl Compared {
    pub fn new(system: &str, paired: Paired, corrected: Option<f64>) -> Self {
        let [more, equal, less] = paired.wins();
        let is_lower_better =
            metric(&paired.measure.metric).is_some_and(|of| of.better == Better::Lower);
        let [better, worse] = if is_lower_better { [less, more] } else { [more, less] };
        let by_fold = paired.by_fold.iter().map(|(fold, of)| (fold.clone(), signed(*of)));
        Self {
            system: system.to_owned(),
            value: number(Some(paired.second)),
            reference_value: number(Some(paired.first)),
            difference: signed(paired.difference()),
            exact: paired.difference(),
            interval: signed_interval(paired.interval),
            p: corrected.map(p_text),
            verdict: Verdict::of(&paired, corrected),
            wins: format!("{}/{}/{}", grouped(better), grouped(equal), grouped(worse)),
            users: grouped(paired.n),
            by_fold: by_fold.collect(),
            paired,
            corrected,
        }
    }
}

impl Comparisons {
    /// None for fewer than two systems with values by user.
    pub fn new(source: &Source) -> Option<Self> {
        let main = &source.main;
        let info = metric(&main.key.metric)?;
        let mut rows: Vec<&ResultRow> = source.means().collect();
        rows.retain(|row| units(source, &row.system).is_some());
        let may_be_best = |row: &&ResultRow| !row.knows_test && !row.lacks_responses;
        let best =
            info.best(rows.iter().filter(|row| may_be_best(row)).filter_map(|row| row.value))?;
        let first = *rows.iter().find(|row| may_be_best(row) && row.value == Some(best))?;
        let left_out = rows.iter().filter(|row| row.fingerprint != first.fingerprint);
        let left_out: Vec<String> = left_out.map(|row| row.system.clone()).collect();
        rows.retain(|row| row.fingerprint == first.fingerprint);
        // The best first, then the declared reference, what is proposed, and the others by their values.
        let mut references: Vec<&ResultRow> = rows.clone();
        let proposed = &source.experiment.audit.proposed;
        let declared = source.experiment.report.reference.as_deref();
        let declared = declared.filter(|name| rows.iter().any(|row| row.system == *name));
        let is_declared = |system: &str| declared == Some(system);
        let is_proposed =
            |system: &str| proposed.iter().any(|name| crate::tasks::names_system(name, system));
        let sign = if info.better == Better::Lower { 1.0 } else { -1.0 };
        references.sort_by(|a, b| {
            let place = |row: &ResultRow| {
                let (is_best, may_be) = (row.system == first.system, may_be_best(&row));
                (!is_best, !is_declared(&row.system), !may_be, !is_proposed(&row.system))
            };
            let value = |row: &ResultRow| sign * row.value.unwrap_or(f64::NEG_INFINITY * -sign);
            place(a).cmp(&place(b)).then(value(a).total_cmp(&value(b)))
        });
        let others = rows.len().checked_sub(1).filter(|n| *n > 0)?;
        let n = (MOST_PAIRS / others).clamp(1, references.len());
        let more = references.len() - n;
        let references = references[..n]
            .par_iter()
            .filter_map(|row| {
                let of = rows.par_iter().filter(|other| other.system != row.system);
                let pairs: Vec<(&str, Paired)> = of
                    .filter_map(|other| {
                        let paired = paired(source, &row.system, &other.system)?;
                        Some((&*other.system, paired))
                    })
                    .collect();
                let all: Vec<&Paired> = pairs.iter().map(|(_, paired)| paired).collect();
                let p = corrected(&all);
                let (tested, notes) = (tested(&all), notes(&all));
                let compared = pairs.into_iter().zip(p);
                let rows: Vec<Compared> =
                    compared.map(|((name, paired), p)| Compared::new(name, paired, p)).collect();
                let system = row.system.clone();
                let value = number(row.value);
                let is_shown = system == declared.unwrap_or(&first.system);
                let of = Reference { system, value, is_shown, tested, notes, rows };
                (!of.rows.is_empty()).then_some(of)
            })
            .collect::<Vec<Reference>>();
        let is_first = source.experiment.variants.first()?.slices.first() == Some(&main.slice);
        let slice = if is_first { String::new() } else { format!(" --slice '{}'", main.slice) };
        (!references.is_empty()).then(|| Self {
            metric: main.metric(),
            setting: main.setting(),
            references,
            level: format!("{:.0} %", 100.0 * LEVEL),
            left_out,
            more,
            command: format!("assay compare {}{slice} --reference SYSTEM", named(source)),
        })
    }
}

//! Ablations: what one factor changes, as differences between two systems.

use rayon::prelude::*;
use serde::Serialize;

use super::{
    Source,
    comparisons::{Compared, notes, paired, tested},
    number,
};
use crate::{
    analysis::{Paired, corrected},
    base::text::distinct,
    tasks::{levels, names_system},
};

/// With more pairs that differ in one factor, they must be declared.
const MOST_FOUND: usize = 40;

#[derive(Serialize)]
pub struct Ablations {
    pub metric: String,
    pub setting: String,
    /// Whether `audit: contrasts` names them; else they are the pairs of swept systems that differ in one value.
    pub declared: bool,
    pub folds: Vec<String>,
    pub rows: Vec<Contrast>,
    pub tested: String,
    pub notes: Vec<String>,
    /// Declared contrasts without values of the same users.
    pub not_compared: Vec<String>,
}

#[derive(Serialize)]
pub struct Contrast {
    pub factor: String,
    pub first: String,
    pub first_value: String,
    pub of: Compared,
    /// By fold, in the order of [`Ablations::folds`]; a dash where it has none.
    pub by_fold: Vec<String>,
}

/// Two systems and the factor they differ in.
struct Arms {
    factor: String,
    first: String,
    second: String,
}

impl Ablations {
    pub fn new(source: &Source) -> Option<Self> {
        let declared = &source.experiment.audit.contrasts;
        let systems = distinct(source.means().map(|row| row.system.as_str()));
        let mut not_compared = Vec::new();
        let arms: Vec<Arms> = match declared.is_empty() {
            true => {
                let mut arms = found(&systems);
                arms.retain(|of| is_comparable(source, of));
                arms
            }
            false => {
                let mut arms = Vec::new();
                for contrast in declared {
                    let of = contrast.arms.iter().map(|name| one_of(&systems, name));
                    let of: Vec<Option<&String>> = of.collect();
                    let (Some((first, others)), Some((first_name, names))) =
                        (of.split_first(), contrast.arms.split_first())
                    else {
                        continue;
                    };
                    for (second, name) in others.iter().zip(names) {
                        match (first, second) {
                            (Some(first), Some(second)) => arms.push(Arms {
                                factor: contrast.factor.join(", "),
                                first: (*first).clone(),
                                second: (*second).clone(),
                            }),
                            _ => not_compared.push(format!("{first_name} and {name}")),
                        }
                    }
                }
                arms
            }
        };
        let pair = |of| is_comparable(source, of).then(|| paired(source, &of.first, &of.second));
        let pairs: Vec<(&Arms, Option<Paired>)> =
            arms.par_iter().map(|of| (of, pair(of).flatten())).collect();
        let mut compared: Vec<(&Arms, Paired)> = Vec::new();
        for (of, paired) in pairs {
            match paired {
                Some(paired) => compared.push((of, paired)),
                None => not_compared.push(format!("{} and {}", of.first, of.second)),
            }
        }
        if compared.is_empty() && not_compared.is_empty() {
            return None;
        }
        let all: Vec<&Paired> = compared.iter().map(|(_, paired)| paired).collect();
        let p = corrected(&all);
        let (tested, notes) = (tested(&all), notes(&all));
        let folds = distinct(all.iter().flat_map(|of| of.by_fold.iter().map(|(fold, _)| fold)));
        let rows = compared.into_iter().zip(p).map(|((arms, paired), p)| {
            let first_value = number(Some(paired.first));
            let of = Compared::new(&arms.second, paired, p);
            let by_fold = folds.iter().map(|fold| {
                let found = of.by_fold.iter().find(|(name, _)| name == fold);
                found.map_or("–".into(), |(_, difference)| difference.clone())
            });
            Contrast {
                factor: arms.factor.clone(),
                first: arms.first.clone(),
                first_value,
                by_fold: by_fold.collect(),
                of,
            }
        });
        Some(Self {
            metric: source.main.metric(),
            setting: source.main.setting(),
            declared: !declared.is_empty(),
            rows: rows.collect(),
            folds,
            tested,
            notes,
            not_compared,
        })
    }
}

/// Whether two systems were measured on the same data, split and rules.
fn is_comparable(source: &Source, of: &Arms) -> bool {
    let fingerprint = |system: &str| {
        source.means().find(|row| row.system == system).map(|row| row.fingerprint.clone())
    };
    fingerprint(&of.first).is_some_and(|first| fingerprint(&of.second) == Some(first))
}

/// The one system that a name stands for.
fn one_of<'a>(systems: &'a [String], name: &str) -> Option<&'a String> {
    if let Some(system) = systems.iter().find(|system| *system == name) {
        return Some(system);
    }
    let mut named = systems.iter().filter(|system| names_system(name, system));
    named.next().filter(|_| named.next().is_none())
}

/// The base of a swept system, and its levels by name.
type Levels<'a> = (&'a str, Vec<(&'a str, &'a str)>);

/// Pairs of swept systems that differ in one value.
fn found(systems: &[String]) -> Vec<Arms> {
    let levels_of = |system| Some(levels(system)).filter(|(_, levels)| !levels.is_empty());
    let levels: Vec<Option<Levels>> = systems.iter().map(|system| levels_of(system)).collect();
    let mut arms = Vec::new();
    for (at, first) in levels.iter().enumerate() {
        for (to, second) in levels.iter().enumerate().skip(at + 1) {
            let (Some((base, a)), Some((other, b))) = (first, second) else { continue };
            let same_keys = a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.0 == b.0);
            let mut differ = a.iter().zip(b).filter(|(a, b)| a.1 != b.1);
            if base == other
                && same_keys
                && let (Some((key, _)), None) = (differ.next(), differ.next())
            {
                let (first, second) = (systems[at].clone(), systems[to].clone());
                arms.push(Arms { factor: key.0.to_owned(), first, second });
            }
        }
    }
    if arms.len() > MOST_FOUND {
        arms.clear();
    }
    arms
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swept_systems_that_differ_in_one_value_are_contrasts() {
        let systems = ["als[f=1,a=[2,3]]", "als[f=1,a=[4]]", "als[f=2,a=[4]]", "ease", "als"];
        let systems = systems.map(str::to_owned);
        let arms = found(&systems);
        let arms: Vec<(&str, &str, &str)> =
            arms.iter().map(|of| (&*of.factor, &*of.first, &*of.second)).collect();
        assert_eq!(
            arms,
            [
                ("a", "als[f=1,a=[2,3]]", "als[f=1,a=[4]]"),
                ("f", "als[f=1,a=[4]]", "als[f=2,a=[4]]")
            ]
        );
    }
}

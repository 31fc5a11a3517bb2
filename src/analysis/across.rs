//! Systems compared over several data sets.

use serde::Serialize;

use super::{
    Collected, CriticalDifference, Friedman, MEAN,
    friedman::{FEWEST_BLOCKS, FEWEST_SYSTEMS},
};
use crate::{
    base::{hash::Digest, text::distinct},
    core::{Better, MeasureKey},
    tasks::{ExperimentRecord, metric},
};

/// A data set, with the means of its systems in one column.
#[derive(Clone, Debug)]
pub struct Block {
    /// Name of the data set.
    pub data: String,
    pub digest: Digest,
    /// Where it comes from: an experiment, with the label of a variant.
    pub from: String,
    /// Means over folds and seeds, by system.
    pub values: Vec<(String, f64)>,
}

/// Why blocks or systems cannot be tested.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum NotBlocks {
    #[error(
        "{first} and {second} have the same data ({data})\n  = note: blocks of the Friedman test are data sets: folds, \
         splits and settings of one data set share its ratings, so their ranks are not independent and p would be too \
         small; data that an experiment file describes are named after their folder\n  = help: compare them by their \
         users, without `--across`; keep other data in a folder of another name"
    )]
    SameData { data: String, first: String, second: String },
    #[error(
        "the results are of {0}, and the Friedman test needs {FEWEST_BLOCKS} data sets or more\n  = note: folds of one data \
         set are no blocks: they share its ratings, so their ranks are not independent and p would be too small\n  = \
         help: give experiments with other data, or compare by users, without `--across`"
    )]
    TooFewData(String),
    #[error(
        "{0} on all data sets, and the Friedman test needs {FEWEST_SYSTEMS} systems or more{1}\n  = help: systems are \
         matched by their names; compare two of them by users, without `--across`"
    )]
    TooFewSystems(String, String),
    #[error("`{0}` describes lists: no value of it is better than another")]
    NoDirection(String),
    #[error("all systems have equal values on every data set")]
    AllEqual,
}

/// Systems ranked over data sets in one column.
#[derive(Clone, Debug, Serialize)]
pub struct Across {
    #[serde(flatten)]
    pub key: MeasureKey,
    pub slice: String,
    pub data: Vec<String>,
    pub systems: Vec<String>,
    /// `[data][systems]`.
    pub values: Vec<Vec<f64>>,
    /// Systems without a value on some data set.
    pub left_out: Vec<String>,
    #[serde(flatten)]
    pub friedman: Friedman,
    pub alpha: f64,
    pub critical_difference: CriticalDifference,
    /// `[systems][systems]`: p of Nemenyi's test.
    pub nemenyi_p: Vec<Vec<f64>>,
}

impl Block {
    /// The blocks of an experiment: one for each of its data sets. Oracles, and rerankers without a usable response, are
    /// none of its systems.
    pub fn of(
        record: &ExperimentRecord,
        collected: &Collected,
        key: &MeasureKey,
        slice: &str,
    ) -> Vec<Self> {
        let of_variant = |(at, variant): (usize, &crate::tasks::VariantRecord)| {
            let trials = record.trials.iter().filter(|trial| trial.variant == at);
            let mut values: Vec<(String, f64)> = Vec::new();
            for trial in trials {
                let name = &record.system(trial).name;
                let row = collected.rows.iter().find(|row| {
                    row.system == trial.name
                        && (row.fold == MEAN && row.slice == slice)
                        && (&row.protocol, &row.convention) == (&key.protocol, &key.convention)
                        && (&row.metric, row.k) == (&key.metric, key.k)
                });
                let row = row.filter(|row| !row.knows_test && !row.lacks_responses);
                let is_new = values.iter().all(|(known, _)| known != name);
                if let (Some(value), true) = (row.and_then(|row| row.value), is_new) {
                    values.push((name.clone(), value));
                }
            }
            Self {
                data: variant.data.clone(),
                digest: variant.data_digest,
                from: format!("{}{}", record.slot(), variant.label),
                values,
            }
        };
        record.variants.iter().enumerate().map(of_variant).collect()
    }
}

impl Across {
    /// The tests of one column; `is_asked` chooses systems by name.
    pub fn new(
        (key, slice): (&MeasureKey, &str),
        blocks: &[Block],
        is_asked: &dyn Fn(&str) -> bool,
        alpha: f64,
    ) -> Result<Self, NotBlocks> {
        for (at, block) in blocks.iter().enumerate() {
            let is_same = |of: &&Block| of.digest == block.digest || of.data == block.data;
            if let Some(first) = blocks[..at].iter().find(is_same) {
                return Err(NotBlocks::SameData {
                    data: block.data.clone(),
                    first: first.from.clone(),
                    second: block.from.clone(),
                });
            }
        }
        if blocks.len() < FEWEST_BLOCKS {
            let names: Vec<&str> = blocks.iter().map(|of| of.data.as_str()).collect();
            return Err(NotBlocks::TooFewData(match names[..] {
                [only] => format!("one data set ({only})"),
                _ => "no data set".into(),
            }));
        }
        let value = |block: &Block, name: &str| {
            block.values.iter().find(|(of, _)| of == name).map(|(_, value)| *value)
        };
        let names = blocks.iter().flat_map(|of| of.values.iter().map(|(name, _)| name.as_str()));
        let names: Vec<String> =
            distinct(names).into_iter().filter(|name| is_asked(name)).collect();
        let (systems, left_out): (Vec<String>, Vec<String>) =
            names.into_iter().partition(|name| blocks.iter().all(|of| value(of, name).is_some()));
        if systems.len() < FEWEST_SYSTEMS {
            let have = match &systems[..] {
                [] => "no system has a value".to_owned(),
                [only] => format!("only {only} has a value"),
                several => format!("only {} have values", several.join(" and ")),
            };
            let also = match left_out.is_empty() {
                true => String::new(),
                false => format!(" (not on all: {})", left_out.join(", ")),
            };
            return Err(NotBlocks::TooFewSystems(have, also));
        }
        let sign = match metric(&key.metric).map(|of| of.better) {
            Some(Better::Neither) => return Err(NotBlocks::NoDirection(key.metric.clone())),
            Some(Better::Lower) => -1.0,
            _ => 1.0,
        };
        let values: Vec<Vec<f64>> = blocks
            .iter()
            .map(|block| systems.iter().filter_map(|name| value(block, name)).collect())
            .collect();
        let signed: Vec<Vec<f64>> =
            values.iter().map(|of| of.iter().map(|value| sign * value).collect()).collect();
        let friedman = Friedman::new(&signed).ok_or(NotBlocks::AllEqual)?;
        let k = systems.len();
        let nemenyi_p =
            (0..k).map(|a| (0..k).map(|b| friedman.nemenyi_p(a, b)).collect()).collect();
        Ok(Self {
            key: key.clone(),
            slice: slice.to_owned(),
            data: blocks.iter().map(|of| of.data.clone()).collect(),
            critical_difference: friedman.critical_difference(&systems, alpha),
            systems,
            values,
            left_out,
            friedman,
            alpha,
            nemenyi_p,
        })
    }

    /// The least p that so many data sets can give for so many systems: that of one order on all of them.
    pub fn least_p(&self) -> Option<f64> {
        let order: Vec<f64> = (0..self.systems.len()).map(|at| at as f64).collect();
        Some(Friedman::new(&vec![order; self.data.len()])?.exact_or_approximate())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(metric: &str) -> MeasureKey {
        MeasureKey {
            protocol: "full".into(),
            convention: "standard".into(),
            metric: metric.into(),
            k: 10,
        }
    }

    fn block(data: &str, values: &[(&str, f64)]) -> Block {
        Block {
            data: data.into(),
            digest: Digest::of(data),
            from: format!("{data}.yaml"),
            values: values.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
        }
    }

    fn three(data: &str) -> Block {
        block(data, &[("a", 0.1), ("b", 0.3), ("c", 0.2)])
    }

    fn tested(metric: &str, blocks: &[Block]) -> Result<Across, NotBlocks> {
        Across::new((&key(metric), "all"), blocks, &|_| true, 0.05)
    }

    #[test]
    fn systems_of_all_data_sets_are_ranked_and_others_are_named() {
        let mut second = three("y");
        second.values.push(("d".into(), 0.9));
        let found = tested("ndcg", &[three("x"), second]).unwrap();
        assert_eq!((found.systems.len(), &found.left_out[..]), (3, &["d".to_owned()][..]));
        assert_eq!(found.critical_difference.systems, ["b", "c", "a"]);
        assert_eq!(found.friedman.ranks, [3.0, 1.0, 2.0]);
        // One order on two data sets: χ² = 4 with 2 degrees of freedom, p = exp(−2).
        assert!((found.friedman.p - (-2f64).exp()).abs() < 1e-12);
        // Of 36 pairs of orders 6 are equal.
        assert!((found.friedman.p_exact.unwrap() - 1.0 / 6.0).abs() < 1e-12);
        assert_eq!(found.least_p(), found.friedman.p_exact);
    }

    #[test]
    fn folds_of_one_data_set_are_no_blocks() {
        let error = tested("ndcg", &[three("x"), three("x")]).unwrap_err().to_string();
        assert!(error.contains("x.yaml and x.yaml have the same data (x)"), "{error}");
        let copied = Block { digest: Digest::of("x"), ..three("y") };
        assert!(matches!(tested("ndcg", &[three("x"), copied]), Err(NotBlocks::SameData { .. })));
        let error = tested("ndcg", &[three("x")]).unwrap_err().to_string();
        assert!(error.contains("one data set (x)"), "{error}");
    }

    #[test]
    fn two_systems_and_descriptive_metrics_are_refused() {
        let two = |data: &str| block(data, &[("a", 0.1), ("b", 0.3)]);
        let error = tested("ndcg", &[two("x"), two("y")]).unwrap_err().to_string();
        assert!(error.contains("only a and b have values"), "{error}");
        let found = tested("gini", &[three("x"), three("y")]);
        assert_eq!(found.unwrap_err(), NotBlocks::NoDirection("gini".into()));
    }
}

//! Metrics of one user's list.

use crate::core::{Aggregate, MetricInfo};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Hits ÷ k.
    Precision,
    /// Hits ÷ relevant items.
    Recall,
    /// Discounted cumulative gain with binary gain, ÷ that of an ideal list.
    Ndcg,
    /// Mean of the precision at each hit, ÷ min(k, relevant items).
    Map,
    /// The same ÷ relevant items, as trec_eval and ranx have it.
    MapRel,
    /// 1 ÷ rank of the first hit.
    Mrr,
    /// Whether there is a hit.
    HitRate,
    /// Distinct items in all lists ÷ items of the catalogue.
    ItemCoverage,
    /// Mean of −log2 of the items' share of all training interactions.
    Novelty,
    /// How unequally recommendations fall on the items of the catalogue: 0 equal, 1 all on one.
    Gini,
}

crate::base::names::named!(Metric, "metric", {
    Precision => "precision",
    Recall => "recall",
    Ndcg => "ndcg",
    Map => "map",
    MapRel => "map-rel",
    Mrr => "mrr",
    HitRate => "hit-rate",
    ItemCoverage => "item-coverage",
    Novelty => "novelty",
    Gini => "gini",
});

/// A metric as papers and other tools write it: `nDCG@10`, `HR@10`, `P@5`.
#[derive(Clone, Debug, PartialEq)]
pub struct Spelling {
    pub metric: Metric,
    /// The number behind `@`.
    pub k: Option<usize>,
    /// What was taken, where the spelling means more than one thing.
    pub note: Option<String>,
}

/// Spellings in lower case, with `-` between words, beside the names themselves.
const SPELLINGS: [(&str, Metric); 20] = [
    ("p", Metric::Precision),
    ("prec", Metric::Precision),
    ("r", Metric::Recall),
    ("rec", Metric::Recall),
    ("normalized-dcg", Metric::Ndcg),
    ("ap", Metric::Map),
    ("average-precision", Metric::Map),
    ("mean-average-precision", Metric::Map),
    ("rr", Metric::Mrr),
    ("reciprocal-rank", Metric::Mrr),
    ("mean-reciprocal-rank", Metric::Mrr),
    ("hr", Metric::HitRate),
    ("hit", Metric::HitRate),
    ("hitrate", Metric::HitRate),
    ("hit-ratio", Metric::HitRate),
    ("hitratio", Metric::HitRate),
    ("success", Metric::HitRate),
    ("itemcoverage", Metric::ItemCoverage),
    ("gini-index", Metric::Gini),
    ("giniindex", Metric::Gini),
];

impl std::str::FromStr for Spelling {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, k) = match text.trim().split_once('@') {
            None => (text.trim(), None),
            Some((name, k)) => match k.trim().parse() {
                Ok(k) if k > 0 => (name.trim(), Some(k)),
                _ => return Err(format!("`{text}`: expected a cutoff of 1 or more behind `@`")),
            },
        };
        let plain = name.to_lowercase().replace(['_', ' '], "-");
        let known = SPELLINGS.iter().find(|(spelling, _)| *spelling == plain);
        let metric = match (known, plain.as_str()) {
            (Some((_, metric)), _) => *metric,
            (None, "coverage") => {
                return Err(format!(
                    "`{text}` may mean the share of items that are recommended or the share of users with \
                     recommendations; known is the first, `item-coverage`"
                ));
            }
            (None, _) => plain.parse().map_err(|error| match name == plain {
                true => error,
                false => format!("unknown metric `{name}`; known are {}", Metric::names()),
            })?,
        };
        // The convention decides what other metrics mean, too, but this one has two names here.
        let note = (metric == Metric::Map && name != metric.name()).then(|| {
            format!(
                "`{text}` is read as `map`: what the average precision is divided by depends on the convention \
                 (standard: min(k, relevant items)); `map-rel` always divides by the relevant items"
            )
        });
        Ok(Self { metric, k, note })
    }
}

impl schemars::JsonSchema for Spelling {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metric".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = Metric::ALL.iter().map(|metric| metric.name()).collect();
        // Patterns of JSON Schema cannot ignore the case.
        let letter = |c: char| match c {
            '-' => "[-_ ]".to_owned(),
            c => format!("[{}{c}]", c.to_uppercase()),
        };
        let spelled = names.iter().copied().chain(SPELLINGS.iter().map(|(spelling, _)| *spelling));
        let spelled: Vec<String> = spelled.map(|of| of.chars().map(letter).collect()).collect();
        let pattern = format!("^({})(@[1-9][0-9]*)?$", spelled.join("|"));
        schemars::json_schema!({
            "anyOf": [{"type": "string", "enum": names}, {"type": "string", "pattern": pattern}],
        })
    }
}

impl Spelling {
    /// The cutoffs of several metrics: those of `k`, which must have each that stands behind `@`; without `k`, these.
    pub fn cutoffs<'a>(
        spelled: impl IntoIterator<Item = &'a Self>,
        k: &[usize],
    ) -> Result<Vec<usize>, String> {
        let mut cutoffs = k.to_vec();
        for of in spelled {
            let Some(cutoff) = of.k.filter(|of| !cutoffs.contains(of)) else { continue };
            if !k.is_empty() {
                let given: Vec<String> = k.iter().map(ToString::to_string).collect();
                return Err(format!(
                    "`{}@{cutoff}` has the cutoff {cutoff}, but k is {}",
                    of.metric,
                    given.join(", ")
                ));
            }
            cutoffs.push(cutoff);
        }
        Ok(cutoffs)
    }
}

/// What there is to know of each, in the order of [`Metric::ALL`].
pub const METRICS: [MetricInfo; 10] = [
    MetricInfo::mean("precision", "Precision"),
    MetricInfo::mean("recall", "Recall"),
    MetricInfo::mean("ndcg", "nDCG"),
    MetricInfo::mean("map", "MAP"),
    MetricInfo::mean("map-rel", "MAP (÷ relevant items)"),
    MetricInfo::mean("mrr", "MRR"),
    MetricInfo::mean("hit-rate", "Hit rate"),
    MetricInfo::mean("item-coverage", "Item coverage").described().pooled(),
    MetricInfo::mean("novelty", "Novelty").described(),
    MetricInfo::mean("gini", "Gini").described().pooled(),
];

impl Metric {
    /// The names of all, for messages.
    pub fn names() -> String {
        Self::ALL.iter().map(|metric| metric.name()).collect::<Vec<_>>().join(", ")
    }

    /// What there is to know of it.
    pub fn info(self) -> &'static MetricInfo {
        &METRICS[self as usize]
    }

    /// Metrics of all lists together, which no single user has.
    pub fn is_of_all_lists(self) -> bool {
        self.info().aggregate == Aggregate::Pooled
    }
}

/// The hits of one list up to one cutoff.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Length of the list.
    pub len: usize,
    pub hits: usize,
    /// Σ h_n / log2(n + 1).
    pub dcg: f64,
    /// Σ h_n · (hits up to n) / n.
    pub precision_at_hits: f64,
    /// Rank of the first hit, starting at 1.
    pub first_hit: Option<usize>,
}

/// Tallies of the first `ends[0]`, `ends[1]`, … places of a list, in one pass.
/// `hits` are the places (from 0, ascending) that hold a relevant item; `ends` ascend.
pub fn tallies(hits: &[usize], ends: &[usize], out: &mut Vec<Tally>) {
    out.clear();
    let mut tally = Tally::default();
    let mut hits = hits.iter().peekable();
    for &end in ends {
        while let Some(&place) = hits.next_if(|place| **place < end) {
            tally.hits += 1;
            tally.dcg += 1.0 / ((place + 2) as f64).log2();
            tally.precision_at_hits += tally.hits as f64 / (place + 1) as f64;
            tally.first_hit.get_or_insert(place + 1);
        }
        tally.len = end;
        out.push(tally);
    }
}

/// Sums that every user's metrics look up: at `n`, over the ranks 1 to n.
pub struct Sums {
    /// Σ 1/log2(rank + 1): the DCG of n hits in a row.
    pub discount: Vec<f64>,
    /// Σ 1/log2(max(rank, 2)).
    pub clipped: Vec<f64>,
    /// Σ 1/rank.
    pub harmonic: Vec<f64>,
}

impl Sums {
    /// For ranks up to `last`.
    pub fn up_to(last: usize) -> Self {
        let running = |term: fn(f64) -> f64| {
            let mut sums = vec![0.0];
            for rank in 1..=last {
                sums.push(sums[rank - 1] + term(rank as f64));
            }
            sums
        };
        Self {
            discount: running(|rank| 1.0 / (rank + 1.0).log2()),
            clipped: running(|rank| 1.0 / rank.max(2.0).log2()),
            harmonic: running(|rank| 1.0 / rank),
        }
    }

    /// 1/log2(rank + 1), `rank` from 1.
    pub fn discount_at(&self, rank: usize) -> f64 {
        1.0 / ((rank + 1) as f64).log2()
    }

    /// 1/log2(max(rank, 2)), `rank` from 1.
    pub fn clipped_discount(&self, rank: usize) -> f64 {
        1.0 / (rank.max(2) as f64).log2()
    }
}

/// DCG of `gains` from the highest down: at `n`, of the first `n`.
pub fn ideal_gains(gains: &mut [f64]) -> Vec<f64> {
    gains.sort_unstable_by(|a, b| b.total_cmp(a));
    let mut sums = vec![0.0];
    for (at, gain) in gains.iter().enumerate() {
        sums.push(sums[at] + gain / ((at + 2) as f64).log2());
    }
    sums
}

/// Gini coefficient of counts (sorted here).
pub fn gini(counts: &mut [u32]) -> Option<f64> {
    counts.sort_unstable();
    let n = counts.len() as f64;
    let total: f64 = counts.iter().map(|count| f64::from(*count)).sum();
    if total == 0.0 {
        return None;
    }
    let weighted: f64 =
        counts.iter().enumerate().map(|(at, count)| (at as f64 + 1.0) * f64::from(*count)).sum();
    Some((2.0 * weighted / (n * total) - (n + 1.0) / n).max(0.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_metric_has_its_line() {
        let names: Vec<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names, Metric::ALL.iter().map(|metric| metric.name()).collect::<Vec<_>>());
    }

    #[test]
    fn spellings_of_papers_and_tools_are_read() {
        for (text, metric, k) in [
            ("nDCG@10", Metric::Ndcg, Some(10)),
            ("NDCG", Metric::Ndcg, None),
            ("Recall@20", Metric::Recall, Some(20)),
            ("HR@10", Metric::HitRate, Some(10)),
            ("hit_rate", Metric::HitRate, None),
            ("Hit Rate", Metric::HitRate, None),
            ("MRR", Metric::Mrr, None),
            ("P@5", Metric::Precision, Some(5)),
            ("Precision", Metric::Precision, None),
            ("map_rel@10", Metric::MapRel, Some(10)),
            ("item_coverage", Metric::ItemCoverage, None),
            ("map", Metric::Map, None),
        ] {
            assert_eq!(text.parse(), Ok(Spelling { metric, k, note: None }), "{text}");
        }
        for text in ["MAP@10", "AP", "Map"] {
            let read: Spelling = text.parse().unwrap();
            assert!(read.metric == Metric::Map && read.note.unwrap().contains("`map-rel`"));
        }
        for metric in Metric::ALL {
            let read: Spelling = metric.name().parse().unwrap();
            assert_eq!((read.metric, read.note), (*metric, None));
        }
        for (text, says) in [
            ("coverage", "item-coverage"),
            ("F1", "unknown metric `F1`"),
            ("ndgc", "did you mean `ndcg`?"),
            ("ndcg@", "behind `@`"),
            ("ndcg@0", "behind `@`"),
            ("", "unknown metric"),
        ] {
            let error = text.parse::<Spelling>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn cutoffs_of_metrics_are_those_of_k_or_make_it() {
        let read = |texts: &[&str]| -> Vec<Spelling> {
            texts.iter().map(|text| text.parse().unwrap()).collect()
        };
        let of = |texts: &[&str], k: &[usize]| Spelling::cutoffs(&read(texts), k);
        assert_eq!(of(&["nDCG@10", "Recall@20", "P@10", "mrr"], &[]), Ok(vec![10, 20]));
        assert_eq!(of(&["nDCG@10"], &[5, 10]), Ok(vec![5, 10]));
        assert_eq!(of(&["ndcg"], &[]), Ok(vec![]));
        assert!(of(&["nDCG@10"], &[5, 20]).unwrap_err().contains("k is 5, 20"));
    }

    #[test]
    fn gini_is_zero_for_equal_and_near_one_for_one_item() {
        assert!(gini(&mut [3, 3, 3]).unwrap().abs() < 1e-12);
        assert!((gini(&mut [0, 0, 0, 8]).unwrap() - 0.75).abs() < 1e-12);
        assert_eq!(gini(&mut [0, 0]), None);
    }

    proptest! {
        /// The one-pass tallies against the sums written out.
        #[test]
        fn tallies_equal_the_formulas(list in prop::collection::vec(any::<bool>(), 0..40)) {
            let hits: Vec<usize> = (0..list.len()).filter(|at| list[*at]).collect();
            let ends: Vec<usize> = (0..=list.len()).collect();
            let mut out = Vec::new();
            tallies(&hits, &ends, &mut out);
            for (end, tally) in ends.iter().zip(&out) {
                let h = |n: usize| f64::from(u8::from(list[n - 1]));
                let dcg: f64 = (1..=*end).map(|n| h(n) / ((n + 1) as f64).log2()).sum();
                let ap: f64 =
                    (1..=*end).map(|n| h(n) * (1..=n).map(h).sum::<f64>() / n as f64).sum();
                prop_assert!((tally.dcg - dcg).abs() < 1e-12);
                prop_assert!((tally.precision_at_hits - ap).abs() < 1e-12);
                prop_assert_eq!(tally.first_hit, (1..=*end).find(|n| list[n - 1]));
            }
        }
    }
}

//! Conventions: what a metric is divided by and which users its mean is over.

use super::{Metric, Protocol, metric::Tally};

/// A way of computing metrics from the same lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Convention {
    /// All users with a relevant item in their test part count, with 0 where nothing was found.
    Standard,
    /// What the published evaluator of Ebrat et al. 2025 computes; each metric is a mean over other
    /// users. Only with the protocol `judged-after-cut`.
    Ebrat2025,
}

super::named!(Convention, "convention", {
    Standard => "standard",
    Ebrat2025 => "ebrat2025",
});

/// What precision is divided by.
#[derive(Clone, Copy, PartialEq)]
enum PrecisionBy {
    Cutoff,
    ListLength,
}

/// What average precision (`map`) is divided by.
#[derive(Clone, Copy, PartialEq)]
enum AveragePrecisionBy {
    CutoffOrRelevant,
    Relevant,
}

/// Which users a mean is over, besides having a test part.
#[derive(Clone, Copy, PartialEq)]
enum Over {
    Relevant,
    List,
    ListAndRelevant,
    Hit,
}

/// One convention as a row of choices.
struct Rules {
    precision_by: PrecisionBy,
    map_by: AveragePrecisionBy,
    precision_over: Over,
    ndcg_over: Over,
    map_over: Over,
    mrr_over: Over,
}

const STANDARD: Rules = Rules {
    precision_by: PrecisionBy::Cutoff,
    map_by: AveragePrecisionBy::CutoffOrRelevant,
    precision_over: Over::Relevant,
    ndcg_over: Over::Relevant,
    map_over: Over::Relevant,
    mrr_over: Over::Relevant,
};

const EBRAT2025: Rules = Rules {
    precision_by: PrecisionBy::ListLength,
    map_by: AveragePrecisionBy::Relevant,
    precision_over: Over::List,
    ndcg_over: Over::ListAndRelevant,
    map_over: Over::Hit,
    mrr_over: Over::Hit,
};

impl Convention {
    /// Whether the convention says anything about lists of this protocol.
    pub fn applies_to(self, protocol: Protocol) -> bool {
        match self {
            Self::Standard => true,
            Self::Ebrat2025 => protocol == Protocol::JudgedAfterCut,
        }
    }

    /// Whether the means of one row can be over different users.
    pub fn mixes_users(self) -> bool {
        self == Self::Ebrat2025
    }

    /// In words: who counts where a user has no relevant item.
    pub fn users_rule(self) -> &'static str {
        match self {
            Self::Standard => "users with a relevant item in the test part",
            Self::Ebrat2025 => {
                "precision: users with a judged item in the list; recall: users with a relevant item; \
                 ndcg: both; map, mrr: users with a hit"
            }
        }
    }

    fn rules(self) -> &'static Rules {
        match self {
            Self::Standard => &STANDARD,
            Self::Ebrat2025 => &EBRAT2025,
        }
    }

    /// One user's value, or none where the user is not in the mean. `relevant` is the number of
    /// relevant items in the user's test part; `ideal` from [`super::metric::ideal_dcg`].
    pub fn value(
        self,
        metric: Metric,
        tally: &Tally,
        k: usize,
        relevant: usize,
        ideal: &[f64],
    ) -> Option<f64> {
        let rules = self.rules();
        let counts = |over: Over| match over {
            Over::Relevant => relevant > 0,
            Over::List => tally.len > 0,
            Over::ListAndRelevant => tally.len > 0 && relevant > 0,
            Over::Hit => tally.hits > 0,
        };
        let hits = tally.hits as f64;
        let (over, value) = match metric {
            Metric::Precision => {
                let by = match rules.precision_by {
                    PrecisionBy::Cutoff => k,
                    PrecisionBy::ListLength => tally.len,
                };
                (rules.precision_over, hits / by as f64)
            }
            Metric::Recall => (Over::Relevant, hits / relevant as f64),
            Metric::Ndcg => (rules.ndcg_over, tally.dcg / ideal[k.min(relevant)]),
            Metric::Map => {
                let by = match rules.map_by {
                    AveragePrecisionBy::CutoffOrRelevant => k.min(relevant),
                    AveragePrecisionBy::Relevant => relevant,
                };
                (rules.map_over, tally.precision_at_hits / by as f64)
            }
            Metric::MapRel => (rules.map_over, tally.precision_at_hits / relevant as f64),
            Metric::Mrr => (rules.mrr_over, tally.first_hit.map_or(0.0, |rank| 1.0 / rank as f64)),
            Metric::HitRate => (Over::Relevant, f64::from(u8::from(tally.hits > 0))),
            Metric::Novelty | Metric::ItemCoverage | Metric::Gini => return None,
        };
        counts(over).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::metric::{ideal_dcg, tallies};

    /// 20 relevant items, hits at ranks 1 and 3, k = 10.
    fn worked_case(convention: Convention, metric: Metric) -> f64 {
        let mut out = Vec::new();
        tallies(&[0, 2], &[10], &mut out);
        convention.value(metric, &out[0], 10, 20, &ideal_dcg(10)).unwrap()
    }

    #[test]
    fn the_worked_case_of_the_documentation() {
        let standard = |metric| worked_case(Convention::Standard, metric);
        for (metric, value) in [
            (Metric::Precision, 0.2),
            (Metric::Recall, 0.1),
            (Metric::Ndcg, 0.3301),
            (Metric::Map, 0.1667),
            (Metric::MapRel, 0.0833),
            (Metric::Mrr, 1.0),
            (Metric::HitRate, 1.0),
        ] {
            assert!((standard(metric) - value).abs() < 5e-5, "{metric}: {}", standard(metric));
        }
        assert!((worked_case(Convention::Ebrat2025, Metric::Map) - 0.0833).abs() < 5e-5);
    }

    #[test]
    fn who_counts_differs_between_conventions() {
        let empty = Tally::default();
        let ideal = ideal_dcg(10);
        let value = |c: Convention, metric, relevant| c.value(metric, &empty, 10, relevant, &ideal);
        assert_eq!(value(Convention::Standard, Metric::Precision, 3), Some(0.0));
        assert_eq!(value(Convention::Standard, Metric::Precision, 0), None);
        assert_eq!(value(Convention::Ebrat2025, Metric::Precision, 3), None);
        assert_eq!(value(Convention::Ebrat2025, Metric::Recall, 3), Some(0.0));
        assert_eq!(value(Convention::Ebrat2025, Metric::Map, 3), None);
    }
}

//! Conventions: what a metric is divided by and which users its mean is over.

use super::{
    Metric, Protocol,
    metric::{Sums, Tally},
};

/// A way of computing metrics from the same lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Convention {
    /// All users with a relevant item in their test part count, with 0 where nothing was found. As
    /// RecBole, Cornac, implicit, RecPack, and (with `map-rel` for `map`) ranx have it.
    Standard,
    /// trec_eval (`-c`) through `ir-measures`: average precision ÷ relevant items. Against qrels also the
    /// gain of nDCG is the grade, and means are over all users with judgements.
    Trec,
    /// LibRecommender and daisyRec: nDCG and average precision against the retrieved hits alone.
    Libreco,
    /// Elliot and WarpRec: graded nDCG, and a "MAP" that is the mean of P@1 to P@k.
    Elliot,
    /// LensKit: lists as long as they are, recall ÷ min(k, relevant), nDCG discount log2(max(n, 2)).
    Lenskit,
    /// What the published evaluator of Ebrat et al. 2025 computes; each metric is a mean over other
    /// users. Only with the protocol `judged-after-cut`.
    Ebrat2025,
}

crate::base::names::named!(Convention, "convention", {
    Standard => "standard",
    Trec => "trec",
    Libreco => "libreco",
    Elliot => "elliot",
    Lenskit => "lenskit",
    Ebrat2025 => "ebrat2025",
});

/// What precision is divided by.
enum PrecisionBy {
    Cutoff,
    ListLength,
}

/// What recall is divided by.
enum RecallBy {
    Relevant,
    CutoffOrRelevant,
}

/// Discount, gain and ideal list of nDCG.
enum NdcgBy {
    /// Discount log2(n + 1), ideal list of min(k, relevant) hits.
    CutoffOrRelevant,
    /// Discount log2(n + 1), ideal list of the hits that were found.
    Hits,
    /// Discount log2(max(n, 2)), ideal list of min(k, relevant) hits.
    Clipped,
    /// Gain 2^(rating − threshold + 1) − 1, discount log2(n + 1), ideal list of the best gains.
    Graded,
}

/// What average precision (`map`) is divided by.
enum MapBy {
    CutoffOrRelevant,
    Relevant,
    Hits,
    ListLengthOrRelevant,
    /// Not average precision at all: the mean of the precisions at 1 to k.
    MeanPrecision,
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
    recall_by: RecallBy,
    ndcg_by: NdcgBy,
    map_by: MapBy,
    precision_over: Over,
    ndcg_over: Over,
    map_over: Over,
    mrr_over: Over,
    /// Whether a user without a ranking is left out; otherwise the user counts as 0.
    needs_ranking: bool,
}

const STANDARD: Rules = Rules {
    precision_by: PrecisionBy::Cutoff,
    recall_by: RecallBy::Relevant,
    ndcg_by: NdcgBy::CutoffOrRelevant,
    map_by: MapBy::CutoffOrRelevant,
    precision_over: Over::Relevant,
    ndcg_over: Over::Relevant,
    map_over: Over::Relevant,
    mrr_over: Over::Relevant,
    needs_ranking: false,
};

const TREC: Rules = Rules { map_by: MapBy::Relevant, ..STANDARD };

const LIBRECO: Rules = Rules { ndcg_by: NdcgBy::Hits, map_by: MapBy::Hits, ..STANDARD };

const ELLIOT: Rules = Rules {
    ndcg_by: NdcgBy::Graded,
    map_by: MapBy::MeanPrecision,
    needs_ranking: true,
    ..STANDARD
};

const LENSKIT: Rules = Rules {
    precision_by: PrecisionBy::ListLength,
    recall_by: RecallBy::CutoffOrRelevant,
    ndcg_by: NdcgBy::Clipped,
    map_by: MapBy::ListLengthOrRelevant,
    needs_ranking: true,
    ..STANDARD
};

const EBRAT2025: Rules = Rules {
    precision_by: PrecisionBy::ListLength,
    map_by: MapBy::Relevant,
    precision_over: Over::List,
    ndcg_over: Over::ListAndRelevant,
    map_over: Over::Hit,
    mrr_over: Over::Hit,
    needs_ranking: true,
    ..STANDARD
};

/// What a convention looks at: one user's list up to one cutoff.
pub struct Case<'a> {
    pub tally: &'a Tally,
    pub k: usize,
    /// Relevant items in the user's test part.
    pub relevant: usize,
    /// Places (from 0, ascending) that hold a relevant item, of the whole list.
    pub hits: &'a [usize],
    /// Gains of the `hits`, in their order; may be empty where no convention is graded.
    pub gains: &'a [f64],
    /// DCG of the user's best gains in order: at `n`, of the first `n`.
    pub ideal_gains: &'a [f64],
    /// Where the judgements are qrels: the nDCG by grade, as trec_eval has it.
    pub graded_ndcg: Option<f64>,
    pub sums: &'a Sums,
}

impl Convention {
    /// Whether the convention says anything about lists of this protocol.
    pub fn applies_to(self, protocol: Protocol) -> bool {
        self != Self::Ebrat2025 || protocol == Protocol::JudgedAfterCut
    }

    /// Whether the means of one row can be over different users.
    pub fn mixes_users(self) -> bool {
        self == Self::Ebrat2025
    }

    /// Whether the mean of `metric` is bounded by the oracle's order of a pool: relevant items first (the
    /// higher rated before others), then unjudged ones, then those judged irrelevant. For one user that order
    /// is best under every convention. But where a user without a hit is left out of the mean, a list that
    /// hides its hits takes a user out who lowers it.
    pub fn bounded_by_oracle(self, metric: Metric) -> bool {
        let over = match metric {
            Metric::Precision | Metric::Recall | Metric::HitRate | Metric::Mrr => return true,
            Metric::Ndcg => self.rules().ndcg_over,
            Metric::Map | Metric::MapRel => self.rules().map_over,
            Metric::Novelty | Metric::ItemCoverage | Metric::Gini => return false,
        };
        over == Over::Relevant
    }

    /// Whether a user without a ranking is left out of every mean.
    pub fn needs_ranking(self) -> bool {
        self.rules().needs_ranking
    }

    /// Whether nDCG weighs hits by their rating.
    pub fn is_graded(self) -> bool {
        matches!(self.rules().ndcg_by, NdcgBy::Graded)
    }

    /// In words: who counts.
    pub fn users_rule(self) -> &'static str {
        match self {
            Self::Ebrat2025 => {
                "precision: users with a judged item in the list; recall: users with a relevant item; \
                 ndcg: both; map, mrr: users with a hit"
            }
            _ if self.needs_ranking() => {
                "users with a relevant item in the test part and a ranking"
            }
            _ => "users with a relevant item in the test part",
        }
    }

    /// In words: one user's value of a metric, and the users of its mean. h_n is 1 if the item at rank n is relevant, L is
    /// the length of the list up to k, R the number of relevant items of the user.
    pub fn formula(self, metric: Metric) -> (&'static str, &'static str) {
        let rules = self.rules();
        let (value, over) = match metric {
            Metric::Precision => (
                match rules.precision_by {
                    PrecisionBy::Cutoff => "Σ h_n ÷ k",
                    PrecisionBy::ListLength => "Σ h_n ÷ L",
                },
                rules.precision_over,
            ),
            Metric::Recall => (
                match rules.recall_by {
                    RecallBy::Relevant => "Σ h_n ÷ R",
                    RecallBy::CutoffOrRelevant => "Σ h_n ÷ min(k, R)",
                },
                Over::Relevant,
            ),
            Metric::Ndcg => (
                match rules.ndcg_by {
                    NdcgBy::CutoffOrRelevant => {
                        "Σ h_n ÷ log2(n + 1), divided by Σ 1 ÷ log2(n + 1) over n from 1 to min(k, R)"
                    }
                    NdcgBy::Hits => {
                        "Σ h_n ÷ log2(n + 1), divided by Σ 1 ÷ log2(n + 1) over n from 1 to the number of hits"
                    }
                    NdcgBy::Clipped => {
                        "Σ h_n ÷ log2(max(n, 2)), divided by Σ 1 ÷ log2(max(n, 2)) over n from 1 to min(k, R)"
                    }
                    NdcgBy::Graded => {
                        "Σ h_n · (2^(rating − threshold + 1) − 1) ÷ log2(n + 1), divided by the same of the best min(k, R) \
                         items in order"
                    }
                },
                rules.ndcg_over,
            ),
            Metric::Map => (
                match rules.map_by {
                    MapBy::CutoffOrRelevant => "Σ h_n · (hits up to n) ÷ n, divided by min(k, R)",
                    MapBy::Relevant => "Σ h_n · (hits up to n) ÷ n, divided by R",
                    MapBy::Hits => "Σ h_n · (hits up to n) ÷ n, divided by the number of hits",
                    MapBy::ListLengthOrRelevant => {
                        "Σ h_n · (hits up to n) ÷ n, divided by min(L, R)"
                    }
                    MapBy::MeanPrecision => "the mean of the precisions at 1 to k",
                },
                rules.map_over,
            ),
            Metric::MapRel => ("Σ h_n · (hits up to n) ÷ n, divided by R", rules.map_over),
            Metric::Mrr => ("1 ÷ rank of the first hit; 0 without a hit", rules.mrr_over),
            Metric::HitRate => ("1 with a hit, 0 without", Over::Relevant),
            Metric::Novelty => {
                return (
                    "mean over the list of −log2 of the item's share of all training interactions",
                    "users with a list",
                );
            }
            Metric::ItemCoverage => {
                return (
                    "distinct items in all lists ÷ items of the catalogue",
                    "all lists together",
                );
            }
            Metric::Gini => {
                return (
                    "Gini coefficient of how often each item of the catalogue is recommended",
                    "all lists together",
                );
            }
        };
        let users = match (over, rules.needs_ranking) {
            (Over::Relevant, false) => "users with a relevant item; without a list they count 0",
            (Over::Relevant, true) => "users with a relevant item and a ranking",
            (Over::List, _) => "users with an item in the list",
            (Over::ListAndRelevant, _) => "users with a relevant item and an item in the list",
            (Over::Hit, _) => "users with a hit in the list",
        };
        (value, users)
    }

    fn rules(self) -> &'static Rules {
        match self {
            Self::Standard => &STANDARD,
            Self::Trec => &TREC,
            Self::Libreco => &LIBRECO,
            Self::Elliot => &ELLIOT,
            Self::Lenskit => &LENSKIT,
            Self::Ebrat2025 => &EBRAT2025,
        }
    }

    /// One user's value, or none where the user is not in the mean.
    pub fn value(self, metric: Metric, case: &Case) -> Option<f64> {
        let rules = self.rules();
        // trec_eval means over all queries that were judged; its nDCG goes by the grades alone, whatever counts as
        // relevant.
        if let (Self::Trec, Some(ndcg)) = (self, case.graded_ndcg) {
            match metric {
                Metric::Ndcg => return Some(ndcg),
                Metric::Novelty | Metric::ItemCoverage | Metric::Gini => return None,
                _ if case.relevant == 0 => return Some(0.0),
                _ => {}
            }
        }
        let Case { tally, k, relevant, sums, .. } = *case;
        let counts = |over: Over| match over {
            Over::Relevant => relevant > 0,
            Over::List => tally.len > 0,
            Over::ListAndRelevant => tally.len > 0 && relevant > 0,
            Over::Hit => tally.hits > 0,
        };
        let over = match metric {
            Metric::Precision => rules.precision_over,
            Metric::Recall | Metric::HitRate => Over::Relevant,
            Metric::Ndcg => rules.ndcg_over,
            Metric::Map | Metric::MapRel => rules.map_over,
            Metric::Mrr => rules.mrr_over,
            Metric::Novelty | Metric::ItemCoverage | Metric::Gini => return None,
        };
        if !counts(over) {
            return None;
        }
        let hits = tally.hits as f64;
        let by = |divisor: usize| divisor as f64;
        Some(match metric {
            // Whoever has no hit has 0, also where the divisor would be the hits or the list.
            Metric::Precision | Metric::Ndcg | Metric::Map if tally.hits == 0 => 0.0,
            Metric::Precision => match rules.precision_by {
                PrecisionBy::Cutoff => hits / by(k),
                PrecisionBy::ListLength => hits / by(tally.len),
            },
            Metric::Recall => match rules.recall_by {
                RecallBy::Relevant => hits / by(relevant),
                RecallBy::CutoffOrRelevant => hits / by(k.min(relevant)),
            },
            Metric::Ndcg => match rules.ndcg_by {
                NdcgBy::CutoffOrRelevant => tally.dcg / sums.discount[k.min(relevant)],
                NdcgBy::Hits => tally.dcg / sums.discount[tally.hits],
                NdcgBy::Clipped => {
                    let found = case.hits[..tally.hits].iter();
                    let dcg: f64 = found.map(|place| sums.clipped_discount(place + 1)).sum();
                    dcg / sums.clipped[k.min(relevant)]
                }
                NdcgBy::Graded => {
                    let found = case.hits.iter().zip(case.gains).take(tally.hits);
                    let dcg: f64 =
                        found.map(|(place, gain)| gain * sums.discount_at(place + 1)).sum();
                    dcg / case.ideal_gains[k.min(relevant)]
                }
            },
            Metric::Map => match rules.map_by {
                MapBy::CutoffOrRelevant => tally.precision_at_hits / by(k.min(relevant)),
                MapBy::Relevant => tally.precision_at_hits / by(relevant),
                MapBy::Hits => tally.precision_at_hits / hits,
                MapBy::ListLengthOrRelevant => {
                    tally.precision_at_hits / by(tally.len.min(relevant))
                }
                // A hit at rank r adds 1/n to the precision at every n from r to k.
                MapBy::MeanPrecision => {
                    let found = case.hits[..tally.hits].iter();
                    let sum: f64 = found.map(|p| sums.harmonic[k] - sums.harmonic[*p]).sum();
                    sum / by(k)
                }
            },
            Metric::MapRel => tally.precision_at_hits / by(relevant),
            Metric::Mrr => tally.first_hit.map_or(0.0, |rank| 1.0 / rank as f64),
            _ => f64::from(u8::from(tally.hits > 0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ranking::metric::tallies;

    /// 20 relevant items, hits at ranks 1 and 3, k = 10.
    fn worked_case(convention: Convention, metric: Metric) -> f64 {
        let (hits, mut tally) = ([0, 2], Vec::new());
        tallies(&hits, &[10], &mut tally);
        let sums = Sums::up_to(10);
        let case = Case {
            tally: &tally[0],
            k: 10,
            relevant: 20,
            hits: &hits,
            gains: &[1.0, 1.0],
            ideal_gains: &sums.discount,
            graded_ndcg: None,
            sums: &sums,
        };
        convention.value(metric, &case).unwrap()
    }

    #[test]
    fn the_worked_case_of_the_documentation() {
        use Convention::*;
        for (convention, metric, value) in [
            (Standard, Metric::Precision, 0.2),
            (Standard, Metric::Recall, 0.1),
            (Standard, Metric::Ndcg, 0.3301),
            (Standard, Metric::Map, 0.1667),
            (Standard, Metric::MapRel, 0.0833),
            (Standard, Metric::Mrr, 1.0),
            (Standard, Metric::HitRate, 1.0),
            (Trec, Metric::Map, 0.0833),
            (Trec, Metric::Ndcg, 0.3301),
            (Libreco, Metric::Ndcg, 0.9197),
            (Libreco, Metric::Map, 0.8333),
            (Libreco, Metric::Recall, 0.1),
            (Elliot, Metric::Map, 0.4358),
            (Elliot, Metric::Ndcg, 0.3301),
            (Lenskit, Metric::Recall, 0.2),
            (Lenskit, Metric::Map, 0.1667),
            // (1 + 1/log2(3)) ÷ (1 + 1 + Σ_{n = 3..10} 1/log2(n))
            (Lenskit, Metric::Ndcg, 0.3104),
            (Ebrat2025, Metric::Map, 0.0833),
        ] {
            let found = worked_case(convention, metric);
            assert!((found - value).abs() < 5e-5, "{convention} {metric}: {found}");
        }
    }

    #[test]
    fn who_counts_differs_between_conventions() {
        let (empty, sums) = (Tally::default(), Sums::up_to(10));
        let value = |convention: Convention, metric, relevant| {
            let case = Case {
                tally: &empty,
                k: 10,
                relevant,
                hits: &[],
                gains: &[],
                ideal_gains: &[],
                graded_ndcg: None,
                sums: &sums,
            };
            convention.value(metric, &case)
        };
        for convention in [Convention::Standard, Convention::Libreco, Convention::Lenskit] {
            for metric in [Metric::Precision, Metric::Ndcg, Metric::Map] {
                assert_eq!(value(convention, metric, 3), Some(0.0), "{convention} {metric}");
                assert_eq!(value(convention, metric, 0), None, "{convention} {metric}");
            }
        }
        assert_eq!(value(Convention::Ebrat2025, Metric::Precision, 3), None);
        assert_eq!(value(Convention::Ebrat2025, Metric::Recall, 3), Some(0.0));
        assert_eq!(value(Convention::Ebrat2025, Metric::Map, 3), None);
        assert!(Convention::Elliot.needs_ranking() && !Convention::Trec.needs_ranking());
    }
}

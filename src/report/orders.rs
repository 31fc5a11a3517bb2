//! The same systems under every protocol and convention side by side: does the order depend on it?

use comfy_table::CellAlignment;
use serde::Serialize;

use super::{
    ResultRow,
    table::{distinct, plain_table},
};
use crate::stats::tau_b;

/// Systems against ways of scoring, for one metric, cutoff, slice and fold.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Orders {
    pub metric: String,
    pub k: usize,
    pub slice: String,
    pub fold: String,
    pub systems: Vec<String>,
    pub ways: Vec<Way>,
    /// Kendall's τ-b between the orders of two ways, `[ways, ways]`; none where it is undefined.
    pub tau: Vec<Vec<Option<f64>>>,
    /// Pairs of systems that two ways put in opposite order.
    pub swaps: Vec<Swap>,
}

/// One protocol with one convention.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Way {
    pub protocol: String,
    pub convention: String,
    /// By system.
    pub values: Vec<Option<f64>>,
    /// By system, 1 for the highest value; equal values share a rank.
    pub ranks: Vec<Option<usize>>,
    pub n_users: Vec<usize>,
}

/// `better` is over `worse` by the first way, and under it by the ways in `under`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Swap {
    pub better: String,
    pub worse: String,
    /// Indices into [`Orders::ways`].
    pub over: Vec<usize>,
    pub under: Vec<usize>,
}

impl Orders {
    /// None where fewer than two ways have a value.
    pub fn new(
        rows: &[ResultRow],
        metric: &str,
        k: usize,
        slice: &str,
        fold: &str,
    ) -> Option<Self> {
        let chosen: Vec<&ResultRow> = rows
            .iter()
            .filter(|row| {
                row.metric == metric
                    && row.k == k
                    && row.slice == slice
                    && row.fold == fold
                    && !row.knows_test
                    && !row.one_of_several
            })
            .collect();
        let systems = distinct(chosen.iter().map(|row| row.system.as_str()));
        let pairs =
            distinct(chosen.iter().map(|row| format!("{}\n{}", row.protocol, row.convention)));
        let ways: Vec<Way> = pairs
            .iter()
            .map(|pair| {
                let (protocol, convention) = pair.split_once('\n').unwrap_or_default();
                let of = |system: &String| {
                    chosen.iter().find(|row| {
                        row.system == *system
                            && row.protocol == protocol
                            && row.convention == convention
                    })
                };
                let values: Vec<Option<f64>> =
                    systems.iter().map(|system| of(system)?.value).collect();
                let above = |value: f64| values.iter().flatten().filter(|v| **v > value).count();
                Way {
                    protocol: protocol.into(),
                    convention: convention.into(),
                    ranks: values.iter().map(|value| value.map(|v| above(v) + 1)).collect(),
                    n_users: systems.iter().map(|s| of(s).map_or(0, |row| row.n_users)).collect(),
                    values,
                }
            })
            .collect();
        if ways.len() < 2 || systems.is_empty() {
            return None;
        }
        let tau = |a: &Way, b: &Way| {
            let both = a.values.iter().zip(&b.values).filter_map(|(a, b)| a.zip(*b));
            let (a, b): (Vec<f64>, Vec<f64>) = both.unzip();
            tau_b(&a, &b)
        };
        Some(Self {
            metric: metric.into(),
            k,
            slice: slice.into(),
            fold: fold.into(),
            tau: ways.iter().map(|a| ways.iter().map(|b| tau(a, b)).collect()).collect(),
            swaps: swaps(&systems, &ways),
            systems,
            ways,
        })
    }

    /// `full · standard`
    pub fn way_name(&self, at: usize) -> String {
        format!("{} · {}", self.ways[at].protocol, self.ways[at].convention)
    }

    /// `ndcg, k = 10, slice all, fold u1`
    pub fn title(&self) -> String {
        let fold = if self.fold == "mean" {
            "mean of folds".into()
        } else {
            format!("fold {}", self.fold)
        };
        format!("{}, k = {}, slice {}, {fold}", self.metric, self.k, self.slice)
    }

    /// What it comes to, in a sentence.
    pub fn verdict(&self) -> String {
        if self.systems.len() < 2 {
            return "One system has no order.".into();
        }
        if self.swaps.is_empty() {
            return format!(
                "No two of the {} systems change places: the order does not depend on the way of scoring.",
                self.systems.len()
            );
        }
        let pairs = self.systems.len() * (self.systems.len() - 1) / 2;
        format!(
            "{} of {pairs} pairs of systems change places: the order depends on the way of scoring.",
            self.swaps.len()
        )
    }

    /// A pair that changes places: `als > lightgcn by full · standard; under by …`.
    pub fn swap_text(&self, swap: &Swap) -> String {
        let names = |ways: &[usize]| {
            let (shown, more) = ways.split_at(ways.len().min(SHOWN_WAYS));
            let names: Vec<String> = shown.iter().map(|way| self.way_name(*way)).collect();
            let more = match more.len() {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            format!("{}{more}", names.join(", "))
        };
        format!(
            "{} over {} by {}; the other way round by {}",
            swap.better,
            swap.worse,
            names(&swap.over),
            names(&swap.under)
        )
    }

    /// A cell: value and rank, and for later ways how far the value moves from the first way's.
    pub fn text(&self, way: usize, system: usize) -> String {
        let of = &self.ways[way];
        let (Some(value), Some(rank)) = (of.values[system], of.ranks[system]) else {
            return "–".into();
        };
        match self.ways[0].values[system] {
            Some(first) if way > 0 => format!("{value:.4} {:+.4} ({rank})", value - first),
            _ => format!("{value:.4} ({rank})"),
        }
    }

    /// τ as a cell.
    pub fn tau_text(&self, a: usize, b: usize) -> String {
        self.tau[a][b].map_or("–".into(), |tau| format!("{tau:.3}"))
    }

    /// For a terminal: one row a way, one column a system.
    pub fn terminal(&self) -> String {
        let mut table = plain_table();
        let header = ["way of scoring".to_owned(), "n".into()].into_iter();
        table.set_header(
            header.chain(self.systems.iter().cloned()).chain(["τ with the first".to_owned()]),
        );
        for way in 0..self.ways.len() {
            let head = [self.way_name(way), self.n_text(way)].into_iter();
            let cells = (0..self.systems.len()).map(|system| self.text(way, system));
            table.add_row(head.chain(cells).chain([self.tau_text(way, 0)]));
        }
        for at in 1..self.systems.len() + 3 {
            if let Some(column) = table.column_mut(at) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        let mut text = format!("{}\n{table}\n{}\n", self.title(), self.verdict());
        for swap in self.swaps.iter().take(SHOWN_SWAPS) {
            text.push_str(&format!("  {}\n", self.swap_text(swap)));
        }
        if self.swaps.len() > SHOWN_SWAPS {
            text.push_str(&format!("  and {} more (--json)\n", self.swaps.len() - SHOWN_SWAPS));
        }
        text.push_str("Value, difference to the first row, rank in brackets; τ: Kendall's τ-b.\n");
        text
    }

    /// How many users a way's means are over: one number, or from–to.
    pub fn n_text(&self, way: usize) -> String {
        let n = &self.ways[way].n_users;
        match (n.iter().min(), n.iter().max()) {
            (Some(low), Some(high)) if low != high => format!("{low}–{high}"),
            (Some(n), _) => n.to_string(),
            _ => "–".into(),
        }
    }
}

const SHOWN_SWAPS: usize = 12;
const SHOWN_WAYS: usize = 2;

fn swaps(systems: &[String], ways: &[Way]) -> Vec<Swap> {
    let mut swaps = Vec::new();
    for a in 0..systems.len() {
        for b in a + 1..systems.len() {
            let (mut a_over, mut b_over) = (Vec::new(), Vec::new());
            for (at, way) in ways.iter().enumerate() {
                match way.values[a].zip(way.values[b]) {
                    Some((x, y)) if x > y => a_over.push(at),
                    Some((x, y)) if x < y => b_over.push(at),
                    _ => {}
                }
            }
            if a_over.is_empty() || b_over.is_empty() {
                continue;
            }
            let (better, worse, over, under) =
                if a_over[0] < b_over[0] { (a, b, a_over, b_over) } else { (b, a, b_over, a_over) };
            swaps.push(Swap {
                better: systems[better].clone(),
                worse: systems[worse].clone(),
                over,
                under,
            });
        }
    }
    swaps
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(system: &str, convention: &str, value: f64) -> ResultRow {
        ResultRow {
            system: system.into(),
            convention: convention.into(),
            metric: "map".into(),
            value: Some(value),
            n_users: 6,
            n_pairs: 6,
            ..ResultRow::example()
        }
    }

    #[test]
    fn a_pair_that_changes_places_is_named_with_the_ways() {
        let rows: Vec<ResultRow> = [
            ("a", "standard", 0.3),
            ("b", "standard", 0.2),
            ("c", "standard", 0.1),
            ("a", "libreco", 0.6),
            ("b", "libreco", 0.7),
            ("c", "libreco", 0.5),
        ]
        .map(|(system, convention, value)| row(system, convention, value))
        .to_vec();
        let orders = Orders::new(&rows, "map", 10, "all", "u1").unwrap();
        assert_eq!(orders.ways[1].ranks, [Some(2), Some(1), Some(3)]);
        assert!((orders.tau[0][1].unwrap() - 1.0 / 3.0).abs() < 1e-12);
        insta::assert_snapshot!(orders.terminal());
        assert!(Orders::new(&rows[..3], "map", 10, "all", "u1").is_none());
    }
}

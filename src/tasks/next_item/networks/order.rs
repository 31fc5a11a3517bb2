//! How far item embeddings are in the order of the items' numbers: AAE and SA (Putra and Suzumura, *Ordered Item
//! Embeddings in Sequential Recommender Systems*).
//!
//! Distances are divided by the largest between any two items. Padding and masks are not among the items. Whether an
//! order is more than what the numbers say is seen beside other numberings: with random numbers SA is about 1/3.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::tasks::next_item::Numbering;

/// The order of embeddings under one numbering.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingOrder {
    pub numbering: Numbering,
    /// Mean distance of neighbours, ÷ the largest distance.
    pub aae: f64,
    /// The share of three in a row of which the outer two are farthest apart.
    pub sa: f64,
}

impl EmbeddingOrder {
    /// Of row-major embeddings `[items, dim]`, for each numbering with its order of items. None for fewer than three
    /// items, or if all are alike.
    pub fn of(items: &[f32], dim: usize, orders: &[(Numbering, Vec<u32>)]) -> Vec<Self> {
        let n = items.len() / dim.max(1);
        let largest = largest(items, dim);
        if n < 3 || largest == 0.0 {
            return Vec::new();
        }
        let row = |item: u32| &items[item as usize * dim..][..dim];
        let each = orders.iter().map(|(numbering, order)| {
            let distance = |a: usize, b: usize| squared(row(order[a]), row(order[b])).sqrt();
            let next: Vec<f64> = (1..n).map(|at| distance(at - 1, at)).collect();
            let smooth = (2..n).filter(|at| {
                let outer = distance(at - 2, *at);
                next[at - 2] < outer && next[at - 1] < outer
            });
            Self {
                numbering: *numbering,
                aae: next.iter().sum::<f64>() / (n - 1) as f64 / largest,
                sa: smooth.count() as f64 / (n - 2) as f64,
            }
        });
        each.collect()
    }
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(a - b) * f64::from(a - b)).sum()
}

/// The largest distance of any two rows. A maximum does not depend on the order in which it is taken.
fn largest(items: &[f32], dim: usize) -> f64 {
    let rows: Vec<&[f32]> = items.chunks(dim.max(1)).collect();
    let of_row = |at: usize| {
        let others = rows[at + 1..].iter().map(|other| squared(rows[at], other));
        others.fold(0.0, f64::max)
    };
    (0..rows.len()).into_par_iter().map(of_row).reduce(|| 0.0, f64::max).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::mix;

    fn orders(n: u32) -> Vec<(Numbering, Vec<u32>)> {
        let reversed: Vec<u32> = (0..n).rev().collect();
        let mixed = (0..n).map(|item| item * 7 % n).collect();
        vec![
            (Numbering::AsDistributed, (0..n).collect()),
            (Numbering::FirstAppearance, reversed),
            (Numbering::Random, mixed),
        ]
    }

    #[test]
    fn a_line_is_in_order_whichever_way_it_is_read() {
        let line: Vec<f32> = (0..50).flat_map(|at| [at as f32 * 3.0, at as f32 * -4.0]).collect();
        let found = EmbeddingOrder::of(&line, 2, &orders(50));
        for of in &found[..2] {
            assert!((of.aae - 1.0 / 49.0).abs() < 1e-12 && of.sa == 1.0, "{of:?}");
        }
        assert!(found[2].aae > 0.1 && found[2].sa < 0.95, "{:?}", found[2]);
        assert!(EmbeddingOrder::of(&[1.0; 20], 2, &orders(10)).is_empty());
        assert!(EmbeddingOrder::of(&line[..4], 2, &orders(2)).is_empty());
    }

    /// Of three independent points any pair is the farthest apart alike: a standard deviation of .005 here.
    #[test]
    fn random_embeddings_have_a_third() {
        let value = |at: u64| {
            let uniform = |at: u64| (mix(at) >> 40) as f32 / (1u64 << 24) as f32;
            (0..12).map(|k| uniform(at * 12 + k)).sum::<f32>() - 6.0
        };
        let random: Vec<f32> = (0..8000 * 16).map(value).collect();
        let found = EmbeddingOrder::of(&random, 16, &orders(8000)[..1]);
        assert!((found[0].sa - 1.0 / 3.0).abs() < 0.02, "{found:?}");
    }
}

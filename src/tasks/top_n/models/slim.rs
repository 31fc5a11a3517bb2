//! SLIM (Ning and Karypis, ICDM 2011): a sparse matrix of items × items by an elastic net for each item.
//!
//! Column j of W minimises ½ ‖x_j − X w‖² + ½ β ‖w‖² + λ ‖w‖₁ over w ≥ 0 with w_j = 0 (their eq. 2 and 3), where X is the
//! binary matrix of users × items. The scores of user u are x_u W. With n users and with α and ρ the `alpha` and `l1_ratio`
//! of scikit-learn's `ElasticNet`, λ = n α ρ and β = n α (1 − ρ).
//!
//! All columns need only G = XᵀX, which is sparse. Each is solved by coordinate descent on an active set: the gradient
//! −G_j + G w + β w says exactly which other items would enter, so the result is that of a descent over all items.

use std::path::Path;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    FitContext, Model, ModelError, Recommender, Size, Wrong,
    neighbours::{Common, ItemToItem, Row, Weights},
};
use crate::{data::TrainingData, tasks::shared::not_negative};

/// Sweeps over the active items of one column before the fit is given up.
const MOST_SWEEPS: usize = 20_000;
/// The least number of items that enter at once.
const ENTER: usize = 32;

/// Settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SlimParams {
    /// λ of λ ‖w‖₁, beside ½ ‖x_j − X w‖²: 0 or more. Makes weights exactly 0. scikit-learn's n · `alpha` ·
    /// `l1_ratio`, with n users.
    #[schemars(range(min = 0))]
    pub l1: f64,
    /// β of ½ β ‖w‖²: 0 or more. scikit-learn's n · `alpha` · (1 − `l1_ratio`).
    #[schemars(range(min = 0))]
    pub l2: f64,
    /// Whether weights below 0 are excluded, as in the paper.
    pub positive: bool,
    /// A column is done when no step along a coordinate would change the gradient by more than this share of ‖x_j‖².
    #[schemars(extend("exclusiveMinimum" = 0, "exclusiveMaximum" = 1))]
    pub tolerance: f64,
}

impl Default for SlimParams {
    fn default() -> Self {
        Self { l1: 0.2, l2: 100.0, positive: true, tolerance: 1e-4 }
    }
}

impl Model for SlimParams {
    fn validate(&self) -> Result<(), Wrong> {
        not_negative("l1", self.l1)?;
        not_negative("l2", self.l2)?;
        match self.tolerance > 0.0 && self.tolerance < 1.0 {
            true => Ok(()),
            false => Err((
                "tolerance",
                format!("is {}; expected more than 0 and less than 1", self.tolerance),
            )),
        }
    }

    fn memory(&self, size: Size) -> usize {
        // A guess: which share of the pairs of items has a user in common is not known before.
        let each_user = size.ratings / size.users.max(1) + 1;
        let pairs = (4 * size.ratings * each_user).min(size.items * size.items);
        8 * pairs + 8 * size.items * 300.min(size.items)
    }

    fn fit(
        &self,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        let gram = gram(data, &FitContext { progress: &|_, _| {}, ..*context })?;
        let columns = self.columns(&gram, context)?;
        (context.log)(&format!("{} weights", columns.len()));
        Ok(Box::new(ItemToItem::new(columns.transpose(), data)))
    }

    fn load(
        &self,
        dir: &Path,
        data: &TrainingData,
        context: &FitContext,
    ) -> Result<Box<dyn Recommender>, ModelError> {
        ItemToItem::load_or(dir, data, || self.fit(data, context))
    }
}

/// G = XᵀX of the positives: how many users like both items.
fn gram(data: &TrainingData, context: &FitContext) -> Result<Weights, ModelError> {
    let by_user = &data.positives;
    let by_item = by_user.transpose();
    let memory = || Common::new(&by_item, by_user);
    Weights::build_with(by_user.n_items(), context, memory, |item, common| {
        let mut row = Row::new();
        // Exact: a count is below 2²⁴ as long as there are fewer users.
        common.of(item, |other, count| row.push((other, count as f32)));
        row.sort_unstable_by_key(|(other, _)| *other);
        row.shrink_to_fit();
        row
    })
}

impl SlimParams {
    /// Row j of the result is column j of W.
    fn columns(&self, gram: &Weights, context: &FitContext) -> Result<Weights, ModelError> {
        let n = gram.n_rows();
        let diagonal: Vec<f64> = (0..n as u32)
            .map(|item| gram.row(item).find(|(other, _)| *other == item).map_or(0.0, |(_, of)| of))
            .map(f64::from)
            .collect();
        let stuck = std::sync::atomic::AtomicU32::new(u32::MAX);
        let memory = || Column::new(gram, &diagonal, self);
        let columns = Weights::build_with(n, context, memory, |item, column| {
            column.solve(item).unwrap_or_else(|| {
                stuck.fetch_min(item, std::sync::atomic::Ordering::Relaxed);
                Row::new()
            })
        })?;
        match stuck.into_inner() {
            u32::MAX => Ok(columns),
            item => Err(ModelError::Diverged(format!(
                "the weights of item {item} (counted from 0) did not converge in {MOST_SWEEPS} sweeps\n  = help: \
                 raise `l2` or `tolerance`"
            ))),
        }
    }
}

/// An item of the active set.
struct Active {
    item: u32,
    weight: f64,
    /// The weight that `gradient` knows of.
    known: f64,
    /// G with the other active items, in their order.
    gram: Vec<f64>,
    /// G_ij − Σ_k G_ik w_k
    rest: f64,
}

/// Solves one column at a time.
struct Column<'a> {
    gram: &'a Weights,
    diagonal: &'a [f64],
    settings: &'a SlimParams,
    /// G_ij − Σ_k G_ik w_k for every item i.
    rest: Vec<f64>,
    /// The place of each item among the active ones; `OUT` of others.
    places: Vec<u32>,
    active: Vec<Active>,
}

const OUT: u32 = u32::MAX;

impl<'a> Column<'a> {
    fn new(gram: &'a Weights, diagonal: &'a [f64], settings: &'a SlimParams) -> Self {
        let n = diagonal.len();
        Self { gram, diagonal, settings, rest: vec![0.0; n], places: vec![OUT; n], active: vec![] }
    }

    /// The weights of column `target` that are not 0; none where they do not converge.
    fn solve(&mut self, target: u32) -> Option<Row> {
        let square = self.diagonal[target as usize];
        if square == 0.0 {
            return Some(Row::new());
        }
        self.rest.fill(0.0);
        let (items, counts) = self.gram.slices(target);
        for (item, count) in items.iter().zip(counts) {
            self.rest[*item as usize] = f64::from(*count);
        }
        let tolerance = self.settings.tolerance * square;
        let mut left = MOST_SWEEPS;
        while left > 0 && self.enter(target, tolerance) {
            self.sweep(tolerance, &mut left);
            self.update();
        }
        let mut row: Row = self
            .active
            .iter()
            .filter(|active| active.weight != 0.0)
            .map(|active| (active.item, active.weight as f32))
            .collect();
        row.sort_unstable_by_key(|(item, _)| *item);
        for active in self.active.drain(..) {
            self.places[active.item as usize] = OUT;
        }
        (left > 0).then_some(row)
    }

    /// How far beyond λ the gradient of an item with weight 0 is.
    fn excess(&self, item: u32) -> f64 {
        let rest = self.rest[item as usize];
        (if self.settings.positive { rest } else { rest.abs() }) - self.settings.l1
    }

    /// Makes the items active whose weight would change most; whether there were any.
    fn enter(&mut self, target: u32, tolerance: f64) -> bool {
        let enters = |item: &u32| {
            let out = self.places[*item as usize] == OUT && *item != target;
            out && self.diagonal[*item as usize] > 0.0 && self.excess(*item) > tolerance
        };
        // Weights of 0 or more only lower `rest`: items without a common user never get one.
        let mut entering: Vec<u32> = match self.settings.positive {
            true => self.gram.slices(target).0.iter().copied().filter(enters).collect(),
            false => (0..self.diagonal.len() as u32).filter(enters).collect(),
        };
        if entering.is_empty() {
            return false;
        }
        let most = self.active.len().max(ENTER);
        if entering.len() > most {
            let order =
                |a: &u32, b: &u32| self.excess(*b).total_cmp(&self.excess(*a)).then(a.cmp(b));
            entering.select_nth_unstable_by(most - 1, order);
            entering.truncate(most);
            entering.sort_unstable();
        }
        let before = self.active.len();
        for (place, item) in (before as u32..).zip(&entering) {
            self.places[*item as usize] = place;
        }
        let n = before + entering.len();
        for &item in &entering {
            let mut row = vec![0.0; n];
            let (others, counts) = self.gram.slices(item);
            for (other, count) in others.iter().zip(counts) {
                if let Some(at) = row.get_mut(self.places[*other as usize] as usize) {
                    *at = f64::from(*count);
                }
            }
            // G is symmetric.
            for (active, count) in self.active.iter_mut().take(before).zip(&row) {
                active.gram.push(*count);
            }
            let rest = self.rest[item as usize];
            self.active.push(Active { item, weight: 0.0, known: 0.0, gram: row, rest });
        }
        true
    }

    /// Coordinate descent over the active items.
    fn sweep(&mut self, tolerance: f64, left: &mut usize) {
        let SlimParams { l1, l2, positive, .. } = *self.settings;
        let mut rest: Vec<f64> = self.active.iter().map(|active| active.rest).collect();
        while *left > 0 {
            let mut largest = 0f64;
            for (at, active) in self.active.iter_mut().enumerate() {
                let curvature = active.gram[at] + l2;
                let pull = rest[at] + active.gram[at] * active.weight;
                let over = match positive {
                    true => (pull - l1).max(0.0),
                    false => pull.signum() * (pull.abs() - l1).max(0.0),
                };
                let change = over / curvature - active.weight;
                if change != 0.0 {
                    active.weight += change;
                    largest = largest.max(change.abs() * curvature);
                    rest.iter_mut().zip(&active.gram).for_each(|(rest, of)| *rest -= change * of);
                }
            }
            *left -= 1;
            if largest <= tolerance {
                return;
            }
        }
    }

    /// Brings `rest` up to date with the weights.
    fn update(&mut self) {
        for active in &mut self.active {
            let change = active.weight - active.known;
            if change == 0.0 {
                continue;
            }
            active.known = active.weight;
            let (others, counts) = self.gram.slices(active.item);
            for (other, count) in others.iter().zip(counts) {
                self.rest[*other as usize] -= change * f64::from(*count);
            }
        }
        for active in &mut self.active {
            active.rest = self.rest[active.item as usize];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        base::interrupt::Interrupt,
        data::UserIx,
        tasks::top_n::models::tests::{liked, linear},
    };

    fn weights(params: &SlimParams, data: &TrainingData) -> Vec<Vec<f32>> {
        let interrupt = Interrupt::default();
        let context = FitContext::silent(1, &interrupt);
        let columns = params.columns(&gram(data, &context).unwrap(), &context).unwrap();
        let dense = |item| {
            let mut row = vec![0.0; data.positives.n_items()];
            columns.row(item).for_each(|(other, weight)| row[other as usize] = weight);
            row
        };
        (0..data.positives.n_items() as u32).map(dense).collect()
    }

    #[test]
    fn weights_are_those_of_scikit_learn() {
        let (golden, data) = linear();
        let cases = golden["slim"].as_array().unwrap();
        assert_eq!(cases.len(), 4);
        for case in cases {
            let params = SlimParams {
                l1: case["l1"].as_f64().unwrap(),
                l2: case["l2"].as_f64().unwrap(),
                positive: case["positive"].as_bool().unwrap(),
                tolerance: 1e-12,
            };
            let theirs: Vec<Vec<f64>> = serde_json::from_value(case["columns"].clone()).unwrap();
            let (mut off, mut zeros) = (0f64, 0);
            for (ours, theirs) in weights(&params, &data).iter().zip(&theirs) {
                for (a, b) in ours.iter().zip(theirs) {
                    off = off.max((f64::from(*a) - b).abs());
                    zeros += usize::from(*a == 0.0);
                    assert_eq!(*a == 0.0, b.abs() < 1e-9, "{params:?}: {a} {b}");
                }
            }
            assert!(off < 1e-6, "{params:?}: off by {off:e}");
            assert!(zeros > theirs.len(), "more than the diagonal is 0");
        }
    }

    #[test]
    fn no_weight_can_improve_its_column() {
        let (_, data) = linear();
        let params = SlimParams { l1: 0.7, l2: 0.3, positive: false, tolerance: 1e-10 };
        let interrupt = Interrupt::default();
        let gram = gram(&data, &FitContext::silent(1, &interrupt)).unwrap();
        let of = |a: u32, b: u32| {
            gram.row(a).find(|(other, _)| *other == b).map_or(0.0, |(_, count)| f64::from(count))
        };
        for (target, column) in (0u32..).zip(weights(&params, &data)) {
            assert_eq!(column[target as usize], 0.0);
            for item in (0..column.len() as u32).filter(|item| *item != target) {
                let weight = f64::from(column[item as usize]);
                let fitted: f64 =
                    (0u32..).zip(&column).map(|(k, w)| of(item, k) * f64::from(*w)).sum();
                let pull = of(item, target) - fitted - params.l2 * weight;
                let off = match weight == 0.0 {
                    true => (pull.abs() - params.l1).max(0.0),
                    false => (pull - params.l1 * weight.signum()).abs(),
                };
                assert!(off < 1e-4, "{target} {item}: {off}");
            }
        }
    }

    #[test]
    fn scores_are_sums_over_the_liked_items() {
        // Users who like item 0 like item 1: w = (2 − λ) / (2 + β) from one to the other.
        let data = liked(3, &[&[0, 1], &[0, 1], &[2], &[0]]);
        let params = SlimParams { l1: 0.5, l2: 1.0, ..SlimParams::default() };
        let interrupt = Interrupt::default();
        let model = params.fit(&data, &FitContext::silent(1, &interrupt)).unwrap();
        let mut scores = vec![f32::NAN; 3];
        model.score(&[UserIx(3)], &mut scores);
        // Column 1: item 0 has three users.
        assert_eq!(scores, [0.0, 1.5 / 4.0, 0.0]);
    }

    #[test]
    fn equal_items_share_a_weight_where_l2_does_not_decide() {
        // Items 0 and 1 have the same three users; two of them like item 2.
        let data = liked(3, &[&[0, 1, 2], &[0, 1, 2], &[0, 1]]);
        let params = SlimParams { l1: 0.0, l2: 0.0, ..SlimParams::default() };
        assert!((weights(&params, &data)[2].iter().sum::<f32>() - 2.0 / 3.0).abs() < 1e-3);
    }
}

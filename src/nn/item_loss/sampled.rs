//! Scores of a few items of each state, and the gradient back, without a copy of the items' rows for every score.

use std::borrow::Cow;

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::Gradients;
use crate::{
    base::simd::{WIDTH, dispatch},
    nn::{
        tensors::slice,
        wide::{Double, Real, Wide},
    },
};

/// States whose scores one task computes.
const STATES: usize = 16;

/// A loss of scores `[states, each]`, the products of states with the items of their `rows`; `loss` gives it and the gradient of
/// the scores.
pub fn gradients(
    states: &Tensor,
    items: &Tensor,
    rows: &[i64],
    loss: impl FnOnce(Tensor) -> (f64, Tensor),
) -> Gradients {
    match states.kind() {
        Kind::Double => Gathered::<f64>::new(states, items, rows).gradients_of(loss),
        _ => Gathered::<f32>::new(states, items, rows).gradients_of(loss),
    }
}

/// States and items, with zeros up to whole vectors.
struct Gathered<'a, T: Clone> {
    states: Cow<'a, [T]>,
    items: Cow<'a, [T]>,
    rows: &'a [i64],
    /// Numbers of a row, without and with the zeros.
    width: usize,
    padded: usize,
}

impl<'a, T: Kernels> Gathered<'a, T> {
    fn new(states: &'a Tensor, items: &'a Tensor, rows: &'a [i64]) -> Self {
        let width = states.size()[1] as usize;
        let padded = width.next_multiple_of(T::LANES);
        let of = |tensor: &'a Tensor| {
            let from: &[T] = slice(tensor);
            if padded == width {
                return Cow::Borrowed(from);
            }
            let mut to = vec![T::of(0.0); from.len() / width * padded];
            for (to, from) in to.chunks_mut(padded).zip(from.chunks(width)) {
                to[..width].copy_from_slice(from);
            }
            Cow::Owned(to)
        };
        Self { states: of(states), items: of(items), rows, width, padded }
    }

    fn gradients_of(&self, loss: impl FnOnce(Tensor) -> (f64, Tensor)) -> Gradients {
        let (loss, of_scores) = loss(self.scores());
        let [states, items] = self.gradients(slice(&of_scores));
        Gradients { loss, states, items }
    }

    fn n_states(&self) -> usize {
        self.states.len() / self.padded
    }

    /// Scores of each state.
    fn each(&self) -> usize {
        self.rows.len() / self.n_states()
    }

    fn scores(&self) -> Tensor {
        let (each, padded) = (self.each(), self.padded);
        let mut scores = vec![T::of(0.0); self.rows.len()];
        let tasks = scores.par_chunks_mut(STATES * each).zip(self.rows.par_chunks(STATES * each));
        tasks.zip(self.states.par_chunks(STATES * padded)).for_each(|((scores, rows), states)| {
            T::products(states, &self.items, padded, rows, scores);
        });
        T::tensor(&scores, &[self.n_states(), each])
    }

    fn gradients(&self, of: &[T]) -> [Tensor; 2] {
        let (each, padded, width) = (self.each(), self.padded, self.width);
        let mut of_states = vec![T::of(0.0); self.states.len()];
        let tasks = of_states.par_chunks_mut(STATES * padded).zip(of.par_chunks(STATES * each));
        tasks.zip(self.rows.par_chunks(STATES * each)).for_each(|((of_states, of), rows)| {
            T::pull(of, &self.items, padded, rows, of_states);
        });
        // A task has the same lanes of all items: each number is summed in the order of states, whatever the number of threads.
        let n_items = self.items.len() / padded;
        let lanes: Vec<Vec<T>> = (0..padded / T::LANES)
            .into_par_iter()
            .map(|at| {
                let mut of_items = vec![T::of(0.0); n_items * T::LANES];
                T::spread(of, &self.states[at * T::LANES..], padded, self.rows, &mut of_items);
                of_items
            })
            .collect();
        let mut of_items = vec![T::of(0.0); n_items * width];
        of_items.par_chunks_mut(width).enumerate().for_each(|(item, to)| {
            for (to, lanes) in to.chunks_mut(T::LANES).zip(&lanes) {
                to.copy_from_slice(&lanes[item * T::LANES..][..to.len()]);
            }
        });
        if padded > width {
            of_states = of_states.chunks(padded).flat_map(|row| &row[..width]).copied().collect();
        }
        [T::tensor(&of_states, &[self.n_states(), width]), T::tensor(&of_items, &[n_items, width])]
    }
}

/// Numbers with kernels. Rows of states and items are `padded` numbers long; as many `rows` belong to each state.
trait Kernels: Real + Default {
    const LANES: usize;
    fn tensor(values: &[Self], shape: &[usize]) -> Tensor;
    /// Scores of each state's items.
    fn products(states: &[Self], items: &[Self], padded: usize, rows: &[i64], scores: &mut [Self]);
    /// Adds its items, times the gradients of their scores, to each state's gradient.
    fn pull(of: &[Self], items: &[Self], padded: usize, rows: &[i64], of_states: &mut [Self]);
    /// Adds each state's first vector, times the gradients of its scores, to its items' `[items, LANES]`.
    fn spread(of: &[Self], states: &[Self], padded: usize, rows: &[i64], of_items: &mut [Self]);
}

fn shape(shape: &[usize]) -> Vec<i64> {
    shape.iter().map(|size| *size as i64).collect()
}

impl Kernels for f32 {
    const LANES: usize = WIDTH;

    fn tensor(values: &[f32], of: &[usize]) -> Tensor {
        Tensor::from_slice(values).reshape(shape(of))
    }

    fn products(states: &[f32], items: &[f32], padded: usize, rows: &[i64], scores: &mut [f32]) {
        products_floats(states, items, padded, rows, scores);
    }

    fn pull(of: &[f32], items: &[f32], padded: usize, rows: &[i64], of_states: &mut [f32]) {
        pull_floats(of, items, padded, rows, of_states);
    }

    fn spread(of: &[f32], states: &[f32], padded: usize, rows: &[i64], of_items: &mut [f32]) {
        spread_floats(of, states, padded, rows, of_items);
    }
}

impl Kernels for f64 {
    const LANES: usize = Double::LANES;

    fn tensor(values: &[f64], of: &[usize]) -> Tensor {
        Tensor::from_slice(values).reshape(shape(of))
    }

    fn products(states: &[f64], items: &[f64], padded: usize, rows: &[i64], scores: &mut [f64]) {
        products::<Double>(states, items, padded, rows, scores);
    }

    fn pull(of: &[f64], items: &[f64], padded: usize, rows: &[i64], of_states: &mut [f64]) {
        pull::<Double>(of, items, padded, rows, of_states);
    }

    fn spread(of: &[f64], states: &[f64], padded: usize, rows: &[i64], of_items: &mut [f64]) {
        spread::<Double>(of, states, padded, rows, of_items);
    }
}

dispatch! {
    fn products_floats = products(
        states: &[f32], items: &[f32], padded: usize, rows: &[i64], scores: &mut [f32],
    )
}

dispatch! {
    fn pull_floats = pull(
        of: &[f32], items: &[f32], padded: usize, rows: &[i64], of_states: &mut [f32],
    )
}

dispatch! {
    fn spread_floats = spread(
        of: &[f32], states: &[f32], padded: usize, rows: &[i64], of_items: &mut [f32],
    )
}

#[inline(always)]
fn products<V: Wide>(
    states: &[V::Elem],
    items: &[V::Elem],
    padded: usize,
    rows: &[i64],
    scores: &mut [V::Elem],
) {
    let each = rows.len() / (states.len() / padded);
    let per_state = rows.chunks(each).zip(scores.chunks_mut(each));
    for (state, (rows, scores)) in states.chunks(padded).zip(per_state) {
        for (row, score) in rows.iter().zip(scores) {
            let item = &items[*row as usize * padded..][..padded];
            let mut sum = V::splat(V::Elem::of(0.0));
            for at in (0..padded).step_by(V::LANES) {
                sum = V::load(state, at).mul_add(V::load(item, at), sum);
            }
            *score = sum.sum();
        }
    }
}

#[inline(always)]
fn pull<V: Wide>(
    of: &[V::Elem],
    items: &[V::Elem],
    padded: usize,
    rows: &[i64],
    of_states: &mut [V::Elem],
) {
    let each = rows.len() / (of_states.len() / padded);
    let per_state = rows.chunks(each).zip(of.chunks(each));
    for (to, (rows, of)) in of_states.chunks_mut(padded).zip(per_state) {
        for (row, of) in rows.iter().zip(of) {
            let item = &items[*row as usize * padded..][..padded];
            let of = V::splat(*of);
            for at in (0..padded).step_by(V::LANES) {
                of.mul_add(V::load(item, at), V::load(to, at)).store(to, at);
            }
        }
    }
}

#[inline(always)]
fn spread<V: Wide>(
    of: &[V::Elem],
    states: &[V::Elem],
    padded: usize,
    rows: &[i64],
    of_items: &mut [V::Elem],
) {
    let each = rows.len() / states.len().div_ceil(padded);
    let per_state = rows.chunks(each).zip(of.chunks(each));
    for (state, (rows, of)) in states.chunks(padded).zip(per_state) {
        let state = V::load(state, 0);
        for (row, of) in rows.iter().zip(of) {
            let at = *row as usize * V::LANES;
            V::splat(*of).mul_add(state, V::load(of_items, at)).store(of_items, at);
        }
    }
}

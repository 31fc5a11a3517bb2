//! Cross-entropy over all items, with its gradient, for some states at a time.

use rayon::prelude::*;
use tch::{Kind, Tensor};

use super::Gradients;
use crate::nn::tensors::{one_thread, zeros_like};

/// States whose scores one task computes, and tasks at once: whatever the number of threads, so that sums are in one order.
const STATES: i64 = 128;
const TASKS: usize = 8;

/// Bytes of scores, exponentials and gradients of as many items, in 32 bits.
pub fn memory(states: usize, items: usize, width: usize) -> usize {
    let tasks = states.div_ceil(STATES as usize).min(TASKS);
    4 * items * (tasks * (STATES as usize + width) + width)
}

/// States, and the rows of `items` that they are to predict.
struct Part {
    states: Tensor,
    items: Tensor,
    targets: Tensor,
}

impl Part {
    /// The sum of losses, and the gradients of the sum times `mean`.
    ///
    /// With e the exponentials of scores less the highest one and s their sum, that of a state's scores is e ÷ s, less 1 at the
    /// target. Only e is of the size of the scores: the rest is applied to states and to rows of items.
    fn gradients(self, mean: f64) -> Gradients {
        one_thread();
        let Self { states, items, targets } = self;
        let mut scores = states.matmul(&items.transpose(0, 1));
        let highest = scores.amax([1], true);
        let mut less = scores.g_sub_(&highest);
        // Before the exponential overwrites it. The highest score, which may be large, is in neither part of the loss.
        let own = less.gather(1, &targets.unsqueeze(1), false);
        let exponentials = less.exp_();
        let sums = exponentials.sum_dim_intlist([1i64].as_slice(), true, None::<Kind>);
        let loss = (sums.log() - own).sum(Kind::Double);
        let scale = sums.reciprocal() * mean;
        let of_states =
            exponentials.matmul(&items) * &scale - items.index_select(0, &targets) * mean;
        let mut of_items = exponentials.transpose(0, 1).matmul(&(&states * scale));
        let _ = of_items.index_add_(0, &targets, &(states * -mean));
        let loss = f64::try_from(loss).unwrap_or(f64::NAN);
        Gradients { loss, states: of_states, items: of_items }
    }
}

/// The mean over states of −log softmax at their targets.
pub fn gradients(states: &Tensor, items: &Tensor, targets: &Tensor) -> Gradients {
    let n = states.size()[0];
    let mean = 1.0 / n as f64;
    let mut all = Gradients { loss: 0.0, states: zeros_like(states), items: zeros_like(items) };
    let starts: Vec<i64> = (0..n).step_by(STATES as usize).collect();
    for starts in starts.chunks(TASKS) {
        let of = |tensor: &Tensor, start: i64| tensor.narrow(0, start, STATES.min(n - start));
        let parts: Vec<Part> = starts
            .iter()
            .map(|start| Part {
                states: of(states, *start),
                items: items.shallow_clone(),
                targets: of(targets, *start),
            })
            .collect();
        let parts: Vec<Gradients> =
            parts.into_par_iter().map(|part| part.gradients(mean)).collect();
        for (start, part) in starts.iter().zip(parts) {
            all.loss += part.loss * mean;
            of(&all.states, *start).copy_(&part.states);
            all.items += part.items;
        }
    }
    all
}

//! Losses of predicting an item from a hidden state: softmax over all items or over a sample, binary cross-entropy.
//!
//! In main memory, the softmax over all items is computed in parts of the states, so that nothing as large as states × items is kept;
//! kernels of ours compute the scores of a large sample without a copy of an item's row for each. Elsewhere libtorch's own
//! operations compute both; tests compare the two. All need at least one state, and record gradients.

mod sampled;
mod softmax;

pub use softmax::memory as softmax_memory;
use tch::{Kind, Reduction, Tensor};

use super::{device::has_kernels, network::leaf, tensors::integers};

/// Negatives of each hidden state, `[states, negatives]`, as rows of the item embedding.
pub struct Sample {
    pub rows: Tensor,
    /// log q of the target and of the negatives, `[states, 1 + negatives]`: what a sampled softmax subtracts.
    pub log_q: Option<Tensor>,
}

/// A loss, and its gradients of states and items.
struct Gradients {
    loss: f64,
    states: Tensor,
    items: Tensor,
}

impl Gradients {
    /// The loss as a tensor whose gradients are these.
    fn attached(self, states: &Tensor, items: &Tensor) -> Tensor {
        let sum = |tensor: &Tensor, grad: &Tensor| (tensor * grad).sum(None::<Kind>);
        let linear = sum(states, &self.states) + sum(items, &self.items);
        &linear - linear.detach() + self.loss
    }
}

/// Cross-entropy over all of `items`, `[items, dim]`; targets are rows of it.
pub fn softmax(states: &Tensor, items: &Tensor, targets: &Tensor) -> Tensor {
    if !has_kernels(states) {
        return softmax_of_libtorch(states, items, targets);
    }
    let [own_states, own_items] = [states, items].map(|of| of.detach().contiguous());
    softmax::gradients(&own_states, &own_items, targets).attached(states, items)
}

fn softmax_of_libtorch(states: &Tensor, items: &Tensor, targets: &Tensor) -> Tensor {
    let logits = states.matmul(&items.transpose(0, 1));
    logits.cross_entropy_loss(targets, None::<Tensor>, Reduction::Mean, -100, 0.0)
}

/// A loss of the scores of the target and of the negatives, `[states, 1 + negatives]`.
fn of_scores(
    states: &Tensor,
    items: &Tensor,
    targets: &Tensor,
    sample: &Sample,
    loss: impl Fn(&Tensor) -> Tensor,
) -> Tensor {
    let rows = Tensor::cat(&[&targets.unsqueeze(1), &sample.rows], 1);
    // The kernels go over all items a few times, which takes longer than a copy of fewer rows.
    if !has_kernels(states) || rows.numel() < items.size()[0] as usize {
        return loss(&scores_of_libtorch(states, items, &rows));
    }
    let [own_states, own_items] = [states, items].map(|of| of.detach().contiguous());
    let of_scores = |scores: Tensor| {
        let scores = leaf(&scores);
        let loss = loss(&scores);
        let grads = Tensor::run_backward(&[&loss], &[&scores], false, false);
        (f64::try_from(loss.detach()).unwrap_or(f64::NAN), grads[0].contiguous())
    };
    sampled::gradients(&own_states, &own_items, &integers(&rows), of_scores).attached(states, items)
}

fn scores_of_libtorch(states: &Tensor, items: &Tensor, rows: &Tensor) -> Tensor {
    let shape = [rows.size()[0], rows.size()[1], states.size()[1]];
    let items = items.index_select(0, &rows.reshape([-1])).view(shape);
    (states.unsqueeze(1) * items).sum_dim_intlist([-1i64].as_slice(), false, None::<Kind>)
}

/// Cross-entropy over the target and the negatives; log q is subtracted from all scores, so that the expected
/// gradient is near that of the softmax over all items (Bengio and Senécal 2008).
pub fn sampled_softmax(
    states: &Tensor,
    items: &Tensor,
    targets: &Tensor,
    sample: &Sample,
) -> Tensor {
    of_scores(states, items, targets, sample, |scores| {
        let scores = match &sample.log_q {
            Some(log_q) => scores - log_q,
            None => scores.shallow_clone(),
        };
        -scores.log_softmax(-1, None::<Kind>).select(1, 0).mean(None::<Kind>)
    })
}

/// −β log σ(target) − Σ log(1 − σ(negative)). β = 1 is binary cross-entropy, a lower one gBCE.
pub fn binary_cross_entropy(
    states: &Tensor,
    items: &Tensor,
    targets: &Tensor,
    sample: &Sample,
    beta: f64,
) -> Tensor {
    let n = sample.rows.size()[1];
    of_scores(states, items, targets, sample, |scores| {
        let of_target = scores.select(1, 0).log_sigmoid() * beta;
        let of_negatives = (-scores.narrow(1, 1, n)).log_sigmoid();
        let of_negatives = of_negatives.sum_dim_intlist([1i64].as_slice(), false, None::<Kind>);
        -(of_target + of_negatives).mean(None::<Kind>)
    })
}

/// β of gBCE (Petrov and Macdonald 2023) for `negatives` of `items` − 1 possible ones: α(t(1 − 1/α) + 1/α), where α
/// is the share of possible negatives that is drawn, and t calibrates: 0 is binary cross-entropy, 1 takes the bias
/// of the sampling away.
pub fn gbce_beta(negatives: usize, items: usize, t: f64) -> f64 {
    let alpha = negatives as f64 / (items - 1).max(1) as f64;
    alpha * (t * (1.0 - 1.0 / alpha) + 1.0 / alpha)
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::{super::NnError, *};
    use crate::nn::{device, tensors::floats};

    fn random(shape: &[i64]) -> Tensor {
        Tensor::randn(shape, (Kind::Double, Device::Cpu))
    }

    fn numbers(tensor: &Tensor) -> Vec<Vec<f64>> {
        Vec::<Vec<f64>>::try_from(tensor).unwrap()
    }

    #[test]
    fn losses_are_the_formulas_written_out() {
        let (states, items) = (random(&[3, 4]), random(&[6, 4]));
        let targets = [2i64, 0, 5];
        let negatives = [[1i64, 3], [4, 5], [0, 1]];
        let log_q = random(&[3, 3]);
        let (h, e, q) = (numbers(&states), numbers(&items), numbers(&log_q));
        let score = |state: usize, item: i64| -> f64 {
            h[state].iter().zip(&e[item as usize]).map(|(a, b)| a * b).sum()
        };
        let sample = |log_q: Option<Tensor>| Sample {
            rows: Tensor::from_slice(&negatives.concat()).reshape([3, 2]),
            log_q,
        };
        let target = Tensor::from_slice(&targets);
        let near = |ours: Tensor, theirs: f64| {
            let ours = f64::try_from(ours).unwrap();
            assert!((ours - theirs).abs() < 1e-12, "{ours} {theirs}");
        };
        let mean = |of: &dyn Fn(usize) -> f64| (0..3).map(of).sum::<f64>() / 3.0;
        let all = |at: usize| {
            let total: f64 = (0..6).map(|item| score(at, item).exp()).sum();
            total.ln() - score(at, targets[at])
        };
        near(softmax(&states, &items, &target), mean(&all));
        let sampled = |at: usize| {
            let own = score(at, targets[at]) - q[at][0];
            let others = (0..2).map(|n| (score(at, negatives[at][n]) - q[at][n + 1]).exp());
            (own.exp() + others.sum::<f64>()).ln() - own
        };
        let ours = sampled_softmax(&states, &items, &target, &sample(Some(log_q.shallow_clone())));
        near(ours, mean(&sampled));
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        for beta in [1.0, 0.3] {
            let binary = |at: usize| {
                let others = negatives[at].iter().map(|n| (1.0 - sigmoid(score(at, *n))).ln());
                -beta * sigmoid(score(at, targets[at])).ln() - others.sum::<f64>()
            };
            let ours = binary_cross_entropy(&states, &items, &target, &sample(None), beta);
            near(ours, mean(&binary));
        }
    }

    /// More states than a task has and one, widths that are whole vectors and none, targets and negatives that occur twice; the
    /// loss is a part of another one.
    #[test]
    fn gradients_are_those_of_libtorch() {
        for (n, width) in [(1_300, 19), (300, 16), (300, 5), (1, 32)] {
            compare_with_libtorch(n, width);
        }
    }

    fn compare_with_libtorch(n: i64, width: i64) {
        let (n_items, negatives) = (37, 5);
        let whole =
            |most: i64, shape: &[i64]| Tensor::randint(most, shape, (Kind::Int64, Device::Cpu));
        let (targets, rows) = (whole(n_items, &[n]), whole(n_items, &[n, negatives]));
        let log_q = random(&[n, negatives + 1]);
        let sample = |log_q: Option<&Tensor>| Sample {
            rows: rows.shallow_clone(),
            log_q: log_q.map(Tensor::shallow_clone),
        };
        let (sampled, plain) = (sample(Some(&log_q)), sample(None));
        type Loss<'a> = Box<dyn Fn(&Tensor, &Tensor) -> Tensor + 'a>;
        let losses: [Loss; 3] = [
            Box::new(|states, items| softmax(states, items, &targets)),
            Box::new(|states, items| sampled_softmax(states, items, &targets, &sampled)),
            Box::new(|states, items| binary_cross_entropy(states, items, &targets, &plain, 0.4)),
        ];
        for (kind, most) in [(Kind::Double, 1e-12), (Kind::Float, 1e-5)] {
            let of = |shape: &[i64]| (random(shape) * 2.0).to_kind(kind).set_requires_grad(true);
            let (states, items) = (of(&[n, width]), of(&[n_items + 1, width]));
            for (at, loss) in losses.iter().enumerate() {
                let both = ["cpu", "like-cuda"].map(|device| {
                    let loss = |_| Ok::<_, NnError>(loss(&states, &items.narrow(0, 1, n_items)));
                    let loss = device::on(device, loss).unwrap();
                    let part = &loss * 0.3;
                    let grads = Tensor::run_backward(&[&part], &[&states, &items], false, false);
                    (loss, grads)
                });
                let [(ours, our_grads), (theirs, their_grads)] = both;
                let off = |a: &Tensor, b: &Tensor| f64::try_from((a - b).abs().max()).unwrap();
                assert!(off(&ours, &theirs) < most * 10.0, "{n} {width} {at} {kind:?}");
                for (ours, theirs) in our_grads.iter().zip(&their_grads) {
                    let most = most * f64::try_from(theirs.abs().max()).unwrap();
                    assert!(
                        off(ours, theirs) < most,
                        "{n} {width} {at} {kind:?}: {}",
                        off(ours, theirs)
                    );
                }
            }
        }
    }

    /// Scores of 30 and 25 in 32 bits, of which the loss is 0.0067.
    #[test]
    fn a_small_loss_of_large_scores_keeps_its_digits_and_what_is_no_number_stays_so() {
        let of = |values: &[f32], shape: [i64; 2]| {
            Tensor::from_slice(values).reshape(shape).set_requires_grad(true)
        };
        let target = Tensor::from_slice(&[0i64]);
        let items = of(&[3.0, 2.5, -1.0], [3, 1]);
        let loss = f64::try_from(softmax(&of(&[10.0], [1, 1]), &items, &target)).unwrap();
        let right = (1.0 + (-5f64).exp() + (-40f64).exp()).ln();
        assert!((loss / right - 1.0).abs() < 3e-5, "{loss} {right}");
        let sample = Sample { rows: Tensor::from_slice(&[1i64, 2]).reshape([1, 2]), log_q: None };
        let states = of(&[f32::NAN], [1, 1]);
        for loss in [
            softmax(&states, &items, &target),
            sampled_softmax(&states, &items, &target, &sample),
            binary_cross_entropy(&states, &items, &target, &sample, 1.0),
        ] {
            assert!(f64::try_from(loss).unwrap().is_nan());
        }
    }

    /// More parts than one thread computes at once.
    #[test]
    fn gradients_have_the_same_bytes_with_any_number_of_threads() {
        let (n, n_items, width) = (1_300, 50, 20);
        let values = |count: i64| floats(&random(&[count]));
        let (states, items) = (values(n * width), values(n_items * width));
        let rows: Vec<i64> = (0..n * 4).map(|at| at * at % n_items).collect();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let of = |values: &[f32], rows: i64| {
                    Tensor::from_slice(values).reshape([rows, width]).set_requires_grad(true)
                };
                let (states, items) = (of(&states, n), of(&items, n_items));
                let rows = Tensor::from_slice(&rows).reshape([n, 4]);
                let targets = rows.select(1, 0).contiguous();
                let sample = Sample { rows: rows.narrow(1, 1, 3), log_q: None };
                let losses = [
                    softmax(&states, &items, &targets),
                    sampled_softmax(&states, &items, &targets, &sample),
                ];
                let grads = losses.iter().flat_map(|loss| {
                    let mut all = Tensor::run_backward(&[loss], &[&states, &items], false, false);
                    all.push(loss.detach());
                    all
                });
                grads.flat_map(|grad| floats(&grad)).map(f32::to_bits).collect::<Vec<u32>>()
            })
        };
        let one = with(1);
        assert!(one == with(2) && one == with(5));
    }

    /// α = 1/4: β = 1 for t = 0, α for t = 1, and between them for others.
    #[test]
    fn beta_of_gbce_goes_from_1_to_the_sampling_rate() {
        assert!((gbce_beta(25, 101, 0.0) - 1.0).abs() < 1e-12);
        assert!((gbce_beta(25, 101, 1.0) - 0.25).abs() < 1e-12);
        assert!((gbce_beta(25, 101, 0.75) - 0.4375).abs() < 1e-12);
    }
}

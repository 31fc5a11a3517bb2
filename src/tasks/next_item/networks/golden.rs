//! Networks against RecBole 1.2.1 and, for BSARec, its equations in PyTorch: hidden states, losses, scores and every
//! gradient, in 64 bits (tools/pin_sequential.py).

use std::collections::HashMap;

use super::*;
use crate::{
    base::interrupt::Interrupt,
    nn::sequence::{Filter, Gru, Positions, Transformer},
    tasks::next_item::models::tests::{context, part},
};

const ITEMS: usize = 11;
const DIM: usize = 8;
const LENGTH: usize = 6;
const SEQUENCES: [&[i64]; 5] =
    [&[3, 5], &[1, 2, 2], &[4, 9, 7], &[6, 1, 8, 3], &[10, 11, 2, 5, 6, 7]];
const TARGETS: [i64; 5] = [4, 1, 11, 2, 9];

type Golden = HashMap<String, Tensor>;

fn golden(name: &str) -> Golden {
    one_thread();
    let path = format!("{}/tests/golden/{name}.safetensors", env!("CARGO_MANIFEST_DIR"));
    Tensor::read_safetensors(path).unwrap().into_iter().collect()
}

fn close(name: &str, ours: &Tensor, theirs: &Tensor) {
    assert_eq!(ours.numel(), theirs.numel(), "{name}");
    let off = f64::try_from((ours - theirs.reshape(ours.size())).abs().max()).unwrap();
    assert!(off < 1e-8, "{name}: off by {off:e}");
}

fn transformer(is_causal: bool, filter: Option<Filter>) -> Shape {
    Shape::Transformer(Transformer {
        dim: DIM,
        layers: 2,
        heads: 2,
        inner: 4 * DIM,
        longest: LENGTH,
        is_causal,
        dropout: 0.0,
        attention_dropout: 0.0,
        filter,
    })
}

/// The network with the weights of the file, which are all of its parameters and no others.
fn network(golden: &Golden, shape: Shape, learns: Learns) -> Network {
    let plan = Plan {
        shape,
        learns,
        is_padded: learns == Learns::Prefixes,
        positions: Positions::FromStart,
        longest: LENGTH,
        dim: DIM,
        rows: Rows { items: ITEMS },
        padding_in_softmax: true,
    };
    let mut network = Network::new(plan, 1, Device::Cpu);
    let theirs = golden.keys().filter(|name| name.starts_with("param.")).count();
    assert_eq!(network.weights.params.len(), theirs);
    for param in &mut network.weights.params {
        let value = golden[&format!("param.{}", param.name)].copy();
        assert_eq!(value.size(), param.value.size(), "{}", param.name);
        param.value = value.set_requires_grad(true);
    }
    network
}

/// States of the inputs at the places, the loss of the targets, and its gradients.
fn check(golden: &Golden, network: &Network, inputs: &[Vec<i64>], at: &[i64], targets: &[i64]) {
    let tokens = network.tokens(inputs);
    let states = network.encode(&tokens, &Drops::new(None), Of::All);
    let states = states.index_select(0, &Tensor::from_slice(at));
    if let Some(theirs) = golden.get("states") {
        close("states", &states, theirs);
    }
    let loss = network.loss(LossSpec::Softmax, &states, targets, None);
    close("loss", &loss, &golden["loss"]);
    let values: Vec<&Tensor> = network.weights.params.iter().map(|param| &param.value).collect();
    let grads = Tensor::run_backward(&[&loss], &values, false, false);
    for (param, grad) in network.weights.params.iter().zip(grads) {
        close(&param.name, &grad, &golden[&format!("grad.{}", param.name)]);
        let largest = f64::try_from(grad.abs().max()).unwrap();
        // What all keys have in common changes no share of attention.
        let is_zero = param.name.ends_with("key.bias");
        assert!(
            is_zero || largest > 1e-4,
            "{}: a gradient of {largest:e} says nothing",
            param.name
        );
    }
}

/// Scores of padding and all items.
fn check_scores(golden: &Golden, network: &Network, inputs: &[Vec<i64>], at: &[i64]) {
    let states = network.encode(&network.tokens(inputs), &Drops::new(None), Of::All);
    let states = network.scored(&states.index_select(0, &Tensor::from_slice(at)));
    close("scores", &states.matmul(&network.items().transpose(0, 1)), &golden["scores"]);
}

/// The last token of each sequence.
fn ends(inputs: &[Vec<i64>]) -> Vec<i64> {
    let mut end = -1;
    let next = |input: &Vec<i64>| {
        end += input.len() as i64;
        end
    };
    inputs.iter().map(next).collect()
}

fn sequences() -> Vec<Vec<i64>> {
    SEQUENCES.map(<[i64]>::to_vec).to_vec()
}

#[test]
fn sasrec_equals_recboles() {
    let golden = golden("sasrec");
    let network = network(&golden, transformer(true, None), Learns::Shifted);
    check(&golden, &network, &sequences(), &ends(&sequences()), &TARGETS);
    check_scores(&golden, &network, &sequences(), &ends(&sequences()));
}

#[test]
fn gru4rec_equals_recboles() {
    let golden = golden("gru4rec");
    let shape = Shape::Gru(Gru { dim: DIM, hidden: DIM, layers: 2, dropout: 0.0 });
    let network = network(&golden, shape, Learns::Shifted);
    check(&golden, &network, &sequences(), &ends(&sequences()), &TARGETS);
    check_scores(&golden, &network, &sequences(), &ends(&sequences()));
}

#[test]
fn bert4rec_equals_recboles() {
    let golden = golden("bert4rec");
    let learns = Learns::Cloze { ratio: 0.2, last: 0.0 };
    let network = network(&golden, transformer(false, None), learns);
    let places: [&[usize]; 5] = [&[1], &[1, 2], &[2], &[1, 3], &[2, 4]];
    let (mut inputs, mut at, mut targets, mut first) = (sequences(), vec![], vec![], 0);
    for (input, places) in inputs.iter_mut().zip(places) {
        for place in places {
            at.push((first + place) as i64);
            targets.push(input[*place]);
            input[*place] = network.plan.rows.mask();
        }
        first += input.len();
    }
    check(&golden, &network, &inputs, &at, &targets);
    let items = |input: &Vec<i64>| -> Vec<u32> {
        input.iter().map(|row| network.plan.rows.item(*row) as u32).collect()
    };
    let inputs: Vec<Vec<i64>> =
        sequences().iter().map(|input| network.plan.test_input(&items(input))).collect();
    assert_eq!(inputs[4], [11, 2, 5, 6, 7, 12]);
    check_scores(&golden, &network, &inputs, &ends(&inputs));
}

#[test]
fn bsarec_equals_its_equations() {
    let golden = golden("bsarec");
    let shape = transformer(true, Some(Filter { alpha: 0.7, c: 3 }));
    let network = network(&golden, shape, Learns::Prefixes);
    let inputs: Vec<Vec<i64>> = [vec![]].into_iter().chain(sequences()).collect();
    let at: Vec<i64> = (1..=6).map(|row| row * LENGTH as i64 - 1).collect();
    let targets: Vec<i64> = [3].into_iter().chain(TARGETS).collect();
    check(&golden, &network, &inputs, &at, &targets);
    check_scores(&golden, &network, &inputs, &at);
}

/// 233,408 of items and padding, 3,200 of positions, 128 of the first norm, 50,176 of each of two blocks: what the
/// released code logs on LastFM.
#[test]
fn bsarec_has_the_published_number_of_parameters_on_lastfm() {
    let plan = Plan {
        shape: Shape::Transformer(Transformer {
            dim: 64,
            layers: 2,
            heads: 1,
            inner: 256,
            longest: 50,
            is_causal: true,
            dropout: 0.5,
            attention_dropout: 0.5,
            filter: Some(Filter { alpha: 0.9, c: 3 }),
        }),
        learns: Learns::Prefixes,
        is_padded: true,
        positions: Positions::FromEnd,
        longest: 50,
        dim: 64,
        rows: Rows { items: 3646 },
        padding_in_softmax: true,
    };
    assert_eq!(Network::new(plan, 1, Device::Cpu).weights.count(), 337_088);
}

/// Sequences in which item i is followed by i + 1 (mod 10).
fn rounds() -> SequencePart {
    let of = |user: u32, length: u32| (0..length).map(|at| (user + at) % 10).collect::<Vec<u32>>();
    let train: Vec<Vec<u32>> = (0..50).map(|user| of(user, 3 + user / 10)).collect();
    let validation: Vec<Vec<u32>> =
        train.iter().map(|of| vec![(of[of.len() - 1] + 1) % 10]).collect();
    let slices = |of: &'static [Vec<u32>]| of.iter().map(Vec::as_slice).collect::<Vec<_>>();
    part(10, &slices(train.leak()), &slices(validation.leak()))
}

/// One in three positions of six is masked, padding too; what is predicted is the item after the prefix.
#[test]
fn the_bert4rec_of_bsarecs_repository_predicts_the_next_item_at_a_masked_position() {
    let data = part(5, &[&[0, 1, 2], &[4]], &[&[3], &[]]);
    let interrupt = Interrupt::default();
    let context = context(&interrupt);
    let spec = crate::tasks::next_item::models::tests::model(
        "{model: bert4rec, variant: bsarec, factors: 8, length: 6, mask: 0.34, dropout: 0, attention_dropout: 0}",
    );
    let plan = Plan {
        shape: transformer(false, None),
        learns: Learns::MaskedPrefixes { ratio: 0.34 },
        is_padded: true,
        positions: Positions::FromEnd,
        longest: LENGTH,
        dim: DIM,
        rows: Rows { items: 5 },
        padding_in_softmax: false,
    };
    assert_eq!(plan.test_input(&[0, 1, 2, 3, 4, 0, 1]), [3, 4, 5, 1, 2, 6]);
    let mut network = Network::new(plan, 1, Device::Cpu);
    let training = SequenceTraining::default();
    let learner = SequenceLearner::new(
        &mut network,
        LossSpec::Softmax,
        &training,
        Side::Any,
        &data,
        &context,
    );
    let mut learner = learner.unwrap();
    let mut masked_padding = 0;
    for epoch in 0..20 {
        for batch in crate::nn::learn::Learner::batches(&mut learner, epoch) {
            let (inputs, tokens, mut targets) = learner.prepared(&batch);
            assert_eq!((inputs.len(), tokens.len()), (4, 4));
            for (row, input) in inputs.iter().enumerate() {
                assert_eq!(input.len(), LENGTH);
                assert_eq!(input.iter().filter(|item| **item == 6).count(), 2, "{input:?}");
                assert_eq!(input[tokens[row] as usize - row * LENGTH], 6);
                masked_padding += input[..3].iter().filter(|item| **item == 6).count();
            }
            targets.sort_unstable();
            assert_eq!(targets, [1, 2, 3, 5]);
        }
    }
    assert!(masked_padding > 20, "{masked_padding}");
    let fitted = spec.fit(&data, &context).unwrap();
    assert_eq!(fitted.parameters(), Some(7 * 8 + 6 * 8 + 16 + 2 * (4 * 72 + 16 + 288 + 264 + 16)));
}

#[test]
fn sasrec_learns_what_follows_under_every_loss() {
    learns_what_follows_under_every_loss("sasrec");
}

#[test]
fn gru4rec_learns_what_follows_under_every_loss() {
    learns_what_follows_under_every_loss("gru4rec");
}

#[test]
fn bert4rec_learns_what_follows_under_every_loss() {
    learns_what_follows_under_every_loss("bert4rec");
}

#[test]
fn bsarec_learns_what_follows_under_every_loss() {
    learns_what_follows_under_every_loss("bsarec");
}

fn learns_what_follows_under_every_loss(model: &str) {
    let data = rounds();
    let interrupt = Interrupt::default();
    for loss in [
        "softmax",
        "{sampled-softmax: {negatives: 4, draw: popularity}}",
        "{bce: {negatives: 2}}",
        "{gbce: {negatives: 2}}",
    ] {
        // Dropout is there so that its masks are drawn. What is masked is seldom the last item.
        let (more, epochs, rate) = match model {
            "gru4rec" => ("factors: 16, dropout: 0.1", 60, 0.01),
            "bert4rec" => {
                ("factors: 32, dropout: 0, attention_dropout: 0, mask_last: 0.5", 200, 0.002)
            }
            "sasrec" => {
                ("factors: 16, samples: sequences, dropout: 0.1, attention_dropout: 0.1", 60, 0.01)
            }
            _ => ("factors: 16, dropout: 0.1, heads: 2, attention_dropout: 0.1", 60, 0.01),
        };
        let yaml = format!(
            "{{model: {model}, {more}, length: 6, loss: {loss}, training: {{epochs: \
             {epochs}, batch: 8, learning_rate: {rate}, validate: {{every: 10, metric: hit-rate, k: 1}}, stop: {{on: \
             validation, patience: 3}}, device: cpu}}}}"
        );
        let spec = crate::tasks::next_item::models::tests::model(&yaml);
        let fitted = spec.fit(&data, &context(&interrupt)).unwrap();
        let stats = fitted.stats().training.unwrap();
        // Any order gives about a fifth.
        assert!(stats.best_validation.unwrap() > 0.7, "{model} {loss}: {stats:?}");
        // From the validation part on: the item after it.
        let input = data.input();
        let users: Vec<UserIx> = (0..50).map(UserIx).collect();
        let mut scores = vec![0f32; 50 * 10];
        fitted.score(&users, &input, &mut scores);
        let right = users.iter().zip(scores.chunks(10)).filter(|(user, row)| {
            let input = input.of(**user);
            let unseen = (0..10).filter(|item| !input.contains(&(*item as u32)));
            let best = unseen.max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
            best as u32 == (input[input.len() - 1] + 1) % 10
        });
        assert!(right.count() >= 35, "{model} {loss}");
    }
}

/// A pretraining has sequences and batches of its own.
#[test]
fn the_memory_of_a_pretraining_is_not_that_of_its_fit() {
    let memory = |pretraining: &str| {
        let yaml = format!(
            "{{model: bert4rec, length: 20, training: {{batch: 32}}, pretraining: {pretraining}}}"
        );
        crate::tasks::next_item::models::tests::model(&yaml).pretraining_memory(3_000)
    };
    let [small, large] = ["{batch: 32}", "{batch: 256}"].map(memory);
    assert_eq!(memory("{}"), small);
    assert!(large > 2 * small, "{small} {large}");
    assert!(memory("{batch: 256, sequences: 250000}") > large);
}

//! Networks on sequences of items: transformers with causal or full attention, BSARec's frequency filter, GRUs.
//!
//! The tokens of a batch lie one behind the other, and sequences of one length are attended to together, so that no
//! padding is computed. BSARec's filter is defined on padded sequences; there padding is a token like others. All of
//! it is made of libtorch's operations, and autograd finds the gradients. Names of parameters are those of RecBole.

use std::{cell::Cell, collections::HashMap};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};

use super::{
    network::{Dropout, Param, drop_units},
    start,
};

/// Parameters by name.
pub struct Weights {
    pub params: Vec<Param>,
    places: HashMap<String, usize>,
}

impl Weights {
    pub fn new(params: Vec<Param>) -> Self {
        let places = params.iter().enumerate().map(|(at, param)| (param.name.clone(), at));
        Self { places: places.collect(), params }
    }

    /// The parameter of a name. Panics if there is none: only shapes of this file ask for it.
    pub fn get(&self, name: &str) -> &Tensor {
        &self.params[self.places[name]].value
    }

    /// Number of trained numbers.
    pub fn count(&self) -> usize {
        self.params.iter().map(|param| param.value.numel()).sum()
    }

    fn linear(&self, name: &str, x: &Tensor) -> Tensor {
        let weight = self.get(&format!("{name}.weight"));
        x.matmul(&weight.transpose(0, 1)) + self.get(&format!("{name}.bias"))
    }

    fn norm(&self, name: &str, x: &Tensor) -> Tensor {
        let (weight, bias) =
            (self.get(&format!("{name}.weight")), self.get(&format!("{name}.bias")));
        let width = x.size()[x.dim() - 1];
        x.layer_norm([width], Some(weight), Some(bias), EPSILON, false)
    }
}

const EPSILON: f64 = 1e-12;

/// Added to scores of attention that must not count.
const MASKED: f64 = -10_000.0;

/// Where positions are counted from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Positions {
    /// The last item has the last position: as in sequences that are padded on the left.
    #[default]
    FromEnd,
    /// The first item has the first position: as in sequences that are padded on the right.
    FromStart,
}

/// The tokens of a batch.
pub struct Tokens {
    /// Rows of the item embedding, `[tokens]`.
    items: Tensor,
    positions: Tensor,
    /// Number and length of the sequences that lie one behind the other.
    groups: Vec<(i64, i64)>,
    /// `[sequences, 1, 1, length]`: what is added to the scores of keys, where there is padding.
    padding: Option<Tensor>,
}

impl Tokens {
    /// Sequences that are not empty, sorted by length, none longer than `longest`.
    pub fn ragged(inputs: &[Vec<i64>], longest: usize, from: Positions, device: Device) -> Self {
        let mut groups: Vec<(i64, i64)> = Vec::new();
        let mut positions: Vec<i64> = Vec::new();
        for input in inputs {
            let length = input.len() as i64;
            match groups.last_mut() {
                Some((count, of)) if *of == length => *count += 1,
                _ => groups.push((1, length)),
            }
            let first = match from {
                Positions::FromEnd => longest as i64 - length,
                Positions::FromStart => 0,
            };
            positions.extend(first..first + length);
        }
        Self {
            items: Tensor::from_slice(&inputs.concat()).to_device(device),
            positions: Tensor::from_slice(&positions).to_device(device),
            groups,
            padding: None,
        }
    }

    /// Sequences, none longer than `length`, with rows 0 before them.
    pub fn padded(inputs: &[Vec<i64>], length: usize, device: Device) -> Self {
        let (mut items, mut mask) = (Vec::new(), Vec::new());
        for input in inputs {
            items.extend(std::iter::repeat_n(0, length - input.len()));
            items.extend(input);
        }
        mask.extend(items.iter().map(|item| if *item == 0 { MASKED as f32 } else { 0.0 }));
        let (count, width) = (inputs.len() as i64, length as i64);
        let positions: Vec<i64> = (0..count).flat_map(|_| 0..width).collect();
        Self {
            items: Tensor::from_slice(&items).to_device(device),
            positions: Tensor::from_slice(&positions).to_device(device),
            groups: vec![(count, width)],
            padding: Some(
                Tensor::from_slice(&mask).reshape([count, 1, 1, width]).to_device(device),
            ),
        }
    }
}

impl Tokens {
    /// Where the last token of each sequence is.
    fn ends(&self) -> Tensor {
        let mut end = -1;
        let lengths =
            self.groups.iter().flat_map(|(count, length)| (0..*count).map(move |_| *length));
        let ends: Vec<i64> = lengths
            .map(|length| {
                end += length;
                end
            })
            .collect();
        Tensor::from_slice(&ends).to_device(self.items.device())
    }

    /// Embeddings of the items. Padding learns nothing from being looked up.
    fn items_of(&self, weights: &Weights) -> Tensor {
        Tensor::embedding(weights.get("item_embedding.weight"), &self.items, 0, false, false)
    }
}

/// Units that are switched off in this step; none outside training.
pub struct Drops {
    stream: Option<u64>,
    /// Places in the network, in the order in which they are computed.
    place: Cell<u64>,
}

impl Drops {
    /// A stream of its own for each step.
    pub fn new(stream: Option<u64>) -> Self {
        Self { stream, place: Cell::new(0) }
    }

    fn apply(&self, x: &Tensor, share: f64) -> Tensor {
        let place = self.place.replace(self.place.get() + 1);
        drop_units(x, self.stream.map(|stream| Dropout { share, stream }), place)
    }
}

/// Blocks of attention and feed-forward layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Transformer {
    pub dim: usize,
    pub layers: usize,
    pub heads: usize,
    /// Width of the feed-forward layers.
    pub inner: usize,
    /// Longest sequence.
    pub longest: usize,
    /// Whether a position attends only to itself and those before it.
    pub is_causal: bool,
    /// Dropout of hidden states and of attention.
    pub dropout: f64,
    pub attention_dropout: f64,
    /// BSARec's frequency filter beside attention.
    pub filter: Option<Filter>,
}

/// A low-pass filter over positions whose remainder is scaled (Shin et al. 2024).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Filter {
    /// Weight of the filter; that of attention is 1 − `alpha`.
    pub alpha: f64,
    /// Frequencies up to ⌊c ÷ 2⌋ are low.
    pub c: usize,
}

impl Transformer {
    /// Start values: normal with deviation 0.02, biases 0. `rows` is the number of rows of the item embedding.
    pub fn start(&self, rows: usize, seed: u64) -> Vec<Param> {
        let mut params = Start { seed, params: Vec::new() };
        let d = self.dim;
        params.normal("item_embedding.weight", &[rows, d]);
        params.normal("position_embedding.weight", &[self.longest, d]);
        params.norm("LayerNorm", d);
        for layer in 0..self.layers {
            let of = |name: &str| format!("trm_encoder.layer.{layer}.{name}");
            for name in ["query", "key", "value", "dense"] {
                params.linear(&of(&format!("multi_head_attention.{name}")), d, d);
            }
            params.norm(&of("multi_head_attention.LayerNorm"), d);
            if self.filter.is_some() {
                let stream = params.params.len() as u64;
                let beta = start::normal(seed, stream, &[1, 1, d], 1.0);
                params.params.push(Param::new(of("filter.sqrt_beta"), beta));
                params.norm(&of("filter.LayerNorm"), d);
            }
            params.linear(&of("feed_forward.dense_1"), d, self.inner);
            params.linear(&of("feed_forward.dense_2"), self.inner, d);
            params.norm(&of("feed_forward.LayerNorm"), d);
        }
        params.params
    }

    /// Hidden states of the tokens that are asked for, `[tokens, dim]`.
    pub fn encode(&self, weights: &Weights, tokens: &Tokens, drops: &Drops, of: Of) -> Tensor {
        let items = tokens.items_of(weights);
        let positions = weights.get("position_embedding.weight").index_select(0, &tokens.positions);
        let mut x = weights.norm("LayerNorm", &(items + positions));
        x = drops.apply(&x, self.dropout);
        for layer in 0..self.layers {
            // No later layer looks at the other tokens.
            let ends = (of == Of::Last && layer + 1 == self.layers).then(|| tokens.ends());
            let input = Input { tokens, ends: ends.as_ref(), x: &x };
            let of = |name: &str| format!("trm_encoder.layer.{layer}.{name}");
            let attended = self.attention(weights, &of("multi_head_attention"), &input, drops);
            let mixed = match self.filter {
                Some(filter) => {
                    let filtered = self.filtered(filter, weights, &of("filter"), &input, drops);
                    filtered * filter.alpha + attended * (1.0 - filter.alpha)
                }
                None => attended,
            };
            let inner = weights.linear(&of("feed_forward.dense_1"), &mixed).gelu("none");
            let outer = weights.linear(&of("feed_forward.dense_2"), &inner);
            let outer = drops.apply(&outer, self.dropout);
            x = weights.norm(&of("feed_forward.LayerNorm"), &(outer + mixed));
        }
        x
    }

    fn attention(&self, weights: &Weights, name: &str, input: &Input, drops: &Drops) -> Tensor {
        let (heads, width) = (self.heads as i64, (self.dim / self.heads) as i64);
        let (tokens, asked) = (input.tokens, input.asked());
        let query = weights.linear(&format!("{name}.query"), &asked);
        let [key, value] =
            ["key", "value"].map(|part| weights.linear(&format!("{name}.{part}"), input.x));
        let (mut first, mut first_asked) = (0, 0);
        let attended: Vec<Tensor> = tokens
            .groups
            .iter()
            .map(|(count, length)| {
                let of = |x: &Tensor, first: i64, length: i64| {
                    let rows = x.narrow(0, first, count * length);
                    rows.view([*count, length, heads, width]).transpose(1, 2)
                };
                let n_asked = if input.ends.is_some() { 1 } else { *length };
                let (key, value) = (of(&key, first, *length), of(&value, first, *length));
                let scores = of(&query, first_asked, n_asked).matmul(&key.transpose(2, 3));
                let scores = self.masked(scores / (width as f64).sqrt(), tokens.padding.as_ref());
                let shares = drops.apply(&scores.softmax(-1, None::<Kind>), self.attention_dropout);
                let mixed = shares.matmul(&value).transpose(1, 2).contiguous();
                first += count * length;
                first_asked += count * n_asked;
                mixed.view([count * n_asked, self.dim as i64])
            })
            .collect();
        let out = weights.linear(&format!("{name}.dense"), &Tensor::cat(&attended, 0));
        let out = drops.apply(&out, self.dropout);
        weights.norm(&format!("{name}.LayerNorm"), &(out + asked))
    }

    /// Scores `[sequences, heads, asked, length]` with what must not count masked once, whatever the reasons. The last
    /// token has no future.
    fn masked(&self, scores: Tensor, padding: Option<&Tensor>) -> Tensor {
        let options = (scores.kind(), scores.device());
        let shape = scores.size();
        let (asked, length) = (shape[2], shape[3]);
        let future = (self.is_causal && asked == length).then(|| {
            let all = Tensor::full([length, length], MASKED, options);
            all.triu(1)
        });
        match (future, padding) {
            (None, None) => scores,
            (Some(future), None) => scores + future,
            (None, Some(padding)) => scores + padding.to_kind(options.0),
            (Some(future), Some(padding)) => scores + future.minimum(&padding.to_kind(options.0)),
        }
    }

    /// x + what the filter makes of it, normed: low frequencies, and the others times β².
    fn filtered(
        &self,
        filter: Filter,
        weights: &Weights,
        name: &str,
        input: &Input,
        drops: &Drops,
    ) -> Tensor {
        let d = self.dim as i64;
        let asked = input.asked();
        let mut first = 0;
        let low: Vec<Tensor> = input
            .tokens
            .groups
            .iter()
            .map(|(count, length)| {
                let rows = input.x.narrow(0, first, count * length).view([*count, *length, d]);
                first += count * length;
                let pass = low_pass(*length as usize, filter.c, rows.kind());
                let (pass, n_asked) = match input.ends {
                    Some(_) => (pass.narrow(0, length - 1, 1), 1),
                    None => (pass, *length),
                };
                pass.to_device(rows.device()).matmul(&rows).view([count * n_asked, d])
            })
            .collect();
        let low = Tensor::cat(&low, 0);
        let beta = weights.get(&format!("{name}.sqrt_beta")).view([1, d]);
        let mixed = &low + (&asked - &low) * (&beta * &beta);
        let mixed = drops.apply(&mixed, self.dropout);
        weights.norm(&format!("{name}.LayerNorm"), &(mixed + asked))
    }
}

/// Which hidden states are computed. What predicts the next item is the last state of a sequence; the last layer need
/// not compute the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Of {
    /// All tokens.
    All,
    /// The last token of each sequence.
    Last,
}

/// What a layer looks at.
struct Input<'a> {
    tokens: &'a Tokens,
    /// Hidden states of all tokens.
    x: &'a Tensor,
    /// The last tokens, where no others are asked for.
    ends: Option<&'a Tensor>,
}

impl Input<'_> {
    /// Hidden states of the tokens that are asked for.
    fn asked(&self) -> Tensor {
        match self.ends {
            Some(ends) => self.x.index_select(0, ends),
            None => self.x.shallow_clone(),
        }
    }
}

/// What a discrete Fourier transform that keeps the frequencies 0 to ⌊c ÷ 2⌋ makes of a real sequence, as a matrix:
/// `[t, s]` is Σ over kept frequencies k of cos(2πk(t − s) ÷ length) ÷ length, both signs of k counted.
fn low_pass(length: usize, c: usize, kind: Kind) -> Tensor {
    let kept = (c / 2).min(length / 2);
    let of = |t: usize, s: usize| {
        let angle = 2.0 * std::f64::consts::PI * (t as f64 - s as f64) / length as f64;
        let sum: f64 = (1..=kept)
            .map(|k| {
                // The highest frequency of an even length has one sign.
                let signs = if 2 * k == length { 1.0 } else { 2.0 };
                signs * (k as f64 * angle).cos()
            })
            .sum();
        (1.0 + sum) / length as f64
    };
    let values: Vec<f64> =
        (0..length).flat_map(|t| (0..length).map(move |s| (t, s))).map(|(t, s)| of(t, s)).collect();
    Tensor::from_slice(&values).reshape([length as i64, length as i64]).to_kind(kind)
}

/// A gated recurrent unit with a dense layer after it, as RecBole has GRU4Rec (Hidasi et al. 2016).
#[derive(Clone, Debug, PartialEq)]
pub struct Gru {
    pub dim: usize,
    pub hidden: usize,
    pub layers: usize,
    /// Dropout of the item embeddings.
    pub dropout: f64,
}

impl Gru {
    /// Start values: Glorot's, normal for items and uniform for gates.
    pub fn start(&self, rows: usize, seed: u64) -> Vec<Param> {
        let deviation = (2.0 / (rows + self.dim) as f64).sqrt();
        let items = start::normal(seed, 0, &[rows, self.dim], deviation);
        let mut params = vec![Param::new("item_embedding.weight", items)];
        for layer in 0..self.layers {
            let width = if layer == 0 { self.dim } else { self.hidden };
            for (name, columns) in [("ih", width), ("hh", self.hidden)] {
                let stream = params.len() as u64;
                let gates = start::glorot(seed, stream, 3 * self.hidden, columns);
                params.push(Param::new(format!("gru_layers.weight_{name}_l{layer}"), gates));
            }
        }
        let dense = start::glorot(seed, params.len() as u64, self.dim, self.hidden);
        params.push(Param::new("dense.weight", dense));
        params.push(Param::new("dense.bias", start::constant(&[self.dim], 0.0)));
        params
    }

    /// Hidden states of the tokens that are asked for, `[tokens, dim]`.
    pub fn encode(&self, weights: &Weights, tokens: &Tokens, drops: &Drops, of: Of) -> Tensor {
        let items = tokens.items_of(weights);
        let items = drops.apply(&items, self.dropout);
        let names = (0..self.layers).flat_map(|layer| {
            ["ih", "hh"].map(|name| format!("gru_layers.weight_{name}_l{layer}"))
        });
        let gates: Vec<&Tensor> = names.map(|name| weights.get(&name)).collect();
        let mut first = 0;
        let states: Vec<Tensor> = tokens
            .groups
            .iter()
            .map(|(count, length)| {
                let rows = items.narrow(0, first, count * length);
                first += count * length;
                let rows = rows.view([*count, *length, self.dim as i64]);
                let shape = [self.layers as i64, *count, self.hidden as i64];
                let zeros = Tensor::zeros(shape, (items.kind(), items.device()));
                let layers = self.layers as i64;
                let (states, _) = rows.gru(&zeros, &gates, false, layers, 0.0, false, false, true);
                states.contiguous().view([count * length, self.hidden as i64])
            })
            .collect();
        let states = Tensor::cat(&states, 0);
        match of {
            Of::All => weights.linear("dense", &states),
            Of::Last => weights.linear("dense", &states.index_select(0, &tokens.ends())),
        }
    }
}

/// BERT4Rec's last layer: dense, GELU, norm. Adds its parameters, and the items' biases.
pub fn cloze_head(params: &mut Vec<Param>, dim: usize, items: usize, seed: u64) {
    let mut head = Start { seed, params: std::mem::take(params) };
    head.linear("output_ffn", dim, dim);
    head.norm("output_ln", dim);
    *params = head.params;
    params.push(Param::new("output_bias", start::constant(&[items], 0.0)));
}

/// What [`cloze_head`]'s layer makes of hidden states.
pub fn after_cloze_head(weights: &Weights, x: &Tensor) -> Tensor {
    weights.norm("output_ln", &weights.linear("output_ffn", x).gelu("none"))
}

/// Parameters in the making; each has a stream of random numbers of its own.
struct Start {
    seed: u64,
    params: Vec<Param>,
}

impl Start {
    fn normal(&mut self, name: &str, shape: &[usize]) {
        let value = start::normal(self.seed, self.params.len() as u64, shape, 0.02);
        self.params.push(Param::new(name, value));
    }

    fn linear(&mut self, name: &str, from: usize, to: usize) {
        self.normal(&format!("{name}.weight"), &[to, from]);
        self.params.push(Param::new(format!("{name}.bias"), start::constant(&[to], 0.0)));
    }

    fn norm(&mut self, name: &str, width: usize) {
        self.params.push(Param::new(format!("{name}.weight"), start::constant(&[width], 1.0)));
        self.params.push(Param::new(format!("{name}.bias"), start::constant(&[width], 0.0)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Against libtorch's transform there and back.
    #[test]
    fn the_low_pass_matrix_is_the_transform_with_high_frequencies_removed() {
        for (length, c) in [(50, 3), (50, 5), (7, 4), (6, 6), (5, 50), (1, 3)] {
            let x = Tensor::randn([3, length, 4], (Kind::Double, Device::Cpu));
            let bins = x.fft_rfft(None, 1, "ortho");
            let kept = (c / 2 + 1).min(bins.size()[1]);
            let zeros = Tensor::zeros_like(&bins.narrow(1, kept, bins.size()[1] - kept));
            let low = Tensor::cat(&[bins.narrow(1, 0, kept), zeros], 1);
            let theirs = low.fft_irfft(Some(length), 1, "ortho");
            let ours = low_pass(length as usize, c as usize, Kind::Double).matmul(&x);
            let off = f64::try_from((ours - theirs).abs().max()).unwrap();
            assert!(off < 1e-12, "{length} {c}: {off:e}");
        }
    }

    #[test]
    fn the_last_states_alone_are_the_last_of_all() {
        let near = |a: &Tensor, b: &Tensor| f64::try_from((a - b).abs().max()).unwrap() < 1e-6;
        let inputs = [vec![3i64], vec![3, 5], vec![1, 2], vec![4, 4, 9, 2, 7]];
        for filter in [None, Some(Filter { alpha: 0.7, c: 3 })] {
            for is_causal in [true, false] {
                let network = Transformer {
                    dim: 16,
                    layers: 2,
                    heads: 2,
                    inner: 32,
                    longest: 6,
                    is_causal,
                    dropout: 0.5,
                    attention_dropout: 0.5,
                    filter,
                };
                let weights = Weights::new(network.start(12, 7));
                for tokens in [
                    Tokens::padded(&inputs, 6, Device::Cpu),
                    Tokens::ragged(&inputs, 6, Positions::FromEnd, Device::Cpu),
                ] {
                    let encode = |of| network.encode(&weights, &tokens, &Drops::new(None), of);
                    let all = encode(Of::All).index_select(0, &tokens.ends());
                    assert!(near(&encode(Of::Last), &all), "{filter:?} {is_causal}");
                }
            }
        }
        let network = Gru { dim: 8, hidden: 12, layers: 2, dropout: 0.5 };
        let weights = Weights::new(network.start(12, 7));
        let tokens = Tokens::ragged(&inputs, 6, Positions::FromEnd, Device::Cpu);
        let encode = |of| network.encode(&weights, &tokens, &Drops::new(None), of);
        assert!(near(&encode(Of::Last), &encode(Of::All).index_select(0, &tokens.ends())));
    }

    #[test]
    fn hidden_states_do_not_depend_on_the_other_sequences_of_the_batch_nor_on_what_comes_later() {
        let network = Transformer {
            dim: 16,
            layers: 2,
            heads: 2,
            inner: 32,
            longest: 6,
            is_causal: true,
            dropout: 0.5,
            attention_dropout: 0.5,
            filter: None,
        };
        let weights = Weights::new(network.start(12, 7));
        let encode = |inputs: &[Vec<i64>], padded: bool| {
            let tokens = match padded {
                true => Tokens::padded(inputs, 6, Device::Cpu),
                false => Tokens::ragged(inputs, 6, Positions::FromEnd, Device::Cpu),
            };
            network.encode(&weights, &tokens, &Drops::new(None), Of::All)
        };
        let near = |a: &Tensor, b: &Tensor| f64::try_from((a - b).abs().max()).unwrap() < 1e-5;
        let inputs = [vec![3i64, 5], vec![1, 2], vec![4, 4, 9, 2, 7]];
        let all = encode(&inputs, false);
        let mut first = 0;
        let padded = encode(&inputs, true);
        for (row, input) in (0i64..).zip(&inputs) {
            let length = input.len() as i64;
            let own = all.narrow(0, first, length);
            assert!(near(&own, &encode(std::slice::from_ref(input), false)));
            // As in sequences that are padded on the left.
            assert!(near(&own, &padded.narrow(0, 6 * row + 6 - length, length)));
            first += length;
        }
        // Positions from the start do not move when something follows.
        let tokens =
            |input: Vec<i64>| Tokens::ragged(&[input], 6, Positions::FromStart, Device::Cpu);
        let short = network.encode(&weights, &tokens(vec![4, 4, 9]), &Drops::new(None), Of::All);
        let long = network.encode(&weights, &tokens(vec![4, 4, 9, 2]), &Drops::new(None), Of::All);
        assert!(near(&short, &long.narrow(0, 0, 3)));
        let full = Transformer { is_causal: false, ..network.clone() };
        let short = full.encode(&weights, &tokens(vec![4, 4, 9]), &Drops::new(None), Of::All);
        let long = full.encode(&weights, &tokens(vec![4, 4, 9, 2]), &Drops::new(None), Of::All);
        assert!(!near(&short, &long.narrow(0, 0, 3)));
    }
}

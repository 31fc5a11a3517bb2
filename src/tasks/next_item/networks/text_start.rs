//! Item embeddings that start from texts: the main components of the texts' vectors, as LLM2BERT4Rec starts from those of a
//! language model (Harte et al. 2023, *Leveraging Large Language Models for Sequential Recommendation*).

use rand::{SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ITEM_ROWS, Network};
use crate::{
    nn::{EncoderSpec, Kind, Tensor, tensors::floats},
    tasks::shared::{ModelError, Wrong},
    text::{Embeddings, FileSpec},
};

/// Texts that the embeddings of items start from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TextStart {
    /// The texts: a table with a row for each item.
    pub items: FileSpec,
    #[serde(default)]
    pub encoder: EncoderSpec,
    /// A control: each item gets the vector of another one, drawn by the seed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shuffled: bool,
}

impl TextStart {
    /// What is wrong with it.
    pub fn validate(&self) -> Result<(), Wrong> {
        self.encoder
            .validate()
            .map_err(|message| ("text", format!("has an encoder whose {message}")))
    }
}

/// What texts gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Started {
    /// Items with a text; the others keep the values they had.
    pub items: usize,
    /// The share of the variance of the texts' vectors that their main components hold.
    pub variance: f64,
}

/// Lets the rows of items with a text start from the main components of the texts' vectors, as long on average as the rows
/// that they replace.
pub fn start_from(
    network: &mut Network,
    texts: &Embeddings,
    is_shuffled: bool,
    seed: u64,
) -> Result<Started, ModelError> {
    let (width, dim) = (texts.dim, network.plan.dim);
    let unsuitable = |message: String| Err(ModelError::Unsuitable(message));
    let with_text: Vec<usize> =
        (0..texts.present.len()).filter(|item| texts.present[*item]).collect();
    let n = with_text.len();
    if dim > width {
        return unsuitable(format!(
            "`factors` is {dim}, and the vectors of texts have {width} numbers\n  = help: at most {width} factors can start from \
             texts"
        ));
    }
    if n < 2 {
        return unsuitable(format!(
            "{n} of {} items have a text: there are no components to start from",
            texts.present.len()
        ));
    }
    let rows: Vec<f64> = with_text
        .iter()
        .flat_map(|item| &texts.vectors[item * width..][..width])
        .map(|value| f64::from(*value))
        .collect();
    let rows = Tensor::from_slice(&rows).reshape([n as i64, width as i64]);
    let centred = &rows - rows.mean_dim([0i64].as_slice(), true, Kind::Double);
    let covariance = centred.transpose(0, 1).matmul(&centred) / n as f64;
    // In rising order of the eigenvalues.
    let (values, vectors) = covariance.linalg_eigh("L");
    let main = vectors.narrow(1, (width - dim) as i64, dim as i64).flip([1i64]);
    // A component has no sign of its own: its largest number is positive.
    let largest = main.abs().argmax(0, true);
    let main = &main * main.gather(0, &largest, false).sign();
    let of = |tensor: &Tensor| f64::try_from(tensor).unwrap_or(f64::NAN);
    let all = of(&values.clamp_min(0.0).sum(Kind::Double));
    let kept = values.narrow(0, (width - dim) as i64, dim as i64);
    let kept = of(&kept.clamp_min(0.0).sum(Kind::Double));
    // Texts' vectors have the length 1.
    if kept.is_nan() || kept < 1e-12 {
        return unsuitable(
            "the vectors of all texts are equal: there is nothing to start from".into(),
        );
    }
    let components = centred.matmul(&main);

    let Some(param) = network.weights.params.iter_mut().find(|param| param.name == ITEM_ROWS)
    else {
        return unsuitable("internal error: the network has no embeddings of items".into());
    };
    let (shape, kind) = (param.value.size(), param.value.kind());
    let mut values = floats(&param.value);
    // Row 0 is padding.
    let own: f64 = with_text
        .iter()
        .flat_map(|item| &values[(item + 1) * dim..][..dim])
        .map(|value| f64::from(*value).powi(2))
        .sum();
    let scale = (own / of(&components.square().sum(Kind::Double))).sqrt();
    let components = floats(&(components * scale));
    let mut from: Vec<usize> = (0..n).collect();
    if is_shuffled {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(u64::MAX - 1);
        from.shuffle(&mut random);
    }
    for (item, from) in with_text.iter().zip(from) {
        values[(item + 1) * dim..][..dim].copy_from_slice(&components[from * dim..][..dim]);
    }
    let values = Tensor::from_slice(&values).reshape(shape).to_kind(kind);
    param.value = values.to_device(network.device);
    Ok(Started { items: n, variance: kept / all })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::{
        Device,
        sequence::{Gru, Positions},
    };
    use crate::tasks::next_item::{
        models::tests::model,
        networks::{Learns, Plan, Rows, Shape},
    };

    fn plan(items: usize, dim: usize) -> Plan {
        Plan {
            shape: Shape::Gru(Gru { dim, hidden: 4, layers: 1, dropout: 0.0 }),
            learns: Learns::Shifted,
            is_padded: false,
            positions: Positions::FromStart,
            longest: 5,
            dim,
            rows: Rows { items },
            padding_in_softmax: false,
        }
    }

    /// Vectors of eight numbers in three dimensions; item 4 has no text.
    fn texts() -> Embeddings {
        let vectors = (0..9 * 8).map(|at| {
            let (item, number) = ((at / 8) as f32, (at % 8) as f32);
            let directions = [(number + 1.0).sin(), (2.0 * number).cos(), (number * number).sin()];
            let of_item = [3.0 * (item * 2.3).sin(), (item * 1.7).cos(), 0.5 * (item * 3.1).sin()];
            0.7 + directions.iter().zip(of_item).map(|(a, b)| a * b).sum::<f32>()
        });
        let mut texts = Embeddings { dim: 8, vectors: vectors.collect(), present: vec![true; 9] };
        texts.present[4] = false;
        texts.vectors[32..40].fill(0.0);
        texts
    }

    fn started(dim: usize, is_shuffled: bool) -> (Vec<f32>, Vec<f32>, Started) {
        let texts = texts();
        let mut network = Network::new(plan(9, dim), 1, Device::Cpu);
        let before = floats(network.weights.get(ITEM_ROWS));
        let started = start_from(&mut network, &texts, is_shuffled, 1).unwrap();
        (before, floats(network.weights.get(ITEM_ROWS)), started)
    }

    fn distance(rows: &[f32], dim: usize, (a, b): (usize, usize)) -> f64 {
        let of = |row: usize| &rows[row * dim..][..dim];
        let squares = of(a).iter().zip(of(b)).map(|(a, b)| f64::from(a - b).powi(2));
        squares.sum::<f64>().sqrt()
    }

    /// As many components as the vectors have dimensions keep all distances, up to one factor.
    #[test]
    fn main_components_keep_the_distances_of_texts() {
        let (before, after, started) = started(3, false);
        assert_eq!(started.items, 8);
        assert!((started.variance - 1.0).abs() < 1e-9, "{started:?}");
        let with_text = [0, 1, 2, 3, 5, 6, 7, 8];
        let mut ratios = Vec::new();
        for a in with_text {
            for b in with_text.into_iter().filter(|b| *b > a) {
                let of_texts = distance(&texts().vectors, 8, (a, b));
                ratios.push(distance(&after, 3, (a + 1, b + 1)) / of_texts);
            }
        }
        assert!(ratios.iter().all(|ratio| (ratio / ratios[0] - 1.0).abs() < 1e-4), "{ratios:?}");
        // As long as the rows before; padding and the item without a text are those of before.
        let length = |rows: &[f32]| rows.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>();
        assert!((length(&after) / length(&before) - 1.0).abs() < 1e-5);
        for kept in [0, 5] {
            assert_eq!(after[kept * 3..][..3], before[kept * 3..][..3]);
        }
        // The first component holds most of the variance.
        let (_, _, one) = super::tests::started(1, false);
        assert!(one.variance > 0.5 && one.variance < 0.999, "{one:?}");
    }

    #[test]
    fn shuffled_vectors_are_those_of_other_items() {
        let ((_, own, _), (_, shuffled, _)) = (started(3, false), started(3, true));
        let rows = |values: &[f32]| -> Vec<Vec<u32>> {
            let mut rows: Vec<Vec<u32>> =
                values.chunks(3).map(|row| row.iter().map(|x| x.to_bits()).collect()).collect();
            rows.sort();
            rows
        };
        assert_eq!(rows(&own), rows(&shuffled));
        let moved = own.chunks(3).zip(shuffled.chunks(3)).filter(|(a, b)| a != b).count();
        assert!(moved >= 5, "{moved}");
    }

    #[test]
    fn more_factors_than_numbers_and_too_few_texts_are_errors() {
        let mut network = Network::new(plan(9, 9), 1, Device::Cpu);
        let error = start_from(&mut network, &texts(), false, 1).unwrap_err().to_string();
        assert!(error.contains("`factors` is 9") && error.contains("8 numbers"), "{error}");
        let mut network = Network::new(plan(9, 2), 1, Device::Cpu);
        let few = Embeddings { present: vec![false; 9], ..texts() };
        let error = start_from(&mut network, &few, false, 1).unwrap_err().to_string();
        assert!(error.contains("0 of 9 items have a text"), "{error}");
        let equal = Embeddings { vectors: vec![0.3; 72], ..texts() };
        let error = start_from(&mut network, &equal, false, 1).unwrap_err().to_string();
        assert!(error.contains("are equal"), "{error}");
    }

    #[test]
    fn every_network_can_start_from_texts() {
        for name in ["gru4rec", "sasrec", "bert4rec", "bsarec"] {
            let yaml = format!(
                "{{model: {name}, text: {{items: {{file: t.csv, id: item, text: title}}, shuffled: true}}}}"
            );
            let spec = model(&yaml);
            assert!(spec.text().is_some_and(|text| text.shuffled), "{name}");
            assert!(spec.texts().is_some());
        }
    }
}

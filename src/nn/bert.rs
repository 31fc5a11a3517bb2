//! The BERT of sentence-transformers' MiniLM on tch: texts of a batch lie one behind the other, so that
//! no padding is ever computed.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use tch::{Device, Kind, Tensor};

use super::NnError;

/// Weights of one layer.
struct Layer {
    /// Query, key and value in one matrix `[3 · hidden, hidden]`.
    qkv: Linear,
    out: Linear,
    out_norm: Norm,
    up: Linear,
    down: Linear,
    down_norm: Norm,
}

struct Linear {
    weight: Tensor,
    bias: Tensor,
}

struct Norm {
    weight: Tensor,
    bias: Tensor,
}

/// An encoder of token ids.
pub struct Bert {
    words: Tensor,
    /// Embeddings of positions with that of the first token type added.
    positions: Tensor,
    norm: Norm,
    layers: Vec<Layer>,
    heads: i64,
    /// Length of an embedding.
    pub hidden: usize,
    device: Device,
}

// SAFETY: the weights are only read after they were loaded, and libtorch's tensors may be read from
// several threads at once.
unsafe impl Sync for Bert {}

const EPSILON: f64 = 1e-12;
const HEAD: usize = 32;

impl Bert {
    /// Reads the weights of a BERT as Hugging Face names them.
    pub fn read(path: &Path, device: Device) -> Result<Self, NnError> {
        let bytes =
            std::fs::read(path).map_err(|source| NnError::Io { path: path.to_owned(), source })?;
        let malformed = |problem: String| NnError::Io {
            path: path.to_owned(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, problem),
        };
        let file =
            SafeTensors::deserialize(&bytes).map_err(|error| malformed(error.to_string()))?;
        let tensor = |name: &str| -> Result<Tensor, NnError> {
            let view = file.tensor(name).map_err(|error| malformed(error.to_string()))?;
            if view.dtype() != Dtype::F32 {
                return Err(malformed(format!("`{name}` is not of 32-bit floats")));
            }
            let values: Vec<f32> = view
                .data()
                .chunks_exact(4)
                .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                .collect();
            let shape: Vec<i64> = view.shape().iter().map(|size| *size as i64).collect();
            Ok(Tensor::from_slice(&values).reshape(&shape[..]).to_device(device))
        };
        let linear = |name: &str| -> Result<Linear, NnError> {
            Ok(Linear {
                weight: tensor(&format!("{name}.weight"))?,
                bias: tensor(&format!("{name}.bias"))?,
            })
        };
        let norm = |name: &str| -> Result<Norm, NnError> {
            Ok(Norm {
                weight: tensor(&format!("{name}.weight"))?,
                bias: tensor(&format!("{name}.bias"))?,
            })
        };
        let mut layers = Vec::new();
        while file.tensor(&format!("encoder.layer.{}.output.dense.bias", layers.len())).is_ok() {
            let of = |name: &str| format!("encoder.layer.{}.{name}", layers.len());
            let parts = ["query", "key", "value"]
                .map(|part| linear(&of(&format!("attention.self.{part}"))));
            let [query, key, value] = parts;
            let (query, key, value) = (query?, key?, value?);
            layers.push(Layer {
                qkv: Linear {
                    weight: Tensor::cat(&[query.weight, key.weight, value.weight], 0),
                    bias: Tensor::cat(&[query.bias, key.bias, value.bias], 0),
                },
                out: linear(&of("attention.output.dense"))?,
                out_norm: norm(&of("attention.output.LayerNorm"))?,
                up: linear(&of("intermediate.dense"))?,
                down: linear(&of("output.dense"))?,
                down_norm: norm(&of("output.LayerNorm"))?,
            });
        }
        if layers.is_empty() {
            return Err(malformed("it holds no layer `encoder.layer.0`".into()));
        }
        let words = tensor("embeddings.word_embeddings.weight")?;
        let types = tensor("embeddings.token_type_embeddings.weight")?;
        let positions = tensor("embeddings.position_embeddings.weight")? + types.get(0);
        let hidden = words.size()[1] as usize;
        Ok(Self {
            norm: norm("embeddings.LayerNorm")?,
            heads: (hidden / HEAD) as i64,
            hidden,
            words,
            positions,
            layers,
            device,
        })
    }

    /// The last layer's mean over each text's tokens, `[texts, hidden]`. Texts of one length should lie
    /// beside each other: their attention is computed together.
    pub fn means(&self, texts: &[&[u32]]) -> Tensor {
        let _guard = tch::no_grad_guard();
        let ids: Vec<i64> =
            texts.iter().flat_map(|text| text.iter().map(|id| i64::from(*id))).collect();
        let places: Vec<i64> = texts.iter().flat_map(|text| 0..text.len() as i64).collect();
        let gather = |table: &Tensor, rows: &[i64]| {
            table.index_select(0, &Tensor::from_slice(rows).to_device(self.device))
        };
        let x = gather(&self.words, &ids) + gather(&self.positions, &places);
        let mut x = self.normed(&x, &self.norm);
        let runs = runs(texts);
        for layer in &self.layers {
            let qkv = x.linear(&layer.qkv.weight, Some(&layer.qkv.bias));
            let attended = self.attend(&qkv, &runs);
            let out = attended.linear(&layer.out.weight, Some(&layer.out.bias));
            x = self.normed(&(out + &x), &layer.out_norm);
            let up = x.linear(&layer.up.weight, Some(&layer.up.bias)).gelu("none");
            let down = up.linear(&layer.down.weight, Some(&layer.down.bias));
            x = self.normed(&(down + &x), &layer.down_norm);
        }
        let mut start = 0;
        let means: Vec<Tensor> = runs
            .iter()
            .map(|&(count, length)| {
                let rows = x.narrow(0, start, count * length);
                start += count * length;
                rows.view([count, length, self.hidden as i64]).mean_dim(
                    Some(&[1i64][..]),
                    false,
                    Kind::Float,
                )
            })
            .collect();
        Tensor::cat(&means, 0)
    }

    /// Attention within each text.
    fn attend(&self, qkv: &Tensor, runs: &[(i64, i64)]) -> Tensor {
        let hidden = self.hidden as i64;
        let mut start = 0;
        let parts: Vec<Tensor> = runs
            .iter()
            .map(|&(count, length)| {
                let rows = qkv.narrow(0, start, count * length);
                start += count * length;
                let split = rows.view([count, length, 3, self.heads, HEAD as i64]);
                let part = |at: i64| split.select(2, at).transpose(1, 2);
                Tensor::scaled_dot_product_attention(
                    &part(0),
                    &part(1),
                    &part(2),
                    None::<&Tensor>,
                    0.0,
                    false,
                    None,
                    false,
                )
                .transpose(1, 2)
                .reshape([count * length, hidden])
            })
            .collect();
        Tensor::cat(&parts, 0)
    }

    fn normed(&self, x: &Tensor, norm: &Norm) -> Tensor {
        x.layer_norm([self.hidden as i64], Some(&norm.weight), Some(&norm.bias), EPSILON, true)
    }
}

/// Texts of one length beside each other: (how many, length).
fn runs(texts: &[&[u32]]) -> Vec<(i64, i64)> {
    let mut runs: Vec<(i64, i64)> = Vec::new();
    for text in texts {
        let length = text.len() as i64;
        match runs.last_mut() {
            Some((count, of)) if *of == length => *count += 1,
            _ => runs.push((1, length)),
        }
    }
    runs
}

//! Texts to vectors: all-MiniLM-L6-v2, mean of the tokens, length 1.

use std::{
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use rayon::prelude::*;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Device, Kind, Tensor};
use tokenizers::{Tokenizer, TruncationParams};

use super::{NnError, bert::Bert, device, one_thread};
use crate::{
    base::{interrupt::Interrupt, programs::Slot},
    data::{DataDirs, Manifests},
};

/// Tokens of one batch. More do not make products of matrices faster, and take memory.
const BATCH_TOKENS: usize = 4096;

/// A 32-bit float under 1 has no more.
const MOST_DECIMALS: u32 = 9;

/// The encoder and how texts are put to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EncoderSpec {
    /// Its name among the data sets (`assay data fetch all-minilm-l6-v2`).
    pub model: String,
    /// Stands before every text.
    pub prefix: String,
    /// Normalises a text's vector over its dimensions before its length is set to 1.
    pub layer_norm: bool,
    /// Rounds the numbers of a vector, after its length is set to 1, to so many decimals.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 9))]
    pub decimals: Option<u32>,
    /// Longer texts are cut off, `[CLS]` and `[SEP]` counted.
    #[schemars(range(min = 3, max = 512))]
    pub max_tokens: usize,
    /// auto, cpu, cuda or cuda:N.
    pub device: String,
}

impl Default for EncoderSpec {
    fn default() -> Self {
        Self {
            model: "all-minilm-l6-v2".into(),
            prefix: String::new(),
            layer_norm: false,
            decimals: None,
            max_tokens: 256,
            device: "cpu".into(),
        }
    }
}

impl EncoderSpec {
    /// The first setting that is out of range.
    pub fn validate(&self) -> Result<(), String> {
        if !(3..=512).contains(&self.max_tokens) {
            return Err(format!("`max_tokens` is {}; expected 3 to 512", self.max_tokens));
        }
        if let Some(decimals) = self.decimals
            && !(1..=MOST_DECIMALS).contains(&decimals)
        {
            return Err(format!("`decimals` is {decimals}; expected 1 to {MOST_DECIMALS}"));
        }
        device::validate(&self.device).map_err(|message| format!("`device` {message}"))
    }

    /// The folder its files lie in.
    fn folder(&self, dirs: &DataDirs) -> Result<PathBuf, NnError> {
        let manifests = Manifests::read(dirs)?;
        let manifest = manifests.get(&self.model)?;
        let folder = manifest.locate(dirs)?;
        manifest.check_hashes(&folder)?;
        Ok(folder)
    }
}

/// What a key says of the weights: the hash that the manifest demands of them.
pub fn weights_digest(
    spec: &EncoderSpec,
    dirs: &DataDirs,
) -> Result<String, crate::data::DataError> {
    let manifests = Manifests::read(dirs)?;
    let manifest = manifests.get(&spec.model)?;
    manifest.about.sha256.get("model.safetensors").cloned().ok_or_else(|| {
        crate::data::DataError::File {
            path: PathBuf::from(&spec.model),
            problem: "this is no text encoder".into(),
            help: "name one that has the reader `encoder`: all-minilm-l6-v2".into(),
        }
    })
}

/// Whether the files of an encoder are there.
pub fn find(spec: &EncoderSpec, dirs: &DataDirs) -> Result<(), crate::data::DataError> {
    Manifests::read(dirs)?.get(&spec.model)?.locate(dirs).map(drop)
}

/// What encoding gives.
pub struct Encoded {
    /// Length of a vector.
    pub dim: usize,
    /// `[texts, dim]`, row-major.
    pub rows: Vec<f32>,
    /// How many texts were cut off.
    pub cut: usize,
    /// Time it took, the encoder read.
    pub seconds: f64,
}

type Encode = fn(
    &EncoderSpec,
    &DataDirs,
    &[&str],
    &Interrupt,
    &(dyn Fn(u64, u64) + Sync),
) -> Result<Encoded, NnError>;

/// [`encode`]
pub(crate) static ENCODE: Slot<Encode> = Slot::of(encode);

/// Reads the encoder and encodes `texts`. Called through [`ENCODE`] alone.
pub(super) fn encode(
    spec: &EncoderSpec,
    dirs: &DataDirs,
    texts: &[&str],
    interrupt: &Interrupt,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<Encoded, NnError> {
    device::on(&spec.device, |_| {
        let encoder = Encoder::read(spec, dirs)?;
        let started = Instant::now();
        let (rows, cut) = encoder.encode(texts, interrupt, progress)?;
        Ok(Encoded { dim: encoder.dim(), rows, cut, seconds: started.elapsed().as_secs_f64() })
    })
}

/// An encoder ready to work.
pub struct Encoder {
    bert: Bert,
    tokenizer: Tokenizer,
    spec: EncoderSpec,
}

impl Encoder {
    /// Reads weights and tokenizer, and checks their hashes.
    pub fn read(spec: &EncoderSpec, dirs: &DataDirs) -> Result<Self, NnError> {
        one_thread();
        let device = device::resolve(&spec.device)?;
        Self::at(&spec.folder(dirs)?, spec, device)
    }

    fn at(folder: &Path, spec: &EncoderSpec, device: Device) -> Result<Self, NnError> {
        let path = folder.join("tokenizer.json");
        let unusable =
            |error: tokenizers::Error| NnError::Unsuitable(format!("{}: {error}", path.display()));
        let mut tokenizer = Tokenizer::from_file(&path).map_err(unusable)?;
        tokenizer.with_padding(None);
        tokenizer
            .with_truncation(Some(TruncationParams {
                max_length: spec.max_tokens,
                ..Default::default()
            }))
            .map_err(unusable)?;
        let bert = Bert::read(&folder.join("model.safetensors"), device)?;
        Ok(Self { bert, tokenizer, spec: spec.clone() })
    }

    /// Length of a vector.
    pub fn dim(&self) -> usize {
        self.bert.hidden
    }

    /// The tokens of a text, cut off where it is too long.
    pub fn tokens(&self, text: &str) -> Result<Vec<u32>, NnError> {
        let encoding = match self.spec.prefix.is_empty() {
            true => self.tokenizer.encode_fast(text, true),
            false => self.tokenizer.encode_fast(format!("{}{text}", self.spec.prefix), true),
        };
        let encoding = encoding.map_err(|error| NnError::Unsuitable(format!("a text: {error}")))?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Vectors of the texts, row-major `[texts, dim]`, and how many texts were cut off. The same bytes
    /// whatever the number of threads.
    pub fn encode(
        &self,
        texts: &[&str],
        interrupt: &Interrupt,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> Result<(Vec<f32>, usize), NnError> {
        let tokens: Vec<Vec<u32>> =
            texts.par_iter().map(|text| self.tokens(text)).collect::<Result<_, _>>()?;
        let cut = tokens.iter().filter(|tokens| tokens.len() >= self.spec.max_tokens).count();
        // The longest first: batches of one length are the rule, and short ones fill the end.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|at| (std::cmp::Reverse(tokens[*at].len()), *at));
        let batches = batches(&order, &tokens);
        let done = AtomicU64::new(0);
        let rows: Vec<Vec<f32>> = batches
            .par_iter()
            .map(|batch| {
                interrupt.check()?;
                let ids: Vec<&[u32]> = batch.iter().map(|at| &tokens[*at][..]).collect();
                let rows = self.vectors(&ids);
                let done = done.fetch_add(batch.len() as u64, Ordering::Relaxed);
                progress(done + batch.len() as u64, texts.len() as u64);
                Ok(rows)
            })
            .collect::<Result<_, NnError>>()?;
        let dim = self.dim();
        let mut vectors = vec![0.0; texts.len() * dim];
        for (batch, rows) in batches.iter().zip(rows) {
            for (at, row) in batch.iter().zip(rows.chunks_exact(dim)) {
                vectors[at * dim..(at + 1) * dim].copy_from_slice(row);
            }
        }
        Ok((vectors, cut))
    }

    fn vectors(&self, ids: &[&[u32]]) -> Vec<f32> {
        let _guard = tch::no_grad_guard();
        let mut means = self.bert.means(ids);
        if self.spec.layer_norm {
            let shape = [self.dim() as i64];
            means = means.layer_norm(shape, None::<Tensor>, None::<Tensor>, 1e-5, true);
        }
        let lengths = means.norm_scalaropt_dim(2, [1], true).clamp_min(1e-12);
        let rows = (means / lengths).to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
        let mut values = vec![0.0; rows.numel()];
        let count = values.len();
        rows.copy_data(&mut values, count);
        if let Some(decimals) = self.spec.decimals {
            values.iter_mut().for_each(|value| *value = rounded(*value, decimals));
        }
        values
    }
}

/// The nearest number with so many decimals; of two equally near ones that with an even last digit.
fn rounded(value: f32, decimals: u32) -> f32 {
    let scale = f64::from(10u32.pow(decimals));
    ((f64::from(value) * scale).round_ties_even() / scale) as f32
}

/// Cuts the texts into batches of so many tokens.
fn batches(order: &[usize], tokens: &[Vec<u32>]) -> Vec<Vec<usize>> {
    let (mut batches, mut held) = (Vec::new(), 0);
    let mut batch = Vec::new();
    for &at in order {
        if !batch.is_empty() && held + tokens[at].len() > BATCH_TOKENS {
            batches.push(std::mem::take(&mut batch));
            held = 0;
        }
        held += tokens[at].len();
        batch.push(at);
    }
    if !batch.is_empty() {
        batches.push(batch);
    }
    batches
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn encoder() -> Option<Encoder> {
        match Encoder::read(&EncoderSpec::default(), &DataDirs::from_env()) {
            Ok(encoder) => Some(encoder),
            Err(error) => {
                // `make test` fetches them.
                let is_required = std::env::var("ASSAY_REQUIRE_DATA").is_ok_and(|of| of == "1");
                assert!(!is_required, "the encoder's weights must be here: {error}");
                println!("not run: the encoder's weights are not found: {error}");
                None
            }
        }
    }

    fn golden() -> (Vec<String>, Vec<Vec<u32>>, Vec<f32>) {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
        let texts: Value =
            serde_json::from_slice(&std::fs::read(dir.join("minilm_texts.json")).unwrap()).unwrap();
        let bytes = std::fs::read(dir.join("minilm.safetensors")).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let rows = file.tensor("embeddings").unwrap().data().to_vec();
        let rows = rows.chunks_exact(4).map(|w| f32::from_le_bytes([w[0], w[1], w[2], w[3]]));
        (
            serde_json::from_value(texts["texts"].clone()).unwrap(),
            serde_json::from_value(texts["input_ids"].clone()).unwrap(),
            rows.collect(),
        )
    }

    /// Token ids and vectors of sentence-transformers.
    #[test]
    fn vectors_are_those_of_sentence_transformers() {
        let Some(encoder) = encoder() else { return };
        let (texts, ids, expected) = golden();
        for (text, ids) in texts.iter().zip(&ids) {
            assert_eq!(encoder.tokens(text).unwrap(), *ids, "{text}");
        }
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let encode =
            |texts: &[&str]| encoder.encode(texts, &Interrupt::default(), &|_, _| {}).unwrap().0;
        let found = encode(&texts);
        let worst = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        println!("largest deviation from sentence-transformers: {worst:e}");
        assert!(worst < 1e-5, "{worst:e}");
        // The same bytes whatever the number of threads.
        let many: Vec<&str> = texts.iter().cycle().take(100).copied().collect();
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| encode(&many))
        };
        assert!(with(1) == with(3));
    }

    #[test]
    fn vectors_are_rounded_to_decimals() {
        // numpy: np.round(np.float32([0.123456, -0.000004, 0.000015, 0.5]), 5)
        let found = [0.123456, -0.000004, 0.000016, 0.5].map(|value| rounded(value, 5));
        assert_eq!(found, [0.12346, -0.0, 0.00002, 0.5]);
        let Some(plain) = encoder() else { return };
        let spec = EncoderSpec { decimals: Some(5), ..EncoderSpec::default() };
        assert_eq!(serde_json::to_value(&spec).unwrap()["decimals"], 5);
        let other = Encoder::read(&spec, &DataDirs::from_env()).unwrap();
        let of = |encoder: &Encoder| {
            encoder.encode(&["a film"], &Interrupt::default(), &|_, _| {}).unwrap().0
        };
        let (exact, found) = (of(&plain), of(&other));
        assert!(exact.iter().zip(&found).all(|(a, b)| (a - b).abs() <= 5.1e-6));
        assert!(found.iter().all(|value| {
            let scaled = f64::from(*value) * 1e5;
            (scaled - scaled.round()).abs() < 2e-2
        }));
        assert_ne!(exact, found);
    }

    #[test]
    fn a_prefix_and_a_layer_norm_change_the_vectors() {
        let Some(plain) = encoder() else { return };
        let spec = EncoderSpec {
            prefix: "Represent: ".into(),
            layer_norm: true,
            max_tokens: 64,
            ..EncoderSpec::default()
        };
        let other = Encoder::read(&spec, &DataDirs::from_env()).unwrap();
        assert_eq!(other.tokens("a").unwrap(), plain.tokens("Represent: a").unwrap());
        let of = |encoder: &Encoder, text: &str| {
            encoder.encode(&[text], &Interrupt::default(), &|_, _| {}).unwrap().0
        };
        let (a, b) = (of(&plain, "Represent: a"), of(&other, "a"));
        let mean = b.iter().sum::<f32>() / 384.0;
        let length: f32 = b.iter().map(|x| x * x).sum();
        assert!(mean.abs() < 1e-6 && (length - 1.0).abs() < 1e-5);
        // The mean taken off and the length set: nothing else.
        let off: Vec<f32> = a.iter().map(|x| x - a.iter().sum::<f32>() / 384.0).collect();
        let norm = off.iter().map(|x| x * x).sum::<f32>().sqrt();
        let worst = off.iter().zip(&b).map(|(x, y)| (x / norm - y).abs()).fold(0.0, f32::max);
        assert!(worst < 1e-5, "{worst}");
    }
}

//! Steps that encode texts.

use std::{path::Path, sync::Arc};

use serde::{Deserialize, Serialize};

use super::output::{Profiles as ProfilesDir, Vectors};
use crate::{
    base::arrays,
    core::{
        FinishedSteps, Found, Handle, KeyBuilder, Resources, RunContext, Shared, Step, StepError,
        StepStats,
    },
    data::DataDirs,
    nn::{
        EncoderSpec, NnError,
        encoder::{self, ENCODE, Encoded},
    },
    text::{Embeddings, Profiles, TextError},
};

/// Embeddings of the profiles of all items, or of the users of a fold.
pub struct EmbeddingsStep {
    pub label: String,
    pub encoder: EncoderSpec,
    /// Digest of the encoder's weights.
    pub weights: String,
    pub profiles: Handle<ProfilesDir>,
    pub dirs: Arc<DataDirs>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbeddingsStats {
    pub texts: usize,
    /// Number of truncated texts.
    pub cut_off: usize,
    pub encode_seconds: f64,
}

impl StepStats for EmbeddingsStats {
    const VERSION: u32 = 1;
}

impl Step for EmbeddingsStep {
    type Output = Vectors;
    type Stats = EmbeddingsStats;

    const KIND: &'static str = "embeddings";
    const REVISION: u32 = 2;

    fn label(&self) -> String {
        self.label.clone()
    }

    fn key_inputs(&self, key: &mut KeyBuilder) {
        key.value("encoder", &self.encoder)
            .value("weights", &self.weights)
            .step("profiles", self.profiles);
    }

    fn files(&self) -> Vec<&'static str> {
        vec![arrays::FILE]
    }

    fn preflight(&self, _: &Shared) -> Result<Found, StepError> {
        encoder::find(&self.encoder, &self.dirs)?;
        Ok(Found::default())
    }

    fn resources(&self, _: &dyn FinishedSteps) -> Resources {
        Resources { memory: 1 << 30 }
    }

    fn needs_tensors(&self) -> bool {
        true
    }

    fn run(&self, cx: &RunContext, dir: &Path) -> Result<EmbeddingsStats, StepError> {
        let profiles = Profiles::read(&cx.dir(self.profiles))?;
        (cx.log)("reading the encoder");
        let texts: Vec<&str> = profiles.texts.iter().flatten().map(String::as_str).collect();
        let encode = ENCODE.get().map_err(NnError::from).map_err(TextError::from)?;
        let encoded = encode(&self.encoder, &self.dirs, &texts, cx.interrupt(), cx.progress);
        let encoded = encoded.map_err(TextError::from)?;
        let Encoded { dim, rows, cut: cut_off, seconds: encode_seconds } = encoded;
        (cx.log)(&format!(
            "{} texts in {encode_seconds:.3} s, {cut_off} of them truncated",
            texts.len()
        ));
        let mut vectors = vec![0.0; profiles.texts.len() * dim];
        let mut rows = rows.chunks_exact(dim);
        for (to, text) in vectors.chunks_exact_mut(dim).zip(&profiles.texts) {
            if text.is_some()
                && let Some(row) = rows.next()
            {
                to.copy_from_slice(row);
            }
        }
        let present = profiles.texts.iter().map(Option::is_some).collect();
        Embeddings { dim, vectors, present }.save(dir)?;
        Ok(EmbeddingsStats { texts: texts.len(), cut_off, encode_seconds })
    }
}

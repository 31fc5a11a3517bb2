//! Saved models: arrays in one safetensors file, which runs no code when it is opened.

use std::{borrow::Cow, fs, io, path::Path};

use safetensors::{Dtype, SafeTensors, View, tensor::TensorView};

use super::ModelError;

const FILE: &str = "model.safetensors";

/// Writes named arrays with their shapes.
pub fn save<N: AsRef<str>>(dir: &Path, arrays: &[(N, Array)]) -> Result<(), ModelError> {
    let path = dir.join(FILE);
    let views = arrays.iter().map(|(name, array)| (name.as_ref(), array));
    let bytes = safetensors::serialize(views, None);
    bytes
        .map_err(|error| io::Error::other(error.to_string()))
        .and_then(|bytes| fs::write(&path, bytes))
        .map_err(|source| ModelError::Io { path, source })
}

/// An array to be saved.
pub struct Array {
    dtype: Dtype,
    shape: Vec<usize>,
    bytes: Vec<u8>,
}

impl Array {
    /// Floats of a shape.
    pub fn floats(shape: &[usize], values: &[f32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::F32, shape: shape.to_vec(), bytes }
    }

    /// Whole numbers in a row.
    pub fn numbers(values: &[u32]) -> Self {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Self { dtype: Dtype::U32, shape: vec![values.len()], bytes }
    }
}

impl View for &Array {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// The arrays of a saved model.
pub struct Saved {
    bytes: Vec<u8>,
    path: std::path::PathBuf,
}

impl Saved {
    /// Reads the file in `dir`.
    pub fn read(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join(FILE);
        let bytes =
            fs::read(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        Ok(Self { bytes, path })
    }

    /// An array of floats; its shape must be `shape`.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ModelError> {
        self.with(name, Dtype::F32, |tensor| {
            (tensor.shape() == shape).then(|| words(tensor).map(f32::from_le_bytes).collect())
        })
    }

    /// An array of floats of any length.
    pub fn float_row(&self, name: &str) -> Result<Vec<f32>, ModelError> {
        self.with(name, Dtype::F32, |tensor| Some(words(tensor).map(f32::from_le_bytes).collect()))
    }

    /// An array of whole numbers.
    pub fn numbers(&self, name: &str) -> Result<Vec<u32>, ModelError> {
        self.with(name, Dtype::U32, |tensor| Some(words(tensor).map(u32::from_le_bytes).collect()))
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).is_ok_and(|tensors| tensors.tensor(name).is_ok())
    }

    /// The error for arrays that do not fit together.
    pub fn malformed(&self, problem: impl Into<String>) -> ModelError {
        ModelError::Malformed { path: self.path.clone(), problem: problem.into() }
    }

    fn with<T>(
        &self,
        name: &str,
        dtype: Dtype,
        read: impl Fn(&TensorView) -> Option<T>,
    ) -> Result<T, ModelError> {
        let tensors = SafeTensors::deserialize(&self.bytes)
            .map_err(|error| self.malformed(error.to_string()))?;
        let tensor = tensors.tensor(name).map_err(|error| self.malformed(error.to_string()))?;
        let value = if tensor.dtype() == dtype { read(&tensor) } else { None };
        value.ok_or_else(|| {
            self.malformed(format!(
                "`{name}` has shape {:?} of {:?}, which does not fit the data",
                tensor.shape(),
                tensor.dtype()
            ))
        })
    }
}

fn words<'a>(tensor: &'a TensorView<'_>) -> impl Iterator<Item = [u8; 4]> + 'a {
    tensor.data().chunks_exact(4).map(|word| [word[0], word[1], word[2], word[3]])
}

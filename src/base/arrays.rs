//! Saved models: arrays in one safetensors file, which runs no code when it is opened.

use std::{borrow::Cow, io, path::Path};

use safetensors::{Dtype, SafeTensorError, SafeTensors, View, tensor::TensorView};

use super::files::read_own;

pub const FILE: &str = "model.safetensors";

/// Why arrays could not be saved or read.
#[derive(Debug, thiserror::Error)]
pub enum ArrayError {
    /// A number is not finite.
    #[error("{0}")]
    NotFinite(String),
    #[error("{path}: {source}")]
    Io { path: std::path::PathBuf, source: io::Error },
    /// A file that does not match the data or is not valid.
    #[error("{path}: {problem}")]
    Malformed { path: std::path::PathBuf, problem: String },
}

/// Writes named arrays with their shapes. Not more than one of them is copied at a time.
pub fn save<N: AsRef<str>>(dir: &Path, arrays: &[(N, Array)]) -> Result<(), ArrayError> {
    if let Some((name, _)) = arrays.iter().find(|(_, array)| !array.values.is_finite()) {
        return Err(ArrayError::NotFinite(format!(
            "the fitted model is unusable: `{}` contains a number that is not finite (NaN or infinite)\n  = \
             help: check for unusual ratings or settings, or use a lower learning rate",
            name.as_ref()
        )));
    }
    let path = dir.join(FILE);
    let views = arrays.iter().map(|(name, array)| (name.as_ref(), array));
    safetensors::serialize_to_file(views, None, &path).map_err(|error| match error {
        SafeTensorError::IoError(source) => ArrayError::Io { path, source },
        error => ArrayError::Io { path, source: io::Error::other(error.to_string()) },
    })
}

/// An array to be saved.
pub struct Array<'a> {
    shape: Vec<usize>,
    values: Values<'a>,
}

enum Values<'a> {
    Floats(Cow<'a, [f32]>),
    Numbers(Cow<'a, [u32]>),
}

impl Values<'_> {
    fn is_finite(&self) -> bool {
        match self {
            Self::Floats(values) => values.iter().all(|value| value.is_finite()),
            Self::Numbers(_) => true,
        }
    }
}

impl<'a> Array<'a> {
    /// Floats of a shape.
    pub fn floats(shape: &[usize], values: impl Into<Cow<'a, [f32]>>) -> Self {
        Self { shape: shape.to_vec(), values: Values::Floats(values.into()) }
    }

    /// Floats in rows of a width.
    pub fn rows(width: usize, values: &'a [f32]) -> Self {
        Self::floats(&[values.len() / width, width], values)
    }

    /// Integers, one-dimensional.
    pub fn numbers(values: impl Into<Cow<'a, [u32]>>) -> Self {
        let values = values.into();
        Self { shape: vec![values.len()], values: Values::Numbers(values) }
    }
}

impl View for &Array<'_> {
    fn dtype(&self) -> Dtype {
        match self.values {
            Values::Floats(_) => Dtype::F32,
            Values::Numbers(_) => Dtype::U32,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        match &self.values {
            Values::Floats(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Values::Numbers(values) => {
                values.iter().flat_map(|value| value.to_le_bytes()).collect()
            }
        }
    }

    fn data_len(&self) -> usize {
        4 * match &self.values {
            Values::Floats(values) => values.len(),
            Values::Numbers(values) => values.len(),
        }
    }
}

/// The arrays of a saved model.
pub struct Saved {
    bytes: Vec<u8>,
    path: std::path::PathBuf,
}

impl Saved {
    /// Reads the file in `dir`.
    pub fn read(dir: &Path) -> Result<Self, ArrayError> {
        let path = dir.join(FILE);
        let bytes =
            read_own(&path).map_err(|source| ArrayError::Io { path: path.clone(), source })?;
        Ok(Self { bytes, path })
    }

    /// An array of floats; its shape must be `shape`.
    pub fn floats(&self, name: &str, shape: &[usize]) -> Result<Vec<f32>, ArrayError> {
        let values = self.with(name, Dtype::F32, |tensor| {
            (tensor.shape() == shape).then(|| words(tensor).map(f32::from_le_bytes).collect())
        })?;
        self.finite(name, values)
    }

    /// An array of floats of any length.
    pub fn float_row(&self, name: &str) -> Result<Vec<f32>, ArrayError> {
        let values = self.with(name, Dtype::F32, |tensor| {
            Some(words(tensor).map(f32::from_le_bytes).collect())
        })?;
        self.finite(name, values)
    }

    fn finite(&self, name: &str, values: Vec<f32>) -> Result<Vec<f32>, ArrayError> {
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(values),
            false => Err(self.malformed(format!(
                "`{name}` contains a number that is not finite (NaN or infinite)"
            ))),
        }
    }

    /// An array of integers.
    pub fn numbers(&self, name: &str) -> Result<Vec<u32>, ArrayError> {
        self.with(name, Dtype::U32, |tensor| Some(words(tensor).map(u32::from_le_bytes).collect()))
    }

    /// Whether there is an array of this name.
    pub fn has(&self, name: &str) -> bool {
        SafeTensors::deserialize(&self.bytes).is_ok_and(|tensors| tensors.tensor(name).is_ok())
    }

    /// The error for arrays that do not match each other.
    pub fn malformed(&self, problem: impl Into<String>) -> ArrayError {
        ArrayError::Malformed { path: self.path.clone(), problem: problem.into() }
    }

    fn with<T>(
        &self,
        name: &str,
        dtype: Dtype,
        read: impl Fn(&TensorView) -> Option<T>,
    ) -> Result<T, ArrayError> {
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

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn numbers_that_are_not_finite_are_not_saved_and_not_read() {
        let dir = tempfile::tempdir().unwrap();
        for wrong in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let error = save(dir.path(), &[("weights", Array::floats(&[2], &[1.0, wrong]))]);
            let error = error.unwrap_err();
            assert!(matches!(error, ArrayError::NotFinite(_)), "{error}");
            assert!(error.to_string().contains("`weights`"), "{error}");
            assert!(!dir.path().join(FILE).exists());
        }
        save(dir.path(), &[("weights", Array::floats(&[2], &[1.0, 2.0]))]).unwrap();
        let path = dir.path().join(FILE);
        let mut bytes = fs::read(&path).unwrap();
        let at = bytes.len() - 4;
        bytes[at..].copy_from_slice(&f32::NAN.to_le_bytes());
        fs::write(&path, bytes).unwrap();
        let error = Saved::read(dir.path()).unwrap().floats("weights", &[2]).unwrap_err();
        assert!(error.to_string().contains("not finite"), "{error}");
    }
}

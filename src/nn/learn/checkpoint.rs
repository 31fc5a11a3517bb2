//! Checkpoints: everything that is needed to go on, in one file that is there whole or not at all.

use std::path::Path;

use safetensors::{Dtype, SafeTensors};
use tch::Tensor;

use crate::{
    base::{
        arrays::Array,
        files::{read_memory, write_memory},
    },
    nn::{
        NnError,
        network::Param,
        optimizer::State,
        tensors::{floats, tensor_of},
    },
};

/// What a checkpoint holds. Tensors are in the order of the parameters.
pub(super) struct Checkpoint {
    /// JSON
    pub memory: String,
    pub values: Vec<Tensor>,
    /// The optimiser's moments.
    pub first: Vec<Tensor>,
    pub second: Vec<Tensor>,
    /// The best parameters so far, where they are kept.
    pub best: Option<Vec<Tensor>>,
}

pub(super) fn save(
    path: &Path,
    params: &[Param],
    state: &State,
    memory: String,
    best: Option<&[Tensor]>,
) -> Result<(), NnError> {
    let shape =
        |tensor: &Tensor| tensor.size().iter().map(|size| *size as usize).collect::<Vec<_>>();
    let mut arrays: Vec<(String, Array)> = Vec::new();
    for (at, param) in params.iter().enumerate() {
        let mut add = |kind: &str, tensor: &Tensor| {
            arrays.push((
                format!("{kind}.{}", param.name),
                Array::floats(&shape(tensor), floats(tensor)),
            ));
        };
        add("value", &param.value);
        add("first", &state.first[at]);
        add("second", &state.second[at]);
        if let Some(best) = best {
            add("best", &best[at]);
        }
    }
    let metadata = Some([("memory".to_owned(), memory)].into_iter().collect());
    let views = arrays.iter().map(|(name, array)| (name.as_str(), array));
    let error = |source: std::io::Error| NnError::Io { path: path.to_owned(), source };
    let bytes = safetensors::serialize(views, metadata)
        .map_err(|problem| error(std::io::Error::other(problem.to_string())))?;
    write_memory(path, &bytes).map_err(|problem| error(problem.into_io()))
}

/// The checkpoint of these parameters; none where there is none, an error where it is damaged or another's.
pub(super) fn load(path: &Path, params: &[Param]) -> Result<Option<Checkpoint>, String> {
    let Some(bytes) = read_memory(path)? else { return Ok(None) };
    match fitting(&bytes, params) {
        Some(checkpoint) => Ok(Some(checkpoint)),
        None => Err("it does not fit the parameters".into()),
    }
}

fn fitting(bytes: &[u8], params: &[Param]) -> Option<Checkpoint> {
    let (_, header) = SafeTensors::read_metadata(bytes).ok()?;
    let memory = header.metadata().as_ref()?.get("memory")?.clone();
    let tensors = SafeTensors::deserialize(bytes).ok()?;
    let read = |kind: &str| -> Option<Vec<Tensor>> {
        let read = |param: &Param| {
            let view = tensors.tensor(&format!("{kind}.{}", param.name)).ok()?;
            if view.dtype() != Dtype::F32 {
                return None;
            }
            let words = view.data().chunks_exact(4);
            let values: Vec<f32> = words
                .map(|word| f32::from_le_bytes([word[0], word[1], word[2], word[3]]))
                .collect();
            let expected: Vec<usize> = param.value.size().iter().map(|s| *s as usize).collect();
            let device = param.value.device();
            (view.shape() == expected).then(|| tensor_of(&values, view.shape(), device))
        };
        params.iter().map(read).collect()
    };
    let (values, first, second) = (read("value")?, read("first")?, read("second")?);
    Some(Checkpoint { memory, values, first, second, best: read("best") })
}

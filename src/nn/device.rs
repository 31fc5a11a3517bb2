//! Where a network is trained: main memory, or a GPU through the same binary.
//!
//! Only libtorch's CPU part is linked. Where a GPU is asked for, `libtorch_cuda.so` is loaded from the
//! same folder before the first tensor is made; it registers itself with libtorch.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    sync::{Mutex, OnceLock},
};

use tch::{Cuda, Device};

use super::NnError;

/// One trial at a time has the GPU.
pub static GPU: Mutex<()> = Mutex::new(());

/// What `device` says: `auto`, `cpu`, `cuda`, `cuda:1`.
pub fn resolve(device: &str) -> Result<Device, NnError> {
    match device {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(if cuda().is_ok() { Device::Cuda(0) } else { Device::Cpu }),
        other => {
            let number = match other.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
                None => None,
            };
            let number: usize = number.ok_or_else(|| NnError::Unsuitable(expected(other)))?;
            let count = cuda().map_err(NnError::Unsuitable)?;
            if number >= count {
                return Err(NnError::Unsuitable(format!(
                    "`training.device` is {other}, and there are {count} GPUs: cuda:0 to cuda:{}",
                    count - 1
                )));
            }
            Ok(Device::Cuda(number))
        }
    }
}

/// Whether `device` can be said.
pub fn validate(device: &str) -> Result<(), String> {
    let number = device.strip_prefix("cuda:").map(str::parse::<usize>);
    match (device, number) {
        ("auto" | "cpu" | "cuda", _) | (_, Some(Ok(_))) => Ok(()),
        _ => Err(expected(device)),
    }
}

fn expected(found: &str) -> String {
    format!("is `{found}`; expected auto, cpu, cuda or cuda:N")
}

/// The number of GPUs, or why there is none.
fn cuda() -> Result<usize, String> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            load(c"libtorch_cuda.so")?;
            match Cuda::device_count() {
                count if count > 0 && Cuda::is_available() => Ok(count as usize),
                _ => Err("libtorch_cuda.so is here, and finds no GPU with a working driver \
                          (`nvidia-smi` tells)\n  = help: use `device: cpu`"
                    .into()),
            }
        })
        .clone()
}

fn load(library: &CStr) -> Result<(), String> {
    unsafe extern "C" {
        fn dlopen(file: *const c_char, mode: c_int) -> *mut c_void;
        fn dlerror() -> *const c_char;
    }
    // SAFETY: the name ends with 0; the library stays loaded, so nothing is left dangling; dlerror
    // gives a text that ends with 0 or null.
    unsafe {
        if !dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL).is_null() {
            return Ok(());
        }
        let error = dlerror();
        let why = match error.is_null() {
            true => "unknown".into(),
            false => CStr::from_ptr(error).to_string_lossy().into_owned(),
        };
        Err(format!(
            "there is no CUDA in this libtorch: {why}\n  = help: build with LIBTORCH set to a libtorch \
             with CUDA (docs/INSTALL.md), or use `device: cpu`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_understood_or_said_to_be_missing() {
        assert!(matches!(resolve("cpu"), Ok(Device::Cpu)));
        assert!(resolve("auto").is_ok());
        for wrong in ["gpu", "cuda:x", "cudaa", ""] {
            assert!(validate(wrong).is_err() && resolve(wrong).is_err(), "{wrong}");
        }
        assert!(validate("cuda:3").is_ok());
    }
}

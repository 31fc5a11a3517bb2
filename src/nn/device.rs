//! Where a network is trained: main memory, or a GPU through the same binary.
//!
//! Only libtorch's CPU part is linked. If a GPU is asked for, `libtorch_cuda.so` is loaded from the
//! same folder before the first tensor is made; it registers itself with libtorch.

use std::{
    any::Any,
    cell::Cell,
    collections::BTreeMap,
    ffi::{CStr, c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Condvar, Mutex, OnceLock, PoisonError},
};

use tch::{Cuda, Device, Tensor};

use super::NnError;
use crate::base::{limits::trials_per_gpu, programs::Slot};

/// The operations of a GPU, in main memory: to compare them with our kernels where there is no GPU.
const LIKE_CUDA: &str = "like-cuda";

/// What `device` says: `auto`, `cpu`, `cuda`, `cuda:1`, `like-cuda`.
pub fn resolve(device: &str) -> Result<Device, NnError> {
    match device {
        "cpu" | LIKE_CUDA => Ok(Device::Cpu),
        "auto" => Ok(if cuda().is_ok() { Device::Cuda(0) } else { Device::Cpu }),
        other => {
            let number = match other.strip_prefix("cuda") {
                Some("") => Some(0),
                Some(rest) => rest.strip_prefix(':').and_then(|number| number.parse().ok()),
                None => None,
            };
            let number: usize = number.ok_or_else(|| NnError::Unsuitable(expected(other)))?;
            let count =
                cuda().map_err(|why| NnError::Unsuitable(format!("`device: {other}`: {why}")))?;
            if number >= count {
                let (verb, range) = match count {
                    1 => ("is 1 GPU", "cuda:0".to_owned()),
                    _ => ("are", format!("cuda:0 to cuda:{}", count - 1)),
                };
                let count = if count == 1 { String::new() } else { format!(" {count} GPUs") };
                return Err(NnError::Unsuitable(format!(
                    "`device: {other}`: there {verb}{count}: {range}"
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
        ("auto" | "cpu" | "cuda" | LIKE_CUDA, _) | (_, Some(Ok(_))) => Ok(()),
        _ => Err(expected(device)),
    }
}

fn expected(found: &str) -> String {
    format!("is `{found}`; expected auto, cpu, cuda or cuda:N")
}

type Check = fn(&str) -> Result<(), NnError>;

/// [`check`]
pub(crate) static CHECK: Slot<Check> = Slot::of(check);

/// An error if there is no such device. Called through [`CHECK`] alone.
pub(super) fn check(device: &str) -> Result<(), NnError> {
    resolve(device).map(drop)
}

thread_local! {
    /// Whether this thread computes with our kernels what is in main memory.
    static KERNELS: Cell<bool> = const { Cell::new(true) };
}

/// Whether our kernels compute with this tensor. Otherwise libtorch's own operations do.
pub fn has_kernels(tensor: &Tensor) -> bool {
    tensor.device() == Device::Cpu && KERNELS.get()
}

/// How records name the device of a tensor.
pub fn name(tensor: Option<&Tensor>) -> String {
    match tensor.map_or(Device::Cpu, Tensor::device) {
        Device::Cpu if !KERNELS.get() => "Cpu, by the operations of a GPU".into(),
        device => format!("{device:?}"),
    }
}

/// Computes on the device that `device` names. On a GPU at most [`trials_per_gpu`] trials of this process compute at a time,
/// and a panic of libtorch is an error: it tells by a panic that the memory of a GPU is full.
pub fn on<T, E: From<NnError>>(
    device: &str,
    work: impl FnOnce(Device) -> Result<T, E>,
) -> Result<T, E> {
    let place = resolve(device)?;
    let (_turn, _operations) = match place {
        Device::Cuda(number) => (Some(Turn::take(number)), None),
        _ => (None, (device == LIKE_CUDA).then(WithoutKernels::begin)),
    };
    if place == Device::Cpu && device != LIKE_CUDA {
        return work(place);
    }
    catch_unwind(AssertUnwindSafe(|| work(place)))
        .unwrap_or_else(|panic| Err(failed(&*panic).into()))
}

/// While it lives, this thread uses no kernels.
struct WithoutKernels(bool);

impl WithoutKernels {
    fn begin() -> Self {
        Self(KERNELS.replace(false))
    }
}

impl Drop for WithoutKernels {
    fn drop(&mut self) {
        KERNELS.set(self.0);
    }
}

/// Numbers of trials by GPU that compute on it.
static BUSY: Mutex<BTreeMap<usize, usize>> = Mutex::new(BTreeMap::new());
static FREED: Condvar = Condvar::new();

/// The right to compute on a GPU.
struct Turn(usize);

impl Turn {
    fn take(gpu: usize) -> Self {
        let mut busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        while busy.get(&gpu).copied().unwrap_or(0) >= trials_per_gpu() {
            busy = FREED.wait(busy).unwrap_or_else(PoisonError::into_inner);
        }
        *busy.entry(gpu).or_default() += 1;
        Self(gpu)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut busy = BUSY.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = busy.get_mut(&self.0) {
            *count -= 1;
        }
        FREED.notify_all();
    }
}

/// What a panic of libtorch says.
fn failed(panic: &(dyn Any + Send)) -> NnError {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
    let first = text.lines().next().unwrap_or_default();
    NnError::Unsuitable(match text.contains("out of memory") {
        true => {
            let shared = match trials_per_gpu() {
                1 => "",
                _ => "let fewer trials share it (`--trials-per-gpu`), ",
            };
            format!(
                "the GPU's memory is full: {first}\n  = help: {shared}lower `batch`, `dim`, `factors` or `hidden`, or use \
                 `device: cpu`; `nvidia-smi` tells what other programs use"
            )
        }
        false => format!("libtorch failed on the GPU: {first}"),
    })
}

/// The number of GPUs, or why there is none.
fn cuda() -> Result<usize, String> {
    static FOUND: OnceLock<Result<usize, String>> = OnceLock::new();
    FOUND
        .get_or_init(|| {
            load(c"libtorch_cuda.so")?;
            match Cuda::device_count() {
                count if count > 0 && Cuda::is_available() => Ok(count as usize),
                _ => Err("libtorch_cuda.so finds no GPU with a working driver (`nvidia-smi` tells)\n  = help: use \
                          `device: cpu`"
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
            "there is no CUDA in this libtorch: {why}\n  = help: let the programs find a libtorch with CUDA \
             (docs/GPU.md), or use `device: cpu`"
        ))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

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

    #[test]
    fn a_full_gpu_says_what_helps_and_other_panics_are_errors() {
        let of = |text: &str| {
            let text = text.to_owned();
            on("like-cuda", |_| -> Result<(), NnError> { panic!("{text}") })
                .unwrap_err()
                .to_string()
        };
        let full = of("CUDA out of memory. Tried to allocate 2.00 GiB\nmore");
        assert!(full.starts_with("the GPU's memory is full: CUDA out of memory. Tried"), "{full}");
        assert!(full.contains("= help: lower `batch`") && !full.contains("more"), "{full}");
        assert_eq!(of("x\ny"), "libtorch failed on the GPU: x");
    }

    #[test]
    fn operations_of_a_gpu_are_used_on_request_and_only_there() {
        let tensor = Tensor::from(1.0f32);
        assert!(has_kernels(&tensor));
        let within = on("like-cuda", |device| -> Result<bool, NnError> {
            assert_eq!(name(Some(&tensor)), "Cpu, by the operations of a GPU");
            Ok(device == Device::Cpu && has_kernels(&tensor))
        });
        assert!(!within.unwrap() && has_kernels(&tensor));
        assert_eq!(name(Some(&tensor)), "Cpu");
        assert!(on("cpu", |_| Ok::<_, NnError>(has_kernels(&tensor))).unwrap());
    }

    #[test]
    fn at_most_so_many_trials_share_a_gpu() {
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // No other test uses this GPU.
                    let _turn = Turn::take(77);
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    now.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!(most.into_inner(), trials_per_gpu());
    }
}

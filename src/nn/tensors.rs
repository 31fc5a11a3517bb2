//! Tensors as slices, where our kernels meet libtorch.

use tch::{Device, Tensor};

use super::{device::has_kernels, wide::Real};

/// libtorch's own threads are not used: the same bytes whatever the machine's load. Kernels of ours
/// share the work in an order that does not depend on the number of threads. Each thread that computes with tensors calls
/// it: the number is one of the thread, too.
pub fn one_thread() {
    thread_local! {
        static ONCE: () = tch::set_num_threads(1);
    }
    ONCE.with(|()| {});
}

/// The numbers of a contiguous tensor in main memory.
pub fn slice<T: Real>(tensor: &Tensor) -> &[T] {
    check::<T>(tensor);
    if tensor.numel() == 0 {
        return &[];
    }
    // SAFETY: checked to be numbers of this kind, in main memory, one after the other; they live as
    // long as the tensor does.
    unsafe { std::slice::from_raw_parts(tensor.data_ptr() as *const T, tensor.numel()) }
}

/// The same, to be written to.
pub fn slice_mut<T: Real>(tensor: &mut Tensor) -> &mut [T] {
    check::<T>(tensor);
    if tensor.numel() == 0 {
        return &mut [];
    }
    // SAFETY: as above; the borrow of the tensor is exclusive, and our tensors share no storage.
    unsafe { std::slice::from_raw_parts_mut(tensor.data_ptr() as *mut T, tensor.numel()) }
}

fn check<T: Real>(tensor: &Tensor) {
    assert!(
        has_kernels(tensor) && tensor.is_contiguous() && tensor.kind() == T::KIND,
        "a kernel asks for contiguous {:?} in main memory, where kernels compute",
        T::KIND
    );
}

/// Zeros of the same shape, kind and device, in memory of their own.
pub fn zeros_like(tensor: &Tensor) -> Tensor {
    Tensor::zeros(tensor.size(), (tensor.kind(), tensor.device()))
}

/// A tensor of the shape from 32-bit floats.
pub fn tensor_of(values: &[f32], shape: &[usize], device: Device) -> Tensor {
    let shape: Vec<i64> = shape.iter().map(|size| *size as i64).collect();
    Tensor::from_slice(values).reshape(&shape[..]).to_device(device)
}

/// The numbers of a tensor of 64-bit integers.
pub fn integers(tensor: &Tensor) -> Vec<i64> {
    let tensor = tensor.contiguous();
    let mut values = vec![0; tensor.numel()];
    let count = values.len();
    tensor.copy_data(&mut values, count);
    values
}

/// The numbers of any tensor as 32-bit floats in main memory.
pub fn floats(tensor: &Tensor) -> Vec<f32> {
    let tensor = tensor.detach().to_device(Device::Cpu).to_kind(tch::Kind::Float).contiguous();
    let mut values = vec![0.0; tensor.numel()];
    let count = values.len();
    tensor.copy_data(&mut values, count);
    values
}

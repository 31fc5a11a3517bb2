//! The only room that names tch: tensors, devices, layers, optimisers, the training loop, kernels, the text
//! encoder.
//!
//! Sparse products and attention are kernels of ours, which need no autograd graph; dense layers are libtorch's.
//! What has no kernels is trained with libtorch's autograd ([`learn::Learner`]).

pub mod attention;
pub mod bag;
mod bert;
pub mod composite;
pub mod device;
pub mod encoder;
mod error;
pub mod graph;
pub mod info_nce;
pub mod item_loss;
pub mod learn;
pub mod loss;
pub mod mult_vae;
pub mod network;
pub mod optimizer;
pub mod propagate;
pub mod sampler;
pub mod sequence;
pub mod start;
pub mod tensors;
pub mod wide;

pub use encoder::{Encoder, EncoderSpec, weights_digest};
pub use error::NnError;
pub use sampler::{Draw, Exclude, Negatives};
pub use tch::{Cuda, Device, Kind, Tensor, kind::Element, no_grad_guard};
pub use tensors::one_thread;

/// Fills the slots of this room.
pub(crate) fn fill_slots() {
    encoder::ENCODE.fill(encoder::encode);
    device::CHECK.fill(device::check);
}

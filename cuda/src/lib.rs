//! Networks of the H5Z-SAE codec on NVIDIA GPUs, with the same bits as on the CPU.
//!
//! ```text
//! codec ──► DeviceBackend ─┬─► Device ──► libh5zsae_cuda.so (kernels/, opened at run time)
//!                          └─► GemmBackend, for what the device declines
//! ```
//!
//! Nothing of CUDA is linked or needed to build this crate. The library that holds the kernels is a file of its own,
//! made by `make cuda`, and opened by [`Device::open`]. Its kernels are also compiled for the host in tests, which so
//! compare the very arithmetic with the codec's own decoder.
//!
//! A [`Training`] keeps weights, moments and activations on the device, and makes steps there. It gives what the CPU
//! gives but for rounding.
//!
//! `unsafe` lives in `library`, `device` and `training`.

mod backend;
mod codes;
mod device;
mod image;
mod library;
mod training;

pub use backend::DeviceBackend;
pub use device::Device;
pub use library::LIBRARY_NAME;
pub use training::{Training, TrainingSizes, TrainingStep, TrainingSums};

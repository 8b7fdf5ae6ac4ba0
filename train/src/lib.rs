//! Trains sparse autoencoders for H5Z-SAE.
//!
//! ```text
//! FrameSource ─► loader ─► pca ─► components (patches × K) ─► fit: network, optimiser, schedule ─► export ─► ModelSpec
//! ```
//!
//! Patches are read in blocks, once for the covariance and once to project them onto its K leading components; the
//! network is trained on those alone, and the components become its outer layer.
#![deny(unsafe_code)]

pub mod augment;
pub mod code;
pub mod export;
pub mod fit;
pub mod loader;
pub mod metrics;
pub mod network;
pub mod optimiser;
pub mod pca;
pub mod priors;
pub mod ranks;
pub mod real;
pub mod revival;
pub mod schedule;
pub mod trainer;

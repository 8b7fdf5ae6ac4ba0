//! Trains sparse autoencoders for H5Z-SAE.
//!
//! ```text
//! FrameSource ─► loader ─► pca ─► components (patches × K) ─► fit: network, optimiser, schedule ─► export ─► ModelSpec
//! ```
//!
//! Patches are read in blocks, once for the covariance and once to project them onto its K leading components; the
//! network is trained on those alone, and the components become its outer layer.
#![deny(unsafe_code)]

pub mod code;
pub mod fit;
pub mod loader;
pub mod network;
pub mod optimiser;
pub mod pca;
pub mod real;
pub mod revival;
pub mod schedule;

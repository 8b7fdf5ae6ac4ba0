//! Trains sparse autoencoders for H5Z-SAE.
//!
//! ```text
//! FrameSource ─► loader ─► pca ─► components (patches × K) ─► fit: network, optimiser, schedule ─► export ─► ModelSpec
//!                           ▲                                ▲      │ state
//!                           └────────── import ◄── model     └── checkpoint
//! ```
//!
//! Patches are read in blocks, once for the covariance and once to project them onto its K leading components; the
//! network is trained on those alone, and the components become its outer layer.
#![deny(unsafe_code)]

pub mod augment;
mod backend;
pub mod census;
pub mod checkpoint;
pub mod checksum;
pub mod code;
pub mod early_stop;
pub mod export;
pub mod fit;
pub mod import;
pub mod loader;
pub mod memory;
pub mod metrics;
pub mod network;
pub mod observer;
pub mod optimiser;
pub mod options;
pub mod outcome;
pub mod pca;
mod prepare;
pub mod priors;
pub mod ranks;
pub mod real;
pub mod refine;
pub mod report;
pub mod revival;
pub mod schedule;
pub mod search;
pub mod state;
mod tensor_file;
pub mod trainer;
pub mod trial;
mod watcher;

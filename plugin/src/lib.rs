//! The HDF5 filter plugin and the C library of H5Z-SAE: `libh5zsae.so`.
//!
//! ```text
//! HDF5 ──► entry.c ──► callbacks ──► guard ──► filter ──► codec        (types and property lists: dataset)
//! C    ───────────────► abi ───────► guard ──────────────► codec
//!                                      │         └► models ─► open_files: models in HDF5 files that are open
//!                                      └► host: HDF5's own functions, found at run time
//! ```
//!
//! Nothing of HDF5 is linked: the library loads into any process, whichever HDF5 that holds, and into none.
//! `unsafe` lives where C is called or calls: `abi`, `callbacks`, `host`, `host_buf`, `dataset`, `error_stack`,
//! `open_files`, `embedded`, `descriptors` and `calling_thread`; `device`, `embedded_form`, `filter`, `models` and
//! `threads` are safe Rust over slices.

#[cfg(panic = "abort")]
compile_error!(
    "libh5zsae lives in other people's processes: it must catch panics, so build it with panic = \"unwind\""
);

pub mod abi;
mod callbacks;
mod calling_thread;
mod dataset;
mod descriptors;
pub mod device;
mod embedded;
pub mod embedded_form;
mod error_stack;
mod filter;
mod guard;
mod host;
mod host_buf;
pub mod models;
mod open_files;
pub mod signature;
mod threads;

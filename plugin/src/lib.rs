//! The HDF5 filter plugin and the C library of H5Z-SAE: `libh5zsae.so`.
//!
//! ```text
//! HDF5 ──► entry.c ──► callbacks ──► guard ──► filter ──► codec        (types and property lists: dataset)
//! C    ───────────────► abi ───────► guard ──────────────► codec
//!                                      │
//!                                      └► host: HDF5's own functions, found at run time, for messages and lists
//! ```
//!
//! Nothing of HDF5 is linked: the library loads into any process, whichever HDF5 that holds, and into none.
//! `unsafe` lives in `abi`, `callbacks`, `host`, `host_buf`, `dataset` and `error_stack`; `device`, `filter`,
//! `models` and `threads` are safe Rust.

#[cfg(panic = "abort")]
compile_error!(
    "libh5zsae lives in other people's processes: it must catch panics, so build it with panic = \"unwind\""
);

pub mod abi;
mod callbacks;
mod dataset;
pub mod device;
mod error_stack;
mod filter;
mod guard;
mod host;
mod host_buf;
pub mod models;
mod threads;

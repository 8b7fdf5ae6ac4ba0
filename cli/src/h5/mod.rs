//! What the tools need of HDF5 beyond the safe layer of `hdf5-metno`: raw chunks, regions in the file's own type,
//! creation properties, object copies, references.
//!
//! All `unsafe` of the tools is in here, behind safe functions. HDF5 is called from one thread at a time: every
//! call takes the lock of `hdf5-metno` ([`raw::call`]).

pub mod attributes;
pub mod copy;
pub mod create;
pub mod dataset;
pub mod element;
pub mod embedded;
pub mod file;
pub mod pipeline;
pub mod raw;
pub mod references;

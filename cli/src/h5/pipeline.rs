//! The filter pipeline of a dataset, and our filter in this process.

use h5z_sae::cd_values::{FILTER_ID, StoredParams};
use hdf5::Dataset;
use hdf5_sys::h5p::{H5Pget_filter2, H5Pget_nfilters};
use hdf5_sys::h5z::H5Zregister;

use super::raw::{call, check};
use crate::error::CliError;

/// A filter of a pipeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterEntry {
    /// Registered number.
    pub id: i32,
    /// Its parameters.
    pub cd_values: Vec<u32>,
}

impl FilterEntry {
    /// A name for people.
    pub fn name(&self) -> String {
        match self.id {
            1 => "deflate".into(),
            2 => "shuffle".into(),
            3 => "fletcher32".into(),
            4 => "szip".into(),
            5 => "nbit".into(),
            6 => "scaleoffset".into(),
            FILTER_ID => "h5z-sae".into(),
            other => format!("filter {other}"),
        }
    }
}

/// More parameters than any filter in use has; further ones would be cut off, which our 16 never are.
const MAX_CD_VALUES: usize = 256;

/// The filters of a dataset, in the order in which writing applies them.
///
/// # Errors
/// HDF5's own sentence.
pub fn filters(dataset: &Dataset) -> Result<Vec<FilterEntry>, CliError> {
    let plist = dataset.create_plist()?;
    // SAFETY: `plist` is an open creation property list.
    let n_filters = check(call(|| unsafe { H5Pget_nfilters(plist.id()) }))?;
    (0..n_filters as u32)
        .map(|index| {
            let mut cd_values = vec![0u32; MAX_CD_VALUES];
            let (mut flags, mut count, mut config, mut name) = (0u32, MAX_CD_VALUES, 0u32, [0; 1]);
            // SAFETY: `cd_values` has room for `count` words, `name` for the one byte that is announced, and the
            // other pointers are to locals of the type that HDF5 writes.
            let id = check(call(|| unsafe {
                H5Pget_filter2(
                    plist.id(),
                    index,
                    &raw mut flags,
                    &raw mut count,
                    cd_values.as_mut_ptr(),
                    name.len(),
                    name.as_mut_ptr(),
                    &raw mut config,
                )
            }))?;
            cd_values.truncate(count);
            Ok(FilterEntry { id, cd_values })
        })
        .collect()
}

/// The parameters of our filter in a dataset; `None` without it.
///
/// # Errors
/// HDF5's own sentence, or cd_values that this version cannot read.
pub fn stored_params(dataset: &Dataset) -> Result<Option<StoredParams>, CliError> {
    match filters(dataset)?.iter().find(|filter| filter.id == FILTER_ID) {
        Some(filter) => Ok(Some(StoredParams::parse(&filter.cd_values)?)),
        None => Ok(None),
    }
}

/// Makes our filter known to the HDF5 of this process, so that it reads and creates compressed datasets without a
/// plugin path, and with the very code of the plugin.
///
/// # Errors
/// HDF5's own sentence.
pub fn register_filter() -> Result<(), CliError> {
    let class = h5zsae::abi::h5zsae_filter_class();
    // SAFETY: the class is a constant of this program.
    check(call(|| unsafe { H5Zregister(class) }))?;
    Ok(())
}

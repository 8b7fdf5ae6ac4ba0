//! Values of a dataset in the file's own type: regions through HDF5, chunks past it.

use hdf5::dataset::Layout;
use hdf5::{Dataset, Dataspace};
use hdf5_sys::h5::{herr_t, hsize_t};
use hdf5_sys::h5d::{H5Dget_chunk_info_by_coord, H5Dread, H5Dread_chunk1, H5Dwrite, H5Dwrite_chunk};
use hdf5_sys::h5i::hid_t;
use hdf5_sys::h5p::H5P_DEFAULT;
use hdf5_sys::h5s::{H5S_seloper_t, H5Screate_simple, H5Sselect_hyperslab};

use super::raw::{Id, call, check};
use crate::error::{At, CliError};

/// Opens a dataset by its path.
///
/// # Errors
/// A sentence that says whether the path leads nowhere or to something else.
pub fn open(location: &hdf5::Group, path: &str) -> Result<Dataset, CliError> {
    location.dataset(path).map_err(|_| match location.loc_type_by_name(path) {
        Ok(hdf5::LocationType::Group) => CliError::new(format!("{path}: is a group, expected a dataset")),
        Ok(hdf5::LocationType::Dataset) => CliError::new(format!("{path}: this dataset cannot be opened")),
        Ok(_) => CliError::new(format!("{path}: is a named type, expected a dataset")),
        Err(_) => CliError::new(format!("{path}: no such dataset")),
    })
}

/// Bytes of a dataset's values, uncompressed.
///
/// # Errors
/// If they are more than 2⁶⁴ − 1: a file may claim any extent, and nobody can have written so many.
pub fn raw_bytes(dataset: &Dataset) -> Result<u64, CliError> {
    raw_bytes_of(&dataset.get_shape().at("dimensions")?, dataset.dtype()?.size())
}

fn raw_bytes_of(dims: &[usize], size_bytes: usize) -> Result<u64, CliError> {
    if dims.contains(&0) {
        return Ok(0);
    }
    let n_bytes = dims.iter().try_fold(size_bytes as u64, |product, &dim| product.checked_mul(dim as u64));
    n_bytes.ok_or_else(|| {
        CliError::new(format!(
            "dimensions {dims:?} of {size_bytes} bytes each: expected less than 2^64 bytes in all"
        ))
    })
}

/// Whether a dataset has no values of its own: it joins those of other datasets, mostly in other files.
pub fn is_virtual(dataset: &Dataset) -> bool {
    dataset.layout() == Layout::Virtual
}

/// What is said of such a dataset where it is passed over.
pub const VIRTUAL: &str = "a virtual dataset, whose values lie in other datasets";

/// A box of a dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Region {
    /// First index along each dimension.
    pub start: Vec<usize>,
    /// Length along each dimension.
    pub dims: Vec<usize>,
}

impl Region {
    /// Number of values.
    pub fn n_values(&self) -> usize {
        self.dims.iter().product()
    }
}

/// The chunks that cover a dataset, in row-major order, cut off at its edges. Made one by one: a large file has
/// millions.
pub fn chunk_regions(dims: &[usize], chunk: &[usize]) -> impl Iterator<Item = Region> + use<> {
    let (dims, chunk) = (dims.to_vec(), chunk.to_vec());
    let counts: Vec<usize> = dims.iter().zip(&chunk).map(|(dim, chunk)| dim.div_ceil(*chunk)).collect();
    let n_chunks: usize = counts.iter().product();
    (0..n_chunks).map(move |mut index| {
        let mut start = vec![0; dims.len()];
        for axis in (0..dims.len()).rev() {
            start[axis] = index % counts[axis] * chunk[axis];
            index /= counts[axis];
        }
        let dims = (0..dims.len()).map(|axis| chunk[axis].min(dims[axis] - start[axis])).collect();
        Region { start, dims }
    })
}

fn select(space: &Dataspace, region: &Region) -> Result<Id, CliError> {
    let [start, count] =
        [&region.start, &region.dims].map(|v| v.iter().map(|&n| n as u64).collect::<Vec<_>>());
    // SAFETY: both arrays have as many entries as the dataspace has dimensions, which callers take from the dataset;
    // HDF5 checks the region against the extent.
    check(call(|| unsafe {
        H5Sselect_hyperslab(
            space.id(),
            H5S_seloper_t::H5S_SELECT_SET,
            start.as_ptr(),
            std::ptr::null(),
            count.as_ptr(),
            std::ptr::null(),
        )
    }))?;
    // SAFETY: `count` has the announced number of entries; a null maximum means "the same".
    Id::own(call(|| unsafe { H5Screate_simple(count.len() as i32, count.as_ptr(), std::ptr::null()) }))
}

/// Reads a region: its values in row-major order, in the file's type and byte order.
///
/// # Errors
/// HDF5's own sentence (a filter's, too).
pub fn read_region(dataset: &Dataset, region: &Region) -> Result<Vec<u8>, CliError> {
    let (dtype, space) = (dataset.dtype()?, dataset.space()?);
    let memory = select(&space, region)?;
    let mut bytes = vec![0u8; region.n_values() * dtype.size()];
    // SAFETY: the buffer holds the region's values in the type that is named as the memory's; types with pointers
    // (variable length) are refused by `element_type` before anyone reads values.
    check(call(|| unsafe {
        H5Dread(dataset.id(), dtype.id(), memory.get(), space.id(), H5P_DEFAULT, bytes.as_mut_ptr().cast())
    }))?;
    Ok(bytes)
}

/// Writes a region. Inverse of [`read_region`].
///
/// # Errors
/// HDF5's own sentence.
pub fn write_region(dataset: &Dataset, region: &Region, bytes: &[u8]) -> Result<(), CliError> {
    let (dtype, space) = (dataset.dtype()?, dataset.space()?);
    let memory = select(&space, region)?;
    if bytes.len() != region.n_values() * dtype.size() {
        return Err(CliError::new(format!("{} bytes for {} values", bytes.len(), region.n_values())));
    }
    // SAFETY: the buffer's length was checked against the region; HDF5 only reads it.
    check(call(|| unsafe {
        H5Dwrite(dataset.id(), dtype.id(), memory.get(), space.id(), H5P_DEFAULT, bytes.as_ptr().cast())
    }))?;
    Ok(())
}

/// The stored bytes of one chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredChunk {
    /// As in the file, after all filters.
    pub bytes: Vec<u8>,
    /// Bit i is set where filter i was left out.
    pub filter_mask: u32,
}

unsafe extern "C" {
    /// Public in HDF5 from 1.10.2 on; the crate of bindings leaves it out.
    fn H5Dget_chunk_storage_size(dataset: hid_t, offset: *const hsize_t, n_bytes: *mut hsize_t) -> herr_t;
}

/// Where the chunks begin that the file has stored.
///
/// Where none is absent these are all places, and HDF5 finds each at once. Asked for its n-th chunk, HDF5 1.10 goes
/// through those before it, which takes seconds for tens of thousands; that is left for datasets with gaps, whose
/// places may be far more than their chunks.
pub fn stored_chunk_starts(dataset: &Dataset) -> Box<dyn Iterator<Item = Vec<usize>> + '_> {
    let n_stored = dataset.num_chunks().unwrap_or(0);
    let places = || dataset.chunk().into_iter().flat_map(|chunk| chunk_regions(&dataset.shape(), &chunk));
    if places().take(n_stored.saturating_add(1)).count() == n_stored {
        return Box::new(places().map(|region| region.start));
    }
    Box::new((0..n_stored).filter_map(|index| {
        let info = dataset.chunk_info(index)?;
        Some(info.offset.iter().map(|&n| n as usize).collect())
    }))
}

/// Reads the chunk that begins at `start`, without its filters; `None` where the file has none, so that all values
/// are the fill value.
///
/// # Errors
/// HDF5's own sentence.
pub fn read_stored_chunk(dataset: &Dataset, start: &[usize]) -> Result<Option<StoredChunk>, CliError> {
    let offset: Vec<u64> = start.iter().map(|&n| n as u64).collect();
    let n_bytes = stored_bytes(dataset, &offset)?;
    if n_bytes == 0 {
        return Ok(None);
    }
    let mut filter_mask = 0u32;
    let mut bytes = vec![0u8; n_bytes as usize];
    // SAFETY: `bytes` has room for the size that HDF5 has just reported for this chunk.
    check(call(|| unsafe {
        H5Dread_chunk1(
            dataset.id(),
            H5P_DEFAULT,
            offset.as_ptr(),
            &raw mut filter_mask,
            bytes.as_mut_ptr().cast(),
        )
    }))?;
    Ok(Some(StoredChunk { bytes, filter_mask }))
}

/// Bytes of a chunk in the file; 0 where it has none.
///
/// HDF5 1.10 reports an absent chunk as an error here, so that the call which counts absence as an answer has to say
/// what it was. That one looks at all chunks in turn, and would make reading a dataset quadratic if asked first.
fn stored_bytes(dataset: &Dataset, offset: &[u64]) -> Result<u64, CliError> {
    let mut n_bytes = 0u64;
    // SAFETY: `offset` has as many entries as the dataset has dimensions, which callers take from the dataset; the
    // other pointer is to a local of the type that HDF5 writes.
    let status =
        call(|| unsafe { H5Dget_chunk_storage_size(dataset.id(), offset.as_ptr(), &raw mut n_bytes) });
    if status >= 0 {
        return Ok(n_bytes);
    }
    let (mut filter_mask, mut address) = (0u32, 0u64);
    // SAFETY: as above.
    check(call(|| unsafe {
        H5Dget_chunk_info_by_coord(
            dataset.id(),
            offset.as_ptr(),
            &raw mut filter_mask,
            &raw mut address,
            &raw mut n_bytes,
        )
    }))?;
    Ok(if address == u64::MAX { 0 } else { n_bytes })
}

/// Writes the bytes of the chunk that begins at `start`, as if all filters had been applied.
///
/// # Errors
/// HDF5's own sentence.
pub fn write_stored_chunk(dataset: &Dataset, start: &[usize], bytes: &[u8]) -> Result<(), CliError> {
    let offset: Vec<u64> = start.iter().map(|&n| n as u64).collect();
    // SAFETY: `offset` has as many entries as the dataset has dimensions; HDF5 only reads the bytes.
    check(call(|| unsafe {
        H5Dwrite_chunk(dataset.id(), H5P_DEFAULT, 0, offset.as_ptr(), bytes.len(), bytes.as_ptr().cast())
    }))?;
    Ok(())
}

/// Copies the values of a cut-off chunk into a whole one that is filled with `fill`, as HDF5 does at the edges.
/// `part` are the dimensions of `bytes`, `whole` those of the result.
pub fn pad(bytes: Vec<u8>, part: &[usize], whole: &[usize], fill: &[u8]) -> Vec<u8> {
    if part == whole {
        return bytes;
    }
    let n_whole: usize = whole.iter().product();
    let mut padded = fill.repeat(n_whole);
    for (row, at) in bytes.chunks_exact(row_bytes(part, fill.len())).zip(row_starts(part, whole)) {
        padded[at * fill.len()..][..row.len()].copy_from_slice(row);
    }
    padded
}

/// Cuts the values of a whole chunk to the part inside the dataset. Inverse of [`pad`].
pub fn crop(bytes: Vec<u8>, part: &[usize], whole: &[usize], size_bytes: usize) -> Vec<u8> {
    if part == whole {
        return bytes;
    }
    let row_bytes = row_bytes(part, size_bytes);
    row_starts(part, whole).flat_map(|at| bytes[at * size_bytes..][..row_bytes].iter().copied()).collect()
}

fn row_bytes(part: &[usize], size_bytes: usize) -> usize {
    part.last().copied().unwrap_or(1) * size_bytes
}

/// Where the rows of a part begin in the whole, counted in values.
fn row_starts(part: &[usize], whole: &[usize]) -> impl Iterator<Item = usize> {
    let leading = part.len().saturating_sub(1);
    let n_rows: usize = part[..leading].iter().product();
    let (part, whole) = (part.to_vec(), whole.to_vec());
    (0..n_rows).map(move |mut row| {
        let (mut at, mut stride) = (0, whole[leading]);
        for axis in (0..leading).rev() {
            at += row % part[axis] * stride;
            row /= part[axis];
            stride *= whole[axis];
        }
        at
    })
}

/// # Errors
/// If the dataset has no values (a dimension of 0, or a null dataspace), is a scalar, or claims more than 2⁶⁴ bytes.
pub fn dims_with_values(dataset: &Dataset) -> Result<Vec<usize>, CliError> {
    let dims = dataset.get_shape().at("dimensions")?;
    if dims.is_empty() {
        return Err(CliError::new("a scalar or empty dataset cannot be compressed: it has no dimensions"));
    }
    if dims.contains(&0) {
        return Err(CliError::new(format!("dimensions {dims:?}: there are no values to compress")));
    }
    raw_bytes(dataset)?;
    Ok(dims)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_value_once() {
        let (dims, chunk) = ([5, 7], [2, 3]);
        let mut hits = [[0; 7]; 5];
        for region in chunk_regions(&dims, &chunk) {
            for row in hits.iter_mut().skip(region.start[0]).take(region.dims[0]) {
                row.iter_mut().skip(region.start[1]).take(region.dims[1]).for_each(|hit| *hit += 1);
            }
        }
        assert_eq!(hits, [[1; 7]; 5]);
    }

    #[test]
    fn rejects_extents_that_no_number_counts() {
        assert_eq!(raw_bytes_of(&[1 << 30, 1 << 31], 4).unwrap(), 1 << 63);
        assert_eq!(raw_bytes_of(&[0, usize::MAX, usize::MAX], 8).unwrap(), 0);
        let message = raw_bytes_of(&[1 << 32, 1 << 31], 2).unwrap_err().to_string();
        assert!(
            message.contains("[4294967296, 2147483648] of 2 bytes each: expected less than 2^64"),
            "{message}"
        );
    }

    #[test]
    fn crop_undoes_pad() {
        let part = [2, 1, 3];
        let bytes: Vec<u8> = (1..=12).collect();
        let whole = [3, 2, 4];
        let padded = pad(bytes.clone(), &part, &whole, &[0xee, 0xff]);
        assert_eq!(padded.len(), 48);
        assert_eq!(&padded[..8], &[1, 2, 3, 4, 5, 6, 0xee, 0xff]);
        assert_eq!(&padded[16..24], &[7, 8, 9, 10, 11, 12, 0xee, 0xff]);
        assert_eq!(crop(padded, &part, &whole, 2), bytes);
    }
}

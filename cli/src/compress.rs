//! Chunks of a dataset through the codec, several at a time.

use h5z_sae::cd_values::StoredParams;
use h5z_sae::{ChunkShape, ElementType, Limits, Options, compress_chunk, decompress_chunk};
use h5z_sae_kernels::GemmBackend;
use h5zsae::device;
use hdf5::Dataset;

use crate::error::{At, CliError};
use crate::h5::create::fill_bytes;
use crate::h5::dataset::{
    Region, StoredChunk, chunk_regions, crop, pad, read_region, read_stored_chunk, write_stored_chunk,
};
use crate::models;
use crate::progress::Progress;
use crate::workers::Workers;

/// What the codec has to know of the chunks of one compressed dataset.
pub struct ChunkCoder {
    /// Dimensions of a whole chunk.
    pub chunk: Vec<usize>,
    /// Type of the values.
    pub element: ElementType,
    shape: ChunkShape,
    fill: Vec<u8>,
    options: Options,
}

impl ChunkCoder {
    /// For a dataset that was created with the given parameters.
    ///
    /// # Errors
    /// If its model cannot be found.
    pub fn try_new(dataset: &Dataset, stored: &StoredParams) -> Result<Self, CliError> {
        let chunk = dataset.chunk().ok_or_else(|| CliError::new("filtered, but not chunked"))?;
        let model = models::of_request(stored.requested())?;
        Ok(Self {
            chunk,
            element: stored.element(),
            shape: stored.shape()?,
            fill: fill_bytes(dataset)?,
            options: stored.options(model),
        })
    }

    fn compress(&self, values: Vec<u8>, region: &Region) -> Result<Vec<u8>, CliError> {
        let whole = pad(values, &region.dims, &self.chunk, &self.fill);
        let backend = device::backend(GemmBackend::default())?;
        Ok(compress_chunk(&whole, self.element, &self.shape, &self.options, &backend)?)
    }
}

/// Compresses all values of `original` into `target`, whose chunks are still unwritten.
///
/// # Errors
/// HDF5's own sentence, or the codec's, with the chunk's place.
pub fn write_compressed(
    original: &Dataset,
    target: &Dataset,
    coder: &ChunkCoder,
    workers: &Workers,
    progress: &mut Progress,
) -> Result<(), CliError> {
    workers.in_order(
        chunk_regions(&original.shape(), &coder.chunk),
        |region| read_region(original, region).at(format_args!("values from {:?}", region.start)),
        |values, region| coder.compress(values, region),
        |stream, region| {
            let written = stream.and_then(|stream| write_stored_chunk(target, &region.start, &stream));
            written.at(format_args!("chunk at {:?}", region.start))?;
            progress.advance((region.n_values() * coder.element.size_bytes()) as u64);
            Ok(())
        },
    )
}

/// A part of a dataset on its way out of the file: what HDF5 could already give, or a stream for the codec.
pub enum Fetched {
    /// Values in the file's type.
    Values(Vec<u8>),
    /// Our stream for a whole chunk.
    Stream(Vec<u8>),
}

/// Fetches a region that is one chunk. The codec's work is left for [`Fetched::into_values`], on any thread.
///
/// # Errors
/// HDF5's own sentence.
pub fn fetch_chunk(dataset: &Dataset, region: &Region, only_our_filter: bool) -> Result<Fetched, CliError> {
    if only_our_filter
        && let Some(StoredChunk { bytes, filter_mask: 0 }) = read_stored_chunk(dataset, &region.start)?
    {
        return Ok(Fetched::Stream(bytes));
    }
    Ok(Fetched::Values(read_region(dataset, region)?))
}

impl Fetched {
    /// The stream, if it is one.
    pub fn stream(&self) -> Option<&[u8]> {
        match self {
            Self::Stream(stream) => Some(stream),
            Self::Values(_) => None,
        }
    }

    /// The values of the region.
    ///
    /// # Errors
    /// What the decoder finds wrong.
    pub fn into_values(
        self,
        region: &Region,
        chunk: &[usize],
        element: ElementType,
    ) -> Result<Vec<u8>, h5z_sae::Error> {
        let stream = match self {
            Self::Values(values) => return Ok(values),
            Self::Stream(stream) => stream,
        };
        let whole_bytes = chunk.iter().product::<usize>() * element.size_bytes();
        let limits = Limits { max_chunk_bytes: whole_bytes };
        let backend = device::backend(GemmBackend::default())?;
        let values = decompress_chunk(&stream, &limits, &models::Lookup, &backend)?;
        if values.len() != whole_bytes {
            return Err(h5z_sae::Error::new(
                h5z_sae::ErrorKind::Corrupt,
                format!("chunk of {} bytes where the dataset's chunks have {whole_bytes}", values.len()),
            ));
        }
        Ok(crop(values, &region.dims, chunk, element.size_bytes()))
    }
}

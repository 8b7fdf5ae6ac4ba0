//! Compares a dataset with its compressed copy, chunk by chunk.

use h5z_sae::cd_values::{FILTER_ID, StoredParams};
use h5z_sae::sae::ModelId;
use h5z_sae::{Bound, ElementType, ErrorKind};
use hdf5::Dataset;

use crate::chunking;
use crate::compress::{Fetched, fetch_chunk};
use crate::error::{At, CliError};
use crate::h5::create::user_fill;
use crate::h5::dataset::{Region, chunk_regions, raw_bytes, read_region, read_stored_chunk};
use crate::h5::element::element_type;
use crate::h5::pipeline::{filters, stored_params};
use crate::method_counts::MethodShares;
use crate::progress::Progress;
use crate::values::{Difference, Marks, compare};
use crate::workers::Workers;

/// What was found out about one dataset.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Where it is.
    pub path: String,
    /// The parameters of our filter; `None` where the copy does not use it.
    pub params: Option<StoredParams>,
    /// Bytes of the values, uncompressed.
    pub raw_bytes: u64,
    /// Bytes in the compressed file.
    pub stored_bytes: u64,
    /// Largest distance between a value and its copy; `None` where values were not compared.
    pub max_abs_err: Option<f64>,
    /// Largest distance that was allowed anywhere; infinite where nothing was promised.
    pub allowed: f64,
    /// Values that broke the promise.
    pub n_broken: u64,
    /// How the chunks are coded.
    pub methods: MethodShares,
    /// What is wrong, in a sentence without the path.
    pub problem: Option<String>,
}

impl Finding {
    /// Sizes and parameters of a copy whose values are not looked at.
    ///
    /// # Errors
    /// HDF5's own sentence.
    pub fn without_values(path: &str, copy: &Dataset) -> Result<Self, CliError> {
        Ok(Self {
            path: path.into(),
            params: stored_params(copy)?,
            raw_bytes: raw_bytes(copy)?,
            stored_bytes: copy.storage_size(),
            max_abs_err: None,
            allowed: 0.0,
            n_broken: 0,
            methods: MethodShares::default(),
            problem: None,
        })
    }

    /// A dataset of which there is nothing but a problem.
    pub fn problem(path: &str, sentence: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            params: None,
            raw_bytes: 0,
            stored_bytes: 0,
            max_abs_err: None,
            allowed: 0.0,
            n_broken: 0,
            methods: MethodShares::default(),
            problem: Some(sentence.into()),
        }
    }

    /// The model that decoding needs.
    pub fn model(&self) -> Option<ModelId> {
        self.params.as_ref().map(|params| params.requested().model).filter(|&id| id != ModelId(0))
    }

    /// The bound that the copy was written under; lossless without our filter.
    pub fn bound(&self) -> Bound {
        self.params.as_ref().map_or(Bound::Lossless, |params| params.requested().bound)
    }
}

/// Compares all values of `original` with those of `copy`. Datasets of types that are no numbers are passed over
/// where they are not compressed.
///
/// # Errors
/// Where the comparison itself fails: HDF5's own sentence, a missing model. What is wrong with the copy is in the
/// finding instead.
pub fn check_dataset(
    path: &str,
    original: &Dataset,
    copy: &Dataset,
    workers: &Workers,
    progress: &mut Progress,
) -> Result<Finding, CliError> {
    let mut finding = Finding::without_values(path, copy)?;
    let (dims, copy_dims) = (original.shape(), copy.shape());
    if dims != copy_dims {
        finding.problem = Some(format!("has dimensions {copy_dims:?}, the original has {dims:?}"));
        return Ok(finding);
    }
    if finding.params.is_none() && !original.create_plist()?.all_filters_avail() {
        if !same_stored_chunks(original, copy)? {
            finding.problem =
                Some("differs in its stored bytes, and its filter is not there to read them".into());
        }
        return Ok(finding);
    }
    let (Ok(element), Ok(copy_element)) = (element_type(&original.dtype()?), element_type(&copy.dtype()?))
    else {
        return Ok(finding);
    };
    if (element.class(), element.size_bytes()) != (copy_element.class(), copy_element.size_bytes()) {
        finding.problem =
            Some(format!("has type {}, the original has {}", copy_element.name(), element.name()));
        return Ok(finding);
    }
    if dims.is_empty() || dims.contains(&0) {
        return Ok(finding);
    }
    Comparison::try_new(original, copy, element, copy_element, &finding)?.run(
        &mut finding,
        workers,
        progress,
    )?;
    Ok(finding)
}

/// Whether two datasets with one chunking hold the same bytes, filters unseen.
fn same_stored_chunks(original: &Dataset, copy: &Dataset) -> Result<bool, CliError> {
    let (Some(chunk), true) = (original.chunk(), original.chunk() == copy.chunk()) else { return Ok(false) };
    for region in chunk_regions(&original.shape(), &chunk) {
        if read_stored_chunk(original, &region.start)? != read_stored_chunk(copy, &region.start)? {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Comparison<'a> {
    original: &'a Dataset,
    copy: &'a Dataset,
    element: ElementType,
    copy_element: ElementType,
    chunk: Vec<usize>,
    bound: Bound,
    marks: Marks,
    only_our_filter: bool,
}

impl<'a> Comparison<'a> {
    fn try_new(
        original: &'a Dataset,
        copy: &'a Dataset,
        element: ElementType,
        copy_element: ElementType,
        finding: &Finding,
    ) -> Result<Self, CliError> {
        let pipeline = filters(copy)?;
        let chunk = match copy.chunk() {
            Some(chunk) if finding.params.is_some() => chunk,
            _ => chunking::choose(&original.shape(), element.size_bytes()).dims,
        };
        let marks = match &finding.params {
            Some(params) => Marks { fill: params.fill_value(), mask: params.requested().mask_value },
            None => Marks { fill: user_fill(copy, copy_element)?, mask: None },
        };
        let only_our_filter = matches!(pipeline.as_slice(), [only] if only.id == FILTER_ID);
        Ok(Self {
            original,
            copy,
            element,
            copy_element,
            chunk,
            bound: finding.bound(),
            marks,
            only_our_filter,
        })
    }

    fn run(&self, finding: &mut Finding, workers: &Workers, progress: &mut Progress) -> Result<(), CliError> {
        let mut largest = 0.0f64;
        workers.in_order(
            chunk_regions(&self.original.shape(), &self.chunk),
            |region| self.fetch(region),
            |(original, fetched), region| self.compare(&original, fetched, region),
            |result, region| {
                self.take_in(finding, &mut largest, result, region)?;
                progress.advance((region.n_values() * self.element.size_bytes()) as u64);
                Ok(())
            },
        )?;
        finding.max_abs_err = Some(largest);
        Ok(())
    }

    fn fetch(&self, region: &Region) -> Result<(Vec<u8>, Fetched), CliError> {
        let original = read_region(self.original, region);
        let original = original.at(format_args!("original, values from {:?}", region.start))?;
        let copy = fetch_chunk(self.copy, region, self.only_our_filter);
        Ok((original, copy.at(format_args!("chunk at {:?}", region.start))?))
    }

    fn compare(
        &self,
        original: &[u8],
        fetched: Fetched,
        region: &Region,
    ) -> Result<(Difference, MethodShares), h5z_sae::Error> {
        let methods = match self.only_our_filter {
            true => MethodShares::of_chunk(fetched.stream())?,
            false => MethodShares::default(),
        };
        let copy = fetched.into_values(region, &self.chunk, self.copy_element)?;
        let difference = compare(self.element, original, self.copy_element, &copy, self.bound, &self.marks);
        Ok((difference, methods))
    }

    /// Adds a chunk's difference to the finding. A damaged chunk is a finding, too; a missing model is an error, as
    /// then nothing was compared.
    fn take_in(
        &self,
        finding: &mut Finding,
        largest: &mut f64,
        result: Result<(Difference, MethodShares), h5z_sae::Error>,
        region: &Region,
    ) -> Result<(), CliError> {
        let (difference, methods) = match result {
            Ok(compared) => compared,
            Err(error) if matches!(error.kind(), ErrorKind::MissingModel | ErrorKind::System) => {
                return Err(error.into());
            }
            Err(error) => {
                let sentence = format!("chunk at {:?} cannot be decoded: {error}", region.start);
                finding.problem.get_or_insert(sentence);
                return Ok(());
            }
        };
        finding.methods.add(&methods);
        *largest = largest.max(difference.max_abs_err);
        finding.allowed = finding.allowed.max(difference.allowed);
        finding.n_broken += difference.n_broken;
        if let Some((index, what)) = difference.first_broken {
            let position = position_in(region, index);
            finding.problem.get_or_insert_with(|| format!("value at {position:?}: {what}"));
        }
        Ok(())
    }
}

/// Indices in the dataset of a value of a region.
fn position_in(region: &Region, mut index: usize) -> Vec<usize> {
    let mut position = region.start.clone();
    for axis in (0..position.len()).rev() {
        position[axis] += index % region.dims[axis];
        index /= region.dims[axis];
    }
    position
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_from_the_region() {
        let region = Region { start: vec![10, 20, 30], dims: vec![2, 3, 4] };
        assert_eq!(position_in(&region, 0), [10, 20, 30]);
        assert_eq!(position_in(&region, 23), [11, 22, 33]);
        assert_eq!(position_in(&region, 5), [10, 21, 31]);
    }
}

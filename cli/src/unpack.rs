//! `sae unpack`: a copy of an HDF5 file without our filter.

use std::collections::HashSet;
use std::path::PathBuf;
use std::process::ExitCode;

use h5z_sae::cd_values::FILTER_ID;
use hdf5::{Dataset, File, LocationType};

use crate::compress::fetch_chunk;
use crate::device::DeviceArgs;
use crate::error::{At, CliError};
use crate::h5::copy::{Replace, copy_file};
use crate::h5::create::{Place, create_like};
use crate::h5::dataset::{chunk_regions, raw_bytes, write_region};
use crate::h5::element::element_type;
use crate::h5::file::{ObjectKey, create_copy, key_of, open, paths_of};
use crate::h5::pipeline::{FilterEntry, filters, register_filter, stored_params};
use crate::models;
use crate::output::{PendingFile, print, refuse_same_file};
use crate::progress::Progress;
use crate::workers::Workers;

/// Copy an HDF5 file with this filter removed, for programs that cannot load it
///
/// Chunks and other filters stay as they are, and so does everything else of the file, but for the models in it that
/// these datasets needed.
#[derive(clap::Args)]
pub struct Args {
    /// HDF5 file to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// HDF5 file to write; it appears when it is complete
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Trained model that the file needs, if it lies in none of the usual places
    #[arg(long, value_name = "M.sae")]
    model: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
}

/// Runs the verb.
///
/// # Errors
/// Wrong arguments, files that cannot be read or written, damaged chunks, missing models.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    refuse_same_file(&args.input, &args.output)?;
    register_filter()?;
    args.device.choose();
    args.model.as_deref().map(models::load_and_register).transpose()?;
    let source = open(&args.input)?;
    models::register_embedded(&source)?;
    let Compressed { keys, paths, model_paths, n_bytes } =
        Compressed::of(&source).at(args.input.display())?;
    if paths.is_empty() {
        return Err(CliError::new(format!(
            "{}: no dataset uses filter {FILTER_ID}, so there is nothing to unpack",
            args.input.display()
        )));
    }
    let workers = Workers::try_new(args.jobs)?;
    let pending = PendingFile::try_new(&args.output)?;
    let progress = Progress::bytes("unpacking", n_bytes);
    let mut unpacker = Unpacker { keys, left_out: model_paths, workers: &workers, progress };
    create_copy(&source, &args.input, pending.path(), |target| copy_file(&source, target, &mut unpacker))
        .at(format_args!("{} to {}", args.input.display(), args.output.display()))?;
    pending.finish()?;
    paths.iter().try_for_each(|path| print(&format!("{path}: unpacked")))?;
    Ok(ExitCode::SUCCESS)
}

/// The datasets of a file that use our filter.
#[derive(Default)]
struct Compressed {
    keys: HashSet<ObjectKey>,
    paths: Vec<String>,
    /// Where the file would hold the models that they name.
    model_paths: HashSet<String>,
    /// Bytes of their values.
    n_bytes: u64,
}

impl Compressed {
    fn of(source: &File) -> Result<Self, CliError> {
        let mut found = Self::default();
        for path in paths_of(source, LocationType::Dataset)? {
            let dataset = source.dataset(&path).at(&path)?;
            if filters(&dataset).at(&path)?.iter().any(|filter| filter.id == FILTER_ID) {
                found.add(path.clone(), &dataset).at(&path)?;
            }
        }
        Ok(found)
    }

    fn add(&mut self, path: String, dataset: &Dataset) -> Result<(), CliError> {
        self.keys.insert(key_of(dataset)?);
        if let Some(params) = stored_params(dataset)? {
            self.model_paths.insert(h5zsae::embedded_form::path(params.requested().model));
        }
        self.n_bytes = self.n_bytes.saturating_add(raw_bytes(dataset)?);
        self.paths.push(path);
        Ok(())
    }
}

struct Unpacker<'a> {
    keys: HashSet<ObjectKey>,
    /// Models that nothing needs any more.
    left_out: HashSet<String>,
    workers: &'a Workers,
    progress: Progress,
}

impl Replace for Unpacker<'_> {
    fn wants(&self, key: &ObjectKey) -> bool {
        self.keys.contains(key)
    }

    fn leaves_out(&self, path: &str) -> bool {
        self.left_out.contains(path)
    }

    fn replace(&mut self, original: &Dataset, _key: &ObjectKey, place: &Place<'_>) -> Result<(), CliError> {
        let pipeline = filters(original)?;
        let others: Vec<FilterEntry> =
            pipeline.iter().filter(|filter| filter.id != FILTER_ID).cloned().collect();
        let chunk = original.chunk().ok_or_else(|| CliError::new("filtered, but not chunked"))?;
        let target = create_like(original, place, &chunk, &others)?;
        let element = element_type(&original.dtype()?)?;
        self.workers.in_order(
            chunk_regions(&original.shape(), &chunk),
            |region| {
                let fetched = fetch_chunk(original, region, others.is_empty());
                fetched.at(format_args!("chunk at {:?}", region.start))
            },
            |fetched, region| fetched.into_values(region, &chunk, element),
            |values, region| {
                let values = values.at(format_args!("chunk at {:?}", region.start))?;
                write_region(&target, region, &values).at(format_args!("values from {:?}", region.start))?;
                self.progress.advance(values.len() as u64);
                Ok(())
            },
        )
    }
}

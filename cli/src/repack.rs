//! `sae repack`: a copy of an HDF5 file in which chosen datasets are compressed.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use h5z_sae::cd_values::{FILTER_ID, RequestedParams};
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{Bound, ElementClass, ElementType};
use hdf5::{Dataset, File, LocationType};

use crate::bound::{BoundArgs, EncoderArgs, bit_pattern, describe, requested};
use crate::chunking::{self, Chunking};
use crate::compress::{ChunkCoder, write_compressed};
use crate::device::DeviceArgs;
use crate::embedding::{Embedding, Wish};
use crate::error::{At, CliError};
use crate::h5::copy::{Replace, copy_file};
use crate::h5::create::{Place, create_like, user_fill};
use crate::h5::dataset::{self, chunk_regions, dims_with_values, is_virtual, read_region};
use crate::h5::element::element_type;
use crate::h5::file::{ObjectKey, create_copy, key_of, open, paths_of};
use crate::h5::pipeline::{FilterEntry, register_filter, stored_params};
use crate::models::{self, ModelFile};
use crate::output::{PendingFile, print, refuse_same_file};
use crate::progress::Progress;
use crate::values::{Marks, Range};
use crate::verify;
use crate::workers::Workers;

/// Copy an HDF5 file with some of its datasets compressed
///
/// Everything else of the file is copied as it is: groups, attributes, links, named types, other datasets with their
/// filters. Filters that a chosen dataset had before are replaced by this one. Virtual datasets, whose values lie in
/// other datasets, are named and stay virtual; one that is chosen with --dataset gets its values into the new file.
#[derive(clap::Args)]
pub struct Args {
    /// HDF5 file to read
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// HDF5 file to write; it appears when it is complete
    #[arg(value_name = "OUT")]
    output: PathBuf,
    /// Trained model [default: the built-in one]
    ///
    /// It is put into the new file, so that readers need the plugin alone, where the datasets and the model together
    /// take fewer bytes than the datasets do in IN.
    #[arg(long, value_name = "M.sae")]
    model: Option<PathBuf>,
    /// Put the model into the new file even where that makes it larger
    #[arg(long, requires = "model", conflicts_with = "no_embed")]
    embed: bool,
    /// Do not put the model into the new file: readers need it as a file of its own
    #[arg(long, requires = "model")]
    no_embed: bool,
    #[command(flatten)]
    bound: BoundArgs,
    /// Dataset to compress; may be given several times [default: all floating-point datasets of two and more
    /// dimensions]
    #[arg(long = "dataset", value_name = "/PATH")]
    datasets: Vec<String>,
    /// Dimensions of a chunk, one number for each of the dataset's [default: whole frames, at most 256 and 1 MiB]
    #[arg(long, value_name = "F,R,C", value_delimiter = ',')]
    chunk: Vec<usize>,
    /// Value of masked pixels: it comes back exactly and does not count in ranges
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    mask_value: Option<String>,
    #[command(flatten)]
    encoder: EncoderArgs,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Do not read the result back and compare it with the input
    #[arg(long)]
    no_verify: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb. Exit code 1 if the result, read back, breaks its bound.
///
/// # Errors
/// Wrong arguments, or files that cannot be read or written.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    refuse_same_file(&args.input, &args.output)?;
    let bound = args.bound.bound()?;
    register_filter()?;
    args.device.choose();
    let model = args.model.as_deref().map(models::read_file).transpose()?;
    if let Some(file) = &model {
        h5zsae::models::register(Arc::clone(&file.model));
    }
    let source = open(&args.input)?;
    models::register_embedded(&source)?;
    let workers = Workers::try_new(args.jobs)?;
    let plans = plan(args, &source, bound, model.as_ref().map(|file| &file.model), &workers)?;
    if !args.json {
        plans.iter().try_for_each(|plan| print(&plan.to_string()))?;
    }
    let pending = PendingFile::try_new(&args.output)?;
    write_copy(args, &source, pending.path(), &plans, &workers).at(format_args!(
        "{} to {}",
        args.input.display(),
        args.output.display()
    ))?;
    let mut report = verify::Report::of_repack(&source, pending.path(), &plans, !args.no_verify, &workers)
        .at(args.output.display())?;
    if let Some(file) = model.as_ref().filter(|_| !report.failed()) {
        let embedding = embed_model(args, file, &source, &plans, report.stored_bytes())?;
        embedding.carry_out(file, pending.path()).at(args.output.display())?;
        report.embedding = Some(embedding);
    }
    report.print(args.json)?;
    if report.failed() {
        return Ok(ExitCode::from(1));
    }
    pending.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn embed_model(
    args: &Args,
    file: &ModelFile,
    source: &File,
    plans: &[Plan],
    after: u64,
) -> Result<Embedding, CliError> {
    let wish = match (args.embed, args.no_embed) {
        (true, _) => Wish::Always,
        (_, true) => Wish::Never,
        _ => Wish::WhereSmaller,
    };
    let sizes = plans.iter().map(|plan| Ok(dataset::open(source, &plan.path)?.storage_size()));
    let before = sizes.sum::<Result<u64, CliError>>()?;
    Ok(Embedding::choose(wish, file, source, (before, after)))
}

/// What becomes of one dataset.
pub struct Plan {
    /// Where it is.
    pub path: String,
    key: ObjectKey,
    element: ElementType,
    dims: Vec<usize>,
    raw_bytes: u64,
    chunking: Chunking,
    request: RequestedParams,
}

impl std::fmt::Display for Plan {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: {} {:?}, bound {}, chunks {:?} ({})",
            self.path,
            self.element.name(),
            self.dims,
            describe(self.request.bound),
            self.chunking.dims,
            self.chunking.reason
        )
    }
}

fn plan(
    args: &Args,
    source: &File,
    bound: Bound,
    model: Option<&Arc<Model>>,
    workers: &Workers,
) -> Result<Vec<Plan>, CliError> {
    let paths = if args.datasets.is_empty() { default_datasets(source)? } else { args.datasets.clone() };
    if paths.is_empty() {
        return Err(CliError::new(format!(
            "{}: holds no floating-point dataset of two or more dimensions; name the datasets with --dataset",
            args.input.display()
        )));
    }
    let model_id = model.map_or(ModelId(0), |model| model.id());
    let mut plans: Vec<Plan> = Vec::new();
    for path in paths {
        let plan = plan_dataset(args, source, &path, bound, model_id, workers)
            .at(format_args!("{}, dataset {path}", args.input.display()))?;
        if plans.iter().all(|other| other.key != plan.key) {
            plans.push(plan);
        }
    }
    Ok(plans)
}

/// Floating-point datasets of rank 2 and more that hold values of their own. Axes have rank 1, and whoever wants
/// integers (counts, masks) rounded has to say so.
fn default_datasets(source: &File) -> Result<Vec<String>, CliError> {
    let mut chosen = Vec::new();
    for path in paths_of(source, LocationType::Dataset)? {
        let Ok(dataset) = source.dataset(&path) else { continue };
        let float =
            element_type(&dataset.dtype()?).is_ok_and(|element| element.class() == ElementClass::Float);
        let has_frames = dims_with_values(&dataset).is_ok_and(|dims| dims.len() >= 2);
        if float && has_frames && !is_virtual(&dataset) {
            chosen.push(path);
        }
    }
    Ok(chosen)
}

fn plan_dataset(
    args: &Args,
    source: &File,
    path: &str,
    bound: Bound,
    model: ModelId,
    workers: &Workers,
) -> Result<Plan, CliError> {
    let dataset = dataset::open(source, path)?;
    let element = element_type(&dataset.dtype()?)?;
    let dims = dims_with_values(&dataset)?;
    let chunking = match args.chunk.as_slice() {
        [] => chunking::choose(&dims, element.size_bytes()),
        asked => chunking::requested(asked, &dims, element.size_bytes())?,
    };
    let mask_value = args.mask_value.as_deref().map(|text| bit_pattern(text, element)).transpose()?;
    let marks = Marks { fill: user_fill(&dataset, element)?, mask: mask_value };
    let bound = absolute(bound, &dataset, element, &chunking.dims, &marks, workers)?;
    let request = requested(bound, model, args.encoder, mask_value);
    let raw_bytes = dataset::raw_bytes(&dataset)?;
    Ok(Plan { path: path.into(), key: key_of(&dataset)?, element, dims, raw_bytes, chunking, request })
}

/// A relative bound as the absolute one of the whole dataset, so that all chunks are held to the same. A dataset
/// without any range is coded exactly: that costs nothing.
fn absolute(
    bound: Bound,
    dataset: &Dataset,
    element: ElementType,
    chunk: &[usize],
    marks: &Marks,
    workers: &Workers,
) -> Result<Bound, CliError> {
    let Bound::Relative(fraction) = bound else { return Ok(bound) };
    let mut range = Range::default();
    workers.in_order(
        chunk_regions(&dataset.shape(), chunk),
        |region| read_region(dataset, region),
        |values, _| Range::of(element, &values, marks),
        |of_chunk, _| {
            range.join(of_chunk);
            Ok(())
        },
    )?;
    let epsilon = fraction * range.width();
    Ok(if epsilon > 0.0 && epsilon.is_finite() { Bound::Absolute(epsilon) } else { Bound::Lossless })
}

fn write_copy(
    args: &Args,
    source: &File,
    path: &Path,
    plans: &[Plan],
    workers: &Workers,
) -> Result<(), CliError> {
    let n_bytes = plans.iter().map(|plan| plan.raw_bytes).fold(0, u64::saturating_add);
    let mut repacker = Repacker {
        left_out: unneeded_models(source, plans)?,
        plans: plans.iter().map(|plan| (plan.key.clone(), plan)).collect(),
        workers,
        progress: Progress::bytes("compressing", n_bytes),
    };
    create_copy(source, &args.input, path, |target| copy_file(source, target, &mut repacker))
}

/// Paths of embedded models that only the datasets named which are now compressed with another one.
fn unneeded_models(source: &File, plans: &[Plan]) -> Result<HashSet<String>, CliError> {
    let (mut before, mut after) = (HashSet::new(), HashSet::new());
    for path in paths_of(source, LocationType::Dataset)? {
        let dataset = source.dataset(&path).at(&path)?;
        // Parameters that cannot be read name nothing.
        let Some(params) = stored_params(&dataset).ok().flatten() else { continue };
        let key = key_of(&dataset)?;
        let replaced = plans.iter().any(|plan| plan.key == key);
        let naming = if replaced { &mut before } else { &mut after };
        naming.insert(params.requested().model);
    }
    after.extend(plans.iter().map(|plan| plan.request.model));
    Ok(before.difference(&after).map(|&id| h5zsae::embedded_form::path(id)).collect())
}

struct Repacker<'a> {
    left_out: HashSet<String>,
    plans: HashMap<ObjectKey, &'a Plan>,
    workers: &'a Workers,
    progress: Progress,
}

impl Replace for Repacker<'_> {
    fn wants(&self, key: &ObjectKey) -> bool {
        self.plans.contains_key(key)
    }

    fn leaves_out(&self, path: &str) -> bool {
        self.left_out.contains(path)
    }

    fn replace(&mut self, original: &Dataset, key: &ObjectKey, place: &Place<'_>) -> Result<(), CliError> {
        let plan = self.plans[key];
        let filter = FilterEntry { id: FILTER_ID, cd_values: plan.request.to_words() };
        let target = create_like(original, place, &plan.chunking.dims, &[filter])?;
        let stored = stored_params(&target)?
            .ok_or_else(|| CliError::new("HDF5 created the dataset without the filter"))?;
        let coder = ChunkCoder::try_new(&target, &stored)?;
        write_compressed(original, &target, &coder, self.workers, &mut self.progress)
    }
}

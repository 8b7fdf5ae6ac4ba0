//! `sae info`: what a model file or a compressed HDF5 file holds.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use h5z_sae::StreamHeader;
use h5z_sae::cd_values::{FILTER_ID, StoredParams};
use h5z_sae::sae::{Model, ModelId, Penalty, Transform};
use h5zsae::embedded_form;
use hdf5::{Dataset, File, LocationType};
use serde_json::{Value, json};

use crate::bound::describe;
use crate::embed::datasets_naming;
use crate::error::{At, CliError};
use crate::fields::Fields;
use crate::h5::dataset::{is_virtual, raw_bytes, read_stored_chunk, stored_chunk_starts};
use crate::h5::embedded;
use crate::h5::file::{open, paths_of};
use crate::h5::pipeline::{filters, register_filter};
use crate::method_counts::MethodShares;
use crate::models;
use crate::output::print;

/// Show what a model (.sae) or a compressed HDF5 file holds
#[derive(clap::Args)]
pub struct Args {
    /// Model or HDF5 file
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
///
/// # Errors
/// If the file cannot be read, or is neither.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let content = if is_hdf5(&args.file)? { hdf5_info(&args.file)? } else { model_info(&args.file)? };
    print(&if args.json { format!("{:#}", content.to_json()) } else { content.to_text() })?;
    Ok(ExitCode::SUCCESS)
}

fn is_hdf5(path: &Path) -> Result<bool, CliError> {
    let file = std::fs::File::open(path).at(format_args!("{}: cannot read", path.display()))?;
    if path.is_dir() {
        return Err(CliError::new(format!(
            "{}: is a folder, expected a model or an HDF5 file",
            path.display()
        )));
    }
    let n_bytes = file.metadata().at(path.display())?.len();
    let read_at = |at| {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, at).map(|()| bytes)
    };
    h5zsae::signature::is_hdf5(n_bytes, read_at).at(path.display())
}

fn model_info(path: &Path) -> Result<Fields, CliError> {
    let model = models::load(path)?;
    let file_bytes = std::fs::metadata(path).at(path.display())?.len();
    let spec = model.spec();
    let most_active = if spec.active == 0 { json!("all") } else { json!(spec.active) };
    Ok(Fields::default()
        .fact("model", model.id().to_string())
        .fact("file_bytes", file_bytes)
        .fact("patch", format!("{} x {}", spec.patch.rows, spec.patch.cols))
        .fact("layers", layers(&model))
        .fact("point_symmetric", spec.point_symmetric)
        .fact("transform", transform(spec.transform))
        .fact("penalty", penalty(spec.penalty))
        .fact("sparsity_lambda", spec.sparsity_lambda)
        .fact("most_active_latents", most_active)
        .fact("break_even", break_even(&model, file_bytes))
        .fact("provenance", json!(spec.provenance)))
}

fn penalty(penalty: Penalty) -> &'static str {
    match penalty {
        Penalty::Z => "z",
        Penalty::Grad => "grad",
    }
}

fn layers(model: &Model) -> String {
    format!(
        "values {}, hidden {}, latents {}, linear atoms {}",
        model.n_values(),
        model.n_hidden(),
        model.n_latents(),
        model.n_linear()
    )
}

fn transform(transform: Transform) -> String {
    let in_units = |q24: u32| f64::from(q24) / f64::from(1 << 24);
    match transform {
        Transform::None => "none".into(),
        Transform::Sqrt { offset_q24 } => format!("sqrt(x + {})", in_units(offset_q24)),
        Transform::Log { offset_q24 } => format!("log(1 + x/{})", in_units(offset_q24)),
    }
}

/// The volume of f32 data at which a model's own bytes are paid for, compared with storing it raw: by the nonzeros
/// that training counted on held-out patches, each with its position among the latents and a weight.
fn break_even(model: &Model, file_bytes: u64) -> Value {
    const WEIGHT_BITS: f64 = 6.0;
    let counted = model.spec().provenance.get("held_out_nonzeros").and_then(|text| text.parse::<f64>().ok());
    let Some(nonzeros) = counted.filter(|nonzeros| *nonzeros > 0.0) else {
        return json!("unknown: the file does not say how many nonzeros a patch takes");
    };
    let position_bits = (model.n_latents() as f64 / nonzeros).log2().max(0.0) + 1.5;
    let coded_bytes = nonzeros * (position_bits + WEIGHT_BITS) / 8.0;
    let raw_bytes = (model.n_values() * size_of::<f32>()) as f64;
    if coded_bytes >= raw_bytes {
        return json!("never: the latent code is no smaller than the data");
    }
    let megabytes = file_bytes as f64 * raw_bytes / (raw_bytes - coded_bytes) / 1e6;
    json!(format!("about {megabytes:.1} MB of f32 data, compared with raw storage, at the latent code alone"))
}

fn hdf5_info(path: &Path) -> Result<Fields, CliError> {
    register_filter()?;
    let file = open(path)?;
    models::register_embedded(&file)?;
    let (mut datasets, mut virtual_paths) = (Vec::new(), Vec::new());
    for name in paths_of(&file, LocationType::Dataset).at(path.display())? {
        let dataset = file.dataset(&name).at(&name)?;
        let place = format!("{}, dataset {name}", path.display());
        if is_virtual(&dataset) {
            virtual_paths.push(name.clone());
        }
        if let Some(info) = dataset_info(&name, &dataset).at(place)? {
            datasets.push(info);
        }
    }
    let mut info = Fields::default().fact("file", path.display().to_string());
    let embedded = embedded_models(&file).at(path.display())?;
    if !embedded.is_empty() {
        info = info.list("embedded_models", embedded);
    }
    if !virtual_paths.is_empty() {
        info = info.fact("virtual_datasets", json!(virtual_paths));
    }
    if datasets.is_empty() {
        return Ok(info.fact("datasets", format!("none uses filter {FILTER_ID}")));
    }
    Ok(info.list("datasets", datasets))
}

/// The models that the file holds, and which datasets name them.
fn embedded_models(file: &File) -> Result<Vec<Fields>, CliError> {
    let of_model = |id: ModelId| {
        let found = embedded::read(file, id);
        let state = match &found {
            Ok(Some(bytes)) => Model::parse(bytes).err().map(|error| error.to_string()),
            Ok(None) => Some(embedded_form::leads_elsewhere(&embedded_form::path(id))),
            Err(error) => Some(error.to_string()),
        };
        Ok(Fields::default()
            .fact("model", id.to_string())
            .fact("file_bytes", found.ok().flatten().map(|bytes| bytes.len()))
            .fact("damage", state)
            .fact("named_by", json!(datasets_naming(file, id)?)))
    };
    embedded::ids(file)?.into_iter().map(of_model).collect()
}

fn dataset_info(name: &str, dataset: &Dataset) -> Result<Option<Fields>, CliError> {
    let pipeline = filters(dataset)?;
    let Some(ours) = pipeline.iter().find(|filter| filter.id == FILTER_ID) else { return Ok(None) };
    let raw_bytes = raw_bytes(dataset)?;
    let stored_bytes = dataset.storage_size();
    let others: Vec<_> =
        pipeline.iter().filter(|filter| filter.id != FILTER_ID).map(|filter| filter.name()).collect();
    let mut info = Fields::default()
        .fact("path", name)
        .fact("dimensions", dataset.shape())
        .fact("chunk", dataset.chunk())
        .group("parameters", params_info(&ours.cd_values))
        .fact("cd_values", json!(ours.cd_values))
        .fact("raw_bytes", raw_bytes)
        .fact("stored_bytes", stored_bytes)
        .fact("ratio", raw_bytes as f64 / stored_bytes as f64)
        .fact(
            "ratio_with_model",
            models::ratio_with_model(raw_bytes, stored_bytes, named_model(&ours.cd_values)),
        );
    if others.is_empty() {
        info = info.group("chunks", chunk_summary(dataset)?);
    } else {
        info = info.fact("other_filters", others);
    }
    Ok(Some(info))
}

fn named_model(cd_values: &[u32]) -> Option<ModelId> {
    let id = StoredParams::parse(cd_values).ok()?.requested().model;
    (id != ModelId(0)).then_some(id)
}

fn params_info(cd_values: &[u32]) -> Fields {
    let params = match StoredParams::parse(cd_values) {
        Ok(params) => params,
        Err(error) => return Fields::default().fact("unreadable", error.to_string()),
    };
    let request = params.requested();
    let bits = |pattern: Option<u64>| pattern.map(|bits| format!("{bits:#x}"));
    let model = if request.model.0 == 0 { "none".to_string() } else { request.model.to_string() };
    Fields::default()
        .fact("bound", describe(request.bound))
        .fact("model", model)
        .fact("effort", format!("{:?}", request.effort).to_lowercase())
        .fact("unbiased", request.unbiased)
        .fact("element", params.element().name())
        .fact("fill_value_bits", bits(params.fill_value()))
        .fact("mask_value_bits", bits(request.mask_value))
}

/// Sizes of the stored chunks, and how they are coded, by their headers.
fn chunk_summary(dataset: &Dataset) -> Result<Fields, CliError> {
    let mut sizes = Vec::new();
    let (mut methods, mut largest_error) = (MethodShares::default(), 0.0f64);
    for start in stored_chunk_starts(dataset) {
        let Some(chunk) = read_stored_chunk(dataset, &start)? else { continue };
        sizes.push(chunk.bytes.len());
        let place = format!("chunk at {start:?}");
        let stream = (chunk.filter_mask == 0).then_some(chunk.bytes.as_slice());
        if let Some(stream) = stream {
            largest_error = largest_error.max(StreamHeader::parse(stream).at(&place)?.max_abs_err);
        }
        methods.add(&MethodShares::of_chunk(stream).at(&place)?);
    }
    sizes.sort_unstable();
    Ok(Fields::default()
        .fact("number", sizes.len())
        .fact("smallest_bytes", sizes.first().copied())
        .fact("median_bytes", sizes.get(sizes.len() / 2).copied())
        .fact("largest_bytes", sizes.last().copied())
        .fact("patches_by_method", methods.to_json())
        .fact("largest_error_as_written", largest_error))
}

//! `sae info`: what a model file or a compressed HDF5 file holds.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use h5z_sae::cd_values::{FILTER_ID, StoredParams};
use h5z_sae::sae::{Model, Penalty, Transform};
use hdf5::{Dataset, LocationType};
use serde_json::{Value, json};

use crate::bound::describe;
use crate::error::{At, CliError};
use crate::h5::dataset::read_stored_chunk;
use crate::h5::file::{open, paths_of};
use crate::h5::pipeline::{filters, register_filter};
use crate::method_counts::MethodCounts;
use crate::models;

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
    if args.json {
        println!("{content:#}");
    } else {
        print_indented(&content, 0);
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether HDF5's signature stands where the format allows it: at 0, 512, 1024, 2048, …
fn is_hdf5(path: &Path) -> Result<bool, CliError> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path).at(format_args!("{}: cannot read", path.display()))?;
    if path.is_dir() {
        return Err(CliError::new(format!("{}: is a folder, expected a model or an HDF5 file", path.display())));
    }
    let length = file.metadata().at(path.display())?.len();
    let mut at = 0;
    while at + 8 <= length {
        let mut signature = [0; 8];
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(&mut signature)).at(path.display())?;
        if signature == *b"\x89HDF\r\n\x1a\n" {
            return Ok(true);
        }
        at = if at == 0 { 512 } else { at * 2 };
    }
    Ok(false)
}

fn model_info(path: &Path) -> Result<Value, CliError> {
    let model = models::load(path)?;
    let file_bytes = std::fs::metadata(path).at(path.display())?.len();
    let spec = model.spec();
    Ok(json!({
        "model": model.id().to_string(),
        "file_bytes": file_bytes,
        "patch": format!("{} x {}", spec.patch.rows, spec.patch.cols),
        "layers": layers(&model),
        "point_symmetric": spec.point_symmetric,
        "transform": transform(spec.transform),
        "penalty": match spec.penalty { Penalty::Z => "z", Penalty::Grad => "grad" },
        "sparsity_lambda": spec.sparsity_lambda,
        "most_active_latents": if spec.active == 0 { json!("all") } else { json!(spec.active) },
        "break_even": break_even(file_bytes, &spec.provenance),
        "provenance": spec.provenance,
    }))
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

/// The volume of raw data at which a model's own bytes are paid for: with `r` the ratio that training measured on
/// held-out frames and `r0` the one without the network (1, i.e. raw data, where it was not measured), each raw byte
/// saves 1/r0 − 1/r.
fn break_even(file_bytes: u64, provenance: &std::collections::BTreeMap<String, String>) -> Value {
    let number = |key: &str| provenance.get(key).and_then(|text| text.parse::<f64>().ok()).filter(|r| *r > 0.0);
    let Some(ratio) = number("held_out_ratio") else {
        return json!("unknown: the file does not say which ratio was reached in training");
    };
    let without = number("held_out_ratio_without_network");
    let saved_per_byte = 1.0 / without.unwrap_or(1.0) - 1.0 / ratio;
    if saved_per_byte <= 0.0 {
        return json!("never: the held-out frames were not smaller with the network");
    }
    let compared_with = if without.is_some() { "the same codec without network" } else { "storing raw data" };
    json!(format!("{:.1} MB of data, compared with {compared_with}", file_bytes as f64 / saved_per_byte / 1e6))
}

fn hdf5_info(path: &Path) -> Result<Value, CliError> {
    register_filter()?;
    let file = open(path)?;
    let mut datasets = Vec::new();
    for name in paths_of(&file, LocationType::Dataset).at(path.display())? {
        let dataset = file.dataset(&name).at(&name)?;
        let place = format!("{}, dataset {name}", path.display());
        if let Some(info) = dataset_info(&name, &dataset).at(place)? {
            datasets.push(info);
        }
    }
    if datasets.is_empty() {
        return Ok(json!({ "file": path.display().to_string(), "datasets": format!("none uses filter {FILTER_ID}") }));
    }
    Ok(json!({ "file": path.display().to_string(), "datasets": datasets }))
}

fn dataset_info(name: &str, dataset: &Dataset) -> Result<Option<Value>, CliError> {
    let pipeline = filters(dataset)?;
    let Some(ours) = pipeline.iter().find(|filter| filter.id == FILTER_ID) else { return Ok(None) };
    let raw_bytes = (dataset.size() * dataset.dtype()?.size()) as u64;
    let stored_bytes = dataset.storage_size();
    let others: Vec<_> = pipeline.iter().filter(|filter| filter.id != FILTER_ID).map(|filter| filter.name()).collect();
    let chunks = if others.is_empty() { chunk_summary(dataset)? } else { Value::Null };
    Ok(Some(json!({
        "path": name,
        "dimensions": dataset.shape(),
        "chunk": dataset.chunk(),
        "parameters": params_info(&ours.cd_values),
        "cd_values": ours.cd_values,
        "other_filters": others,
        "raw_bytes": raw_bytes,
        "stored_bytes": stored_bytes,
        "ratio": raw_bytes as f64 / stored_bytes as f64,
        "chunks": chunks,
    })))
}

fn params_info(cd_values: &[u32]) -> Value {
    let params = match StoredParams::parse(cd_values) {
        Ok(params) => params,
        Err(error) => return json!(format!("unreadable: {error}")),
    };
    let request = params.requested();
    json!({
        "bound": describe(request.bound),
        "model": if request.model.0 == 0 { "none".to_string() } else { request.model.to_string() },
        "effort": format!("{:?}", request.effort).to_lowercase(),
        "element": params.element().name(),
        "fill_value_bits": params.fill_value().map(|bits| format!("{bits:#x}")),
        "mask_value_bits": request.mask_value.map(|bits| format!("{bits:#x}")),
    })
}

/// Sizes of the stored chunks, and how they are coded, by their headers.
fn chunk_summary(dataset: &Dataset) -> Result<Value, CliError> {
    let mut sizes = Vec::new();
    let (mut methods, mut largest_error) = (MethodCounts::default(), 0.0f32);
    for index in 0..dataset.num_chunks().unwrap_or(0) {
        let Some(info) = dataset.chunk_info(index) else { continue };
        let start: Vec<usize> = info.offset.iter().map(|&n| n as usize).collect();
        let Some(chunk) = read_stored_chunk(dataset, &start)? else { continue };
        sizes.push(chunk.bytes.len());
        let header = if chunk.filter_mask == 0 {
            Some(h5z_sae::StreamHeader::parse(&chunk.bytes).at(format_args!("chunk at {start:?}"))?)
        } else {
            None
        };
        largest_error = largest_error.max(header.as_ref().map_or(0.0, |header| header.max_abs_err));
        methods.add(header.as_ref());
    }
    sizes.sort_unstable();
    Ok(json!({
        "number": sizes.len(),
        "smallest_bytes": sizes.first(),
        "median_bytes": sizes.get(sizes.len() / 2),
        "largest_bytes": sizes.last(),
        "by_method": methods.to_json(),
        "largest_error_as_written": largest_error,
    }))
}

/// JSON for people: a line for each entry, without quotes and brackets.
fn print_indented(value: &Value, depth: usize) {
    let indent = "  ".repeat(depth);
    let Value::Object(entries) = value else { return };
    for (key, entry) in entries {
        match entry {
            Value::Null => {}
            Value::Object(_) => {
                println!("{indent}{key}:");
                print_indented(entry, depth + 1);
            }
            Value::Array(items) if items.iter().any(Value::is_object) => {
                println!("{indent}{key}:");
                for item in items {
                    print_indented(item, depth + 1);
                    println!();
                }
            }
            Value::Array(items) if items.is_empty() => {}
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(Value::to_string).collect();
                println!("{indent}{key}: {}", items.join(" "));
            }
            Value::String(text) => println!("{indent}{key}: {text}"),
            other => println!("{indent}{key}: {other}"),
        }
    }
}

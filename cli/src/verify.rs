//! `sae verify`: is every value of a compressed file as close to the original as was promised?

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use h5z_sae::cd_values::FILTER_ID;
use h5z_sae::sae::ModelId;
use hdf5::{File, LocationType};
use serde_json::json;

use crate::bound::describe;
use crate::check::{Finding, check_dataset};
use crate::device::DeviceArgs;
use crate::embed::datasets_naming;
use crate::embedding::Embedding;
use crate::error::{At, CliError};
use crate::h5::dataset::{self, VIRTUAL, is_virtual};
use crate::h5::embedded;
use crate::h5::file::{open, paths_of};
use crate::h5::pipeline::register_filter;
use crate::models;
use crate::output::print;
use crate::picture;
use crate::progress::Progress;
use crate::repack::Plan;
use crate::workers::Workers;

/// Compare a compressed HDF5 file with its original
///
/// Every compressed dataset is read and held to the bound that is stored with it; all other datasets of numbers have
/// to be equal. Virtual datasets, whose values lie in other datasets, are named and passed over. Exit code 0: all
/// promises kept. 1: a bound is broken, a dataset is missing or damaged, or a dataset that should be compressed is not
/// (h5repack 1.10 writes a dataset unfiltered, says nothing and exits with 0, when the filter refuses it). 2: wrong
/// arguments, or files that cannot be read.
#[derive(clap::Args)]
pub struct Args {
    /// The file before compression
    #[arg(value_name = "ORIGINAL")]
    original: PathBuf,
    /// The file after compression
    #[arg(value_name = "COMPRESSED")]
    compressed: PathBuf,
    /// Dataset that has to be compressed; may be given several times [default: at least one has to be]
    #[arg(long = "dataset", value_name = "/PATH")]
    datasets: Vec<String>,
    /// Trained model that the file needs, if it lies in none of the usual places
    #[arg(long, value_name = "M.sae")]
    model: Option<PathBuf>,
    /// Draw a frame, its reconstruction and the difference side by side
    #[arg(long, value_name = "OUT.png")]
    picture: Option<PathBuf>,
    /// Frame to draw, of the first compressed dataset or of the first --dataset
    #[arg(long, value_name = "N", requires = "picture", default_value_t = 0)]
    frame: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Threads [default: one for each core]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    jobs: Option<u16>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs the verb.
///
/// # Errors
/// Wrong arguments, files that cannot be read, missing models.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    register_filter()?;
    args.device.choose();
    args.model.as_deref().map(models::load_and_register).transpose()?;
    let (original, compressed) = (open(&args.original)?, open(&args.compressed)?);
    [&original, &compressed].into_iter().try_for_each(models::register_embedded)?;
    for path in &args.datasets {
        dataset::open(&original, path).at(args.original.display())?;
    }
    let workers = Workers::try_new(args.jobs)?;
    let report =
        Report::of_files(&original, &compressed, &args.datasets, &workers).at(args.compressed.display())?;
    if let Some(out) = &args.picture {
        draw(args, &report, &original, &compressed, out)?;
    }
    report.print(args.json)?;
    Ok(if report.failed() { ExitCode::from(1) } else { ExitCode::SUCCESS })
}

fn draw(
    args: &Args,
    report: &Report,
    original: &File,
    compressed: &File,
    out: &Path,
) -> Result<(), CliError> {
    let drawn = args.datasets.first().or_else(|| report.compressed().next().map(|finding| &finding.path));
    let Some(path) = drawn else {
        return Err(CliError::new("--picture: there is no compressed dataset to draw"));
    };
    let [before, after] = [original, compressed].map(|file| dataset::open(file, path));
    picture::draw(&before?, &after?, args.frame, out).at(format_args!("--picture: dataset {path}"))
}

/// Everything that was found out about a file.
pub struct Report {
    findings: Vec<Finding>,
    problems: Vec<String>,
    /// Datasets that are virtual in both files, and so have no values to compare.
    virtual_paths: Vec<String>,
    /// What became of the model, where `repack` was given one.
    pub embedding: Option<Embedding>,
}

impl Report {
    fn of_files(
        original: &File,
        compressed: &File,
        wanted: &[String],
        workers: &Workers,
    ) -> Result<Self, CliError> {
        let paths = paths_of(original, LocationType::Dataset)?;
        let unneeded = unneeded_models(original, compressed)?;
        let (mut findings, mut virtual_paths) = (Vec::new(), Vec::new());
        let mut progress = Progress::bytes("comparing", total_bytes(original, &paths));
        for path in &paths {
            let before = dataset::open(original, path)?;
            match compressed.dataset(path) {
                Ok(after) if is_virtual(&before) && is_virtual(&after) => virtual_paths.push(path.clone()),
                Ok(after) => {
                    findings.push(check_dataset(path, &before, &after, workers, &mut progress).at(path)?);
                }
                Err(_) if unneeded.contains(path) => {}
                Err(_) => findings.push(Finding::problem(path, "is missing")),
            }
        }
        let mut report = Self { findings, problems: Vec::new(), virtual_paths, embedding: None };
        report.require_compressed(original, wanted)?;
        Ok(report)
    }

    /// The datasets that `repack` has just written; their values are compared if `compare` is set.
    ///
    /// # Errors
    /// As [`check_dataset`].
    pub fn of_repack(
        source: &File,
        path: &Path,
        plans: &[Plan],
        compare: bool,
        workers: &Workers,
    ) -> Result<Self, CliError> {
        let written = open(path)?;
        let paths: Vec<String> = plans.iter().map(|plan| plan.path.clone()).collect();
        let mut progress = Progress::bytes("reading back", total_bytes(source, &paths));
        let findings = paths.iter().map(|path| {
            let after = dataset::open(&written, path)?;
            if compare {
                check_dataset(path, &dataset::open(source, path)?, &after, workers, &mut progress).at(path)
            } else {
                Finding::without_values(path, &after)
            }
        });
        let findings = findings.collect::<Result<_, _>>()?;
        let virtual_paths = left_virtual(source, &written)?;
        Ok(Self { findings, problems: Vec::new(), virtual_paths, embedding: None })
    }

    fn require_compressed(&mut self, original: &File, wanted: &[String]) -> Result<(), CliError> {
        const HINT: &str = "h5repack writes a dataset unfiltered and exits with 0 when the filter refuses it or cannot \
                            be loaded";
        if wanted.is_empty() && self.compressed().next().is_none() {
            self.problems.push(format!("no dataset is compressed by filter {FILTER_ID}; {HINT}"));
        }
        let keys_of = |path: &str| crate::h5::file::key_of(&*dataset::open(original, path)?);
        for path in wanted {
            let key = keys_of(path)?;
            for virtual_path in &self.virtual_paths {
                if keys_of(virtual_path)? == key {
                    self.problems
                        .push(format!("{path}: is not compressed by filter {FILTER_ID}: it is {VIRTUAL}"));
                }
            }
            for finding in &mut self.findings {
                if keys_of(&finding.path)? == key && finding.params.is_none() && finding.problem.is_none() {
                    finding.problem = Some(format!("is not compressed by filter {FILTER_ID}; {HINT}"));
                }
            }
        }
        Ok(())
    }

    fn compressed(&self) -> impl Iterator<Item = &Finding> {
        self.findings.iter().filter(|finding| finding.params.is_some())
    }

    /// Stored bytes of all compressed datasets.
    pub fn stored_bytes(&self) -> u64 {
        self.compressed().map(|finding| finding.stored_bytes).sum()
    }

    /// Whether any promise was broken.
    pub fn failed(&self) -> bool {
        !self.problems.is_empty() || self.findings.iter().any(|finding| finding.problem.is_some())
    }

    /// Prints to stdout; problems, in words, to stderr.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn print(&self, as_json: bool) -> Result<(), CliError> {
        if as_json {
            return print(&format!("{:#}", self.to_json()));
        }
        self.compressed().try_for_each(|finding| print(&line(finding)))?;
        self.virtual_paths.iter().try_for_each(|path| print(&format!("{path}: {VIRTUAL}; left as it is")))?;
        if let Some(totals) = Totals::of(self) {
            print(&totals.to_string())?;
        }
        self.embedding.iter().try_for_each(|embedding| print(&embedding.to_string()))?;
        self.sentences().iter().for_each(|problem| eprintln!("sae: {problem}"));
        Ok(())
    }

    fn to_json(&self) -> serde_json::Value {
        let totals = Totals::of(self);
        let largest = |number: fn(&Finding) -> f64| self.compressed().map(number).fold(0.0, f64::max);
        json!({
            "ok": !self.failed(),
            "max_abs_err": largest(|finding| finding.max_abs_err.unwrap_or(0.0)),
            "bound": largest(|finding| finding.allowed),
            "ratio": totals.as_ref().map(Totals::ratio),
            "ratio_with_model": totals.as_ref().map(Totals::ratio_with_model),
            "raw_bytes": totals.as_ref().map(|totals| totals.raw_bytes),
            "stored_bytes": totals.as_ref().map(|totals| totals.stored_bytes),
            "model_bytes": totals.as_ref().map(|totals| totals.model_bytes),
            "model_embedded": self.embedding.as_ref().map(Embedding::in_file),
            "datasets": self.compressed().map(to_json).collect::<Vec<_>>(),
            "n_unfiltered": self.findings.iter().filter(|finding| finding.params.is_none()).count(),
            "virtual_datasets": self.virtual_paths,
            "problems": self.sentences(),
        })
    }

    fn sentences(&self) -> Vec<String> {
        let of_datasets = self.findings.iter().filter_map(|finding| {
            finding
                .problem
                .as_ref()
                .map(|problem| format!("{}: {problem}{}", finding.path, further(finding.n_broken)))
        });
        of_datasets.chain(self.problems.iter().cloned()).collect()
    }
}

fn further(n_broken: u64) -> String {
    if n_broken > 1 { format!("; {n_broken} values in all") } else { String::new() }
}

fn to_json(finding: &Finding) -> serde_json::Value {
    json!({
        "path": finding.path,
        "bound_kind": finding.bound().kind(),
        "bound": finding.allowed,
        "max_abs_err": finding.max_abs_err,
        "broken_values": finding.n_broken,
        "raw_bytes": finding.raw_bytes,
        "stored_bytes": finding.stored_bytes,
        "ratio": finding.raw_bytes as f64 / finding.stored_bytes as f64,
        "ratio_with_model": models::ratio_with_model(finding.raw_bytes, finding.stored_bytes, finding.model()),
        "model": finding.model().map(|id| id.to_string()),
        "patches_by_method": finding.methods.to_json(),
        "problem": finding.problem,
    })
}

fn line(finding: &Finding) -> String {
    let compared = match finding.max_abs_err {
        Some(error) => format!("largest error {error:.6e}, "),
        None => String::new(),
    };
    let verdict = if finding.problem.is_some() { "BROKEN, " } else { "" };
    let methods = finding.methods.describe();
    let with_model = models::ratio_with_model(finding.raw_bytes, finding.stored_bytes, finding.model());
    let with_model = with_model.map_or(String::new(), |ratio| format!(" ({ratio:.2} with its model)"));
    format!(
        "{}: {verdict}{compared}bound {}, {} -> {} bytes, ratio {:.2}{with_model}{}{}",
        finding.path,
        describe(finding.bound()),
        finding.raw_bytes,
        finding.stored_bytes,
        finding.raw_bytes as f64 / finding.stored_bytes as f64,
        if methods.is_empty() { "" } else { ", patches: " },
        methods
    )
}

/// Sizes of all compressed datasets together.
struct Totals {
    raw_bytes: u64,
    stored_bytes: u64,
    /// Files of all models that are needed, each once; `None` where one cannot be found.
    model_bytes: Option<u64>,
}

impl Totals {
    fn of(report: &Report) -> Option<Self> {
        report.compressed().next()?;
        let needed: BTreeSet<ModelId> = report.compressed().filter_map(Finding::model).collect();
        Some(Self {
            raw_bytes: report.compressed().map(|finding| finding.raw_bytes).fold(0, u64::saturating_add),
            stored_bytes: report.stored_bytes(),
            model_bytes: needed.into_iter().map(|id| models::file_bytes(&*models::by_id(id).ok()?)).sum(),
        })
    }

    fn ratio(&self) -> f64 {
        self.raw_bytes as f64 / self.stored_bytes as f64
    }

    fn ratio_with_model(&self) -> Option<f64> {
        Some(self.raw_bytes as f64 / (self.stored_bytes + self.model_bytes?) as f64)
    }
}

impl std::fmt::Display for Totals {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "all: {} -> {} bytes, ratio {:.2}", self.raw_bytes, self.stored_bytes, self.ratio())?;
        match (self.model_bytes, self.ratio_with_model()) {
            (Some(0), _) => Ok(()),
            (Some(bytes), Some(ratio)) => write!(f, ", {ratio:.2} with the model's {bytes} bytes"),
            _ => write!(f, ", the model's bytes are unknown"),
        }
    }
}

/// Paths of models in the original that no dataset of the copy names: `repack` and `unpack` leave them out.
fn unneeded_models(original: &File, compressed: &File) -> Result<BTreeSet<String>, CliError> {
    let mut paths = BTreeSet::new();
    for id in embedded::ids(original)? {
        if datasets_naming(compressed, id)?.is_empty() {
            paths.insert(h5zsae::embedded_form::path(id));
        }
    }
    Ok(paths)
}

/// Datasets that are virtual in a file and in its copy.
fn left_virtual(original: &File, copy: &File) -> Result<Vec<String>, CliError> {
    let mut paths = paths_of(original, LocationType::Dataset)?;
    paths.retain(|path| {
        let is_virtual = |file: &File| file.dataset(path).is_ok_and(|dataset| is_virtual(&dataset));
        is_virtual(original) && is_virtual(copy)
    });
    Ok(paths)
}

fn total_bytes(file: &File, paths: &[String]) -> u64 {
    let bytes_of = |path: &String| dataset::raw_bytes(&file.dataset(path).ok()?).ok();
    paths.iter().filter_map(bytes_of).fold(0, u64::saturating_add)
}

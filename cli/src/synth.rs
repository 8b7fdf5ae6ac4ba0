//! `sae synth`: simulated small-angle scattering frames as an HDF5 file.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use hdf5::types::VarLenUnicode;
use ndarray::{ArrayView1, ArrayView3};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal, Poisson};
use rayon::prelude::*;

use crate::error::{At, CliError};
use crate::interrupt;
use crate::output::PendingFile;
use crate::progress::Progress;
use crate::scattering::family::{draw_narrow, log_uniform};
use crate::scattering::{BROAD_FAMILIES, Detector, Family, Orientation};

/// Write simulated small-angle scattering frames: |F(q)|² of oriented particles
///
/// OUT.h5 gets /frames (N × P × P; f32 with a maximum of 1 in each frame, or u32 counts), /family (u8, an index into
/// its attribute `families`) and /qmax (f32, 1/Å at the middle of the frame's edge).
#[derive(clap::Args)]
pub struct Args {
    /// File to write
    #[arg(value_name = "OUT.h5")]
    out: PathBuf,
    /// Frames to write
    #[arg(short, long = "frames", value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    n: u32,
    /// broad: eight particle families of any shape over 1.2 decades of q; narrow: cylinders on one instrument
    #[arg(long, value_enum, default_value_t)]
    set: Set,
    /// Particle families, separated by commas, in place of the broad set's
    #[arg(long, value_delimiter = ',', num_args = 1.., value_enum)]
    families: Vec<Family>,
    /// Rows and columns of a frame
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(2..=8192))]
    pixels: u32,
    /// The same seed gives the same frames
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// q in 1/Å at the middle of the frame's edge, the same for all frames [broad: log-uniform from 10^-1.6 to
    /// 10^-0.4; narrow: 0.15]
    #[arg(long, value_name = "Q", value_parser = positive)]
    qmax: Option<f64>,
    /// Poisson counts (u32) whose mean at the brightest pixel is C
    #[arg(long, value_name = "C", value_parser = positive, conflicts_with = "noise")]
    counts: Option<f64>,
    /// Gaussian noise of this standard deviation, in units of the frame's maximum
    #[arg(long, value_name = "SIGMA", value_parser = positive)]
    noise: Option<f64>,
    /// Where the beam hits: rows down and columns right of the frame's middle, in pixels
    #[arg(long, value_name = "DY,DX", value_parser = parse_offset, default_value = "0,0", allow_hyphen_values = true)]
    centre: (f64, f64),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Set {
    #[default]
    Broad,
    Narrow,
}

/// Frames computed between two writes: 16 MiB of f32 at 64 × 64.
const FRAMES_PER_BLOCK: usize = 1024;

/// Frames in a chunk: 1 MiB of f32 at 64 × 64, which h5py's chunk cache holds.
const FRAMES_PER_CHUNK: usize = 64;

/// Particles that cannot be seen (no contrast) are drawn anew, up to this many times.
const MAX_DRAWS: usize = 1000;

/// Runs the verb.
///
/// # Errors
/// Wrong arguments, or a file that cannot be written.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let recipe = Recipe::try_new(args)?;
    let pending = PendingFile::try_new(&args.out)?;
    write_file(&recipe, args.n as usize, pending.path()).at(args.out.display())?;
    pending.finish()?;
    Ok(ExitCode::SUCCESS)
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if value > 0.0 && f64::is_finite(value) => Ok(value),
        _ => Err("expected a number above 0".into()),
    }
}

fn parse_offset(text: &str) -> Result<(f64, f64), String> {
    let number = |part: &str| part.trim().parse::<f64>().ok().filter(|value| value.is_finite());
    match text.split_once(',').map(|(rows, cols)| (number(rows), number(cols))) {
        Some((Some(rows), Some(cols))) => Ok((rows, cols)),
        _ => Err("expected two numbers, as in 3.5,-2".into()),
    }
}

/// How every frame is drawn.
struct Recipe {
    set: Set,
    families: Vec<Family>,
    pixels: usize,
    seed: u64,
    q_max: Option<f64>,
    counts: Option<f64>,
    noise: Option<f64>,
    beam_offset: (f64, f64),
}

/// A frame before it is stored: intensities, or counts where they were asked for.
struct Drawn {
    values: Vec<f64>,
    family_index: u8,
    q_max: f64,
}

impl Recipe {
    fn try_new(args: &Args) -> Result<Self, CliError> {
        if args.set == Set::Narrow && !args.families.is_empty() {
            return Err(CliError::new(
                "--families: the narrow set has cylinders only; use it with --set broad",
            ));
        }
        let families = match args.set {
            Set::Narrow => vec![Family::Cylinder],
            Set::Broad if args.families.is_empty() => BROAD_FAMILIES.to_vec(),
            Set::Broad => args.families.clone(),
        };
        Ok(Self {
            set: args.set,
            families,
            pixels: args.pixels as usize,
            seed: args.seed,
            q_max: args.qmax,
            counts: args.counts,
            noise: args.noise,
            beam_offset: args.centre,
        })
    }

    /// Draws frame `index`. Each frame has its own random stream, so that neither threads nor the number of frames
    /// change it.
    fn draw(&self, index: usize) -> Result<Drawn, CliError> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        rng.set_stream(index as u64);
        for _ in 0..MAX_DRAWS {
            let family_index = rng.random_range(0..self.families.len());
            let (particle, orientation) = match self.set {
                Set::Narrow => (draw_narrow(&mut rng), Orientation::draw(&mut rng, 180.0, 360.0, 0.0)),
                Set::Broad => (
                    self.families[family_index].draw(&mut rng),
                    Orientation::draw(&mut rng, 360.0, 360.0, 360.0),
                ),
            };
            let q_max = self.q_max.unwrap_or_else(|| match self.set {
                Set::Narrow => 0.15,
                Set::Broad => log_uniform(&mut rng, -1.6, -0.4),
            });
            let detector = Detector { pixels: self.pixels, q_max, beam_offset: self.beam_offset };
            if let Some(mut values) = detector.expose(&particle, &orientation) {
                self.disturb(&mut values, &mut rng)?;
                return Ok(Drawn { values, family_index: family_index as u8, q_max });
            }
        }
        Err(CliError::new(format!(
            "no visible particle in {MAX_DRAWS} draws; choose other families or another q"
        )))
    }

    fn disturb(&self, values: &mut [f64], rng: &mut ChaCha8Rng) -> Result<(), CliError> {
        if let Some(counts) = self.counts {
            for value in values.iter_mut() {
                *value = draw_count(*value * counts, rng)?;
            }
        }
        if let Some(sigma) = self.noise {
            let noise =
                Normal::new(0.0, sigma).map_err(|e| CliError::new(format!("--noise {sigma}: {e}")))?;
            values.iter_mut().for_each(|value| *value += noise.sample(rng));
        }
        Ok(())
    }
}

/// A Poisson count of the given mean, cut where u32 ends.
fn draw_count(mean: f64, rng: &mut ChaCha8Rng) -> Result<f64, CliError> {
    if mean < f64::MIN_POSITIVE {
        return Ok(0.0);
    }
    let poisson = Poisson::new(mean).map_err(|e| CliError::new(format!("--counts: mean of {mean}: {e}")))?;
    Ok(poisson.sample(rng).min(f64::from(u32::MAX)))
}

fn write_file(recipe: &Recipe, n_frames: usize, path: &Path) -> Result<(), CliError> {
    let file = hdf5::File::create(path)?;
    let frames = create_frames(&file, recipe, n_frames)?;
    let mut progress = Progress::counted("frames", n_frames as u64);
    let (mut family, mut q_max) = (Vec::with_capacity(n_frames), Vec::with_capacity(n_frames));
    for start in (0..n_frames).step_by(FRAMES_PER_BLOCK) {
        interrupt::check()?;
        let end = n_frames.min(start + FRAMES_PER_BLOCK);
        let block =
            (start..end).into_par_iter().map(|index| recipe.draw(index)).collect::<Result<Vec<_>, _>>()?;
        write_block(&frames, recipe, start, &block)?;
        family.extend(block.iter().map(|drawn| drawn.family_index));
        q_max.extend(block.iter().map(|drawn| drawn.q_max as f32));
        progress.advance((end - start) as u64);
    }
    write_family(&file, recipe, &family)?;
    let dataset = file.new_dataset_builder().with_data(ArrayView1::from(&q_max)).create("qmax")?;
    write_text(&dataset, "units", "1/angstrom")?;
    file.flush()?;
    Ok(())
}

fn create_frames(file: &hdf5::File, recipe: &Recipe, n_frames: usize) -> Result<hdf5::Dataset, CliError> {
    let shape = (n_frames, recipe.pixels, recipe.pixels);
    let chunk = (n_frames.min(FRAMES_PER_CHUNK), recipe.pixels, recipe.pixels);
    let dataset = if recipe.counts.is_some() {
        file.new_dataset::<u32>().chunk(chunk).shape(shape).create("frames")?
    } else {
        file.new_dataset::<f32>().chunk(chunk).shape(shape).create("frames")?
    };
    dataset.new_attr::<u64>().create("seed")?.write_scalar(&recipe.seed)?;
    Ok(dataset)
}

fn write_block(
    dataset: &hdf5::Dataset,
    recipe: &Recipe,
    start: usize,
    block: &[Drawn],
) -> Result<(), CliError> {
    let shape = (block.len(), recipe.pixels, recipe.pixels);
    let rows = start..start + block.len();
    let values = block.iter().flat_map(|drawn| &drawn.values);
    if recipe.counts.is_some() {
        let counts: Vec<u32> = values.map(|&value| value as u32).collect();
        let view = ArrayView3::from_shape(shape, &counts).map_err(hdf5::Error::from)?;
        dataset.write_slice(view, (rows, .., ..))?;
    } else {
        let floats: Vec<f32> = values.map(|&value| value as f32).collect();
        let view = ArrayView3::from_shape(shape, &floats).map_err(hdf5::Error::from)?;
        dataset.write_slice(view, (rows, .., ..))?;
    }
    Ok(())
}

fn write_family(file: &hdf5::File, recipe: &Recipe, family: &[u8]) -> Result<(), CliError> {
    let dataset = file.new_dataset_builder().with_data(ArrayView1::from(family)).create("family")?;
    let names = recipe.families.iter().map(|family| text(&family.name())).collect::<Result<Vec<_>, _>>()?;
    dataset.new_attr_builder().with_data(ArrayView1::from(&names)).create("families")?;
    Ok(())
}

fn write_text(dataset: &hdf5::Dataset, name: &str, value: &str) -> Result<(), CliError> {
    dataset.new_attr::<VarLenUnicode>().create(name)?.write_scalar(&text(value)?)?;
    Ok(())
}

fn text(value: &str) -> Result<VarLenUnicode, CliError> {
    value.parse().map_err(|e| CliError::new(format!("text '{value}': {e}")))
}

//! Speed of the network alone, on one core: f32 values of patches that are turned into latents, and back into values by the
//! exact decoder, in batches of 64 patches.
//!
//! `cargo bench -p h5z-sae-kernels --bench network [-- MODEL.sae …]`; without a file the built-in model. Figures of the
//! fastest of [`ROUNDS`] rounds, in MB/s of f32.

use std::sync::Arc;
use std::time::Instant;

use h5z_sae::sae::testing::TestRng;
use h5z_sae::sae::{Model, PatchCode};
use h5z_sae_kernels::GemmBackend;

/// Patches of a batch.
const N_PATCHES: usize = 64;
/// Nonzero latents of a code.
const N_NONZERO: usize = 12;
const ROUNDS: usize = 50;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds `--bench`.
    let files: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if files.is_empty() {
        report("built-in", &Model::builtin()?)?;
    }
    for file in files {
        let bytes = std::fs::read(&file).map_err(|error| format!("{file}: {error}"))?;
        report(&file, &Model::parse(&bytes).map_err(|error| format!("{file}: {error}"))?)?;
    }
    Ok(())
}

fn report(name: &str, model: &Arc<Model>) -> Result<(), Box<dyn std::error::Error>> {
    let backend = GemmBackend::default();
    let mut rng = TestRng::new(1);
    let patches: Vec<f32> = (0..N_PATCHES * model.n_values()).map(|_| rng.unit().abs()).collect();
    let codes: Vec<PatchCode> = (0..N_PATCHES).map(|_| code(model, &mut rng)).collect();
    let mut values = vec![0; patches.len()];

    let encoding = fastest(|| {
        model.analyze(&backend, &patches);
        Ok(())
    })?;
    let decoding = fastest(|| model.decode_patches(&backend, &codes, &mut values))?;
    let megabytes = (patches.len() * size_of::<f32>()) as f64 / 1e6;
    println!(
        "{name}: n = {}, {} stored; {} hidden, {} latents, {} linear atoms: encoding {:.0} MB/s, decoding {:.0} MB/s",
        model.n_values(),
        model.spec().n_stored(),
        model.n_hidden(),
        model.n_latents(),
        model.n_linear(),
        megabytes / encoding,
        megabytes / decoding
    );
    Ok(())
}

/// A few latents of one step each, in ascending order.
fn code(model: &Model, rng: &mut TestRng) -> PatchCode {
    let stride = (model.n_latents() / N_NONZERO).max(1);
    let latents = (0..model.n_latents()).step_by(stride).map(|first| {
        let last = (first + stride).min(model.n_latents()) - 1;
        (rng.int(first as i64, last as i64) as u32, 1)
    });
    PatchCode {
        latent_step_log2: 4.min(model.latent_frac_bits()),
        latents: latents.collect(),
        ..PatchCode::default()
    }
}

/// Seconds of the fastest of some calls.
fn fastest(mut call: impl FnMut() -> Result<(), h5z_sae::Error>) -> Result<f64, h5z_sae::Error> {
    let mut least = f64::INFINITY;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        call()?;
        least = least.min(start.elapsed().as_secs_f64());
    }
    Ok(least)
}

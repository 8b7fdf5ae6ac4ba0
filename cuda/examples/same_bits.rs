//! Compares a GPU with the CPU, bit for bit, on random and extreme models and the built-in one: `make cuda-check`.
//!
//!     same_bits LIBRARY [GPU [PATCHES]]
//!
//! GPU is its number [default: 0], PATCHES how many random codes of patches are decoded at least [default: 4000000].
//! Exit code 0: all values are equal. 1: some are not, and the seed of their model is printed. 2: the GPU could not be
//! asked.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use h5z_sae::Error;
use h5z_sae::sae::backend::NetworkDevice;
use h5z_sae::sae::testing::{extreme_spec, random_codes, random_spec};
use h5z_sae::sae::{Model, ModelSpec};
use h5z_sae_cuda::Device;
use h5z_sae_kernels::GemmBackend;

/// More than the device takes in one batch.
const PATCHES_OF_A_MODEL: usize = 3000;

fn main() -> ExitCode {
    compare().unwrap_or_else(|reason| {
        eprintln!("same_bits: {reason}");
        ExitCode::from(2)
    })
}

/// # Errors
/// A sentence where there is nothing to compare with.
fn compare() -> Result<ExitCode, String> {
    let mut arguments = std::env::args().skip(1);
    let library = arguments.next().ok_or("expected LIBRARY [GPU [PATCHES]]")?;
    let ordinal = number("GPU", arguments.next(), 0)?;
    let wanted: usize = number("PATCHES", arguments.next(), 4_000_000)?;
    let device = Device::open(Path::new(&library), ordinal, |reason| eprintln!("same_bits: {reason}"))?;
    let (mut n_patches, mut n_different) = (0, 0);
    for seed in 0.. {
        if n_patches >= wanted {
            break;
        }
        for (kind, model) in models(seed)? {
            let different = count_different(&device, &model, seed)?;
            if different > 0 {
                println!("{kind} model, seed {seed}: {different} values differ");
            }
            n_different += different;
            n_patches += PATCHES_OF_A_MODEL;
        }
    }
    println!("{}: {n_patches} patches, {n_different} values differ from the CPU's", device.platform());
    Ok(ExitCode::from(u8::from(n_different > 0)))
}

fn number<N: std::str::FromStr>(name: &str, text: Option<String>, default: N) -> Result<N, String> {
    let Some(text) = text else { return Ok(default) };
    text.parse().map_err(|_| format!("{name} is {text:?}: a number from 0 is expected"))
}

/// The models of a seed.
fn models(seed: u64) -> Result<[(&'static str, Arc<Model>); 3], String> {
    let sentence = |error: Error| error.message().to_string();
    let load = |spec: ModelSpec| spec.to_bytes().and_then(|bytes| Model::parse(&bytes)).map_err(sentence);
    Ok([
        ("random", load(random_spec(seed))?),
        ("extreme", load(extreme_spec(seed))?),
        ("built-in", Model::builtin().map_err(sentence)?),
    ])
}

/// Values of random codes that the device and the CPU decode differently.
fn count_different(device: &Device, model: &Model, seed: u64) -> Result<usize, String> {
    let codes = random_codes(model.spec(), seed, PATCHES_OF_A_MODEL);
    let mut on_cpu = vec![0; codes.len() * model.n_values()];
    let mut on_device = vec![0; on_cpu.len()];
    let sentence = |error: Error| error.message().to_string();
    model.decode_patches(&GemmBackend::default(), &codes, &mut on_cpu).map_err(sentence)?;
    let checked = model.check_codes(&codes).map_err(sentence)?;
    if !device.decode_patches(checked, &mut on_device) {
        return Err("the device failed".to_string());
    }
    Ok(on_cpu.iter().zip(&on_device).filter(|(a, b)| a != b).count())
}

//! What is printed about a finished model.

use std::path::Path;

use h5z_sae::sae::Model;
use h5z_sae_train::metrics::Quality;
use h5z_sae_train::outcome::Trained;

use super::args::Args;
use crate::error::CliError;

/// Prints what the model is worth.
pub fn print(args: &Args, output: &Path, trained: &Trained) -> Result<(), CliError> {
    let text = if args.json { json_report(output, trained) } else { text_report(args, output, trained) };
    crate::output::print(&text)
}

fn text_report(args: &Args, output: &Path, trained: &Trained) -> String {
    let model: &Model = &trained.model;
    let mut lines = vec![format!(
        "{}: {} bytes, id {}, {} latents{}, {}; {} steps, {:.2} s for a pass over the data",
        output.display(),
        trained.file.len(),
        model.id(),
        model.n_latents(),
        args.latents.map_or(String::new(), |latents| format!(" of {latents} kept")),
        if model.spec().point_symmetric { "point-symmetric" } else { "without point symmetry" },
        trained.n_steps,
        trained.epoch_seconds
    )];
    if trained.check.quality.n_patches == 0 {
        lines.push("no patches were held out: nothing to report errors on".to_owned());
        return lines.join("\n");
    }
    lines.push(format!("{} held-out patches, scaled to a maximum of 1:", trained.check.quality.n_patches));
    lines.push(format!(
        "  in float     squared error {:.5}, of which the basis leaves a share of {:.1e} of the variance",
        trained.check.float_squared_error, trained.share_outside_basis
    ));
    lines.push(format!("  as stored    {}", quality_line(&trained.check.quality)));
    let step = f64::from(model.spec().none_step_log2).exp2();
    lines.push(format!("  step 1/{step:<4}  {}", quality_line(&trained.check.quality_none)));
    for size in &trained.check.sizes {
        let ratio = |bytes: usize| size.raw_bytes as f64 / bytes as f64;
        lines.push(format!(
            "  within {:.0e}  ratio {:.1} coded with the model, {:.1} without ({} bytes of {})",
            size.bound,
            ratio(size.coded_bytes),
            ratio(size.coded_bytes_without_model),
            size.coded_bytes,
            size.raw_bytes
        ));
    }
    lines.join("\n")
}

fn quality_line(quality: &Quality) -> String {
    format!(
        "squared error {:.5}, median {:.5}; error {:.4}; {:.1} nonzeros, {:.1} steps; count ratio {:.0}; {} of {} latents in use",
        quality.squared_error,
        quality.median_squared_error,
        quality.error,
        quality.nonzeros,
        quality.nonzero_steps,
        quality.count_ratio,
        quality.latents_in_use,
        quality.n_latents
    )
}

fn json_report(output: &Path, trained: &Trained) -> String {
    let quality = |quality: &Quality| {
        serde_json::json!({
            "patches": quality.n_patches,
            "squared_error": quality.squared_error,
            "median_squared_error": quality.median_squared_error,
            "error": quality.error,
            "nonzeros": quality.nonzeros,
            "nonzero_steps": quality.nonzero_steps,
            "count_ratio": quality.count_ratio,
            "latents_in_use": quality.latents_in_use,
        })
    };
    let sizes: Vec<_> = trained
        .check
        .sizes
        .iter()
        .map(|size| {
            serde_json::json!({
                "abs": size.bound,
                "raw_bytes": size.raw_bytes,
                "coded_bytes": size.coded_bytes,
                "coded_bytes_without_model": size.coded_bytes_without_model,
            })
        })
        .collect();
    serde_json::json!({
        "model": output.display().to_string(),
        "id": trained.model.id().to_string(),
        "bytes": trained.file.len(),
        "steps": trained.n_steps,
        "planned_steps": trained.n_planned,
        "best_step": trained.best_step,
        "epoch_seconds": trained.epoch_seconds,
        "float_squared_error": trained.check.float_squared_error,
        "held_out": quality(&trained.check.quality),
        "held_out_none": quality(&trained.check.quality_none),
        "coded": sizes,
    })
    .to_string()
}

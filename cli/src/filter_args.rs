//! `sae filter-args`: the filter's parameters in the words of each tool that can take them.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use h5z_sae::ElementType;
use h5z_sae::cd_values::FILTER_ID;
use h5z_sae::sae::ModelId;

use crate::bound::{BoundArgs, EncoderArgs, bit_pattern, parse_element, requested};
use crate::error::CliError;
use crate::models;
use crate::output::print;

/// Print the filter's parameters (cd_values) for other tools
///
/// The h5repack form stands after -f, or after -f DATASET: ; the other forms are complete snippets to copy.
#[derive(clap::Args)]
pub struct Args {
    /// Trained model [default: the built-in one]
    #[arg(long, value_name = "M.sae")]
    model: Option<PathBuf>,
    #[command(flatten)]
    bound: BoundArgs,
    /// Value of masked pixels: it comes back exactly and does not count in ranges
    #[arg(long, value_name = "V", allow_negative_numbers = true)]
    mask_value: Option<String>,
    /// Element type of the dataset as numpy writes it; needed for --mask-value
    #[arg(long = "type", value_name = "TYPE", value_parser = parse_element, default_value = "f4")]
    element: ElementType,
    #[command(flatten)]
    encoder: EncoderArgs,
    /// Tool or language to print for
    #[arg(long, value_enum, default_value_t)]
    format: Format,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Format {
    #[default]
    H5repack,
    Json,
    H5py,
    C,
    Fortran,
    Nccopy,
}

/// Runs the verb.
///
/// # Errors
/// Numbers out of range, or a model that cannot be read.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let mask_value = args.mask_value.as_deref().map(|text| bit_pattern(text, args.element)).transpose()?;
    let model = match &args.model {
        Some(path) => models::load(path)?.id(),
        None => ModelId(0),
    };
    let words = requested(args.bound.bound()?, model, args.encoder, mask_value).to_words();
    print(&args.format.render(&words))?;
    Ok(ExitCode::SUCCESS)
}

impl Format {
    fn render(self, words: &[u32]) -> String {
        match self {
            Self::H5repack => format!("UD={FILTER_ID},0,{},{}", words.len(), comma_separated(words)),
            Self::Json => serde_json::json!({ "id": FILTER_ID, "values": words }).to_string(),
            Self::H5py => h5py_snippet(words),
            Self::C => c_snippet(words),
            Self::Fortran => fortran_snippet(words),
            Self::Nccopy => format!("nccopy -F \"*,{FILTER_ID},{}\" in.nc out.nc", comma_separated(words)),
        }
    }
}

fn comma_separated<T: ToString>(words: &[T]) -> String {
    words.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

fn h5py_snippet(words: &[u32]) -> String {
    format!(
        "import h5py  # with HDF5_PLUGIN_PATH naming the folder of libh5zsae.so\n\
         \n\
         with h5py.File(\"out.h5\", \"w\") as file:\n    \
             file.create_dataset(\"frames\", data=frames, chunks=(min(len(frames), 64), *frames.shape[1:]),\n                        \
                                 compression={FILTER_ID}, compression_opts=({},))",
        comma_separated(words)
    )
}

fn c_snippet(words: &[u32]) -> String {
    let words = words.iter().map(|word| format!("{word}u")).collect::<Vec<_>>().join(", ");
    format!(
        "const unsigned cd_values[] = {{{words}}};\n\
         hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);\n\
         H5Pset_chunk(dcpl, rank, chunk_dims);\n\
         H5Pset_filter(dcpl, {FILTER_ID}, H5Z_FLAG_MANDATORY, sizeof cd_values / sizeof *cd_values, cd_values);"
    )
}

/// Fortran's integers are signed: a word beyond 2³¹ − 1 is written as the negative number of the same bits.
fn fortran_snippet(words: &[u32]) -> String {
    let signed: Vec<String> = words
        .iter()
        .map(|&word| match word as i32 {
            i32::MIN => "-2147483647 - 1".to_string(),
            signed => signed.to_string(),
        })
        .collect();
    let count = words.len();
    format!(
        "integer(size_t), parameter :: cd_nelmts = {count}\n\
         integer :: cd_values({count}) = [ &\n    {} ]\n\
         call h5pcreate_f(H5P_DATASET_CREATE_F, dcpl, hdferr)\n\
         call h5pset_chunk_f(dcpl, rank, chunk_dims, hdferr)\n\
         call h5pset_filter_f(dcpl, {FILTER_ID}, H5Z_FLAG_MANDATORY_F, cd_nelmts, cd_values, hdferr)",
        signed.join(", &\n    ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fortran_words_keep_their_bits() {
        let snippet = fortran_snippet(&[7, u32::MAX, 1 << 31]);
        assert!(snippet.contains("7, &\n    -1, &\n    -2147483647 - 1 ]"), "{snippet}");
    }
}

//! `sae filter-args`: the filter's parameters in the words of each tool that can take them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::ValueEnum;
use h5z_sae::ElementType;
use h5z_sae::cd_values::FILTER_ID;
use h5z_sae::sae::ModelId;

use crate::bound::{BoundArgs, EncoderArgs, bit_pattern, parse_element, requested};
use crate::chunking::{self, Chunking};
use crate::error::{At, CliError};
use crate::h5::create::user_fill;
use crate::h5::dataset::{self, dims_with_values};
use crate::h5::element::element_type;
use crate::h5::file::{open, split_place};
use crate::models;
use crate::output::print;

/// Print the filter's parameters (cd_values) for other tools
///
/// The h5repack form stands after -f, or after -f DATASET: ; the other forms are complete snippets to copy. With
/// FILE:/DATASET, chunks that suit that dataset are part of them (for h5repack all that stands before the names of the
/// files), and a line on stderr says why these; nccopy, which loses fill values, gets the dataset's as mask value.
#[derive(clap::Args)]
pub struct Args {
    /// Dataset that the parameters are for, such as frames.h5:/entry/data; its element type counts, not --type
    #[arg(value_name = "FILE:/DATASET")]
    dataset: Option<String>,
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
/// Numbers out of range, or a model or dataset that cannot be read.
pub fn run(args: &Args) -> Result<ExitCode, CliError> {
    let suited = args.dataset.as_deref().map(Suited::to).transpose()?;
    let element = suited.as_ref().map_or(args.element, |suited| suited.element);
    let given = args.mask_value.as_deref().map(|text| bit_pattern(text, element)).transpose()?;
    let mask_value = given.or_else(|| args.format.fill_to_mask(suited.as_ref()?));
    let model = match &args.model {
        Some(path) => models::load(path)?.id(),
        None => ModelId(0),
    };
    let words = requested(args.bound.bound()?, model, args.encoder, mask_value).to_words();
    print(&args.format.render(&words, suited.as_ref()))?;
    if let Some(suited) = suited {
        eprintln!("sae: {}", suited.advice());
    }
    Ok(ExitCode::SUCCESS)
}

/// What is known of the dataset that the parameters are for, and the chunks that suit it.
struct Suited {
    path: String,
    element: ElementType,
    dims: Vec<usize>,
    /// As it is chunked now.
    present: Option<Vec<usize>>,
    chunking: Chunking,
    /// Bit pattern of a fill value that somebody chose.
    fill: Option<u64>,
}

impl Suited {
    fn to(place: &str) -> Result<Self, CliError> {
        let (file, path) = split_place(place)?;
        let container = open(Path::new(file))?;
        let dataset = dataset::open(&container, path).at(file)?;
        let element = element_type(&dataset.dtype()?).at(place)?;
        let dims = dims_with_values(&dataset).at(place)?;
        let chunking = chunking::choose(&dims, element.size_bytes());
        let fill = user_fill(&dataset, element).at(place)?;
        Ok(Self { path: format!("/{path}"), element, dims, present: dataset.chunk(), chunking, fill })
    }

    /// One line: the chunks, why these, and what the present ones would cost where h5repack keeps them.
    fn advice(&self) -> String {
        let Self { path, chunking, .. } = self;
        let advice = format!("{path}: chunks {} ({})", joined(&chunking.dims, "x"), chunking.reason);
        let present = self.present.as_ref().filter(|present| **present != chunking.dims);
        let cost = present.and_then(|present| {
            let drawback = chunking::drawback(present, &self.dims, self.element.size_bytes())?;
            Some(format!("; its present ones, {}, can be read, but {drawback}", joined(present, "x")))
        });
        advice + cost.as_deref().unwrap_or("")
    }
}

impl Format {
    /// The fill value where the tool does not tell the filter of it: nccopy creates variables without one, and
    /// keeps `_FillValue` as an attribute alone. As a mask value it still comes back exactly and out of ranges.
    fn fill_to_mask(self, suited: &Suited) -> Option<u64> {
        suited.fill.filter(|_| matches!(self, Self::Nccopy))
    }

    fn render(self, words: &[u32], suited: Option<&Suited>) -> String {
        let chunk = suited.map(|suited| suited.chunking.dims.as_slice());
        match self {
            Self::H5repack => h5repack_options(words, suited),
            Self::Json => json(words, suited),
            Self::H5py => h5py_snippet(words, chunk),
            Self::C => c_snippet(words, chunk),
            Self::Fortran => fortran_snippet(words, chunk),
            Self::Nccopy => nccopy_command(words, suited),
        }
    }
}

fn joined<T: ToString>(numbers: &[T], separator: &str) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join(separator)
}

/// A word as a shell has to be given it: in quotes where it has characters that mean something to one.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,=+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Names one variable, not all by `*`: that would hold coordinates to the bound of the data, and stops at strings.
fn nccopy_command(words: &[u32], suited: Option<&Suited>) -> String {
    let filter = format!("{FILTER_ID},{}", joined(words, ","));
    let Some(Suited { path, chunking, .. }) = suited else {
        return format!("nccopy -F frames,{filter} in.nc out.nc");
    };
    // nccopy knows /entry/data as entry/data.
    let variable = path.trim_start_matches('/');
    let chunks = shell_word(&format!("{variable}:{}", joined(&chunking.dims, ",")));
    let filter = shell_word(&format!("{variable},{filter}"));
    format!("nccopy -c {chunks} -F {filter} in.nc out.nc")
}

fn h5repack_options(words: &[u32], suited: Option<&Suited>) -> String {
    let filter = format!("UD={FILTER_ID},0,{},{}", words.len(), joined(words, ","));
    match suited {
        None => filter,
        Some(Suited { path, chunking, .. }) => {
            let filter = shell_word(&format!("{path}:{filter}"));
            let chunks = shell_word(&format!("{path}:CHUNK={}", joined(&chunking.dims, "x")));
            format!("-f {filter} -l {chunks}")
        }
    }
}

fn json(words: &[u32], suited: Option<&Suited>) -> String {
    let mut found = serde_json::json!({ "id": FILTER_ID, "values": words });
    if let Some(suited) = suited {
        found["chunk"] = serde_json::json!(suited.chunking.dims);
        found["advice"] = serde_json::json!(suited.advice());
    }
    found.to_string()
}

fn h5py_snippet(words: &[u32], chunk: Option<&[usize]>) -> String {
    let chunks = match chunk {
        Some(chunk) => format!("({},)", joined(chunk, ", ")),
        None => "(min(len(frames), 64), *frames.shape[1:])".into(),
    };
    format!(
        "import h5py  # with HDF5_PLUGIN_PATH naming the folder of libh5zsae.so\n\
         \n\
         with h5py.File(\"out.h5\", \"w\") as file:\n    \
             file.create_dataset(\"frames\", data=frames, chunks={chunks},\n                        \
                                 compression={FILTER_ID}, compression_opts=({},))",
        joined(words, ",")
    )
}

fn c_snippet(words: &[u32], chunk: Option<&[usize]>) -> String {
    let words = words.iter().map(|word| format!("{word}u")).collect::<Vec<_>>().join(", ");
    let dims = chunk.map_or(String::new(), |chunk| {
        format!(
            "enum {{ rank = {} }};\nconst hsize_t chunk_dims[rank] = {{{}}};\n",
            chunk.len(),
            joined(chunk, ", ")
        )
    });
    format!(
        "{dims}const unsigned cd_values[] = {{{words}}};\n\
         hid_t dcpl = H5Pcreate(H5P_DATASET_CREATE);\n\
         H5Pset_chunk(dcpl, rank, chunk_dims);\n\
         H5Pset_filter(dcpl, {FILTER_ID}, H5Z_FLAG_MANDATORY, sizeof cd_values / sizeof *cd_values, cd_values);"
    )
}

/// Fortran's integers are signed: a word beyond 2³¹ − 1 is written as the negative number of the same bits.
fn fortran_snippet(words: &[u32], chunk: Option<&[usize]>) -> String {
    let signed: Vec<String> = words
        .iter()
        .map(|&word| match word as i32 {
            i32::MIN => "-2147483647 - 1".to_string(),
            signed => signed.to_string(),
        })
        .collect();
    let count = words.len();
    // Fortran counts dimensions fastest first.
    let dims = chunk.map_or(String::new(), |chunk| {
        let reversed: Vec<usize> = chunk.iter().rev().copied().collect();
        let rank = chunk.len();
        format!(
            "integer, parameter :: rank = {rank}\ninteger(hsize_t) :: chunk_dims({rank}) = [ {} ]\n",
            joined(&reversed, ", ")
        )
    });
    format!(
        "{dims}integer(size_t), parameter :: cd_nelmts = {count}\n\
         integer :: cd_values({count}) = [ &\n    {} ]\n\
         call h5pcreate_f(H5P_DATASET_CREATE_F, dcpl, hdferr)\n\
         call h5pset_chunk_f(dcpl, rank, chunk_dims, hdferr)\n\
         ! 0: H5Z_FLAG_MANDATORY, for which HDF5's Fortran interface has no name.\n\
         call h5pset_filter_f(dcpl, {FILTER_ID}, 0, cd_nelmts, cd_values, hdferr)",
        signed.join(", &\n    ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_for_the_shell_where_it_takes_quotes() {
        assert_eq!(shell_word("/entry/data:CHUNK=1x2"), "/entry/data:CHUNK=1x2");
        assert_eq!(shell_word("/my data:CHUNK=1"), "'/my data:CHUNK=1'");
        assert_eq!(shell_word("/it's $HOME"), r"'/it'\''s $HOME'");
        assert_eq!(shell_word(""), "''");
    }

    #[test]
    fn fortran_words_keep_their_bits() {
        let snippet = fortran_snippet(&[7, u32::MAX, 1 << 31], None);
        assert!(snippet.contains("7, &\n    -1, &\n    -2147483647 - 1 ]"), "{snippet}");
    }
}

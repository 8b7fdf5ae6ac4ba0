//! `sae embed` and `sae extract`: a model into an HDF5 file, and out of it again.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use h5z_sae::sae::ModelId;
use hdf5::{File, LocationType};

use crate::error::{At, CliError};
use crate::h5::embedded;
use crate::h5::file::{open, paths_of};
use crate::h5::pipeline::stored_params;
use crate::interrupt;
use crate::models::{self, ModelFile};
use crate::output::{PendingFile, print};

/// Put a trained model into an HDF5 file, so that the plugin alone can read it
///
/// The model becomes the dataset /_h5z_sae/models/ID; nothing else changes. The work is done on a copy beside the
/// file, which takes its name once it is complete and on the disk: an interruption leaves the file as it was. So there
/// has to be room for a second one.
#[derive(clap::Args)]
pub struct EmbedArgs {
    /// HDF5 file that gets the model
    #[arg(value_name = "FILE.h5")]
    file: PathBuf,
    /// Trained model
    #[arg(value_name = "MODEL.sae")]
    model: PathBuf,
}

/// Take a model out of an HDF5 file
#[derive(clap::Args)]
pub struct ExtractArgs {
    /// HDF5 file that holds models
    #[arg(value_name = "FILE.h5")]
    file: PathBuf,
    /// Id of the model, 16 hexadecimal digits [default: the only one]
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Model file to write; it appears when it is complete
    #[arg(short, long, value_name = "MODEL.sae")]
    output: PathBuf,
}

/// Runs `sae embed`. A model that is there already is left alone.
///
/// # Errors
/// Files that cannot be read or written, no model.
pub fn embed(args: &EmbedArgs) -> Result<ExitCode, CliError> {
    let ModelFile { model, bytes } = models::read_file(&args.model)?;
    let id = model.id();
    // A link to the file keeps leading to it.
    let path = args.file.canonicalize().at(format_args!("{}: cannot read", args.file.display()))?;
    // Open until the end: no writer that minds HDF5's locks comes in between.
    let source = open(&path)?;
    let shown = args.file.display();
    let named_by = named_by(&source, id).at(&shown)?;
    if embedded::read(&source, id).is_ok_and(|found| found.is_some()) {
        print(&format!("{shown}: holds the model {id} already; {named_by}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let pending = PendingFile::try_new(&path)?;
    std::fs::copy(&path, pending.path()).at(format_args!("{shown}: cannot copy"))?;
    interrupt::check()?;
    add(pending.path(), &[(id, bytes.as_slice())]).at(&shown)?;
    pending.finish()?;
    print(&format!("{shown}: model {id} embedded, {} bytes; {named_by}", bytes.len()))?;
    Ok(ExitCode::SUCCESS)
}

/// Puts models into a file that nobody else has open, and reads them back.
///
/// # Errors
/// HDF5's own sentence.
pub fn add(path: &Path, model_files: &[(ModelId, &[u8])]) -> Result<(), CliError> {
    let file = File::open_rw(path)?;
    model_files.iter().try_for_each(|(id, bytes)| embedded::write(&file, *id, bytes))?;
    file.flush()?;
    file.close()?;
    let written = open(path)?;
    for (id, _) in model_files {
        if embedded::read(&written, *id)?.is_none() {
            return Err(CliError::new(format!("model {id} is not in the file that was written")));
        }
    }
    Ok(())
}

/// Which datasets of the file need the model, in words.
fn named_by(file: &File, id: ModelId) -> Result<String, CliError> {
    let paths = datasets_naming(file, id)?;
    Ok(match paths.as_slice() {
        [] => "no dataset of the file names it".to_string(),
        paths => format!("named by {}", paths.join(", ")),
    })
}

/// Paths of the datasets whose parameters name the model.
///
/// # Errors
/// HDF5's own sentence.
pub fn datasets_naming(file: &File, id: ModelId) -> Result<Vec<String>, CliError> {
    let mut naming = Vec::new();
    for path in paths_of(file, LocationType::Dataset)? {
        // Parameters that cannot be read name nothing.
        let params = stored_params(&file.dataset(&path).at(&path)?).ok().flatten();
        if params.is_some_and(|params| params.requested().model == id) {
            naming.push(path);
        }
    }
    Ok(naming)
}

/// Runs `sae extract`.
///
/// # Errors
/// No such model in the file, one that is damaged, or files that cannot be read or written.
pub fn extract(args: &ExtractArgs) -> Result<ExitCode, CliError> {
    let file = open(&args.file)?;
    let shown = args.file.display();
    let ids = embedded::ids(&file).at(&shown)?;
    let id = wanted(args.id.as_deref(), &ids).at(&shown)?;
    let bytes = embedded::read(&file, id).at(&shown)?;
    let bytes =
        bytes.ok_or_else(|| CliError::new(format!("{shown}: holds no model {id}{}", listed(&ids))))?;
    PendingFile::try_new(&args.output)?.write(&bytes)?;
    print(&format!("{}: model {id}, {} bytes", args.output.display(), bytes.len()))?;
    Ok(ExitCode::SUCCESS)
}

fn wanted(asked: Option<&str>, ids: &[ModelId]) -> Result<ModelId, CliError> {
    match (asked, ids) {
        (Some(text), _) => match u64::from_str_radix(text, 16) {
            Ok(number) if text.len() == 16 => Ok(ModelId(number)),
            _ => Err(CliError::new(format!("ID is '{text}': expected 16 hexadecimal digits{}", listed(ids)))),
        },
        (None, [only]) => Ok(*only),
        (None, []) => Err(CliError::new("holds no model; `sae info` shows which ones its datasets name")),
        (None, _) => Err(CliError::new(format!("holds several models, so name one{}", listed(ids)))),
    }
}

fn listed(ids: &[ModelId]) -> String {
    match ids {
        [] => String::new(),
        ids => format!("; it holds {}", ids.iter().map(ModelId::to_string).collect::<Vec<_>>().join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_must_be_whole_and_may_be_left_out_where_there_is_one() {
        let ids = [ModelId(7), ModelId(8)];
        assert_eq!(wanted(Some("0000000000000008"), &ids).unwrap(), ModelId(8));
        assert_eq!(wanted(None, &ids[..1]).unwrap(), ModelId(7));
        assert!(wanted(None, &ids).unwrap_err().to_string().ends_with("0000000000000007, 0000000000000008"));
        assert!(wanted(None, &[]).is_err());
        for text in ["8", "000000000000000g", "0x00000000000008"] {
            assert!(wanted(Some(text), &ids).unwrap_err().to_string().contains(text));
        }
    }
}

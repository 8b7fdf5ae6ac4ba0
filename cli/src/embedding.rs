//! Whether `sae repack` puts its model into the file that it writes, and what it says about that.

use std::fmt;
use std::path::Path;

use h5z_sae::sae::{Model, ModelId};
use hdf5::File;

use crate::embed;
use crate::error::CliError;
use crate::h5::embedded;
use crate::models::ModelFile;

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// Where the datasets and the model together take fewer bytes than the datasets did before.
    WhereSmaller,
    /// `--embed`
    Always,
    /// `--no-embed`
    Never,
}

/// What became of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Embedding {
    id: ModelId,
    model_bytes: u64,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    BuiltIn,
    WasThere,
    Embedded,
    LeftOut,
    /// The datasets became smaller by fewer bytes than the model has.
    TooLarge {
        saved_bytes: u64,
    },
}

impl Embedding {
    /// Decides. `before`, `after`: stored bytes of the compressed datasets in the source and in the new file.
    pub fn choose(wish: Wish, file: &ModelFile, source: &File, (before, after): (u64, u64)) -> Self {
        let (id, model_bytes) = (file.model.id(), file.bytes.len() as u64);
        let saved_bytes = before.saturating_sub(after);
        let outcome = match wish {
            // Copied with everything else.
            _ if embedded::read(source, id).is_ok_and(|found| found.is_some()) => Outcome::WasThere,
            Wish::Always => Outcome::Embedded,
            _ if Model::builtin().is_ok_and(|model| model.id() == id) => Outcome::BuiltIn,
            Wish::Never => Outcome::LeftOut,
            Wish::WhereSmaller if saved_bytes > model_bytes => Outcome::Embedded,
            Wish::WhereSmaller => Outcome::TooLarge { saved_bytes },
        };
        Self { id, model_bytes, outcome }
    }

    /// Puts the model into the new file, if that was chosen.
    ///
    /// # Errors
    /// HDF5's own sentence.
    pub fn carry_out(&self, file: &ModelFile, path: &Path) -> Result<(), CliError> {
        match self.outcome {
            Outcome::Embedded => embed::add(path, &[(self.id, &file.bytes)]),
            _ => Ok(()),
        }
    }

    /// Whether the new file holds the model.
    pub fn in_file(&self) -> bool {
        matches!(self.outcome, Outcome::Embedded | Outcome::WasThere)
    }
}

impl fmt::Display for Embedding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, model_bytes, outcome } = self;
        let remedy = format!(
            "give it to readers as {id}.sae, in a folder of H5Z_SAE_MODEL_PATH or another that docs/models.md lists"
        );
        match outcome {
            Outcome::BuiltIn => write!(f, "model {id}: built in, so that readers need nothing else"),
            Outcome::WasThere => write!(f, "model {id}: in the file as before, {model_bytes} bytes"),
            Outcome::Embedded => write!(f, "model {id}: embedded, {model_bytes} bytes"),
            Outcome::LeftOut => write!(f, "model {id}: not embedded (--no-embed); {remedy}"),
            Outcome::TooLarge { saved_bytes } => write!(
                f,
                "model {id}: not embedded, as it takes {model_bytes} bytes and the datasets became smaller by \
                 {saved_bytes}; {remedy}, embed it all the same (--embed), or do without it (no --model)"
            ),
        }
    }
}

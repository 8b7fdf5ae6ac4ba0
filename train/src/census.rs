//! Says what is wrong with data that nothing can be learnt from, in numbers. Only asked once a training has failed:
//! it reads the patches again.

use std::fmt;

use h5z_sae::Error;

use crate::loader::FrameSource;

/// Patches that are looked at, at most; evenly spread.
const MOST_PATCHES: usize = 4096;

/// Kinds of patches of one input.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Where they come from.
    pub name: String,
    /// Patches of the input.
    pub n_patches: usize,
    /// How many of them were looked at.
    pub n_seen: usize,
    /// Without a finite value.
    pub masked: usize,
    /// Whose finite values are all 0.
    pub zero: usize,
    /// Whose finite values are all equal, and not 0.
    pub constant: usize,
}

impl Census {
    fn add(&mut self, patch: &[f32]) {
        self.n_seen += 1;
        let mut finite = patch.iter().filter(|value| value.is_finite());
        match finite.next() {
            None => self.masked += 1,
            Some(&first) if finite.all(|&value| value == first) => match first {
                0.0 => self.zero += 1,
                _ => self.constant += 1,
            },
            Some(_) => {}
        }
    }
}

impl fmt::Display for Census {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} patches", self.name, self.n_patches)?;
        if self.n_seen < self.n_patches {
            write!(f, ", of {} that were looked at", self.n_seen)?;
        }
        let varied = self.n_seen - self.masked - self.zero - self.constant;
        write!(f, ", {} masked entirely, {} zero, {} constant", self.masked, self.zero, self.constant)?;
        write!(f, ", {varied} with something to learn from")
    }
}

/// A census of each input of a source, in its order.
///
/// # Errors
/// Those of the source.
pub fn take(source: &mut dyn FrameSource) -> Result<Vec<Census>, Error> {
    let mut first = 0;
    let mut censuses = Vec::new();
    for (name, n_patches) in source.inputs() {
        let mut census = Census { name, n_patches, ..Census::default() };
        let mut patch = vec![0f32; source.patch().n_values()];
        let n_seen = n_patches.min(MOST_PATCHES);
        for seen in 0..n_seen {
            source.read(first + seen * n_patches / n_seen, &mut patch)?;
            census.add(&patch);
        }
        first += n_patches;
        censuses.push(census);
    }
    Ok(censuses)
}

/// `error` with a census of every input behind it. A source that cannot be read again leaves the error as it is.
pub fn explain(error: Error, source: &mut dyn FrameSource) -> Error {
    let Ok(censuses) = take(source) else { return error };
    let lines: Vec<String> = censuses.iter().map(ToString::to_string).collect();
    Error::new(error.kind(), format!("{} ({})", error.message(), lines.join("; ")))
}

//! What the coder knows before the first pixel of a chunk: docs/format.md, "Initial states".
//!
//! Adaptive probabilities and mixing weights begin as they were, on average, after frames of many kinds, so that a chunk
//! of one frame need not learn them first. They are part of the format; `models/initial_states.sh` made them.

use std::sync::OnceLock;

use crate::entropy::{AdaptiveBit, MixerStart};
use crate::error::Error;
use crate::stream::bytes::ByteReader;
#[cfg(feature = "statistics")]
use crate::stream::bytes::{write_signed_varint, write_varint};

/// The file: for the mixers of grid, aligned and network residuals and that of linear levels, states and weights; then
/// the states of block flags. Empty where nothing is to be known, as for those who make it anew.
const FILE: &[u8] = include_bytes!("initial.bin");

/// Counts behind a state are stored as one of these.
const COUNTS: [u16; 16] = [1, 2, 3, 4, 6, 8, 11, 16, 22, 32, 45, 64, 90, 128, 180, 255];

/// Weights are stored in units of 1/1024, against what they are without training.
const WEIGHT_UNIT: i64 = 64;

/// The whole file.
pub(crate) struct InitialStates {
    /// Residuals of grid, aligned and network patches.
    pub(crate) residuals: [MixerStart<7, 8>; 3],
    /// Levels of linear atoms. The table of the atoms themselves is the model's affair, and begins empty.
    pub(crate) linear_levels: MixerStart<5, 6>,
    pub(crate) block_flags: Vec<AdaptiveBit>,
}

impl InitialStates {
    /// Those of the format.
    pub(crate) fn get() -> &'static Self {
        static STATES: OnceLock<InitialStates> = OnceLock::new();
        STATES.get_or_init(|| Self::parse(FILE).unwrap_or_else(|_| Self::unknown()))
    }

    fn unknown() -> Self {
        Self {
            residuals: std::array::from_fn(|_| MixerStart::default()),
            linear_levels: MixerStart::default(),
            block_flags: Vec::new(),
        }
    }

    fn parse(file: &[u8]) -> Result<Self, Error> {
        let mut states = Self::unknown();
        if file.is_empty() {
            return Ok(states);
        }
        let mut reader = ByteReader::new(file);
        for start in &mut states.residuals {
            *start = parse_start(&mut reader)?;
        }
        states.linear_levels = parse_start(&mut reader)?;
        states.block_flags = parse_states(&mut reader)?;
        match reader.rest() {
            [] => Ok(states),
            rest => Err(Error::corrupt(format!("{} bytes too many in the initial states", rest.len()))),
        }
    }
}

fn parse_start<const N: usize, const M: usize>(reader: &mut ByteReader) -> Result<MixerStart<N, M>, Error> {
    let mut start = MixerStart::default();
    for table in &mut start.tables {
        *table = parse_states(reader)?;
    }
    let n_sets = reader.varint()?;
    for _ in 0..n_sets {
        let mut changes = [0; M];
        for change in &mut changes {
            *change = (reader.signed_varint()? * WEIGHT_UNIT) as i32;
        }
        start.weight_changes.push(changes);
    }
    Ok(start)
}

/// States by place; those that were never reached are left out, and begin as they would without the file.
fn parse_states(reader: &mut ByteReader) -> Result<Vec<AdaptiveBit>, Error> {
    let mut states = Vec::new();
    let n_known = reader.varint()?;
    for _ in 0..n_known {
        let unknown = reader.varint()?;
        states.extend((0..unknown).map(|_| AdaptiveBit::EVEN));
        let word = reader.u16()?;
        states.push(AdaptiveBit::with_prior(word & 0xfff0 | 8, COUNTS[usize::from(word & 15)]));
    }
    // They stay as long as the program does.
    states.shrink_to_fit();
    Ok(states)
}

/// Inverse of [`parse_start`].
#[cfg(feature = "statistics")]
pub(crate) fn write_start<const N: usize, const M: usize>(
    out: &mut Vec<u8>,
    tables: &[Vec<AdaptiveBit>; N],
    weight_changes: &[[i32; M]],
) {
    for table in tables {
        write_states(out, table);
    }
    write_varint(out, weight_changes.len() as u64);
    for change in weight_changes.iter().flatten() {
        write_signed_varint(out, (i64::from(*change) + WEIGHT_UNIT / 2).div_euclid(WEIGHT_UNIT));
    }
}

/// Inverse of [`parse_states`]; counts are rounded down to those that can be stored.
#[cfg(feature = "statistics")]
pub(crate) fn write_states(out: &mut Vec<u8>, states: &[AdaptiveBit]) {
    let known: Vec<usize> = (0..states.len()).filter(|&place| states[place] != AdaptiveBit::EVEN).collect();
    write_varint(out, known.len() as u64);
    let mut next = 0;
    for place in known {
        write_varint(out, (place - next) as u64);
        next = place + 1;
        let count = COUNTS.partition_point(|&count| u32::from(count) <= states[place].seen()).max(1) - 1;
        out.extend_from_slice(&(states[place].p1() & 0xfff0 | count as u16).to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    #[test]
    fn the_file_is_the_one_that_the_format_names() {
        let digest: String = Sha256::digest(FILE).iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(include_str!("../docs/format.md").contains(&digest), "{digest}");
    }

    #[test]
    fn the_file_is_read_to_its_end() {
        let states = InitialStates::parse(FILE).unwrap();
        assert!(states.residuals.iter().all(|start| start.weight_changes.len() == 24 * 16));
        assert!(states.block_flags.len() > 100);
    }
}

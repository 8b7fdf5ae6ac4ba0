//! Which chunks a dataset gets.
//!
//! A chunk is the unit of coding and of reading: many frames in one give the coder statistics to learn from, but a
//! reader of one frame pays for all of them.

use crate::error::CliError;

/// Most frames in a chunk: beyond, a frame costs hardly fewer bits, but reading one costs more time.
const MAX_FRAMES: usize = 256;

/// Largest chunk in bytes, unless one frame alone is larger: h5py and h5dump keep 1 MiB of chunks in memory, so that
/// larger ones are decoded once for each frame read; 4 MiB are still read in a blink.
const MAX_CHUNK_BYTES: usize = 4 << 20;

/// Longest edge of a frame that is coded whole.
const MAX_EDGE: usize = 1024;

/// The dimensions of a chunk, and in words why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunking {
    /// As many entries as the dataset has dimensions.
    pub dims: Vec<usize>,
    /// For people.
    pub reason: String,
}

/// Chunks for a dataset of these dimensions, none of them 0.
pub fn choose(dims: &[usize], size_bytes: usize) -> Chunking {
    match dims {
        [length] => {
            let values = (*length).min(MAX_CHUNK_BYTES / 4 / size_bytes);
            Chunking { dims: vec![values], reason: "one dimension: up to 1 MiB".into() }
        }
        _ => choose_frames(dims, size_bytes),
    }
}

fn choose_frames(dims: &[usize], size_bytes: usize) -> Chunking {
    let (leading, frame) = dims.split_at(dims.len() - 2);
    let edges: Vec<usize> = frame.iter().map(|&edge| even_part(edge, MAX_EDGE)).collect();
    let frame_bytes = edges[0] * edges[1] * size_bytes;
    let mut frames_left = (MAX_CHUNK_BYTES / frame_bytes).clamp(1, MAX_FRAMES);
    let mut chunk = vec![1; leading.len()];
    for axis in (0..leading.len()).rev() {
        chunk[axis] = leading[axis].min(frames_left);
        frames_left /= chunk[axis];
    }
    let n_frames: usize = chunk.iter().product();
    chunk.extend(&edges);
    let whole = edges == frame;
    let reason = match (whole, n_frames) {
        (true, 1) => "one whole frame".into(),
        (true, n) => format!("{n} whole frames, at most {MAX_FRAMES} and {} MiB", MAX_CHUNK_BYTES >> 20),
        (false, n) => format!("tiles of {n} frame(s), as the frame's edge is above {MAX_EDGE}"),
    };
    Chunking { dims: chunk, reason }
}

/// The length of the fewest equal parts that are no longer than `most`.
fn even_part(length: usize, most: usize) -> usize {
    length.div_ceil(length.div_ceil(most))
}

/// Chunks as the user asked for them, cut to the dataset.
///
/// # Errors
/// If the ranks differ or a number is 0.
pub fn requested(asked: &[usize], dims: &[usize]) -> Result<Chunking, CliError> {
    if asked.len() != dims.len() {
        return Err(CliError::new(format!(
            "--chunk has {} numbers, the dataset has {} dimensions {dims:?}: expected one number for each",
            asked.len(),
            dims.len()
        )));
    }
    if asked.contains(&0) {
        return Err(CliError::new("--chunk: expected numbers above 0"));
    }
    let dims = asked.iter().zip(dims).map(|(asked, dim)| *asked.min(dim)).collect();
    Ok(Chunking { dims, reason: "as asked".into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(dims: &[usize], size_bytes: usize) -> Vec<usize> {
        choose(dims, size_bytes).dims
    }

    #[test]
    fn stacks_get_whole_frames_up_to_the_limits() {
        assert_eq!(dims(&[2000, 64, 64], 4), [256, 64, 64]);
        assert_eq!(dims(&[2000, 64, 64], 8), [128, 64, 64]);
        assert_eq!(dims(&[10, 64, 64], 4), [10, 64, 64]);
        assert_eq!(dims(&[5, 40, 64, 64], 4), [5, 40, 64, 64]);
        assert_eq!(dims(&[50, 40, 64, 64], 4), [6, 40, 64, 64]);
        assert_eq!(dims(&[7, 512, 512], 4), [4, 512, 512]);
    }

    #[test]
    fn single_frames_are_whole_or_tiled_evenly() {
        assert_eq!(dims(&[1024, 1024], 4), [1024, 1024]);
        assert_eq!(dims(&[1030, 2070], 4), [515, 690]);
        assert_eq!(dims(&[3, 2], 8), [3, 2]);
        assert_eq!(dims(&[10_000_000], 4), [262_144]);
    }

    #[test]
    fn rejects_chunks_of_another_rank() {
        assert!(requested(&[1, 64], &[10, 64, 64]).is_err());
        assert!(requested(&[0, 64, 64], &[10, 64, 64]).is_err());
        assert_eq!(requested(&[100, 64, 64], &[10, 64, 64]).unwrap().dims, [10, 64, 64]);
    }
}

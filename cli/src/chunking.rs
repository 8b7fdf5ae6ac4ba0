//! Which chunks a dataset gets.
//!
//! A chunk is the unit of coding and of reading: many frames in one give the coder statistics to learn from, but a
//! reader of one frame pays for all of them.

use crate::error::CliError;

/// Most frames in a chunk: beyond, a frame costs hardly fewer bits, but reading one costs more time.
const MAX_FRAMES: usize = 256;

/// Bytes of chunks of a dataset that HDF5 keeps in memory unless told otherwise, before version 2.0. A larger chunk of
/// several frames is decoded anew for each of them that is read. Frames of 64 × 64 f32 lose little by it: of 256
/// simulated ones a chunk, 64 a chunk take 1.01 times the bytes at 1e-3 and 1.02 at 1e-2 (`sae repack`, broad set).
const CHUNK_CACHE_BYTES: usize = 1 << 20;

/// Chunks of fewer patches of 64 × 64 are worth a warning. The same frames, one a chunk instead of 64, take 1.2 times
/// the bytes at 1e-3 and 1.8 times at 1e-2; 16 a chunk take 1.01 and 1.04 times.
const FEW_PATCHES: usize = 16;
const PATCH_VALUES: usize = 64 * 64;

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
            let values = (*length).min(CHUNK_CACHE_BYTES / size_bytes);
            Chunking { dims: vec![values], reason: "one dimension: up to 1 MiB".into() }
        }
        _ => choose_frames(dims, size_bytes),
    }
}

fn choose_frames(dims: &[usize], size_bytes: usize) -> Chunking {
    let (leading, frame) = dims.split_at(dims.len() - 2);
    let edges: Vec<usize> = frame.iter().map(|&edge| even_part(edge, MAX_EDGE)).collect();
    let frame_bytes = edges[0] * edges[1] * size_bytes;
    let most_frames = (CHUNK_CACHE_BYTES / frame_bytes).clamp(1, MAX_FRAMES);
    let mut frames_left = most_frames;
    let mut chunk = vec![1; leading.len()];
    for axis in (0..leading.len()).rev() {
        chunk[axis] = leading[axis].min(frames_left);
        frames_left /= chunk[axis];
    }
    let n_frames: usize = chunk.iter().product();
    chunk.extend(&edges);
    let whole = edges == frame;
    let reason = match (whole, n_frames) {
        (true, 1) if leading.iter().product::<usize>() > 1 => {
            "one whole frame: with more, reading one would decode them all, as HDF5 keeps 1 MiB of chunks"
                .into()
        }
        (true, 1) => "one whole frame".into(),
        (true, n) if most_frames == MAX_FRAMES => {
            format!("{n} whole frames: beyond {MAX_FRAMES} little is gained")
        }
        (true, n) => format!(
            "{n} whole frames: HDF5 keeps up to 1 MiB of chunks, larger ones are decoded for each frame"
        ),
        (false, n) => format!("tiles of {n} frame(s), as the frame's edge is above {MAX_EDGE}"),
    };
    Chunking { dims: chunk, reason }
}

/// What chunks that were not chosen here cost, where it is worth a word.
pub fn drawback(chunk: &[usize], dims: &[usize], size_bytes: usize) -> Option<String> {
    let n_frames: usize = chunk[..chunk.len().saturating_sub(2)].iter().product();
    let n_values: usize = chunk.iter().product();
    let all_values: usize = dims.iter().product();
    if n_values / PATCH_VALUES < FEW_PATCHES && all_values / PATCH_VALUES >= FEW_PATCHES {
        return Some(
            "each chunk learns its statistics anew, and so small ones may take half as many bytes again, up to twice \
             as many and more at loose bounds"
                .into(),
        );
    }
    (n_frames > 1 && n_values * size_bytes > CHUNK_CACHE_BYTES).then(|| {
        "above the 1 MiB of chunks that HDF5 keeps by default, so reading frame by frame decodes each chunk for every \
         frame (h5py: a larger rdcc_nbytes avoids that)"
            .into()
    })
}

/// The length of the fewest equal parts that are no longer than `most`.
fn even_part(length: usize, most: usize) -> usize {
    length.div_ceil(length.div_ceil(most))
}

/// Chunks as the user asked for them, cut to the dataset.
///
/// # Errors
/// If the ranks differ or a number is 0.
pub fn requested(asked: &[usize], dims: &[usize], size_bytes: usize) -> Result<Chunking, CliError> {
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
    let chunk: Vec<usize> = asked.iter().zip(dims).map(|(asked, dim)| *asked.min(dim)).collect();
    let drawback = drawback(&chunk, dims, size_bytes);
    let reason = drawback.map_or("as asked".into(), |drawback| format!("as asked; {drawback}"));
    Ok(Chunking { dims: chunk, reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dims(dims: &[usize], size_bytes: usize) -> Vec<usize> {
        choose(dims, size_bytes).dims
    }

    #[test]
    fn stacks_get_whole_frames_up_to_what_hdf5_keeps_in_memory() {
        assert_eq!(dims(&[2000, 64, 64], 4), [64, 64, 64]);
        assert_eq!(dims(&[2000, 64, 64], 8), [32, 64, 64]);
        assert_eq!(dims(&[2000, 64, 64], 1), [256, 64, 64]);
        assert_eq!(dims(&[2000, 16, 16], 4), [256, 16, 16]);
        assert_eq!(dims(&[10, 64, 64], 4), [10, 64, 64]);
        assert_eq!(dims(&[5, 10, 64, 64], 4), [5, 10, 64, 64]);
        assert_eq!(dims(&[50, 40, 64, 64], 4), [1, 40, 64, 64]);
        assert_eq!(dims(&[7, 512, 512], 4), [1, 512, 512]);
    }

    #[test]
    fn single_frames_are_whole_or_tiled_evenly() {
        assert_eq!(dims(&[1024, 1024], 4), [1024, 1024]);
        assert_eq!(dims(&[1030, 2070], 4), [515, 690]);
        assert_eq!(dims(&[3, 2], 8), [3, 2]);
        assert_eq!(dims(&[10_000_000], 4), [262_144]);
    }

    #[test]
    fn reasons_say_what_decided() {
        let reason = |dims: &[usize]| choose(dims, 4).reason;
        assert!(reason(&[2000, 64, 64]).contains("64 whole frames: HDF5 keeps up to 1 MiB"));
        assert!(reason(&[2000, 16, 16]).contains("beyond 256 little is gained"));
        assert!(reason(&[20, 600, 600]).contains("reading one would decode them all"));
        assert_eq!(reason(&[600, 600]), "one whole frame");
    }

    #[test]
    fn chunks_as_asked_come_with_their_drawback() {
        let reason = |asked: &[usize], dims: &[usize]| requested(asked, dims, 4).unwrap().reason;
        assert!(reason(&[1, 64, 64], &[2000, 64, 64]).contains("learns its statistics anew"));
        assert!(reason(&[256, 64, 64], &[2000, 64, 64]).contains("rdcc_nbytes"));
        assert_eq!(reason(&[64, 64, 64], &[2000, 64, 64]), "as asked");
        assert_eq!(reason(&[1, 512, 512], &[20, 512, 512]), "as asked");
        assert_eq!(reason(&[3, 64, 64], &[3, 64, 64]), "as asked", "there is no more to put into a chunk");
    }

    #[test]
    fn rejects_chunks_of_another_rank() {
        assert!(requested(&[1, 64], &[10, 64, 64], 4).is_err());
        assert!(requested(&[0, 64, 64], &[10, 64, 64], 4).is_err());
        assert_eq!(requested(&[100, 64, 64], &[10, 64, 64], 4).unwrap().dims, [10, 64, 64]);
    }
}

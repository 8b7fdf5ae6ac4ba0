//! What each part of the encoder gives and costs: chunks of 256 frames at the default effort, with all parts, then without
//! one after the other. `benches/ablation.py` makes the frames and keeps the record.
//!
//! `cargo bench -p h5z-sae-kernels --bench ablation -- FRAMES ROWS COLS EPSILON [MODEL.sae]`: FRAMES holds f32 in native
//! order, of which there are whole chunks. Without a model the built-in one. Prints CSV: part, bytes, seconds of encoding,
//! of decoding; on one core, the fastest of [`ROUNDS`] rounds.

use std::time::Instant;

use h5z_sae::ablation::{Part, leave_out};
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{
    Bound, ChunkShape, ElementType, Error, Limits, ModelSource, Options, compress_chunk, decompress_chunk,
};
use h5z_sae_kernels::GemmBackend;

const CHUNK_FRAMES: usize = 256;
const ROUNDS: usize = 2;

const PARTS: [(&str, Option<Part>); 9] = [
    ("all", None),
    ("symmetry", Some(Part::Symmetry)),
    ("aligned prediction", Some(Part::Aligned)),
    ("grid prediction", Some(Part::Grid)),
    ("modelled pixels", Some(Part::Modelled)),
    ("latents", Some(Part::Latents)),
    ("linear atoms", Some(Part::Linear)),
    ("long search", Some(Part::LongSearch)),
    ("sampling", Some(Part::Sampling)),
];

struct Only(std::sync::Arc<Model>);

impl ModelSource for Only {
    fn model(&self, _id: ModelId) -> Result<std::sync::Arc<Model>, Error> {
        Ok(std::sync::Arc::clone(&self.0))
    }
}

/// Bytes, seconds of encoding, seconds of decoding.
#[derive(Clone, Copy)]
struct Cost {
    bytes: usize,
    encoding: f64,
    decoding: f64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Cargo adds `--bench`.
    let words: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let [path, rows, cols, epsilon, model @ ..] = &words[..] else {
        return Err("expected: FRAMES ROWS COLS EPSILON [MODEL.sae]".into());
    };
    let (rows, cols) = (rows.parse::<usize>()?, cols.parse::<usize>()?);
    let model = match model {
        [] => Model::builtin()?,
        [file, ..] => Model::parse(&std::fs::read(file)?)?,
    };
    let options = Options { model: Some(model.clone()), ..Options::new(Bound::Absolute(epsilon.parse()?)) };
    let frames = std::fs::read(path)?;
    let shape = ChunkShape::try_new(&[CHUNK_FRAMES, rows, cols])?;
    let n_bytes = CHUNK_FRAMES * rows * cols * size_of::<f32>();
    println!("part,bytes,encode_seconds,decode_seconds");
    let mut best: [Option<Cost>; PARTS.len()] = [None; PARTS.len()];
    // In turns, so that a slow minute of the machine hits all of them.
    for _ in 0..ROUNDS {
        for (best, (_, part)) in best.iter_mut().zip(PARTS) {
            leave_out(part);
            let cost = cost(&frames, n_bytes, &shape, &options, &Only(model.clone()))?;
            let before = best.unwrap_or(cost);
            *best = Some(Cost {
                bytes: cost.bytes,
                encoding: cost.encoding.min(before.encoding),
                decoding: cost.decoding.min(before.decoding),
            });
        }
    }
    for ((name, _), cost) in PARTS.iter().zip(best.into_iter().flatten()) {
        println!("{name},{},{:.4},{:.4}", cost.bytes, cost.encoding, cost.decoding);
    }
    Ok(())
}

fn cost(
    frames: &[u8],
    chunk_bytes: usize,
    shape: &ChunkShape,
    options: &Options,
    models: &Only,
) -> Result<Cost, Error> {
    let backend = GemmBackend::default();
    let mut cost = Cost { bytes: 0, encoding: 0.0, decoding: 0.0 };
    for chunk in frames.chunks_exact(chunk_bytes) {
        let start = Instant::now();
        let stream = compress_chunk(chunk, ElementType::F32, shape, options, &backend)?;
        cost.encoding += start.elapsed().as_secs_f64();
        cost.bytes += stream.len();
        let start = Instant::now();
        decompress_chunk(&stream, &Limits::default(), models, &backend)?;
        cost.decoding += start.elapsed().as_secs_f64();
    }
    Ok(cost)
}

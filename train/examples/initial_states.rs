//! Makes `src/initial.bin`: `initial_states OUT.bin FRAMES …`, with FRAMES = `FILE,ROWSxCOLS,EPSILON[,MODEL.sae]`; the
//! file holds f32, little-endian, frame after frame; a bound of 0 is lossless. `models/initial_states.sh` calls it.

use std::error::Error;
use std::sync::Arc;

use h5z_sae::sae::{Model, ModelId};
use h5z_sae::statistics::Statistics;
use h5z_sae::{Bound, ChunkShape, ElementType, ModelSource, Options, compress_chunk};
use h5z_sae_kernels::GemmBackend;

/// Frames of the chunks after which weights are taken.
const CHUNK_FRAMES: usize = 256;

/// Frames of one file, the bound that they are to keep, and the model.
struct Frames {
    bytes: Vec<u8>,
    dims: [usize; 2],
    options: Options,
}

impl Frames {
    fn open(argument: &str) -> Result<Self, Box<dyn Error>> {
        let parts: Vec<&str> = argument.split(',').collect();
        let [path, dims, epsilon, ref model @ ..] = parts[..] else {
            return Err(format!("{argument:?}: FILE,ROWSxCOLS,EPSILON[,MODEL.sae] expected").into());
        };
        let (rows, cols) = dims.split_once('x').ok_or_else(|| format!("{dims:?}: ROWSxCOLS expected"))?;
        let model = model.first().map(|path| Ok::<_, Box<dyn Error>>(Model::parse(&std::fs::read(path)?)?));
        let bound = match epsilon.parse()? {
            0.0 => Bound::Lossless,
            epsilon => Bound::Absolute(epsilon),
        };
        let options = Options { model: model.transpose()?, ..Options::new(bound) };
        Ok(Self { bytes: std::fs::read(path)?, dims: [rows.parse()?, cols.parse()?], options })
    }

    fn add_to(&self, statistics: &mut Statistics, chunk_frames: usize) -> Result<(), Box<dyn Error>> {
        let [rows, cols] = self.dims;
        let shape = ChunkShape::try_new(&[chunk_frames, rows, cols])?;
        let backend = GemmBackend::default();
        for chunk in self.bytes.chunks_exact(4 * chunk_frames * rows * cols) {
            let stream = compress_chunk(chunk, ElementType::F32, &shape, &self.options, &backend)?;
            statistics.add(&stream, &One(self.options.model.clone()), &backend)?;
        }
        Ok(())
    }
}

/// The model that the frames were compressed with.
struct One(Option<Arc<Model>>);

impl ModelSource for One {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, h5z_sae::Error> {
        self.0.clone().ok_or_else(|| {
            h5z_sae::Error::new(h5z_sae::ErrorKind::MissingModel, format!("model {id} was not given"))
        })
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [out, all_frames @ ..] = &arguments[..] else {
        return Err("usage: initial_states OUT.bin FILE,ROWSxCOLS,EPSILON[,MODEL.sae] …".into());
    };
    let mut statistics = Statistics::default();
    for argument in all_frames {
        let frames = Frames::open(argument)?;
        frames.add_to(&mut statistics, 1)?;
        let [rows, cols] = frames.dims;
        let n_frames = frames.bytes.len() / (4 * rows * cols);
        frames.add_to(&mut statistics, CHUNK_FRAMES.min(n_frames).max(2))?;
        println!("{argument}: {n_frames} frames");
    }
    std::fs::write(out, statistics.to_bytes())?;
    Ok(())
}

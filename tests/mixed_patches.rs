//! Patches of different methods side by side: encoder and decoder must see the same neighbours.

use std::sync::Arc;

use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::{TestRng, cosine_spec};
use h5z_sae::sae::{Model, ModelId};
use h5z_sae::{
    Bound, ChunkShape, ElementType, Error, Limits, ModelSource, Options, PatchShape, StreamHeader,
    compress_chunk, decompress_chunk,
};

struct TheModel(Option<Arc<Model>>);

impl ModelSource for TheModel {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        Ok(self.0.clone().unwrap_or_else(|| panic!("model {id} was asked for")))
    }
}

/// Compresses, checks the bound at every value, and returns the stream's header and length.
fn round_trip(
    values: &[f64],
    element: ElementType,
    dims: &[usize],
    options: &Options,
) -> (StreamHeader, usize) {
    let Bound::Absolute(epsilon) = options.bound else { panic!("an absolute bound is needed") };
    let read = |bytes: &[u8]| -> Vec<f64> {
        let singles = bytes.chunks_exact(4).map(|b| f64::from(f32::from_ne_bytes(b.try_into().unwrap())));
        let doubles = bytes.chunks_exact(8).map(|b| f64::from_ne_bytes(b.try_into().unwrap()));
        if element == ElementType::F32 { singles.collect() } else { doubles.collect() }
    };
    let singles = values.iter().flat_map(|&v| (v as f32).to_ne_bytes());
    let doubles = values.iter().flat_map(|v| v.to_ne_bytes());
    let bytes: Vec<u8> = if element == ElementType::F32 { singles.collect() } else { doubles.collect() };
    let shape = ChunkShape::try_new(dims).unwrap();
    let stream = compress_chunk(&bytes, element, &shape, options, &ScalarBackend).unwrap();
    let models = TheModel(options.model.clone());
    let restored = decompress_chunk(&stream, &Limits::default(), &models, &ScalarBackend).unwrap();
    for (original, restored) in read(&bytes).into_iter().zip(read(&restored)) {
        assert!((original - restored).abs() <= epsilon, "{original} came back as {restored}");
    }
    (StreamHeader::parse(&stream).unwrap(), stream.len())
}

#[test]
fn network_patches_stand_beside_predicted_and_constant_ones() {
    let patch = PatchShape { rows: 16, cols: 12 };
    let model = Model::parse(&cosine_spec(patch, true).to_bytes().unwrap()).unwrap();
    let (frames, rows, cols) = (3, 50, 40);
    let mut rng = TestRng::new(5);
    let mut values = Vec::new();
    for index in 0..frames * rows * cols {
        let (frame, row, col) = (index / (rows * cols), index / cols % rows, index % cols);
        let y = ((row % patch.rows) as f64 + 0.5) / patch.rows as f64 - 0.5;
        let x = ((col % patch.cols) as f64 + 0.5) / patch.cols as f64 - 0.5;
        values.push(match (row / patch.rows * 4 + col / patch.cols + frame) % 3 {
            0 => f64::from(rng.unit()),
            1 => 0.1 + 0.9 * (-4.0 * (y * y + 2.0 * x * x)).exp(),
            _ => 0.25,
        });
    }
    let without = Options::new(Bound::Absolute(1e-3));
    let with = Options { model: Some(model), ..without.clone() };
    let dims = [frames, rows, cols];
    let (_, bytes_without) = round_trip(&values, ElementType::F32, &dims, &without);
    let (header, bytes_with) = round_trip(&values, ElementType::F32, &dims, &with);
    assert!(header.model.is_some(), "the network must gain on a third of these patches");
    assert!(bytes_with < bytes_without, "{bytes_with} bytes with, {bytes_without} without the network");
}

/// Differences of ±1.0 as 64-bit patterns are the largest there are.
#[test]
fn stored_patches_of_extreme_differences_stand_beside_smooth_ones() {
    let mut rng = TestRng::new(9);
    let values: Vec<f64> = (0..64 * 128)
        .map(|index| match index % 128 {
            col if col < 64 => {
                if rng.one_in(2) {
                    1.0
                } else {
                    -1.0
                }
            }
            col => f64::from(((index / 128) as f32 / 9.0).sin() + (col as f32 / 7.0).cos()) * 0.3,
        })
        .collect();
    for epsilon in [1e-8, 1e-12, 1e-15] {
        let options = Options::new(Bound::Absolute(epsilon));
        let (_, bytes) = round_trip(&values, ElementType::F64, &[64, 128], &options);
        assert!(bytes < 8 * values.len() / 2, "{bytes} bytes at {epsilon}");
    }
}

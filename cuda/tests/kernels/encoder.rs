//! The encoder's layers on a device: near those of the CPU, and streams that keep their bound.

use std::sync::Arc;

use h5z_sae::sae::backend::{Backend, ScalarBackend};
use h5z_sae::sae::testing::{TestRng, cosine_spec, random_spec};
use h5z_sae::sae::{Model, ModelId, ModelSpec};
use h5z_sae::{
    Bound, ByteOrder, ChunkShape, ElementClass, ElementType, Error, Limits, ModelSource, Options, PatchShape,
    compress_chunk, decompress_chunk,
};
use h5z_sae_cuda::DeviceBackend;
use h5z_sae_kernels::GemmBackend;

use crate::host_device;

fn host_backend() -> DeviceBackend {
    DeviceBackend::new(GemmBackend::default(), || Some(Arc::new(host_device())))
}

/// f32 sums of some hundred terms near 1, in another order.
const TOLERANCE: f32 = 1e-4;

fn models() -> impl Iterator<Item = ModelSpec> {
    let smooth = [false, true].map(|symmetric| cosine_spec(PatchShape { rows: 16, cols: 13 }, symmetric));
    (0..60).map(random_spec).chain(smooth).map(|spec| ModelSpec { active: 0, ..spec })
}

#[track_caller]
fn assert_near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    let largest = expected.iter().fold(1.0f32, |largest, x| largest.max(x.abs()));
    for (index, (&a, &b)) in found.iter().zip(expected).enumerate() {
        assert!((a - b).abs() <= TOLERANCE * largest, "{what}, {index}: {a}, expected {b}");
    }
}

#[test]
fn latents_and_projections_are_near_those_of_the_cpu() {
    let backend = host_backend();
    let mut rng = TestRng::new(3);
    for (nth, spec) in models().enumerate() {
        let model = Model::parse(&spec.to_bytes().unwrap()).unwrap();
        let patches: Vec<f32> = (0..37 * model.n_values()).map(|_| rng.unit()).collect();
        let (found, expected) = (model.analyze(&backend, &patches), model.analyze(&ScalarBackend, &patches));
        assert_near(&found, &expected, &format!("latents of model {nth}"));
        let (found, expected) = (model.project(&backend, &patches), model.project(&ScalarBackend, &patches));
        assert_near(&found, &expected, &format!("projection on model {nth}"));
        assert!(backend.device().is_some(), "the device failed at model {nth}");
    }
}

/// Finds one model.
struct Only(Arc<Model>);

impl ModelSource for Only {
    fn model(&self, id: ModelId) -> Result<Arc<Model>, Error> {
        assert_eq!(id, self.0.id());
        Ok(Arc::clone(&self.0))
    }
}

const EDGE: usize = 32;

/// Smooth frames, each with a maximum of nearly 1.
fn frames(n_frames: usize) -> Vec<f32> {
    let value = |i: usize| {
        let (frame, row, col) = (i / (EDGE * EDGE), i / EDGE % EDGE, i % EDGE);
        let (down, across) = (row as f32 - 15.5, col as f32 - 15.5);
        (-(down * down + across * across) / (60.0 + 20.0 * frame as f32)).exp()
    };
    (0..n_frames * EDGE * EDGE).map(value).collect()
}

#[test]
fn streams_of_a_device_keep_their_bound_and_decode_alike_on_the_cpu() {
    let bound = 1e-3;
    let backend = host_backend();
    let spec = cosine_spec(PatchShape { rows: EDGE, cols: EDGE }, false);
    let model = Only(Model::parse(&spec.to_bytes().unwrap()).unwrap());
    let element = ElementType::try_new(ElementClass::Float, 4, ByteOrder::Little).unwrap();
    let shape = ChunkShape::try_new(&[3, EDGE, EDGE]).unwrap();
    let values = frames(3);
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let mut options = Options::new(Bound::Absolute(bound));
    options.model = Some(Arc::clone(&model.0));
    let stream = compress_chunk(&bytes, element, &shape, &options, &backend).unwrap();
    let on_cpu = decompress_chunk(&stream, &Limits::default(), &model, &ScalarBackend).unwrap();
    let on_device = decompress_chunk(&stream, &Limits::default(), &model, &backend).unwrap();
    assert_eq!(on_cpu, on_device);
    assert!(backend.device().is_some());
    let (decoded, _) = on_cpu.as_chunks::<4>();
    let largest = decoded
        .iter()
        .zip(&values)
        .map(|(bytes, &value)| (f64::from(f32::from_le_bytes(*bytes)) - f64::from(value)).abs())
        .fold(0.0, f64::max);
    assert!(largest <= bound, "off by {largest}");
    let cpu_stream = compress_chunk(&bytes, element, &shape, &options, &GemmBackend::default()).unwrap();
    let counts = h5z_sae::count_methods(&stream, &model).unwrap();
    assert!(counts.network > 0, "the network coded nothing: {counts:?}");
    assert!(
        stream.len() <= cpu_stream.len() * 11 / 10,
        "{} bytes, {} on the CPU",
        stream.len(),
        cpu_stream.len()
    );
}

//! Chunks that the network codes: frames of several whole and cut patches, every transform and penalty, scales that
//! differ by orders of magnitude, special values, and the paper's mode without a bound.

mod support;

use std::num::NonZero;
use std::sync::Arc;

use h5z_sae::sae::backend::{Backend, ScalarBackend};
use h5z_sae::sae::testing::{TestRng, cosine_spec, random_spec, random_spec_for};
use h5z_sae::sae::{Model, ModelSpec, Penalty, Transform};
use h5z_sae::{
    Bound, ChunkShape, ElementClass, ElementType, ErrorKind, Limits, Options, PatchShape, StreamHeader,
    compress_chunk, decompress_chunk,
};
use h5z_sae_kernels::GemmBackend;
use support::{Case, OVERHEAD_BYTES, Source, as_f64, element, f32_bytes, pack, pattern_of, share, unpack};

fn gemm(threads: usize) -> GemmBackend {
    GemmBackend { threads: NonZero::new(threads).unwrap() }
}

fn model(spec: &ModelSpec) -> Arc<Model> {
    Model::parse(&spec.to_bytes().unwrap()).unwrap()
}

/// Edges of the patches of most models here.
const PATCH: PatchShape = PatchShape { rows: 32, cols: 32 };

/// A patch of many waves that a cosine model has atoms for, and a predictor of neighbours has not; its maximum is
/// near 1 and its values are above 0. Even frequencies only, so that it is point-symmetric as well, and none beyond the
/// 64 lowest, which are all that the model has.
fn waves(rng: &mut TestRng, patch: PatchShape) -> Vec<f64> {
    let waves: Vec<(f64, f64, f64)> = (0..7)
        .map(|_| {
            let (down, across) = (rng.count(0, 3), rng.count(0, 2));
            ((2 * down) as f64, (2 * across) as f64, share(rng) - 0.5)
        })
        .collect();
    let wave = |position: usize, frequency: f64, len: usize| {
        (std::f64::consts::PI * (position as f64 + 0.5) * frequency / len as f64).cos()
    };
    let at = |row: usize, col: usize| -> f64 {
        let terms = waves.iter().map(|&(down, across, weight)| {
            weight * wave(row, down, patch.rows) * wave(col, across, patch.cols)
        });
        terms.sum()
    };
    let values: Vec<f64> = (0..patch.n_values()).map(|p| at(p / patch.cols, p % patch.cols)).collect();
    let (least, greatest) = values.iter().fold((f64::MAX, f64::MIN), |(l, g), &v| (l.min(v), g.max(v)));
    values.iter().map(|value| 0.1 + 0.9 * (value - least) / (greatest - least + 1e-9)).collect()
}

/// What one patch of a frame holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tile {
    Waves,
    Noise,
    Zeros,
}

/// Frames tiled by patches, `tile` by (frame, patch) and of the given size each; patches at the edges are cut.
fn tiled(
    shape: &ChunkShape,
    patch: PatchShape,
    rng: &mut TestRng,
    tile: impl Fn(usize, usize) -> (Tile, f64),
) -> Vec<f64> {
    let (rows, cols) = (shape.rows(), shape.cols());
    let across = cols.div_ceil(patch.cols);
    let mut values = vec![0.0; shape.n_values()];
    for (nth, frame) in values.chunks_exact_mut(rows * cols).enumerate() {
        for index in 0..rows.div_ceil(patch.rows) * across {
            let (top, left) = (index / across * patch.rows, index % across * patch.cols);
            let (kind, size) = tile(nth, index);
            let content = match kind {
                Tile::Waves => waves(rng, patch),
                Tile::Noise => (0..patch.n_values()).map(|_| share(rng)).collect(),
                Tile::Zeros => vec![0.0; patch.n_values()],
            };
            for row in top..rows.min(top + patch.rows) {
                for col in left..cols.min(left + patch.cols) {
                    frame[row * cols + col] = size * content[(row - top) * patch.cols + col - left];
                }
            }
        }
    }
    values
}

fn case(element: ElementType, dims: &[usize], values: &[f64], options: Options) -> Case {
    let patterns = values.iter().map(|&value| pattern_of(element, value)).collect();
    Case { element, shape: ChunkShape::try_new(dims).unwrap(), patterns, options }
}

fn options(bound: Bound, model: &Arc<Model>) -> Options {
    Options { model: Some(model.clone()), ..Options::new(bound) }
}

/// The laws, the same decoded bytes from every backend, and a size of at most that without the model and a header.
/// Returns whether the network was used.
fn obeys_the_laws_of_networks(case: &Case) -> bool {
    let (stream, header) = case.obeys_the_laws(&gemm(1));
    let source = Source(case.options.model.clone());
    let decode =
        |backend: &dyn Backend| decompress_chunk(&stream, &Limits::default(), &source, backend).unwrap();
    let decoded = decode(&ScalarBackend);
    assert!(decode(&gemm(1)) == decoded, "one thread decodes to other bytes");
    assert!(decode(&gemm(3)) == decoded, "three threads decode to other bytes");
    if case.options.bound != Bound::None {
        let without = Options { model: None, ..case.options.clone() };
        let bytes = pack(case.element, &case.patterns);
        let without = compress_chunk(&bytes, case.element, &case.shape, &without, &ScalarBackend).unwrap();
        assert!(
            stream.len() <= without.len() + OVERHEAD_BYTES,
            "{} bytes with the model, {} without",
            stream.len(),
            without.len()
        );
    }
    assert!(header.model.is_none() || header.model == case.options.model.as_ref().map(|model| model.id()));
    header.model.is_some()
}

#[test]
fn whole_patches_of_every_transform_and_penalty_keep_the_bound() {
    let mut rng = TestRng::new(1);
    let values =
        tiled(&ChunkShape::try_new(&[12, 32, 32]).unwrap(), PATCH, &mut rng, |_, _| (Tile::Waves, 1.0));
    let transforms =
        [Transform::None, Transform::Sqrt { offset_q24: 1 << 14 }, Transform::Log { offset_q24: 1 << 20 }];
    for transform in transforms {
        for (penalty, point_symmetric) in [(Penalty::Z, false), (Penalty::Z, true), (Penalty::Grad, false)] {
            let model = model(&ModelSpec { transform, penalty, ..cosine_spec(PATCH, point_symmetric) });
            for epsilon in [1e-1, 1e-2, 1e-4] {
                let options = options(Bound::Absolute(epsilon), &model);
                let used =
                    obeys_the_laws_of_networks(&case(ElementType::F32, &[12, 32, 32], &values, options));
                // The waves are the model's own in the linear domain only; the others may lose to the context coder.
                let expected = transform == Transform::None && epsilon < 0.05;
                assert!(
                    used || !expected,
                    "{transform:?}, {penalty:?}, {point_symmetric}, {epsilon}: unused"
                );
            }
        }
    }
}

#[test]
fn neighbours_of_other_methods_do_not_confuse_the_decoder() {
    let model = model(&cosine_spec(PATCH, false));
    for seed in 0..6 {
        let mut rng = TestRng::new(seed);
        let dims = [3, 80 + seed as usize * 9, 110];
        let kinds: Vec<Tile> =
            (0..64).map(|_| [Tile::Waves, Tile::Waves, Tile::Noise, Tile::Zeros][rng.count(0, 3)]).collect();
        let shape = ChunkShape::try_new(&dims).unwrap();
        let values = tiled(&shape, PATCH, &mut rng, |frame, patch| (kinds[(frame * 23 + patch) % 64], 1.0));
        for epsilon in [1e-2, 1e-3] {
            let case = case(ElementType::F32, &dims, &values, options(Bound::Absolute(epsilon), &model));
            assert!(obeys_the_laws_of_networks(&case), "seed {seed}, {epsilon}: the network was not used");
        }
    }
}

#[test]
fn scales_of_many_orders_of_magnitude_keep_the_bound() {
    let model = model(&cosine_spec(PATCH, true));
    let mut rng = TestRng::new(7);
    let dims = [4, 64, 96];
    let shape = ChunkShape::try_new(&dims).unwrap();
    let values = tiled(&shape, PATCH, &mut rng, |frame, patch| {
        (Tile::Waves, 10f64.powi((frame * 6 + patch) as i32 % 9 - 4))
    });
    for element in [ElementType::F32, ElementType::F64] {
        for epsilon in [1.0, 1e-3, 1e-5] {
            let case = case(element, &dims, &values, options(Bound::Absolute(epsilon), &model));
            let used = obeys_the_laws_of_networks(&case);
            // At 1e-5 the brightest patches of an f32 chunk leave no room for a bound.
            assert!(used || epsilon < 1e-4, "{} at {epsilon}: not used", element.name());
        }
    }
}

#[test]
fn integers_and_halves_keep_the_bound() {
    let model = model(&cosine_spec(PATCH, false));
    let mut rng = TestRng::new(8);
    let dims = [6, 40, 64];
    let shape = ChunkShape::try_new(&dims).unwrap();
    let values = tiled(&shape, PATCH, &mut rng, |_, _| (Tile::Waves, 100.0));
    for (class, size) in [
        (ElementClass::Unsigned, 1),
        (ElementClass::Unsigned, 2),
        (ElementClass::Unsigned, 8),
        (ElementClass::Signed, 1),
        (ElementClass::Signed, 4),
        (ElementClass::Float, 2),
    ] {
        for bound in [Bound::Absolute(2.0), Bound::Relative(0.01), Bound::Absolute(0.5), Bound::None] {
            let case = case(element(class, size), &dims, &values, options(bound, &model));
            let used = obeys_the_laws_of_networks(&case);
            let expected = bound != Bound::Absolute(0.5);
            assert!(used || !expected, "{class:?} of {size} bytes, {bound:?}: not used");
        }
    }
}

#[test]
fn special_values_survive_the_network() {
    let model = model(&cosine_spec(PATCH, false));
    for (seed, bound) in (20..).zip([Bound::Absolute(1e-2), Bound::Absolute(1e-4), Bound::None]) {
        let mut rng = TestRng::new(seed);
        let dims = [4, 70, 70];
        let shape = ChunkShape::try_new(&dims).unwrap();
        let values = tiled(&shape, PATCH, &mut rng, |_, _| (Tile::Waves, 1.0));
        let mut case = case(ElementType::F32, &dims, &values, options(bound, &model));
        let specials = [
            f32::NAN.to_bits(),
            0x7fc0_1234,
            f32::INFINITY.to_bits(),
            0xff80_0000,
            0x8000_0000,
            0,
            0xbf80_0000,
        ];
        case.options.fill_value = Some(0);
        case.options.mask_value = Some(0xbf80_0000);
        for (i, pattern) in case.patterns.iter_mut().enumerate() {
            // A dead column in every frame, and single pixels.
            if i % 70 == 33 || rng.one_in(300) {
                *pattern = specials[rng.count(0, specials.len() - 1)].into();
            }
        }
        assert!(obeys_the_laws_of_networks(&case), "seed {seed}: the network was not used");
    }
}

#[test]
fn without_a_bound_the_error_is_measured_and_the_stream_is_small() {
    let model = model(&cosine_spec(PATCH, false));
    let mut rng = TestRng::new(9);
    let dims = [16, 32, 32];
    let values = tiled(&ChunkShape::try_new(&dims).unwrap(), PATCH, &mut rng, |_, _| (Tile::Waves, 1.0));
    for element in [ElementType::F32, ElementType::F64, element(ElementClass::Float, 2)] {
        let case = case(element, &dims, &values, options(Bound::None, &model));
        assert!(obeys_the_laws_of_networks(&case), "{}", element.name());
        let (stream, header) = case.obeys_the_laws(&ScalarBackend);
        assert_eq!(header.bound, Bound::None);
        assert!(header.max_abs_err < 0.1, "{}: an error of {}", element.name(), header.max_abs_err);
        // 16 patches of at most 128 latents: far below two bytes a latent.
        assert!(stream.len() < 16 * 128, "{} bytes", stream.len());
        let decoded =
            decompress_chunk(&stream, &Limits::default(), &Source(Some(model.clone())), &ScalarBackend)
                .unwrap();
        let restored = unpack(element, &decoded);
        let errors =
            case.patterns.iter().zip(restored).map(|(&a, b)| (as_f64(element, a) - as_f64(element, b)).abs());
        let largest = errors.fold(0.0, f64::max);
        assert!(largest <= header.max_abs_err && largest >= header.max_abs_err * 0.992);
    }
}

#[test]
fn models_that_fit_badly_or_not_at_all_do_no_harm() {
    for seed in 0..40 {
        let mut rng = TestRng::new(seed);
        let spec = match seed % 3 {
            0 => random_spec(seed),
            1 => random_spec_for(seed, PatchShape { rows: 16, cols: 16 }),
            _ => random_spec_for(seed, PatchShape { rows: 1, cols: 80 }),
        };
        let model = model(&spec);
        let dims = [&[2, 20, 35][..], &[90], &[5, 5], &[16, 16], &[30, 3, 3]][rng.count(0, 4)];
        let shape = ChunkShape::try_new(dims).unwrap();
        let values =
            tiled(&shape, spec.patch, &mut rng, |_, patch| (Tile::Noise, [1.0, 1e-6, 1e7][patch % 3]));
        for bound in [Bound::Absolute(1e-2), Bound::Relative(1e-7), Bound::Lossless, Bound::None] {
            obeys_the_laws_of_networks(&case(ElementType::F32, dims, &values, options(bound, &model)));
        }
    }
}

#[test]
fn steps_finer_than_levels_can_say_keep_the_bound() {
    // Coefficients of 40 fraction bits make levels beyond 2²⁴ at a tight bound.
    let mut spec = cosine_spec(PATCH, false);
    let n_linear = spec.decoder.coef_frac_bits.len();
    spec.decoder.coef_frac_bits = vec![30; n_linear];
    spec.decoder.coef_shift = vec![0; n_linear];
    spec.decoder.coef_bits = 32;
    spec.decoder.output_frac_bits = 44;
    spec.decoder.latent_frac_bits = 20;
    for penalty in [Penalty::Z, Penalty::Grad] {
        let model = model(&ModelSpec { penalty, ..spec.clone() });
        let mut rng = TestRng::new(10);
        let dims = [2, 32, 32];
        let values = tiled(&ChunkShape::try_new(&dims).unwrap(), PATCH, &mut rng, |_, _| (Tile::Waves, 1.0));
        for epsilon in [1e-4, 1e-7, 1e-9, 1e-12] {
            let options = options(Bound::Absolute(epsilon), &model);
            obeys_the_laws_of_networks(&case(ElementType::F64, &dims, &values, options));
        }
    }
}

fn network_stream() -> (Vec<u8>, Arc<Model>) {
    let model = model(&cosine_spec(PATCH, false));
    let mut rng = TestRng::new(11);
    let shape = ChunkShape::try_new(&[6, 32, 32]).unwrap();
    let values = tiled(&shape, PATCH, &mut rng, |_, _| (Tile::Waves, 1.0));
    let bytes = f32_bytes(&values.iter().map(|&value| value as f32).collect::<Vec<_>>());
    let options = options(Bound::Absolute(1e-3), &model);
    let stream = compress_chunk(&bytes, ElementType::F32, &shape, &options, &ScalarBackend).unwrap();
    assert_eq!(StreamHeader::parse(&stream).unwrap().model, Some(model.id()));
    (stream, model)
}

#[test]
fn a_missing_model_is_named() {
    let (stream, model) = network_stream();
    let error = decompress_chunk(&stream, &Limits::default(), &Source(None), &ScalarBackend).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::MissingModel);
    assert!(error.message().contains(&model.id().to_string()), "{error}");
}

#[test]
fn refuses_a_model_of_another_id() {
    let (stream, right) = network_stream();
    let mut spec = cosine_spec(PATCH, false);
    spec.none_step_log2 = 7;
    let wrong = model(&spec);
    let error = decompress_chunk(&stream, &Limits::default(), &Source(Some(wrong.clone())), &ScalarBackend)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    for id in [right.id(), wrong.id()] {
        assert!(error.message().contains(&id.to_string()), "{error}");
    }
}

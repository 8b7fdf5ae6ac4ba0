//! Faults that were found once, each named by what it did.

mod support;

use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::TestRng;
use h5z_sae::{Bound, ChunkShape, ElementClass, ElementType, ErrorKind, Options, compress_chunk};
use support::contents::{normal, rings};
use support::{Case, element, pack, pattern_of};

fn case(element: ElementType, dims: &[usize], patterns: Vec<u64>, bound: Bound) -> Case {
    Case { element, shape: ChunkShape::try_new(dims).unwrap(), patterns, options: Options::new(bound) }
}

#[test]
fn a_chunk_that_ends_in_ones_is_not_taken_for_a_cut_one() {
    // Fifteen payloads fill the table of special patterns; the sixteenth, all ones, is written bit by bit at the end.
    let f64_nan = 0x7ff8_0000_0000_0000u64;
    let mut patterns: Vec<u64> = (0..15).flat_map(|payload| [f64_nan + payload; 60]).collect();
    patterns.resize(1024 - 50, 1.5f64.to_bits());
    patterns.resize(1024, u64::MAX);
    case(ElementType::F64, &[32, 32], patterns, Bound::Absolute(0.1)).obeys_the_laws(&ScalarBackend);
}

#[test]
fn stored_patches_decode_from_the_first_pixel_of_every_frame() {
    // Two patterns at random, at a bound so tight that storing them is cheaper than residuals.
    let mut rng = TestRng::new(2);
    let sign = |rng: &mut TestRng| if rng.one_in(2) { 1.0f64 } else { -1.0 };
    let patterns: Vec<u64> = (0..4 * 16 * 16).map(|_| sign(&mut rng).to_bits()).collect();
    for epsilon in [1e-8, 1e-12, 1e-15] {
        let case = case(ElementType::F64, &[4, 16, 16], patterns.clone(), Bound::Absolute(epsilon));
        case.obeys_the_laws(&ScalarBackend);
    }
}

#[test]
fn values_at_the_end_of_a_type_do_not_become_infinite() {
    for (class, size) in [(ElementClass::Float, 2), (ElementClass::Float, 4), (ElementClass::Float, 8)] {
        let element = element(class, size);
        let largest = pattern_of(element, f64::INFINITY) - 1;
        let patterns: Vec<u64> = (0..256).map(|i| largest - i * i % 97).collect();
        for fraction in [0.9, 0.3, 0.01] {
            let case = case(element, &[16, 16], patterns.clone(), Bound::Relative(fraction));
            case.obeys_the_laws(&ScalarBackend);
        }
    }
}

#[test]
fn noise_about_zero_costs_no_more_than_the_same_noise_elsewhere() {
    // Halves round away from zero, so that 0 is out of reach from a prediction of ±½ with a step of 1.
    let mut rng = TestRng::new(3);
    let noise: Vec<f64> = (0..128 * 128).map(|_| 3.0 * normal(&mut rng)).collect();
    let n_bytes = |class, offset: f64| {
        let element = element(class, 2);
        let patterns: Vec<u64> = noise.iter().map(|value| pattern_of(element, value + offset)).collect();
        case(element, &[128, 128], patterns, Bound::Absolute(1.0)).obeys_the_laws(&ScalarBackend).0.len()
    };
    let (about_zero, elsewhere) = (n_bytes(ElementClass::Signed, 0.0), n_bytes(ElementClass::Unsigned, 1e3));
    assert!(about_zero * 100 <= elsewhere * 103, "{about_zero} bytes about zero, {elsewhere} elsewhere");
}

#[test]
fn integers_beyond_2_to_the_53_use_their_bound() {
    // Steps were so near the rounding of f64 that pixels had to be stored one by one, in pass after pass.
    let u64_type = element(ElementClass::Unsigned, 8);
    let mut rng = TestRng::new(4);
    let patterns: Vec<u64> = (0..64 * 64)
        .map(|_| 10_000_000_000_000_000_000u64.wrapping_add_signed((normal(&mut rng) * 1e15) as i64))
        .collect();
    let n_bytes = |bound| {
        let case = case(u64_type, &[64, 64], patterns.clone(), bound);
        case.obeys_the_laws(&ScalarBackend).0.len()
    };
    let lossless = n_bytes(Bound::Lossless);
    // log2(2·10⁶) = 21 of some 52 bits are not needed.
    let bounded = n_bytes(Bound::Absolute(1e6));
    assert!(bounded * 10 < lossless * 9, "{bounded} bytes, {lossless} lossless");
    assert!(n_bytes(Bound::Absolute(3000.0)) <= lossless);
}

#[test]
fn long_narrow_frames_do_not_keep_the_search_for_a_centre_busy() {
    let values = rings(8, 1 << 17, (4.0, 1000.0), 100.0, 0.1);
    let patterns = values.iter().map(|&value| pattern_of(ElementType::F32, value)).collect();
    let start = std::time::Instant::now();
    case(ElementType::F32, &[8, 1 << 17], patterns, Bound::Absolute(1e-3)).obeys_the_laws(&ScalarBackend);
    // Milliseconds, where it was hours.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

#[test]
fn equal_chunks_of_integers_give_equal_streams() {
    // `pco` breaks ties between common divisors by the order of a hash table.
    let u64_type = element(ElementClass::Unsigned, 8);
    let ends = [0, 1, u64::MAX, u64::MAX >> 1, (u64::MAX >> 1) + 1, u64::MAX - 1];
    for seed in 0..20 {
        let mut rng = TestRng::new(seed);
        let patterns: Vec<u64> = (0..1024).map(|_| ends[rng.count(0, 5)]).collect();
        case(u64_type, &[2, 2, 16, 16], patterns, Bound::Lossless).obeys_the_laws(&ScalarBackend);
    }
}

#[test]
fn a_bound_that_is_none_is_refused() {
    let shape = ChunkShape::try_new(&[4]).unwrap();
    let bytes = pack(ElementType::F32, &[0; 4]);
    for bound in [
        Bound::Absolute(0.0),
        Bound::Absolute(-1.0),
        Bound::Absolute(f64::NAN),
        Bound::Absolute(f64::INFINITY),
        Bound::Relative(0.0),
        Bound::Relative(1.0),
        Bound::Relative(f64::NAN),
    ] {
        let result = compress_chunk(&bytes, ElementType::F32, &shape, &Options::new(bound), &ScalarBackend);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument, "{bound:?}");
    }
}

#[test]
fn a_chunk_of_another_length_is_refused() {
    let shape = ChunkShape::try_new(&[4]).unwrap();
    for n_bytes in [0, 15, 17] {
        let options = Options::new(Bound::Lossless);
        let bytes = vec![0; n_bytes];
        let result = compress_chunk(&bytes, ElementType::F32, &shape, &options, &ScalarBackend);
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument, "{n_bytes} bytes");
    }
}

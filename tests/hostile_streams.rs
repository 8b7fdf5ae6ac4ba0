//! Streams that are cut, damaged or made up, with checksums that fit: each gives an error or a chunk of the right
//! size, soon, and never a panic.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::{TestRng, cosine_spec};
use h5z_sae::sae::{Model, ModelSpec, Penalty};
use h5z_sae::{
    Bound, ByteOrder, ChunkShape, Effort, ElementClass, ElementType, Error, ErrorKind, Limits, Options,
    PatchShape, StreamHeader, compress_chunk, decompress_chunk,
};
use support::contents::{normal, rings};
use support::{HeaderLayout, Source, element, fix_stream_crc, pack, pattern_of, payload_of, rebuilt};

/// No chunk here has more values than this; none should take a second, however slow and busy the machine.
const MOST_VALUES: usize = 1 << 17;
const PATIENCE: Duration = Duration::from_secs(20);

/// A well-formed stream and what decodes it.
struct Victim {
    name: &'static str,
    stream: Vec<u8>,
    source: Source,
}

impl Victim {
    fn new(
        name: &'static str,
        element: ElementType,
        dims: &[usize],
        values: &[f64],
        options: &Options,
    ) -> Self {
        let shape = ChunkShape::try_new(dims).unwrap();
        let patterns: Vec<u64> = values.iter().map(|&value| pattern_of(element, value)).collect();
        let bytes = pack(element, &patterns);
        let stream = compress_chunk(&bytes, element, &shape, options, &ScalarBackend).unwrap();
        Self { name, stream, source: Source(options.model.clone()) }
    }

    fn names_model(&self) -> bool {
        StreamHeader::parse(&self.stream).unwrap().model.is_some()
    }

    fn decode(&self, stream: &[u8]) -> Result<Vec<u8>, Error> {
        let limits = Limits { max_chunk_bytes: MOST_VALUES * 8 };
        decompress_chunk(stream, &limits, &self.source, &ScalarBackend)
    }

    /// Decodes a damaged stream: an error with a sentence, or as many bytes as its own header says, in time.
    fn survives(&self, stream: &[u8], what: &dyn Fn() -> String) -> Option<ErrorKind> {
        let start = Instant::now();
        let decoded = self.decode(stream);
        assert!(start.elapsed() < PATIENCE, "{}: {} took {:?}", self.name, what(), start.elapsed());
        match decoded {
            Ok(bytes) => {
                let header = StreamHeader::parse(stream).unwrap();
                assert_eq!(bytes.len(), header.decoded_bytes(), "{}: {}", self.name, what());
                None
            }
            Err(error) => {
                assert!(!error.message().is_empty());
                Some(error.kind())
            }
        }
    }
}

fn noise(n_values: usize, seed: u64) -> Vec<f64> {
    let mut rng = TestRng::new(seed);
    (0..n_values).map(|_| normal(&mut rng)).collect()
}

fn model(penalty: Penalty) -> Arc<Model> {
    let spec = ModelSpec { penalty, ..cosine_spec(PatchShape { rows: 16, cols: 16 }, true) };
    Model::parse(&spec.to_bytes().unwrap()).unwrap()
}

/// Frames of rings, of which the model makes something.
fn ring_frames(n_frames: usize, rows: usize, cols: usize) -> Vec<f64> {
    let frame = |n: usize| rings(rows, cols, (7.5, 7.5), 9.0 + n as f64, 0.4 + 0.05 * n as f64);
    (0..n_frames).flat_map(frame).collect()
}

/// A stream of each kind of payload, and of each method.
fn victims() -> Vec<Victim> {
    let counts: Vec<f64> = noise(300, 3).iter().map(|v| (v * 3.0 + 20.0).round()).collect();
    let big_u32 = ElementType::try_new(ElementClass::Unsigned, 4, ByteOrder::Big).unwrap();
    let with_model = |bound, penalty| Options { model: Some(model(penalty)), ..Options::new(bound) };
    let mut masked = ring_frames(2, 20, 24);
    masked.iter_mut().step_by(7).for_each(|value| *value = f64::NAN);
    let mut wild: Vec<f64> = noise(256, 4).iter().map(|v| v.powi(31)).collect();
    wild[128..].fill(1.0);
    let mut rng = TestRng::new(5);
    let random: Vec<f64> = (0..50).map(|_| (rng.bits() >> 56) as f64).collect();
    let mut victims = vec![
        Victim::new(
            "raw",
            element(ElementClass::Unsigned, 1),
            &[50],
            &random,
            &Options::new(Bound::Lossless),
        ),
        Victim::new("exact integers", big_u32, &[3, 10, 10], &counts, &Options::new(Bound::Lossless)),
        Victim::new("exact floats", ElementType::F32, &[2, 20, 24], &masked, &Options::new(Bound::Lossless)),
        Victim::new(
            "rings",
            ElementType::F32,
            &[2, 20, 24],
            &ring_frames(2, 20, 24),
            &Options::new(Bound::Absolute(1e-3)),
        ),
        Victim::new(
            "specials",
            element(ElementClass::Float, 2),
            &[2, 20, 24],
            &masked,
            &Options::new(Bound::Absolute(1e-2)),
        ),
        Victim::new("noisy counts", big_u32, &[3, 10, 10], &counts, &Options::new(Bound::Noise(0.7))),
        Victim::new(
            "noisy floats",
            ElementType::F32,
            &[2, 20, 24],
            &masked.iter().map(|value| value * 1e3).collect::<Vec<_>>(),
            &Options::new(Bound::Noise(1.0)),
        ),
        Victim::new("row", ElementType::F64, &[300], &noise(300, 6), &Options::new(Bound::Relative(1e-2))),
        Victim::new(
            "stored patches",
            ElementType::F64,
            &[16, 16],
            &wild,
            &Options::new(Bound::Absolute(1e-9)),
        ),
        Victim::new(
            "network",
            ElementType::F32,
            &[4, 16, 16],
            &ring_frames(4, 16, 16),
            &with_model(Bound::Absolute(1e-2), Penalty::Z),
        ),
        Victim::new(
            "steps",
            ElementType::F32,
            &[4, 20, 33],
            &ring_frames(4, 20, 33),
            &with_model(Bound::None, Penalty::Grad),
        ),
    ];
    let text: Vec<f64> = "Rings about the beam. ".bytes().cycle().take(1500).map(f64::from).collect();
    victims.push(Victim::new(
        "bytes",
        element(ElementClass::Unsigned, 1),
        &[1500],
        &text,
        &Options::new(Bound::Lossless),
    ));
    let decimals: Vec<f64> = ring_frames(2, 20, 24).iter().map(|v| (v * 1e3).round() / 1e3).collect();
    victims.push(Victim::new(
        "decimals",
        ElementType::F64,
        &[2, 20, 24],
        &decimals,
        &Options::new(Bound::Lossless),
    ));
    let noisy: Vec<f64> =
        ring_frames(2, 40, 40).iter().zip(noise(3200, 8)).map(|(a, b)| a + 0.05 * b).collect();
    victims.push(Victim::new(
        "modelled",
        ElementType::F32,
        &[2, 40, 40],
        &noisy,
        &Options { effort: Effort::Best, ..Options::new(Bound::Absolute(1e-2)) },
    ));
    victims.push(Victim::new(
        "elements alone",
        ElementType::F64,
        &[2000],
        &noise(2000, 9),
        &Options::new(Bound::Lossless),
    ));
    victims.extend(fast_victims(&masked));
    victims
}

/// Streams of the fast coder: with a centre, with special pixels, with positions of 64 bits, of one row, of constants.
fn fast_victims(masked: &[f64]) -> Vec<Victim> {
    let fast = |bound| Options { effort: Effort::Fast, ..Options::new(bound) };
    let half = element(ElementClass::Float, 2);
    let symmetric = rings(24, 24, (11.5, 11.5), 9.0, 0.4);
    let constants: Vec<f64> = (0..3 * 100).map(|i| (i / 100) as f64).collect();
    let victims = vec![
        Victim::new("fast", ElementType::F32, &[24, 24], &symmetric, &fast(Bound::Absolute(1e-3))),
        Victim::new("fast specials", half, &[2, 20, 24], masked, &fast(Bound::Absolute(1e-2))),
        Victim::new("fast, wide", ElementType::F64, &[16, 16], &noise(256, 7), &fast(Bound::Absolute(1e-10))),
        Victim::new("fast row", ElementType::F64, &[300], &noise(300, 6), &fast(Bound::Relative(1e-2))),
        Victim::new(
            "fast constants",
            ElementType::F32,
            &[3, 10, 10],
            &constants,
            &fast(Bound::Absolute(0.1)),
        ),
    ];
    for victim in &victims {
        let fraction_bits = payload_of(&victim.stream)[1];
        assert!(
            victim.stream[2] >> 4 == 2 && fraction_bits == 128,
            "{} is not of the fast coder",
            victim.name
        );
    }
    victims
}

#[test]
fn rejects_what_the_fast_coder_does_not_know() {
    let victim = &fast_victims(&[0.0; 960])[0];
    let payload = payload_of(&victim.stream);
    assert_eq!(payload[0] & 2, 2, "a centre was expected");
    for (at, value, what) in [
        (0, payload[0] | 8, "latents only"),
        (0, payload[0] | 4, "a network"),
        (0, payload[0] & !32, "patches of another shape"),
        (0, payload[0] | 128, "the square-root scale"),
        (1, 128 | 6, "fraction bits"),
    ] {
        let mut changed = payload.to_vec();
        changed[at] = value;
        let error = victim.decode(&rebuilt(&victim.stream, None, &changed)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
    }
}

#[test]
fn victims_cover_every_payload() {
    let kinds: Vec<(u8, bool)> =
        victims().iter().map(|victim| (victim.stream[2] >> 4, victim.names_model())).collect();
    for kind in [(0, false), (1, false), (2, false), (2, true), (3, false)] {
        assert!(kinds.contains(&kind), "no stream with payload {kind:?} among {kinds:?}");
    }
}

#[test]
fn every_truncation_is_an_error() {
    for victim in victims() {
        assert!(victim.decode(&victim.stream).is_ok(), "{}", victim.name);
        for length in 0..victim.stream.len() {
            let kind = victim.survives(&victim.stream[..length], &|| format!("cut to {length}"));
            assert!(
                matches!(kind, Some(ErrorKind::Truncated | ErrorKind::Corrupt)),
                "{} cut to {length} bytes: {kind:?}",
                victim.name
            );
        }
    }
}

#[test]
fn payloads_cut_under_right_checksums_do_not_decode_to_other_values() {
    for victim in victims() {
        let payload = payload_of(&victim.stream);
        for length in 0..payload.len() {
            let stream = rebuilt(&victim.stream, None, &payload[..length]);
            let kind = victim.survives(&stream, &|| format!("payload cut to {length}"));
            // Bytes that a body can do without are all that may be missing: the values' own checksum stands for that.
            assert!(kind.is_none_or(|kind| matches!(kind, ErrorKind::Truncated | ErrorKind::Corrupt)));
        }
    }
}

#[test]
fn any_flipped_bit_is_an_error() {
    for victim in victims() {
        for bit in 0..victim.stream.len() * 8 {
            let mut stream = victim.stream.clone();
            stream[bit / 8] ^= 1 << (bit % 8);
            let kind = victim.survives(&stream, &|| format!("bit {bit} flipped"));
            assert!(kind.is_some(), "{}: bit {bit} flipped goes unnoticed", victim.name);
        }
    }
}

/// Changes a few bytes, or a run of them, behind the magic and the version.
fn damage(stream: &mut [u8], rng: &mut TestRng) {
    let start = if rng.one_in(3) { 3 } else { HeaderLayout::of(stream).map_or(3, |layout| layout.payload()) };
    if start >= stream.len() {
        return;
    }
    let first = rng.count(start, stream.len() - 1);
    match rng.count(0, 3) {
        0 => stream[first] ^= 1 << rng.count(0, 7),
        1 => stream[first] = rng.bits() as u8,
        2 => {
            let end = (first + rng.count(1, 20)).min(stream.len());
            let byte = [0, 0xff, rng.bits() as u8][rng.count(0, 2)];
            stream[first..end].fill(byte);
        }
        _ => stream[first..].iter_mut().for_each(|byte| *byte = rng.bits() as u8),
    }
}

#[test]
fn ten_thousand_corruptions_under_right_checksums_are_survived() {
    let victims = victims();
    let mut n_errors = 0;
    for seed in 0..10_000u64 {
        let mut rng = TestRng::new(seed);
        let victim = &victims[seed as usize % victims.len()];
        let mut stream = victim.stream.clone();
        for _ in 0..rng.count(1, 3) {
            damage(&mut stream, &mut rng);
        }
        fix_stream_crc(&mut stream);
        let kind = victim.survives(&stream, &|| format!("seed {seed}"));
        n_errors += usize::from(kind.is_some());
    }
    // The checksum of the values catches what the parser cannot.
    assert!(n_errors > 9_500, "only {n_errors} of 10000 noticed");
}

#[test]
fn garbage_behind_a_right_header_is_survived() {
    let victims = victims();
    for seed in 0..3_000u64 {
        let mut rng = TestRng::new(seed);
        let victim = &victims[seed as usize % victims.len()];
        let payload = payload_of(&victim.stream);
        // Some of the payload's own parameters, so that the garbage is read as a body.
        let kept = rng.count(0, payload.len().min(40));
        let mut garbage = payload[..kept].to_vec();
        let length = rng.count(0, 400);
        let certain = rng.one_in(3);
        garbage.extend((0..length).map(|_| if certain { 0 } else { rng.bits() as u8 }));
        let stream = rebuilt(&victim.stream, None, &garbage);
        victim.survives(&stream, &|| format!("garbage, seed {seed}"));
    }
}

#[test]
fn a_chunk_beyond_the_limit_is_refused() {
    let victim = &victims()[3];
    let stream = rebuilt(&victim.stream, Some(&[1 << 21, 1 << 21]), &[]);
    assert_eq!(victim.decode(&stream).unwrap_err().kind(), ErrorKind::LimitExceeded);
}

#[test]
fn a_large_frame_of_few_bytes_is_refused_at_once() {
    let u8_type = element(ElementClass::Unsigned, 1);
    let values: Vec<f64> = (0..576).map(|i| f64::from(i * i % 251)).collect();
    for effort in [Effort::Default, Effort::Fast] {
        let options = Options { effort, ..Options::new(Bound::Absolute(1.0)) };
        let victim = Victim::new("u8", u8_type, &[24, 24], &values, &options);
        let payload = payload_of(&victim.stream);
        for dims in [&[1 << 13, 1 << 14][..], &[1 << 27]] {
            let stream = rebuilt(&victim.stream, Some(dims), &payload[..30]);
            let start = Instant::now();
            let error =
                decompress_chunk(&stream, &Limits::default(), &Source(None), &ScalarBackend).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(start.elapsed() < PATIENCE, "{:?}", start.elapsed());
        }
    }
}

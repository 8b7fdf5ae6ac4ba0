//! What decoding and encoding allocate, counted by the allocator: no more than the sizes in a stream's header entitle
//! to, whatever its bytes say. One test only, since others in this binary would be counted too.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use h5z_sae::sae::Model;
use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::{TestRng, cosine_spec};
use h5z_sae::{
    Bound, ChunkShape, Effort, ElementClass, ElementType, Limits, Options, PatchShape, StreamHeader,
    compress_chunk, decompress_chunk,
};
use support::contents::{normal, rings};
use support::{Source, element, fix_stream_crc, pack, pattern_of, payload_of, rebuilt};

struct CountingAllocator;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

fn grow(n_bytes: usize) {
    let live = LIVE_BYTES.fetch_add(n_bytes, Relaxed) + n_bytes;
    PEAK_BYTES.fetch_max(live, Relaxed);
}

// SAFETY: every call is passed on to the system's allocator unchanged; only sizes are counted beside it.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc`, which is the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        grow(layout.size());
        // SAFETY: the caller keeps the contract of `alloc_zeroed`, which is the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller keeps the contract of `dealloc`, and `block` came from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

/// Most live bytes during `work`, beyond those before it.
fn peak_bytes<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let before = LIVE_BYTES.load(Relaxed);
    PEAK_BYTES.store(before, Relaxed);
    let result = work();
    (PEAK_BYTES.load(Relaxed) - before, result)
}

fn frames(element: ElementType, dims: &[usize]) -> (Vec<u8>, ChunkShape) {
    let shape = ChunkShape::try_new(dims).unwrap();
    let mut rng = TestRng::new(1);
    let frame = rings(shape.rows(), shape.cols(), (shape.rows() as f64 / 2.0, 40.0), 20.0, 0.5);
    let values = frame.iter().cycle().take(shape.n_values());
    let patterns: Vec<u64> =
        values.map(|value| pattern_of(element, value * 100.0 + normal(&mut rng))).collect();
    (pack(element, &patterns), shape)
}

/// Most bytes that a decoder needs: so many a byte of the chunk, and the coder's tables. Measured: 114 for one-row
/// chunks of u8 (planes of 35 bytes a pixel, 48 of predictor errors, the rest reserve), 66 for other u8 chunks, 29 and
/// 17 for f32.
const DECODER_BYTES_PER_BYTE: usize = 128;
const DECODER_TABLES: usize = 32 << 20;

/// The same for an encoder, whose journals of trials are as large as its tables. Measured: 48 MB for 0.26 MB of u8,
/// 107 MB for 4.2 MB of f32.
const ENCODER_BYTES_PER_BYTE: usize = 100;
const ENCODER_TABLES: usize = 64 << 20;

/// Decodes and checks what that allocated against the sizes in the stream's header, 0 where it has none.
fn decoding_stays_within_bounds(stream: &[u8], source: &Source, what: &dyn Fn() -> String) {
    let chunk_bytes = StreamHeader::parse(stream).map_or(0, |header| header.decoded_bytes());
    let limits = Limits { max_chunk_bytes: 1 << 24 };
    let (peak, decoded) = peak_bytes(|| decompress_chunk(stream, &limits, source, &ScalarBackend));
    // A chunk beyond the limit entitles to nothing.
    let entitled = if chunk_bytes > limits.max_chunk_bytes { 0 } else { chunk_bytes };
    let most = DECODER_BYTES_PER_BYTE * entitled + 8 * stream.len() + DECODER_TABLES;
    assert!(peak <= most, "{}: {peak} bytes for a chunk of {chunk_bytes} ({:?})", what(), decoded.err());
}

fn damaged(stream: &[u8], rng: &mut TestRng) -> Vec<u8> {
    let payload = payload_of(stream);
    let mut damaged = match rng.count(0, 3) {
        0 => rebuilt(stream, Some(&[rng.count(1, 1 << 12), rng.count(1, 1 << 12)]), payload),
        1 => rebuilt(stream, Some(&[rng.count(1, 1 << 23)]), payload),
        2 => rebuilt(stream, None, &payload[..rng.count(0, payload.len())]),
        _ => stream.to_vec(),
    };
    for _ in 0..rng.count(1, 3) {
        let first = rng.count(5, damaged.len() - 1);
        let end = (first + rng.count(1, 4)).min(damaged.len());
        damaged[first..end].fill([0, 0xff, rng.bits() as u8][rng.count(0, 2)]);
    }
    fix_stream_crc(&mut damaged);
    damaged
}

#[test]
fn nothing_makes_the_codec_allocate_more_than_sizes_entitle_to() {
    let u8_type = element(ElementClass::Unsigned, 1);
    let chunks: [(ElementType, &[usize]); 6] = [
        (u8_type, &[1 << 17]),
        (u8_type, &[300, 300]),
        (u8_type, &[1 << 13, 2, 4]),
        (element(ElementClass::Unsigned, 2), &[8, 100, 100]),
        (ElementType::F32, &[400, 400]),
        (ElementType::F64, &[4, 64, 64]),
    ];
    let spec = cosine_spec(PatchShape { rows: 32, cols: 32 }, false);
    let model = Model::parse(&spec.to_bytes().unwrap()).unwrap();
    let mut streams = Vec::new();
    for (element, dims) in chunks {
        let (bytes, shape) = frames(element, dims);
        for (bound, effort) in [
            (Bound::Absolute(0.6), Effort::Default),
            (Bound::Lossless, Effort::Default),
            (Bound::Absolute(0.6), Effort::Fast),
        ] {
            let options = Options { model: Some(model.clone()), effort, ..Options::new(bound) };
            let compress = || compress_chunk(&bytes, element, &shape, &options, &ScalarBackend).unwrap();
            let (peak, stream) = peak_bytes(compress);
            let what = || format!("{} {dims:?} {bound:?} {effort:?}", element.name());
            let most = ENCODER_BYTES_PER_BYTE * bytes.len() + ENCODER_TABLES;
            assert!(peak <= most, "{}: {peak} bytes to encode {}", what(), bytes.len());
            let source = Source(options.model.clone());
            decoding_stays_within_bounds(&stream, &source, &what);
            streams.push((stream, source));
        }
    }
    for seed in 0..1500u64 {
        let mut rng = TestRng::new(seed);
        let (stream, source) = &streams[rng.count(0, streams.len() - 1)];
        let stream = damaged(stream, &mut rng);
        decoding_stays_within_bounds(&stream, source, &|| format!("seed {seed}"));
    }
}

//! What decoding and encoding allocate, counted by the allocator: no more than the sizes in a stream's header entitle
//! to, whatever its bytes say. One test only, since others in this binary would be counted too.

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use h5z_sae::sae::Model;
use h5z_sae::sae::backend::ScalarBackend;
use h5z_sae::sae::testing::{TestRng, cosine_spec};
use h5z_sae::{
    Bound, ChunkShape, ElementClass, ElementType, Limits, Options, PatchShape, StreamHeader, compress_chunk,
    decompress_chunk,
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

#[test]
fn measure() {
    let u8_type = element(ElementClass::Unsigned, 1);
    let u16_type = element(ElementClass::Unsigned, 2);
    for (element, dims) in [
        (u8_type, &[1 << 18][..]),
        (u8_type, &[512, 512]),
        (u8_type, &[16, 128, 128]),
        (u8_type, &[1 << 15, 2, 4]),
        (u16_type, &[3, 300, 300]),
        (ElementType::F32, &[1 << 18]),
        (ElementType::F32, &[512, 512]),
        (ElementType::F32, &[1024, 1024]),
        (ElementType::F32, &[64, 64, 64]),
        (ElementType::F64, &[512, 512]),
    ] {
        let (bytes, shape) = frames(element, dims);
        for bound in [Bound::Absolute(1.0), Bound::Absolute(0.01), Bound::Lossless] {
            let options = Options::new(bound);
            let (enc, stream) =
                peak_bytes(|| compress_chunk(&bytes, element, &shape, &options, &ScalarBackend).unwrap());
            let (dec, _) = peak_bytes(|| {
                decompress_chunk(&stream, &Limits::default(), &Source(None), &ScalarBackend).unwrap()
            });
            println!(
                "{} {dims:?} {bound:?}: stream {}, enc {:.1} MB = {:.1}x, dec {:.1} MB = {:.1}x",
                element.name(),
                stream.len(),
                enc as f64 / 1e6,
                enc as f64 / bytes.len() as f64,
                dec as f64 / 1e6,
                dec as f64 / bytes.len() as f64
            );
        }
    }
}

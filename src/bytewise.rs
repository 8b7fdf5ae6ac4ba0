//! Lossless coding of a chunk byte by byte, for text, tables and whatever else repeats itself: docs/format.md,
//! "Bytewise payload".
//!
//! Each bit is predicted by what followed the same preceding bytes before, for several lengths; by the byte in the same
//! place of the element before and of the element above; and by the longest match (context mixing, after M. Mahoney's
//! PAQ). Tables grow with the chunk, to 17 MB at most.

use crate::array::{ByteOrder, ChunkShape, ElementType};
use crate::elementwise;
use crate::entropy::{AdaptiveBit, BitCoder, LogitMixer, RangeDecoder, RangeEncoder, squash, stretch};
use crate::error::{Error, ErrorKind};

/// Contexts of a byte, in the order of [`Model::hashes`].
const N_CONTEXTS: usize = 9;

/// The contexts, the match, and a constant.
const N_LOGITS: usize = N_CONTEXTS + 2;

/// Slots of contexts: so many for each byte of a chunk, within limits that are powers of two.
const SLOTS_PER_BYTE: usize = 32;
const FEWEST_SLOTS: usize = 1 << 12;
const MOST_SLOTS: usize = 1 << 22;

/// Matches are found by the hash of so many bytes, and their lengths count up to a limit.
const MATCH_BYTES: usize = 6;
const MOST_MATCHED: usize = 32;
const MOST_PLACES: usize = 1 << 18;

/// Bytes between two looks at whether the body has ended.
const CHECK_EVERY: usize = 1 << 12;

/// Bits that a slot remembers.
const MEMORY: u32 = 60;

const INITIAL_WEIGHT: i32 = 20_000;
const LEARNING_SHIFT: u32 = 14;

/// A body has at least one byte for so many of the chunk: decoding takes about a microsecond a byte, and a few bytes must
/// not ask for minutes of it. What shrinks more is better coded by elements anyway.
const MOST_RATIO: usize = 256;

/// A sample is so many pieces of so many bytes.
const N_PIECES: usize = 4;
const PIECE_BYTES: usize = 1 << 15;

/// Elements of several bytes are worth the time, a microsecond a byte, where that saves one part in so many.
pub(crate) const LEAST_GAIN: usize = 32;

/// Codes the chunk's bytes. `None` where a sample says that coding by elements is as short, or storing.
pub(crate) fn compress(element: ElementType, shape: &ChunkShape, bytes: &[u8]) -> Option<Vec<u8>> {
    let ordered = reorder(element, bytes.to_vec());
    (bytes.len() <= N_PIECES * PIECE_BYTES || pays_on_a_sample(element, shape, bytes))
        .then(|| code_all(element, shape, &ordered))
        .filter(|payload| payload.len() >= bytes.len() / MOST_RATIO)
}

fn pays_on_a_sample(element: ElementType, shape: &ChunkShape, bytes: &[u8]) -> bool {
    let size = element.size_bytes();
    let mut sample = Vec::with_capacity(N_PIECES * PIECE_BYTES);
    for i in 0..N_PIECES {
        let start = (bytes.len() - PIECE_BYTES) / (N_PIECES - 1) * i / size * size;
        sample.extend_from_slice(&bytes[start..start + PIECE_BYTES]);
    }
    let by_elements = elementwise::compress(element, &element.read_bits(&sample));
    let least = by_elements.map_or(sample.len(), |payload| payload.len().min(sample.len()));
    let enough = if size > 1 { least - least / LEAST_GAIN } else { least };
    code_all(element, shape, &reorder(element, sample)).len() < enough
}

fn code_all(element: ElementType, shape: &ChunkShape, ordered: &[u8]) -> Vec<u8> {
    let mut encoder = RangeEncoder::new();
    let mut model = Model::new(element, shape.cols(), ordered.len());
    for (end, &byte) in ordered.iter().enumerate() {
        model.code_byte(&mut encoder, &ordered[..end], byte);
    }
    encoder.finish()
}

/// Decodes as many bytes as the chunk has, in the chunk's byte order.
pub(crate) fn decompress(element: ElementType, shape: &ChunkShape, payload: &[u8]) -> Result<Vec<u8>, Error> {
    let n_bytes = shape.n_values() * element.size_bytes();
    if payload.len() < n_bytes / MOST_RATIO {
        return Err(Error::corrupt(format!(
            "bytewise payload of {} bytes for {n_bytes}: at least one is due for each {MOST_RATIO}",
            payload.len()
        )));
    }
    let mut bytes = Vec::new();
    bytes
        .try_reserve_exact(n_bytes)
        .map_err(|_| Error::new(ErrorKind::System, format!("no memory for {n_bytes} bytes")))?;
    let mut decoder = RangeDecoder::new(payload);
    let mut model = Model::new(element, shape.cols(), n_bytes);
    for end in 0..n_bytes {
        let byte = model.code_byte(&mut decoder, &bytes, 0);
        bytes.push(byte);
        if (end + 1).is_multiple_of(CHECK_EVERY) && decoder.overrun() {
            break;
        }
    }
    if decoder.overrun() {
        return Err(Error::corrupt(format!(
            "bytewise payload ends before byte {} of {n_bytes}",
            bytes.len()
        )));
    }
    Ok(reorder(element, bytes))
}

/// Highest byte of each element first, and back: what decides comes before what depends on it.
fn reorder(element: ElementType, mut bytes: Vec<u8>) -> Vec<u8> {
    if element.order() == ByteOrder::Little && element.size_bytes() > 1 {
        bytes.chunks_exact_mut(element.size_bytes()).for_each(<[u8]>::reverse);
    }
    bytes
}

/// A probability and ten bits of the context that last used it. These stand in place of the lowest bits of the
/// probability and the highest of the count, so that the whole has 32.
#[derive(Clone, Copy, Default)]
struct Slot(u32);

const OWNER_SHIFT: u32 = 6;
const OWNER_MASK: u32 = 0x3ff << OWNER_SHIFT;

impl Slot {
    /// The probability for a context; even odds where the slot was another's.
    fn state(self, owner: u32) -> AdaptiveBit {
        let is_own = self.0 & OWNER_MASK == owner << OWNER_SHIFT;
        if is_own { AdaptiveBit::from_word(self.0 & !OWNER_MASK) } else { AdaptiveBit::EVEN }
    }

    fn of(state: AdaptiveBit, owner: u32) -> Self {
        Self(state.to_word() & !OWNER_MASK | owner << OWNER_SHIFT)
    }
}

/// Slots in a row, for the fifteen nodes that half a byte has: one cache line.
const LINE: usize = 16;

/// Where a context's slots for half a byte begin, and the ten bits that tell it from others.
#[derive(Clone, Copy, Default)]
struct Line {
    start: usize,
    owner: u32,
}

impl Line {
    fn of(context: u32, so_far: u32, n_slots: usize) -> Self {
        let hash = mixed(context ^ so_far.wrapping_mul(0x9E37_79B1));
        // The upper ten bits are no part of the start.
        Self { start: hash as usize & (n_slots - 1) & !(LINE - 1), owner: hash >> 22 }
    }
}

/// A bit of a byte, and what is known before it.
struct ByteDecision<'a> {
    lines: &'a [Line; N_CONTEXTS],
    /// 1 to 15, of half a byte.
    node: usize,
    /// A 1 and the bits before.
    so_far: u32,
    last: usize,
    expected: Option<bool>,
}

/// A place before, after which the same bytes came as now.
#[derive(Clone, Copy, Default)]
struct Match {
    /// Where the byte lies that is expected next.
    place: usize,
    /// How many bytes agree, 0 if there is no match.
    length: usize,
}

/// Adaptive state over a chunk.
struct Model {
    size: usize,
    row_bytes: usize,
    slots: Vec<Slot>,
    /// Where each hash of [`MATCH_BYTES`] bytes was seen last, plus one.
    places: Vec<u32>,
    found: Match,
    /// By length of the match.
    match_states: [AdaptiveBit; MOST_MATCHED + 1],
    /// By the length of the match and the bits so far, and by the byte before.
    mixers: [LogitMixer<N_LOGITS>; 2],
    word: u32,
}

impl Model {
    fn new(element: ElementType, cols: usize, n_bytes: usize) -> Self {
        let n_slots =
            n_bytes.saturating_mul(SLOTS_PER_BYTE).clamp(FEWEST_SLOTS, MOST_SLOTS).next_power_of_two();
        let n_places = n_bytes.clamp(1 << 8, MOST_PLACES).next_power_of_two();
        let mut weights = [INITIAL_WEIGHT; N_LOGITS];
        weights[N_LOGITS - 1] = 0;
        Self {
            size: element.size_bytes(),
            row_bytes: cols * element.size_bytes(),
            slots: vec![Slot::default(); n_slots],
            places: vec![0; n_places],
            found: Match::default(),
            match_states: [AdaptiveBit::EVEN; MOST_MATCHED + 1],
            mixers: [4 * 256, 256].map(|n_sets| LogitMixer::new(n_sets, weights, LEARNING_SHIFT)),
            word: 0,
        }
    }

    /// Codes the byte that follows `before`.
    fn code_byte<C: BitCoder>(&mut self, coder: &mut C, before: &[u8], byte: u8) -> u8 {
        let hashes = self.hashes(before);
        let last = usize::from(before.last().copied().unwrap_or(0));
        let expected = (self.found.length > 0).then(|| before[self.found.place]);
        let mut lines = [Line::default(); N_CONTEXTS];
        let mut so_far = 1u32;
        for shift in (0..8).rev() {
            if shift % 4 == 3 {
                lines = hashes.map(|hash| Line::of(hash, so_far, self.slots.len()));
            }
            // 1 for the first bit of a half, then the bits so far behind it.
            let node = if shift >= 4 { so_far } else { so_far & ((1 << (3 - shift)) - 1) | 1 << (3 - shift) };
            let expected_bit = expected
                .filter(|&expected| (u32::from(expected) | 256) >> (shift + 1) == so_far)
                .map(|expected| expected >> shift & 1 != 0);
            let decision =
                ByteDecision { lines: &lines, node: node as usize, so_far, last, expected: expected_bit };
            let bit = self.code_bit(coder, &decision, byte >> shift & 1 != 0);
            so_far = so_far << 1 | u32::from(bit);
        }
        let byte = so_far as u8;
        self.move_on(before, byte);
        byte
    }

    fn code_bit<C: BitCoder>(&mut self, coder: &mut C, decision: &ByteDecision, bit: bool) -> bool {
        let mut logits = [0; N_LOGITS];
        let mut states = [AdaptiveBit::EVEN; N_CONTEXTS];
        for (i, line) in decision.lines.iter().enumerate() {
            states[i] = self.slots[line.start + decision.node].state(line.owner);
            logits[i] = stretch(states[i].p1());
        }
        let length = if decision.expected.is_some() { self.found.length.min(MOST_MATCHED) } else { 0 };
        if let Some(expected) = decision.expected {
            let agrees = stretch(self.match_states[length].p1());
            logits[N_CONTEXTS] = if expected { agrees } else { -agrees };
        }
        logits[N_LOGITS - 1] = 256;
        let class = match length {
            0 => 0,
            1..16 => 1,
            16..MOST_MATCHED => 2,
            _ => 3,
        };
        let sets = [class * 256 + decision.so_far as usize, decision.last];
        let sums = [0, 1].map(|i| self.mixers[i].mix(sets[i], &logits));
        let bit = coder.code(bit, squash((sums[0] + sums[1]) >> 1));
        for i in 0..2 {
            self.mixers[i].learn(sets[i], &logits, sums[i], bit);
        }
        for (line, mut state) in decision.lines.iter().zip(states) {
            state.update(bit, MEMORY);
            self.slots[line.start + decision.node] = Slot::of(state, line.owner);
        }
        if let Some(expected) = decision.expected {
            self.match_states[length].update(bit == expected, 255);
        }
        bit
    }

    /// Hashes of what a byte may depend on.
    fn hashes(&self, before: &[u8]) -> [u32; N_CONTEXTS] {
        let n = before.len();
        let back = |distance: usize| n.checked_sub(distance).map_or(0, |i| u32::from(before[i]));
        let place = n % self.size;
        // The bytes of this element so far.
        let element = before[n - place..]
            .iter()
            .fold(place as u32, |hash, &byte| hash << 8 ^ mixed(hash) ^ u32::from(byte));
        let near = back(1) | back(2) << 8 | back(3) << 16;
        let far = back(4) | back(5) << 8 | back(6) << 16;
        let left = back(self.size);
        let above = back(self.row_bytes);
        let contexts = [
            (back(1), 0),
            (near & 0xffff, 0),
            (near, 0),
            (near, back(4)),
            (near, far),
            (self.word, back(1)),
            (element, left),
            (element, above << 8),
            (element, left | above << 8 | back(self.row_bytes + self.size) << 16),
        ];
        std::array::from_fn(|i| {
            let (a, b) = contexts[i];
            mixed(mixed(a.wrapping_add((i as u32 + 1) << 27)) ^ b.wrapping_mul(0x85EB_CA6B))
        })
    }

    /// Takes in the byte that followed `before`.
    fn move_on(&mut self, before: &[u8], byte: u8) {
        let letter = byte.to_ascii_lowercase();
        let is_letter = letter.is_ascii_lowercase() || byte >= 128;
        self.word = if is_letter { mixed(self.word.wrapping_add(u32::from(letter) + 1)) } else { 0 };
        let n = before.len() + 1;
        let at = |i: usize| if i + 1 == n { byte } else { before[i] };
        if self.found.length > 0 && at(self.found.place) == byte {
            self.found = Match { place: self.found.place + 1, length: self.found.length + 1 };
        } else {
            self.found = Match::default();
        }
        if n < MATCH_BYTES {
            return;
        }
        let hash = (n - MATCH_BYTES..n)
            .fold(0u32, |hash, i| hash.wrapping_add(u32::from(at(i)) + 1).wrapping_mul(0x2F0B_4C47));
        let mask = self.places.len() - 1;
        let entry = &mut self.places[mixed(hash) as usize & mask];
        if self.found.length == 0 && *entry > 0 {
            let place = *entry as usize;
            let length =
                (0..MOST_MATCHED.min(place)).take_while(|&k| at(place - 1 - k) == at(n - 1 - k)).count();
            if length >= MATCH_BYTES {
                self.found = Match { place, length };
            }
        }
        *entry = n as u32;
    }
}

/// Every bit of the result depends on every bit of x.
fn mixed(x: u32) -> u32 {
    let x = (x ^ x >> 15).wrapping_mul(0x2C1B_3C6D);
    let x = (x ^ x >> 12).wrapping_mul(0x297A_2D39);
    x ^ x >> 15
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array::ElementClass;
    use crate::error::ErrorKind;

    fn random_bytes(n: usize) -> Vec<u8> {
        let mut state = 7u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        (0..n).map(|_| next()).collect()
    }

    #[test]
    fn bytes_of_every_element_size_and_order_come_back() {
        for (size, order) in
            [(1, ByteOrder::Little), (2, ByteOrder::Big), (4, ByteOrder::Little), (8, ByteOrder::Big)]
        {
            let element = ElementType::try_new(ElementClass::Unsigned, size, order).unwrap();
            for n_values in [1, 5, 64, 3001] {
                let mut bytes = random_bytes(n_values * size);
                let half = bytes.len() / 2;
                bytes.copy_within(..half, half);
                for dims in [vec![n_values], vec![n_values, 1]] {
                    let shape = ChunkShape::try_new(&dims).unwrap();
                    let payload = compress(element, &shape, &bytes).unwrap();
                    assert_eq!(
                        decompress(element, &shape, &payload).unwrap(),
                        bytes,
                        "{size} {order:?} {dims:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn what_repeats_costs_little_and_noise_not_much_more_than_itself() {
        let element = ElementType::try_new(ElementClass::Unsigned, 1, ByteOrder::Little).unwrap();
        let noise = random_bytes(20_000);
        let shape = |n: usize| ChunkShape::try_new(&[n]).unwrap();
        let alone = compress(element, &shape(20_000), &noise).unwrap().len();
        assert!(alone < 20_000 + 20_000 / 50, "{alone} bytes for 20000 of noise");
        let twice = compress(element, &shape(40_000), &[&noise[..], &noise[..]].concat()).unwrap().len();
        assert!(twice < alone + 300, "{twice} bytes for the same twice, {alone} for it once");
    }

    #[test]
    fn noise_is_given_up_on_a_sample() {
        let element = ElementType::try_new(ElementClass::Unsigned, 1, ByteOrder::Little).unwrap();
        let shape = ChunkShape::try_new(&[1 << 18]).unwrap();
        assert_eq!(compress(element, &shape, &random_bytes(1 << 18)), None);
    }

    #[test]
    fn a_payload_that_ends_early_is_not_taken_for_the_whole() {
        let element = ElementType::try_new(ElementClass::Unsigned, 1, ByteOrder::Little).unwrap();
        let shape = ChunkShape::try_new(&[20_000]).unwrap();
        let bytes = random_bytes(20_000);
        let payload = compress(element, &shape, &bytes).unwrap();
        for length in [0, 1, 100, payload.len() / 2] {
            let decoded = decompress(element, &shape, &payload[..length]);
            assert!(decoded.map_or(true, |decoded| decoded != bytes), "{length} bytes of {}", payload.len());
        }
        // Zeros behind the end decode to something, but not for ever.
        let vast = ChunkShape::try_new(&[1 << 28]).unwrap();
        let error = decompress(element, &vast, &payload).map(|decoded| decoded.len()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }
}

//! How often coded bits were 1 in real chunks, and what that makes of the initial states: for those who make
//! `src/initial.bin` anew (`models/initial_states.sh`). Not part of the codec; behind the feature `statistics`.
//!
//! States are taken from decoders at the end of a chunk. A build whose file of initial states is empty must be used,
//! since the number of ones is worked out from probabilities that began even.

use std::sync::Arc;

use crate::array::ChunkShape;
use crate::codec::ModelSource;
use crate::decode::decode_coded;
use crate::entropy::{AdaptiveBit, ContextMixer};
use crate::error::Error;
use crate::initial::{write_start, write_states};
use crate::sae::{Model, backend::Backend};
use crate::stream::header::{Payload, StreamHeader};

/// Contexts of which less was seen begin even: they are most, and matter least.
const LEAST_BITS: f64 = 100.0;

/// What was seen of one adaptive bit, summed over chunks: k of n bits were 1 in each.
#[derive(Clone, Copy, Default)]
struct Tally {
    n: f64,
    k: f64,
    n_n: f64,
    n_k: f64,
    k_k: f64,
}

impl Tally {
    fn add(&mut self, state: AdaptiveBit) {
        let (p, seen) = (f64::from(state.p1()) / 65536.0, f64::from(state.seen()));
        // Each update takes p·(seen + ½) to the next one's by adding the bit.
        let (n, k) = (seen, (p * (seen + 0.5) - 0.25).clamp(0.0, seen));
        self.n += n;
        self.k += k;
        self.n_n += n * n;
        self.n_k += n * k;
        self.k_k += k * k;
    }

    /// Mean share of ones, and the number of bits that it is worth in a new chunk: chunks differ more than chance makes
    /// them differ, which is the variance of a beta distribution.
    fn state(&self) -> AdaptiveBit {
        if self.n < LEAST_BITS {
            return AdaptiveBit::EVEN;
        }
        let p = (self.k + 0.4) / (self.n + 0.8);
        let scatter = (self.k_k - 2.0 * p * self.n_k + p * p * self.n_n).max(0.0);
        let excess = scatter / (p * (1.0 - p)) - self.n;
        let pairs = self.n_n - self.n;
        let correlation = if pairs > 0.0 { (excess / pairs).clamp(1.0 / 256.0, 0.5) } else { 0.5 };
        let worth = (1.0 / correlation - 1.0).min(self.n / 2.0).max(1.0);
        AdaptiveBit::with_prior((p * 65536.0).clamp(8.0, 65527.0) as u16, worth as u16)
    }
}

/// Of one mixer: tallies of each table, and sums of what weights have become against what they began as.
struct MixerTally<const N: usize, const M: usize> {
    tables: [Vec<Tally>; N],
    weights: Vec<([f64; M], f64)>,
}

impl<const N: usize, const M: usize> Default for MixerTally<N, M> {
    fn default() -> Self {
        Self { tables: std::array::from_fn(|_| Vec::new()), weights: Vec::new() }
    }
}

impl<const N: usize, const M: usize> MixerTally<N, M> {
    fn add(&mut self, mixer: &ContextMixer<N, M>, takes_states: bool) {
        if takes_states {
            for (tallies, states) in self.tables.iter_mut().zip(mixer.states()) {
                tally(tallies, states);
            }
            return;
        }
        let changes = mixer.weight_changes();
        self.weights.resize(changes.len(), ([0.0; M], 0.0));
        for ((sums, count), changes) in self.weights.iter_mut().zip(changes) {
            if changes != [0; M] {
                *count += 1.0;
                sums.iter_mut().zip(changes).for_each(|(sum, change)| *sum += f64::from(change));
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        let tables = self.tables.each_ref().map(|tallies| tallies.iter().map(Tally::state).collect());
        // Half a chunk of no change, so that what few chunks say counts less.
        let mean = |(sums, count): &([f64; M], f64)| sums.map(|sum| (sum / (count + 0.5)) as i32);
        write_start(out, &tables, &self.weights.iter().map(mean).collect::<Vec<_>>());
    }
}

fn tally(tallies: &mut Vec<Tally>, states: impl Iterator<Item = AdaptiveBit>) {
    for (place, state) in states.enumerate() {
        if place == tallies.len() {
            tallies.push(Tally::default());
        }
        if state != AdaptiveBit::EVEN {
            tallies[place].add(state);
        }
    }
}

/// What was seen in all chunks so far.
#[derive(Default)]
pub struct Statistics {
    residuals: [MixerTally<7, 8>; 3],
    linear_levels: MixerTally<5, 6>,
    block_flags: Vec<Tally>,
}

impl Statistics {
    /// Adds a stream: of a chunk of one frame its states, of one of many frames its weights, which by then are trained.
    /// Streams whose payload is not coded, or by the fast coder, are passed over.
    ///
    /// # Errors
    /// Those of [`crate::decompress_chunk`].
    pub fn add(
        &mut self,
        stream: &[u8],
        models: &dyn ModelSource,
        backend: &dyn Backend,
    ) -> Result<(), Error> {
        let (header, payload) = StreamHeader::parse_with_payload(stream)?;
        if header.payload != Payload::Coded {
            return Ok(());
        }
        let model: Option<Arc<Model>> = header.model.map(|id| models.model(id)).transpose()?;
        let (_, frames, atoms) = decode_coded(&header, payload, model.as_ref(), backend)?;
        let Some(frames) = frames else { return Ok(()) };
        let takes_states = ChunkShape::frames(&header.shape) == 1;
        for (tally, mixer) in self.residuals.iter_mut().zip(frames.residual_mixers()) {
            if let Some(mixer) = mixer {
                tally.add(mixer, takes_states);
            }
        }
        if model.is_some() {
            self.linear_levels.add(atoms.linear_mixer(), takes_states);
        }
        if takes_states {
            tally(&mut self.block_flags, frames.block_flags());
        }
        Ok(())
    }

    /// The file of initial states. Linear atoms themselves, the second table of their mixer, are the model's affair.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for mixer in &self.residuals {
            mixer.write(&mut out);
        }
        let mut linear: MixerTally<5, 6> =
            MixerTally { weights: self.linear_levels.weights.clone(), ..MixerTally::default() };
        for (place, table) in self.linear_levels.tables.iter().enumerate().filter(|(place, _)| *place != 1) {
            linear.tables[place].clone_from(table);
        }
        linear.write(&mut out);
        write_states(&mut out, &self.block_flags.iter().map(Tally::state).collect::<Vec<_>>());
        out
    }
}

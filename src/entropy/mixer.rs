//! Mixes the opinions of several contexts about one bit, in the logistic domain.
//!
//! Every context set has a table of adaptive probabilities. Their logits, and a constant one, are weighted, summed
//! and squashed into the probability that is coded; then the weights of the chosen set move along the gradient of
//! the coding cost (logistic mixing, after M. Mahoney's PAQ), and each context learns the bit on its own.
//! All of it is integer arithmetic: docs/format.md, "Mixing".

use super::adaptive::AdaptiveBit;
use super::logistic::{squash, stretch};
use super::logit_mixer::{learn, weighted_sum};
use super::range_coder::BitCoder;

/// Weight 1.0.
pub(crate) const ONE: i32 = 1 << 16;

/// Logit of the constant input: one nat.
const BIAS: i32 = 256;

/// `N` context tables and the weights of their mixture; `N + 1` counts the constant input.
pub(crate) struct ContextMixer<const N: usize, const N_PLUS_1: usize> {
    /// States of [`AdaptiveBit`]: all tables, one behind the other. Plain numbers, so that a new table is memory of
    /// zeros, of which the system hands out only the pages that are touched.
    slots: Vec<u32>,
    /// Where each table begins, and its contexts. A table holds all contexts of one decision, then those of the next:
    /// most pixels ask for the first decision alone, and neighbouring contexts then share cache lines.
    tables: [(u32, u32); N],
    weights: Vec<[i32; N_PLUS_1]>,
    n_decisions: u32,
    learning_shift: u32,
    start: &'static MixerStart<N, N_PLUS_1>,
    #[cfg(feature = "statistics")]
    untrained: [i32; N_PLUS_1],
    journal: Journal<N_PLUS_1>,
}

/// What a mixer knows before its first bit.
pub(crate) struct MixerStart<const N: usize, const N_PLUS_1: usize> {
    /// States of each table, up to the last one that is known: [`AdaptiveBit::EVEN`] where it is not.
    pub(crate) tables: [Vec<AdaptiveBit>; N],
    /// What training added to the weights of each set; nothing for sets beyond these.
    pub(crate) weight_changes: Vec<[i32; N_PLUS_1]>,
}

impl<const N: usize, const N_PLUS_1: usize> Default for MixerStart<N, N_PLUS_1> {
    /// Nothing at all.
    fn default() -> Self {
        Self { tables: std::array::from_fn(|_| Vec::new()), weight_changes: Vec::new() }
    }
}

/// Sizes and constants of a mixer.
pub(crate) struct MixerRules<const N: usize> {
    /// Contexts of each table.
    pub(crate) n_contexts: [u32; N],
    /// Decisions that have contexts and weights of their own.
    pub(crate) n_decisions: u32,
    /// Sets of weights for each decision.
    pub(crate) n_sets: u32,
    /// Weight of each table at the start, in 1/65536.
    pub(crate) initial_weight: i32,
    /// Weights move by the product of logit and error over 2^this.
    pub(crate) learning_shift: u32,
}

/// One decision: which, under which context of each table and which set of weights.
pub(crate) struct Decision<'a, const N: usize> {
    pub(crate) number: u32,
    pub(crate) contexts: &'a [u32; N],
    pub(crate) set: u32,
    /// What a context begins as that has seen nothing yet.
    pub(crate) prior: AdaptiveBit,
}

/// What was overwritten since a mark, newest last; where that becomes more than the tables themselves, as in frames of
/// many pixels, the tables as they were.
#[derive(Default)]
struct Journal<const N_PLUS_1: usize> {
    /// Between a mark and its undoing.
    is_open: bool,
    slots: Vec<(u32, u32)>,
    weights: Vec<(u32, [i32; N_PLUS_1])>,
    marked: Option<(Vec<u32>, Vec<[i32; N_PLUS_1]>)>,
}

impl<const N_PLUS_1: usize> Journal<N_PLUS_1> {
    /// Replaces the list of what was overwritten by the tables as they were at the mark.
    #[cold]
    fn keep_tables(&mut self, slots: &[u32], weights: &[[i32; N_PLUS_1]]) {
        let (mut slots, mut weights) = (slots.to_vec(), weights.to_vec());
        self.take_back(&mut slots, &mut weights);
        self.marked = Some((slots, weights));
    }

    /// Brings tables back to the mark, and forgets.
    fn take_back(&mut self, slots: &mut Vec<u32>, weights: &mut Vec<[i32; N_PLUS_1]>) {
        if let Some((marked_slots, marked_weights)) = self.marked.take() {
            (*slots, *weights) = (marked_slots, marked_weights);
        }
        for (index, old) in self.slots.drain(..).rev() {
            slots[index as usize] = old;
        }
        for (set, old) in self.weights.drain(..).rev() {
            weights[set as usize] = old;
        }
    }
}

impl<const N: usize, const N_PLUS_1: usize> ContextMixer<N, N_PLUS_1> {
    pub(crate) fn new(rules: &MixerRules<N>, start: &'static MixerStart<N, N_PLUS_1>) -> Self {
        const { assert!(N + 1 == N_PLUS_1) };
        let &MixerRules { n_contexts, n_decisions, n_sets, initial_weight, learning_shift } = rules;
        let mut initial = [initial_weight; N_PLUS_1];
        initial[N] = 0;
        let mut n_slots = 0;
        let tables = n_contexts.map(|n_contexts| {
            let start = n_slots;
            n_slots += n_contexts * n_decisions;
            (start, n_contexts)
        });
        let mut weights = vec![initial; (n_sets * n_decisions) as usize];
        for (weights, changes) in weights.iter_mut().zip(&start.weight_changes) {
            for (weight, change) in weights.iter_mut().zip(changes) {
                *weight += change;
            }
        }
        Self {
            slots: vec![0; n_slots as usize],
            tables,
            weights,
            n_decisions,
            learning_shift,
            start,
            #[cfg(feature = "statistics")]
            untrained: initial,
            journal: Journal::default(),
        }
    }

    /// States of each table, by place: its contexts for decision 0, then those for decision 1, ….
    #[cfg(feature = "statistics")]
    pub(crate) fn states(&self) -> [impl Iterator<Item = AdaptiveBit>; N] {
        self.tables.map(|(start, n_contexts)| {
            let slots = &self.slots[start as usize..][..(n_contexts * self.n_decisions) as usize];
            slots.iter().map(|&word| AdaptiveBit::from_word(word))
        })
    }

    /// Weights against those that every set begins with where nothing is known.
    #[cfg(feature = "statistics")]
    pub(crate) fn weight_changes(&self) -> Vec<[i32; N_PLUS_1]> {
        let change = |weights: &[i32; N_PLUS_1]| std::array::from_fn(|i| weights[i] - self.untrained[i]);
        self.weights.iter().map(change).collect()
    }

    /// From here on everything can be taken back.
    pub(crate) fn mark(&mut self) {
        let journal = &mut self.journal;
        journal.is_open = true;
        journal.slots.clear();
        journal.weights.clear();
        journal.marked = None;
    }

    /// Takes back everything since the last mark.
    pub(crate) fn undo(&mut self) {
        self.journal.take_back(&mut self.slots, &mut self.weights);
        self.journal.is_open = false;
    }

    /// Codes the bit of a decision.
    #[inline]
    pub(crate) fn code<C: BitCoder>(&mut self, coder: &mut C, decision: &Decision<N>, bit: bool) -> bool {
        let set = (decision.set * self.n_decisions + decision.number) as usize;
        if self.journal.slots.len() >= self.slots.len() {
            self.journal.keep_tables(&self.slots, &self.weights);
        }
        let mut logits = [BIAS; N_PLUS_1];
        let mut indices = [0u32; N];
        let mut states = [AdaptiveBit::EVEN; N];
        let weights = &mut self.weights[set];
        for i in 0..N {
            let (start, n_contexts) = self.tables[i];
            debug_assert!(decision.contexts[i] < n_contexts);
            let place = decision.number * n_contexts + decision.contexts[i];
            indices[i] = start + place;
            let word = self.slots[indices[i] as usize];
            states[i] = match word {
                0 => first_state(&self.start.tables[i], place, decision.prior),
                _ => AdaptiveBit::from_word(word),
            };
            logits[i] = stretch(states[i].p1());
        }
        let p1 = squash(weighted_sum(weights, &logits));
        let bit = coder.code(bit, p1);
        let journal = &mut self.journal;
        if journal.is_open && journal.marked.is_none() {
            journal.slots.extend(indices.iter().map(|&index| (index, self.slots[index as usize])));
            journal.weights.push((set as u32, *weights));
        }
        learn(weights, &logits, p1, bit, self.learning_shift);
        for (index, mut state) in indices.into_iter().zip(states) {
            state.update(bit, MEMORY);
            self.slots[index as usize] = state.to_word();
        }
        bit
    }
}

/// What a context begins as: the state that is known for it, else the decision's prior.
#[cold]
fn first_state(known: &[AdaptiveBit], place: u32, prior: AdaptiveBit) -> AdaptiveBit {
    match known.get(place as usize) {
        Some(&state) if state != AdaptiveBit::EVEN => state,
        _ => prior,
    }
}

/// Bits that a context remembers.
const MEMORY: u32 = 255;

#[cfg(test)]
mod tests {
    use super::super::range_coder::CostCounter;
    use super::*;

    #[test]
    fn everything_since_a_mark_is_taken_back_however_much_it_is() {
        for n_bits in [0u32, 1, 5, 31, 32, 33, 500] {
            let rules = MixerRules {
                n_contexts: [16, 11],
                n_decisions: 2,
                n_sets: 3,
                initial_weight: ONE / 3,
                learning_shift: 12,
            };
            let start: &MixerStart<2, 3> = Box::leak(Box::default());
            let mut mixer = ContextMixer::<2, 3>::new(&rules, start);
            let mut counter = CostCounter::default();
            let mut code = |mixer: &mut ContextMixer<2, 3>, n_bits: u32| {
                for i in 0..n_bits {
                    let decision = Decision {
                        number: i % 2,
                        contexts: &[i * 7 % 16, i * i % 11],
                        set: i % 3,
                        prior: AdaptiveBit::with_prior(20_000, 6),
                    };
                    mixer.code(&mut counter, &decision, i % 5 == 0);
                }
            };
            code(&mut mixer, 100);
            let (slots, weights) = (mixer.slots.clone(), mixer.weights.clone());
            for _ in 0..2 {
                mixer.mark();
                code(&mut mixer, n_bits);
                mixer.undo();
                assert!(mixer.slots == slots && mixer.weights == weights, "{n_bits} bits");
            }
        }
    }
}

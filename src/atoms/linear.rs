//! Levels of a patch's linear atoms: docs/format.md, "Atoms".
//!
//! What the model expects of an atom is where its contexts start from. How large an atom really is depends on the patch:
//! on the levels just before it, and on what the same atom was in the patch before.

use crate::entropy::{
    AdaptiveBit, BitCoder, ContextMixer, Decision, MagnitudeBit, MixerRules, ONE, code_bits, code_magnitude,
};

use super::GO_ON;
use crate::initial::InitialStates;

/// Expected size of a linear atom against its step, in half octaves: −12 to 22.
const SIZES: std::ops::RangeInclusive<i32> = -12..=22;
const N_SIZES: usize = 35;
/// Linear atoms whose activity counts as context.
const REACH: usize = 16;
const N_ACTIVITY: u32 = 22;
/// Buckets of single levels.
const N_LEVELS: u32 = 32;
/// Binary decisions of a level that have contexts of their own: nonzero, 13 steps of the class, and for each of 8
/// classes the bit below the leading one.
const N_DECISIONS: u32 = 22;
const FIRST_STEP: u32 = 1;
const LAST_STEP: u32 = 13;
const FIRST_SECOND_BIT: u32 = 14;
const N_SECOND_BITS: u32 = 8;
/// Sets of weights by activity.
const N_SETS: u32 = 4;
/// Largest magnitude is 2²⁴ − 1.
const LARGEST_CLASS: u32 = 24;

/// 65536·e^(−0.7071·2^(−x/2)) for x = −12 … 22: how often a Laplacian coefficient of x half octaves against its
/// step is nonzero.
static NONZERO: [u16; N_SIZES] = [
    1, 1, 1, 1, 1, 22, 229, 1200, 3874, 8870, 15933, 24110, 32314, 39750, 46019, 51040, 54917, 57835, 59992,
    61565, 62703, 63520, 64104, 64520, 64816, 65026, 65175, 65281, 65355, 65408, 65446, 65472, 65491, 65504,
    65513,
];
/// The bit below the leading one is 1 so often, in 1/65536: within a class small levels are the more frequent.
const SECOND_BIT: u16 = 28_000;
/// Bits that a prior is worth.
const PRIOR_BITS: u16 = 6;

const N_CONTEXTS: usize = 5;

pub(crate) type Mixer = ContextMixer<N_CONTEXTS, { N_CONTEXTS + 1 }>;

/// Adaptive state of linear levels over the patches of a chunk.
pub(super) struct LinearCoder {
    mixer: Mixer,
    /// K: levels of the last patch that had linear atoms, against their expected sizes.
    before: Vec<u32>,
    marked: Vec<u32>,
}

/// What is known of an atom before its level.
struct View {
    contexts: [u32; N_CONTEXTS],
    set: u32,
    size: i32,
}

impl LinearCoder {
    /// For models of `n_atoms` linear atoms.
    pub(super) fn new(n_atoms: usize) -> Self {
        // Without atoms nothing is coded: tables would take longer to make than a small chunk to decode.
        let (n_sizes, n_levels) = if n_atoms == 0 { (0, 0) } else { (N_SIZES as u32, N_LEVELS) };
        let rules = MixerRules {
            n_contexts: [
                n_sizes * N_ACTIVITY,
                n_atoms as u32,
                n_sizes * N_LEVELS,
                n_sizes * N_LEVELS,
                n_levels * N_ACTIVITY,
            ],
            n_decisions: N_DECISIONS,
            n_sets: N_SETS,
            initial_weight: ONE / N_CONTEXTS as i32,
            learning_shift: 14,
        };
        let mixer = Mixer::new(&rules, &InitialStates::get().linear_levels);
        Self { mixer, before: vec![0; n_atoms], marked: Vec::new() }
    }

    #[cfg(feature = "statistics")]
    pub(super) fn mixer(&self) -> &Mixer {
        &self.mixer
    }

    /// From here on everything can be taken back.
    pub(super) fn mark(&mut self) {
        self.mixer.mark();
        self.marked.clone_from(&self.before);
    }

    /// Takes back everything since the last mark.
    pub(super) fn undo(&mut self) {
        self.mixer.undo();
        self.before.clone_from(&self.marked);
    }

    /// Codes the nonzero levels of a patch: (atom, level), ascending by atom. `sizes`: of all atoms, 4·log2 of a
    /// coefficient's root mean square; steps are 2^−(`step_quarters`/4).
    pub(super) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        sizes: &[i8],
        levels: &[(u32, i32)],
        step_quarters: i32,
    ) -> Vec<(u32, i32)> {
        let mut wanted = levels.iter().copied().peekable();
        let mut coded = Vec::with_capacity(levels.len());
        // Levels against their expected size, in 1/16, and the sum of the last few.
        let mut recent = [0u32; REACH];
        let mut sum = 0;
        let mut last = [0u32; 2];
        for (atom, &scale) in sizes.iter().enumerate() {
            let level = wanted.next_if(|&(index, _)| index as usize == atom).map_or(0, |(_, level)| level);
            let Some(size) = linear_size(scale, step_quarters) else { continue };
            let place = (size - SIZES.start()) as u32;
            let activity = half_octaves(sum, N_ACTIVITY);
            let near = half_octaves((2 * last[0] + last[1]) / 2, N_LEVELS);
            let contexts = [
                place * N_ACTIVITY + activity,
                atom as u32,
                place * N_LEVELS + near,
                place * N_LEVELS + half_octaves(self.before[atom], N_LEVELS),
                near * N_ACTIVITY + activity,
            ];
            let set = (activity / 6).min(N_SETS - 1);
            let level = self.code_level(coder, &View { contexts, set, size }, level);
            let seen = relative_level(level.unsigned_abs(), size);
            if level != 0 {
                coded.push((atom as u32, level));
            }
            self.before[atom] = seen;
            sum = sum + seen - recent[atom % REACH];
            recent[atom % REACH] = seen;
            last = [seen, last[0]];
        }
        coded
    }

    /// Zero or not, sign, class in unary, then the bits below the leading one: the first of them under contexts.
    fn code_level<C: BitCoder>(&mut self, coder: &mut C, view: &View, level: i32) -> i32 {
        let mut decide = |coder: &mut C, number: u32, prior: u16, bit: bool| {
            let prior = AdaptiveBit::with_prior(prior, PRIOR_BITS);
            let decision = Decision { number, contexts: &view.contexts, set: view.set, prior };
            self.mixer.code(coder, &decision, bit)
        };
        if !decide(coder, 0, NONZERO[(view.size - SIZES.start()) as usize], level != 0) {
            return 0;
        }
        let negative = code_bits(coder, u64::from(level < 0), 1) != 0;
        let code = |coder: &mut C, step: MagnitudeBit, bit: bool| match step {
            MagnitudeBit::GoesOn(class) => {
                let prior = GO_ON[((2 * class as i32 + 2 - view.size).clamp(-8, 8) + 8) as usize];
                decide(coder, (FIRST_STEP + class).min(LAST_STEP), prior, bit)
            }
            MagnitudeBit::Second(class) => {
                let number = FIRST_SECOND_BIT + (class - 1).min(N_SECOND_BITS - 1);
                decide(coder, number, SECOND_BIT, bit)
            }
        };
        let coded = code_magnitude(coder, level.unsigned_abs().into(), LARGEST_CLASS, code);
        let coded = coded.min((1 << LARGEST_CLASS) - 1) as i32;
        if negative { -coded } else { coded }
    }
}

/// Expected size of a linear atom in half octaves of its step; `None` where it is so far below the step that it is
/// not coded at all.
fn linear_size(scale: i8, step_quarters: i32) -> Option<i32> {
    let size = (i32::from(scale) + step_quarters).div_euclid(2);
    (size >= *SIZES.start()).then(|| size.min(*SIZES.end()))
}

/// ln 2 / 12: at high rates a bit buys 2·ln 2·Δ²/12 of squared error, and a level that is lower by one than the nearest
/// to a coefficient of x steps above it costs (2x − 1)·Δ².
const HALF_SLOPE: f32 = 0.057_762;

/// Dead zone, in steps, of a linear atom: a level is worth its bits only if it lowers the squared error by more than
/// they would elsewhere. Infinite where no level is coded.
pub(crate) fn linear_dead_zone(scale: i8, step_quarters: i32) -> f32 {
    let Some(size) = linear_size(scale, step_quarters) else { return f32::INFINITY };
    let nonzero = f32::from(NONZERO[(size - SIZES.start()) as usize]) / 65536.0;
    // The sign takes a bit, and so does about the first decision on the magnitude.
    let bits = 2.0 + ((1.0 - nonzero) / nonzero).log2();
    (0.5 + HALF_SLOPE * bits).max(0.5)
}

/// How much beyond the middle between two levels, in steps, a coefficient must be for the upper one, for the same reason:
/// levels of a Laplacian atom take 1.44·√2·Δ/σ bits more each. Two and a half times what squared error alone would ask
/// for is best: coefficients are pulled back where a pixel needs it.
pub(crate) fn linear_reluctance(scale: i8, step_quarters: i32) -> f32 {
    let deviation = (f32::from(scale) + step_quarters as f32) / 4.0;
    (2.5 * HALF_SLOPE * 2.04 * (-deviation).exp2()).min(0.25)
}

/// A level over its expected size, in 1/16; sizes below a fifth of a step count as that.
fn relative_level(level: u32, size: i32) -> u32 {
    let size = size.max(-4);
    let shifted = if size >= 0 { (level << 4) >> (size / 2).min(30) } else { level << (4 + -size / 2) };
    shifted.min(1 << 16)
}

/// 0, then one bucket for each half octave from 1 on (1 itself takes one octave).
fn half_octaves(sum: u32, n_buckets: u32) -> u32 {
    if sum == 0 {
        return 0;
    }
    let octave = sum.ilog2();
    let half = if octave > 0 { sum >> (octave - 1) & 1 } else { 0 };
    (1 + octave * 2 + half).min(n_buckets - 1)
}

//! Codes what precedes the pixels of a patch: its method and, for network patches, scale and atoms; docs/format.md,
//! "Patch headers" and "Atoms".
//!
//! Positions of nonzero atoms are the paper's index differences δ, coded as the run of "zero" decisions that each
//! difference is, every decision under its own atom's prior; that is arithmetic coding of δ with the hazard rate
//! that the priors imply. Levels are the paper's weights w. Everything adapts over the patches of a chunk.

use crate::entropy::{AdaptiveBit, BitCoder, CostCounter, code_exp_golomb, code_symbol};
use crate::frame::Method;
use crate::sae::{PatchCode, Penalty, Priors};

mod linear;

use linear::LinearCoder;
pub(crate) use linear::{linear_dead_zone, linear_reluctance};

/// A network patch: its scale, which kinds of atoms it has, and their levels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct NetworkPatch {
    /// Scale in eighths of an octave below the chunk's base scale (0 or negative in practice).
    pub(crate) scale: i32,
    /// The nonlinear code is there; without it the network's bias alone speaks.
    pub(crate) has_latents: bool,
    /// Linear atoms are there.
    pub(crate) has_linear: bool,
    /// Their step against that of the chunk, in quarters of an octave, upwards for finer ones; 0 without them.
    pub(crate) linear_change: i32,
    /// Levels and steps.
    pub(crate) code: PatchCode,
}

/// What is known of a patch before its pixels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum PatchHeader {
    /// All pixels at this many steps.
    Constant(i64),
    /// Predicted pixel by pixel, or stored: `Grid`, `Aligned` or `Lossless`.
    Pixels(Method),
    /// From the network.
    Network(Box<NetworkPatch>),
}

impl PatchHeader {
    pub(crate) fn method(&self) -> Method {
        match self {
            Self::Constant(_) => Method::Constant,
            Self::Pixels(method) => *method,
            Self::Network(_) => Method::Network,
        }
    }
}

/// What the atoms of a chunk have in common.
#[derive(Clone, Debug)]
pub(crate) struct AtomRules {
    pub(crate) priors: Priors,
    pub(crate) penalty: Penalty,
    /// Step of the latents at scale 0, as in [`PatchCode`].
    pub(crate) latent_step_log2: i32,
    /// Step of the linear atoms at scale 0.
    pub(crate) linear_step_quarters: i32,
    pub(crate) max_latent_step_log2: i32,
    pub(crate) max_linear_step_quarters: i32,
}

impl AtomRules {
    /// Step of the latents of a patch of this scale: a patch twice as bright takes steps half as large, since the bound
    /// stays.
    pub(crate) fn latent_step_log2(&self, scale: i32) -> u8 {
        let wanted = self.latent_step_log2.saturating_add(scale.div_euclid(8));
        wanted.clamp(0, self.max_latent_step_log2) as u8
    }

    /// The same of its linear atoms, in quarters of an octave, `change` of them finer than the chunk's.
    pub(crate) fn linear_step_quarters(&self, scale: i32, change: i32) -> u8 {
        let wanted = self.linear_step_quarters.saturating_add(scale.div_euclid(2)).saturating_add(change);
        wanted.clamp(0, self.max_linear_step_quarters) as u8
    }
}

/// Level classes have contexts by expected magnitude in half octaves: 0 to this, less one.
const N_MAGNITUDES: usize = 48;
const N_CLASSES: usize = 20;
/// 65536·e^(−2^(d/2)) for d = −8 … 8: how often an exponentially distributed level goes on past a class d half
/// octaves above its mean.
static GO_ON: [u16; 17] =
    [61565, 59992, 57835, 54917, 51039, 46019, 39750, 32314, 24109, 15933, 8869, 3874, 1200, 229, 22, 1, 1];

/// Adaptive state of the patch headers of a chunk.
pub(crate) struct AtomCoder {
    rules: Option<AtomRules>,
    state: HeaderState,
    linear: LinearCoder,
}

/// All of it but that of linear levels: small enough to be copied.
#[derive(Clone)]
struct HeaderState {
    methods: Vec<AdaptiveBit>,
    constants: Vec<AdaptiveBit>,
    previous_constant: i64,
    scales: Vec<AdaptiveBit>,
    previous_scale: i32,
    kinds: [AdaptiveBit; 8],
    previous_kinds: usize,
    linear_changes: Vec<AdaptiveBit>,
    fire: Vec<AdaptiveBit>,
    signs: AdaptiveBit,
    levels: Vec<AdaptiveBit>,
}

impl AtomCoder {
    /// `rules` are needed where network patches may occur.
    pub(crate) fn new(rules: Option<AtomRules>) -> Self {
        let fire =
            rules.iter().flat_map(|rules| rules.priors.fire.iter().map(|&p| AdaptiveBit::with_prior(p, 60)));
        let state = HeaderState {
            methods: vec![AdaptiveBit::EVEN; 36 * 8],
            constants: vec![AdaptiveBit::EVEN; N_CLASSES],
            previous_constant: 0,
            scales: vec![AdaptiveBit::EVEN; N_CLASSES],
            previous_scale: 0,
            kinds: [AdaptiveBit::EVEN; 8],
            previous_kinds: 0,
            linear_changes: vec![AdaptiveBit::EVEN; N_CLASSES],
            fire: fire.collect(),
            signs: AdaptiveBit::EVEN,
            levels: level_table(0..N_MAGNITUDES as i32),
        };
        let n_linear = rules.as_ref().map_or(0, |rules| rules.priors.linear_scale.len());
        Self { rules, state, linear: LinearCoder::new(n_linear) }
    }

    #[cfg(feature = "statistics")]
    pub(crate) fn linear_mixer(&self) -> &linear::Mixer {
        self.linear.mixer()
    }

    /// From here on for other rules of the same model.
    pub(crate) fn set_rules(&mut self, rules: AtomRules) {
        self.rules = Some(rules);
    }

    /// What a header would cost, in 1/65536 bit; nothing is learnt from it.
    pub(crate) fn price(
        &mut self,
        header: &PatchHeader,
        left: Option<Method>,
        before: Option<Method>,
    ) -> u64 {
        let state = self.state.clone();
        self.linear.mark();
        let mut counter = CostCounter::default();
        self.code(&mut counter, Some(header), left, before);
        self.linear.undo();
        self.state = state;
        counter.cost()
    }

    /// Codes the header of a patch. `left` and `before` are the methods of the patch to the left and of the same
    /// patch in the frame before, where they exist.
    ///
    /// Returns `None` where a decoder meets what no encoder writes.
    pub(crate) fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        header: Option<&PatchHeader>,
        left: Option<Method>,
        before: Option<Method>,
    ) -> Option<PatchHeader> {
        let context = |method: Option<Method>| method.map_or(5, |method| method as usize);
        let nodes = &mut self.state.methods[(context(left) * 6 + context(before)) * 8..][..8];
        let number = code_symbol(coder, nodes, header.map_or(0, |header| header.method() as u32), 3);
        Some(match Method::from_number(number)? {
            Method::Constant => {
                let wanted = if let Some(PatchHeader::Constant(steps)) = header { *steps } else { 0 };
                let difference = code_signed(
                    coder,
                    &mut self.state.constants,
                    wanted.wrapping_sub(self.state.previous_constant),
                );
                self.state.previous_constant = self.state.previous_constant.wrapping_add(difference);
                PatchHeader::Constant(self.state.previous_constant)
            }
            Method::Network => {
                let patch =
                    if let Some(PatchHeader::Network(patch)) = header { Some(patch.as_ref()) } else { None };
                PatchHeader::Network(Box::new(self.code_network(coder, patch)?))
            }
            method => PatchHeader::Pixels(method),
        })
    }

    fn code_network<C: BitCoder>(
        &mut self,
        coder: &mut C,
        patch: Option<&NetworkPatch>,
    ) -> Option<NetworkPatch> {
        let rules = self.rules.take()?;
        let wanted = patch.map_or(0, |patch| i64::from(patch.scale) - i64::from(self.state.previous_scale));
        let scale = code_signed(coder, &mut self.state.scales, wanted)
            .checked_add(i64::from(self.state.previous_scale));
        // Scales beyond 2^±128 of the base have no use in f32 data and little in f64.
        let scale = scale.filter(|scale| scale.abs() <= 1024);
        let coded = scale.map(|scale| self.code_atoms(coder, &rules, patch, scale as i32));
        self.rules = Some(rules);
        coded
    }

    fn code_atoms<C: BitCoder>(
        &mut self,
        coder: &mut C,
        rules: &AtomRules,
        patch: Option<&NetworkPatch>,
        scale: i32,
    ) -> NetworkPatch {
        self.state.previous_scale = scale;
        let kinds = &mut self.state.kinds[2 * self.state.previous_kinds..];
        let has_latents = kinds[0].code(coder, patch.is_some_and(|patch| patch.has_latents));
        let has_linear = kinds[1].code(coder, patch.is_some_and(|patch| patch.has_linear));
        self.state.previous_kinds = usize::from(has_latents) | usize::from(has_linear) << 1;
        let latent_step_log2 = rules.latent_step_log2(scale);
        let mut code = PatchCode { latent_step_log2, ..PatchCode::default() };
        let mut linear_change = 0;
        if has_latents {
            let levels = patch.map_or(&[][..], |patch| &patch.code.latents);
            code.latents = self.code_latents(coder, rules, levels, i32::from(latent_step_log2));
        }
        if has_linear {
            let wanted = patch.map_or(0, |patch| i64::from(patch.linear_change));
            linear_change = clamped(code_signed(coder, &mut self.state.linear_changes, wanted));
            code.linear_step_quarters = rules.linear_step_quarters(scale, linear_change);
            let levels = patch.map_or(&[][..], |patch| &patch.code.linear);
            let sizes =
                if has_latents { &rules.priors.linear_scale } else { &rules.priors.linear_only_scale };
            code.linear = self.linear.code(coder, sizes, levels, code.linear_step_quarters.into());
        }
        NetworkPatch { scale, has_latents, has_linear, linear_change, code }
    }

    fn code_latents<C: BitCoder>(
        &mut self,
        coder: &mut C,
        rules: &AtomRules,
        levels: &[(u32, i32)],
        step_log2: i32,
    ) -> Vec<(u32, i32)> {
        let mut wanted = levels.iter().copied().peekable();
        let mut coded = Vec::with_capacity(levels.len());
        for (atom, &scale) in rules.priors.weight_scale.iter().enumerate() {
            let level = wanted.next_if(|&(index, _)| index as usize == atom).map_or(0, |(_, level)| level);
            if !self.state.fire[atom].code(coder, level != 0) {
                continue;
            }
            let negative = rules.penalty == Penalty::Grad && self.state.signs.code(coder, level < 0);
            let magnitude =
                ((i32::from(scale) + 4 * step_log2) / 2).clamp(0, N_MAGNITUDES as i32 - 1) as usize;
            let decisions = &mut self.state.levels[magnitude * N_CLASSES..][..N_CLASSES];
            coded.push((atom as u32, code_level(coder, decisions, level, negative)));
        }
        coded
    }
}

fn level_table(magnitudes: impl IntoIterator<Item = i32>) -> Vec<AdaptiveBit> {
    let mut table = Vec::new();
    for magnitude in magnitudes {
        for class in 0..N_CLASSES as i32 {
            let index = (2 * class + 2 - magnitude).clamp(-8, 8) + 8;
            table.push(AdaptiveBit::with_prior(GO_ON[index as usize], 6));
        }
    }
    table
}

/// Codes |level| ≥ 1 and applies the sign, within ±(2²⁴ − 1).
fn code_level<C: BitCoder>(coder: &mut C, decisions: &mut [AdaptiveBit], level: i32, negative: bool) -> i32 {
    let magnitude = code_exp_golomb(coder, decisions, u64::from(level.unsigned_abs().saturating_sub(1)));
    let magnitude = (magnitude.min((1 << 24) - 2) + 1) as i32;
    if negative { -magnitude } else { magnitude }
}

/// The nearest i32.
fn clamped(number: i64) -> i32 {
    number.clamp(i32::MIN.into(), i32::MAX.into()) as i32
}

/// Codes a signed number below 2⁶² in magnitude.
fn code_signed<C: BitCoder>(coder: &mut C, decisions: &mut [AdaptiveBit], value: i64) -> i64 {
    let zigzag = code_exp_golomb(coder, decisions, (value << 1 ^ value >> 63) as u64);
    (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64)
}

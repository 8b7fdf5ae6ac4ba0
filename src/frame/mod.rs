//! Codes the pixels of a frame, in raster order across patches and methods: docs/format.md, "Pixels".

mod balance;
mod block;
mod exact;
mod experts;
mod fast;
mod histogram;
mod modelled;
mod pixel;
mod special;

use crate::array::Elements;
use crate::bound::Tolerance;
use crate::domain::{Domain, number};
use crate::entropy::{AdaptiveBit, BitCoder, EXP_GOLOMB_DECISIONS};
use crate::integers::IntegerSlice;
use crate::patch::{BLOCK, PatchGrid, Region};
use crate::predict::PredictorErrors;
use crate::symmetry::Centre;

use balance::Balance;
use block::{BlockFlags, BlockKind};
pub(crate) use fast::{FastCoder, FastTarget, Position};
use modelled::{ModelErrors, Modelled};
use pixel::PixelMixer;
use special::SpecialSymbols;

/// How a patch is coded. The numbers stand in the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Method {
    /// One position for all pixels.
    Constant = 0,
    /// Prediction rounded to whole steps, then the residual: right where values sit on a grid or noise is absent.
    Grid = 1,
    /// Prediction as it is, then the residual: zero wherever the prediction is within the bound.
    Aligned = 2,
    /// The network's output, then the residual.
    Network = 3,
    /// Every bit pattern as it is.
    Lossless = 4,
}

impl Method {
    /// Inverse of the number in the stream.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        [Self::Constant, Self::Grid, Self::Aligned, Self::Network, Self::Lossless]
            .get(number as usize)
            .copied()
    }
}

/// Number of a special pattern that is not in the chunk's table: its bits follow.
pub(crate) const ESCAPE: u8 = 15;

/// What holds for all frames of a chunk.
#[derive(Clone, Debug)]
pub(crate) struct FrameRules {
    pub(crate) domain: Domain,
    pub(crate) grid: PatchGrid,
    /// Predictions and given positions are cut to this range.
    pub(crate) lowest: i64,
    pub(crate) highest: i64,
    pub(crate) centre: Option<Centre>,
    /// Patterns that are coded by number; `None` if no pixel of the chunk is special.
    pub(crate) specials: Option<Vec<u64>>,
    /// Network patches have no residual (`Bound::None`).
    pub(crate) latents_only: bool,
    /// Pixels of grid and aligned patches are modelled: right where noise is.
    pub(crate) modelled: bool,
}

/// What is known of a frame before its pixels.
pub(crate) struct FramePlan<'a> {
    /// Method of each patch.
    pub(crate) methods: &'a [Method],
    /// Position of each pixel of constant and network patches; read nowhere else.
    pub(crate) given: &'a [i64],
}

/// The encoder's side of a frame.
pub(crate) struct FrameTarget<'a> {
    /// The pixels as they came.
    pub(crate) elements: Elements<'a>,
    /// Position of each pixel that is not special.
    pub(crate) positions: IntegerSlice<'a>,
    /// 0, or 1 + the number of the pixel's special pattern (1 + [`ESCAPE`] where it has none).
    /// Empty where no pixel of the chunk is special.
    pub(crate) specials: &'a [u8],
    /// Width of the range of positions that reconstruct each pixel within its bound; the pixel's own is its middle.
    pub(crate) widths: Widths<'a>,
    pub(crate) tolerance: Tolerance,
    /// Whether errors have to cancel out within each block.
    pub(crate) unbiased: bool,
}

impl FrameTarget<'_> {
    /// The mark of a pixel.
    #[inline]
    fn special(&self, pixel: usize) -> u8 {
        mark_at(self.specials, pixel)
    }
}

/// The mark of a pixel among those of all, or of none.
#[inline]
pub(crate) fn mark_at(marks: &[u8], pixel: usize) -> u8 {
    marks.get(pixel).copied().unwrap_or(0)
}

/// How many positions, from the first to the last, keep a pixel within its bound. Never less than a step.
#[derive(Clone, Copy)]
pub(crate) enum Widths<'a> {
    /// The same for all.
    Uniform(i64),
    /// One for each pixel.
    Each(IntegerSlice<'a>),
}

impl Widths<'_> {
    #[inline]
    pub(crate) fn of(self, pixel: usize) -> i64 {
        match self {
            Self::Uniform(width) => width,
            Self::Each(widths) => widths.at(pixel),
        }
    }
}

/// What is done to a frame: coded to the target, or decoded where there is none.
struct FrameJob<'a> {
    plan: &'a FramePlan<'a>,
    target: Option<&'a FrameTarget<'a>>,
}

/// A pixel of the frame: its index in raster order, its row, its column.
#[derive(Clone, Copy)]
struct Pixel {
    index: usize,
    row: usize,
    col: usize,
    /// The block that it lies in.
    block: usize,
}

/// Adaptive state over the frames of a chunk, and the planes of the current frame.
pub(crate) struct FrameCoder {
    rules: FrameRules,
    mixers: [Option<PixelMixer>; 3],
    block_flags: BlockFlags,
    specials: SpecialSymbols,
    lossless: Vec<AdaptiveBit>,
    /// Bit patterns of special and lossless pixels, by pixel; others are unset.
    exact_bits: Vec<u64>,
    /// 0: reconstructed by position; else the pattern in `exact_bits` counts.
    exact: Vec<u8>,
    previous_exact: Vec<u8>,
    positions: Vec<i64>,
    /// Reconstructed minus predicted, by pixel.
    errors: Vec<i64>,
    /// Residual cut to ±3, by pixel.
    residuals: Vec<i8>,
    mirrored: Vec<i64>,
    /// Up to [`MAX_LANES`] rows of one lane a pixel, with two more to the left of each and one to the right.
    predictor_errors: Vec<PredictorErrors>,
    /// Where in it the current row begins, the one above, and the one above that.
    lanes: [usize; 3],
    /// Ring about the centre that each pixel lies in.
    radii: Vec<u8>,
    /// In units of the frame's blocks by patch.
    kinds: Vec<BlockKind>,
    blocks_across: usize,
    /// Errors of each block, as an encoder counts them where they have to cancel out.
    balances: Vec<Balance>,
    /// Pixels whose value no residual reaches within the bound: they have to be special.
    pub(crate) unreachable: Vec<usize>,
    /// Positions about the ends of the range can round to infinity.
    may_overflow: bool,
    modelled: Option<Box<Modelled>>,
    /// Of modelled pixels; 0 for others. Empty where none are modelled.
    model_errors: Vec<ModelErrors>,
    /// Positions of the frame before, for modelled pixels, and whether there was one.
    before: Vec<i64>,
    has_before: bool,
    journal: Option<Box<SmallState>>,
}

/// Adaptive state outside the mixers, small enough to be copied.
struct SmallState {
    block_flags: BlockFlags,
    specials: SpecialSymbols,
    lossless: Vec<AdaptiveBit>,
    modelled: Option<Box<Modelled>>,
}

/// Rows whose predictor errors are kept: the current one and two above.
pub(crate) const MAX_LANES: usize = 3;

/// What predictors have got wrong where they have not been asked.
static NO_ERRORS: PredictorErrors = [0; 12];

impl FrameCoder {
    pub(crate) fn new(rules: FrameRules) -> Self {
        let n_pixels = rules.grid.rows * rules.grid.cols;
        let step = rules.domain.step_positions();
        let may_overflow = [rules.lowest - step, rules.highest + step]
            .map(|end| number(rules.domain.element, rules.domain.value_bits(end)))
            .iter()
            .any(|value| !value.is_finite());
        let n_modelled = if rules.modelled { n_pixels } else { 0 };
        let blocks_across = rules.grid.across() * rules.grid.patch.cols.div_ceil(BLOCK);
        let blocks_down =
            rules.grid.rows.div_ceil(rules.grid.patch.rows) * rules.grid.patch.rows.div_ceil(BLOCK);
        Self {
            mixers: [None, None, None],
            block_flags: BlockFlags::new(),
            specials: SpecialSymbols::new(),
            lossless: vec![AdaptiveBit::EVEN; EXP_GOLOMB_DECISIONS * 8 + 8],
            exact_bits: vec![0; n_pixels],
            exact: vec![0; n_pixels],
            previous_exact: vec![0; n_pixels],
            positions: vec![0; n_pixels],
            errors: vec![0; n_pixels],
            residuals: vec![0; n_pixels],
            mirrored: vec![0; n_pixels],
            predictor_errors: vec![NO_ERRORS; MAX_LANES.min(rules.grid.rows) * (rules.grid.cols + 3)],
            lanes: [0; MAX_LANES],
            radii: radii(&rules),
            kinds: vec![BlockKind::Coded; blocks_across * blocks_down],
            blocks_across,
            balances: Vec::new(),
            unreachable: Vec::new(),
            may_overflow,
            modelled: rules.modelled.then(|| Box::new(Modelled::new())),
            model_errors: vec![ModelErrors::default(); n_modelled],
            before: vec![0; n_modelled],
            has_before: false,
            journal: None,
            rules,
        }
    }

    /// From here on the adaptive state can be taken back with [`Self::undo`].
    pub(crate) fn mark(&mut self) {
        for mixer in self.mixers.iter_mut().flatten() {
            mixer.mark();
        }
        self.journal = Some(Box::new(SmallState {
            block_flags: self.block_flags.clone(),
            specials: self.specials.clone(),
            lossless: self.lossless.clone(),
            modelled: self.modelled.clone(),
        }));
    }

    /// Takes back the adaptive state of the last mark. Planes are rebuilt by the next frame anyway, but for
    /// those of the frame before, which only [`Self::end_frame`] changes.
    pub(crate) fn undo(&mut self) {
        for mixer in self.mixers.iter_mut().flatten() {
            mixer.undo();
        }
        if let Some(state) = self.journal.take() {
            let state = *state;
            self.block_flags = state.block_flags;
            self.specials = state.specials;
            self.lossless = state.lossless;
            self.modelled = state.modelled;
        }
    }

    /// Mixers of grid, aligned and network residuals, of those that were used.
    #[cfg(feature = "statistics")]
    pub(crate) fn residual_mixers(&self) -> &[Option<PixelMixer>; 3] {
        &self.mixers
    }

    #[cfg(feature = "statistics")]
    pub(crate) fn block_flags(&self) -> impl Iterator<Item = AdaptiveBit> {
        self.block_flags.all()
    }

    /// Remembers what the next frame refers to.
    pub(crate) fn end_frame(&mut self) {
        if self.rules.specials.is_some() {
            self.previous_exact.copy_from_slice(&self.exact);
        }
        if self.rules.modelled {
            self.before.copy_from_slice(&self.positions);
            self.has_before = true;
        }
    }

    /// Bit patterns of the current frame's pixels.
    pub(crate) fn reconstruction(&self, out: &mut Vec<u64>) {
        let first = out.len();
        self.rules.domain.append_values(&self.positions, out);
        for ((value, &is_exact), &exact) in out[first..].iter_mut().zip(&self.exact).zip(&self.exact_bits) {
            if is_exact != 0 {
                *value = exact;
            }
        }
    }

    /// Codes all pixels of a frame. `target` is the encoder's; a decoder has none. Where `costs` is given (one entry
    /// a patch), the coder's costs are added to the patch that caused them. Stops where the coder has overrun its
    /// bytes, so that a short body cannot keep a decoder busy for the whole of a large frame.
    pub(crate) fn code_frame<C: BitCoder>(
        &mut self,
        coder: &mut C,
        plan: &FramePlan,
        target: Option<&FrameTarget>,
        mut costs: Option<&mut [u64]>,
    ) {
        let grid = self.rules.grid;
        let job = FrameJob { plan, target };
        self.exact.fill(0);
        self.kinds.fill(BlockKind::Coded);
        self.model_errors.fill(ModelErrors::default());
        let across = grid.across();
        for first_patch in (0..grid.n_patches()).step_by(across) {
            let patch_row = grid.region(first_patch).row;
            let patch_rows = grid.region(first_patch).rows;
            for band in (0..patch_rows).step_by(BLOCK) {
                if coder.overrun() {
                    return;
                }
                let band_rows = BLOCK.min(patch_rows - band);
                for patch in first_patch..first_patch + across {
                    let before = coder.cost();
                    self.code_block_flags(coder, &job, patch, band);
                    add_cost(&mut costs, patch, coder.cost() - before);
                }
                for row in patch_row + band..patch_row + band + band_rows {
                    self.begin_row(row);
                    for patch in first_patch..first_patch + across {
                        let before = coder.cost();
                        self.code_segment(coder, &job, patch, row);
                        add_cost(&mut costs, patch, coder.cost() - before);
                    }
                }
            }
        }
    }

    /// Block of a pixel: (row, column) among the blocks of the frame, counted patch by patch.
    fn block_index(&self, region: &Region, patch: usize, band: usize, block: usize) -> usize {
        let patch_blocks = self.rules.grid.patch.cols.div_ceil(BLOCK);
        let down = region.row / self.rules.grid.patch.rows * self.rules.grid.patch.rows.div_ceil(BLOCK)
            + band / BLOCK;
        down * self.blocks_across + patch % self.rules.grid.across() * patch_blocks + block
    }

    /// Whether a position reconstructs a pixel within the bound.
    #[inline]
    fn reaches(&self, target: &FrameTarget, i: usize, position: i64) -> bool {
        let distance = 2 * (position - target.positions.at(i)).abs();
        let width = target.widths.of(i);
        if distance + 2 < width && !self.may_overflow {
            return true;
        }
        if distance > width + 2 {
            return false;
        }
        let restored = self.rules.domain.value_bits(position);
        target.tolerance.allows(self.rules.domain.element, target.elements.at(i), restored)
    }

    /// Predictor errors of a row start at zero.
    fn begin_row(&mut self, row: usize) {
        let width = self.rules.grid.cols + 3;
        let n_lanes = MAX_LANES.min(self.rules.grid.rows);
        self.lanes = std::array::from_fn(|up| (row + n_lanes * MAX_LANES - up) % n_lanes * width);
        self.predictor_errors[self.lanes[0]..][..width].fill(NO_ERRORS);
    }

    /// Codes the pixels of one row that belong to one patch.
    fn code_segment<C: BitCoder>(&mut self, coder: &mut C, job: &FrameJob, patch: usize, row: usize) {
        let region = self.rules.grid.region(patch);
        let method = job.plan.methods[patch];
        let band = (row - region.row) / BLOCK * BLOCK;
        for block in 0..region.cols.div_ceil(BLOCK) {
            let first = region.col + block * BLOCK;
            let n_cols = BLOCK.min(region.cols - block * BLOCK);
            let pixels = row * self.rules.grid.cols + first..row * self.rules.grid.cols + first + n_cols;
            let block = self.block_index(&region, patch, band, block);
            let kind = self.kinds[block];
            match method {
                Method::Constant => self.fill(pixels, job),
                Method::Grid | Method::Aligned | Method::Network if kind == BlockKind::Mirrored => {
                    self.fill_mirrored(pixels, row, first);
                }
                Method::Network if kind == BlockKind::Empty || self.flags_are_known(method) => self
                    .fill_or_special(
                        coder,
                        job,
                        n_cols,
                        Pixel { index: pixels.start, row, col: first, block },
                    ),
                Method::Grid | Method::Aligned if kind == BlockKind::Empty => self.fill_zero(pixels),
                Method::Lossless => {
                    for i in pixels {
                        self.code_lossless(coder, job, i);
                    }
                }
                _ => {
                    for (index, col) in pixels.zip(first..) {
                        self.code_pixel(coder, job, method, Pixel { index, row, col, block });
                    }
                }
            }
        }
    }

    fn fill(&mut self, pixels: std::ops::Range<usize>, job: &FrameJob) {
        for i in pixels {
            self.settle(i, job.plan.given[i]);
        }
    }

    /// Pixels of a block that is its mirror image.
    fn fill_mirrored(&mut self, pixels: std::ops::Range<usize>, row: usize, first_col: usize) {
        for (index, col) in pixels.zip(first_col..) {
            let position = self.image(row, col);
            self.settle(index, position);
        }
    }

    fn fill_zero(&mut self, pixels: std::ops::Range<usize>) {
        self.positions[pixels.clone()].fill(0);
        self.errors[pixels.clone()].fill(0);
        self.mirrored[pixels.clone()].fill(0);
        self.residuals[pixels].fill(0);
    }

    /// Pixels of an empty block are what the network says; without residuals they may still be special.
    fn fill_or_special<C: BitCoder>(&mut self, coder: &mut C, job: &FrameJob, n_pixels: usize, first: Pixel) {
        let may_be_special = self.rules.latents_only && self.rules.specials.is_some();
        for i in 0..n_pixels {
            let at = Pixel { index: first.index + i, col: first.col + i, ..first };
            if may_be_special {
                self.code_special(coder, job, at);
            }
            self.settle(at.index, job.plan.given[at.index]);
        }
    }

    /// A pixel that needs no residual.
    #[inline]
    fn settle(&mut self, index: usize, position: i64) {
        self.positions[index] = position;
        self.errors[index] = 0;
        self.mirrored[index] = position;
        self.residuals[index] = 0;
    }
}

/// Distance from the centre in units of three pixels, 0 to 63, of all pixels of a frame.
fn radii(rules: &FrameRules) -> Vec<u8> {
    /// Beyond this the ring is the last.
    const FAR: u64 = 192;
    let PatchGrid { rows, cols, .. } = rules.grid;
    let centre = rules.centre.unwrap_or_else(|| Centre::of_frame(rows, cols));
    let distances = |length: usize, twice_centre: i64| -> Vec<f32> {
        let distance = |i: usize| ((8 * i as i64 - twice_centre).unsigned_abs() / 8).min(FAR) as f32;
        (0..length).map(distance).collect()
    };
    let across = distances(cols, centre.twice_col);
    let rings = distances(rows, centre.twice_row).into_iter().flat_map(|down| {
        // Sums of squares are integers below 2^17, of which f32 knows the integer part of the root.
        across.iter().map(move |across| ((down * down + across * across).sqrt() as u8 / 3).min(63))
    });
    rings.collect()
}

fn add_cost(costs: &mut Option<&mut [u64]>, patch: usize, cost: u64) {
    if let Some(costs) = costs {
        costs[patch] += cost;
    }
}

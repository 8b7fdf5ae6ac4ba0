//! Codes the pixels of a frame, in raster order across patches and methods: docs/format.md, "Pixels".

use crate::domain::{Domain, MAX_POSITION, number};
use crate::entropy::{
    AdaptiveBit, BitCoder, ContextMixer, EXP_GOLOMB_DECISIONS, code_bits, code_exp_golomb, code_symbol,
};
use crate::patch::{BLOCK, PatchGrid, Region};
use crate::predict::{Blend, MAX_ERROR, Mirrored, Neighbours, Predictions, PredictorErrors, recent_errors};
use crate::symmetry::Centre;

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
    /// Reconstructed positions are cut to this range.
    pub(crate) lowest: i64,
    pub(crate) highest: i64,
    pub(crate) centre: Option<Centre>,
    /// Patterns that are coded by number; `None` if no pixel of the chunk is special.
    pub(crate) specials: Option<Vec<u64>>,
    /// Network patches have no residual (`Bound::None`).
    pub(crate) latents_only: bool,
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
    /// Bit patterns of the pixels.
    pub(crate) bits: &'a [u64],
    /// Position of each pixel that is not special.
    pub(crate) positions: &'a [i64],
    /// 0, or 1 + the number of the pixel's special pattern (1 + [`ESCAPE`] where it has none).
    pub(crate) specials: &'a [u8],
    /// Largest error allowed.
    pub(crate) epsilon: f64,
}

/// Adaptive state over the frames of a chunk, and the planes of the current frame.
pub(crate) struct FrameCoder {
    rules: FrameRules,
    mixers: [Option<PixelMixer>; 3],
    block_flags: Vec<AdaptiveBit>,
    special_flags: Vec<AdaptiveBit>,
    special_numbers: Vec<AdaptiveBit>,
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
    predictor_errors: Vec<PredictorErrors>,
    /// 1 for empty blocks; in units of the frame's blocks by patch.
    empty: Vec<u8>,
    blocks_across: usize,
    /// Pixels whose value no residual reaches within the bound: they have to be special.
    pub(crate) unreachable: Vec<usize>,
    /// Positions about the ends of the range can round to infinity.
    may_overflow: bool,
    journal: Option<Box<SmallState>>,
}

/// Adaptive state outside the mixers, small enough to be copied.
struct SmallState {
    block_flags: Vec<AdaptiveBit>,
    special_flags: Vec<AdaptiveBit>,
    special_numbers: Vec<AdaptiveBit>,
    lossless: Vec<AdaptiveBit>,
}

type PixelMixer = ContextMixer<N_CONTEXTS, { N_CONTEXTS + 1 }>;

const N_CONTEXTS: usize = 7;
const TABLE_BITS: u32 = 16;
/// Buckets of the local activity that choose a set of weights.
const N_ACTIVITY: usize = 16;
/// What predictors have got wrong outside the frame.
static NO_ERRORS: PredictorErrors = [0; 12];
/// Binary decisions of a residual that have contexts of their own.
const N_DECISIONS: u32 = 24;

impl FrameCoder {
    pub(crate) fn new(rules: FrameRules) -> Self {
        let n_pixels = rules.grid.rows * rules.grid.cols;
        let step = rules.domain.step_positions();
        let may_overflow = [rules.lowest - step, rules.highest + step]
            .map(|end| number(rules.domain.element, rules.domain.value_bits(end)))
            .iter()
            .any(|value| !value.is_finite());
        let blocks_across = rules.grid.across() * rules.grid.patch.cols.div_ceil(BLOCK);
        let blocks_down =
            rules.grid.rows.div_ceil(rules.grid.patch.rows) * rules.grid.patch.rows.div_ceil(BLOCK);
        Self {
            mixers: [None, None, None],
            block_flags: vec![AdaptiveBit::EVEN; 3 * 16 * 3 * 2],
            special_flags: vec![AdaptiveBit::EVEN; 32],
            special_numbers: vec![AdaptiveBit::EVEN; 17 * 16],
            lossless: vec![AdaptiveBit::EVEN; EXP_GOLOMB_DECISIONS * 8 + 8],
            exact_bits: vec![0; n_pixels],
            exact: vec![0; n_pixels],
            previous_exact: vec![0; n_pixels],
            positions: vec![0; n_pixels],
            errors: vec![0; n_pixels],
            residuals: vec![0; n_pixels],
            mirrored: vec![0; n_pixels],
            predictor_errors: vec![NO_ERRORS; rules.grid.rows.min(3) * (rules.grid.cols + 3)],
            empty: vec![0; blocks_across * blocks_down],
            blocks_across,
            unreachable: Vec::new(),
            may_overflow,
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
            special_flags: self.special_flags.clone(),
            special_numbers: self.special_numbers.clone(),
            lossless: self.lossless.clone(),
        }));
    }

    /// Takes back the adaptive state of the last mark. Planes are rebuilt by the next frame anyway, but for
    /// `previous_exact`, which only [`Self::end_frame`] changes.
    pub(crate) fn undo(&mut self) {
        for mixer in self.mixers.iter_mut().flatten() {
            mixer.undo();
        }
        if let Some(state) = self.journal.take() {
            let state = *state;
            self.block_flags = state.block_flags;
            self.special_flags = state.special_flags;
            self.special_numbers = state.special_numbers;
            self.lossless = state.lossless;
        }
    }

    /// Remembers what the next frame refers to.
    pub(crate) fn end_frame(&mut self) {
        if self.rules.specials.is_some() {
            self.previous_exact.copy_from_slice(&self.exact);
        }
    }

    /// Bit patterns of the current frame's pixels.
    pub(crate) fn reconstruction(&self, out: &mut Vec<u64>) {
        out.extend((0..self.positions.len()).map(|i| {
            if self.exact[i] != 0 {
                self.exact_bits[i]
            } else {
                self.rules.domain.value_bits(self.positions[i])
            }
        }));
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
        self.exact.fill(0);
        self.empty.fill(0);
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
                    self.code_block_flags(coder, plan, target, patch, band);
                    add_cost(&mut costs, patch, coder.cost() - before);
                }
                for row in patch_row + band..patch_row + band + band_rows {
                    self.clear_predictor_row(row);
                    for patch in first_patch..first_patch + across {
                        let before = coder.cost();
                        self.code_segment(coder, plan, target, patch, row);
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

    /// One decision for each block of a patch in this band: whether all of it is what was given (network patches)
    /// or at position 0 (predicted patches).
    fn code_block_flags<C: BitCoder>(
        &mut self,
        coder: &mut C,
        plan: &FramePlan,
        target: Option<&FrameTarget>,
        patch: usize,
        band: usize,
    ) {
        let method = plan.methods[patch];
        if matches!(method, Method::Constant | Method::Lossless) || self.flags_are_known(method) {
            return;
        }
        let region = self.rules.grid.region(patch);
        let rows = BLOCK.min(region.rows - band);
        for block in 0..region.cols.div_ceil(BLOCK) {
            let area = Region {
                row: region.row + band,
                col: region.col + block * BLOCK,
                rows,
                cols: BLOCK.min(region.cols - block * BLOCK),
            };
            let index = self.block_index(&region, patch, band, block);
            let context = self.block_context(method, index, &area);
            let empty = target.is_some_and(|target| self.is_empty(method, plan, target, &area));
            self.empty[index] = u8::from(self.block_flags[context].code(coder, empty));
        }
    }

    /// Network patches of `Bound::None` have only empty blocks and no flags.
    fn flags_are_known(&self, method: Method) -> bool {
        self.rules.latents_only && method == Method::Network
    }

    fn block_context(&self, method: Method, index: usize, area: &Region) -> usize {
        let (across, empty) = (self.blocks_across, &self.empty);
        let col = index % across;
        let left = col > 0 && empty[index - 1] != 0;
        let above = index >= across && empty[index - across] != 0;
        let above_left = index > across && col > 0 && empty[index - across - 1] != 0;
        let above_right = index >= across && col + 1 < across && empty[index + 1 - across] != 0;
        let neighbours = usize::from(left)
            | usize::from(above) << 1
            | usize::from(above_left) << 2
            | usize::from(above_right) << 3;
        let mirror = self.mirrored_block(method, area);
        let kind = method as usize - Method::Grid as usize;
        (kind * 16 + neighbours) * 3 + mirror
    }

    /// What the mirror image of a block looks like: 0 if unknown, 1 with pixels that are not empty, 2 empty.
    fn mirrored_block(&self, method: Method, area: &Region) -> usize {
        let Some(centre) = &self.rules.centre else { return 0 };
        let grid = &self.rules.grid;
        let mut known = 0;
        for (row, col) in [
            (0, 0),
            (0, area.cols - 1),
            (area.rows - 1, 0),
            (area.rows - 1, area.cols - 1),
            (area.rows / 2, area.cols / 2),
        ] {
            let Some(point) = centre.mirror(area.row + row, area.col + col, grid.rows, grid.cols) else {
                continue;
            };
            // The band itself is not decoded yet.
            if point.index / grid.cols >= area.row {
                continue;
            }
            let busy = match method {
                Method::Network => self.residuals[point.index] != 0,
                _ => self.positions[point.index] != 0,
            };
            if busy {
                return 1;
            }
            known = 2;
        }
        known
    }

    fn is_empty(&self, method: Method, plan: &FramePlan, target: &FrameTarget, area: &Region) -> bool {
        let cols = self.rules.grid.cols;
        (area.row..area.row + area.rows).all(|row| {
            (row * cols + area.col..row * cols + area.col + area.cols).all(|i| {
                let position = if method == Method::Network { plan.given[i] } else { 0 };
                if target.specials[i] == 0 {
                    self.reaches(target, i, position)
                } else {
                    // A fill value of 0 need not break up the blocks of zeros around it.
                    target.bits[i] == self.rules.domain.value_bits(position)
                }
            })
        })
    }

    /// Whether a position reconstructs a pixel within the bound.
    #[inline]
    fn reaches(&self, target: &FrameTarget, i: usize, position: i64) -> bool {
        let distance = 2 * (position - target.positions[i]).abs();
        let step = self.rules.domain.step_positions();
        if distance + 2 < step && !self.may_overflow {
            return true;
        }
        if distance > step + 2 {
            return false;
        }
        let bits = self.rules.domain.value_bits(position);
        crate::bound::within(self.rules.domain.element, bits, target.bits[i], target.epsilon)
    }

    /// Predictor errors of a row start at zero; three rows are kept.
    fn clear_predictor_row(&mut self, row: usize) {
        let width = self.rules.grid.cols + 3;
        self.predictor_errors[row % 3 * width..][..width].fill(NO_ERRORS);
    }

    /// Codes the pixels of one row that belong to one patch.
    fn code_segment<C: BitCoder>(
        &mut self,
        coder: &mut C,
        plan: &FramePlan,
        target: Option<&FrameTarget>,
        patch: usize,
        row: usize,
    ) {
        let region = self.rules.grid.region(patch);
        let method = plan.methods[patch];
        let band = (row - region.row) / BLOCK * BLOCK;
        for block in 0..region.cols.div_ceil(BLOCK) {
            let first = region.col + block * BLOCK;
            let n_cols = BLOCK.min(region.cols - block * BLOCK);
            let pixels = row * self.rules.grid.cols + first..row * self.rules.grid.cols + first + n_cols;
            let empty = self.empty[self.block_index(&region, patch, band, block)] != 0;
            match method {
                Method::Constant => self.fill(pixels, plan),
                Method::Network if empty || self.flags_are_known(method) => {
                    self.fill_or_special(coder, plan, target, pixels, row, first)
                }
                Method::Grid | Method::Aligned if empty => self.fill_zero(pixels),
                Method::Lossless => {
                    for i in pixels {
                        self.code_lossless(coder, target, i);
                    }
                }
                _ => {
                    for (i, col) in pixels.zip(first..) {
                        self.code_pixel(coder, plan, target, method, i, row, col);
                    }
                }
            }
        }
    }

    fn fill(&mut self, pixels: std::ops::Range<usize>, plan: &FramePlan) {
        for i in pixels {
            self.settle(i, plan.given[i], 0, 0);
        }
    }

    fn fill_zero(&mut self, pixels: std::ops::Range<usize>) {
        self.positions[pixels.clone()].fill(0);
        self.errors[pixels.clone()].fill(0);
        self.mirrored[pixels.clone()].fill(0);
        self.residuals[pixels].fill(0);
    }

    /// Pixels of an empty block are what the network says; without residuals they may still be special.
    fn fill_or_special<C: BitCoder>(
        &mut self,
        coder: &mut C,
        plan: &FramePlan,
        target: Option<&FrameTarget>,
        pixels: std::ops::Range<usize>,
        row: usize,
        first_col: usize,
    ) {
        for (i, col) in pixels.zip(first_col..) {
            let may_be_special = self.rules.latents_only && self.rules.specials.is_some();
            if !(may_be_special && self.code_special(coder, target, i, row, col)) {
                self.settle(i, plan.given[i], 0, 0);
            } else {
                self.settle(i, plan.given[i], 0, 1);
            }
        }
    }

    #[inline]
    fn settle(&mut self, i: usize, position: i64, residual: i64, exact: u8) {
        self.positions[i] = position;
        self.errors[i] = 0;
        self.mirrored[i] = position;
        self.residuals[i] = residual.clamp(-3, 3) as i8;
        self.exact[i] = exact.max(self.exact[i]);
    }

    /// Codes whether a pixel is special and if so, its pattern.
    fn code_special<C: BitCoder>(
        &mut self,
        coder: &mut C,
        target: Option<&FrameTarget>,
        i: usize,
        row: usize,
        col: usize,
    ) -> bool {
        let cols = self.rules.grid.cols;
        let at = |flag: bool, index: usize| flag && self.exact[index] != 0;
        let left = at(col > 0, i.wrapping_sub(1));
        let context = usize::from(left)
            | usize::from(at(row > 0, i.wrapping_sub(cols))) << 1
            | usize::from(at(row > 0 && col + 1 < cols, i.wrapping_sub(cols.wrapping_sub(1)))) << 2
            | usize::from(self.previous_exact[i] != 0) << 3
            | usize::from(at(row > 0 && col > 0, i.wrapping_sub(cols + 1))) << 4;
        let wanted = target.map_or(0, |target| target.specials[i]);
        if !self.special_flags[context].code(coder, wanted != 0) {
            return false;
        }
        let neighbour = if left { self.exact[i - 1] } else { self.previous_exact[i] };
        let nodes = &mut self.special_numbers[usize::from(neighbour.min(16)) * 16..][..16];
        let number = code_symbol(coder, nodes, u32::from(wanted.saturating_sub(1)), 4) as u8;
        let known = self.rules.specials.as_ref().and_then(|patterns| patterns.get(usize::from(number)));
        self.exact_bits[i] = match known {
            Some(&pattern) => pattern,
            None => {
                code_bits(coder, target.map_or(0, |target| target.bits[i]), self.rules.domain.element.bits())
            }
        };
        self.exact[i] = number + 1;
        true
    }

    /// Codes a bit pattern by its difference from the one to the left, as wrapping integers.
    fn code_lossless<C: BitCoder>(&mut self, coder: &mut C, target: Option<&FrameTarget>, i: usize) {
        let element = self.rules.domain.element;
        let unused = 64 - element.bits();
        let previous = if i > 0 {
            if self.exact[i - 1] != 0 {
                self.exact_bits[i - 1]
            } else {
                self.rules.domain.value_bits(self.positions[i - 1])
            }
        } else {
            0
        };
        let difference =
            target.map_or(0, |target| (target.bits[i].wrapping_sub(previous) << unused) as i64 >> unused);
        let zigzag = (difference << 1 ^ difference >> 63) as u64;
        // The plane still holds what was coded last; nothing of this frame precedes its first pixel.
        let before = if i > 0 { self.errors[i - 1].unsigned_abs() } else { 0 };
        let activity = (64 - before.leading_zeros() as usize) / 9;
        let decisions = &mut self.lossless[activity * EXP_GOLOMB_DECISIONS..][..EXP_GOLOMB_DECISIONS];
        // A zigzag value of 2⁶⁴ − 1 has no successor: one decision more keeps the code below 2⁶³.
        let zigzag = code_halves(coder, decisions, zigzag);
        let difference = (zigzag >> 1) as i64 ^ -((zigzag & 1) as i64);
        let bits = previous.wrapping_add(difference as u64) & (u64::MAX >> unused);
        let position =
            self.rules.domain.position(bits).unwrap_or(0).clamp(self.rules.lowest, self.rules.highest);
        self.settle(i, position, 0, 0);
        self.errors[i] = difference;
        self.exact_bits[i] = bits;
        self.exact[i] = ESCAPE + 1;
    }

    fn neighbours(&self, i: usize, row: usize, col: usize) -> Neighbours {
        let cols = self.rules.grid.cols;
        let p = &self.positions;
        let (mut w, mut n, mut nw, mut ne, mut ww, mut nn) = (0, 0, 0, 0, 0, 0);
        if col > 0 {
            w = p[i - 1];
            ww = if col > 1 { p[i - 2] } else { w };
        }
        if row > 0 {
            n = p[i - cols];
            nw = if col > 0 { p[i - cols - 1] } else { n };
            ne = if col + 1 < cols { p[i - cols + 1] } else { n };
            nn = if row > 1 { p[i - 2 * cols] } else { n };
        }
        if col == 0 {
            (w, ww) = (n, n);
        }
        if row == 0 {
            (n, nw, ne, nn) = (w, w, w, w);
        }
        Neighbours { w, n, nw, ne, ww, nn }
    }

    #[inline]
    fn code_pixel<C: BitCoder>(
        &mut self,
        coder: &mut C,
        plan: &FramePlan,
        target: Option<&FrameTarget>,
        method: Method,
        i: usize,
        row: usize,
        col: usize,
    ) {
        let (rows, cols) = (self.rules.grid.rows, self.rules.grid.cols);
        let special = self.rules.specials.is_some() && self.code_special(coder, target, i, row, col);
        let at = self.neighbours(i, row, col);
        let point = self.rules.centre.as_ref().and_then(|centre| centre.mirror(row, col, rows, cols));
        let mirrored = point.map(|point| {
            let here = point.interpolate(&self.positions, cols);
            Mirrored {
                here,
                w: if col > 0 { self.mirrored[i - 1] } else { here },
                n: if row > 0 { self.mirrored[i - cols] } else { here },
            }
        });
        // Where there is no mirror image, the pixel stands for its own, so that differences vanish at the border.
        let width = cols + 3;
        let lane = |row: usize, col: usize| (row % 3) * width + col;
        let predictions = Predictions::new(&at, mirrored.as_ref());
        let errors = &self.predictor_errors;
        let above = |rows: usize, col: usize| {
            if row >= rows { &errors[lane(row - rows, col)] } else { &NO_ERRORS }
        };
        let recent = recent_errors([
            &errors[lane(row, col + 1)],
            above(1, col + 2),
            above(1, col + 1),
            above(1, col + 3),
            &errors[lane(row, col)],
            above(2, col + 2),
        ]);
        let step = self.rules.domain.step_positions();
        let blend = predictions.blend(&recent, step / 2 + 1);
        let mirror_index = point.map(|point| point.index);
        let (prediction, contexts) = match method {
            Method::Network => self.network_contexts(plan, &blend, &at, i, row, col, mirror_index),
            _ => self.blend_contexts(method, &blend, &at, i, row, col, mirror_index),
        };
        let (position, residual) = if special {
            (prediction, 0)
        } else {
            let wanted = target.map_or(0, |target| self.residual(target, i, prediction));
            let residual = self.code_residual(coder, method, &contexts, wanted);
            let moved = prediction.wrapping_add(residual.wrapping_mul(step));
            (moved.clamp(-MAX_POSITION, MAX_POSITION), residual)
        };
        self.positions[i] = position;
        let reference = if method == Method::Network || method == Method::Aligned {
            prediction
        } else {
            contexts.exact_prediction
        };
        self.errors[i] = (position - reference).clamp(-MAX_ERROR, MAX_ERROR);
        self.residuals[i] = residual.clamp(-3, 3) as i8;
        self.mirrored[i] = mirrored.map_or(position, |mirrored| mirrored.here);
        self.predictor_errors[lane(row, col + 2)] = predictions.errors(position);
    }

    /// The residual that brings the prediction nearest to the target, repaired by one where rounding to the element
    /// type would break the bound. Where nothing helps, the pixel is noted as unreachable.
    fn residual(&mut self, target: &FrameTarget, i: usize, prediction: i64) -> i64 {
        let step = self.rules.domain.step_positions();
        let distance = target.positions[i] - prediction;
        let residual = crate::domain::round_shift(distance, self.rules.domain.fraction_bits);
        for candidate in [residual, residual + 1, residual - 1] {
            if self.reaches(target, i, prediction + candidate * step) {
                return candidate;
            }
        }
        if target.specials[i] == 0 {
            self.unreachable.push(i);
        }
        residual
    }
}

/// Contexts of a pixel's decisions.
struct PixelContexts {
    bases: [u32; N_CONTEXTS],
    activity: usize,
    exact_prediction: i64,
}

fn add_cost(costs: &mut Option<&mut [u64]>, patch: usize, cost: u64) {
    if let Some(costs) = costs {
        costs[patch] += cost;
    }
}

/// Magnitude of an error, cut where sums of several stay in range: differences of stored patterns have 64 bits.
#[inline]
fn error_size(error: i64) -> i64 {
    error.clamp(-MAX_ERROR, MAX_ERROR).abs()
}

/// A 64-bit number as its upper and lower half, so that exp-Golomb codes stay in range.
fn code_halves<C: BitCoder>(coder: &mut C, decisions: &mut [AdaptiveBit], value: u64) -> u64 {
    let (wide, narrow) = decisions.split_at_mut(33);
    let upper = code_exp_golomb(coder, narrow, value >> 32) & 0xffff_ffff;
    let lower = code_exp_golomb(coder, wide, value & 0xffff_ffff) & 0xffff_ffff;
    upper << 32 | lower
}

/// Bucket of a magnitude in positions: half steps up to two steps, then half octaves; 0 to 19.
#[inline]
fn bucket(magnitude: i64, fraction_bits: u32) -> u32 {
    let half_steps = (magnitude as u64) << 1 >> fraction_bits;
    if half_steps < 4 {
        return half_steps as u32;
    }
    let octave = half_steps.ilog2();
    let half = (half_steps >> (octave - 1)) as u32 & 1;
    (octave * 2 + half).min(19)
}

impl FrameCoder {
    /// Sum of the neighbours' errors with weights that add up to eight, over four.
    #[inline]
    fn activity(&self, i: usize, row: usize, col: usize) -> i64 {
        let cols = self.rules.grid.cols;
        let at = |present: bool, back: usize| if present { error_size(self.errors[i - back]) } else { 0 };
        let near = at(col > 0, 1) + at(row > 0, cols);
        let far = at(row > 0 && col > 0, cols + 1)
            + at(row > 0 && col + 1 < cols, cols.wrapping_sub(1))
            + at(col > 1, 2)
            + at(row > 1, 2 * cols);
        (2 * near + far) / 4
    }

    #[inline]
    fn causal_residuals(&self, i: usize, row: usize, col: usize) -> (u32, u32, u32) {
        let cols = self.rules.grid.cols;
        let at = |present: bool, back: usize| if present { self.residuals[i - back] } else { 0 };
        let (w, n) = (at(col > 0, 1), at(row > 0, cols));
        let nonzero = u32::from(w != 0)
            | u32::from(n != 0) << 1
            | u32::from(at(row > 0 && col > 0, cols + 1) != 0) << 2
            | u32::from(at(row > 0 && col + 1 < cols, cols.wrapping_sub(1)) != 0) << 3;
        ((w + 3) as u32, (n + 3) as u32, nonzero)
    }

    /// Distance from the centre in units of three pixels, 0 to 63.
    #[inline]
    fn radius(&self, row: usize, col: usize) -> u32 {
        let centre =
            self.rules.centre.unwrap_or_else(|| Centre::of_frame(self.rules.grid.rows, self.rules.grid.cols));
        let dy = (8 * row as i64 - centre.twice_row).unsigned_abs() / 8;
        let dx = (8 * col as i64 - centre.twice_col).unsigned_abs() / 8;
        ((dx * dx + dy * dy).isqrt() / 3).min(63) as u32
    }

    #[inline]
    fn blend_contexts(
        &self,
        method: Method,
        blend: &Blend,
        at: &Neighbours,
        i: usize,
        row: usize,
        col: usize,
        mirror: Option<usize>,
    ) -> (i64, PixelContexts) {
        let bits = self.rules.domain.fraction_bits;
        let step = self.rules.domain.step_positions();
        let exact = blend.position.clamp(self.rules.lowest, self.rules.highest);
        let prediction =
            if method == Method::Grid { crate::domain::round_shift(exact, bits) << bits } else { exact };
        let fraction = (((exact - prediction) * 6 + 3 * step) >> bits).clamp(0, 5) as u32;
        let activity = bucket(self.activity(i, row, col), bits);
        let spread = bucket(blend.spread, bits);
        let least = bucket(blend.least_error / 4, bits);
        let mirror_error =
            mirror.map_or(0, |index| 1 + bucket(error_size(self.errors[index]) * 2, bits).min(18));
        let (w, n, nonzero) = self.causal_residuals(i, row, col);
        let pattern = if method == Method::Grid {
            u32::from(at.w != 0)
                | u32::from(at.n != 0) << 1
                | u32::from(at.nw != 0) << 2
                | u32::from(at.ne != 0) << 3
        } else {
            nonzero
        };
        let positive = u32::from(prediction >= step / 2 + i64::from(bits == 0));
        let mirror_residual = mirror.map_or(7, |index| (self.residuals[index] + 3) as u32);
        let bases = [
            (activity * 6 + fraction) * 20 + mirror_error,
            (spread * 20 + activity) * 2 + positive,
            (least * 6 + fraction) * 20 + mirror_error,
            (pattern * 2 + positive) * 20 + spread,
            self.radius(row, col) * 20 + activity,
            (mirror_residual * 20 + activity) * 6 + fraction,
            (w * 7 + n) * 6 + fraction,
        ];
        (prediction, PixelContexts { bases, activity: activity as usize, exact_prediction: exact })
    }

    #[inline]
    fn network_contexts(
        &self,
        plan: &FramePlan,
        blend: &Blend,
        at: &Neighbours,
        i: usize,
        row: usize,
        col: usize,
        mirror: Option<usize>,
    ) -> (i64, PixelContexts) {
        let bits = self.rules.domain.fraction_bits;
        let prediction = plan.given[i];
        let cols = self.rules.grid.cols;
        let local = (blend.position - prediction).clamp(-MAX_ERROR, MAX_ERROR);
        let side = u32::from(local > 0);
        let local = bucket(local.abs(), bits);
        let activity = bucket(self.activity(i, row, col), bits);
        let (w, n, nonzero) = self.causal_residuals(i, row, col);
        // Beyond the border of its patch nothing need be given: a neighbour there may be of another method.
        let patch = self.rules.grid.patch;
        let left = if col.is_multiple_of(patch.cols) { prediction } else { plan.given[i - 1] };
        let above = if row.is_multiple_of(patch.rows) { prediction } else { plan.given[i - cols] };
        let slope = bucket(((prediction - left).abs() + (prediction - above).abs()).min(MAX_ERROR), bits);
        let amplitude = bucket(prediction.abs().min(MAX_ERROR * 16) / 8, bits);
        let mirror_residual = mirror.map_or(7, |index| (self.residuals[index] + 3) as u32);
        let drift = bucket((at.w - left + at.n - above).abs().min(MAX_ERROR), bits);
        let bases = [
            activity * 8 + mirror_residual,
            (w * 7 + n) * 8 + mirror_residual,
            (local * 2 + side) * 20 + activity,
            slope * 20 + activity,
            amplitude * 20 + slope,
            self.radius(row, col) * 16 + nonzero,
            (drift * 2 + side) * 8 + mirror_residual,
        ];
        (prediction, PixelContexts { bases, activity: activity as usize, exact_prediction: prediction })
    }

    /// Zero or not, sign, class in unary, then the bits below the leading one: the first of them under contexts.
    fn code_residual<C: BitCoder>(
        &mut self,
        coder: &mut C,
        method: Method,
        contexts: &PixelContexts,
        residual: i64,
    ) -> i64 {
        let marked = self.journal.is_some();
        let mixer = self.mixers[method as usize - Method::Grid as usize].get_or_insert_with(|| {
            let mut mixer = PixelMixer::new(TABLE_BITS, N_DECISIONS as usize * N_ACTIVITY);
            if marked {
                mixer.mark();
            }
            mixer
        });
        let activity = contexts.activity.min(N_ACTIVITY - 1);
        let mut decide = |coder: &mut C, decision: u32, bit: bool| {
            let at = contexts.bases.map(|base| base * N_DECISIONS + decision);
            mixer.code(coder, &at, decision as usize * N_ACTIVITY + activity, bit)
        };
        if !decide(coder, 0, residual != 0) {
            return 0;
        }
        let positive = decide(coder, 1, residual > 0);
        let magnitude = residual.unsigned_abs().max(1);
        let class = magnitude.ilog2();
        let mut coded_class = 0;
        while coded_class < 62 && decide(coder, 2 + coded_class.min(15), coded_class < class) {
            coded_class += 1;
        }
        let mut coded = 1;
        if coded_class > 0 {
            let second = magnitude >> coded_class.saturating_sub(1).min(63) & 1 != 0;
            coded = coded << 1 | u64::from(decide(coder, 17 + coded_class.min(6), second));
            let rest = coded_class - 1;
            coded = coded << rest | code_bits(coder, magnitude, rest);
        }
        if positive { coded as i64 } else { (coded as i64).wrapping_neg() }
    }
}

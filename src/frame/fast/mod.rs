//! The fast coder of pixels: docs/format.md, "Fast coder".
//!
//! One prediction a pixel, the one that was nearest of late, on whole steps; one context a decision, nothing mixed.
//! Blocks that are empty, or what their mirror image says, cost one decision, and no work.

mod pixel;
mod position;
mod special;

use std::ops::Range;

use super::FrameRules;
use crate::array::ByteOrder;
use crate::domain::{Domain, Scale};
use crate::entropy::{AdaptiveBit, BitCoder};
use crate::patch::BLOCK;

pub(crate) use position::Position;

use pixel::{Errors, LEFT, Levels, MARGINS, ResidualModel, Row, code_runs};
use special::SpecialCoder;

/// Blocks of one kind that are decoded together: a body that has ended must not keep a decoder busy for a whole row of
/// a wide frame.
const LONGEST_RUN: usize = 64;

/// How a block is coded.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Kind {
    /// Pixel by pixel.
    Coded = 0,
    /// At the ground.
    Empty = 1,
    /// Every pixel as its mirror image.
    Mirrored = 2,
    /// Part of a constant patch.
    Constant = 3,
}

/// The encoder's side of a frame.
pub(crate) struct FastTarget<'a, P> {
    /// Position of each pixel that is not special, in raster order.
    pub(crate) positions: &'a [P],
    /// By pixel: 0, or 1 + the number of its special pattern; empty if no pixel of the chunk is special.
    pub(crate) marks: &'a [u8],
    /// Bytes of the frame, of which special pixels are read.
    pub(crate) bytes: &'a [u8],
}

/// Adaptive state over the frames of a chunk, and the planes of the current frame.
pub(crate) struct FastCoder<P> {
    rules: FrameRules,
    levels: Levels<P>,
    stride: usize,
    /// Rows of `stride` positions each: two above the frame, which are all 0, then those of the frame.
    positions: Vec<P>,
    /// Of the row and of the one above; columns from one to the left of the frame to one to the right.
    errors: [Vec<Errors<P>>; 2],
    sizes: [Vec<u32>; 2],
    /// Mirror images of the row above a band and of the rows of the band.
    mirrored: Vec<P>,
    /// Columns that have a mirror image, in rows that have one.
    mirror_cols: Range<usize>,
    /// Of the frame's blocks, with one column more on each side and one row more above.
    kinds: Vec<Kind>,
    blocks_across: usize,
    block_flags: [AdaptiveBit; 48],
    empty_flags: [AdaptiveBit; 3],
    model: ResidualModel,
    special: Option<SpecialCoder>,
}

/// What is done to a frame: coded to the target, or decoded where there is none.
struct Job<'a, P> {
    /// Position of each patch that is constant.
    constants: &'a [Option<i64>],
    target: Option<&'a FastTarget<'a, P>>,
}

/// A row of blocks: the frame's rows that it holds.
#[derive(Clone, Copy)]
struct Band {
    number: usize,
    row: usize,
    n_rows: usize,
    /// All its rows have mirror images above the band, which are known before the band is.
    is_mirrored: bool,
}

/// Bits that probabilities of blocks seem to have seen when they begin: few, as frames differ.
const PRIOR_BITS: u16 = 2;

/// Where probabilities begin, in 1/256, frozen: that a block is not coded pixel by pixel, by its neighbours; first where
/// there is no mirror image, then where its middle was coded, and where it was not.
const STILL: [u8; 48] = [
    1, 9, 2, 21, 2, 25, 3, 152, 17, 23, 123, 232, 15, 16, 76, 233, //
    200, 240, 200, 240, 200, 240, 200, 240, 200, 240, 200, 240, 200, 240, 200, 240, //
    250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250, 250,
];

/// That such a block is empty rather than what its mirror image says, where there is one.
const EMPTY: u8 = 16;

impl<P: Position> FastCoder<P> {
    pub(crate) fn new(rules: FrameRules) -> Self {
        let prior = |share: u8| AdaptiveBit::with_prior(u16::from(share) << 8, PRIOR_BITS);
        let (rows, cols) = (rules.grid.rows, rules.grid.cols);
        let stride = cols + MARGINS;
        let blocks_across = cols.div_ceil(BLOCK);
        let levels = Levels {
            lowest: P::from_i64(rules.lowest),
            highest: P::from_i64(rules.highest),
            ground: P::from_i64(0.clamp(rules.lowest, rules.highest)),
        };
        // A single row has no rows above it, where its image would be.
        let n_images = if rules.centre.is_some() && rows > 1 { BLOCK.min(rows) + 1 } else { 0 };
        let special = rules.specials.clone();
        Self {
            levels,
            stride,
            positions: vec![P::default(); (rows + 2) * stride],
            errors: [vec![Errors::default(); cols + 2], vec![Errors::default(); cols + 2]],
            sizes: [vec![0; cols + 2], vec![0; cols + 2]],
            mirrored: vec![P::default(); n_images * cols],
            mirror_cols: mirror_cols(&rules),
            kinds: vec![Kind::Empty; (blocks_across + 2) * (rows.div_ceil(BLOCK) + 1)],
            blocks_across,
            block_flags: std::array::from_fn(|context| prior(STILL[context])),
            empty_flags: [prior(EMPTY); 3],
            model: ResidualModel::new(),
            special: special.map(|patterns| SpecialCoder::new(rules.domain.element, patterns, rows, cols)),
            rules,
        }
    }

    /// Most bytes that one of these needs for frames of this size.
    pub(crate) fn most_bytes(rows: usize, cols: usize) -> usize {
        /// Two marks, and a pattern in a vector that grows.
        const PIXEL: usize = 2 + 3 * size_of::<u64>();
        /// Two rows of errors and of sizes, beside mirror images.
        const COLUMN: usize = 2 * (size_of::<Errors<i64>>() + size_of::<u32>());
        let images = if rows > 1 { (BLOCK.min(rows) + 1) * size_of::<i64>() } else { 0 };
        let positions =
            rows.saturating_add(2).saturating_mul(cols + MARGINS).saturating_mul(size_of::<i64>());
        let pixels = (rows * cols).saturating_mul(PIXEL);
        positions.saturating_add(pixels).saturating_add(cols.saturating_mul(COLUMN + images))
    }

    /// Codes all pixels of a frame. `constants` are the positions of its constant patches. Stops where the coder has
    /// overrun its bytes.
    pub(crate) fn code_frame<C: BitCoder>(
        &mut self,
        coder: &mut C,
        constants: &[Option<i64>],
        target: Option<&FastTarget<P>>,
    ) {
        if let Some(special) = &mut self.special {
            special.begin_frame();
        }
        let job = Job { constants, target };
        self.calm();
        let rows = self.rules.grid.rows;
        for number in 0..rows.div_ceil(BLOCK) {
            if coder.overrun() {
                return;
            }
            let row = number * BLOCK;
            let n_rows = BLOCK.min(rows - row);
            let is_mirrored = self.mirror_row(row).is_some() && self.mirror_row(row + n_rows - 1).is_some();
            let band = Band { number, row, n_rows, is_mirrored };
            self.code_band(coder, &job, band);
        }
    }

    /// Positions of a row of the frame.
    fn row(&self, row: usize) -> &[P] {
        &self.positions[(row + 2) * self.stride + LEFT..][..self.rules.grid.cols]
    }

    /// The frame as elements, special pixels included, appended to `out`.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        for row in 0..self.rules.grid.rows {
            write_positions(&self.rules.domain, self.row(row), out);
        }
        if let Some(special) = &self.special {
            special.write(&mut out[start..]);
        }
    }

    fn code_band<C: BitCoder>(&mut self, coder: &mut C, job: &Job<P>, band: Band) {
        if band.is_mirrored {
            for row in 0..band.n_rows {
                self.mirror(band, row);
            }
        }
        self.code_kinds(coder, job, band);
        if !self.has_coded(band) {
            self.calm();
        }
        for row in 0..band.n_rows {
            if !band.is_mirrored && self.mirror_row(band.row + row).is_some() {
                self.mirror(band, row);
            }
            self.begin_row(band.row + row);
            self.code_row(coder, job, band, row);
            self.end_row(band.row + row);
        }
        // The last row of this band is above the first of the next.
        let cols = self.rules.grid.cols;
        if band.n_rows == BLOCK && !self.mirrored.is_empty() {
            self.mirrored.copy_within(BLOCK * cols.., 0);
        }
    }

    fn has_coded(&self, band: Band) -> bool {
        self.kinds[self.kinds_of(band.number)].contains(&Kind::Coded)
    }

    /// Nothing was wrong about the pixels of this row and of the one above.
    fn calm(&mut self) {
        for lane in 0..2 {
            self.errors[lane].fill(Errors::default());
            self.sizes[lane].fill(0);
        }
    }

    /// Where the kinds of a row of blocks are.
    fn kinds_of(&self, band: usize) -> Range<usize> {
        let start = (band + 1) * (self.blocks_across + 2) + 1;
        start..start + self.blocks_across
    }

    /// Positions to the left of the frame are those above.
    fn begin_row(&mut self, row: usize) {
        let start = (row + 2) * self.stride;
        let above = self.positions[start - self.stride + LEFT];
        self.positions[start..start + LEFT].fill(above);
        self.errors.swap(0, 1);
        self.sizes.swap(0, 1);
    }

    /// Positions to the right of the frame are those of its last column.
    fn end_row(&mut self, row: usize) {
        let end = (row + 3) * self.stride - 1;
        self.positions[end] = self.positions[end - 1];
    }

    fn code_row<C: BitCoder>(&mut self, coder: &mut C, job: &Job<P>, band: Band, row: usize) {
        let kinds = self.kinds_of(band.number);
        let is_calm = !self.has_coded(band);
        let mut block = 0;
        while block < self.blocks_across {
            let kind = self.kinds[kinds.start + block];
            if coder.overrun() {
                return;
            }
            let rest = &self.kinds[kinds.start + block..kinds.end];
            let run = rest.iter().take(LONGEST_RUN).take_while(|&&k| k == kind).count();
            let cols = block * BLOCK..((block + run) * BLOCK).min(self.rules.grid.cols);
            match kind {
                Kind::Coded => self.code_segment(coder, job, band, row, cols),
                _ => {
                    self.fill_segment(job, band, row, cols.clone(), kind);
                    if !is_calm {
                        self.errors[0][cols.start + 1..cols.end + 1].fill(Errors::default());
                        self.sizes[0][cols.start + 1..cols.end + 1].fill(0);
                    }
                }
            }
            block += run;
        }
    }

    /// Pixels of blocks that are not coded one by one.
    fn fill_segment(&mut self, job: &Job<P>, band: Band, row: usize, cols: Range<usize>, kind: Kind) {
        let frame_row = band.row + row;
        let here = &mut self.positions[(frame_row + 2) * self.stride + LEFT..][cols.clone()];
        match kind {
            Kind::Mirrored => {
                let start = (row + 1) * self.rules.grid.cols;
                here.copy_from_slice(&self.mirrored[start..][cols.clone()]);
                // A block may reach beyond the columns that have a mirror image.
                let [start, end] = [self.mirror_cols.start, self.mirror_cols.end]
                    .map(|col| col.clamp(cols.start, cols.end) - cols.start);
                here[..start].fill(self.levels.ground);
                here[end..].fill(self.levels.ground);
            }
            Kind::Constant => {
                let grid = &self.rules.grid;
                let patches = frame_row / grid.patch.rows * grid.across();
                for (col, position) in cols.clone().zip(here) {
                    let constant = job.constants[patches + col / grid.patch.cols].unwrap_or(0);
                    *position = P::from_i64(constant.clamp(self.rules.lowest, self.rules.highest));
                }
            }
            _ => here.fill(self.levels.ground),
        }
    }

    /// Codes pixels one by one, in runs that have a mirror image or none.
    fn code_segment<C: BitCoder>(
        &mut self,
        coder: &mut C,
        job: &Job<P>,
        band: Band,
        row: usize,
        cols: Range<usize>,
    ) {
        let frame_row = band.row + row;
        let frame_cols = self.rules.grid.cols;
        let has_mirror = self.mirror_row(frame_row).is_some();
        let above_has_mirror = frame_row > 0 && self.mirror_row(frame_row - 1).is_some();
        let (before, rest) = self.positions.split_at_mut((frame_row + 2) * self.stride);
        let (above_that, above) = before[frame_row * self.stride..].split_at(self.stride);
        let [errors, errors_above] = &mut self.errors;
        let [sizes, sizes_above] = &mut self.sizes;
        let (mirrored_above, mirrored) = match self.mirrored.get(row * frame_cols..(row + 2) * frame_cols) {
            Some(two_rows) => two_rows.split_at(frame_cols),
            None => (&[][..], &[][..]),
        };
        let mut view = Row {
            here: &mut rest[..self.stride],
            above,
            above_that,
            errors,
            errors_above,
            sizes,
            sizes_above,
            mirrored,
            mirrored_above: above_has_mirror.then_some(mirrored_above),
            mirror_cols: if has_mirror { self.mirror_cols.clone() } else { 0..0 },
        };
        let pixels = frame_row * frame_cols..(frame_row + 1) * frame_cols;
        let wanted = job.target.map(|target| &target.positions[pixels.clone()]);
        let (model, levels) = (&mut self.model, self.levels);
        let Some(special) = &mut self.special else {
            code_runs(coder, model, levels, &mut view, cols, wanted, |_, _| false);
            return;
        };
        let element = self.rules.domain.element;
        let code_special = |coder: &mut C, col: usize| {
            let wanted = job.target.map(|target| {
                let index = pixels.start + col;
                (target.marks.get(index).copied().unwrap_or(0), element.bits_at(target.bytes, index))
            });
            special.code(coder, (frame_row, col), wanted)
        };
        code_runs(coder, model, levels, &mut view, cols, wanted, code_special);
    }

    /// Kinds of the blocks of a band.
    fn code_kinds<C: BitCoder>(&mut self, coder: &mut C, job: &Job<P>, band: Band) {
        let grid = self.rules.grid;
        let patches = band.row / grid.patch.rows * grid.across();
        for block in 0..self.blocks_across {
            let index = self.kinds_of(band.number).start + block;
            let col = block * BLOCK;
            let n_cols = BLOCK.min(grid.cols - col);
            if job.constants[patches + col / grid.patch.cols].is_some() {
                self.kinds[index] = Kind::Constant;
                continue;
            }
            let mirror = self.mirror_of_block(band, col, n_cols);
            let wanted = job.target.map_or(Kind::Coded, |target| {
                self.cheapest_kind(target, band, col..col + n_cols, mirror != 0)
            });
            let width = self.blocks_across + 2;
            let still = |index: usize| usize::from(self.kinds[index] != Kind::Coded);
            let around = still(index - 1)
                | still(index - width) << 1
                | still(index - width - 1) << 2
                | still(index - width + 1) << 3;
            let mut kind = Kind::Coded;
            if self.block_flags[mirror * 16 + around].code(coder, wanted != Kind::Coded) {
                let is_empty = mirror == 0 || self.empty_flags[mirror].code(coder, wanted == Kind::Empty);
                kind = if is_empty { Kind::Empty } else { Kind::Mirrored };
            }
            self.kinds[index] = kind;
        }
    }

    /// What the mirror image of a block looks like: 0 without one, 1 if its middle was coded, 2 if it was not.
    fn mirror_of_block(&self, band: Band, col: usize, n_cols: usize) -> usize {
        let middle = col + n_cols / 2;
        if !band.is_mirrored || !self.mirror_cols.contains(&middle) {
            return 0;
        }
        let (Some(top), Some(centre)) = (self.mirror_row(band.row + band.n_rows / 2), &self.rules.centre)
        else {
            return 0;
        };
        let left = ((centre.twice_col >> 2) - middle as i64) as usize;
        let kind = self.kinds[self.kinds_of(top / BLOCK).start + left / BLOCK];
        if kind == Kind::Coded { 1 } else { 2 }
    }

    /// The kind of a block that holds the target without residuals.
    fn cheapest_kind(
        &self,
        target: &FastTarget<P>,
        band: Band,
        cols: Range<usize>,
        has_mirror: bool,
    ) -> Kind {
        let frame_cols = self.rules.grid.cols;
        let pixels =
            |row: usize| (band.row + row) * frame_cols + cols.start..(band.row + row) * frame_cols + cols.end;
        let is_special = !target.marks.is_empty()
            && (0..band.n_rows).any(|row| target.marks[pixels(row)].iter().any(|&mark| mark != 0));
        if is_special {
            return Kind::Coded;
        }
        let ground = self.levels.ground;
        let inside = cols.start.max(self.mirror_cols.start)..cols.end.min(self.mirror_cols.end);
        let is_mirrored = |row: usize| {
            let here = &target.positions[(band.row + row) * frame_cols..][..frame_cols];
            here[inside.clone()] == self.mirrored[(row + 1) * frame_cols..][inside.clone()]
                && here[cols.start..inside.start].iter().all(|&position| position == ground)
                && here[inside.end..cols.end].iter().all(|&position| position == ground)
        };
        if has_mirror && (0..band.n_rows).all(is_mirrored) {
            return Kind::Mirrored;
        }
        let is_empty = |row: usize| target.positions[pixels(row)].iter().all(|&position| position == ground);
        if (0..band.n_rows).all(is_empty) { Kind::Empty } else { Kind::Coded }
    }

    /// The upper row that the mirror image of a row needs, if all that it needs is in rows above.
    fn mirror_row(&self, row: usize) -> Option<usize> {
        let centre = self.rules.centre.as_ref()?;
        let quarters = centre.twice_row - 4 * row as i64;
        let top = quarters >> 2;
        let bottom = top + i64::from(quarters & 3 > 0);
        (top >= 0 && bottom < row as i64).then_some(top as usize)
    }

    /// Interpolates the mirror image of a row of a band.
    fn mirror(&mut self, band: Band, row: usize) {
        let (Some(top), Some(centre)) = (self.mirror_row(band.row + row), self.rules.centre) else { return };
        let down = (centre.twice_row - 4 * (band.row + row) as i64) & 3;
        let right = centre.twice_col & 3;
        let (upper, lower) = self.positions[(top + 2) * self.stride..].split_at(self.stride);
        let cols = self.mirror_cols.clone();
        // Pixel `base − col` is the left one of those that column `col` needs.
        let base = (centre.twice_col >> 2) as usize;
        let image = &mut self.mirrored[(row + 1) * self.rules.grid.cols..][cols.clone()];
        let first = LEFT + base + 1 - cols.end;
        if down == 0 && right == 0 {
            let source = &upper[first..first + cols.len()];
            for (image, &position) in image.iter_mut().zip(source.iter().rev()) {
                *image = position;
            }
            return;
        }
        // Pixels of weight 0 may lie beyond the frame: the margins of a row, and the row itself for the one below.
        let lower = if down == 0 { upper } else { lower };
        let weights = [(4 - down) * (4 - right), (4 - down) * right, down * (4 - right), down * right];
        let [w0, w1, w2, w3] = weights.map(P::from_i64);
        let eight = P::from_i64(8);
        for (nth, image) in image.iter_mut().rev().enumerate() {
            let left = first + nth;
            let sum = upper[left] * w0 + upper[left + 1] * w1 + lower[left] * w2 + lower[left + 1] * w3;
            *image = (sum + eight) >> 4;
        }
    }
}

/// Columns whose mirror image is inside the frame.
fn mirror_cols(rules: &FrameRules) -> Range<usize> {
    let Some(centre) = &rules.centre else { return 0..0 };
    let cols = rules.grid.cols as i64;
    let base = centre.twice_col >> 2;
    let last = base + i64::from(centre.twice_col & 3 > 0);
    let start = (last + 1 - cols).clamp(0, cols);
    let end = (base + 1).clamp(start, cols);
    start as usize..end as usize
}

/// Appends the elements at some positions.
fn write_positions<P: Position>(domain: &Domain, positions: &[P], out: &mut Vec<u8>) {
    let element = domain.element;
    let start = out.len();
    out.resize(start + positions.len() * element.size_bytes(), 0);
    let bytes = &mut out[start..];
    if let (true, 4, Scale::Linear { step }) = (element.is_float(), element.size_bytes(), domain.scale) {
        let (words, _) = bytes.as_chunks_mut::<4>();
        if element.order() == ByteOrder::Little {
            for (word, &position) in words.iter_mut().zip(positions) {
                *word = ((position.to_f64() * step) as f32).to_le_bytes();
            }
        } else {
            for (word, &position) in words.iter_mut().zip(positions) {
                *word = ((position.to_f64() * step) as f32).to_be_bytes();
            }
        }
        return;
    }
    for (word, &position) in bytes.chunks_exact_mut(element.size_bytes()).zip(positions) {
        element.put_bits(word, domain.value_bits(position.to_i64()));
    }
}

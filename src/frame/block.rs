//! Blocks without residuals, which a decision or two declare empty or mirrored: docs/format.md, "Block flags".

use super::{Balance, FrameCoder, FrameJob, FramePlan, FrameTarget, Method};
use crate::entropy::{AdaptiveBit, BitCoder};
use crate::initial::InitialStates;
use crate::patch::{BLOCK, Region};
use crate::symmetry::MirrorPoint;

/// How a block is coded.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockKind {
    /// Pixel by pixel.
    Coded,
    /// As given in network patches, at position 0 in predicted ones.
    Empty,
    /// Every pixel as its mirror image.
    Mirrored,
}

/// What the mirror image of a block looks like.
#[derive(Clone, Copy)]
enum Image {
    /// There is none, or nothing is known of it.
    Unknown,
    /// Not all of it is known: with a few pixels that were busy, or without any.
    Part { busy: bool },
    /// All of it is known.
    Whole { busy: bool },
}

/// Methods that have block flags, and patterns of neighbours.
const N_METHODS: usize = 3;
const N_NEIGHBOURHOODS: usize = 16;

/// Adaptive probabilities of the kinds of blocks.
#[derive(Clone)]
pub(super) struct BlockFlags {
    /// Not coded pixel by pixel: one for each method, pattern of neighbours and number of an image.
    still: Vec<AdaptiveBit>,
    /// Mirrored rather than empty: one for each method, where the image is not busy and where it is.
    mirrored: Vec<AdaptiveBit>,
}

impl Image {
    const N: usize = 5;

    fn number(self) -> usize {
        match self {
            Self::Unknown => 0,
            Self::Part { busy } => 1 + usize::from(busy),
            Self::Whole { busy } => 3 + usize::from(busy),
        }
    }
}

impl BlockFlags {
    const N_STILL: usize = N_METHODS * N_NEIGHBOURHOODS * Image::N;

    pub(super) fn new() -> Self {
        let mut still = InitialStates::get().block_flags.clone();
        still.resize(Self::N_STILL + 2 * N_METHODS, AdaptiveBit::EVEN);
        let mirrored = still.split_off(Self::N_STILL);
        Self { still, mirrored }
    }

    /// In the order of the initial states.
    #[cfg(feature = "statistics")]
    pub(super) fn all(&self) -> impl Iterator<Item = AdaptiveBit> {
        self.still.iter().chain(&self.mirrored).copied()
    }

    fn code<C: BitCoder>(
        &mut self,
        coder: &mut C,
        (method, neighbours): (Method, usize),
        image: Image,
        kind: BlockKind,
    ) -> BlockKind {
        let method = method as usize - Method::Grid as usize;
        let still = &mut self.still[(method * N_NEIGHBOURHOODS + neighbours) * Image::N + image.number()];
        if !still.code(coder, kind != BlockKind::Coded) {
            return BlockKind::Coded;
        }
        match image {
            Image::Whole { busy }
                if self.mirrored[2 * method + usize::from(busy)].code(coder, kind == BlockKind::Mirrored) =>
            {
                BlockKind::Mirrored
            }
            _ => BlockKind::Empty,
        }
    }
}

impl FrameCoder {
    /// What each block of a patch in this band is: one decision, or two where it has an image.
    pub(super) fn code_block_flags<C: BitCoder>(
        &mut self,
        coder: &mut C,
        job: &FrameJob,
        patch: usize,
        band: usize,
    ) {
        let method = job.plan.methods[patch];
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
            let image = self.image_of_block(method, &area);
            let kind = job.target.map_or(BlockKind::Coded, |target| {
                self.cheapest_kind(method, job.plan, target, &area, image)
            });
            if let Some(target) = job.target.filter(|target| target.unbiased) {
                self.balances.resize(self.kinds.len(), Balance::default());
                self.balances[index] = target.balance(&self.rules.domain, self.rules.grid.cols, &area);
            }
            let neighbours = self.still_neighbours(index);
            self.kinds[index] = self.block_flags.code(coder, (method, neighbours), image, kind);
        }
    }

    /// Network patches of `Bound::None` have only empty blocks and no flags.
    pub(super) fn flags_are_known(&self, method: Method) -> bool {
        self.rules.latents_only && method == Method::Network
    }

    /// Which of a block's neighbours are not coded pixel by pixel.
    fn still_neighbours(&self, index: usize) -> usize {
        let across = self.blocks_across;
        let col = index % across;
        let still = |is_there: bool, back: usize| {
            usize::from(is_there && self.kinds[index - back] != BlockKind::Coded)
        };
        still(col > 0, 1)
            | still(index >= across, across) << 1
            | still(index > across && col > 0, across + 1) << 2
            | still(index >= across && col + 1 < across, across - 1) << 3
    }

    fn image_of_block(&self, method: Method, area: &Region) -> Image {
        let Some(centre) = &self.rules.centre else { return Image::Unknown };
        let cols = self.rules.grid.cols;
        let (mut known, mut busy) = (false, false);
        for (row, col) in [
            (0, 0),
            (0, area.cols - 1),
            (area.rows - 1, 0),
            (area.rows - 1, area.cols - 1),
            (area.rows / 2, area.cols / 2),
        ] {
            let Some(point) = self.mirror_point(area.row + row, area.col + col) else { continue };
            // The band itself is not decoded yet.
            if point.index / cols >= area.row {
                continue;
            }
            known = true;
            busy |= match method {
                Method::Network => self.residuals[point.index] != 0,
                _ => self.positions[point.index] != 0,
            };
        }
        match known {
            _ if centre.mirrors_above(area, cols) => Image::Whole { busy },
            true => Image::Part { busy },
            false => Image::Unknown,
        }
    }

    /// Where the mirror image of a pixel lies.
    #[inline]
    pub(super) fn mirror_point(&self, row: usize, col: usize) -> Option<MirrorPoint> {
        let grid = &self.rules.grid;
        self.rules.centre.as_ref()?.mirror(row, col, grid.rows, grid.cols)
    }

    /// The position of the mirror image of a pixel that has one.
    pub(super) fn image(&self, row: usize, col: usize) -> i64 {
        let cols = self.rules.grid.cols;
        self.mirror_point(row, col).map_or(0, |point| point.interpolate(&self.positions, cols))
    }

    fn cheapest_kind(
        &self,
        method: Method,
        plan: &FramePlan,
        target: &FrameTarget,
        area: &Region,
        image: Image,
    ) -> BlockKind {
        let cols = self.rules.grid.cols;
        let is_empty = match method {
            Method::Network => self.is_within(target, area, |i| plan.given[i]),
            _ => self.is_within(target, area, |_| 0),
        };
        if is_empty {
            return BlockKind::Empty;
        }
        match image {
            Image::Whole { .. } if self.is_within(target, area, |i| self.image(i / cols, i % cols)) => {
                BlockKind::Mirrored
            }
            _ => BlockKind::Coded,
        }
    }

    /// Whether such positions reconstruct all pixels of an area within their bounds, and balanced where that is asked for.
    fn is_within(&self, target: &FrameTarget, area: &Region, position: impl Fn(usize) -> i64) -> bool {
        let cols = self.rules.grid.cols;
        let within = (area.row..area.row + area.rows).all(|row| {
            (row * cols + area.col..row * cols + area.col + area.cols).all(|i| {
                let position = position(i);
                if target.special(i) == 0 {
                    self.reaches(target, i, position)
                } else {
                    // A fill value of 0 need not break up the blocks of zeros around it.
                    target.elements.at(i) == self.rules.domain.value_bits(position)
                }
            })
        });
        within && target.is_balanced(&self.rules.domain, cols, area, position)
    }
}

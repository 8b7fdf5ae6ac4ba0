//! Patches from anywhere, read in blocks and made ready for a network: masked values filled in, scaled to a maximum
//! of 1, transformed.

use h5z_sae::sae::Transform;
use h5z_sae::{Error, ErrorKind, PatchShape};
use ndarray::Array2;

/// A set of patches of one shape that can be read in any order, block by block.
pub trait FrameSource {
    /// Shape of every patch.
    fn patch(&self) -> PatchShape;

    /// Number of patches.
    fn n_patches(&self) -> usize;

    /// Reads `out.len() / patch().n_values()` patches from number `first` on, patch-major, in the data's own units.
    /// Masked values are NaN.
    ///
    /// # Errors
    /// Whatever reading fails with.
    fn read(&mut self, first: usize, out: &mut [f32]) -> Result<(), Error>;

    /// Where the patches come from, for the model's provenance.
    fn describe(&self) -> String;

    /// Name and number of patches of each input, in the order of the patches.
    fn inputs(&self) -> Vec<(String, usize)> {
        vec![(self.describe(), self.n_patches())]
    }
}

/// Patches that lie in memory.
pub struct InMemory {
    patch: PatchShape,
    values: Vec<f32>,
}

impl InMemory {
    /// `values`: whole patches, patch-major.
    ///
    /// # Errors
    /// `InvalidArgument` if the last patch is incomplete.
    pub fn try_new(patch: PatchShape, values: Vec<f32>) -> Result<Self, Error> {
        if !values.len().is_multiple_of(patch.n_values()) {
            let message =
                format!("{} values: not a multiple of the patch's {}", values.len(), patch.n_values());
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        Ok(Self { patch, values })
    }
}

impl FrameSource for InMemory {
    fn patch(&self) -> PatchShape {
        self.patch
    }

    fn n_patches(&self) -> usize {
        self.values.len() / self.patch.n_values()
    }

    fn read(&mut self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let start = first * self.patch.n_values();
        out.copy_from_slice(&self.values[start..start + out.len()]);
        Ok(())
    }

    fn describe(&self) -> String {
        format!("{} patches in memory", self.n_patches())
    }
}

/// Patches read at a time: 16 MiB where they are 64×64.
pub const BLOCK_PATCHES: usize = 1024;

/// Length of the runs in which patches are held out. Neighbours in a file are often alike: single patches drawn
/// from among the training ones would flatter the model.
const HELD_OUT_RUN: usize = 64;

/// Most patches that are held out: errors of more than a few thousand tell nothing new.
const MAX_HELD_OUT: usize = 4096;

/// Which patches train and which are held out, in runs spread evenly over the source.
#[derive(Clone, Debug)]
pub struct Split {
    /// Ascending.
    pub training: Vec<usize>,
    /// Ascending.
    pub held_out: Vec<usize>,
}

impl Split {
    /// Holds out about `fraction` of `n_patches`, at most 4096 of them.
    pub fn new(n_patches: usize, fraction: f64) -> Self {
        let wanted = ((n_patches as f64 * fraction) as usize).min(MAX_HELD_OUT);
        let run = HELD_OUT_RUN.min(wanted.max(1));
        let n_runs = n_patches / run;
        let held_runs = wanted / run;
        let is_held = |index: usize| {
            let position = index / run;
            position < n_runs && (position + 1) * held_runs / n_runs > position * held_runs / n_runs
        };
        let (held_out, training) = (0..n_patches).partition(|&index| is_held(index));
        Self { training, held_out }
    }
}

/// At most `most` of the numbers, evenly spread, in runs of one block each so that reading stays sequential.
pub fn spread(numbers: &[usize], most: usize) -> Vec<usize> {
    const RUN: usize = 32;
    if numbers.len() <= most {
        return numbers.to_vec();
    }
    let runs: Vec<&[usize]> = numbers.chunks(RUN).collect();
    let n_kept = (most / RUN).max(1);
    (0..n_kept).flat_map(|kept| runs[kept * runs.len() / n_kept]).copied().collect()
}

/// Makes patches ready for the network.
#[derive(Clone, Copy, Debug)]
pub struct Preparation {
    /// Shape of a patch.
    pub patch: PatchShape,
    /// Domain of the network.
    pub transform: Transform,
}

impl Preparation {
    /// Fills, scales and transforms one patch in place. `false` if it has no finite value other than 0, and thus
    /// nothing to learn from; it is then left as it was.
    pub fn prepare(&self, patch: &mut [f32]) -> bool {
        let largest =
            patch.iter().filter(|value| value.is_finite()).fold(0f32, |most, value| most.max(value.abs()));
        if largest == 0.0 {
            return false;
        }
        fill_masked(patch, self.patch);
        for value in patch.iter_mut() {
            *value = apply(self.transform, *value / largest);
        }
        true
    }

    /// Reads the patches of the given ascending numbers, block by block, and hands on those that can be used as rows
    /// of a matrix. Returns how many those were.
    ///
    /// # Errors
    /// Those of the source and of `receive`.
    pub fn for_each_block(
        &self,
        source: &mut dyn FrameSource,
        numbers: &[usize],
        mut receive: impl FnMut(Array2<f32>) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut n_used = 0;
        for block in numbers.chunks(BLOCK_PATCHES) {
            let rows = self.read_block(source, block)?;
            n_used += rows.nrows();
            if rows.nrows() > 0 {
                receive(rows)?;
            }
        }
        Ok(n_used)
    }

    fn read_block(&self, source: &mut dyn FrameSource, numbers: &[usize]) -> Result<Array2<f32>, Error> {
        let patch_len = self.patch.n_values();
        let mut values = vec![0f32; numbers.len() * patch_len];
        let mut at = 0;
        for run in numbers.chunk_by(|before, after| before + 1 == *after) {
            let end = at + run.len() * patch_len;
            source.read(run[0], &mut values[at..end])?;
            at = end;
        }
        let mut n_used = 0;
        for index in 0..numbers.len() {
            values.copy_within(index * patch_len..(index + 1) * patch_len, n_used * patch_len);
            n_used += usize::from(self.prepare(&mut values[n_used * patch_len..(n_used + 1) * patch_len]));
        }
        values.truncate(n_used * patch_len);
        Ok(Array2::from_shape_vec((n_used, patch_len), values).expect("whole patches were read"))
    }
}

/// Replaces values that are not finite by the mean of their finite neighbours, ring by ring from the border of the
/// hole. A patch has at least one finite value.
fn fill_masked(values: &mut [f32], patch: PatchShape) {
    let mut masked: Vec<usize> = (0..values.len()).filter(|&index| !values[index].is_finite()).collect();
    while !masked.is_empty() {
        let mut filled = Vec::new();
        for &index in &masked {
            let finite = neighbours(index, patch).map(|near| values[near]).filter(|value| value.is_finite());
            let (sum, count) = finite.fold((0f32, 0u32), |(sum, count), value| (sum + value, count + 1));
            if count > 0 {
                filled.push((index, sum / count as f32));
            }
        }
        for &(index, value) in &filled {
            values[index] = value;
        }
        masked.retain(|&index| !values[index].is_finite());
    }
}

fn neighbours(index: usize, patch: PatchShape) -> impl Iterator<Item = usize> {
    let (row, col) = (index / patch.cols, index % patch.cols);
    let above = (row > 0).then(|| index - patch.cols);
    let below = (row + 1 < patch.rows).then_some(index + patch.cols);
    let left = (col > 0).then(|| index - 1);
    let right = (col + 1 < patch.cols).then_some(index + 1);
    [above, below, left, right].into_iter().flatten()
}

/// T of a value that is scaled to a maximum of 1.
pub fn apply(transform: Transform, value: f32) -> f32 {
    let q24 = |offset: u32| offset as f32 / (1 << 24) as f32;
    match transform {
        Transform::None => value,
        Transform::Sqrt { offset_q24 } => (value.max(0.0) + q24(offset_q24)).sqrt(),
        Transform::Log { offset_q24 } => {
            let offset = q24(offset_q24);
            (value.max(0.0) / offset).ln_1p() / offset.recip().ln_1p()
        }
    }
}

/// T⁻¹ in floating point, to report errors in the data's own domain.
pub fn invert(transform: Transform, value: f32) -> f32 {
    let q24 = |offset: u32| offset as f32 / (1 << 24) as f32;
    match transform {
        Transform::None => value,
        Transform::Sqrt { offset_q24 } => value.max(0.0).powi(2) - q24(offset_q24),
        Transform::Log { offset_q24 } => {
            let offset = q24(offset_q24);
            offset * (value * offset.recip().ln_1p()).exp_m1()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: PatchShape = PatchShape { rows: 2, cols: 3 };

    #[test]
    fn masked_values_become_the_mean_of_their_neighbours() {
        let mut patch = [2.0, f32::NAN, 4.0, 2.0, f32::INFINITY, 4.0];
        assert!(Preparation { patch: PATCH, transform: Transform::None }.prepare(&mut patch));
        assert_eq!(patch, [0.5, 0.75, 1.0, 0.5, 0.75, 1.0]);
    }

    #[test]
    fn blank_patches_are_left_out_of_blocks() {
        let mut values = vec![0f32; 6];
        values.extend([1.0, 2.0, 3.0, 4.0, 5.0, 8.0]);
        values.extend([f32::NAN; 6]);
        let mut source = InMemory::try_new(PATCH, values).unwrap();
        let preparation = Preparation { patch: PATCH, transform: Transform::None };
        let mut blocks = Vec::new();
        let n_used = preparation.for_each_block(&mut source, &[0, 1, 2], |block| {
            blocks.push(block);
            Ok(())
        });
        assert_eq!(n_used.unwrap(), 1);
        assert_eq!(blocks[0].row(0).to_vec(), [0.125, 0.25, 0.375, 0.5, 0.625, 1.0]);
    }

    #[test]
    fn transforms_keep_their_ends_and_invert() {
        let (sqrt, log) = (Transform::Sqrt { offset_q24: 1 << 14 }, Transform::Log { offset_q24: 1 << 12 });
        assert_eq!((apply(log, 0.0), apply(log, 1.0)), (0.0, 1.0));
        for transform in [Transform::None, sqrt, log] {
            for value in [0.0, 1e-3, 0.3, 1.0] {
                assert!((invert(transform, apply(transform, value)) - value).abs() < 1e-5);
            }
        }
    }

    #[test]
    fn split_holds_out_whole_runs_and_loses_nothing() {
        let split = Split::new(10_000, 0.02);
        assert_eq!(split.training.len() + split.held_out.len(), 10_000);
        assert_eq!(split.held_out.len(), 192);
        let runs: Vec<_> = split.held_out.chunk_by(|a, b| a + 1 == *b).map(<[usize]>::len).collect();
        assert_eq!(runs, [64; 3]);
        assert!(Split::new(10, 0.0).held_out.is_empty());
    }
}

//! Patches of frames in HDF5 datasets, for the trainer.

use h5z_sae::{Error, ErrorKind, PatchShape};
use h5z_sae_train::loader::FrameSource;
use hdf5::types::TypeDescriptor;
use hdf5::{Dataset, File, Hyperslab, Selection, SliceOrIndex};

use crate::error::{At, CliError};
use crate::h5::dataset::raw_bytes;
use crate::h5::file::split_place;

/// The whole patches of all frames of some datasets, in order; what is left at the right and lower edges of frames
/// is not used.
pub struct Hdf5Frames {
    stacks: Vec<Stack>,
    patch: PatchShape,
    mask_value: Option<f32>,
}

/// One dataset.
struct Stack {
    name: String,
    dataset: Dataset,
    dims: Vec<usize>,
    patch: PatchShape,
}

impl Hdf5Frames {
    /// Opens `FILE:/DATASET` inputs. Without `patch`, a patch is a frame of the first one, its edges at most
    /// `largest_edge`.
    ///
    /// # Errors
    /// If a file or dataset cannot be opened, is not of numbers, has rank 1, or its frames are smaller than a patch.
    pub fn try_open(
        inputs: &[String],
        patch: Option<PatchShape>,
        largest_edge: usize,
        mask_value: Option<f32>,
    ) -> Result<Self, CliError> {
        let mut stacks = Vec::new();
        let mut patch = patch;
        for input in inputs {
            let (dataset, dims) = open_dataset(input)?;
            let [.., rows, cols] = dims[..] else { unreachable!("open_dataset checks the rank") };
            let shape = *patch
                .get_or_insert(PatchShape { rows: rows.min(largest_edge), cols: cols.min(largest_edge) });
            if rows < shape.rows || cols < shape.cols {
                return Err(CliError::new(format!(
                    "{input}: frames of {rows} x {cols} values are smaller than a patch of {} x {}",
                    shape.rows, shape.cols
                )));
            }
            stacks.push(Stack { name: input.clone(), dataset, dims, patch: shape });
        }
        let patch = patch.ok_or_else(|| CliError::new("no dataset to learn from"))?;
        Ok(Self { stacks, patch, mask_value })
    }
}

fn open_dataset(input: &str) -> Result<(Dataset, Vec<usize>), CliError> {
    let (file, path) = split_place(input)?;
    let dataset = File::open(file).at(file)?.dataset(path).at(input)?;
    let dims = dataset.shape();
    let descriptor = dataset.dtype().and_then(|dtype| dtype.to_descriptor()).at(input)?;
    let is_number = matches!(
        descriptor,
        TypeDescriptor::Integer(_) | TypeDescriptor::Unsigned(_) | TypeDescriptor::Float(_)
    );
    if !is_number {
        return Err(CliError::new(format!("{input}: elements of type {descriptor}, expected numbers")));
    }
    if dims.len() < 2 || dims.contains(&0) {
        return Err(CliError::new(format!(
            "{input}: shape {dims:?}, expected frames of at least one row and column"
        )));
    }
    raw_bytes(&dataset).at(input)?;
    Ok((dataset, dims))
}

impl Stack {
    /// Rows and columns of patches in a frame.
    fn grid(&self) -> (usize, usize) {
        let rank = self.dims.len();
        (self.dims[rank - 2] / self.patch.rows, self.dims[rank - 1] / self.patch.cols)
    }

    fn patches_per_frame(&self) -> usize {
        let (rows, cols) = self.grid();
        rows * cols
    }

    fn n_frames(&self) -> usize {
        self.dims[..self.dims.len() - 2].iter().product()
    }

    fn n_patches(&self) -> usize {
        self.n_frames() * self.patches_per_frame()
    }

    /// Frames in one run: those that differ in the last leading dimension only.
    fn run_len(&self) -> usize {
        if self.dims.len() > 2 { self.dims[self.dims.len() - 3] } else { 1 }
    }

    /// Reads frames `first..first + n`, which lie in one run.
    fn read_frames(&self, first: usize, n: usize) -> Result<Vec<f32>, hdf5::Error> {
        let rank = self.dims.len();
        let mut slices: Vec<SliceOrIndex> = Vec::with_capacity(rank);
        let mut rest = first / self.run_len();
        for &dim in self.dims[..rank.saturating_sub(3)].iter().rev() {
            slices.insert(0, SliceOrIndex::from(rest % dim));
            rest /= dim;
        }
        if rank > 2 {
            let start = first % self.run_len();
            slices.push(SliceOrIndex::from(start..start + n));
        }
        slices.push(SliceOrIndex::from(..));
        slices.push(SliceOrIndex::from(..));
        let selection = Selection::Hyperslab(Hyperslab::new(slices));
        let values = self.dataset.read_slice::<f32, _, ndarray::IxDyn>(selection)?;
        Ok(values.into_iter().collect())
    }

    /// Reads patches `first..`, as many as fit into `out`.
    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), hdf5::Error> {
        let (per_frame, patch_len) = (self.patches_per_frame(), self.patch.n_values());
        let end = first + out.len() / patch_len;
        let mut patch = first;
        while patch < end {
            let frame = patch / per_frame;
            let run_end = (frame / self.run_len() + 1) * self.run_len();
            let last_frame = (end - 1) / per_frame;
            let n_frames = (last_frame + 1).min(run_end) - frame;
            let frames = self.read_frames(frame, n_frames)?;
            let block_end = ((frame + n_frames) * per_frame).min(end);
            for patch in patch..block_end {
                let target = &mut out[(patch - first) * patch_len..(patch - first + 1) * patch_len];
                self.cut(&frames, patch - frame * per_frame, target);
            }
            patch = block_end;
        }
        Ok(())
    }

    /// Cuts patch number `patch` of some whole frames.
    fn cut(&self, frames: &[f32], patch: usize, out: &mut [f32]) {
        let rank = self.dims.len();
        let (rows, cols) = (self.dims[rank - 2], self.dims[rank - 1]);
        let (_, grid_cols) = self.grid();
        let (frame, within) = (patch / self.patches_per_frame(), patch % self.patches_per_frame());
        let (row, col) = (within / grid_cols * self.patch.rows, within % grid_cols * self.patch.cols);
        for (index, line) in out.chunks_exact_mut(self.patch.cols).enumerate() {
            let start = (frame * rows + row + index) * cols + col;
            line.copy_from_slice(&frames[start..start + self.patch.cols]);
        }
    }
}

impl FrameSource for Hdf5Frames {
    fn patch(&self) -> PatchShape {
        self.patch
    }

    fn n_patches(&self) -> usize {
        self.stacks.iter().map(Stack::n_patches).sum()
    }

    fn read(&mut self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let patch_len = self.patch.n_values();
        let (mut first, mut out) = (first, out);
        for stack in &self.stacks {
            let n_here = stack.n_patches().saturating_sub(first).min(out.len() / patch_len);
            if n_here > 0 {
                let (here, rest) = out.split_at_mut(n_here * patch_len);
                stack
                    .read(first, here)
                    .at(&stack.name)
                    .map_err(|error| Error::new(ErrorKind::System, error.to_string()))?;
                self.mask_value.iter().for_each(|&mask| mask_values(here, mask));
                out = rest;
            }
            first = (first + n_here).saturating_sub(stack.n_patches());
        }
        Ok(())
    }

    fn describe(&self) -> String {
        // File names without folders: a model travels, and says nothing about machines.
        let names = self.stacks.iter().map(|stack| without_folder(&stack.name));
        names.collect::<Vec<_>>().join(", ")
    }

    fn inputs(&self) -> Vec<(String, usize)> {
        self.stacks.iter().map(|stack| (stack.name.clone(), stack.n_patches())).collect()
    }
}

/// `FILE:/DATASET` of `FOLDER/FILE:/DATASET`.
fn without_folder(input: &str) -> &str {
    let file_end = input.rfind(":/").unwrap_or(input.len());
    let start = input[..file_end].rfind('/').map_or(0, |slash| slash + 1);
    &input[start..]
}

fn mask_values(values: &mut [f32], mask: f32) {
    for value in values.iter_mut().filter(|value| **value == mask) {
        *value = f32::NAN;
    }
}

//! The stages of a training before the network's: basis and components of the patches.

use h5z_sae::sae::{Model, Transform};
use h5z_sae::{Error, ErrorKind};
use ndarray::{Array2, Axis, Slice};

use crate::census::explain;
use crate::checkpoint::DataPrint;
use crate::checksum::Summed;
use crate::export::round_basis;
use crate::import;
use crate::loader::{FrameSource, Preparation, Split, spread};
use crate::memory::memory;
use crate::observer::Event;
use crate::pca::{Basis, Covariance, Folding};
use crate::ranks::{Placement, agree, on_first, share};
use crate::trainer::{CALIBRATION_PATCHES, Session, Start};

/// Patches for the covariance, at most: its error is that of a mean over them.
const COVARIANCE_PATCHES: usize = 20_000;
/// Patches on which symmetry is tried.
const SYMMETRY_PATCHES: usize = 1000;
/// Least training patches for each component: with fewer, components are noise.
pub const LEAST_PATCHES_PER_COMPONENT: usize = 2;

/// Before the network's training.
pub(crate) struct Prepared {
    /// All K rows.
    pub basis: Basis,
    /// The K′ that the network works on.
    pub leading: Basis,
    /// Training patches × K′, those of this rank.
    pub components: Array2<f32>,
    pub placement: Placement,
    /// All components of some training patches, × K. Rank 0 has them, which exports.
    pub calibration: Array2<f32>,
    pub data: DataPrint,
    /// On rank 0.
    pub held_out: Array2<f32>,
    /// Median of the held-out patches' largest magnitudes, in the data's units; 1 where nothing is held out.
    pub typical_maximum: f64,
}

pub(crate) fn gave_up() -> Error {
    Error::new(ErrorKind::System, "stopped before anything was learnt")
}

fn typical_maximum(source: &mut dyn FrameSource, numbers: &[usize]) -> Result<f64, Error> {
    const MOST_PATCHES: usize = 256;
    let mut values = vec![0f32; source.patch().n_values()];
    let mut maxima = Vec::new();
    for number in spread(numbers, MOST_PATCHES) {
        source.read(number, &mut values)?;
        let finite = values.iter().filter(|value| value.is_finite());
        maxima.push(finite.fold(0f32, |most, value| most.max(value.abs())));
    }
    maxima.retain(|&maximum| maximum > 0.0);
    maxima.sort_by(f32::total_cmp);
    Ok(maxima.get(maxima.len() / 2).map_or(1.0, |&maximum| maximum.into()))
}

impl Session<'_> {
    /// Reads the data: held-out patches, the basis, components of the training patches.
    pub(crate) fn prepare(&mut self, start: &Start) -> Result<Prepared, Error> {
        let memory = memory(self.source, self.options, self.ranks.n_ranks());
        let mut memory = agree(memory, self.ranks)?;
        // A thread has its own gradients: ranks with more of them may have room for fewer patches.
        memory.n_training = self.ranks.least(memory.n_training as f64) as usize;
        self.observer.event(&Event::Memory(memory));
        let split = Split::new(self.source.n_patches(), self.options.held_out);
        let training = spread(&split.training, memory.n_training);
        self.check_enough(training.len())?;
        let patch_len = self.source.patch().n_values();
        let held_out = self.on_first_rank(patch_len, |session| session.read_scaled(&split.held_out))?;
        let typical_maximum = on_first(self.ranks, || typical_maximum(self.source, &split.held_out))?;
        let basis = self.basis(start, &training)?;
        let leading = agree(basis.leading(self.options.components), self.ranks)?;
        let (components, placement, data) = self.project(&training, &leading)?;
        self.check_enough(placement.n_total)?;
        let calibration =
            self.on_first_rank(basis.n_components(), |session| session.calibration(&training, &basis))?;
        if let Start::Checkpoint(checkpoint) = start {
            checkpoint.check_data(data)?;
        }
        Ok(Prepared { basis, leading, components, placement, calibration, data, held_out, typical_maximum })
    }

    /// Rows that rank 0 alone reads; the others get none.
    fn on_first_rank(
        &mut self,
        n_columns: usize,
        read: impl FnOnce(&mut Self) -> Result<Array2<f32>, Error>,
    ) -> Result<Array2<f32>, Error> {
        let rows = if self.ranks.rank() == 0 { read(self) } else { Ok(Array2::zeros((0, n_columns))) };
        agree(rows, self.ranks)
    }

    /// What rank 0 finds: a basis from sums over all ranks would save little beside its eigenvectors, and rounding turns
    /// components of nearly equal variance into each other.
    fn basis(&mut self, start: &Start, training: &[usize]) -> Result<Basis, Error> {
        let first = (self.ranks.rank() == 0).then(|| match start {
            Start::Random => self.find_basis(training),
            Start::Model(model) => self.basis_of(model, training),
            Start::Checkpoint(checkpoint) => Ok(checkpoint.basis.clone()),
        });
        let first = agree(first.transpose(), self.ranks)?;
        let patch_len = self.source.patch().n_values();
        Ok(Basis::broadcast(first, patch_len, self.options.basis_rows, self.ranks))
    }

    fn preparation(&self) -> Preparation {
        Preparation { patch: self.source.patch(), transform: self.options.transform }
    }

    fn check_enough(&mut self, n_training: usize) -> Result<(), Error> {
        let least = LEAST_PATCHES_PER_COMPONENT * self.options.basis_rows;
        if n_training >= least {
            return Ok(());
        }
        let message = format!(
            "{n_training} training patches that are not blank: {} components need at least {least}",
            self.options.basis_rows
        );
        Err(explain(Error::new(ErrorKind::InvalidArgument, message), self.source))
    }

    /// Held-out patches, scaled but not transformed.
    fn read_scaled(&mut self, numbers: &[usize]) -> Result<Array2<f32>, Error> {
        let preparation = Preparation { transform: Transform::None, ..self.preparation() };
        let n_values = self.source.patch().n_values();
        let mut values = Vec::with_capacity(numbers.len() * n_values);
        let n_used = preparation.for_each_block(self.source, numbers, |block| {
            values.extend(block);
            Ok(())
        })?;
        Ok(Array2::from_shape_vec((n_used, n_values), values).expect("whole rows"))
    }

    fn find_basis(&mut self, training: &[usize]) -> Result<Basis, Error> {
        let sample = spread(training, COVARIANCE_PATCHES);
        let (folding, covariance, n_used) = self.covariance(&sample)?;
        self.check_enough(n_used * training.len() / sample.len())?;
        let (folding, covariance) = folding.zip(covariance).expect("enough patches were not blank");
        if folding.folded_len() < self.options.basis_rows {
            let message = format!(
                "{} components of patches that have {} values up to their point symmetry",
                self.options.basis_rows,
                folding.folded_len()
            );
            return Err(Error::new(ErrorKind::InvalidArgument, message));
        }
        self.observer.stage("principal components", 0);
        let wide_rows = self.options.export.wide_rows;
        covariance
            .finish(folding, self.options.basis_rows)
            .map_err(|error| explain(error, self.source))?
            .rounded(|rows| round_basis(rows, folding, wide_rows))
    }

    fn covariance(
        &mut self,
        sample: &[usize],
    ) -> Result<(Option<Folding>, Option<Covariance>, usize), Error> {
        let preparation = self.preparation();
        let observer = &mut *self.observer;
        observer.stage("covariance", sample.len());
        let (mut folding, mut sums) = (None, None);
        let n_used = preparation.for_each_block(self.source, sample, |block| {
            let first = block.slice_axis(Axis(0), Slice::from(..SYMMETRY_PATCHES.min(block.nrows())));
            let folding = *folding.get_or_insert_with(|| Folding::detect(first));
            let sums = sums.get_or_insert_with(|| Covariance::new(folding.fold(first).view()));
            sums.add(folding.fold(block.view()));
            observer.advance(block.nrows()).then_some(()).ok_or_else(gave_up)
        })?;
        Ok((folding, sums, n_used))
    }

    /// The basis of a model, with the variance that this data has.
    fn basis_of(&mut self, model: &Model, training: &[usize]) -> Result<Basis, Error> {
        let mut basis = import::basis(model.spec(), self.options.export.wide_rows)?;
        let folding = basis.folding;
        let sample = spread(training, COVARIANCE_PATCHES);
        let preparation = self.preparation();
        let observer = &mut *self.observer;
        observer.stage("variance", sample.len());
        let mut moments = import::Moments::new(folding);
        preparation.for_each_block(self.source, &sample, |block| {
            moments.add(block.view())?;
            observer.advance(block.nrows()).then_some(()).ok_or_else(gave_up)
        })?;
        basis.total_variance = moments.variance();
        Ok(basis)
    }

    /// All components of some training patches, evenly spread.
    fn calibration(&mut self, training: &[usize], basis: &Basis) -> Result<Array2<f32>, Error> {
        let preparation = self.preparation();
        let mut components = Vec::new();
        let numbers = spread(training, CALIBRATION_PATCHES);
        let n_used = preparation.for_each_block(self.source, &numbers, |block| {
            components.extend(basis.project(block.view()));
            Ok(())
        })?;
        Ok(Array2::from_shape_vec((n_used, basis.n_components()), components).expect("whole rows"))
    }

    /// Components of this rank's share of the training patches.
    fn project(
        &mut self,
        training: &[usize],
        basis: &Basis,
    ) -> Result<(Array2<f32>, Placement, DataPrint), Error> {
        let training = share(training, self.ranks);
        self.observer.stage("projection", training.len());
        let preparation = self.preparation();
        let observer = &mut *self.observer;
        let mut components = Vec::with_capacity(training.len() * self.options.components);
        let mut summed = Summed::new(self.source);
        let n_here = preparation.for_each_block(&mut summed, training, |block| {
            components.extend(basis.project(block.view()));
            observer.advance(block.nrows()).then_some(()).ok_or_else(gave_up)
        });
        let n_here = agree(n_here, self.ranks)?;
        let checksum = summed.finish(self.ranks);
        let placement = Placement::new(n_here, self.ranks);
        let components = Array2::from_shape_vec((n_here, self.options.components), components);
        let data = DataPrint { n_patches: self.source.n_patches(), n_training: placement.n_total, checksum };
        Ok((components.expect("whole rows"), placement, data))
    }
}

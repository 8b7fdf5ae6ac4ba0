//! The ranks of a training: processes, on one or several machines, that hold parts of the patches and equal weights.
//!
//! All ranks go through the same calls in the same order. A rank reads and projects its share of the training patches,
//! computes the gradient of those rows of a batch that it holds, and the sum over ranks is everybody's gradient; so a
//! step is that of a single rank but for rounding. What must not differ by a bit (weights, draws, numbers of steps) is
//! either computed from sums, which are equal on all ranks, or taken from rank 0.
//!
//! Nothing here knows how ranks talk to each other: that is what implements [`Ranks`].

use h5z_sae::{Error, ErrorKind};
use ndarray::{Array, Array2, Dimension};

use crate::network::{BatchStats, Parameters};
use crate::real::Real;

/// Processes that train together. Calls that take `&mut self` are collective: all ranks make them, in the same order
/// and with slices of the same lengths, or wait for ever. An implementation whose connection breaks ends the process.
pub trait Ranks: Send {
    /// Number of this rank, from 0. Rank 0 prints, writes files and judges the model.
    fn rank(&self) -> usize;

    /// How many there are, at least 1.
    fn n_ranks(&self) -> usize;

    /// Replaces each value by its sum over all ranks, which is the same to the bit on each of them.
    fn sum(&mut self, values: &mut [f32]);

    /// See [`Self::sum`].
    fn sum_f64(&mut self, values: &mut [f64]);

    /// Replaces the values by those of rank 0: a sum to which the others give zeros.
    fn broadcast(&mut self, values: &mut [f64]) {
        if self.rank() > 0 {
            values.fill(0.0);
        }
        self.sum_f64(values);
    }

    /// The value of rank 0.
    fn first(&mut self, value: f64) -> f64 {
        let mut value = [value];
        self.broadcast(&mut value);
        value[0]
    }

    /// The sum of one value over all ranks.
    fn sum_of(&mut self, value: f64) -> f64 {
        let mut sum = [value];
        self.sum_f64(&mut sum);
        sum[0]
    }

    /// The least of the values of all ranks.
    fn least(&mut self, value: f64) -> f64 {
        let mut values = vec![0.0; self.n_ranks()];
        values[self.rank()] = value;
        self.sum_f64(&mut values);
        values.into_iter().fold(f64::INFINITY, f64::min)
    }

    /// Whether it is so on any rank.
    fn any(&mut self, is_so: bool) -> bool {
        self.sum_of(f64::from(u8::from(is_so))) > 0.0
    }
}

/// A training in one process.
#[derive(Clone, Copy, Debug, Default)]
pub struct SingleRank;

impl Ranks for SingleRank {
    fn rank(&self) -> usize {
        0
    }

    fn n_ranks(&self) -> usize {
        1
    }

    fn sum(&mut self, _values: &mut [f32]) {}

    fn sum_f64(&mut self, _values: &mut [f64]) {}
}

/// The rank's part of a list: the first rank has the first ones, so that each reads files from front to back.
pub fn share<'a>(numbers: &'a [usize], ranks: &dyn Ranks) -> &'a [usize] {
    let bound = |rank: usize| numbers.len() * rank / ranks.n_ranks();
    &numbers[bound(ranks.rank())..bound(ranks.rank() + 1)]
}

/// Where the rows of this rank lie among those of all ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// Rows on the ranks before.
    pub first: usize,
    /// Rows here.
    pub n_here: usize,
    /// Rows of all ranks.
    pub n_total: usize,
}

impl Placement {
    /// Of `n_here` rows on this rank. Collective.
    pub fn new(n_here: usize, ranks: &mut dyn Ranks) -> Self {
        let mut counts = vec![0f64; ranks.n_ranks()];
        counts[ranks.rank()] = n_here as f64;
        ranks.sum_f64(&mut counts);
        let sum = |counts: &[f64]| counts.iter().sum::<f64>() as usize;
        Self { first: sum(&counts[..ranks.rank()]), n_here, n_total: sum(&counts) }
    }

    /// Those of the given rows that lie here, as `(position in rows, number here)`.
    fn here<'a>(&self, rows: &'a [usize]) -> impl Iterator<Item = (usize, usize)> + use<'a> {
        let (first, end) = (self.first, self.first + self.n_here);
        let here = rows.iter().enumerate().filter(move |&(_, row)| (first..end).contains(row));
        here.map(move |(position, row)| (position, row - first))
    }

    /// Numbers here of those of the given rows that lie here, in their order.
    pub fn local(&self, rows: &[usize]) -> Vec<usize> {
        self.here(rows).map(|(_, number)| number).collect()
    }

    /// The given rows of a matrix that is spread over the ranks, `part` being the rows here. Collective.
    pub fn gather(&self, part: &Array2<f32>, rows: &[usize], ranks: &mut dyn Ranks) -> Array2<f32> {
        let mut gathered = vec![0f32; rows.len() * part.ncols()];
        for (position, number) in self.here(rows) {
            let to = &mut gathered[position * part.ncols()..(position + 1) * part.ncols()];
            to.iter_mut().zip(part.row(number)).for_each(|(to, &value)| *to = value);
        }
        ranks.sum(&mut gathered);
        Array2::from_shape_vec((rows.len(), part.ncols()), gathered).expect("whole rows were gathered")
    }
}

/// Sums the gradients of all ranks. Collective.
pub fn sum_parameters(parameters: &mut Parameters<f32>, ranks: &mut dyn Ranks) {
    for tensor in parameters.tensors_mut() {
        ranks.sum(tensor);
    }
}

/// Replaces the weights, or moments, by those of rank 0. Collective.
pub fn broadcast_parameters(parameters: &mut Parameters<f32>, ranks: &mut dyn Ranks) {
    if ranks.rank() > 0 {
        parameters.clear();
    }
    sum_parameters(parameters, ranks);
}

/// Replaces the array by that of rank 0, in its logical order whatever its layout in memory. Collective.
pub fn broadcast_array<F: Real, D: Dimension>(array: &mut Array<F, D>, ranks: &mut dyn Ranks) {
    let mut values: Vec<f64> = array.iter().map(|value| value.wide()).collect();
    ranks.broadcast(&mut values);
    array.iter_mut().zip(values).for_each(|(to, value)| *to = F::of(value));
}

/// Joins the sums of a batch's shards on all ranks; a rank may have none. Collective.
pub fn sum_stats(shards: Vec<BatchStats>, n_latents: usize, ranks: &mut dyn Ranks) -> BatchStats {
    let none = BatchStats {
        n_patches: 0,
        squared_error: 0.0,
        distortion: 0.0,
        l1: 0.0,
        n_entries: 0,
        fired: vec![0; n_latents],
    };
    let mut joined = shards.into_iter().reduce(BatchStats::joined).unwrap_or(none);
    let mut sums = vec![
        joined.n_patches as f64,
        joined.n_entries as f64,
        joined.squared_error,
        joined.distortion,
        joined.l1,
    ];
    sums.extend(joined.fired.iter().map(|&count| f64::from(count)));
    ranks.sum_f64(&mut sums);
    (joined.n_patches, joined.n_entries) = (sums[0] as usize, sums[1] as usize);
    (joined.squared_error, joined.distortion, joined.l1) = (sums[2], sums[3], sums[4]);
    for (count, &sum) in joined.fired.iter_mut().zip(&sums[5..]) {
        *count = sum as u32;
    }
    joined
}

/// What stopped the first of the ranks that failed, and which that is. Collective.
pub fn first_failure(message: Option<String>, ranks: &mut dyn Ranks) -> Option<(usize, String)> {
    let mut lengths = vec![0f64; ranks.n_ranks()];
    // One more than its length: an empty message is a failure, too.
    lengths[ranks.rank()] = message.as_ref().map_or(0.0, |message| (message.len() + 1) as f64);
    ranks.sum_f64(&mut lengths);
    let failed = lengths.iter().position(|&length| length > 0.0)?;
    let mut bytes = vec![0f64; lengths[failed] as usize - 1];
    if let (Some(message), true) = (message, failed == ranks.rank()) {
        bytes = message.bytes().map(f64::from).collect();
    }
    ranks.sum_f64(&mut bytes);
    let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).collect();
    Some((failed, String::from_utf8_lossy(&bytes).into_owned()))
}

/// What only rank 0 computes, on all ranks. Collective.
///
/// # Errors
/// Those of rank 0.
pub fn on_first(ranks: &mut dyn Ranks, compute: impl FnOnce() -> Result<f64, Error>) -> Result<f64, Error> {
    let value = if ranks.rank() == 0 { compute() } else { Ok(0.0) };
    let value = agree(value, ranks)?;
    Ok(ranks.first(value))
}

/// Makes an error of any rank one of all, so that none waits for one that gave up. Collective; comes after every stage
/// that may fail on one rank only.
///
/// # Errors
/// The rank's own one, or that of the first rank that failed, with its number.
pub fn agree<T>(result: Result<T, Error>, ranks: &mut dyn Ranks) -> Result<T, Error> {
    let message = result.as_ref().err().map(Error::to_string);
    match first_failure(message, ranks) {
        Some((rank, message)) if rank != ranks.rank() => {
            Err(Error::new(ErrorKind::System, format!("rank {rank}: {message}")))
        }
        _ => result,
    }
}

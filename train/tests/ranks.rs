//! Trainings on several ranks, here threads of one process: what one rank learns, they learn; none is left waiting.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use h5z_sae::sae::Penalty;
use h5z_sae::{Error, ErrorKind, PatchShape};
use h5z_sae_train::early_stop::EarlyStop;
use h5z_sae_train::fit::{FitOptions, Fitted, Watch, fit};
use h5z_sae_train::loader::{FrameSource, InMemory};
use h5z_sae_train::network::{Network, NetworkShape, Objective};
use h5z_sae_train::observer::Observer;
use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::outcome::Trained;
use h5z_sae_train::ranks::{Placement, Ranks, SingleRank};
use h5z_sae_train::report::StepReport;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::state::FitState;
use h5z_sae_train::trainer::{Start, train_on_ranks};
use ndarray::{Array2, s};

mod common;

/// Largest relative difference of two loss curves. Ranks add up gradients in another order, and f32 rounds at 6e-8: the
/// curves below are off by 4e-7 at most. On another CPU a latent may just pass the limit, or just not: 1e-5 or so.
const CURVE_TOLERANCE: f64 = 1e-4;

/// A rank that is a thread. It sends its values to all, itself included, and adds up what it gets in the ranks' order.
struct ThreadRank {
    rank: usize,
    to: Vec<Sender<Vec<f64>>>,
    from: Vec<Receiver<Vec<f64>>>,
}

impl ThreadRank {
    fn all(n_ranks: usize) -> Vec<Self> {
        let mut ranks: Vec<Self> =
            (0..n_ranks).map(|rank| Self { rank, to: Vec::new(), from: Vec::new() }).collect();
        for sender in 0..n_ranks {
            for receiver in 0..n_ranks {
                let (to, from) = channel();
                ranks[sender].to.push(to);
                ranks[receiver].from.push(from);
            }
        }
        ranks
    }

    /// What each rank gave. Panics, rather than waits, where a rank is gone.
    fn exchange(&self, values: Vec<f64>) -> Vec<Vec<f64>> {
        self.to.iter().for_each(|to| to.send(values.clone()).unwrap());
        let received: Vec<_> = self.from.iter().map(|from| from.recv().unwrap()).collect();
        assert!(received.iter().all(|other| other.len() == values.len()), "ranks are at different calls");
        received
    }
}

impl Ranks for ThreadRank {
    fn rank(&self) -> usize {
        self.rank
    }

    fn n_ranks(&self) -> usize {
        self.to.len()
    }

    fn sum(&mut self, values: &mut [f32]) {
        let received = self.exchange(values.iter().copied().map(f64::from).collect());
        values.fill(0.0);
        for part in received {
            values.iter_mut().zip(part).for_each(|(sum, value)| *sum += value as f32);
        }
    }

    fn sum_f64(&mut self, values: &mut [f64]) {
        let received = self.exchange(values.to_vec());
        values.fill(0.0);
        for part in received {
            values.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
        }
    }
}

/// What `run` returns on each rank.
fn on_ranks<T: Send>(n_ranks: usize, run: impl Fn(&mut ThreadRank) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> = ThreadRank::all(n_ranks)
            .into_iter()
            .map(|mut rank| scope.spawn(move || run(&mut rank)))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[derive(Default)]
struct Record {
    reports: Vec<StepReport>,
    stop_at: Option<usize>,
}

impl Observer for Record {
    fn stage(&mut self, _name: &str, _n_units: usize) {}

    fn advance(&mut self, _n_units: usize) -> bool {
        true
    }

    fn step(&mut self, report: &StepReport) -> bool {
        self.reports.push(*report);
        self.stop_at.is_none_or(|stop_at| report.step < stop_at)
    }
}

impl Watch for Record {
    fn step(&mut self, report: &StepReport) -> bool {
        Observer::step(self, report)
    }

    fn state(&mut self, _state: &FitState) -> Result<(), Error> {
        Ok(())
    }

    fn coded_bytes(&mut self, _network: &Network<f32>, step: usize) -> Result<usize, Error> {
        // Falls, then rises.
        Ok(step.abs_diff(60))
    }
}

/// Largest relative difference between two curves of the same steps.
fn difference(a: &[StepReport], b: &[StepReport]) -> f64 {
    let steps = |reports: &[StepReport]| reports.iter().map(|report| report.step).collect::<Vec<_>>();
    assert_eq!(steps(a), steps(b));
    let relative = |(a, b): (f64, f64)| (a - b).abs() / a;
    let pairs = a.iter().zip(b).flat_map(|(a, b)| [(a.loss, b.loss), (a.squared_error, b.squared_error)]);
    pairs.map(relative).fold(0.0, f64::max)
}

fn fit_options() -> FitOptions {
    FitOptions {
        shape: NetworkShape { components: 6, hidden: 24, latents: 40 },
        objective: Objective { active: 4, penalty: Penalty::Z, sparsity_lambda: 1e-6, rate_scale: 0.0 },
        n_steps: 120,
        batch: 50,
        learning_rate: 4e-3,
        active_least: 0,
        active_start: 2.0,
        refined_share: 0.0,
        revived: 4,
        seed: 1,
        threads: 2,
        early_stop: None,
        device: None,
    }
}

/// Components that two of eight directions make up.
fn components() -> Array2<f32> {
    let directions = Array2::from_shape_fn((8, 6), |(atom, k)| ((atom * 6 + k) as f32 * 2.4).sin());
    Array2::from_shape_fn((500, 8), |(row, atom)| {
        let is_used = atom == row % 8 || atom == (row / 8) % 8;
        if is_used { 0.5 + ((row * 7 + atom * 3) % 11) as f32 / 11.0 } else { 0.0 }
    })
    .dot(&directions)
}

/// Fits the rows from `bounds[rank]` to the next bound, on each rank.
fn fit_parts(options: &FitOptions, bounds: &[usize]) -> Vec<(Fitted, Vec<StepReport>)> {
    let components = components();
    let variances = components.var_axis(ndarray::Axis(0), 0.0).mapv(f64::from);
    on_ranks(bounds.len() - 1, |ranks| {
        let part = components.slice(s![bounds[ranks.rank()]..bounds[ranks.rank() + 1], ..]).to_owned();
        let mut record = Record::default();
        let state = FitState::random(500, &variances, options);
        let fitted = fit(&part, state, options, &mut record, ranks).unwrap();
        (fitted, record.reports)
    })
}

fn bits(fitted: &Fitted) -> Vec<Vec<u32>> {
    fitted.network.parameters.tensors().map(|t| t.iter().map(|v| v.to_bits()).collect()).to_vec()
}

#[test]
fn two_ranks_have_the_curve_of_one_and_equal_weights() {
    for penalty in [Penalty::Z, Penalty::Grad] {
        let options =
            FitOptions { objective: Objective { penalty, ..fit_options().objective }, ..fit_options() };
        let (_, one_curve) = fit_parts(&options, &[0, 500]).remove(0);
        assert!(one_curve[5].loss < 0.5 * one_curve[0].loss, "learns too little to compare anything");
        // Halves; shares so uneven that a rank has no row of most batches; and none at all.
        for bounds in [&[0, 250, 500][..], &[0, 499, 500], &[0, 0, 300, 500]] {
            let ranks = fit_parts(&options, bounds);
            let off = difference(&one_curve, &ranks[0].1);
            println!("{penalty:?} {bounds:?}: the curve is off by {off:.1e}");
            assert!(off < CURVE_TOLERANCE, "{penalty:?} {bounds:?}: the curve is off by {off}");
            for (fitted, curve) in &ranks[1..] {
                assert_eq!(difference(curve, &ranks[0].1), 0.0);
                assert!(bits(fitted) == bits(&ranks[0].0), "{penalty:?} {bounds:?}: weights differ");
            }
        }
    }
}

#[test]
fn drawn_limits_refined_codes_and_the_rate_are_the_same_on_all_ranks() {
    let objective = Objective { rate_scale: 0.1, ..fit_options().objective };
    let options = FitOptions { objective, active_least: 2, refined_share: 0.5, ..fit_options() };
    let (_, one_curve) = fit_parts(&options, &[0, 500]).remove(0);
    let ranks = fit_parts(&options, &[0, 260, 500]);
    let off = difference(&one_curve, &ranks[0].1);
    println!("the curve is off by {off:.1e}");
    assert!(off < CURVE_TOLERANCE, "the curve is off by {off}");
    assert!(bits(&ranks[0].0) == bits(&ranks[1].0));
}

#[test]
fn revived_latents_are_the_same_on_all_ranks() {
    // A rate that kills most latents.
    let options = FitOptions { learning_rate: 0.1, revived: 20, ..fit_options() };
    let ranks = fit_parts(&options, &[0, 260, 500]);
    assert!(bits(&ranks[0].0) == bits(&ranks[1].0));
    let without = fit_parts(&FitOptions { revived: 0, ..options }, &[0, 260, 500]);
    assert!(bits(&ranks[0].0) != bits(&without[0].0), "nothing was revived");
}

#[test]
fn early_stopping_ends_all_ranks_with_the_best_network_of_rank_0() {
    let early_stop = Some(EarlyStop { patience: 2, bound: 1e-3 });
    let ranks = fit_parts(&FitOptions { early_stop, n_steps: 400, ..fit_options() }, &[0, 200, 500]);
    assert_eq!((ranks[0].0.n_steps, ranks[0].0.best_step), (ranks[1].0.n_steps, ranks[1].0.best_step));
    assert!(ranks[0].0.n_steps < 400, "{} steps", ranks[0].0.n_steps);
    assert!(bits(&ranks[0].0) == bits(&ranks[1].0));
}

#[test]
fn spread_rows_are_gathered_in_the_order_asked_for() {
    let gathered = on_ranks(3, |ranks| {
        // Ranks have 1, 2 and 3 rows, whose values are their numbers.
        let first = [0, 1, 3][ranks.rank()];
        let part = Array2::from_shape_fn((ranks.rank() + 1, 2), |(row, _)| (first + row) as f32);
        let placement = Placement::new(part.nrows(), ranks);
        assert_eq!(placement, Placement { first, n_here: ranks.rank() + 1, n_total: 6 });
        placement.gather(&part, &[5, 0, 2, 2], ranks).column(1).to_vec()
    });
    assert_eq!(gathered, [[5.0, 0.0, 2.0, 2.0]; 3]);
}

const PATCH: PatchShape = PatchShape { rows: 9, cols: 8 };

/// Gaussian spots of two widths, any direction and place.
fn spots(n_patches: usize) -> InMemory {
    let mut values = Vec::new();
    for number in 0..n_patches {
        let phase = |k: usize| ((number * k) as f32 * 0.618_034).fract();
        let (long, short, angle) =
            (8.0 + 20.0 * phase(1), 1.0 + 4.0 * phase(7), std::f32::consts::PI * phase(13));
        for pixel in 0..PATCH.n_values() {
            let (y, x) = ((pixel / PATCH.cols) as f32 - 4.0 + phase(5), (pixel % PATCH.cols) as f32 - 3.5);
            let (along, across) = (x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin());
            // Some patches are blank, all in the first rank's share.
            values.push(if (20..40).contains(&number) {
                0.0
            } else {
                (-along * along / long - across * across / short).exp()
            });
        }
    }
    InMemory::try_new(PATCH, values).unwrap()
}

fn options() -> TrainOptions {
    let common = common::options();
    TrainOptions {
        components: 16,
        // Rank 0 alone has what lies outside the network's components.
        basis_rows: 20,
        hidden: 24,
        latents: 40,
        objective: Objective { active: 6, ..common.objective },
        budget: Budget::Epochs(10.0),
        revived: 2,
        threads: 1,
        ..common
    }
}

fn train_spots(
    options: &TrainOptions,
    ranks: &mut dyn Ranks,
    mut record: Record,
) -> (Option<Trained>, Vec<StepReport>) {
    let trained = train_on_ranks(&mut spots(1200), options, Start::Random, &mut record, ranks).unwrap();
    (trained, record.reports)
}

#[test]
fn a_whole_training_on_ranks_gives_the_model_of_one() {
    let (one, one_curve) = train_spots(&options(), &mut SingleRank, Record::default());
    let one = one.unwrap();
    for n_ranks in [2, 3] {
        let mut ranks = on_ranks(n_ranks, |ranks| train_spots(&options(), ranks, Record::default()));
        let (first, curve) = ranks.remove(0);
        let off = difference(&one_curve, &curve);
        println!("{n_ranks} ranks: the curve is off by {off:.1e}");
        assert!(off < CURVE_TOLERANCE, "{n_ranks} ranks: the curve is off by {off}");
        assert!(ranks.iter().all(|(trained, _)| trained.is_none()), "one rank has the model");
        let first = first.unwrap();
        assert_eq!(first.spec.provenance["training_patches"], one.spec.provenance["training_patches"]);
        let (many, one) = (first.check.quality.squared_error, one.check.quality.squared_error);
        assert!((many - one).abs() < 0.01 * one, "{n_ranks} ranks: {many} held out, {one} on one");
    }
}

#[test]
fn a_time_budget_becomes_the_same_steps_on_all_ranks() {
    let options = TrainOptions { budget: Budget::Time(Duration::from_millis(500)), ..options() };
    let ranks = on_ranks(2, |ranks| train_spots(&options, ranks, Record::default()));
    let last = |reports: &[StepReport]| reports.last().map(|report| (report.step, report.n_steps));
    assert!(last(&ranks[0].1).is_some_and(|(step, n_steps)| step == n_steps));
    assert_eq!(last(&ranks[0].1), last(&ranks[1].1));
}

#[test]
fn a_rank_that_is_stopped_stops_all_at_its_step() {
    let ranks = on_ranks(2, |ranks| {
        let stop_at = (ranks.rank() == 1).then_some(40);
        train_spots(&options(), ranks, Record { stop_at, ..Record::default() })
    });
    assert_eq!(ranks[0].0.as_ref().unwrap().n_steps, 40);
    assert_eq!(ranks[1].1.len(), ranks[0].1.len());
}

/// Cannot be read from a number on.
struct Broken(InMemory, usize);

impl FrameSource for Broken {
    fn patch(&self) -> PatchShape {
        self.0.patch()
    }

    fn n_patches(&self) -> usize {
        self.0.n_patches()
    }

    fn read(&mut self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        if first + out.len() / PATCH.n_values() > self.1 {
            return Err(Error::new(ErrorKind::System, "disk full of holes"));
        }
        self.0.read(first, out)
    }

    fn describe(&self) -> String {
        "a broken disk".to_owned()
    }
}

#[test]
fn an_error_on_one_rank_is_told_to_all() {
    // Rank 0 fails in its own stage, rank 1 where each rank reads its share.
    for broken in [0, 1] {
        let messages = on_ranks(2, |ranks| {
            let end = if ranks.rank() == broken { 300 } else { 1200 };
            let mut source = Broken(spots(1200), end);
            train_on_ranks(&mut source, &options(), Start::Random, &mut Record::default(), ranks)
                .unwrap_err()
                .to_string()
        });
        assert_eq!(messages[broken], "disk full of holes");
        assert_eq!(messages[1 - broken], format!("rank {broken}: disk full of holes"));
    }
}

#[test]
fn rejects_ranks_with_other_inputs() {
    let messages = on_ranks(2, |ranks| {
        let mut source = spots(1200 - 200 * ranks.rank());
        train_on_ranks(&mut source, &options(), Start::Random, &mut Record::default(), ranks)
            .unwrap_err()
            .to_string()
    });
    let expected = "1000 patches of 9 x 8 values, but 1200 of 9 x 8 on rank 0: the inputs are not the same";
    assert_eq!(messages, [format!("rank 1: {expected}"), expected.to_owned()]);
}

//! Trainings on a device, whose kernels are compiled for this machine's processor: steps, failures, and going on
//! elsewhere.

use std::sync::Arc;

use h5z_sae::Error;
use h5z_sae::sae::Penalty;
use h5z_sae_cuda::Device;
use h5z_sae_train::checkpoint::Checkpoint;
use h5z_sae_train::fit::{FitOptions, Fitted, Watch, fit};
use h5z_sae_train::network::{Network, NetworkShape, Objective, Parameters};
use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::outcome::Trained;
use h5z_sae_train::ranks::SingleRank;
use h5z_sae_train::report::StepReport;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::state::FitState;
use h5z_sae_train::trainer::{Start, train};
use ndarray::{Array1, Array2, Axis};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

mod common;
#[path = "../../cuda/tests/host_library/mod.rs"]
mod host_library;

use common::{Record, options, spots};
use host_library::{Reports, SHORT_OF_MEMORY, host_library, open};

/// Both sides add f32 in different orders: a few roundings of the largest number of a tensor.
const ROUNDING: f32 = 2e-5;
/// A refined code comes from equations in which roundings grow by their condition.
const REFINED_ROUNDING: f32 = 1e-3;
/// Rounding grows over hundreds of steps; where a training ends, it changes little.
const SAME_END: f64 = 0.05;

fn device(ordinal: u32) -> (Option<Arc<Device>>, Reports) {
    let (device, reports) = open(host_library(), ordinal).unwrap();
    (Some(Arc::new(device)), reports)
}

fn fit_options(shape: NetworkShape, objective: Objective, batch: usize) -> FitOptions {
    FitOptions {
        shape,
        objective,
        n_steps: 1,
        batch,
        learning_rate: 4e-3,
        active_least: 0,
        active_start: 1.0,
        refined_share: 0.0,
        revived: 0,
        seed: 3,
        threads: 2,
        early_stop: None,
        device: None,
    }
}

fn random_components(n_patches: usize, n_components: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    Array2::from_shape_simple_fn((n_patches, n_components), || StandardNormal.sample(&mut rng))
}

/// Components that two of eight directions make up.
fn sparse_components(n_components: usize) -> Array2<f32> {
    let directions = random_components(8, n_components);
    Array2::from_shape_fn((600, 8), |(row, atom)| {
        let is_used = atom == row % 8 || atom == (row / 8) % 8;
        if is_used { 0.5 + ((row * 7 + atom * 3) % 11) as f32 / 11.0 } else { 0.0 }
    })
    .dot(&directions)
}

/// Keeps what a loop shows.
#[derive(Default)]
struct Last {
    reports: Vec<StepReport>,
    state: Option<FitState>,
}

impl Watch for Last {
    fn step(&mut self, report: &StepReport) -> bool {
        self.reports.push(*report);
        true
    }

    fn state(&mut self, state: &FitState) -> Result<(), Error> {
        self.state = Some(state.clone());
        Ok(())
    }

    fn coded_bytes(&mut self, _network: &Network<f32>, _step: usize) -> Result<usize, Error> {
        Ok(1)
    }
}

fn run(components: &Array2<f32>, options: &FitOptions) -> (Fitted, Last) {
    let variances = components.var_axis(Axis(0), 0.0).mapv(f64::from);
    let mut state = FitState::random(components.nrows(), &Array1::ones(variances.len()), options);
    // Biases of 0 would hide what becomes of them.
    for bias in [&mut state.network.parameters.hidden_bias, &mut state.network.parameters.latent_bias] {
        bias.iter_mut().enumerate().for_each(|(i, bias)| *bias = 0.05 * ((i % 5) as f32 - 1.0));
    }
    let mut last = Last::default();
    let fitted = fit(components, state, options, &mut last, &mut SingleRank).unwrap();
    (fitted, last)
}

fn on(device: &Option<Arc<Device>>, options: &FitOptions) -> FitOptions {
    FitOptions { device: device.clone(), ..options.clone() }
}

fn assert_close(found: &Parameters<f32>, expected: &Parameters<f32>, tolerance: f32, what: &str) {
    for (tensor, (found, expected)) in found.tensors().into_iter().zip(expected.tensors()).enumerate() {
        let largest = expected.iter().fold(0f32, |largest, value| largest.max(value.abs()));
        for (index, (&found, &expected)) in found.iter().zip(expected).enumerate() {
            assert!(
                (found - expected).abs() <= tolerance * largest,
                "{what}: tensor {tensor}, number {index}: {found} on the device, {expected} on the CPU"
            );
        }
    }
}

fn bits(parameters: &Parameters<f32>) -> Vec<u32> {
    parameters.tensors().concat().iter().map(|value| value.to_bits()).collect()
}

#[test]
fn a_step_has_the_loss_and_the_gradient_of_the_cpu() {
    let (device, reports) = device(0);
    let shapes = [(1, 1, 1, 1), (3, 5, 7, 11), (33, 65, 130, 37), (64, 32, 96, 32), (20, 70, 300, 70)];
    let objectives = [
        (Penalty::Z, 0, 0.0, 0.0),
        (Penalty::Z, 3, 0.0, 0.0),
        (Penalty::Z, 3, 0.5, 0.0),
        (Penalty::Z, 3, 0.5, 1.0),
        (Penalty::Z, 0, 0.5, 1.0),
        (Penalty::Grad, 0, 0.5, 1.0),
    ];
    for (components, hidden, latents, batch) in shapes {
        let data = random_components(batch, components);
        let shape = NetworkShape { components, hidden, latents };
        for (penalty, active, rate_scale, refined_share) in objectives {
            let active = usize::min(active, latents);
            let objective = Objective { active, penalty, sparsity_lambda: 0.05, rate_scale };
            let options = FitOptions { refined_share, ..fit_options(shape, objective, batch) };
            let (_, expected) = run(&data, &options);
            let (_, found) = run(&data, &on(&device, &options));
            let tolerance = if refined_share > 0.0 { REFINED_ROUNDING } else { ROUNDING };
            let what = format!("{options:?}");
            let (expected_state, found_state) = (expected.state.unwrap(), found.state.unwrap());
            // From rest, the mean of gradients is a tenth of the gradient, clipped.
            for (found, expected) in found_state.adam.moments().iter().zip(expected_state.adam.moments()) {
                assert_close(found, expected, tolerance, &what);
            }
            assert_eq!(found_state.activity.fired(), expected_state.activity.fired(), "{what}");
            let (found, expected) = (found.reports[0], expected.reports[0]);
            assert!(
                (found.loss - expected.loss).abs() <= f64::from(tolerance) * expected.loss,
                "{what}: {found:?}, {expected:?}"
            );
            assert_eq!(found.nonzeros, expected.nonzeros, "{what}");
        }
    }
    assert!(reports.lock().unwrap().is_empty());
}

/// A training of everything: falling limits, a falling scale, refined codes, revivals.
fn course() -> FitOptions {
    let shape = NetworkShape { components: 6, hidden: 24, latents: 40 };
    let objective = Objective { active: 4, penalty: Penalty::Z, sparsity_lambda: 1e-6, rate_scale: 0.05 };
    FitOptions {
        n_steps: 100,
        active_start: 2.0,
        refined_share: 0.4,
        revived: 4,
        ..fit_options(shape, objective, 50)
    }
}

fn last_loss(last: &Last) -> f64 {
    last.reports.last().unwrap().loss
}

#[test]
fn a_training_ends_where_that_of_the_cpu_does_and_repeats_to_the_bit() {
    let (device, reports) = device(0);
    let data = sparse_components(6);
    for penalty in [Penalty::Z, Penalty::Grad] {
        let active = if penalty == Penalty::Z { 4 } else { 0 };
        let options =
            FitOptions { objective: Objective { active, penalty, ..course().objective }, ..course() };
        let (_, cpu) = run(&data, &options);
        let (first, on_device) = run(&data, &on(&device, &options));
        let (second, _) = run(&data, &on(&device, &options));
        let (expected, found) = (last_loss(&cpu), last_loss(&on_device));
        assert!(expected < 0.5 * cpu.reports[0].loss, "it learns: {expected} after {}", cpu.reports[0].loss);
        assert!((found / expected - 1.0).abs() < SAME_END, "{found} on the device, {expected} on the CPU");
        assert_eq!(bits(&first.network.parameters), bits(&second.network.parameters));
    }
    assert!(reports.lock().unwrap().is_empty());
}

#[test]
fn a_device_without_memory_leaves_the_training_to_the_cpu_and_says_so_once() {
    let (device, reports) = device(SHORT_OF_MEMORY);
    let data = sparse_components(6);
    let options = FitOptions { n_steps: 40, ..course() };
    let (expected, _) = run(&data, &options);
    for _ in 0..2 {
        let (found, _) = run(&data, &on(&device, &options));
        assert_eq!(bits(&found.network.parameters), bits(&expected.network.parameters));
    }
    let reports = reports.lock().unwrap();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].starts_with("allocating "), "{reports:?}");
}

#[test]
fn a_device_that_fails_midway_loses_no_step() {
    let (device, reports) = device(SHORT_OF_MEMORY);
    let data = sparse_components(6);
    // All fits but the matrices of refined codes: it fails at step 51, and the last state came after step 40.
    let shape = NetworkShape { components: 6, hidden: 12, latents: 14 };
    let options = FitOptions { shape, n_steps: 100, refined_share: 0.5, ..course() };
    let (cpu, watched) = run(&data, &options);
    let (fitted, found) = run(&data, &on(&device, &options));
    assert_eq!(reports.lock().unwrap().len(), 1);
    assert_ne!(
        bits(&fitted.network.parameters),
        bits(&cpu.network.parameters),
        "steps were made on the device"
    );
    let steps = |last: &Last| last.reports.iter().map(|report| report.step).collect::<Vec<_>>();
    assert_eq!((fitted.n_steps, steps(&found)), (100, steps(&watched)));
    let (expected, found) = (last_loss(&watched), last_loss(&found));
    assert!((found / expected - 1.0).abs() < SAME_END, "{found} with a failure, {expected} on the CPU");
}

fn model_options(device: &Option<Arc<Device>>) -> TrainOptions {
    TrainOptions { budget: Budget::Steps(80), refined_share: 0.5, device: device.clone(), ..options() }
}

fn train_spots(options: &TrainOptions, start: Start, record: &mut Record) -> Trained {
    train(&mut spots(2000, 0.0), options, start, record).unwrap()
}

#[test]
fn checkpoints_go_on_wherever_they_were_made() {
    let (device, reports) = device(0);
    let whole = train_spots(&model_options(&None), Start::Random, &mut Record::default());
    let error = |trained: &Trained| trained.check.quality_none.squared_error;
    for (before, after) in [(&device, &None), (&None, &device)] {
        let mut record = Record { stop_at: Some(40), ..Record::default() };
        train_spots(&model_options(before), Start::Random, &mut record);
        let (checkpoint, _) = Checkpoint::parse(&record.checkpoint.unwrap()).unwrap();
        let start = Start::Checkpoint(Box::new(checkpoint));
        let resumed = train_spots(&model_options(after), start, &mut Record::default());
        assert_eq!(resumed.n_steps, 80);
        let (found, expected) = (error(&resumed), error(&whole));
        assert!((found / expected - 1.0).abs() < SAME_END, "{found} in two parts, {expected} on the CPU");
        let says = resumed.spec.provenance.get("device").map(String::as_str);
        assert_eq!(says, after.as_ref().map(|_| "host"));
    }
    assert!(reports.lock().unwrap().is_empty());
}

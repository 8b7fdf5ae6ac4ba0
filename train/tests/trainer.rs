//! Whole trainings on small simulated patches: what a stored model is worth, and what is refused.

use std::sync::Arc;

use h5z_sae::sae::{Model, Penalty, Transform};
use h5z_sae_kernels::GemmBackend;
use h5z_sae_train::early_stop::EarlyStop;
use h5z_sae_train::export::{ExportOptions, Width};
use h5z_sae_train::loader::InMemory;
use h5z_sae_train::memory::memory;
use h5z_sae_train::metrics::coded_size;
use h5z_sae_train::network::Objective;
use h5z_sae_train::observer::Event;
use h5z_sae_train::options::TrainOptions;
use h5z_sae_train::outcome::Trained;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::trainer::{Start, train};

mod common;
use common::{PATCH, Record, options, spots};

fn train_spots(options: &TrainOptions, off_centre: f32) -> Trained {
    train(&mut spots(2000, off_centre), options, Start::Random, &mut Record::default()).unwrap()
}

fn message_of(options: &TrainOptions, source: &mut InMemory) -> String {
    train(source, options, Start::Random, &mut Record::default()).unwrap_err().to_string()
}

#[test]
fn the_stored_model_is_as_good_as_the_float_network() {
    let trained = train_spots(&options(), 0.0);
    assert!(trained.spec.point_symmetric);
    assert_eq!(trained.spec.decoder.mean.len(), 66);
    assert_eq!(trained.check.quality.n_patches, 192);
    assert!(
        trained.check.float_squared_error < 0.2,
        "learnt too little: {}",
        trained.check.float_squared_error
    );
    let (stored, float) = (trained.check.quality.squared_error, trained.check.float_squared_error);
    assert!((stored - float).abs() < 0.02 * float, "{stored} stored, {float} in float");
    assert!(trained.check.quality_none.squared_error < 1.5 * float);
    assert!(trained.check.quality.nonzeros <= 8.0 && trained.check.quality.count_ratio > 10.0);
    let narrow = ExportOptions { wide_rows: 8, hidden_width: Width::I8 };
    let narrow = train_spots(&TrainOptions { export: narrow, ..options() }, 0.0);
    assert!(narrow.file.len() < trained.file.len());
    assert!(
        narrow.check.quality.squared_error < 1.3 * float,
        "{} in 8 bits",
        narrow.check.quality.squared_error
    );
}

#[test]
fn transforms_penalties_and_asymmetry_all_make_models() {
    let cases = [
        (Transform::Sqrt { offset_q24: 1 << 14 }, Penalty::Z, 0.0),
        (Transform::Log { offset_q24: 1 << 14 }, Penalty::Z, 1.0),
        (Transform::None, Penalty::Grad, 1.0),
    ];
    for (transform, penalty, off_centre) in cases {
        let active = if penalty == Penalty::Z { 8 } else { 0 };
        let objective = Objective { active, penalty, sparsity_lambda: 1e-3, rate_scale: 0.0 };
        let trained = train_spots(&TrainOptions { transform, objective, ..options() }, off_centre);
        assert_eq!(trained.spec.point_symmetric, off_centre == 0.0);
        let (stored, float) = (trained.check.quality.squared_error, trained.check.float_squared_error);
        assert!((stored - float).abs() < 0.1 * float, "{transform:?} {penalty:?}: {stored} for {float}");
        assert!(float < 1.0, "{transform:?} {penalty:?}: learnt too little: {float}");
    }
}

#[test]
fn the_model_makes_held_out_patches_smaller() {
    let trained = train_spots(&options(), 0.0);
    let model: &Arc<Model> = &trained.model;
    let size = coded_size(model, &GemmBackend::default(), &trained.held_out, 1e-2).unwrap();
    assert_eq!(size.raw_bytes, trained.held_out.len() * 4);
    assert!(size.coded_bytes < size.coded_bytes_without_model, "{size:?}");
}

#[test]
fn a_seed_gives_one_file_and_another_seed_another() {
    let short = TrainOptions { budget: Budget::Epochs(3.0), ..options() };
    let file = |options: &TrainOptions| train_spots(options, 0.0).file;
    assert_eq!(file(&short), file(&short));
    assert_ne!(file(&short), file(&TrainOptions { seed: 2, ..short }));
}

#[test]
fn an_observer_sees_all_stages_and_may_stop() {
    let mut record = Record { stop_at: Some(40), ..Record::default() };
    let trained = train(&mut spots(2000, 0.0), &options(), Start::Random, &mut record).unwrap();
    assert_eq!(trained.n_steps, 40);
    let stages = ["covariance", "principal components", "projection", "network", "export and check"];
    assert_eq!(record.stages, stages);
    assert!(record.reports.iter().all(|report| report.n_steps == 720));
}

#[test]
fn rejects_what_nothing_can_be_learnt_from_in_numbers() {
    let of = |value: f32| InMemory::try_new(PATCH, vec![value; 500 * PATCH.n_values()]).unwrap();
    let cases = [
        (of(3.0), "all the same", "500 patches, 0 masked entirely, 0 zero, 500 constant, 0 with"),
        (of(0.0), "0 training patches", "500 patches, 0 masked entirely, 500 zero, 0 constant, 0 with"),
        (of(f32::NAN), "0 training patches", "500 patches, 500 masked entirely, 0 zero, 0 constant, 0 with"),
        (spots(30, 0.0), "24 components need at least 48", "30 patches, 0 masked entirely, 0 zero"),
    ];
    for (mut source, reason, census) in cases {
        let message = message_of(&options(), &mut source);
        assert!(message.contains(reason) && message.contains(census), "{message}");
    }
}

#[test]
fn stops_early_and_writes_the_network_that_coded_best() {
    // A learning rate that never settles: sizes go up and down.
    let early_stop = Some(EarlyStop { patience: 2, bound: 1e-2 });
    let wild = TrainOptions { early_stop, learning_rate: 0.3, ..options() };
    let mut record = Record::default();
    let trained = train(&mut spots(2000, 0.0), &wild, Start::Random, &mut record).unwrap();
    let sizes: Vec<(usize, usize)> = record
        .events
        .iter()
        .filter_map(|event| match *event {
            Event::CodedBytes { step, coded_bytes } => Some((coded_bytes, step)),
            _ => None,
        })
        .collect();
    let (_, best_step) = *sizes.iter().min().unwrap();
    assert_eq!(trained.best_step, best_step);
    assert!(trained.n_steps < trained.n_planned, "{sizes:?}");
    assert_eq!(trained.spec.provenance["best_step"], best_step.to_string());
    let at_best = train(
        &mut spots(2000, 0.0),
        &wild,
        Start::Random,
        &mut Record { stop_at: Some(best_step.next_multiple_of(20)), ..Record::default() },
    );
    assert!(at_best.unwrap().best_step <= best_step);
}

#[test]
fn rejects_options_that_contradict_each_other() {
    let objective = Objective { penalty: Penalty::Grad, ..options().objective };
    let cases = [
        (TrainOptions { objective, ..options() }, "belongs to penalty z"),
        (TrainOptions { components: 133, basis_rows: 133, ..options() }, "133 components"),
        (TrainOptions { components: 67, basis_rows: 67, ..options() }, "up to their point symmetry"),
        (TrainOptions { latents: 7, ..options() }, "there are 7 latents"),
        (TrainOptions { hidden: 0, ..options() }, "hidden is 0"),
        (TrainOptions { held_out: 0.9, ..options() }, "0 to 0.5 allowed"),
        (
            TrainOptions {
                held_out: 0.0,
                early_stop: Some(EarlyStop { patience: 1, bound: 0.1 }),
                ..options()
            },
            "early stopping looks at held-out patches",
        ),
        (TrainOptions { memory_limit: Some(1 << 20), ..options() }, "memory limit of 1048576 bytes"),
    ];
    for (options, expected) in cases {
        let message = message_of(&options, &mut spots(400, 0.0));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn memory_is_stated_and_grows_with_the_data() {
    let bytes =
        |n_patches: usize, n_ranks: usize| memory(&spots(n_patches, 0.0), &options(), n_ranks).unwrap().bytes;
    assert!(bytes(100, 1) > 100_000 && bytes(2_000, 1) > bytes(100, 1));
    assert!(bytes(20_000, 2) < bytes(20_000, 1));
}

#[test]
fn a_memory_limit_leaves_out_patches_evenly_and_says_so() {
    let all = memory(&spots(2000, 0.0), &options(), 1).unwrap();
    let limited = TrainOptions { memory_limit: Some(all.bytes - 100_000), ..options() };
    let stated = memory(&spots(2000, 0.0), &limited, 1).unwrap();
    assert!(stated.bytes < all.bytes && stated.n_training < all.n_training, "{stated:?} of {all:?}");
    let mut record = Record::default();
    let trained = train(&mut spots(2000, 0.0), &limited, Start::Random, &mut record).unwrap();
    let used: usize = trained.spec.provenance["training_patches"].parse().unwrap();
    assert!(used <= stated.n_training && used + 32 > stated.n_training, "{used} of {stated:?}");
    assert!(matches!(record.events[0], Event::Memory(memory) if memory == stated));
}

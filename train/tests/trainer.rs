//! Whole trainings on small simulated patches: what a stored model is worth, and what is refused.

use std::sync::Arc;

use h5z_sae::PatchShape;
use h5z_sae::sae::{Model, Penalty, Transform};
use h5z_sae_kernels::GemmBackend;
use h5z_sae_train::export::{ExportOptions, Width};
use h5z_sae_train::fit::StepReport;
use h5z_sae_train::loader::InMemory;
use h5z_sae_train::metrics::coded_size;
use h5z_sae_train::network::Objective;
use h5z_sae_train::schedule::Budget;
use h5z_sae_train::trainer::{Observer, TrainOptions, Trained, memory_bytes, train};

const PATCH: PatchShape = PatchShape { rows: 12, cols: 11 };

/// Gaussian spots about the centre, of two widths and a direction: point-symmetric, smooth, of maximum 1000.
fn spots(n_patches: usize, off_centre: f32) -> InMemory {
    let mut values = Vec::new();
    for number in 0..n_patches {
        let phase = |k: usize| ((number * k) as f32 * 0.618_034).fract();
        let (long, short, angle) =
            (8.0 + 20.0 * phase(1), 1.0 + 4.0 * phase(7), std::f32::consts::PI * phase(13));
        for pixel in 0..PATCH.n_values() {
            let y = (pixel / PATCH.cols) as f32 - (PATCH.rows - 1) as f32 / 2.0 + off_centre * phase(5);
            let x = (pixel % PATCH.cols) as f32 - (PATCH.cols - 1) as f32 / 2.0;
            let (along, across) = (x * angle.cos() + y * angle.sin(), y * angle.cos() - x * angle.sin());
            values.push(1000.0 * (-along * along / long - across * across / short).exp());
        }
    }
    InMemory::try_new(PATCH, values).unwrap()
}

fn options() -> TrainOptions {
    TrainOptions {
        components: 24,
        hidden: 40,
        latents: 64,
        objective: Objective { active: 8, penalty: Penalty::Z, sparsity_lambda: 1e-6 },
        transform: Transform::None,
        budget: Budget::Epochs(40.0),
        batch: 100,
        learning_rate: 3e-3,
        active_start: 1.0,
        revived: 0,
        seed: 1,
        threads: 2,
        held_out: 0.1,
        export: ExportOptions { wide_rows: 8, hidden_width: Width::I16 },
    }
}

#[derive(Default)]
struct Record {
    stages: Vec<String>,
    reports: Vec<StepReport>,
    stop_at: Option<usize>,
}

impl Observer for Record {
    fn stage(&mut self, name: &str, _n_units: usize) {
        self.stages.push(name.to_owned());
    }

    fn advance(&mut self, _n_units: usize) {}

    fn step(&mut self, report: &StepReport) -> bool {
        self.reports.push(*report);
        self.stop_at.is_none_or(|stop_at| report.step < stop_at)
    }
}

fn train_spots(options: &TrainOptions, off_centre: f32) -> Trained {
    train(&mut spots(2000, off_centre), options, &mut Record::default()).unwrap()
}

fn message_of(options: &TrainOptions, source: &mut InMemory) -> String {
    train(source, options, &mut Record::default()).unwrap_err().to_string()
}

#[test]
fn the_stored_model_is_as_good_as_the_float_network() {
    let trained = train_spots(&options(), 0.0);
    assert!(trained.spec.point_symmetric);
    assert_eq!(trained.spec.decoder.mean.len(), 66);
    assert_eq!(trained.quality.n_patches, 192);
    assert!(trained.float_squared_error < 0.2, "learnt too little: {}", trained.float_squared_error);
    let (stored, float) = (trained.quality.squared_error, trained.float_squared_error);
    assert!((stored - float).abs() < 0.02 * float, "{stored} stored, {float} in float");
    assert!(trained.quality_none.squared_error < 1.5 * float);
    assert!(trained.quality.nonzeros <= 8.0 && trained.quality.count_ratio > 10.0);
    let narrow = ExportOptions { wide_rows: 8, hidden_width: Width::I8 };
    let narrow = train_spots(&TrainOptions { export: narrow, ..options() }, 0.0);
    assert!(narrow.file.len() < trained.file.len());
    assert!(narrow.quality.squared_error < 1.3 * float, "{} in 8 bits", narrow.quality.squared_error);
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
        let objective = Objective { active, penalty, sparsity_lambda: 1e-3 };
        let trained = train_spots(&TrainOptions { transform, objective, ..options() }, off_centre);
        assert_eq!(trained.spec.point_symmetric, off_centre == 0.0);
        let (stored, float) = (trained.quality.squared_error, trained.float_squared_error);
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
    let trained = train(&mut spots(2000, 0.0), &options(), &mut record).unwrap();
    assert_eq!(trained.n_steps, 40);
    let stages = ["covariance", "principal components", "projection", "network", "export and check"];
    assert_eq!(record.stages, stages);
    assert!(record.reports.iter().all(|report| report.n_steps == Some(720)));
}

#[test]
fn rejects_what_nothing_can_be_learnt_from() {
    let flat = &mut InMemory::try_new(PATCH, vec![3.0; 500 * PATCH.n_values()]).unwrap();
    assert!(message_of(&options(), flat).contains("all the same"));
    let blank = &mut InMemory::try_new(PATCH, vec![0.0; 500 * PATCH.n_values()]).unwrap();
    let message = message_of(&options(), blank);
    assert!(message.contains("not blank") && message.contains("24 components need at least 48"), "{message}");
    let message = message_of(&options(), &mut spots(30, 0.0));
    assert!(message.contains("need at least 48"), "{message}");
}

#[test]
fn rejects_options_that_contradict_each_other() {
    let objective = Objective { penalty: Penalty::Grad, ..options().objective };
    let cases = [
        (TrainOptions { objective, ..options() }, "belongs to penalty z"),
        (TrainOptions { components: 133, ..options() }, "133 components"),
        (TrainOptions { components: 67, ..options() }, "up to their point symmetry"),
        (TrainOptions { latents: 7, ..options() }, "there are 7 latents"),
        (TrainOptions { hidden: 0, ..options() }, "hidden is 0"),
        (TrainOptions { held_out: 0.9, ..options() }, "0 to 0.5 allowed"),
    ];
    for (options, expected) in cases {
        let message = message_of(&options, &mut spots(400, 0.0));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn memory_is_stated_and_grows_with_the_data() {
    let (small, large) =
        (memory_bytes(&spots(100, 0.0), &options(), 1), memory_bytes(&spots(2000, 0.0), &options(), 1));
    assert!(small > 100_000 && large > small);
    let many = spots(20_000, 0.0);
    assert!(memory_bytes(&many, &options(), 2) < memory_bytes(&many, &options(), 1));
}
